//! Metric values as Kubernetes quantities.
//!
//! The format is that of `k8s.io/apimachinery/pkg/api/resource`: a whole number and a suffix, the largest suffix that leaves the
//! number whole.

use std::fmt::Write as _;

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

/// The canonical text of thousandths, as Go's `NewMilliQuantity(…, DecimalSI).String()`: `1500m`, `2k`, `0`.
pub fn format_milli(milli: i64) -> String {
    let mut text = String::with_capacity(8);
    write_milli(&mut text, milli);
    text
}

/// Appends what [`format_milli`] gives.
pub fn write_milli(text: &mut String, milli: i64) {
    const SUFFIXES: [&str; 7] = ["m", "", "k", "M", "G", "T", "P"];
    let mut number = milli;
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
    // Writing to a String cannot fail.
    write!(text, "{number}{suffix}").unwrap_or_default();
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
            assert_eq!(format_milli(milli(value).unwrap()), text, "{value}");
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
            assert_eq!(format_milli(milli(value).unwrap()), text, "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(milli(value), None);
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
            prop_assert_eq!(parsed(&format_milli(milli)), Some(i128::from(milli)));
        }

        #[test]
        fn any_finite_value_has_a_text(value in any::<f64>()) {
            if let Some(milli) = milli(value) {
                prop_assert!(parsed(&format_milli(milli)).is_some());
            } else {
                prop_assert!(!value.is_finite());
            }
        }
    }
}
