//! `ExternalMetricValueList` of external.metrics.k8s.io/v1beta1.
//!
//! The shapes are those of `k8s.io/metrics/pkg/apis/external_metrics`, field order included.

use serde::{Serialize, Serializer};

use super::list::{self, List, Rfc3339, Text};
use crate::core::{
    external::ExternalReading,
    quantity::Decimal,
    samples::{self, Vector},
};

/// The API group.
pub const GROUP: &str = "external.metrics.k8s.io";

/// Its only version.
pub const VERSION: &str = "v1beta1";

const API_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// Encodes an answer: the readings of a vector, if they are of one. `window_seconds` is the range of the query, where it is
/// known.
pub fn encode(
    metric: &str,
    window_seconds: Option<i64>,
    readings: &[ExternalReading],
    vector: Option<&Vector>,
) -> Vec<u8> {
    let items = readings.iter().map(|reading| Item {
        metric_name: metric,
        metric_labels: Labels(reading.labels(vector)),
        timestamp: Rfc3339(reading.at_ms),
        window: window_seconds,
        value: Text(Decimal(reading.milli)),
    });
    let labels = readings.iter().filter_map(|reading| reading.labels(vector));
    let labels = labels.flat_map(samples::Labels::iter);
    let labels: usize = labels.map(|(name, value)| name.len() + value.len() + 6).sum();
    let bytes = 128 + readings.len() * (128 + metric.len()) + labels;
    list::json(&List::new("ExternalMetricValueList", API_VERSION, items), bytes)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    metric_name: &'a str,
    metric_labels: Labels<'a>,
    timestamp: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<i64>,
    value: Text<Decimal>,
}

/// The labels as an object, sorted by name as Go's JSON has them.
struct Labels<'a>(Option<samples::Labels<'a>>);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(labels) if labels.are_sorted() => serializer.collect_map(labels.iter()),
            Some(labels) => serializer.collect_map(labels.sorted()),
            None => serializer.collect_map(std::iter::empty::<(&str, &str)>()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::{catalog::external::ExternalEntry, external::of_vector, rules};

    fn entry() -> ExternalEntry {
        let text =
            "externalRules: [{seriesQuery: x, metricsQuery: x, resources: {namespaced: false}}]";
        let rule = Arc::clone(&rules::load(text).unwrap().external[0]);
        ExternalEntry { series: "x".into(), namespace_label: None, rule }
    }

    pub(in crate::wire) fn encoded(labels: &[(&str, &str)], window_seconds: Option<i64>) -> String {
        let vector = Vector::of([(labels, 1_763_651_878_912, 100.0)]);
        let readings = of_vector(&vector, &entry(), "n", None).values;
        let text = encode("queue_depth", window_seconds, &readings, Some(&vector));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn it_is_as_prometheus_adapter_writes_it() {
        assert_eq!(
            encoded(&[("queue", "jobs")], None),
            r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[{"metricName":"queue_depth","metricLabels":{"queue":"jobs"},"timestamp":"2025-11-20T15:17:58Z","value":"100"}]}"#
        );
    }

    #[test]
    fn the_range_is_called_window_and_labels_are_there_without_being_any() {
        let text = encoded(&[], Some(120));
        assert!(text.contains(r#""metricLabels":{},"timestamp""#), "{text}");
        assert!(text.contains(r#""window":120,"value":"100""#), "{text}");
    }

    #[test]
    fn an_empty_answer_has_an_empty_list() {
        let text = String::from_utf8(encode("m", None, &[], None)).unwrap();
        assert!(text.ends_with(r#""metadata":{},"items":[]}"#), "{text}");
    }
}
