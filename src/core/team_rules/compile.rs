//! From an object to a rule that is read like one of the rules file.

use std::{sync::Arc, time::Duration};

use super::{EXTERNAL, NotEnforced, Object, enforce};
use crate::core::{
    catalog::{Entry, external::ExternalEntry},
    duration,
    excerpt::{NAME, excerpt},
    fair_share::Owner,
    key_path::KeyPath,
    kinds::{GroupResource, Kind, Kinds},
    quantity::parse_milli_rounded_up,
    rules::{
        Aggregate, Backend, CustomRule, ExternalRule, Fingerprint, Mapping, Namer, Nan, OnEmpty,
        QueryOptions, RuleBase, RuleEntry, TeamPolicy, TeamRuleKind, is_sorted,
    },
    series::SeriesSelector,
    template::QueryTemplate,
    window,
    yaml::Place,
};

/// The longest name of a metric, in bytes.
pub(super) const MAX_METRIC: usize = 253;

/// The longest `cacheTTL`.
const MAX_TTL: Duration = Duration::from_secs(3600);

/// The longest `window`.
const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 3600);

/// A rule of a team in one namespace.
#[derive(Clone, Debug)]
pub struct TeamRule {
    /// The kind of its object.
    pub kind: TeamRuleKind,
    /// Kind, namespace and name of its object: `MetricRule shop/queue-depth`.
    pub name: Arc<str>,
    /// The name of the metric in the metrics API.
    pub metric: Arc<str>,
    /// The query, limited to the namespace.
    pub query: Arc<str>,
    /// How the metric is read.
    pub provides: Provides,
}

/// How a team's metric is read.
#[derive(Clone, Debug)]
pub enum Provides {
    /// As a metric of objects of a kind.
    Object(Entry),
    /// As an external metric.
    External(ExternalEntry),
}

impl TeamRule {
    /// The resource that the metric describes; nothing for an external metric.
    pub fn resource(&self) -> Option<&GroupResource> {
        match &self.provides {
            Provides::Object(entry) => Some(&entry.kind.resource),
            Provides::External(_) => None,
        }
    }

    /// What it shares with rules of the rules file.
    pub fn base(&self) -> &RuleBase {
        match &self.provides {
            Provides::Object(entry) => &entry.rule.base,
            Provides::External(entry) => &entry.rule.base,
        }
    }
}

/// Why an object is no rule. The texts are for the team: they have no address of a backend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The query cannot be limited to the namespace.
    #[error("spec.query: {0}")]
    Query(#[from] NotEnforced),
    /// A field has a value that it cannot have.
    #[error("spec.{field}: {message}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong and what is expected.
        message: String,
    },
    /// The cluster has no such resource.
    #[error("spec.target: {0}")]
    Target(String),
    /// The backend is not one that rules of teams may name.
    #[error("spec.backend: {0}")]
    Backend(String),
    /// A `ClusterMetricRule` is not for this namespace.
    #[error("the rule is not for this namespace")]
    Elsewhere,
}

impl Refused {
    /// The field that is refused.
    pub fn path(&self) -> KeyPath {
        match self {
            Self::Query(_) => ["spec", "query"].into(),
            Self::Field { field, .. } => ["spec", field].into(),
            Self::Target(_) => ["spec", "target"].into(),
            Self::Backend(_) => ["spec", "backend"].into(),
            Self::Elsewhere => KeyPath::default(),
        }
    }

    /// Why it is refused, without the field.
    pub fn cause(&self) -> String {
        match self {
            Self::Query(cause) => cause.to_string(),
            Self::Field { message, .. } | Self::Target(message) | Self::Backend(message) => {
                message.clone()
            }
            Self::Elsewhere => self.to_string(),
        }
    }

    /// The reason of the condition `Accepted`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Query(_) => "QueryRefused",
            Self::Field { .. } => "InvalidSpec",
            Self::Target(_) => "UnknownTarget",
            Self::Backend(_) => "BackendNotAllowed",
            Self::Elsewhere => "OtherNamespace",
        }
    }
}

