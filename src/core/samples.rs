//! An instant vector as the backend gave it: what is cached, and what values are read from.

use std::{cmp::Ordering, sync::Arc};

use super::{
    oddity::{Oddities, Oddity},
    plan::Key,
};

/// The result of an instant query that is a vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector {
    /// The samples with float values, in the backend's order.
    pub samples: Vec<Sample>,
    /// The labels of the other samples, which no metrics API can say, and what they were.
    pub unusable: Vec<(Labels, Oddity)>,
    /// What the backend warned of; a partial answer is said here, too.
    pub warnings: Vec<String>,
    /// Whether the backend says that something is missing.
    pub is_partial: bool,
}

/// A series' labels in the backend's order; the names are shared within a vector.
pub type Labels = Vec<(Arc<str>, Box<str>)>;

/// One sample of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' labels.
    pub labels: Labels,
    /// The evaluation time of the query, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A label's value; nothing where the series does not carry the label.
    pub fn label(&self, name: &str) -> Option<&str> {
        label(&self.labels, name)
    }
}

/// A label's value; nothing where it is not there.
pub(super) fn label<'l>(labels: &'l [(Arc<str>, Box<str>)], name: &str) -> Option<&'l str> {
    labels.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
}

impl Vector {
    /// What the backend itself says of its answer.
    pub fn oddities(&self) -> Oddities {
        let mut odd = Oddities::default();
        if let Some(warning) = self.warnings.first() {
            odd.note(if self.is_partial { Oddity::Partial } else { Oddity::Warning }, warning);
        }
        odd
    }

    /// Roughly how many bytes the vector takes in memory.
    pub fn weight(&self) -> usize {
        let of_labels = |labels: &Labels| {
            let values = labels.iter().map(|(_, value)| value.len()).sum::<usize>();
            size_of::<Labels>() + labels.len() * size_of::<(Arc<str>, Box<str>)>() + values
        };
        let samples: usize = self.samples.iter().map(|sample| of_labels(&sample.labels)).sum();
        let unusable: usize = self.unusable.iter().map(|(labels, _)| of_labels(labels)).sum();
        let warnings: usize = self.warnings.iter().map(String::len).sum();
        let fixed = self.samples.len() * (size_of::<Sample>() - size_of::<Labels>());
        size_of::<Self>() + fixed + samples + unusable + warnings
    }
}

/// A vector's samples in the order of the objects that they belong to, so that a few objects among many are found without
/// a look at every sample.
#[derive(Clone, Debug)]
pub struct Index {
    key: Key,
    /// Positions of the samples that belong to an object, sorted by namespace, name, and then by the order in which samples of an
    /// object count. The namespace is empty where a sample does not say it.
    order: Vec<u32>,
    /// How many of them do not say a namespace.
    bare: usize,
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
            .filter_map(|(sample, at)| Some((object(&sample.labels, key)?, sample, at)))
            .collect();
        keyed.sort_unstable_by(|(a, _, at), (b, _, other)| a.cmp(b).then(at.cmp(other)));
        if !key.is_sorted {
            for of_one in keyed.chunk_by_mut(|(a, ..), (b, ..)| a == b) {
                of_one.sort_by_cached_key(|(_, sample, _)| sorted_labels(sample));
            }
        }
        let objects = keyed.chunk_by(|(a, ..), (b, ..)| a == b).count();
        let bare = keyed.partition_point(|((namespace, _), ..)| namespace.is_empty());
        let order: Vec<_> = keyed.into_iter().map(|(_, _, at)| at).collect();
        let unlabelled = vector.samples.len() - order.len();
        Self { key: key.clone(), order, bare, unlabelled, objects }
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

