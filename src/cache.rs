//! Query results, kept for a short while and fetched once for all who wait.
//!
//! The key is the query's text, so equal questions meet whoever asks them.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tokio_util::task::TaskTracker;

use crate::{
    prometheus::{Answer, Error, Prometheus},
    single_flight::{FlightError, SingleFlight},
};

/// The most bytes of results that are kept.
const MAX_BYTES: u64 = 128 << 20;

/// The cache in front of one backend.
pub struct QueryCache {
    prometheus: Arc<Prometheus>,
    /// Nothing where caching is off: then every read is a query.
    results: Option<SingleFlight<Arc<str>, Arc<Answer>>>,
}

/// Why there is no result.
pub type FetchError = FlightError<Error>;

impl QueryCache {
    /// A cache that keeps results for `ttl`; zero turns it off.
    pub fn new(prometheus: Arc<Prometheus>, ttl: Duration, fetches: TaskTracker) -> Self {
        let results = (!ttl.is_zero()).then(|| {
            let results = Cache::builder()
                .name("query results")
                .time_to_live(ttl)
                .max_capacity(MAX_BYTES)
                .weigher(|query: &Arc<str>, answer: &Arc<Answer>| {
                    u32::try_from(query.len() + answer.weight()).unwrap_or(u32::MAX)
                })
                .build();
            SingleFlight::new(results, fetches)
        });
        Self { prometheus, results }
    }

    /// The result of a query: one that is fresh, or one that is being fetched, or a new one.
    pub async fn get(&self, query: &str) -> Result<Arc<Answer>, FetchError> {
        let query: Arc<str> = Arc::from(query);
        let (text, prometheus) = (Arc::clone(&query), Arc::clone(&self.prometheus));
        let fetch = async move { prometheus.query(&text).await.map(Arc::new) };
        match &self.results {
            Some(results) => results.get(query, fetch).await,
            None => fetch.await.map_err(|error| FetchError::Failed(Arc::new(error))),
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