/// Compiles an object for a namespace. A `MetricRule` is for its own namespace only, and a `ClusterMetricRule` for those that
/// it lists, or for all.
pub fn compile(
    kind: TeamRuleKind,
    object: &Object,
    namespace: &str,
    policy: &TeamPolicy,
    kinds: &Kinds,
) -> Result<TeamRule, Refused> {
    let spec = &object.spec;
    let is_here = match (kind, &spec.namespaces) {
        (TeamRuleKind::MetricRule, None) => object.metadata.namespace.as_deref() == Some(namespace),
        (TeamRuleKind::MetricRule, Some(_)) => {
            return Err(field("namespaces", "only a ClusterMetricRule has namespaces"));
        }
        (TeamRuleKind::ClusterMetricRule, listed) => listed
            .as_deref()
            .is_none_or(|listed| listed.is_empty() || listed.iter().any(|name| name == namespace)),
    };
    if !is_here {
        return Err(Refused::Elsewhere);
    }
    check_metric(&spec.metric)?;
    let target = target(&spec.target, kinds)?;
    let label = target.as_ref().map(|kind| object_label(spec.label.as_deref(), kind, policy));
    let label = label.transpose()?;
    if target.is_none() && spec.label.is_some() {
        return Err(field("label", "an external metric belongs to no object"));
    }
    let enforced = enforce(&spec.query, &policy.namespace_label, namespace)?;
    let selector = match (enforced.selectors.first(), &label) {
        (Some(selector), _) => selector.as_str(),
        (None, None) => "",
        (None, Some(_)) => {
            return Err(field("query", "it selects no series, so its result names no object"));
        }
    };
    let name: Arc<str> = called(kind, object).into();
    let options = options(object, policy)?;
    let base = RuleBase {
        id: RuleEntry::Team(kind).into(),
        place: Place::START,
        fingerprint: fingerprint(&name, object, &enforced.query, &options),
        selector: SeriesSelector::new(selector),
        namer: Namer::always(&spec.metric),
        mapping: mapping(policy, target.as_deref().zip(label.as_deref())),
        query: QueryTemplate::literal(enforced.query.as_str()),
        window_seconds: match &spec.window {
            Some(text) => Some(window(text)?),
            None => window::seconds(&enforced.query),
        },
        static_metric: None,
        nan: if target.is_some() { Nan::Zero } else { Nan::Drop },
        on_empty: on_empty(spec.on_empty.as_deref())?,
        fallback: None,
        options,
        object: Some(Arc::clone(&name)),
    };
    let namespace_label = Some(Arc::clone(&policy.namespace_label));
    let provides = match target.zip(label) {
        Some((kind, label)) => Provides::Object(Entry {
            rule: Arc::new(CustomRule { is_sorted: is_sorted(&base.query), base }),
            series: Arc::default(),
            kind,
            label,
            namespace_label,
        }),
        None => Provides::External(ExternalEntry {
            rule: Arc::new(ExternalRule { base, aggregate: Aggregate::None }),
            series: Arc::default(),
            namespace_label,
        }),
    };
    let (metric, query) = (spec.metric.as_str().into(), enforced.query.into());
    Ok(TeamRule { kind, name, metric, query, provides })
}

fn field(field: &'static str, message: impl Into<String>) -> Refused {
    Refused::Field { field, message: message.into() }
}

/// What an object is called in messages.
fn called(kind: TeamRuleKind, object: &Object) -> String {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match (kind, &object.metadata.namespace) {
        (TeamRuleKind::MetricRule, Some(namespace)) => {
            format!("{} {namespace}/{name}", kind.kind())
        }
        _ => format!("{} {name}", kind.kind()),
    }
}

/// A metric's name is a segment of a path.
fn check_metric(metric: &str) -> Result<(), Refused> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-');
    let is_name = metric.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && metric.len() <= MAX_METRIC
        && metric.chars().all(is_inside);
    let message = || {
        format!(
            "`{}` is not a name of letters, digits, `_`, `:`, `.` and `-`",
            excerpt(metric, NAME)
        )
    };
    if is_name { Ok(()) } else { Err(field("metric", message())) }
}

