//! YAML as a tree that knows where everything stands, so that a check of a whole file can report all its problems, each
//! with line and column.
//!
//! Scalars keep the text they were written with: to Go's YAML, and so to prometheus-adapter, an unquoted `1.50` or `yes`
//! in the place of a string is that text.

mod explain;
mod inner;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
};

use granit_parser::{Event, Parser, ScalarStyle, Tag};

pub use inner::InnerText;

/// The largest rules file that is read, in bytes. A ConfigMap holds 1 MiB at most.
pub const MAX_BYTES: usize = 4 << 20;

/// The most mappings, sequences and scalars of a file, each counted as often as aliases repeat it.
const MAX_NODES: usize = 250_000;

/// The most bytes of a file's scalars, each counted as often as aliases repeat it.
const MAX_SCALAR_BYTES: usize = 4 * MAX_BYTES;

/// How deep mappings and sequences may stand in each other. A rules file has six, and the definitions of Kubernetes' custom
/// resources, which may stand beside a ConfigMap, about forty. Whatever walks a tree does so by recursion.
const MAX_DEPTH: usize = 64;

/// Line and column of a node in its file, both counted from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

impl Place {
    /// Where a file begins.
    pub const START: Self = Self { line: 1, column: 1 };

    fn of(marker: &granit_parser::Marker) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self { line: count(marker.line()), column: count(marker.col()).saturating_add(1) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A YAML node and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the node begins: its first quote, for a block scalar its first character, for an alias the alias.
    pub place: Place,
    /// The quotes that a scalar is written in.
    pub quote: Option<char>,
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
    /// A mapping in the order of the file, with what merge keys (`<<`) add at its end. Duplicate keys are refused.
    Mapping(Vec<(Key, Node)>),
}

/// The key of a mapping's entry and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where the key begins.
    pub place: Place,
    /// The key's text.
    pub text: String,
    /// Whether the value has an anchor that an alias repeats.
    pub is_repeated: bool,
}

impl Node {
    /// The value of a mapping's key; nothing of what is no mapping, and where the value is null.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Mapping(entries) = &self.value else { return None };
        let (_, node) = entries.iter().find(|(known, _)| known.text == key)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Moves the tree to other places.
    pub fn relocate(&mut self, to: &impl Fn(Place) -> Place) {
        self.place = to(self.place);
        match &mut self.value {
            Value::Null | Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.relocate(to)),
            Value::Mapping(entries) => {
                for (key, node) in entries {
                    key.place = to(key.place);
                    node.relocate(to);
                }
            }
        }
    }
}

/// A text that is not YAML, or not within the limits (size, depth, aliases); or that has not the form that is expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct YamlError {
    /// Where the fault is, as near as the parser knows.
    pub place: Option<Place>,
    /// What is wrong, in one line.
    pub message: String,
    /// What else is to be looked at, and where it stands.
    pub related: Option<(&'static str, Place)>,
}

impl std::error::Error for YamlError {}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.related {
            Some((what, place)) => write!(f, "; {what} {place}"),
            None => Ok(()),
        }
    }
}

impl YamlError {
    /// Something that is wrong at one place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place: Some(place), message: message.into(), related: None }
    }

    /// Moves the error to other places.
    #[must_use]
    pub fn relocated(mut self, to: &impl Fn(Place) -> Place) -> Self {
        self.place = self.place.map(to);
        self.related = self.related.map(|(what, place)| (what, to(place)));
        self
    }
}

/// Reads a text of any number of YAML documents. Empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Node>, YamlError> {
    if text.len() > MAX_BYTES {
        let message =
            format!("the file has {} bytes; {MAX_BYTES} are the most that is read", text.len());
        return Err(YamlError { place: None, message, related: None });
    }
    let events = events(text)?;
    let repeated = events.iter().filter_map(|(event, _)| match event {
        Event::Alias(anchor) => Some(*anchor),
        _ => None,
    });
    let repeated = repeated.collect();
    let mut composer = Composer { events: &events, repeated, ..Composer::default() };
    composer.compose(0..events.len(), None)?;
    Ok(composer.documents)
}

/// What the parser has read, and where it begins.
type Events<'t> = Vec<(Event<'t>, Place)>;

