//! Metrics that readers asked for in vain: each is looked for less and less often.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    time::{Duration, Instant},
};

use moka::future::Cache;

use super::RETRY;

/// The longest time between two looks for one metric.
const LONGEST: Duration = Duration::from_secs(60);

/// How many metrics are remembered. One that is forgotten is only looked for again.
const CAPACITY: u64 = 10_000;

/// When each was looked for last.
#[derive(Clone)]
pub(super) struct Vain(Cache<u64, Look>);

/// A look that found nothing, and the pause after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Look {
    at: Instant,
    pause: Duration,
}

impl Look {
    /// The first look at a metric, or the one after another.
    fn after(last: Option<Self>, at: Instant) -> Self {
        Self { at, pause: last.map_or(RETRY, |last| (last.pause * 2).min(LONGEST)) }
    }

    fn is_over(self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= self.pause
    }
}

impl Vain {
    pub(super) fn new() -> Self {
        // Who asks again after a long silence is taken for somebody new.
        Self(Cache::builder().max_capacity(CAPACITY).time_to_idle(LONGEST * 3).build())
    }

    /// The key of a metric.
    pub(super) fn key(metric: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        metric.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether it is time to look again.
    pub(super) async fn is_over(&self, key: u64, now: Instant) -> bool {
        self.0.get(&key).await.is_none_or(|look| look.is_over(now))
    }

    /// Notes that nothing was found.
    pub(super) async fn note(&self, key: u64, now: Instant) {
        let last = self.0.get(&key).await;
        self.0.insert(key, Look::after(last, now)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let start = Instant::now();
        let mut look = Look::after(None, start);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push(look.pause.as_secs());
            let end = look.at + look.pause;
            assert!(!look.is_over(look.at + look.pause / 2));
            assert!(look.is_over(end));
            look = Look::after(Some(look), end);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }

    #[tokio::test]
    async fn each_metric_has_its_own() {
        let (vain, now) = (Vain::new(), Instant::now());
        vain.note(Vain::key(("pods", "a")), now).await;
        assert!(!vain.is_over(Vain::key(("pods", "a")), now).await);
        assert!(vain.is_over(Vain::key(("pods", "b")), now).await);
    }
}
