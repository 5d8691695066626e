//! Queries that explain a missing value: at most one a minute for each rule and label, whatever is read.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use crate::{
    core::{
        plan::{self, Source},
        rules::{Fingerprint, QueryOptions, RuleBase, RuleId},
        samples::Vector,
    },
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

/// The rule and the label that a look is about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    rule: &'a RuleId,
    fingerprint: Fingerprint,
    options: &'a QueryOptions,
    label: &'a Arc<str>,
}

impl<'a> About<'a> {
    pub(super) fn new(rule: &'a RuleBase, label: &'a Arc<str>) -> Self {
        let RuleBase { id, fingerprint, options, .. } = rule;
        Self { rule: id, fingerprint: *fingerprint, options, label }
    }
}

impl<'a> From<Source<'a>> for About<'a> {
    fn from(source: Source<'a>) -> Self {
        let Source { rule, fingerprint, options, label, .. } = source;
        Self { rule, fingerprint, options, label }
    }
}

/// What explains a missing value.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The scrape has renamed this label.
    Renamed(Arc<str>),
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

impl Found {
    /// The label that the scrape has renamed, as far as the result of a query of [`plan::renamed`] says so.
    pub(super) fn renamed(vector: &Vector) -> Option<Self> {
        let label = vector.samples.first()?.label(plan::RENAMED)?;
        Some(Self::Renamed(label.into()))
    }
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

    /// What `read` finds in the result of a query; nothing if something else was looked for a short
    /// while ago, or there is no answer in time.
    pub(super) async fn look(
        &self,
        about: impl Into<About<'_>>,
        namespace: &str,
        query: &str,
        read: impl AsyncFnOnce(&Vector) -> Option<Found>,
    ) -> Option<Found> {
        let About { rule, fingerprint, options, label } = about.into();
        let find = Box::pin(async {
            let got = self.planner.ask(options, namespace, query.into()).await.ok()?;
            match got.kept.value().answer() {
                Answer::Vector(vector) => read(vector).await,
                Answer::Scalar(..) | Answer::Other(_) => None,
            }
        });
        let look = async {
            let found = tokio::time::timeout(PATIENCE, find).await.ok().flatten();
            tracing::debug!(%rule, query, ?found, "looked for what explains it");
            Arc::new(Look { namespace: namespace.to_owned(), query: query.to_owned(), found })
        };
        let key = (fingerprint, Arc::clone(label));
        let seen = self.seen.get_with(key, look).await;
        let is_this = seen.namespace == namespace && seen.query == query;
        seen.found.clone().filter(|_| is_this)
    }

    /// The label that the scrape has renamed, as the result of a query of [`plan::renamed`] says it.
    pub(super) async fn renamed(
        &self,
        about: impl Into<About<'_>>,
        namespace: &str,
        query: &str,
    ) -> Option<Arc<str>> {
        let read = async |vector: &Vector| Found::renamed(vector);
        match self.look(about, namespace, query, read).await? {
            Found::Renamed(label) => Some(label),
            Found::Unlabelled | Found::Stranger { .. } => None,
        }
    }
}
