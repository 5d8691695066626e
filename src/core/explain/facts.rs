//! What is gathered about a metric before anything is concluded.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::core::{
    kinds::Kind,
    rules::{Aggregate, MetricRule, Nan, RuleId},
    selector::Selector,
    yaml::Place,
};

/// An API of metrics that rules are written for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Api {
    /// custom.metrics.k8s.io
    Custom,
    /// external.metrics.k8s.io
    External,
    /// metrics.k8s.io
    Resource,
}

impl Api {
    /// The API that a rule serves.
    pub fn of(rule: &MetricRule) -> Self {
        match rule {
            MetricRule::Custom(_) => Self::Custom,
            MetricRule::External(_) => Self::External,
        }
    }
}

/// The metric that is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name.
    pub metric: String,
    /// Whose value is asked.
    pub of: Of,
    /// The namespace; nothing for objects that are in none.
    pub namespace: Option<String>,
    /// Which of its series.
    pub selector: Selector,
    /// Whether the workload that should own the objects has zero replicas.
    pub is_at_zero: bool,
    /// Of the usage of a resource by pods, which metrics.k8s.io serves: the part of each pod.
    pub usage: Option<UsagePart>,
}

/// The part of a pod whose usage is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UsagePart {
    /// All containers together.
    Pod,
    /// One container, by name.
    Container(String),
}

/// Whose value is asked.
#[derive(Clone, Debug)]
pub enum Of {
    /// Objects of a kind: custom.metrics.k8s.io, or the usage of pods.
    Objects {
        /// The kind, where it is known.
        kind: Result<Arc<Kind>, UnknownKind>,
        /// Which ones.
        which: Which,
    },
    /// Nobody's: external.metrics.k8s.io.
    External,
}

/// A kind that is not known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UnknownKind {
    /// What was written.
    pub written: String,
    /// The resources that may be meant.
    pub near: Vec<String>,
}

/// Which objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// One.
    Named(String),
    /// Those that match.
    Selected(Selector),
}

impl Asked {
    /// The API that is asked.
    pub fn api(&self) -> Api {
        match self.of {
            _ if self.usage.is_some() => Api::Resource,
            Of::Objects { .. } => Api::Custom,
            Of::External => Api::External,
        }
    }
}

/// The placeholder of a value that the user may not see.
pub const HIDDEN: &str = "…";

/// A series, with its labels but its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The value of its newest sample.
    pub value: f64,
}

impl Series {
    /// A label's value; empty where it is not carried.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Why a request to a backend has no answer that can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The cause.
    pub cause: super::Cause,
    /// The public sentence.
    pub text: String,
}

/// What was found for a rule.
#[derive(Clone, Debug)]
pub struct RuleFacts {
    /// The rule.
    pub rule: MetricRule,
    /// The names of the series that `seriesQuery` finds, of the last day; or why nobody knows.
    pub names: Result<Vec<String>, Failure>,
    /// Names that the rule is about and `seriesQuery` does not find, which have series all the same.
    pub excluded: Vec<String>,
    /// The labels that name objects, and the resources that they are mapped to.
    pub labels: Vec<(String, String)>,
    /// The label that names objects of the kind that is asked about.
    pub label: Option<String>,
    /// The label that holds the namespace.
    pub namespace_label: Option<String>,
}

/// What is known of the series behind the metric.
#[derive(Clone, Debug, Default)]
pub struct SeriesFacts {
    /// The series' name.
    pub name: String,
    /// Those that have a sample now, whatever their labels.
    pub now: Vec<Series>,
    /// Those of the last day; the same where there are some now.
    pub day: Vec<Series>,
    /// How long ago the newest sample of the last day was, in seconds, where that was asked.
    pub newest_age_s: Option<f64>,
    /// The most samples that one of them has within the query's range, where the query has one.
    pub most_in_range: Option<f64>,
    /// The shortest range of the query.
    pub range: Option<Duration>,
    /// Why nothing is known of them.
    pub failure: Option<Failure>,
}

/// An object of the kind that is asked about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObjectFacts {
    /// Its name.
    pub name: String,
    /// Who owns it, as `Kind/name`, from the nearest owner on; empty where nobody does.
    pub owners: Vec<String>,
    /// Of a pod: whether it is ready; nothing where nobody says.
    pub is_ready: Option<bool>,
}

/// The objects that are asked about.
#[derive(Clone, Debug, Default)]
pub struct ObjectsFacts {
    /// Those that are selected.
    pub selected: Vec<ObjectFacts>,
    /// The names of all of the kind in the namespace.
    pub all: Vec<String>,
    /// Whether somebody knows the objects: a cluster, or manifests.
    pub is_known: bool,
    /// Who should own them, as `Kind/name`: the workload that the autoscaler scales.
    pub owner: Option<String>,
}

