//! Compiled rules of metrics, and what rules are called.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use super::{FileName, Fingerprint, Mapping, Namer, QueryOptions, specimen};
use crate::core::{
    key_path::{KeyPath, Step},
    series::SeriesSelector,
    template::QueryTemplate,
    window,
    yaml::Place,
};

/// Which rule. Shown as the entry and, where there can be several files, the file: `rules[2] of shop.yaml`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleId {
    /// The file; that of `--config` for rules of teams, which are in none.
    pub file: FileName,
    /// The entry of the file.
    pub entry: RuleEntry,
}

/// Which rule of a file. Shown as its path: `rules[2]`, `resourceRules.cpu`; one of a team as its kind.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RuleEntry {
    /// The entry of `rules` at this position, from 0.
    Custom(usize),
    /// The entry of `externalRules` at this position, from 0.
    External(usize),
    /// The entry of `resourceRules` for a resource.
    Resource(ComputeResource),
    /// A rule of a team, which is an object of the cluster: [`RuleBase::name`] says which.
    Team(TeamRuleKind),
}

/// The kinds of objects that are rules of teams.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TeamRuleKind {
    /// In a namespace, and for it alone.
    MetricRule,
    /// For every namespace, or for those that it lists.
    ClusterMetricRule,
}

impl TeamRuleKind {
    /// The API group of the objects.
    pub const GROUP: &str = "loadline.dev";

    /// The version of the objects.
    pub const VERSION: &str = "v1alpha1";

    /// The kind in a manifest.
    pub fn kind(self) -> &'static str {
        match self {
            Self::MetricRule => "MetricRule",
            Self::ClusterMetricRule => "ClusterMetricRule",
        }
    }
}

/// A resource whose usage is measured.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ComputeResource {
    /// CPU, in cores.
    Cpu,
    /// Memory, in bytes.
    Memory,
}

impl RuleEntry {
    /// The rule that a path of the rules file leads to or into.
    pub fn of(path: &KeyPath) -> Option<Self> {
        let ids = match path.steps() {
            [_, Step::Index(position), ..] => [Self::Custom(*position), Self::External(*position)],
            _ => [ComputeResource::Cpu, ComputeResource::Memory].map(Self::Resource),
        };
        ids.into_iter().find(|id| path.steps().starts_with(KeyPath::from(*id).steps()))
    }

    /// The path of a key of the rule.
    pub fn key(self, key: impl Into<KeyPath>) -> KeyPath {
        KeyPath::from(self).join(key)
    }
}

impl RuleId {
    /// The names of several rules, for people.
    pub fn list(rules: &[Self]) -> String {
        rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// A rule of the file of `--config`, or of a team.
impl From<RuleEntry> for RuleId {
    fn from(entry: RuleEntry) -> Self {
        Self { file: FileName::Config, entry }
    }
}

impl From<RuleEntry> for KeyPath {
    fn from(entry: RuleEntry) -> Self {
        match entry {
            RuleEntry::Custom(position) => Self::from("rules").index(position),
            RuleEntry::External(position) => Self::from("externalRules").index(position),
            RuleEntry::Resource(ComputeResource::Cpu) => ["resourceRules", "cpu"].into(),
            RuleEntry::Resource(ComputeResource::Memory) => ["resourceRules", "memory"].into(),
            RuleEntry::Team(_) => "spec".into(),
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)?;
        match &self.file {
            FileName::Config => Ok(()),
            file => write!(f, " of {file}"),
        }
    }
}

impl fmt::Display for RuleEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team(kind) => f.write_str(kind.kind()),
            id => KeyPath::from(*id).fmt(f),
        }
    }
}

/// A rule of custom.metrics.k8s.io.
#[derive(Debug)]
pub struct CustomRule {
    /// What it shares with rules of external metrics.
    pub base: RuleBase,
    /// Whether the query puts its samples in an order, by `sort` or one of its relatives outermost.
    pub is_sorted: bool,
}

/// A rule of external.metrics.k8s.io.
#[derive(Debug)]
pub struct ExternalRule {
    /// What it shares with rules of custom metrics.
    pub base: RuleBase,
    /// What becomes of several samples.
    pub aggregate: Aggregate,
}

/// A rule of metrics, of either API.
#[derive(Clone, Debug)]
pub enum MetricRule {
    /// Of custom.metrics.k8s.io.
    Custom(Arc<CustomRule>),
    /// Of external.metrics.k8s.io.
    External(Arc<ExternalRule>),
}

impl MetricRule {
    /// What rules of both APIs have.
    pub fn base(&self) -> &RuleBase {
        match self {
            Self::Custom(rule) => &rule.base,
            Self::External(rule) => &rule.base,
        }
    }

    /// Whether the rule is of custom metrics.
    pub fn is_custom(&self) -> bool {
        matches!(self, Self::Custom(_))
    }
}

