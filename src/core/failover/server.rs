//! What is known of one server.

use std::time::{Duration, Instant};

use super::{Fault, PERIOD, RETURN, TRIAL};

/// From the first ejection of a server to its next probe. It doubles with each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest time until queries try a server again.
const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A server is ejected by so many queries in a row that it has failed and another one has answered. The number is Envoy's default for
/// `consecutive_5xx`.
pub(super) const OUTDONE: u32 = 5;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// It answers, as far as is known, since this time.
    Well { since: Instant },
    /// It is not well.
    Ejected {
        fault: Fault,
        /// When it is probed again.
        until: Instant,
        /// When it was last seen to be so, or nobody could see it.
        seen: Instant,
    },
}

/// What queries show of a server while its probes are answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Record {
    /// Nothing against it.
    Clean,
    /// It has failed so many in a row which another server has answered.
    Failing { since: Instant, count: u32 },
    /// They have ejected it, so that probes prove nothing.
    Failed,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) state: State,
    /// When it was probed last.
    pub(super) probed: Option<Instant>,
    /// Whether a probe is under way.
    pub(super) is_probed: bool,
    /// Whether a query has failed since.
    pub(super) is_doubted: bool,
    pub(super) record: Record,
    /// The pause after its last ejection, or after the last probe that has proved nothing.
    pub(super) pause: Duration,
    /// What was wrong with its answers before it was silent. Only one in full shows that this is over.
    pub(super) unmended: Option<Fault>,
    /// When the last probe was answered by what proves nothing.
    pub(super) unproven: Option<Instant>,
    /// How long nothing has to be wrong with it, as far as such probes show, until queries try it.
    pub(super) trial_after: Duration,
}

impl Server {
    /// One that is taken for well.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Well { since: now },
            probed: None,
            is_probed: false,
            is_doubted: false,
            record: Record::Clean,
            pause: Duration::ZERO,
            unmended: None,
            unproven: None,
            trial_after: TRIAL,
        }
    }

    pub(super) fn is_well(&self) -> bool {
        self.fault().is_none()
    }

    /// How bad it is; 0 if it is well.
    pub(super) fn weight(&self) -> u8 {
        self.fault().map_or(0, Fault::weight)
    }

    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self.state {
            State::Well { .. } => None,
            State::Ejected { fault, .. } => Some(fault),
        }
    }

    /// Another server has answered a query that this one has failed. Ejects it if that goes on: a moment of failures, in which no probe
    /// was due, says nothing.
    pub(super) fn outdone(&mut self, fault: Fault, now: Instant) -> Option<Fault> {
        let (since, count) = match self.record {
            Record::Clean => (now, 1),
            Record::Failing { since, count } => (since, count.saturating_add(1)),
            Record::Failed => return None,
        };
        if count < OUTDONE || now.saturating_duration_since(since) < PERIOD {
            self.record = Record::Failing { since, count };
            return None;
        }
        self.record = Record::Failed;
        self.eject(fault, now)
    }

    /// Whether so much time has passed since its last probe.
    pub(super) fn was_probed_before(&self, time: Duration, now: Instant) -> bool {
        self.probed.is_none_or(|probed| now.saturating_duration_since(probed) >= time)
    }

    pub(super) fn eject(&mut self, fault: Fault, now: Instant) -> Option<Fault> {
        self.is_doubted = false;
        if fault != Fault::Silent {
            self.unmended = Some(fault);
        }
        let was_well_for = match &mut self.state {
            State::Well { since } => Some(now.saturating_duration_since(*since)),
            State::Ejected { fault: known, until, seen } if now < *until => {
                // It was probed before its time, which says nothing of how long it stays away.
                *known = fault;
                *seen = now;
                return None;
            }
            State::Ejected { .. } => None,
        };
        let is_first = self.pause.is_zero() || was_well_for.is_some_and(|time| time >= RETURN);
        self.pause = if is_first { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.state = State::Ejected { fault, until: now + self.pause, seen: now };
        was_well_for.map(|_| fault)
    }

    /// The last probe was answered, which proves nothing.
    pub(super) fn respond(&mut self, now: Instant) {
        self.unproven = Some(now);
        if self.record == Record::Failed {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        self.postpone(now);
    }

    /// The last probe has not shown whether it is well again.
    pub(super) fn postpone(&mut self, now: Instant) {
        if let State::Ejected { until, .. } = &mut self.state {
            *until = now + self.pause;
        }
    }

    pub(super) fn recover(&mut self, now: Instant) -> bool {
        let recovers = !self.is_well();
        self.unmended = None;
        if recovers {
            self.state = State::Well { since: now };
            self.record = Record::Clean;
        }
        recovers
    }

    /// It has answered something, so that it is not silent any more; perhaps it fails queries, or is partial, as before.
    pub(super) fn end_silence(&mut self, now: Instant) -> bool {
        if self.fault() != Some(Fault::Silent) {
            return false;
        }
        let Some(fault) = self.unmended else { return self.recover(now) };
        self.state = State::Ejected { fault, until: now, seen: now };
        false
    }

    /// It was tried in vain. What was known of it before holds again, from now on.
    pub(super) fn end_trial(&mut self, now: Instant) {
        if self.is_well() {
            let well = State::Well { since: now };
            let until = now + self.pause;
            self.state =
                self.unmended.map_or(well, |fault| State::Ejected { fault, until, seen: now });
        }
    }

    /// How long it has answered, as far as probes show that prove nothing. `None` if it does not, or was never probed so.
    pub(super) fn unproven_for(&self, now: Instant) -> Option<Duration> {
        let since = match self.state {
            State::Well { since } => since,
            State::Ejected { fault: Fault::Silent, .. } => return None,
            State::Ejected { seen, .. } => self.unproven.filter(|it| *it > seen).map(|_| seen)?,
        };
        Some(now.saturating_duration_since(since))
    }

    /// Whether nothing else was wrong with it for so long that queries may show whether it is well.
    pub(super) fn is_trial_due(&self, now: Instant) -> bool {
        self.unproven_for(now).is_some_and(|time| time >= self.trial_after)
    }

    /// A trial was in vain, or may be.
    pub(super) fn double_trial(&mut self) {
        self.trial_after = (self.trial_after * 2).min(LONGEST_TRIAL);
    }

    /// Whether it has been well for long enough to be in use again.
    pub(super) fn is_proven(&self, now: Instant) -> bool {
        let State::Well { since } = self.state else { return false };
        let proven = self.unproven.map_or(since, |unproven| unproven.max(since));
        now.saturating_duration_since(proven) >= RETURN
    }
}
