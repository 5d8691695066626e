//! From samples to the values of objects.

use std::sync::Arc;

use super::{
    oddity::{Oddities, Oddity},
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
    /// The objects whose sample is no value: one that cannot be used, infinite, or NaN where the rule drops it.
    pub valueless: Vec<Arc<str>>,
    /// How many of the values are what the rule says of objects without a sample.
    pub filled: usize,
    /// What was odd about the samples of the objects that were asked for, and about those of none.
    pub odd: Oddities,
    /// Where objects have no sample, what there is instead: samples of other objects, or of other namespaces only. It explains
    /// that only where the query does not ask for the objects by name.
    pub others: Option<Oddity>,
}

/// Picks the samples of the objects that were asked for by the labels that name them.
///
/// NaN is what the rule says: by default 0, because an idle ratio or percentile is NaN and an HPA that gets no value for it
/// holds its peak. An infinite sample is no value. A sample whose own label says another namespace is not this one's. Of several
/// samples for one object the last one is taken where the query sorts them, else the one whose labels sort last, so that the
/// choice does not depend on the backend's order.
pub fn read(
    vector: &Vector,
    index: &Index,
    namespace: &str,
    objects: &Objects,
    nan: Nan,
) -> Readings {
    let mut readings = Readings { odd: vector.oddities(), ..Readings::default() };
    if index.unlabelled() > 0 {
        readings.odd.note(Oddity::NoLabel, "");
    }
    let is_chosen = index.key().is_sorted;
    match objects {
        Objects::Named(names) => {
            readings.values.reserve(names.len());
            let mut missing = Vec::new();
            let mut walk = index.walk(vector, namespace);
            for name in names {
                let mut samples = walk.to(name);
                let Some(first) = samples.next() else {
                    missing.push(name);
                    continue;
                };
                let last = samples.last();
                if last.is_some() && !is_chosen {
                    readings.odd.note(Oddity::SeveralSamples, name);
                }
                readings.add(name, last.unwrap_or(first), nan);
            }
            if !missing.is_empty() {
                // They may be those of what is missing. In a result that spans namespaces they are more likely others'.
                let has_own = || index.objects(vector, namespace).next().is_some();
                if vector.lacks_histograms && !(index.key().spans && has_own()) {
                    readings.odd.note(Oddity::HistogramsLeftOut, "");
                }
                let is_missing =
                    |name: &str| missing.binary_search_by(|known| (***known).cmp(name)).is_ok();
                readings.explain(vector, index, namespace, is_missing);
            }
        }
        Objects::Any => {
            let mut samples = index.objects(vector, namespace).peekable();
            while let Some((name, sample)) = samples.next() {
                if samples.peek().is_none_or(|(next, _)| *next != name) {
                    readings.add(&Arc::from(name), sample, nan);
                } else if !is_chosen {
                    readings.odd.note(Oddity::SeveralSamples, name);
                }
            }
            let is_missing = |name: &str| index.of(vector, namespace, name).next().is_none();
            readings.explain(vector, index, namespace, is_missing);
        }
    }
    readings
}

impl Readings {
    fn add(&mut self, name: &Arc<str>, sample: Sample<'_>, nan: Nan) {
        let value = match nan {
            Nan::Zero if sample.value.is_nan() => 0.0,
            Nan::Zero | Nan::Drop => sample.value,
        };
        let name = Arc::clone(name);
        if let Some(milli) = quantity::milli(value) {
            self.values.push(Reading { name, milli, at_ms: sample.at_ms });
        } else {
            self.odd.note(Oddity::of_value(value), &name);
            self.valueless.push(name);
        }
    }

    /// Notes what there is instead of float samples of objects that are missing.
    fn explain(
        &mut self,
        vector: &Vector,
        index: &Index,
        namespace: &str,
        is_missing: impl Fn(&str) -> bool,
    ) {
        for (name, oddity) in index.unusable(vector, namespace) {
            if name.is_empty() || is_missing(name) {
                self.odd.note(oddity, name);
            }
            if !name.is_empty() && is_missing(name) {
                self.valueless.push(name.into());
            }
        }
        let mut elsewhere = index.elsewhere(vector, namespace).peekable();
        self.others = if index.objects(vector, namespace).next().is_some() {
            Some(Oddity::OtherObjects)
        } else {
            elsewhere.peek().map(|_| Oddity::OtherNamespaces)
        };
        if let Some((place, name)) = elsewhere.find(|(_, name)| is_missing(name)) {
            self.odd.note(Oddity::OtherNamespaces, &format!("{place}/{name}"));
        }
    }

    /// Sets a value for those of `names`, which are sorted, that have no sample. `at_ms` is its time where no sample says one.
    pub fn fill(&mut self, names: &[Arc<str>], milli: i64, at_ms: i64) {
        let at_ms = self.values.iter().map(|reading| reading.at_ms).max().unwrap_or(at_ms);
        let has_sample = |name: &Arc<str>| {
            self.values.binary_search_by(|reading| reading.name.cmp(name)).is_ok()
                || self.valueless.contains(name)
        };
        let missing: Vec<_> = names.iter().filter(|name| !has_sample(name)).cloned().collect();
        self.filled += missing.len();
        self.values.extend(missing.into_iter().map(|name| Reading { name, milli, at_ms }));
        self.values.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }

