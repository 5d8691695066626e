//! Oddities of the samples of an answer, and reasons for a missing value.

use std::collections::BTreeMap;

use super::excerpt::{NAME, excerpt};

/// An oddity of the samples of a read, or the reason why they hold no value.
///
/// Those up to [`Oddity::NoSample`] can be the reason for a missing value. The first one in this order is reported: the object's
/// own samples come before those of others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Oddity {
    /// A sample is a native histogram.
    NativeHistogram,
    /// The timestamp of a sample is out of the range of an answer.
    OutOfTime,
    /// A sample is NaN, and the rule does not make it 0.
    NotANumber,
    /// A sample is infinite.
    Infinite,
    /// Samples of a pod do not carry the label of its containers, while other samples of the pod do.
    NoContainerLabel,
    /// A sample carries the label of another namespace.
    OtherNamespaces,
    /// Samples do not carry the label that names the object: the query aggregates it away.
    NoLabel,
    /// The series carry the label as `exported_…`: Prometheus renames a label of the exporter that the scrape sets too.
    ExportedLabel,
    /// There are samples, but none of the object.
    OtherObjects,
    /// Prometheus says that it has left native histograms out, and there is no sample.
    HistogramsLeftOut,
    /// The backend says that a part of the answer is missing.
    Partial,
    /// There is no sample.
    NoSample,
    /// Several samples belong to one object: the query does not aggregate to one sample an object.
    SeveralSamples,
    /// An external metric has several values.
    SeveralValues,
    /// Prometheus warns about the query.
    Warning,
}

impl Oddity {
    /// Each of them.
    pub const ALL: [Self; 15] = [
        Self::NativeHistogram,
        Self::OutOfTime,
        Self::NotANumber,
        Self::Infinite,
        Self::NoContainerLabel,
        Self::OtherNamespaces,
        Self::NoLabel,
        Self::ExportedLabel,
        Self::OtherObjects,
        Self::HistogramsLeftOut,
        Self::Partial,
        Self::NoSample,
        Self::SeveralSamples,
        Self::SeveralValues,
        Self::Warning,
    ];

    /// The oddity of a float that is not finite.
    pub fn of_value(value: f64) -> Self {
        if value.is_nan() { Self::NotANumber } else { Self::Infinite }
    }

    /// A code for logs and metrics. It never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::NativeHistogram => "native-histogram",
            Self::OutOfTime => "timestamp-out-of-range",
            Self::NotANumber => "nan",
            Self::Infinite => "infinite",
            Self::NoContainerLabel => "no-container-label",
            Self::OtherNamespaces => "other-namespaces",
            Self::NoLabel => "no-label",
            Self::ExportedLabel => "exported-label",
            Self::OtherObjects => "other-objects",
            Self::HistogramsLeftOut => "histograms-left-out",
            Self::Partial => "partial",
            Self::NoSample => "no-sample",
            Self::SeveralSamples => "several-samples",
            Self::SeveralValues => "several-values",
            Self::Warning => "warning",
        }
    }

    /// Why a value is missing: the end of a sentence whose subject is the query. `label` is the label of the objects.
    pub fn explains(self, label: &str) -> String {
        let words = match self {
            Self::NativeHistogram => {
                "returned a native histogram, which is no value; histogram_quantile, histogram_avg and histogram_count take one from it"
            }
            Self::OutOfTime => "returned a timestamp out of range",
            Self::NotANumber => "returned NaN",
            Self::Infinite => "returned an infinite value",
            Self::NoContainerLabel => "gives no sample with the label of containers",
            Self::OtherNamespaces => "returned samples of other namespaces only",
            Self::NoLabel => return format!("returned samples without the label `{label}`"),
            Self::ExportedLabel => {
                return format!("gives no sample, but {}", renamed(label));
            }
            Self::OtherObjects => "returned samples of other objects only",
            Self::HistogramsLeftOut => {
                "gives no sample, and Prometheus says that it left native histograms out"
            }
            Self::Partial => "gives no sample, and Prometheus says that its answer is partial",
            Self::NoSample | Self::SeveralSamples | Self::SeveralValues | Self::Warning => {
                "gives no sample"
            }
        };
        words.to_owned()
    }

    /// What is odd although there are values: the end of a sentence whose subject is the query.
    pub fn says(self) -> &'static str {
        match self {
            Self::NativeHistogram => "returned native histograms, which are no values",
            Self::OutOfTime => "returned timestamps out of range, whose samples are left out",
            Self::NotANumber => "returned NaN, which is left out",
            Self::Infinite => "returned infinite values, which are left out",
            Self::NoContainerLabel => "gives no sample with the label of containers for a pod",
            Self::OtherNamespaces => "returned samples of other namespaces, which are left out",
            Self::NoLabel => "returned samples without the label that names the object",
            Self::ExportedLabel => "gives no sample of an object whose label has been renamed",
            Self::OtherObjects => "returned samples of other objects, and none of one that exists",
            Self::HistogramsLeftOut => "leaves native histograms out",
            Self::Partial => "returned an answer that is partial",
            Self::NoSample => "gives no sample of an object that exists",
            Self::SeveralSamples => "returned several samples for one object; one of them is used",
            Self::SeveralValues => "returned several values, which an autoscaler adds up",
            Self::Warning => "has a warning of Prometheus",
        }
    }
}

