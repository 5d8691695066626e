//! Changes of an autoscaler that are tried out: `--set` and `--variant`.

use serde_json::{Map, Value};

use crate::core::autoscaler::{Spec, Target};

/// The longest name of a variant.
const LONGEST_NAME: usize = 32;

/// The keys of the spec that a variant may change. Of `metrics` only targets.
const KEYS: [&str; 5] = ["minReplicas", "maxReplicas", "behavior", "metrics", "target"];

/// An autoscaler with changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The changes as they were written, each as `key=value`.
    pub changes: Vec<String>,
}

/// A change that cannot be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{change}: {problem}")]
pub struct VariantError {
    /// The change as it was written.
    pub change: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Variant {
    /// The autoscaler without changes.
    pub fn as_written() -> Self {
        Self { name: "as written".to_owned(), changes: Vec::new() }
    }

    /// The autoscaler with these changes, each `key=value`.
    pub fn set(changes: &[String]) -> Self {
        Self { name: "as set".to_owned(), changes: changes.to_vec() }
    }

    /// Reads `name:key=value,key=value`. Commas within brackets, braces and quotes do not separate.
    pub fn parse(text: &str) -> Result<Self, VariantError> {
        let error = |problem: &str| error(text, problem);
        let (name, changes) = text
            .split_once(':')
            .filter(|(name, _)| !name.contains('='))
            .ok_or_else(|| error("write NAME:KEY=VALUE,KEY=VALUE"))?;
        let name = name.trim();
        if name.is_empty()
            || name.chars().count() > LONGEST_NAME
            || name.chars().any(char::is_control)
        {
            return Err(error("the name must have 1 to 32 characters that can be printed"));
        }
        let changes = split(changes);
        if changes.is_empty() {
            return Err(error("there is no KEY=VALUE"));
        }
        Ok(Self { name: name.to_owned(), changes })
    }

    /// The document of an autoscaler with these changes. `spec` is that of the document.
    pub fn apply(&self, document: &Value, spec: &Spec) -> Result<Value, VariantError> {
        let mut changed = document.clone();
        for change in &self.changes {
            let error = |problem: &str| error(change, problem);
            let (key, value) =
                change.split_once('=').ok_or_else(|| error("write it as KEY=VALUE"))?;
            let key = key.trim();
            let path = path(key.strip_prefix("spec.").unwrap_or(key))
                .ok_or_else(|| error("the key is no path such as metrics[0].external.target"))?;
            let path = full(path, document, spec).map_err(|problem| error(&problem))?;
            let value = value_of(&path, value.trim());
            let spec =
                changed.get_mut("spec").ok_or_else(|| error("the autoscaler has no spec"))?;
            set(spec, &path, value).map_err(error)?;
        }
        Ok(changed)
    }
}

fn error(change: &str, problem: &str) -> VariantError {
    VariantError { change: change.to_owned(), problem: problem.to_owned() }
}

/// Splits at commas that are not within brackets, braces or quotes.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth, mut is_quoted) = (vec![String::new()], 0_usize, false);
    for character in text.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            '[' | '{' if !is_quoted => depth += 1,
            ']' | '}' if !is_quoted => depth = depth.saturating_sub(1),
            ',' if !is_quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A part of a path.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Key(String),
    Index(usize),
}

/// Reads a path such as `metrics[0].external.target`.
fn path(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for dotted in text.split('.') {
        let (key, mut rest) = dotted.split_at(dotted.find('[').unwrap_or(dotted.len()));
        if key.is_empty() || !key.chars().all(char::is_alphanumeric) {
            return None;
        }
        parts.push(Part::Key(key.to_owned()));
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            parts.push(Part::Index(index.parse().ok()?));
            rest = after;
        }
    }
    Some(parts)
}

/// The path with `target` written out, if it may be changed.
fn full(path: Vec<Part>, document: &Value, spec: &Spec) -> Result<Vec<Part>, String> {
    let Some(Part::Key(first)) = path.first() else { return Err("there is no key".to_owned()) };
    match first.as_str() {
        "target" => {
            let metric = match path.get(1..).unwrap_or_default() {
                [] if spec.metrics.len() == 1 => 0,
                [] => return Err("there are several metrics: write target[0]".to_owned()),
                [Part::Index(metric)] => *metric,
                _ => return Err("write target or target[0]".to_owned()),
            };
            target(metric, document, spec).ok_or_else(|| format!("there is no metrics[{metric}]"))
        }
        "metrics" if !path.contains(&Part::Key("target".to_owned())) => {
            Err("only the target of a metric can be changed".to_owned())
        }
        known if KEYS.contains(&known) => Ok(path),
        _ => Err(format!("it does not begin with one of {}", KEYS.join(", "))),
    }
}

