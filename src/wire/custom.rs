//! `MetricValueList` of custom.metrics.k8s.io, v1beta1 and v1beta2.
//!
//! The shapes are those of `k8s.io/metrics/pkg/apis/custom_metrics`, field order included.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::core::{kinds::Kind, quantity, reading::Reading, selector::LabelSelector};

/// The API group.
pub const GROUP: &str = "custom.metrics.k8s.io";

/// A version of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    let api_version = described.kind.api_version();
    let items = readings.iter().map(|reading| Item {
        described_object: DescribedObject {
            kind: &described.kind.kind,
            namespace: described.namespace,
            name: &reading.name,
            api_version: &api_version,
        },
        identity: match version {
            Version::V1beta1 => Identity::Flat { metric_name: described.metric },
            Version::V1beta2 => Identity::Nested {
                metric: Metric { name: described.metric, selector: described.selector },
            },
        },
        timestamp: Rfc3339(reading.at_ms),
        window_seconds: described.window_seconds,
        value: Quantity(reading.milli),
        tail: match version {
            Version::V1beta1 => Tail::Selector { selector: described.selector },
            Version::V1beta2 => Tail::None {},
        },
    });
    let list = List {
        kind: "MetricValueList",
        api_version: match version {
            Version::V1beta1 => "custom.metrics.k8s.io/v1beta1",
            Version::V1beta2 => "custom.metrics.k8s.io/v1beta2",
        },
        metadata: Empty {},
        items: items.collect(),
    };
    // Strings, integers and structs: there is nothing here that JSON could refuse.
    serde_json::to_vec(&list).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    described_object: DescribedObject<'a>,
    #[serde(flatten)]
    identity: Identity<'a>,
    timestamp: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<i64>,
    value: Quantity,
    #[serde(flatten)]
    tail: Tail<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedObject<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    api_version: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Identity<'a> {
    #[serde(rename_all = "camelCase")]
    Flat {
        metric_name: &'a str,
    },
    Nested {
        metric: Metric<'a>,
    },
}

/// v1beta1 ends with the selector, null where there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum Tail<'a> {
    Selector { selector: Option<&'a LabelSelector> },
    None {},
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

/// A quantity, from thousandths.
pub(super) struct Quantity(pub(super) i64);

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&quantity::format_milli(self.0))
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
