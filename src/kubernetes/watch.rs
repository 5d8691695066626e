//! A list and the changes after it, in bounded time: the one way to watch objects of the API server.
//!
//! kube's own watcher does not report when a broken watch is connected again, has no time limits, and ignores `Retry-After`.

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
    list::{Metadata, Object, PAGE, Page, Pages, path},
    public,
};
use crate::{
    core::{
        excerpt::{SAID, excerpt},
        kinds::Kind,
        selector::Selector,
    },
    jitter,
};

/// After this time the API server ends a watch, which is then resumed. A dead connection is noticed a little later.
const WATCH_SECONDS: u32 = 30;

/// How much longer than [`WATCH_SECONDS`] a watch may say nothing.
const GRACE: Duration = Duration::from_secs(5);

/// The first pause before a watch that failed is tried again, without its random part. The numbers are those of client-go's
/// reflector.
const FIRST_PAUSE: Duration = Duration::from_millis(800);

/// The longest such pause, without its random part.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Pauses begin anew when there was none for this long.
const PAUSES_RESET: Duration = Duration::from_secs(120);

/// The longest pause that the API server can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// For how long a refusal is tried again as a failure is. An API server that has just started refuses everybody until it has read who may
/// do what.
const STARTING: Duration = Duration::from_secs(60);

/// How long the list that a watch begins with may take, all of its pages together.
const WHOLE_LIST: Duration = Duration::from_secs(300);

/// A watch that ends sooner has failed.
const SHORTEST: Duration = Duration::from_secs(1);

/// An event of a watch.
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
    /// An object was deleted, or does not match the selectors any more.
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

impl Broken {
    fn shortest_pause(&self, refused: Duration) -> Duration {
        match self {
            Self::Refused { .. } | Self::Missing => refused,
            Self::Failed { retry_after: Some(wanted), .. } => LONGEST_RETRY_AFTER.min(*wanted),
            Self::Failed { .. } | Self::Expired => Duration::ZERO,
        }
    }
}

/// The pauses after failures: each is twice as long as the one before, and up to as much again at random.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<(Instant, Duration)>,
}

impl Pauses {
    /// The next pause. `chance` is a random number between 0 and 1.
    fn next(&mut self, now: Instant, chance: f64) -> Duration {
        let pause = match self.last {
            Some((then, pause)) if now.saturating_duration_since(then) <= PAUSES_RESET => {
                LAST_PAUSE.min(pause * 2)
            }
            _ => FIRST_PAUSE,
        };
        self.last = Some((now, pause));
        pause + pause.mul_f64(chance)
    }
}

/// Objects of a kind, each read as a `T`.
pub struct Watch<T> {
    client: Client,
    request: Request,
    is_partial: bool,
    fields: Option<String>,
    labels: Option<String>,
    /// How many objects a page of a list holds.
    page: u32,
    /// The resource version that has been seen; nothing where everything has to be listed.
    seen: Option<String>,
    pauses: Pauses,
    /// Since when every try is refused.
    refused: Option<Instant>,
    objects: PhantomData<fn() -> T>,
}

impl Watch<Object> {
    /// Watches the metadata of a kind in all namespaces, of those objects that a field selector selects.
    pub fn metadata(client: Client, kind: &Kind, fields: Option<&str>) -> Self {
        let fields = fields.map(str::to_owned);
        Self { is_partial: true, fields, ..Watch::new(client, path(kind, None)) }
    }
}

impl<T: AsRef<Metadata> + Clone + DeserializeOwned> Watch<T> {
    fn new(client: Client, path: String) -> Self {
        Self {
            client,
            request: Request::new(path),
            is_partial: false,
            fields: None,
            labels: None,
            page: PAGE,
            seen: None,
            pauses: Pauses::default(),
            refused: None,
            objects: PhantomData,
        }
    }

    /// Watches all objects of a kind in all namespaces.
    pub fn all(client: Client, kind: &Kind) -> Self {
        Self::new(client, path(kind, None))
    }

    /// Watches one object.
    pub fn one(client: Client, kind: &Kind, namespace: &str, name: &str) -> Self {
        let fields = Some(format!("metadata.name={name}"));
        Self { fields, ..Self::new(client, path(kind, Some(namespace))) }
    }

    /// Watches the objects of a kind in a namespace whose labels a selector selects. So many are listed at a time.
    pub fn selected(
        client: Client,
        kind: &Kind,
        namespace: &str,
        labels: &Selector,
        page: u32,
    ) -> Self {
        let labels = Some(labels.to_string());
        Self { labels, page, ..Self::new(client, path(kind, Some(namespace))) }
    }

