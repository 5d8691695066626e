//! How far the clock of a backend is from ours.
//!
//! A query has no time: the backend evaluates it by its own clock. But requests for metadata have a range of time, and by a clock
//! that is ahead of the backend's nothing is in it. So the range covers both clocks.

use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, header};

use super::Range;

/// Fewer seconds are no difference: a `Date` has whole seconds, and an answer takes its time.
const TOLERANCE: i64 = 30;

/// A `Date` that is further away, in seconds, is not followed: the range would have far more series in it than there are now.
const MOST: i64 = 3_600;

/// How long a difference counts after the last answer that showed it, in seconds. Several servers may answer at one address, each
/// with its clock.
const KEPT: i64 = 600;

/// The differences that the answers of the last time have shown.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Differences>);

#[derive(Debug, Default)]
struct Differences {
    /// By how many seconds a clock of the backend is behind ours, as a number that is not positive.
    behind: i64,
    /// By how many seconds a clock of the backend is ahead of ours.
    ahead: i64,
    /// Until when they count, in seconds since the epoch.
    until: i64,
    is_reported: bool,
}

impl Clock {
    /// Takes the time at which an answer was made, which has just come. Returns by how many seconds the backend's clock is ahead
    /// when it differs for the first time.
    pub(super) fn read(&self, headers: &HeaderMap, now: jiff::Timestamp) -> Option<i64> {
        // An answer with an age was made some time ago.
        if headers.contains_key(header::AGE) {
            return None;
        }
        let now = now.as_second();
        let ahead = date(headers.get(header::DATE)?)?.as_second().saturating_sub(now);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.until <= now {
            (known.behind, known.ahead) = (0, 0);
        }
        if ahead.abs() <= TOLERANCE {
            return None;
        }
        if ahead.abs() <= MOST {
            known.until = now.saturating_add(KEPT);
            // A few seconds between two answers are chance.
            if ahead < known.behind.saturating_sub(TOLERANCE) {
                known.behind = ahead;
            } else if ahead > known.ahead.saturating_add(TOLERANCE) {
                known.ahead = ahead;
            }
        }
        (!std::mem::replace(&mut known.is_reported, true)).then_some(ahead)
    }

    /// The range by our clock and by those of the backend.
    pub(super) fn covering(&self, Range { start, end }: Range) -> Range {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Range {
            start: start.saturating_add(known.behind).clamp(0, start.max(0)),
            end: end.saturating_add(known.ahead),
        }
    }
}

/// A date of HTTP.
pub(super) fn date(value: &HeaderValue) -> Option<jiff::Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(value.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Range = Range { start: 1_000, end: 1_301 };

    /// The date is half an hour after the epoch.
    fn answer(more: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let date = (header::DATE, "Thu, 01 Jan 1970 00:30:00 GMT");
        for (name, value) in std::iter::once(&date).chain(more) {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_range_covers_both_clocks() {
        for (now, start, end) in [
            (1_800, 1_000, 1_301),
            (1_770, 1_000, 1_301),
            (1_200, 1_000, 1_901),
            (2_400, 400, 1_301),
            // Too far away to be the clock of a server that works.
            (9_999, 1_000, 1_301),
        ] {
            let clock = Clock::default();
            clock.read(&answer(&[]), at(now));
            assert_eq!(clock.covering(RANGE), Range { start, end }, "{now}");
        }
    }

    #[test]
    fn all_clocks_behind_an_address_are_covered_until_they_are_seen_no_more() {
        let clock = Clock::default();
        let covered = |now: i64| {
            clock.read(&answer(&[]), at(now));
            clock.covering(RANGE)
        };
        assert_eq!(covered(1_200), Range { start: 1_000, end: 1_901 });
        assert_eq!(covered(1_201), Range { start: 1_000, end: 1_901 }, "a second is chance");
        assert_eq!(covered(1_790), Range { start: 1_000, end: 1_901 }, "another server is right");
        assert_eq!(covered(1_801), RANGE);
        assert_eq!(covered(2_400), Range { start: 400, end: 1_301 });
    }

    #[test]
    fn a_difference_is_reported_once() {
        let clock = Clock::default();
        assert_eq!(clock.read(&answer(&[]), at(1_829)), None);
        assert_eq!(clock.read(&answer(&[]), at(1_200)), Some(600));
        assert_eq!(clock.read(&answer(&[]), at(1_200)), None);
    }

    #[test]
    fn what_says_nothing_of_the_clock_changes_nothing() {
        let clock = Clock::default();
        let nonsense = answer(&[(header::DATE, "yesterday")]);
        for headers in [HeaderMap::new(), nonsense, answer(&[(header::AGE, "600")])] {
            assert_eq!(clock.read(&headers, at(1_200)), None, "{headers:?}");
            assert_eq!(clock.covering(RANGE), RANGE);
        }
    }
}
