//! What external.metrics.k8s.io/v1beta1 has in OpenAPI documents.

use serde_json::{Map, Value, json};

use crate::wire::external::{GROUP, VERSION};

/// The schemas' common prefix, as Kubernetes names them.
const PREFIX: &str = "io.k8s.metrics.pkg.apis.external_metrics.v1beta1";

pub(super) fn list_name() -> String {
    format!("{PREFIX}.ExternalMetricValueList")
}

pub(super) fn paths(
    answer: &Value,
    parameter: &dyn Fn(&str, &str, &str) -> Value,
) -> Map<String, Value> {
    let get = json!({
        "description": "Read an external metric.",
        "operationId": "readExternal",
        "parameters": [
            parameter("namespace", "path", "The namespace of who asks."),
            parameter("metric", "path", "The metric's name."),
            parameter("labelSelector", "query", "Which series."),
        ],
        "responses": {"200": answer},
    });
    let path = format!("/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{{metric}}");
    Map::from_iter([(path, json!({"get": get}))])
}

pub(super) fn schemas(reference: &str) -> Map<String, Value> {
    let value_name = format!("{PREFIX}.ExternalMetricValue");
    let value = json!({
        "type": "object",
        "required": ["metricName", "metricLabels", "timestamp", "value"],
        "properties": {
            "metricName": {"type": "string", "description": "The metric's name."},
            "metricLabels": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "The labels of the series.",
            },
            "timestamp": {"type": "string", "format": "date-time", "description": "When the value was evaluated."},
            "window": {"type": "integer", "format": "int64", "description": "The range that the value covers, in seconds."},
            "value": {"type": "string", "description": "A quantity."},
        },
    });
    let list = json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": format!("{reference}{value_name}")}},
        },
        "x-kubernetes-group-version-kind": [
            {"group": GROUP, "version": VERSION, "kind": "ExternalMetricValueList"},
        ],
    });
    Map::from_iter([(list_name(), list), (value_name, value)])
}