fn events(text: &str) -> Result<Events<'_>, YamlError> {
    let mut events = Events::new();
    for next in Parser::new_from_str(text) {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => return Err(explain::error(&error, text, &events)),
        };
        let place = Place::of(&span.start);
        // A collection is two events.
        if events.len() > 2 * MAX_NODES {
            return Err(too_many_nodes(place));
        }
        events.push((event, place));
    }
    Ok(events)
}

fn too_many_nodes(place: Place) -> YamlError {
    YamlError::new(place, format!("more than {MAX_NODES} values, counting what aliases repeat"))
}

fn too_deep(place: Place) -> YamlError {
    YamlError::new(place, format!("more than {MAX_DEPTH} mappings and lists in each other"))
}

/// Makes trees of events.
#[derive(Default)]
struct Composer<'e> {
    events: &'e [(Event<'e>, Place)],
    /// The anchors that an alias repeats.
    repeated: HashSet<usize>,
    /// The events of what has an anchor and is complete.
    anchors: HashMap<usize, Range<usize>>,
    /// The collections that have begun, the innermost last.
    open: Vec<Open>,
    documents: Vec<Node>,
    nodes: usize,
    bytes: usize,
}

/// A collection that has begun.
struct Open {
    place: Place,
    /// The event it began with.
    at: usize,
    anchor: usize,
    entries: Entries,
}

