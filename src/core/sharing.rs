//! When readers share a query.
//!
//! The readers of one metric, in one namespace or in all, with one metric selector, are a group. That one query has the same
//! answer for all of them is proven once ([`shareable`](super::plan::shareable)); whether they use it is decided here for each
//! read.
//!
//! ```text
//!            a new reader, and sharing does not pay
//!   Exact ────────────────────────────────────────▶ Gathering
//!    │  ▲ ▲                                          │   │
//!    │  │ └──────────── nobody else comes ───────────┘   │
//!    │  └─ it costs clearly more ──┐                     │
//!    └──────── it pays ─────────▶ Shared ◀── enough came ┘
//!
//!   any ── the shared query fails ──▶ Paused ── time passes ──▶ as if Exact
//! ```
//!
//! `Q` is a query as the cache knows it. Time is an argument.

pub mod choice;
pub mod cost;
mod crowd;
mod readers;
mod state;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use choice::WhyExact;
use cost::{Rates, USUAL_PACE};
use crowd::Crowd;
pub use crowd::LOOK;
use readers::Readers;
pub use readers::{By, ExactQuery};
pub use state::GroupState;

use super::plan::{Key, shareable::NotShareable};

/// How long a shared query that failed is not sent; twice as long after each further failure.
const LEAST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How long the number of samples is believed where the number of objects is known.
const SIZE_MEMORY: Duration = Duration::from_secs(300);

/// Sharing that pays is not weighed again for this time; nor is sharing between namespaces that does not pay.
const SETTLED: Duration = Duration::from_secs(1);

/// Sharing goes on until it costs this much more than exact queries, so that a demand at the border does not change plans all
/// the time.
const RELUCTANCE: f64 = 1.5;

/// What a query for all namespaces may cost of what narrower ones do. Where it fails it fails for all, so a small saving is no reason.
const SAVING: f64 = 0.8;

/// Roughly what the readers that are expected in a namespace take in memory.
const EXPECTED_BYTES: usize = 128;

/// What the readers of a group share, and who they are.
#[derive(Debug)]
pub struct Sharing<Q> {
    shared: Result<Arc<SharedQuery<Q>>, Arc<NotShareable>>,
    mode: Mode,
    readers: Readers<Q>,
    /// Readers that may not have come yet, by namespace: how many, and of how many objects together.
    expected: BTreeMap<Option<Arc<str>>, (usize, usize)>,
    /// How many samples the shared query returned, and when.
    size: Option<(usize, Instant)>,
    /// How often the shared query has failed since it was last answered.
    failures: u32,
    /// Until when a query for all namespaces is not weighed again, because it did not pay, and why.
    too_dear: Option<(Instant, WhyExact)>,
}

/// The query that readers share.
#[derive(Debug)]
pub struct SharedQuery<Q> {
    /// The query.
    pub query: Q,
    /// How an object's samples are found in the result.
    pub key: Key,
    /// Whether the query selects objects by name. Where not, the exact queries are this one, too.
    pub depends_on_names: bool,
    /// How long a result is fresh.
    pub ttl: Duration,
}

/// What the readers of a group do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Each has its own query.
    Exact,
    /// New ones wait for one another.
    Gathering(Crowd),
    /// They share, and whether that pays is weighed again from this time on.
    Shared {
        /// The time.
        until: Instant,
    },
    /// The shared query failed, and is not sent before this time.
    Paused {
        /// The time.
        until: Instant,
    },
}

/// A read of some objects.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// A number that is the same when the same reader comes again.
    pub reader: u64,
    /// A number that is the same for the readers of a namespace.
    pub namespace: u64,
    /// How many objects it reads.
    pub names: usize,
    /// How many objects there are in its namespace, or of a kind without namespaces, where that is known.
    pub population: Option<usize>,
    /// Whether it may wait for other readers.
    pub may_wait: bool,
}

/// What a reader does.
#[derive(Clone, Debug)]
pub enum Action<Q> {
    /// Takes the result of the shared query.
    Share(Arc<SharedQuery<Q>>),
    /// Waits for [`LOOK`], and decides again.
    Gather,
    /// Takes the results of queries for its own objects.
    Exact(WhyExact),
}

