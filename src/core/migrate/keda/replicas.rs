//! How many replicas there may be, and none.

use serde_json::{Map, Value, json};

use super::{FORCE_ACTIVATION, Fields, Moved, Notes, PAUSED, PAUSED_REPLICAS, Pause, Pauses};
use crate::core::key_path::KeyPath;

/// KEDA's default of `maxReplicaCount`.
const MOST: i32 = 100;

/// KEDA's default of `cooldownPeriod`, and Kubernetes' of `scaleDown.stabilizationWindowSeconds`, in seconds.
const COOLDOWN: i32 = 300;

/// The longest stabilization window that Kubernetes takes, in seconds.
const LONGEST_WINDOW: i32 = 3600;

/// What the spec says about replicas.
#[derive(Debug)]
pub(super) struct Replicas {
    least: i32,
    most: i32,
    idle: Option<i32>,
    cooldown: Option<i32>,
    initial_cooldown: i32,
}

impl Replicas {
    pub(super) fn take(spec: &mut Fields) -> Self {
        Self {
            least: spec.integer("minReplicaCount").unwrap_or_default(),
            most: spec.integer("maxReplicaCount").unwrap_or(MOST),
            idle: spec.integer("idleReplicaCount"),
            cooldown: spec.integer("cooldownPeriod"),
            initial_cooldown: spec.integer("initialCooldownPeriod").unwrap_or_default(),
        }
    }

    /// The least replicas that the metrics may ask for, without a pause of the whole object. It is 0 only if the autoscaler can
    /// decide about that.
    pub(super) fn least(
        &self,
        moved: &[Moved],
        pauses: &Pauses,
        spec: &KeyPath,
        notes: &mut Notes,
    ) -> i32 {
        let path = spec.key("idleReplicaCount");
        if let Some(idle) = self.idle {
            notes.cannot(
                &path,
                format!("an autoscaler knows no size between {idle} and {}: this one never has fewer than {}; with `minReplicas: {idle}` it goes through all sizes", self.least, self.least.max(1)),
            );
        }
        if self.least > 0 {
            return self.least;
        }
        self.least_from_zero(moved, pauses, spec, notes)
    }

    /// `minReplicas` and `maxReplicas`. The behavior is changed where a pause or a cooldown asks for it.
    pub(super) fn limits(
        &self,
        least: i32,
        pauses: &Pauses,
        behavior: &mut Map<String, Value>,
        spec: &KeyPath,
        notes: &mut Notes,
    ) -> (i32, i32) {
        self.cooldown(least == 0, behavior, spec, notes);
        pause((least, self.most), pauses, behavior, notes)
    }

    /// 0 where the autoscaler can decide about it, else 1.
    fn least_from_zero(
        &self,
        moved: &[Moved],
        pauses: &Pauses,
        spec: &KeyPath,
        notes: &mut Notes,
    ) -> i32 {
        let path = spec.key("minReplicaCount");
        let has = |wanted: fn(&Moved) -> bool| moved.iter().any(wanted);
        let (has_external, has_resource) = (
            has(|moved| matches!(moved, Moved::External(_))),
            has(|moved| matches!(moved, Moved::Resource(_))),
        );
        if self.idle.is_some() {
            return 1;
        }
        if pauses.is_active {
            let path = KeyPath::from(["metadata", "annotations"]).key(FORCE_ACTIVATION);
            notes.note(&path, "minReplicas is 1 for that; set it to 0 to scale to zero");
            return 1;
        }
        if has(|moved| matches!(moved, Moved::Not)) {
            let text = "minReplicas is 1: without the metrics that have not moved, the autoscaler would go to 0 while they ask for pods";
            notes.cannot(&path, text);
            return 1;
        }
        if !has_external {
            notes.note(
                &path,
                "minReplicas is 1: CPU and memory are no signal at 0, for KEDA neither",
            );
            return 1;
        }
        if has_resource {
            let text = "minReplicas is 1: KEDA ignores CPU and memory when it scales to zero, and an autoscaler does not; set it to 0 and leave these metrics out to scale to zero";
            notes.cannot(&path, text);
            return 1;
        }
        if has(|moved| matches!(moved, Moved::External(trigger) if trigger.is_always_active())) {
            notes.note(
                &path,
                "minReplicas is 1: a trigger with a negative activationThreshold is always active",
            );
            return 1;
        }
        notes.note(
            &path,
            "minReplicas: 0 needs Kubernetes 1.37, or the feature gate HPAScaleToZero",
        );
        0
    }

