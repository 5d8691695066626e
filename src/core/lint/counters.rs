//! What a query does to counters, ranges and histograms.

use std::time::Duration;

use promql_parser::parser::{
    Expr, VectorSelector,
    token::{T_COUNT, T_COUNT_VALUES, T_GROUP, T_LAND, T_LUNLESS, T_SUB},
    value::ValueType,
};

use super::{Report, Severity, elements, listed, resources::Series};
use crate::core::{duration, pointwise::BUCKETS, rules::RuleBase};

/// How deep a tree is looked into.
const MAX_DEPTH: usize = 100;

/// Two scrapes at the usual interval of operators' charts.
const USUAL_RANGE: Duration = Duration::from_secs(60);

/// Two scrapes at an interval that is short already.
const SHORT_RANGE: Duration = Duration::from_secs(30);

pub(super) fn check(rule: &RuleBase, tree: &Expr, series: &Series, report: &mut Report<'_>) {
    let mut found = Found::default();
    found.walk(tree, Reading::Value, 0);
    if !found.raw.is_empty() {
        // What stands for a series is no name to show.
        let is_counter = "looks like a counter by its name, and is read as it is: it only grows, until the process starts anew";
        let message = if found.raw.iter().all(|name| *name == series.name && !series.is_known) {
            format!("the series {is_counter}")
        } else {
            let names = found.raw.iter().filter(|name| series.is_known || **name != series.name);
            format!("{} {is_counter}", listed(names))
        };
        report.warning(
            rule.id.entry,
            "counter-without-rate",
            "metricsQuery",
            message,
            "read its rate, as in `rate(<<.Series>>{<<.LabelMatchers>>}[2m])`",
        );
    }
    if let Some(range) = found.shortest.filter(|range| *range < USUAL_RANGE) {
        let range_text = duration::prometheus(range);
        let message = format!(
            "a range of {range_text} has less than two samples if scrapes are further apart than half of it"
        );
        let help =
            "take a range of at least four scrape intervals, so that a lost scrape leaves a rate";
        let severity = if range < SHORT_RANGE { Severity::Warning } else { Severity::Info };
        report.add(severity, "short-range", rule.id.entry.key("metricsQuery"), message, help);
    }
    if found.rate_of_aggregation {
        report.warning(
            rule.id.entry,
            "rate-of-aggregation",
            "metricsQuery",
            "a rate is taken of an aggregation: where one of its counters starts anew the whole sum seems to",
            "aggregate the rates, as in `sum(rate(…))`",
        );
    }
    if found.has_buckets_without_le() {
        report.warning(
            rule.id.entry,
            "histogram-without-le",
            "metricsQuery",
            "`histogram_quantile` needs the label `le` of the buckets, which is aggregated away, so the query returns nothing",
            "add it to the grouping, as in `sum(rate(…)) by (<<.GroupBy>>, le)`",
        );
    } else if !series.is_known && found.without_le.contains(&series.name) {
        report.info(
            rule.id.entry,
            "histogram-without-le",
            "metricsQuery",
            "the label `le` is aggregated away: `histogram_quantile` needs it for series of buckets, and not for native histograms",
            "nothing, if the series are native histograms; otherwise add it to the grouping, as in `sum(rate(…)) by (<<.GroupBy>>, le)`",
        );
    }
}

/// Whether `histogram_quantile` reads buckets whose label `le` is aggregated away.
pub(super) fn has_buckets_without_le(tree: &Expr) -> bool {
    let mut found = Found::default();
    found.walk(tree, Reading::Value, 0);
    found.has_buckets_without_le()
}

/// How the result of a part of a query is used.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Reading {
    /// Its values matter.
    Value,
    /// Only how much they change, or that they are there at all.
    Change,
}

#[derive(Default)]
struct Found {
    /// Names that look like counters and are read without a rate.
    raw: Vec<String>,
    shortest: Option<Duration>,
    rate_of_aggregation: bool,
    /// Names of what `histogram_quantile` reads without the label of buckets.
    without_le: Vec<String>,
}

impl Found {
    /// Native histograms have no series of buckets, so only the names of buckets decide.
    fn has_buckets_without_le(&self) -> bool {
        self.without_le.iter().any(|name| name.ends_with("_bucket"))
    }

