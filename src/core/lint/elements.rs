//! Which labels the elements of a query's result have, and what tells them apart.
//!
//! What is said is true of every result: labels that are not in `labels` are on no element, and no two elements agree in all
//! labels of `key`. Where nothing is known, nothing is said.

use std::collections::BTreeMap;

use promql_parser::{
    label::{METRIC_NAME, MatchOp},
    parser::{
        AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
        VectorMatchFillValues, VectorSelector,
        token::{
            T_BOTTOMK, T_COUNT_VALUES, T_LAND, T_LIMIT_RATIO, T_LIMITK, T_LOR, T_LUNLESS, T_TOPK,
        },
        value::ValueType,
    },
};

use super::labels::Labels;
use crate::core::pointwise::{BUCKETS, Works, works};

/// How deep a tree may be.
const MAX_DEPTH: usize = 100;

/// The elements of a vector.
#[derive(Clone, Debug)]
pub(super) struct Elements {
    /// The labels that an element may have.
    pub(super) labels: Labels,
    /// Labels that have the same value on all elements.
    constant: BTreeMap<String, String>,
    /// No two elements agree in all of these.
    pub(super) key: Labels,
}

impl Elements {
    fn new(labels: Labels, mut constant: BTreeMap<String, String>) -> Self {
        constant.retain(|label, _| labels.has(label));
        let key = labels.minus(&Labels::these(constant.keys()));
        Self { labels, constant, key }
    }

    /// One element at most, without labels.
    fn single() -> Self {
        Self::new(Labels::none(), BTreeMap::new())
    }

    /// With only some of the labels, which still tell the elements apart.
    fn kept(&self, labels: &Labels) -> Self {
        Self::new(self.labels.and(labels), self.constant.clone())
    }

    fn nameless(&self) -> Self {
        let key = self.key.clone().without(METRIC_NAME);
        Self { key, ..self.kept(&Labels::all().without(METRIC_NAME)) }
    }
}

/// The elements of an expression's result; nothing where that is no vector, or not known.
pub(super) fn of(expression: &Expr) -> Option<Elements> {
    part(expression, 0)
}

fn part(expression: &Expr, depth: usize) -> Option<Elements> {
    if depth == MAX_DEPTH {
        return None;
    }
    let inner = |expression: &Expr| part(expression, depth + 1);
    match expression {
        Expr::VectorSelector(selector) => Some(of_selector(selector)),
        Expr::MatrixSelector(selector) => Some(of_selector(&selector.vs)),
        Expr::Paren(paren) => inner(&paren.expr),
        Expr::Subquery(subquery) => inner(&subquery.expr),
        Expr::Unary(unary) => Some(inner(&unary.expr)?.nameless()),
        Expr::Call(call) => of_call(call, inner),
        Expr::Aggregate(aggregate) => Some(of_aggregate(aggregate, inner(&aggregate.expr)?)),
        Expr::Binary(binary) => match (is_scalar(&binary.lhs), is_scalar(&binary.rhs)) {
            (true, true) => None,
            (true, false) => Some(inner(&binary.rhs)?.nameless()),
            (false, true) => Some(inner(&binary.lhs)?.nameless()),
            (false, false) => of_binary(binary, &inner(&binary.lhs)?, &inner(&binary.rhs)?),
        },
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => None,
    }
}

fn is_scalar(expression: &Expr) -> bool {
    expression.value_type() == ValueType::Scalar
}

fn of_selector(selector: &VectorSelector) -> Elements {
    if !selector.matchers.or_matchers.is_empty() {
        return Elements::new(Labels::all(), BTreeMap::new());
    }
    let mut labels = Labels::all();
    let mut constant = BTreeMap::new();
    if let Some(name) = &selector.name {
        constant.insert(METRIC_NAME.to_owned(), name.clone());
    }
    for matcher in selector.matchers.matchers.iter().filter(|m| m.op == MatchOp::Equal) {
        if matcher.value.is_empty() {
            labels = labels.without(&matcher.name);
        } else {
            constant.insert(matcher.name.clone(), matcher.value.clone());
        }
    }
    Elements::new(labels, constant)
}

