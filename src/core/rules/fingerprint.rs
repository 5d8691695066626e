//! Fingerprints of parts of the rules file.

use std::fmt;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::core::yaml::{Node, Value};

/// The SHA-256 of a part of the rules file. It is equal for parts with equal keys and values: position, order of keys, quotes,
/// comments and aliases do not matter.
///
/// Displayed as the first eight hexadecimal digits, which do not reveal the text.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

impl Fingerprint {
    /// The fingerprint of a node under a key: equal texts under `rules` and `externalRules` have different fingerprints.
    pub(super) fn of(key: &str, node: &Node) -> Self {
        let mut context = Context::new(&SHA256);
        text(&mut context, key);
        add(&mut context, node);
        Self::finish(context)
    }

    /// The fingerprint of texts, in their order.
    pub(in crate::core) fn of_texts(texts: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in texts {
            text(&mut context, part);
        }
        Self::finish(context)
    }

    /// The fingerprint of a part that depends on another one.
    pub(in crate::core) fn with(self, other: Self) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(&other.0);
        Self::finish(context)
    }

    fn finish(context: Context) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        for (byte, digest) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *byte = *digest;
        }
        Self(bytes)
    }
}

/// Each node with its kind and length, so that different trees never result in the same bytes.
fn add(context: &mut Context, node: &Node) {
    match &node.value {
        Value::Null => context.update(b"n"),
        Value::Scalar(scalar) => {
            context.update(b"s");
            text(context, scalar);
        }
        Value::Sequence(items) => {
            context.update(b"l");
            context.update(&items.len().to_be_bytes());
            for item in items {
                add(context, item);
            }
        }
        Value::Mapping(entries) => {
            // A key without a value is as good as none.
            let mut entries: Vec<_> =
                entries.iter().filter(|(_, value)| !matches!(value.value, Value::Null)).collect();
            entries.sort_by(|(a, _), (b, _)| a.text.cmp(&b.text));
            context.update(b"m");
            context.update(&entries.len().to_be_bytes());
            for (key, value) in entries {
                text(context, &key.text);
                add(context, value);
            }
        }
    }
}

fn text(context: &mut Context, text: &str) {
    context.update(&text.len().to_be_bytes());
    context.update(text.as_bytes());
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
