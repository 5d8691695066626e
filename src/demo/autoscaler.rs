//! What the `HorizontalPodAutoscaler` makes of a Pods metric, after the algorithm that Kubernetes documents:
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details>.
//!
//! `desired = ceil(current × value / target)`, but nothing happens while the ratio is within 10 % of one. Pods without a
//! value count as idle when the others call for more, and as being on target when they call for less. A decrease waits:
//! the highest recommendation of the stabilization window counts. The limits come last.
//!
//! Left out, because they would only blur a demo of a minute: the rate policies of `behavior` (Kubernetes would at most
//! double, or add four pods, in 15 s) and the delay for pods that are not ready yet.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// What an autoscaler is told about its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// The wanted average per pod, in thousandths; not zero.
    pub target_milli: u64,
    /// The fewest replicas.
    pub min: u32,
    /// The most replicas.
    pub max: u32,
    /// Seconds that a lower recommendation must last before pods go.
    pub scale_down_window: u32,
}

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
        recommended: u32,
    },
    /// Fewer pods than the minimum would do.
    LimitedToMin(u32),
    /// More pods than the maximum are wanted.
    LimitedToMax(u32),
    /// The pods without a value could change the answer, so nothing is changed.
    PodsMissing(u32),
}

/// The outcome of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The average of the pods that had a value, in thousandths.
    pub value_milli: u64,
    /// How many replicas there should be.
    pub desired: u32,
    /// Why.
    pub reason: Reason,
}

/// The autoscaler of one workload; it remembers its recommendations for as long as the window is.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    spec: Spec,
    recommendations: VecDeque<(f64, u32)>,
}

impl Autoscaler {
    /// An autoscaler that has not recommended anything yet.
    pub fn new(spec: Spec) -> Self {
        Self { spec, recommendations: VecDeque::new() }
    }

    /// Decides by the values of those of the `current` pods that have one, in thousandths, at `at` seconds. `None`, which
    /// means "leave it as it is", when no pod has one.
    pub fn decide(&mut self, at: f64, current: u32, values: &[u64]) -> Option<Decision> {
        let known = u64::try_from(values.len()).ok().filter(|n| *n > 0)?;
        let value_milli = values.iter().sum::<u64>() / known;
        let (recommended, reason) = recommend(self.spec, current, values);
        let highest = self.highest_of_window(at, recommended);
        let (stabilized, reason) = if recommended >= current {
            (recommended, reason)
        } else if highest < current {
            (highest, Reason::ScaleDown)
        } else {
            (current, Reason::Stabilizing { recommended })
        };
        let Spec { min, max, .. } = self.spec;
        let (desired, reason) = if stabilized > max {
            (max, Reason::LimitedToMax(max))
        } else if stabilized < min {
            (min, Reason::LimitedToMin(min))
        } else {
            (stabilized, reason)
        };
        Some(Decision { value_milli, desired, reason })
    }

    fn highest_of_window(&mut self, at: f64, recommended: u32) -> u32 {
        let begin = at - f64::from(self.spec.scale_down_window);
        self.recommendations.retain(|(when, _)| *when > begin);
        self.recommendations.push_back((at, recommended));
        self.recommendations.iter().map(|(_, replicas)| *replicas).fold(recommended, u32::max)
    }
}

