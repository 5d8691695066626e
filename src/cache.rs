//! Query results, kept for a short while and fetched once for all who wait.
//!
//! The key is the query's text, so equal questions meet whoever asks them. A fetch is a task of its own: a reader that goes
//! away neither cancels nor repeats it.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tokio_util::task::TaskTracker;

use crate::prometheus::{Answer, Error, Prometheus};

/// The most bytes of results that are kept.
const MAX_BYTES: u64 = 128 << 20;

/// The cache in front of one backend.
#[derive(Clone)]
pub struct QueryCache {
    prometheus: Arc<Prometheus>,
    /// Nothing where caching is off: then every read is a query.
    results: Option<Cache<Arc<str>, Arc<Answer>>>,
    fetches: TaskTracker,
}

/// Why there is no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The backend failed.
    #[error("{0}")]
    Backend(Arc<Error>),
    /// The task that fetched has panicked, or the server is stopping.
    #[error("the query was abandoned: {0}")]
    Abandoned(String),
}

impl QueryCache {
    /// A cache that keeps results for `ttl`; zero turns it off.
    pub fn new(prometheus: Arc<Prometheus>, ttl: Duration, fetches: TaskTracker) -> Self {
        let results = (!ttl.is_zero()).then(|| {
            Cache::builder()
                .name("query results")
                .time_to_live(ttl)
                .max_capacity(MAX_BYTES)
                .weigher(|query: &Arc<str>, answer: &Arc<Answer>| {
                    u32::try_from(query.len() + answer.weight()).unwrap_or(u32::MAX)
                })
                .build()
        });
        Self {
            prometheus,
            results,
            fetches,
        }
    }

    /// The result of a query: one that is fresh, or one that is being fetched, or a new one.
    pub async fn get(&self, query: &str) -> Result<Arc<Answer>, FetchError> {
        if let Some(results) = &self.results
            && let Some(answer) = results.get(query).await
        {
            return Ok(answer);
        }
        let fetch = self.clone().fetch(Arc::from(query));
        match self.fetches.spawn(fetch).await {
            Ok(result) => result.map_err(FetchError::Backend),
            Err(error) => Err(FetchError::Abandoned(error.to_string())),
        }
    }

    async fn fetch(self, query: Arc<str>) -> Result<Arc<Answer>, Arc<Error>> {
        let Self {
            prometheus,
            results,
            ..
        } = self;
        let text = Arc::clone(&query);
        let fetch = async move { prometheus.query(&text).await.map(Arc::new) };
        match results {
            Some(results) => results.try_get_with(query, fetch).await,
            None => fetch.await.map_err(Arc::new),
        }
    }
}

impl Answer {
    /// Roughly how many bytes the answer takes in memory.
    fn weight(&self) -> usize {
        match self {
            Self::Vector(vector) => vector.weight(),
            Self::Scalar(..) => size_of::<Self>(),
            Self::Other(name) => size_of::<Self>() + name.len(),
        }
    }
}
