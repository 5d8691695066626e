//! How fast an autoscaler scales: the stabilization windows and the policies of `behavior`.

use std::cmp::Ordering;

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior,
};

use super::{Limit, spec::Spec};

/// The default of `--horizontal-pod-autoscaler-downscale-stabilization`.
const DOWNSCALE_WINDOW_S: i32 = 300;

/// Without `behavior`, one synchronization at most doubles the replicas, or sets four.
const DEFAULT_FACTOR: i32 = 2;
const DEFAULT_LEAST: i32 = 4;

/// `behavior`, with the defaults of the API server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Behavior {
    /// `scaleUp`.
    pub up: Rules,
    /// `scaleDown`.
    pub down: Rules,
}

/// How fast an autoscaler scales in one direction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    /// The stabilization window in seconds.
    pub window_s: i32,
    /// The policy that applies.
    pub select: Select,
    /// The policies.
    pub policies: Vec<Policy>,
}

/// `selectPolicy`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Select {
    /// The policy that allows the largest change.
    Max,
    /// The policy that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// The largest change within a period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The unit of the value.
    pub kind: PolicyKind,
    /// Pods, or percent of the replicas at the start of the period.
    pub value: i32,
    /// The period in seconds.
    pub period_s: i32,
}

/// The unit of the value of a policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the replicas at the start of the period.
    Percent,
}

impl Behavior {
    pub(super) fn read(written: &HorizontalPodAutoscalerBehavior) -> Self {
        let percent = Policy { kind: PolicyKind::Percent, value: 100, period_s: 15 };
        let pods = Policy { kind: PolicyKind::Pods, value: 4, period_s: 15 };
        Self {
            up: Rules::read(written.scale_up.as_ref(), 0, &[pods, percent]),
            down: Rules::read(written.scale_down.as_ref(), DOWNSCALE_WINDOW_S, &[percent]),
        }
    }
}

impl Rules {
    fn read(written: Option<&HPAScalingRules>, window_s: i32, policies: &[Policy]) -> Self {
        let select = match written.and_then(|rules| rules.select_policy.as_deref()) {
            Some("Disabled") => Select::Disabled,
            Some("Min") => Select::Min,
            _ => Select::Max,
        };
        let of = |policy: &HPAScalingPolicy| Policy {
            kind: if policy.type_ == "Pods" { PolicyKind::Pods } else { PolicyKind::Percent },
            value: policy.value,
            period_s: policy.period_seconds,
        };
        let own = written.and_then(|rules| rules.policies.as_ref());
        Self {
            window_s: written
                .and_then(|rules| rules.stabilization_window_seconds)
                .unwrap_or(window_s),
            select,
            policies: own
                .map_or_else(|| policies.to_vec(), |policies| policies.iter().map(of).collect()),
        }
    }

    fn longest_period_s(&self) -> i32 {
        self.policies.iter().map(|policy| policy.period_s).max().unwrap_or(0)
    }

    /// The limit of replicas by the policies and by the changes within their periods.
    fn limit(&self, current: i32, is_up: bool, changed: impl Fn(i32) -> i32) -> i32 {
        let limits = self.policies.iter().map(|policy| {
            let start = current.saturating_sub(changed(policy.period_s));
            policy.limit(start, is_up)
        });
        let limit = match (self.select, is_up) {
            (Select::Disabled, _) => None,
            (Select::Max, true) | (Select::Min, false) => limits.max(),
            (Select::Max, false) | (Select::Min, true) => limits.min(),
        };
        limit.unwrap_or(current)
    }
}

impl Policy {
    /// The limit of replicas at the end of a period.
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    fn limit(&self, start: i32, is_up: bool) -> i32 {
        let part = f64::from(self.value) / 100.0;
        match (self.kind, is_up) {
            (PolicyKind::Pods, true) => start.saturating_add(self.value),
            (PolicyKind::Pods, false) => start.saturating_sub(self.value),
            // Rounded up, so that a small number can grow.
            (PolicyKind::Percent, true) => (f64::from(start) * (1.0 + part)).ceil() as i32,
            (PolicyKind::Percent, false) => (f64::from(start) * (1.0 - part)) as i32,
        }
    }
}

/// The controller's memory of one autoscaler. It is empty after a restart of the controller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// Time in milliseconds since the epoch, and the recommendation before stabilization.
    pub(super) recommendations: Vec<(i64, i32)>,
    /// Time in milliseconds since the epoch, and the change of replicas.
    pub(super) changes: Vec<(i64, i32)>,
}

