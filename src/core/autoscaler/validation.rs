//! What the API server refuses in a `HorizontalPodAutoscaler`: the rules of `pkg/apis/autoscaling/validation` of Kubernetes 1.36.
//!
//! `minReplicas: 0` is valid: whether the API server accepts it depends on its feature gate `HPAScaleToZero`.

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler, MetricSpec,
        MetricTarget,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::SpecError;
use crate::core::quantity::parse_nano;

/// The largest `stabilizationWindowSeconds`.
const LONGEST_WINDOW_S: i32 = 3600;

/// The largest `periodSeconds`.
const LONGEST_PERIOD_S: i32 = 1800;

/// The values that the target of a metric takes.
struct Takes {
    /// The metric, with its article.
    metric: &'static str,
    /// One of them has to be set.
    values: &'static [&'static str],
    /// Whether only one of them may be set.
    is_exclusive: bool,
}

const OBJECT: Takes =
    Takes { metric: "an Object metric", values: &["value", "averageValue"], is_exclusive: false };

const PODS: Takes =
    Takes { metric: "a Pods metric", values: &["averageValue"], is_exclusive: false };

const EXTERNAL: Takes =
    Takes { metric: "an External metric", values: &["averageValue", "value"], is_exclusive: true };

const RESOURCE: Takes = Takes {
    metric: "a metric of usage",
    values: &["averageUtilization", "averageValue"],
    is_exclusive: true,
};

/// What the API server refuses in an autoscaler. Nothing if it accepts it.
pub fn problems(hpa: &HorizontalPodAutoscaler) -> Vec<SpecError> {
    let HorizontalPodAutoscaler { metadata, spec, .. } = hpa;
    let mut found = Problems::default();
    let mut names = [&metadata.name, &metadata.generate_name].into_iter().flatten();
    found.require(names.any(|name| !name.is_empty()), "metadata.name", "must be set");
    let (least, most) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    found.require(least >= 0, "spec.minReplicas", "must be at least 0");
    found.require(most >= 1, "spec.maxReplicas", "must be at least 1");
    found.require(most < 1 || most >= least, "spec.maxReplicas", "must be at least `minReplicas`");
    found.reference("spec.scaleTargetRef", &spec.scale_target_ref);
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    for (index, metric) in metrics.iter().enumerate() {
        found.metric(&format!("spec.metrics[{index}]"), metric);
    }
    let wakes = |metric: &MetricSpec| matches!(metric.type_.as_str(), "Object" | "External");
    found.require(
        least != 0 || metrics.iter().any(wakes),
        "spec.metrics",
        "must have an Object or External metric, because `minReplicas` is 0",
    );
    if let Some(behavior) = &spec.behavior {
        let rules = [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)];
        for (field, rules) in rules {
            if let Some(rules) = rules {
                found.rules(&format!("spec.behavior.{field}"), rules);
            }
        }
    }
    found.0
}

#[derive(Default)]
struct Problems(Vec<SpecError>);

impl Problems {
    fn add(&mut self, path: &str, problem: &str) {
        self.0.push(SpecError { path: path.to_owned(), problem: problem.to_owned() });
    }

    fn require(&mut self, is_valid: bool, path: &str, problem: &str) {
        if !is_valid {
            self.add(path, problem);
        }
    }

    /// A name that becomes part of a path.
    fn segment(&mut self, path: &str, name: &str) {
        self.require(!name.is_empty(), path, "must be set");
        let is_valid = !matches!(name, "." | "..") && !name.contains(['/', '%']);
        self.require(is_valid, path, "must not be `.` or `..`, or contain `/` or `%`");
    }

    fn reference(&mut self, path: &str, object: &CrossVersionObjectReference) {
        self.segment(&format!("{path}.kind"), &object.kind);
        self.segment(&format!("{path}.name"), &object.name);
    }

