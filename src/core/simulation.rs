//! What an autoscaler would have done: the controller's algorithm, run over the history of its metrics.
//!
//! The decisions are those of [`autoscaler`](super::autoscaler). Simulated here is what surrounds them: a synchronization every
//! 15 s, pods that take time to become ready, and values that depend on the number of pods ([`Model`]).

mod load;
mod owner;
mod page;
mod plot;
mod pods;
mod report;
mod scale;
mod summary;
mod svg;
mod table;
mod texts;
mod variant;

pub use load::{Load, Model, Recorded};
pub use owner::Owner;
pub use page::page;
pub use plot::Canvas;
use pods::Pods;
pub use report::{MetricNote, Report, Run};
pub use summary::{FLAP_MS, Finding, Summary};
pub use variant::{Variant, VariantError};

use super::autoscaler::{Basis, History, Limit, Scale, Situation, Spec};

/// The default of `--horizontal-pod-autoscaler-sync-period`.
pub const SYNC_MS: i64 = 15_000;

/// The most replicas that are simulated: each pod is.
pub const MOST_REPLICAS: i32 = 10_000;

/// The most metrics of an autoscaler that are simulated.
pub const MOST_METRICS: usize = 10;

/// How much a simulation may take: values of pods that are compared with a target, over all synchronizations. So many take some
/// minutes.
pub const MOST_WORK: u64 = 2_000_000_000;

/// What simulations of one autoscaler may still take, and who is told how far they are.
pub struct Work<'p> {
    left: u64,
    synced: usize,
    syncs: usize,
    progress: &'p mut (dyn FnMut(usize, usize) + Send),
}

impl<'p> Work<'p> {
    /// Of so many simulations over a grid.
    pub fn new(
        runs: usize,
        grid: Grid,
        progress: &'p mut (dyn FnMut(usize, usize) + Send),
    ) -> Self {
        let syncs = grid.syncs().count().saturating_mul(runs);
        Self { left: MOST_WORK, synced: 0, syncs, progress }
    }

    /// Takes account of a synchronization with so many pods and metrics. Fails if that is too much.
    fn sync(&mut self, pods: usize, metrics: usize) -> Result<(), String> {
        let cost = u64::try_from(pods.saturating_mul(metrics).max(1)).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(cost).ok_or_else(|| {
            "it would take too long: simulate less time (--since), fewer variants, or fewer replicas (maxReplicas)".to_owned()
        })?;
        self.synced = self.synced.saturating_add(1);
        if self.synced.is_multiple_of(REPORTED) || self.synced == self.syncs {
            (self.progress)(self.synced, self.syncs);
        }
        Ok(())
    }
}

/// After how many synchronizations the progress is told.
const REPORTED: usize = 1_000;

/// The times of which values are known. A value holds until the next step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grid {
    /// The first time, in milliseconds since the epoch.
    pub start_ms: i64,
    /// The time from step to step, in milliseconds; positive.
    pub step_ms: i64,
    /// How many there are.
    pub steps: usize,
}

impl Grid {
    /// The times of the steps, in milliseconds since the epoch.
    pub fn times(self) -> impl ExactSizeIterator<Item = i64> {
        (0..self.steps).map(move |step| self.start_ms + whole(step) * self.step_ms)
    }

    /// The last time, in milliseconds since the epoch.
    pub fn last_ms(self) -> i64 {
        self.start_ms + whole(self.steps.saturating_sub(1)) * self.step_ms
    }

    /// The same times in parts of so many steps at most, the first part last.
    pub fn parts(self, most: usize) -> Vec<Self> {
        let most = most.max(1);
        let part = |first: usize| Self {
            start_ms: self.start_ms + whole(first) * self.step_ms,
            steps: most.min(self.steps - first),
            ..self
        };
        let mut parts: Vec<_> = (0..self.steps).step_by(most).map(part).collect();
        parts.reverse();
        parts
    }

    /// The end of the last step, in milliseconds since the epoch.
    pub fn end_ms(self) -> i64 {
        self.start_ms + whole(self.steps) * self.step_ms
    }

