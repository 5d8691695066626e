//! YAML as a tree that knows where everything stands, so that a check of a whole file can report all its problems, each
//! with line and column.
//!
//! Scalars keep the text they were written with: to Go's YAML, and so to prometheus-adapter, an unquoted `1.50` or `yes`
//! in the place of a string is that text.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, NonFiniteFloatPolicy, Options, Spanned, budget::BudgetBreach};

/// The largest rules file that is read, in bytes. A ConfigMap holds 1 MiB at most.
pub const MAX_BYTES: usize = 4 << 20;

/// The most mappings, sequences and scalars of a file, each counted as often as aliases repeat it.
const MAX_NODES: usize = 250_000;

/// The most bytes of a file's scalars, each counted as often as aliases repeat it.
const MAX_SCALAR_BYTES: usize = 4 * MAX_BYTES;

/// How deep mappings and sequences may stand in each other. A rules file has six; each takes dozens of kilobytes of the
/// stack, and a thread of the runtime has 2 MiB.
const MAX_DEPTH: usize = 16;

/// Line and column of a node in its file, both counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A YAML node and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the node begins; for an alias, where the alias stands.
    pub place: Place,
    /// What stands there.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar, as the text it was written with (quotes and escapes resolved).
    Scalar(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping in the order of the file. Duplicate keys are refused by the parser.
    Mapping(Vec<(Key, Node)>),
}

/// The key of a mapping's entry and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where the key begins.
    pub place: Place,
    /// The key's text.
    pub text: String,
}

/// A file that is not YAML, or not within the limits (size, depth, aliases).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Where reading stopped, if the parser knows.
    pub place: Option<Place>,
    /// What is wrong, in one line.
    pub message: String,
}

/// Reads one YAML document. An empty document is [`Value::Null`].
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError {
            place: None,
            message: format!(
                "the file has {} bytes; {MAX_BYTES} are the most that is read",
                text.len()
            ),
        });
    }
    let documents: Result<Vec<Spanned<Raw>>, _> =
        serde_saphyr::from_multiple_with_options(text, options());
    let documents = match documents {
        Ok(documents) => documents,
        Err(error) => {
            let place = error.location().filter(|at| at.line() > 0).map(|at| place(&at));
            return Err(YamlError { place, message: message(error.without_snippet()) });
        }
    };
    let mut documents = documents.into_iter().filter(|tree| !matches!(tree.value, Raw::Null));
    let Some(tree) = documents.next() else {
        return Ok(Node { place: Place { line: 1, column: 1 }, value: Value::Null });
    };
    if let Some(second) = documents.next() {
        return Err(YamlError {
            place: Some(place(&second.referenced)),
            message: "the file holds several YAML documents; one is expected".to_owned(),
        });
    }
    Ok(node(tree, text))
}

fn options() -> Options {
    serde_saphyr::options! {
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: MAX_SCALAR_BYTES,
            max_depth: MAX_DEPTH,
            // Hundreds of rules may share one mapping of resources. What aliases repeat is counted by the other limits.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
        },
    }
}

/// The tree as the parser gives it: scalars that look like numbers or booleans arrive as such, and get back the text they
/// were written with in [`node`].
enum Raw {
    Null,
    Text(String),
    Typed,
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Typed => Value::Scalar(written(source, &raw.defined).to_owned()),
        Raw::Sequence(items) => {
            Value::Sequence(items.into_iter().map(|item| node(item, source)).collect())
        }
        Raw::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Key { place: place(&key.referenced), text: key.value };
                    (key, node(value, source))
                })
                .collect(),
        ),
    };
    Node { place: place(&raw.referenced), value }
}

fn written<'a>(source: &'a str, at: &serde_saphyr::Location) -> &'a str {
    let span = at.span();
    let start = span.byte_offset().and_then(|start| usize::try_from(start).ok());
    let length = span.byte_len().and_then(|length| usize::try_from(length).ok());
    start
        .zip(length)
        .and_then(|(start, length)| source.get(start..start.checked_add(length)?))
        .unwrap_or_default()
        .trim()
}

fn place(at: &serde_saphyr::Location) -> Place {
    Place { line: at.line(), column: at.column() }
}