/// That a label of series has been renamed, and what to do: a clause without the beginning of its sentence.
pub fn renamed(label: &str) -> String {
    format!(
        "its series have the label `exported_{label}`: the scrape has renamed the exporter's `{label}`; set `honorLabels: true` there, or map `exported_{label}`"
    )
}

/// The oddities of a read, each with an example.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Oddities(BTreeMap<Oddity, String>);

impl Oddities {
    /// Notes an oddity. The first example stays; it may be any text, and is shortened and escaped.
    pub fn note(&mut self, oddity: Oddity, example: &str) {
        self.0.entry(oddity).or_insert_with(|| excerpt(example, NAME));
    }

    /// Whether an oddity was noted.
    pub fn has(&self, oddity: Oddity) -> bool {
        self.0.contains_key(&oddity)
    }

    /// The example of an oddity that was noted.
    pub fn example(&self, oddity: Oddity) -> Option<&str> {
        self.0.get(&oddity).map(String::as_str)
    }

    /// Takes in those of further samples.
    pub fn extend(&mut self, more: Self) {
        for (oddity, example) in more.0 {
            self.0.entry(oddity).or_insert(example);
        }
    }

    /// All of them with their examples.
    pub fn iter(&self) -> impl Iterator<Item = (Oddity, &str)> {
        self.0.iter().map(|(oddity, example)| (*oddity, example.as_str()))
    }

    /// Why there is no value, if there is none.
    pub fn why_nothing(&self) -> Oddity {
        let first = self.0.keys().next().copied();
        first.filter(|first| *first < Oddity::NoSample).unwrap_or(Oddity::NoSample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_the_object_itself_explains_first() {
        let mut odd = Oddities::default();
        assert_eq!(odd.why_nothing(), Oddity::NoSample);
        for oddity in [Oddity::Warning, Oddity::SeveralSamples] {
            odd.note(oddity, "");
            assert_eq!(odd.why_nothing(), Oddity::NoSample, "{oddity:?}");
        }
        let rising = [Oddity::Partial, Oddity::NoLabel, Oddity::Infinite, Oddity::NativeHistogram];
        for oddity in rising {
            odd.note(oddity, "");
            assert_eq!(odd.why_nothing(), oddity);
        }
    }

    #[test]
    fn examples_are_the_first_shortened_and_escaped() {
        let mut odd = Oddities::default();
        odd.note(Oddity::OtherObjects, "a\n\"b");
        odd.note(Oddity::OtherObjects, "c");
        assert_eq!(odd.example(Oddity::OtherObjects), Some(r#"a\n\"b"#));
        odd.note(Oddity::NotANumber, &"x".repeat(64));
        let long = format!("{}…", "x".repeat(63));
        assert_eq!(odd.example(Oddity::NotANumber), Some(long.as_str()));
    }
}
