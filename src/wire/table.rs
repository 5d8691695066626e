//! `Table` of meta.k8s.io/v1: an answer as kubectl prints it.

use serde_json::{Value, json};

use crate::core::quantity;

/// An answer of any of the APIs as a table; nothing where the document is another one.
pub fn of(answer: &Value) -> Option<Value> {
    of_metric_values(answer).or_else(|| of_usage(answer))
}

/// `PodMetrics`, `NodeMetrics` or a list of either as a table, with the columns of metrics-server: of a pod the sums.
fn of_usage(answer: &Value) -> Option<Value> {
    let items: &[Value] = match answer["kind"].as_str()? {
        "PodMetricsList" | "NodeMetricsList" => answer["items"].as_array()?,
        "PodMetrics" | "NodeMetrics" => std::slice::from_ref(answer),
        _ => return None,
    };
    let column = |name: &str, format: &str| json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0});
    Some(json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            column("Name", "name"),
            column("cpu", "quantity"),
            column("memory", "quantity"),
            column("Window", "duration"),
        ],
        "rows": items.iter().map(usage_row).collect::<Vec<_>>(),
    }))
}

fn usage_row(item: &Value) -> Value {
    let cells = json!([
        item.pointer("/metadata/name"),
        quantity::Decimal(total(item, "cpu")).to_string(),
        quantity::Binary(total(item, "memory")).to_string(),
        item["window"],
    ]);
    json!({
        "cells": cells,
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": item["metadata"],
        },
    })
}

/// What a node uses, or all containers of a pod together.
fn total(item: &Value, resource: &str) -> i64 {
    let amount = |user: &Value| {
        let amount = user["usage"].get(resource).and_then(Value::as_str);
        amount.and_then(quantity::parse_milli).unwrap_or_default()
    };
    match item["containers"].as_array() {
        Some(containers) => containers.iter().map(amount).fold(0, i64::saturating_add),
        None => amount(item),
    }
}

/// A `MetricValueList` of either version or an `ExternalMetricValueList` as a table; nothing where the document is another
/// one.
fn of_metric_values(list: &Value) -> Option<Value> {
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
    fn rows_of_pods_have_the_sums_of_their_containers() {
        let container = |cpu: &str, memory: &str| json!({"usage": {"cpu": cpu, "memory": memory}});
        let pod = json!({
            "kind": "PodMetrics",
            "metadata": {"name": "p", "namespace": "n"}, "window": "3m0s",
            "containers": [container("1500m", "20Mi"), container("500m", "1100Ki")],
        });
        let table = of(&pod).unwrap();
        assert_eq!(table["rows"][0]["cells"], json!(["p", "2", "21580Ki", "3m0s"]));
        assert_eq!(table["rows"][0]["object"]["metadata"], json!({"name": "p", "namespace": "n"}));
        let names: Vec<_> =
            table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
        assert_eq!(names, ["Name", "cpu", "memory", "Window"]);
        let node = json!({"metadata": {"name": "n1"}, "usage": {"cpu": "1", "memory": "2Gi"}});
        let list = json!({"kind": "NodeMetricsList", "items": [node]});
        assert_eq!(of(&list).unwrap()["rows"][0]["cells"], json!(["n1", "1", "2Gi", null]));
        assert_eq!(of(&json!({"kind": "PodMetricsList", "items": []})).unwrap()["rows"], json!([]));
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