fn message(error: &Error) -> String {
    match error {
        Error::Budget { breach, .. } => limit(breach),
        Error::AliasError { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "aliases repeat too much".to_owned(),
        // Without what the library's users could do about it.
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("duplicate key `{key}`"),
        error => one_line(&error.to_string()),
    }
}

fn limit(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Depth { .. } => {
            format!("more than {MAX_DEPTH} mappings and lists in each other")
        }
        BudgetBreach::Nodes { .. } => {
            format!("more than {MAX_NODES} values, counting what aliases repeat")
        }
        BudgetBreach::ScalarBytes { .. } => {
            format!("more than {MAX_SCALAR_BYTES} bytes of text, counting what aliases repeat")
        }
        breach => format!("more than is read of one file: {}", one_line(&format!("{breach:?}"))),
    }
}

/// The parser's sentence without its own `at line L, column C`, which [`YamlError::place`] says.
fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.rsplit_once(" at line ") {
        Some((sentence, _)) => sentence.to_owned(),
        None => text,
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML node")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Raw, E> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Raw::Text(text.to_owned())),
            Err(error) => Err(E::custom(format_args!("not UTF-8: {error}"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element()? {
            sequence.push(item);
        }
        Ok(Raw::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            if !keys.insert(key.value.clone()) {
                return Err(A::Error::custom(format_args!("duplicate key `{}`", key.value)));
            }
            mapping.push((key, entries.next_value()?));
        }
        Ok(Raw::Mapping(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(text: &str) -> Vec<String> {
        let Value::Sequence(items) = parse(text).unwrap().value else { panic!("a sequence") };
        items
            .into_iter()
            .map(|item| match item.value {
                Value::Scalar(text) => text,
                other => panic!("a scalar, not {other:?}"),
            })
            .collect()
    }

    #[test]
    fn scalars_keep_the_text_they_were_written_with() {
        assert_eq!(
            scalars("[5, 1.50, true, 010, yes, 0x1F, 1e3, .inf, 'a', \"b\\n\", <<.Series>>]"),
            ["5", "1.50", "true", "010", "yes", "0x1F", "1e3", ".inf", "a", "b\n", "<<.Series>>"]
        );
        assert_eq!(scalars("- &a 007\n- *a\n"), ["007", "007"]);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let Value::Mapping(top) = parse("rules:\n- name: x\n  é: {as: 5}\n").unwrap().value else {
            panic!("a mapping")
        };
        let Value::Sequence(rules) = &top[0].1.value else { panic!("a sequence") };
        let Value::Mapping(rule) = &rules[0].value else { panic!("a mapping") };
        assert_eq!(rule[0].0.place, Place { line: 2, column: 3 });
        assert_eq!(rule[0].1.place, Place { line: 2, column: 9 });
        let Value::Mapping(inner) = &rule[1].1.value else { panic!("a mapping") };
        assert_eq!(inner[0].1.place, Place { line: 3, column: 11 });
    }

    #[test]
    fn refuses_duplicate_keys_with_their_place() {
        let error = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(error.message, "duplicate key `a`");
        assert_eq!(error.place.unwrap().line, 3);
    }

    #[test]
    fn one_document_is_expected() {
        for text in ["", "---\n", "# nothing\n", "~\n---\n"] {
            assert!(matches!(parse(text).unwrap().value, Value::Null), "{text:?}");
        }
        assert!(matches!(parse("a: 1\n---\n").unwrap().value, Value::Mapping(_)));
        let error = parse("a: 1\n---\nb: 2\n").unwrap_err();
        assert!(error.message.contains("several") && error.place.unwrap().line == 3, "{error}");
    }

    #[test]
    fn merge_keys_are_merged() {
        let Value::Mapping(top) = parse("x: &x {a: 1}\ny:\n  <<: *x\n  b: 2\n").unwrap().value
        else {
            panic!("a mapping")
        };
        let Value::Mapping(y) = &top[1].1.value else { panic!("a mapping") };
        let keys: Vec<_> = y.iter().map(|(key, _)| key.text.as_str()).collect();
        assert!(keys.contains(&"a") && keys.contains(&"b"), "{keys:?}");
    }

    #[test]
    fn bombs_end_in_an_error() {
        let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let alias = format!("*a{}", i - 1);
            laughs += &format!("a{i}: &a{i} [{}]\n", vec![alias; 10].join(","));
        }
        assert!(parse(&laughs).is_err());
        assert!(parse(&"[".repeat(20_000)).is_err());
        assert!(parse(&"- ".repeat(20_000)).is_err());
        assert!(parse(&"a".repeat(MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn mappings_of_many_keys_are_read() {
        let text: String = (0..20_000).map(|key| format!("k{key}: 1\n")).collect();
        let Value::Mapping(top) = parse(&text).unwrap().value else { panic!("a mapping") };
        assert_eq!(top.len(), 20_000);
    }
}
