//! The rules file: what prometheus-adapter reads, strictly, with every problem and its place; and what loadline adds.
//!
//! Reading has two stages. A file that is not YAML, or that has unknown or malformed keys, is refused whole ([`load`]
//! fails with all problems). A rule that is well written but does not compile (a template, a regular expression) is left
//! out and reported, and the others go on, unless the caller is strict about it.

pub mod auth;
mod backend;
mod credentials;
mod delegate;
mod external;
mod fields;
mod file_name;
mod fingerprint;
mod form;
mod keys;
mod mapping;
mod merge;
mod naming;
mod options;
mod problem;
mod resource;
mod rule;
mod schema;
mod teams;

use std::{collections::BTreeMap, sync::Arc};

pub use auth::Auth;
pub(crate) use backend::http_url;
pub use backend::{Backend, Verb};
pub use credentials::{
    CredentialPolicy, DEFAULT_FOLDER, HostPattern, HostPatternError, Refusal, is_loopback, origin,
};
pub use delegate::{Apis, CaSource, Delegate, Match};
use fields::{Fields, Text};
pub use file_name::{ConfigMapKey, FileName};
pub use fingerprint::Fingerprint;
pub(in crate::core) use form::{MAX_HEADERS, check_header};
pub(crate) use form::{excerpt, is_dns_label};
pub use mapping::{AmbiguousResource, Mapping, ResolvedMapping};
pub use merge::{Claims, Contents, Merged, Outcome, Precedence, SECTIONS, Section, merge};
pub use naming::{Namer, Unnamed};
pub use options::{Header, HeaderError, QueryOptions};
use problem::EntryProblems;
pub use problem::Problem;
pub use resource::{ResourceRule, ResourceRules};
pub use rule::{
    Aggregate, ComputeResource, CustomRule, ExternalRule, Fallback, MetricRule, Nan, OnEmpty,
    RuleBase, RuleEntry, RuleId, StaticMetric, TeamRuleKind,
};
pub use schema::schema;
pub use teams::{TeamPolicy, TeamQuotas};

use super::{
    embedded, go_regex, nesting, order,
    series::SeriesSelector,
    template::{QueryArguments, QueryTemplate},
    window,
    yaml::Node,
};

/// The rules of a file, or of several ones in their order, compiled.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// `rules`: custom.metrics.k8s.io, in the order of the file.
    pub custom: Vec<Arc<CustomRule>>,
    /// `externalRules`: external.metrics.k8s.io, in the order of the file.
    pub external: Vec<Arc<ExternalRule>>,
    /// `resourceRules`: metrics.k8s.io.
    pub resource: Option<ResourceRules>,
    /// `backends`: servers that rules may name, in the order of the file, whether or not one does.
    pub backends: Vec<Arc<Backend>>,
    /// `delegates`: other servers of the metrics APIs, in the order of the file.
    pub delegates: Vec<Arc<Delegate>>,
    /// `teamRules`: what rules of teams may do.
    pub teams: TeamPolicy,
    /// Rules that were left out because they do not compile, and entries that another file has, too.
    pub broken: Vec<Problem>,
    /// Whether the file says that there are no rules, as `rules: []` does. One that is empty, or has comments only, may have been
    /// truncated.
    pub is_empty_on_purpose: bool,
}

impl RuleSet {
    /// The rules of custom metrics, and then those of external ones.
    pub fn of_metrics(&self) -> impl Iterator<Item = MetricRule> {
        let external = self.external.iter().cloned().map(MetricRule::External);
        self.custom.iter().cloned().map(MetricRule::Custom).chain(external)
    }

    /// How many rules there are, of all APIs.
    pub fn count(&self) -> usize {
        let usage = self.resource.iter().flat_map(|usage| [&usage.cpu, &usage.memory]);
        self.custom.len() + self.external.len() + usage.flatten().count()
    }

    /// Lets teams do what this policy says, whose backends are known then. Those that were not stand behind the others, of which one may
    /// have the same name; their names are returned.
    pub(in crate::core) fn keep_teams(&mut self, policy: &TeamPolicy) -> Vec<Arc<str>> {
        let mut kept = Vec::new();
        for backend in &policy.backends {
            if self.backends.iter().all(|known| known.fingerprint != backend.fingerprint) {
                self.backends.push(Arc::clone(backend));
                kept.push(Arc::clone(&backend.name));
            }
        }
        self.teams = policy.clone();
        kept
    }

