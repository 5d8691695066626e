//! The readers of one metric in one namespace: what they can share, and whether it pays.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::WhyExact;
use crate::{
    cache::Query,
    core::plan::{
        Plan,
        cost::{self, Demand},
        sharing::{self, NotShared},
    },
};

/// How long a shared query that failed is left alone; twice as long after each further failure.
const LEAST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// So many readers are taken for all there are where nobody knows how many objects a namespace has.
const CROWD: usize = 8;

/// What can be shared, and the state of the decision.
#[derive(Debug)]
pub(super) struct Group {
    /// The query for everybody, or why there is none.
    pub(super) shared: Result<Shared, Arc<NotShared>>,
    state: Mutex<State>,
}

/// A query that can be shared.
#[derive(Debug)]
pub(super) struct Shared {
    /// How the result is read.
    pub(super) plan: Arc<Plan>,
    /// The query.
    pub(super) query: Query,
    depends_on_names: bool,
}

#[derive(Debug, Default)]
struct State {
    demand: Demand,
    /// How many samples the shared query gave.
    size: Option<usize>,
    /// The shared query is not sent before, because it has failed.
    paused: Option<Instant>,
    failures: u32,
    /// Whether the shared query was used last.
    is_shared: bool,
    /// A crowd has come, and whoever else comes until then joins it.
    crowded: Option<Instant>,
    /// Who waits for others, and how many objects each asks for.
    waiting: HashMap<u64, usize>,
    /// The exact queries that readers had last.
    exact: HashMap<u64, Vec<Exact>>,
}

/// An exact query that was answered.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    pub(super) plan: Arc<Plan>,
    pub(super) query: Query,
}

/// Who waits for others to come. Dropping it is going away.
#[derive(Debug)]
pub(super) struct Waiting<'g> {
    group: &'g Group,
    reader: u64,
}

impl Group {
    pub(super) fn new(shared: Result<(sharing::Shared, Query), NotShared>) -> Self {
        let shared = shared.map_err(Arc::new).map(|(shared, query)| Shared {
            query,
            plan: Arc::new(shared.plan),
            depends_on_names: shared.depends_on_names,
        });
        Self { shared, state: Mutex::default() }
    }

    /// Whether the answer for one object does not depend on the others that are asked for.
    pub(super) fn is_pointwise(&self) -> bool {
        self.shared.is_ok()
    }

    /// The shared query, whether or not it pays.
    pub(super) fn usable(&self, now: Instant) -> Result<&Shared, WhyExact> {
        let shared = self.shared.as_ref().map_err(|why| WhyExact::NotPointwise(Arc::clone(why)))?;
        let is_paused = self.lock().paused.is_some_and(|until| now < until);
        if is_paused { Err(WhyExact::Failed) } else { Ok(shared) }
    }

    /// Notes a reader and says whether he shares. `population` is the number of objects that there are, if it is known.
    pub(super) fn weigh(
        &self,
        reader: u64,
        names: usize,
        population: Option<usize>,
        now: Instant,
    ) -> Result<&Shared, WhyExact> {
        let shared = self.shared.as_ref().map_err(|why| WhyExact::NotPointwise(Arc::clone(why)))?;
        let mut state = self.lock();
        if state.paused.is_some_and(|until| now < until) {
            return Err(WhyExact::Failed);
        }
        if !shared.depends_on_names {
            return Ok(shared);
        }
        state.demand.read(reader, names, now);
        if state.crowded.is_some_and(|until| now < until) {
            return Ok(shared);
        }
        let size = state.size(population).ok_or(WhyExact::UnknownCost)?;
        if names >= size || state.demand.shares(size, shared.query.life.ttl, now) {
            return Ok(shared);
        }
        let (readers, names) = (state.demand.readers(), state.demand.names());
        Err(WhyExact::CostsMore { readers, names, size })
    }

