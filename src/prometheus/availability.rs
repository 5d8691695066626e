//! Whether a backend answers, and who finds out when nobody knows.
//!
//! The decisions are here, without any I/O, and time is an argument. A request that gets no answer says little: the query may
//! be too slow, or the backend answers nobody. So a cheap query, the probe, is sent at once. If it is answered, the request was
//! to blame. If not, the backend is silent: requests fail with the last cause and without being sent, but for one probe at a
//! time, until anything is answered.

use std::time::{Duration, Instant};

use super::error::PublicError;

/// From the beginning of a probe of a silent backend to the next one; from its end where requests wait for it.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a probe waits: what is cheap is answered in this time when all is well, and the connection that a longer one waits
/// on may lead nowhere.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long every so many-th probe waits, or the next one for which no request waits: so that a backend that has become slow for good is
/// found to answer, too.
const LONG_PATIENCE: Duration = Duration::from_secs(10);
const PATIENT: u32 = 30;

/// What is known of a backend.
#[derive(Debug)]
pub(super) enum Availability {
    /// It answers, as far as anybody knows.
    Answering,
    /// A request was not answered, and a probe finds out what that means.
    Doubted {
        /// When the request failed.
        since: Instant,
        /// Whether the probe is under way. The one that was may have been given up.
        is_probed: bool,
        /// How long the probe waits.
        patience: Duration,
    },
    /// It answers nobody.
    Silent {
        /// When the first request failed.
        since: Instant,
        /// Why the last probe failed.
        cause: PublicError,
        /// How many probes have failed that did not wait long, since the last one that did.
        impatient: u32,
        /// Whether a probe is under way.
        is_probed: bool,
        /// Whether it is one that waits long.
        is_patient: bool,
        /// When the next one may begin.
        next: Instant,
        /// Whether one is to begin at once, and requests wait for it.
        is_awaited: bool,
        /// From when on they may.
        may_be_awaited: Instant,
    },
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// It is sent.
    Pass,
    /// A probe is sent before, which is waited for so long.
    Probe(Duration),
    /// It waits for the probe that is under way.
    Wait,
    /// It is not sent.
    Refuse(PublicError),
}

