//! Queries that explain a missing value: at most one a minute for each rule and label, whatever is read.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use crate::{
    core::{plan::Source, rules::Fingerprint, samples::Vector},
    planner::Planner,
    prometheus::Answer,
};

/// How long a result is used before the next query.
const PAUSE: Duration = Duration::from_secs(60);

/// How long a reader waits for an explanation.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most rules and labels that are remembered. With more, some are looked for more often.
const MAX_RULES: u64 = 10_000;

/// What was found of late.
pub(super) struct Looks {
    planner: Arc<Planner>,
    seen: Cache<(Fingerprint, Arc<str>), Arc<Look>>,
}

/// What explains a missing value.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The scrape has renamed a label to this one.
    Renamed(String),
    /// There are samples, without the label that names objects.
    Unlabelled,
    /// There is a sample of this name, which no object has.
    Stranger {
        /// The value of the label that names objects.
        name: String,
        /// Whether no other sample has the name of an object.
        is_alone: bool,
    },
}

struct Look {
    namespace: String,
    query: String,
    found: Option<Found>,
}

impl Looks {
    pub(super) fn new(planner: Arc<Planner>) -> Self {
        let seen = Cache::builder()
            .name("explanations of missing values")
            .max_capacity(MAX_RULES)
            .time_to_live(PAUSE)
            .build();
        Self { planner, seen }
    }

    /// What `read` finds in the result of a query about objects of `source`; nothing if something else was looked for a short
    /// while ago, or there is no answer in time.
    pub(super) async fn look(
        &self,
        source: Source<'_>,
        namespace: &str,
        query: &str,
        read: impl AsyncFnOnce(&Vector) -> Option<Found>,
    ) -> Option<Found> {
        let find = Box::pin(async {
            let got = self.planner.ask(source.options, namespace, query.into()).await.ok()?;
            match got.kept.value().answer() {
                Answer::Vector(vector) => read(vector).await,
                Answer::Scalar(..) | Answer::Other(_) => None,
            }
        });
        let look = async {
            let found = tokio::time::timeout(PATIENCE, find).await.ok().flatten();
            tracing::debug!(rule = %source.rule, query, ?found, "looked for what explains it");
            Arc::new(Look { namespace: namespace.to_owned(), query: query.to_owned(), found })
        };
        let key = (source.fingerprint, Arc::clone(source.label));
        let seen = self.seen.get_with(key, look).await;
        let is_this = seen.namespace == namespace && seen.query == query;
        seen.found.clone().filter(|_| is_this)
    }
}
