//! Discovery: asks the backend which metrics there are and swaps the catalog.
//!
//! One task owns the state. It works at a fixed interval, and when a reader asks for a metric that the catalog does not
//! have: then rules that were tried less than [`RETRY`] ago are left as they are, so that no name that is asked for,
//! however often, costs more than one discovery a rule in that time, and one that stays unknown less and less.
//!
//! For each distinct series selector the label endpoints are asked for the metric names that carry each resource label, and
//! for external rules for all names: bytes that do not grow with the number of series. The label endpoints remember series
//! that have ended, so names that several series claim are confirmed by a query. Where a selector cannot be narrowed, or the
//! backend ignores selectors at its label endpoints, the series endpoint answers instead.

mod ask;
mod state;
mod vain;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::{StreamExt as _, future::join_all, stream};
use state::RuleState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use vain::Vain;

use crate::{
    backends::Backends,
    core::{
        catalog::{Api, Catalog, Claim, DiscoveredRule, Found, contests, external},
        kinds::Kinds,
        rules::RuleSet,
    },
    kubernetes::KindsSource,
    metrics::Metrics,
    prometheus::{self, Range, Tenant},
    traces::Traces,
};

/// The least time between two discoveries of a rule that readers ask for.
pub const RETRY: Duration = Duration::from_secs(5);

/// The longest pause between two discoveries while something fails.
const RETRY_FAILED: Duration = Duration::from_secs(15);

/// How many selectors are discovered at the same time.
const CONCURRENCY: usize = 4;

/// What discovery works with.
pub struct Settings {
    /// The time between two discoveries.
    pub interval: Duration,
    /// How far back series are looked for.
    pub max_age: Duration,
}

/// What the task is asked for. The answer comes when it is done, and the catalog has the result.
enum Ask {
    /// Looks again for rules that were not just tried.
    Look(oneshot::Sender<()>),
    /// Takes other rules in place of those that there are.
    Replace(Arc<RuleSet>, oneshot::Sender<()>),
}

/// What readers hold: the catalog, and a way to ask for a fresh one.
#[derive(Clone)]
pub struct Handle {
    catalog: Arc<ArcSwap<Catalog>>,
    asks: mpsc::Sender<Ask>,
    tried: watch::Receiver<bool>,
    problems: Arc<ArcSwap<Vec<String>>>,
    vain: Vain,
}

impl Handle {
    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// A metric of the catalog, by what names it. If the catalog does not have it, every rule that was not tried within
    /// [`RETRY`] is discovered again first, for at most as long: who reads is one of few workers of the HPA controller. A
    /// metric that was looked for in vain is not looked for again for a while.
    pub async fn find<T>(
        &self,
        name: impl Hash,
        find: impl Fn(&Catalog) -> Option<T>,
    ) -> Option<T> {
        if let Some(found) = find(&self.catalog.load()) {
            return Some(found);
        }
        let key = Vain::key(name);
        let now = Instant::now();
        if !self.vain.is_over(key, now).await {
            return None;
        }
        tokio::time::timeout(RETRY, self.ask(Ask::Look)).await.unwrap_or_default();
        let found = find(&self.catalog.load());
        if found.is_none() {
            self.vain.note(key, now).await;
        }
        found
    }

    /// Takes other rules in place of those that there are, and comes back when the catalog is theirs. Until then it is that of
    /// the rules before; what is known of rules that say the same is kept.
    pub async fn replace(&self, rules: Arc<RuleSet>) {
        self.ask(|done| Ask::Replace(rules, done)).await;
    }

    async fn ask(&self, ask: impl FnOnce(oneshot::Sender<()>) -> Ask) {
        let (done, wait) = oneshot::channel();
        if self.asks.send(ask(done)).await.is_ok() {
            // An error is the end of discovery, and so of the process.
            wait.await.unwrap_or_default();
        }
    }

    /// Whether the first discovery has been tried, with whatever result.
    pub fn tried(&self) -> bool {
        *self.tried.borrow()
    }

    /// Changes when a discovery has ended, with whatever result.
    pub fn rounds(&self) -> watch::Receiver<bool> {
        self.tried.clone()
    }

    /// What failed in the last discovery, in sentences that may be told to anybody.
    pub fn problems(&self) -> Arc<Vec<String>> {
        self.problems.load_full()
    }