    /// What is of each of these files. The servers, and what teams may do, are those of all files.
    pub fn by_file<'n>(
        &self,
        files: impl Iterator<Item = &'n FileName>,
    ) -> BTreeMap<&'n FileName, Self> {
        let shared = |file: &FileName| {
            let resource = self.resource.as_ref().map(|usage| {
                let own = |rule: &Option<Arc<ResourceRule>>| {
                    rule.clone().filter(|rule| rule.id.file == *file)
                };
                ResourceRules { cpu: own(&usage.cpu), memory: own(&usage.memory), ..*usage }
            });
            Self {
                resource,
                backends: self.backends.clone(),
                delegates: self.delegates.clone(),
                teams: self.teams.clone(),
                is_empty_on_purpose: self.is_empty_on_purpose,
                ..Self::default()
            }
        };
        let mut parts: BTreeMap<_, _> = files.map(|file| (file, shared(file))).collect();
        for rule in &self.custom {
            if let Some(part) = parts.get_mut(&rule.base.id.file) {
                part.custom.push(Arc::clone(rule));
            }
        }
        for rule in &self.external {
            if let Some(part) = parts.get_mut(&rule.base.id.file) {
                part.external.push(Arc::clone(rule));
            }
        }
        for problem in &self.broken {
            if let Some(part) = parts.get_mut(&problem.file) {
                part.broken.push(problem.clone());
            }
        }
        parts
    }
}

/// Reads and compiles a rules file, or the one that a text carries (see [`embedded`]). Fails with every problem of the file's
/// form; rules that do not compile are left out and stand in [`RuleSet::broken`].
pub fn load(text: &str) -> Result<RuleSet, Vec<Problem>> {
    let carried = embedded::one(text)
        .map_err(|errors| errors.into_iter().map(Problem::from).collect::<Vec<_>>())?;
    compile(&carried.rules)
}

/// [`load`] of a text that has been read as YAML.
pub fn compile(root: &Node) -> Result<RuleSet, Vec<Problem>> {
    let Merged { rules, outcomes, .. } = merge(&[(FileName::Config, root)], &Precedence::default());
    match outcomes.into_values().next() {
        Some(Outcome::Refused(problems)) => Err(problems),
        Some(Outcome::Read { .. }) | None => Ok(rules),
    }
}

/// What the rules of a file have in common while they are compiled.
struct Compiler<'f> {
    file: &'f FileName,
    backends: &'f [Arc<Backend>],
    patterns: &'f mut go_regex::Budget,
    broken: Vec<Problem>,
}

impl Compiler<'_> {
    fn custom(&mut self, position: usize, rule: &Fields<'_>) -> Option<CustomRule> {
        let base = self.base(rule, RuleEntry::Custom(position), rule.fingerprint("rules"))?;
        Some(CustomRule { is_sorted: is_sorted(&base.query), base })
    }

    fn external(&mut self, position: usize, rule: &Fields<'_>) -> Option<ExternalRule> {
        let base =
            self.base(rule, RuleEntry::External(position), rule.fingerprint("externalRules"))?;
        let aggregate = match rule.text("aggregate").value.as_str() {
            "sum" => Aggregate::Sum,
            "max" => Aggregate::Max,
            "avg" => Aggregate::Avg,
            _ => Aggregate::None,
        };
        Some(ExternalRule { base, aggregate })
    }

    /// Compiles what rules of both kinds have, reporting everything that is wrong with it.
    fn base(
        &mut self,
        rule: &Fields<'_>,
        entry: RuleEntry,
        fingerprint: Fingerprint,
    ) -> Option<RuleBase> {
        let Self { file, backends, patterns, broken } = self;
        let is_external = matches!(entry, RuleEntry::External(_));
        let before = broken.len();
        let mut problems = EntryProblems::new(entry, broken);
        let selector = selector(&rule.text("seriesQuery"), &mut problems);
        let namer = Namer::compile(rule, patterns, &mut problems);
        let mapping = Mapping::compile(rule, &mut problems);
        let written = rule.text("metricsQuery");
        let query = if written.value.is_empty() {
            problems.add(written.place, "metricsQuery", "a query template is required");
            None
        } else {
            query_template("metricsQuery", &written, &mut problems)
        };
        let options = options::compile(rule, backends, &mut problems);
        if is_external
            && let Some(mapping) = &mapping
            && let Err(message) = external::names_its_namespace(mapping)
        {
            problems.add(rule.place, "resources", message);
        }
        let static_metric = if rule.flag("static").value {
            let parts = (selector.as_ref(), namer.as_ref(), mapping.as_ref());
            static_metric(rule, is_external, parts, &mut problems)
        } else {
            None
        };
        if broken.len() > before {
            return None;
        }
        let query = query?;
        let own_window = rule.duration("window");
        let own_window = own_window.and_then(|window| i64::try_from(window.as_secs()).ok());
        Some(RuleBase {
            window_seconds: own_window.or_else(|| window_seconds(&query)),
            id: RuleId { file: file.clone(), entry },
            place: rule.place,
            fingerprint: options.fingerprint_with(fingerprint),
            selector: selector?,
            namer: namer?,
            mapping: mapping?,
            query,
            static_metric,
            nan: match (rule.text("nan").value.as_str(), is_external) {
                ("drop", _) | ("", true) => Nan::Drop,
                _ => Nan::Zero,
            },
            on_empty: match (rule.text("onEmpty").value.as_str(), rule.quantity("onEmpty")) {
                ("zero", _) => OnEmpty::Value(0),
                (_, Some(milli)) => OnEmpty::Value(milli),
                _ => OnEmpty::Omit,
            },
            fallback: rule.object("fallback").and_then(|fallback| {
                Some(Fallback {
                    after: fallback.duration("after")?,
                    milli: fallback.quantity("value")?,
                })
            }),
            options,
            object: None,
        })
    }
}

