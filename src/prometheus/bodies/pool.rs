//! Which of the answers that grow gets the next bytes.
//!
//! Those that grow hold what they have got while they wait for more, so there is a reserve, as large as the largest of them may
//! get, which one alone may use at a time. That one never waits, so it ends, and the reserve goes to the one that waits
//! longest: nobody waits for somebody who waits for him.
//!
//! Of what all share, a quarter is for small ones: large ones that come slowly do not hold them up.

use std::collections::BTreeMap;

/// Bytes, by holder.
#[derive(Debug)]
pub(super) struct Pool<W> {
    /// The most that one may hold.
    largest: usize,
    /// The most that small ones hold.
    small: usize,
    /// What is left of what all share.
    free: usize,
    /// The part of `free` that is for small ones.
    for_small: usize,
    /// Who has the reserve.
    favourite: Option<u64>,
    held: BTreeMap<u64, Held>,
    /// What they wait for, in the order in which they began.
    waiting: BTreeMap<u64, (usize, W)>,
    next: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    shared: usize,
    reserved: usize,
}

impl Held {
    fn all(self) -> usize {
        self.shared + self.reserved
    }
}

/// What becomes of a wish for more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Growth {
    /// It is granted.
    Granted,
    /// It has to be waited for.
    Waits,
    /// It is more than one may hold.
    TooMuch,
}

impl<W> Pool<W> {
    /// So many bytes for all, of which `largest` are the reserve, and the most that one may hold.
    pub(super) fn new(all: usize, largest: usize, small: usize) -> Self {
        let free = all.saturating_sub(largest);
        Self {
            largest,
            small,
            free,
            for_small: free / 4,
            favourite: None,
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
        }
    }

    /// One begins, and holds nothing yet.
    pub(super) fn begin(&mut self) -> u64 {
        self.next += 1;
        self.held.insert(self.next, Held::default());
        self.next
    }

    /// One wants so many bytes more.
    pub(super) fn grow(&mut self, id: u64, more: usize) -> Growth {
        let total = self.held(id).all().saturating_add(more);
        if total > self.largest {
            return Growth::TooMuch;
        }
        // Small ones have their own part, and overtake.
        let is_next = self.waiting.is_empty() || total <= self.small;
        if self.grant(id, more, is_next) { Growth::Granted } else { Growth::Waits }
    }

    /// One waits for what could not be granted.
    pub(super) fn wait(&mut self, id: u64, more: usize, waiter: W) {
        self.waiting.insert(id, (more, waiter));
    }

    /// One does not wait any more; false if it has been granted what it waited for.
    pub(super) fn leave(&mut self, id: u64) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// Ends one and frees its bytes. Returns the waiters that are served by them.
    pub(super) fn end(&mut self, id: u64) -> Vec<W> {
        self.waiting.remove(&id);
        let held = self.held.remove(&id).unwrap_or_default();
        self.free += held.shared;
        if self.favourite == Some(id) {
            self.favourite = None;
        }
        let mut served = Vec::new();
        let mut is_next = true;
        let waiting: Vec<_> = self.waiting.iter().map(|(id, (more, _))| (*id, *more)).collect();
        for (id, more) in waiting {
            let is_small = self.held(id).all() + more <= self.small;
            if self.grant(id, more, is_next || is_small) {
                served.extend(self.waiting.remove(&id).map(|(_, waiter)| waiter));
            } else {
                is_next = false;
            }
        }
        served
    }

    /// The bytes that all hold.
    pub(super) fn in_use(&self) -> usize {
        self.held.values().map(|held| held.all()).sum()
    }

    fn held(&self, id: u64) -> Held {
        self.held.get(&id).copied().unwrap_or_default()
    }

    /// Grants a wish from the reserve, or from what is shared where it is this one's turn.
    fn grant(&mut self, id: u64, more: usize, is_next: bool) -> bool {
        let mut held = self.held(id);
        let kept = if held.all() + more <= self.small { 0 } else { self.for_small };
        let is_free = is_next && self.free.saturating_sub(kept) >= more;
        if self.favourite != Some(id) && is_free {
            self.free -= more;
            held.shared += more;
        } else if *self.favourite.get_or_insert(id) == id {
            held.reserved += more;
        } else {
            return false;
        }
        self.held.insert(id, held);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Begin,
        Grow(prop::sample::Index, usize),
        End(prop::sample::Index),
        Leave(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            2 => Just(Step::Begin),
            8 => (index(), 1_usize..60).prop_map(|(index, more)| Step::Grow(index, more)),
            2 => index().prop_map(Step::End),
            1 => index().prop_map(Step::Leave),
        ]
    }

