//! Discovery: asks the backend which metrics there are and swaps the catalog.
//!
//! One task owns the state. It works at a fixed interval, and when a reader asks for a metric that the catalog does not
//! have: then rules that were tried less than [`RETRY`] ago are left as they are, so that no name that is asked for,
//! however often, costs more than one discovery a rule in that time, and one that stays unknown less and less. The readers of
//! one namespace have one discovery a minute, whatever names they ask for ([`budgets`]).
//!
//! For each distinct series selector the label endpoints are asked for the metric names that carry each resource label, and
//! for external rules for all names: bytes that do not grow with the number of series. The label endpoints remember series
//! that have ended, so names that several series claim are confirmed by a query. Where a selector cannot be narrowed, or the
//! backend ignores selectors at its label endpoints, the series endpoint answers instead.

mod ask;
mod budgets;
mod confirm;
mod handle;
mod idle;
mod miss_backoff;
mod problem;
mod round;
mod state;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use budgets::Budgets;
use handle::Ask;
pub use handle::{Clock, Handle};
use jiff::Timestamp;
pub use problem::Problem;
use state::RuleState;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    backends::Backends,
    blocking,
    core::{
        catalog::{Catalog, Claim, MOST_IN_ALL, contests, limit},
        kinds::Kinds,
        rules::RuleSet,
    },
    kubernetes::KindsSource,
    metrics::Metrics,
    prometheus::Audience,
    traces::Traces,
};

/// The least time between two discoveries of a rule that readers ask for.
pub const RETRY: Duration = Duration::from_secs(5);

/// The longest pause between two discoveries while something fails.
const RETRY_FAILED: Duration = Duration::from_secs(15);

/// How old a sample may be that Prometheus takes for a selector without a range, by default.
pub const LOOKBACK: Duration = Duration::from_secs(5 * 60);

/// How many selectors are discovered at the same time.
const CONCURRENCY: usize = 4;

/// What discovery works with.
pub struct Settings {
    /// The time between two discoveries.
    pub interval: Duration,
    /// How far back series are looked for at the least.
    pub max_age: Duration,
    /// How old a sample may be that a query without a range reads. No rule's series are looked for in less time than that, or
    /// than its own query looks back.
    pub lookback: Duration,
}

