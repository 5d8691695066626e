//! Which query answers a read: an exact one, or one that many readers share.
//!
//! [`sharing`](crate::core::sharing) decides, and this fetches. A shared query that the backend refuses, or that is too large or
//! too slow for it, is not sent for a while, and its readers get exact ones at once.

mod groups;
mod results;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use groups::{Group, Groups};
pub use results::{Attempt, Failure, Part, Results, public};
use results::{fresh_size, is_refused, is_timeout, may_be_too_wide};

use crate::{
    backends::{BackendError, Backends},
    cache::{FetchError, Lookup, Query, QueryCache, now, slot::How, slot::Life},
    core::{
        fair_share::Owner,
        overview::{PlanRow, Shown},
        plan::{self, Objects, Plan, Source},
        repeats::Repeats,
        rules::{Fingerprint, QueryOptions, RuleId},
        selector::Selector,
        sharing::{
            Action, By, ExactQuery, LOOK, Read, SharedQuery,
            choice::{Choice, WhyExact},
            cost::USUAL_PACE,
        },
    },
    metrics::Metrics,
    objects::Selected,
};

/// How many parts of an exact query are sent at the same time.
const PARTS_AT_ONCE: usize = 8;

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
        Self { life, across_namespaces: true, max_query_bytes: 8 << 10 }
    }
}

type Result<T, E = Failure> = std::result::Result<T, E>;

/// Plans reads and fetches their results.
pub struct Planner {
    cache: QueryCache,
    backends: Arc<Backends>,
    groups: Groups,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// Which shared queries were logged to fail lately.
    logged: Mutex<Repeats>,
}

/// A read of objects, as far as planning is concerned.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// What the queries are rendered from.
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

/// What an autoscaler will read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExpectedObjects {
    /// What a selector selects: about so many.
    Selected(usize),
    /// One, by name.
    Named(Arc<str>),
}

impl Planner {
    /// Without any groups yet. They may take `max_bytes` with their readers.
    pub fn new(
        cache: QueryCache,
        backends: Arc<Backends>,
        settings: Settings,
        max_bytes: u64,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (groups, logged) = (Groups::new(max_bytes), Mutex::default());
        Self { cache, backends, groups, settings, metrics, logged }
    }

    /// Plans a read and fetches its results.
    pub async fn find(&self, asked: Asked<'_>) -> Result<Results> {
        let Asked { source, namespace, selected, metric_selector, .. } = asked;
        let results = match &selected.objects {
            Objects::Any => {
                let plan = plan::exact(source, namespace, &Objects::Any, metric_selector)?;
                let parts = vec![self.fetch(asked, plan, None).await?];
                Results { parts, choice: Choice::Exact(WhyExact::Everything) }
            }
            Objects::Named(_) => {
                let group = self.group(source, namespace, metric_selector).await;
                match self.choose(asked, &group).await {
                    Err(Failure::Fetch(error)) => self.stale(asked, &group, error).await?,
                    results => results?,
                }
            }
        };
        self.metrics.plan(results.choice.name());
        tracing::debug!(
            rule = %source.rule,
            plan = %results.choice,
            queries = results.parts.len(),
            query = results.parts.first().map(|part| &*part.query.text),
            "planned"
        );
        Ok(results)
    }

    /// Fetches the result that all readers in all namespaces can share, whether or not that is the setting: a read of most of the
    /// cluster cannot be narrower.
    pub async fn find_everywhere(&self, source: Source<'_>) -> Result<Attempt> {
        let group = self.group(source, None, &Selector::default()).await;
        let usable = group.lock().usable(now());
        let attempt = match usable {
            Ok(shared) => self.fetch_shared(&group, &shared, source, "").await?,
            Err(why) => Attempt::Exact(why),
        };
        if matches!(attempt, Attempt::Shared(_)) {
            self.metrics.plan(Choice::Everywhere.name());
        }
        Ok(attempt)
    }

    /// The result of a query that selects no objects, and so is not planned.
    pub async fn ask(
        &self,
        options: &QueryOptions,
        namespace: &str,
        text: Arc<str>,
    ) -> Result<Lookup> {
        let query = self.query(options, Some(namespace), text)?;
        Ok(self.cache.get(&query).await?)
    }

