//! Instant queries, as Prometheus 3 answers them, over the part of PromQL that rules like the demo's use:
//!
//! - selectors with `offset`, numbers, parentheses, the minus sign;
//! - `+ - * / % ^` and comparisons, one-to-one between vectors (with `on` or `ignoring`), with and without `bool`;
//! - `sum`, `avg`, `min`, `max`, `count` and `group`, with `by` or `without`;
//! - `rate`, `increase` and `avg`, `min`, `max`, `sum`, `count` and `last` `_over_time`;
//! - `abs`, `clamp_min`, `clamp_max` and `vector`.

use std::collections::BTreeMap;

use promql_parser::label::METRIC_NAME;
use promql_parser::parser::token::{
    T_ADD, T_AVG, T_COUNT, T_DIV, T_EQLC, T_GROUP, T_GTE, T_GTR, T_LSS, T_LTE, T_MAX, T_MIN, T_MOD,
    T_MUL, T_NEQ, T_POW, T_SUB, T_SUM, TokenType,
};
use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, Offset,
    VectorMatchCardinality, VectorSelector,
};

use super::{Answer, Labels, Samples, StoreError, is_stale, matches};

/// Milliseconds that a selector looks back for a sample: Prometheus' default.
const LOOKBACK: i64 = 5 * 60 * 1_000;

type Series = BTreeMap<Labels, Samples>;
type Vector = Vec<(Labels, f64)>;

/// Answers `expr` at `at` (milliseconds since 1970).
pub(super) fn evaluate(series: &Series, expr: &Expr, at: i64) -> Result<Answer, StoreError> {
    match expr {
        Expr::NumberLiteral(number) => Ok(Answer::Scalar(number.val)),
        Expr::Paren(inner) => evaluate(series, &inner.expr, at),
        Expr::VectorSelector(selector) => Ok(Answer::Vector(instant(series, selector, at))),
        Expr::Unary(minus) => match evaluate(series, &minus.expr, at)? {
            Answer::Scalar(value) => Ok(Answer::Scalar(-value)),
            Answer::Vector(vector) => each(vector, |value| -value),
        },
        Expr::Aggregate(aggregation) => aggregate(series, aggregation, at),
        Expr::Binary(binary) => combine(series, binary, at),
        Expr::Call(call) => apply(series, call, at),
        _ => Err(unknown(expr)),
    }
}

fn unknown(what: impl std::fmt::Display) -> StoreError {
    StoreError::Execution(format!("the demo's store does not evaluate {what}"))
}

fn vector(series: &Series, expr: &Expr, at: i64) -> Result<Vector, StoreError> {
    match evaluate(series, expr, at)? {
        Answer::Vector(vector) => Ok(vector),
        Answer::Scalar(_) => Err(unknown(format!("{expr} as a vector"))),
    }
}

fn scalar(series: &Series, expr: &Expr, at: i64) -> Result<f64, StoreError> {
    match evaluate(series, expr, at)? {
        Answer::Scalar(value) => Ok(value),
        Answer::Vector(_) => Err(unknown(format!("{expr} as a scalar"))),
    }
}

/// The time that an `offset` moves `at` to.
fn moved(at: i64, offset: Option<&Offset>) -> i64 {
    let milliseconds =
        |duration: &std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match offset {
        None => at,
        Some(Offset::Pos(back)) => at.saturating_sub(milliseconds(back)),
        Some(Offset::Neg(ahead)) => at.saturating_add(milliseconds(ahead)),
    }
}

fn instant(series: &Series, selector: &VectorSelector, at: i64) -> Vector {
    let at = moved(at, selector.offset.as_ref());
    let matching = series.iter().filter(|(labels, _)| matches(selector, labels));
    let last = matching.filter_map(|(labels, samples)| {
        let (time, value) = *samples.iter().rfind(|(time, _)| *time <= at)?;
        (time > at - LOOKBACK && !is_stale(value)).then(|| (labels.clone(), value))
    });
    last.collect()
}

