//! An instant vector, or many of a range, as the backend gave it: what is cached, and what values are read from.
//!
//! A backend decides how many samples there are, so a vector is a few large allocations, whose size is that of what is in
//! them: two dozen bytes for a sample and its values' texts.

mod labels;
mod matrix;

use std::cmp::Ordering;

pub use labels::{LabelSets, Labels, MAX_NAMES};
pub use matrix::{Matrix, Points};

use self::labels::Names;
use super::{
    memory,
    oddity::{Oddities, Oddity},
    plan::Key,
    selector::Selector,
};

/// The result of an instant query that is a vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector {
    /// The samples with float values, in the backend's order.
    pub samples: Samples,
    /// The other samples, which no metrics API can say.
    pub unusable: Unusable,
    /// What the backend warned of; a partial answer is said here, too.
    pub warnings: Vec<String>,
    /// Whether the backend says that something is missing.
    pub is_partial: bool,
    /// Whether Prometheus says that the query has left native histograms out.
    pub lacks_histograms: bool,
}

/// The labels of samples that no metrics API can say, by what they were.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unusable {
    histograms: LabelSets,
    out_of_time: LabelSets,
}

impl Unusable {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.histograms.len() + self.out_of_time.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of each, and what it was.
    pub fn iter(&self) -> impl Iterator<Item = (Labels<'_>, Oddity)> {
        let histograms = self.histograms.iter().map(|labels| (labels, Oddity::NativeHistogram));
        histograms.chain(self.out_of_time.iter().map(|labels| (labels, Oddity::OutOfTime)))
    }
}

/// The samples of an instant vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    labels: LabelSets,
    values: Vec<f64>,
    /// The time of all samples up to the first that has another one.
    at_ms: i64,
    /// The time of each; empty while all have the same one, as nearly always.
    times_ms: Vec<i64>,
}

/// One sample of an instant vector.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'v> {
    /// The series' labels.
    pub labels: Labels<'v>,
    /// The evaluation time of the query, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
}

impl<'v> Sample<'v> {
    /// A label's value; nothing where the series does not carry the label.
    pub fn label(self, name: &str) -> Option<&'v str> {
        self.labels.get(name)
    }
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The sample at a position.
    pub fn get(&self, at: usize) -> Option<Sample<'_>> {
        let at_ms = self.times_ms.get(at).copied().unwrap_or(self.at_ms);
        Some(Sample { labels: self.labels.get(at)?, at_ms, value: *self.values.get(at)? })
    }

    /// The first one.
    pub fn first(&self) -> Option<Sample<'_>> {
        self.get(0)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Sample<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    fn push(&mut self, at_ms: i64, value: f64) {
        if self.values.is_empty() {
            self.at_ms = at_ms;
        } else if self.times_ms.is_empty() && at_ms != self.at_ms {
            self.times_ms = vec![self.at_ms; self.values.len()];
        }
        if !self.times_ms.is_empty() {
            memory::push(&mut self.times_ms, at_ms);
        }
        memory::push(&mut self.values, value);
        self.labels.end();
    }

    fn weight(&self) -> usize {
        self.labels.weight() + memory::of_list(&self.values) + memory::of_list(&self.times_ms)
    }
}

impl Vector {
    /// What the backend itself says of its answer.
    pub fn oddities(&self) -> Oddities {
        let mut odd = Oddities::default();
        if let Some(warning) = self.warnings.first() {
            odd.note(if self.is_partial { Oddity::Partial } else { Oddity::Warning }, warning);
        }
        if self.lacks_histograms && self.samples.is_empty() && self.unusable.is_empty() {
            odd.note(Oddity::HistogramsLeftOut, "");
        }
        odd
    }

    /// The samples whose labels a selector selects.
    #[must_use]
    pub fn selected(&self, selector: &Selector) -> Self {
        let mut rows = Rows::default();
        let is_selected = |labels: Labels<'_>| selector.matches(|name| labels.get(name));
        for sample in self.samples.iter().filter(|sample| is_selected(sample.labels)) {
            rows.labels(sample.labels);
            rows.sample(sample.at_ms, sample.value);
        }
        for (labels, oddity) in self.unusable.iter().filter(|(labels, _)| is_selected(*labels)) {
            rows.labels(labels);
            if oddity == Oddity::OutOfTime { rows.out_of_time() } else { rows.histogram() }
        }
        let vector = rows.complete(self.warnings.clone(), self.is_partial);
        Self { lacks_histograms: self.lacks_histograms, ..vector }
    }

