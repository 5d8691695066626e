//! Rules of the rules file, as rules of the team of one namespace.
//!
//! A team's rule has a whole query. So a template is rendered for all objects of the namespace, and a rule that serves whatever
//! series discovery finds cannot move: which series they are is not in the file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::notes::{Note, Notes};
use crate::core::{
    duration,
    go_quote::quote,
    key_path::KeyPath,
    kinds::{Kind, Kinds},
    names,
    quantity::Decimal,
    rules::{
        Aggregate, CustomRule, ExternalRule, Nan, ResolvedMapping, RuleBase, RuleSet, TeamPolicy,
        TeamRuleKind,
    },
    team_rules::{EXTERNAL, Object, compile},
    template::QueryArguments,
    window,
};

/// The proposed objects, and what is to be known of them.
#[derive(Debug, Default)]
pub struct TeamRules {
    /// What each comes from, and its manifest.
    pub(super) rules: Vec<(String, Value)>,
    pub(super) notes: Vec<Note>,
    names: BTreeSet<String>,
}

impl TeamRules {
    /// What cannot move, and what is different afterwards.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The proposed objects.
    pub fn manifests(&self) -> impl Iterator<Item = &Value> {
        self.rules.iter().map(|(_, manifest)| manifest)
    }
}

/// A metric of a rule: what it is about, its query, and the label of its objects.
struct Proposed<'a> {
    metric: &'a str,
    target: String,
    label: Option<&'a str>,
    query: String,
}

/// Proposes a `MetricRule` of the namespace for each metric of each rule.
pub fn team_rules(rules: &RuleSet, namespace: &str) -> TeamRules {
    let mut all = TeamRules::default();
    let kinds = Kinds::builtin();
    let place = Place { namespace, policy: &rules.teams, kinds: &kinds };
    for problem in &rules.broken {
        let mut notes = Notes::about(problem.path.to_string());
        notes.cannot(&KeyPath::default(), problem.message.clone());
        all.notes.extend(notes.into_notes());
    }
    for rule in &rules.custom {
        all.custom(rule, &place);
    }
    for rule in &rules.external {
        all.external(rule, &place);
    }
    if rules.resource.is_some() {
        let mut notes = Notes::about("resourceRules".to_owned());
        notes.cannot(&KeyPath::default(), "metrics.k8s.io is served by the rules file only");
        all.notes.extend(notes.into_notes());
    }
    all
}

/// Where the rules go.
struct Place<'a> {
    namespace: &'a str,
    policy: &'a TeamPolicy,
    kinds: &'a Kinds,
}

impl TeamRules {
    fn custom(&mut self, rule: &CustomRule, place: &Place<'_>) {
        let base = &rule.base;
        let mut notes = Notes::about(base.id.to_string());
        if base.nan == Nan::Drop {
            notes.cannot(
                &"nan".into(),
                "NaN is 0 in a team's rule of objects: filter it in the query, as in `(…) >= 0`",
            );
        }
        if let Some(names) = names_of(base, &mut notes) {
            let mapping = base.mapping.resolve(place.kinds);
            for unknown in mapping.unknown() {
                let path = KeyPath::from(["resources", "overrides", &unknown.label]);
                notes.cannot(
                    &path,
                    format!(
                        "Kubernetes itself has no {}: write this rule by hand",
                        unknown.resource
                    ),
                );
            }
            let labels = labels(base, &mapping, &mut notes);
            if has_namespace_label(&mapping, place, &mut notes) {
                for (label, kind) in labels {
                    self.object(base, (label, kind), &names, place, &mut notes);
                }
            }
        }
        self.notes.extend(notes.into_notes());
    }

    fn object(
        &mut self,
        base: &RuleBase,
        (label, kind): (&str, &Kind),
        (series, metric): &(String, String),
        place: &Place<'_>,
        notes: &mut Notes,
    ) {
        let group_by = names::label(label).into_owned();
        match render(base, series, place, Some(label), std::slice::from_ref(&group_by)) {
            Ok(query) => {
                let label = (label != kind.singular).then_some(label);
                let target = kind.resource.to_string();
                self.add(base, Proposed { metric, target, label, query }, place, notes);
            }
            Err(reason) => notes.cannot(&"metricsQuery".into(), reason),
        }
    }