/// The samples of `(at - range, at]`, without staleness markers.
fn range(series: &Series, selector: &MatrixSelector, at: i64) -> Vec<(Labels, Window)> {
    let end = moved(at, selector.vs.offset.as_ref());
    let start = end.saturating_sub(i64::try_from(selector.range.as_millis()).unwrap_or(i64::MAX));
    let matching = series.iter().filter(|(labels, _)| matches(&selector.vs, labels));
    let windows = matching.map(|(labels, samples)| {
        let inside =
            |(time, value): &&(i64, f64)| *time > start && *time <= end && !is_stale(*value);
        let samples = samples.iter().filter(inside).copied().collect();
        (labels.clone(), Window { start, end, samples })
    });
    windows.filter(|(_, window)| !window.samples.is_empty()).collect()
}

/// One series' samples within a range, in milliseconds.
struct Window {
    start: i64,
    end: i64,
    samples: Vec<(i64, f64)>,
}

impl Window {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|(_, value)| *value)
    }

    /// How much a counter grew, extrapolated to the whole window as Prometheus does (`extrapolatedRate` in its
    /// promql/functions.go). None for fewer than two samples.
    fn increase(&self) -> Option<f64> {
        let [(first_time, first), .., (last_time, last)] = self.samples.as_slice() else {
            return None;
        };
        let resets = self.samples.iter().zip(self.samples.iter().skip(1));
        let before_resets: f64 = resets
            .filter(|((_, before), (_, after))| after < before)
            .map(|((_, before), _)| before)
            .sum();
        let growth = last - first + before_resets;

        let sampled = seconds(last_time - first_time);
        let between = sampled / (count(self.values()) - 1.0);
        let border =
            |distance: f64| if distance < between * 1.1 { distance } else { between / 2.0 };
        let mut to_start = border(seconds(first_time - self.start));
        if growth > 0.0 && *first >= 0.0 {
            // A counter was not below zero before its first sample.
            to_start = to_start.min(sampled * (first / growth));
        }
        let to_end = border(seconds(self.end - last_time));
        Some(growth * (sampled + to_start + to_end) / sampled)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a range within the store's history fits the 52 bits"
)]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

fn count(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|_| 1.0).sum()
}

fn apply(series: &Series, call: &Call, at: i64) -> Result<Answer, StoreError> {
    let arguments: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
    match (call.func.name, arguments.as_slice()) {
        ("abs", [of]) => each(vector(series, of, at)?, f64::abs),
        ("clamp_min", [of, least]) => {
            let least = scalar(series, least, at)?;
            each(vector(series, of, at)?, |value| value.max(least))
        }
        ("clamp_max", [of, most]) => {
            let most = scalar(series, most, at)?;
            each(vector(series, of, at)?, |value| value.min(most))
        }
        ("vector", [of]) => Ok(Answer::Vector(vec![(Labels::new(), scalar(series, of, at)?)])),
        (name, [Expr::MatrixSelector(selector)]) => {
            let fold = over_time(name).ok_or_else(|| unknown(name))?;
            let windows = range(series, selector, at).into_iter();
            let folded: Vector =
                windows.filter_map(|(labels, window)| Some((labels, fold(&window)?))).collect();
            if name == "last_over_time" {
                return Ok(Answer::Vector(folded));
            }
            each(folded, |value| value)
        }
        (name, _) => Err(unknown(name)),
    }
}

fn over_time(name: &str) -> Option<fn(&Window) -> Option<f64>> {
    Some(match name {
        "rate" => |window| Some(window.increase()? / seconds(window.end - window.start)),
        "increase" => Window::increase,
        "avg_over_time" => |window| Some(window.values().sum::<f64>() / count(window.values())),
        "count_over_time" => |window| Some(count(window.values())),
        "last_over_time" => |window| window.values().last(),
        "max_over_time" => |window| window.values().reduce(f64::max),
        "min_over_time" => |window| window.values().reduce(f64::min),
        "sum_over_time" => |window| Some(window.values().sum()),
        _ => return None,
    })
}

