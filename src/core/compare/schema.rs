//! The JSON schema of a comparison, for programs that read `-o json`.

use serde_json::{Value, json};

use super::{Aspect, Reason, Verdict};
use crate::core::explain::Cause;

/// A comparison as a JSON schema, draft 2020-12. Later versions may have more properties, aspects, reasons and causes.
pub fn schema() -> Value {
    let text = |doc: &str| json!({"description": doc, "type": "string"});
    let number = |doc: &str| json!({"description": doc, "type": "integer", "minimum": 0});
    let or_nothing = |doc: &str| json!({"description": doc, "type": ["string", "null"]});
    let code_or_nothing = |doc: &str, codes: Vec<&'static str>| {
        let codes: Vec<_> = codes.into_iter().map(Value::from).chain([Value::Null]).collect();
        json!({"description": doc, "enum": codes})
    };
    let object = |doc: &str, required: &[&str], properties: Value| json!({"description": doc, "type": "object", "required": required, "properties": properties});
    let difference = object(
        "One difference of a metric, of one or several objects.",
        &[
            "api",
            "metric",
            "aspect",
            "namespace",
            "object",
            "count",
            "reference",
            "with",
            "reason",
            "cause",
        ],
        json!({
            "api": {"description": "The API: custom.metrics.k8s.io, external.metrics.k8s.io or metrics.k8s.io.", "enum": ["custom", "external", "resource"]},
            "metric": text("The metric, as the API lists it."),
            "aspect": {"description": "In what the servers differ.", "enum": Aspect::ALL.map(Aspect::name)},
            "namespace": or_nothing("The namespace that was read; null for objects of the cluster."),
            "object": text("One of the objects, or the labels of an external value; empty where the difference is one of whole answers."),
            "count": number("How many objects, or answers, differ so."),
            "reference": or_nothing("What the reference has; null where it has nothing."),
            "with": or_nothing("What the other server has; null where it has nothing."),
            "reason": code_or_nothing("The documented reason; null where nothing explains the difference.", Reason::ALL.iter().map(|reason| reason.code()).collect()),
            "cause": code_or_nothing("The first cause that `loadline explain` names at the other server; null where it was not asked or names none.", Cause::ALL.iter().map(|cause| cause.code()).collect()),
        }),
    );
    let compared = object(
        "How much was compared.",
        &["metrics", "reads", "values", "moved"],
        json!({
            "metrics": number("Metrics that both list."),
            "reads": number("Reads that both were asked for."),
            "values": number("Values that both have."),
            "moved": number("Values that were only alike over time, because they move."),
        }),
    );
    let mut comparison = object(
        "The answer of `loadline compare -o json`.",
        &["verdict", "reference", "with", "compared", "differences", "notes"],
        json!({
            "verdict": {"description": "Whether nothing differs, every difference is documented, or some is not.", "enum": Verdict::ALL.map(Verdict::name)},
            "reference": text("The server that is to be replaced."),
            "with": text("The server that replaces it."),
            "compared": compared,
            "differences": {"description": "What differs.", "type": "array", "items": difference},
            "notes": {"description": "What was not compared, and why.", "type": "array", "items": {"type": "string"}},
        }),
    );
    if let Some(comparison) = comparison.as_object_mut() {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        comparison.insert("$schema".to_owned(), draft.into());
        comparison.insert("title".to_owned(), "A comparison of loadline".into());
        comparison.sort_keys();
    }
    comparison
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::compare::{Comparison, Counts, Differences, Finding, MetricsApi, Sides};

    #[test]
    fn the_published_schema_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/comparison.schema.json");
        let schema = format!("{:#}\n", schema());
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), schema, "UPDATE_SCHEMA=1 writes it");
    }

    #[test]
    fn the_schema_describes_what_is_written() {
        let sides = Sides { reference: "a".to_owned(), with: "b".to_owned() };
        let mut differences = Differences::default();
        for (api, aspect) in MetricsApi::ALL.iter().cycle().zip(Aspect::ALL) {
            let reason = Some(Reason::Rounding);
            let sides = Sides::default();
            let finding = Finding { aspect, object: String::new(), sides, reason };
            differences.add(*api, "m", None, finding);
        }
        let all = differences.into_all();
        let comparison = Comparison::conclude(sides, Counts::default(), all, Vec::new());
        let written = serde_json::to_value(&comparison).unwrap();
        let schema = schema();
        let keys = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let described = &schema["properties"];
        assert_eq!(keys(&written), keys(described));
        assert_eq!(keys(&written["compared"]), keys(&described["compared"]["properties"]));
        let difference = &described["differences"]["items"]["properties"];
        for found in written["differences"].as_array().unwrap() {
            assert_eq!(keys(found), keys(difference));
            for key in ["api", "aspect", "reason", "cause"] {
                let known = difference[key]["enum"].as_array().unwrap();
                assert!(known.contains(&found[key]), "{key}: {}", found[key]);
            }
        }
        let verdicts = described["verdict"]["enum"].as_array().unwrap();
        assert!(verdicts.contains(&written["verdict"]), "{}", written["verdict"]);
    }
}
