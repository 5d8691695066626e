//! Metrics that readers of a namespace ask for and that there are not: each is looked for less and less often. What readers of
//! another namespace have asked for makes no difference, so nobody can keep a metric from others who will have it.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    time::{Duration, Instant},
};

use moka::future::Cache;

use super::RETRY;

/// The longest time between two looks for one metric.
const LONGEST: Duration = Duration::from_secs(60);

/// How many metrics are remembered, each by namespace. One that is forgotten is only looked for again.
const CAPACITY: u64 = 10_000;

/// When each was looked for last.
#[derive(Clone)]
pub(super) struct MissBackoff(Cache<u64, Miss>);

/// A look that found nothing, and the pause after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Miss {
    at: Instant,
    pause: Duration,
}

impl Miss {
    /// The first miss, or the one after another.
    fn after(last: Option<Self>, at: Instant) -> Self {
        Self { at, pause: last.map_or(RETRY, |last| (last.pause * 2).min(LONGEST)) }
    }

    fn is_over(self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= self.pause
    }
}

impl MissBackoff {
    pub(super) fn new() -> Self {
        // A reader that returns after a long pause counts as new.
        Self(Cache::builder().max_capacity(CAPACITY).time_to_idle(LONGEST * 3).build())
    }

    /// The key of a metric for the readers of a namespace.
    pub(super) fn key(namespace: &str, metric: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (namespace, metric).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether it is time to look again.
    pub(super) async fn is_over(&self, key: u64, now: Instant) -> bool {
        self.0.get(&key).await.is_none_or(|miss| miss.is_over(now))
    }

    /// Notes that nothing was found by a look that began `at` a time. Of readers who have looked together, one counts.
    pub(super) async fn note(&self, key: u64, at: Instant) {
        let last = self.0.get(&key).await;
        if last.is_none_or(|last| last.is_over(at)) {
            self.0.insert(key, Miss::after(last, at)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let start = Instant::now();
        let mut miss = Miss::after(None, start);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push(miss.pause.as_secs());
            let end = miss.at + miss.pause;
            assert!(!miss.is_over(miss.at + miss.pause / 2));
            assert!(miss.is_over(end));
            miss = Miss::after(Some(miss), end);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }

    #[tokio::test]
    async fn readers_who_look_together_count_once() {
        let (backoff, key, start) =
            (MissBackoff::new(), MissBackoff::key("n", "a"), Instant::now());
        let readers = async |at: Instant| {
            for late in 0..5 {
                backoff.note(key, at + Duration::from_millis(late)).await;
            }
        };
        readers(start).await;
        assert!(!backoff.is_over(key, start + RETRY / 2).await);
        assert!(backoff.is_over(key, start + RETRY).await);
        readers(start + RETRY).await;
        assert!(!backoff.is_over(key, start + RETRY * 2).await);
        assert!(backoff.is_over(key, start + RETRY * 3).await);
    }

    #[tokio::test]
    async fn each_metric_has_its_own_in_each_namespace() {
        let (backoff, now) = (MissBackoff::new(), Instant::now());
        backoff.note(MissBackoff::key("n", ("pods", "a")), now).await;
        for (namespace, metric, is_over) in
            [("n", "a", false), ("n", "b", true), ("other", "a", true), ("", "a", true)]
        {
            let key = MissBackoff::key(namespace, ("pods", metric));
            assert_eq!(backoff.is_over(key, now).await, is_over, "{namespace} {metric}");
        }
    }
}
