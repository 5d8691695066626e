//! From samples to the values of objects.

use std::sync::Arc;

use super::{
    plan::Objects,
    quantity,
    rules::Nan,
    samples::{Index, Sample, Vector},
};

/// The value of one object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// The object's name.
    pub name: Arc<str>,
    /// The value in thousandths.
    pub milli: i64,
    /// The evaluation time of the query that gave the value, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// The values of the objects that were asked for, sorted by name, and what was odd about the samples.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Readings {
    /// One reading for every object with a usable sample.
    pub values: Vec<Reading>,
    /// An object that several samples belong to, if there is one: the query does not aggregate to one sample an object.
    pub ambiguous: Option<String>,
    /// How many samples do not carry the object's label: the query aggregates it away.
    pub unlabelled: usize,
    /// The objects whose sample is no value: infinite, or NaN where the rule drops it.
    pub valueless: Vec<Arc<str>>,
}

/// Picks the samples of the objects that were asked for by the labels that name them.
///
/// NaN is what the rule says: by default 0, because an idle ratio or percentile is NaN and an HPA that gets no value for it
/// holds its peak. An infinite sample is no value. Of several samples for one object the one whose labels sort last is taken, so that the choice does
/// not depend on the backend's order.
pub fn read(
    vector: &Vector,
    index: &Index,
    namespace: &str,
    objects: &Objects,
    nan: Nan,
) -> Readings {
    let mut readings = Readings { unlabelled: index.unlabelled(), ..Readings::default() };
    match objects {
        Objects::Named(names) => {
            readings.values.reserve(names.len());
            for name in names {
                let mut samples = index.of(vector, namespace, name);
                let Some(first) = samples.next() else { continue };
                let last = samples.last();
                if last.is_some() {
                    readings.ambiguous.get_or_insert_with(|| name.to_string());
                }
                readings.add(name, last.unwrap_or(first), nan);
            }
        }
        Objects::Any => {
            let mut samples = index.objects(vector, namespace).peekable();
            while let Some((name, sample)) = samples.next() {
                if samples.peek().is_some_and(|(next, _)| *next == name) {
                    readings.ambiguous.get_or_insert_with(|| name.to_owned());
                } else {
                    readings.add(&Arc::from(name), sample, nan);
                }
            }
        }
    }
    readings
}

impl Readings {
    fn add(&mut self, name: &Arc<str>, sample: &Sample, nan: Nan) {
        let name = Arc::clone(name);
        let value = match nan {
            Nan::Zero if sample.value.is_nan() => 0.0,
            Nan::Zero | Nan::Drop => sample.value,
        };
        match quantity::milli(value) {
            Some(milli) => self.values.push(Reading { name, milli, at_ms: sample.at_ms }),
            None => self.valueless.push(name),
        }
    }

    /// Gives 0 to those of `names`, which are sorted, that have no sample. `at_ms` is the time of a value where no sample
    /// says one.
    pub fn fill(&mut self, names: &[Arc<str>], at_ms: i64) {
        let at_ms = self.values.iter().map(|reading| reading.at_ms).max().unwrap_or(at_ms);
        let has_sample = |name: &Arc<str>| {
            self.values.binary_search_by(|reading| reading.name.cmp(name)).is_ok()
                || self.valueless.contains(name)
        };
        let missing: Vec<_> = names.iter().filter(|name| !has_sample(name)).cloned().collect();
        self.values.extend(missing.into_iter().map(|name| Reading { name, milli: 0, at_ms }));
        self.values.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }

    /// Takes in what was read of further objects, whose names sort behind those that are here.
    pub fn extend(&mut self, more: Self) {
        let Self { values, ambiguous, unlabelled, valueless } = more;
        self.values.extend(values);
        self.ambiguous = self.ambiguous.take().or(ambiguous);
        self.unlabelled += unlabelled;
        self.valueless.extend(valueless);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::plan::Key;

    fn vector(samples: &[(&[(&str, &str)], f64)]) -> Vector {
        let samples = samples
            .iter()
            .map(|(labels, value)| Sample {
                labels: labels
                    .iter()
                    .map(|(name, value)| ((*name).into(), (*value).into()))
                    .collect(),
                at_ms: 1_000,
                value: *value,
            })
            .collect();
        Vector { samples, ..Vector::default() }
    }

    fn named(names: &[&str]) -> Objects {
        Objects::Named(names.iter().map(|name| Arc::from(*name)).collect())
    }

    fn read(vector: &Vector, label: &str, objects: &Objects) -> Readings {
        let key = Key { name: label.into(), namespace: None };
        super::read(vector, &Index::new(vector, &key), "", objects, Nan::Zero)
    }

    fn values(readings: &Readings) -> Vec<(&str, i64)> {
        readings.values.iter().map(|reading| (&*reading.name, reading.milli)).collect()
    }

    #[test]
    fn only_what_was_asked_for_is_read_sorted_by_name() {
        let vector =
            vector(&[(&[("pod", "b")], 2.0), (&[("pod", "a")], 1.5), (&[("pod", "c")], 3.0)]);
        let readings = read(&vector, "pod", &named(&["a", "b", "missing"]));
        assert_eq!(values(&readings), [("a", 1500), ("b", 2000)]);
        assert_eq!(values(&read(&vector, "pod", &Objects::Any)).len(), 3);
    }

    #[test]
    fn nan_is_zero_and_infinity_is_no_value() {
        let vector = vector(&[
            (&[("pod", "a")], f64::NAN),
            (&[("pod", "b")], f64::INFINITY),
            (&[("pod", "c")], -0.0004),
            (&[("pod", "d")], 1e300),
        ]);
        let readings = read(&vector, "pod", &Objects::Any);
        assert_eq!(values(&readings), [("a", 0), ("c", 0), ("d", i64::MAX)]);
        assert_eq!(readings.valueless, [Arc::from("b")]);
        let key = Key { name: "pod".into(), namespace: None };
        let index = Index::new(&vector, &key);
        let mut readings = super::read(&vector, &index, "", &Objects::Any, Nan::Drop);
        assert_eq!(values(&readings), [("c", 0), ("d", i64::MAX)]);
        let names = ["0", "a", "b", "c", "e"].map(Arc::from);
        readings.fill(&names, 7);
        assert_eq!(values(&readings), [("0", 0), ("c", 0), ("d", i64::MAX), ("e", 0)]);
        assert_eq!(readings.values[0].at_ms, 1_000, "the time of the query");
    }

    #[test]
    fn of_several_samples_the_choice_does_not_depend_on_their_order() {
        let one = (&[("method", "x"), ("pod", "a")][..], 1.0);
        let two = (&[("method", "y"), ("pod", "a")][..], 2.0);
        for samples in [[one, two], [two, one]] {
            let readings = read(&vector(&samples), "pod", &Objects::Any);
            assert_eq!(values(&readings), [("a", 2000)]);
            assert_eq!(readings.ambiguous.as_deref(), Some("a"));
        }
    }

    #[test]
    fn samples_without_the_label_are_counted() {
        let readings = read(&vector(&[(&[], 1.0), (&[("pod", "")], 2.0)]), "pod", &Objects::Any);
        assert_eq!((readings.values.len(), readings.unlabelled), (0, 2));
    }

    #[test]
    fn objects_of_other_namespaces_are_left_where_the_result_spans_them() {
        let vector = vector(&[
            (&[("pod", "a"), ("ns", "one")], 1.0),
            (&[("pod", "a"), ("ns", "two")], 2.0),
            (&[("pod", "b"), ("ns", "one")], 3.0),
            (&[("pod", "c")], 4.0),
        ]);
        let key = Key { name: "pod".into(), namespace: Some("ns".into()) };
        let index = Index::new(&vector, &key);
        let read = |namespace, objects: &Objects| {
            let readings = super::read(&vector, &index, namespace, objects, Nan::Zero);
            (values(&readings).into_iter().map(|(_, milli)| milli).collect::<Vec<_>>(), readings)
        };
        assert_eq!(read("one", &named(&["a", "b"])).0, [1000, 3000]);
        assert_eq!(read("two", &named(&["a", "b"])).0, [2000]);
        let (all, readings) = read("one", &Objects::Any);
        assert_eq!(all, [1000, 3000]);
        assert_eq!((readings.unlabelled, readings.ambiguous), (1, None));
    }
}