/// Changes every value and drops the metric's name.
fn each(vector: Vector, change: impl Fn(f64) -> f64) -> Result<Answer, StoreError> {
    let changed = vector.into_iter().map(|(labels, value)| (unnamed(labels), change(value)));
    distinct(changed.collect())
}

fn unnamed(mut labels: Labels) -> Labels {
    labels.remove(METRIC_NAME);
    labels
}

/// Label sets that collide without their names are an error, as in Prometheus.
fn distinct(vector: Vector) -> Result<Answer, StoreError> {
    let keys: BTreeMap<&Labels, f64> = vector.iter().map(|(l, v)| (l, *v)).collect();
    if keys.len() < vector.len() {
        let message = "vector cannot contain metrics with the same labelset";
        return Err(StoreError::Execution(message.to_owned()));
    }
    Ok(Answer::Vector(vector))
}

fn aggregate(series: &Series, aggregation: &AggregateExpr, at: i64) -> Result<Answer, StoreError> {
    let fold: fn(&[f64]) -> f64 = match aggregation.op.id() {
        T_SUM => |values| values.iter().sum(),
        T_AVG => |values| values.iter().sum::<f64>() / count(values.iter().copied()),
        T_MIN => |values| values.iter().copied().fold(f64::NAN, f64::min),
        T_MAX => |values| values.iter().copied().fold(f64::NAN, f64::max),
        T_COUNT => |values| count(values.iter().copied()),
        T_GROUP => |_| 1.0,
        _ => return Err(unknown(aggregation.op)),
    };
    let mut groups = BTreeMap::<Labels, Vec<f64>>::new();
    for (labels, value) in vector(series, &aggregation.expr, at)? {
        let group = match &aggregation.modifier {
            None => Labels::new(),
            Some(LabelModifier::Include(by)) => only(labels, &by.labels),
            Some(LabelModifier::Exclude(without)) => except(labels, &without.labels),
        };
        groups.entry(group).or_default().push(value);
    }
    Ok(Answer::Vector(groups.into_iter().map(|(labels, values)| (labels, fold(&values))).collect()))
}

fn only(mut labels: Labels, kept: &[String]) -> Labels {
    labels.retain(|label, _| kept.contains(label));
    labels
}

fn except(labels: Labels, dropped: &[String]) -> Labels {
    let mut labels = unnamed(labels);
    labels.retain(|label, _| !dropped.contains(label));
    labels
}

fn combine(series: &Series, binary: &BinaryExpr, at: i64) -> Result<Answer, StoreError> {
    let operator = Operator::of(binary)?;
    let lhs = evaluate(series, &binary.lhs, at)?;
    let rhs = evaluate(series, &binary.rhs, at)?;
    match (lhs, rhs) {
        (Answer::Scalar(lhs), Answer::Scalar(rhs)) => {
            Ok(Answer::Scalar(operator.compute(lhs, rhs, lhs).unwrap_or_default()))
        }
        (Answer::Vector(lhs), Answer::Scalar(rhs)) => {
            let pairs = lhs.into_iter().map(|(labels, lhs)| (labels, lhs, rhs, lhs));
            operator.compute_all(pairs)
        }
        (Answer::Scalar(lhs), Answer::Vector(rhs)) => {
            let pairs = rhs.into_iter().map(|(labels, rhs)| (labels, lhs, rhs, rhs));
            operator.compute_all(pairs)
        }
        (Answer::Vector(lhs), Answer::Vector(rhs)) => {
            let pairs = matched(binary.modifier.as_ref(), lhs, rhs)?;
            operator
                .compute_all(pairs.into_iter().map(|(labels, lhs, rhs)| (labels, lhs, rhs, lhs)))
        }
    }
}

