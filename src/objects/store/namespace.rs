//! The objects of one namespace, with lookup by name and by label.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem,
    sync::Arc,
};

use crate::{
    core::{
        memory::{self, index, position},
        selector::{Operator, Selector},
    },
    objects::labels::LabelSet,
};

/// A label is common if more than one in this many objects has it. For a common label, scanning all objects is no slower than
/// sorting the matches.
const RARE: usize = 8;

/// An object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: Arc<str>,
    pub(super) labels: LabelSet,
}

/// The objects of a namespace, with an index of their labels, except the common ones.
///
/// An index entry has 8 bytes for a label of an object: a hash of the label, and the position of the object. Different labels can
/// have the same hash, so the objects that the index returns are still matched against the selector.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    objects: Vec<Object>,
    /// The positions of the objects, sorted by their names.
    by_name: Vec<u32>,
    /// The index: hashes of labels with the positions of the objects that have them, sorted.
    by_label: Vec<(u32, u32)>,
    /// Hashes of the labels that are not indexed, because they were common when the objects were listed; sorted.
    common: Vec<u32>,
}

impl Namespace {
    /// A namespace with these objects. If several have the same name, the last one is kept.
    pub(super) fn new(mut objects: Vec<Object>) -> Self {
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        objects.dedup_by(|later, earlier| {
            let is_same = later.name == earlier.name;
            if is_same {
                mem::swap(later, earlier);
            }
            is_same
        });
        objects.shrink_to_fit();
        let mut labels = Vec::new();
        for (at, object) in (0..).zip(&objects) {
            labels.extend(object.labels.iter().map(|label| (hash(label), at)));
        }
        labels.sort_unstable();
        let of_labels = labels.chunk_by(|(a, _), (b, _)| a == b);
        let (rare, common): (Vec<_>, Vec<_>) =
            of_labels.partition(|of_label| of_label.len() <= objects.len() / RARE);
        let common = common.into_iter().filter_map(|of_label| of_label.first());
        let common = common.map(|(hash, _)| *hash).collect();
        let by_name = (0..position(objects.len())).collect();
        Self { objects, by_name, by_label: rare.concat(), common }
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The object with a name.
    pub(super) fn get(&self, name: &str) -> Option<&Object> {
        self.object(*self.by_name.get(self.place(name).ok()?)?)
    }

    /// Adds an object, or replaces its labels. Returns its previous labels.
    pub(super) fn apply(&mut self, name: &str, labels: LabelSet) -> Option<LabelSet> {
        let place = match self.place(name) {
            Ok(place) => place,
            Err(place) => {
                let at = position(self.objects.len());
                memory::insert(&mut self.by_name, place, at);
                self.link(&labels, at);
                memory::push(&mut self.objects, Object { name: Arc::from(name), labels });
                return None;
            }
        };
        let at = *self.by_name.get(place)?;
        let before = mem::replace(&mut self.objects.get_mut(index(at))?.labels, labels.clone());
        if !before.is(&labels) {
            self.unlink(&before, at);
            self.link(&labels, at);
        }
        Some(before)
    }

    /// Removes an object. Returns its labels.
    pub(super) fn remove(&mut self, name: &str) -> Option<LabelSet> {
        let at = self.by_name.remove(self.place(name).ok()?);
        let Object { labels: gone, .. } = self.objects.swap_remove(index(at));
        self.unlink(&gone, at);
        // The last object now has this position.
        if let Some(moved) = self.object(at).map(|object| object.labels.clone()) {
            let before = position(self.objects.len());
            if let Some(entry) = self.by_name.iter_mut().find(|entry| **entry == before) {
                *entry = at;
            }
            self.unlink(&moved, before);
            self.link(&moved, at);
        }
        Some(gone)
    }

    /// The objects that a selector selects, sorted by name.
    pub(super) fn select(&self, selector: &Selector) -> Vec<&Object> {
        let is_selected = |object: &&Object| selector.matches(|key| object.labels.get(key));
        let Some(candidates) = self.candidates(selector) else {
            let all = self.by_name.iter().filter_map(|at| self.object(*at));
            return all.filter(is_selected).collect();
        };
        let candidates = candidates.into_iter().flatten().filter_map(|(_, at)| self.object(*at));
        let mut selected: Vec<_> = candidates.filter(is_selected).collect();
        selected.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // Two labels of one object can have the same hash.
        selected.dedup_by(|a, b| a.name == b.name);
        selected
    }

    /// The index entries for the most selective of the requirements with values (`=`, `==`, `in`), one slice for each value. They
    /// include every selected object. `None` if a scan of all objects is no slower.
    fn candidates(&self, selector: &Selector) -> Option<Vec<&[(u32, u32)]>> {
        let asks = selector.requirements().iter().filter(|requirement| {
            matches!(requirement.operator, Operator::Equals | Operator::DoubleEquals | Operator::In)
        });
        let found = asks.filter_map(|requirement| {
            let values = requirement.values.iter();
            values.map(|value| self.labelled(&requirement.key, value)).collect::<Option<Vec<_>>>()
        });
        let len = |found: &[&[_]]| found.iter().map(|of_value| of_value.len()).sum::<usize>();
        let least = found.min_by_key(|found| len(found))?;
        (len(&least) <= self.objects.len() / RARE).then_some(least)
    }

    /// The index entries for a label. `None` if the label is not indexed.
    fn labelled(&self, key: &str, value: &str) -> Option<&[(u32, u32)]> {
        let hash = hash(&[key, "=", value].concat());
        if self.common.binary_search(&hash).is_ok() {
            return None;
        }
        let start = self.by_label.partition_point(|(known, _)| *known < hash);
        let rest = self.by_label.get(start..)?;
        rest.get(..rest.partition_point(|(known, _)| *known == hash))
    }

    fn object(&self, at: u32) -> Option<&Object> {
        self.objects.get(index(at))
    }

    /// The place of a name in `by_name`, or the place to insert it.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.by_name
            .binary_search_by(|at| self.object(*at).map(|object| &*object.name).cmp(&Some(name)))
    }

    fn link(&mut self, labels: &LabelSet, at: u32) {
        for label in labels.iter() {
            let entry = (hash(label), at);
            if self.common.binary_search(&entry.0).is_err() {
                let place = self.by_label.partition_point(|known| *known < entry);
                memory::insert(&mut self.by_label, place, entry);
            }
        }
    }

    fn unlink(&mut self, labels: &LabelSet, at: u32) {
        for label in labels.iter() {
            if let Ok(place) = self.by_label.binary_search(&(hash(label), at)) {
                self.by_label.remove(place);
            }
        }
    }
}

/// The hash of a label, `key=value`.
fn hash(label: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    label.hash(&mut hasher);
    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash, too")]
    let half = hasher.finish() as u32;
    half
}

#[cfg(test)]
mod tests;
