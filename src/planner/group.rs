//! The readers of one metric in one namespace: what they can share, and whether it pays.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{WhyExact, exact::Exact};
use crate::{
    cache::Query,
    core::{
        plan::{
            Plan, Source,
            cost::{self, Demand},
            sharing::{self, NotShared},
        },
        rules::Content,
        selector::Selector,
    },
};

/// What a group takes at the least, in bytes.
const GROUP_BYTES: usize = 1 << 10;

/// How long a shared query that failed is left alone; twice as long after each further failure.
const LEAST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How long the number of samples is believed where the number of objects is known.
const SIZE_MEMORY: Duration = Duration::from_secs(300);

/// How many readers more than those in demand may be remembered before they are forgotten together.
const SPARE_READERS: usize = 64;

/// So many readers are taken for all there are where nobody knows how many objects a namespace has.
const CROWD: usize = 8;

/// What questions have in common that can share a query.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct GroupKey {
    content: Content,
    is_namespaced: bool,
    series: Arc<str>,
    label: Arc<str>,
    /// Nothing for the group of all namespaces, and for kinds without namespaces.
    namespace: Option<Arc<str>>,
    metric_selector: Selector,
}

impl GroupKey {
    pub(super) fn new(
        source: Source<'_>,
        namespace: Option<&str>,
        metric_selector: &Selector,
    ) -> Self {
        Self {
            content: source.content,
            is_namespaced: source.is_namespaced,
            series: Arc::clone(source.series),
            label: Arc::clone(source.label),
            namespace: namespace.map(Arc::from),
            metric_selector: metric_selector.clone(),
        }
    }
}

/// Roughly how many bytes a group takes in memory without its readers.
pub(super) fn weight(key: &GroupKey, group: &Arc<Group>) -> u32 {
    let selector = key.metric_selector.requirements().iter();
    let selector: usize =
        selector.map(|r| r.key.len() + r.values.iter().map(String::len).sum::<usize>()).sum();
    let query = group.shared.as_ref().map_or(0, |shared| shared.query.text.len());
    u32::try_from(GROUP_BYTES + selector + query).unwrap_or(u32::MAX)
}

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
    /// How many samples the shared query gave, and when.
    size: Option<(usize, Instant)>,
    /// The shared query is not sent before, because it has failed.
    paused: Option<Instant>,
    failures: u32,
    /// Whether there are readers who share.
    is_shared: bool,
    /// A crowd has come, and whoever else comes until then joins it.
    crowded: Option<Instant>,
    /// Who waits for others: how many objects he asks for, and how often he waits.
    waiting: HashMap<u64, (usize, usize)>,
    /// The exact queries that readers had last; none for those that share.
    had: HashMap<u64, Vec<Exact>>,
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
        let size = state.size(population, now).ok_or(WhyExact::UnknownCost)?;
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
        let size = state.size(None, now)?;
        let pays = state.demand.shares(size, shared.query.life.ttl, now);
        (pays && state.paused.is_none_or(|until| now >= until)).then_some(shared)
    }

    /// Notes a reader who waits for others.
    pub(super) fn wait(&self, reader: u64, names: usize) -> Waiting<'_> {
        self.lock().waiting.entry(reader).or_insert((names, 0)).1 += 1;
        Waiting { group: self, reader }
    }

    /// The exact queries that a reader had last.
    pub(super) fn exact(&self, reader: u64) -> Vec<Exact> {
        self.lock().had.get(&reader).cloned().unwrap_or_default()
    }

    /// A reader has these exact queries from now on or, if there are none, shares. Gives the queries that nobody here has any
    /// more.
    pub(super) fn move_on(&self, reader: u64, queries: &[Exact]) -> Vec<Query> {
        let mut state = self.lock();
        state.is_shared |= queries.is_empty();
        let left = state.had.insert(reader, queries.to_vec()).unwrap_or_default();
        let is_kept = |left: &Exact| queries.iter().any(|exact| exact.query == left.query);
        let gone = self.gone(&mut state, left.into_iter().filter(|exact| !is_kept(exact)));
        let State { had, demand, .. } = &mut *state;
        if had.len() > 2 * demand.readers() + SPARE_READERS {
            had.retain(|known, _| *known == reader || demand.remembers(*known));
        }
        gone
    }

    /// A reader reads elsewhere from now on. Gives the queries that nobody here has any more.
    pub(super) fn leave(&self, reader: u64) -> Vec<Query> {
        let mut state = self.lock();
        let left = state.had.remove(&reader).unwrap_or_default();
        self.gone(&mut state, left)
    }

    /// Of the queries that a reader has left those that nobody has any more, and the shared one if its last reader has gone.
    fn gone(&self, state: &mut State, left: impl IntoIterator<Item = Exact>) -> Vec<Query> {
        let shared = self.shared.as_ref().ok().map(|shared| &shared.query);
        let left = left.into_iter().map(|exact| exact.query);
        let mut gone: Vec<_> = left.filter(|query| !state.is_had(query, shared)).collect();
        if state.is_shared && !state.had.values().any(Vec::is_empty) {
            state.is_shared = false;
            gone.extend(shared.filter(|shared| !state.is_had(shared, None)).cloned());
        }
        gone
    }

    /// The shared query has given so many samples.
    pub(super) fn fetched(&self, size: usize, now: Instant) {
        let mut state = self.lock();
        state.size = Some((size, now));
        state.failures = 0;
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
    /// Whether a reader has a query. Those that have none share.
    fn is_had(&self, query: &Query, shared: Option<&Query>) -> bool {
        self.had.values().any(|queries| match queries.as_slice() {
            [] => shared == Some(query),
            queries => queries.iter().any(|exact| exact.query == *query),
        })
    }

    /// How many samples the shared query gives, as well as anybody knows.
    fn size(&self, population: Option<usize>, now: Instant) -> Option<usize> {
        let crowd = || (self.demand.readers() >= CROWD).then(|| self.demand.names());
        let is_new = |at: Instant| now.saturating_duration_since(at) < SIZE_MEMORY;
        let seen = self.size.filter(|(_, at)| is_new(*at)).map(|(size, _)| size);
        seen.or(population).or(self.size.map(|(size, _)| size)).or_else(crowd)
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
        let waiting = || state.waiting.values().map(|(names, _)| *names);
        let (count, names) = (state.waiting.len(), waiting().sum());
        let size = state.size(population, now).or_else(|| (count >= CROWD).then_some(names));
        let pays = size.is_some_and(|size| cost::pays_at_once(waiting(), size));
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
        let mut state = self.group.lock();
        if let Some((_, times)) = state.waiting.get_mut(&self.reader) {
            *times -= 1;
            if *times == 0 {
                state.waiting.remove(&self.reader);
            }
        }
    }
}
