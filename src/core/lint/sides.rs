//! Arithmetic, comparison and `and` of two vectors. Elements match that agree in all labels, unless `on` or `ignoring` says otherwise;
//! where the sides have different ones the result is empty, without an error.

use std::collections::BTreeSet;

use promql_parser::{
    label::{METRIC_NAME, MatchOp},
    parser::{BinModifier, BinaryExpr, Expr, VectorMatchFillValues, token, value::ValueType},
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

pub(super) fn check(rule: &RuleBase, template: &str, tree: &Expr, report: &mut Report<'_>) {
    if let Some(Unmatched { severity, message }) = unmatched(tree, template) {
        report.add(severity, CODE, rule.id.entry.key("metricsQuery"), message, HELP);
    }
}

/// The gravest case in a tree, which is that of a query that is rendered from a template.
pub(super) fn unmatched(tree: &Expr, template: &str) -> Option<Unmatched> {
    // A value by label is another one in each query.
    let is_fixed = !template.contains("LabelValuesByName");
    let operations = counters::all(tree).into_iter().filter_map(|tree| match tree {
        Expr::Binary(binary) => of_operation(binary, is_fixed),
        _ => None,
    });
    operations.min_by_key(|unmatched| unmatched.severity)
}

fn of_operation(binary: &BinaryExpr, is_fixed: bool) -> Option<Unmatched> {
    let (left, right) = (&*binary.lhs, &*binary.rhs);
    let default = BinModifier::default();
    let modifier = binary.modifier.as_ref().unwrap_or(&default);
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    // `or` takes whatever is there, and `unless` leaves it.
    let is_union = binary.op.is_set_operator() && binary.op.id() != token::T_LAND;
    let is_filled = modifier.fill_values != VectorMatchFillValues::default();
    if is_filled || is_union || !is_vector(left) || !is_vector(right) {
        return None;
    }
    let sides = [elements::of(left)?, elements::of(right)?];
    let [one, other] = &sides;
    let agreement = format!("`{}` matches elements that agree in all labels", binary.op);
    let matched = modifier.matching.as_ref().map_or_else(Labels::all, Labels::of);
    if is_fixed && let Some([one, other]) = one.conflict(other, &matched) {
        let label = &one.name;
        let sides = match (&one.op, &other.op) {
            (MatchOp::Equal, MatchOp::Equal) => format!(
                "`{label}` is `{}` on its left side and `{}` on its right one",
                one.value, other.value
            ),
            _ => format!("all of its left side has `{one}`, and all of its right one `{other}`"),
        };
        let agreement = match modifier.matching {
            None => agreement,
            Some(_) => format!("`{}` matches elements that agree in `{label}`", binary.op),
        };
        let message = format!("{agreement}, and {sides}, so the result is always empty");
        return Some(Unmatched { severity: Severity::Warning, message });
    }
    if modifier.matching.is_some() {
        return None;
    }
    match sides.each_ref().map(labels) {
        [Labels::Only(one), Labels::Only(other)] if one != other => {
            let side = |labels: &BTreeSet<String>| match labels.len() {
                0 => "no label".to_owned(),
                _ => listed(labels),
            };
            let message = format!(
                "{agreement}, and its left side has {} and its right one {}, so the result is probably empty",
                side(&one),
                side(&other)
            );
            Some(Unmatched { severity: Severity::Warning, message })
        }
        [Labels::Only(_), Labels::Only(_)] => None,
        [one, other] if one == other && are_siblings(left, right) => None,
        _ => {
            let message = format!(
                "{agreement}: where the series of one side have a label that those of the other have not, the result is empty, without an error"
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
