//! The file as it is written, to say where something stands and to look at what a rule does not keep.

use crate::core::yaml::{Node, Place, Value};

/// A file that has been read as YAML.
pub(super) struct Written {
    root: Node,
}

impl Written {
    pub(super) fn new(root: Node) -> Self {
        Self { root }
    }

    /// What stands at a path such as `rules[2].name.as`.
    fn node(&self, path: &str) -> Option<&Node> {
        steps(path).try_fold(&self.root, step)
    }

    /// Where a path stands, or the nearest that is written above it.
    pub(super) fn place(&self, path: &str) -> Place {
        let mut node = &self.root;
        for next in steps(path) {
            match step(node, next) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.place
    }

    /// The scalar at a path, without blanks at its ends; empty where there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        match self.node(path).map(|node| &node.value) {
            Some(Value::Scalar(text)) => text.trim(),
            _ => "",
        }
    }

    /// The keys of the mapping at a path, without blanks at their ends.
    pub(super) fn keys(&self, path: &str) -> impl Iterator<Item = &str> {
        let entries = match self.node(path).map(|node| &node.value) {
            Some(Value::Mapping(entries)) => entries.as_slice(),
            _ => Default::default(),
        };
        entries.iter().map(|(key, _)| key.text.trim())
    }

    /// How many entries the list at a path has.
    pub(super) fn len(&self, path: &str) -> usize {
        match self.node(path).map(|node| &node.value) {
            Some(Value::Sequence(items)) => items.len(),
            _ => 0,
        }
    }
}

/// Keys and positions.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|step| !step.is_empty())
}

fn step<'n>(node: &'n Node, step: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Mapping(entries) => {
            entries.iter().find(|(key, _)| key.text == step).map(|(_, node)| node)
        }
        Value::Sequence(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Scalar(_) => None,
    }
}
