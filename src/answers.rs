//! Answers as they were encoded, for whoever asks for the very same while nothing that they were made from has changed.
//!
//! Who may read is decided before, for each request. An answer is found by the path and query as they were sent, and holds no
//! longer than the catalog, the objects and the query results that it was made from.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Uri;
use moka::future::Cache;
use prometheus_client::metrics::counter::Counter;

use crate::{cache::Lease, core::catalog::Catalog, metrics::Metrics, objects::Content};

/// The most bytes of answers that are kept.
const MAX_BYTES: u64 = 32 << 20;

/// Answers that nobody has asked for this time are dropped: query results seldom live longer.
const IDLE: Duration = Duration::from_secs(60);

/// Answers to reads of metrics.
pub struct Answers {
    kept: Cache<Arc<str>, Arc<Answer>>,
    found: Counter,
    made: Counter,
}

struct Answer {
    body: Bytes,
    basis: Basis,
}

/// What an answer was made from. It keeps nothing of it alive.
#[derive(Debug)]
pub struct Basis {
    catalog: Weak<Catalog>,
    objects: Content,
    results: Box<[Lease]>,
}

impl Basis {
    /// Puts it together, if all of it can be recognised later. The catalog and the objects are those of before the read, so
    /// that what has changed meanwhile is noticed.
    pub fn new(
        catalog: Weak<Catalog>,
        objects: Option<Content>,
        results: impl IntoIterator<Item = Option<Lease>>,
    ) -> Option<Self> {
        let results = results.into_iter().collect::<Option<_>>()?;
        Some(Self { catalog, objects: objects?, results })
    }

    /// Whether a read would be made from the same now. It counts as a read of the results.
    fn holds(&self, catalog: &Arc<Catalog>, now: Instant) -> bool {
        std::ptr::eq(Arc::as_ptr(catalog), self.catalog.as_ptr())
            && self.objects.is_current()
            && self.results.iter().all(|result| result.read(now))
    }
}

impl Answers {
    /// Without any answer yet.
    pub fn new(metrics: &Metrics) -> Self {
        let kept = Cache::builder()
            .name("answers")
            .time_to_idle(IDLE)
            .max_capacity(MAX_BYTES)
            .weigher(|question: &Arc<str>, answer: &Arc<Answer>| {
                let results = answer.basis.results.len() * size_of::<Lease>();
                let bytes = question.len() + size_of::<Answer>() + answer.body.len() + results;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .build();
        Self { kept, found: metrics.answers("kept"), made: metrics.answers("made") }
    }

    /// The answer to a request for this address, if a read would give the same now.
    pub async fn find(&self, uri: &Uri, catalog: &Arc<Catalog>, now: Instant) -> Option<Bytes> {
        let answer = self.kept.get(question(uri)?).await?;
        if !answer.basis.holds(catalog, now) {
            return None;
        }
        self.found.inc();
        Some(answer.body.clone())
    }

    /// Keeps what was just answered, where it is known what it was made from.
    pub async fn keep(&self, uri: &Uri, body: &Bytes, basis: Option<Basis>) {
        self.made.inc();
        if let (Some(question), Some(basis)) = (question(uri), basis) {
            let answer = Answer { body: body.clone(), basis };
            self.kept.insert(question.into(), Arc::new(answer)).await;
        }
    }
}

/// Path and query as they were sent: what means the same in other words is another question.
fn question(uri: &Uri) -> Option<&str> {
    uri.path_and_query().map(http::uri::PathAndQuery::as_str)
}