    fn metric(&mut self, path: &str, metric: &MetricSpec) {
        let sources = [
            ("Object", "object", metric.object.is_some()),
            ("Pods", "pods", metric.pods.is_some()),
            ("Resource", "resource", metric.resource.is_some()),
            ("ContainerResource", "containerResource", metric.container_resource.is_some()),
            ("External", "external", metric.external.is_some()),
        ];
        let type_ = metric.type_.as_str();
        if sources.iter().any(|(known, ..)| *known == type_) {
            for (known, field, is_set) in sources {
                let problem = if is_set { "must not be set" } else { "must be set" };
                self.require(
                    is_set == (known == type_),
                    &format!("{path}.{field}"),
                    &format!("{problem}, because `type` is {type_}"),
                );
            }
        } else {
            self.add(
                &format!("{path}.type"),
                "must be Object, Pods, Resource, ContainerResource or External",
            );
        }
        if let Some(source) = &metric.object {
            self.reference(&format!("{path}.object.describedObject"), &source.described_object);
            self.segment(&format!("{path}.object.metric.name"), &source.metric.name);
            self.target(&format!("{path}.object.target"), &OBJECT, &source.target);
        }
        if let Some(source) = &metric.pods {
            self.segment(&format!("{path}.pods.metric.name"), &source.metric.name);
            self.target(&format!("{path}.pods.target"), &PODS, &source.target);
        }
        if let Some(source) = &metric.external {
            self.segment(&format!("{path}.external.metric.name"), &source.metric.name);
            self.target(&format!("{path}.external.target"), &EXTERNAL, &source.target);
        }
        if let Some(source) = &metric.resource {
            let path = format!("{path}.resource");
            self.require(!source.name.is_empty(), &format!("{path}.name"), "must be set");
            self.target(&format!("{path}.target"), &RESOURCE, &source.target);
        }
        if let Some(source) = &metric.container_resource {
            let path = format!("{path}.containerResource");
            self.require(!source.name.is_empty(), &format!("{path}.name"), "must be set");
            self.require(!source.container.is_empty(), &format!("{path}.container"), "must be set");
            self.target(&format!("{path}.target"), &RESOURCE, &source.target);
        }
    }

    fn target(&mut self, path: &str, takes: &Takes, target: &MetricTarget) {
        let MetricTarget { type_, value, average_value, average_utilization } = target;
        self.require(
            matches!(type_.as_str(), "Utilization" | "Value" | "AverageValue"),
            &format!("{path}.type"),
            "must be Utilization, Value or AverageValue",
        );
        for (field, quantity) in [("value", value), ("averageValue", average_value)] {
            self.require(
                quantity.as_ref().is_none_or(|quantity| nano(quantity) > Some(0)),
                &format!("{path}.{field}"),
                "must be a quantity greater than 0",
            );
        }
        self.require(
            average_utilization.is_none_or(|percent| percent > 0),
            &format!("{path}.averageUtilization"),
            "must be greater than 0",
        );
        let is_set = |field: &str| match field {
            "value" => value.is_some(),
            "averageValue" => average_value.is_some(),
            _ => average_utilization.is_some(),
        };
        let wanted = takes.values.join(" or ");
        match takes.values {
            [first, second] if takes.is_exclusive && is_set(first) && is_set(second) => {
                self.add(&format!("{path}.{second}"), &format!("must not be set beside {first}"));
            }
            values if values.iter().any(|field| is_set(field)) => {}
            _ => {
                let fields = ["value", "averageValue", "averageUtilization"];
                match fields.into_iter().find(|field| is_set(field)) {
                    Some(other) => self.add(
                        &format!("{path}.{other}"),
                        &format!("{} takes only {wanted}", takes.metric),
                    ),
                    None => self.add(path, &format!("must have {wanted}")),
                }
            }
        }
    }

