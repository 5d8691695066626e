//! Durations in the two notations that users write: Go's in flags, Prometheus' in the rules file.

use std::time::Duration;

/// Text that is no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a duration such as {example}")]
pub struct DurationError {
    text: String,
    example: &'static str,
}

/// Units with their nanoseconds.
type Units = [(&'static str, u64)];

const SECOND: u64 = 1_000_000_000;

const GO: &Units = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// In the order in which a duration has them.
const PROMETHEUS: &Units = &[
    ("y", 365 * 86_400 * SECOND),
    ("w", 7 * 86_400 * SECOND),
    ("d", 86_400 * SECOND),
    ("h", 3600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1_000_000),
];

/// Reads Go's notation: `300ms`, `1m30s`, `1.5h`, `0`. A negative duration is an error.
pub fn parse_go(text: &str) -> Result<Duration, DurationError> {
    parse(text.strip_prefix('+').unwrap_or(text), GO, false)
        .ok_or_else(|| DurationError { text: text.to_owned(), example: "`30s` or `1m30s`" })
}

/// Reads Prometheus' notation: `5m`, `1d`, `1h30m`, `0`.
pub fn parse_prometheus(text: &str) -> Result<Duration, DurationError> {
    // promql_parser::util::parse_duration does not fit: it refuses `0s`, panics at `-1`, and leaves out numbers beyond 32 bits.
    let parsed = if text.contains('.') { None } else { parse(text, PROMETHEUS, true) };
    parsed.ok_or_else(|| DurationError { text: text.to_owned(), example: "`5m` or `1h30m`" })
}

/// Reads Prometheus' notation, or Go's where that has what Prometheus' has not: what the rules file takes.
pub fn parse_either(text: &str) -> Option<Duration> {
    let is_go = text.contains(['+', '.', 'n', 'u', 'µ', 'μ']);
    if is_go { parse_go(text).ok() } else { parse_prometheus(text).ok() }
}

/// Prometheus' notation of a duration, in its largest whole unit: `90s`, `5m`; parts of milliseconds are dropped.
pub fn prometheus(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    units
        .iter()
        .find(|(unit, _)| milliseconds != 0 && milliseconds.is_multiple_of(*unit))
        .map_or_else(|| "0".to_owned(), |(unit, name)| format!("{}{name}", milliseconds / unit))
}

/// Go's notation of a duration, as `time.Duration.String` returns it: `3m0s`, `1h0m0s`, `1.5s`, `300ms`, `0s`.
pub fn go(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        let (unit, digits) = match nanos {
            0 => return "0s".to_owned(),
            1..1_000 => ("ns", 0),
            1_000..1_000_000 => ("µs", 3),
            _ => ("ms", 6),
        };
        return format!("{}{unit}", decimal(u64::from(nanos), digits));
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let nanos = seconds % 60 * 1_000_000_000 + u64::from(nanos);
    let rest = format!("{}s", decimal(nanos, 9));
    match (hours, minutes) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

/// A number whose last digits are behind the point, without zeros at its end.
fn decimal(number: u64, digits: u32) -> String {
    let unit = 10_u64.pow(digits);
    let (whole, fraction) = (number / unit, number % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = usize::try_from(digits).unwrap_or_default();
    let text = format!("{whole}.{fraction:0width$}");
    text.trim_end_matches('0').to_owned()
}

/// Numbers, each with a unit; a lone 0 needs none. In order means that each unit comes after those that are listed before it.
/// `None` also for more than Go's and Prometheus' 64 bits of nanoseconds.
fn parse(text: &str, mut units: &Units, in_order: bool) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum = 0_u64;
    let mut rest = text;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(number_end)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (name, tail) = tail.split_at_checked(unit_end)?;
        let at = units.iter().position(|(unit, _)| *unit == name)?;
        let (known, smaller) = units.split_at_checked(at + 1)?;
        let (_, unit) = known.last()?;
        sum = sum.checked_add(scaled(number, *unit)?)?;
        if tail.is_empty() {
            return i64::try_from(sum).is_ok().then(|| Duration::from_nanos(sum));
        }
        if in_order {
            units = smaller;
        }
        rest = tail;
    }
}

/// A decimal number times a unit. As in Go, parts of a nanosecond are dropped.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    // An hour has 13 digits: what follows the eighteenth is less than a nanosecond.
    let digits = fraction.get(..18).unwrap_or(fraction);
    let part = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? };
    let part = part * u128::from(unit) / 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (30_000_000_000, "30s"),
            (1_050_000_000, "1.05s"),
            (60_000_000_000, "1m0s"),
            (180_000_000_000, "3m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_500_000_000, "25h1m1.5s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(go(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn go_durations() {
        let cases = [
            ("0", Some(0)),
            ("10m", Some(600_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("300ms", Some(300)),
            (".5s", Some(500)),
            ("+5s", Some(5_000)),
            ("-5s", None),
            ("5", None),
            ("s", None),
            ("", None),
            ("1d", None),
            ("5 s", None),
            ("1.2.3s", None),
            (".s", None),
            ("1.s", Some(1_000)),
            ("1h1h", Some(7_200_000)),
            ("1s1m", Some(61_000)),
            ("0.1h0.1m", Some(366_000)),
            ("2.999999999999999999999s", Some(2_999)),
            ("9223372036s", Some(9_223_372_036_000)),
            ("9223372037s", None),
            ("99999999999999999999s", None),
            ("inf", None),
            ("1e3s", None),
        ];
        for (text, wanted) in cases {
            let parsed = parse_go(text).ok().map(|duration| duration.as_millis());
            assert_eq!(parsed, wanted, "{text}");
        }
    }

    #[test]
    fn prometheus_durations() {
        let cases = [
            ("5m", Some(300)),
            ("1d", Some(86_400)),
            ("1h30m", Some(5_400)),
            ("0", Some(0)),
            ("1y2w3d4h5m6s", Some(33_019_506)),
            ("0s", Some(0)),
            ("292y", Some(9_208_512_000)),
            ("293y", None),
            ("1m1h", None),
            ("1m1m", None),
            ("99999999999999999999s", None),
            ("1.5h", None),
            ("1e3", None),
            ("inf", None),
            ("-1m", None),
            ("", None),
            ("5", None),
            ("m5", None),
        ];
        for (text, wanted) in cases {
            let parsed = parse_prometheus(text).ok().map(|duration| duration.as_secs());
            assert_eq!(parsed, wanted, "{text}");
        }
    }

    #[test]
    fn the_rules_file_takes_both_notations() {
        for (text, wanted) in [
            ("1d", Some(86_400_000)),
            ("1.5h", Some(5_400_000)),
            ("300us", Some(0)),
            ("0s", Some(0)),
            ("1m1h", None),
            ("5", None),
        ] {
            let parsed = parse_either(text).map(|duration| duration.as_millis());
            assert_eq!(parsed, wanted, "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_whole_units() {
        for (milliseconds, wanted) in
            [(0, "0"), (1, "1ms"), (1500, "1500ms"), (90_000, "90s"), (3_600_000, "1h")]
        {
            assert_eq!(prometheus(Duration::from_millis(milliseconds)), wanted);
        }
    }
}
