//! Queries of which only some selectors have the label matchers. The others read series that nobody asked for.
//!
//! A total, such as the denominator of a share, is read so on purpose. Only what cannot be meant so is reported.

use std::collections::BTreeSet;

use promql_parser::{
    label::{METRIC_NAME, MatchOp, Matcher, Matchers},
    parser::{
        AggregateExpr, BinaryExpr, Expr, VectorSelector,
        token::{T_COUNT, T_DIV, T_LOR, T_MUL, T_SUM},
    },
};

use super::{Report, counters, elements, listed, resources::Series, sides};
use crate::core::{catalog::Entry, rules::RuleBase};

const CODE: &str = "selector-without-matchers";
const HELP: &str = "put <<.LabelMatchers>> into the braces of each selector";

/// The names of series that are read in all namespaces, and aggregated so that objects of the same name in several namespaces count
/// as one. A matcher with `marker` in its value depends on the namespace; one of the namespace's label fixes it.
pub(super) fn across_namespaces(entry: &Entry, marker: &str, tree: &Expr) -> BTreeSet<String> {
    let Some(namespace) = entry.namespace_label.as_deref().filter(|_| entry.kind.namespaced) else {
        return BTreeSet::new();
    };
    let mixes = |part: &Expr| {
        matches!(part, Expr::Aggregate(_))
            && elements::of(part).is_some_and(|elements| {
                elements.labels.has(&entry.label) && !elements.labels.has(namespace)
            })
    };
    let fixes = |matcher: &Matcher| {
        matcher.value.contains(marker)
            || (matcher.name == namespace && matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_)))
    };
    let all = counters::all(tree);
    let zeros: Vec<_> =
        all.iter().filter(|part| is_zero(part)).flat_map(|part| counters::all(part)).collect();
    let is_zeroed = |part: &Expr| zeros.iter().any(|zero| std::ptr::eq(*zero, part));
    let parts = all.into_iter().filter(|part| mixes(part) && !is_zeroed(part));
    let loose = parts.map(counters::selectors).filter(|selectors| {
        // What is joined with something of the namespace may be limited by it.
        !selectors.iter().any(|selector| says(selector, fixes))
    });
    loose.flatten().filter_map(counters::name).map(str::to_owned).collect()
}

/// Reports the series of [`across_namespaces`].
pub(super) fn tell(
    rule: &RuleBase,
    names: &BTreeSet<String>,
    series: &Series,
    report: &mut Report<'_>,
) {
    if names.is_empty() {
        return;
    }
    let names = listed(names.iter().map(|name| shown(name, series)));
    report.warning(
        rule.id.entry,
        CODE,
        "metricsQuery",
        format!(
            "the query reads {names} without <<.LabelMatchers>>, and aggregates without the namespace: objects of the same name in other namespaces count, too"
        ),
        HELP,
    );
}

/// Reports a query of which the selector and the namespace reach one operand and not the other, which reads the same series. Each
/// matcher with one of the `markers` in its value comes from them.
pub(super) fn check_external(
    rule: &RuleBase,
    template: &str,
    markers: &[&str],
    tree: &Expr,
    series: &Series,
    report: &mut Report<'_>,
) {
    // Values by label are known for the labels of a real selector only.
    if template.contains("LabelValuesByName") {
        return;
    }
    let is_marked = |matcher: &Matcher| markers.iter().any(|marker| matcher.value.contains(marker));
    let mut operations = counters::all(tree).into_iter().filter_map(|part| match part {
        Expr::Binary(binary) => Some(binary),
        _ => None,
    });
    let found = operations.find_map(|binary| loose_operand(binary, is_marked));
    if let Some(name) = found {
        let name = shown(name, series);
        report.warning(
            rule.id.entry,
            CODE,
            "metricsQuery",
            format!(
                "one operand reads `{name}` without <<.LabelMatchers>>, and the other one with them: the value mixes what is asked for with everything else"
            ),
            HELP,
        );
    }
}

