//! How the places for queries that are refreshed before they are read are divided among namespaces.
//!
//! While there are free places, any read takes one. When all are taken a namespace may still take its fair share, and
//! those that have more than theirs do not get places back. So there may be more than there should be for a while, at most
//! twice as many, and no namespace can keep another one out.

use std::{collections::HashMap, sync::Arc};

/// Who has how many places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: usize,
    held: HashMap<Arc<str>, usize>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: 0, held: HashMap::new() }
    }

    /// Takes a place; false where there is none for the namespace.
    pub(super) fn take(&mut self, namespace: &Arc<str>) -> bool {
        let held = self.held.get(namespace).copied().unwrap_or_default();
        let namespaces = self.held.len() + usize::from(held == 0);
        let has_its_share = held >= (self.most / namespaces).max(1);
        if self.taken >= self.most && (has_its_share || self.taken >= 2 * self.most) {
            return false;
        }
        self.taken += 1;
        self.held.insert(Arc::clone(namespace), held + 1);
        true
    }

    /// Frees a place that was taken for the namespace.
    pub(super) fn give_back(&mut self, namespace: &Arc<str>) {
        let Some(held) = self.held.get_mut(namespace) else { return };
        self.taken -= 1;
        *held -= 1;
        if *held == 0 {
            self.held.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes places until there is none.
    fn fill(places: &mut Places, namespace: &str) -> usize {
        let namespace = namespace.into();
        (0..1_000).take_while(|_| places.take(&namespace)).count()
    }

    /// Has every place of a namespace given back and, where that is allowed, taken again. Says how many it has.
    fn renew(places: &mut Places, namespace: &str) -> usize {
        let namespace = Arc::from(namespace);
        for _ in 0..places.held.get(&namespace).copied().unwrap_or_default() {
            places.give_back(&namespace);
            places.take(&namespace);
        }
        places.held.get(&namespace).copied().unwrap_or_default()
    }

    #[test]
    fn one_namespace_alone_may_have_all() {
        let mut places = Places::new(12);
        assert_eq!(fill(&mut places, "a"), 12);
        assert_eq!(renew(&mut places, "a"), 12);
    }

    #[test]
    fn whoever_comes_later_has_a_fair_share() {
        let mut places = Places::new(12);
        assert_eq!(fill(&mut places, "a"), 12);
        assert_eq!(fill(&mut places, "b"), 6);
        assert_eq!(fill(&mut places, "c"), 4);
        assert_eq!((places.taken, fill(&mut places, "a")), (22, 0));
        let held = ["a", "b", "c"].map(|namespace| renew(&mut places, namespace));
        assert_eq!((held, places.taken), ([4, 4, 4], 12));
        assert_eq!(["a", "b", "c"].map(|namespace| fill(&mut places, namespace)), [0, 0, 0]);
    }

    #[test]
    fn who_needs_few_keeps_them() {
        let mut places = Places::new(12);
        assert!(places.take(&"b".into()));
        assert_eq!(fill(&mut places, "a"), 11);
        for _ in 0..3 {
            assert_eq!((renew(&mut places, "a"), renew(&mut places, "b")), (11, 1));
        }
    }

    #[test]
    fn places_that_are_given_back_are_for_whoever_comes() {
        let mut places = Places::new(4);
        assert_eq!(fill(&mut places, "a"), 4);
        for _ in 0..4 {
            places.give_back(&"a".into());
        }
        places.give_back(&"a".into());
        assert_eq!((places.taken, places.held.len()), (0, 0));
        assert_eq!(fill(&mut places, "b"), 4);
    }

    #[test]
    fn there_are_at_most_twice_as_many() {
        let mut places = Places::new(10);
        for namespace in 0..100 {
            fill(&mut places, &namespace.to_string());
        }
        assert_eq!(places.taken, 20);
    }
}