/// The published formula, before stabilization and limits. `values` is not empty.
fn recommend(spec: Spec, current: u32, values: &[u64]) -> (u32, Reason) {
    let target = spec.target_milli.max(1);
    let known = u32::try_from(values.len()).unwrap_or(u32::MAX);
    let missing = current.saturating_sub(known);
    let sum: u64 = values.iter().sum();
    let below = sum < target * u64::from(known);
    let (sum, pods) = match missing {
        0 => (sum, known),
        _ if below => (sum + target * u64::from(missing), known + missing),
        _ => (sum, known + missing),
    };
    let wanted = target * u64::from(pods);
    let held = if missing > 0 { Reason::PodsMissing(missing) } else { Reason::WithinTolerance };
    if sum.abs_diff(wanted) * 10 <= wanted || below != (sum < wanted) {
        return (current, held);
    }
    let recommended = u32::try_from(sum.div_ceil(target)).unwrap_or(u32::MAX);
    match recommended.cmp(&current) {
        Ordering::Equal => (current, Reason::RoundsUp),
        Ordering::Greater if below => (current, held),
        Ordering::Less if !below => (current, held),
        Ordering::Greater => (recommended, Reason::ScaleUp),
        Ordering::Less => (recommended, Reason::ScaleDown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec { target_milli: 50_000, min: 2, max: 10, scale_down_window: 15 };

    /// Current replicas, the pods' values; then the average, the desired replicas, and why.
    type Case = (u32, &'static [u64], (u64, u32, Reason));

    /// What one reading decides when the window holds nothing else.
    fn fresh(current: u32, values: &[u64]) -> (u64, u32, Reason) {
        let decision = Autoscaler::new(SPEC).decide(0.0, current, values).unwrap();
        (decision.value_milli, decision.desired, decision.reason)
    }

    #[test]
    fn one_reading() {
        let cases: [Case; 12] = [
            // The documentation's example: twice the target doubles, half of it halves.
            (4, &[100_000; 4], (100_000, 8, Reason::ScaleUp)),
            (4, &[25_000; 4], (25_000, 2, Reason::ScaleDown)),
            // ceil: 3 × 60 / 50 = 3.6
            (3, &[60_000; 3], (60_000, 4, Reason::ScaleUp)),
            // Exactly on the edge of the tolerance, on both sides, and one thousandth beyond.
            (10, &[55_000; 10], (55_000, 10, Reason::WithinTolerance)),
            (5, &[45_000; 5], (45_000, 5, Reason::WithinTolerance)),
            (5, &[55_001; 5], (55_001, 6, Reason::ScaleUp)),
            // Off target, but 3 × 40 / 50 = 2.4 rounds up to three.
            (3, &[40_000; 3], (40_000, 3, Reason::RoundsUp)),
            (8, &[90_000; 8], (90_000, 10, Reason::LimitedToMax(10))),
            (10, &[90_000; 10], (90_000, 10, Reason::LimitedToMax(10))),
            (2, &[1_000; 2], (1_000, 2, Reason::LimitedToMin(2))),
            (6, &[0; 6], (0, 2, Reason::LimitedToMin(2))),
            // The average counts, not the single pod.
            (2, &[10_000, 90_000], (50_000, 2, Reason::WithinTolerance)),
        ];
        for (current, values, expected) in cases {
            assert_eq!(fresh(current, values), expected, "{current} {values:?}");
        }
    }

    #[test]
    fn pods_without_a_value_make_it_careful() {
        let cases: [Case; 4] = [
            // Up: the two missing pods count as idle, 2 × 120 / 50 = 4.8 instead of 9.6.
            (4, &[120_000; 2], (120_000, 5, Reason::ScaleUp)),
            // Up, but with the missing pods idle it would even be down: hold.
            (4, &[60_000; 2], (60_000, 4, Reason::PodsMissing(2))),
            // Down: the missing pod counts as on target, (3 × 10 + 50) / 50 = 1.6.
            (4, &[10_000; 3], (10_000, 2, Reason::ScaleDown)),
            // Down, but with the missing pods on target it is within tolerance: hold.
            (8, &[40_000; 2], (40_000, 8, Reason::PodsMissing(6))),
        ];
        for (current, values, expected) in cases {
            assert_eq!(fresh(current, values), expected, "{current} {values:?}");
        }
    }

    #[test]
    fn without_any_value_it_does_not_decide() {
        assert_eq!(Autoscaler::new(SPEC).decide(0.0, 4, &[]), None);
    }

    #[test]
    fn a_decrease_waits_for_the_window_and_takes_its_highest() {
        let mut autoscaler = Autoscaler::new(SPEC);
        let mut decide = |at: f64, current: u32, per_pod: u64| {
            let values: Vec<u64> = (0..current).map(|_| per_pod).collect();
            let decision = autoscaler.decide(at, current, &values).unwrap();
            (decision.desired, decision.reason)
        };
        assert_eq!(decide(0.0, 4, 100_000), (8, Reason::ScaleUp));
        let waiting = Reason::Stabilizing { recommended: 4 };
        assert_eq!(decide(3.0, 8, 25_000), (8, waiting));
        assert_eq!(decide(6.0, 8, 37_000), (8, Reason::Stabilizing { recommended: 6 }));
        assert_eq!(decide(12.0, 8, 25_000), (8, waiting));
        // The eight of the beginning are forgotten, the six are not.
        assert_eq!(decide(15.0, 8, 25_000), (6, Reason::ScaleDown));
        // An increase does not wait.
        assert_eq!(decide(18.0, 6, 70_000), (9, Reason::ScaleUp));
    }
}