/// How the metric is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// The rule.
    pub rule: RuleId,
    /// The object that it is, if it is one of a team: `MetricRule shop/queue-depth`.
    pub object: Option<Arc<str>>,
    /// Where it is in its file.
    pub place: Place,
    /// The key of its query.
    pub query_key: &'static str,
    /// How values of an external metric are put together; nothing for others.
    pub aggregate: Option<Aggregate>,
    /// The series' name.
    pub series: String,
    /// The label that holds the object's name; nothing for external metrics.
    pub label: Option<String>,
    /// The label that holds the namespace, where the query matches it.
    pub namespace_label: Option<String>,
    /// Whether readers may share a query, and why not.
    pub sharing: String,
}

impl Served {
    /// The query in the file, for advice.
    pub fn query(&self) -> String {
        format!("{} of {}", self.query_key, self.rule)
    }
}

/// What an answer has of native histograms, which are no values.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistogramFacts {
    /// How many samples are some.
    pub count: usize,
    /// Whether one of them is in place of a value that was asked for.
    pub replace_value: bool,
    /// Whether Prometheus says that the query has left some out.
    pub are_left_out: bool,
}

/// The query and its answer.
#[derive(Clone, Debug, Default)]
pub struct AnswerFacts {
    /// The query as it is sent.
    pub query: String,
    /// Why it has no answer.
    pub failure: Option<Failure>,
    /// The samples, as they came.
    pub samples: Vec<Series>,
    /// The native histograms among the samples.
    pub histograms: HistogramFacts,
    /// What the backend warned of.
    pub warnings: Vec<String>,
    /// Whether the backend says that a part is missing.
    pub is_partial: bool,
    /// How many samples the query has without the autoscaler's selector, where there is one and it finds nothing.
    pub without_selector: Option<usize>,
    /// Whether the query is the same without the autoscaler's selector.
    pub ignores_selector: bool,
    /// The values that are served: the object's name, or the labels of an external value, and thousandths.
    pub values: Vec<(String, i64)>,
    /// How many of the values are those of `onEmpty`.
    pub filled: usize,
    /// Objects of which several samples were found.
    pub several: Vec<String>,
    /// The operation that returns nothing, where the query has one and it was asked.
    pub operands: Option<OperandsFacts>,
    /// How NaN is served, where the rule can say so.
    pub nan: Option<Nan>,
}

/// An operation of two vectors that returns nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OperandsFacts {
    /// The operator, with `on` or `ignoring` if it has them.
    pub operator: String,
    /// The left side and the right side.
    pub sides: [SideFacts; 2],
}

/// A side of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SideFacts {
    /// Its query.
    pub query: String,
    /// The names of the labels of one of its samples, but for that of the series; nothing where it has no sample.
    pub labels: Option<Vec<String>>,
    /// Names of series that it reads and that have no sample, where it has none.
    pub absent: Vec<String>,
}

/// A fallback that reads return.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FallbackFacts {
    /// The value in thousandths.
    pub milli: i64,
    /// Since when.
    pub since: Timestamp,
}

/// The delegate that has the metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DelegateFacts {
    /// What the rules file calls it.
    pub name: String,
    /// Whether its `match` says so.
    pub is_matched: bool,
}

/// All that was gathered about a metric.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What was asked.
    pub asked: Asked,
    /// The rules that were left out because they do not compile, and what they say.
    pub broken: Vec<BrokenRule>,
    /// The rules, in the order of the file.
    pub rules: Vec<RuleFacts>,
    /// The names of the metrics that are served by the API that is asked, and for the kind.
    pub served_names: Vec<String>,
    /// Whether the other API serves the metric.
    pub is_in_other_api: bool,
    /// Rules that nothing is known of yet.
    pub undiscovered: Vec<String>,
    /// The delegate that has the metric, if one has; then no rule counts.
    pub delegate: Option<DelegateFacts>,
    /// How the metric is served, if it is.
    pub served: Option<Served>,
    /// The objects; nothing for external metrics.
    pub objects: ObjectsFacts,
    /// The series of the metric, or of the rule that comes nearest.
    pub series: Option<SeriesFacts>,
    /// The query and its answer, where the metric is served.
    pub answer: Option<AnswerFacts>,
    /// The fallback that reads return now, if they do.
    pub fallback: Option<FallbackFacts>,
}

/// A rule that does not count, mostly because it does not compile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BrokenRule {
    /// Where, as `rules[2].name.as`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What the file says of it, as text.
    pub text: Arc<str>,
    /// Whether only a quota is the reason.
    pub is_over_quota: bool,
}
