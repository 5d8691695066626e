//! The objects of one kind, as a watch tells them: names and labels by namespace.
//!
//! Many read a [`Store`] and one [`Writer`] writes it. A list that replaces everything is put together beside it and takes its
//! place when it is complete; labels and names that stay are shared between the two.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::labels::{LabelSet, Labels};
use crate::core::{fields::FieldSelector, resource::Object, selector::Selector};

/// The objects of one kind. Those without a namespace are in the namespace with the empty name.
#[derive(Debug, Default)]
pub struct Store {
    namespaces: HashMap<Box<str>, Namespace>,
    /// The version of all namespaces together.
    version: u64,
}

#[derive(Debug, Default)]
struct Namespace {
    objects: BTreeMap<Arc<str>, LabelSet>,
    version: u64,
}

impl Store {
    /// The names of the objects that a selector selects, sorted, each once. Without a namespace it is those of all.
    pub fn select(&self, namespace: Option<&str>, selector: &Selector) -> Vec<Arc<str>> {
        if let Some(name) = namespace {
            return self.namespaces.get(name).map_or_else(Vec::new, |found| found.select(selector));
        }
        let mut names: Vec<_> =
            self.namespaces.values().flat_map(|namespace| namespace.select(selector)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The objects that both selectors select, sorted by namespace and name. Without a namespace it is those of all.
    pub fn describe(
        &self,
        namespace: Option<&str>,
        labels: &Selector,
        fields: &FieldSelector,
    ) -> Vec<Object> {
        let mut objects = Vec::new();
        let mut add = |name: &str, found: &Namespace| {
            let namespace = Arc::from(name);
            objects.extend(
                found.matching(labels).filter(|(name, _)| fields.matches(&namespace, name)).map(
                    |(name, labels)| Object {
                        namespace: Arc::clone(&namespace),
                        name: Arc::clone(name),
                        labels: labels.texts(),
                    },
                ),
            );
        };
        if let Some(name) = namespace.or(fields.namespace()) {
            if let Some(found) = self.namespaces.get(name) {
                add(name, found);
            }
        } else {
            let mut all: Vec<_> = self.namespaces.iter().collect();
            all.sort_unstable_by_key(|(name, _)| &***name);
            for (name, found) in all {
                add(name, found);
            }
        }
        objects
    }

    /// How many objects there are.
    pub fn population(&self, namespace: Option<&str>) -> usize {
        match namespace {
            Some(name) => self.namespaces.get(name).map_or(0, |found| found.objects.len()),
            None => self.namespaces.values().map(|namespace| namespace.objects.len()).sum(),
        }
    }

    /// A number that stands for one content only: it changes with every object that comes, goes or is relabelled, and with
    /// nothing else. 0 is a namespace without objects.
    pub fn version(&self, namespace: Option<&str>) -> u64 {
        match namespace {
            Some(name) => self.namespaces.get(name).map_or(0, |found| found.version),
            None if self.namespaces.is_empty() => 0,
            None => self.version,
        }
    }
}

impl Namespace {
    fn select(&self, selector: &Selector) -> Vec<Arc<str>> {
        if selector.is_empty() {
            return self.objects.keys().cloned().collect();
        }
        self.matching(selector).map(|(name, _)| Arc::clone(name)).collect()
    }

    fn matching(&self, selector: &Selector) -> impl Iterator<Item = (&Arc<str>, &LabelSet)> {
        let matches = |labels: &LabelSet| selector.matches(|key| labels.get(key));
        let mut known = HashMap::new();
        self.objects.iter().filter(move |(_, labels)| {
            if labels.is_of_one() {
                matches(labels)
            } else {
                *known.entry(labels.address()).or_insert_with(|| matches(labels))
            }
        })
    }

    fn has(&self, objects: &BTreeMap<Arc<str>, LabelSet>) -> bool {
        self.objects.len() == objects.len()
            && self.objects.iter().zip(objects).all(|((name, labels), (other_name, others))| {
                (Arc::ptr_eq(name, other_name) || name == other_name) && labels.is(others)
            })
    }
}

/// By namespace, names and labels in the order of the list.
type Listing = BTreeMap<Box<str>, Vec<(Arc<str>, LabelSet)>>;

/// The one that writes a [`Store`], with what only it needs.
#[derive(Debug)]
pub struct Writer {
    store: Arc<RwLock<Store>>,
    labels: Labels,
    /// The objects of a list that is not complete.
    listing: Option<Listing>,
    versions: Arc<AtomicU64>,
}

impl Writer {
    /// A writer of an empty store. Versions are taken from a counter, which stores may share.
    pub fn new(versions: Arc<AtomicU64>) -> Self {
        Self { store: Arc::default(), labels: Labels::default(), listing: None, versions }
    }

    /// The store, for who reads it.
    pub fn store(&self) -> Arc<RwLock<Store>> {
        Arc::clone(&self.store)
    }

    /// An object exists, with these labels.
    pub fn apply(&mut self, namespace: &str, name: &str, labels: &BTreeMap<String, String>) {
        let labels = self.labels.share(labels);
        let mut store = write(&self.store);
        if !store.namespaces.contains_key(namespace) {
            store.namespaces.insert(Box::from(namespace), Namespace::default());
        }
        let Some(found) = store.namespaces.get_mut(namespace) else { return };
        let before = match found.objects.get_mut(name) {
            Some(known) if known.is(&labels) => return,
            Some(known) => Some(std::mem::replace(known, labels)),
            None => found.objects.insert(Arc::from(name), labels),
        };
        found.version = next(&self.versions);
        store.version = found.version;
        drop(store);
        if let Some(before) = before {
            self.labels.release(before);
        }
    }

    /// An object does not exist any more.
    pub fn delete(&mut self, namespace: &str, name: &str) {
        let mut store = write(&self.store);
        let Some(found) = store.namespaces.get_mut(namespace) else { return };
        let Some(labels) = found.objects.remove(name) else { return };
        found.version = next(&self.versions);
        let (version, is_empty) = (found.version, found.objects.is_empty());
        if is_empty {
            store.namespaces.remove(namespace);
        }
        store.version = version;
        drop(store);
        self.labels.release(labels);
    }

    /// A list begins; one that was not completed is forgotten.
    pub fn begin(&mut self) {
        if self.listing.replace(Listing::new()).is_some() {
            self.labels.sweep();
        }
    }

    /// An object is in the list that has begun.
    pub fn list(&mut self, namespace: &str, name: &str, labels: &BTreeMap<String, String>) {
        let Some(listing) = &mut self.listing else { return };
        let labels = self.labels.share(labels);
        let known = read(&self.store)
            .namespaces
            .get(namespace)
            .and_then(|found| found.objects.get_key_value(name))
            .map(|(name, _)| Arc::clone(name));
        let object = (known.unwrap_or_else(|| Arc::from(name)), labels);
        match listing.get_mut(namespace) {
            Some(objects) => objects.push(object),
            None => drop(listing.insert(Box::from(namespace), vec![object])),
        }
    }

    /// The list is complete: from now on there are its objects, and no others.
    pub fn finish(&mut self) {
        let Some(listing) = self.listing.take() else { return };
        let before = read(&self.store);
        let mut is_changed = before.namespaces.len() != listing.len();
        let mut store = Store::default();
        for (name, objects) in listing {
            let objects: BTreeMap<_, _> = objects.into_iter().collect();
            let version = match before.namespaces.get(&name) {
                Some(same) if same.has(&objects) => same.version,
                _ => {
                    is_changed = true;
                    next(&self.versions)
                }
            };
            store.namespaces.insert(name, Namespace { objects, version });
        }
        store.version = if is_changed { next(&self.versions) } else { before.version };
        drop(before);
        self.replace(store);
    }

    /// Nobody knows the objects any more.
    pub fn clear(&mut self) {
        self.listing = None;
        self.replace(Store::default());
    }

    fn replace(&mut self, store: Store) {
        // The old content is let go without the lock.
        let before = std::mem::replace(&mut *write(&self.store), store);
        drop(before);
        self.labels.sweep();
    }
}

fn next(versions: &AtomicU64) -> u64 {
    versions.fetch_add(1, Ordering::Relaxed) + 1
}

/// Reads a store. A writer that has panicked leaves it usable: every step is complete or has not begun.
pub(super) fn read(store: &RwLock<Store>) -> RwLockReadGuard<'_, Store> {
    store.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(store: &RwLock<Store>) -> RwLockWriteGuard<'_, Store> {
    store.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
