//! The `HorizontalPodAutoscaler` of a workload, and its decisions in the words of the demo.
//!
//! It decides as Kubernetes does, but with a short window and without rate limits, so that a minute is enough to see it scale.

use std::{cmp::Ordering, collections::BTreeMap};

use super::workload::Workload;
use crate::core::autoscaler::{
    Behavior, Current, History, Limit, Metric, Pod, PodSample, Policy, PolicyKind, Reading, Rules,
    Scale, Select, Situation, Source, Spec, Target,
};

/// Seconds that a decrease waits. Kubernetes waits 300, which is five swings of the load.
pub const SCALE_DOWN_WINDOW: i32 = 10;

/// Why the desired number is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The average is within a tenth of the target.
    WithinTolerance,
    /// The average is off target, but the number rounds up to what it is.
    RoundsUp,
    /// More pods are wanted.
    ScaleUp,
    /// Fewer pods are wanted, and have been throughout the window.
    ScaleDown,
    /// Fewer pods are wanted, though not throughout the window.
    Stabilizing {
        /// What this reading alone asks for.
        recommended: i32,
    },
    /// Fewer pods than the minimum would do.
    LimitedToMin(u32),
    /// More pods than the maximum are wanted.
    LimitedToMax(u32),
    /// So many pods without a value could change the answer, so nothing is changed.
    PodsMissing(usize),
}

/// The outcome of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The average of the pods that had a value, in thousandths.
    pub value_milli: i64,
    /// How many replicas there should be.
    pub desired: u32,
    /// Why.
    pub reason: Reason,
}

/// The autoscaler of one workload, with what it remembers.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    spec: Spec,
    history: History,
}

impl Autoscaler {
    /// An autoscaler that has not recommended anything yet.
    pub fn new(workload: Workload) -> Self {
        let (min, max) = workload.limits();
        let rules = |window_s| Rules {
            window_s,
            select: Select::Max,
            // Ten times as many within a second, which never limits anything.
            policies: vec![Policy { kind: PolicyKind::Percent, value: 900, period_s: 1 }],
        };
        let spec = Spec {
            min_replicas: min.cast_signed(),
            max_replicas: max.cast_signed(),
            metrics: vec![Metric {
                source: Source::Pods { metric: workload.metric().to_owned(), selector: None },
                target: Target::AverageValue(workload.target_milli()),
            }],
            behavior: Some(Behavior { up: rules(0), down: rules(SCALE_DOWN_WINDOW) }),
            tolerance_up: 0.1,
            tolerance_down: 0.1,
        };
        Self { spec, history: History::default() }
    }

    /// Decides by the values of those pods that have one, in thousandths. `None`, which means "leave it as it is", when no pod
    /// has one.
    pub fn decide(
        &mut self,
        now_ms: i64,
        pods: &[String],
        values: BTreeMap<String, i64>,
    ) -> Option<Decision> {
        let current = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        let running = |name: &String| Pod {
            name: name.clone(),
            phase: "Running".to_owned(),
            ..Pod::default()
        };
        let sample = |(pod, milli)| (pod, PodSample { milli, ..PodSample::default() });
        let decision = self.spec.decide(
            &mut self.history,
            Situation {
                now_ms,
                scale: Scale { spec: current, status: current },
                pods: &pods.iter().map(running).collect::<Vec<_>>(),
                readings: &[Ok(Reading::Pods(values.into_iter().map(sample).collect()))],
                is_scaled_to_zero: false,
            },
        );
        let [Ok(proposal)] = decision.proposals.as_slice() else { return None };
        let Current::Average(value_milli) = proposal.current else { return None };
        let missing = proposal.groups.as_ref().map_or(0, |groups| groups.missing.len());
        let desired = decision.desired.cast_unsigned();
        let reason = match (decision.limit, decision.desired.cmp(&current)) {
            (Some(Limit::MinReplicas), _) => Reason::LimitedToMin(desired),
            (Some(Limit::MaxReplicas), _) => Reason::LimitedToMax(desired),
            (Some(Limit::Stabilization), Ordering::Equal) => {
                Reason::Stabilizing { recommended: proposal.replicas }
            }
            (_, Ordering::Greater) => Reason::ScaleUp,
            (_, Ordering::Less) => Reason::ScaleDown,
            (_, Ordering::Equal) if missing > 0 => Reason::PodsMissing(missing),
            (_, Ordering::Equal) if proposal.is_within_tolerance => Reason::WithinTolerance,
            (_, Ordering::Equal) => Reason::RoundsUp,
        };
        Some(Decision { value_milli, desired, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(
        autoscaler: &mut Autoscaler,
        second: i64,
        current: usize,
        values: &[i64],
    ) -> Option<(i64, u32, Reason)> {
        let pods: Vec<_> = (0..current).map(|ordinal| format!("lsp-server-{ordinal}")).collect();
        let values = pods.iter().cloned().zip(values.iter().copied()).collect();
        let decision = autoscaler.decide(second * 1000, &pods, values)?;
        Some((decision.value_milli, decision.desired, decision.reason))
    }

    /// Current replicas, the pods' values; then the average, the desired replicas, and why.
    type Case = (usize, &'static [i64], (i64, u32, Reason));

    #[test]
    fn one_reading() {
        let cases: [Case; 6] = [
            (4, &[100_000; 4], (100_000, 8, Reason::ScaleUp)),
            (10, &[55_000; 10], (55_000, 10, Reason::WithinTolerance)),
            (3, &[40_000; 3], (40_000, 3, Reason::RoundsUp)),
            (8, &[90_000; 8], (90_000, 10, Reason::LimitedToMax(10))),
            (4, &[25_000; 4], (25_000, 4, Reason::Stabilizing { recommended: 2 })),
            (4, &[60_000; 2], (60_000, 4, Reason::PodsMissing(2))),
        ];
        for (current, values, expected) in cases {
            let mut autoscaler = Autoscaler::new(Workload::LspServer);
            let decision = decide(&mut autoscaler, 0, current, values);
            assert_eq!(decision, Some(expected), "{current} {values:?}");
        }
        assert_eq!(decide(&mut Autoscaler::new(Workload::LspServer), 0, 4, &[]), None);
    }

    #[test]
    fn a_decrease_waits_for_the_window() {
        let mut autoscaler = Autoscaler::new(Workload::LspServer);
        let waiting = (25_000, 8, Reason::Stabilizing { recommended: 4 });
        assert_eq!(decide(&mut autoscaler, 0, 8, &[25_000; 8]), Some(waiting));
        assert_eq!(decide(&mut autoscaler, 9, 8, &[25_000; 8]), Some(waiting));
        let over = (25_000, 4, Reason::ScaleDown);
        assert_eq!(decide(&mut autoscaler, 10, 8, &[25_000; 8]), Some(over));
        let least = (1_000, 2, Reason::LimitedToMin(2));
        assert_eq!(decide(&mut autoscaler, 30, 4, &[1_000; 4]), Some(least));
    }
}
