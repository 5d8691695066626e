//! `metricsQuery` of external metrics.

use std::sync::Arc;

use promql_parser::parser::value::ValueType;

use super::{
    Report, Severity, commas, counters, elements, filters,
    labels::Labels,
    loose, metric_selector, parsed,
    queries::{NOT_A_VECTOR, all_match, fails, not_a_vector, not_understood},
    resources::Series,
    selectors, sides,
};
use crate::core::{
    catalog::external::ExternalEntry,
    external,
    kinds::Kinds,
    promql::{Token, tokens},
    rules::{Aggregate, ExternalRule, RuleBase},
    selector::Selector,
};

const NAMESPACE: &str = "loadline-opaque-namespace";

pub(super) fn check(external: &Arc<ExternalRule>, kinds: &Kinds, report: &mut Report<'_>) {
    let rule = &external.base;
    let series = Series::of(rule, report);
    let mapping = rule.mapping.resolve(kinds);
    let entry = ExternalEntry {
        series: series.name.as_str().into(),
        namespace_label: mapping.namespace_label().map(Arc::from),
        rule: Arc::clone(external),
    };
    let query = match external::query(&entry, NAMESPACE, &Selector::default()) {
        Ok(query) => query,
        Err(error) => return fails(rule.id.entry, "metricsQuery", error.to_string(), report),
    };
    let render = |selector: &Selector| external::query(&entry, NAMESPACE, selector).ok();
    let marked = metric_selector::marked().and_then(|selector| render(&selector));
    if let Some(marked) = &marked
        && commas::check(rule, &query, marked, report)
    {
        return;
    }
    let tree = match parsed(&query) {
        Ok(tree) => tree,
        Err(reason) => {
            let is_wrong = not_understood(rule.id.entry, "metricsQuery", &query, &reason, report);
            // In a dialect, too, what is not rendered does not reach the query.
            if !is_wrong && names_series(&query, &series) {
                check_selector(rule, render, report);
            }
            return;
        }
    };
    // A scalar is served as one value.
    if matches!(tree.value_type(), ValueType::String | ValueType::Matrix) {
        report.warning(
            rule.id.entry,
            NOT_A_VECTOR,
            "metricsQuery",
            not_a_vector(&tree),
            "write a query whose result is an instant vector, or a scalar",
        );
        return;
    }
    let is_in_namespace = query.contains(NAMESPACE)
        || entry.namespace_label.as_deref().is_some_and(|label| all_match(&tree, label));
    if rule.mapping.namespaced() && !is_in_namespace {
        report.warning(
            rule.id.entry,
            "namespace-ignored",
            "metricsQuery",
            "the query does not depend on the namespace, though `resources.namespaced` is true",
            "put <<.LabelMatchers>> into the braces of each selector, or set `namespaced: false`",
        );
    }
    let template = metric_selector::template(rule, report);
    if let Some(Ok(marked)) = marked.as_deref().map(parsed) {
        let markers = [NAMESPACE, metric_selector::VALUE];
        loose::check_external(rule, &template, &markers, &marked, &series, report);
    }
    // A query that reads no series, such as one of the time of day, has nothing to select.
    if !counters::selectors(&tree).is_empty() {
        check_selector(rule, render, report);
    }
    selectors::check_query(rule, &template, &tree, report);
    filters::check(rule, &tree, &series, report);
    sides::check(rule, &template, &tree, report);
    counters::check(rule, &tree, &series, report);
    let is_one = elements::of(&tree).is_none_or(|elements| elements.are_one_by(&Labels::none()));
    if external.aggregate == Aggregate::None && !is_one {
        report.info(
            rule.id.entry,
            "several-values",
            "metricsQuery",
            "the query may return several values, which an autoscaler adds up",
            "nothing, if the sum is meant; otherwise aggregate in the query, or say `aggregate: max`",
        );
    }
}

/// Whether a query that is not understood reads series for sure: there are braces, or the name is there.
fn names_series(query: &str, series: &Series) -> bool {
    tokens(query).any(|token| match token {
        Token::Sign('{') => true,
        Token::Word(word) => word == series.name,
        _ => false,
    })
}

/// Reports a query that the autoscaler's selector does not reach.
fn check_selector(
    rule: &RuleBase,
    render: impl Fn(&Selector) -> Option<String>,
    report: &mut Report<'_>,
) {
    let template = metric_selector::template(rule, report);
    if !metric_selector::is_ignored(&template, render) {
        return;
    }
    // A static rule names its one metric itself: where its query is no template, a number is meant.
    let is_one_number =
        rule.static_metric.is_some() && !rule.mapping.namespaced() && !template.contains("<<");
    let severity = if is_one_number { Severity::Info } else { Severity::Warning };
    report.add(
        severity,
        "selector-ignored",
        rule.id.entry.key("metricsQuery"),
        "the autoscaler's selector never reaches the query: whatever it selects, the value is the same",
        "put <<.LabelMatchers>> into the braces of each selector",
    );
}
