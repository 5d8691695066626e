//! The autoscaler as it is written: what the API server refuses in it, and what nothing reads.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Map, Value};

use crate::core::{
    autoscaler::{Spec, SpecError, problems, v1},
    excerpt::{NAME, excerpt},
    explain::{Cause, Step, name},
};

/// What `minReplicas: 0` needs.
const SCALE_TO_ZERO: &str = "; before Kubernetes 1.37, the API server takes `minReplicas: 0` only with the feature gate HPAScaleToZero";

/// The largest number of problems that are named.
const MOST_PROBLEMS: usize = 10;

/// Reads the autoscaler out of its document. Steps name what the API server refuses in it, and what nothing reads.
pub fn spec(document: &Value) -> (Option<(HorizontalPodAutoscaler, Spec)>, Vec<Step>) {
    let (written, converted) = (document, v1::to_v2(document));
    let document = &*converted;
    let hpa = match read(document) {
        Ok(hpa) => hpa,
        Err(step) => return (None, vec![step]),
    };
    let found = problems(&hpa);
    let spec =
        if found.is_empty() { Spec::read(&hpa).map_err(|error| vec![error]) } else { Err(found) };
    let mut steps = vec![match &spec {
        Ok(spec) => Step::good(
            name::HPA,
            format!(
                "{} to {} replicas, {} {}{}",
                spec.min_replicas,
                spec.max_replicas,
                spec.metrics.len(),
                if spec.metrics.len() == 1 { "metric" } else { "metrics" },
                if spec.min_replicas == 0 { SCALE_TO_ZERO } else { "" },
            ),
        ),
        Err(problems) => refused(problems),
    }];
    for field in unknown_of_v1(written).into_iter().chain(ignored(document, &hpa)) {
        let seen = format!("nothing reads {field}");
        steps.push(Step::found(
            name::HPA,
            Cause::HpaFieldIgnored,
            seen,
            "remove the field, or write the one that is read",
        ));
    }
    (spec.ok().map(|spec| (hpa, spec)), steps)
}

fn read(document: &Value) -> Result<HorizontalPodAutoscaler, Step> {
    let version = document.get("apiVersion").and_then(Value::as_str);
    let problem = match version {
        None | Some("autoscaling/v2") => {
            return serde_json::from_value(document.clone()).map_err(|error| {
                let error = SpecError { path: "spec".to_owned(), problem: error.to_string() };
                refused(&[misread(document, "", &|value| value).unwrap_or(error)])
            });
        }
        Some("autoscaling/v2beta1") => "Kubernetes 1.25 has removed v2beta1: write autoscaling/v2",
        Some("autoscaling/v2beta2") => "Kubernetes 1.26 has removed v2beta2: write autoscaling/v2",
        Some(_) => "must be autoscaling/v2 or autoscaling/v1",
    };
    let (path, problem) = ("apiVersion".to_owned(), problem.to_owned());
    Err(refused(&[SpecError { path, problem }]))
}

/// The step of an autoscaler that the API server refuses.
fn refused(problems: &[SpecError]) -> Step {
    let mut named: Vec<_> = problems.iter().take(MOST_PROBLEMS).map(SpecError::to_string).collect();
    let advice = named.first().map_or_else(String::new, |first| format!("correct {first}"));
    if problems.len() > MOST_PROBLEMS {
        named.push(format!("and {} more", problems.len() - MOST_PROBLEMS));
    }
    let seen = format!("the API server refuses it: {}", named.join("; "));
    Step::unsound(name::HPA, seen, advice)
}

/// The first field that is not of its type. All fields may be missing from the type, so a field that is at fault cannot be read
/// alone; `alone` is the document with nothing but its value.
fn misread(value: &Value, path: &str, alone: &dyn Fn(Value) -> Value) -> Option<SpecError> {
    let error = serde_json::from_value::<HorizontalPodAutoscaler>(alone(value.clone())).err()?;
    let within = match value {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            let of_key =
                |value: Value| alone(Value::Object(Map::from_iter([(key.clone(), value)])));
            misread(value, &format!("{path}{dot}{key}"), &of_key)
        }),
        Value::Array(list) => list.iter().enumerate().find_map(|(index, value)| {
            let of_item = |value: Value| alone(Value::Array(vec![value]));
            misread(value, &format!("{path}[{index}]"), &of_item)
        }),
        _ => None,
    };
    within.or_else(|| Some(SpecError { path: path.to_owned(), problem: error.to_string() }))
}

/// Fields of the spec of an `autoscaling/v1` autoscaler that this version does not have.
fn unknown_of_v1(document: &Value) -> Vec<String> {
    if document.get("apiVersion").and_then(Value::as_str) != Some(v1::VERSION) {
        return Vec::new();
    }
    let spec = document.get("spec").and_then(Value::as_object).into_iter().flatten();
    let unknown = spec.filter(|(key, _)| !v1::FIELDS.contains(&key.as_str()));
    let path = |(key, _): (&String, &Value)| {
        format!("spec.{}, which is no field of {}", excerpt(key, NAME), v1::VERSION)
    };
    unknown.map(path).collect()
}

