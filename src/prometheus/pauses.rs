//! Pauses after 429 or 503 with `Retry-After`, from a backend or a proxy before it.
//!
//! The decisions are here, without any I/O, and time and chance are arguments. Gateways limit each tenant by itself, and the
//! headers of a request say which one it is: so a pause is that of all requests with the same headers, whatever they ask for.
//! Until it is over nothing is sent. Then one request in a second is, until one is answered: that the pause is over is a guess,
//! and what has piled up meanwhile must not come at once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode, header};

use super::{Headers, clock::date, error::PublicError};

/// The longest pause that is asked for and made. Chance adds up to a quarter, so that replicas do not come back together.
const LONGEST: Duration = Duration::from_secs(60);

/// After a pause, from one request to the next while none is answered.
const PERIOD: Duration = Duration::from_secs(1);

/// The most pauses at a time. Headers may depend on the namespace, of which there can be any number.
const MOST: usize = 1_000;

/// The pauses of a backend, by the headers of the requests.
#[derive(Debug, Default)]
pub(super) struct Pauses(HashMap<Headers, Pause>);

#[derive(Debug)]
struct Pause {
    /// What was answered.
    cause: PublicError,
    /// When the next request may be sent.
    until: Instant,
    /// Whether the time that was asked for is over, and a request was sent.
    is_tried: bool,
}

impl Pauses {
    /// Why nothing is sent now.
    pub(super) fn cause(&self, headers: &Headers, now: Instant) -> Option<PublicError> {
        self.0.get(headers).filter(|pause| now < pause.until).map(|pause| pause.cause)
    }

    /// Why nothing is sent now with some headers.
    pub(super) fn any(&self, now: Instant) -> Option<PublicError> {
        self.0.values().find(|pause| now < pause.until).map(|pause| pause.cause)
    }

    /// Why a request is not sent that could be sent now; where nothing is said, it has to be.
    pub(super) fn admit(&mut self, headers: &Headers, now: Instant) -> Option<PublicError> {
        let pause = self.0.get_mut(headers)?;
        if now < pause.until {
            return Some(pause.cause);
        }
        pause.is_tried = true;
        pause.until = now + PERIOD;
        None
    }

    /// Requests are to come later. Says after what time, if that is news. `chance` is between 0 and 1.
    pub(super) fn begin(
        &mut self,
        headers: &Headers,
        cause: PublicError,
        after: Duration,
        chance: f64,
        now: Instant,
    ) -> Option<Duration> {
        let after = after.min(LONGEST);
        let after = after + after.mul_f64(chance.clamp(0.0, 1.0) / 4.0);
        let until = now + after;
        if let Some(pause) = self.0.get_mut(headers) {
            let until = if pause.is_tried { until } else { until.max(pause.until) };
            *pause = Pause { cause, until, is_tried: false };
            return None;
        }
        if self.0.len() >= MOST {
            // Of those that are over, nobody has asked again.
            self.0.retain(|_, pause| now < pause.until);
        }
        if after.is_zero() || self.0.len() >= MOST {
            return None;
        }
        self.0.insert(headers.clone(), Pause { cause, until, is_tried: false });
        Some(after)
    }

    /// A request was answered as others are. Says whether that ends a pause; what was sent before it began does not.
    pub(super) fn answered(&mut self, headers: &Headers) -> bool {
        let is_over = self.0.get(headers).is_some_and(|pause| pause.is_tried);
        is_over && self.0.remove(headers).is_some()
    }
}