    /// How long to pause before the watch is followed again. After a minute of refusals it is `refused` at least, the time that somebody
    /// needs to grant access.
    pub fn pause(&mut self, broken: &Broken, refused: Duration) -> Duration {
        let now = Instant::now();
        let is_starting = self.refused.is_some_and(|since| now - since < STARTING);
        let shortest = match broken {
            Broken::Refused { .. } if is_starting => Duration::ZERO,
            broken => broken.shortest_pause(refused),
        };
        shortest.max(self.pauses.next(now, jitter::chance()))
    }

    /// Lists, if that has to be, and follows the changes until the watch breaks. The next call goes on where this one ended.
    pub async fn follow(&mut self, mut take: impl FnMut(Event<T>)) -> Broken {
        loop {
            if let Err(broken) = self.watch(&mut take).await {
                match broken {
                    Broken::Refused { .. } => drop(self.refused.get_or_insert_with(Instant::now)),
                    _ => self.refused = None,
                }
                return broken;
            }
        }
    }

    /// Follows the changes for as long as the API server lets a watch last.
    async fn watch(&mut self, take: &mut impl FnMut(Event<T>)) -> Result<(), Broken> {
        let seen = match self.seen.take() {
            Some(seen) => seen,
            None => self.list(take).await?,
        };
        let start = Instant::now();
        let stream = self.connect(seen).await?;
        self.refused = None;
        take(Event::Synced);
        self.changes(stream, take).await?;
        if start.elapsed() < SHORTEST {
            return Err(Error::Api("the watch has ended at once".to_owned()).into());
        }
        Ok(())
    }

    /// Lists all objects, page by page: the version of the list.
    async fn list(&self, take: &mut impl FnMut(Event<T>)) -> Result<String, Broken> {
        take(Event::Listing);
        let mut parameters = ListParams::default().limit(self.page);
        parameters.field_selector.clone_from(&self.fields);
        parameters.label_selector.clone_from(&self.labels);
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
            for object in page.items.into_iter().flatten() {
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

    /// Begins to watch. After an error the version is kept if it can be tried again.
    async fn connect(
        &mut self,
        seen: String,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<T>>> + use<T>, Broken> {
        let parameters = WatchParams {
            field_selector: self.fields.clone(),
            label_selector: self.labels.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = if self.is_partial {
            self.request.watch_metadata(&parameters, &seen)
        } else {
            self.request.watch(&parameters, &seen)
        };
        let request = request.map_err(kube::Error::BuildRequest).map_err(Error::from)?;
        self.seen = Some(seen);
        let connected = timeout(TIMEOUT, self.client.request_events(request)).await;
        connected.map_err(|_elapsed| Error::Timeout(TIMEOUT))?.map_err(|error| {
            // A server that is overloaded is not helped by a list of everything.
            let is_busy = |code: u16| matches!(code, 429 | 500 | 503);
            if matches!(&error, kube::Error::Api(status) if !is_busy(status.code)) {
                self.seen = None;
            }
            broken("watch", &error)
        })
    }

    /// Takes changes until the watch has come to its end.
    async fn changes(
        &mut self,
        stream: impl Stream<Item = kube::Result<WatchEvent<T>>>,
        take: &mut impl FnMut(Event<T>),
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
                    (object.as_ref().resource_version.clone(), Some(Event::Applied(object)))
                }
                WatchEvent::Deleted(object) => {
                    (object.as_ref().resource_version.clone(), Some(Event::Deleted(object)))
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
    let failed = |retry_after| Broken::Failed { error: Error::Api(public(error)), retry_after };
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
    fn pauses_double_until_there_was_none_for_a_while() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let all: Vec<_> = (0..8).map(|_| pauses.next(start, 0.0).as_secs_f64()).collect();
        assert_eq!(all, [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]);
        let later = start + PAUSES_RESET;
        assert_eq!(pauses.next(later, 1.0), 2 * LAST_PAUSE);
        assert_eq!(pauses.next(later + PAUSES_RESET + SHORTEST, 0.5), FIRST_PAUSE.mul_f64(1.5));
    }

    #[test]
    fn a_pause_is_as_long_as_the_server_asks_for_within_a_minute() {
        let refused = Duration::from_secs(300);
        let failed = |seconds| Broken::Failed {
            error: Error::Api("busy".to_owned()),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let shortest = |broken: Broken| broken.shortest_pause(refused);
        assert_eq!(shortest(failed(45)), Duration::from_secs(45));
        assert_eq!(shortest(failed(86_400)), LONGEST_RETRY_AFTER);
        assert_eq!(shortest(Broken::Missing), refused);
        assert_eq!(shortest(Broken::Expired), Duration::ZERO);
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
