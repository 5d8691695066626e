use std::time::Duration;

use super::*;
use crate::{
    core::{
        kinds::Kinds,
        reading::Reading,
        resource::{ContainerUsage, NodeUsage, Object, PodUsage, Usage},
        selector::Selector,
    },
    wire::{
        custom::{self, Described},
        external, path,
        resource::Encoder,
    },
};

fn v3_schema(kind: &str, document: Document) -> (Value, Value) {
    let described = v3(document);
    let schemas = described["components"]["schemas"].as_object().unwrap();
    let (_, schema) =
        schemas.iter().find(|(name, _)| name.rsplit('.').next() == Some(kind)).unwrap();
    let schema = schema.clone();
    (described, schema)
}

/// Every reference of a document has to lead somewhere.
fn check(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            fields.values().for_each(|field| check(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| check(document, item)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere() {
    for document in Document::ALL.map(v3).into_iter().chain([v2()]) {
        check(&document, &document);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
    assert_eq!(v2()["paths"].as_object().unwrap().len(), 17);
}

#[test]
fn the_index_names_every_version() {
    let index = v3_index(|_| "abc".to_owned());
    assert_eq!(
        index["paths"]["apis/custom.metrics.k8s.io/v1beta1"]["serverRelativeURL"],
        "/openapi/v3/apis/custom.metrics.k8s.io/v1beta1?hash=abc"
    );
    assert_eq!(
        index["paths"]["apis/external.metrics.k8s.io/v1beta1"]["serverRelativeURL"],
        "/openapi/v3/apis/external.metrics.k8s.io/v1beta1?hash=abc"
    );
    assert_eq!(index["paths"].as_object().unwrap().len(), 5);
}

#[test]
fn a_document_is_about_its_group_and_version() {
    for document in Document::ALL {
        let (group, version) = document.group_version();
        let described = v3(document);
        for schema in described["components"]["schemas"].as_object().unwrap().values() {
            for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                assert_eq!((&kind["group"], &kind["version"]), (&json!(group), &json!(version)));
            }
        }
        for (path, operations) in described["paths"].as_object().unwrap() {
            let rest = path.strip_prefix(&format!("/apis/{group}/{version}/")).unwrap();
            let named = operations["get"]["parameters"].as_array().unwrap().iter();
            let named = named.filter(|parameter| parameter["in"] == "path");
            let mut filled = rest.to_owned();
            for parameter in named {
                let placeholder = format!("{{{}}}", parameter["name"].as_str().unwrap());
                assert!(filled.contains(&placeholder), "{path}: {placeholder}");
                filled = filled.replace(&placeholder, "x");
            }
            assert!(!filled.contains('{'), "{path}");
            let is_served = match document {
                Document::Custom(_) => path::parse(&filled).is_ok(),
                Document::External => path::parse_external(&filled).is_ok(),
                Document::Resource(_) => path::parse_usage(&filled).is_ok(),
            };
            assert!(is_served, "{path}");
        }
    }
}

/// A part of a document of version 3 as version 2 has it.
fn as_v2(part: &Value) -> Value {
    match part {
        Value::String(text) => json!(text.replace("#/components/schemas/", "#/definitions/")),
        Value::Array(items) => items.iter().map(as_v2).collect(),
        Value::Object(fields) => {
            let mut fields: Map<_, _> =
                fields.iter().map(|(name, value)| (name.clone(), as_v2(value))).collect();
            if let Some(content) = fields.remove("content") {
                fields.insert("schema".to_owned(), content["application/json"]["schema"].clone());
            } else if fields.contains_key("in")
                && let Some(Value::Object(schema)) = fields.remove("schema")
            {
                fields.extend(schema);
            }
            Value::Object(fields)
        }
        other => other.clone(),
    }
}

#[test]
fn version_2_says_what_version_3_says() {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for document in Document::ALL.map(v3) {
        paths.extend(as_v2(&document["paths"]).as_object().unwrap().clone());
        definitions.extend(as_v2(&document["components"]["schemas"]).as_object().unwrap().clone());
    }
    assert_eq!(v2()["paths"], Value::Object(paths));
    assert_eq!(v2()["definitions"], Value::Object(definitions));
}

/// Fails where an answer has what its schema does not describe, or lacks what it requires.
fn assert_described(document: &Value, schema: &Value, answer: &Value) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    };
    match answer {
        Value::Null => {}
        Value::Object(fields) => {
            assert_eq!(schema["type"], "object", "{answer}");
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(required.as_str().unwrap()), "no {required}: {answer}");
            }
            for (name, value) in fields {
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Null) => {
                        // Metadata and selectors are described elsewhere.
                        assert!(schema.get("properties").is_none(), "{name} is not described");
                    }
                    (Value::Null, schema) | (schema, _) => {
                        assert_described(document, schema, value);
                    }
                }
            }
        }
        Value::Array(items) => {
            assert_eq!(schema["type"], "array", "{answer}");
            for item in items {
                assert_described(document, &schema["items"], item);
            }
        }
        Value::String(_) => assert_eq!(schema["type"], "string", "{answer}"),
        Value::Number(_) => assert_eq!(schema["type"], "integer", "{answer}"),
        Value::Bool(_) => panic!("{answer}"),
    }
}

/// The answers of a group and version, with everything that they can have.
fn answers(document: Document) -> Vec<Vec<u8>> {
    match document {
        Document::Custom(version) => {
            let kinds = Kinds::builtin();
            let selector = Selector::parse("method=completion").unwrap().to_label_selector();
            let described = Described {
                kind: kinds.resolve("", "pods").unwrap(),
                namespace: Some("team"),
                metric: "requests",
                selector: Some(&selector),
                window_seconds: Some(60),
            };
            let reading = Reading { name: "web-0".into(), milli: 1, at_ms: 0 };
            vec![custom::encode(version, described, &[reading])]
        }
        Document::External => {
            vec![external::tests::encoded(&[("queue", "jobs")], Some(60)).into_bytes()]
        }
        Document::Resource(version) => {
            let usage = Usage { cpu_milli: 5, memory_milli: 1000 };
            let object = Object {
                namespace: "team".into(),
                name: "a".into(),
                labels: ["app=web".into()].into(),
            };
            let containers = vec![ContainerUsage { name: "web".into(), usage }];
            let pod = (object.clone(), PodUsage { name: "a".into(), at_ms: 0, containers });
            let node = (object, NodeUsage { name: "a".into(), at_ms: 0, usage });
            let encoder = Encoder::new(version, Duration::from_secs(60), 0);
            let lists = [
                encoder.pods(std::slice::from_ref(&pod)),
                encoder.nodes(std::slice::from_ref(&node)),
            ];
            lists.into_iter().chain([encoder.pod(&pod), encoder.node(&node)]).collect()
        }
    }
}

#[test]
fn schemas_describe_the_answers() {
    for document in Document::ALL {
        for answer in answers(document) {
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let (described, schema) = v3_schema(answer["kind"].as_str().unwrap(), document);
            assert_described(&described, &schema, &answer);
        }
    }
}