    /// Fetches such a query before an autoscaler asks for it.
    pub async fn prefetch_query(
        &self,
        options: &QueryOptions,
        namespace: &str,
        text: Arc<str>,
    ) -> Result<()> {
        let query = self.query(options, Some(namespace), text)?;
        self.cache.expect(&query, USUAL_PACE).await;
        Ok(())
    }

    /// Fetches what autoscalers will read of a metric. They replace those that were expected before of the same metric, namespace
    /// and metric selector.
    pub async fn prefetch(
        &self,
        source: Source<'_>,
        namespace: Option<&str>,
        metric_selector: &Selector,
        readers: &[ExpectedObjects],
    ) -> Result<()> {
        let names = readers.iter().map(|reader| match reader {
            ExpectedObjects::Selected(objects) => *objects,
            ExpectedObjects::Named(_) => 1,
        });
        let names = names.sum();
        let across = self.may_span(source, namespace);
        let mut shared = None;
        // Readers try the group of all namespaces first.
        for scope in across.then_some(None).into_iter().chain([namespace]) {
            let group = self.group(source, scope, metric_selector).await;
            let expect = self
                .groups
                .update(&group, |sharing| sharing.expect(now(), namespace, readers.len(), names));
            shared = shared.or(expect.await);
        }
        if let Some(shared) = shared {
            let scope = if shared.key.spans { None } else { namespace };
            let query = shared.query.clone().asked_for(scope.unwrap_or_default());
            self.cache.expect(&query, USUAL_PACE).await;
            return Ok(());
        }
        for reader in readers {
            // Which objects a selector selects is only known when it comes.
            let ExpectedObjects::Named(name) = reader else { continue };
            let objects = Objects::Named(vec![Arc::clone(name)]);
            let plan = plan::exact(source, namespace, &objects, metric_selector)?;
            let query = self.query(source.options, namespace, plan.query)?;
            self.cache.expect(&query, USUAL_PACE).await;
        }
        Ok(())
    }

    /// How readers are answered: the groups with the most readers. `rule` knows the rules by their content.
    pub fn plans(
        &self,
        most: usize,
        rule: impl Fn(Fingerprint) -> Option<String>,
    ) -> Shown<PlanRow> {
        self.groups.largest(now(), most, rule)
    }

    /// Fetches the results that answer a read of these objects.
    async fn choose(&self, asked: Asked<'_>, group: &Arc<Group>) -> Result<Results> {
        let Asked { source, namespace, selected, reader, .. } = asked;
        let (names, place) = (asked.names().len(), number(namespace));
        if self.life(source.options).ttl.is_zero() {
            return self.exact(asked, group, WhyExact::NotKept).await;
        }
        if let Some(all) = self.everywhere(asked).await {
            let population = selected.population;
            let read = Read { reader, namespace: place, names, population, may_wait: false };
            match self.share(asked, &all, read).await? {
                Attempt::Shared(part) => {
                    self.abandon(self.groups.update(group, |it| it.leave(reader)).await).await;
                    return Ok(Results { parts: vec![part], choice: Choice::Everywhere });
                }
                Attempt::Exact(why) => {
                    // The query is not refreshed any more once nobody reads it.
                    self.answered(&all, reader, By::Nothing).await;
                    // An exact query is answered, and one for the namespace could take as long again.
                    if matches!(why, WhyExact::TimedOut) {
                        return self.exact(asked, group, why).await;
                    }
                }
            }
        }
        let population = selected.population;
        let read = Read { reader, namespace: place, names, population, may_wait: true };
        match self.share(asked, group, read).await? {
            Attempt::Shared(part) => Ok(Results { parts: vec![part], choice: Choice::Shared }),
            Attempt::Exact(why) => self.exact(asked, group, why).await,
        }
    }

    /// Whether a read in a namespace may use a query for all namespaces. That of a team's rule is for one, whose quota it uses.
    fn may_span(&self, source: Source<'_>, namespace: Option<&str>) -> bool {
        self.settings.across_namespaces
            && namespace.is_some()
            && source.options.owner == Owner::File
    }