    /// Waits until the first discovery has been tried.
    pub async fn first_try(&self) {
        self.tried.clone().wait_for(|tried| *tried).await.map(drop).unwrap_or_default();
    }
}

/// The task and its state.
pub struct Discovery {
    backends: Arc<Backends>,
    kinds_source: KindsSource,
    settings: Settings,
    kinds: Arc<Kinds>,
    kinds_known: bool,
    /// When the cluster's kinds were last asked for.
    kinds_asked: Option<Instant>,
    rules: Vec<RuleState>,
    /// Whether the catalog is that of other rules.
    is_replaced: bool,
    /// Of contested claims, those that were alive when they were last asked about.
    alive: BTreeSet<Claim>,
    catalog: Arc<ArcSwap<Catalog>>,
    asked: mpsc::Receiver<Ask>,
    tried: watch::Sender<bool>,
    problems: Arc<ArcSwap<Vec<String>>>,
    kinds_problem: Option<String>,
    metrics: Arc<Metrics>,
    traces: Traces,
}

/// The rules that failed, by the error's text.
type Failures = BTreeMap<String, Vec<String>>;

impl Discovery {
    /// Makes the task, which does nothing before [`Discovery::run`], and the handle for readers.
    pub fn new(
        backends: Arc<Backends>,
        kinds_source: KindsSource,
        rules: &RuleSet,
        settings: Settings,
        metrics: Arc<Metrics>,
        traces: Traces,
    ) -> (Self, Handle) {
        let (asks, asked) = mpsc::channel(64);
        let (tried, was_tried) = watch::channel(false);
        let kinds = Arc::new(Kinds::default());
        let rules = state::of(rules, Vec::new(), &kinds);
        let first: Vec<_> = rules.iter().map(|state| state.discovered.clone()).collect();
        let first = Catalog::build(Arc::clone(&kinds), &first, &BTreeSet::new());
        let catalog = Arc::new(ArcSwap::from_pointee(first));
        let problems = Arc::new(ArcSwap::default());
        let handle = Handle {
            catalog: Arc::clone(&catalog),
            asks,
            tried: was_tried,
            problems: Arc::clone(&problems),
            vain: Vain::new(),
        };
        let kinds_known = false;
        let task = Self {
            backends,
            kinds_source,
            settings,
            kinds,
            kinds_known,
            kinds_asked: None,
            rules,
            is_replaced: false,
            alive: BTreeSet::new(),
            catalog,
            asked,
            tried,
            problems,
            kinds_problem: None,
            metrics,
            traces,
        };
        (task, handle)
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut relist = Instant::now();
        loop {
            let ask = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(relist.into()) => None,
                ask = self.asked.recv() => match ask {
                    Some(ask) => Some(ask),
                    // Nobody reads any more.
                    None => return,
                },
            };
            let (due, done) = match ask {
                None => (self.due(false), None),
                Some(Ask::Look(done)) => (self.due(true), Some(done)),
                Some(Ask::Replace(rules, done)) => (self.replace(&rules), Some(done)),
            };
            let is_relist = done.is_none();
            // Without rules there are still kinds to learn.
            if !due.is_empty() || is_relist || self.is_replaced {
                let span = self.traces.background("discovery");
                let discovery = span.during(self.discover(&due)).instrument(span.log_span());
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = discovery => {}
                }
            }
            if is_relist {
                relist = Instant::now() + self.pause();
            }
            self.tried.send_replace(true);
            if let Some(done) = done {
                // The reader may have gone.
                done.send(()).unwrap_or_default();
            }
        }
    }

    /// Takes other rules, and says which of them have to be discovered.
    fn replace(&mut self, rules: &RuleSet) -> Vec<usize> {
        let name = |state: &RuleState| state.discovered.rule.id.clone();
        let before: BTreeSet<_> = self.rules.iter().map(name).collect();
        self.rules = state::of(rules, std::mem::take(&mut self.rules), &self.kinds);
        self.is_replaced = true;
        // They name rules by their place.
        self.alive.clear();
        for gone in before.difference(&self.rules.iter().map(name).collect()) {
            self.metrics.forget_discovery(gone);
        }
        let is_new = |state: &&RuleState| state.attempted.is_none();
        (0..).zip(&self.rules).filter(|(_, state)| is_new(state)).map(|(index, _)| index).collect()
    }

    /// The time until the next discovery: shorter while something fails.
    fn pause(&self) -> Duration {
        let interval = self.settings.interval;
        if self.problems.load().is_empty() { interval } else { interval.min(RETRY_FAILED) }
    }

    /// The rules to discover now: all at the interval, and for a reader those that were not just tried.
    fn due(&self, for_reader: bool) -> Vec<usize> {
        let is_due =
            |last: Option<Instant>| !for_reader || last.is_none_or(|last| last.elapsed() >= RETRY);
        // Without kinds only external rules can be tried; for the others just the API server would be asked.
        let kinds_due = self.kinds_known || is_due(self.kinds_asked);
        self.rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| is_due(rule.attempted) && (kinds_due || !rule.needs_kinds()))
            .map(|(index, _)| index)
            .collect()
    }

    async fn discover(&mut self, due: &[usize]) {
        self.learn_kinds().await;
        let can_be_tried = |index: &usize| {
            self.kinds_known || self.rules.get(*index).is_some_and(|rule| !rule.needs_kinds())
        };
        let tried: Vec<_> = due.iter().copied().filter(can_be_tried).collect();
        if self.kinds_known || !tried.is_empty() || self.is_replaced {
            self.find(&tried).await;
            self.swap().await;
            self.is_replaced = false;
        }
        // Not the beginning: of the readers who have waited meanwhile, none needs another discovery.
        let attempted = Some(Instant::now());
        for index in due {
            if let Some(state) = self.rules.get_mut(*index) {
                state.attempted = attempted;
            }
        }
        let rules = self.rules.iter().filter_map(RuleState::problem);
        let problems = self.kinds_problem.iter().cloned().chain(rules).collect();
        self.problems.store(Arc::new(problems));
    }

    async fn find(&mut self, due: &[usize]) {
        let range = self.range();
        let groups = self.selectors(due);
        let results = self.ask(groups, range).await;
        let mut failures = Failures::default();
        for (group, found) in &results {
            self.note(group, found.as_ref().map_err(|error| &**error), &mut failures);
        }
        for (error, rules) in failures {
            let rules = rules.join(", ");
            tracing::warn!(rules, error, "discovery failed; keeping what is known");
        }
    }

    /// Asks for all selectors, in the time that one request may take: a backend that hangs costs a round once, not for each
    /// selector.
    async fn ask(
        &self,
        groups: Vec<ask::Group>,
        range: Range,
    ) -> Vec<(ask::Group, Result<Found, Arc<prometheus::Error>>)> {
        let mut by_tenant: HashMap<Tenant, Vec<ask::Group>> = HashMap::new();
        for group in groups {
            by_tenant.entry(group.tenant.clone()).or_default().push(group);
        }
        let found = by_tenant.into_iter().map(|(tenant, groups)| async move {
            // Every backend has its own time: one that hangs does not keep others from being asked.
            let deadline = tokio::time::Instant::now() + tenant.discovery_timeout();
            let in_time = |result| match result {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(Arc::new(error)),
                Err(_elapsed) => Err(Arc::new(tenant.discovery_timed_out())),
            };
            let ignores = tenant.ignores_selectors(range);
            let ignores = match tokio::time::timeout_at(deadline, ignores).await {
                Ok(ignores) => ignores.map_err(Arc::new),
                Err(_elapsed) => Err(Arc::new(tenant.discovery_timed_out())),
            };
            stream::iter(groups)
                .map(|group| {
                    let ignores = ignores.clone();
                    async move {
                        let found = match ignores {
                            Err(error) => Err(error),
                            Ok(ignores) => {
                                let found = ask::discover(&group, range, ignores);
                                in_time(tokio::time::timeout_at(deadline, found).await)
                            }
                        };
                        (group, found)
                    }
                })
                .buffer_unordered(CONCURRENCY)
                .collect::<Vec<_>>()
                .await
        });
        join_all(found).await.into_iter().flatten().collect()
    }

    /// Learns which kinds the cluster has, and ties the rules to them where that has changed.
    async fn learn_kinds(&mut self) {
        let kinds = self.kinds_source.kinds().await;
        self.kinds_asked = Some(Instant::now());
        match kinds {
            Ok(kinds) if self.kinds_known && *kinds == *self.kinds => self.kinds_problem = None,
            Ok(kinds) => {
                self.kinds_problem = None;
                for state in &mut self.rules {
                    state.tie(&kinds);
                }
                self.kinds = kinds;
                self.kinds_known = true;
            }
            Err(error) => {
                if self.kinds_problem.is_none() {
                    tracing::warn!(%error, "cannot learn which kinds the cluster has; trying on");
                }
                let problem = "the API server does not tell which kinds the cluster has";
                self.kinds_problem = Some(problem.to_owned());
            }
        }
    }

    /// The distinct selectors of the rules that have to be asked for, each with the rules and labels that it is asked for.
    fn selectors(&mut self, due: &[usize]) -> Vec<ask::Group> {
        let mut groups: Vec<ask::Group> = Vec::new();
        let mut places: HashMap<(Tenant, String), usize> = HashMap::new();
        for index in due {
            let Some(state) = self.rules.get_mut(*index).filter(|state| state.is_asked_for())
            else {
                continue;
            };
            let DiscoveredRule { rule, api, mapping, .. } = &state.discovered;
            let tenant = match self.backends.discovery_tenant(&rule.options) {
                Ok(tenant) => tenant,
                Err(error) => {
                    tracing::debug!(rule = %rule.id, %error, "nobody can be asked");
                    state.error = Some("its backend cannot be asked");
                    continue;
                }
            };
            let key = (tenant.clone(), rule.selector.text().to_owned());
            let place = *places.entry(key).or_insert_with(|| {
                groups.push(ask::Group::new(tenant, rule.selector.clone()));
                groups.len() - 1
            });
            let Some(group) = groups.get_mut(place) else { continue };
            group.rules.push(*index);
            match api {
                Api::Custom => {
                    group.has_template |= rule.mapping.has_template();
                    group.labels.extend(mapping.labels().map(|(label, _)| label.to_owned()));
                }
                Api::External => {
                    group.labels.insert(external::NAME.to_owned());
                }
            }
        }
        groups
    }

    /// Notes what was found for every rule of a selector. A rule whose discovery failed keeps what it knew; what is new
    /// among the failures is added to `failures`.
    fn note(
        &mut self,
        group: &ask::Group,
        found: Result<&Found, &prometheus::Error>,
        failures: &mut Failures,
    ) {
        for index in &group.rules {
            let Some(state) = self.rules.get_mut(*index) else {
                continue;
            };
            let rule = &state.discovered.rule.id;
            match found {
                Ok(found) => {
                    if state.error.take().is_some() {
                        tracing::info!(%rule, "discovery works again");
                    }
                    state.discovered.found = Some(Arc::new(found.clone()));
                }
                Err(error) => {
                    let public = error.public();
                    if state.error.replace(public) != Some(public) {
                        failures.entry(error.to_string()).or_default().push(rule.clone());
                    }
                }
            }
        }
    }

    /// Builds the catalog, asking first which of the contested series are alive.
    async fn swap(&mut self) {
        let rules: Vec<_> = self.rules.iter().map(|state| state.discovered.clone()).collect();
        let contests = contests(&rules);
        let max_age = self.settings.max_age;
        let alive = ask::alive(&self.backends, &rules, &contests, max_age, &self.alive).await;
        self.alive = alive;
        let alive = &self.alive;
        let catalog = Catalog::build(Arc::clone(&self.kinds), &rules, alive);
        self.metrics.catalog(catalog.len(), catalog.bytes());
        for state in self.rules.iter().filter(|state| state.is_asked_for() && state.is_judged()) {
            let rule = &state.discovered.rule.id;
            self.metrics.discovery(rule, state.error.is_none(), state.series_names());
        }
        tracing::debug!(metrics = catalog.len(), contested = contests.len(), "catalog rebuilt");
        self.catalog.store(Arc::new(catalog));
    }

    fn range(&self) -> Range {
        let now = jiff::Timestamp::now().as_second();
        let max_age = i64::try_from(self.settings.max_age.as_secs()).unwrap_or(i64::MAX);
        // Up to the next whole second: a series that began within this one is there too.
        Range { start: now.saturating_sub(max_age), end: now.saturating_add(1) }
    }
}
