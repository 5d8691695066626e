//! The number of replicas that one metric proposes.

use std::collections::BTreeMap;

use super::{
    Situation,
    pods::{Groups, Pod, PodSample},
    spec::{Metric, Source, Spec, Target},
};

/// The values of a metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reading {
    /// Values by pod name.
    Pods(BTreeMap<String, PodSample>),
    /// One value, in thousandths: an object's, or the sum of an external metric's.
    Value(i64),
}

/// The current value as in the status of the autoscaler. Quantities are in thousandths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Current {
    /// The value as it is.
    Value(i64),
    /// The value for each pod.
    Average(i64),
    /// Usage in percent of what is requested, and its average for each pod.
    Utilization {
        /// In percent.
        percent: i32,
        /// For each pod.
        average: i64,
    },
}

/// The number of replicas that one metric proposes, and its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The replicas.
    pub replicas: i32,
    /// The current value.
    pub current: Current,
    /// Value divided by target, without pods whose values do not count.
    pub ratio: f64,
    /// The decisive ratio: with assumed values for the other pods.
    pub assumed_ratio: f64,
    /// Whether the ratio is within the tolerance, which keeps the replicas.
    pub is_within_tolerance: bool,
    /// The groups of pods. None if the metric is not about pods.
    pub groups: Option<Groups>,
}

/// The proposal of one metric. Fails if its values cannot be compared with its target.
pub(super) fn propose(
    spec: &Spec,
    metric: &Metric,
    reading: &Reading,
    situation: Situation<'_>,
) -> Result<Proposal, String> {
    match (&metric.source, reading) {
        (Source::Pods { .. }, Reading::Pods(samples)) => {
            let measure = Measure::new(metric.target, None, situation.pods)?;
            by_pods(spec, situation, samples.clone(), false, &measure)
        }
        (Source::Resource { resource, container }, Reading::Pods(samples)) => {
            let requested = Some((resource.as_str(), container.as_deref()));
            let measure = Measure::new(metric.target, requested, situation.pods)?;
            by_pods(spec, situation, samples.clone(), resource == "cpu", &measure)
        }
        // For this target, the controller treats a negative sum as an overflow.
        (Source::External { .. }, Reading::Value(..0))
            if matches!(metric.target, Target::AverageValue(_)) =>
        {
            by_value(spec, situation, i64::MAX, metric.target)
        }
        (Source::Object { .. } | Source::External { .. }, Reading::Value(value)) => {
            by_value(spec, situation, *value, metric.target)
        }
        _ => Err("the metric's answer does not fit its source".to_owned()),
    }
}

type Samples = BTreeMap<String, PodSample>;

/// How values of pods are compared with the target.
enum Measure {
    /// Average value per pod. The target is in thousandths.
    Average { target: i64 },
    /// Usage relative to requests. The target is in percent, the requests by pod name are in thousandths.
    Utilization { target: i32, requests: BTreeMap<String, i64> },
}

impl Measure {
    /// `requested`: the resource, and the container if it is about one container.
    fn new(
        target: Target,
        requested: Option<(&str, Option<&str>)>,
        pods: &[Pod],
    ) -> Result<Self, String> {
        match (target, requested) {
            (Target::AverageValue(target), _) => Ok(Self::Average { target }),
            (Target::Utilization(target), Some((resource, container))) => {
                let request = |pod: &Pod| Ok((pod.name.clone(), pod.request(resource, container)?));
                let requests = pods.iter().map(request).collect::<Result<_, String>>()?;
                Ok(Self::Utilization { target, requests })
            }
            _ => Err("the metric's target does not fit its source".to_owned()),
        }
    }

    /// The ratio of the values to the target. `samples` is not empty.
    fn ratio(&self, samples: &Samples) -> Result<(f64, Current), String> {
        match self {
            Self::Average { target } => {
                let sum = sum(samples.values().map(|sample| sample.milli));
                // A whole number of thousandths, as in the controller.
                let average = sum / count(samples.len());
                Ok((ratio(average, *target), Current::Average(average)))
            }
            Self::Utilization { target, requests } => {
                let known: Vec<_> = samples
                    .iter()
                    .filter_map(|(pod, sample)| Some((sample.milli, *requests.get(pod)?)))
                    .collect();
                let used = sum(known.iter().map(|(used, _)| *used));
                let requested = sum(known.iter().map(|(_, requested)| *requested));
                if requested == 0 {
                    return Err("no metrics returned matched known pods".to_owned());
                }
                let percent = wrapped(used.wrapping_mul(100).wrapping_div(requested));
                let average = used / count(known.len());
                let current = Current::Utilization { percent, average };
                Ok((f64::from(percent) / f64::from(*target), current))
            }
        }
    }

    /// The assumed value of a pod without one if the others are below the target: the target value, or 100 % of the request (or
    /// the target, if that is more).
    fn assumed(&self, pod: &str) -> i64 {
        match self {
            Self::Average { target } => *target,
            Self::Utilization { target, requests } => {
                let request = requests.get(pod).copied().unwrap_or_default();
                request.wrapping_mul(i64::from(*target.max(&100))) / 100
            }
        }
    }
}