    /// The group of all namespaces, where a read may use its query.
    async fn everywhere(&self, asked: Asked<'_>) -> Option<Arc<Group>> {
        if !self.may_span(asked.source, asked.namespace) {
            return None;
        }
        Some(self.group(asked.source, None, asked.metric_selector).await)
    }

    /// Does what is decided about a read in a group.
    async fn share(&self, asked: Asked<'_>, group: &Arc<Group>, read: Read) -> Result<Attempt> {
        loop {
            match self.groups.update(group, |sharing| sharing.decide(now(), read)).await {
                Action::Gather => tokio::time::sleep(LOOK).await,
                Action::Exact(why) => return Ok(Attempt::Exact(why)),
                Action::Share(shared) => {
                    let attempt =
                        self.fetch_shared(group, &shared, asked.source, asked.scope).await?;
                    if matches!(attempt, Attempt::Shared(_)) {
                        self.answered(group, read.reader, By::Shared).await;
                    }
                    return Ok(attempt);
                }
            }
        }
    }

    /// Fetches the result of a shared query, which uses the share of a namespace; that of all namespaces uses nobody's.
    async fn fetch_shared(
        &self,
        group: &Arc<Group>,
        shared: &SharedQuery<Query>,
        source: Source<'_>,
        scope: &str,
    ) -> Result<Attempt> {
        let query = shared.query.clone().asked_for(if shared.key.spans { "" } else { scope });
        let (error, why) = match self.cache.get(&query).await {
            Ok(Lookup { how: How::Stale(error), .. }) | Err(error) if is_refused(&error) => {
                (error, WhyExact::Failed)
            }
            // A proxy may end or forbid a query for all namespaces, and forward narrower ones.
            Err(error)
                if shared.key.spans && may_be_too_wide(&error, group.lock().was_answered()) =>
            {
                (error, WhyExact::Failed)
            }
            // The query was too slow. If Prometheus hangs, that is known by now, and nobody waits as long again.
            Err(error) if is_timeout(&error) && !query.backend.is_silent() => {
                (error, WhyExact::TimedOut)
            }
            Err(error) => return Err(Failure::Fetch(error)),
            Ok(got) => {
                if let Some(size) = fresh_size(&got, source, &shared.key) {
                    group.lock().fetched(now(), size);
                }
                let key = shared.key.clone();
                return Ok(Attempt::Shared(Part { key, got, query, objects: None }));
            }
        };
        let pause = group.lock().failed(now());
        if let Some(pause) = pause {
            self.log_pause(source.rule, &error, pause);
            // Nor is it refreshed in its pause.
            self.cache.abandon(&query).await;
        }
        Ok(Attempt::Exact(why))
    }

    /// Fetches the results of queries for just the objects that are asked for.
    async fn exact(&self, asked: Asked<'_>, group: &Arc<Group>, why: WhyExact) -> Result<Results> {
        // What one object gets may depend on the others, and then they have to be asked for together.
        let is_pointwise = group.lock().shared_query().is_some();
        let max_bytes = if is_pointwise { self.settings.max_query_bytes } else { usize::MAX };
        let Asked { source, namespace, metric_selector, .. } = asked;
        let plans =
            plan::exact_in_parts(source, namespace, asked.names(), metric_selector, max_bytes)?;
        let parts: Vec<_> = stream::iter(plans)
            .map(|part| self.fetch(asked, part.plan, Some(Objects::Named(part.names))))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        if parts.iter().all(|part| !matches!(part.got.how, How::Stale(_))) {
            let queries = parts.iter().filter_map(Part::exact).collect();
            self.answered(group, asked.reader, By::Exact(queries)).await;
        }
        Ok(Results { parts, choice: Choice::Exact(why) })
    }

