//! What an autoscaler says, and what it makes of its metrics.

mod document;
pub mod zero;

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde::{Deserialize, Serialize};

use super::{
    Cause, Outcome, OutcomeMetric, Step, name,
    workload::{OwnedPod, Workload},
};
use crate::core::{
    autoscaler::{
        Basis, Current, Decision, History, Limit, Metric, Pod, PodSample, Reading, Situation,
        Source, Spec, Target,
    },
    quantity::Decimal,
};

pub use document::spec;

/// What a metric's name ends with when it falls as pods are added: a time, a share, or what waits.
const FALLS: [&str; 22] = [
    "seconds",
    "milliseconds",
    "latency",
    "duration",
    "ratio",
    "percent",
    "utilization",
    "utilisation",
    "usage",
    "backlog",
    "queue",
    "depth",
    "lag",
    "pending",
    "waiting",
    "quantile",
    "p50",
    "p90",
    "p95",
    "p99",
    "length",
    "age",
];

/// What is in a metric's name when it is the whole work of all pods, however many they are.
const TOTALS: [&str; 10] = [
    "sessions",
    "connections",
    "users",
    "clients",
    "requests",
    "rps",
    "qps",
    "throughput",
    "bandwidth",
    "orders",
];

/// What is in a metric's name when it says how many pods are wanted.
const WANTS: [&str; 7] =
    ["replicas", "desired", "wanted", "needed", "pods", "workers", "instances"];

/// A value that is never more than this part of its target does not come near it; the second one counts where the history is
/// short, and leaves only units as an explanation.
const NEAR: [f64; 2] = [0.1, 0.01];

/// A metric of an autoscaler, as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The values: by object, or by the labels of an external value, in thousandths; or why there are none.
    pub values: Result<Vec<(String, i64)>, String>,
    /// The query, where it is known.
    pub query: String,
    /// What the query has returned within a day, where that is known.
    pub history: Option<PastDay>,
    /// The pods that all series behind the query are of; empty where some are of none, and where that is not known.
    pub pods: Vec<String>,
    /// Of usage: when that of each pod was measured, where that is known.
    pub measured: BTreeMap<String, Measured>,
}

/// When usage was measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Measured {
    /// The end of the window, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The window in milliseconds.
    pub window_ms: i64,
}

impl Found {
    /// A metric without values, and why.
    pub fn missing(why: impl Into<String>) -> Self {
        Self::new(Err(why.into()), String::new(), None)
    }

    /// A metric that is not usage, and whose pods are not known.
    pub fn new(
        values: Result<Vec<(String, i64)>, String>,
        query: String,
        history: Option<PastDay>,
    ) -> Self {
        Self { values, query, history, pods: Vec::new(), measured: BTreeMap::new() }
    }
}

/// What a query has returned within a day, in steps.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct PastDay {
    /// The largest value of one object.
    pub highest: f64,
    /// The smallest value of one object, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest: Option<f64>,
    /// At how many steps there was a value.
    pub steps: f64,
}

impl PastDay {
    /// The time from step to step in seconds.
    pub const STEP_S: u32 = 300;

    /// Whether it covers so much time that it shows what the metric usually is.
    fn is_long(self) -> bool {
        self.steps * f64::from(Self::STEP_S) >= 6.0 * 3600.0
    }
}

/// What can be said of a metric and its target before anything is computed.
pub fn target_steps(metric: &Metric, found: &Found) -> Vec<Step> {
    let Some(metric_name) = metric.name() else { return Vec::new() };
    let mut steps = Vec::new();
    if matches!(metric.target, Target::Value(_)) && compounds(metric_name, &found.query) {
        let seen = format!(
            "`type: Value` multiplies the ready pods by the ratio, and `{metric_name}` does not fall as pods are added: the number of replicas compounds"
        );
        let advice = "use `type: AverageValue`, which divides the value by the pods";
        steps.push(Step::found(name::HPA, Cause::HpaValueCompounds, seen, advice));
    }
    if let Some((seen, advice)) = unreachable(metric_name, metric.target, found) {
        steps.push(Step::found(name::HPA, Cause::HpaTargetUnreachable, seen, advice));
    }
    steps
}