    fn rules(&mut self, path: &str, rules: &HPAScalingRules) {
        self.require(
            rules.stabilization_window_seconds.is_none_or(|s| (0..=LONGEST_WINDOW_S).contains(&s)),
            &format!("{path}.stabilizationWindowSeconds"),
            &format!("must be from 0 to {LONGEST_WINDOW_S}"),
        );
        let select = rules.select_policy.as_deref();
        self.require(
            select.is_none_or(|select| matches!(select, "Max" | "Min" | "Disabled")),
            &format!("{path}.selectPolicy"),
            "must be Max, Min or Disabled",
        );
        self.require(
            rules.policies.as_ref().is_none_or(|policies| !policies.is_empty()),
            &format!("{path}.policies"),
            "must have a policy, or not be set",
        );
        for (index, policy) in rules.policies.iter().flatten().enumerate() {
            let path = format!("{path}.policies[{index}]");
            self.require(
                matches!(policy.type_.as_str(), "Pods" | "Percent"),
                &format!("{path}.type"),
                "must be Pods or Percent",
            );
            self.require(policy.value > 0, &format!("{path}.value"), "must be greater than 0");
            self.require(
                (1..=LONGEST_PERIOD_S).contains(&policy.period_seconds),
                &format!("{path}.periodSeconds"),
                &format!("must be from 1 to {LONGEST_PERIOD_S}"),
            );
        }
        self.require(
            rules.tolerance.as_ref().is_none_or(|tolerance| nano(tolerance) >= Some(0)),
            &format!("{path}.tolerance"),
            "must be a quantity of at least 0",
        );
    }
}

