//! Metric values as Kubernetes quantities.
//!
//! The format is that of `k8s.io/apimachinery/pkg/api/resource`: a whole number and a suffix, the largest suffix that leaves the
//! number whole.

use std::fmt;

/// Rounds a value to the nearest thousandth, half away from zero, clamped to what an HPA controller can read (64-bit
/// thousandths). NaN and the infinities have no quantity.
pub fn milli(value: f64) -> Option<i64> {
    if !value.is_finite() {
        return None;
    }
    let thousandths = (value * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is the clamping")]
    let milli = thousandths as i64;
    // One number keeps out of the way: i64::MIN has no positive counterpart to write.
    Some(milli.max(-i64::MAX))
}

/// Thousandths, whose text is that of Go's `NewMilliQuantity(…, DecimalSI).String()`: `1500m`, `2k`, `0`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decimal(pub i64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUFFIXES: [&str; 7] = ["m", "", "k", "M", "G", "T", "P"];
        let mut number = self.0;
        let mut suffixes = SUFFIXES.iter();
        let mut suffix = suffixes.next().copied().unwrap_or_default();
        if number == 0 {
            suffix = "";
        } else {
            while number % 1000 == 0
                && let Some(next) = suffixes.next()
            {
                number /= 1000;
                suffix = next;
            }
        }
        write!(f, "{number}{suffix}")
    }
}

/// Thousandths, whose text is that of Go's `NewMilliQuantity(…, BinarySI).String()`: `20Mi`, `1536Ki`. What is less than 1024 or
/// no whole number is written as a [`Decimal`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Binary(pub i64);

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUFFIXES: [&str; 5] = ["Ki", "Mi", "Gi", "Ti", "Pi"];
        let Self(milli) = *self;
        if milli % 1000 != 0 || (milli / 1000).abs() < 1024 {
            return Decimal(milli).fmt(f);
        }
        let mut number = milli / 1000;
        let mut suffix = "";
        for next in SUFFIXES {
            if number % 1024 != 0 {
                break;
            }
            number /= 1024;
            suffix = next;
        }
        write!(f, "{number}{suffix}")
    }
}

