//! `MetricValueList` of custom.metrics.k8s.io, v1beta1 and v1beta2.
//!
//! The shapes are those of `k8s.io/metrics/pkg/apis/custom_metrics`, field order included.

use serde::Serialize;

use super::list::{Rfc3339, Text, push};
use crate::core::{kinds::Kind, quantity::Decimal, reading::Reading, selector::LabelSelector};

/// The API group.
pub const GROUP: &str = "custom.metrics.k8s.io";

/// A version of the API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Version {
    /// `metricName` and `selector` in the value itself.
    V1beta1,
    /// Both within `metric`.
    V1beta2,
}

impl Version {
    /// All versions, in the order of preference.
    pub const ALL: [Self; 2] = [Self::V1beta2, Self::V1beta1];

    /// The version in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1beta1 => "v1beta1",
            Self::V1beta2 => "v1beta2",
        }
    }

    /// The version that a URL names.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }
}

/// What an answer says besides its values.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// The kind of the described objects.
    pub kind: &'a Kind,
    /// Their namespace; nothing for cluster-scoped objects.
    pub namespace: Option<&'a str>,
    /// The metric's name.
    pub metric: &'a str,
    /// The metric label selector of the request; nothing where it is empty.
    pub selector: Option<&'a LabelSelector>,
    /// The range of the query in seconds, where it is known.
    pub window_seconds: Option<i64>,
}

/// Encodes an answer as the JSON of a version.
pub fn encode(version: Version, described: Described<'_>, readings: &[Reading]) -> Vec<u8> {
    let Described { kind, namespace, metric, selector, window_seconds } = described;
    // All of an item but name, time and value is the same in all items.
    let mut same = Vec::with_capacity(256);
    push_text(&mut same, r#"{"describedObject":{"kind":"#);
    push(&mut same, &kind.kind);
    if let Some(namespace) = namespace {
        push_text(&mut same, r#","namespace":"#);
        push(&mut same, namespace);
    }
    push_text(&mut same, r#","name":"#);
    let name_at = same.len();
    push_text(&mut same, r#","apiVersion":"#);
    push(&mut same, &kind.api_version());
    match version {
        Version::V1beta1 => {
            push_text(&mut same, r#"},"metricName":"#);
            push(&mut same, metric);
        }
        Version::V1beta2 => {
            push_text(&mut same, r#"},"metric":"#);
            push(&mut same, &Metric { name: metric, selector });
        }
    }
    push_text(&mut same, r#","timestamp":"#);
    let time_at = same.len();
    if let Some(seconds) = window_seconds {
        // The same field has another name in the JSON of either version.
        push_text(
            &mut same,
            match version {
                Version::V1beta1 => r#","window":"#,
                Version::V1beta2 => r#","windowSeconds":"#,
            },
        );
        push(&mut same, &seconds);
    }
    push_text(&mut same, r#","value":"#);
    let value_at = same.len();
    if matches!(version, Version::V1beta1) {
        push_text(&mut same, r#","selector":"#);
        push(&mut same, &selector);
    }
    push_text(&mut same, "}");
    let (before_name, rest) = same.split_at(name_at);
    let (before_time, rest) = rest.split_at(time_at - name_at);
    let (before_value, end) = rest.split_at(value_at - time_at);

    // Name, time and value rarely take more; the list has its beginning and end.
    let mut list = Vec::with_capacity(128 + readings.len() * (same.len() + 80));
    push_text(&mut list, r#"{"kind":"MetricValueList","apiVersion":""#);
    push_text(&mut list, GROUP);
    push_text(&mut list, "/");
    push_text(&mut list, version.name());
    push_text(&mut list, r#"","metadata":{},"items":["#);
    // Where the last time stands: readings of one query have one.
    let mut last_time = None;
    for (index, reading) in readings.iter().enumerate() {
        if index > 0 {
            push_text(&mut list, ",");
        }
        list.extend_from_slice(before_name);
        push(&mut list, &*reading.name);
        list.extend_from_slice(before_time);
        match last_time.clone() {
            Some((at_ms, place)) if at_ms == reading.at_ms => list.extend_from_within(place),
            _ => {
                let begin = list.len();
                push(&mut list, &Rfc3339(reading.at_ms));
                last_time = Some((reading.at_ms, begin..list.len()));
            }
        }
        list.extend_from_slice(before_value);
        push(&mut list, &Text(Decimal(reading.milli)));
        list.extend_from_slice(end);
    }
    push_text(&mut list, "]}");
    list
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    json.extend_from_slice(text.as_bytes());
}

#[derive(Serialize)]
struct Metric<'a> {
    name: &'a str,
    selector: Option<&'a LabelSelector>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{kinds::Kinds, selector::Selector};

    fn encoded(version: Version, selector: &str) -> String {
        let kinds = Kinds::builtin();
        let selector = Selector::parse(selector).unwrap();
        let selector = (!selector.is_empty()).then(|| selector.to_label_selector());
        let described = Described {
            kind: kinds.resolve("", "pods").unwrap(),
            namespace: Some("team-0"),
            metric: "lsp_requests_per_second",
            selector: selector.as_ref(),
            window_seconds: None,
        };
        let reading = Reading { name: "web-0".into(), milli: 9999, at_ms: 1_763_651_878_912 };
        String::from_utf8(encode(version, described, &[reading])).unwrap()
    }

    #[test]
    fn v1beta1_is_as_prometheus_adapter_writes_it() {
        assert_eq!(
            encoded(Version::V1beta1, ""),
            r#"{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta1","metadata":{},"items":[{"describedObject":{"kind":"Pod","namespace":"team-0","name":"web-0","apiVersion":"/v1"},"metricName":"lsp_requests_per_second","timestamp":"2025-11-20T15:17:58Z","value":"9999m","selector":null}]}"#
        );
    }

    #[test]
    fn v1beta2_is_as_prometheus_adapter_writes_it() {
        assert_eq!(
            encoded(Version::V1beta2, ""),
            r#"{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta2","metadata":{},"items":[{"describedObject":{"kind":"Pod","namespace":"team-0","name":"web-0","apiVersion":"/v1"},"metric":{"name":"lsp_requests_per_second","selector":null},"timestamp":"2025-11-20T15:17:58Z","value":"9999m"}]}"#
        );
    }

    #[test]
    fn a_selector_is_given_back_parsed() {
        let wanted = r#""selector":{"matchLabels":{"method":"completion"}}"#;
        assert!(encoded(Version::V1beta1, "method=completion").contains(wanted));
        assert!(encoded(Version::V1beta2, "method=completion").contains(wanted));
    }

    #[test]
    fn an_empty_answer_has_an_empty_list() {
        let kinds = Kinds::builtin();
        let described = Described {
            kind: kinds.resolve("", "nodes").unwrap(),
            namespace: None,
            metric: "m",
            selector: None,
            window_seconds: None,
        };
        let text = String::from_utf8(encode(Version::V1beta1, described, &[])).unwrap();
        assert!(text.ends_with(r#""metadata":{},"items":[]}"#), "{text}");
    }
}
