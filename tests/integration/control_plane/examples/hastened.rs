//! What takes minutes for a reason, in seconds.

use regex::Regex;
use serde_json::{Value, json};

/// The range of every rate.
const RANGE: &str = "5s";

/// The behavior of an autoscaler without windows, and with periods of a second.
pub(super) fn behavior(mut written: Value) -> Value {
    if written.is_null() {
        written = json!({"scaleDown": {}});
    }
    for rules in written.as_object_mut().expect("a behavior").values_mut() {
        rules["stabilizationWindowSeconds"] = 0.into();
        for policy in rules.get_mut("policies").and_then(Value::as_array_mut).into_iter().flatten()
        {
            policy["periodSeconds"] = 1.into();
        }
    }
    written
}

/// Rules with short ranges. They fit five of the steps in which the examples' metrics come here.
pub(super) fn rules(mut written: Value) -> String {
    let usage = &mut written["resourceRules"];
    usage["window"] = RANGE.into();
    let ranges = Regex::new(r"\[\d+[smh]\]").expect("our own expression");
    ranges.replace_all(&written.to_string(), format!("[{RANGE}]")).into_owned()
}

#[test]
fn behaviors_do_not_wait() {
    let written =
        json!({"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]}});
    let hastened = json!({"scaleDown": {
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}],
        "stabilizationWindowSeconds": 0,
    }});
    assert_eq!(behavior(written), hastened);
    assert_eq!(behavior(Value::Null), json!({"scaleDown": {"stabilizationWindowSeconds": 0}}));
}
