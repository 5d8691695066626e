//! The `CustomResourceDefinitions` of the objects.
//!
//! The tests compare the schema with the types that the objects are read into, and `deploy/crds/` with the result.

use serde_json::{Map, Value, json};

use super::{EXTERNAL, MAX_QUERY, compile::MAX_METRIC};
use crate::core::rules::TeamRuleKind;

/// The longest text of a condition. The API server has this limit, too.
const MAX_MESSAGE: usize = 32_768;

/// The most namespaces that a `ClusterMetricRule` may list.
const MAX_NAMESPACES: usize = 1_000;

/// The longest duration or quantity, in bytes.
const MAX_NUMBER: usize = 32;

/// The definition of a kind, as `kubectl apply` takes it.
pub fn definition(kind: TeamRuleKind) -> Value {
    let (plural, singular, short, scope) = match kind {
        TeamRuleKind::MetricRule => ("metricrules", "metricrule", "mr", "Namespaced"),
        TeamRuleKind::ClusterMetricRule => {
            ("clustermetricrules", "clustermetricrule", "cmr", "Cluster")
        }
    };
    let list = format!("{}List", kind.kind());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{}", TeamRuleKind::GROUP),
            "labels": {"app.kubernetes.io/name": "loadline"},
        },
        "spec": {
            "group": TeamRuleKind::GROUP,
            "scope": scope,
            "names": {
                "kind": kind.kind(),
                "listKind": list,
                "plural": plural,
                "singular": singular,
                "shortNames": [short],
                "categories": ["loadline"],
            },
            "versions": [{
                "name": TeamRuleKind::VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
                "schema": {"openAPIV3Schema": schema(kind)},
            }],
        },
    })
}

fn columns() -> Value {
    let column = |name: &str, path: &str, about: &str| json!({"name": name, "type": "string", "jsonPath": path, "description": about});
    let serving = ".status.conditions[?(@.type==\"Serving\")].status";
    json!([
        column("Metric", ".spec.metric", "The name in the metrics API."),
        column("Target", ".spec.target", "What the values belong to."),
        column("Value", ".status.value", "A value of the last result."),
        column("Serving", serving, "Whether reads are answered by this rule."),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ])
}

fn schema(kind: TeamRuleKind) -> Value {
    let about = match kind {
        TeamRuleKind::MetricRule => {
            "A metric of the namespace, for its autoscalers. The query reads series of the namespace only."
        }
        TeamRuleKind::ClusterMetricRule => {
            "A metric of every namespace, or of those that are listed. In each the query reads series of that namespace only."
        }
    };
    json!({
        "type": "object",
        "description": about,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec(kind),
            "status": status(),
        },
    })
}

/// A field that is a text.
fn text(about: &str, longest: usize) -> Map<String, Value> {
    let mut text = Map::new();
    text.insert("type".to_owned(), json!("string"));
    text.insert("description".to_owned(), json!(about));
    text.insert("maxLength".to_owned(), json!(longest));
    text
}

/// A text that must match a pattern, which implies that it is not empty.
fn pattern(about: &str, longest: usize, pattern: &str) -> Value {
    let mut text = text(about, longest);
    text.insert("pattern".to_owned(), json!(pattern));
    Value::Object(text)
}

/// A text that must hold to a rule.
fn ruled(about: &str, longest: usize, rule: &str, message: &str) -> Value {
    let mut text = text(about, longest);
    text.insert("minLength".to_owned(), json!(1));
    let rule = json!([{"rule": rule, "message": message}]);
    text.insert("x-kubernetes-validations".to_owned(), rule);
    Value::Object(text)
}

const DURATION: &str = "^(0|([0-9]+(ms|[ywdhms]))+)$";
const DNS_LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

