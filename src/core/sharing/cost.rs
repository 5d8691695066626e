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
//!
//! A query for all namespaces competes with queries that the readers of each namespace share. How much these return is not known
//! here; it is taken to be what their readers read together, at most all objects of the namespace:
//!
//! ```text
//! narrower = Σ over namespaces of min(exact, (QUERY + Σ names) × min(1 / ttl, Σ 1 / pace))
//! ```

use std::{iter::Sum, time::Duration};

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
    /// How many objects they read together, each counted for every reader.
    names: f64,
}

impl Rates {
    /// Readers of `names` objects together, each of whom reads every `pace`.
    pub(super) fn of(readers: usize, names: usize, pace: Duration) -> Self {
        let (readers, names) = (count(readers), count(names));
        Self {
            fetches: readers * per_second(pace),
            exact: (QUERY * readers + names) * per_second(pace),
            names,
        }
    }

    /// The same, where there are no more than so many objects: readers may read the same ones.
    pub(super) fn of_at_most(self, objects: Option<usize>) -> Self {
        Self { names: objects.map_or(self.names, |most| self.names.min(count(most))), ..self }
    }

    /// The readers of several namespaces together, each namespace with whatever costs least there: exact queries, or a shared one.
    pub(super) fn of_namespaces(namespaces: impl Iterator<Item = Self>, ttl: Duration) -> Self {
        let narrow = |of: Self| {
            let shared = (QUERY + of.names) * of.fetches.min(per_second(ttl));
            Self { exact: of.exact.min(shared), ..of }
        };
        namespaces.map(narrow).sum()
    }

    /// Whether sharing a result of `size` samples costs at most `margin` times as much as narrower queries.
    pub(super) fn pays(self, size: usize, ttl: Duration, margin: f64) -> bool {
        let shared = (QUERY + count(size)) * self.fetches.min(per_second(ttl));
        self.fetches > 0.0 && shared <= self.exact * margin
    }
}

impl Sum for Rates {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), |all, of| Self {
            fetches: all.fetches + of.fetches,
            exact: all.exact + of.exact,
            names: all.names + of.names,
        })
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
        let rates = |(names, every): &(usize, u64)| {
            Rates::of(1, *names, Duration::from_secs(*every).max(TTL))
        };
        readers.iter().map(rates).sum()
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
    fn a_query_for_all_namespaces_competes_with_shared_ones() {
        // Readers of 2 pods each in so many namespaces, and how many samples there are in all.
        let cases = [
            ("2,000 readers in 20 namespaces, of all pods", 20, 100, 4_000, true),
            ("2 of 100 namespaces, with many readers", 2, 200, 10_000, false),
            ("one namespace of two", 1, 100, 400, false),
            ("one reader in each of 100 namespaces", 100, 1, 200, true),
            ("one reader in each of 10 of 1,000 namespaces", 10, 1, 2_000, false),
        ];
        for (what, namespaces, readers, size, wanted) in cases {
            let one = Rates::of(readers, 2 * readers, USUAL_PACE);
            let all = Rates::of_namespaces(std::iter::repeat_n(one, namespaces), TTL);
            assert_eq!(all.pays(size, TTL, 1.0), wanted, "{what}");
        }
    }

    #[test]
    fn objects_that_several_read_are_fetched_once_by_a_query_for_the_namespace() {
        let readers = Rates::of(100, 5_000, USUAL_PACE);
        for (objects, wanted) in [(None, true), (Some(50), false)] {
            let all = Rates::of_namespaces([readers.of_at_most(objects)].into_iter(), TTL);
            assert_eq!(all.pays(2_000, TTL, 1.0), wanted, "{objects:?}");
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
