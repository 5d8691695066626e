//! When a status is written, so that replicas that disagree write less and less often.

use std::time::{Duration, Instant};

use super::Change;

/// The number of series and the value are written no more often.
const VALUE_PAUSE: Duration = Duration::from_secs(300);

/// The first pause after a write. It doubles while the conditions go to and fro.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// Writes of replicas are spread over this time.
const SPREAD: Duration = Duration::from_secs(2);

/// When a status is written.
#[derive(Clone, Copy, Debug)]
pub(in crate::core::team_rules) struct Pace {
    /// When the object, or its status at the API server, has changed last.
    changed: Instant,
    /// When we have written last, and how long the pause after it is.
    written: Option<(Instant, Duration)>,
    /// Between 0 and 1.
    chance: f64,
}

impl Pace {
    /// Of an object that is new to us. `chance` is a random number between 0 and 1, for all its time.
    pub(in crate::core::team_rules) fn new(now: Instant, chance: f64) -> Self {
        Self { changed: now, written: None, chance }
    }

    /// The spec has changed: what was written before does not matter any more.
    pub(in crate::core::team_rules) fn begin(&mut self, now: Instant) {
        *self = Self::new(now, self.chance);
    }

    /// The API server has another status now.
    pub(in crate::core::team_rules) fn changed(&mut self, now: Instant) {
        self.changed = now;
    }

    /// We have written.
    pub(in crate::core::team_rules) fn wrote(&mut self, change: Change, now: Instant) {
        let pause = match self.written {
            _ if change != Change::Condition => FIRST_PAUSE,
            Some((then, pause)) if now.saturating_duration_since(then) < 2 * LAST_PAUSE => {
                LAST_PAUSE.min(pause * 2)
            }
            _ => FIRST_PAUSE,
        };
        self.written = Some((now, pause));
        self.changed = now;
    }

    /// When a change is to be written.
    pub(in crate::core::team_rules) fn due(&self, change: Change) -> Option<Instant> {
        let after_own = self.written.map(|(then, pause)| then + pause);
        let at = match change {
            Change::None => return None,
            Change::Value => self.changed + VALUE_PAUSE + VALUE_PAUSE.mul_f64(self.chance / 4.0),
            Change::Condition => self.changed + SPREAD.mul_f64(self.chance),
        };
        Some(after_own.map_or(at, |after| after.max(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn values_are_written_every_few_minutes_and_conditions_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 0.5);
        assert_eq!(pace.due(Change::None), None);
        assert_eq!(pace.due(Change::Condition), Some(after(start, 1)));
        assert!(pace.due(Change::Value) > Some(after(start, 300)));
        pace.wrote(Change::Value, after(start, 400));
        assert!(pace.due(Change::Value) > Some(after(start, 700)));
        // Another replica has written.
        pace.changed(after(start, 600));
        assert!(pace.due(Change::Value) > Some(after(start, 900)));
    }

    #[test]
    fn replicas_that_disagree_write_less_and_less_often() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 0.0);
        let mut now = start;
        let mut gaps = Vec::new();
        for _ in 0..14 {
            pace.wrote(Change::Condition, now);
            // The other one writes at once.
            pace.changed(now);
            let due = pace.due(Change::Condition).unwrap();
            gaps.push(due.saturating_duration_since(now).as_secs());
            now = due;
        }
        assert_eq!(gaps, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600]);
        pace.begin(now);
        assert_eq!(pace.due(Change::Condition), Some(now), "the spec is another one");
    }
}