impl History {
    /// The current number of replicas is the first recommendation.
    pub(super) fn begin(&mut self, now_ms: i64, current: i32) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now_ms, current));
        }
    }

    /// Records a change of replicas. The policies of `behavior` count it.
    pub fn scaled(&mut self, spec: &Spec, now_ms: i64, from: i32, to: i32) {
        let Some(behavior) = &spec.behavior else { return };
        let period = behavior.up.longest_period_s().max(behavior.down.longest_period_s());
        self.changes.retain(|(at, _)| *at > before(now_ms, period));
        self.changes.push((now_ms, to.saturating_sub(from)));
    }

    /// Applies windows and limits to a recommendation, and records it.
    pub(super) fn normalize(
        &mut self,
        spec: &Spec,
        now_ms: i64,
        current: i32,
        recommended: i32,
    ) -> (i32, Option<Limit>) {
        let wanted = self.stabilize(spec, now_ms, current, recommended);
        let (desired, limit) = match &spec.behavior {
            Some(behavior) => self.within_rates(spec, behavior, now_ms, current, wanted),
            None if wanted < spec.min_replicas => (spec.min_replicas, Some(Limit::MinReplicas)),
            None => {
                let rate = current.saturating_mul(DEFAULT_FACTOR).max(DEFAULT_LEAST);
                at_most(wanted, rate, spec.max_replicas)
            }
        };
        (desired, limit.or((wanted != recommended).then_some(Limit::Stabilization)))
    }

    /// The stabilized recommendation: the highest one of the window for a decrease, the lowest one for an increase.
    fn stabilize(&mut self, spec: &Spec, now_ms: i64, current: i32, recommended: i32) -> i32 {
        let (up_s, down_s) = match &spec.behavior {
            None => (0, DOWNSCALE_WINDOW_S),
            Some(behavior) => (behavior.up.window_s, behavior.down.window_s),
        };
        let within = |window_s: i32| {
            let since = before(now_ms, window_s);
            self.recommendations.iter().filter(move |(at, _)| *at > since).map(|(_, it)| *it)
        };
        let lowest = within(up_s).fold(recommended, i32::min);
        let highest = within(down_s).fold(recommended, i32::max);
        let stabilized = match &spec.behavior {
            // Only decreases are stabilized.
            None => highest,
            Some(_) => current.max(lowest).min(highest),
        };
        let oldest = before(now_ms, up_s.max(down_s));
        self.recommendations.retain(|(at, _)| *at > oldest);
        self.recommendations.push((now_ms, recommended));
        stabilized
    }

    fn within_rates(
        &self,
        spec: &Spec,
        behavior: &Behavior,
        now_ms: i64,
        current: i32,
        wanted: i32,
    ) -> (i32, Option<Limit>) {
        let changed = |period_s: i32| {
            let since = before(now_ms, period_s);
            let recent = self.changes.iter().filter(|(at, _)| *at > since);
            recent.fold(0_i32, |sum, (_, change)| sum.saturating_add(*change))
        };
        match wanted.cmp(&current) {
            Ordering::Greater => {
                let rate = behavior.up.limit(current, true, changed).max(current);
                at_most(wanted, rate, spec.max_replicas)
            }
            Ordering::Less => {
                let rate = behavior.down.limit(current, false, changed).min(current);
                at_least(wanted, rate, spec.min_replicas)
            }
            Ordering::Equal => (wanted, None),
        }
    }
}

/// The wanted replicas, capped by the lower one of two limits.
fn at_most(wanted: i32, rate: i32, max_replicas: i32) -> (i32, Option<Limit>) {
    let (most, limit) = if max_replicas > rate {
        (rate, Limit::ScaleUpRate)
    } else {
        (max_replicas, Limit::MaxReplicas)
    };
    if wanted > most { (most, Some(limit)) } else { (wanted, None) }
}

/// The wanted replicas, or the higher one of two limits if they are below it.
fn at_least(wanted: i32, rate: i32, min_replicas: i32) -> (i32, Option<Limit>) {
    let (least, limit) = if min_replicas < rate {
        (rate, Limit::ScaleDownRate)
    } else {
        (min_replicas, Limit::MinReplicas)
    };
    if wanted < least { (least, Some(limit)) } else { (wanted, None) }
}

fn before(now_ms: i64, seconds: i32) -> i64 {
    now_ms.saturating_sub(i64::from(seconds).saturating_mul(1000))
}
