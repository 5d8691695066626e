//! Events that may repeat, and are reported once a minute.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
    time::{Duration, Instant},
};

/// How long a reported event is not reported again.
const PERIOD: Duration = Duration::from_secs(60);

/// How many events are distinguished.
const MOST: usize = 1_000;

/// The key of all further events.
const OTHERS: u64 = 0;

/// The recently reported events.
#[derive(Debug, Default)]
pub struct Repeats {
    logged: HashMap<u64, Logged>,
}

#[derive(Debug)]
struct Logged {
    at: Instant,
    /// How often it has come again since.
    withheld: u64,
}

impl Repeats {
    /// Whether to report an event now; if so, how often it has occurred unreported since the last report.
    pub fn tell(&mut self, what: impl Hash, now: Instant) -> Option<u64> {
        let is_recent = |logged: &Logged| now.saturating_duration_since(logged.at) < PERIOD;
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let mut key = hasher.finish();
        if self.logged.len() >= MOST && !self.logged.contains_key(&key) {
            self.logged.retain(|_, logged| is_recent(logged));
            if self.logged.len() >= MOST {
                key = OTHERS;
            }
        }
        if let Some(logged) = self.logged.get_mut(&key).filter(|logged| is_recent(logged)) {
            logged.withheld += 1;
            return None;
        }
        let before = self.logged.insert(key, Logged { at: now, withheld: 0 });
        Some(before.map_or(0, |logged| logged.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_told_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut repeats = Repeats::default();
        assert_eq!(repeats.tell("a", at(0)), Some(0));
        assert_eq!(repeats.tell("a", at(0)), None);
        assert_eq!(repeats.tell("a", at(59)), None);
        assert_eq!(repeats.tell("b", at(59)), Some(0));
        assert_eq!(repeats.tell("a", at(60)), Some(2));
        assert_eq!(repeats.tell("a", at(119)), None);
        assert_eq!(repeats.tell("a", at(500)), Some(1));
        assert_eq!(repeats.tell("a", at(999)), Some(0));
    }

    #[test]
    fn what_is_told_apart_is_bounded() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        let logged = (0..10 * MOST).filter(|what| repeats.tell(what, start).is_some()).count();
        assert_eq!((logged, repeats.logged.len()), (MOST + 1, MOST + 1));
        // A minute later there is room again, and the count of the unreported ones is kept.
        let later = start + PERIOD;
        assert_eq!(repeats.tell("new", later), Some(0));
        assert_eq!(repeats.logged.len(), 1);
    }
}