impl Availability {
    /// The decision about a request that is to be sent now. A caller that is to probe must report the outcome.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        match self {
            Self::Answering => Admission::Pass,
            Self::Doubted { is_probed: true, .. }
            | Self::Silent { is_probed: true, is_awaited: true, .. } => Admission::Wait,
            Self::Doubted { is_probed, patience, .. } => {
                *is_probed = true;
                Admission::Probe(*patience)
            }
            Self::Silent { impatient, is_probed, is_patient, next, is_awaited, .. }
                if !*is_probed && (*is_awaited || now >= *next) =>
            {
                *is_probed = true;
                *next = now + PERIOD;
                *is_patient = !*is_awaited && *impatient >= PATIENT - 1;
                Admission::Probe(if *is_patient { LONG_PATIENCE } else { PATIENCE })
            }
            Self::Silent { cause, .. } => Admission::Refuse(*cause),
        }
    }

    /// A request was not answered. Who has sent it asks to be admitted again, because somebody has to probe.
    pub(super) fn doubt(&mut self, patience: Duration, now: Instant) {
        if matches!(self, Self::Answering) {
            *self = Self::Doubted { since: now, is_probed: false, patience };
        }
    }

    /// There is nobody else to ask: what is known of a silent backend is found out anew, and requests wait for it, if they have not waited
    /// in vain a moment ago.
    pub(super) fn reconsider(&mut self, now: Instant) {
        if let Self::Silent { is_awaited, is_probed, is_patient, may_be_awaited, .. } = self
            && now >= *may_be_awaited
            && !(*is_probed && *is_patient)
        {
            *is_awaited = true;
        }
    }

    /// The next request sends a probe, unless one is under way.
    pub(super) fn hasten(&mut self, now: Instant) {
        if let Self::Silent { next, .. } = self {
            *next = (*next).min(now);
        }
    }

    /// Something was answered. Says since when nothing was, if the backend was silent.
    pub(super) fn answered(&mut self) -> Option<Instant> {
        match std::mem::replace(self, Self::Answering) {
            Self::Silent { since, .. } => Some(since),
            Self::Answering | Self::Doubted { .. } => None,
        }
    }

    /// A probe was not answered. Says whether the silence begins so.
    pub(super) fn probe_failed(&mut self, cause: PublicError, now: Instant) -> bool {
        let (since, impatient, next, may_be_awaited, begins) = match self {
            // Something else has been answered meanwhile.
            Self::Answering => return false,
            Self::Doubted { since, .. } => (*since, 0, now + PERIOD, now, true),
            Self::Silent {
                since, impatient, is_patient, next, is_awaited, may_be_awaited, ..
            } => {
                let impatient = if *is_patient { 0 } else { impatient.saturating_add(1) };
                if *is_awaited {
                    *next = now + PERIOD;
                    *may_be_awaited = *next;
                }
                (*since, impatient, *next, *may_be_awaited, false)
            }
        };
        *self = Self::Silent {
            since,
            cause,
            impatient,
            is_probed: false,
            is_patient: false,
            next,
            is_awaited: false,
            may_be_awaited,
        };
        begins
    }

    /// A probe was abandoned by its waiter.
    pub(super) fn probe_abandoned(&mut self) {
        match self {
            Self::Answering => {}
            Self::Doubted { is_probed, .. } | Self::Silent { is_probed, .. } => *is_probed = false,
        }
    }

    /// Whether a probe is under way that others wait for.
    pub(super) fn is_waited_for(&self) -> bool {
        matches!(
            self,
            Self::Doubted { is_probed: true, .. }
                | Self::Silent { is_probed: true, is_awaited: true, .. }
        )
    }

    /// Since when the backend has answered nobody, and why the last probe failed.
    pub(super) fn silence(&self) -> Option<(Instant, PublicError)> {
        match self {
            Self::Silent { since, cause, .. } => Some((*since, *cause)),
            Self::Answering | Self::Doubted { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::error::Obstacle, *};

    const CAUSE: PublicError = PublicError::TimedOut(None);
    const REFUSED: PublicError = PublicError::Unreachable(Obstacle::Refused);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// A backend whose silence has begun at `start`.
    fn silent(start: Instant) -> Availability {
        let mut backend = Availability::Answering;
        backend.doubt(PATIENCE, start);
        assert_eq!(backend.admit(start), Admission::Probe(PATIENCE));
        assert!(backend.probe_failed(CAUSE, start));
        backend
    }

    #[test]
    fn a_request_without_an_answer_is_to_blame_where_the_probe_is_answered() {
        let (mut backend, now) = (Availability::Answering, Instant::now());
        assert_eq!(backend.admit(now), Admission::Pass);
        backend.doubt(PATIENCE, now);
        assert_eq!(backend.admit(now), Admission::Probe(PATIENCE));
        assert_eq!(backend.admit(now), Admission::Wait, "nobody fails before it is known");
        assert!(backend.is_waited_for());
        assert_eq!(backend.answered(), None, "no silence ends");
        assert_eq!(backend.admit(now), Admission::Pass);
    }

    #[test]
    fn whatever_is_answered_meanwhile_counts_more_than_a_probe() {
        let (mut backend, now) = (Availability::Answering, Instant::now());
        backend.doubt(PATIENCE, now);
        backend.admit(now);
        backend.answered();
        assert!(!backend.probe_failed(CAUSE, now));
        assert_eq!(backend.admit(now), Admission::Pass);
    }

    #[test]
    fn one_probe_at_a_time_is_sent_to_a_silent_backend_and_nothing_else() {
        let start = Instant::now();
        let mut backend = silent(start);
        assert_eq!(backend.admit(after(start, 999)), Admission::Refuse(CAUSE), "not so soon");
        for second in 1..4 {
            let now = after(start, second * 1_000);
            assert_eq!(backend.admit(now), Admission::Probe(PATIENCE));
            for ms in [0, 500, 5_000] {
                // What was sent before the silence began ends like this, too.
                backend.doubt(PATIENCE, after(now, ms));
                assert_eq!(backend.admit(after(now, ms)), Admission::Refuse(CAUSE));
            }
            assert!(!backend.probe_failed(CAUSE, after(now, 900)), "it has begun before");
            assert_eq!(backend.admit(after(now, 900)), Admission::Refuse(CAUSE));
        }
        assert_eq!(backend.silence(), Some((start, CAUSE)));
        assert_eq!(backend.answered(), Some(start));
        assert_eq!(backend.silence(), None);
        assert_eq!(backend.admit(after(start, 4_000)), Admission::Pass);
    }

    #[test]
    fn a_silent_backend_that_is_needed_is_probed_at_once_and_waited_for() {
        let start = Instant::now();
        let mut backend = silent(start);
        backend.reconsider(start);
        assert_eq!(backend.admit(start), Admission::Probe(PATIENCE));
        assert_eq!(backend.admit(start), Admission::Wait);
        assert!(backend.is_waited_for());
        backend.probe_abandoned();
        assert!(!backend.is_waited_for());
        assert_eq!(backend.admit(start), Admission::Probe(PATIENCE), "another one makes up for it");
        let failed = after(start, 1_000);
        assert!(!backend.probe_failed(CAUSE, failed), "it has begun before");
        let soon = after(failed, 999);
        backend.reconsider(soon);
        assert_eq!(backend.admit(soon), Admission::Refuse(CAUSE), "that is known now");
        // One that is only hastened is waited for by nobody else.
        backend.hasten(soon);
        assert_eq!(backend.admit(soon), Admission::Probe(PATIENCE));
        backend.reconsider(soon);
        assert_eq!(backend.admit(soon), Admission::Refuse(CAUSE));
        // One that is under way counts, too.
        let later = after(failed, 1_000);
        backend.reconsider(later);
        assert_eq!(backend.admit(later), Admission::Wait);
        assert_eq!(backend.answered(), Some(start));
        backend.reconsider(later);
        assert_eq!(backend.admit(later), Admission::Pass);
    }

    #[test]
    fn the_probe_after_an_early_doubt_is_patient_and_one_that_requests_wait_for_is_not() {
        let start = Instant::now();
        let mut backend = Availability::Answering;
        backend.doubt(3 * PATIENCE, start);
        assert_eq!(backend.admit(start), Admission::Probe(3 * PATIENCE));
        backend.probe_failed(CAUSE, start);
        for second in 1..=u64::from(2 * PATIENT) {
            let now = after(start, second * 1_000);
            backend.reconsider(now);
            assert_eq!(backend.admit(now), Admission::Probe(PATIENCE));
            backend.probe_failed(CAUSE, now);
        }
        // It is made up for by the next one that nobody waits for.
        let later = after(start, 2_000 * u64::from(PATIENT) + 1_000);
        assert_eq!(backend.admit(later), Admission::Probe(LONG_PATIENCE));
        // Nor does anybody wait for one that is patient.
        let mut backend = silent(start);
        for second in 1..=u64::from(PATIENT) {
            let now = after(start, second * 1_000);
            let Admission::Probe(patience) = backend.admit(now) else { panic!("{second}") };
            if patience == LONG_PATIENCE {
                backend.reconsider(now);
                assert_eq!(backend.admit(now), Admission::Refuse(CAUSE));
            }
            backend.probe_failed(CAUSE, now);
        }
    }

    #[test]
    fn the_last_cause_is_told() {
        let start = Instant::now();
        let mut backend = silent(start);
        backend.admit(after(start, 1_000));
        backend.probe_failed(REFUSED, after(start, 1_000));
        assert_eq!(backend.admit(after(start, 1_001)), Admission::Refuse(REFUSED));
    }

    #[test]
    fn a_probe_that_is_given_up_is_made_up_for() {
        let start = Instant::now();
        let mut backend = Availability::Answering;
        backend.doubt(PATIENCE, start);
        backend.admit(start);
        backend.probe_abandoned();
        assert!(!backend.is_waited_for());
        assert_eq!(backend.admit(start), Admission::Probe(PATIENCE));
        assert!(backend.probe_failed(CAUSE, start));
        assert_eq!(backend.admit(after(start, 1_000)), Admission::Probe(PATIENCE));
        backend.probe_abandoned();
        assert_eq!(backend.admit(after(start, 1_500)), Admission::Refuse(CAUSE));
        assert_eq!(backend.admit(after(start, 2_000)), Admission::Probe(PATIENCE));

        // So is one that is patient.
        let mut now = after(start, 2_000);
        loop {
            backend.probe_failed(CAUSE, now);
            now += PERIOD;
            if backend.admit(now) == Admission::Probe(LONG_PATIENCE) {
                break;
            }
            assert!(now < after(start, 1_000 * u64::from(2 * PATIENT)), "none is patient");
        }
        backend.probe_abandoned();
        assert_eq!(backend.admit(now + PERIOD), Admission::Probe(LONG_PATIENCE));
        backend.probe_failed(CAUSE, now + PERIOD);
        assert_eq!(backend.admit(now + 2 * PERIOD), Admission::Probe(PATIENCE));
    }

    #[test]
    fn some_probes_wait_longer_for_a_backend_that_has_become_slow() {
        let start = Instant::now();
        let mut backend = silent(start);
        let patience: Vec<_> = (1..=u64::from(2 * PATIENT))
            .map(|second| {
                let now = after(start, second * 1_000);
                let Admission::Probe(patience) = backend.admit(now) else { panic!("{second}") };
                backend.probe_failed(CAUSE, now);
                patience
            })
            .collect();
        let long = patience.iter().filter(|patience| **patience == LONG_PATIENCE).count();
        assert_eq!(long, 2, "{patience:?}");
        assert_eq!(patience[0], PATIENCE);
    }
}