const NO_PODS: &str = "no pods returned by selector while calculating replica count";

/// The proposal by values of pods. `is_cpu`: they are CPU usage.
fn by_pods(
    spec: &Spec,
    situation: Situation<'_>,
    mut samples: Samples,
    is_cpu: bool,
    measure: &Measure,
) -> Result<Proposal, String> {
    if situation.pods.is_empty() {
        return Err(NO_PODS.to_owned());
    }
    let groups = Groups::of(situation.pods, &samples, is_cpu, situation.now_ms);
    for pod in groups.ignored.iter().chain(&groups.unready) {
        samples.remove(pod);
    }
    if samples.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    let (ratio, current) = measure.ratio(&samples)?;
    let counts_unready = ratio > 1.0 && !groups.unready.is_empty();
    let is_whole = groups.missing.is_empty() && !counts_unready;
    let (assumed_ratio, pods) = if is_whole {
        (ratio, groups.ready)
    } else {
        assume(&mut samples, &groups, ratio, measure);
        (measure.ratio(&samples)?.0, samples.len())
    };
    let current_replicas = situation.scale.spec;
    let replicas = ceil(assumed_ratio * as_float(count(pods)));
    let is_within_tolerance = spec.tolerates(assumed_ratio);
    // Assumed values make a change smaller, but do not reverse it.
    let is_reversed = !is_whole
        && ((ratio < 1.0 && assumed_ratio > 1.0)
            || (ratio > 1.0 && assumed_ratio < 1.0)
            || (assumed_ratio < 1.0 && replicas > current_replicas)
            || (assumed_ratio > 1.0 && replicas < current_replicas));
    Ok(Proposal {
        replicas: if is_within_tolerance || is_reversed { current_replicas } else { replicas },
        current,
        ratio,
        assumed_ratio,
        is_within_tolerance,
        groups: Some(groups),
    })
}

/// Adds assumed values: above the target, unready pods and pods without a value count as idle. Below it, only pods without a value are
/// added.
fn assume(samples: &mut Samples, groups: &Groups, ratio: f64, measure: &Measure) {
    let idle = |pod: &String| (pod.clone(), PodSample::default());
    if ratio > 1.0 {
        samples.extend(groups.missing.iter().chain(&groups.unready).map(idle));
    } else if ratio < 1.0 {
        for pod in &groups.missing {
            let milli = measure.assumed(pod);
            samples.insert(pod.clone(), PodSample { milli, ..PodSample::default() });
        }
    }
}

/// The proposal by a single value: that of an object or of an external metric.
fn by_value(
    spec: &Spec,
    situation: Situation<'_>,
    value: i64,
    target: Target,
) -> Result<Proposal, String> {
    let Situation { scale, pods, .. } = situation;
    let (ratio, current, replicas, is_within_tolerance) = match target {
        Target::Value(target) => {
            let ratio = ratio(value, target);
            let is_tolerated = scale.spec != 0 && spec.tolerates(ratio);
            let replicas = if is_tolerated {
                scale.spec
            } else if scale.spec == 0 {
                ceil(ratio)
            } else if pods.is_empty() {
                return Err(NO_PODS.to_owned());
            } else {
                let ready = pods.iter().filter(|pod| pod.is_ready()).count();
                ceil(ratio * as_float(count(ready)))
            };
            (ratio, Current::Value(value), replicas, is_tolerated)
        }
        Target::AverageValue(target) => {
            let pods = f64::from(scale.status);
            let ratio = as_float(value) / (as_float(target) * pods);
            let is_tolerated = spec.tolerates(ratio);
            let replicas =
                if is_tolerated { scale.status } else { ceil(as_float(value) / as_float(target)) };
            // The status shows the whole value if there is nothing to divide by, or if it has overflowed.
            let is_whole = scale.status == 0 || value == i64::MAX;
            let average = if is_whole { value } else { ceil_milli(as_float(value) / pods) };
            (ratio, Current::Average(average), replicas, is_tolerated)
        }
        Target::Utilization(_) => {
            return Err("the metric's target does not fit its source".to_owned());
        }
    };
    let assumed_ratio = ratio;
    Ok(Proposal { replicas, current, ratio, assumed_ratio, is_within_tolerance, groups: None })
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The sum. It wraps around, as in Go.
fn sum(numbers: impl Iterator<Item = i64>) -> i64 {
    numbers.fold(0, i64::wrapping_add)
}

/// The lower 32 bits, as a conversion in Go.
#[expect(clippy::cast_possible_truncation, reason = "the controller truncates, too")]
fn wrapped(number: i64) -> i32 {
    number as i32
}

fn ratio(value: i64, target: i64) -> f64 {
    as_float(value) / as_float(target)
}

#[expect(clippy::cast_precision_loss, reason = "the controller computes in floats, too")]
fn as_float(number: i64) -> f64 {
    number as f64
}

/// Rounds up. NaN becomes 0, and too large numbers become the largest one.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn ceil(replicas: f64) -> i32 {
    replicas.ceil() as i32
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn ceil_milli(milli: f64) -> i64 {
    milli.ceil() as i64
}
