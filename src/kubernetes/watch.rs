//! A list and the changes after it.
//!
//! This stands beside `kube::runtime::watcher`, whose stream does not tell when a watch that was broken is connected again, and
//! has no time limits: who answers from what a watch told has to know both.

use std::{marker::PhantomData, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::{Request, WatchEvent},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Error, TIMEOUT,
    list::{Object, PAGE, Page, Pages, path},
    told,
};
use crate::core::{
    excerpt::{SAID, excerpt},
    kinds::Kind,
};

use kube::runtime::watcher::DefaultBackoff;

/// After this time the API server ends a watch, which is then resumed. A dead connection is noticed a little later.
const WATCH_SECONDS: u32 = 30;

/// How much longer than [`WATCH_SECONDS`] a watch may say nothing.
const GRACE: Duration = Duration::from_secs(5);

/// The longest pause before a watch is tried again that was not refused.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long the list that a watch begins with may take, all of its pages together.
const WHOLE_LIST: Duration = Duration::from_secs(300);

/// A watch that ends sooner has failed.
const SHORTEST: Duration = Duration::from_secs(1);

type Change<Spec, Status> = WatchEvent<Object<Spec, Status>>;

/// What a watch tells.
#[derive(Debug)]
pub enum Event<T> {
    /// A list begins.
    Listing,
    /// An object is in the list.
    Listed(T),
    /// The watch is connected. A list that has begun is complete; otherwise nothing was missed.
    Synced,
    /// An object was made or changed.
    Applied(T),
    /// An object was deleted, or does not match the field selector any more.
    Deleted(T),
}

/// Why a watch does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// We may not, or nobody can.
    #[error("not allowed to {verb}: {message}")]
    Refused {
        /// `list` or `watch`.
        verb: &'static str,
        /// What the API server said.
        message: String,
    },
    /// The API server does not serve the resource.
    #[error("there is no such resource")]
    Missing,
    /// Changes have been missed: the list begins anew.
    #[error("changes were missed")]
    Expired,
    /// Everything else.
    #[error("{error}")]
    Failed {
        /// What happened.
        error: Error,
        /// When the API server wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed { error, retry_after: None }
    }
}

/// How long a watch pauses after it broke.
#[derive(Default)]
pub struct Pauses {
    backoff: DefaultBackoff,
}

impl Pauses {
    /// The pause before the watch is followed again. A refusal lasts for as long as somebody needs to grant access.
    pub fn after(&mut self, broken: &Broken, refused: Duration) -> Duration {
        let (Broken::Failed { .. } | Broken::Expired) = broken else { return refused };
        let pause = self.backoff.next().unwrap_or(LONGEST_PAUSE);
        match broken {
            Broken::Failed { retry_after: Some(wanted), .. } => {
                pause.max((*wanted).min(LONGEST_PAUSE))
            }
            _ => pause,
        }
    }
}

/// The objects of a kind in all namespaces. Of each only what the parameters take is read.
pub struct Watch<Spec, Status> {
    client: Client,
    request: Request,
    is_partial: bool,
    fields: Option<&'static str>,
    /// The resource version that has been seen; nothing where everything has to be listed.
    seen: Option<String>,
    objects: PhantomData<fn() -> Object<Spec, Status>>,
}

impl Watch<(), ()> {
    /// Watches metadata only, of those that a field selector selects.
    pub fn metadata(client: Client, kind: &Kind, fields: Option<&'static str>) -> Self {
        Self { is_partial: true, fields, ..Watch::new(client, kind) }
    }
}

