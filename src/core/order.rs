//! Whether a query puts its samples in an order.

use promql_parser::parser::Expr;

use super::promql::parse;

/// Whether `sort` or one of its relatives stands outermost, around everything else. What the parser does not know is taken for
/// not sorted.
pub fn is_sorted(promql: &str) -> bool {
    let Ok(mut expression) = parse(promql) else { return false };
    while let Expr::Paren(paren) = expression {
        expression = *paren.expr;
    }
    let Expr::Call(call) = expression else { return false };
    matches!(call.func.name, "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_outermost_orders() {
        for (promql, wanted) in [
            ("sort(a)", true),
            ("sort_desc(a{b=\"c\"})", true),
            ("((sort_by_label(sum by (pod, q) (a), \"q\")))", true),
            ("sort_by_label_desc(a, \"q\")", true),
            ("a", false),
            ("sum by (pod) (sort(a))", false),
            ("sort(a) + 1", false),
            ("abs(sort(a))", false),
            ("topk(1, a)", false),
            ("sort(", false),
        ] {
            assert_eq!(is_sorted(promql), wanted, "{promql}");
        }
    }
}
