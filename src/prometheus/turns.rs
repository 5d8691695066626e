//! Whether a query that has to wait for its turn will have it in time.
//!
//! Queries wait in a crowd, which a backend gets through. One that answers slower than queries come does not: from the first
//! that has waited in vain on, those whose turn cannot come in time fail at once. No I/O here, and time is an argument.

use std::time::{Duration, Instant};

/// Nothing is expected of a backend that has got through all that waited for so long.
const MEMORY: Duration = Duration::from_secs(60);

/// The queries that wait for a turn, and the pace at which they had it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: usize,
    /// When somebody had a turn, or began to wait for one as the first.
    last: Option<Instant>,
    /// The time from one turn to the next while queries wait.
    gap: Duration,
    /// When a query has waited, or would have waited, in vain.
    in_vain: Option<Instant>,
}

impl Turns {
    /// A query that can wait for so long wants to, and so many have their turn before. Says whether that makes sense.
    pub(super) fn join(&mut self, ahead: usize, patience: Duration, now: Instant) -> bool {
        let is_slow = self.in_vain.is_some_and(|at| now.saturating_duration_since(at) < MEMORY);
        let turns = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1);
        if is_slow && self.gap.saturating_mul(turns) > patience {
            self.in_vain = Some(now);
            return false;
        }
        if self.waiting == 0 {
            self.last = Some(now);
        }
        self.waiting += 1;
        true
    }

    /// One that waits has its turn, and leaves.
    pub(super) fn served(&mut self, now: Instant) {
        let gap = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.gap = if self.gap.is_zero() { gap } else { (self.gap * 3 + gap) / 4 };
        self.last = Some(now);
    }

    /// One that waits has waited for too long, and leaves.
    pub(super) fn waited_in_vain(&mut self, now: Instant) {
        self.in_vain = Some(now);
    }

    /// One does not wait any more, for whatever reason.
    pub(super) fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// One comes behind all others.
    fn join(turns: &mut Turns, now: Instant) -> bool {
        turns.join(turns.waiting, PATIENCE, now)
    }

    fn serve(turns: &mut Turns, now: Instant) {
        turns.served(now);
        turns.leave();
    }

    fn disappoint(turns: &mut Turns, now: Instant) {
        turns.waited_in_vain(now);
        turns.leave();
    }

    #[test]
    fn a_crowd_may_wait_as_long_as_nobody_has_waited_in_vain() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert!((0..1_000).all(|_| join(&mut turns, start)));
        serve(&mut turns, after(start, 1));
        assert!(join(&mut turns, after(start, 1)), "it takes a thousand seconds, perhaps");
    }

    #[test]
    fn once_one_has_waited_in_vain_only_those_wait_whose_turn_comes_in_time() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert!((0..20).all(|_| join(&mut turns, start)));
        for second in 1..=10 {
            serve(&mut turns, after(start, second));
        }
        for _ in 0..10 {
            disappoint(&mut turns, after(start, 10));
        }
        for round in [10, 20, 30] {
            let joined = (0..20).filter(|_| join(&mut turns, after(start, round))).count();
            assert_eq!(joined, 10, "a second each");
            for second in 1..=10 {
                serve(&mut turns, after(start, round + second));
            }
        }
    }

    #[test]
    fn a_backend_that_has_become_fast_again_is_given_what_comes() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert!((0..2).all(|_| join(&mut turns, start)));
        serve(&mut turns, after(start, 8));
        disappoint(&mut turns, after(start, 10));
        assert!(join(&mut turns, after(start, 10)) && !join(&mut turns, after(start, 10)));
        turns.leave();
        for _ in 0..20 {
            assert!(join(&mut turns, after(start, 10)));
            serve(&mut turns, after(start, 10));
        }
        assert!((0..100).all(|_| join(&mut turns, after(start, 10))));
    }

    #[test]
    fn that_it_was_slow_is_forgotten() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert!((0..2).all(|_| join(&mut turns, start)));
        serve(&mut turns, after(start, 9));
        disappoint(&mut turns, after(start, 10));
        assert!((0..100).all(|_| join(&mut turns, after(start, 70))));
    }
    #[test]
    fn whose_turn_is_before_that_of_others_waits() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert!((0..50).all(|_| join(&mut turns, start)));
        serve(&mut turns, after(start, 1));
        disappoint(&mut turns, after(start, 1));
        assert!(!join(&mut turns, after(start, 1)), "48 wait, a second each");
        assert!(turns.join(3, PATIENCE, after(start, 1)));
    }
}
