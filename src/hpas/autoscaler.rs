//! A HorizontalPodAutoscaler as the API server has it, and the questions that follow from it.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, MetricIdentifier, MetricSpec, MetricStatus,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde::Deserialize;

use crate::{
    core::{
        kinds::Kind,
        prefetch::{Expected, ExpectedRead, MAX_OF_AUTOSCALER, MetricSource},
        selector::{Operator, Requirement, Selector},
    },
    kubernetes::list::Object,
};

/// Of a `autoscaling/v2` HorizontalPodAutoscaler what is used.
pub(super) type Listed = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Spec {
    #[serde(default)]
    metrics: Vec<MetricSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    /// Nothing until the controller has seen it.
    current_replicas: Option<i32>,
    /// Of each metric what the controller has read last; of one that it could not read nothing.
    current_metrics: Option<Vec<MetricStatus>>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Status {
    /// Whether the controller reads metrics, every time all of them.
    fn is_active(&self) -> bool {
        let mut conditions = self.conditions.iter().flatten();
        conditions.any(|condition| condition.kind == "ScalingActive" && condition.status == "True")
    }
}

/// The kind.
pub(super) fn kind() -> Kind {
    Kind::new("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true)
}

/// What it will ask of us, in the order of its metrics. Left out is what the controller has not read: the metrics of one whose
/// workload does not exist are never read, and who may write one would have as many queries sent as he likes. A metric that the
/// controller refuses is none.
pub(super) fn expected(autoscaler: Listed) -> Expected {
    let Listed { metadata, spec, status, .. } = autoscaler;
    let namespace: Arc<str> = Arc::from(metadata.namespace);
    let is_active = status.is_active();
    let replicas = usize::try_from(status.current_replicas.unwrap_or_default()).unwrap_or_default();
    let expect = |asked| read_of(Arc::clone(&namespace), asked, replicas);
    let read = status.current_metrics.unwrap_or_default().into_iter();
    let read: HashSet<_> = read.filter_map(|metric| expect(read_last(metric)?)).collect();
    let mut expected = Expected::default();
    for new in spec.metrics.into_iter().filter_map(|metric| expect(asked(metric)?)) {
        if !is_active && !read.contains(&new) {
            expected.not_read += 1;
        } else if expected.reads.len() < MAX_OF_AUTOSCALER {
            expected.reads.push(new);
        } else {
            expected.over_limit += 1;
        }
    }
    expected
}

/// The read of a metric of an autoscaler in a namespace, whose number of pods does not matter; `None` where [`expected`] has none.
pub(super) fn asked_in(namespace: &str, metric: MetricSpec) -> Option<ExpectedRead> {
    read_of(Arc::from(namespace), asked(metric)?, 0)
}

fn read_of(
    namespace: Arc<str>,
    (identifier, source): (MetricIdentifier, MetricSource),
    replicas: usize,
) -> Option<ExpectedRead> {
    let selector = selector(identifier.selector)?;
    Some(ExpectedRead { namespace, metric: identifier.name, selector, source, replicas })
}

/// The read of a metric; `None` for resource metrics, which have an API of their own.
fn asked(metric: MetricSpec) -> Option<(MetricIdentifier, MetricSource)> {
    match metric {
        MetricSpec { pods: Some(pods), .. } => Some((pods.metric, MetricSource::Pods)),
        MetricSpec { object: Some(object), .. } => {
            Some((object.metric, described(object.described_object)))
        }
        MetricSpec { external: Some(external), .. } => {
            Some((external.metric, MetricSource::External))
        }
        _ => None,
    }
}

/// What was asked of us for a metric that has been read.
fn read_last(metric: MetricStatus) -> Option<(MetricIdentifier, MetricSource)> {
    match metric {
        MetricStatus { pods: Some(pods), .. } => Some((pods.metric, MetricSource::Pods)),
        MetricStatus { object: Some(object), .. } => {
            Some((object.metric, described(object.described_object)))
        }
        MetricStatus { external: Some(external), .. } => {
            Some((external.metric, MetricSource::External))
        }
        _ => None,
    }
}

fn described(object: CrossVersionObjectReference) -> MetricSource {
    let CrossVersionObjectReference { api_version, kind, name } = object;
    MetricSource::Object { api_version: api_version.unwrap_or_default(), kind, name }
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

    fn of(autoscaler: serde_json::Value) -> Expected {
        expected(serde_json::from_value(autoscaler).unwrap())
    }

    /// The conditions of one whose metrics are read.
    fn active() -> serde_json::Value {
        json!([{"type": "ScalingActive", "status": "True"}])
    }

    #[test]
    fn every_metric_but_resources_is_expected() {
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
            "status": {
                "currentReplicas": 3, "desiredReplicas": 3,
                "currentMetrics": null, "conditions": active(),
            },
        });
        let read = |metric: &str, selector: &str, source| ExpectedRead {
            namespace: "team".into(),
            metric: metric.to_owned(),
            selector: Selector::parse(selector).unwrap(),
            source,
            replicas: 3,
        };
        let object = MetricSource::Object {
            api_version: "networking.k8s.io/v1".to_owned(),
            kind: "Ingress".to_owned(),
            name: "shop".to_owned(),
        };
        assert_eq!(
            of(autoscaler).reads,
            [
                read("rate", "code=,!debug,method=get,path notin (a,b),zone", MetricSource::Pods),
                read("hits", "", object),
                read("queue", "queue in (jobs)", MetricSource::External),
            ]
        );
    }

    #[test]
    fn a_new_one_has_no_replicas_and_maybe_no_metrics() {
        let autoscaler = json!({"metadata": {"name": "web", "namespace": "team"}, "spec": {}});
        assert_eq!(of(autoscaler), Expected::default());
    }

    #[test]
    fn only_what_the_controller_has_read_is_expected() {
        let external = |queue: &str| json!({"metric": {"name": "queue", "selector": {"matchLabels": {"queue": queue}}}});
        let described = json!({"apiVersion": "v1", "kind": "Service", "name": "web"});
        let object = json!({"metric": {"name": "hits"}, "describedObject": described});
        let pods = json!({"metric": {"name": "rate"}});
        let metrics = json!([
            {"type": "External", "external": external("a")},
            {"type": "External", "external": external("b")},
            {"type": "Object", "object": object},
            {"type": "Pods", "pods": pods},
            {"type": "Resource", "resource": {"name": "cpu"}},
        ]);
        let inactive = json!([
            {"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": "False"},
        ]);
        let one = json!([
            {"type": ""}, {"type": "External", "external": external("b")},
            {"type": "Resource", "resource": {"name": "cpu"}},
        ]);
        let all = json!([
            {"type": "External", "external": external("a")}, {"type": "External", "external": external("b")},
            {"type": "Object", "object": object}, {"type": "Pods", "pods": pods},
        ]);
        for (status, read) in [
            (json!({}), vec![]),
            (json!({"currentMetrics": null, "conditions": null}), vec![]),
            (json!({"conditions": inactive}), vec![]),
            (json!({"conditions": inactive, "currentMetrics": one}), vec![1]),
            (json!({"conditions": inactive, "currentMetrics": all}), vec![0, 1, 2, 3]),
            (json!({"conditions": active(), "currentMetrics": one}), vec![0, 1, 2, 3]),
        ] {
            let everything = of(json!({
                "metadata": {"name": "web", "namespace": "team"}, "spec": {"metrics": metrics},
                "status": {"conditions": active()},
            }));
            let expected = of(json!({
                "metadata": {"name": "web", "namespace": "team"}, "spec": {"metrics": metrics},
                "status": status,
            }));
            let read: Vec<_> =
                read.into_iter().map(|at: usize| everything.reads[at].clone()).collect();
            assert_eq!(expected.not_read, 4 - read.len(), "{status}");
            assert_eq!(expected.reads, read, "{status}");
        }
    }

    #[test]
    fn the_first_metrics_of_one_count() {
        let metrics = |range: std::ops::Range<usize>| {
            let metric = |at: usize| {
                let name = at.to_string();
                json!({"type": "External", "external": {"metric": {"name": name}}})
            };
            range.map(metric).collect::<Vec<_>>()
        };
        let expected = of(json!({
            "metadata": {"name": "web", "namespace": "team"},
            "spec": {"metrics": metrics(0..100)},
            "status": {"currentMetrics": metrics(10..100)},
        }));
        let names = expected.reads.iter().map(|read| read.metric.parse().unwrap());
        assert_eq!(names.collect::<Vec<usize>>(), (10..10 + MAX_OF_AUTOSCALER).collect::<Vec<_>>());
        assert_eq!((expected.not_read, expected.over_limit), (10, 90 - MAX_OF_AUTOSCALER));
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
