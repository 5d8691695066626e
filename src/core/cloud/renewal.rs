//! When a credential that ends is fetched again, and what becomes of requests meanwhile. Time is an argument.

use std::time::{Duration, Instant};

/// A credential that ends earlier is used for this long: otherwise every request would fetch one.
const SHORTEST: Duration = Duration::from_secs(30);

/// A credential is renewed at least this often.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most time before the end of a credential at which it is renewed.
const AHEAD: Duration = Duration::from_secs(300);

/// The most time before its end from which a credential is not sent: a request takes a while.
const MARGIN: Duration = Duration::from_secs(10);

/// How long nothing is fetched after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A credential that the backend refuses is renewed at most once in this time.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(30);

/// A credential, and the attempts to get the next one.
#[derive(Debug)]
pub struct Renewal<T, E> {
    state: State<T>,
    /// The credential before, which requests under way may carry.
    previous: Option<T>,
    attempt: Attempt<E>,
    /// How many credentials there have been.
    generation: u64,
    refused: Option<Instant>,
}

#[derive(Debug)]
enum State<T> {
    /// There has been none.
    Absent,
    /// There is one that does not end.
    Lasting(T),
    /// There is one that is to be renewed, and not to be sent, from these times on.
    Ending { value: T, due: Instant, end: Instant },
}

#[derive(Debug)]
enum Attempt<E> {
    Idle,
    /// One is under way. The one before may have failed.
    Fetching {
        before: Option<Failure<E>>,
    },
    /// The last one has failed, and there is none until this time.
    Failed {
        failure: Failure<E>,
        until: Instant,
    },
}

/// Why an attempt has failed, and for how long there is no other one.
#[derive(Debug)]
struct Failure<E> {
    cause: E,
    pause: Duration,
}

/// What a request does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Admission<T, E> {
    /// It is sent with this credential, which is the one of this number.
    Use(T, u64),
    /// It begins an attempt by [`Renewal::begin`], and waits for its end.
    Fetch,
    /// It waits for the end of the attempt that is under way.
    Wait,
    /// It fails, because the last attempt has failed.
    Refuse(E),
}

/// What follows from the refusal of a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There is a newer one: the request is sent again.
    Repeat,
    /// The request begins an attempt by [`Renewal::begin`], and waits for its end.
    Fetch,
    /// An attempt is under way: the request waits for its end.
    Wait,
    /// It has been renewed recently, so that is not the reason, or it cannot be renewed.
    Accept,
}

impl<T: Clone, E: Clone> Default for Renewal<T, E> {
    fn default() -> Self {
        Self {
            state: State::Absent,
            previous: None,
            attempt: Attempt::Idle,
            generation: 0,
            refused: None,
        }
    }
}

impl<T: Clone, E: Clone> Renewal<T, E> {
    /// What a request does that needs a credential.
    pub fn admit(&self, now: Instant) -> Admission<T, E> {
        if let Some(value) = self.usable(now) {
            return Admission::Use(value.clone(), self.generation);
        }
        match &self.attempt {
            Attempt::Fetching { before: None } => Admission::Wait,
            Attempt::Fetching { before: Some(failure) } => Admission::Refuse(failure.cause.clone()),
            Attempt::Failed { failure, until } if now < *until => {
                Admission::Refuse(failure.cause.clone())
            }
            Attempt::Failed { .. } | Attempt::Idle => Admission::Fetch,
        }
    }

    /// The latest credential, whether or not it has ended.
    pub fn latest(&self) -> Option<&T> {
        match &self.state {
            State::Absent => None,
            State::Lasting(value) | State::Ending { value, .. } => Some(value),
        }
    }

    /// The credentials that requests under way may carry.
    pub fn known(&self) -> impl Iterator<Item = &T> {
        self.latest().into_iter().chain(&self.previous)
    }

    /// Whether the credential is to be renewed before somebody waits for it.
    pub fn is_due(&self, now: Instant) -> bool {
        let is_free = match &self.attempt {
            Attempt::Idle => true,
            Attempt::Fetching { .. } => false,
            Attempt::Failed { until, .. } => *until <= now,
        };
        is_free && matches!(&self.state, State::Ending { due, .. } if *due <= now)
    }

    /// Why there is no credential that can be sent, if the last attempt that has ended has failed.
    pub fn problem(&self, now: Instant) -> Option<&E> {
        let failure = self.failure().filter(|_| self.usable(now).is_none())?;
        Some(&failure.cause)
    }

