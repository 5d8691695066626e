//! The JSON schema of an explanation, for programs that read `-o json`.

use serde_json::{Value, json};

use super::{Cause, name};

/// An explanation as a JSON schema, draft 2020-12. Later versions may have more properties, steps and causes.
pub fn schema() -> Value {
    let codes: Vec<_> = Cause::ALL.iter().map(|cause| cause.code()).collect();
    let text = |doc: &str| json!({"description": doc, "type": "string"});
    let or_nothing = |kind: &str, doc: &str| json!({"description": doc, "type": [kind, "null"]});
    let object = |doc: &str, required: &[&str], properties: Value| json!({"description": doc, "type": "object", "required": required, "properties": properties});
    let step = object(
        "One step on the way.",
        &["name", "ok", "seen", "do"],
        json!({
            "name": {"description": "What is looked at.", "enum": name::ALL},
            "ok": or_nothing("boolean", "Whether it is as it should be; null if it was not checked or is not known."),
            "seen": text("What was seen."),
            "do": text("What to do about it; empty where there is nothing to do."),
        }),
    );
    let metric = object(
        "One metric of the autoscaler.",
        &["name", "value", "target", "ratio", "replicas", "leads"],
        json!({
            "name": text("Its name."),
            "value": or_nothing("string", "The value that the autoscaler shows."),
            "target": text("The value that it should have."),
            "ratio": or_nothing("number", "The value divided by its target."),
            "replicas": or_nothing("integer", "How many replicas it asks for."),
            "leads": {"description": "Whether its number is the one that the metrics recommend.", "type": "boolean"},
        }),
    );
    let limits =
        json!(["minReplicas", "maxReplicas", "scaleUp", "scaleDown", "stabilization", null]);
    let hpa = object(
        "What the autoscaler makes of it, where one was asked about.",
        &["current", "desired", "metrics", "limitedBy"],
        json!({
            "current": or_nothing("integer", "How many replicas there are."),
            "desired": or_nothing("integer", "How many there should be; null if it is not known."),
            "metrics": {"description": "Its metrics.", "type": "array", "items": {"$ref": "#/$defs/metric"}},
            "limitedBy": {"description": "What limits the change.", "enum": limits},
        }),
    );
    let mut explanation = object(
        "The answer of `loadline explain -o json`; an array of them where several autoscalers were asked about.",
        &["verdict", "cause", "also", "object", "steps", "hpa"],
        json!({
            "verdict": {"description": "Whether something prevents scaling, or may not be meant.", "enum": ["ok", "doubtful", "failed"]},
            "cause": {
                "description": "The code of the first cause; of several the one that matters most.",
                "oneOf": [{"$ref": "#/$defs/code"}, {"type": "null"}],
            },
            "also": {"description": "Other causes that were found.", "type": "array", "items": {"$ref": "#/$defs/code"}},
            "object": text("What was asked about."),
            "steps": {"description": "The way, step by step.", "type": "array", "items": {"$ref": "#/$defs/step"}},
            "hpa": {
                "description": "What the autoscaler makes of it; null where none was asked about.",
                "oneOf": [{"$ref": "#/$defs/hpa"}, {"type": "null"}],
            },
        }),
    );
    let frame = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An explanation of loadline",
        "$defs": {"code": {"enum": codes}, "hpa": hpa, "metric": metric, "step": step},
    });
    if let (Some(explanation), Value::Object(frame)) = (explanation.as_object_mut(), frame) {
        explanation.extend(frame);
        explanation.sort_keys();
    }
    explanation
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::{
        autoscaler::Limit,
        explain::{Explanation, Outcome, OutcomeMetric, Step},
    };

    #[test]
    fn the_published_schema_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/explanation.schema.json");
        let schema = format!("{:#}\n", schema());
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), schema, "UPDATE_SCHEMA=1 writes it");
    }

    /// The names of an object's properties, and those of the definition that describes it.
    fn assert_described(written: &Value, definition: &Value) {
        let keys = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(written), keys(&definition["properties"]), "{definition:#}");
        for required in definition["required"].as_array().unwrap() {
            assert!(written.get(required.as_str().unwrap()).is_some(), "{required}");
        }
    }

    #[test]
    fn the_schema_describes_what_is_written() {
        let metric = OutcomeMetric {
            name: "m".to_owned(),
            value: Some("1".to_owned()),
            target: "1".to_owned(),
            ratio: Some(1.0),
            replicas: Some(1),
            leads: true,
        };
        let limits = [
            Limit::MinReplicas,
            Limit::MaxReplicas,
            Limit::ScaleUpRate,
            Limit::ScaleDownRate,
            Limit::Stabilization,
        ];
        let schema = schema();
        for limit in limits {
            let limited_by = Some(limit.code());
            let known = schema["$defs"]["hpa"]["properties"]["limitedBy"]["enum"].as_array();
            assert!(known.unwrap().contains(&limit.code().into()), "{limited_by:?}");
        }
        let outcome = Outcome {
            current: Some(1),
            desired: Some(1),
            metrics: vec![metric],
            limited_by: Some(Limit::MaxReplicas.code()),
        };
        let steps = vec![Step::found(name::RULE, Cause::Filtered, "seen", "advice")];
        let explanation = Explanation::conclude("hpa/web".to_owned(), steps, Some(outcome));
        let written = serde_json::to_value(&explanation).unwrap();
        let defined = &schema["$defs"];
        assert_described(&written, &schema);
        assert_described(&written["steps"][0], &defined["step"]);
        assert_described(&written["hpa"], &defined["hpa"]);
        assert_described(&written["hpa"]["metrics"][0], &defined["metric"]);
        assert!(defined["code"]["enum"].as_array().unwrap().contains(&written["cause"]));
    }
}
