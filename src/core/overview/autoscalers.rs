//! HorizontalPodAutoscalers as the controller reports them: each metric against its target.

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};

use super::Shown;
use crate::core::quantity::parse_milli;

/// How many metrics of one autoscaler are shown.
const MOST_METRICS: usize = 8;

/// An autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalerRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it scales, as `Kind/name`.
    pub target: String,
    /// How many replicas there are.
    pub current: Option<i32>,
    /// How many it wants.
    pub desired: i32,
    /// The least and the most that it may want.
    pub limits: (i32, i32),
    /// Its metrics.
    pub metrics: Shown<MetricRow>,
    /// Why it does not scale, or is at a limit: the messages of its conditions.
    pub remarks: Vec<String>,
    /// Whether it cannot read its metrics, or cannot scale.
    pub is_failing: bool,
}

/// A metric of an autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    /// Its name, and whose it is.
    pub name: String,
    /// The value as the controller last read it.
    pub value: Option<String>,
    /// The target.
    pub target: String,
    /// The value as a part of the target, in thousandths.
    pub ratio_milli: Option<i64>,
}

impl AutoscalerRow {
    /// What is shown of an autoscaler.
    pub fn of(hpa: &HorizontalPodAutoscaler) -> Self {
        let HorizontalPodAutoscaler { metadata, spec, status } = hpa;
        let target = &spec.scale_target_ref;
        let read = status.as_ref().and_then(|status| status.current_metrics.as_ref());
        let metrics = spec.metrics.iter().flatten().filter_map(|metric| {
            let asked = Asked::of(metric)?;
            let value = read.iter().copied().flatten().find_map(|status| asked.value_in(status));
            Some(asked.row(value))
        });
        let mut remarks = Vec::new();
        let mut is_failing = false;
        for condition in status.iter().flat_map(|status| status.conditions.iter().flatten()) {
            let is_shown = match (condition.type_.as_str(), condition.status.as_str()) {
                ("AbleToScale" | "ScalingActive", "False") => {
                    is_failing = true;
                    true
                }
                ("ScalingLimited", "True") => true,
                _ => false,
            };
            let message = condition.message.as_deref().or(condition.reason.as_deref());
            remarks.extend(message.filter(|_| is_shown).map(str::to_owned));
        }
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            target: format!("{}/{}", target.kind, target.name),
            current: status.as_ref().and_then(|status| status.current_replicas),
            desired: status.as_ref().map_or(0, |status| status.desired_replicas),
            limits: (spec.min_replicas.unwrap_or(1), spec.max_replicas),
            metrics: Shown::first(metrics, MOST_METRICS),
            remarks,
            is_failing,
        }
    }
}

/// A metric as the spec has it.
#[derive(PartialEq)]
struct Asked<'a> {
    kind: &'static str,
    name: &'a str,
    /// The object or container.
    of: &'a str,
    target: &'a MetricTarget,
}

impl<'a> Asked<'a> {
    fn of(metric: &'a MetricSpec) -> Option<Self> {
        let (kind, name, of, target) = if let Some(it) = &metric.pods {
            ("pods", it.metric.name.as_str(), "", &it.target)
        } else if let Some(it) = &metric.object {
            ("object", it.metric.name.as_str(), it.described_object.name.as_str(), &it.target)
        } else if let Some(it) = &metric.external {
            ("external", it.metric.name.as_str(), "", &it.target)
        } else if let Some(it) = &metric.resource {
            ("resource", it.name.as_str(), "", &it.target)
        } else if let Some(it) = &metric.container_resource {
            ("container", it.name.as_str(), it.container.as_str(), &it.target)
        } else {
            return None;
        };
        Some(Self { kind, name, of, target })
    }

