//! Matchers of `seriesQuery` that the query does not repeat: they restrict the metrics that exist, but not the series that are read.

use promql_parser::{
    label::{METRIC_NAME, MatchOp, Matcher},
    parser::Expr,
};

use super::{Report, counters, listed, resources::Series};
use crate::core::rules::RuleBase;

pub(super) fn check(rule: &RuleBase, tree: &Expr, series: &Series, report: &mut Report<'_>) {
    let filters = rule.selector.matchers().unwrap_or_default();
    let reading: Vec<_> = counters::selectors(tree)
        .into_iter()
        .filter(|selector| counters::name(selector) == Some(series.name.as_str()))
        .collect();
    let is_repeated = |label: &str| {
        reading.iter().all(|selector| {
            let mut alternatives = selector.matchers.or_matchers.iter().flatten();
            selector.matchers.matchers.iter().any(|matcher| matcher.name == label)
                || alternatives.any(|matcher| matcher.name == label)
        })
    };
    let mut labels: Vec<_> = filters
        .iter()
        .filter(|filter| is_by_value(filter) && !is_repeated(&filter.name))
        .map(|filter| filter.name.as_str())
        .collect();
    labels.sort_unstable();
    labels.dedup();
    if labels.is_empty() {
        return;
    }
    report.info(
        rule.id.entry,
        "series-filter-not-in-query",
        "metricsQuery",
        format!(
            "`seriesQuery` filters by {}, and the query does not: the filter chooses which metrics exist, and the query reads the series that it leaves out, too",
            listed(labels)
        ),
        "nothing, if all series are meant; otherwise repeat the matcher beside <<.LabelMatchers>>",
    );
}

/// Whether this chooses among the series that have the label, and is about more than whether they have it.
fn is_by_value(filter: &Matcher) -> bool {
    let value = filter.value.trim_start_matches('^').trim_end_matches('$');
    let value = value.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(value);
    filter.name != METRIC_NAME
        && match filter.op {
            MatchOp::Equal => true,
            MatchOp::NotEqual | MatchOp::NotRe(_) => !value.is_empty(),
            MatchOp::Re(_) => !matches!(value, ".+" | ".*"),
        }
}
