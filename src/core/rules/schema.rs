//! The JSON schema of the rules file, for editors and for checks before a deployment.

use serde_json::{Map, Value, json};

use super::keys::{FALSE, FILE, Key, Kind, Need, Shape, TRUE};
use crate::core::duration;

/// A DNS label.
const NAME: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// The rules file as a JSON schema, draft 2020-12: made from the description of the keys that files are checked against.
///
/// It refuses no file whose rules all compile, with one exception: a number or boolean without quotes in the place of a
/// name or path is a string to the reader alone. It does not know what is found by compiling (templates, expressions) nor
/// the bounds of durations.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    // An empty file has no rules.
    define(&FILE, true, &mut definitions);
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("The rules file of loadline"));
    if let Some(Value::Object(file)) = definitions.remove(FILE.name) {
        schema.extend(file);
    }
    definitions.sort_keys();
    schema.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(schema)
}

/// Adds a mapping and those within to the definitions. A mapping is either the value of a key, and may be null, or an item of
/// a list or mapping, and may not; none is both.
fn define(shape: &'static Shape, is_value: bool, definitions: &mut Map<String, Value>) {
    if definitions.contains_key(shape.name) {
        return;
    }
    let properties: Map<_, _> =
        shape.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> =
        shape.keys.iter().filter(|key| key.need != Need::Optional).map(|key| key.name).collect();
    let mut definition = Map::new();
    definition.insert("description".to_owned(), json!(shape.doc));
    let kind = if is_value { json!(["object", "null"]) } else { json!("object") };
    definition.insert("type".to_owned(), kind);
    definition.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        definition.insert("required".to_owned(), json!(required));
    }
    definition.insert("properties".to_owned(), Value::Object(properties));
    definitions.insert(shape.name.to_owned(), Value::Object(definition));
    for key in shape.keys {
        if let Some(inner) = key.kind.shape() {
            define(inner, matches!(key.kind, Kind::Object(_)), definitions);
        }
    }
}