    /// Whether an attempt is under way.
    pub fn is_fetching(&self) -> bool {
        matches!(self.attempt, Attempt::Fetching { .. })
    }

    /// Whether there is no credential that can be sent, and an attempt is under way.
    pub fn is_awaited(&self, now: Instant) -> bool {
        self.is_fetching() && self.usable(now).is_none()
    }

    /// An attempt begins. It ends by [`Self::succeeded`] or [`Self::failed`].
    pub fn begin(&mut self) {
        let before = match std::mem::replace(&mut self.attempt, Attempt::Idle) {
            Attempt::Failed { failure, .. } => Some(failure),
            Attempt::Fetching { before } => before,
            Attempt::Idle => None,
        };
        self.attempt = Attempt::Fetching { before };
    }

    /// The attempt has brought a credential that is good for this long from now on, or for ever. Returns whether attempts had
    /// failed before.
    pub fn succeeded(&mut self, value: T, lifetime: Option<Duration>, now: Instant) -> bool {
        let had_failed = self.failure().is_some();
        self.attempt = Attempt::Idle;
        self.generation += 1;
        self.previous = self.latest().cloned();
        self.state = match lifetime {
            None => State::Lasting(value),
            Some(lifetime) => {
                let lifetime = lifetime.clamp(SHORTEST, LONGEST);
                let due = now + lifetime.saturating_sub((lifetime / 2).min(AHEAD));
                let end = now + lifetime.saturating_sub((lifetime / 5).min(MARGIN));
                State::Ending { value, due, end }
            }
        };
        had_failed
    }

    /// The attempt has failed. The credential that there is remains in use until it ends. Returns whether this is the first failure
    /// since the last success.
    pub fn failed(&mut self, cause: E, now: Instant) -> bool {
        let before = self.failure().map(|failure| failure.pause);
        let pause = before.map_or(FIRST_PAUSE, |before| (before * 2).min(LONGEST_PAUSE));
        let failure = Failure { cause, pause };
        self.attempt = Attempt::Failed { failure, until: now + pause };
        before.is_none()
    }

