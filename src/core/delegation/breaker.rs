//! The circuit breaker of a delegate. Time is an argument.
//!
//! Only what says that nobody is served counts as a failure: no connection, no answer in time, or the answer of a proxy that reaches
//! no server. A delegate that refuses one read, or fails it, works.

use std::time::{Duration, Instant};

/// So many failures in succession open the breaker.
const FAILURES: u32 = 5;

/// The first pause.
const SHORTEST: Duration = Duration::from_secs(2);

/// The longest pause: each one is twice as long as the one before.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether reads are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breaker {
    /// They are.
    Closed {
        /// How many have failed since the last one that did not.
        failures: u32,
    },
    /// They are not, until a time.
    Open {
        /// Until when.
        until: Instant,
        /// How long that is.
        pause: Duration,
    },
    /// One is sent, and decides.
    Probing {
        /// How long the last pause was.
        pause: Duration,
    },
}

/// What becomes of a read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// It is sent.
    Pass,
    /// It is sent, and others wait for how it ends.
    Probe,
    /// It fails at once.
    Refuse,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Admits a read. A probe ends by [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::abandoned`].
    pub fn admit(&mut self, now: Instant) -> Admission {
        match *self {
            Self::Closed { .. } => Admission::Pass,
            Self::Open { until, pause } if now >= until => {
                *self = Self::Probing { pause };
                Admission::Probe
            }
            Self::Open { .. } | Self::Probing { .. } => Admission::Refuse,
        }
    }

    /// A read was answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The delegate has answered something other than a read. That closes the breaker, but failed reads are still counted: reads may
    /// fail while all else works.
    pub fn reached(&mut self) {
        if self.is_open() {
            self.succeeded();
        }
    }

    /// A read was not answered. The result is whether the breaker has just opened.
    pub fn failed(&mut self, now: Instant) -> bool {
        let open = |pause| Self::Open { until: now + pause, pause };
        match *self {
            Self::Closed { failures } if failures.saturating_add(1) < FAILURES => {
                *self = Self::Closed { failures: failures.saturating_add(1) };
                false
            }
            Self::Closed { .. } => {
                *self = open(SHORTEST);
                true
            }
            Self::Probing { pause } => {
                *self = open(pause.saturating_mul(2).min(LONGEST));
                false
            }
            // It was sent before the breaker opened.
            Self::Open { .. } => false,
        }
    }

    /// Nobody waits for the probe any more, so that the next read is one.
    pub fn abandoned(&mut self, now: Instant) {
        if let Self::Probing { pause } = *self {
            *self = Self::Open { until: now, pause };
        }
    }

    /// Whether reads fail at once.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        let opens: Vec<_> = (0..FAILURES).map(|_| breaker.failed(now)).collect();
        assert_eq!(opens.iter().filter(|opens| **opens).count(), 1);
        assert_eq!(opens.last(), Some(&true));
        breaker
    }

    #[test]
    fn failures_in_succession_open_it_and_others_do_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 * FAILURES {
            assert!(!breaker.failed(now));
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(now), Admission::Pass);
        let mut breaker = opened(now);
        assert!(breaker.is_open());
        assert_eq!(breaker.admit(now), Admission::Refuse);
    }

    #[test]
    fn one_read_probes_after_the_pause_and_decides() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pause = SHORTEST;
        for _ in 0..10 {
            let early = now + pause.saturating_sub(Duration::from_millis(1));
            assert_eq!(breaker.admit(early), Admission::Refuse);
            now += pause;
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert_eq!(breaker.admit(now), Admission::Refuse);
            assert!(!breaker.failed(now));
            pause = (pause * 2).min(LONGEST);
        }
        now += pause;
        assert_eq!(breaker.admit(now), Admission::Probe);
        breaker.succeeded();
        assert_eq!(breaker.admit(now), Admission::Pass);
    }

    #[test]
    fn an_abandoned_probe_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + SHORTEST;
        assert_eq!(breaker.admit(later), Admission::Probe);
        breaker.abandoned(later);
        assert_eq!(breaker.admit(later), Admission::Probe);
        // One that ends late does not lengthen the pause.
        let mut breaker = opened(now);
        assert!(!breaker.failed(now));
        assert_eq!(breaker.admit(later), Admission::Probe);
    }

    #[test]
    fn what_else_it_answers_closes_it_and_does_not_make_failures_forgotten() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.reached();
        assert_eq!(breaker.admit(now), Admission::Pass);
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + SHORTEST), Admission::Probe);
        breaker.reached();
        assert!(!breaker.is_open());
        for failure in 1..=FAILURES {
            breaker.reached();
            assert_eq!(breaker.failed(now), failure == FAILURES);
        }
    }

    proptest! {
        #[test]
        fn a_delegate_that_answers_again_is_asked_within_the_longest_pause(
            steps in prop::collection::vec(0..4_u8, 0..200),
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::default();
            for step in steps {
                match step {
                    0 => { breaker.failed(now); }
                    1 => { breaker.admit(now); }
                    2 => breaker.abandoned(now),
                    _ => now += Duration::from_secs(1),
                }
            }
            breaker.abandoned(now);
            prop_assert_ne!(breaker.admit(now + LONGEST), Admission::Refuse);
        }
    }
}
