//! From samples to the values of objects.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    plan::Objects,
    quantity,
    samples::{Sample, Vector},
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
    /// How many samples were infinite and so are no value.
    pub infinite: usize,
}

/// Picks the samples of the objects that were asked for by the label that names them.
///
/// NaN becomes 0, because an idle ratio or percentile is NaN and an HPA that gets no value for it holds its peak; an infinite
/// sample is no value. Of several samples for one object the one whose labels sort last is taken, so that the choice does
/// not depend on the backend's order.
pub fn read(vector: &Vector, label: &str, objects: &Objects) -> Readings {
    let mut readings = Readings::default();
    let wanted = match objects {
        Objects::Named(names) => Some(names.iter().map(|name| &**name).collect::<HashSet<_>>()),
        Objects::Any => None,
    };
    let mut chosen: BTreeMap<&str, &Sample> = BTreeMap::new();
    for sample in &vector.samples {
        let Some(name) = sample.label(label).filter(|name| !name.is_empty()) else {
            readings.unlabelled += 1;
            continue;
        };
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(name)) {
            continue;
        }
        match chosen.get(name) {
            None => {
                chosen.insert(name, sample);
            }
            Some(known) => {
                readings.ambiguous.get_or_insert_with(|| name.to_owned());
                if sorted_labels(sample) > sorted_labels(known) {
                    chosen.insert(name, sample);
                }
            }
        }
    }
    for (name, sample) in chosen {
        let value = if sample.value.is_nan() { 0.0 } else { sample.value };
        match quantity::milli(value) {
            Some(milli) => {
                let name = Arc::from(name);
                readings.values.push(Reading { name, milli, at_ms: sample.at_ms });
            }
            None => readings.infinite += 1,
        }
    }
    readings
}

fn sorted_labels(sample: &Sample) -> Vec<(&str, &str)> {
    let mut labels: Vec<_> =
        sample.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    labels.sort_unstable();
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn values(readings: &Readings) -> Vec<(&str, i64)> {
        readings.values.iter().map(|reading| (&*reading.name, reading.milli)).collect()
    }

    #[test]
    fn only_what_was_asked_for_is_read_sorted_by_name() {
        let vector =
            vector(&[(&[("pod", "b")], 2.0), (&[("pod", "a")], 1.5), (&[("pod", "c")], 3.0)]);
        let readings = read(&vector, "pod", &named(&["b", "a", "a", "missing"]));
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
        assert_eq!(readings.infinite, 1);
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
}