    /// The backend has refused the credential of this number. It remains in use: the refusal may have another reason.
    pub fn refused(&mut self, generation: u64, now: Instant) -> Refusal {
        if generation != self.generation {
            return Refusal::Repeat;
        }
        match &self.attempt {
            Attempt::Fetching { before: None } => return Refusal::Wait,
            Attempt::Fetching { before: Some(_) } => return Refusal::Accept,
            Attempt::Failed { until, .. } if now < *until => return Refusal::Accept,
            Attempt::Failed { .. } | Attempt::Idle => {}
        }
        let is_recent =
            self.refused.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN_REFUSALS);
        if is_recent {
            return Refusal::Accept;
        }
        self.refused = Some(now);
        Refusal::Fetch
    }

    /// The failure of the last attempt that has ended.
    fn failure(&self) -> Option<&Failure<E>> {
        match &self.attempt {
            Attempt::Failed { failure, .. } | Attempt::Fetching { before: Some(failure) } => {
                Some(failure)
            }
            Attempt::Fetching { before: None } | Attempt::Idle => None,
        }
    }

    fn usable(&self, now: Instant) -> Option<&T> {
        match &self.state {
            State::Lasting(value) => Some(value),
            State::Ending { value, end, .. } if now < *end => Some(value),
            State::Ending { .. } | State::Absent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Token = Renewal<&'static str, &'static str>;

    const HOUR: Duration = Duration::from_secs(3600);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_credential_is_fetched_once_used_renewed_before_its_end_and_not_sent_after_it() {
        let start = Instant::now();
        let mut token = Token::default();
        assert_eq!(token.admit(start), Admission::Fetch);
        assert!(!token.is_due(start), "nobody has asked for one");
        token.begin();
        assert_eq!(token.admit(start), Admission::Wait);
        token.succeeded("a", Some(HOUR), start);
        for (seconds, is_due, is_used) in [
            (0, false, true),
            (3299, false, true),
            (3300, true, true),
            (3589, true, true),
            (3590, true, false),
            (9999, true, false),
        ] {
            let now = after(start, seconds);
            assert_eq!(token.is_due(now), is_due, "{seconds}");
            let wanted = if is_used { Admission::Use("a", 1) } else { Admission::Fetch };
            assert_eq!(token.admit(now), wanted, "{seconds}");
        }
        token.begin();
        let now = after(start, 3400);
        assert_eq!(token.admit(now), Admission::Use("a", 1), "nobody waits for a renewal");
        assert!(!token.is_due(now), "one is enough");
        token.succeeded("b", Some(HOUR), now);
        assert_eq!(token.admit(now), Admission::Use("b", 2));
        assert_eq!(token.known().copied().collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn an_outage_of_the_endpoint_is_noticed_when_the_credential_has_ended() {
        let start = Instant::now();
        let mut token = Token::default();
        token.begin();
        token.succeeded("a", Some(HOUR), start);
        let mut now = after(start, 3300);
        let mut attempts = 0;
        while now < after(start, 3589) {
            if token.is_due(now) {
                token.begin();
                assert_eq!(token.failed("down", now), attempts == 0);
                attempts += 1;
            }
            assert_eq!(token.admit(now), Admission::Use("a", 1));
            assert_eq!(token.problem(now), None);
            now = after(now, 1);
        }
        assert!((6..=10).contains(&attempts), "{attempts}");
        let now = after(start, 3600);
        match token.admit(now) {
            Admission::Refuse("down") => assert_eq!(token.problem(now), Some(&"down")),
            other => assert_eq!(other, Admission::Fetch),
        }
        let now = after(now, 60);
        assert_eq!(token.admit(now), Admission::Fetch);
        token.begin();
        assert!(token.succeeded("b", Some(HOUR), now), "it had failed before");
        assert_eq!((token.admit(now), token.problem(now)), (Admission::Use("b", 2), None));
    }

    #[test]
    fn a_failure_is_everybodys_for_a_pause_that_doubles() {
        let mut now = Instant::now();
        let mut token = Token::default();
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(token.admit(now), Admission::Fetch);
            token.begin();
            token.failed("down", now);
            assert_eq!(token.admit(now), Admission::Refuse("down"));
            now = after(now, pause);
        }
    }

    #[test]
    fn while_an_attempt_after_a_failure_is_under_way_nobody_waits_for_it() {
        let start = Instant::now();
        let mut token = Token::default();
        token.begin();
        assert_eq!((token.admit(start), token.problem(start)), (Admission::Wait, None));
        assert!(token.is_awaited(start));
        token.failed("down", start);
        let later = after(start, 2);
        assert_eq!(token.admit(later), Admission::Fetch);
        token.begin();
        assert_eq!(token.admit(later), Admission::Refuse("down"));
        assert_eq!(token.problem(later), Some(&"down"), "it is still so");
        token.failed("slow", later);
        assert_eq!(token.admit(after(later, 3)), Admission::Refuse("slow"), "the pause goes on");
        token.begin();
        assert!(token.succeeded("a", Some(HOUR), later), "it had failed before");
        assert!(!token.is_awaited(later));
        assert_eq!((token.admit(later), token.problem(later)), (Admission::Use("a", 1), None));
        // A refusal does not wait for it either.
        token.begin();
        token.failed("down", later);
        token.begin();
        assert_eq!(token.refused(1, later), Refusal::Accept);
        assert!(!token.is_awaited(later), "there is one");
    }

    #[test]
    fn a_refused_credential_is_renewed_once_and_kept_if_that_fails() {
        let start = Instant::now();
        let mut token = Token::default();
        token.begin();
        token.succeeded("a", None, start);
        assert!(!token.is_due(after(start, 1 << 30)), "it does not end");
        assert_eq!(token.refused(1, start), Refusal::Fetch);
        token.begin();
        assert_eq!(token.refused(1, start), Refusal::Wait);
        assert_eq!(token.admit(start), Admission::Use("a", 1));
        token.failed("down", start);
        assert_eq!(token.admit(start), Admission::Use("a", 1));
        assert_eq!(token.refused(1, after(start, 29)), Refusal::Accept);
        assert_eq!(token.refused(1, after(start, 30)), Refusal::Fetch);
        token.begin();
        token.succeeded("b", None, after(start, 30));
        assert_eq!(token.refused(1, after(start, 31)), Refusal::Repeat);
        assert_eq!(token.refused(2, after(start, 31)), Refusal::Accept, "at most once in a while");
    }

    #[test]
    fn any_lifetime_of_a_peer_is_taken() {
        let start = Instant::now();
        for lifetime in [Duration::ZERO, Duration::MAX] {
            let mut token = Token::default();
            token.begin();
            token.succeeded("a", Some(lifetime), start);
            assert_eq!(token.admit(after(start, 20)), Admission::Use("a", 1), "{lifetime:?}");
            assert!(token.is_due(after(start, 8 * 24 * 3600)), "{lifetime:?}");
        }
    }
}
