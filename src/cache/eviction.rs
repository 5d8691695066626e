//! The choice of results to evict when all take more bytes than allowed.
//!
//! As long as there is room everything is kept. When there is none, the namespace whose results take the most bytes loses the
//! one that was fetched longest ago: a result that is read regularly is refreshed, so it is not the oldest. One namespace alone may have
//! all the room, and one that takes no more than an equal share loses nothing because of the others.
//!
//! This decides and counts; the results are elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
};

/// What is known of the results that are kept.
#[derive(Debug)]
pub(super) struct Eviction<K> {
    max_bytes: u64,
    bytes: u64,
    /// How many results gave way.
    evicted: u64,
    /// How many fetches have been noted.
    fetches: u64,
    entries: HashMap<K, Entry>,
    /// By namespace, and there by the number of the fetch.
    order: BTreeMap<(Arc<str>, u64), K>,
    bytes_of: HashMap<Arc<str>, u64>,
    /// The namespaces by the bytes of their results.
    ranking: BTreeSet<(u64, Arc<str>)>,
}

/// A result.
#[derive(Debug)]
struct Entry {
    namespace: Arc<str>,
    fetch: u64,
    bytes: u64,
}

impl<K: Clone + Eq + Hash> Eviction<K> {
    /// For results that may take so many bytes together.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            evicted: 0,
            fetches: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            bytes_of: HashMap::new(),
            ranking: BTreeSet::new(),
        }
    }

    /// Notes a result that was fetched for a namespace, in place of an older one if there was one. Returns the results to evict; it can
    /// be among them.
    pub(super) fn fetched(&mut self, namespace: &Arc<str>, key: K, bytes: u64) -> Vec<K> {
        self.gone(&key);
        self.fetches += 1;
        let entry = Entry { namespace: Arc::clone(namespace), fetch: self.fetches, bytes };
        self.order.insert((Arc::clone(namespace), entry.fetch), key.clone());
        self.entries.insert(key, entry);
        self.count(namespace, |of_namespace| of_namespace + bytes);
        self.bytes += bytes;
        let mut victims = Vec::new();
        while self.bytes > self.max_bytes
            && let Some(victim) = self.victim()
        {
            self.gone(&victim);
            self.evicted += 1;
            victims.push(victim);
        }
        victims
    }

    /// A result is not kept any more.
    pub(super) fn gone(&mut self, key: &K) {
        let Some(Entry { namespace, fetch, bytes }) = self.entries.remove(key) else { return };
        self.count(&namespace, |of_namespace| of_namespace - bytes);
        self.bytes -= bytes;
        self.order.remove(&(namespace, fetch));
    }

    /// How many results there are, and how many bytes they take.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.entries.len(), self.bytes)
    }

    /// How many bytes they may take, and how many results gave way because of that.
    pub(super) fn pressure(&self) -> (u64, u64) {
        (self.max_bytes, self.evicted)
    }

    fn victim(&self) -> Option<K> {
        let (_, namespace) = self.ranking.last()?;
        let (_, oldest) = self.order.range((Arc::clone(namespace), 0)..).next()?;
        Some(oldest.clone())
    }

    /// Changes the bytes of a namespace. One without any is forgotten.
    fn count(&mut self, namespace: &Arc<str>, change: impl FnOnce(u64) -> u64) {
        let before = self.bytes_of.remove(namespace).unwrap_or_default();
        self.ranking.remove(&(before, Arc::clone(namespace)));
        let after = change(before);
        if after > 0 {
            self.bytes_of.insert(Arc::clone(namespace), after);
            self.ranking.insert((after, Arc::clone(namespace)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u64 = 100;

    type Kept = Eviction<(&'static str, u32)>;

    fn fetched(
        kept: &mut Kept,
        namespace: &'static str,
        number: u32,
        bytes: u64,
    ) -> Vec<(&'static str, u32)> {
        kept.fetched(&namespace.into(), (namespace, number), bytes)
    }

    #[test]
    fn one_namespace_alone_may_have_all_the_room() {
        let mut kept = Kept::new(MAX);
        for number in 0..10 {
            assert_eq!(fetched(&mut kept, "a", number, 10), []);
        }
        assert_eq!(kept.size(), (10, 100));
        assert_eq!(fetched(&mut kept, "a", 10, 10), [("a", 0)]);
        assert_eq!(fetched(&mut kept, "a", 1, 10), [], "in place of an older one");
        assert_eq!(fetched(&mut kept, "a", 11, 10), [("a", 2)], "the last one is not old now");
    }

    #[test]
    fn whoever_has_most_gives_way() {
        let mut kept = Kept::new(MAX);
        assert_eq!(fetched(&mut kept, "quiet", 0, 30), []);
        for number in 0..1_000 {
            let victims = fetched(&mut kept, "flood", number, 7);
            assert_eq!(victims.is_empty(), number < 10, "{number}");
            assert!(victims.iter().all(|(namespace, _)| *namespace == "flood"), "{victims:?}");
        }
        let victims = fetched(&mut kept, "quiet", 1, 19);
        assert_eq!(victims, [("flood", 990), ("flood", 991), ("flood", 992)]);
    }

    #[test]
    fn a_result_larger_than_all_the_room_is_not_kept() {
        let mut kept = Kept::new(MAX);
        assert_eq!(fetched(&mut kept, "a", 0, 50), []);
        assert_eq!(fetched(&mut kept, "b", 0, 101), [("b", 0)]);
        assert_eq!(kept.size(), (1, 50));
    }

    proptest! {
        /// Compared with what a list of all results says.
        #[test]
        fn nobody_loses_what_is_within_an_equal_share(
            steps in prop::collection::vec((0..5_usize, 0..12_u32, 1..40_u64, any::<bool>()), 1..200),
        ) {
            let mut kept = Eviction::new(MAX);
            let mut model: Vec<((usize, u32), u64)> = Vec::new();
            for (namespace, number, bytes, is_fetched) in steps {
                let key = (namespace, number);
                model.retain(|(known, _)| *known != key);
                if is_fetched {
                    model.push((key, bytes));
                    for victim in kept.fetched(&namespace.to_string().into(), key, bytes) {
                        let of = |wanted: usize| -> u64 {
                            let own = model.iter().filter(|((namespace, _), _)| *namespace == wanted);
                            own.map(|(_, bytes)| bytes).sum()
                        };
                        let all: u64 = (0..5).map(of).sum();
                        let shares = (0..5).filter(|namespace| of(*namespace) > 0).count();
                        let shares = u64::try_from(shares).unwrap();
                        prop_assert!(all > MAX, "there was room");
                        prop_assert!(of(victim.0) * shares > MAX, "it was within its share");
                        let oldest = model.iter().find(|((namespace, _), _)| *namespace == victim.0);
                        prop_assert_eq!(oldest.map(|(key, _)| *key), Some(victim));
                        model.retain(|(known, _)| *known != victim);
                    }
                } else {
                    kept.gone(&key);
                }
                let bytes: u64 = model.iter().map(|(_, bytes)| bytes).sum();
                prop_assert!(bytes <= MAX);
                prop_assert_eq!(kept.size(), (model.len(), bytes));
            }
            for (key, _) in model {
                kept.gone(&key);
            }
            prop_assert_eq!(kept.size(), (0, 0));
            prop_assert!(kept.order.is_empty() && kept.bytes_of.is_empty() && kept.ranking.is_empty());
        }
    }
}
