//! Reading a `MetricValueList`, as far as an autoscaler needs it.

use serde::Deserialize;

/// The answer of `custom.metrics.k8s.io`.
#[derive(Debug, Deserialize)]
pub struct MetricValueList {
    /// One item per object.
    pub items: Vec<Item>,
}

/// An object's value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The object.
    pub described_object: DescribedObject,
    /// The value, a Kubernetes quantity.
    pub value: String,
}

/// An object's name.
#[derive(Debug, Deserialize)]
pub struct DescribedObject {
    /// The name.
    pub name: String,
}

/// A quantity with a decimal suffix or none (`52`, `52500m`, `1.5k`) in thousandths, rounded up as Kubernetes does. Below
/// zero counts as zero; `None` for anything else.
pub fn milli(quantity: &str) -> Option<u64> {
    let digits =
        quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_start_matches('+');
    let nanos_per_unit: u128 = match quantity.trim_start_matches('+').strip_prefix(digits)? {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "k" => 1_000_000_000_000,
        "M" => 1_000_000_000_000_000,
        "G" => 1_000_000_000_000_000_000,
        _ => return None,
    };
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let unscaled: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let milli = unscaled.checked_mul(nanos_per_unit)?.div_ceil(scale.checked_mul(1_000_000)?);
    u64::try_from(if negative { 0 } else { milli }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (quantity, expected) in [
            ("0", Some(0)),
            ("52", Some(52_000)),
            ("52500m", Some(52_500)),
            ("2k", Some(2_000_000)),
            ("1.5k", Some(1_500_000)),
            ("0.0001", Some(1)),
            ("1500u", Some(2)),
            ("1n", Some(1)),
            ("+3", Some(3_000)),
            ("-5", Some(0)),
            ("3G", Some(3_000_000_000_000)),
            ("1Ki", None),
            ("", None),
            ("m", None),
            ("1.2.3", None),
            ("x", None),
            ("99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(milli(quantity), expected, "{quantity}");
        }
    }
}
