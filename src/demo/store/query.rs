//! Instant queries: tsink evaluates, and where its answer is not what Prometheus 3 would give, this module mends it.
//!
//! - tsink keeps the metric's name where Prometheus drops it (`rate` and most functions, the minus sign). The name is
//!   taken off again, and label sets that then collide are an error, as in Prometheus.
//! - tsink does not know `by (__name__)`. Such an aggregation, at the top of the query, is computed here.
//!
//! Not mended, because the demo has no use for it: `histogram_quantile` above the highest finite bound, one-to-one
//! matching that keeps labels outside `on`, the smoothing functions, and names dropped in one operand of `or` only.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql_parser::parser::token::{
    T_AVG, T_BOTTOMK, T_COUNT, T_GROUP, T_LIMIT_RATIO, T_LIMITK, T_LOR, T_MAX, T_MIN, T_SUM, T_TOPK,
};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{AggregateExpr, BinaryExpr, Expr, LabelModifier};
use tsink::promql::{Engine, PromqlValue};
use tsink::{Storage, TimestampPrecision};

use super::{Answer, Labels, StoreError, labels};

const NAME: &str = "__name__";

/// Answers `promql` at `at` (milliseconds since 1970).
pub(super) fn answer(
    storage: &Arc<dyn Storage>,
    promql: &str,
    at: i64,
) -> Result<Answer, StoreError> {
    let mut expr = promql_parser::parser::parse(promql).map_err(StoreError::Parse)?;
    while let Expr::Paren(inner) = expr {
        expr = *inner.expr;
    }
    let engine = Engine::with_precision(Arc::clone(storage), TimestampPrecision::Milliseconds);
    if let Some((aggregation, by)) = by_name(&expr) {
        let inner = evaluate(&engine, &aggregation.expr, &aggregation.expr.to_string(), at)?;
        return aggregate(aggregation, by, inner);
    }
    evaluate(&engine, &expr, promql, at)
}

fn evaluate(engine: &Engine, expr: &Expr, promql: &str, at: i64) -> Result<Answer, StoreError> {
    let value = engine
        .instant_query(promql, at)
        .map_err(|error| StoreError::Execution(error.to_string()))?;
    let keeps = keeps_name(expr);
    let shown = |metric: String, rest| labels(if keeps { &metric } else { "" }, rest);
    match value {
        PromqlValue::Scalar(value, _) => Ok(Answer::Scalar(value)),
        PromqlValue::String(text, _) => Ok(Answer::Text(text)),
        PromqlValue::RangeVector(series) => Ok(Answer::Matrix(
            series.into_iter().map(|s| (shown(s.metric, s.labels), s.samples)).collect(),
        )),
        PromqlValue::InstantVector(samples) => {
            let vector: Vec<(Labels, f64)> =
                samples.into_iter().map(|s| (shown(s.metric, s.labels), s.value)).collect();
            let distinct: BTreeMap<&Labels, f64> = vector.iter().map(|(l, v)| (l, *v)).collect();
            if distinct.len() < vector.len() {
                return Err(StoreError::Execution(
                    "vector cannot contain metrics with the same labelset".to_owned(),
                ));
            }
            Ok(Answer::Vector(vector))
        }
    }
}

/// Whether Prometheus leaves the metric's name on the result.
fn keeps_name(expr: &Expr) -> bool {
    match expr {
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => true,
        Expr::Paren(inner) => keeps_name(&inner.expr),
        Expr::Subquery(inner) => keeps_name(&inner.expr),
        Expr::Binary(binary) => binary_keeps_name(binary),
        Expr::Aggregate(aggregation) => {
            let picks = [T_TOPK, T_BOTTOMK, T_LIMITK, T_LIMIT_RATIO];
            picks.contains(&aggregation.op.id()) && keeps_name(&aggregation.expr)
        }
        Expr::Call(call) => {
            let passes_on = [
                "last_over_time",
                "first_over_time",
                "sort",
                "sort_desc",
                "sort_by_label",
                "sort_by_label_desc",
                "label_replace",
                "label_join",
                "info",
            ];
            passes_on.contains(&call.func.name)
                && call.args.args.first().is_some_and(|arg| keeps_name(arg))
        }
        _ => false,
    }
}

fn binary_keeps_name(binary: &BinaryExpr) -> bool {
    let BinaryExpr { op, lhs, rhs, .. } = binary;
    if op.is_set_operator() {
        return keeps_name(lhs) && (op.id() != T_LOR || keeps_name(rhs));
    }
    if !op.is_comparison_operator() || binary.return_bool() || binary.is_matching_on() {
        return false;
    }
    if lhs.value_type() == ValueType::Scalar { keeps_name(rhs) } else { keeps_name(lhs) }
}

/// The aggregation and its labels, when the name is one of them.
fn by_name(expr: &Expr) -> Option<(&AggregateExpr, &[String])> {
    let Expr::Aggregate(aggregation) = expr else {
        return None;
    };
    match &aggregation.modifier {
        Some(LabelModifier::Include(by)) if by.labels.iter().any(|label| label == NAME) => {
            Some((aggregation, &by.labels))
        }
        _ => None,
    }
}

fn aggregate(
    aggregation: &AggregateExpr,
    by: &[String],
    inner: Answer,
) -> Result<Answer, StoreError> {
    let Answer::Vector(samples) = inner else {
        return Err(StoreError::Execution("an aggregation needs an instant vector".to_owned()));
    };
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for (mut labels, value) in samples {
        labels.retain(|label, _| by.contains(label));
        groups.entry(labels).or_default().push(value);
    }
    let fold: fn(&[f64]) -> f64 = match aggregation.op.id() {
        T_GROUP => |_| 1.0,
        T_COUNT => count,
        T_SUM => |values| values.iter().sum(),
        T_AVG => |values| values.iter().sum::<f64>() / count(values),
        T_MIN => |values| values.iter().copied().fold(f64::NAN, f64::min),
        T_MAX => |values| values.iter().copied().fold(f64::NAN, f64::max),
        _ => {
            return Err(StoreError::Execution(format!(
                "the demo's store does not know {} by ({NAME})",
                aggregation.op
            )));
        }
    };
    Ok(Answer::Vector(groups.into_iter().map(|(labels, values)| (labels, fold(&values))).collect()))
}

fn count(values: &[f64]) -> f64 {
    values.iter().map(|_| 1.0).sum()
}
