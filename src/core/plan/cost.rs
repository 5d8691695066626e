//! What a shared query costs against the exact ones, and who reads.
//!
//! A query costs the backend about as much as [`QUERY`] samples, whatever it gives. Readers come back at their own pace, and no
//! result is fetched again within its life. So, for readers who each read `names` objects every `every`, the samples that are
//! fetched in a second are
//!
//! ```text
//! pace   = max(every, ttl)
//! exact  = Σ (QUERY + names) / pace
//! shared = (QUERY + size) × min(1 / ttl, Σ 1 / pace)
//! ```
//!
//! and sharing pays where the second is not the greater one. It never sends more queries than exact plans would.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// What a query costs by itself, in samples.
pub const QUERY: f64 = 100.0;

/// The pace of a reader that has been seen once: the HPA controller's default.
pub const USUAL_PACE: Duration = Duration::from_secs(15);

/// Readers are forgotten after three missed reads, at the least after this time.
const LEAST_MEMORY: Duration = Duration::from_secs(120);

/// The most readers of a group that are told apart. There are few reasons for more, and further ones change nothing.
pub const MAX_READERS: usize = 10_000;

/// Sharing that has begun goes on until it costs this much more than exact plans.
const RELUCTANCE: f64 = 1.5;

/// Who reads the objects of a group, as far as it is known.
#[derive(Debug, Default)]
pub struct Demand {
    readers: HashMap<u64, Reader>,
    /// Objects per reader, by namespace, of readers that autoscalers announce and that may not have read yet.
    expected: BTreeMap<Option<Arc<str>>, Vec<usize>>,
    shares: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    names: usize,
    every: Duration,
    last: Instant,
}

/// What readers cost in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rates {
    /// How often exact results would be fetched.
    fetches: f64,
    exact: f64,
}

impl Rates {
    fn add(&mut self, names: usize, pace: Duration) {
        self.fetches += per_second(pace);
        self.exact += (QUERY + count(names)) * per_second(pace);
    }

    fn shared(self, size: usize, ttl: Duration) -> f64 {
        (QUERY + count(size)) * self.fetches.min(per_second(ttl))
    }
}

fn per_second(every: Duration) -> f64 {
    1.0 / every.as_secs_f64().max(0.001)
}

#[expect(clippy::cast_precision_loss, reason = "no vector has 2^52 samples")]
fn count(samples: usize) -> f64 {
    samples as f64
}

/// Whether one query for all costs no more than an exact one for each of some readers who wait at the same time.
pub fn pays_at_once(names: impl IntoIterator<Item = usize>, size: usize) -> bool {
    let exact: f64 = names.into_iter().map(|names| QUERY + count(names)).sum();
    QUERY + count(size) <= exact
}

impl Demand {
    /// A reader has read that many objects. The same reader has the same number.
    pub fn read(&mut self, reader: u64, names: usize, now: Instant) {
        if let Some(known) = self.readers.get_mut(&reader) {
            let gap = now.saturating_duration_since(known.last);
            // Reads in quick succession are one: two replicas of a controller, or somebody's second look.
            if gap >= Duration::from_secs(1) {
                known.every = (known.every + gap) / 2;
                known.last = now;
            }
            known.names = names;
        } else {
            if self.readers.len() >= MAX_READERS {
                self.forget(now);
            }
            if self.readers.len() < MAX_READERS {
                self.readers.insert(reader, Reader { names, every: USUAL_PACE, last: now });
            }
        }
    }

    /// Autoscalers announce readers in a namespace, by the number of objects of each; they replace those that were announced
    /// there before.
    pub fn expect(&mut self, namespace: Option<&str>, expected: Vec<usize>) {
        let namespace = namespace.map(Arc::from);
        if expected.is_empty() {
            self.expected.remove(&namespace);
        } else {
            self.expected.insert(namespace, expected);
        }
    }

    /// Whether sharing a result of `size` samples that lives for `ttl` pays. Once it does it goes on paying until it costs
    /// clearly more, so that a demand at the border does not change plans at every read.
    pub fn shares(&mut self, size: usize, ttl: Duration, now: Instant) -> bool {
        self.forget(now);
        let mut seen = Rates::default();
        #[expect(clippy::iter_over_hash_type, reason = "a sum does not depend on the order")]
        for reader in self.readers.values() {
            seen.add(reader.names, reader.every.max(ttl));
        }
        let mut announced = Rates::default();
        for names in self.expected.values().flatten() {
            announced.add(*names, USUAL_PACE.max(ttl));
        }
        let margin = if self.shares { RELUCTANCE } else { 1.0 };
        self.shares = [seen, announced]
            .into_iter()
            .any(|rates| rates.fetches > 0.0 && rates.shared(size, ttl) <= rates.exact * margin);
        self.shares
    }

    /// Whether sharing paid when it was last asked.
    pub fn is_shared(&self) -> bool {
        self.shares
    }