fn of_call(call: &Call, inner: impl Fn(&Expr) -> Option<Elements>) -> Option<Elements> {
    let name = call.func.name;
    match name {
        "vector" => return Some(Elements::single()),
        // Their labels are those that the selector names.
        "absent" | "absent_over_time" => {
            return Some(Elements {
                key: Labels::none(),
                ..Elements::new(Labels::all(), BTreeMap::new())
            });
        }
        _ => {}
    }
    let is_vector =
        |argument: &&Expr| matches!(argument.value_type(), ValueType::Vector | ValueType::Matrix);
    let mut vectors = call.args.args.iter().map(|argument| &**argument).filter(is_vector);
    let of = match (vectors.next(), vectors.next()) {
        (Some(vector), None) => inner(vector)?,
        // `hour()` is that of the time.
        (None, None) if works(name) == Works::Elementwise => return Some(Elements::single()),
        _ => return None,
    };
    match works(name) {
        Works::Elementwise if keeps_name(name) => Some(of),
        Works::Elementwise => Some(of.nameless()),
        Works::OnBuckets => {
            let rest = Labels::all().minus(&Labels::these(BUCKETS)).without(METRIC_NAME);
            Some(of.kept(&rest))
        }
        Works::LabelReplace => {
            let [_, to, replacement, from, pattern] = call.args.args.as_slice() else {
                return None;
            };
            let copies = matches!(text(replacement)?, "$1" | "${1}")
                && matches!(text(pattern)?, "(.*)" | "(.+)" | "^(.*)$" | "^(.+)$");
            Some(relabelled(&of, text(to)?, copies.then_some(text(from)?)))
        }
        Works::LabelJoin => {
            let to = text(call.args.args.get(1)?)?;
            let from = match call.args.args.as_slice() {
                [_, _, _, from] => Some(text(from)?),
                _ => None,
            };
            Some(relabelled(&of, to, from))
        }
        Works::Unknown => None,
    }
}

fn keeps_name(function: &str) -> bool {
    function.starts_with("sort") || matches!(function, "last_over_time" | "first_over_time")
}

fn text(argument: &Expr) -> Option<&str> {
    match argument {
        Expr::StringLiteral(literal) => Some(&literal.val),
        Expr::Paren(paren) => match &*paren.expr {
            Expr::StringLiteral(literal) => Some(&literal.val),
            _ => None,
        },
        _ => None,
    }
}

/// A label is written, perhaps as the copy of another one.
fn relabelled(of: &Elements, to: &str, copy_of: Option<&str>) -> Elements {
    let mut constant = of.constant.clone();
    constant.remove(to);
    let written = Elements::new(of.labels.clone().with(to), constant);
    let key = if of.key.has(to) { written.key.clone() } else { of.key.clone() };
    let key = match copy_of {
        Some(from) if key.has(from) => key.without(from).with(to),
        _ => key,
    };
    Elements { key, ..written }
}

fn of_aggregate(aggregate: &AggregateExpr, of: Elements) -> Elements {
    let group = match &aggregate.modifier {
        None => Labels::none(),
        Some(by @ LabelModifier::Include(_)) => Labels::of(by),
        Some(without @ LabelModifier::Exclude(_)) => Labels::of(without).without(METRIC_NAME),
    };
    let grouped = of.kept(&group);
    match aggregate.op.id() {
        // They pick elements, which keep their labels.
        T_TOPK | T_BOTTOMK | T_LIMITK => match aggregate.param.as_deref() {
            Some(Expr::NumberLiteral(one)) if one.val < 2.0 => {
                Elements { key: of.key.clone().narrower(grouped.key), ..of }
            }
            _ => of,
        },
        T_LIMIT_RATIO => of,
        T_COUNT_VALUES => match aggregate.param.as_deref().and_then(text) {
            Some(label) => relabelled(&grouped, label, None).counted(label),
            None => Elements::new(Labels::all(), BTreeMap::new()),
        },
        _ => grouped,
    }
}

impl Elements {
    /// `count_values` makes an element of each value.
    fn counted(self, label: &str) -> Self {
        Self { key: self.key.clone().with(label), ..self }
    }
}

fn of_binary(binary: &BinaryExpr, left: &Elements, right: &Elements) -> Option<Elements> {
    let default = BinModifier::default();
    let modifier = binary.modifier.as_ref().unwrap_or(&default);
    if modifier.fill_values != VectorMatchFillValues::default() {
        return None;
    }
    let matching = modifier.matching.as_ref().map_or_else(Labels::all, Labels::of);
    match (binary.op.id(), &modifier.card) {
        (T_LAND | T_LUNLESS, _) => Some(left.clone()),
        (T_LOR, _) => Some(either(left, right, &matching)),
        (_, VectorMatchCardinality::ManyToOne(included)) => {
            Some(many(&left.nameless(), right, &included.labels))
        }
        (_, VectorMatchCardinality::OneToMany(included)) => {
            Some(many(&right.nameless(), left, &included.labels))
        }
        _ => {
            let (left, right) = (left.nameless(), right.nameless());
            let mut constant = left.constant.clone();
            constant.extend(right.constant.clone());
            let matched = Elements::new(left.labels.and(&right.labels).and(&matching), constant);
            // Each element comes from one of either side.
            let mut key = matched.key.clone();
            for side in [left.key, right.key] {
                if side.is_within(&matched.labels) {
                    key = key.narrower(side);
                }
            }
            Some(Elements { key, ..matched })
        }
    }
}

/// `or`: an element of the right side is only there if no element of the left side matches it.
fn either(left: &Elements, right: &Elements, matching: &Labels) -> Elements {
    let constant: BTreeMap<_, _> = left
        .constant
        .iter()
        .filter(|(label, value)| right.constant.get(*label) == Some(*value))
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect();
    let labels = left.labels.or(&right.labels);
    let matched = labels.and(&matching.clone().without(METRIC_NAME));
    let matched = matched.minus(&Labels::these(constant.keys()));
    let key = left.key.or(&right.key).or(&matched);
    Elements { labels, constant, key }
}