/// Bytes as Kubernetes writes them: `256Mi`.
pub fn bytes(bytes: u64) -> Binary {
    Binary(i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// The thousandths of the text of a [`Decimal`] or [`Binary`]; nothing for other texts.
pub fn parse_milli(text: &str) -> Option<i64> {
    const SUFFIXES: [(&str, i64); 12] = [
        ("Ki", 1000 << 10),
        ("Mi", 1000 << 20),
        ("Gi", 1000 << 30),
        ("Ti", 1000 << 40),
        ("Pi", 1000 << 50),
        ("m", 1),
        ("k", 1_000_000),
        ("M", 1_000_000_000),
        ("G", 1_000_000_000_000),
        ("T", 1_000_000_000_000_000),
        ("P", 1_000_000_000_000_000_000),
        ("", 1000),
    ];
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// Parses a quantity in any format of the Kubernetes API (`1500m`, `1.5`, `3e2`, `10Gi`) into billionths. Smaller fractions are rounded
/// away from zero, as by Go's `ParseQuantity`.
pub fn parse_nano(text: &str) -> Option<i128> {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-');
    let (number, suffix) = text.split_at(text.find(|c| !is_of_number(c)).unwrap_or(text.len()));
    let (factor, exponent) = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1_i128 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse::<i16>().ok()?),
    };
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let units = digits.parse::<i128>().ok()?.checked_mul(factor)?;
    let zeros = i64::from(exponent) + 9 - i64::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(u32::try_from(zeros.unsigned_abs()).ok()?)?;
    let nano = if zeros < 0 { ceil_div(units, power) } else { units.checked_mul(power)? };
    Some(sign * nano)
}

/// Parses a quantity in any format of the Kubernetes API into thousandths, rounded away from zero as by Go's `MilliValue`.
pub fn parse_milli_rounded_up(text: &str) -> Option<i64> {
    let nano = parse_nano(text)?;
    i64::try_from(nano.signum() * ceil_div(nano.abs(), 1_000_000)).ok()
}

/// Rounds up. Neither number is negative.
fn ceil_div(number: i128, by: i128) -> i128 {
    number / by + i128::from(number % by != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        value: f64,
        text: String,
    }

    #[test]
    fn texts_are_those_of_go() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../tests/vectors/quantities.json")).unwrap();
        assert!(vectors.len() > 200);
        for Vector { value, text } in vectors {
            assert_eq!(Decimal(milli(value).unwrap()).to_string(), text, "{value}");
        }
    }

    #[test]
    fn values_round_to_the_nearest_thousandth_and_clamp() {
        let cases = [
            (9.99998, "10"),
            (0.0005, "1m"),
            (-0.0005, "-1m"),
            (0.000_499, "0"),
            (-0.0, "0"),
            (f64::MIN_POSITIVE, "0"),
            (9.3e15, "9223372036854775807m"),
            (-9.3e15, "-9223372036854775807m"),
            (1e300, "9223372036854775807m"),
            (f64::MIN, "-9223372036854775807m"),
            (9e15, "9P"),
        ];
        for (value, text) in cases {
            assert_eq!(Decimal(milli(value).unwrap()).to_string(), text, "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(milli(value), None);
        }
    }

    #[test]
    fn binary_texts_are_those_of_go() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (1000.0, "1k"),
            (1023.0, "1023"),
            (1024.0, "1Ki"),
            (1025.0, "1025"),
            (1536.0, "1536"),
            (2048.0, "2Ki"),
            (1_572_864.0, "1536Ki"),
            (20_971_520.0, "20Mi"),
            (1_048_576_000.0, "1000Mi"),
            (2_000_000.0, "2000000"),
            (2_000_000.5, "2000000500m"),
            (0.25, "250m"),
            (-1024.0, "-1Ki"),
            (-1000.0, "-1k"),
            (1_073_741_824.0, "1Gi"),
            (1_099_511_627_776.0, "1Ti"),
            (1_125_899_906_842_624.0, "1Pi"),
            (1e300, "9223372036854775807m"),
        ];
        for (value, text) in cases {
            assert_eq!(Binary(milli(value).unwrap()).to_string(), text, "{value}");
        }
    }

    #[test]
    fn other_texts_are_no_quantities_of_ours() {
        for text in ["", "m", "1e3", "1.5", "1Ei", "x", "9223372036854775807P"] {
            assert_eq!(parse_milli(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_of_the_api() {
        let cases = [
            ("0", 0),
            ("1500m", 1500),
            ("1.5", 1500),
            ("+1.5", 1500),
            (".5", 500),
            ("5.", 5000),
            ("-2.5k", -2_500_000),
            ("3e2", 300_000),
            ("3E-2", 30),
            ("1E", 1_000_000_000_000_000_000_000),
            ("0.5Gi", 536_870_912_000),
            ("2Ei", (2 << 60) * 1000),
            ("100u", 1),
            ("1n", 1),
            ("-1n", -1),
            ("1000001u", 1001),
            ("0.00000000001", 1),
        ];
        for (text, milli) in cases {
            let expected: i128 = milli;
            assert_eq!(parse_milli_rounded_up(text), i64::try_from(expected).ok(), "{text}");
        }
        assert_eq!(parse_nano("1500u"), Some(1_500_000));
        assert_eq!(parse_nano("0.00000000001"), Some(1));
        for text in
            ["", "m", ".", "-", "1.2.3", "--1", "1-2", "1K", "1e", "1e99999", "1 ", "x", "1é"]
        {
            assert_eq!(parse_nano(text), None, "{text}");
        }
    }

    /// Reads a quantity by the grammar of the Kubernetes API: number and decimal suffix.
    fn parsed(text: &str) -> Option<i128> {
        let suffixes = [("m", 0), ("k", 6), ("M", 9), ("G", 12), ("T", 15), ("P", 18)];
        let (number, zeros) = suffixes
            .iter()
            .find_map(|(suffix, zeros)| Some((text.strip_suffix(suffix)?, *zeros)))
            .unwrap_or((text, 3));
        let factor = 10_i128.pow(zeros);
        Some(number.parse::<i128>().ok()? * factor)
    }

    proptest! {
        #[test]
        fn text_means_the_number(number in any::<i64>(), zeros in 0u32..19) {
            let milli = (number / 10i64.pow(zeros)).saturating_mul(10i64.pow(zeros)).max(-i64::MAX);
            prop_assert_eq!(parsed(&Decimal(milli).to_string()), Some(i128::from(milli)));
        }

        #[test]
        fn what_is_written_is_read_again(number in any::<i64>(), zeros in 0u32..55) {
            let milli = (number >> zeros << zeros).max(-i64::MAX);
            prop_assert_eq!(parse_milli(&Decimal(milli).to_string()), Some(milli));
            prop_assert_eq!(parse_milli(&Binary(milli).to_string()), Some(milli));
            let bytes = (milli / 1000).saturating_mul(1000);
            prop_assert_eq!(parse_milli(&Binary(bytes).to_string()), Some(bytes));
        }

        #[test]
        fn any_finite_value_has_a_text(value in any::<f64>()) {
            if let Some(milli) = milli(value) {
                prop_assert!(parsed(&Decimal(milli).to_string()).is_some());
            } else {
                prop_assert!(!value.is_finite());
            }
        }
    }
}