    /// What was found before for a reader whose plan or objects have changed since, so that there is no older result of the
    /// same query.
    async fn stale(&self, asked: Asked<'_>, group: &Group, error: FetchError) -> Result<Results> {
        let (shared, exact) = group.lock().last_queries(asked.reader);
        // Where what one object gets depends on the others, a result for others is none for these.
        let Some(shared) = shared else { return Err(error.into()) };
        // A result may have a value for an object that it was not asked for, and that would not be its value.
        let exact = exact.into_iter().filter_map(|ExactQuery { query, names: mut of }| {
            of.retain(|name| asked.names().binary_search(name).is_ok());
            (!of.is_empty()).then_some((query, Some(Objects::Named(of))))
        });
        let mut candidates = vec![
            (shared.key.clone(), exact.collect()),
            (shared.key.clone(), vec![(shared.query.clone(), None)]),
        ];
        if let Some(everywhere) = self.everywhere(asked).await
            && let Some(shared) = everywhere.lock().shared_query()
        {
            candidates.push((shared.key.clone(), vec![(shared.query.clone(), None)]));
        }
        let mut newest: Option<(Duration, Vec<Part>)> = None;
        for (key, queries) in candidates {
            let parts = queries.into_iter().map(|(query, objects)| async {
                let kept = self.cache.stale(&query).await?;
                let got = Lookup { kept, how: How::Stale(error.clone()) };
                Some(Part { key: key.clone(), got, query, objects })
            });
            // Some of the parts would be some of the objects.
            let Some(parts) = join_all(parts).await.into_iter().collect::<Option<Vec<_>>>() else {
                continue;
            };
            let Some(age) = parts.iter().map(|part| part.got.kept.age(now())).max() else {
                continue;
            };
            if newest.as_ref().is_none_or(|(newest, _)| age < *newest) {
                newest = Some((age, parts));
            }
        }
        if let Some((age, parts)) = newest {
            self.metrics.stale_read(age.as_secs_f64());
            return Ok(Results { parts, choice: Choice::Exact(WhyExact::NoNewer) });
        }
        Err(error.into())
    }

    async fn fetch(&self, asked: Asked<'_>, plan: Plan, objects: Option<Objects>) -> Result<Part> {
        let query = self.query(asked.source.options, asked.namespace, plan.query)?;
        let query = query.asked_for(asked.scope);
        let got = self.cache.get(&query).await?;
        Ok(Part { key: plan.key, got, query, objects })
    }

    /// A reader was answered; what it was answered by before is no longer refreshed if nobody else reads it.
    async fn answered(&self, group: &Arc<Group>, reader: u64, by: By<Query>) {
        let left = self.groups.update(group, |sharing| sharing.answered(reader, by)).await;
        self.abandon(left).await;
    }

    /// These queries are not refreshed for their former readers any more.
    async fn abandon(&self, queries: Vec<Query>) {
        for query in queries {
            self.cache.abandon(&query).await;
        }
    }

    /// Logs that a shared query is not sent for a while. A rule has many groups, which fail alike.
    fn log_pause(&self, rule: &RuleId, error: &FetchError, pause: Duration) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(untold) = logged.tell((rule, is_timeout(error)), Instant::now()) else { return };
        drop(logged);
        let (suppressed, pause) = (Some(untold).filter(|untold| *untold > 0), pause.as_secs());
        let rule = rule.to_string();
        tracing::warn!(rule, %error, suppressed, "one query for all readers fails; exact ones are sent for {pause} s");
    }

    async fn group(
        &self,
        source: Source<'_>,
        namespace: Option<&str>,
        metric_selector: &Selector,
    ) -> Arc<Group> {
        let query = |text| self.query(source.options, namespace, text);
        self.groups.get(source, namespace, metric_selector, query).await
    }

    /// A query of a rule, and who is asked.
    fn query(
        &self,
        options: &QueryOptions,
        namespace: Option<&str>,
        text: Arc<str>,
    ) -> Result<Query, BackendError> {
        let backend = self.backends.handle(options, namespace.unwrap_or_default())?;
        Ok(Query { text, life: self.life(options), backend })
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

/// A number that is the same for equal namespaces.
fn number(namespace: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    hasher.finish()
}

impl<'a> Asked<'a> {
    /// The objects by name, where they are known.
    fn names(&self) -> &'a [Arc<str>] {
        match &self.selected.objects {
            Objects::Named(names) => names,
            Objects::Any => &[],
        }
    }
}
