//! The objects of one kind, from a watch: names and labels by namespace.
//!
//! Many read a [`Store`] and one [`Writer`] writes it. A list that replaces everything is put together beside it and takes its
//! place when it is complete; labels and names that stay are shared between the two.

mod namespace;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use namespace::{Namespace, Object};

use super::labels::Labels;
use crate::core::{fields::FieldSelector, memory, resource, selector::Selector};

/// The objects of one kind. Those without a namespace are in the namespace with the empty name.
#[derive(Debug, Default)]
pub struct Store {
    namespaces: HashMap<Box<str>, Namespace>,
}

impl Store {
    /// The names of the objects that a selector selects, sorted, each once. Without a namespace it is those of all.
    pub fn select(&self, namespace: Option<&str>, selector: &Selector) -> Vec<Arc<str>> {
        let names = |found: &Namespace| {
            let selected = found.select(selector);
            selected.into_iter().map(|object| Arc::clone(&object.name)).collect::<Vec<_>>()
        };
        if let Some(name) = namespace {
            return self.namespaces.get(name).map_or_else(Vec::new, names);
        }
        let mut names: Vec<_> = self.namespaces.values().flat_map(names).collect();
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
    ) -> Vec<resource::Object> {
        let mut objects = Vec::new();
        let mut add = |name: &str, found: &Namespace| {
            let namespace = Arc::from(name);
            let selected = found.select(labels).into_iter();
            let selected = selected.filter(|object| fields.matches(&namespace, &object.name));
            objects.extend(selected.map(|object| resource::Object {
                namespace: Arc::clone(&namespace),
                name: Arc::clone(&object.name),
                labels: object.labels.texts(),
            }));
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
            Some(name) => self.namespaces.get(name).map_or(0, Namespace::len),
            None => self.namespaces.values().map(Namespace::len).sum(),
        }
    }
}

/// By namespace, objects in the order of the list.
type Listing = BTreeMap<Box<str>, Vec<Object>>;

/// The one that writes a [`Store`], with what only it needs.
#[derive(Debug, Default)]
pub struct Writer {
    store: Arc<RwLock<Store>>,
    labels: Labels,
    /// The objects of a list that is not complete.
    listing: Option<Listing>,
}

impl Writer {
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
        let before = found.apply(name, labels);
        drop(store);
        if let Some(before) = before {
            self.labels.release(before);
        }
    }

    /// An object does not exist any more.
    pub fn delete(&mut self, namespace: &str, name: &str) {
        let mut store = write(&self.store);
        let Some(found) = store.namespaces.get_mut(namespace) else { return };
        let Some(labels) = found.remove(name) else { return };
        if found.len() == 0 {
            store.namespaces.remove(namespace);
        }
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
            .and_then(|found| found.get(name))
            .map(|object| Arc::clone(&object.name));
        let object = Object { name: known.unwrap_or_else(|| Arc::from(name)), labels };
        match listing.get_mut(namespace) {
            Some(objects) => memory::push(objects, object),
            None => drop(listing.insert(Box::from(namespace), vec![object])),
        }
    }

    /// The list is complete: from now on there are its objects, and no others.
    pub fn finish(&mut self) {
        let Some(listing) = self.listing.take() else { return };
        let namespaces = listing.into_iter().map(|(name, objects)| (name, Namespace::new(objects)));
        self.replace(Store { namespaces: namespaces.collect() });
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

/// Reads a store. A writer that has panicked leaves it usable: every step is complete or has not begun.
pub(super) fn read(store: &RwLock<Store>) -> RwLockReadGuard<'_, Store> {
    store.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(store: &RwLock<Store>) -> RwLockWriteGuard<'_, Store> {
    store.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