/// Arithmetic or comparison of many elements with one each, whose labels may be included.
fn many(many: &Elements, one: &Elements, included: &[String]) -> Elements {
    let mut labels = many.labels.clone();
    let mut constant = many.constant.clone();
    for label in included {
        constant.remove(label);
        labels = labels.without(label);
        if one.labels.has(label) {
            labels = labels.with(label);
            if let Some(value) = one.constant.get(label) {
                constant.insert(label.clone(), value.clone());
            }
        }
    }
    let result = Elements::new(labels, constant);
    let keeps_key = !included.iter().any(|label| many.key.has(label));
    if keeps_key { Elements { key: many.key.clone(), ..result } } else { result }
}

#[cfg(test)]
mod tests {
    use promql_parser::parser::parse;

    use super::*;

    /// What of `pod` and others the elements have; whether a pod has one element at most.
    #[track_caller]
    fn elements(query: &str) -> Option<(bool, bool)> {
        let elements = of(&parse(query).unwrap_or_else(|error| panic!("{query}: {error}")))?;
        Some((elements.labels.has("pod"), elements.key.is_within(&Labels::these(["pod"]))))
    }

    #[test]
    fn one_element_for_a_pod() {
        for query in [
            "sum by (pod) (a)",
            "sum(rate(a{x=\"y\"}[1m])) by (pod)",
            "max by (pod) (a) * 100",
            "100 - avg by (pod) (a)",
            "-sum by (pod) (a)",
            "sum by (namespace, pod) (a{namespace=\"n\"})",
            "sum by (pod, container) (a{container=\"c\"})",
            "sum by (pod) (a) / sum by (pod) (b)",
            "sum by (pod, x) (a) / on (pod) sum by (pod) (b)",
            "sum by (pod) (a) * on (pod) group_left (node) kube_pod_info",
            "kube_pod_info * on (pod) group_right (node) sum by (pod) (a)",
            "histogram_quantile(0.9, sum by (le, pod) (rate(a_bucket[1m])))",
            "sum by (pod) (a) or sum by (pod) (b)",
            "sum by (pod) (a) or vector(0)",
            "topk(1, sum by (pod, x) (a)) by (pod)",
            "topk(1, a) by (pod)",
            "sum by (pod) (a) > bool 5",
            "sum by (pod) (a) and on (pod) b",
            "label_replace(sum by (pod) (a), \"x\", \"$1\", \"pod\", \"(.*)-.*\")",
            "label_replace(sum by (instance) (a), \"pod\", \"$1\", \"instance\", \"(.*)\")",
            "label_join(sum by (instance) (a), \"pod\", \"\", \"instance\")",
            "max_over_time(sum by (pod) (rate(a[1m]))[5m:])",
            "quantile by (pod) (0.5, a)",
            "clamp_min(sum by (pod) (a), 1)",
            "avg without (x) (sum by (pod, x) (a))",
            "count by (pod) (count by (pod, container) (a))",
        ] {
            assert_eq!(elements(query), Some((true, true)), "{query}");
        }
    }

    #[test]
    fn several_elements_for_a_pod_are_possible() {
        for query in [
            "a",
            "a{pod!=\"\"}",
            "rate(a[1m])",
            "sum by (pod, x) (a)",
            "sum without (x) (a)",
            "sum by (pod) (a) * on (pod) group_right () b",
            "a / on (pod) group_left () sum by (pod) (b)",
            "a / b",
            "a or sum by (pod) (b)",
            "sum by (pod, x) (a{x=\"1\"}) or sum by (pod, x) (a{x=\"2\"})",
            "topk(2, a) by (pod)",
            "topk(1, a) by (pod, x)",
            "topk(1, a) without (x)",
            "histogram_quantile(0.9, rate(a_bucket[1m]))",
            "histogram_quantile(0.9, sum by (le, pod, x) (rate(a_bucket[1m])))",
            "count_values by (pod) (\"v\", a)",
            "label_replace(sum by (instance) (a), \"pod\", \"$1\", \"instance\", \"(.*)-.*\")",
            "last_over_time({__name__=~\"a.*\", pod=\"x\"}[1m])",
        ] {
            assert_eq!(elements(query), Some((true, false)), "{query}");
        }
    }

    #[test]
    fn an_aggregation_may_drop_the_label() {
        for query in [
            "sum(a)",
            "sum by (x) (a)",
            "sum without (pod) (a)",
            "sum by (x) (sum by (pod) (a))",
            "sum by (pod) (a) / on (x) sum by (x) (b)",
            "sum by (pod) (a) / sum(b)",
            "vector(1)",
            "hour()",
            "histogram_quantile(0.9, sum by (le) (rate(a_bucket[1m])))",
            "sum by (pod) (a{pod=\"\"})",
        ] {
            assert_eq!(elements(query).map(|(has, _)| has), Some(false), "{query}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        for query in ["1", "time()", "scalar(a)", "info(a)", "1 + 2"] {
            assert_eq!(elements(query), None, "{query}");
        }
    }
}