    fn cooldown(
        &self,
        has_zero: bool,
        behavior: &mut Map<String, Value>,
        spec: &KeyPath,
        notes: &mut Notes,
    ) {
        if !has_zero {
            if self.cooldown.is_some() || self.initial_cooldown > 0 {
                let text = "this concerns scaling to zero, which this autoscaler does not do";
                notes.note(&spec.key("cooldownPeriod"), text);
            }
            return;
        }
        let down = behavior.get("scaleDown");
        if down.and_then(|down| down.get("selectPolicy")) == Some(&json!("Disabled")) {
            let text = "an autoscaler that scales down by no policy does not go to 0 either, and KEDA does";
            notes.cannot(&spec.key("advanced"), text);
        }
        if self.initial_cooldown > 0 {
            let text = "an autoscaler may go to 0 as soon as it is created: create it when the workload is in use";
            notes.cannot(&spec.key("initialCooldownPeriod"), text);
        }
        let path = spec.key("cooldownPeriod");
        let written = behavior
            .get("scaleDown")
            .and_then(|down| down.get("stabilizationWindowSeconds"))
            .and_then(Value::as_i64);
        let cooldown = self.cooldown.unwrap_or(COOLDOWN);
        let window = written.unwrap_or(COOLDOWN.into());
        if i64::from(cooldown) == window {
            return;
        }
        let goes = |window: i64| {
            format!(
                "the autoscaler goes to 0 after scaleDown.stabilizationWindowSeconds, {window} s, as to any lower size"
            )
        };
        match written {
            Some(_) if self.cooldown.is_some() => notes.cannot(&path, goes(window)),
            None if cooldown > COOLDOWN => {
                let seconds = cooldown.min(LONGEST_WINDOW);
                set(behavior, "scaleDown", "stabilizationWindowSeconds", json!(seconds));
                if seconds < cooldown {
                    notes.cannot(&path, goes(seconds.into()));
                } else {
                    notes.note(&path, goes(seconds.into()));
                }
            }
            _ => notes.note(&path, goes(window)),
        }
    }
}

fn pause(
    (least, most): (i32, i32),
    pauses: &Pauses,
    behavior: &mut Map<String, Value>,
    notes: &mut Notes,
) -> (i32, i32) {
    let annotation = |key: &str| KeyPath::from(["metadata", "annotations"]).key(key);
    let mut limits = (least, most);
    let mut is_still = true;
    match pauses.pause {
        Pause::No => is_still = false,
        Pause::Still => {
            let text =
                "the behavior has `selectPolicy: Disabled` for the pause, in both directions";
            notes.note(&annotation(PAUSED), text);
        }
        Pause::At(0) => {
            limits.0 = least.max(1);
            let text = format!(
                "scale the workload to 0 yourself: an autoscaler with minReplicas: 1 leaves it there; the limits are {least} to {most} without the pause"
            );
            notes.cannot(&annotation(PAUSED_REPLICAS), text);
        }
        Pause::At(count) => {
            is_still = false;
            limits = (count, count);
            let text = format!(
                "minReplicas and maxReplicas are {count} for the pause; they are {least} and {most} without it"
            );
            notes.note(&annotation(PAUSED_REPLICAS), text);
        }
    }
    for (direction, is_paused) in [("scaleUp", pauses.scale_out), ("scaleDown", pauses.scale_in)] {
        if is_paused || is_still {
            set(behavior, direction, "selectPolicy", json!("Disabled"));
        }
    }
    limits
}

fn set(behavior: &mut Map<String, Value>, direction: &str, key: &str, value: Value) {
    let rules = behavior.entry(direction).or_insert_with(|| json!({}));
    if let Value::Object(rules) = rules {
        rules.insert(key.to_owned(), value);
    }
}