/// A utilization is relative to what pods request: the pod that requests nothing, if there is one.
pub fn request_step(metric: &Metric, pods: &[OwnedPod]) -> Option<Step> {
    let Source::Resource { resource, container } = &metric.source else { return None };
    let Target::Utilization(_) = metric.target else { return None };
    let why = pods.iter().find_map(|owned| owned.pod.request(resource, container.as_deref()).err());
    let advice = format!(
        "set `resources.requests.{resource}` of the container in the template of the pods, or use `averageValue` as the target"
    );
    let seen = format!("{}, and a utilization is relative to requests", why?);
    Some(Step::found(name::TARGET, Cause::HpaRequestMissing, seen, advice))
}

fn words(name: &str) -> Vec<String> {
    name.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect()
}

/// Whether the ratio of the value to its target stays as it is, or grows, as pods are added.
pub fn compounds(metric: &str, query: &str) -> bool {
    let words = words(metric);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if has(&FALLS) {
        return false;
    }
    if has(&WANTS) {
        return true;
    }
    // A value of a matcher may contain anything.
    let query: String = query.to_lowercase().split('"').step_by(2).collect();
    let is_shared = query.contains("avg") || query.contains("quantile") || query.contains('/');
    let is_rate = query.contains("rate(") || query.contains("increase(");
    (is_rate || has(&TOTALS)) && !is_shared
}

/// Why the value never comes near its target, if it does not, and what to do.
fn unreachable(metric: &str, target: Target, found: &Found) -> Option<(String, String)> {
    let (Target::Value(milli) | Target::AverageValue(milli)) = target else { return None };
    let words = words(metric);
    let is_ratio = words.last().is_some_and(|last| last == "ratio");
    let is_percent = words.last().is_some_and(|last| last == "percent");
    let shown = Decimal(milli);
    if is_ratio && milli > 1_000 {
        let seen = format!("`{metric}` is a ratio, at most 1, and its target is {shown}");
        return Some((seen, format!("write the target as a part of one: {}m", milli / 100)));
    }
    if is_percent && milli > 100_000 {
        let seen = format!("`{metric}` is a percentage, at most 100, and its target is {shown}");
        return Some((seen, "write a target of at most 100".to_owned()));
    }
    if is_percent && milli < 1_000 {
        let seen = format!("`{metric}` is a percentage, and its target is {shown}");
        return Some((
            seen,
            format!("write the target in percent: {}", Decimal(milli.saturating_mul(100))),
        ));
    }
    let target = as_float(milli) / 1000.0;
    let values = found.values.iter().flatten().map(|(_, milli)| as_float(*milli) / 1000.0);
    let history = found.history;
    let highest = values.fold(history.map_or(0.0, |day| day.highest), f64::max);
    let [long, short] = NEAR;
    let near = if history.is_some_and(PastDay::is_long) { long } else { short };
    if highest > 0.0 && highest < target * near {
        let seen = format!(
            "the highest value of the last day is {highest:.3}, and the target is {shown}: it never comes near"
        );
        let advice = if words.iter().any(|word| word == "seconds") {
            "compare the units: the metric is in seconds"
        } else {
            "compare the units of the metric and of the target"
        };
        return Some((seen, advice.to_owned()));
    }
    None
}

