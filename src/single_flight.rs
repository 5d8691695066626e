//! A cache whose misses are fetched once for all who wait, by a task of its own: who goes away neither cancels nor repeats a
//! fetch.

use std::{hash::Hash, sync::Arc};

use moka::{Equivalent, future::Cache};
use tokio_util::task::TaskTracker;

use crate::traces;

/// Results by key. Clones share them.
#[derive(Clone)]
pub struct SingleFlight<K, V> {
    results: Cache<K, V>,
    tasks: TaskTracker,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum FlightError<E: std::fmt::Display> {
    /// The fetch failed. All who waited get the same error; it is not kept.
    #[error("{0}")]
    Failed(Arc<E>),
    /// The task that fetched has panicked.
    #[error("the fetch was abandoned: {0}")]
    Abandoned(String),
}

impl<E: std::fmt::Display> Clone for FlightError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Abandoned(text) => Self::Abandoned(text.clone()),
        }
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps results in a cache, whose limits and times are its own; fetches are tasks of `tasks`.
    pub fn new(results: Cache<K, V>, tasks: TaskTracker) -> Self {
        Self { results, tasks }
    }

    /// The result that is kept for a key, which may be borrowed.
    pub async fn kept<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Equivalent<K> + Hash + ?Sized,
    {
        self.results.get(key).await
    }

    /// The result for a key: the one that is kept, or the one that is being fetched, or the result of `fetch`.
    pub async fn get<E, F>(&self, key: K, fetch: F) -> Result<V, FlightError<E>>
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        if let Some(kept) = self.results.get(&key).await {
            return Ok(kept);
        }
        let results = self.results.clone();
        let fetch = async move { results.try_get_with(key, fetch).await };
        let flight = self.tasks.spawn(traces::carry(fetch));
        match flight.await {
            Ok(result) => result.map_err(FlightError::Failed),
            Err(error) => Err(FlightError::Abandoned(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Notify;

    use super::*;

    fn flight() -> SingleFlight<u8, usize> {
        SingleFlight::new(Cache::new(10), TaskTracker::new())
    }

    #[tokio::test]
    async fn all_who_wait_share_one_fetch_even_if_the_first_goes_away() {
        let flight = flight();
        let (fetches, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let get = || {
            let (fetches, gate) = (Arc::clone(&fetches), Arc::clone(&gate));
            let flight = flight.clone();
            tokio::spawn(async move {
                let fetch = async move {
                    gate.notified().await;
                    Ok::<_, Infallible>(fetches.fetch_add(1, Ordering::SeqCst) + 7)
                };
                flight.get(1, fetch).await.unwrap()
            })
        };
        let first = get();
        while flight.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.is_err());
        let rest: Vec<_> = (0..20).map(|_| get()).collect();
        while flight.tasks.len() < 21 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        for waiter in rest {
            assert_eq!(waiter.await.unwrap(), 7);
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn errors_are_not_kept() {
        let flight = flight();
        let failed = flight.get(1, async { Err::<usize, _>("no") }).await.unwrap_err();
        assert_eq!(failed.to_string(), "no");
        assert_eq!(flight.get(1, async { Ok::<_, Infallible>(3) }).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let failed = flight().get(1, async { panic!("boom") as Result<usize, String> }).await;
        assert!(matches!(failed, Err(FlightError::Abandoned(_))));
    }
}
