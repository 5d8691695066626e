//! What has passed between us and a backend lately. Time is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use super::State;

/// How many latencies are kept.
pub const LATENCIES: usize = 60;

/// The requests to a backend. What fails is counted by a word for the reason, of which there are few.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchanges {
    /// The last latencies in microseconds, the last one last.
    pub latencies: VecDeque<u32>,
    /// How many were answered as they should be.
    pub answered: u64,
    /// How many failed, by the reason.
    pub failed: BTreeMap<&'static str, u64>,
    /// The last reason, and when that was.
    pub last_failure: Option<(&'static str, Timestamp)>,
}

impl Exchanges {
    /// A request was answered in this time, or has failed for a reason. One that was not sent has taken no time.
    pub fn note(&mut self, took: Option<Duration>, failure: Option<&'static str>, now: Timestamp) {
        match failure {
            Some(reason) => {
                *self.failed.entry(reason).or_default() += 1;
                self.last_failure = Some((reason, now));
            }
            None => self.answered += 1,
        }
        let Some(took) = took else { return };
        if self.latencies.len() >= LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.answered == 0 && self.failed.is_empty()
    }

    /// What they say of a backend of which nothing else is known.
    pub fn state(&self) -> State {
        match self.last_failure {
            _ if self.answered > 0 => State::Good("answers"),
            Some((reason, _)) => State::Doubtful(
                "no answer yet",
                format!("every request has failed, the last one: {reason}"),
            ),
            None => State::Doubtful("not asked yet", String::new()),
        }
    }

    /// Of the last requests the latency that so many percent of them do not exceed, in microseconds.
    pub fn percentile(&self, percent: usize) -> Option<u32> {
        let mut sorted: Vec<_> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_answers_when_it_has_answered() {
        let (mut it, at) = (Exchanges::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(it.state(), State::Doubtful("not asked yet", String::new()));
        it.note(None, Some("http"), at);
        let State::Doubtful("no answer yet", why) = it.state() else { panic!("{:?}", it.state()) };
        assert!(why.contains("http"), "{why}");
        it.note(None, None, at);
        it.note(None, Some("http"), at);
        assert_eq!(it.state(), State::Good("answers"));
    }

    #[test]
    fn the_last_requests_count() {
        let (mut it, at) = (Exchanges::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(it.percentile(50), None);
        for number in 1..=160 {
            it.note(Some(Duration::from_micros(number)), None, at);
        }
        it.note(None, Some("busy"), at);
        assert_eq!((it.latencies.len(), it.answered), (LATENCIES, 160));
        assert_eq!(
            (it.percentile(50), it.percentile(95), it.percentile(100)),
            (Some(130), Some(157), Some(160))
        );
        assert_eq!(it.failed, BTreeMap::from([("busy", 1)]));
        assert_eq!(it.last_failure, Some(("busy", at)));
    }
}
