//! `MetricValueList` of custom.metrics.k8s.io, v1beta1 and v1beta2.
//!
//! The shapes are those of `k8s.io/metrics/pkg/apis/custom_metrics`, field order included.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::core::{kinds::Kind, quantity, reading::Reading, selector::LabelSelector};

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
    let mut before_name = Vec::new();
    push(&mut before_name, r#"{"describedObject":{"kind":"#);
    push_json(&mut before_name, &kind.kind);
    if let Some(namespace) = namespace {
        push(&mut before_name, r#","namespace":"#);
        push_json(&mut before_name, namespace);
    }
    push(&mut before_name, r#","name":"#);

    let mut before_time = Vec::new();
    push(&mut before_time, r#","apiVersion":"#);
    push_json(&mut before_time, &kind.api_version());
    match version {
        Version::V1beta1 => {
            push(&mut before_time, r#"},"metricName":"#);
            push_json(&mut before_time, metric);
        }
        Version::V1beta2 => {
            push(&mut before_time, r#"},"metric":"#);
            push_json(&mut before_time, &Metric { name: metric, selector });
        }
    }
    push(&mut before_time, r#","timestamp":"#);

    let mut before_value = Vec::new();
    if let Some(seconds) = window_seconds {
        // The same field has another name in the JSON of either version.
        push(
            &mut before_value,
            match version {
                Version::V1beta1 => r#","window":"#,
                Version::V1beta2 => r#","windowSeconds":"#,
            },
        );
        push_json(&mut before_value, &seconds);
    }
    push(&mut before_value, r#","value":"#);

    let mut end = Vec::new();
    if matches!(version, Version::V1beta1) {
        push(&mut end, r#","selector":"#);
        push_json(&mut end, &selector);
    }
    push(&mut end, "}");

    let (head, tail) =
        (r#"{"kind":"MetricValueList","apiVersion":""#, r#"","metadata":{},"items":["#);
    let same = before_name.len() + before_time.len() + before_value.len() + end.len();
    // Name, time and value rarely take more; the list has its beginning and end.
    let mut list = Vec::with_capacity(128 + readings.len() * (same + 80));
    push(&mut list, head);
    push(&mut list, GROUP);
    push(&mut list, "/");
    push(&mut list, version.name());
    push(&mut list, tail);
    // Readings of one query have one time.
    let (mut at_ms, mut time) = (None, Vec::new());
    let mut value = String::new();
    for (index, reading) in readings.iter().enumerate() {
        if index > 0 {
            push(&mut list, ",");
        }
        if at_ms != Some(reading.at_ms) {
            at_ms = Some(reading.at_ms);
            time.clear();
            push_json(&mut time, &Rfc3339(reading.at_ms));
        }
        value.clear();
        quantity::write_milli(&mut value, reading.milli);
        list.extend_from_slice(&before_name);
        push_json(&mut list, &*reading.name);
        list.extend_from_slice(&before_time);
        list.extend_from_slice(&time);
        list.extend_from_slice(&before_value);
        // No character of a quantity has to be escaped.
        push(&mut list, "\"");
        push(&mut list, &value);
        push(&mut list, "\"");
        list.extend_from_slice(&end);
    }
    push(&mut list, "]}");
    list
}

fn push(json: &mut Vec<u8>, text: &str) {
    json.extend_from_slice(text.as_bytes());
}

fn push_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    // Strings, integers and structs: there is nothing here that JSON could refuse.
    serde_json::to_writer(json, value).unwrap_or_default();
}

#[derive(Serialize)]
struct Metric<'a> {
    name: &'a str,
    selector: Option<&'a LabelSelector>,
}

/// A time of the Kubernetes API: RFC 3339 in UTC with whole seconds. It takes milliseconds since the epoch.
pub(super) struct Rfc3339(pub(super) i64);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = Timestamp::from_second(self.0.div_euclid(1000)).unwrap_or_default();
        serializer.collect_str(&seconds)
    }
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
