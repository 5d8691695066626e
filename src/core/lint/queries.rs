//! `metricsQuery` of custom metrics: rendered for two objects with names that nothing else has, and looked at as PromQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{Expr, value::ValueType},
};

use super::{
    Report, counters, elements, filters,
    labels::Labels,
    listed, loose, metric_selector, parsed,
    resources::{Series, Subjects},
    selectors, sides,
    slips::{self, Slip},
};
use crate::core::{
    catalog::Entry,
    names,
    plan::{self, Objects},
    promql,
    rules::{RuleBase, RuleEntry},
    selector::Selector,
};

const NAMESPACE: &str = "loadline-opaque-namespace";
const NAMES: [&str; 2] = ["loadline-opaque-one", "loadline-opaque-two"];

/// What is said of a resource; what is said of several is reported once.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fault {
    IgnoresAll,
    IgnoresNames,
    IgnoresNamespace,
    Drops,
    Several,
}

pub(super) fn check(rule: &RuleBase, subjects: &Subjects, report: &mut Report<'_>) {
    let mut faults: BTreeMap<Fault, Vec<&Entry>> = BTreeMap::new();
    let mut across = BTreeSet::new();
    let mut tree = None;
    for entry in &subjects.entries {
        let Some(query) = rendered(entry, &Selector::default()) else { continue };
        let query = match query {
            Ok(query) => query,
            Err(message) => return fails(rule.id.entry, "metricsQuery", message, report),
        };
        let parsed = match parsed(&query) {
            Ok(parsed) => parsed,
            Err(reason) => {
                not_understood(rule.id.entry, "metricsQuery", &query, &reason, report);
                return;
            }
        };
        if matches!(parsed.value_type(), ValueType::Scalar | ValueType::String | ValueType::Matrix)
        {
            report.warning(
                rule.id.entry,
                NOT_A_VECTOR,
                "metricsQuery",
                not_a_vector(&parsed),
                "write a query whose result is an instant vector with the label of the objects",
            );
            return;
        }
        for fault in faults_of(entry, &query, &parsed) {
            faults.entry(fault).or_default().push(entry);
        }
        // Where nothing depends on the namespace, that is said of the whole query.
        if query.contains(NAMESPACE) {
            across.extend(loose::across_namespaces(entry, NAMESPACE, &parsed));
        }
        tree.get_or_insert(parsed);
    }
    for (fault, entries) in &faults {
        tell(rule, *fault, entries, report);
    }
    loose::tell(rule, &across, &subjects.series, report);
    let template = metric_selector::template(rule, report);
    // Where nothing reaches the query that has been said.
    if let Some(entry) = subjects.entries.first()
        && !faults.contains_key(&Fault::IgnoresAll)
    {
        let render = |selector: &Selector| rendered(entry, selector)?.ok();
        if metric_selector::is_ignored(&template, render) {
            report.info(
                rule.id.entry,
                "selector-ignored",
                "metricsQuery",
                "the autoscaler's `metric.selector` never reaches the query: whatever it selects, the values are the same",
                "nothing, if no autoscaler has one; otherwise put <<.LabelMatchers>> into the braces of each selector",
            );
        }
    }
    if let Some(tree) = tree {
        selectors::check_query(rule, &template, &tree, report);
        filters::check(rule, &tree, &subjects.series, report);
        sides::check(rule, &template, &tree, report);
        counters::check(rule, &tree, &subjects.series, report);
    }
    if !faults.contains_key(&Fault::Drops)
        && let Some(entry) = &subjects.namespaces
        && let Some(Ok(query)) = rendered(entry, &Selector::default())
        && parsed(&query).is_ok_and(|tree| drops(&tree, &entry.label))
    {
        report.info(
            rule.id.entry,
            "label-aggregated-away",
            "metricsQuery",
            format!("the result has no label `{}`, so the metric of namespaces, which is listed, has no values", entry.label),
            "nothing, if nobody reads it; otherwise aggregate `by (<<.GroupBy>>)`",
        );
    }
    one_name(rule, subjects, report);
}

pub(super) fn fails(rule: RuleEntry, key: &str, message: String, report: &mut Report<'_>) {
    let help = "correct the template: every read fails so";
    report.warning(rule, "template-fails", key, message, help);
}

/// The code of a query that the parser refuses.
pub(super) const NOT_UNDERSTOOD: &str = "query-not-understood";

/// A query that the parser refuses. Backends have dialects, so nothing else is said of it unless it is wrong in all of them. Returns
/// whether it is.
pub(super) fn not_understood(
    rule: RuleEntry,
    key: &str,
    query: &str,
    reason: &str,
    report: &mut Report<'_>,
) -> bool {
    let template = report.written.text(&rule.key(key)).to_owned();
    if let Some(Slip { message, help }) = slips::find(&template, query) {
        report.warning(rule, NOT_UNDERSTOOD, key, message, help);
        return true;
    }
    if let Some(mistake) = promql::malformed(query) {
        let message = format!("the query is malformed once it is rendered: {mistake}");
        report.warning(rule, NOT_UNDERSTOOD, key, message, "correct it");
        return true;
    }
    let help = match slips::duration(query) {
        Some(variable) => format!(
            "`${variable}` is a variable, which Grafana replaces, and VictoriaMetrics by the step of the query: write a duration for every other backend"
        ),
        None => "nothing, if it is in a dialect of the backend, such as MetricsQL; otherwise correct it. `loadline check --live` asks the backend".to_owned(),
    };
    report.info(
        rule,
        NOT_UNDERSTOOD,
        key,
        format!("the query is not understood, and sent as it is: {reason}"),
        help,
    );
    false
}