    /// When the controller synchronizes, and at which step that is.
    fn syncs(self) -> impl Iterator<Item = (i64, usize)> {
        let count = (self.end_ms() - self.start_ms) / SYNC_MS;
        (0..count).map(move |sync| {
            let after_ms = sync * SYNC_MS;
            let step = usize::try_from(after_ms / self.step_ms.max(1)).unwrap_or(usize::MAX);
            (self.start_ms + after_ms, step)
        })
    }
}

/// The workload when a simulation starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Its replicas, all of them ready.
    pub replicas: i32,
    /// How long a new pod takes to become ready, in milliseconds.
    pub pod_start_ms: i64,
    /// What the controller sees of a pod: its requests.
    pub pod: super::autoscaler::Pod,
    /// The range that usage covers, in milliseconds.
    pub usage_window_ms: i64,
}

/// What an autoscaler has done over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Each synchronization.
    pub syncs: Vec<Sync>,
    /// Of each metric the value divided by its target, by synchronization. NaN where there was no value.
    pub ratios: Vec<Vec<f64>>,
    /// Each change of replicas.
    pub changes: Vec<Change>,
}

/// One synchronization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sync {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The replicas after it.
    pub replicas: i32,
    /// The largest ratio of a metric to its target. NaN where no metric has a value.
    pub ratio: f64,
    /// Whether metrics failed so that nothing was decided.
    pub is_unreadable: bool,
    /// Whether the autoscaler was disabled, because there were no replicas and no metric that has values without them.
    pub is_disabled: bool,
}

/// A change of replicas.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The replicas before.
    pub from: i32,
    /// The replicas after.
    pub to: i32,
    /// What limited it.
    pub limit: Option<Limit>,
}

/// Runs an autoscaler over the history of its metrics, which are in the order of the spec.
///
/// Fails if the spec allows more than [`MOST_REPLICAS`], or if it takes more than is left of the work.
pub fn run(
    spec: &Spec,
    loads: &[Load],
    grid: Grid,
    workload: &Workload,
    work: &mut Work<'_>,
) -> Result<Timeline, String> {
    if spec.max_replicas > MOST_REPLICAS || workload.replicas > MOST_REPLICAS {
        return Err(format!("at most {MOST_REPLICAS} replicas are simulated"));
    }
    let mut pods = Pods::new(workload, grid.start_ms);
    let mut history = History::default();
    let mut timeline =
        Timeline { ratios: vec![Vec::new(); spec.metrics.len()], ..Timeline::default() };
    for (at_ms, step) in grid.syncs() {
        pods.settle(at_ms);
        let current = pods.replicas();
        work.sync(pods.all().len(), spec.metrics.len())?;
        let readings: Vec<_> = spec
            .metrics
            .iter()
            .zip(loads)
            .map(|(metric, load)| load.reading(metric, step, &pods, at_ms))
            .collect();
        let situation = Situation {
            now_ms: at_ms,
            scale: Scale { spec: current, status: current },
            pods: pods.all(),
            readings: &readings,
            // Nobody else scales it.
            is_scaled_to_zero: current == 0,
        };
        let decision = spec.decide(&mut history, situation);
        let ratio = |metric: usize| {
            let proposal = decision.proposals.get(metric);
            proposal.and_then(|it| it.as_ref().ok()).map_or(f64::NAN, |proposal| proposal.ratio)
        };
        for (metric, ratios) in timeline.ratios.iter_mut().enumerate() {
            ratios.push(ratio(metric));
        }
        timeline.syncs.push(Sync {
            at_ms,
            replicas: decision.desired,
            ratio: (0..spec.metrics.len()).map(ratio).fold(f64::NAN, f64::max),
            is_unreadable: decision.basis == Basis::Unreadable,
            is_disabled: decision.basis == Basis::Disabled,
        });
        if decision.desired != current {
            history.scaled(spec, at_ms, current, decision.desired);
            pods.scale(decision.desired, at_ms);
            let (to, limit) = (decision.desired, decision.limit);
            timeline.changes.push(Change { at_ms, from: current, to, limit });
        }
    }
    Ok(timeline)
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
