//! How far the clock of a backend is from ours.
//!
//! A query has no time: the backend evaluates it by its own clock. But requests for metadata have a range of time, and by a clock
//! that is ahead of the backend's nothing is in it. So the range covers both clocks.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use http::{HeaderMap, HeaderValue, header};

use super::Range;

/// Fewer seconds are no difference: a `Date` has whole seconds, and an answer takes its time.
const TOLERANCE: i64 = 30;

/// The difference, by the last answer that had a `Date`.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// How many seconds the backend's clock is ahead of ours.
    ahead: AtomicI64,
    is_told: AtomicBool,
}

impl Clock {
    /// Takes the time at which an answer was made, which has just come. Returns by how many seconds the backend's clock is ahead
    /// when it differs for the first time.
    pub(super) fn read(&self, headers: &HeaderMap, now: jiff::Timestamp) -> Option<i64> {
        // An answer with an age was made some time ago.
        if headers.contains_key(header::AGE) {
            return None;
        }
        let ahead = date(headers.get(header::DATE)?)?.as_second().saturating_sub(now.as_second());
        let known = self.ahead.load(Ordering::Relaxed);
        if ahead.abs() <= TOLERANCE {
            self.ahead.store(0, Ordering::Relaxed);
            return None;
        }
        // The difference between two answers is chance.
        if ahead.abs_diff(known) > TOLERANCE.unsigned_abs() {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        (!self.is_told.swap(true, Ordering::Relaxed)).then_some(ahead)
    }

    /// The range by our clock and by the backend's.
    pub(super) fn covering(&self, Range { start, end }: Range) -> Range {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Range {
            start: start.saturating_add(ahead).clamp(0, start.max(0)),
            end: end.saturating_add(ahead).max(end),
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
        let clock = Clock::default();
        for (now, start, end) in [
            (1_800, 1_000, 1_301),
            (1_770, 1_000, 1_301),
            (1_200, 1_000, 1_901),
            // A second more or less is chance.
            (1_201, 1_000, 1_901),
            (2_400, 400, 1_301),
            (9_999, 0, 1_301),
            (1_801, 1_000, 1_301),
        ] {
            clock.read(&answer(&[]), at(now));
            assert_eq!(clock.covering(RANGE), Range { start, end }, "{now}");
        }
    }

    #[test]
    fn a_difference_is_told_once() {
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
