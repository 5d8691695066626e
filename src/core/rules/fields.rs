//! Values out of a file whose form has been checked.

use std::time::Duration;

use super::{
    fingerprint::Fingerprint,
    keys::{self, Shape},
};
use crate::core::{
    duration,
    key_path::KeyPath,
    quantity::parse_milli_rounded_up,
    yaml::{Key, Node, Place, Value},
};

/// A string and where it stands; empty where the key is absent, with the place of what should hold it. Blanks at its ends are
/// left out: a block scalar (`|`) ends in a newline, and no name, pattern or query is meant to.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) place: Place,
}

/// A boolean that is false by default, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) value: bool,
    pub(super) place: Place,
}

/// A mapping and the path to it. What does not have the form that is described for it is as if it were absent: it has been
/// reported.
pub(super) struct Fields<'n> {
    pub(super) path: KeyPath,
    pub(super) place: Place,
    shape: &'static Shape,
    pub(super) is_mapping: bool,
    entries: &'n [(Key, Node)],
    node: &'n Node,
}

impl<'n> Fields<'n> {
    pub(super) fn of(node: &'n Node, path: KeyPath, shape: &'static Shape) -> Self {
        let (is_mapping, entries) = match &node.value {
            Value::Mapping(entries) => (true, entries.as_slice()),
            _ => (false, Default::default()),
        };
        Self { path, place: node.place, shape, is_mapping, entries, node }
    }

    /// The value of a key; an explicit null counts as absent, as in Go's YAML.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        debug_assert!(self.shape.key(key).is_some(), "{} has no key {key}", self.shape.name);
        self.entries
            .iter()
            .find(|(known, _)| known.text == key)
            .map(|(_, node)| node)
            .filter(|node| !matches!(node.value, Value::Null))
    }

    /// Where the explicit null of a key stands, for a key that has to say something.
    pub(super) fn null(&self, key: &str) -> Option<Place> {
        let (_, node) = self.entries.iter().find(|(known, _)| known.text == key)?;
        matches!(node.value, Value::Null).then_some(node.place)
    }

    /// Whether a key is there, with or without a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, _)| known.text == key)
    }

    /// The keys of the mapping that have a value, and their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'n Key, &'n Node)> {
        let entries = self.entries.iter().map(|(key, node)| (key, node));
        entries.filter(|(_, node)| !matches!(node.value, Value::Null))
    }

    pub(super) fn fingerprint(&self, kind: &str) -> Fingerprint {
        Fingerprint::of(kind, self.node)
    }

    pub(super) fn object(&self, key: &str) -> Option<Fields<'n>> {
        let shape = self.shape.key(key)?.kind.shape()?;
        self.get(key).map(|node| Fields::of(node, self.path.key(key), shape))
    }

    pub(super) fn items(&self, key: &str) -> impl Iterator<Item = Fields<'n>> {
        let shape = self.shape.key(key).and_then(|key| key.kind.shape());
        let items = match self.get(key).map(|node| &node.value) {
            Some(Value::Sequence(items)) => items.as_slice(),
            _ => Default::default(),
        };
        let path = self.path.key(key);
        shape.into_iter().flat_map(move |shape| {
            let path = path.clone();
            items
                .iter()
                .enumerate()
                .map(move |(index, item)| Fields::of(item, path.index(index), shape))
        })
    }

    pub(super) fn entries_of(&self, key: &str) -> &'n [(Key, Node)] {
        match self.get(key).map(|node| &node.value) {
            Some(Value::Mapping(entries)) => entries,
            _ => Default::default(),
        }
    }

    pub(super) fn text(&self, key: &str) -> Text {
        match self.get(key) {
            Some(Node { place, value: Value::Scalar(value), .. }) => {
                Text { value: trimmed(value).to_owned(), place: *place }
            }
            Some(node) => Text { value: String::new(), place: node.place },
            None => Text { value: String::new(), place: self.place },
        }
    }

    /// The scalars of a list.
    pub(super) fn texts(&self, key: &str) -> Vec<Text> {
        let items = match self.get(key).map(|node| &node.value) {
            Some(Value::Sequence(items)) => items.as_slice(),
            _ => Default::default(),
        };
        let text = |item: &Node| match &item.value {
            Value::Scalar(text) => {
                Some(Text { value: trimmed(text).to_owned(), place: item.place })
            }
            _ => None,
        };
        items.iter().filter_map(text).collect()
    }

    pub(super) fn flag(&self, key: &str) -> Flag {
        let text = self.text(key);
        Flag { value: keys::TRUE.contains(&text.value.as_str()), place: text.place }
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        duration::parse_either(&self.text(key).value)
    }

    /// The thousandths of a quantity; nothing for a word.
    pub(super) fn quantity(&self, key: &str) -> Option<i64> {
        quantity(&self.text(key).value)
    }

    pub(super) fn headers(&self) -> Vec<(String, Text)> {
        self.pairs("headers")
    }

    /// The scalars of a mapping, with their names.
    pub(super) fn pairs(&self, key: &str) -> Vec<(String, Text)> {
        let entries = self.entries_of(key).iter();
        entries
            .filter_map(|(name, node)| match &node.value {
                Value::Scalar(value) => {
                    Some((name.text.clone(), Text { value: value.clone(), place: node.place }))
                }
                _ => None,
            })
            .collect()
    }
}

/// The thousandths of a quantity that is not negative.
pub(super) fn quantity(text: &str) -> Option<i64> {
    parse_milli_rounded_up(text.trim()).filter(|milli| *milli >= 0)
}

/// Without blanks at the ends, but for one that is escaped there.
fn trimmed(text: &str) -> &str {
    let trimmed = text.trim();
    if trimmed.ends_with('\\') { text.trim_start() } else { trimmed }
}
