//! The spec of a `HorizontalPodAutoscaler`, with the defaults of the API server.

use k8s_openapi::{
    api::autoscaling::v2::{self, HorizontalPodAutoscaler, MetricSpec, MetricTarget},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1},
};

use super::behavior::Behavior;
use crate::core::quantity::{parse_milli_rounded_up, parse_nano};

/// The default of `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;

/// The spec of a `HorizontalPodAutoscaler`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// `minReplicas`.
    pub min_replicas: i32,
    /// `maxReplicas`.
    pub max_replicas: i32,
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// `behavior`. None means the default rates and window of the controller.
    pub behavior: Option<Behavior>,
    /// The ratio to the target may exceed 1 by so much without a change.
    pub tolerance_up: f64,
    /// The ratio to the target may fall below 1 by so much without a change.
    pub tolerance_down: f64,
}

/// A metric and its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The source of its values.
    pub source: Source,
    /// The target.
    pub target: Target,
}

/// The source of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// custom.metrics.k8s.io, for the pods of the workload.
    Pods {
        /// The metric's name.
        metric: String,
        /// The selector of its series.
        selector: Option<v1::LabelSelector>,
    },
    /// custom.metrics.k8s.io, for one object.
    Object {
        /// The object.
        object: v2::CrossVersionObjectReference,
        /// The metric's name.
        metric: String,
        /// The selector of its series.
        selector: Option<v1::LabelSelector>,
    },
    /// external.metrics.k8s.io.
    External {
        /// The metric's name.
        metric: String,
        /// The selector of its series.
        selector: Option<v1::LabelSelector>,
    },
    /// metrics.k8s.io, for whole pods or for one container.
    Resource {
        /// `cpu` or `memory`.
        resource: String,
        /// The container. None means the whole pod.
        container: Option<String>,
    },
}

/// The target of a metric. Quantities are in thousandths, and positive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// `value`.
    Value(i64),
    /// `averageValue`.
    AverageValue(i64),
    /// `averageUtilization`: usage in percent of the requests.
    Utilization(i32),
}

/// Why a spec is invalid. The API server rejects it too.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SpecError {
    /// The field.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Spec {
    /// Converts an autoscaler of the API. Fails if nothing can be computed from it. [`super::problems`] names all that the API server
    /// refuses.
    pub fn read(hpa: &HorizontalPodAutoscaler) -> Result<Self, SpecError> {
        let spec = &hpa.spec;
        let metrics = spec.metrics.iter().flatten().enumerate();
        let mut metrics = metrics
            .map(|(index, metric)| read_metric(&format!("spec.metrics[{index}]"), metric))
            .collect::<Result<Vec<_>, _>>()?;
        if metrics.is_empty() {
            // The default of the API server.
            let source = Source::Resource { resource: "cpu".to_owned(), container: None };
            metrics.push(Metric { source, target: Target::Utilization(80) });
        }
        let min_replicas = spec.min_replicas.unwrap_or(1);
        if spec.max_replicas < 1 || spec.max_replicas < min_replicas {
            return Err(error(
                "spec.maxReplicas",
                "must be at least 1, and at least `minReplicas`",
            ));
        }
        let behavior = spec.behavior.as_ref();
        let tolerance = |rules: Option<&v2::HPAScalingRules>| {
            let written = rules.and_then(|rules| rules.tolerance.as_ref());
            written.and_then(|written| parse_nano(&written.0)).map_or(TOLERANCE, part)
        };
        Ok(Self {
            min_replicas,
            max_replicas: spec.max_replicas,
            metrics,
            tolerance_up: tolerance(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
            tolerance_down: tolerance(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
            behavior: behavior.map(Behavior::read),
        })
    }

    /// Whether a ratio to the target is within the tolerance.
    pub(super) fn tolerates(&self, ratio: f64) -> bool {
        1.0 - self.tolerance_down <= ratio && ratio <= 1.0 + self.tolerance_up
    }
}

#[expect(clippy::cast_precision_loss, reason = "tolerances are small")]
fn part(nano: i128) -> f64 {
    nano as f64 / 1e9
}

fn error(path: &str, problem: &str) -> SpecError {
    SpecError { path: path.to_owned(), problem: problem.to_owned() }
}

fn read_metric(path: &str, metric: &MetricSpec) -> Result<Metric, SpecError> {
    let (field, source, target) = source(metric)
        .ok_or_else(|| error(path, &format!("has no source for its type `{}`", metric.type_)))?;
    let path = format!("{path}.{field}.target");
    let quantity = |name: &str, quantity: &Quantity| {
        parse_milli_rounded_up(&quantity.0)
            .filter(|milli| *milli > 0)
            .ok_or_else(|| error(&format!("{path}.{name}"), "must be a positive quantity"))
    };
    let MetricTarget { value, average_value, average_utilization, type_ } = target;
    let value = value.as_ref().map(|value| quantity("value", value)).transpose()?;
    let average = average_value.as_ref().map(|it| quantity("averageValue", it)).transpose()?;
    let target = match source {
        Source::Pods { .. } => average.map(Target::AverageValue),
        // The only source for which the controller uses `type`.
        Source::Object { .. } => match type_.as_str() {
            "Value" => value.map(Target::Value),
            _ => average.map(Target::AverageValue),
        },
        Source::External { .. } => average.map(Target::AverageValue).or(value.map(Target::Value)),
        Source::Resource { .. } => {
            average.map(Target::AverageValue).or(average_utilization.map(Target::Utilization))
        }
    };
    if average_utilization.is_some_and(|percent| percent < 1) {
        return Err(error(&format!("{path}.averageUtilization"), "must be greater than 0"));
    }
    let target = target.ok_or_else(|| error(&path, "has no value that its source can use"))?;
    Ok(Metric { source, target })
}

/// The field of the source, the source, and its target.
fn source(metric: &MetricSpec) -> Option<(&'static str, Source, &MetricTarget)> {
    Some(match metric.type_.as_str() {
        "Pods" => {
            let v2::PodsMetricSource { metric, target } = metric.pods.as_ref()?;
            let (metric, selector) = (metric.name.clone(), metric.selector.clone());
            ("pods", Source::Pods { metric, selector }, target)
        }
        "Object" => {
            let v2::ObjectMetricSource { described_object, metric, target } =
                metric.object.as_ref()?;
            let (metric, selector) = (metric.name.clone(), metric.selector.clone());
            (
                "object",
                Source::Object { object: described_object.clone(), metric, selector },
                target,
            )
        }
        "External" => {
            let v2::ExternalMetricSource { metric, target } = metric.external.as_ref()?;
            let (metric, selector) = (metric.name.clone(), metric.selector.clone());
            ("external", Source::External { metric, selector }, target)
        }
        "Resource" => {
            let v2::ResourceMetricSource { name, target } = metric.resource.as_ref()?;
            ("resource", Source::Resource { resource: name.clone(), container: None }, target)
        }
        "ContainerResource" => {
            let v2::ContainerResourceMetricSource { name, container, target } =
                metric.container_resource.as_ref()?;
            let container = Some(container.clone());
            ("containerResource", Source::Resource { resource: name.clone(), container }, target)
        }
        _ => return None,
    })
}
