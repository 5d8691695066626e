//! The differences from prometheus-adapter that are intentional: one table, which docs/from-prometheus-adapter.md shows.

use serde::{Serialize, Serializer};

use super::{Aspect, Difference, MetricsApi};
use crate::core::explain::Cause;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// Why two servers differ as they are meant to. The codes are an interface: they never change.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code, for output that programs read.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The reference lists a metric and fails whenever it is read.
    Unreadable = "unreadable";
    /// One has discovered a metric that the other has not, and nothing is lost by it.
    Discovery = "discovery";
    /// The reference writes a query that Prometheus cannot parse.
    QuotedNames = "quoted-names";
    /// The reference truncates to thousandths.
    Rounding = "rounding";
    /// The reference writes a number for NaN or an infinity.
    NotFinite = "not-finite";
    /// The reference writes another number for one that is out of range.
    Clamped = "clamped";
    /// The reference does not say what range a value was measured over.
    Window = "window";
    /// The reference stamps values with the time of the read.
    EvaluationTime = "evaluation-time";
    /// An object has several samples, of which each takes another one.
    SeveralSamples = "several-samples";
    /// The sample is of an object in another namespace.
    OtherNamespace = "other-namespace";
    /// The sample is a native histogram.
    NativeHistogram = "native-histogram";
    /// The reference takes every kind but three for one of objects in namespaces.
    Scope = "scope";
    /// The reference returns an empty list of usages where Prometheus does not answer.
    UsageUnavailable = "usage-unavailable";
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl Reason {
    /// What the explanation of the replacing server says of a difference that the answers alone do not explain: the causes that
    /// it found, and the query that it sends.
    pub fn of_explanation(difference: &Difference, causes: &[Cause], query: &str) -> Option<Self> {
        let Difference { api, aspect, namespace, reference, .. } = difference;
        let by_cause = |cause: &Cause| match (aspect, cause) {
            (Aspect::Value, Cause::SeveralSamples) => Some(Self::SeveralSamples),
            (Aspect::Object | Aspect::Value, Cause::WrongNamespace) => Some(Self::OtherNamespace),
            (Aspect::Object | Aspect::Value, Cause::HistogramSample) => Some(Self::NativeHistogram),
            (Aspect::Object, Cause::Nan | Cause::Infinite) => Some(Self::NotFinite),
            _ => None,
        };
        // A query that does not say which namespace has the samples of all. External metrics may be meant so.
        let is_of_all = *api == MetricsApi::Custom
            && matches!(aspect, Aspect::Object | Aspect::Value)
            && reference.is_some()
            && !query.is_empty()
            && namespace.as_ref().is_some_and(|namespace| !query.contains(namespace.as_str()));
        let has_quoted_name = ["{\"", ",\"", ", \"", "(\"", "{__name__=\""]
            .iter()
            .any(|before| query.contains(before));
        let is_quoted = *aspect == Aspect::Status && has_quoted_name;
        let by_query = is_of_all
            .then_some(Self::OtherNamespace)
            .or_else(|| is_quoted.then_some(Self::QuotedNames));
        causes.iter().find_map(by_cause).or(by_query)
    }
}

/// A row of the table: how the page begins it, and the reasons that `compare` names for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Documented {
    /// The words in bold.
    pub title: &'static str,
    /// The reasons.
    pub reasons: &'static [Reason],
}

const fn silent(title: &'static str) -> Documented {
    Documented { title, reasons: &[] }
}

const fn named(title: &'static str, reasons: &'static [Reason]) -> Documented {
    Documented { title, reasons }
}

/// The rows, in the order of the page. Those without a reason are not seen in answers, or make no difference to who reads them.
pub const DOCUMENTED: &[Documented] = &[
    silent("Errors have a cause."),
    silent("A selector that no series can match"),
    silent("A rules file that has lost its rules"),
    named("A rule that does not compile", &[Reason::Unreadable]),
    silent("Arguments that are not flags"),
    silent("Discovery does not read every series."),
    named("Discovery finds every series that a query can read.", &[Reason::Discovery]),
    named("Names are quoted if necessary.", &[Reason::QuotedNames]),
    silent("A format that `printf` cannot print"),
    silent("Whitespace at the ends of names, patterns and queries"),
    silent("A new metric works at once."),
    silent("One query for many readers"),
    silent("No limit of 5 requests a second"),
    named("Values", &[Reason::Rounding, Reason::Clamped, Reason::NotFinite]),
    named("Timestamps and windows", &[Reason::EvaluationTime, Reason::Window]),
    named("Several samples for one object:", &[Reason::SeveralSamples]),
    named("A sample of another namespace is ignored.", &[Reason::OtherNamespace]),
    named("Native histograms", &[Reason::NativeHistogram]),
    silent("Names in regular expressions"),
    named("Scopes come from the cluster:", &[Reason::Scope]),
    named("Usage without an answer of Prometheus", &[Reason::UsageUnavailable]),
    silent("Credentials for Prometheus"),
    silent("`/readyz`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_documented_once() {
        let mut documented: Vec<_> = DOCUMENTED.iter().flat_map(|row| row.reasons).collect();
        documented.sort();
        assert_eq!(documented, Reason::ALL.iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_explanation_gives_the_reason_where_it_fits() {
        let query = "m{namespace=\"ide\"}";
        let quoted = "m{namespace=\"ide\",\"k8s.pod\"=\"a\"}";
        let cases = [
            (Aspect::Value, Cause::SeveralSamples, query, Some(Reason::SeveralSamples)),
            (Aspect::Object, Cause::SeveralSamples, query, None),
            (Aspect::Object, Cause::WrongNamespace, query, Some(Reason::OtherNamespace)),
            (Aspect::Object, Cause::HistogramSample, query, Some(Reason::NativeHistogram)),
            (Aspect::Object, Cause::Infinite, query, Some(Reason::NotFinite)),
            (Aspect::Object, Cause::SeriesAbsent, query, None),
            (Aspect::Object, Cause::SeriesAbsent, "sum(m) by (pod)", Some(Reason::OtherNamespace)),
            (Aspect::Object, Cause::SeriesAbsent, "", None),
            (Aspect::Listed, Cause::WrongNamespace, "", None),
            (Aspect::Status, Cause::Stale, quoted, Some(Reason::QuotedNames)),
            (Aspect::Status, Cause::Stale, query, None),
            (Aspect::Value, Cause::Stale, quoted, None),
        ];
        for (aspect, cause, query, wanted) in cases {
            let difference = Difference {
                api: MetricsApi::Custom,
                metric: "pods/m".to_owned(),
                aspect,
                namespace: Some("ide".to_owned()),
                object: "web-0".to_owned(),
                count: 1,
                reference: Some("1".to_owned()),
                with: None,
                reason: None,
                cause: None,
            };
            let found = Reason::of_explanation(&difference, &[cause], query);
            assert_eq!(found, wanted, "{aspect:?} {cause:?} {query}");
            for other in [
                Difference { reference: None, ..difference.clone() },
                Difference { namespace: None, ..difference.clone() },
                Difference { api: MetricsApi::External, ..difference.clone() },
            ] {
                let absent = [Cause::SeriesAbsent];
                let found = Reason::of_explanation(&other, &absent, "sum(m) by (pod)");
                assert_eq!(found, None, "{other:?}");
            }
        }
    }
}