    fn external(&mut self, rule: &ExternalRule, place: &Place<'_>) {
        let base = &rule.base;
        let mut notes = Notes::about(base.id.to_string());
        if base.nan == Nan::Zero {
            notes.cannot(&"nan".into(), "NaN is no value in a team's external rule");
        }
        let mapping = base.mapping.resolve(place.kinds);
        let is_here = if base.mapping.namespaced() {
            has_namespace_label(&mapping, place, &mut notes)
        } else {
            let text = "the rule reads the series of all namespaces, and the proposed rule only those of its own: their values differ";
            notes.cannot(&["resources", "namespaced"].into(), text);
            true
        };
        if is_here && let Some((series, metric)) = names_of(base, &mut notes) {
            match render(base, &series, place, None, &[]) {
                Ok(query) => {
                    let query = match rule.aggregate {
                        Aggregate::None => query,
                        Aggregate::Sum => format!("sum({query})"),
                        Aggregate::Max => format!("max({query})"),
                        Aggregate::Avg => format!("avg({query})"),
                    };
                    let target = EXTERNAL.to_owned();
                    let proposed = Proposed { metric: &metric, target, label: None, query };
                    self.add(base, proposed, place, &mut notes);
                }
                Err(reason) => notes.cannot(&"metricsQuery".into(), reason),
            }
        }
        self.notes.extend(notes.into_notes());
    }

    /// Adds an object, if it is one that will be accepted.
    fn add(
        &mut self,
        base: &RuleBase,
        proposed: Proposed<'_>,
        place: &Place<'_>,
        notes: &mut Notes,
    ) {
        let mut spec = Map::new();
        let window =
            base.window_seconds.filter(|own| window::seconds(&proposed.query) != Some(*own));
        let Proposed { metric, target, label, query } = proposed;
        spec.insert("metric".to_owned(), json!(metric));
        spec.insert("query".to_owned(), json!(query));
        spec.insert("target".to_owned(), json!(target));
        let mut add = |key: &str, value: Option<String>| {
            spec.extend(value.map(|value| (key.to_owned(), json!(value))));
        };
        add("label", label.map(str::to_owned));
        add("window", window.map(|seconds| format!("{seconds}s")));
        add("cacheTTL", base.options.cache_ttl.map(duration::prometheus));
        add("onEmpty", base.on_empty.milli().map(|milli| Decimal(milli).to_string()));
        add("backend", backend(base, notes));
        if !others(base, notes) {
            return;
        }
        let name = self.name(metric, &target);
        let manifest = json!({
            "apiVersion": format!("{}/{}", TeamRuleKind::GROUP, TeamRuleKind::VERSION),
            "kind": TeamRuleKind::MetricRule.kind(),
            "metadata": {"name": name, "namespace": place.namespace},
            "spec": spec,
        });
        let object = serde_json::from_value::<Object>(manifest.clone());
        let object = object.map_err(|error| error.to_string());
        let compiled = object.and_then(|object| {
            let kind = TeamRuleKind::MetricRule;
            compile(kind, &object, place.namespace, place.policy, place.kinds)
                .map_err(|refused| refused.cause())
        });
        match compiled {
            Ok(_) => self.rules.push((base.id.to_string(), manifest)),
            Err(cause) => notes.cannot(&"metricsQuery".into(), cause),
        }
    }

    /// A name for an object, which no other has.
    fn name(&mut self, metric: &str, target: &str) -> String {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let text: String = metric
            .to_lowercase()
            .chars()
            .map(|c| if is_plain(c) { c } else { '-' })
            .take(200)
            .collect();
        let plain = text.trim_matches('-');
        let plain = if plain.is_empty() { "metric" } else { plain };
        let resource = target.split('.').next().unwrap_or_default();
        let candidates = [plain.to_owned(), format!("{plain}-{resource}")];
        let numbered = (2..).map(|number| format!("{plain}-{resource}-{number}"));
        let name = candidates.into_iter().chain(numbered).find(|name| !self.names.contains(name));
        let name = name.unwrap_or_default();
        self.names.insert(name.clone());
        name
    }
}

