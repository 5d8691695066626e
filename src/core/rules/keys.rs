//! The keys of the rules file: one description that the reader checks a file against ([`super::form`]) and that the JSON
//! schema is made from ([`super::schema()`]).

mod auth;
mod table;

use std::time::Duration;

pub(super) use auth::AUTH;
#[cfg(test)]
pub(super) use table::MAX_RULES;
pub(super) use table::{FILE, GROUP_RESOURCE};

/// A mapping with known keys.
#[derive(Debug)]
pub(super) struct Shape {
    /// What it is called among the schema's definitions.
    pub(super) name: &'static str,
    /// What it is, for people who write the file.
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
}

impl Shape {
    /// What is known of a key.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) need: Need,
    /// What it means, for people who write the file.
    pub(super) doc: &'static str,
}

/// What becomes of a mapping that lacks the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// The key may be left out.
    Optional,
    /// The file is refused.
    Required,
    /// The file is read, and the rule does not compile: as a rule with an empty query, it may spoil nothing but itself.
    RequiredByRule,
}

/// What a key holds. Null counts as an absent key everywhere, as in Go's YAML.
#[derive(Debug)]
pub(super) enum Kind {
    /// Any scalar, as the text it is written with.
    Text,
    /// A scalar that is not empty.
    NonEmpty,
    /// A name of at most 63 lower-case letters, digits and dashes, as Kubernetes' DNS labels.
    Name,
    /// One of [`TRUE`] and [`FALSE`].
    Flag,
    /// A duration in Prometheus' or in Go's notation, within these bounds.
    Duration { least: Duration, most: Duration },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A Kubernetes quantity that is not negative, or one of these words.
    Quantity(&'static [&'static str]),
    /// A whole number from 1 to this.
    Count(u32),
    /// A mapping.
    Object(&'static Shape),
    /// A list of mappings, at most so many.
    List(&'static Shape, usize),
    /// A mapping from the name of a label to a mapping.
    ByLabel(&'static Shape),
    /// A mapping from the name of an HTTP header to a scalar.
    Headers,
    /// A list of names as [`Kind::Name`], at most so many.
    Names(usize),
    /// A list of scalars that are not empty and have no blanks, at most so many.
    Words(usize),
    /// A mapping from the name of a parameter to a scalar, with at most so many entries.
    Parameters(usize),
}

impl Kind {
    /// The mapping that the key holds, or whose list it holds, or that it holds by label.
    pub(super) fn shape(&self) -> Option<&'static Shape> {
        match self {
            Self::Object(shape) | Self::List(shape, _) | Self::ByLabel(shape) => Some(shape),
            _ => None,
        }
    }
}

/// What YAML 1.1, and so Go's yaml.v2, takes for true.
pub(super) const TRUE: [&str; 11] =
    ["true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON"];

/// What YAML 1.1, and so Go's yaml.v2, takes for false.
pub(super) const FALSE: [&str; 11] =
    ["false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF"];

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Required, doc }
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, need: Need::Optional, doc }
}