/// The query for two objects; nothing for those that cannot be asked for.
fn rendered(entry: &Entry, selector: &Selector) -> Option<Result<String, String>> {
    let namespace = entry.kind.namespaced.then_some(NAMESPACE);
    if namespace.is_some() && entry.namespace_label.is_none() {
        return None;
    }
    let names = Objects::Named(NAMES.map(Arc::from).to_vec());
    let plan = plan::exact(entry.source(), namespace, &names, selector);
    Some(plan.map(|plan| plan.query.to_string()).map_err(|error| error.to_string()))
}

fn faults_of(entry: &Entry, query: &str, tree: &Expr) -> Vec<Fault> {
    let mut faults = Vec::new();
    let has_names = NAMES.iter().all(|name| query.contains(name));
    // Who writes the namespace down means it.
    let has_namespace = !entry.kind.namespaced
        || query.contains(NAMESPACE)
        || entry.namespace_label.as_deref().is_some_and(|label| all_match(tree, label));
    match (has_names, has_namespace) {
        (true, true) => {}
        (true, false) => faults.push(Fault::IgnoresNamespace),
        (false, false) => faults.push(Fault::IgnoresAll),
        (false, true) => faults.push(Fault::IgnoresNames),
    }
    let mut key = vec![entry.label.as_ref()];
    if !has_namespace {
        // That one name is there in several namespaces has been said.
        key.extend(entry.namespace_label.as_deref());
    }
    if drops(tree, &entry.label) {
        faults.push(Fault::Drops);
    } else if is_several(tree, &key) {
        faults.push(Fault::Several);
    }
    faults
}

/// What is wrong with a result that is none of samples.
pub(super) const NOT_A_VECTOR: &str = "not-a-vector";

pub(super) fn not_a_vector(tree: &Expr) -> String {
    format!("the query returns a {}, not an instant vector", tree.value_type())
}

/// What is wrong with a result that names no object.
pub(super) const AGGREGATED_AWAY: &str = "label-aggregated-away";

pub(super) fn aggregated_away(kinds: &str, labels: &str) -> String {
    format!("the result has no label {labels}, so no object of {kinds} has a value")
}

/// What is wrong with a result that has more than one sample for an object.
pub(super) const SEVERAL_SAMPLES: &str = "several-samples-per-object";

pub(super) fn several_samples(kinds: &str, labels: &str) -> String {
    format!(
        "one object of {kinds} may have several samples, of which only one is read: nothing aggregates by {labels} alone"
    )
}

/// Whether several elements of the result may agree in these labels.
pub(super) fn is_several(tree: &Expr, labels: &[&str]) -> bool {
    elements::of(tree).is_some_and(|elements| !elements.are_one_by(&Labels::these(labels)))
}

/// Whether no element of the result has a label.
pub(super) fn drops(tree: &Expr, label: &str) -> bool {
    elements::of(tree).is_some_and(|elements| !elements.labels.has(label))
}

/// Whether every selector says which values of the label it wants, in each of its alternatives.
pub(super) fn all_match(tree: &Expr, label: &str) -> bool {
    let is_of_label = |matcher: &Matcher| {
        matcher.name == label && matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_))
    };
    let selectors = counters::selectors(tree);
    !selectors.is_empty()
        && selectors.into_iter().all(|selector| loose::says(selector, is_of_label))
}

fn tell(rule: &RuleBase, fault: Fault, entries: &[&Entry], report: &mut Report<'_>) {
    let Some(first) = entries.first() else { return };
    let kinds = listed(entries.iter().map(|entry| entry.kind.resource.to_string()));
    let labels = listed(entries.iter().map(|entry| &entry.label));
    let matchers = "put <<.LabelMatchers>> into the braces of each selector";
    let (code, message, help) = match fault {
        Fault::IgnoresAll => (
            "no-label-matchers",
            format!("the query does not depend on which namespace and which {kinds} are asked for"),
            matchers.to_owned(),
        ),
        // Those that are asked for are taken out of all of them.
        Fault::IgnoresNames => {
            report.info(
                rule.id.entry,
                "all-objects-fetched",
                "metricsQuery",
                format!("the query does not depend on which {kinds} are asked for, so every read fetches all of them"),
                "put <<.LabelMatchers>> into the braces of each selector, unless few readers ask for many objects",
            );
            return;
        }
        Fault::IgnoresNamespace => (
            "namespace-ignored",
            format!(
                "the query does not depend on the namespace: {kinds} of the same name in another one count, too"
            ),
            matchers.to_owned(),
        ),
        Fault::Drops => (
            AGGREGATED_AWAY,
            aggregated_away(&kinds, &labels),
            "aggregate `by (<<.GroupBy>>)`".to_owned(),
        ),
        Fault::Several => (
            SEVERAL_SAMPLES,
            several_samples(&kinds, &labels),
            format!(
                "aggregate by the label of the object, as in `sum(…) by (<<.GroupBy>>)`, which is `by ({})` here",
                names::label(&first.label)
            ),
        ),
    };
    report.warning(rule.id.entry, code, "metricsQuery", message, help);
}

/// Several series with one name in the API.
fn one_name(rule: &RuleBase, subjects: &Subjects, report: &mut Report<'_>) {
    let Series { name, is_known } = &subjects.series;
    let reads_series = subjects
        .entries
        .iter()
        .filter_map(|entry| rendered(entry, &Selector::default())?.ok())
        .any(|query| query.contains(name.as_str()));
    if !is_known && reads_series && !rule.namer.template().contains('$') {
        report.info(
            rule.id.entry,
            "one-name-for-several-series",
            ["name", "as"],
            format!("every series of this rule is called `{}`: of several the one whose name sorts last is read", rule.namer.template()),
            "nothing, if there is only one; otherwise make the name of a group, as in `${1}`",
        );
    }
}
