//! What a shared query costs, compared with exact ones.
//!
//! A query costs the backend about as much as [`QUERY`] samples, whatever it returns. Readers come back at their own pace, and no
//! result is fetched again while it is fresh. So, for readers who each read `names` objects every `every`, the samples that are
//! fetched in a second are
//!
//! ```text
//! pace   = max(every, ttl)
//! exact  = Σ (QUERY + names) / pace
//! shared = (QUERY + size) × min(1 / ttl, Σ 1 / pace)
//! ```
//!
//! and sharing pays where `shared` is not greater than `exact`. It never sends more queries than exact plans would.

use std::time::Duration;

/// What a query costs by itself, in samples.
pub const QUERY: f64 = 100.0;

/// The pace of a reader that has been seen once: the HPA controller's default.
pub const USUAL_PACE: Duration = Duration::from_secs(15);

/// What readers cost in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// How often exact results would be fetched.
    fetches: f64,
    /// How many samples the exact queries cost.
    exact: f64,
}

impl Rates {
    /// Adds readers of `names` objects together, each of whom reads every `pace`.
    pub(super) fn add(&mut self, readers: usize, names: usize, pace: Duration) {
        self.fetches += count(readers) * per_second(pace);
        self.exact += (QUERY * count(readers) + count(names)) * per_second(pace);
    }

    /// Whether sharing a result of `size` samples costs at most `margin` times as much as exact queries.
    pub(super) fn pays(self, size: usize, ttl: Duration, margin: f64) -> bool {
        let shared = (QUERY + count(size)) * self.fetches.min(per_second(ttl));
        self.fetches > 0.0 && shared <= self.exact * margin
    }
}

/// Whether one query of `size` samples costs no more than the exact ones of readers who come at the same time and read `names`
/// objects together.
pub fn pays_at_once(readers: usize, names: usize, size: usize) -> bool {
    QUERY + count(size) <= QUERY * count(readers) + count(names)
}

fn per_second(every: Duration) -> f64 {
    1.0 / every.as_secs_f64().max(0.001)
}

#[expect(clippy::cast_precision_loss, reason = "no vector has 2^52 samples")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    fn rates(readers: &[(usize, u64)]) -> Rates {
        let mut rates = Rates::default();
        for (names, every) in readers {
            rates.add(1, *names, Duration::from_secs(*every).max(TTL));
        }
        rates
    }

    #[test]
    fn sharing_is_for_the_many() {
        type Case = (&'static str, &'static [(usize, u64)], usize, bool);
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
            assert_eq!(rates(readers).pays(*size, TTL, 1.0), *wanted, "{what}");
        }
    }

    #[test]
    fn readers_at_the_same_time_share_where_one_query_is_cheaper() {
        assert!(!pays_at_once(1, 2, 5_000));
        assert!(pays_at_once(1, 5_000, 5_000));
        assert!(pays_at_once(10, 100, 1_000));
        assert!(!pays_at_once(9, 90, 1_000));
    }

    proptest! {
        /// Whatever the demand, what is shared without a margin costs no more than the exact queries.
        #[test]
        fn sharing_never_costs_more(
            readers in prop::collection::vec((1..500_usize, 1..120_u64), 0..60),
            size in 0..20_000_usize,
        ) {
            let rate = |every: u64| 1.0 / Duration::from_secs(every).max(TTL).as_secs_f64();
            let exact: f64 = readers.iter().map(|(n, every)| (QUERY + count(*n)) * rate(*every)).sum();
            let reads: f64 = readers.iter().map(|(_, every)| rate(*every)).sum();
            let shared = (QUERY + count(size)) * reads.min(1.0 / TTL.as_secs_f64());
            // Sums differ in their last digits with the order of the readers.
            if rates(&readers).pays(size, TTL, 1.0) {
                prop_assert!(shared <= exact * (1.0 + 1e-9));
            } else {
                prop_assert!(readers.is_empty() || shared >= exact * (1.0 - 1e-9));
            }
        }
    }
}
