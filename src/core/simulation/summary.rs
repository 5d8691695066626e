//! What a simulation amounts to: a row of the table, and what to be warned of.

use std::fmt;

use serde::Serialize;

use super::{Change, Model, SYNC_MS, Timeline};
use crate::core::{
    autoscaler::{Source, Spec, Target},
    excerpt::{NAME, excerpt},
    explain::hpa::compounds,
};

/// A change of replicas is a flap if it reverses the change before within this time, in milliseconds.
pub const FLAP_MS: i64 = 10 * 60 * 1000;

/// So many flaps in a day are worth a warning.
const MANY_FLAPS_A_DAY: f64 = 4.0;

/// A simulation in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The sum of the replicas over time, in hours.
    pub replica_hours: f64,
    /// The fewest replicas.
    pub fewest: i32,
    /// The most replicas.
    pub most: i32,
    /// How often replicas were added.
    pub ups: usize,
    /// How often replicas were removed.
    pub downs: usize,
    /// The time in which a metric was above its target by more than the tolerance, in minutes.
    pub minutes_above_target: f64,
    /// The time with `maxReplicas`, in minutes.
    pub minutes_at_maximum: f64,
    /// The time in which metrics could not be read, so that nothing was decided, in minutes.
    pub minutes_unreadable: f64,
    /// How many changes reversed the one before within [`FLAP_MS`].
    pub flaps: usize,
}

impl Summary {
    /// The numbers of a simulation.
    pub fn of(spec: &Spec, timeline: &Timeline) -> Self {
        let syncs = &timeline.syncs;
        let replicas = || syncs.iter().map(|sync| sync.replicas);
        let minutes = |is: &dyn Fn(&super::Sync) -> bool| {
            minutes(syncs.iter().filter(|sync| is(sync)).count())
        };
        let changes = &timeline.changes;
        let ups = changes.iter().filter(|change| change.to > change.from).count();
        Self {
            replica_hours: replicas().map(f64::from).sum::<f64>() * minutes_of_sync() / 60.0,
            fewest: replicas().min().unwrap_or_default(),
            most: replicas().max().unwrap_or_default(),
            ups,
            downs: changes.len() - ups,
            minutes_above_target: minutes(&|sync| sync.ratio > 1.0 + spec.tolerance_up),
            minutes_at_maximum: minutes(&|sync| sync.replicas == spec.max_replicas),
            minutes_unreadable: minutes(&|sync| sync.is_unreadable),
            flaps: changes.windows(2).filter(|pair| is_flap(pair)).count(),
        }
    }
}

fn is_flap(pair: &[Change]) -> bool {
    let [before, after] = pair else { return false };
    let is_up = |change: &Change| change.to > change.from;
    is_up(before) != is_up(after) && after.at_ms - before.at_ms < FLAP_MS
}

/// What to be warned of.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// A metric was never above its target.
    NeverAbove(String),
    /// A metric was above its target whenever it had a value.
    AlwaysAbove(String),
    /// There were many flaps.
    Flaps(usize),
    /// A `Value` does not depend on the pods: the number of replicas compounds.
    Compounds(String),
    /// There were no replicas, and no metric that has values without them. In minutes.
    Disabled(f64),
    /// Metrics could not be read. In minutes.
    Unreadable(f64),
}

impl Finding {
    /// What to be warned of in a simulation. The models and queries are those of the metrics, in the order of the spec.
    pub fn all(
        spec: &Spec,
        models: &[(Model, &str)],
        timeline: &Timeline,
        summary: &Summary,
    ) -> Vec<Self> {
        let mut findings = Vec::new();
        let limit = 1.0 + spec.tolerance_up;
        for ((metric, (model, query)), ratios) in
            spec.metrics.iter().zip(models).zip(&timeline.ratios)
        {
            let name = || metric.name().unwrap_or_else(|| metric.resource()).to_owned();
            let known = || ratios.iter().filter(|ratio| !ratio.is_nan());
            let above = known().filter(|ratio| **ratio > limit).count();
            let is_one = matches!(metric.source, Source::Object { .. } | Source::External { .. });
            if above == 0 && known().next().is_some() {
                findings.push(Self::NeverAbove(name()));
            } else if above > 0 && above == known().count() {
                findings.push(Self::AlwaysAbove(name()));
            }
            if above > 0
                && is_one
                && *model == Model::PerPod
                && matches!(metric.target, Target::Value(_))
                && compounds(metric.name().unwrap_or_default(), query)
            {
                findings.push(Self::Compounds(name()));
            }
        }
        let days = minutes(timeline.syncs.len()) / (24.0 * 60.0);
        if summary.flaps > 1 && as_float(summary.flaps) > MANY_FLAPS_A_DAY * days {
            findings.push(Self::Flaps(summary.flaps));
        }
        let disabled = timeline.syncs.iter().filter(|sync| sync.is_disabled).count();
        if disabled > 0 {
            findings.push(Self::Disabled(minutes(disabled)));
        }
        if summary.minutes_unreadable > 0.0 {
            findings.push(Self::Unreadable(summary.minutes_unreadable));
        }
        findings
    }

    /// A stable name for machine-readable output.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NeverAbove(_) => "never-above-target",
            Self::AlwaysAbove(_) => "always-above-target",
            Self::Flaps(_) => "flaps",
            Self::Compounds(_) => "value-compounds",
            Self::Disabled(_) => "disabled-at-zero",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverAbove(metric) => write!(
                f,
                "`{}` is never above its target: it adds no replicas. Compare the units, or lower the target",
                excerpt(metric, NAME)
            ),
            Self::AlwaysAbove(metric) => write!(
                f,
                "`{}` is always above its target: the replicas do not suffice. Raise the target or `maxReplicas`",
                excerpt(metric, NAME)
            ),
            Self::Flaps(count) => write!(
                f,
                "{count} flaps: changes that are reversed within {} minutes. Lengthen a stabilization window",
                FLAP_MS / 60_000
            ),
            Self::Compounds(metric) => write!(
                f,
                "`{}` does not fall as pods are added, and `type: Value` multiplies the pods by the ratio: the replicas compound. Use `AverageValue`; if the value does fall, `--model fixed` simulates that",
                excerpt(metric, NAME)
            ),
            Self::Disabled(minutes) => write!(
                f,
                "{minutes:.0} min at zero replicas, disabled: no metric has a value without pods. Add an Object or External metric"
            ),
            Self::Unreadable(minutes) => write!(
                f,
                "{minutes:.0} min without a decision: a metric has no value, and the replicas stay as they are"
            ),
        }
    }
}

fn minutes(syncs: usize) -> f64 {
    as_float(syncs) * minutes_of_sync()
}

#[expect(clippy::cast_precision_loss, reason = "a period is short")]
fn minutes_of_sync() -> f64 {
    SYNC_MS as f64 / 60_000.0
}

#[expect(clippy::cast_precision_loss, reason = "a count of synchronizations is small")]
fn as_float(count: usize) -> f64 {
    count as f64
}