/// What rules of custom and of external metrics have in common.
#[derive(Debug)]
pub struct RuleBase {
    /// What the rule is called in messages.
    pub id: RuleId,
    /// Where the rule stands in its file.
    pub place: Place,
    /// What the file says of the rule, and of the backend that it names. A rule of another version of the file is the same
    /// rule if its fingerprint is equal; `id` and `place` may then differ. Two rules of one file may be equal, too.
    pub fingerprint: Fingerprint,
    /// Which series the rule is about.
    pub selector: SeriesSelector,
    /// Which series names are taken and what they are called in the API.
    pub namer: Namer,
    /// Labels to resources and back.
    pub mapping: Mapping,
    /// The query's template.
    pub query: QueryTemplate,
    /// The range that the rule's queries look over in seconds: `window`, or read from the query where it is known.
    pub window_seconds: Option<i64>,
    /// `static: true`: the one metric of the rule, which needs no discovery. The labels that name objects are all those of
    /// `mapping`, which has no template.
    pub static_metric: Option<StaticMetric>,
    /// What becomes of NaN: of custom metrics 0 by default, of external metrics no value.
    pub nan: Nan,
    /// What becomes of objects without a sample; of external metrics, of answers without one.
    pub on_empty: OnEmpty,
    /// The value of reads that the backend has failed for a while, where there is one.
    pub fallback: Option<Fallback>,
    /// How the queries are sent, and how long their answers are used.
    pub options: QueryOptions,
    /// Kind, namespace and name of the object, where the rule is one of a team: `MetricRule shop/queue-depth`.
    pub object: Option<Arc<str>>,
}

impl RuleBase {
    /// What the rule is called in messages.
    pub fn name(&self) -> Cow<'_, str> {
        let object = self.object.as_deref().map(Cow::Borrowed);
        object.unwrap_or_else(|| Cow::Owned(self.id.to_string()))
    }

    /// The age of the oldest sample that the rule's queries read, where that is known. Without a range they take the last
    /// sample of `lookback`.
    pub fn oldest_sample(&self, lookback: Duration) -> Option<Duration> {
        window::oldest(&specimen(&self.query)?, lookback)
    }
}

/// The metric of a rule that says `static: true`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticMetric {
    /// The name of the series.
    pub series: Arc<str>,
    /// The metric's name in the API.
    pub metric: Arc<str>,
}

/// What becomes of NaN.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nan {
    /// It is 0.
    Zero,
    /// It is no value.
    Drop,
}

/// What becomes of objects that exist but have no sample, and of external metrics that have none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnEmpty {
    /// They are left out of the answer.
    #[default]
    Omit,
    /// Their value in thousandths, if the answer is new and whole; not negative.
    ///
    /// This removes the protection that the `HorizontalPodAutoscaler` has for pods without a sample, which it takes for
    /// fully loaded when it would scale in: with 0, a pod whose scrape failed looks like an idle one.
    Value(i64),
}

impl OnEmpty {
    /// The value in thousandths, where there is to be one.
    pub fn milli(self) -> Option<i64> {
        match self {
            Self::Omit => None,
            Self::Value(milli) => Some(milli),
        }
    }
}

/// A value for reads that the backend fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fallback {
    /// How long reads must have failed, without a success in between.
    pub after: Duration,
    /// The value in thousandths; not negative.
    pub milli: i64,
}

/// What becomes of several samples of an external metric.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Aggregate {
    /// Each is a value of its own; an autoscaler adds them up.
    #[default]
    None,
    /// One value: their sum.
    Sum,
    /// One value: the largest.
    Max,
    /// One value: their arithmetic mean.
    Avg,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_known_by_any_path_into_it() {
        let ids = [
            (RuleEntry::Custom(2), "rules[2]"),
            (RuleEntry::External(0), "externalRules[0]"),
            (RuleEntry::Resource(ComputeResource::Cpu), "resourceRules.cpu"),
            (RuleEntry::Resource(ComputeResource::Memory), "resourceRules.memory"),
        ];
        for (id, shown) in ids {
            let path = KeyPath::from(id);
            assert_eq!(id.to_string(), shown);
            assert_eq!((RuleEntry::of(&path), RuleEntry::of(&path.key("x"))), (Some(id), Some(id)));
        }
        let others =
            ["rules".into(), ["rules", "default"].into(), ["resourceRules", "window"].into()];
        for path in others.into_iter().chain([KeyPath::from("backends").index(0)]) {
            assert_eq!(RuleEntry::of(&path), None, "{path}");
        }
    }

    #[test]
    fn a_rule_is_shown_with_its_file_where_there_can_be_several() {
        let shown = |file| RuleId { file, entry: RuleEntry::Custom(2) }.to_string();
        assert_eq!(shown(FileName::Config), "rules[2]");
        assert_eq!(shown(FileName::InFolder("a.yaml".into())), "rules[2] of a.yaml");
        assert_eq!(
            shown(FileName::config_map("shop", "rules", "a.yaml")),
            "rules[2] of configmap shop/rules key a.yaml"
        );
    }
}