/// The series of an operand without matchers: in a mean, or behind `or`.
fn loose_operand(binary: &BinaryExpr, is_marked: impl Fn(&Matcher) -> bool) -> Option<&str> {
    let (left, right) = (plain(&binary.lhs), plain(&binary.rhs));
    let is_mean = binary.op.id() == T_DIV && is_mean(left, right);
    let is_alternative = binary.op.id() == T_LOR && !is_zero(right) && !is_absence(right);
    if !is_mean && !is_alternative {
        return None;
    }
    let reaches =
        |side| counters::selectors(side).into_iter().any(|selector| says(selector, &is_marked));
    let (loose, bound) = match (reaches(left), reaches(right)) {
        (true, false) => (right, left),
        (false, true) if is_mean => (left, right),
        _ => return None,
    };
    let bound = counters::selectors(bound);
    // A selector that says more than the other one is meant to be another one.
    let is_same = |selector: &&VectorSelector| {
        let name = counters::name(selector);
        let is_part = |other: &&VectorSelector| {
            let mut filters = selector.matchers.matchers.iter().filter(|it| it.name != METRIC_NAME);
            filters.all(|filter| other.matchers.matchers.contains(filter))
        };
        name.is_some()
            && selector.matchers.or_matchers.is_empty()
            && bound.iter().all(|other| {
                counters::name(other).map(sides::family) == name.map(sides::family)
                    && is_part(other)
            })
    };
    let loose = counters::selectors(loose);
    let name = loose.first().and_then(|selector| counters::name(selector));
    name.filter(|_| loose.iter().all(is_same))
}

/// Whether this is a sum by a count.
fn is_mean(left: &Expr, right: &Expr) -> bool {
    let (Some(one), Some(other)) = (aggregate(left), aggregate(right)) else { return false };
    let operators = [one.op.id(), other.op.id()];
    let of_histogram = || {
        let ends = |side, end: &str| {
            let names = counters::selectors(side).into_iter().map(counters::name);
            let mut names = names.map(|name| name.is_some_and(|name| name.ends_with(end)));
            names.all(|ends| ends)
        };
        operators == [T_SUM, T_SUM] && ends(left, "_sum") && ends(right, "_count")
    };
    operators == [T_SUM, T_COUNT] || of_histogram()
}

fn aggregate(tree: &Expr) -> Option<&AggregateExpr> {
    match tree {
        Expr::Aggregate(aggregate) => Some(aggregate),
        _ => None,
    }
}

/// Whether this is something times zero, which is there for its labels.
fn is_zero(tree: &Expr) -> bool {
    let is_number =
        |side: &Expr| matches!(plain(side), Expr::NumberLiteral(number) if number.val == 0.0);
    match plain(tree) {
        Expr::Binary(binary) => {
            binary.op.id() == T_MUL && (is_number(&binary.lhs) || is_number(&binary.rhs))
        }
        Expr::Aggregate(aggregate) => is_zero(&aggregate.expr),
        _ => false,
    }
}

/// Whether this is about series that are not there.
fn is_absence(tree: &Expr) -> bool {
    let is_absent =
        |part: &Expr| matches!(part, Expr::Call(call) if call.func.name.starts_with("absent"));
    counters::all(tree).into_iter().any(is_absent)
}

fn plain(mut tree: &Expr) -> &Expr {
    while let Expr::Paren(paren) = tree {
        tree = &paren.expr;
    }
    tree
}

/// Whether a selector has such a matcher, in each of its alternatives.
pub(super) fn says(selector: &VectorSelector, is_meant: impl Fn(&Matcher) -> bool) -> bool {
    let Matchers { matchers, or_matchers } = &selector.matchers;
    matchers.iter().any(&is_meant)
        || (!or_matchers.is_empty() && or_matchers.iter().all(|all| all.iter().any(&is_meant)))
}

/// The name of a series, or the template's.
fn shown<'n>(name: &'n str, series: &Series) -> &'n str {
    if name == series.name && !series.is_known { "<<.Series>>" } else { name }
}
