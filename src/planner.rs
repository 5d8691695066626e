//! Which query is sent for a question: the exact one, or one that many readers share.
//!
//! Questions about the same metric, namespace and metric selector are a group. What can be shared is proven once for a group
//! ([`sharing`]); whether it pays is weighed by who reads ([`cost`](plan::cost)). A shared query that the backend refuses, or that
//! is too large or too slow for it, is left alone for a while, and its readers get exact ones at once.

mod announce;
mod choice;
mod exact;
mod group;
mod shared;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

pub use announce::Announced;
pub use choice::{Choice, WhyExact};
use group::{Group, GroupKey};
use moka::future::Cache;

use crate::{
    backends::{Backends, TenantError},
    cache::{FetchError, Got, Query, QueryCache, slot::Life},
    core::{
        plan::{
            self, Objects, Plan, PlanError, Source,
            sharing::{self, NotShared},
        },
        repeats::Repeats,
        rules::QueryOptions,
        selector::Selector,
    },
    metrics::Metrics,
    objects::Selected,
};

/// The most bytes of groups that are remembered.
const MAX_BYTES: u64 = 32 << 20;

/// Groups that nobody has read for this time are forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// What planning works with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long results may be used.
    pub life: Life,
    /// Whether one query may be shared by readers in different namespaces.
    pub across_namespaces: bool,
    /// The length in bytes from which on an exact query is sent in parts, where that has the same answer.
    pub max_query_bytes: usize,
}

impl Settings {
    /// The defaults, but with results that are fresh for `ttl`.
    pub fn with_ttl(ttl: Duration) -> Self {
        let life = Life { ttl, max_stale: Duration::from_secs(30) };
        Self { life, across_namespaces: false, max_query_bytes: 8 << 10 }
    }
}

/// Plans questions and fetches their results.
pub struct Planner {
    cache: QueryCache,
    backends: Arc<Backends>,
    groups: Cache<GroupKey, Arc<Group>>,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// Which shared queries were told to fail lately.
    told: Mutex<Repeats>,
}

/// A question about objects, as far as planning is concerned.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// How the metric is read.
    pub source: Source<'a>,
    /// The namespace of the objects; nothing for kinds without namespaces.
    pub namespace: Option<&'a str>,
    /// The namespace whose share of the backend is used: also that of a namespace that is the object; empty where there is none.
    pub scope: &'a str,
    /// Which objects.
    pub selected: &'a Selected,
    /// Which series.
    pub metric_selector: &'a Selector,
    /// A number that is the same when the same reader asks again.
    pub reader: u64,
}

/// The results that hold the answer to a question.
#[derive(Debug)]
pub struct Found {
    /// One result, or several that have some of the objects each, in the order of their names.
    pub parts: Vec<Part>,
    /// How the question was put.
    pub choice: Choice,
}

/// One result.
#[derive(Debug)]
pub struct Part {
    /// How the result is read.
    pub plan: Arc<Plan>,
    /// The result.
    pub got: Got,
    /// The query, to ask for it again.
    pub query: Query,
    /// The objects that are in this part; nothing where all that were asked for are.
    pub objects: Option<Objects>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The question cannot be put.
    #[error(transparent)]
    Plan(PlanError),
    /// Nobody can be asked.
    #[error(transparent)]
    Tenant(TenantError),
    /// The backend has not answered.
    #[error(transparent)]
    Fetch(FetchError),
}

impl Planner {
    /// Without any groups yet.
    pub fn new(
        cache: QueryCache,
        backends: Arc<Backends>,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let groups = Cache::builder()
            .name("questions that can share a query")
            .max_capacity(MAX_BYTES)
            .weigher(group::weight)
            .time_to_idle(IDLE)
            .build();
        Self { cache, backends, groups, settings, metrics, told: Mutex::default() }
    }