impl<Q: AsRef<str> + Clone + PartialEq> Sharing<Q> {
    /// A group without readers, with the query that they can share, or why there is none.
    pub fn new(shared: Result<SharedQuery<Q>, NotShareable>) -> Self {
        Self {
            shared: shared.map(Arc::new).map_err(Arc::new),
            mode: Mode::Exact,
            readers: Readers::new(),
            expected: BTreeMap::new(),
            size: None,
            failures: 0,
            too_dear: None,
        }
    }

    /// The query that can be shared, whether or not it is used.
    pub fn shared_query(&self) -> Option<&SharedQuery<Q>> {
        self.shared.as_deref().ok()
    }

    /// The shared query, for a reader of everything, or why it is not used.
    pub fn usable(&self, now: Instant) -> Result<Arc<SharedQuery<Q>>, WhyExact> {
        match &self.shared {
            Err(why) => Err(WhyExact::NotShareable(Arc::clone(why))),
            Ok(_) if matches!(self.mode, Mode::Paused { until } if now < until) => {
                Err(WhyExact::Failed)
            }
            Ok(shared) => Ok(Arc::clone(shared)),
        }
    }

    /// Decides which query answers a read.
    pub fn decide(&mut self, now: Instant, read: Read) -> Action<Q> {
        self.readers.note(now, read);
        let shared = match self.usable(now) {
            Ok(shared) => shared,
            Err(why) => return Action::Exact(why),
        };
        let is_settled = matches!(self.mode, Mode::Shared { until } if now < until);
        if is_settled || !shared.depends_on_names {
            return Action::Share(shared);
        }
        if let Some((until, why)) = &self.too_dear
            && now < *until
        {
            return Action::Exact(why.clone());
        }
        self.readers.forget(now);
        let population = if self.spans() { None } else { read.population };
        let size = self.size(now, population);
        // A reader of all objects fetches as much either way.
        if size.is_some_and(|size| read.names >= size || self.weigh(now, size, shared.ttl)) {
            return Action::Share(shared);
        }
        if read.may_wait
            && let Some(crowd) = self.gather(now, read.reader)
        {
            if crowd.pays(size) {
                self.mode = Mode::Shared { until: now + shared.ttl };
                return Action::Share(shared);
            }
            return Action::Gather;
        }
        let why = size.map_or(WhyExact::UnknownCost, |size| {
            let (readers, names) = self.demand();
            WhyExact::CostsMore { readers, names, size }
        });
        // The readers of a whole cluster are too many to look at them for each read.
        if self.spans() && size.is_some() {
            self.too_dear = Some((now + SETTLED, why.clone()));
        }
        Action::Exact(why)
    }

    /// So many readers are expected in a namespace, of so many objects together, in place of those that were expected there
    /// before. Returns the query that they will share, if they will.
    pub fn expect(
        &mut self,
        now: Instant,
        namespace: Option<&str>,
        readers: usize,
        names: usize,
    ) -> Option<Arc<SharedQuery<Q>>> {
        let namespace = namespace.map(Arc::from);
        if readers == 0 {
            self.expected.remove(&namespace);
        } else {
            self.expected.insert(namespace, (readers, names));
        }
        let shared = self.usable(now).ok()?;
        self.readers.forget(now);
        let size = self.size(now, None)?;
        self.weigh(now, size, shared.ttl).then_some(shared)
    }

    /// The shared query has returned so many samples.
    pub fn fetched(&mut self, now: Instant, size: usize) {
        self.size = Some((size, now));
        self.failures = 0;
        self.too_dear = None;
    }

    /// Whether the shared query was ever answered.
    pub fn was_answered(&self) -> bool {
        self.size.is_some()
    }

    /// Whether the shared query is one for all namespaces.
    pub fn spans(&self) -> bool {
        self.shared_query().is_some_and(|shared| shared.key.spans)
    }

