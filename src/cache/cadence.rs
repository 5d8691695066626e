//! The pace at which something is read, and when it should be fetched to be fresh at the next read.

use std::time::{Duration, Instant};

/// Demand ends after this many reads that did not come.
const MISSED_READS: u32 = 3;

/// Demand does not end before.
const LEAST_DEMAND: Duration = Duration::from_secs(120);

/// How many gaps between reads are remembered.
const GAPS: usize = 3;

/// When something is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadCadence {
    last: Option<Instant>,
    /// The latest gaps between reads, the newest first.
    gaps: [Option<Duration>; GAPS],
}

/// When to fetch next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// At this time, or at once if it has passed.
    At(Instant),
    /// Nobody reads regularly any more.
    Ended,
}

impl ReadCadence {
    /// Somebody reads. Reads within half the time that a value is fresh are one.
    pub fn read(&mut self, now: Instant, ttl: Duration) {
        if let Some(last) = self.last {
            let gap = now.saturating_duration_since(last);
            if gap < ttl / 2 {
                return;
            }
            self.gaps.rotate_right(1);
            if let Some(newest) = self.gaps.first_mut() {
                *newest = Some(gap);
            }
        }
        self.last = Some(now);
    }

    /// Somebody is known to read at this pace from now on.
    pub fn expect(&mut self, now: Instant, every: Duration) {
        if self.every().is_none() {
            *self = Self { last: Some(now), gaps: [Some(every); GAPS] };
        } else {
            self.last = self.last.max(Some(now));
        }
    }

    /// Nobody reads any more.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// The time between two reads: the median of the latest, the lesser of two.
    fn every(&self) -> Option<Duration> {
        let mut gaps: Vec<_> = self.gaps.iter().flatten().copied().collect();
        gaps.sort_unstable();
        gaps.get(gaps.len().saturating_sub(1) / 2).copied()
    }

    /// Whether there are reads to come.
    pub fn is_steady(&self, now: Instant) -> bool {
        let (Some(every), Some(last)) = (self.every(), self.last) else {
            return false;
        };
        now.saturating_duration_since(last) <= (every * MISSED_READS).max(LEAST_DEMAND)
    }

    /// When to fetch what was last fetched, or tried, at `attempted`: by `lead` before the next read, so that a reader who is early or
    /// late finds it fresh, but never twice in one life.
    pub fn due(&self, attempted: Instant, ttl: Duration, lead: Duration, now: Instant) -> Due {
        let (Some(every), Some(last)) = (self.every(), self.last) else {
            return Due::Ended;
        };
        if !self.is_steady(now) {
            return Due::Ended;
        }
        // How late a reader may be.
        let lag = ttl.saturating_sub(lead);
        // The next read that a fetch from now on can be in time for.
        let mut next = last + every;
        while next + lag <= now.max(attempted + lag) {
            next += every.max(lead).max(Duration::from_millis(1));
        }
        let early = next.checked_sub(lead).unwrap_or(now);
        Due::At(early.max(attempted + ttl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);
    const LEAD: Duration = Duration::from_millis(1500);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Reads at these seconds, and what is due for a value that was fetched at `attempted`.
    fn due(reads: &[f64], attempted: f64, now: f64) -> Option<f64> {
        let start = Instant::now();
        let mut cadence = ReadCadence::default();
        for read in reads {
            cadence.read(start + seconds(*read), TTL);
        }
        match cadence.due(start + seconds(attempted), TTL, LEAD, start + seconds(now)) {
            Due::At(at) => {
                Some((at.saturating_duration_since(start).as_secs_f64() * 1e3).round() / 1e3)
            }
            Due::Ended => None,
        }
    }

    #[test]
    fn a_value_is_fetched_a_while_before_it_is_read() {
        type Case = (&'static str, &'static [f64], f64, f64, Option<f64>);
        let cases: &[Case] = &[
            ("never read", &[], 0.0, 0.0, None),
            ("read once", &[0.0], 0.0, 0.0, None),
            ("read every 15 s", &[0.0, 15.0], 15.0, 15.0, Some(28.5)),
            ("fetched, not read yet: looked at again", &[0.0, 15.0], 28.5, 28.6, Some(33.5)),
            ("fetched and read", &[0.0, 15.0, 30.0], 28.5, 32.5, Some(43.5)),
            ("an early look between two reads", &[0.0, 15.0, 22.0, 30.0], 30.0, 30.0, Some(36.5)),
            ("read all the time", &[0.0, 5.1, 10.2, 15.3], 15.2, 15.3, Some(20.2)),
            ("in bursts", &[0.0, 0.1, 0.9, 15.0, 15.5, 16.0], 15.0, 16.0, Some(28.5)),
            ("the reader is late", &[0.0, 15.0], 28.5, 33.4, Some(33.5)),
            ("a read missed", &[0.0, 15.0], 28.5, 33.5, Some(43.5)),
            ("two minutes without a read", &[0.0, 15.0], 132.5, 135.1, None),
            ("three reads missed", &[0.0, 60.0], 220.0, 241.0, None),
            ("two reads missed", &[0.0, 60.0], 220.0, 235.0, Some(238.5)),
        ];
        for (what, reads, attempted, now, wanted) in cases {
            assert_eq!(due(reads, *attempted, *now), *wanted, "{what}");
        }
    }

    #[test]
    fn who_is_announced_is_steady_at_once() {
        let now = Instant::now();
        let mut cadence = ReadCadence::default();
        cadence.expect(now, seconds(15.0));
        assert!(cadence.is_steady(now));
        assert_eq!(cadence.due(now, TTL, LEAD, now), Due::At(now + seconds(13.5)));
        assert!(!cadence.is_steady(now + seconds(121.0)));
    }
}