    const ALL: usize = 200;
    const LARGEST: usize = 120;

    /// What is known of each: whether it waits.
    type Known = BTreeMap<u64, bool>;

    fn check(pool: &Pool<u64>, known: &Known) {
        assert!(pool.in_use() <= ALL, "{pool:?}");
        assert!(pool.held.values().all(|held| held.all() <= LARGEST), "{pool:?}");
        let shared: usize = pool.held.values().map(|held| held.shared).sum();
        assert_eq!(shared + pool.free, ALL - LARGEST, "{pool:?}");
        let reserved = pool.held.iter().filter(|(_, held)| held.reserved > 0);
        assert!(reserved.map(|(id, _)| *id).all(|id| pool.favourite == Some(id)), "{pool:?}");
        // Somebody gets on.
        assert!(known.is_empty() || known.values().any(|waits| !waits), "{pool:?}");
    }

    fn end(pool: &mut Pool<u64>, known: &mut Known, id: u64) {
        known.remove(&id);
        for served in pool.end(id) {
            assert_eq!(known.insert(served, false), Some(true));
        }
    }

    proptest! {
        #[test]
        fn nobody_waits_for_somebody_who_waits_for_him(steps in prop::collection::vec(step(), 0..200)) {
            let mut pool = Pool::new(ALL, LARGEST, 10);
            let mut known = Known::new();
            let some = |known: &Known, index: &prop::sample::Index, waits: bool| {
                let ids: Vec<_> = known.iter().filter(|(_, it)| **it == waits).map(|(id, _)| *id).collect();
                (!ids.is_empty()).then(|| *index.get(&ids))
            };
            for step in steps {
                match step {
                    Step::Begin => {
                        known.insert(pool.begin(), false);
                    }
                    Step::Grow(index, more) => if let Some(id) = some(&known, &index, false) {
                        match pool.grow(id, more) {
                            Growth::Granted => {}
                            Growth::Waits => {
                                pool.wait(id, more, id);
                                known.insert(id, true);
                            }
                            Growth::TooMuch => end(&mut pool, &mut known, id),
                        }
                    },
                    Step::End(index) => if let Some(id) = some(&known, &index, false) {
                        end(&mut pool, &mut known, id);
                    },
                    Step::Leave(index) => if let Some(id) = some(&known, &index, true) {
                        prop_assert!(pool.leave(id));
                        end(&mut pool, &mut known, id);
                    },
                }
                check(&pool, &known);
            }
            // Whoever does not wait ends: then all do.
            while let Some(id) = known.iter().find(|(_, waits)| !**waits).map(|(id, _)| *id) {
                end(&mut pool, &mut known, id);
                check(&pool, &known);
            }
            prop_assert_eq!((known.len(), pool.in_use(), pool.held.len()), (0, 0, 0));
        }
    }

    #[test]
    fn small_ones_are_served_while_large_ones_hold_all_that_they_may() {
        let mut pool = Pool::<u64>::new(ALL, LARGEST, 10);
        let large: Vec<_> = (0..4).map(|_| pool.begin()).collect();
        let grown = large.iter().map(|id| pool.grow(*id, 60)).collect::<Vec<_>>();
        assert_eq!(grown[..2], [Growth::Granted, Growth::Granted], "shared, and the reserve");
        assert_eq!(grown[2..], [Growth::Waits, Growth::Waits]);
        pool.wait(large[2], 60, large[2]);
        let small = pool.begin();
        assert_eq!(pool.grow(small, 10), Growth::Granted);
        assert_eq!(pool.grow(small, 1), Growth::Waits, "it is not small any more");
        assert_eq!(pool.grow(large[1], 61), Growth::TooMuch);
        assert_eq!(pool.end(large[1]), [large[2]]);
    }
}