/// Nothing, which is less than each number, for what is no quantity.
fn nano(quantity: &Quantity) -> Option<i128> {
    parse_nano(&quantity.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document() -> Value {
        json!({"metadata": {"name": "web"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3
        }})
    }

    /// The paths of the problems of an autoscaler with some fields of its spec.
    fn paths(fields: &Value) -> Vec<String> {
        let mut hpa = document();
        for (key, value) in fields.as_object().unwrap() {
            hpa["spec"][key] = value.clone();
        }
        let found = problems(&serde_json::from_value(hpa).unwrap());
        found.into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn what_the_api_server_accepts_has_no_problem() {
        let external = |target: Value| json!({"type": "External", "external": {"metric": {"name": "q"}, "target": target}});
        for fields in [
            json!({}),
            json!({"metrics": null, "behavior": {}}),
            json!({"minReplicas": 3}),
            json!({"minReplicas": 0, "metrics": [external(json!({"type": "Value", "value": 1}))]}),
            json!({"metrics": [external(json!({"type": "Value", "averageValue": "1n"}))]}),
            // Nothing reads `value` here, which the API server accepts.
            json!({"metrics": [{"type": "Pods", "pods": {
                "metric": {"name": "m"}, "target": {"type": "Value", "value": "1", "averageValue": "1"}
            }}]}),
            json!({"metrics": [{"type": "Object", "object": {
                "describedObject": {"kind": "Service", "name": "web"}, "metric": {"name": "m"},
                "target": {"type": "Value", "value": "1", "averageValue": "1"}
            }}]}),
            json!({"behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled", "tolerance": "0"},
                "scaleDown": {"stabilizationWindowSeconds": 3600, "selectPolicy": "Min", "tolerance": "0.05",
                    "policies": [{"type": "Percent", "value": 1, "periodSeconds": 1800}]}
            }}),
        ] {
            assert_eq!(paths(&fields), Vec::<String>::new(), "{fields}");
        }
    }

    #[test]
    fn replicas_and_references_are_validated() {
        for (fields, wanted) in [
            (json!({"minReplicas": -1}), &["spec.minReplicas"][..]),
            (json!({"minReplicas": 0}), &["spec.metrics"]),
            (json!({"maxReplicas": 0}), &["spec.maxReplicas"]),
            (json!({"minReplicas": 4}), &["spec.maxReplicas"]),
            (
                json!({"scaleTargetRef": {}}),
                &["spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"],
            ),
            (
                json!({"scaleTargetRef": {"kind": "Deployment", "name": "a/b"}}),
                &["spec.scaleTargetRef.name"],
            ),
        ] {
            assert_eq!(paths(&fields), wanted, "{fields}");
        }
        let mut hpa = document();
        hpa["metadata"] = json!({});
        let found = problems(&serde_json::from_value(hpa).unwrap());
        assert_eq!(found.first().map(|problem| problem.path.as_str()), Some("metadata.name"));
    }

    #[test]
    fn behavior_is_validated() {
        let policy = |type_: &str, value: i32, period: i32| json!({"policies": [{"type": type_, "value": value, "periodSeconds": period}]});
        for (rules, wanted) in [
            (json!({"stabilizationWindowSeconds": -1}), &["stabilizationWindowSeconds"][..]),
            (json!({"stabilizationWindowSeconds": 3601}), &["stabilizationWindowSeconds"]),
            (json!({"selectPolicy": "Average"}), &["selectPolicy"]),
            (json!({"policies": []}), &["policies"]),
            (json!({"tolerance": "-0.1"}), &["tolerance"]),
            (json!({"tolerance": "little"}), &["tolerance"]),
            (policy("pods", 1, 1), &["policies[0].type"]),
            (policy("Pods", 0, 1), &["policies[0].value"]),
            (policy("Pods", 1, 0), &["policies[0].periodSeconds"]),
            (policy("Pods", 1, 1801), &["policies[0].periodSeconds"]),
            (
                json!({"policies": [{}]}),
                &["policies[0].type", "policies[0].value", "policies[0].periodSeconds"],
            ),
        ] {
            for direction in ["scaleUp", "scaleDown"] {
                let path = |field: &&str| format!("spec.behavior.{direction}.{field}");
                let wanted: Vec<_> = wanted.iter().map(path).collect();
                assert_eq!(paths(&json!({"behavior": {direction: rules}})), wanted, "{rules}");
            }
        }
    }

    #[test]
    fn metrics_are_validated() {
        let metric = |name: &str| json!({"name": name});
        let good = json!({"type": "AverageValue", "averageValue": "1"});
        let pods = |target: Value| json!({"type": "Pods", "pods": {"metric": metric("m"), "target": target}});
        let external = |target: Value| json!({"type": "External", "external": {"metric": metric("m"), "target": target}});
        let cpu = |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        let object = |target: Value| {
            json!({"type": "Object", "object": {
                "describedObject": {"kind": "Service", "name": "web"}, "metric": metric("m"), "target": target
            }})
        };
        for (metric, wanted) in [
            (json!({}), &["type"][..]),
            (json!({"type": "pods", "pods": {"metric": metric("m"), "target": good}}), &["type"]),
            (json!({"type": "Pods"}), &["pods"]),
            (
                json!({"type": "Pods", "external": {"metric": metric("m"), "target": good}}),
                &["pods", "external"],
            ),
            (json!({"type": "Pods", "pods": {"target": good}}), &["pods.metric.name"]),
            (
                json!({"type": "External", "external": {"metric": metric("a/b"), "target": good}}),
                &["external.metric.name"],
            ),
            (pods(json!({})), &["pods.target.type", "pods.target"]),
            (pods(json!({"type": "Value", "value": "50"})), &["pods.target.value"]),
            (
                pods(json!({"type": "AverageValue", "averageValue": "0"})),
                &["pods.target.averageValue"],
            ),
            (
                pods(json!({"type": "AverageValue", "averageValue": "many"})),
                &["pods.target.averageValue"],
            ),
            (external(json!({"type": "Value"})), &["external.target"]),
            (
                external(json!({"type": "Value", "value": "1", "averageValue": "1"})),
                &["external.target.value"],
            ),
            (external(json!({"type": "Value", "value": "-1"})), &["external.target.value"]),
            (object(json!({"type": "Value"})), &["object.target"]),
            (
                json!({"type": "Object", "object": {"metric": metric("m"), "target": good}}),
                &["object.describedObject.kind", "object.describedObject.name"],
            ),
            (
                cpu(json!({"type": "Utilization", "averageUtilization": 0})),
                &["resource.target.averageUtilization"],
            ),
            (
                cpu(json!({"type": "Utilization", "averageUtilization": 1, "averageValue": "1"})),
                &["resource.target.averageValue"],
            ),
            (cpu(json!({"type": "Value", "value": "1"})), &["resource.target.value"]),
            (
                json!({"type": "ContainerResource", "containerResource": {"target": good}}),
                &["containerResource.name", "containerResource.container"],
            ),
        ] {
            let wanted: Vec<_> =
                wanted.iter().map(|field| format!("spec.metrics[0].{field}")).collect();
            let text = metric.to_string();
            assert_eq!(paths(&json!({"metrics": [metric]})), wanted, "{text}");
        }
    }
}
