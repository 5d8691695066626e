//! Why objects cannot be listed or watched, and when that is tried again.

use std::time::Duration;

use tokio::time::Instant;

use super::{Error, public};
use crate::{
    core::excerpt::{SAID, excerpt},
    jitter,
};

/// The first pause before what failed is tried again, without its random part. The numbers are those of client-go's
/// reflector.
const FIRST_PAUSE: Duration = Duration::from_millis(800);

/// The longest such pause, without its random part.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Pauses begin anew when there was none for this long.
const PAUSES_RESET: Duration = Duration::from_secs(120);

/// The longest pause that the API server can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// For how long a refusal is tried again as a failure is. An API server that has just started refuses everybody until it has read who may
/// do what.
const STARTING: Duration = Duration::from_secs(60);

/// Why a list or a watch does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// We may not, or nobody can.
    #[error("not allowed to {verb}: {message}")]
    Refused {
        /// `list` or `watch`.
        verb: &'static str,
        /// What the API server said.
        message: String,
    },
    /// The API server does not serve the resource.
    #[error("there is no such resource")]
    Missing,
    /// Changes have been missed: the list begins anew.
    #[error("changes were missed")]
    Expired,
    /// Everything else.
    #[error("{error}")]
    Failed {
        /// What happened.
        error: Error,
        /// When the API server wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed { error, retry_after: None }
    }
}

impl Broken {
    fn shortest_pause(&self, refused: Duration) -> Duration {
        match self {
            Self::Refused { .. } | Self::Missing => refused,
            Self::Failed { retry_after: Some(wanted), .. } => LONGEST_RETRY_AFTER.min(*wanted),
            Self::Failed { .. } | Self::Expired => Duration::ZERO,
        }
    }
}

/// The pauses after failures: each is twice as long as the one before, and up to as much again at random.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<(Instant, Duration)>,
}

impl Pauses {
    /// The next pause. `chance` is a random number between 0 and 1.
    fn next(&mut self, now: Instant, chance: f64) -> Duration {
        let pause = match self.last {
            Some((then, pause)) if now.saturating_duration_since(then) <= PAUSES_RESET => {
                LAST_PAUSE.min(pause * 2)
            }
            _ => FIRST_PAUSE,
        };
        self.last = Some((now, pause));
        pause + pause.mul_f64(chance)
    }
}

/// When a list or a watch that is broken is tried again.
#[derive(Debug, Default)]
pub struct Retries {
    pauses: Pauses,
    /// Since when every try is refused.
    refused: Option<Instant>,
}

impl Retries {
    /// Notes that the API server has answered.
    pub fn succeeded(&mut self) {
        self.refused = None;
    }

    /// Notes how a try has ended, and whether the API server has answered a part of it: one that does has read who may do what.
    pub fn broken(&mut self, broken: &Broken, has_answered: bool) {
        match broken {
            Broken::Refused { .. } if !has_answered => {
                self.refused.get_or_insert_with(Instant::now);
            }
            _ => self.refused = None,
        }
    }

    /// How long to pause before the next try. After a minute of refusals it is `refused` at least, the time that somebody needs to
    /// grant access.
    pub fn pause(&mut self, broken: &Broken, refused: Duration) -> Duration {
        let now = Instant::now();
        let is_starting = self.refused.is_some_and(|since| now - since < STARTING);
        let shortest = match broken {
            Broken::Refused { .. } if is_starting => Duration::ZERO,
            broken => broken.shortest_pause(refused),
        };
        shortest.max(self.pauses.next(now, jitter::chance()))
    }
}

/// What an error of a request means.
pub(super) fn broken(verb: &'static str, error: &kube::Error) -> Broken {
    let failed = |retry_after| Broken::Failed { error: Error::Api(public(error)), retry_after };
    let kube::Error::Api(status) = error else { return failed(None) };
    match status.code {
        401 | 403 | 405 => Broken::Refused { verb, message: excerpt(&status.message, SAID) },
        404 => Broken::Missing,
        410 => Broken::Expired,
        _ => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            failed((seconds > 0).then(|| Duration::from_secs(seconds.into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn pauses_double_until_there_was_none_for_a_while() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let all: Vec<_> = (0..8).map(|_| pauses.next(start, 0.0).as_secs_f64()).collect();
        assert_eq!(all, [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]);
        let later = start + PAUSES_RESET;
        assert_eq!(pauses.next(later, 1.0), 2 * LAST_PAUSE);
        assert_eq!(
            pauses.next(later + PAUSES_RESET + Duration::from_secs(1), 0.5),
            FIRST_PAUSE.mul_f64(1.5)
        );
    }

    #[test]
    fn a_pause_is_as_long_as_the_server_asks_for_within_a_minute() {
        let refused = Duration::from_secs(300);
        let failed = |seconds| Broken::Failed {
            error: Error::Api("busy".to_owned()),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let shortest = |broken: Broken| broken.shortest_pause(refused);
        assert_eq!(shortest(failed(45)), Duration::from_secs(45));
        assert_eq!(shortest(failed(86_400)), LONGEST_RETRY_AFTER);
        assert_eq!(shortest(Broken::Missing), refused);
        assert_eq!(shortest(Broken::Expired), Duration::ZERO);
    }

    #[test]
    fn a_refusal_says_when_to_ask_again() {
        let status = json!({"code": 429, "details": {"retryAfterSeconds": 7}});
        let status = serde_json::from_value::<Status>(status).unwrap();
        let broken = broken("watch", &kube::Error::Api(status.boxed()));
        let Broken::Failed { retry_after, .. } = broken else { panic!("{broken:?}") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }
}
