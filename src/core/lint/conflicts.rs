//! What rules do to each other: rules that are there twice, and metrics that two rules claim. They may be in different files.

use std::collections::{BTreeMap, HashMap};

use super::{Finding, Severity, selectors, written::Written};
use crate::core::{
    key_path::KeyPath,
    kinds::Kinds,
    rules::{FileName, Fingerprint, RuleBase, RuleEntry, RuleId, RuleSet},
};

/// The most resources that a message lists: a template results in dozens.
const MOST_LISTED: usize = 4;

/// The texts of the files, which have all rules.
type Texts = BTreeMap<FileName, Written>;

/// Findings, each about a rule of the file.
pub(super) fn check(rules: &RuleSet, texts: &Texts, kinds: &Kinds) -> Vec<(FileName, Finding)> {
    let mut report = Report { texts, findings: Vec::new() };
    let custom = rules.custom.iter().map(|rule| &rule.base);
    claimed_twice(&without_duplicates(custom, &mut report), kinds, &mut report);
    let external = rules.external.iter().map(|rule| &rule.base);
    claimed_twice(&without_duplicates(external, &mut report), kinds, &mut report);
    report.findings
}

/// What has been found so far.
struct Report<'t> {
    texts: &'t Texts,
    findings: Vec<(FileName, Finding)>,
}

impl Report<'_> {
    fn warning(&mut self, rule: &RuleId, code: &'static str, message: String, help: &str) {
        let path = KeyPath::from(rule.entry);
        let place = self.texts.get(&rule.file).map(|written| written.place(&path));
        let help = help.to_owned();
        let finding = Finding { severity: Severity::Warning, code, path, place, message, help };
        self.findings.push((rule.file.clone(), finding));
    }
}

fn without_duplicates<'r>(
    rules: impl Iterator<Item = &'r RuleBase>,
    report: &mut Report<'_>,
) -> Vec<&'r RuleBase> {
    let mut seen: HashMap<Fingerprint, &RuleId> = HashMap::new();
    let mut kept = Vec::new();
    for rule in rules {
        if let Some(first) = seen.get(&rule.fingerprint) {
            let message = format!("this rule says the same as {first}");
            report.warning(&rule.id, "duplicate-rule", message, "take one of them away");
        } else {
            seen.insert(rule.fingerprint, &rule.id);
            kept.push(rule);
        }
    }
    kept
}

/// The metrics that a rule claims, as far as they are known without Prometheus.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Claim {
    /// The metric of this name.
    Metric(String),
    /// All that result from a selector, filters and a naming.
    Naming(Vec<String>),
}

/// What two rules claim both.
#[derive(Default)]
struct Conflict {
    resources: Vec<String>,
    /// One of the metrics, if their names are known.
    metric: Option<String>,
}

fn claimed_twice(rules: &[&RuleBase], kinds: &Kinds, report: &mut Report<'_>) {
    let mut claims: BTreeMap<(String, Claim), Vec<&RuleBase>> = BTreeMap::new();
    for rule in rules {
        for resource in resources(rule, kinds) {
            for claim in of_rule(rule, report) {
                claims.entry((resource.clone(), claim)).or_default().push(rule);
            }
        }
    }
    // By the rule that loses and the one that wins, so that it is said once whatever the number of resources and metrics.
    let mut conflicts: BTreeMap<(&RuleId, &RuleId), Conflict> = BTreeMap::new();
    for ((resource, claim), rules) in &claims {
        let Some((last, others)) = rules.split_last() else { continue };
        for other in others.iter().filter(|other| other.id != last.id) {
            let conflict = conflicts.entry((&other.id, &last.id)).or_default();
            if !resource.is_empty() && !conflict.resources.contains(resource) {
                conflict.resources.push(resource.clone());
            }
            if let Claim::Metric(name) = claim {
                conflict.metric.get_or_insert_with(|| name.clone());
            }
        }
    }
    for ((loser, winner), Conflict { resources, metric }) in conflicts {
        let what = metric.map_or_else(|| "the same metrics".to_owned(), |name| format!("`{name}`"));
        let of = match resources.len() {
            0 => String::new(),
            1..=MOST_LISTED => format!(" of {}", super::listed(&resources)),
            count => format!(" of {count} resources"),
        };
        report.warning(
            loser,
            "metric-claimed-twice",
            format!("{winner} also serves {what}{of}; if both have series, {winner} is read because it comes later"),
            "give them different names, or make one rule of them",
        );
    }
}

/// The resources that a rule may serve metrics of; for an external rule one without a name.
fn resources(rule: &RuleBase, kinds: &Kinds) -> Vec<String> {
    if matches!(rule.id.entry, RuleEntry::External(_)) {
        return vec![String::new()];
    }
    let mapping = rule.mapping.resolve(kinds);
    let unknown = mapping.unknown().iter().map(|unknown| unknown.resource.to_string());
    mapping.labels().map(|(_, kind)| kind.resource.to_string()).chain(unknown).collect()
}

fn of_rule(rule: &RuleBase, report: &Report<'_>) -> Vec<Claim> {
    if let Some(names) = selectors::names(rule) {
        let metrics = names.iter().filter_map(|name| rule.namer.metric_name(name));
        return metrics.map(Claim::Metric).collect();
    }
    if !rule.namer.template().contains('$') {
        return vec![Claim::Metric(rule.namer.template().to_owned())];
    }
    let Some(written) = report.texts.get(&rule.id.file) else { return Vec::new() };
    let text = |path: KeyPath| written.text(&path).to_owned();
    let mut naming = vec![rule.selector.text().to_owned()];
    naming.extend(["matches", "as"].map(|key| text(rule.id.entry.key(["name", key]))));
    let filters = rule.id.entry.key("seriesFilters");
    for filter in 0..written.len(&filters) {
        naming.extend(["is", "isNot"].map(|key| text(filters.index(filter).key(key))));
    }
    vec![Claim::Naming(naming)]
}