fn property(key: &Key) -> Value {
    let mut property = match &key.kind {
        // What has no quotes is still the text that it is written with.
        Kind::Text => json!({"type": ["string", "number", "boolean"]}),
        Kind::NonEmpty => json!({"type": "string", "minLength": 1}),
        Kind::Name => json!({"type": "string", "pattern": NAME}),
        Kind::Names(most) => {
            json!({"type": "array", "items": {"type": "string", "pattern": NAME}, "maxItems": most})
        }
        Kind::Flag => {
            let mut spellings = vec![json!(true), json!(false)];
            spellings.extend(TRUE.iter().chain(&FALSE).map(|word| json!(word)));
            json!({"enum": spellings})
        }
        Kind::Duration { .. } => {
            let units = "ns|us|µs|μs|ms|s|m|h|d|w|y";
            let pattern = format!("^(0|([0-9]*\\.?[0-9]*({units}))+)$");
            json!({"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}]})
        }
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Quantity(words) => {
            let pattern = "^\\s*\\+?([0-9]+\\.?[0-9]*|\\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?\\s*$";
            let mut kinds = vec![
                json!({"type": "number", "minimum": 0}),
                json!({"type": "string", "pattern": pattern}),
            ];
            if !words.is_empty() {
                kinds.insert(0, json!({"enum": words}));
            }
            json!({"anyOf": kinds})
        }
        Kind::Count(most) => json!({"type": "integer", "minimum": 1, "maximum": most}),
        Kind::Object(shape) => reference(shape),
        Kind::List(shape, most) => {
            json!({"type": "array", "items": reference(shape), "maxItems": most})
        }
        Kind::ByLabel(shape) => json!({
            "type": "object",
            "propertyNames": {"pattern": "\\S"},
            "additionalProperties": reference(shape),
        }),
        Kind::Headers => json!({
            "type": "object",
            "propertyNames": {"pattern": "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        }),
        Kind::Words(most) => json!({
            "type": "array",
            "items": {"type": ["string", "number", "boolean"], "pattern": "^\\S+$"},
            "maxItems": most,
        }),
        Kind::Parameters(most) => json!({
            "type": "object",
            "propertyNames": {"pattern": "\\S"},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
            "maxProperties": most,
        }),
    };
    if key.need == Need::Optional {
        allow_null(&mut property);
    }
    let mut described = Map::new();
    let description = match &key.kind {
        Kind::Duration { least, most } => {
            let (least, most) = (duration::prometheus(*least), duration::prometheus(*most));
            format!("{} From {least} to {most}.", key.doc)
        }
        _ => key.doc.to_owned(),
    };
    described.insert("description".to_owned(), json!(description));
    if let Value::Object(property) = property {
        described.extend(property);
    }
    Value::Object(described)
}

/// A key without a value is as good as none. Said in the property itself, because editors explain little of what fails in
/// one of several schemas; for a reference the definition says it.
fn allow_null(property: &mut Value) {
    if let Some(Value::Array(alternatives)) = property.get_mut("anyOf") {
        alternatives.push(json!({"type": "null"}));
    } else if let Some(Value::Array(words)) = property.get_mut("enum") {
        words.push(Value::Null);
    } else if let Some(kind) = property.get_mut("type") {
        *kind = match kind.take() {
            Value::Array(mut kinds) => {
                kinds.push(json!("null"));
                Value::Array(kinds)
            }
            one => json!([one, "null"]),
        };
    }
}

fn reference(shape: &Shape) -> Value {
    json!({"$ref": format!("#/$defs/{}", shape.name)})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        key_path::Step,
        rules::{Problem, load},
    };

    /// Set to write the file anew.
    const UPDATE: &str = "UPDATE_SCHEMA";

    #[test]
    fn the_schema_that_is_shipped_is_the_one_of_the_reader() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rules.schema.json");
        let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let shipped = std::fs::read_to_string(path).unwrap_or_default();
        assert!(shipped == current, "{path} is not up to date: run this test with {UPDATE}=1");
    }

    /// A file in which only one thing is said, at the end of a path of keys.
    fn said(path: &[(&str, &Kind)], value: &str) -> String {
        path.iter().rev().fold(value.to_owned(), |inner, (key, kind)| match kind {
            Kind::List(..) if inner != value => format!("{{{key}: [{inner}]}}"),
            Kind::ByLabel(_) if inner != value => format!("{{{key}: {{label: {inner}}}}}"),
            _ => format!("{{{key}: {inner}}}"),
        })
    }

    fn every_key(
        shape: &'static Shape,
        path: &mut Vec<(&'static str, &'static Kind)>,
        check: &mut impl FnMut(&[(&str, &Kind)]),
    ) {
        for key in shape.keys {
            path.push((key.name, &key.kind));
            check(path);
            if let Some(inner) = key.kind.shape() {
                every_key(inner, path, check);
            }
            path.pop();
        }
    }

    #[test]
    fn every_key_of_the_schema_is_known_to_the_reader_and_its_kind_is_checked() {
        let mut checked = 0;
        every_key(&FILE, &mut Vec::new(), &mut |path| {
            let (key, kind) = path.last().unwrap();
            let wrong = if kind.shape().is_some()
                || matches!(kind, Kind::Headers | Kind::Words(_) | Kind::Parameters(_))
            {
                "word"
            } else {
                "{of: {}}"
            };
            let problems = load(&said(path, wrong)).unwrap_err();
            let about =
                |problem: &&Problem| problem.path.steps().last() == Some(&Step::Key((*key).into()));
            let found = problems.iter().filter(about).collect::<Vec<_>>();
            assert_eq!(found.len(), 1, "{}: {problems:?}", said(path, wrong));
            assert!(found[0].message.contains("expected"), "{found:?}");
            assert!(found[0].place.is_some());
            checked += 1;
        });
        assert!(checked > 60, "{checked}");
    }

    #[test]
    fn every_key_has_a_definition_that_allows_nothing_else() {
        fn mappings(value: &Value, found: &mut Vec<Value>) {
            match value {
                Value::Object(map) => {
                    if map.contains_key("properties") {
                        found.push(value.clone());
                    }
                    map.values().for_each(|inner| mappings(inner, found));
                }
                Value::Array(items) => items.iter().for_each(|inner| mappings(inner, found)),
                _ => {}
            }
        }
        let schema = schema();
        let mut found = Vec::new();
        mappings(&schema, &mut found);
        let mut shapes = std::collections::BTreeMap::new();
        every_key(&FILE, &mut Vec::new(), &mut |path| {
            if let Some(shape) = path.last().unwrap().1.shape() {
                shapes.insert(shape.name, shape);
            }
        });
        assert_eq!(found.len(), shapes.len() + 1);
        for (name, shape) in shapes {
            let definition = &schema["$defs"][name];
            assert_eq!(definition["additionalProperties"], false, "{name}");
            let known: Vec<_> = definition["properties"].as_object().unwrap().keys().collect();
            let keys: Vec<_> = shape.keys.iter().map(|key| key.name).collect();
            assert_eq!(known, keys, "{name}");
        }
    }
}