    /// How many bytes the vector takes in memory, beside the value itself.
    pub fn weight(&self) -> usize {
        let warnings = self.warnings.iter().map(|warning| memory::allocated(warning.capacity()));
        let warnings = memory::of_list(&self.warnings) + warnings.sum::<usize>();
        // Where there are none, there is nothing but the names, which are those of the samples.
        let Unusable { histograms, out_of_time } = &self.unusable;
        let unusable = [histograms, out_of_time].into_iter().filter(|labels| !labels.is_empty());
        self.samples.weight() + unusable.map(LabelSets::weight).sum::<usize>() + warnings
    }
}

/// Puts the rows of an answer together, in the backend's order.
#[derive(Debug, Default)]
pub struct Rows {
    samples: Samples,
    unusable: Unusable,
    names: Names,
}

impl Rows {
    /// The number of a label name; nothing where the answer has more than [`MAX_NAMES`].
    pub fn name(&mut self, name: &str) -> Option<u16> {
        self.names.number(name)
    }

    /// A label of the row that comes next.
    pub fn label(&mut self, name: u16, value: &str) {
        self.samples.labels.push(name, value);
    }

    /// The labels of the row that comes next.
    fn labels(&mut self, labels: Labels<'_>) {
        for (name, value) in labels.iter() {
            if let Some(name) = self.name(name) {
                self.label(name, value);
            }
        }
    }

    /// A row with a value, at a time in milliseconds since the epoch.
    pub fn sample(&mut self, at_ms: i64, value: f64) {
        self.samples.push(at_ms, value);
    }

    /// A row without a value: a native histogram.
    pub fn histogram(&mut self) {
        self.samples.labels.end_in(&mut self.unusable.histograms);
    }

    /// A row whose time cannot be said.
    pub fn out_of_time(&mut self) {
        self.samples.labels.end_in(&mut self.unusable.out_of_time);
    }

    /// The vector that has these rows.
    pub fn complete(self, warnings: Vec<String>, is_partial: bool) -> Vector {
        let Self { mut samples, mut unusable, names } = self;
        let names = names.complete();
        samples.labels.complete(&names);
        samples.values.shrink_to_fit();
        samples.times_ms.shrink_to_fit();
        unusable.histograms.complete(&names);
        unusable.out_of_time.complete(&names);
        Vector { samples, unusable, warnings, is_partial, lacks_histograms: false }
    }
}

#[cfg(test)]
impl Vector {
    /// A vector of labels, times and values.
    pub(crate) fn of<'l>(
        rows: impl IntoIterator<Item = (&'l [(&'l str, &'l str)], i64, f64)>,
    ) -> Self {
        let mut all = Rows::default();
        for (labels, at_ms, value) in rows {
            all.set(labels);
            all.sample(at_ms, value);
        }
        all.complete(Vec::new(), false)
    }

    /// The same, and one that cannot be used.
    pub(crate) fn and_unusable(self, labels: &[(&str, &str)], oddity: Oddity) -> Self {
        let mut all = Rows::default();
        for sample in self.samples.iter() {
            all.set(&sample.labels.iter().collect::<Vec<_>>());
            all.sample(sample.at_ms, sample.value);
        }
        let own = self.unusable.iter().map(|(labels, oddity)| (labels.iter().collect(), oddity));
        for (labels, oddity) in own.chain([(labels.to_vec(), oddity)]) {
            let labels: Vec<_> = labels;
            all.set(&labels);
            if oddity == Oddity::OutOfTime { all.out_of_time() } else { all.histogram() }
        }
        all.complete(self.warnings, self.is_partial)
    }
}

#[cfg(test)]
impl Rows {
    fn set(&mut self, labels: &[(&str, &str)]) {
        for (name, value) in labels {
            let name = self.name(name).unwrap();
            self.label(name, value);
        }
    }
}