    /// Whether a reader has read lately.
    pub fn remembers(&self, reader: u64) -> bool {
        self.readers.contains_key(&reader)
    }

    /// How many readers are remembered or announced.
    pub fn readers(&self) -> usize {
        self.readers.len().max(self.expected.values().map(Vec::len).sum())
    }

    /// How many objects the readers read together, each counted for every reader.
    pub fn names(&self) -> usize {
        let seen: usize = self.readers.values().map(|reader| reader.names).sum();
        seen.max(self.expected.values().flatten().sum())
    }

    fn forget(&mut self, now: Instant) {
        self.readers.retain(|_, reader| {
            let memory = (reader.every * 3).max(LEAST_MEMORY);
            now.saturating_duration_since(reader.last) <= memory
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    fn demand(readers: &[(usize, u64)], now: Instant) -> Demand {
        let mut demand = Demand::default();
        for ((names, every), reader) in readers.iter().zip(0..) {
            let every = Duration::from_secs(*every);
            demand.readers.insert(reader, Reader { names: *names, every, last: now });
        }
        demand
    }

    #[test]
    fn sharing_is_for_the_many() {
        type Case = (&'static str, &'static [(usize, u64)], usize, bool);
        let now = Instant::now();
        let cases: &[Case] = &[
            ("nobody", &[], 0, false),
            ("one reader of 2 of 5,000", &[(2, 15)], 5_000, false),
            ("one reader of all", &[(50, 15)], 50, true),
            ("100 readers of 10 of 1,000", &[(10, 15); 100], 1_000, true),
            ("100 readers of 2 of 5,000", &[(2, 15); 100], 5_000, false),
            ("100 readers of 2 of 3,000", &[(2, 15); 100], 3_000, true),
            ("three readers of a third each", &[(5, 15); 3], 15, false),
            ("five readers of a fifth each", &[(5, 15); 5], 25, true),
        ];
        for (what, readers, size, wanted) in cases {
            assert_eq!(demand(readers, now).shares(*size, TTL, now), *wanted, "{what}");
        }
    }

    #[test]
    fn readers_that_stay_away_are_forgotten() {
        let start = Instant::now();
        let mut demand = demand(&[(10, 15); 100], start);
        assert!(demand.shares(1_000, TTL, start + Duration::from_secs(119)));
        assert!(!demand.shares(1_000, TTL, start + Duration::from_secs(121)));
        assert_eq!(demand.readers(), 0);
    }

    #[test]
    fn the_pace_is_learnt() {
        let start = Instant::now();
        let mut demand = Demand::default();
        for step in 0..10 {
            demand.read(7, 3, start + Duration::from_secs(60) * step);
            demand.read(7, 3, start + Duration::from_secs(60) * step + Duration::from_millis(5));
        }
        let every = demand.readers[&7].every;
        assert!((55..=60).contains(&every.as_secs()), "{every:?}");
    }

    #[test]
    fn announced_readers_count_before_they_have_read() {
        let now = Instant::now();
        let mut demand = Demand::default();
        demand.expect(Some("a"), vec![10; 50]);
        demand.expect(Some("b"), vec![10; 50]);
        assert_eq!((demand.readers(), demand.names()), (100, 1_000));
        assert!(demand.shares(1_000, TTL, now));
        demand.expect(Some("b"), vec![10; 40]);
        assert_eq!((demand.readers(), demand.names()), (90, 900));
        demand.expect(Some("a"), Vec::new());
        demand.expect(Some("b"), Vec::new());
        assert!(!demand.shares(1_000, TTL, now));
    }

    #[test]
    fn who_waits_together_shares_where_one_query_is_cheaper() {
        assert!(!pays_at_once([2], 5_000));
        assert!(pays_at_once([5_000], 5_000));
        assert!(pays_at_once([10; 10], 1_000));
        assert!(!pays_at_once([10; 9], 1_000));
    }

    proptest! {
        /// Whatever the demand, a plan that is shared for the first time costs no more than the exact plans.
        #[test]
        fn sharing_never_costs_more(
            readers in prop::collection::vec((1..500_usize, 1..120_u64), 0..60),
            size in 0..20_000_usize,
        ) {
            let now = Instant::now();
            let rate = |every: u64| 1.0 / Duration::from_secs(every).max(TTL).as_secs_f64();
            let exact: f64 = readers.iter().map(|(n, every)| (QUERY + count(*n)) * rate(*every)).sum();
            let reads: f64 = readers.iter().map(|(_, every)| rate(*every)).sum();
            let shared = (QUERY + count(size)) * reads.min(1.0 / TTL.as_secs_f64());
            // Sums differ in their last digits with the order of the readers.
            if demand(&readers, now).shares(size, TTL, now) {
                prop_assert!(shared <= exact * (1.0 + 1e-9));
            } else {
                prop_assert!(readers.is_empty() || shared >= exact * (1.0 - 1e-9));
            }
        }
    }
}