    /// Takes in what was read of further objects, whose names sort behind those that are here.
    pub fn extend(&mut self, more: Self) {
        let Self { values, valueless, filled, odd, others } = more;
        self.values.extend(values);
        self.filled += filled;
        self.valueless.extend(valueless);
        self.odd.extend(odd);
        self.others = self.others.or(others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{plan::Key, selector::Selector};

    fn vector(samples: &[(&[(&str, &str)], f64)]) -> Vector {
        Vector::of(samples.iter().map(|(labels, value)| (*labels, 1_000, *value)))
    }

    fn named(names: &[&str]) -> Objects {
        Objects::Named(names.iter().map(|name| Arc::from(*name)).collect())
    }

    fn read(vector: &Vector, label: &str, objects: &Objects) -> Readings {
        let key = Key { name: label.into(), ..Key::default() };
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
        let key = Key { name: "pod".into(), ..Key::default() };
        let index = Index::new(&vector, &key);
        let mut readings = super::read(&vector, &index, "", &Objects::Any, Nan::Drop);
        assert_eq!(values(&readings), [("c", 0), ("d", i64::MAX)]);
        let names = ["0", "a", "b", "c", "e"].map(Arc::from);
        readings.fill(&names, 5_000, 7);
        assert_eq!(values(&readings), [("0", 5_000), ("c", 0), ("d", i64::MAX), ("e", 5_000)]);
        assert_eq!(readings.values[0].at_ms, 1_000, "the time of the query");
    }

    #[test]
    fn of_several_samples_the_choice_does_not_depend_on_their_order() {
        let one = (&[("method", "x"), ("pod", "a")][..], 1.0);
        let two = (&[("method", "y"), ("pod", "a")][..], 2.0);
        let same = (&[("pod", "a"), ("method", "y")][..], -7.0);
        for samples in
            [[one, two].as_slice(), &[two, one], &[same, one, two], &[two, same], &[same, two]]
        {
            let readings = read(&vector(samples), "pod", &Objects::Any);
            assert_eq!(values(&readings), [("a", 2000)]);
            assert_eq!(readings.odd.example(Oddity::SeveralSamples), Some("a"));
        }
    }

    #[test]
    fn samples_without_the_label_are_counted() {
        let readings = read(&vector(&[(&[], 1.0), (&[("pod", "")], 2.0)]), "pod", &Objects::Any);
        assert_eq!((readings.values.len(), readings.odd.why_nothing()), (0, Oddity::NoLabel));
    }

    #[test]
    fn objects_of_other_namespaces_are_left_where_the_result_spans_them() {
        let vector = vector(&[
            (&[("pod", "a"), ("ns", "one")], 1.0),
            (&[("pod", "a"), ("ns", "two")], 2.0),
            (&[("pod", "b"), ("ns", "one")], 3.0),
            (&[("pod", "c")], 4.0),
        ]);
        let key =
            Key { name: "pod".into(), namespace: Some("ns".into()), spans: true, is_sorted: false };
        let index = Index::new(&vector, &key);
        let read = |namespace, objects: &Objects| {
            let readings = super::read(&vector, &index, namespace, objects, Nan::Zero);
            (values(&readings).into_iter().map(|(_, milli)| milli).collect::<Vec<_>>(), readings)
        };
        assert_eq!(read("one", &named(&["a", "b"])).0, [1000, 3000]);
        assert_eq!(read("two", &named(&["a", "b"])).0, [2000]);
        let (all, readings) = read("one", &Objects::Any);
        assert_eq!(all, [1000, 3000]);
        assert!(readings.odd.has(Oddity::NoLabel) && !readings.odd.has(Oddity::SeveralSamples));
    }

    #[test]
    fn what_says_another_namespace_is_not_of_this_one() {
        let of = |namespace, pod, value| (vec![("ns", namespace), ("pod", pod)], value);
        let samples = [
            of("one", "a", 1.0),
            of("two", "a", 2.0),
            of("two", "b", 3.0),
            of("", "c", 4.0),
            (vec![("pod", "d")], 5.0),
        ];
        let samples: Vec<_> = samples.iter().map(|(labels, value)| (&**labels, *value)).collect();
        let vector = vector(&samples);
        let key = Key { name: "pod".into(), namespace: Some("ns".into()), ..Key::default() };
        let index = Index::new(&vector, &key);
        let read = |namespace, objects: &Objects| {
            super::read(&vector, &index, namespace, objects, Nan::Zero)
        };
        let all = named(&["a", "b", "c", "d"]);
        for (namespace, objects, wanted) in [
            ("one", &all, &[("a", 1000), ("c", 4000), ("d", 5000)][..]),
            ("one", &Objects::Any, &[("a", 1000), ("c", 4000), ("d", 5000)]),
            ("two", &all, &[("a", 2000), ("b", 3000), ("c", 4000), ("d", 5000)]),
            ("neither", &all, &[("c", 4000), ("d", 5000)]),
        ] {
            assert_eq!(values(&read(namespace, objects)), wanted, "{namespace}");
        }
        let odd = read("one", &all).odd;
        assert_eq!(odd.example(Oddity::OtherNamespaces), Some("two/b"));
        assert!(!read("one", &named(&["a"])).odd.has(Oddity::OtherNamespaces), "it has its own");
        assert_eq!(read("one", &named(&["b"])).odd.why_nothing(), Oddity::OtherNamespaces);
        let nobody = read("one", &named(&["e"]));
        assert_eq!(
            (nobody.odd.why_nothing(), nobody.others),
            (Oddity::NoSample, Some(Oddity::OtherObjects))
        );
    }

    #[test]
    fn where_the_query_sorts_the_last_sample_counts() {
        let one = (&[("ns", "n"), ("pod", "a"), ("q", "y")][..], 1.0);
        let two = (&[("pod", "a"), ("q", "x")][..], 2.0);
        for (samples, wanted) in [([one, two], 2000), ([two, one], 1000)] {
            let vector = vector(&samples);
            let key = Key {
                name: "pod".into(),
                namespace: Some("ns".into()),
                spans: false,
                is_sorted: true,
            };
            let index = Index::new(&vector, &key);
            for objects in [named(&["a"]), Objects::Any] {
                let readings = super::read(&vector, &index, "n", &objects, Nan::Zero);
                assert_eq!(values(&readings), [("a", wanted)]);
                assert_eq!(readings.odd, Oddities::default(), "it was chosen");
            }
        }
    }

    #[test]
    fn histograms_that_are_left_out_may_be_those_of_what_is_missing() {
        let samples = vector(&[(&[("pod", "a")], 1.0)]);
        let vector = Vector { lacks_histograms: true, ..samples };
        let odd = |names: &[&str]| read(&vector, "pod", &named(names)).odd;
        assert_eq!(odd(&["a"]), Oddities::default());
        assert_eq!(odd(&["a", "b"]).why_nothing(), Oddity::HistogramsLeftOut);
        let selected = vector.selected(&Selector::parse("pod=b").unwrap());
        assert_eq!(selected.oddities().why_nothing(), Oddity::HistogramsLeftOut);
    }

    #[test]
    fn histograms_that_a_result_of_all_namespaces_leaves_out_are_those_of_namespaces_without_samples()
     {
        let samples = vector(&[(&[("pod", "a"), ("ns", "one")], 1.0)]);
        let vector = Vector { lacks_histograms: true, ..samples };
        let why = |spans, namespace| {
            let key =
                Key { name: "pod".into(), namespace: Some("ns".into()), spans, is_sorted: false };
            let index = Index::new(&vector, &key);
            let readings = super::read(&vector, &index, namespace, &named(&["new"]), Nan::Zero);
            readings.odd.why_nothing()
        };
        assert_eq!(why(true, "one"), Oddity::NoSample);
        assert_eq!(why(true, "two"), Oddity::HistogramsLeftOut);
        assert_eq!(why(false, "one"), Oddity::HistogramsLeftOut);
    }

    #[test]
    fn what_cannot_be_used_is_told_of_its_own_object() {
        let samples = vector(&[(&[("pod", "a")], 1.0), (&[("pod", "b")], f64::INFINITY)]);
        let histogram = Oddity::NativeHistogram;
        let vector = samples
            .clone()
            .and_unusable(&[("pod", "a")], histogram)
            .and_unusable(&[("pod", "h")], histogram)
            .and_unusable(&[("pod", "t")], Oddity::OutOfTime);
        let why = |vector: &Vector, name| read(vector, "pod", &named(&[name])).odd.why_nothing();
        assert_eq!(why(&vector, "h"), Oddity::NativeHistogram);
        assert_eq!(why(&vector, "t"), Oddity::OutOfTime);
        assert_eq!(why(&vector, "b"), Oddity::Infinite);
        assert_eq!(why(&vector, "other"), Oddity::NoSample);
        let with_float = read(&vector, "pod", &named(&["a"]));
        assert_eq!(values(&with_float), [("a", 1000)]);
        assert_eq!(with_float.odd, Oddities::default());
        // What is no value is not idle, either.
        let mut readings = read(&vector, "pod", &named(&["h", "other", "t"]));
        readings.fill(&["h", "other", "t"].map(Arc::from), 0, 7);
        assert_eq!(values(&readings), [("other", 0)]);
        let vector = samples.and_unusable(&[("job", "x")], histogram);
        assert_eq!(why(&vector, "other"), Oddity::NativeHistogram, "it is nobody else's");
    }
}
