//! The causes that an explanation names. Their codes are an interface: they never change.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Severity;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $severity:ident;)*) => {
        /// Why a metric has no value, or one that may not be meant.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code, for output that programs read.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// What it means for the autoscaler.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }
        }
    };
}

causes! {
    /// There is no series that the rule is about, and there was none within a day.
    SeriesAbsent = "series-absent", Failed;
    /// There were series within a day, and there are none now.
    SeriesEnded = "series-ended", Failed;
    /// The series lack the label that names the objects, or another one that is asked for.
    LabelMissing = "label-missing", Failed;
    /// The label that holds the objects' names is mapped to another resource.
    LabelMapsElsewhere = "label-maps-elsewhere", Failed;
    /// Prometheus has renamed the exporter's labels to `exported_…`.
    ExportedLabels = "exported-labels", Failed;
    /// The label's values cannot be names of objects.
    LabelIsNoObject = "label-is-no-object", Failed;
    /// The series are of other namespaces.
    WrongNamespace = "wrong-namespace", Failed;
    /// A filter of the rule, or a selector, leaves the series out.
    Filtered = "filtered", Failed;
    /// `name.matches` does not match the series.
    NameDoesNotMatch = "name-does-not-match", Failed;
    /// No rule serves a metric of this name.
    UnknownMetric = "unknown-metric", Failed;
    /// The metric exists for other resources.
    OtherResource = "other-resource", Failed;
    /// The metric is served by another API.
    WrongApi = "wrong-api", Failed;
    /// No object matches the selector.
    NoObjectSelected = "no-object-selected", Failed;
    /// Objects match the selector that belong to something else.
    ForeignOwner = "foreign-owner", Doubtful;
    /// Objects exist, and the series carry other names.
    NamesDiffer = "names-differ", Failed;
    /// A range holds fewer samples than its function needs.
    TooFewSamples = "too-few-samples", Failed;
    /// The query aggregates the label away that names the objects.
    AggregatedAway = "aggregated-away", Failed;
    /// The result has no labels at all.
    NoLabels = "no-labels", Failed;
    /// Both sides of an operation have samples, and no one matches one of the other side.
    UnmatchedSides = "unmatched-sides", Failed;
    /// `histogram_quantile` reads buckets whose label `le` is aggregated away.
    HistogramWithoutLe = "histogram-without-le", Failed;
    /// Several samples belong to one object.
    SeveralSamples = "several-samples", Doubtful;
    /// An external metric has several values, which an autoscaler adds.
    SeveralSummed = "several-summed", Doubtful;
    /// The autoscaler's selector does not reach the query.
    SelectorIgnored = "selector-ignored", Doubtful;
    /// The value is NaN.
    Nan = "nan", Failed;
    /// The value is infinite.
    Infinite = "infinite", Failed;
    /// The sample is a native histogram.
    HistogramSample = "histogram-sample", Failed;
    /// The backend refuses the query, or its result is no vector.
    QueryError = "query-error", Failed;
    /// The answer is larger than is read.
    TooLarge = "too-large", Failed;
    /// The backend fails, and reads return the fallback of the rule.
    FallbackInUse = "fallback-in-use", Doubtful;
    /// The newest sample is old.
    Stale = "stale", Doubtful;
    /// The workload has no pods, and the series end with them.
    AbsentAtZero = "absent-at-zero", Failed;
    /// The backend does not accept the credentials.
    BackendUnauthorized = "backend-unauthorized", Failed;
    /// The backend cannot be reached.
    BackendUnreachable = "backend-unreachable", Failed;
    /// TLS to the backend fails.
    BackendTls = "backend-tls", Failed;
    /// What answers is no Prometheus.
    BackendNotPrometheus = "backend-not-prometheus", Failed;
    /// The backend does not answer in time.
    BackendTimeout = "backend-timeout", Failed;
    /// The backend limits how often it is asked.
    BackendLimited = "backend-limited", Failed;
    /// A quota of the namespace for its own rules is used up.
    QuotaExceeded = "quota-exceeded", Failed;
    /// The rule does not compile.
    BrokenRule = "broken-rule", Failed;
    /// Nothing is known yet, or no pod is ready.
    NotReady = "not-ready", Failed;
    /// The API is not registered.
    ApiserviceMissing = "apiservice-missing", Failed;
    /// The API is registered for another server.
    ApiserviceOtherOwner = "apiservice-other-owner", Failed;
    /// The API server does not trust our certificate.
    ApiserviceCa = "apiservice-ca", Failed;
    /// The API server cannot reach us.
    ApiserviceUnavailable = "apiservice-unavailable", Failed;
    /// The HPA controller may not read the metric.
    NotAuthorized = "not-authorized", Failed;
    /// The user may not read it.
    NotAuthorizedMe = "not-authorized-me", Failed;
    /// A field of the autoscaler is invalid, or its API version.
    HpaInvalid = "hpa-invalid", Failed;
    /// The autoscaler has a field that nothing reads.
    HpaFieldIgnored = "hpa-field-ignored", Doubtful;
    /// `type: Value` on a metric that does not fall as pods are added.
    HpaValueCompounds = "hpa-value-compounds", Doubtful;
    /// The metric never comes near its target.
    HpaTargetUnreachable = "hpa-target-unreachable", Doubtful;
    /// The workload that the autoscaler names does not exist.
    HpaTargetNotFound = "hpa-target-not-found", Failed;
    /// A container requests nothing of the resource that a utilization is about.
    HpaRequestMissing = "hpa-request-missing", Failed;
    /// The autoscaler wants more or fewer replicas than it may have.
    HpaAtLimit = "hpa-at-limit", Normal;
    /// The value is off its target by less than the tolerance.
    HpaWithinTolerance = "hpa-within-tolerance", Normal;
    /// The stabilization window holds a change back.
    HpaStabilizing = "hpa-stabilizing", Normal;
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = Cow::<str>::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|cause| cause.code() == code);
        known.copied().ok_or_else(|| D::Error::custom(format!("the cause `{code}` is not known")))
    }
}
