//! `advanced`: the autoscaler's name and behavior, and formulas.

use serde_json::{Map, Value, json};

use super::{Fields, Notes};

/// What `advanced` says.
#[derive(Debug, Default)]
pub(super) struct Advanced {
    /// The name of KEDA's autoscaler.
    pub(super) name: Option<String>,
    /// As in the autoscaler.
    pub(super) behavior: Map<String, Value>,
    /// Whether a formula makes one metric of all.
    pub(super) has_formula: bool,
}

pub(super) fn advanced(advanced: &mut Fields, notes: &mut Notes) -> Advanced {
    if advanced.flag("restoreToOriginalReplicaCount").unwrap_or_default() {
        let text = "an autoscaler that is deleted leaves the replicas as they are; and KEDA restores them when this object is deleted, so set this to false before";
        notes.cannot(&advanced.path("restoreToOriginalReplicaCount"), text);
    }
    let mut read = advanced
        .mapping("horizontalPodAutoscalerConfig", notes, |config, notes| Advanced {
            name: config.text("name"),
            behavior: config.mapping("behavior", notes, behavior).unwrap_or_default(),
            has_formula: false,
        })
        .unwrap_or_default();
    let modifiers = advanced.mapping("scalingModifiers", notes, |modifiers, _| {
        let keys = ["formula", "target", "activationTarget", "metricType"];
        keys.map(|key| modifiers.text(key)).iter().any(Option::is_some)
    });
    if modifiers == Some(true) {
        read.has_formula = true;
        let text = "loadline has no formulas: write it in PromQL, as one query of the triggers' queries, whose rules are printed; there is no autoscaler, because it would scale by each of them";
        notes.cannot(&advanced.path("scalingModifiers"), text);
    }
    read
}

fn behavior(behavior: &mut Fields, notes: &mut Notes) -> Map<String, Value> {
    let mut written = Map::new();
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = behavior.mapping(direction, notes, rules) {
            written.insert(direction.to_owned(), rules);
        }
    }
    written
}

fn rules(rules: &mut Fields, notes: &mut Notes) -> Value {
    let mut written = Map::new();
    let seconds = rules.integer("stabilizationWindowSeconds").map(Value::from);
    let mut set = |key: &str, value: Option<Value>| {
        value.map(|value| written.insert(key.to_owned(), value));
    };
    set("stabilizationWindowSeconds", seconds);
    set("selectPolicy", rules.text("selectPolicy").map(Value::from));
    set("tolerance", rules.text("tolerance").map(Value::from));
    let policies = rules.mappings("policies", notes, |policy, _| {
        let (kind, value) = (policy.text("type"), policy.integer("value"));
        json!({"type": kind, "value": value, "periodSeconds": policy.integer("periodSeconds")})
    });
    set("policies", (!policies.is_empty()).then(|| policies.into()));
    Value::Object(written)
}
