//! The range that a query looks over, for `windowSeconds`.

use promql_parser::{
    parser::{Expr, parse},
    util::{ExprVisitor, walk_expr},
};

/// The range of a query's range selectors and subqueries in seconds, where the parser knows the query, it has one, and all of
/// them are of the same length.
pub fn seconds(promql: &str) -> Option<i64> {
    let expression = parse(promql).ok()?;
    let mut ranges = Ranges::default();
    walk_expr(&mut ranges, &expression).ok()?;
    match ranges.seconds.as_slice() {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Some(*first),
        _ => None,
    }
}

#[derive(Default)]
struct Ranges {
    seconds: Vec<i64>,
}

impl ExprVisitor for Ranges {
    type Error = ();

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
        let range = match expression {
            Expr::MatrixSelector(selector) => Some(selector.range),
            Expr::Subquery(subquery) => Some(subquery.range),
            _ => None,
        };
        if let Some(range) = range {
            self.seconds.push(i64::try_from(range.as_secs()).map_err(drop)?);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_known_where_there_is_one() {
        let cases = [
            ("sum(rate(a{b=\"c\"}[1m])) by (pod)", Some(60)),
            ("rate(a[5m]) / rate(b[5m])", Some(300)),
            ("rate(a[5m]) / rate(b[1m])", None),
            ("max_over_time(a[10m])", Some(600)),
            ("sum(a)", None),
            ("not promql [", None),
        ];
        for (promql, wanted) in cases {
            assert_eq!(seconds(promql), wanted, "{promql}");
        }
    }
}