    /// Autoscalers announce readers in a namespace by the number of their objects. Says whether they share.
    pub(super) fn announce(
        &self,
        namespace: Option<&str>,
        names: Vec<usize>,
        now: Instant,
    ) -> Option<&Shared> {
        let shared = self.shared.as_ref().ok()?;
        let mut state = self.lock();
        state.demand.expect(namespace, names);
        let size = state.size(None)?;
        let pays = state.demand.shares(size, shared.query.life.ttl, now);
        (pays && state.paused.is_none_or(|until| now >= until)).then_some(shared)
    }

    /// Notes a reader who waits for others.
    pub(super) fn wait(&self, reader: u64, names: usize) -> Waiting<'_> {
        self.lock().waiting.insert(reader, names);
        Waiting { group: self, reader }
    }

    /// The exact queries that a reader had last.
    pub(super) fn exact(&self, reader: u64) -> Vec<Exact> {
        self.lock().exact.get(&reader).cloned().unwrap_or_default()
    }

    /// A reader has exact queries from now on, or none. Gives those that he had and has no more.
    pub(super) fn replace_exact(&self, reader: u64, queries: Vec<Exact>) -> Vec<Query> {
        let mut state = self.lock();
        let is_kept = |query: &Query| queries.iter().any(|exact| exact.query == *query);
        let before: Vec<_> = state
            .exact
            .get(&reader)
            .into_iter()
            .flatten()
            .map(|exact| exact.query.clone())
            .filter(|query| !is_kept(query))
            .collect();
        if queries.is_empty() {
            state.exact.remove(&reader);
        } else if state.exact.len() < cost::MAX_READERS || state.exact.contains_key(&reader) {
            state.exact.insert(reader, queries);
        } else {
            let State { exact, demand, .. } = &mut *state;
            exact.retain(|reader, _| demand.remembers(*reader));
        }
        before
    }

    /// The shared query has given so many samples.
    pub(super) fn fetched(&self, size: usize) {
        let mut state = self.lock();
        state.size = Some(size);
        state.failures = 0;
        state.is_shared = true;
    }

    /// Exact queries are sent from now on. Says whether the shared one was used until now.
    pub(super) fn ends_sharing(&self) -> bool {
        std::mem::take(&mut self.lock().is_shared)
    }

    /// The shared query has failed. Says how long it is left alone; nothing where somebody has noted it already.
    pub(super) fn failed(&self, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        if state.paused.is_some_and(|until| now < until) {
            return None;
        }
        let pause = LEAST_PAUSE.saturating_mul(1 << state.failures.min(8)).min(LONGEST_PAUSE);
        state.failures = state.failures.saturating_add(1);
        state.paused = Some(now + pause);
        state.crowded = None;
        Some(pause)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many samples the shared query gives, as well as anybody knows.
    fn size(&self, population: Option<usize>) -> Option<usize> {
        let crowd = || (self.demand.readers() >= CROWD).then(|| self.demand.names());
        self.size.or(population).or_else(crowd)
    }
}

impl Waiting<'_> {
    /// How many wait, or nothing if so many do that they share. Whoever comes within the life of the result joins them.
    pub(super) fn others(&self, population: Option<usize>, now: Instant) -> Option<usize> {
        let mut state = self.group.lock();
        // Who has come meanwhile may not have had to wait.
        if state.demand.is_shared() || state.crowded.is_some_and(|until| now < until) {
            return None;
        }
        let (count, names) = (state.waiting.len(), state.waiting.values().sum());
        let size = state.size(population).or_else(|| (count >= CROWD).then_some(names));
        let pays =
            size.is_some_and(|size| cost::pays_at_once(state.waiting.values().copied(), size));
        let ttl = self.group.shared.as_ref().map_or(Duration::ZERO, |shared| shared.query.life.ttl);
        if pays {
            state.crowded = Some(now + ttl);
            return None;
        }
        Some(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.group.lock().waiting.remove(&self.reader);
    }
}