/// What the autoscaler decides, and from what.
pub fn decide(
    spec: &Spec,
    hpa: &HorizontalPodAutoscaler,
    workload: Option<&Workload>,
    pods: &[OwnedPod],
    found: &[Found],
    now_ms: i64,
) -> (Outcome, Vec<Step>) {
    let readings: Vec<_> = spec
        .metrics
        .iter()
        .zip(found)
        .map(|(metric, found)| reading(metric, found, now_ms))
        .collect();
    let pods: Vec<Pod> = pods.iter().map(|owned| owned.pod.clone()).collect();
    let conditions = hpa.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_scaled_to_zero = match conditions {
        Some(conditions) => conditions
            .iter()
            .any(|condition| condition.type_ == "ScaledToZero" && condition.status == "True"),
        None => spec.min_replicas == 0,
    };
    let Some(workload) = workload else {
        let metrics = spec.metrics.iter().map(|metric| outcome(metric, None, false)).collect();
        let outcome = Outcome { current: None, desired: None, metrics, limited_by: None };
        return (
            outcome,
            vec![Step::unknown(name::DECISION, "the number of replicas is not known")],
        );
    };
    let situation = Situation {
        now_ms,
        scale: workload.scale,
        pods: &pods,
        readings: &readings,
        is_scaled_to_zero,
    };
    let decision = spec.decide(&mut History::default(), situation);
    let leader = match decision.basis {
        Basis::Metrics { metric, .. } => Some(metric),
        Basis::OutOfBounds | Basis::Disabled | Basis::Unreadable => None,
    };
    let metrics = spec.metrics.iter().enumerate();
    let metrics =
        metrics.map(|(at, metric)| outcome(metric, decision.proposals.get(at), leader == Some(at)));
    let metrics = metrics.collect();
    let outcome = Outcome {
        current: Some(decision.current),
        desired: Some(decision.desired),
        metrics,
        limited_by: decision.limit.map(Limit::code),
    };
    (outcome, vec![conclusion(spec, &decision)])
}

fn conclusion(spec: &Spec, decision: &Decision) -> Step {
    let Decision { current, desired, .. } = *decision;
    let replicas = format!("{current} replicas now, {desired} desired");
    match decision.basis {
        Basis::Unreadable => {
            let first = decision.proposals.iter().find_map(|proposal| proposal.as_ref().err());
            let why = first.map_or(String::new(), |why| format!(": {why}"));
            Step::unknown(
                name::DECISION,
                format!("{replicas}, because metrics cannot be read{why}"),
            )
        }
        Basis::Disabled => Step::unknown(
            name::DECISION,
            "the workload was scaled to zero by somebody else, so the autoscaler leaves it alone",
        ),
        Basis::OutOfBounds => {
            Step::good(name::DECISION, format!("{replicas}, to be within its limits"))
        }
        Basis::Metrics { recommended, metric } => {
            let by = leading(spec, decision, metric);
            let seen = format!("{replicas}; the metrics recommend {recommended}{by}");
            let limited =
                |cause, advice: &str| Step::found(name::DECISION, cause, seen.clone(), advice);
            match decision.limit {
                Some(Limit::MaxReplicas) => limited(
                    Cause::HpaAtLimit,
                    &format!(
                        "it is held at `maxReplicas: {}`: raise it if more pods help",
                        spec.max_replicas
                    ),
                ),
                Some(Limit::MinReplicas) => limited(
                    Cause::HpaAtLimit,
                    &format!("it is held at `minReplicas: {}`", spec.min_replicas),
                ),
                Some(Limit::Stabilization) => limited(
                    Cause::HpaStabilizing,
                    "it waits for the stabilization window: `behavior.scaleDown.stabilizationWindowSeconds`, 300 by default",
                ),
                Some(Limit::ScaleUpRate | Limit::ScaleDownRate) => Step::good(
                    name::DECISION,
                    format!("{seen}; the policies of `behavior` allow no faster change"),
                ),
                None if decision.is_within_tolerance() && desired == current => limited(
                    Cause::HpaWithinTolerance,
                    "nothing changes while the value is within the tolerance of its target, 10 % by default",
                ),
                None => Step::good(name::DECISION, seen),
            }
        }
    }
}