    /// The samples of one object; of several the one that counts is the last. `namespace` is that of the question.
    pub fn of<'v>(
        &'v self,
        vector: &'v Vector,
        namespace: &'v str,
        name: &'v str,
    ) -> impl Iterator<Item = &'v Sample> {
        let (bare, said) = self.halves();
        let own = self.run(vector, said, |object| object.cmp(&(namespace, name)));
        let bare = self.run(vector, bare, |object| object.cmp(&("", name)));
        self.merged(vector, own, bare)
    }

    /// The namespaces that there are samples of, where the samples say them.
    pub fn namespaces<'v>(&'v self, vector: &'v Vector) -> impl Iterator<Item = &'v str> {
        let all = self.order.iter().filter_map(|at| self.object(vector, *at));
        let mut last = None;
        all.filter_map(move |(namespace, _)| {
            (last.replace(namespace) != Some(namespace)).then_some(namespace)
        })
    }

    /// All samples of a namespace with the names of their objects, sorted by name; of several of one object the one that counts
    /// is the last.
    pub fn objects<'v>(
        &'v self,
        vector: &'v Vector,
        namespace: &'v str,
    ) -> impl Iterator<Item = (&'v str, &'v Sample)> {
        let (bare, said) = self.halves();
        let own = self.run(vector, said, |(found, _)| found.cmp(namespace));
        let named = |sample: &'v Sample| Some((object(&sample.labels, &self.key)?.1, sample));
        self.merged(vector, own, bare).filter_map(named)
    }

    /// Namespaces and names of the samples which say that they are of other namespaces than that of the question, although it
    /// was not asked for objects of others.
    pub fn elsewhere<'v>(
        &'v self,
        vector: &'v Vector,
        namespace: &'v str,
    ) -> impl Iterator<Item = (&'v str, &'v str)> {
        let (_, said) = if self.key.spans { Default::default() } else { self.halves() };
        let others = said.iter().filter_map(|at| self.object(vector, *at));
        others.filter(move |(found, _)| *found != namespace)
    }

    /// Of samples that cannot be used, which have no place in the order, those in a namespace: the names of their objects, empty
    /// where they do not carry the label, and what they are.
    pub fn unusable<'v>(
        &'v self,
        vector: &'v Vector,
        namespace: &'v str,
    ) -> impl Iterator<Item = (&'v str, Oddity)> {
        vector.unusable.iter().filter_map(move |(labels, oddity)| {
            let (found, name) = object(labels, &self.key).unwrap_or_default();
            (found.is_empty() || found == namespace).then_some((name, *oddity))
        })
    }

    /// The samples that do not say a namespace, and those that do.
    fn halves(&self) -> (&[u32], &[u32]) {
        self.order.split_at_checked(self.bare).unwrap_or_default()
    }

    fn object<'v>(&self, vector: &'v Vector, at: u32) -> Option<(&'v str, &'v str)> {
        object(&sample(vector, at)?.labels, &self.key)
    }

    /// Of samples those whose object is equal by an order that is that of the objects.
    fn run<'i, 'v>(
        &self,
        vector: &'v Vector,
        among: &'i [u32],
        compare: impl Fn((&'v str, &'v str)) -> Ordering,
    ) -> &'i [u32] {
        let compare = |at: &u32| self.object(vector, *at).map_or(Ordering::Greater, &compare);
        let start = among.partition_point(|at| compare(at) == Ordering::Less);
        let rest = among.get(start..).unwrap_or_default();
        // Nearly always one sample.
        let length = rest.iter().take_while(|at| compare(at) == Ordering::Equal).count();
        rest.get(..length).unwrap_or_default()
    }

    /// Two runs as one, sorted by name, and then by the order in which samples count.
    fn merged<'v>(
        &'v self,
        vector: &'v Vector,
        own: &'v [u32],
        bare: &'v [u32],
    ) -> impl Iterator<Item = &'v Sample> {
        let (mut own, mut bare) = (own.iter().peekable(), bare.iter().peekable());
        let is_first = |one: u32, other: u32| {
            let name = |at| self.object(vector, at).map(|(_, name)| name);
            name(one).cmp(&name(other)).then_with(|| {
                if self.key.is_sorted {
                    return one.cmp(&other);
                }
                let labels = |at| sample(vector, at).map(sorted_labels);
                labels(one).cmp(&labels(other))
            }) == Ordering::Less
        };
        std::iter::from_fn(move || match (own.peek(), bare.peek()) {
            (Some(&&one), Some(&&other)) if is_first(one, other) => own.next(),
            (_, Some(_)) => bare.next(),
            (_, None) => own.next(),
        })
        .filter_map(|at| sample(vector, *at))
    }
}

fn sample(vector: &Vector, at: u32) -> Option<&Sample> {
    vector.samples.get(usize::try_from(at).ok()?)
}

/// Namespace and name of the object that a sample belongs to. The namespace is empty where it is not said and need not be.
fn object<'s>(labels: &'s Labels, key: &Key) -> Option<(&'s str, &'s str)> {
    let label = |name: &str| label(labels, name).filter(|value| !value.is_empty());
    let namespace = key
        .namespace
        .as_deref()
        .map_or(Some(""), |namespace| label(namespace).or((!key.spans).then_some("")));
    Some((namespace?, label(&key.name)?))
}

fn sorted_labels(sample: &Sample) -> Vec<(&str, &str)> {
    let mut labels: Vec<_> =
        sample.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    labels.sort_unstable();
    labels
}