    fn walk(&mut self, tree: &Expr, reading: Reading, depth: usize) {
        if depth == MAX_DEPTH {
            return;
        }
        match tree {
            Expr::VectorSelector(selector) => self.selector(selector, reading),
            Expr::MatrixSelector(selector) => self.selector(&selector.vs, reading),
            Expr::Aggregate(aggregate) => {
                let is_there = matches!(aggregate.op.id(), T_COUNT | T_GROUP | T_COUNT_VALUES);
                let reading = if is_there { Reading::Change } else { reading };
                self.walk(&aggregate.expr, reading, depth + 1);
            }
            Expr::Binary(binary) => {
                let left = match binary.op.id() {
                    // Of two counters, as those of what has begun and of what has ended.
                    T_SUB if is_vector(&binary.lhs) && is_vector(&binary.rhs) => Reading::Change,
                    _ => reading,
                };
                let right = match binary.op.id() {
                    T_LAND | T_LUNLESS => Reading::Change,
                    _ => left,
                };
                self.walk(&binary.lhs, left, depth + 1);
                self.walk(&binary.rhs, right, depth + 1);
            }
            Expr::Call(call) => {
                let name = call.func.name;
                let reading = if reads_change(name) { Reading::Change } else { reading };
                for argument in &call.args.args {
                    if is_rate(name) {
                        self.rated(argument);
                    }
                    if name == "histogram_quantile" && is_vector(argument) {
                        self.buckets(argument);
                    }
                    self.walk(argument, reading, depth + 1);
                }
            }
            _ => {
                for inner in children(tree) {
                    self.walk(inner, reading, depth + 1);
                }
            }
        }
    }

    fn selector(&mut self, selector: &VectorSelector, reading: Reading) {
        if let Some(name) = name(selector)
            && reading == Reading::Value
            && is_counter(name)
            && !self.raw.iter().any(|known| known == name)
        {
            self.raw.push(name.to_owned());
        }
    }

    /// What a rate is taken of.
    fn rated(&mut self, argument: &Expr) {
        match argument {
            Expr::MatrixSelector(selector) => {
                let shortest =
                    self.shortest.map_or(selector.range, |known| known.min(selector.range));
                self.shortest = Some(shortest);
            }
            Expr::Subquery(subquery) => {
                let mut inner = &*subquery.expr;
                while let Expr::Paren(paren) = inner {
                    inner = &paren.expr;
                }
                self.rate_of_aggregation |= matches!(inner, Expr::Aggregate(_));
            }
            _ => {}
        }
    }

    /// What a quantile is taken of.
    fn buckets(&mut self, argument: &Expr) {
        let has_none = elements::of(argument)
            .is_some_and(|elements| !BUCKETS.iter().any(|bucket| elements.labels.has(bucket)));
        if has_none {
            let names = selectors(argument).into_iter().filter_map(name);
            self.without_le.extend(names.map(str::to_owned));
        }
    }
}

fn is_vector(tree: &Expr) -> bool {
    tree.value_type() == ValueType::Vector
}

pub(super) fn is_rate(function: &str) -> bool {
    matches!(function, "rate" | "irate" | "increase")
}

fn reads_change(function: &str) -> bool {
    is_rate(function)
        || matches!(
            function,
            "delta"
                | "idelta"
                | "deriv"
                | "changes"
                | "resets"
                | "count_over_time"
                | "present_over_time"
                | "absent"
                | "absent_over_time"
                | "timestamp"
                | "predict_linear"
                | "double_exponential_smoothing"
        )
}

/// The name of the series that a selector takes, where it says one.
pub(in crate::core) fn name(selector: &VectorSelector) -> Option<&str> {
    use promql_parser::label::{METRIC_NAME, MatchOp};
    let mut matchers = selector.matchers.matchers.iter();
    selector.name.as_deref().or_else(|| {
        let named = matchers.find(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal)?;
        Some(&named.value)
    })
}

fn children(tree: &Expr) -> Vec<&Expr> {
    match tree {
        Expr::Aggregate(aggregate) => {
            aggregate.param.iter().chain([&aggregate.expr]).map(|inner| &**inner).collect()
        }
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Call(call) => call.args.args.iter().map(|inner| &**inner).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    }
}

/// Everything in a tree, itself first.
pub(in crate::core) fn all(tree: &Expr) -> Vec<&Expr> {
    let mut all = Vec::new();
    let mut left = vec![tree];
    while let Some(next) = left.pop() {
        all.push(next);
        left.extend(children(next));
    }
    all
}

/// The selectors of a tree.
pub(in crate::core) fn selectors<'t>(tree: &'t Expr) -> Vec<&'t VectorSelector> {
    let selector = |tree: &'t Expr| match tree {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(selector) => Some(&selector.vs),
        _ => None,
    };
    all(tree).into_iter().filter_map(selector).collect()
}

/// Whether a selector in a tree looks like one of a counter.
pub(super) fn reads_counter(tree: &Expr) -> bool {
    selectors(tree).into_iter().any(|selector| name(selector).is_some_and(is_counter))
}

fn is_counter(name: &str) -> bool {
    name.ends_with("_total")
}

/// Whether a rate is taken anywhere in a tree.
pub(in crate::core) fn has_rate(tree: &Expr) -> bool {
    all(tree).into_iter().any(|tree| matches!(tree, Expr::Call(call) if is_rate(call.func.name)))
}