/// Fields of the spec that nothing reads: unknown ones, and targets that do not count beside another.
fn ignored(document: &Value, hpa: &HorizontalPodAutoscaler) -> Vec<String> {
    let known = serde_json::to_value(hpa).unwrap_or_default();
    let mut ignored = Vec::new();
    if let (Some(written), Some(known)) = (document.get("spec"), known.get("spec")) {
        unknown(written, known, "spec", &mut ignored);
    }
    let metrics = document.pointer("/spec/metrics").and_then(Value::as_array);
    for (index, metric) in metrics.into_iter().flatten().enumerate() {
        let kind = metric.get("type").and_then(Value::as_str).unwrap_or_default();
        let (field, read): (&str, &[&str]) = match kind {
            "Pods" => ("pods", &["averageValue"]),
            "External" => ("external", &["averageValue", "value"]),
            "Object" => ("object", &["averageValue", "value"]),
            "Resource" => ("resource", &["averageValue", "averageUtilization"]),
            "ContainerResource" => ("containerResource", &["averageValue", "averageUtilization"]),
            _ => continue,
        };
        let Some(target) = metric.get(field).and_then(|source| source.get("target")) else {
            continue;
        };
        let path = format!("spec.metrics[{index}].{field}.target");
        let type_ = target.get("type").and_then(Value::as_str).unwrap_or_default();
        let has = |name: &str| target.get(name).is_some();
        let by_type = match type_ {
            "Value" => "value",
            "AverageValue" => "averageValue",
            "Utilization" => "averageUtilization",
            _ => "",
        };
        // Of an Object `type` decides; of the others an average comes before all else.
        let used = match kind {
            "Object" => by_type,
            _ => *read.iter().find(|name| has(name)).unwrap_or(&""),
        };
        // A target without a value that counts is invalid.
        if used.is_empty() {
            continue;
        }
        for name in ["value", "averageValue", "averageUtilization"] {
            if has(name) && name != used {
                ignored.push(format!("{path}.{name}, because {used} counts"));
            }
        }
        if !by_type.is_empty() && by_type != used && !has(by_type) {
            ignored.push(format!("{path}.type {type_}, because {used} is set"));
        }
    }
    ignored
}

/// Fields of what was written that the type does not have.
fn unknown(written: &Value, known: &Value, path: &str, ignored: &mut Vec<String>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written {
                match known.get(key) {
                    Some(known) => unknown(value, known, &format!("{path}.{key}"), ignored),
                    None if value.is_null() => {}
                    None => {
                        ignored.push(format!("{path}.{key}, which is no field of autoscaling/v2"));
                    }
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (written, known)) in written.iter().zip(known).enumerate() {
                unknown(written, known, &format!("{path}[{index}]"), ignored);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::autoscaler::Target;

    fn document() -> Value {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3, "metrics": [
                {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "30"}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "web"},
                    "metric": {"name": "m"}, "target": {"type": "Value", "value": "30"}}}
        ]}})
    }

    /// The document with another value at a pointer.
    fn changed(pointer: &str, value: Value) -> Value {
        let mut document = document();
        *document.pointer_mut(pointer).unwrap() = value;
        document
    }

    #[test]
    fn a_field_that_is_refused_is_named() {
        let (read, steps) = spec(&document());
        assert!(read.is_some() && steps.iter().all(|step| step.ok == Some(true)), "{steps:?}");
        let target = "/spec/metrics/1/object/target";
        for (pointer, value, path) in [
            ("/apiVersion", json!("autoscaling/v2beta2"), "apiVersion"),
            ("/apiVersion", json!("apps/v1"), "apiVersion"),
            ("/spec/maxReplicas", json!("3"), "spec.maxReplicas"),
            ("/spec/maxReplicas", json!(0), "spec.maxReplicas"),
            ("/spec/metrics", json!({}), "spec.metrics"),
            ("/spec/metrics/1/type", json!(1), "spec.metrics[1].type"),
            (target, json!({"type": "Value", "value": []}), "spec.metrics[1].object.target.value"),
            // The controller has no value to compare.
            (
                target,
                json!({"type": "Value", "averageValue": "1"}),
                "spec.metrics[1].object.target",
            ),
        ] {
            let (read, steps) = spec(&changed(pointer, value));
            assert!(read.is_none(), "{steps:?}");
            let first = steps.first().unwrap();
            assert_eq!(first.cause.map(|(cause, _)| cause), Some(Cause::HpaInvalid), "{steps:?}");
            assert!(first.advice.starts_with(&format!("correct {path}: ")), "{steps:?}");
        }
    }

    #[test]
    fn an_old_version_is_converted_and_its_unknown_fields_are_named() {
        let (read, steps) = spec(&changed("/apiVersion", json!("autoscaling/v1")));
        // Without the metrics, which v1 does not have, it is about CPU.
        assert_eq!(read.unwrap().1.metrics[0].target, Target::Utilization(80));
        assert!(!steps.iter().any(Step::is_failure), "{steps:?}");
        assert!(steps.iter().any(|step| step.seen.contains("spec.metrics")), "{steps:?}");
    }

    #[test]
    fn zero_replicas_need_a_feature_gate() {
        let mut document = document();
        document["spec"]["minReplicas"] = json!(0);
        let (_, steps) = spec(&document);
        assert!(steps[0].seen.contains("HPAScaleToZero"), "{steps:?}");
    }

    #[test]
    fn the_number_of_named_problems_has_a_bound() {
        let policies = vec![json!({"type": "Pods", "value": 0, "periodSeconds": 1}); 1000];
        let mut document = document();
        document["spec"]["behavior"] = json!({"scaleUp": {"policies": policies}});
        let (_, steps) = spec(&document);
        let seen = &steps.first().unwrap().seen;
        assert!(seen.ends_with("and 990 more"), "{seen}");
    }
}
