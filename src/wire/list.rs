//! What the lists of all three APIs are made of. They are written straight from what they are about.

use std::fmt::Display;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A list of items, which an iterator makes as they are written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<I: Iterator<Item: Serialize> + Clone> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    #[serde(serialize_with = "sequence")]
    items: I,
}

impl<I: Iterator<Item: Serialize> + Clone> List<I> {
    pub(super) fn new(kind: &'static str, api_version: &'static str, items: I) -> Self {
        Self { kind, api_version, metadata: Empty {}, items }
    }
}

#[derive(Serialize)]
struct Empty {}

/// Writes what an iterator makes, as an array.
pub(super) fn sequence<I, S>(items: &I, serializer: S) -> Result<S::Ok, S::Error>
where
    I: Iterator<Item: Serialize> + Clone,
    S: Serializer,
{
    serializer.collect_seq(items.clone())
}

/// The JSON of a document that has about so many bytes.
pub(super) fn json(document: &impl Serialize, bytes: usize) -> Vec<u8> {
    let mut json = Vec::with_capacity(bytes);
    push(&mut json, document);
    json
}

/// Appends the JSON of a value.
pub(super) fn push<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    // Strings, integers and structs: there is nothing here that JSON could refuse.
    serde_json::to_writer(json, value).unwrap_or_default();
}

/// A value that is written as its text.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time of the Kubernetes API: RFC 3339 in UTC with whole seconds. It takes milliseconds since the epoch.
pub(super) struct Rfc3339(pub(super) i64);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = Timestamp::from_second(self.0.div_euclid(1000)).unwrap_or_default();
        serializer.collect_str(&seconds)
    }
}