enum Entries {
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

#[derive(Default)]
struct Mapping {
    entries: Vec<(Key, Node)>,
    known: HashSet<String>,
    /// The key whose value is next.
    key: Option<Key>,
    /// The values of merge keys.
    merged: Vec<Node>,
}

impl Composer<'_> {
    /// Takes these events, of which the first stands where an alias does if they are what the alias repeats.
    fn compose(&mut self, range: Range<usize>, mut alias: Option<Place>) -> Result<(), YamlError> {
        let events = self.events.iter().enumerate().take(range.end).skip(range.start);
        for (at, (event, place)) in events {
            let place = alias.take().unwrap_or(*place);
            let mut open = |entries, anchor| {
                self.open.push(Open { place, at, anchor, entries });
                if self.open.len() > MAX_DEPTH { Err(too_deep(place)) } else { Ok(()) }
            };
            match event {
                Event::SequenceStart(_, anchor, _) => open(Entries::Sequence(Vec::new()), *anchor)?,
                Event::MappingStart(_, anchor, _) => {
                    open(Entries::Mapping(Mapping::default()), *anchor)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(Open { place, at: first, anchor, entries }) = self.open.pop() {
                        self.name(anchor, first..at + 1);
                        let value = match entries {
                            Entries::Sequence(items) => Value::Sequence(items),
                            Entries::Mapping(mapping) => Value::Mapping(mapping.merged()?),
                        };
                        self.add(Node { place, quote: None, value }, anchor)?;
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.name(*anchor, at..at + 1);
                    let quote = match style {
                        ScalarStyle::SingleQuoted => Some('\''),
                        ScalarStyle::DoubleQuoted => Some('"'),
                        _ => None,
                    };
                    let value = scalar(text, *style, tag.as_deref());
                    self.add(Node { place, quote, value }, *anchor)?;
                }
                Event::Alias(anchor) => {
                    let Some(repeated) = self.anchors.get(anchor).cloned() else {
                        let message = "an alias stands inside what it repeats";
                        return Err(YamlError::new(place, message));
                    };
                    self.compose(repeated, Some(place))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn name(&mut self, anchor: usize, events: Range<usize>) {
        // What has no anchor has the number 0.
        if anchor > 0 {
            self.anchors.insert(anchor, events);
        }
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        let is_repeated = self.repeated.contains(&anchor);
        self.nodes += 1;
        self.bytes += node.text().map_or(0, str::len);
        if self.nodes > MAX_NODES {
            return Err(too_many_nodes(node.place));
        }
        if self.bytes > MAX_SCALAR_BYTES {
            let message =
                format!("more than {MAX_SCALAR_BYTES} bytes of text, counting what aliases repeat");
            return Err(YamlError::new(node.place, message));
        }
        match self.open.last_mut().map(|open| &mut open.entries) {
            Some(Entries::Sequence(items)) => items.push(node),
            Some(Entries::Mapping(mapping)) => mapping.add(node, is_repeated)?,
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
        }
        Ok(())
    }
}

impl Mapping {
    fn add(&mut self, node: Node, is_repeated: bool) -> Result<(), YamlError> {
        let Some(mut key) = self.key.take() else {
            let Node { place, value, .. } = node;
            let text = match value {
                Value::Scalar(text) => text,
                Value::Null => "null".to_owned(),
                Value::Sequence(_) | Value::Mapping(_) => {
                    return Err(YamlError::new(
                        place,
                        "a mapping or list as a key: a text that begins with `{` or `[` has to be quoted",
                    ));
                }
            };
            if !self.known.insert(text.clone()) {
                return Err(YamlError::new(place, format!("duplicate key `{text}`")));
            }
            self.key = Some(Key { place, text, is_repeated: false });
            return Ok(());
        };
        key.is_repeated = is_repeated;
        if key.text == "<<" {
            self.merged.push(node);
        } else {
            self.entries.push((key, node));
        }
        Ok(())
    }

    /// All entries: own ones win over merged ones, and among these the first.
    fn merged(mut self) -> Result<Vec<(Key, Node)>, YamlError> {
        let merged = self.merged.into_iter().flat_map(|node| match node.value {
            Value::Sequence(items) => items,
            _ => vec![node],
        });
        for node in merged {
            let Value::Mapping(entries) = node.value else {
                return Err(YamlError::new(node.place, "`<<` merges mappings only"));
            };
            for (key, node) in entries {
                if self.known.insert(key.text.clone()) {
                    self.entries.push((key, node));
                }
            }
        }
        Ok(self.entries)
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_null = matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let may_be_null = tag.is_none_or(|tag| tag.is_yaml_core_schema_tag("null"));
    if style == ScalarStyle::Plain && is_null && may_be_null {
        Value::Null
    } else {
        Value::Scalar(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Node, YamlError> {
        documents(text).map(|documents| documents.into_iter().next().unwrap())
    }

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
    fn empty_documents_are_left_out() {
        for text in ["", "---\n", "# nothing\n", "~\n---\n"] {
            assert!(documents(text).unwrap().is_empty(), "{text:?}");
        }
        assert_eq!(documents("a: 1\n---\n").unwrap().len(), 1);
        let both = documents("a: 1\n---\nb: 2\n").unwrap();
        assert_eq!(both[1].place.line, 3);
    }

    #[test]
    fn aliases_stand_where_they_are_written() {
        let node = parse("a: &a {b: &b 1}\nc: *a\nd: [*b]\n*b : 2\n").unwrap();
        let c = node.get("c").unwrap();
        assert_eq!(c.place, Place { line: 2, column: 4 });
        assert_eq!(c.get("b").unwrap().place.line, 1);
        assert_eq!(node.get("1").and_then(Node::text), Some("2"));
        assert!(parse("a: &a [*a]").is_err());
        assert!(parse("a: *b").unwrap_err().message.contains("`*b`"));
    }

    #[test]
    fn merge_keys_are_merged() {
        let text = "x: &x {a: 1, b: 1, c: 1}\ny: &y {c: 2, d: 2}\nz:\n  <<: [*x, *y]\n  b: 3\n";
        let node = parse(text).unwrap();
        let Value::Mapping(entries) = &node.get("z").unwrap().value else { panic!("a mapping") };
        let entries: Vec<_> =
            entries.iter().map(|(key, node)| (key.text.as_str(), node.text().unwrap())).collect();
        assert_eq!(entries, [("b", "3"), ("a", "1"), ("c", "1"), ("d", "2")]);
        assert!(parse("a: {<<: b}").is_err());
    }

    #[test]
    fn bombs_end_in_an_error() {
        let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let alias = format!("*a{}", i - 1);
            laughs += &format!("a{i}: &a{i} [{}]\n", vec![alias; 10].join(","));
        }
        assert!(parse(&laughs).is_err());
        // Each anchor wraps the one before.
        let chain: String = (1..700).map(|i| format!("a{i}: &a{i} [*a{}]\n", i - 1)).collect();
        assert!(parse(&format!("a0: &a0 [x]\n{chain}")).is_err());
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

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[-a-c:#&*!|>'\"%@`{}\\[\\],?<~ \n\t\\\\0-2]{0,40}") {
            drop(documents(&text));
        }
    }
}
