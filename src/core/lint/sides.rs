//! Arithmetic, comparison and `and` of two vectors. Elements match that agree in all labels, unless `on` or `ignoring` says otherwise;
//! where the sides have different ones the result is empty, without an error.

use std::collections::BTreeSet;

use promql_parser::{
    label::METRIC_NAME,
    parser::{BinaryExpr, Expr, token, value::ValueType},
};

use super::{
    Report, Severity, counters,
    elements::{self, Elements},
    labels::Labels,
    listed,
};
use crate::core::rules::RuleBase;

pub(super) const CODE: &str = "unmatched-sides";
pub(super) const HELP: &str = "aggregate both sides `by (<<.GroupBy>>)`, or say which labels match, as in `a + on(<<.GroupBy>>) b`";

/// Two sides that never match, or may not.
pub(super) struct Unmatched {
    pub(super) severity: Severity,
    pub(super) message: String,
}

pub(super) fn check(rule: &RuleBase, tree: &Expr, report: &mut Report<'_>) {
    if let Some(Unmatched { severity, message }) = unmatched(tree) {
        report.add(severity, CODE, rule.id.entry.key("metricsQuery"), message, HELP);
    }
}

/// The gravest case in a tree.
pub(super) fn unmatched(tree: &Expr) -> Option<Unmatched> {
    let operations = counters::all(tree).into_iter().filter_map(|tree| match tree {
        Expr::Binary(binary) => of_operation(binary),
        _ => None,
    });
    operations.min_by_key(|unmatched| unmatched.severity)
}

fn of_operation(binary: &BinaryExpr) -> Option<Unmatched> {
    let (left, right) = (&*binary.lhs, &*binary.rhs);
    let is_matched = binary.modifier.as_ref().is_some_and(|modifier| modifier.matching.is_some());
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    // `or` takes whatever is there, and `unless` leaves it.
    let is_union = binary.op.is_set_operator() && binary.op.id() != token::T_LAND;
    if is_matched || is_union || !is_vector(left) || !is_vector(right) {
        return None;
    }
    let sides = [elements::of(left)?, elements::of(right)?];
    let [one, other] = &sides;
    let matches = format!("`{}` matches elements that agree in all labels", binary.op);
    if let Some((label, [one, other])) = one.conflict(other) {
        let message = format!(
            "{matches}, and `{label}` is `{one}` on its left side and `{other}` on its right one, so the result is always empty"
        );
        return Some(Unmatched { severity: Severity::Warning, message });
    }
    match sides.each_ref().map(labels) {
        [Labels::Only(one), Labels::Only(other)] if one != other => {
            let side = |labels: &BTreeSet<String>| match labels.len() {
                0 => "no label".to_owned(),
                _ => listed(labels),
            };
            let message = format!(
                "{matches}, and its left side has {} and its right one {}, so the result is probably empty",
                side(&one),
                side(&other)
            );
            Some(Unmatched { severity: Severity::Warning, message })
        }
        [Labels::Only(_), Labels::Only(_)] => None,
        [one, other] if one == other && are_siblings(left, right) => None,
        _ => {
            let message = format!(
                "{matches}: where the series of one side have a label that those of the other have not, the result is empty, without an error"
            );
            Some(Unmatched { severity: Severity::Info, message })
        }
    }
}

fn labels(elements: &Elements) -> Labels {
    elements.labels.clone().without(METRIC_NAME)
}

/// Whether both sides read the same series, or a histogram's sum and count, which have the same labels.
fn are_siblings(left: &Expr, right: &Expr) -> bool {
    let families = |side| -> Option<BTreeSet<&str>> {
        let names = counters::selectors(side).into_iter().map(counters::name);
        names.map(|name| Some(family(name?))).collect()
    };
    families(left).is_some_and(|left| !left.is_empty() && families(right) == Some(left))
}

/// What a name has in common with those of the same histogram's sum and count.
pub(super) fn family(name: &str) -> &str {
    name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count")).unwrap_or(name)
}