    /// Plans a question and fetches what answers it.
    pub async fn find(&self, asked: Asked<'_>) -> Result<Found, Failure> {
        let found = match &asked.selected.objects {
            Objects::Any => self.everything(asked).await?,
            Objects::Named(names) => {
                let group = self.group(asked.source, asked.namespace, asked.metric_selector).await;
                match self.choose(asked, names, &group).await {
                    Err(Failure::Fetch(error)) => self.stale(asked, names, &group, error).await?,
                    found => found?,
                }
            }
        };
        self.metrics.plan(found.choice.name());
        tracing::debug!(
            rule = asked.source.rule,
            plan = %found.choice,
            queries = found.parts.len(),
            query = found.parts.first().map(|part| &*part.query.text),
            "planned"
        );
        Ok(found)
    }

    /// The result of a query that has no objects to pick, and so is not planned.
    pub async fn ask(
        &self,
        options: &QueryOptions,
        namespace: &str,
        text: Arc<str>,
    ) -> Result<Got, Failure> {
        let query = self.query(options, Some(namespace), text)?;
        self.cache.get(&query).await.map_err(Failure::Fetch)
    }

    async fn choose(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
    ) -> Result<Found, Failure> {
        if self.life(asked.source.options).ttl.is_zero() {
            return self.exact(asked, names, group, WhyExact::NotKept).await;
        }
        if self.settings.across_namespaces && asked.namespace.is_some() {
            let all = self.group(asked.source, None, asked.metric_selector).await;
            match self.share(asked, names, &all, None).await? {
                Ok(part) => {
                    self.abandon(group.leave(asked.reader)).await;
                    return Ok(Found { parts: vec![part], choice: Choice::Everywhere });
                }
                // An exact query is answered, and one for the namespace could take as long again.
                Err(why @ WhyExact::TimedOut) => return self.exact(asked, names, group, why).await,
                Err(_) => {}
            }
        }
        match self.share(asked, names, group, asked.selected.population).await? {
            Ok(part) => Ok(Found { parts: vec![part], choice: Choice::Shared }),
            Err(why) => self.exact(asked, names, group, why).await,
        }
    }

    /// The query for whatever there is, where nobody knows the objects.
    async fn everything(&self, asked: Asked<'_>) -> Result<Found, Failure> {
        let Asked { source, namespace, selected, metric_selector, .. } = asked;
        let plan = plan::exact(source, namespace, &selected.objects, metric_selector)?;
        let parts = vec![self.fetch(asked, plan, None).await?];
        Ok(Found { parts, choice: Choice::Exact(WhyExact::Everything) })
    }

    /// These queries are not refreshed for their former readers any more.
    async fn abandon(&self, queries: Vec<Query>) {
        for query in queries {
            self.cache.abandon(&query).await;
        }
    }

    async fn group(
        &self,
        source: Source<'_>,
        namespace: Option<&str>,
        metric_selector: &Selector,
    ) -> Arc<Group> {
        let key = GroupKey::new(source, namespace, metric_selector);
        if let Some(group) = self.groups.get(&key).await {
            return group;
        }
        // The proof takes a while, and a crowd needs it once.
        let group = async {
            let spans = namespace.is_none() && source.is_namespaced;
            let shared = if spans {
                sharing::everywhere(source, metric_selector)
            } else {
                sharing::shared(source, namespace, metric_selector)
            };
            let shared = shared.and_then(|shared| {
                let text = Arc::clone(&shared.plan.query);
                let query = self.query(source.options, namespace, text);
                // The exact query fails in the same way, and says so.
                let query = query.map_err(|error| NotShared::Template(error.to_string()))?;
                Ok((shared, query))
            });
            Arc::new(Group::new(shared))
        };
        self.groups.get_with(key, group).await
    }

    /// A query of a rule, and who is asked.
    fn query(
        &self,
        options: &QueryOptions,
        namespace: Option<&str>,
        text: Arc<str>,
    ) -> Result<Query, TenantError> {
        let tenant = self.backends.tenant(options, namespace.unwrap_or_default())?;
        Ok(Query { text, life: self.life(options), tenant })
    }

    /// How long the results of a rule may be used.
    fn life(&self, options: &QueryOptions) -> Life {
        let Life { ttl, max_stale } = self.settings.life;
        Life {
            ttl: options.cache_ttl.unwrap_or(ttl),
            max_stale: options.max_stale.unwrap_or(max_stale),
        }
    }
}

impl From<TenantError> for Failure {
    fn from(error: TenantError) -> Self {
        Self::Tenant(error)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}
