//! Which query is sent for a question: the exact one, or one that many readers share.
//!
//! Questions about the same metric, namespace and metric selector are a group. What can be shared is proven once for a group
//! ([`sharing`]); whether it pays is weighed by who reads ([`cost`]). A shared query that the backend refuses or that is too
//! large for it is left alone for a while, and its readers get exact ones at once.

mod choice;
mod group;

use std::{sync::Arc, time::Duration};

pub use choice::{Choice, WhyExact};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use group::{Exact, Group, Shared};
use moka::future::Cache;

use crate::{
    backends::{Backends, TenantError},
    cache::{
        FetchError, Got, Query, QueryCache, now,
        slot::{How, Life},
    },
    core::{
        plan::{
            self, Objects, PartialPlan, Plan, PlanError, Source, cost,
            sharing::{self, NotShared},
        },
        rules::{Content, QueryOptions},
        samples::Index,
        selector::Selector,
    },
    metrics::Metrics,
    objects::Selected,
    prometheus::Answer,
};

/// The most bytes of groups that are remembered, and what one takes at the least.
const MAX_BYTES: u64 = 32 << 20;
const GROUP_BYTES: usize = 1 << 10;

/// Groups that nobody has read for this time are forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// How many parts of an exact query are sent at the same time.
const PARTS_AT_ONCE: usize = 8;

/// First reads come in crowds, and one query can do for all of them: whoever finds nothing that he can use looks this often for
/// others, until so many looks have found nobody new.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 20;
const QUIET_LOOKS: usize = 3;

/// How long a reader waits to learn whether a narrower query is answered, after he has waited for the shared one in vain.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// A name that no object and no namespace has.
const NOBODY: &str = "loadline-nobody";

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
}

/// A question about objects, as far as planning is concerned.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// How the metric is read.
    pub entry: &'a dyn Source,
    /// The namespace of the objects; nothing for kinds without namespaces.
    pub namespace: Option<&'a str>,
    /// Which objects.
    pub selected: &'a Selected,
    /// Which series.
    pub metric_selector: &'a Selector,
    /// A number that is the same when the same reader asks again.
    pub reader: u64,
}

/// What an autoscaler will read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Announced {
    /// The objects that a selector selects; about so many.
    Selector(usize),
    /// One object.
    Object(Arc<str>),
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

/// What questions have in common that can share a query.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct GroupKey {
    content: Content,
    is_namespaced: bool,
    series: Arc<str>,
    label: Arc<str>,
    /// Nothing for the group of all namespaces, and for kinds without namespaces.
    namespace: Option<Arc<str>>,
    metric_selector: Selector,
}

