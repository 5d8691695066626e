//! A list and the changes after it, in bounded time: the one way to watch objects of the API server.
//!
//! kube's own watcher does not report when a broken watch is connected again, has no time limits, and ignores `Retry-After`.

use std::{pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::core::WatchEvent;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::{
    Error,
    collection::Collection,
    list::Metadata,
    retries::{Broken, Retries, broken},
};

/// After this time the API server ends a watch, which is then resumed. A dead connection is noticed a little later.
const WATCH_SECONDS: u32 = 30;

/// How much longer than [`WATCH_SECONDS`] a watch may say nothing.
const GRACE: Duration = Duration::from_secs(5);

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

/// The objects of a collection, and their changes.
pub struct Watch<T> {
    objects: Collection<T>,
    /// The resource version that has been seen; nothing where everything has to be listed.
    seen: Option<String>,
    /// Whether the last try began with a list that was answered.
    has_listed: bool,
    retries: Retries,
}

impl<T: AsRef<Metadata> + Clone + DeserializeOwned> Watch<T> {
    /// Watches the objects of a collection.
    pub fn new(objects: Collection<T>) -> Self {
        Self { objects, seen: None, has_listed: false, retries: Retries::default() }
    }

    /// How long to pause before the watch is followed again: [`Retries::pause`].
    pub fn pause(&mut self, broken: &Broken, refused: Duration) -> Duration {
        self.retries.pause(broken, refused)
    }

    /// Lists, if that has to be, and follows the changes until the watch breaks. The next call goes on where this one ended.
    pub async fn follow(&mut self, mut take: impl FnMut(Event<T>)) -> Broken {
        loop {
            if let Err(broken) = self.watch(&mut take).await {
                self.retries.broken(&broken, self.has_listed);
                return broken;
            }
        }
    }

    /// Follows the changes for as long as the API server lets a watch last.
    async fn watch(&mut self, take: &mut impl FnMut(Event<T>)) -> Result<(), Broken> {
        self.has_listed = false;
        let seen = if let Some(seen) = self.seen.take() {
            seen
        } else {
            take(Event::Listing);
            let version = self.objects.list(|object| take(Event::Listed(object))).await?;
            self.has_listed = true;
            version
        };
        let start = Instant::now();
        let stream = self.connect(seen).await?;
        self.retries.succeeded();
        take(Event::Synced);
        self.changes(stream, take).await?;
        if start.elapsed() < SHORTEST {
            return Err(Error::Api("the watch has ended at once".to_owned()).into());
        }
        Ok(())
    }

    /// Begins to watch. After an error the version is kept if it can be tried again.
    async fn connect(
        &mut self,
        seen: String,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<T>>> + use<T>, Broken> {
        let seen = self.seen.insert(seen);
        self.objects.watch(seen, WATCH_SECONDS).await?.map_err(|error| {
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