/// After what time an answer wants to be asked again: a number of seconds, or a date.
pub(super) fn retry_after(
    status: StatusCode,
    headers: &HeaderMap,
    now: jiff::Timestamp,
) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let header = headers.get(header::RETRY_AFTER)?;
    let value = header.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Any number of digits is one.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    // What is past is now.
    Some(Duration::try_from(date(header)?.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSE: PublicError = PublicError::Status(429);

    fn tenant(name: &str) -> Headers {
        vec![(http::HeaderName::from_static("x-scope-orgid"), name.parse().unwrap())]
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_sent_until_the_pause_is_over_and_then_one_request_in_a_second() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let (a, b) = (tenant("a"), tenant("b"));
        assert_eq!(pauses.begin(&a, CAUSE, seconds(30), 0.0, start), Some(seconds(30)));
        for (at, wanted) in [
            (0, Some(CAUSE)),
            (29_999, Some(CAUSE)),
            (30_000, None),
            (30_000, Some(CAUSE)),
            (30_999, Some(CAUSE)),
            (31_000, None),
            (31_000, Some(CAUSE)),
        ] {
            let now = start + Duration::from_millis(at);
            assert_eq!(pauses.admit(&b, now), None, "another tenant");
            assert_eq!(pauses.admit(&a, now), wanted, "{at}");
        }
        assert!(pauses.answered(&a));
        assert!(!pauses.answered(&a), "told once");
        for _ in 0..2 {
            assert_eq!(pauses.admit(&a, start + seconds(31)), None);
        }
    }

    #[test]
    fn to_look_is_not_to_send() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let headers = Headers::new();
        pauses.begin(&headers, CAUSE, seconds(5), 0.0, start);
        assert_eq!(pauses.cause(&headers, start), Some(CAUSE));
        for _ in 0..2 {
            assert_eq!(pauses.cause(&headers, start + seconds(5)), None);
        }
        assert_eq!(pauses.admit(&headers, start + seconds(5)), None);
    }

    #[test]
    fn what_was_sent_before_a_pause_does_not_end_it() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        let headers = Headers::new();
        pauses.begin(&headers, CAUSE, seconds(30), 0.0, start);
        // An answer, and one that asks for less.
        assert!(!pauses.answered(&headers));
        assert_eq!(pauses.begin(&headers, CAUSE, seconds(1), 0.0, start), None, "no news");
        assert_eq!(pauses.cause(&headers, start + seconds(29)), Some(CAUSE));
        // After it the last answer counts.
        assert_eq!(pauses.admit(&headers, start + seconds(30)), None);
        let unavailable = PublicError::Status(503);
        pauses.begin(&headers, unavailable, seconds(2), 0.0, start + seconds(30));
        assert!(!pauses.answered(&headers));
        assert_eq!(pauses.cause(&headers, start + seconds(31)), Some(unavailable));
        assert_eq!(pauses.cause(&headers, start + seconds(32)), None);
    }

    #[test]
    fn pauses_are_neither_long_nor_many_nor_of_one_length() {
        let (mut pauses, now) = (Pauses::default(), Instant::now());
        for (chance, wanted) in [(0.0, 60), (0.8, 72), (1.0, 75), (f64::MAX, 75)] {
            let headers = tenant(&chance.to_string());
            let begun = pauses.begin(&headers, CAUSE, Duration::MAX, chance, now);
            assert_eq!(begun, Some(seconds(wanted)));
        }
        assert_eq!(pauses.begin(&Headers::new(), CAUSE, Duration::ZERO, 1.0, now), None);
        assert_eq!(pauses.admit(&Headers::new(), now), None, "at once is no pause");
        for number in 0..2 * MOST {
            pauses.begin(&tenant(&number.to_string()), CAUSE, seconds(1), 0.0, now);
        }
        assert_eq!(pauses.0.len(), MOST);
        pauses.begin(&Headers::new(), CAUSE, seconds(1), 0.0, now + seconds(1));
        assert_eq!(pauses.0.len(), 5, "those that are over make room");
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let now = "2015-10-21T07:28:00Z".parse().unwrap();
        let read = |status, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(StatusCode::from_u16(status).unwrap(), &headers, now)
        };
        for (status, value, wanted) in [
            (429, "7", Some(7)),
            (503, " 120 ", Some(120)),
            (503, "0", Some(0)),
            (429, "99999999999999999999999", Some(u64::MAX)),
            (429, "Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            (429, "Wed, 21 Oct 2015 07:27:30 GMT", Some(0)),
            (429, "-1", None),
            (429, "1.5", None),
            (429, "", None),
            (429, "soon", None),
            (500, "7", None),
            (200, "7", None),
        ] {
            assert_eq!(read(status, value), wanted.map(seconds), "{status} {value}");
        }
        assert_eq!(retry_after(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), now), None);
    }
}