/// Selectors are written by people; longer than this, in bytes, one was not.
const MAX_SELECTOR: usize = 64 << 10;

fn selector(written: &Text, problems: &mut EntryProblems<'_>) -> Option<SeriesSelector> {
    let message = if written.value.trim().is_empty() {
        "a series selector is required"
    } else if written.value.len() > MAX_SELECTOR || !nesting::is_safe(&written.value) {
        "too long for a series selector"
    } else {
        return Some(SeriesSelector::new(&written.value));
    };
    problems.add(written.place, "seriesQuery", message);
    None
}

fn query_template(
    key: &str,
    written: &Text,
    problems: &mut EntryProblems<'_>,
) -> Option<QueryTemplate> {
    QueryTemplate::compile(&written.value)
        .map_err(|error| problems.add(written.place, key, error.to_string()))
        .ok()
}

/// The metric of a rule that says `static: true`, as far as its parts have compiled.
fn static_metric(
    rule: &Fields<'_>,
    is_external: bool,
    (selector, namer, mapping): (Option<&SeriesSelector>, Option<&Namer>, Option<&Mapping>),
    problems: &mut EntryProblems<'_>,
) -> Option<StaticMetric> {
    if mapping.is_some_and(Mapping::has_template) {
        let message = "a static rule has `overrides` only: which labels a template means is found by discovery";
        let resources = rule.object("resources");
        let place = resources.map_or(rule.place, |resources| resources.text("template").place);
        problems.add(place, ["resources", "template"], message);
    } else if !is_external && mapping.is_some_and(Mapping::is_empty) {
        let message =
            "a static rule has to name the labels of its objects, such as `{pod: {resource: pod}}`";
        problems.add(rule.place, ["resources", "overrides"], message);
    }
    let selector = selector?;
    let Some(series) = selector.name() else {
        let message = "a static rule has to name its series, as in `http_requests_total{…}`";
        problems.add(rule.text("seriesQuery").place, "seriesQuery", message);
        return None;
    };
    let Some(metric) = namer?.metric_name(series) else {
        let message = format!(
            "a static rule needs a name, and `seriesFilters` and `name` leave `{}` without one",
            excerpt(series)
        );
        problems.add(rule.flag("static").place, "static", message);
        return None;
    };
    Some(StaticMetric { series: series.into(), metric: metric.into() })
}

fn window_seconds(query: &QueryTemplate) -> Option<i64> {
    window::seconds(&specimen(query)?)
}

/// Whether a query puts its samples in an order. That, too, is a matter of the template.
pub(in crate::core) fn is_sorted(query: &QueryTemplate) -> bool {
    specimen(query).is_some_and(|query| order::is_sorted(&query))
}

/// The query for something: ranges and order are a matter of the template, not of what it is rendered with.
fn specimen(query: &QueryTemplate) -> Option<String> {
    let rendered = query.render(&QueryArguments {
        series: "series",
        label_matchers: "label=\"value\"",
        label_values_by_name: &BTreeMap::new(),
        group_by: "label",
        group_by_slice: &["label".to_owned()],
    });
    rendered.ok().filter(|rendered| nesting::is_safe(rendered))
}

#[cfg(test)]
mod tests;