impl<Spec, Status> Watch<Spec, Status>
where
    Spec: Clone + Default + DeserializeOwned,
    Status: Clone + Default + DeserializeOwned,
{
    /// Watches all objects of a kind.
    pub fn new(client: Client, kind: &Kind) -> Self {
        Self {
            client,
            request: Request::new(path(kind, None)),
            is_partial: false,
            fields: None,
            seen: None,
            objects: PhantomData,
        }
    }

    /// Lists, if that has to be, and follows the changes until the watch breaks. The next call goes on where this one ended.
    pub async fn follow(&mut self, mut take: impl FnMut(Event<Object<Spec, Status>>)) -> Broken {
        loop {
            let seen = match self.seen.take() {
                Some(seen) => seen,
                None => match self.list(&mut take).await {
                    Ok(version) => version,
                    Err(broken) => return broken,
                },
            };
            let start = Instant::now();
            let stream = match self.connect(&seen).await {
                Ok(stream) => stream,
                Err((broken, is_seen)) => {
                    self.seen = is_seen.then_some(seen);
                    return broken;
                }
            };
            take(Event::Synced);
            self.seen = Some(seen);
            if let Err(error) = self.changes(stream, &mut take).await {
                return error;
            }
            if start.elapsed() < SHORTEST {
                return Error::Api("the watch has ended at once".to_owned()).into();
            }
        }
    }

    /// Lists all objects, page by page: the version of the list.
    async fn list(
        &self,
        take: &mut impl FnMut(Event<Object<Spec, Status>>),
    ) -> Result<String, Broken> {
        take(Event::Listing);
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.field_selector = self.fields.map(str::to_owned);
        let mut pages = Pages::default();
        let end = Instant::now() + WHOLE_LIST;
        loop {
            let request = if self.is_partial {
                self.request.list_metadata(&parameters)
            } else {
                self.request.list(&parameters)
            };
            let request = request.map_err(kube::Error::BuildRequest).map_err(Error::from)?;
            let page = timeout(TIMEOUT, self.client.request(request));
            let page: Page<_> = match timeout_at(end, page).await {
                Ok(Ok(page)) => page.map_err(|error| broken("list", &error))?,
                Ok(Err(_elapsed)) => return Err(Error::Timeout(TIMEOUT).into()),
                Err(_elapsed) => return Err(Error::Timeout(WHOLE_LIST).into()),
            };
            parameters.continue_token = pages.next(&page.metadata)?;
            for object in page.items {
                take(Event::Listed(object));
            }
            if parameters.continue_token.is_none() {
                return page
                    .metadata
                    .resource_version
                    .ok_or_else(|| Error::Api("a list has no version".to_owned()).into());
            }
        }
    }

    /// Begins to watch. With an error comes whether the version can be tried again.
    async fn connect(
        &self,
        seen: &str,
    ) -> Result<
        impl Stream<Item = kube::Result<Change<Spec, Status>>> + use<Spec, Status>,
        (Broken, bool),
    > {
        let parameters = WatchParams {
            field_selector: self.fields.map(str::to_owned),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = if self.is_partial {
            self.request.watch_metadata(&parameters, seen)
        } else {
            self.request.watch(&parameters, seen)
        };
        let request = request
            .map_err(|error| (Error::from(kube::Error::BuildRequest(error)).into(), false))?;
        match timeout(TIMEOUT, self.client.request_events(request)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                // A server that is overloaded is not helped by a list of everything.
                let is_busy = |code: u16| matches!(code, 429 | 500 | 503);
                let is_seen = match &error {
                    kube::Error::Api(status) => is_busy(status.code),
                    _ => true,
                };
                Err((broken("watch", &error), is_seen))
            }
            Err(_elapsed) => Err((Error::Timeout(TIMEOUT).into(), true)),
        }
    }

    /// Takes changes until the watch has come to its end.
    async fn changes(
        &mut self,
        stream: impl Stream<Item = kube::Result<Change<Spec, Status>>>,
        take: &mut impl FnMut(Event<Object<Spec, Status>>),
    ) -> Result<(), Broken> {
        let mut stream = pin!(stream);
        let longest = Duration::from_secs(WATCH_SECONDS.into()) + GRACE;
        loop {
            // A dead connection: what comes next is a watch from the version that has been seen.
            let Ok(Some(change)) = timeout(longest, stream.next()).await else { return Ok(()) };
            let change = change.map_err(|error| {
                // A line that cannot be read would come again.
                if matches!(error, kube::Error::SerdeError(_)) {
                    self.seen = None;
                }
                broken("watch", &error)
            })?;
            let (version, event) = match change {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    (object.metadata.resource_version.clone(), Some(Event::Applied(object)))
                }
                WatchEvent::Deleted(object) => {
                    (object.metadata.resource_version.clone(), Some(Event::Deleted(object)))
                }
                WatchEvent::Bookmark(bookmark) => (bookmark.metadata.resource_version, None),
                WatchEvent::Error(status) => {
                    self.seen = None;
                    return Err(broken("watch", &kube::Error::Api(status)));
                }
            };
            self.seen = Some(version);
            if let Some(event) = event {
                take(event);
            }
        }
    }
}

/// What an error of a request means.
fn broken(verb: &'static str, error: &kube::Error) -> Broken {
    let failed = |retry_after| Broken::Failed { error: Error::Api(told(error)), retry_after };
    let kube::Error::Api(status) = error else { return failed(None) };
    match status.code {
        401 | 403 | 405 => Broken::Refused { verb, message: excerpt(&status.message, SAID) },
        404 => Broken::Missing,
        410 => Broken::Expired,
        _ => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            failed((seconds > 0).then(|| Duration::from_secs(seconds.into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pause_is_as_long_as_the_server_asks_for_within_a_minute() {
        let refused = Duration::from_secs(300);
        let failed = |seconds| Broken::Failed {
            error: Error::Api("busy".to_owned()),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let after = |broken| Pauses::default().after(&broken, refused);
        assert_eq!(after(failed(45)), Duration::from_secs(45));
        assert_eq!(after(failed(86_400)), LONGEST_PAUSE);
        assert_eq!(after(Broken::Missing), refused);
        let mut pauses = Pauses::default();
        let all: Vec<_> = (0..20).map(|_| pauses.after(&Broken::Expired, refused)).collect();
        assert!(all.iter().all(|pause| !pause.is_zero() && *pause <= LONGEST_PAUSE), "{all:?}");
        assert!(all.last() > all.first(), "{all:?}");
    }

    #[test]
    fn a_refusal_says_when_to_ask_again() {
        let status = json!({"code": 429, "details": {"retryAfterSeconds": 7}});
        let status = serde_json::from_value::<Status>(status).unwrap();
        let broken = broken("watch", &kube::Error::Api(status.boxed()));
        let Broken::Failed { retry_after, .. } = broken else { panic!("{broken:?}") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }
}
