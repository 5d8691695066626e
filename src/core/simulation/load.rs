//! The recorded values of a metric, and what they would have been with another number of pods.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{pods::Pods, whole};
use crate::core::autoscaler::{Metric, PodSample, Reading, Source, Target};

/// How a value depends on the number of pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Model {
    /// The load is fixed: a total that the ready pods share.
    Fixed,
    /// Every pod has the recorded value, however many there are.
    PerPod,
}

impl Model {
    /// What is assumed where the user does not say it: an average divides a total; a `Value` is read as recorded.
    pub fn assumed(target: Target) -> Self {
        match target {
            Target::AverageValue(_) | Target::Utilization(_) => Self::Fixed,
            Target::Value(_) => Self::PerPod,
        }
    }

    /// What it means for a metric, as a sentence without its end.
    pub fn describe(self, metric: &Metric) -> &'static str {
        match (self, &metric.source, metric.target) {
            (Self::Fixed, Source::Pods { .. } | Source::Resource { .. }, _) => {
                "the sum over the recorded pods is the load, and the ready pods share it"
            }
            (Self::PerPod, Source::Pods { .. } | Source::Resource { .. }, _) => {
                "every pod has the recorded average, however many there are"
            }
            (Self::Fixed, _, Target::Value(_)) => {
                "the recorded value times the recorded replicas is the load, and the ready pods share it"
            }
            (Self::Fixed, ..) => {
                "the recorded value is the load, and the autoscaler divides it by the pods"
            }
            (Self::PerPod, _, Target::Value(_)) => {
                "the value is as recorded, however many pods there are"
            }
            (Self::PerPod, ..) => {
                "the recorded value divided by the recorded replicas is that of every pod"
            }
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed => "fixed",
            Self::PerPod => "per-pod",
        })
    }
}

/// The values of a metric at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// Their sum in thousandths.
    pub sum: i64,
    /// How many there are; positive.
    pub count: u32,
}

impl Recorded {
    /// The sum of values in thousandths; nothing where there are none.
    pub fn of(values: impl IntoIterator<Item = i64>) -> Option<Self> {
        let add = |all: Self, milli: i64| Self {
            sum: all.sum.saturating_add(milli),
            count: all.count.saturating_add(1),
        };
        let all = values.into_iter().fold(Self { sum: 0, count: 0 }, add);
        (all.count > 0).then_some(all)
    }
}

/// The recorded values of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// How they depend on the number of pods.
    pub model: Model,
    /// The values by step; nothing where there were none.
    pub values: Arc<[Option<Recorded>]>,
    /// The recorded replicas by step, where they are known. Where they are not, there was one.
    pub replicas: Option<Arc<[Option<f64>]>>,
}

impl Load {
    /// What the controller reads at a step with these pods.
    pub(super) fn reading(
        &self,
        metric: &Metric,
        step: usize,
        pods: &Pods,
        now_ms: i64,
    ) -> Result<Reading, String> {
        let recorded = self.values.get(step).copied().flatten();
        let recorded = recorded.ok_or_else(|| "no value was recorded".to_owned())?;
        if matches!(metric.source, Source::Pods { .. } | Source::Resource { .. }) {
            return Ok(Reading::Pods(self.samples(recorded, pods, now_ms)));
        }
        let known = self.replicas.as_ref().map(|known| known.get(step).copied().flatten());
        let known = match known {
            None => 1.0,
            Some(Some(known)) if known > 0.0 => known,
            Some(_) => return Err("the recorded replicas are not known".to_owned()),
        };
        let ready = as_float(whole(pods.ready().len()));
        let value = as_float(recorded.sum);
        Ok(Reading::Value(match (self.model, metric.target) {
            (Model::Fixed, Target::Value(_)) => rounded(value * known / ready.max(1.0)),
            (Model::PerPod, Target::AverageValue(_)) => rounded(value / known * ready),
            (Model::Fixed | Model::PerPod, _) => recorded.sum,
        }))
    }

    /// A value for each ready pod.
    fn samples(&self, recorded: Recorded, pods: &Pods, now_ms: i64) -> BTreeMap<String, PodSample> {
        let ready = whole(pods.ready().len()).max(1);
        let (each, rest) = match self.model {
            Model::Fixed => (recorded.sum.div_euclid(ready), recorded.sum.rem_euclid(ready)),
            Model::PerPod => (recorded.sum.div_euclid(i64::from(recorded.count.max(1))), 0),
        };
        let window_ms = pods.usage_window_ms;
        let sample = |(pod, at): (&crate::core::autoscaler::Pod, i64)| {
            let milli = each + i64::from(at < rest);
            (pod.name.clone(), PodSample { milli, at_ms: now_ms, window_ms })
        };
        pods.ready().iter().zip(0..).map(sample).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a part in 2^53 of a thousandth does not count")]
fn as_float(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn rounded(milli: f64) -> i64 {
    milli.round() as i64
}
