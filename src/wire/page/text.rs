//! Numbers, times and texts as people read them.

use jiff::Timestamp;

/// The longest text of a cell, in characters.
pub(super) const LONGEST: usize = 240;

/// The beginning of a text. What is cut off is marked by `…`.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A count, with a thin space between thousands.
pub(super) fn count(count: usize) -> String {
    grouped(&count.to_string())
}

/// The same of a counter.
pub(super) fn counter(count: u64) -> String {
    grouped(&count.to_string())
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A value in thousandths: three decimals at the most, and none above a thousand.
pub(super) fn value(milli: i64) -> String {
    let (whole, part) = (milli.unsigned_abs() / 1_000, milli.unsigned_abs() % 1_000);
    let sign = if milli < 0 { "−" } else { "" };
    let whole = if whole >= 10_000 { grouped(&whole.to_string()) } else { whole.to_string() };
    if part == 0 || milli.unsigned_abs() >= 1_000_000 {
        return format!("{sign}{whole}");
    }
    let part = format!("{part:03}");
    format!("{sign}{whole}.{}", part.trim_end_matches('0'))
}

/// Bytes, in whole units.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        ..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576.. => format!("{} MiB", grouped(&(bytes >> 20).to_string())),
    }
}

/// A latency in microseconds.
pub(super) fn latency(micros: u32) -> String {
    match micros {
        ..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..10_000_000 => format!("{} ms", micros / 1_000),
        10_000_000.. => format!("{} s", micros / 1_000_000),
    }
}

/// A time of day.
pub(super) fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago something was.
pub(super) fn ago(now: Timestamp, at: Timestamp) -> String {
    seconds_ago(now.as_second(), at.as_second())
}

/// The same, of seconds since the epoch.
pub(super) fn seconds_ago(now_s: i64, at_s: i64) -> String {
    match now_s.saturating_sub(at_s) {
        ..=0 => "now".to_owned(),
        seconds => format!("{} ago", span(seconds)),
    }
}

/// The time from one moment to a later one, in its largest unit.
pub(super) fn duration(later: Timestamp, earlier: Timestamp) -> String {
    span(later.as_second().saturating_sub(earlier.as_second()))
}

fn span(seconds: i64) -> String {
    match seconds {
        ..0 => "0 s".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (milli, wanted) in [
            (0, "0"),
            (1, "0.001"),
            (-1_500, "−1.5"),
            (999_999, "999.999"),
            (1_000_999, "1000"),
            (12_345_678_000, "12\u{2009}345\u{2009}678"),
            (i64::MIN, "−9\u{2009}223\u{2009}372\u{2009}036\u{2009}854\u{2009}775"),
        ] {
            assert_eq!(value(milli), wanted);
        }
        assert_eq!((count(999), count(1_000)), ("999".to_owned(), "1\u{2009}000".to_owned()));
        assert_eq!(
            (bytes(1_023), bytes(1_500), bytes(5 << 20)),
            ("1023 B".into(), "1 KiB".into(), "5 MiB".into())
        );
        assert_eq!(
            (latency(1_250), latency(31_000), latency(31_000_000)),
            ("1.2 ms".into(), "31 ms".into(), "31 s".into())
        );
    }

    #[test]
    fn times_have_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, wanted) in [
            (-5, "now"),
            (0, "now"),
            (119, "119 s ago"),
            (121, "2 min ago"),
            (7_200, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(ago(at(seconds), at(0)), wanted);
        }
        assert_eq!(date(at(0)), "1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn texts_are_cut_between_letters() {
        assert_eq!(cut(&"é".repeat(LONGEST)), "é".repeat(LONGEST));
        assert_eq!(cut(&"é".repeat(LONGEST + 1)), format!("{}…", "é".repeat(LONGEST)));
    }
}