/// The task and its state.
pub struct Discovery {
    backends: Arc<Backends>,
    kinds_source: KindsSource,
    settings: Settings,
    /// Who reads what is wrong with rules.
    audience: Audience,
    kinds: Arc<Kinds>,
    kinds_known: bool,
    /// When the cluster's kinds were last asked for.
    kinds_asked: Option<Instant>,
    rules: Vec<RuleState>,
    /// Whether the catalog is that of other rules.
    is_replaced: bool,
    catalog: Arc<ArcSwap<Catalog>>,
    asked: mpsc::Receiver<Ask>,
    budgets: Budgets,
    /// How many discoveries have ended.
    rounds: watch::Sender<u64>,
    problems: Arc<ArcSwap<Vec<Problem>>>,
    remarks: Arc<ArcSwap<Vec<Problem>>>,
    /// When the last discovery ended, for people.
    clock: Arc<ArcSwapOption<Clock>>,
    /// Whether the API server did not say which kinds there are.
    lacks_kinds: bool,
    metrics: Arc<Metrics>,
    traces: Traces,
}

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
        let (rounds, ended) = watch::channel(0);
        let kinds = Arc::new(Kinds::default());
        let rules = state::of(rules, Vec::new(), &kinds, &settings);
        let first: Vec<_> = rules.iter().map(|state| state.discovered.clone()).collect();
        let first = Catalog::build(Arc::clone(&kinds), &first, &BTreeSet::new());
        let catalog = Arc::new(ArcSwap::from_pointee(first));
        let (problems, remarks) = (Arc::new(ArcSwap::default()), Arc::new(ArcSwap::default()));
        let published = (Arc::clone(&problems), Arc::clone(&remarks));
        let clock = Arc::new(ArcSwapOption::empty());
        let handle = Handle::new(Arc::clone(&catalog), asks, ended, published, Arc::clone(&clock));
        let kinds_known = false;
        let task = Self {
            backends,
            kinds_source,
            settings,
            audience: Audience::Clients,
            kinds,
            kinds_known,
            kinds_asked: None,
            rules,
            is_replaced: false,
            catalog,
            asked,
            budgets: Budgets::default(),
            rounds,
            problems,
            remarks,
            clock,
            lacks_kinds: false,
            metrics,
            traces,
        };
        (task, handle)
    }

    /// The same, with what is wrong with rules told to these readers, and not only as clients may know it.
    #[must_use]
    pub(crate) fn told_to(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
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
            let is_asked = matches!(ask, Some(Ask::Look(..)));
            let (due, done) = match ask {
                None => (self.due(false), None),
                Some(Ask::Look(namespace, done)) => (self.due_for(&namespace), Some(done)),
                Some(Ask::Replace(rules, done)) => (self.replace(&rules), Some(done)),
            };
            let is_relist = done.is_none();
            // Without rules there are still kinds to learn.
            if !due.is_empty() || is_relist || self.is_replaced {
                let began = Instant::now();
                let span = self.traces.background("discovery");
                let discovery = span.during(self.discover(&due)).instrument(span.log_span());
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = discovery => {}
                }
                // What fails in a discovery that was asked for is not left until the next one by the clock, either.
                let next = Instant::now() + self.pause();
                relist = if is_relist { next } else { relist.min(next) };
                self.tell_clock(began, relist);
                self.rounds.send_modify(|rounds| *rounds += 1);
            }
            if let Some(done) = done {
                // The reader may have gone.
                done.send(()).unwrap_or_default();
            }
            let idle = if is_asked { Vec::new() } else { self.idle_to_examine() };
            if !idle.is_empty() {
                let span = self.traces.background("idle rules");
                let examination = span.during(self.examine(idle)).instrument(span.log_span());
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = examination => {}
                }
            }
        }
    }

    /// Tells when a discovery has ended that began then, and when the next one begins.
    fn tell_clock(&self, began: Instant, next: Instant) {
        let (now, last) = (Instant::now(), Timestamp::now());
        let next = last.checked_add(next.saturating_duration_since(now)).unwrap_or(last);
        let took = now.saturating_duration_since(began);
        self.clock.store(Some(Arc::new(Clock { last, took, next })));
    }

    /// Takes other rules, and says which of them have to be discovered.
    fn replace(&mut self, rules: &RuleSet) -> Vec<usize> {
        let before = std::mem::take(&mut self.rules);
        let mut gone: BTreeSet<_> = before.iter().map(|state| state.rule().id.clone()).collect();
        self.rules = state::of(rules, before, &self.kinds, &self.settings);
        self.is_replaced = true;
        for state in &self.rules {
            gone.remove(&state.rule().id);
        }
        for rule in gone {
            self.metrics.forget_rule(&rule);
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

    /// The rules to discover now for a reader in a namespace.
    fn due_for(&mut self, namespace: &Arc<str>) -> Vec<usize> {
        let due = self.due(true);
        // What costs nothing is not paid for.
        if due.is_empty() || self.budgets.spend(namespace, Instant::now()) {
            due
        } else {
            Vec::new()
        }
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
        let rules = self.rules.iter().flat_map(RuleState::problems);
        let no_kinds = "the API server does not list the kinds of the cluster";
        let no_kinds = self.lacks_kinds.then(|| Problem::new(None, no_kinds));
        let problems = no_kinds.into_iter().chain(rules).collect();
        self.problems.store(Arc::new(problems));
        self.tell_remarks();
    }

    /// Learns which kinds the cluster has, and ties the rules to them where that has changed.
    async fn learn_kinds(&mut self) {
        let kinds = self.kinds_source.kinds().await;
        self.kinds_asked = Some(Instant::now());
        match kinds {
            Ok(kinds) if self.kinds_known && *kinds == *self.kinds => self.lacks_kinds = false,
            Ok(kinds) => {
                self.lacks_kinds = false;
                for state in &mut self.rules {
                    state.tie(&kinds);
                }
                self.kinds = kinds;
                self.kinds_known = true;
            }
            Err(error) => {
                if !self.lacks_kinds {
                    tracing::warn!(%error, "cannot read which kinds the cluster has; retrying");
                }
                self.lacks_kinds = true;
            }
        }
    }

    /// Builds the catalog, asking first which of the contested series are alive.
    async fn swap(&mut self) {
        let mut rules: Vec<_> = self.rules.iter().map(|state| state.discovered.clone()).collect();
        let (rules, contests) = blocking::run(move || {
            limit(&mut rules, MOST_IN_ALL);
            let contests = contests(&rules);
            (rules, contests)
        })
        .await;
        for (state, rule) in self.rules.iter_mut().zip(&rules) {
            state.limit(rule.found.as_ref().map_or(0, |found| found.left_out));
        }
        let window = |rule: usize| self.rules.get(rule).map_or(LOOKBACK, |state| state.window);
        let confirmed = confirm::confirm(&self.backends, &rules, &contests, window).await;
        self.judge(confirmed);
        let alive = (0..).zip(&self.rules).flat_map(|(rule, state)| {
            state.alive.iter().cloned().map(move |(label, series)| Claim { rule, series, label })
        });
        let alive: BTreeSet<_> = alive.collect();
        let kinds = Arc::clone(&self.kinds);
        let build = move || (Catalog::build(kinds, &rules, &alive), alive);
        let (catalog, alive) = blocking::run(build).await;
        self.find_idle(&catalog, &contests, &alive);
        self.metrics.catalog(catalog.len(), catalog.bytes());
        for state in self.rules.iter().filter(|state| state.is_asked_for() && state.is_judged()) {
            let rule = &state.rule().id;
            self.metrics.discovery(rule.clone(), state.is_well(), state.series_names());
            self.metrics.metrics_left_out(rule.clone(), state.left_out);
        }
        tracing::debug!(metrics = catalog.len(), contested = contests.len(), "catalog rebuilt");
        self.catalog.store(Arc::new(catalog));
    }
}