fn target(written: &str, kinds: &Kinds) -> Result<Option<Arc<Kind>>, Refused> {
    if written == EXTERNAL {
        return Ok(None);
    }
    let resource = GroupResource::parse(&excerpt(written, MAX_METRIC));
    let kind = kinds.resolve(&resource.group, &resource.resource);
    let kind = kind.ok_or_else(|| Refused::Target(kinds.lacks(&resource)))?;
    if !kind.namespaced {
        let message = format!("{resource} are in no namespace, and a rule is for one");
        return Err(field("target", message));
    }
    Ok(Some(Arc::clone(kind)))
}

fn object_label(
    written: Option<&str>,
    kind: &Kind,
    policy: &TeamPolicy,
) -> Result<Arc<str>, Refused> {
    let label = written.unwrap_or(&kind.singular);
    if label.is_empty() || label.len() > MAX_METRIC {
        return Err(field("label", "a name of a label is expected"));
    }
    if *label == *policy.namespace_label {
        return Err(field("label", format!("`{label}` holds the namespace")));
    }
    Ok(label.into())
}

fn mapping(policy: &TeamPolicy, object: Option<(&Kind, &str)>) -> Mapping {
    let namespaces = GroupResource { group: String::new(), resource: "namespaces".to_owned() };
    let namespace = (policy.namespace_label.to_string(), namespaces);
    let object = object.map(|(kind, label)| (label.to_owned(), kind.resource.clone()));
    Mapping::of([namespace].into_iter().chain(object))
}

fn options(object: &Object, policy: &TeamPolicy) -> Result<QueryOptions, Refused> {
    let cache_ttl = object.spec.cache_ttl.as_deref().map(|text| {
        let ttl = duration::parse_either(text).filter(|ttl| *ttl <= MAX_TTL);
        ttl.ok_or_else(|| field("cacheTTL", "a duration from 0 to 1h is expected, such as `30s`"))
    });
    Ok(QueryOptions {
        cache_ttl: cache_ttl.transpose()?,
        owner: Owner::Team,
        timeout: Some(policy.quotas.query_time),
        backend: backend(object.spec.backend.as_deref(), policy)?,
        ..QueryOptions::default()
    })
}

fn backend(named: Option<&str>, policy: &TeamPolicy) -> Result<Option<Arc<Backend>>, Refused> {
    let Some(named) = named.filter(|name| !name.is_empty()) else {
        return Ok(policy.backends.first().cloned());
    };
    let found = policy.backends.iter().find(|backend| *backend.name == *named);
    let refused = || {
        let named = excerpt(named, NAME);
        let allowed: Vec<_> =
            policy.backends.iter().map(|backend| format!("`{}`", backend.name)).collect();
        Refused::Backend(if allowed.is_empty() {
            format!("rules of teams may name no backend, and this one names `{named}`")
        } else {
            format!("rules of teams may not use `{named}`, but {}", allowed.join(", "))
        })
    };
    found.cloned().map(Some).ok_or_else(refused)
}

fn window(text: &str) -> Result<i64, Refused> {
    let range = Duration::from_secs(1)..=MAX_WINDOW;
    let window = duration::parse_either(text).filter(|window| range.contains(window));
    let seconds = window.and_then(|window| i64::try_from(window.as_secs()).ok());
    seconds.ok_or_else(|| field("window", "a duration from 1s to 366d is expected, such as `2m`"))
}

fn on_empty(text: Option<&str>) -> Result<OnEmpty, Refused> {
    match text {
        None | Some("omit") => Ok(OnEmpty::Omit),
        Some("zero") => Ok(OnEmpty::Value(0)),
        Some(text) => {
            parse_milli_rounded_up(text).filter(|milli| *milli >= 0).map(OnEmpty::Value).ok_or_else(
                || field("onEmpty", "`omit`, `zero` or a quantity such as `500m` is expected"),
            )
        }
    }
}

/// Of all that makes a rule another one.
fn fingerprint(name: &str, object: &Object, query: &str, options: &QueryOptions) -> Fingerprint {
    let spec = &object.spec;
    let others = [&spec.label, &spec.window, &spec.cache_ttl, &spec.on_empty];
    let others = others.map(|text| text.as_deref().unwrap_or_default());
    let mut texts = vec![name, &spec.metric, &spec.target, query];
    texts.extend(others);
    let rule = Fingerprint::of_texts(&texts);
    options.backend.as_ref().map_or(rule, |backend| rule.with(backend.fingerprint))
}

#[cfg(test)]
mod tests;
