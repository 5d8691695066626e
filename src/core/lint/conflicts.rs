//! What rules do to each other: rules that are there twice, metrics that two rules claim, backends that no rule names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Report, Severity, selectors};
use crate::core::{
    kinds::Kinds,
    rules::{Content, Rule, RuleSet},
};

/// The most resources that a message lists: a template gives dozens.
const MOST_LISTED: usize = 4;

pub(super) fn check(rules: &RuleSet, kinds: &Kinds, report: &mut Report<'_>) {
    for rules in [&rules.custom, &rules.external] {
        let rules: Vec<_> = without_duplicates(rules, report);
        claimed_twice(&rules, kinds, report);
    }
    unused_backends(rules, report);
}

fn without_duplicates<'r>(rules: &'r [Arc<Rule>], report: &mut Report<'_>) -> Vec<&'r Rule> {
    let mut seen: HashMap<Content, &str> = HashMap::new();
    let mut kept = Vec::new();
    for rule in rules {
        if let Some(first) = seen.get(&rule.content) {
            let message = format!("this rule says the same as {first}");
            report.warning(rule, "duplicate-rule", "", message, "take one of them away");
        } else {
            seen.insert(rule.content, &rule.id);
            kept.push(&**rule);
        }
    }
    kept
}

/// The metrics that a rule claims, as far as that can be told without Prometheus.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Claim {
    /// The metric of this name.
    Metric(String),
    /// Whatever a selector, filters and a naming give.
    Naming(Vec<String>),
}

/// The position of the rule that loses, its name, and that of the one that wins.
type Pair<'r> = (usize, &'r str, &'r str);

/// What two rules claim both.
#[derive(Default)]
struct Conflict {
    resources: Vec<String>,
    /// One of the metrics, if their names are known.
    metric: Option<String>,
}

fn claimed_twice(rules: &[&Rule], kinds: &Kinds, report: &mut Report<'_>) {
    let mut claims: BTreeMap<(String, Claim), Vec<&Rule>> = BTreeMap::new();
    for rule in rules {
        for resource in resources(rule, kinds) {
            for claim in of_rule(rule, report) {
                claims.entry((resource.clone(), claim)).or_default().push(rule);
            }
        }
    }
    // By the two rules, so that it is said once whatever the number of resources and metrics.
    let mut conflicts: BTreeMap<Pair<'_>, Conflict> = BTreeMap::new();
    for ((resource, claim), rules) in &claims {
        let Some((last, others)) = rules.split_last() else { continue };
        for other in others.iter().filter(|other| other.id != last.id) {
            let position = position(other);
            let conflict = conflicts.entry((position, &other.id, &last.id)).or_default();
            if !resource.is_empty() && !conflict.resources.contains(resource) {
                conflict.resources.push(resource.clone());
            }
            if let Claim::Metric(name) = claim {
                conflict.metric.get_or_insert_with(|| name.clone());
            }
        }
    }
    for ((_, loser, winner), Conflict { resources, metric }) in conflicts {
        let Some(rule) = rules.iter().find(|rule| rule.id == loser) else { continue };
        let what = metric.map_or_else(|| "the same metrics".to_owned(), |name| format!("`{name}`"));
        let of = match resources.len() {
            0 => String::new(),
            1..=MOST_LISTED => format!(" of {}", super::listed(&resources)),
            count => format!(" of {count} resources"),
        };
        report.warning(
            rule,
            "metric-claimed-twice",
            "",
            format!("{winner}, too, gives {what}{of}; where both have series {winner} is read, which comes later"),
            "give them different names, or make one rule of them",
        );
    }
}

fn position(rule: &Rule) -> usize {
    rule.id.split(['[', ']']).nth(1).and_then(|position| position.parse().ok()).unwrap_or_default()
}

/// The resources that a rule may give metrics of; of an external rule one without a name.
fn resources(rule: &Rule, kinds: &Kinds) -> Vec<String> {
    if rule.id.starts_with("external") {
        return vec![String::new()];
    }
    let mapping = rule.mapping.resolve(kinds);
    let unknown = mapping.unknown().iter().map(|unknown| unknown.resource.to_string());
    mapping.labels().map(|(_, kind)| kind.resource.to_string()).chain(unknown).collect()
}

fn of_rule(rule: &Rule, report: &Report<'_>) -> Vec<Claim> {
    if let Some(names) = selectors::names(rule) {
        let metrics = names.iter().filter_map(|name| rule.namer.metric_name(name));
        return metrics.map(Claim::Metric).collect();
    }
    if !rule.namer.template().contains('$') {
        return vec![Claim::Metric(rule.namer.template().to_owned())];
    }
    let text = |key: &str| report.written.text(&format!("{}.{key}", rule.id)).to_owned();
    let mut naming = vec![rule.selector.text().to_owned(), text("name.matches"), text("name.as")];
    for filter in 0..report.written.len(&format!("{}.seriesFilters", rule.id)) {
        naming.extend(["is", "isNot"].map(|key| text(&format!("seriesFilters[{filter}].{key}"))));
    }
    vec![Claim::Naming(naming)]
}

fn unused_backends(rules: &RuleSet, report: &mut Report<'_>) {
    let named: Vec<String> = ["rules", "externalRules"]
        .into_iter()
        .flat_map(|list| (0..report.written.len(list)).map(move |rule| format!("{list}[{rule}]")))
        .chain(["cpu", "memory"].map(|rule| format!("resourceRules.{rule}")))
        .map(|rule| report.written.text(&format!("{rule}.prometheus")).to_owned())
        .collect();
    for (position, backend) in rules.backends.iter().enumerate() {
        if !named.iter().any(|name| **name == *backend.name) {
            let message = format!("no rule names the backend `{}`", backend.name);
            let help = format!(
                "say `prometheus: {}` in the rules that it is for, or take it away",
                backend.name
            );
            let path = format!("backends[{position}].name");
            report.add(Severity::Warning, "unused-backend", path, message, help);
        }
    }
}
