//! Whether a query is limited to a namespace, by its syntax tree: it does not rely on how the query was written.

use promql_parser::{
    label::MatchOp,
    parser::{Expr, VectorSelector},
};

/// Whether every selector of the query requires the label to have the value, and the query reads nothing but what its selectors
/// select.
pub fn every_selector_requires(query: &Expr, label: &str, value: &str) -> bool {
    let every = |query: &Expr| every_selector_requires(query, label, value);
    match query {
        Expr::VectorSelector(selector) => requires(selector, label, value),
        Expr::MatrixSelector(selector) => requires(&selector.vs, label, value),
        Expr::Aggregate(aggregate) => {
            every(&aggregate.expr) && aggregate.param.as_deref().is_none_or(every)
        }
        Expr::Binary(binary) => every(&binary.lhs) && every(&binary.rhs),
        // It reads series that no selector of the query names.
        Expr::Call(call) if call.func.name == "info" => false,
        Expr::Call(call) => call.args.args.iter().all(|argument| every(argument)),
        Expr::Unary(unary) => every(&unary.expr),
        Expr::Paren(paren) => every(&paren.expr),
        Expr::Subquery(subquery) => every(&subquery.expr),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => true,
        Expr::Extension(_) => false,
    }
}

fn requires(selector: &VectorSelector, label: &str, value: &str) -> bool {
    selector.matchers.or_matchers.is_empty()
        && selector.matchers.matchers.iter().any(|matcher| {
            matcher.op == MatchOp::Equal && matcher.name == label && matcher.value == value
        })
}
