//! The decisions of Kubernetes' `HorizontalPodAutoscaler` controller: the published algorithm as a function of values.
//!
//! The algorithm is documented at
//! <https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details>. Details that
//! the page leaves open are those of `pkg/controller/podautoscaler` of Kubernetes 1.36, with the default flags of
//! `kube-controller-manager`. One detail differs: a number of replicas beyond `i32` saturates here, and depends on the processor in Go.
//!
//! [`Spec`] is the configuration, [`Pod`] and [`Scale`] are the state of the workload, [`Reading`] has the values of a metric, and
//! [`History`] is the controller's memory between synchronizations.

mod behavior;
mod pods;
mod proposal;
mod spec;
pub mod v1;
mod validation;

pub use behavior::{Behavior, History, Policy, PolicyKind, Rules, Select};
pub use pods::{Groups, Pod, PodSample, Readiness, ReadyCondition};
pub use proposal::{Current, Proposal, Reading};
pub use spec::{Metric, Source, Spec, SpecError, Target};
pub use validation::problems;

/// The scale subresource of the workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scale {
    /// `spec.replicas`.
    pub spec: i32,
    /// `status.replicas`: the number of existing pods.
    pub status: i32,
}

/// The reason why the desired number of replicas is not the recommended one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// `minReplicas`.
    MinReplicas,
    /// `maxReplicas`.
    MaxReplicas,
    /// A policy of `behavior.scaleUp`, or the default rate.
    ScaleUpRate,
    /// A policy of `behavior.scaleDown`.
    ScaleDownRate,
    /// Another recommendation within the stabilization window.
    Stabilization,
}

impl Limit {
    /// A stable name for machine-readable output.
    pub fn code(self) -> &'static str {
        match self {
            Self::MinReplicas => "minReplicas",
            Self::MaxReplicas => "maxReplicas",
            Self::ScaleUpRate => "scaleUp",
            Self::ScaleDownRate => "scaleDown",
            Self::Stabilization => "stabilization",
        }
    }
}

/// The basis of a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Basis {
    /// The metrics recommend a number of replicas.
    Metrics {
        /// The largest proposal.
        recommended: i32,
        /// Its metric, as an index into [`Spec::metrics`].
        metric: usize,
    },
    /// There are more replicas than `maxReplicas`, or fewer than `minReplicas`. Metrics are not read.
    OutOfBounds,
    /// Somebody else scaled the workload to zero, which disables autoscaling.
    Disabled,
    /// All metrics failed, or some failed and the others recommend fewer replicas.
    Unreadable,
}

/// The outcome of one synchronization.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The replicas before the decision.
    pub current: i32,
    /// The replicas after the decision.
    pub desired: i32,
    /// Its basis.
    pub basis: Basis,
    /// The proposal of each metric or its error, in the order of the spec. Empty if metrics are not read.
    pub proposals: Vec<Result<Proposal, String>>,
    /// The limit that applied.
    pub limit: Option<Limit>,
}

impl Decision {
    /// Whether the leading metric differs from its target by no more than the tolerance.
    pub fn is_within_tolerance(&self) -> bool {
        let Basis::Metrics { metric, .. } = self.basis else { return false };
        matches!(self.proposals.get(metric), Some(Ok(proposal)) if proposal.is_within_tolerance)
    }
}

/// The input of one synchronization.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The replicas of the workload.
    pub scale: Scale,
    /// The pods that the selector of the workload matches.
    pub pods: &'a [Pod],
    /// The values of each metric or its error, in the order of the spec.
    pub readings: &'a [Result<Reading, String>],
    /// Whether the autoscaler itself scaled the workload to zero (condition `ScaledToZero`). Otherwise zero replicas disable
    /// autoscaling.
    pub is_scaled_to_zero: bool,
}

impl Spec {
    /// Decides as one synchronization of the controller, and adds the recommendation to the history.
    pub fn decide(&self, history: &mut History, situation: Situation<'_>) -> Decision {
        let current = situation.scale.spec;
        history.begin(situation.now_ms, current);
        if let Some(decision) = self.decide_without_metrics(situation) {
            return decision;
        }
        let readings = self.metrics.iter().zip(situation.readings);
        let propose = |(metric, reading): (&Metric, &Result<Reading, String>)| {
            let reading = reading.as_ref().map_err(Clone::clone)?;
            proposal::propose(self, metric, reading, situation)
        };
        let proposals: Vec<_> = readings.map(propose).collect();
        let Some((metric, recommended)) = leading(&proposals, current) else {
            let desired = current;
            return Decision { current, desired, basis: Basis::Unreadable, proposals, limit: None };
        };
        let recommended = recommended.max(0);
        let (mut desired, mut limit) =
            history.normalize(self, situation.now_ms, current, recommended);
        if current == 0 && desired < self.min_replicas {
            (desired, limit) = (self.min_replicas, Some(Limit::MinReplicas));
        }
        let basis = Basis::Metrics { recommended, metric };
        Decision { current, desired, basis, proposals, limit }
    }

    fn decide_without_metrics(&self, situation: Situation<'_>) -> Option<Decision> {
        let current = situation.scale.spec;
        let wakes = situation.is_scaled_to_zero
            && (self.min_replicas != 0 || self.has_metric_without_pods());
        let (desired, basis, limit) = if current == 0 && !wakes {
            (0, Basis::Disabled, None)
        } else if current > self.max_replicas {
            (self.max_replicas, Basis::OutOfBounds, Some(Limit::MaxReplicas))
        } else if current != 0 && current < self.min_replicas {
            (self.min_replicas, Basis::OutOfBounds, Some(Limit::MinReplicas))
        } else {
            return None;
        };
        Some(Decision { current, desired, basis, proposals: Vec::new(), limit })
    }

    /// Whether a metric has values without pods.
    pub fn has_metric_without_pods(&self) -> bool {
        let is_one = |metric: &Metric| {
            matches!(metric.source, Source::Object { .. } | Source::External { .. })
        };
        self.metrics.iter().any(is_one)
    }
}

/// The index of the leading metric and its proposal. None if a failed metric might have proposed more.
fn leading(proposals: &[Result<Proposal, String>], current: i32) -> Option<(usize, i32)> {
    let valid = proposals.iter().enumerate();
    let valid = valid.filter_map(|(at, proposal)| Some((at, proposal.as_ref().ok()?.replicas)));
    // As in the controller, the first of equal proposals leads, and a proposal of zero replicas never does if another follows.
    let largest =
        valid.reduce(|lead, next| if lead.1 == 0 || next.1 > lead.1 { next } else { lead });
    let is_whole = proposals.iter().all(Result::is_ok);
    largest.filter(|(_, replicas)| is_whole || *replicas >= current)
}

#[cfg(test)]
mod tests;