/// Which of several metrics leads, as a part of a sentence, and what the others ask for.
fn leading(spec: &Spec, decision: &Decision, leader: usize) -> String {
    let Some(metric) = spec.metrics.get(leader).filter(|_| spec.metrics.len() > 1) else {
        return String::new();
    };
    let others = spec.metrics.iter().zip(&decision.proposals).enumerate();
    let others = others.filter(|(at, _)| *at != leader).map(|(_, (metric, proposal))| {
        let number = match proposal {
            Ok(proposal) => proposal.replicas.to_string(),
            Err(_) => "nothing".to_owned(),
        };
        format!("{} {number}", called(metric))
    });
    let others: Vec<String> = others.collect();
    format!(", by {} ({})", called(metric), others.join(", "))
}

/// The name of a metric, or of the resource whose usage it is.
fn called(metric: &Metric) -> &str {
    metric.name().unwrap_or_else(|| metric.resource())
}

fn reading(metric: &Metric, found: &Found, now_ms: i64) -> Result<Reading, String> {
    let values = found.values.as_ref().map_err(Clone::clone)?;
    match metric.source {
        Source::Pods { .. } | Source::Resource { .. } => {
            let sample = |(name, milli): &(String, i64)| {
                let now = Measured { at_ms: now_ms, window_ms: 0 };
                let Measured { at_ms, window_ms } =
                    found.measured.get(name).copied().unwrap_or(now);
                (name.clone(), PodSample { milli: *milli, at_ms, window_ms })
            };
            let samples: BTreeMap<_, _> = values.iter().map(sample).collect();
            Ok(Reading::Pods(samples))
        }
        Source::Object { .. } | Source::External { .. } => {
            if values.is_empty() {
                return Err("no value".to_owned());
            }
            let sum = values.iter().fold(0_i64, |sum, (_, milli)| sum.saturating_add(*milli));
            Ok(Reading::Value(sum))
        }
    }
}

fn outcome(
    metric: &Metric,
    proposal: Option<&Result<crate::core::autoscaler::Proposal, String>>,
    leads: bool,
) -> OutcomeMetric {
    let proposal = proposal.and_then(|proposal| proposal.as_ref().ok());
    let value = proposal.map(|proposal| match proposal.current {
        Current::Value(milli) | Current::Average(milli) => Decimal(milli).to_string(),
        Current::Utilization { percent, .. } => format!("{percent}%"),
    });
    OutcomeMetric {
        name: called(metric).to_owned(),
        value,
        target: match metric.target {
            Target::Value(milli) | Target::AverageValue(milli) => Decimal(milli).to_string(),
            Target::Utilization(percent) => format!("{percent}%"),
        },
        ratio: proposal.map(|proposal| proposal.ratio).filter(|ratio| ratio.is_finite()),
        replicas: proposal.map(|proposal| proposal.replicas),
        leads,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a value for people")]
fn as_float(milli: i64) -> f64 {
    milli as f64
}

impl Metric {
    /// The name of a metric of the custom or external metrics API.
    pub fn name(&self) -> Option<&str> {
        match &self.source {
            Source::Pods { metric, .. }
            | Source::Object { metric, .. }
            | Source::External { metric, .. } => Some(metric),
            Source::Resource { .. } => None,
        }
    }

    /// The resource of a metric of the resource metrics API; empty for others.
    pub fn resource(&self) -> &str {
        match &self.source {
            Source::Resource { resource, .. } => resource,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_fall_as_pods_are_added_compound() {
        for (metric, query, wanted) in [
            ("worker_pods_needed", "worker_pods_needed", true),
            ("http_requests_per_second", r#"sum(rate(http_requests_total{path="/a"}[2m]))"#, true),
            ("active_sessions", "sum(active_sessions)", true),
            ("active_sessions", "avg(active_sessions)", false),
            ("sessions_per_pod", "sum(sessions) / count(up)", false),
            ("queue_depth", "sum(queue_depth)", false),
            ("num_requests_waiting", "sum(num_requests_waiting)", false),
            (
                "request_duration_seconds",
                "histogram_quantile(0.9, sum(rate(x[2m])) by (le))",
                false,
            ),
        ] {
            assert_eq!(compounds(metric, query), wanted, "{metric} {query}");
        }
    }
}