/// A vector's samples in the order of the objects that they belong to, so that a few objects among many are found without
/// a look at every sample.
#[derive(Clone, Debug)]
pub struct Index {
    key: Key,
    labels: Numbers,
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
        let labels = Numbers::of(&vector.samples.labels, key);
        let mut places = Vec::with_capacity(vector.samples.len());
        let all = vector.samples.labels.iter().zip(0_u32..);
        places.extend(all.filter_map(|(found, at)| labels.place(found, at)));
        let object = |place: &Place| place.object(&vector.samples.labels);
        places.sort_unstable_by(|a, b| object(a).cmp(&object(b)).then(a.at.cmp(&b.at)));
        if !key.is_sorted {
            for of_one in places.chunk_by_mut(|a, b| object(a) == object(b)) {
                if of_one.len() > 1 {
                    // Those with the same labels, of which a Prometheus has only one.
                    let value =
                        |place: &Place| sample(vector, place.at).map_or(0.0, |found| found.value);
                    of_one.sort_by(|a, b| value(a).total_cmp(&value(b)));
                    of_one.sort_by_cached_key(|place| {
                        sample(vector, place.at).map(|sample| sample.labels.sorted())
                    });
                }
            }
        }
        let objects = places.chunk_by(|a, b| object(a) == object(b)).count();
        let bare = places.partition_point(|place| object(place).0.is_empty());
        let mut order = Vec::with_capacity(places.len());
        order.extend(places.iter().map(|place| place.at));
        let unlabelled = vector.samples.len() - order.len();
        Self { key: key.clone(), labels, order, bare, unlabelled, objects }
    }

    /// What the index of a vector takes in memory at the most, beside the value itself.
    pub fn weight_of(vector: &Vector) -> usize {
        memory::allocated(vector.samples.len() * size_of::<u32>())
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
        name: &str,
    ) -> impl Iterator<Item = Sample<'v>> {
        self.walk(vector, namespace).to(name)
    }

    /// Finds the samples of several objects. `namespace` is that of the question.
    pub fn walk<'v>(&'v self, vector: &'v Vector, namespace: &'v str) -> Walk<'v> {
        let (bare, said) = self.halves();
        Walk { index: self, vector, namespace, bare, said }
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
    ) -> impl Iterator<Item = (&'v str, Sample<'v>)> {
        let (bare, mut said) = self.halves();
        let own = self.run(vector, &mut said, |(found, _)| found.cmp(namespace));
        let named = |sample: Sample<'v>| Some((object(sample.labels, &self.key)?.1, sample));
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
            (found.is_empty() || found == namespace).then_some((name, oddity))
        })
    }

    /// The samples that do not say a namespace, and those that do.
    fn halves(&self) -> (&[u32], &[u32]) {
        self.order.split_at_checked(self.bare).unwrap_or_default()
    }

    fn object<'v>(&self, vector: &'v Vector, at: u32) -> Option<(&'v str, &'v str)> {
        let labels = &vector.samples.labels;
        let place = self.labels.place(labels.get(memory::index(at))?, at)?;
        Some(place.object(labels))
    }

    /// Of samples those whose object is equal by an order that is that of the objects. Leaves the samples after them.
    fn run<'i, 'v>(
        &self,
        vector: &'v Vector,
        among: &mut &'i [u32],
        compare: impl Fn((&'v str, &'v str)) -> Ordering,
    ) -> &'i [u32] {
        let compare = |at: &u32| self.object(vector, *at).map_or(Ordering::Greater, &compare);
        let rest =
            among.get(before(among, |at| compare(at) == Ordering::Less)..).unwrap_or_default();
        // Nearly always one sample.
        let length = rest.iter().take_while(|at| compare(at) == Ordering::Equal).count();
        let (run, rest) = rest.split_at_checked(length).unwrap_or_default();
        *among = rest;
        run
    }

    /// Two runs as one, sorted by name, and then by the order in which samples count.
    fn merged<'v>(
        &'v self,
        vector: &'v Vector,
        own: &'v [u32],
        bare: &'v [u32],
    ) -> impl Iterator<Item = Sample<'v>> {
        let (mut own, mut bare) = (own.iter().peekable(), bare.iter().peekable());
        let is_first = |one: u32, other: u32| {
            let name = |at| self.object(vector, at).map(|(_, name)| name);
            name(one).cmp(&name(other)).then_with(|| {
                if self.key.is_sorted {
                    return one.cmp(&other);
                }
                let labels = |at| sample(vector, at).map(|sample| sample.labels);
                labels(one).zip(labels(other)).map_or(Ordering::Equal, |(a, b)| a.compare(b))
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

/// How many items at the front are less; those that are less all come first. Gallops, because they are few in a walk.
fn before(among: &[u32], is_less: impl Fn(&u32) -> bool) -> usize {
    let mut end = 1;
    while among.get(end - 1).is_some_and(&is_less) {
        end *= 2;
    }
    let start = end / 2;
    let rest = among.get(start..among.len().min(end - 1)).unwrap_or_default();
    start + rest.partition_point(is_less)
}

/// Finds the samples of objects in ascending order of their names. Each search starts where the last one ended, because the
/// objects of one selector are often adjacent.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'v> {
    index: &'v Index,
    vector: &'v Vector,
    namespace: &'v str,
    /// The samples that are left of those that do not say a namespace.
    bare: &'v [u32],
    /// The samples that are left of those that do.
    said: &'v [u32],
}

impl<'v> Walk<'v> {
    /// The samples of the object with this name, which sorts after the previous one; of several samples the last one counts.
    pub fn to(&mut self, name: &str) -> impl Iterator<Item = Sample<'v>> + use<'v> {
        let Self { index, vector, namespace, bare, said } = self;
        let own = index.run(vector, said, |object| object.cmp(&(*namespace, name)));
        let bare = index.run(vector, bare, |object| object.cmp(&("", name)));
        index.merged(vector, own, bare)
    }
}

fn sample(vector: &Vector, at: u32) -> Option<Sample<'_>> {
    vector.samples.get(memory::index(at))
}

/// The numbers that the labels of a key have in a vector.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    name: Option<u16>,
    namespace: Option<u16>,
    /// Whether a sample that does not say its namespace belongs to no object.
    has_to_say: bool,
}

