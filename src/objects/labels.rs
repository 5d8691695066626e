//! Label sets in little memory: each text once, each set once, however many objects have it.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// The labels of an object. Sets of one [`Labels`] are equal only if they are the same.
///
/// A label is the text `key=value`; a key has no `=`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct LabelSet(Arc<[Arc<str>]>);

impl LabelSet {
    /// The value of a label.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|label| label.strip_prefix(key)?.strip_prefix('='))
    }

    /// The labels, each as `key=value`, sorted by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|label| &**label)
    }

    /// The same labels, shared.
    pub(super) fn texts(&self) -> Arc<[Arc<str>]> {
        Arc::clone(&self.0)
    }

    /// Whether both are the same set of one [`Labels`].
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Borrow<[Arc<str>]> for LabelSet {
    fn borrow(&self) -> &[Arc<str>] {
        &self.0
    }
}

/// The text of a label.
pub(super) fn pair((key, value): (&String, &String)) -> Arc<str> {
    [key, "=", value].concat().into()
}

/// All label sets that are in use.
#[derive(Debug, Default)]
pub(super) struct Labels {
    texts: HashSet<Arc<str>>,
    sets: HashSet<LabelSet>,
    /// The label that is being put together.
    text: String,
}

impl Labels {
    /// The set of these labels.
    pub(super) fn share(&mut self, labels: &BTreeMap<String, String>) -> LabelSet {
        let mut set = Vec::with_capacity(labels.len());
        for (key, value) in labels {
            self.text.clear();
            self.text.extend([key, "=", value]);
            set.push(if let Some(text) = self.texts.get(self.text.as_str()) {
                Arc::clone(text)
            } else {
                let text: Arc<str> = Arc::from(self.text.as_str());
                self.texts.insert(Arc::clone(&text));
                text
            });
        }
        if let Some(known) = self.sets.get(set.as_slice()) {
            return known.clone();
        }
        let set = LabelSet(Arc::from(set));
        self.sets.insert(set.clone());
        set
    }

    /// Takes back the set that an object had, and forgets what nobody else uses.
    pub(super) fn release(&mut self, LabelSet(set): LabelSet) {
        // What is given here, and one in `sets`.
        if Arc::strong_count(&set) > 2 {
            return;
        }
        self.sets.remove::<[Arc<str>]>(&set);
        for text in &*set {
            if Arc::strong_count(text) <= 2 {
                self.texts.remove(text);
            }
        }
    }

    /// Forgets everything that nobody uses, after many objects have gone at once.
    pub(super) fn sweep(&mut self) {
        self.sets.retain(|set| Arc::strong_count(&set.0) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        shrink(&mut self.sets);
        shrink(&mut self.texts);
    }

    /// How many sets and texts are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.sets.len(), self.texts.len())
    }
}

/// Frees memory if most of it is unused.
fn shrink<T: std::hash::Hash + Eq>(set: &mut HashSet<T>) {
    if set.capacity() / 4 > set.len() {
        set.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn equal_sets_are_one_and_go_with_the_last_user() {
        let mut known = Labels::default();
        let first = known.share(&labels(&[("app", "web"), ("tier", "")]));
        let second = known.share(&labels(&[("app", "web"), ("tier", "")]));
        let third = known.share(&labels(&[("app", "web")]));
        assert!(first.is(&second) && !first.is(&third));
        assert_eq!((first.get("app"), first.get("tier")), (Some("web"), Some("")));
        assert_eq!((first.get("ap"), first.get("app=web")), (None, None));
        assert_eq!(known.held(), (2, 2));
        known.release(first);
        assert_eq!(known.held(), (2, 2));
        known.release(second);
        assert_eq!(known.held(), (1, 1));
        drop(third);
        known.sweep();
        assert_eq!(known.held(), (0, 0));
    }
}
