//! The labels of the elements of a query's result, and those that identify an element.
//!
//! What is said is true of every result: labels that are not in `labels` are on no element, and no two elements agree in all
//! labels of one of the `keys`. Where nothing is known, nothing is said.

use std::collections::BTreeMap;

use promql_parser::{
    label::{METRIC_NAME, MatchOp, Matcher},
    parser::{
        AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
        VectorMatchFillValues, VectorSelector,
        token::{
            T_BOTTOMK, T_COUNT_VALUES, T_LAND, T_LIMIT_RATIO, T_LIMITK, T_LOR, T_LUNLESS, T_TOPK,
        },
        value::ValueType,
    },
};

use super::{labels::Labels, selectors};
use crate::core::pointwise::{BUCKETS, Works, works};

/// How deep a tree may be.
const MAX_DEPTH: usize = 100;

/// How many keys are remembered: each copy of a label may double their number.
const MAX_KEYS: usize = 16;

/// The elements of a vector.
#[derive(Clone, Debug)]
pub(super) struct Elements {
    /// The labels that an element may have.
    pub(super) labels: Labels,
    /// Labels that have the same value on all elements.
    constant: BTreeMap<String, String>,
    /// Matchers of labels that all elements fulfil.
    limits: Vec<Matcher>,
    /// No two elements agree in all labels of any of these: a copy of a label identifies as that one does.
    keys: Vec<Labels>,
}

impl Elements {
    fn new(labels: Labels, mut constant: BTreeMap<String, String>) -> Self {
        constant.retain(|label, _| labels.has(label));
        let key = labels.minus(&Labels::these(constant.keys()));
        Self { labels, constant, limits: Vec::new(), keys: vec![key] }
    }

    /// Limited by matchers, as far as they are about labels that are there.
    fn within<'m>(mut self, limits: impl IntoIterator<Item = &'m Matcher>) -> Self {
        let limits = limits.into_iter().filter(|limit| self.labels.has(&limit.name));
        self.limits = limits.cloned().collect();
        self
    }

    /// Identified by more keys. Of too many the first ones stay.
    fn and_by(mut self, keys: impl IntoIterator<Item = Labels>) -> Self {
        self.keys.extend(keys);
        self.keys.truncate(MAX_KEYS);
        self
    }

    /// Whether elements that agree in these labels are one.
    pub(super) fn are_one_by(&self, labels: &Labels) -> bool {
        self.keys.iter().any(|key| key.is_within(labels))
    }

    /// One element at most, without labels.
    fn single() -> Self {
        Self::new(Labels::none(), BTreeMap::new())
    }

    /// With only some of the labels, which still identify the elements.
    fn kept(&self, labels: &Labels) -> Self {
        Self::new(self.labels.and(labels), self.constant.clone()).within(&self.limits)
    }

    /// What all of these elements and all of the others fulfil of one of the labels, and no value fulfils both. Nothing of matchers that
    /// are about what is asked for.
    pub(super) fn conflict<'e>(
        &'e self,
        other: &'e Self,
        labels: &Labels,
    ) -> Option<[&'e Matcher; 2]> {
        let is_fixed = |limit: &&Matcher| {
            limit.name != METRIC_NAME && labels.has(&limit.name) && !selectors::is_asked_for(limit)
        };
        self.limits.iter().filter(is_fixed).find_map(|one| {
            let excludes = |other: &&Matcher| {
                is_fixed(other)
                    && (selectors::excludes(one, other) || selectors::excludes(other, one))
            };
            other.limits.iter().find(excludes).map(|other| [one, other])
        })
    }

    fn nameless(&self) -> Self {
        let keys = self.keys.iter().map(|key| key.clone().without(METRIC_NAME)).collect();
        Self { keys, ..self.kept(&Labels::all().without(METRIC_NAME)) }
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
    Elements::new(labels, constant).within(&selector.matchers.matchers)
}

fn of_call(call: &Call, inner: impl Fn(&Expr) -> Option<Elements>) -> Option<Elements> {
    let name = call.func.name;
    match name {
        "vector" => return Some(Elements::single()),
        // Their labels are those that the selector names.
        "absent" | "absent_over_time" => {
            return Some(Elements {
                keys: vec![Labels::none()],
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
    let limits = of.limits.iter().filter(|limit| limit.name != to);
    let written = Elements::new(of.labels.clone().with(to), constant).within(limits);
    // What is written over identifies nothing anymore.
    let mut keys: Vec<_> = of.keys.iter().filter(|key| !key.has(to)).cloned().collect();
    if keys.is_empty() {
        keys.clone_from(&written.keys);
    }
    let of_copy = |from: &str| -> Vec<_> {
        let copied = keys.iter().filter(|key| key.has(from)).cloned();
        copied.map(|key| key.without(from).with(to)).collect()
    };
    let copies = copy_of.map(of_copy).unwrap_or_default();
    Elements { keys, ..written }.and_by(copies)
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
            Some(Expr::NumberLiteral(one)) if one.val < 2.0 => of.and_by(grouped.keys),
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
        let keys = self.keys.iter().map(|key| key.clone().with(label)).collect();
        Self { keys, ..self }
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
            let matched = Elements::new(left.labels.and(&right.labels).and(&matching), constant)
                .within(left.limits.iter().chain(&right.limits));
            // Each element comes from one of either side.
            let keys = left.keys.into_iter().chain(right.keys);
            let keys: Vec<_> = keys.filter(|key| key.is_within(&matched.labels)).collect();
            Some(matched.and_by(keys))
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
    let pairs = left.keys.iter().flat_map(|one| right.keys.iter().map(move |other| (one, other)));
    let keys = pairs.map(|(one, other)| one.clone().or(other).or(&matched)).take(MAX_KEYS);
    let limits = left.limits.iter().filter(|limit| right.limits.contains(limit));
    Elements { labels, constant, limits: limits.cloned().collect(), keys: keys.collect() }
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
    let is_included = |limit: &&Matcher| included.contains(&limit.name);
    let limits = many.limits.iter().filter(|limit| !is_included(limit));
    let limits = limits.chain(one.limits.iter().filter(is_included));
    let result = Elements::new(labels, constant).within(limits);
    let is_kept = |key: &&Labels| !included.iter().any(|label| key.has(label));
    let keys: Vec<_> = many.keys.iter().filter(is_kept).cloned().collect();
    result.and_by(keys)
}

#[cfg(test)]
mod tests;
