//! The file as it is written, to say where something stands and to look at what a rule does not keep.

use crate::core::{
    key_path::{KeyPath, Step},
    yaml::{Node, Place, Value},
};

/// A file that has been read as YAML.
pub(super) struct Written {
    root: Node,
}

impl Written {
    pub(super) fn new(root: Node) -> Self {
        Self { root }
    }

    /// Whether nothing is written.
    pub(super) fn is_empty(&self) -> bool {
        match &self.root.value {
            Value::Mapping(entries) => entries.is_empty(),
            Value::Null => true,
            _ => false,
        }
    }

    fn node(&self, path: &KeyPath) -> Option<&Node> {
        path.steps().iter().try_fold(&self.root, step)
    }

    /// Whether something other than null is written at a path.
    pub(super) fn has(&self, path: &KeyPath) -> bool {
        self.node(path).is_some_and(|node| !matches!(node.value, Value::Null))
    }

    /// Where a path stands, or the nearest that is written above it.
    pub(super) fn place(&self, path: &KeyPath) -> Place {
        let mut node = &self.root;
        for next in path.steps() {
            match step(node, next) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.place
    }

    /// The scalar at a path, without blanks at its ends; empty where there is none.
    pub(super) fn text(&self, path: &KeyPath) -> &str {
        match self.node(path).map(|node| &node.value) {
            Some(Value::Scalar(text)) => text.trim(),
            _ => "",
        }
    }

    /// The keys of the mapping at a path, without blanks at their ends.
    pub(super) fn keys(&self, path: &KeyPath) -> impl Iterator<Item = &str> {
        let entries = match self.node(path).map(|node| &node.value) {
            Some(Value::Mapping(entries)) => entries.as_slice(),
            _ => Default::default(),
        };
        entries.iter().map(|(key, _)| key.text.trim())
    }

    /// How many entries the list at a path has.
    pub(super) fn len(&self, path: &KeyPath) -> usize {
        match self.node(path).map(|node| &node.value) {
            Some(Value::Sequence(items)) => items.len(),
            _ => 0,
        }
    }
}

fn step<'n>(node: &'n Node, step: &Step) -> Option<&'n Node> {
    match (&node.value, step) {
        (Value::Mapping(entries), Step::Key(wanted)) => {
            entries.iter().find(|(key, _)| *key.text == **wanted).map(|(_, node)| node)
        }
        (Value::Sequence(items), Step::Index(index)) => items.get(*index),
        _ => None,
    }
}