    /// The value, if it is this metric's.
    fn value_in<'s>(&self, status: &'s MetricStatus) -> Option<&'s MetricValueStatus> {
        let (kind, name, of, value) = if let Some(it) = &status.pods {
            ("pods", it.metric.name.as_str(), "", &it.current)
        } else if let Some(it) = &status.object {
            ("object", it.metric.name.as_str(), it.described_object.name.as_str(), &it.current)
        } else if let Some(it) = &status.external {
            ("external", it.metric.name.as_str(), "", &it.current)
        } else if let Some(it) = &status.resource {
            ("resource", it.name.as_str(), "", &it.current)
        } else if let Some(it) = &status.container_resource {
            ("container", it.name.as_str(), it.container.as_str(), &it.current)
        } else {
            return None;
        };
        ((kind, name, of) == (self.kind, self.name, self.of)).then_some(value)
    }

    fn row(&self, value: Option<&MetricValueStatus>) -> MetricRow {
        let Self { kind, name, of, target } = self;
        let name = match (*kind, of.is_empty()) {
            ("pods", _) => (*name).to_owned(),
            (kind, true) => format!("{name} ({kind})"),
            (kind, false) => format!("{name} ({kind} {of})"),
        };
        let quantity = |text: &str| parse_milli(text);
        let (wanted, has, in_milli) = if let Some(percent) = target.average_utilization {
            let has = value.and_then(|value| value.average_utilization);
            let milli = has.map(|has| (i64::from(has), i64::from(percent)));
            (format!("{percent}%"), has.map(|has| format!("{has}%")), milli)
        } else {
            let is_value = target.value.is_some() && target.average_value.is_none();
            let wanted = if is_value { &target.value } else { &target.average_value };
            let has = value.and_then(|it| {
                if is_value { it.value.as_ref() } else { it.average_value.as_ref() }
            });
            let milli = has.zip(wanted.as_ref());
            let milli =
                milli.and_then(|(has, wanted)| Some((quantity(&has.0)?, quantity(&wanted.0)?)));
            let wanted = wanted.as_ref().map_or_else(String::new, |wanted| wanted.0.clone());
            let wanted = if is_value { wanted } else { format!("{wanted} each") };
            (wanted, has.map(|has| has.0.clone()), milli)
        };
        let ratio_milli =
            in_milli.and_then(|(has, wanted)| has.checked_mul(1_000)?.checked_div(wanted));
        MetricRow { name, value: has, target: wanted, ratio_milli }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_metric_is_shown_against_its_target() {
        let hpa = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "maxReplicas": 9, "minReplicas": 2,
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "rate"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {"metric": {"name": "hits"}, "describedObject": {"kind": "Ingress", "name": "i"},
                        "target": {"type": "Value", "value": "2k"}}},
                    {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "0"}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                    {"type": "Nothing"},
                ],
            },
            "status": {
                "currentReplicas": 3, "desiredReplicas": 4,
                "currentMetrics": [
                    {"type": ""},
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40}}},
                    {"type": "Object", "object": {"metric": {"name": "hits"}, "describedObject": {"kind": "Ingress", "name": "i"}, "current": {"value": "3k"}}},
                    {"type": "External", "external": {"metric": {"name": "queue"}, "current": {"averageValue": "5"}}},
                ],
                "conditions": [
                    {"type": "ScalingActive", "status": "False", "message": "no metrics"},
                    {"type": "AbleToScale", "status": "True", "message": "fine"},
                    {"type": "ScalingLimited", "status": "True", "reason": "TooFewReplicas"},
                ],
            },
        });
        let row = AutoscalerRow::of(&serde_json::from_value(hpa).unwrap());
        assert_eq!((row.current, row.desired, row.limits), (Some(3), 4, (2, 9)));
        assert_eq!(row.remarks, ["no metrics", "TooFewReplicas"]);
        assert!(row.is_failing);
        let metrics: Vec<_> = row
            .metrics
            .rows
            .iter()
            .map(|it| (it.name.as_str(), it.value.as_deref(), it.target.as_str(), it.ratio_milli))
            .collect();
        assert_eq!(
            metrics,
            [
                ("rate", None, "10 each", None),
                ("hits (object i)", Some("3k"), "2k", Some(1_500)),
                ("queue (external)", Some("5"), "0 each", None),
                ("cpu (resource)", Some("40%"), "80%", Some(500)),
            ]
        );
    }
}
