//! `Table` of meta.k8s.io/v1: an answer as kubectl prints it.

use serde_json::{Value, json};

/// A `MetricValueList` of either version or an `ExternalMetricValueList` as a table; nothing where the document is another
/// one.
pub fn of_metric_values(list: &Value) -> Option<Value> {
    let (first, second, row): (_, _, fn(&Value) -> Value) = match list["kind"].as_str()? {
        "MetricValueList" => (("Name", "The described object"), ("Metric", "The metric"), row),
        "ExternalMetricValueList" => {
            (("Name", "The metric"), ("Labels", "The labels of the series"), external_row)
        }
        _ => return None,
    };
    let column = |name: &str, format: &str, description: &str| {
        json!({
            "name": name, "type": "string", "format": format, "description": description,
            "priority": 0,
        })
    };
    let rows: Vec<_> = list["items"].as_array()?.iter().map(row).collect();
    Some(json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            column(first.0, "name", first.1),
            column(second.0, "", second.1),
            column("Value", "", "The value, a quantity"),
            column("Timestamp", "", "When the value was evaluated"),
        ],
        "rows": rows,
    }))
}

fn external_row(item: &Value) -> Value {
    let labels = item["metricLabels"].as_object().into_iter().flatten();
    let labels: Vec<_> = labels
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!({
        "cells": [item["metricName"], labels.join(","), item["value"], item["timestamp"]],
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": item["metricName"]},
        },
    })
}

fn row(item: &Value) -> Value {
    let object = &item["describedObject"];
    // v1beta1 says the metric's name in the item, v1beta2 within `metric`.
    let metric = item.get("metricName").or_else(|| item.pointer("/metric/name"));
    let mut metadata = json!({"name": object["name"]});
    if let (Some(metadata), Some(namespace)) = (metadata.as_object_mut(), object.get("namespace")) {
        metadata.insert("namespace".to_owned(), namespace.clone());
    }
    json!({
        "cells": [object["name"], metric, item["value"], item["timestamp"]],
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_give_the_same_rows() {
        let object = json!({"kind": "Pod", "namespace": "n", "name": "p", "apiVersion": "/v1"});
        let item = |key: &str, name: Value| {
            json!({"kind": "MetricValueList", "items": [
                {"describedObject": object, key: name, "timestamp": "t", "value": "1"},
            ]})
        };
        let old = of_metric_values(&item("metricName", json!("m"))).unwrap();
        let new = of_metric_values(&item("metric", json!({"name": "m"}))).unwrap();
        assert_eq!(old, new);
        assert_eq!(old["rows"][0]["cells"], json!(["p", "m", "1", "t"]));
        assert_eq!(old["rows"][0]["object"]["metadata"], json!({"name": "p", "namespace": "n"}));
        assert!(of_metric_values(&json!({"kind": "Status"})).is_none());
    }

    #[test]
    fn rows_of_external_metrics_have_the_labels() {
        let list = json!({"kind": "ExternalMetricValueList", "items": [
            {"metricName": "m", "metricLabels": {"a": "x", "b": "y"}, "timestamp": "t", "value": "1"},
            {"metricName": "m", "metricLabels": {}, "timestamp": "t", "value": "2"},
        ]});
        let table = of_metric_values(&list).unwrap();
        assert_eq!(table["columnDefinitions"][1]["name"], "Labels");
        assert_eq!(table["rows"][0]["cells"], json!(["m", "a=x,b=y", "1", "t"]));
        assert_eq!(table["rows"][1]["cells"], json!(["m", "", "2", "t"]));
        assert_eq!(table["rows"][0]["object"]["metadata"], json!({"name": "m"}));
    }
}
