//! Who reads: how much, how often, and by which query.

use std::{
    collections::HashMap,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Read, SETTLED,
    cost::{Rates, USUAL_PACE},
    crowd::Crowd,
};

/// A reader is forgotten after three missed reads, but not before this time.
const LEAST_MEMORY: Duration = Duration::from_secs(120);

/// The most readers of a group that are distinguished. There are few reasons for more, and further ones change nothing.
pub(super) const MAX_READERS: usize = 10_000;

/// The most bytes of exact queries that are remembered for the readers of a group.
pub(super) const MAX_QUERY_BYTES: usize = 4 << 20;

/// A query for some objects, and which these are.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactQuery<Q> {
    /// The query.
    pub query: Q,
    /// The objects: sorted, each once.
    pub names: Vec<Arc<str>>,
}

/// The readers of a group, by their number.
#[derive(Debug)]
pub(super) struct Readers<Q> {
    known: HashMap<u64, Reader<Q>>,
    /// What the exact queries in `known` take.
    query_bytes: usize,
    /// When those that stay away were looked for last.
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Reader<Q> {
    namespace: u64,
    population: Option<usize>,
    names: usize,
    every: Duration,
    last: Instant,
    by: By<Q>,
    /// When the crowd began in which it has waited since it was last answered.
    waited: Option<Instant>,
}

/// By which query a reader was last answered.
#[derive(Debug, Default, PartialEq)]
pub enum By<Q> {
    /// It was not answered yet.
    #[default]
    Nothing,
    /// By the shared query.
    Shared,
    /// By these, each for some of its objects.
    Exact(Vec<ExactQuery<Q>>),
    /// By exact queries for which there is no room here.
    Unremembered,
}

impl<Q: AsRef<str> + Clone + PartialEq> Readers<Q> {
    pub(super) fn new() -> Self {
        Self { known: HashMap::new(), query_bytes: 0, looked: None }
    }

    /// A reader reads. The same reader has the same number.
    pub(super) fn note(&mut self, now: Instant, read: Read) {
        if let Some(known) = self.known.get_mut(&read.reader) {
            let gap = now.saturating_duration_since(known.last);
            // Reads in quick succession are one: two replicas of a controller, or somebody's second look.
            if gap >= Duration::from_secs(1) {
                known.every = (known.every + gap) / 2;
                known.last = now;
            }
            (known.names, known.population) = (read.names, read.population);
            return;
        }
        if self.known.len() >= MAX_READERS {
            self.forget(now);
        }
        if self.known.len() < MAX_READERS {
            let Read { namespace, population, names, .. } = read;
            let reader = Reader {
                namespace,
                population,
                names,
                every: USUAL_PACE,
                last: now,
                by: By::Nothing,
                waited: None,
            };
            self.known.insert(read.reader, reader);
        }
    }

    /// A reader waits in a crowd, as it is then. Nothing where it does not wait: it has a result of its own, has waited already,
    /// or is not remembered.
    pub(super) fn join(&mut self, now: Instant, reader: u64, mut crowd: Crowd) -> Option<Crowd> {
        let reader = self.known.get_mut(&reader)?;
        match (&reader.by, reader.waited) {
            (_, Some(since)) => (since == crowd.since).then_some(crowd),
            (By::Nothing | By::Shared, None) => {
                reader.waited = Some(crowd.since);
                crowd.join(now, reader.names);
                Some(crowd)
            }
            (By::Exact(_) | By::Unremembered, None) => None,
        }
    }

    /// A reader was answered. Returns by what it was answered before, if that is something else.
    pub(super) fn answered(&mut self, reader: u64, mut by: By<Q>) -> By<Q> {
        let Some(known) = self.known.get_mut(&reader) else { return By::Nothing };
        known.waited = None;
        if known.by == by {
            return By::Nothing;
        }
        self.query_bytes -= known.by.bytes();
        if self.query_bytes + by.bytes() > MAX_QUERY_BYTES {
            by = By::Unremembered;
        }
        self.query_bytes += by.bytes();
        mem::replace(&mut known.by, by)
    }

    /// Forgets a reader. Returns by what it was answered.
    pub(super) fn remove(&mut self, reader: u64) -> By<Q> {
        let by = self.known.remove(&reader).map(|reader| reader.by).unwrap_or_default();
        self.query_bytes -= by.bytes();
        by
    }

