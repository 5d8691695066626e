//! Names of metrics, series and labels, each in memory once: a series has a metric for every label, most metrics are called as
//! their series, and labels are the same everywhere.

use std::{collections::HashSet, sync::Arc};

/// The texts of a catalog that is being built.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashSet<Arc<str>>,
    bytes: usize,
}

impl Texts {
    /// A text that is shared with everybody who has asked for the same.
    pub(super) fn shared(&mut self, text: impl AsRef<str> + Into<Arc<str>>) -> Arc<str> {
        if let Some(known) = self.known.get(text.as_ref()) {
            return Arc::clone(known);
        }
        let text = text.into();
        // Two counters stand before it.
        self.bytes += 2 * size_of::<usize>() + text.len();
        self.known.insert(Arc::clone(&text));
        text
    }

    /// How many bytes all texts take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