/// The pairs of values whose labels match one to one, with the labels of the result.
fn matched(
    modifier: Option<&BinModifier>,
    lhs: Vector,
    rhs: Vector,
) -> Result<Vec<(Labels, f64, f64)>, StoreError> {
    if modifier.is_some_and(|m| m.card != VectorMatchCardinality::OneToOne) {
        return Err(unknown("group_left, group_right and set operators"));
    }
    let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
    let key = |labels: Labels| match matching {
        None => unnamed(labels),
        Some(LabelModifier::Include(on)) => only(labels, &on.labels),
        Some(LabelModifier::Exclude(ignoring)) => except(labels, &ignoring.labels),
    };
    let many = || {
        let message =
            "many-to-many matching not allowed: matching labels must be unique on one side";
        StoreError::Execution(message.to_owned())
    };
    let mut right = BTreeMap::new();
    for (labels, value) in rhs {
        if right.insert(key(labels), value).is_some() {
            return Err(many());
        }
    }
    let mut left = BTreeMap::new();
    for (labels, value) in lhs {
        if left.insert(key(labels.clone()), (labels, value)).is_some() {
            return Err(many());
        }
    }
    let pairs = left.into_iter().filter_map(|(key, (labels, lhs))| {
        let rhs = *right.get(&key)?;
        // Without `on` and `ignoring` a comparison keeps its left side, name included.
        Some((if matching.is_none() { labels } else { key }, lhs, rhs))
    });
    Ok(pairs.collect())
}

/// What an operator does with two numbers.
enum Operator {
    /// A new value, without the metric's name.
    Arithmetic(fn(f64, f64) -> f64),
    /// 1 or 0, without the metric's name.
    Bool(fn(f64, f64) -> bool),
    /// The sample that was compared, or nothing.
    Filter(fn(f64, f64) -> bool),
}

impl Operator {
    #[expect(clippy::float_cmp, reason = "PromQL compares all bits")]
    fn of(binary: &BinaryExpr) -> Result<Self, StoreError> {
        let op: TokenType = binary.op;
        let arithmetic: fn(f64, f64) -> f64 = match op.id() {
            T_ADD => |a, b| a + b,
            T_SUB => |a, b| a - b,
            T_MUL => |a, b| a * b,
            T_DIV => |a, b| a / b,
            T_MOD => |a, b| a % b,
            T_POW => f64::powf,
            id => {
                let holds: fn(f64, f64) -> bool = match id {
                    T_EQLC => |a, b| a == b,
                    T_NEQ => |a, b| a != b,
                    T_GTR => |a, b| a > b,
                    T_GTE => |a, b| a >= b,
                    T_LSS => |a, b| a < b,
                    T_LTE => |a, b| a <= b,
                    _ => return Err(unknown(op)),
                };
                return Ok(if binary.return_bool() {
                    Self::Bool(holds)
                } else {
                    Self::Filter(holds)
                });
            }
        };
        Ok(Self::Arithmetic(arithmetic))
    }

    /// `sample` is the value that a filter lets through.
    fn compute(&self, lhs: f64, rhs: f64, sample: f64) -> Option<f64> {
        match self {
            Self::Arithmetic(compute) => Some(compute(lhs, rhs)),
            Self::Bool(holds) => Some(f64::from(u8::from(holds(lhs, rhs)))),
            Self::Filter(holds) => holds(lhs, rhs).then_some(sample),
        }
    }

    fn compute_all(
        &self,
        pairs: impl Iterator<Item = (Labels, f64, f64, f64)>,
    ) -> Result<Answer, StoreError> {
        let keeps_name = matches!(self, Self::Filter(_));
        let computed = pairs.filter_map(|(labels, lhs, rhs, sample)| {
            let value = self.compute(lhs, rhs, sample)?;
            Some((if keeps_name { labels } else { unnamed(labels) }, value))
        });
        distinct(computed.collect())
    }
}