    /// The shared query has failed. Returns for how long it is not sent; nothing where that was decided already.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        if matches!(self.mode, Mode::Paused { until } if now < until) {
            return None;
        }
        let pause = LEAST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.mode = Mode::Paused { until: now + pause };
        Some(pause)
    }

    /// A reader was answered. Returns the queries that nobody here reads any more.
    pub fn answered(&mut self, reader: u64, by: By<Q>) -> Vec<Q> {
        let before = self.readers.answered(reader, by);
        self.left(before)
    }

    /// A reader reads elsewhere from now on. Returns the queries that nobody here reads any more.
    pub fn leave(&mut self, reader: u64) -> Vec<Q> {
        let before = self.readers.remove(reader);
        self.left(before)
    }

    /// The queries that may have older results for a reader: the shared one, and the exact ones by which it was last answered.
    pub fn last_queries(&self, reader: u64) -> (Option<Arc<SharedQuery<Q>>>, Vec<ExactQuery<Q>>) {
        (self.shared.as_ref().ok().cloned(), self.readers.exact(reader))
    }

    /// Roughly how many bytes the query and the readers take in memory.
    pub fn weight(&self) -> usize {
        let shared = self.shared_query().map_or(0, |shared| shared.query.as_ref().len());
        shared + self.readers.weight() + self.expected.len() * EXPECTED_BYTES
    }

    /// Weighs whether sharing a result of `size` samples pays.
    fn weigh(&mut self, now: Instant, size: usize, ttl: Duration) -> bool {
        let expected = self.expected.values();
        let expected =
            expected.map(|(readers, names)| Rates::of(*readers, *names, USUAL_PACE.max(ttl)));
        let (seen, expected, begins) = if self.spans() {
            let expected = Rates::of_namespaces(expected, ttl);
            (self.readers.rates_by_namespace(ttl), expected, SAVING)
        } else {
            (self.readers.rates(ttl), expected.sum(), 1.0)
        };
        let margin = if matches!(self.mode, Mode::Shared { .. }) { RELUCTANCE } else { begins };
        let pays = seen.pays(size, ttl, margin) || expected.pays(size, ttl, margin);
        if pays {
            self.mode = Mode::Shared { until: now + SETTLED };
        } else if !matches!(self.mode, Mode::Gathering(_)) {
            self.mode = Mode::Exact;
        }
        pays
    }

    /// The crowd in which a reader waits; nothing where it does not wait.
    fn gather(&mut self, now: Instant, reader: u64) -> Option<Crowd> {
        let open = match self.mode {
            Mode::Gathering(crowd) => crowd.look(now),
            _ => None,
        };
        let joined = self.readers.join(now, reader, open.unwrap_or_else(|| Crowd::new(now)));
        self.mode = joined.or(open).map_or(Mode::Exact, Mode::Gathering);
        joined
    }

    /// How many samples the shared query returns, as far as that is known.
    fn size(&self, now: Instant, population: Option<usize>) -> Option<usize> {
        let is_new = |at: Instant| now.saturating_duration_since(at) < SIZE_MEMORY;
        let seen = self.size.filter(|(_, at)| is_new(*at)).or(population.map(|size| (size, now)));
        seen.or(self.size).map(|(size, _)| size).or_else(|| {
            let (readers, names) = self.demand();
            let names = if self.spans() { names.max(self.readers.objects()) } else { names };
            (readers >= crowd::ALL).then_some(names)
        })
    }

    /// How many readers there are or are expected, and how many objects they read together, each counted for every reader.
    pub fn demand(&self) -> (usize, usize) {
        let (readers, names) = self.readers.demand();
        let expected = self.expected.values().copied();
        let expected = expected.reduce(|all, more| (all.0 + more.0, all.1 + more.1));
        let (expected, of) = expected.unwrap_or_default();
        (readers.max(expected), names.max(of))
    }

    /// Of the queries that a reader was answered by before those that nobody reads any more.
    fn left(&self, before: By<Q>) -> Vec<Q> {
        let shared = self.shared_query().map(|shared| &shared.query);
        let mut left: Vec<Q> = match before {
            By::Shared => shared.into_iter().cloned().collect(),
            By::Exact(queries) => queries.into_iter().map(|exact| exact.query).collect(),
            By::Nothing | By::Unremembered => Vec::new(),
        };
        left.retain(|query| !self.readers.read(query, shared));
        left
    }
}

#[cfg(test)]
mod tests;
