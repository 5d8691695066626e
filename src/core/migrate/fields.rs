//! The fields of a mapping, each of which is taken once. What is left is reported.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::notes::Notes;
use crate::core::key_path::KeyPath;

/// The fields of a mapping that nobody has taken yet.
///
/// A field whose value has another type than the one that is asked for stays, and is reported.
#[derive(Debug)]
pub(super) struct Fields {
    path: KeyPath,
    left: Map<String, Value>,
}

/// Reads a mapping. What `read` has not taken is reported afterwards; there is no other way to get at the fields.
pub(super) fn mapping<T>(
    path: KeyPath,
    mapping: Map<String, Value>,
    notes: &mut Notes,
    read: impl FnOnce(&mut Fields, &mut Notes) -> T,
) -> T {
    let mut fields = Fields { path, left: mapping };
    let result = read(&mut fields, notes);
    for (key, value) in fields.left {
        if !value.is_null() {
            let path = fields.path.key(&key);
            notes.cannot(&path, "this field is not known, or its value is not what it takes; see whether the autoscaler or the rule needs it");
        }
    }
    result
}

impl Fields {
    /// The path of a field.
    pub(super) fn path(&self, key: &str) -> KeyPath {
        self.path.key(key)
    }

    /// The value of a field, whatever it is; nothing for null.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.left.shift_remove(key).filter(|value| !value.is_null())
    }

    fn take_if<T>(&mut self, key: &str, convert: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let converted = convert(self.left.get(key)?)?;
        self.left.shift_remove(key);
        Some(converted)
    }

    /// A text, or a number or truth value as text: hand-written manifests forget the quotes of parameters. An empty one is as good as
    /// none.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.scalar(key).filter(|text| !text.is_empty())
    }

    fn scalar(&mut self, key: &str) -> Option<String> {
        self.take_if(key, text)
    }

    /// A whole number of 32 bits.
    pub(super) fn integer(&mut self, key: &str) -> Option<i32> {
        self.take_if(key, |value| i32::try_from(value.as_i64()?).ok())
    }

    /// A truth value.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.take_if(key, Value::as_bool)
    }

    /// A parameter that Go's `strconv.ParseBool` reads.
    pub(super) fn go_flag(&mut self, key: &str) -> Option<bool> {
        self.take_if(key, |value| go_bool(text(value)?.trim()))
    }

    /// A mapping.
    pub(super) fn mapping<T>(
        &mut self,
        key: &str,
        notes: &mut Notes,
        read: impl FnOnce(&mut Self, &mut Notes) -> T,
    ) -> Option<T> {
        let object = self.take_if(key, |value| value.as_object().cloned())?;
        Some(mapping(self.path(key), object, notes, read))
    }

    /// The items of a list that are mappings. If one is none, the whole list stays.
    pub(super) fn mappings<T>(
        &mut self,
        key: &str,
        notes: &mut Notes,
        mut read: impl FnMut(&mut Self, &mut Notes) -> T,
    ) -> Vec<T> {
        let items = self.take_if(key, |value| {
            let items = value.as_array()?.iter();
            items.map(|item| item.as_object().cloned()).collect::<Option<Vec<_>>>()
        });
        let path = self.path(key);
        let items = items.unwrap_or_default().into_iter().enumerate();
        items.map(|(at, item)| mapping(path.index(at), item, notes, &mut read)).collect()
    }

    /// A mapping of texts, such as labels.
    pub(super) fn texts(&mut self, key: &str, notes: &mut Notes) -> BTreeMap<String, String> {
        let texts = self.mapping(key, notes, |fields, _| {
            let keys = fields.keys().into_iter();
            keys.filter_map(|key| fields.scalar(&key).map(|text| (key, text))).collect()
        });
        texts.unwrap_or_default()
    }

    /// Takes all fields that are left, of something that is reported as a whole.
    pub(super) fn take_all(&mut self) {
        self.left.clear();
    }

    /// The keys that nobody has taken.
    pub(super) fn keys(&self) -> Vec<String> {
        self.left.keys().cloned().collect()
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What Go's `strconv.ParseBool` makes of a text.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
