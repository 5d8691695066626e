//! When a rule's fallback takes the place of values: only after reads have failed for a while without a success in between, and
//! until the first success.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// How many questions are told apart. Further ones have no fallback while so many fail.
pub const MOST_QUESTIONS: usize = 1_000;

/// A question that was not asked for this time starts anew: two failures an hour apart are no outage of an hour. Autoscalers read
/// every 15 s.
pub const IDLE: Duration = Duration::from_secs(300);

/// How the reads of one question go.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum State {
    /// The last one succeeded, or there was none.
    #[default]
    Healthy,
    /// All have failed since then.
    Failing {
        /// When the first one failed.
        since: Instant,
    },
    /// All have failed, and the fallback is the answer.
    InUse {
        /// When it was the answer for the first time.
        since: Instant,
    },
}

impl State {
    /// A read has failed. Whether the fallback may be the answer, which it is from `after` on.
    pub fn failed(&mut self, after: Duration, now: Instant) -> bool {
        match *self {
            Self::Healthy => {
                *self = Self::Failing { since: now };
                after.is_zero()
            }
            Self::Failing { since } => now.saturating_duration_since(since) >= after,
            Self::InUse { .. } => true,
        }
    }

    /// The fallback is the answer. Whether it was not before.
    pub fn used(&mut self, now: Instant) -> bool {
        let is_new = !matches!(self, Self::InUse { .. });
        if is_new {
            *self = Self::InUse { since: now };
        }
        is_new
    }

    /// Since when the fallback is the answer, if it is.
    pub fn in_use_since(self) -> Option<Instant> {
        match self {
            Self::InUse { since } => Some(since),
            Self::Healthy | Self::Failing { .. } => None,
        }
    }
}

/// The questions whose reads fail; the others take no room.
#[derive(Debug)]
pub struct Questions<Q> {
    failing: HashMap<Q, Question>,
}

#[derive(Debug)]
struct Question {
    state: State,
    asked: Instant,
}

impl Question {
    fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) > IDLE
    }
}

impl<Q> Default for Questions<Q> {
    fn default() -> Self {
        Self { failing: HashMap::new() }
    }
}

impl<Q: Eq + Hash> Questions<Q> {
    /// Whether no reads fail.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    /// A read of the question has failed. Whether the fallback may be the answer.
    pub fn failed(&mut self, question: Q, after: Duration, now: Instant) -> bool {
        if self.failing.len() >= MOST_QUESTIONS && !self.failing.contains_key(&question) {
            self.forget_idle(now);
            if self.failing.len() >= MOST_QUESTIONS {
                return false;
            }
        }
        let new = || Question { state: State::Healthy, asked: now };
        let known = self.failing.entry(question).or_insert_with(new);
        if known.is_idle(now) {
            known.state = State::Healthy;
        }
        known.asked = now;
        known.state.failed(after, now)
    }

    /// The fallback is the answer to the question. Whether it was not before.
    pub fn used(&mut self, question: &Q, now: Instant) -> bool {
        self.failing.get_mut(question).is_some_and(|known| known.state.used(now))
    }

    /// A read of the question has succeeded. Since when the fallback was the answer, if it was.
    pub fn succeeded(&mut self, question: &Q) -> Option<Instant> {
        self.failing.remove(question)?.state.in_use_since()
    }

    /// The questions that the fallback is the answer to, and since when.
    pub fn in_use(&self, now: Instant) -> impl Iterator<Item = (&Q, Instant)> {
        self.failing.iter().filter_map(move |(question, known)| {
            let since = known.state.in_use_since().filter(|_| !known.is_idle(now))?;
            Some((question, since))
        })
    }

    fn forget_idle(&mut self, now: Instant) {
        self.failing.retain(|_, known| !known.is_idle(now));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFTER: Duration = Duration::from_secs(180);

    #[test]
    fn a_fallback_is_used_after_a_while_of_failures_and_removed_at_the_first_success() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut questions = Questions::default();
        for (second, is_due) in [(0, false), (15, false), (179, false), (180, true), (195, true)] {
            assert_eq!(questions.failed("a", AFTER, at(second)), is_due, "{second}");
        }
        assert_eq!(questions.in_use(at(195)).count(), 0, "it may be used, and was not");
        assert!(questions.used(&"a", at(195)));
        assert!(questions.failed("a", AFTER, at(210)));
        assert!(!questions.used(&"a", at(210)), "it is used already");
        assert_eq!(questions.in_use(at(210)).collect::<Vec<_>>(), [(&"a", at(195))]);
        assert!(!questions.failed("b", AFTER, at(210)), "another question");
        assert_eq!(questions.succeeded(&"b"), None);
        assert_eq!(questions.succeeded(&"a"), Some(at(195)));
        assert!(questions.is_empty());
        assert!(!questions.failed("a", AFTER, at(225)), "it counts from the next failure");
        assert!(!questions.failed("a", AFTER, at(404)));
        assert!(questions.failed("a", AFTER, at(405)));
    }

    #[test]
    fn failures_far_apart_are_no_outage() {
        let start = Instant::now();
        let mut questions = Questions::default();
        assert!(!questions.failed("a", AFTER, start));
        let later = start + IDLE + Duration::from_secs(1);
        assert!(!questions.failed("a", AFTER, later));
        assert!(questions.failed("a", AFTER, later + AFTER));
        questions.used(&"a", later + AFTER);
        assert_eq!(questions.in_use(later + AFTER + IDLE).count(), 1);
        assert_eq!(questions.in_use(later + AFTER + IDLE + AFTER).count(), 0, "nobody reads it");
    }

    #[test]
    fn the_questions_are_bounded_and_idle_ones_give_way() {
        let start = Instant::now();
        let mut questions = Questions::default();
        for question in 0..2 * MOST_QUESTIONS {
            assert!(!questions.failed(question, AFTER, start));
        }
        assert_eq!(questions.failing.len(), MOST_QUESTIONS);
        assert!(questions.failed(0, AFTER, start + AFTER), "those that are known go on");
        assert!(!questions.failed(MOST_QUESTIONS, Duration::ZERO, start + AFTER), "no room");
        let later = start + IDLE + Duration::from_secs(1);
        assert!(questions.failed(MOST_QUESTIONS, Duration::ZERO, later));
        assert_eq!(questions.failing.len(), 2);
    }

    proptest! {
        /// The machine agrees with the whole history of reads.
        #[test]
        fn it_is_due_if_all_reads_of_the_time_before_have_failed(
            reads in proptest::collection::vec((0_u64..400, any::<bool>()), 1..60),
            after in 1_u64..600,
        ) {
            let start = Instant::now();
            let mut questions = Questions::default();
            let mut second = 0;
            let mut failures: Vec<u64> = Vec::new();
            for (pause, is_success) in reads {
                second += pause;
                let now = start + Duration::from_secs(second);
                if is_success {
                    let was_used = failures.last().is_some_and(|last| last - failures[0] >= after);
                    prop_assert_eq!(questions.succeeded(&()).is_some(), was_used);
                    failures.clear();
                    continue;
                }
                if failures.last().is_some_and(|last| second - last > IDLE.as_secs()) {
                    failures.clear();
                }
                failures.push(second);
                let is_due = questions.failed((), Duration::from_secs(after), now);
                prop_assert_eq!(is_due, second - failures[0] >= after);
                if is_due {
                    questions.used(&(), now);
                }
            }
        }
    }
}
