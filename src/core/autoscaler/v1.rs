//! `autoscaling/v1` autoscalers as `autoscaling/v2` ones.
//!
//! The conversion is that of `pkg/apis/autoscaling/v1/conversion.go` of Kubernetes 1.36: what v1 has no fields for is in
//! annotations, as JSON. An annotation that is no such JSON is ignored, as there.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// The version.
pub const VERSION: &str = "autoscaling/v1";

/// The fields of the spec.
pub const FIELDS: [&str; 4] =
    ["scaleTargetRef", "minReplicas", "maxReplicas", "targetCPUUtilizationPercentage"];

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const STATUSES: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const TOLERANCE_UP: &str = "autoscaling.alpha.kubernetes.io/scale-up-tolerance";
const TOLERANCE_DOWN: &str = "autoscaling.alpha.kubernetes.io/scale-down-tolerance";

/// An autoscaler as `autoscaling/v2`; as it is if it is of another version.
pub fn to_v2(document: &Value) -> Cow<'_, Value> {
    if document.get("apiVersion").and_then(Value::as_str) != Some(VERSION) {
        return Cow::Borrowed(document);
    }
    let mut document = document.clone();
    if let Some(document) = document.as_object_mut() {
        convert(document);
    }
    Cow::Owned(document)
}

/// Whether nothing of an `autoscaling/v1` autoscaler is lost by the conversion: it has no unknown fields, and its annotations can be
/// read.
pub fn is_whole(document: &Value) -> bool {
    let spec = document.get("spec").and_then(Value::as_object);
    let has_known = spec.is_some_and(|spec| spec.keys().all(|key| FIELDS.contains(&key.as_str())));
    let annotation = |key: &str| document.get("metadata")?.get("annotations")?.get(key)?.as_str();
    let is_list = |text: &str| serde_json::from_str::<Vec<Value>>(text).is_ok();
    let is_map = |text: &str| serde_json::from_str::<Map<String, Value>>(text).is_ok();
    has_known && annotation(METRICS).is_none_or(is_list) && annotation(BEHAVIOR).is_none_or(is_map)
}

fn convert(document: &mut Map<String, Value>) {
    document.insert("apiVersion".to_owned(), "autoscaling/v2".into());
    let mut annotation = |key: &str| {
        let annotations = document.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
        annotations.remove(key)?.as_str().map(str::to_owned)
    };
    let metrics = annotation(METRICS);
    let behavior = annotation(BEHAVIOR);
    let tolerances =
        [("scaleUp", annotation(TOLERANCE_UP)), ("scaleDown", annotation(TOLERANCE_DOWN))];
    let conditions = annotation(CONDITIONS);
    annotation(STATUSES);
    if let Some(spec) = document.get_mut("spec").and_then(Value::as_object_mut) {
        let cpu = spec.remove("targetCPUUtilizationPercentage");
        spec.retain(|key, _| FIELDS.contains(&key.as_str()));
        let written = metrics.and_then(|text| serde_json::from_str::<Vec<Value>>(&text).ok());
        let mut metrics: Vec<Value> = written.iter().flatten().map(metric).collect();
        metrics.extend(cpu.filter(|cpu| !cpu.is_null()).map(|percent| {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
        }));
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), metrics.into());
        }
        let behavior = behavior.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let mut behavior = behavior.map_or(Value::Null, |behavior| decapitalized(&behavior));
        for (direction, tolerance) in tolerances {
            // A tolerance without rules of its direction is ignored.
            if let (Some(tolerance), Some(rules)) =
                (tolerance, behavior.get_mut(direction).and_then(Value::as_object_mut))
            {
                rules.insert("tolerance".to_owned(), tolerance.into());
            }
        }
        if behavior.as_object().is_some_and(|behavior| !behavior.is_empty()) {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    let conditions = conditions.and_then(|text| serde_json::from_str::<Vec<Value>>(&text).ok());
    if let Some(status) = document.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions.into());
        }
    }
}

/// A metric of the annotation. Its type is that of `autoscaling/v2beta1`.
fn metric(written: &Value) -> Value {
    let kind = written.get("type").and_then(Value::as_str).unwrap_or_default();
    let field = match kind {
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "External" => "external",
        _ => return written.clone(),
    };
    let of = |key: &str| written.get(field)?.get(key).filter(|value| !value.is_null()).cloned();
    let named = |selector: &str| set([("name", of("metricName")), ("selector", of(selector))]);
    let utilization = || match of("targetAverageUtilization") {
        None => "AverageValue",
        Some(_) => "Utilization",
    };
    let source = match kind {
        "Object" => {
            let average = of("averageValue");
            let kind = if average.is_none() { "Value" } else { "AverageValue" };
            // v1 cannot leave the value out.
            let value = of("targetValue").filter(|value| average.is_none() || value != "0");
            json!({
                "describedObject": of("target"),
                "metric": named("selector"),
                "target": target(kind, [("value", value), ("averageValue", average)]),
            })
        }
        "Pods" => json!({
            "metric": named("selector"),
            "target": target("AverageValue", [("averageValue", of("targetAverageValue"))]),
        }),
        "External" => {
            let value = of("targetValue");
            let kind = if value.is_none() { "AverageValue" } else { "Value" };
            json!({
                "metric": named("metricSelector"),
                "target": target(kind, [("value", value), ("averageValue", of("targetAverageValue"))]),
            })
        }
        _ => {
            let values = [
                ("averageValue", of("targetAverageValue")),
                ("averageUtilization", of("targetAverageUtilization")),
            ];
            let target = Some(target(utilization(), values));
            set([("name", of("name")), ("container", of("container")), ("target", target)])
        }
    };
    set([("type", Some(kind.into())), (field, Some(source))])
}