impl GroupKey {
    fn new(source: &dyn Source, namespace: Option<&str>, metric_selector: &Selector) -> Self {
        Self {
            content: source.content(),
            is_namespaced: source.is_namespaced(),
            series: Arc::clone(source.series()),
            label: Arc::clone(source.label()),
            namespace: namespace.map(Arc::from),
            metric_selector: metric_selector.clone(),
        }
    }
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
            .weigher(|key: &GroupKey, group: &Arc<Group>| {
                let selector: usize = key
                    .metric_selector
                    .requirements()
                    .iter()
                    .map(|r| r.key.len() + r.values.iter().map(String::len).sum::<usize>())
                    .sum();
                u32::try_from(GROUP_BYTES + selector + group.weight()).unwrap_or(u32::MAX)
            })
            .time_to_idle(IDLE)
            .build();
        Self { cache, backends, groups, settings, metrics }
    }

    /// Plans a question and fetches what answers it.
    pub async fn find(&self, asked: Asked<'_>) -> Result<Found, Failure> {
        let found = match &asked.selected.objects {
            Objects::Any => self.everything(asked).await?,
            Objects::Named(names) => {
                let group = self.group(asked.entry, asked.namespace, asked.metric_selector).await;
                match self.choose(asked, names, &group).await {
                    Err(Failure::Fetch(error)) => self.stale(asked, names, &group, error).await?,
                    found => found?,
                }
            }
        };
        self.metrics.plan(found.choice.name());
        tracing::debug!(
            rule = asked.entry.rule(),
            plan = %found.choice,
            queries = found.parts.len(),
            query = found.parts.first().map(|part| &*part.query.text),
            "planned"
        );
        Ok(found)
    }

    /// Fetches the result that everybody in all namespaces can share, whether or not that is the setting: whoever asks for most
    /// of the cluster cannot ask for less. Else it says why there is none.
    pub async fn find_everywhere(
        &self,
        entry: &dyn Source,
        reader: u64,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let group = self.group(entry, None, &Selector::default()).await;
        let found = match group.usable(now()) {
            Ok(shared) => {
                let narrow = || nothing(entry, shared);
                self.fetch_shared(&group, shared, entry, reader, narrow).await?
            }
            Err(why) => Err(why),
        };
        if found.is_ok() {
            self.metrics.plan(Choice::Everywhere.name());
        }
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

    /// An autoscaler that exists is about to read such a query, so that it is fetched before.
    pub async fn expect(
        &self,
        options: &QueryOptions,
        namespace: &str,
        text: Arc<str>,
    ) -> Result<(), Failure> {
        let query = self.query(options, Some(namespace), text)?;
        self.cache.expect(&query, cost::USUAL_PACE).await;
        Ok(())
    }

    /// Autoscalers that exist are about to read a metric, so that what they will read can be fetched before. They replace
    /// those that were announced before for the same metric, namespace and metric selector.
    pub async fn announce(
        &self,
        entry: &dyn Source,
        namespace: Option<&str>,
        metric_selector: &Selector,
        readers: &[Announced],
    ) -> Result<(), Failure> {
        let names = readers.iter().map(|reader| match reader {
            Announced::Selector(names) => *names,
            Announced::Object(_) => 1,
        });
        let names: Vec<_> = names.collect();
        let mut scopes = vec![namespace];
        if self.settings.across_namespaces && namespace.is_some() {
            // Readers come to the group of all namespaces first.
            scopes.insert(0, None);
        }
        let mut query = None;
        for scope in scopes {
            let group = self.group(entry, scope, metric_selector).await;
            let shared = group.announce(namespace, names.clone(), now());
            query = query.or(shared.map(|shared| shared.query.clone()));
        }
        if let Some(query) = query {
            self.cache.expect(&query, cost::USUAL_PACE).await;
            return Ok(());
        }
        for reader in readers {
            // Which objects a selector will select is only known when it comes.
            let Announced::Object(name) = reader else { continue };
            let objects = Objects::Named(vec![Arc::clone(name)]);
            let plan = plan::exact(entry, namespace, &objects, metric_selector)?;
            let query = self.query(entry.options(), namespace, plan.query)?;
            self.cache.expect(&query, cost::USUAL_PACE).await;
        }
        Ok(())
    }

    async fn choose(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
    ) -> Result<Found, Failure> {
        if self.life(asked.entry.options()).ttl.is_zero() {
            return self.exact(asked, names, group, WhyExact::NotKept).await;
        }
        if self.settings.across_namespaces && asked.namespace.is_some() {
            let all = self.group(asked.entry, None, asked.metric_selector).await;
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
        let Asked { entry, namespace, selected, metric_selector, .. } = asked;
        let plan = plan::exact(entry, namespace, &selected.objects, metric_selector)?;
        let parts = vec![self.fetch(asked, plan, None).await?];
        Ok(Found { parts, choice: Choice::Exact(WhyExact::Everything) })
    }

    /// The result of the shared query if that pays, or why it is not used.
    async fn share(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        population: Option<usize>,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        match group.weigh(asked.reader, names.len(), population, now()) {
            Ok(shared) => self.fetch_for(asked, names, group, shared).await,
            Err(why) => Ok(Err(why)),
        }
    }

    /// The result of the shared query for somebody who could also ask for just his objects.
    async fn fetch_for(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        shared: &Shared,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let Asked { entry, namespace, metric_selector, reader, .. } = asked;
        let narrow = || -> Result<Query, Failure> {
            let max_bytes = self.settings.max_query_bytes;
            let plans = plan::exact_in_parts(entry, namespace, names, metric_selector, max_bytes)?;
            let first = plans.into_iter().next();
            let text = first.map_or_else(Arc::default, |part| part.plan.query);
            Ok(self.query(entry.options(), namespace, text)?)
        };
        self.fetch_shared(group, shared, entry, reader, narrow).await
    }

    /// The result of the shared query. Where there is no answer in time, the query of `narrow` tells whether any is answered.
    async fn fetch_shared(
        &self,
        group: &Group,
        shared: &Shared,
        entry: &dyn Source,
        reader: u64,
        narrow: impl FnOnce() -> Result<Query, Failure>,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let got = self.cache.get(&shared.query).await;
        let (error, why) = match got {
            Ok(Got { how: How::Stale(error), .. }) | Err(error) if is_refused(&error) => {
                (error, WhyExact::Failed)
            }
            Err(error) if is_timeout(&error) => {
                // The query is too slow, or Prometheus hangs. Nobody waits as long again to learn which.
                if !self.is_answered(group, narrow()?).await {
                    return Err(Failure::Fetch(error));
                }
                (error, WhyExact::TimedOut)
            }
            Err(error) => return Err(Failure::Fetch(error)),
            Ok(got) => {
                if let (Answer::Vector(vector), How::Fresh) = (got.kept.value().answer(), &got.how)
                {
                    let size = match entry.part_label() {
                        None => vector.samples.len(),
                        // Readers count objects, so what they share is counted in objects, too.
                        Some(_) => got.kept.value().with_index(
                            vector,
                            &shared.plan.key,
                            Index::objects_len,
                        ),
                    };
                    group.fetched(size, now());
                }
                self.abandon(group.move_on(reader, &[])).await;
                let (plan, query) = (Arc::clone(&shared.plan), shared.query.clone());
                return Ok(Ok(Part { plan, got, query, objects: None }));
            }
        };
        pause(group, entry, &error);
        Ok(Err(why))
    }

    /// Whether a narrower query is answered where the shared one is not. One is sent for all readers of the group, and none of
    /// them waits long for it: how it ends is known to those who come later.
    async fn is_answered(&self, group: &Group, query: Query) -> bool {
        let probe = group.probe(|| {
            let cache = self.cache.clone();
            let is_answered =
                async move { matches!(cache.get(&query).await, Ok(Got { how: How::Fresh, .. })) };
            is_answered.boxed().shared()
        });
        let Ok(is_answered) = tokio::time::timeout(PROBE_PATIENCE, probe.clone()).await else {
            return false;
        };
        group.probed(&probe);
        is_answered
    }

    /// Queries for just the objects that are asked for.
    async fn exact(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        why: WhyExact,
    ) -> Result<Found, Failure> {
        let plans = self.exact_plans(asked, names, group)?;
        if matches!(why, WhyExact::CostsMore { .. } | WhyExact::UnknownCost)
            && self.is_new(asked, &plans).await
            && self.gather(group, asked, names.len()).await
            && let Ok(shared) = &group.shared
            && let Ok(part) = self.fetch_for(asked, names, group, shared).await?
        {
            return Ok(Found { parts: vec![part], choice: Choice::Shared });
        }
        let parts: Vec<_> = stream::iter(plans)
            .map(|part| self.fetch(asked, part.plan, Some(Objects::Named(part.names))))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        if parts.iter().all(|part| !matches!(part.got.how, How::Stale(_))) {
            self.abandon(group.move_on(asked.reader, &exact_queries(&parts))).await;
        }
        Ok(Found { parts, choice: Choice::Exact(why) })
    }

    /// How to ask for just these objects.
    fn exact_plans(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
    ) -> Result<Vec<PartialPlan>, PlanError> {
        let Asked { entry, namespace, selected, metric_selector, .. } = asked;
        if !group.is_pointwise() {
            // What one object gets depends on the others, so they have to be asked for together.
            let plan = plan::exact(entry, namespace, &selected.objects, metric_selector)?;
            return Ok(vec![PartialPlan { plan, names: names.to_vec() }]);
        }
        let max_bytes = self.settings.max_query_bytes;
        plan::exact_in_parts(entry, namespace, names, metric_selector, max_bytes)
    }

    /// What was found before for a reader whose plan or objects have changed since, so that there is no older result of the
    /// same query.
    async fn stale(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        error: FetchError,
    ) -> Result<Found, Failure> {
        // Where what one object gets depends on the others, a result for others is none for these.
        let Ok(shared) = &group.shared else { return Err(Failure::Fetch(error)) };
        // A result may have a value for an object that it was not asked for, and that would not be its value.
        let of_these = |mut exact: Exact| {
            exact.names.retain(|name| names.binary_search(name).is_ok());
            (!exact.names.is_empty()).then_some((
                exact.plan,
                exact.query,
                Some(Objects::Named(exact.names)),
            ))
        };
        let exact = group.exact(asked.reader).into_iter().filter_map(of_these).collect();
        let shared = vec![(Arc::clone(&shared.plan), shared.query.clone(), None)];
        for queries in [exact, shared] {
            let mut parts = Vec::new();
            for (plan, query, objects) in queries {
                // Some of the parts would be some of the objects.
                let Some(kept) = self.cache.stale(&query).await else {
                    parts.clear();
                    break;
                };
                let got = Got { kept, how: How::Stale(error.clone()), lease: None };
                parts.push(Part { plan, got, query, objects });
            }
            if !parts.is_empty() {
                return Ok(Found { parts, choice: Choice::Exact(WhyExact::NoNewer) });
            }
        }
        Err(Failure::Fetch(error))
    }

    /// These queries are not refreshed for their former readers any more.
    async fn abandon(&self, queries: Vec<Query>) {
        for query in queries {
            self.cache.abandon(&query).await;
        }
    }

    async fn fetch(
        &self,
        asked: Asked<'_>,
        plan: Plan,
        objects: Option<Objects>,
    ) -> Result<Part, Failure> {
        let query = self.query(asked.entry.options(), asked.namespace, Arc::clone(&plan.query))?;
        let got = self.cache.get(&query).await.map_err(Failure::Fetch)?;
        Ok(Part { plan: Arc::new(plan), got, query, objects })
    }

    /// Whether nobody has asked these queries lately.
    async fn is_new(&self, asked: Asked<'_>, plans: &[PartialPlan]) -> bool {
        let Some(part) = plans.first() else { return false };
        let text = Arc::clone(&part.plan.query);
        match self.query(asked.entry.options(), asked.namespace, text) {
            Ok(query) => !self.cache.has(&query).await,
            Err(_) => false,
        }
    }

    /// Waits a moment for other readers of the group, and says whether there are so many that they share.
    async fn gather(&self, group: &Group, asked: Asked<'_>, names: usize) -> bool {
        let waiting = group.wait(asked.reader, names);
        let (mut seen, mut quiet) = (0, 0);
        for _ in 0..LOOKS {
            let Some(count) = waiting.others(asked.selected.population, now()) else {
                return true;
            };
            quiet = if count > seen { 0 } else { quiet + 1 };
            if quiet >= QUIET_LOOKS {
                return false;
            }
            seen = seen.max(count);
            let began = now();
            tokio::time::sleep(LOOK).await;
            // Where this task had to queue, so have those that are looked for.
            if now().duration_since(began) > LOOK * 2 {
                quiet = 0;
            }
        }
        false
    }

    async fn group(
        &self,
        entry: &dyn Source,
        namespace: Option<&str>,
        metric_selector: &Selector,
    ) -> Arc<Group> {
        let key = GroupKey::new(entry, namespace, metric_selector);
        if let Some(group) = self.groups.get(&key).await {
            return group;
        }
        // The proof takes a while, and a crowd needs it once.
        let group = async {
            let spans = namespace.is_none() && entry.is_namespaced();
            let shared = if spans {
                sharing::everywhere(entry, metric_selector)
            } else {
                sharing::shared(entry, namespace, metric_selector)
            };
            let shared = shared.and_then(|shared| {
                let text = Arc::clone(&shared.plan.query);
                let query = self.query(entry.options(), namespace, text);
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

/// A query that no object matches, to learn whether anything is answered.
fn nothing(entry: &dyn Source, shared: &Shared) -> Result<Query, Failure> {
    let nobody = Objects::Named(vec![NOBODY.into()]);
    let plan = plan::exact(entry, Some(NOBODY), &nobody, &Selector::default())?;
    let life = Life { ttl: PROBE_PATIENCE, max_stale: Duration::ZERO };
    Ok(Query { text: plan.query, life, tenant: shared.query.tenant.clone() })
}

/// Leaves the shared query of a group alone for a while.
fn pause(group: &Group, entry: &dyn Source, error: &FetchError) {
    if let Some(pause) = group.failed(now()) {
        let (rule, pause) = (entry.rule(), pause.as_secs());
        tracing::warn!(rule, %error, "one query for all readers fails; exact ones are sent for {pause} s");
    }
}

fn exact_queries(parts: &[Part]) -> Vec<Exact> {
    let exact = |part: &Part| {
        let names = match &part.objects {
            Some(Objects::Named(names)) => names.clone(),
            Some(Objects::Any) | None => Vec::new(),
        };
        Exact { plan: Arc::clone(&part.plan), query: part.query.clone(), names }
    };
    parts.iter().map(exact).collect()
}

/// Whether a narrower query may succeed where this error came.
fn is_refused(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_about_the_query() && !error.is_timeout())
}

fn is_timeout(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_timeout())
}