impl Numbers {
    fn of(labels: &LabelSets, key: &Key) -> Self {
        Self {
            name: labels.number(&key.name),
            namespace: key.namespace.as_deref().and_then(|label| labels.number(label)),
            has_to_say: key.spans && key.namespace.is_some(),
        }
    }

    /// Where the labels of a sample say which object it belongs to.
    fn place(self, labels: Labels<'_>, at: u32) -> Option<Place> {
        let place = |number| labels.position(number).filter(|at| !labels.is_blank(*at));
        let namespace = self.namespace.and_then(place);
        if namespace.is_none() && self.has_to_say {
            return None;
        }
        let name = memory::position(place(self.name?)?);
        Some(Place { namespace: namespace.map_or(NOWHERE, memory::position), name, at })
    }
}

/// Where the namespace and the name of a sample's object are among the values of all labels, and where the sample is.
#[derive(Clone, Copy)]
struct Place {
    namespace: u32,
    name: u32,
    at: u32,
}

/// No label.
const NOWHERE: u32 = u32::MAX;

impl Place {
    fn object(self, labels: &LabelSets) -> (&str, &str) {
        let value = |at| labels.value(memory::index(at)).unwrap_or_default();
        (value(self.namespace), value(self.name))
    }
}

/// Namespace and name of the object that labels belong to. The namespace is empty where it is not said and need not be.
fn object<'s>(labels: Labels<'s>, key: &Key) -> Option<(&'s str, &'s str)> {
    let label = |name: &str| labels.get(name).filter(|value| !value.is_empty());
    let namespace = key
        .namespace
        .as_deref()
        .map_or(Some(""), |namespace| label(namespace).or((!key.spans).then_some("")));
    Some((namespace?, label(&key.name)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_look_from_the_front_finds_what_halving_finds(
            mut among in prop::collection::vec(0..50_u32, 0..70),
            bound in 0..60_u32,
        ) {
            among.sort_unstable();
            let is_less = |number: &u32| *number < bound;
            prop_assert_eq!(before(&among, is_less), among.partition_point(is_less));
        }
    }
}