/// The path of the target of a metric.
fn target(metric: usize, document: &Value, spec: &Spec) -> Option<Vec<Part>> {
    let type_ = document.get("spec")?.get("metrics")?.get(metric)?.get("type")?.as_str()?;
    let field: String = type_
        .chars()
        .enumerate()
        .map(|(at, it)| if at == 0 { it.to_ascii_lowercase() } else { it })
        .collect();
    let key = match spec.metrics.get(metric)?.target {
        Target::Value(_) => "value",
        Target::AverageValue(_) => "averageValue",
        Target::Utilization(_) => "averageUtilization",
    };
    let keys = [field.as_str(), "target", key].map(|key| Part::Key(key.to_owned()));
    let mut path = vec![Part::Key("metrics".to_owned()), Part::Index(metric)];
    path.extend(keys);
    Some(path)
}

/// A value of JSON, a number or a text. Quantities are texts.
fn value_of(path: &[Part], text: &str) -> Value {
    let is = |key: &str, part: &Part| matches!(part, Part::Key(known) if known == key);
    let is_quantity = path.last().is_some_and(|last| {
        is("tolerance", last)
            || is("averageValue", last)
            || (is("value", last) && path.iter().any(|part| is("target", part)))
    });
    if is_quantity {
        return Value::from(text);
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Sets a value. Maps that are missing are made, and a list grows by one item at a time.
fn set(into: &mut Value, path: &[Part], value: Value) -> Result<(), &'static str> {
    let Some((first, rest)) = path.split_first() else {
        *into = value;
        return Ok(());
    };
    if into.is_null() {
        *into = match first {
            Part::Key(_) => Value::Object(Map::new()),
            Part::Index(_) => Value::Array(Vec::new()),
        };
    }
    let next = match (first, into) {
        (Part::Key(key), Value::Object(map)) => map.entry(key.as_str()).or_insert(Value::Null),
        (Part::Index(index), Value::Array(list)) => {
            if *index == list.len() {
                list.push(Value::Null);
            }
            list.get_mut(*index).ok_or("the list is shorter")?
        }
        (Part::Key(_), _) => return Err("there is a value, and no map, before the end of the key"),
        (Part::Index(_), _) => return Err("there is no list"),
    };
    set(next, rest, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({"kind": "HorizontalPodAutoscaler", "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5, "metrics": [
                {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "30"}}}
        ]}})
    }

    fn applied(changes: &[&str]) -> Result<Value, VariantError> {
        let document = document();
        let spec = Spec::read(&serde_json::from_value(document.clone()).unwrap()).unwrap();
        let changes: Vec<_> = changes.iter().map(|it| (*it).to_owned()).collect();
        Variant::set(&changes).apply(&document, &spec)
    }

    #[test]
    fn changes_are_made_where_they_say() {
        let changed = applied(&[
            "target=40",
            "spec.maxReplicas=9",
            "behavior.scaleDown.stabilizationWindowSeconds=60",
            "behavior.scaleUp.tolerance=0.05",
            "behavior.scaleUp.policies[0].value=4",
            "behavior.scaleDown.policies=[{\"type\":\"Pods\",\"value\":1,\"periodSeconds\":60}]",
        ])
        .unwrap();
        let spec = &changed["spec"];
        assert_eq!(spec["metrics"][0]["external"]["target"]["averageValue"], "40");
        assert_eq!(spec["maxReplicas"], 9);
        assert_eq!(
            spec["behavior"],
            json!({
                "scaleDown": {"stabilizationWindowSeconds": 60, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
                "scaleUp": {"tolerance": "0.05", "policies": [{"value": 4}]},
            })
        );
    }

    #[test]
    fn what_cannot_be_changed_is_an_error() {
        for change in [
            "target",
            "target[1]=3",
            "target.value=3",
            "metrics[0].external.metric.name=x",
            "scaleTargetRef.name=x",
            "maxReplicas.x=1",
            "behavior.scaleUp.policies[7].value=1",
            "metrics[99999999999999999999].target=1",
            "=1",
            "behavior..x=1",
        ] {
            assert!(applied(&[change]).is_err(), "{change}");
        }
    }

    #[test]
    fn variants_have_names() {
        let variant = Variant::parse(
            r#"fast: target=40, behavior.scaleUp.policies=[{"type":"Pods","value":4}]"#,
        );
        let variant = variant.unwrap();
        assert_eq!(variant.name, "fast");
        assert_eq!(
            variant.changes,
            ["target=40", r#"behavior.scaleUp.policies=[{"type":"Pods","value":4}]"#]
        );
        for text in ["target=40", ":target=40", "a:", "a\u{7}:target=40", ""] {
            assert!(Variant::parse(text).is_err(), "{text}");
        }
    }
}