/// The series of a rule and the name of its metric, if the file says which they are.
fn names_of(base: &RuleBase, notes: &mut Notes) -> Option<(String, String)> {
    let Some(series) = base.selector.name() else {
        let text = "the rule serves whatever series are found: write a rule for each metric that the team uses";
        notes.cannot(&"seriesQuery".into(), text);
        return None;
    };
    let metric = base.namer.metric_name(series);
    if metric.is_none() {
        notes.cannot(&"name".into(), format!("the series {series} has no name in the API"));
    }
    Some((series.to_owned(), metric?))
}

/// The labels that name objects in namespaces. Of a template only pods are proposed: it may mean every resource.
fn labels<'m>(
    base: &RuleBase,
    mapping: &'m ResolvedMapping,
    notes: &mut Notes,
) -> Vec<(&'m str, &'m Kind)> {
    if base.mapping.has_template() {
        let text = "the template may mean any resource: only pods are proposed";
        notes.note(&["resources", "template"].into(), text);
    }
    let mut labels = Vec::new();
    for (label, kind) in mapping.labels() {
        let is_proposed = !base.mapping.has_template() || kind.resource.to_string() == "pods";
        if kind.resource.to_string() == "namespaces" || !is_proposed {
            continue;
        }
        if kind.namespaced {
            labels.push((label, &**kind));
        } else {
            let path = KeyPath::from(["resources", "overrides", label]);
            let text =
                format!("{} are in no namespace, and a team's rule is for one", kind.resource);
            notes.cannot(&path, text);
        }
    }
    labels
}

fn has_namespace_label(mapping: &ResolvedMapping, place: &Place<'_>, notes: &mut Notes) -> bool {
    let wanted = &*place.policy.namespace_label;
    let written = mapping.namespace_label();
    if written != Some(wanted) {
        let text = match written {
            Some(label) => format!(
                "the rule has the namespace in the label `{label}`, and teams' rules in `{wanted}`: see `teamRules.namespaceLabel`"
            ),
            None => format!(
                "the rule has no label for namespaces, and teams' rules have them in `{wanted}`"
            ),
        };
        notes.cannot(&"resources".into(), text);
    }
    written == Some(wanted)
}

/// The query for all objects of the namespace.
fn render(
    base: &RuleBase,
    series: &str,
    place: &Place<'_>,
    object: Option<&str>,
    group_by: &[String],
) -> Result<String, String> {
    let namespace_label = &*place.policy.namespace_label;
    let mut matchers = format!("{}={}", names::label(namespace_label), quote(place.namespace));
    let mut values = BTreeMap::from([(namespace_label.to_owned(), place.namespace.to_owned())]);
    if let Some(label) = object {
        matchers.push_str(&format!(",{}!=\"\"", names::label(label)));
        values.insert(label.to_owned(), ".+".to_owned());
    }
    let arguments = QueryArguments {
        series,
        label_matchers: &matchers,
        label_values_by_name: &values,
        group_by: &group_by.join(","),
        group_by_slice: group_by,
    };
    base.query.render(&arguments).map_err(|error| error.to_string())
}

fn backend(base: &RuleBase, notes: &mut Notes) -> Option<String> {
    let backend = base.options.backend.as_ref()?;
    if !backend.team_rules {
        let text = format!(
            "set `teamRules: true` for `{}` in `backends`: without it teams' rules may not use it",
            backend.name
        );
        notes.cannot(&"prometheus".into(), text);
        return None;
    }
    Some(backend.name.to_string())
}

/// What a team's rule does not have. Returns whether it means the same without.
fn others(base: &RuleBase, notes: &mut Notes) -> bool {
    if base.fallback.is_some() {
        notes.cannot(&"fallback".into(), "a team's rule has no fallback");
    }
    if !base.options.headers.is_empty() {
        notes.cannot(
            &"headers".into(),
            "a team's rule has no headers: without them it would ask the tenant of the backend",
        );
        return false;
    }
    if base.options.max_stale.is_some() {
        notes.note(&"maxStale".into(), "it is that of the server");
    }
    if base.options.timeout.is_some() {
        notes.note(&"timeout".into(), "it is `teamRules.quotas.queryTime`");
    }
    notes.note(
        &KeyPath::default(),
        "a metric selector of an autoscaler does not change the query of a team's rule",
    );
    true
}

#[cfg(test)]
mod tests;
