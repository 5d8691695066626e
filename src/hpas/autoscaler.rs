//! A HorizontalPodAutoscaler as the API server has it, and the questions that follow from it.

use std::sync::Arc;

use k8s_openapi::{
    api::autoscaling::v2::{MetricIdentifier, MetricSpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde::Deserialize;

use crate::{
    core::{
        kinds::{GroupResource, Kind},
        seeds::{Seed, Source},
        selector::{Operator, Requirement, Selector},
    },
    kubernetes::list::Object,
};

/// Of a `autoscaling/v2` HorizontalPodAutoscaler what is used.
pub(super) type Autoscaler = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Spec {
    #[serde(default)]
    metrics: Vec<MetricSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// Nothing until the controller has seen it.
    #[serde(default)]
    current_replicas: Option<i32>,
}

/// The kind.
pub(super) fn kind() -> Kind {
    Kind {
        resource: GroupResource {
            group: "autoscaling".to_owned(),
            resource: "horizontalpodautoscalers".to_owned(),
        },
        version: "v2".to_owned(),
        singular: "horizontalpodautoscaler".to_owned(),
        kind: "HorizontalPodAutoscaler".to_owned(),
        namespaced: true,
    }
}

/// What it will ask of us, in the order of its metrics. A metric that the controller refuses is left out.
pub(super) fn seeds(autoscaler: Autoscaler) -> Vec<Seed> {
    let namespace: Arc<str> = Arc::from(autoscaler.metadata.namespace);
    let replicas = autoscaler.status.current_replicas.unwrap_or_default();
    let replicas = usize::try_from(replicas).unwrap_or_default();
    autoscaler
        .spec
        .metrics
        .into_iter()
        .filter_map(|metric| {
            let (MetricIdentifier { name, selector: labels }, source) = match metric {
                MetricSpec { pods: Some(pods), .. } => (pods.metric, Source::Pods { replicas }),
                MetricSpec { object: Some(object), .. } => {
                    let described = object.described_object;
                    let source = Source::Object {
                        api_version: described.api_version.unwrap_or_default(),
                        kind: described.kind,
                        name: described.name,
                    };
                    (object.metric, source)
                }
                MetricSpec { external: Some(external), .. } => (external.metric, Source::External),
                // Resource metrics have an API of their own.
                _ => return None,
            };
            let selector = selector(labels)?;
            Some(Seed { namespace: Arc::clone(&namespace), metric: name, selector, source })
        })
        .collect()
}

/// The selector as it is read from the text that the controller sends, `metav1.LabelSelectorAsSelector(…).String()`; nothing
/// where the controller refuses it. Without one the text is empty, which selects everything.
fn selector(labels: Option<LabelSelector>) -> Option<Selector> {
    let labels = labels.unwrap_or_default();
    let equals = labels.match_labels.unwrap_or_default().into_iter().map(|(key, value)| {
        Some(Requirement { key, operator: Operator::Equals, values: vec![value] })
    });
    let expressions = labels.match_expressions.unwrap_or_default().into_iter().map(|expression| {
        let operator = match expression.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        };
        let mut values = expression.values.unwrap_or_default();
        let takes_values = matches!(operator, Operator::In | Operator::NotIn);
        if values.is_empty() == takes_values {
            return None;
        }
        values.sort_unstable();
        values.dedup();
        Some(Requirement { key: expression.key, operator, values })
    });
    let mut requirements = equals.chain(expressions).collect::<Option<Vec<_>>>()?;
    requirements.sort_by(|a, b| a.key.cmp(&b.key));
    let texts: Vec<_> = requirements.iter().map(ToString::to_string).collect();
    let selector = Selector::parse(&texts.join(",")).ok()?;
    // Keys and values that are none could be read as something else.
    (selector.requirements() == requirements).then_some(selector)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_metric_but_resources_is_a_seed() {
        let autoscaler = json!({
            "metadata": {"name": "web", "namespace": "team", "resourceVersion": "1"},
            "spec": {"maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}},
                {"type": "Pods", "pods": {
                    "metric": {"name": "rate", "selector": {
                        "matchLabels": {"method": "get", "code": ""},
                        "matchExpressions": [
                            {"key": "path", "operator": "NotIn", "values": ["b", "a", "b"]},
                            {"key": "debug", "operator": "DoesNotExist"},
                            {"key": "zone", "operator": "Exists", "values": []},
                        ],
                    }},
                    "target": {"type": "AverageValue", "averageValue": "1"},
                }},
                {"type": "Object", "object": {
                    "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "shop"},
                    "metric": {"name": "hits"}, "target": {"type": "Value", "value": "1"},
                }},
                {"type": "External", "external": {
                    "metric": {"name": "queue", "selector": {"matchExpressions": [
                        {"key": "queue", "operator": "In", "values": ["jobs"]},
                    ]}},
                    "target": {"type": "Value", "value": "1"},
                }},
                {"type": "External", "external": {
                    "metric": {"name": "refused", "selector": {"matchLabels": {"a": "b,c"}}},
                    "target": {"type": "Value", "value": "1"},
                }},
            ]},
            "status": {"currentReplicas": 3, "desiredReplicas": 3},
        });
        let seed = |metric: &str, selector: &str, source| Seed {
            namespace: "team".into(),
            metric: metric.to_owned(),
            selector: Selector::parse(selector).unwrap(),
            source,
        };
        let object = Source::Object {
            api_version: "networking.k8s.io/v1".to_owned(),
            kind: "Ingress".to_owned(),
            name: "shop".to_owned(),
        };
        assert_eq!(
            seeds(serde_json::from_value(autoscaler).unwrap()),
            [
                seed(
                    "rate",
                    "code=,!debug,method=get,path notin (a,b),zone",
                    Source::Pods { replicas: 3 }
                ),
                seed("hits", "", object),
                seed("queue", "queue in (jobs)", Source::External),
            ]
        );
    }

    #[test]
    fn a_new_one_has_no_replicas_and_maybe_no_metrics() {
        let autoscaler = json!({"metadata": {"name": "web", "namespace": "team"}, "spec": {}});
        assert_eq!(seeds(serde_json::from_value(autoscaler).unwrap()), []);
    }

    #[test]
    fn selectors_that_the_controller_refuses_are_none() {
        for expression in [
            json!({"key": "a", "operator": "In", "values": []}),
            json!({"key": "a", "operator": "Exists", "values": ["b"]}),
            json!({"key": "a", "operator": "Gt", "values": ["1"]}),
            json!({"key": "a b", "operator": "Exists"}),
            json!({"key": "a,b", "operator": "Exists"}),
            json!({"key": "a", "operator": "In", "values": ["b),c in (d"]}),
        ] {
            let labels = json!({"matchExpressions": [expression]});
            let labels: LabelSelector = serde_json::from_value(labels).unwrap();
            assert_eq!(selector(Some(labels.clone())), None, "{labels:?}");
        }
    }
}