fn spec(kind: TeamRuleKind) -> Value {
    let mut query = text(
        "A PromQL query. Every selector in it is limited to the series of the namespace, so that none has to name it. A query that cannot be limited is refused, and the condition `Accepted` says why.",
        MAX_QUERY,
    );
    query.insert("minLength".to_owned(), json!(1));
    let mut label = text(
        "The label of the result that holds the name of the object. By default the singular name of the resource: `pod`, `deployment`.",
        MAX_METRIC,
    );
    label.insert("minLength".to_owned(), json!(1));
    let mut properties = json!({
        "metric": pattern(
            "The name of the metric in the metrics API.",
            MAX_METRIC,
            "^[A-Za-z0-9_][A-Za-z0-9_:.-]*$",
        ),
        "query": query,
        "target": pattern(
            "What the values belong to: `pods`, another resource with namespaces such as `deployments.apps`, or `external`.",
            MAX_METRIC,
            "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        ),
        "label": label,
        "window": pattern(
            "The range that the query looks over, as the answers report it. By default it is read from the query.",
            MAX_NUMBER,
            DURATION,
        ),
        "cacheTTL": pattern(
            "How long a result is used, at most `1h`. By default as the server has it.",
            MAX_NUMBER,
            DURATION,
        ),
        "onEmpty": ruled(
            "What becomes of objects without a sample, and of an external metric without one: `omit` (the default), `zero`, or a value such as `500m`.",
            MAX_NUMBER,
            "self == 'omit' || self == 'zero' || (isQuantity(self) && !quantity(self).isLessThan(quantity('0')))",
            "`omit`, `zero` or a quantity that is not negative, such as `500m`, is expected",
        ),
        "backend": pattern(
            "The server that is queried. It must be one that rules of teams may use.",
            63,
            DNS_LABEL,
        ),
    });
    if kind == TeamRuleKind::ClusterMetricRule
        && let Value::Object(properties) = &mut properties
    {
        let namespaces = json!({
            "type": "array",
            "description": "The namespaces that the rule is for. By default all of them.",
            "maxItems": MAX_NAMESPACES,
            "x-kubernetes-list-type": "set",
            "items": {"type": "string", "maxLength": 63, "pattern": DNS_LABEL},
        });
        properties.insert("namespaces".to_owned(), namespaces);
    }
    json!({
        "type": "object",
        "required": ["metric", "query", "target"],
        "properties": properties,
        "x-kubernetes-validations": [{
            "rule": format!("self.target != '{EXTERNAL}' || !has(self.label)"),
            "message": "an external metric belongs to no object, so it has no label that names one",
        }],
    })
}

fn status() -> Value {
    let generation = json!({"type": "integer", "format": "int64", "description": "The generation of the spec that this is about."});
    json!({
        "type": "object",
        "properties": {
            "observedGeneration": generation.clone(),
            "conditions": {
                "type": "array",
                "description": "Accepted: the spec compiles, and the query is limited to the namespace. Discovered: the query had a result. Serving: reads of the metric are answered by this rule.",
                "maxItems": 8,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                    "properties": {
                        "type": {"type": "string", "enum": ["Accepted", "Discovered", "Serving"]},
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "reason": text("Why, as one word for programs.", 1_024),
                        "message": text("Why, as a sentence for people.", MAX_MESSAGE),
                        "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When `status` changed last."},
                        "observedGeneration": generation,
                    },
                },
            },
            "series": {"type": "integer", "format": "int64", "description": "How many series the last result had."},
            "value": text("A value of the last result, as a quantity.", 64),
            "lastError": text("Why the last query failed.", MAX_MESSAGE),
        },
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::core::team_rules::{Condition, ConditionType, Object, Spec, Status};

    /// Set to write the files anew.
    const UPDATE: &str = "UPDATE_SCHEMA";

    const KINDS: [TeamRuleKind; 2] = [TeamRuleKind::MetricRule, TeamRuleKind::ClusterMetricRule];

    #[test]
    fn the_definitions_that_are_shipped_are_those_of_the_types() {
        for kind in KINDS {
            let name = kind.kind().to_lowercase();
            let path = format!(
                "{}/deploy/crds/{name}s.{}.yaml",
                env!("CARGO_MANIFEST_DIR"),
                TeamRuleKind::GROUP
            );
            let current = serde_saphyr::to_string(&definition(kind)).unwrap();
            if std::env::var_os(UPDATE).is_some() {
                std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
                std::fs::write(&path, &current).unwrap();
            }
            let shipped = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(shipped == current, "{path} is not up to date: run this test with {UPDATE}=1");
        }
    }

    fn full() -> Object {
        let some = || Some("x".to_owned());
        let spec = Spec {
            metric: "m".to_owned(),
            query: "q".to_owned(),
            target: "pods".to_owned(),
            label: some(),
            window: some(),
            cache_ttl: some(),
            on_empty: some(),
            backend: some(),
            namespaces: Some(vec!["n".to_owned()]),
        };
        let condition = Condition {
            kind: ConditionType::Accepted,
            status: "True".to_owned(),
            reason: "Accepted".to_owned(),
            message: String::new(),
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            observed_generation: Some(1),
        };
        let status = Status {
            observed_generation: Some(1),
            conditions: vec![condition],
            series: Some(1),
            value: some(),
            last_error: some(),
        };
        Object { spec, status: Some(status), ..Object::default() }
    }

    /// Compares an object with the schema of objects: the same fields, and of the same types.
    fn compare(schema: &Value, value: &Value, path: &str) {
        match value {
            Value::Object(fields) => {
                assert_eq!(schema["type"], "object", "{path}");
                let Some(properties) = schema["properties"].as_object() else { return };
                let mut known: Vec<_> = properties.keys().collect();
                let mut written: Vec<_> = fields.keys().collect();
                known.retain(|key| !matches!(key.as_str(), "apiVersion" | "kind"));
                known.sort();
                written.sort();
                assert_eq!(known, written, "{path}");
                for (key, value) in fields {
                    compare(&schema["properties"][key], value, &format!("{path}.{key}"));
                }
            }
            Value::Array(items) => {
                assert_eq!(schema["type"], "array", "{path}");
                for item in items {
                    compare(&schema["items"], item, path);
                }
            }
            Value::String(_) => assert_eq!(schema["type"], "string", "{path}"),
            Value::Number(_) => assert_eq!(schema["type"], "integer", "{path}"),
            other => panic!("{path}: {other}"),
        }
    }

    #[test]
    fn the_schema_has_the_fields_of_the_types_and_no_others() {
        let object = serde_json::to_value(full()).unwrap();
        compare(&schema(TeamRuleKind::ClusterMetricRule), &object, "");
        let mut of_namespace = full();
        of_namespace.spec.namespaces = None;
        let object = serde_json::to_value(of_namespace).unwrap();
        compare(&schema(TeamRuleKind::MetricRule), &object, "");
    }

    #[test]
    fn what_the_schema_requires_is_what_the_types_require() {
        let schema = schema(TeamRuleKind::ClusterMetricRule);
        for pointer in ["/spec", "/status/conditions/0"] {
            let part = pointer.replace("/0", "/items").replace('/', "/properties/");
            let part = part.replace("/properties/items", "/items");
            let required = schema.pointer(&part).unwrap()["required"].as_array().unwrap().clone();
            let object = serde_json::to_value(full()).unwrap();
            let fields = object.pointer(pointer).unwrap().as_object().unwrap().clone();
            for key in fields.keys() {
                let mut without = object.clone();
                without.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
                let is_read = serde_json::from_value::<Object>(without).is_ok();
                assert_eq!(is_read, !required.contains(&json!(key)), "{pointer}/{key}");
            }
        }
    }

    #[test]
    fn every_type_of_condition_is_in_the_schema() {
        let types =
            status()["properties"]["conditions"]["items"]["properties"]["type"]["enum"].clone();
        let types: Vec<ConditionType> = serde_json::from_value(types).unwrap();
        assert_eq!(
            types,
            [ConditionType::Accepted, ConditionType::Discovered, ConditionType::Serving]
        );
    }
}