fn target<const N: usize>(kind: &str, values: [(&str, Option<Value>); N]) -> Value {
    let mut target = set(values);
    if let Some(target) = target.as_object_mut() {
        target.insert("type".to_owned(), kind.into());
    }
    target
}

/// An object with the fields that have a value.
fn set<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(fields.collect())
}

/// The API server writes the behavior with the names of its own type, which begin with capitals.
fn decapitalized(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let field = |(key, value): (&String, &Value)| {
                let mut characters = key.chars();
                let first = characters.next().map(|first| first.to_ascii_lowercase());
                let key = first.into_iter().chain(characters).collect::<String>();
                (key, decapitalized(value))
            };
            Value::Object(map.iter().filter(|(_, value)| !value.is_null()).map(field).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(decapitalized).collect()),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::autoscaler::{Source, Spec, Target};

    /// What `kubectl get hpa.v1.autoscaling` prints of a v2 autoscaler.
    fn document() -> Value {
        let metrics = json!([
            {"type": "Pods", "pods": {"metricName": "rps", "targetAverageValue": "30", "selector": {"matchLabels": {"a": "b"}}}},
            {"type": "Object", "object": {"metricName": "hits", "target": {"kind": "Service", "name": "web", "apiVersion": "v1"},
                "targetValue": "0", "averageValue": "5"}},
            {"type": "External", "external": {"metricName": "queue", "metricSelector": {"matchLabels": {"q": "x"}}, "targetValue": "7"}},
            {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "web", "targetAverageUtilization": 60}},
        ]);
        let behavior = json!({"ScaleUp": null, "ScaleDown": {"StabilizationWindowSeconds": 60, "SelectPolicy": "Max",
            "Policies": [{"Type": "Pods", "Value": 2, "PeriodSeconds": 30}]}});
        json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "annotations": {
                "mine": "kept", METRICS: metrics.to_string(), BEHAVIOR: behavior.to_string(), TOLERANCE_DOWN: "50m"}},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 2, "maxReplicas": 9, "targetCPUUtilizationPercentage": 70},
        })
    }

    #[test]
    fn a_v1_autoscaler_has_the_metrics_of_its_annotation_and_then_cpu() {
        let converted = to_v2(&document()).into_owned();
        assert_eq!(converted["metadata"]["annotations"], json!({"mine": "kept"}));
        let spec = Spec::read(&serde_json::from_value(converted).unwrap()).unwrap();
        let targets: Vec<_> = spec.metrics.iter().map(|metric| metric.target).collect();
        let wanted = [
            Target::AverageValue(30_000),
            Target::AverageValue(5_000),
            Target::Value(7_000),
            Target::Utilization(60),
            Target::Utilization(70),
        ];
        assert_eq!(targets, wanted);
        let Source::External { metric, selector: Some(selector) } = &spec.metrics[2].source else {
            panic!("{spec:?}");
        };
        assert_eq!((metric.as_str(), selector.match_labels.as_ref().unwrap().len()), ("queue", 1));
        let cpu = Source::Resource { resource: "cpu".to_owned(), container: None };
        assert_eq!(spec.metrics[4].source, cpu);
        assert_eq!((spec.min_replicas, spec.max_replicas), (2, 9));
        assert!(spec.behavior.is_some() && (spec.tolerance_down - 0.05).abs() < 1e-9, "{spec:?}");
    }

    #[test]
    fn without_metrics_or_with_a_broken_annotation_the_rest_counts() {
        let mut broken = document();
        assert!(is_whole(&broken));
        broken["metadata"]["annotations"] = json!({METRICS: "[", BEHAVIOR: "{"});
        assert!(!is_whole(&broken));
        let spec = &to_v2(&broken)["spec"];
        assert_eq!(spec["metrics"].as_array().unwrap().len(), 1);
        assert_eq!(spec.get("behavior"), None);
        broken["spec"].as_object_mut().unwrap().remove("targetCPUUtilizationPercentage");
        assert_eq!(to_v2(&broken)["spec"].get("metrics"), None);
        // v1 has no such field.
        broken["spec"]["metrics"] = json!([{"type": "Pods"}]);
        assert_eq!(to_v2(&broken)["spec"].get("metrics"), None);
        for document in
            [json!(1), json!({"apiVersion": VERSION}), json!({"apiVersion": "autoscaling/v2"})]
        {
            to_v2(&document);
        }
    }
}
