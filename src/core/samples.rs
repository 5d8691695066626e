//! An instant vector as the backend gave it: what is cached, and what values are read from.

use std::{cmp::Ordering, sync::Arc};

use super::plan::Key;

/// The result of an instant query that is a vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector {
    /// The samples with float values, in the backend's order.
    pub samples: Vec<Sample>,
    /// How many samples were native histograms, which no metrics API can say.
    pub histograms: usize,
    /// What the backend warned of; a partial answer is said here, too.
    pub warnings: Vec<String>,
    /// Whether the backend says that something is missing.
    pub is_partial: bool,
}

/// One sample of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' labels in the backend's order; the names are shared within a vector.
    pub labels: Vec<(Arc<str>, Box<str>)>,
    /// The evaluation time of the query, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A label's value; nothing where the series does not carry the label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }
}

impl Vector {
    /// Roughly how many bytes the vector takes in memory.
    pub fn weight(&self) -> usize {
        let samples: usize = self
            .samples
            .iter()
            .map(|sample| {
                size_of::<Sample>()
                    + sample
                        .labels
                        .iter()
                        .map(|(_, value)| size_of::<(Arc<str>, Box<str>)>() + value.len())
                        .sum::<usize>()
            })
            .sum();
        let warnings: usize = self.warnings.iter().map(String::len).sum();
        size_of::<Self>() + samples + warnings
    }
}

/// A vector's samples in the order of the objects that they belong to, so that a few objects among many are found without
/// a look at every sample.
#[derive(Clone, Debug)]
pub struct Index {
    key: Key,
    /// Positions of the samples that carry the labels of the key, sorted by namespace, name, and then all labels.
    order: Vec<u32>,
    unlabelled: usize,
    objects: usize,
}

impl Index {
    /// Sorts a vector by a key.
    pub fn new(vector: &Vector, key: &Key) -> Self {
        let mut keyed: Vec<_> = vector
            .samples
            .iter()
            .zip(0_u32..)
            .filter_map(|(sample, at)| Some((object(sample, key)?, sample, at)))
            .collect();
        keyed.sort_unstable_by(|(a, left, _), (b, right, _)| {
            a.cmp(b).then_with(|| sorted_labels(left).cmp(&sorted_labels(right)))
        });
        let objects = keyed.chunk_by(|(a, ..), (b, ..)| a == b).count();
        let order: Vec<_> = keyed.into_iter().map(|(_, _, at)| at).collect();
        let unlabelled = vector.samples.len() - order.len();
        Self { key: key.clone(), order, unlabelled, objects }
    }

    /// The key that the samples are sorted by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// How many samples belong to no object, because they do not carry its label.
    pub fn unlabelled(&self) -> usize {
        self.unlabelled
    }

    /// How many objects the samples belong to.
    pub fn objects_len(&self) -> usize {
        self.objects
    }

    /// The samples of one object, sorted by their labels. `namespace` counts where the key has one.
    pub fn of<'v>(
        &'v self,
        vector: &'v Vector,
        namespace: &'v str,
        name: &'v str,
    ) -> impl Iterator<Item = &'v Sample> {
        let wanted = (if self.key.namespace.is_some() { namespace } else { "" }, name);
        let compare = move |at: &u32| {
            let found = sample(vector, *at).and_then(|sample| object(sample, &self.key));
            found.map_or(Ordering::Greater, |found| found.cmp(&wanted))
        };
        let start = self.order.partition_point(|at| compare(at) == Ordering::Less);
        let rest = self.order.get(start..).unwrap_or_default();
        rest.iter()
            .take_while(move |at| compare(at) == Ordering::Equal)
            .filter_map(|at| sample(vector, *at))
    }

    /// The namespaces that there are samples of, where the key has one.
    pub fn namespaces<'v>(&'v self, vector: &'v Vector) -> impl Iterator<Item = &'v str> {
        let all = self.order.iter().filter_map(|at| object(sample(vector, *at)?, &self.key));
        let mut last = None;
        all.filter_map(move |(namespace, _)| {
            (last.replace(namespace) != Some(namespace)).then_some(namespace)
        })
    }

    /// All samples of a namespace with the names of their objects, in the order of names and then labels.
    pub fn objects<'v>(
        &'v self,
        vector: &'v Vector,
        namespace: &'v str,
    ) -> impl Iterator<Item = (&'v str, &'v Sample)> {
        let spans = self.key.namespace.is_some();
        self.order.iter().filter_map(move |at| {
            let sample = sample(vector, *at)?;
            let (place, name) = object(sample, &self.key)?;
            (!spans || place == namespace).then_some((name, sample))
        })
    }
}

fn sample(vector: &Vector, at: u32) -> Option<&Sample> {
    vector.samples.get(usize::try_from(at).ok()?)
}

/// Namespace and name of the object that a sample belongs to.
fn object<'s>(sample: &'s Sample, key: &Key) -> Option<(&'s str, &'s str)> {
    let label = |name: &str| sample.label(name).filter(|value| !value.is_empty());
    let namespace = match &key.namespace {
        Some(namespace) => label(namespace)?,
        None => "",
    };
    Some((namespace, label(&key.name)?))
}

fn sorted_labels(sample: &Sample) -> Vec<(&str, &str)> {
    let mut labels: Vec<_> =
        sample.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    labels.sort_unstable();
    labels
}
