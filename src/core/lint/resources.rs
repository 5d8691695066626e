//! `resources`: which objects a rule is about, and labels that name none.

use std::{collections::BTreeMap, sync::Arc};

use super::{Report, listed, selectors};
use crate::core::{
    catalog::Entry,
    kinds::{GroupResource, Kind, Kinds},
    rules::{CustomRule, ResolvedMapping, RuleBase},
};

/// The kinds that a template is looked at for.
const OF_TEMPLATE: [&str; 2] = ["pods", "namespaces"];

/// The resources that a rule's query is looked at for.
pub(super) struct Subjects {
    /// Each as the catalog would have it. Namespaces only if there is nothing else.
    pub(super) entries: Vec<Entry>,
    /// The namespaces, where there is something else: most rules map their label for the matcher alone.
    pub(super) namespaces: Option<Entry>,
    /// What stands for the name of the series.
    pub(super) series: Series,
}

/// A name of a series to render a query for.
pub(super) struct Series {
    pub(super) name: String,
    /// Whether it is that of the series; else only its end may be.
    pub(super) is_known: bool,
}

impl Series {
    /// Any name that the selector lists; otherwise one that ends as `name.matches` or a filter says.
    pub(super) fn of(rule: &RuleBase, report: &Report<'_>) -> Self {
        if let Some(name) = selectors::names(rule)
            .and_then(|names| names.into_iter().find(|name| rule.namer.metric_name(name).is_some()))
        {
            return Self { name, is_known: true };
        }
        let filters = rule.id.entry.key("seriesFilters");
        let filters = (0..report.written.len(&filters))
            .map(|filter| report.written.text(&filters.index(filter).key("is")));
        let matches = report.written.text(&rule.id.entry.key(["name", "matches"]));
        let ending = filters
            .chain([matches])
            .filter_map(ending)
            .max_by_key(|ending| ending.len())
            .unwrap_or_default();
        Self { name: format!("loadline_opaque_series{ending}"), is_known: false }
    }
}

/// The `_total` of `^(.*)_total$`: what every name that a pattern matches ends with.
fn ending(pattern: &str) -> Option<&str> {
    let inner = pattern.strip_suffix('$')?;
    let mut depth = 0_usize;
    for character in inner.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return None,
            _ => {}
        }
    }
    let before = inner.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let ending = inner.get(before.len()..)?;
    // The first letter of `\d_total` is another one.
    let ending = ending.get(usize::from(before.ends_with('\\'))..)?;
    (!ending.is_empty()).then_some(ending)
}

impl Subjects {
    pub(super) fn of(custom: &Arc<CustomRule>, kinds: &Kinds, report: &mut Report<'_>) -> Self {
        let rule = &custom.base;
        let overrides = rule.id.entry.key(["resources", "overrides"]);
        let labels: Vec<String> = report.written.keys(&overrides).map(str::to_owned).collect();
        let series = Series::of(rule, report);
        let mapping = rule.mapping.resolve(kinds);
        if labels.is_empty() && !rule.mapping.has_template() {
            report.warning(
                rule.id.entry,
                "no-resources",
                "resources",
                "no label is mapped to a resource, so the rule serves no metric",
                "name the labels of the objects in `overrides`, such as `pod: {resource: pod}`, or set a `template`",
            );
        }
        super::kinds::check(rule, &mapping, kinds, report);
        several_labels(rule, &mapping, &labels, report);
        let namespace: Option<Arc<str>> = mapping.namespace_label().map(Arc::from);
        let written = mapping.labels().filter(|(label, kind)| {
            let is_asked_for = mapping.label(&kind.resource) == Some(label);
            let is_template = rule.mapping.has_template()
                && kind.resource.group.is_empty()
                && OF_TEMPLATE.contains(&kind.resource.resource.as_str());
            is_asked_for && (is_template || labels.iter().any(|written| written == label))
        });
        let known = written.map(|(label, kind)| (label.to_owned(), Arc::clone(kind)));
        // Kinds that only some clusters have are looked at as if they lived in namespaces, if the rule has a label for these.
        let unknown = mapping.unknown().iter().map(|unknown| {
            let kind = Kind {
                resource: unknown.resource.clone(),
                version: String::new(),
                singular: unknown.resource.resource.clone(),
                kind: unknown.resource.resource.clone(),
                namespaced: namespace.is_some(),
            };
            (unknown.label.clone(), Arc::new(kind))
        });
        let entries = known.chain(unknown).map(|(label, kind)| Entry {
            rule: Arc::clone(custom),
            series: series.name.as_str().into(),
            kind,
            label: label.into(),
            namespace_label: namespace.clone(),
        });
        let (mut entries, mut namespaces): (Vec<_>, Vec<_>) =
            entries.partition(|entry| !is_namespaces(&entry.kind.resource));
        if entries.is_empty() {
            std::mem::swap(&mut entries, &mut namespaces);
        }
        let subjects = Self { entries, namespaces: namespaces.pop(), series };
        no_namespace(rule, &subjects, report);
        subjects
    }
}

fn is_namespaces(resource: &GroupResource) -> bool {
    resource.group.is_empty() && resource.resource == "namespaces"
}

fn several_labels(
    rule: &RuleBase,
    mapping: &ResolvedMapping,
    written: &[String],
    report: &mut Report<'_>,
) {
    let mut by_resource: BTreeMap<&GroupResource, Vec<&str>> = BTreeMap::new();
    for (label, kind) in mapping.labels() {
        if written.iter().any(|written| written == label) {
            by_resource.entry(&kind.resource).or_default().push(label);
        }
    }
    for (resource, labels) in by_resource {
        if let [others @ .., last] = labels.as_slice()
            && !others.is_empty()
        {
            let (all, others) = (listed(&labels), listed(others));
            report.warning(
                rule.id.entry,
                "several-labels-for-resource",
                ["resources", "overrides", last],
                format!("{all} are mapped to {resource}; only `{last}`, which sorts last, is used"),
                format!("take {others} out, or make a rule of its own for each"),
            );
        }
    }
}

/// Objects in namespaces are always asked for in one.
fn no_namespace(rule: &RuleBase, subjects: &Subjects, report: &mut Report<'_>) {
    let in_namespaces = subjects.entries.iter().filter(|entry| entry.kind.namespaced);
    let kinds: Vec<_> = in_namespaces
        .filter(|entry| entry.namespace_label.is_none())
        .map(|entry| entry.kind.resource.to_string())
        .collect();
    if !kinds.is_empty() {
        report.warning(
            rule.id.entry,
            "no-namespace-label",
            ["resources", "overrides"],
            format!(
                "no label is mapped to namespaces, so every read of the metrics of {} fails",
                listed(kinds)
            ),
            "map the label that holds the namespace, as in `namespace: {resource: namespace}`",
        );
    }
}