    /// The exact queries by which a reader was last answered.
    pub(super) fn exact(&self, reader: u64) -> Vec<ExactQuery<Q>> {
        match self.known.get(&reader).map(|reader| &reader.by) {
            Some(By::Exact(queries)) => queries.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether any reader was last answered by a query.
    pub(super) fn read(&self, query: &Q, shared: Option<&Q>) -> bool {
        self.known.values().any(|reader| match &reader.by {
            By::Shared => shared == Some(query),
            By::Exact(queries) => queries.iter().any(|exact| exact.query == *query),
            By::Nothing | By::Unremembered => false,
        })
    }

    /// Forgets the readers that stay away. They are looked for once in [`SETTLED`], because that takes a look at all.
    pub(super) fn forget(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < SETTLED) {
            return;
        }
        self.looked = Some(now);
        let Self { known, query_bytes, .. } = self;
        let stays = |reader: &Reader<Q>| {
            let memory = (reader.every * 3).max(LEAST_MEMORY);
            now.saturating_duration_since(reader.last) <= memory
        };
        for (_, gone) in known.extract_if(|_, reader| !stays(reader)) {
            *query_bytes -= gone.by.bytes();
        }
        if known.len() < known.capacity() / 4 {
            known.shrink_to(known.len() * 2);
        }
    }

    /// How many there are, and how many objects they read together, each counted for every reader.
    pub(super) fn demand(&self) -> (usize, usize) {
        (self.known.len(), self.known.values().map(|reader| reader.names).sum())
    }

    /// How many objects there are at the least in the namespaces of the readers: all of those whose number is known, and what the readers
    /// of the others read.
    pub(super) fn objects(&self) -> usize {
        let mut namespaces: HashMap<u64, (usize, Option<usize>)> = HashMap::new();
        #[expect(clippy::iter_over_hash_type, reason = "a sum does not depend on the order")]
        for reader in self.known.values() {
            let (names, population) = namespaces.entry(reader.namespace).or_default();
            *names += reader.names;
            *population = reader.population.or(*population);
        }
        namespaces.into_values().map(|(names, population)| population.unwrap_or(names)).sum()
    }

    /// What they cost with exact queries, where results are fresh for `ttl`.
    pub(super) fn rates(&self, ttl: Duration) -> Rates {
        self.known.values().map(|reader| reader.rates(ttl)).sum()
    }

    /// What they cost where those of one namespace share a query if it pays.
    pub(super) fn rates_by_namespace(&self, ttl: Duration) -> Rates {
        let mut namespaces: HashMap<u64, (Rates, Option<usize>)> = HashMap::new();
        #[expect(clippy::iter_over_hash_type, reason = "a sum does not depend on the order")]
        for reader in self.known.values() {
            let (rates, population) = namespaces.entry(reader.namespace).or_default();
            *rates = [*rates, reader.rates(ttl)].into_iter().sum();
            *population = reader.population.or(*population);
        }
        let namespaces = namespaces.into_values();
        Rates::of_namespaces(namespaces.map(|(rates, most)| rates.of_at_most(most)), ttl)
    }

    /// Roughly how many bytes they take in memory.
    pub(super) fn weight(&self) -> usize {
        // A hash table keeps an eighth of its places free, and has a byte beside each.
        let place = size_of::<(u64, Reader<Q>)>() + 1;
        self.known.capacity() / 7 * 8 * place + self.query_bytes
    }
}

impl<Q> Reader<Q> {
    fn rates(&self, ttl: Duration) -> Rates {
        Rates::of(1, self.names, self.every.max(ttl))
    }
}

impl<Q: AsRef<str>> By<Q> {
    fn bytes(&self) -> usize {
        let Self::Exact(queries) = self else { return 0 };
        let query = |exact: &ExactQuery<Q>| {
            let names: usize = exact.names.iter().map(|name| size_of_val(name) + name.len()).sum();
            size_of_val(exact) + exact.query.as_ref().len() + names
        };
        queries.iter().map(query).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: u64) -> Read {
        Read { reader, namespace: 0, names: 3, population: None, may_wait: false }
    }

    fn exact(text: String) -> By<String> {
        By::Exact(vec![ExactQuery { query: text, names: vec!["pod".into(); 10] }])
    }

    #[test]
    fn the_pace_is_learnt() {
        let start = Instant::now();
        let mut readers: Readers<&str> = Readers::new();
        for step in 0..10 {
            readers.note(start + Duration::from_secs(60) * step, read(7));
            readers
                .note(start + Duration::from_secs(60) * step + Duration::from_millis(5), read(7));
        }
        let every = readers.known[&7].every;
        assert!((55..=60).contains(&every.as_secs()), "{every:?}");
    }

    #[test]
    fn readers_and_their_queries_are_bounded() {
        let start = Instant::now();
        let mut readers = Readers::new();
        for reader in 0..2 * MAX_READERS as u64 {
            readers.note(start, read(reader));
            readers.answered(reader, exact(format!("{reader:1000}")));
        }
        assert_eq!(readers.demand(), (MAX_READERS, 3 * MAX_READERS));
        assert!(readers.query_bytes <= MAX_QUERY_BYTES);
        assert!(readers.weight() < 8 << 20, "{}", readers.weight());
        let remembers = |readers: &Readers<String>| {
            readers.known.values().filter(|reader| matches!(reader.by, By::Exact(_))).count()
        };
        let most = remembers(&readers);
        assert!((2_000..5_000).contains(&most), "{most}");
        // A query that is not remembered is one all the same: nobody waits for others then.
        assert_eq!(readers.exact(9_999), []);
        assert!(readers.join(start, 9_999, Crowd::new(start)).is_none());
        // Who goes makes room.
        for reader in 0..100 {
            readers.remove(reader);
        }
        readers.answered(9_999, exact("x".repeat(1_000)));
        assert_eq!(readers.exact(9_999).len(), 1);
        readers.forget(start + LEAST_MEMORY * 2);
        assert_eq!((readers.demand(), readers.query_bytes), ((0, 0), 0));
        assert!(readers.weight() < 1_000, "{}", readers.weight());
    }
}
