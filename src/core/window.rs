//! How far back a query looks: the range that `windowSeconds` says, and the age of the oldest sample that it reads.

use std::time::Duration;

use promql_parser::{
    parser::{Expr, Offset},
    util::{ExprVisitor, walk_expr},
};

use super::promql::parse;

/// The range of a query's range selectors and subqueries in seconds, where the parser knows the query, it has one, and all of
/// them are of the same length.
pub fn seconds(promql: &str) -> Option<i64> {
    let ranges = Ranges::of(promql)?;
    let mut seconds = ranges.0.iter().map(|range| i64::try_from(range.as_secs()).ok());
    let first = seconds.next()??;
    seconds.all(|other| other == Some(first)).then_some(first)
}

/// The shortest range of a query's range selectors and subqueries, where the parser knows the query and it has one.
pub fn shortest(promql: &str) -> Option<Duration> {
    Ranges::of(promql)?.0.into_iter().min()
}

/// The age of the oldest sample that the query reads, where the parser knows the query: ranges, offsets and subqueries add up,
/// and a selector without a range takes the last sample of `lookback`. Times by `@` are not looked at.
pub fn oldest(promql: &str, lookback: Duration) -> Option<Duration> {
    let mut oldest = Oldest { lookback, outer: Vec::new(), age: Duration::ZERO };
    walk_expr(&mut oldest, &parse(promql).ok()?).ok()?;
    Some(oldest.age)
}

struct Oldest {
    lookback: Duration,
    /// What the subqueries add that stand around.
    outer: Vec<Duration>,
    age: Duration,
}

impl ExprVisitor for Oldest {
    type Error = ();

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
        let (range, offset) = match expression {
            Expr::VectorSelector(selector) => (self.lookback, &selector.offset),
            Expr::MatrixSelector(selector) => (selector.range, &selector.vs.offset),
            Expr::Subquery(subquery) => (subquery.range, &subquery.offset),
            _ => return Ok(true),
        };
        let offset = match offset {
            Some(Offset::Pos(offset)) => *offset,
            // It looks ahead.
            Some(Offset::Neg(_)) | None => Duration::ZERO,
        };
        let outer = self.outer.last().copied().unwrap_or_default();
        let age = outer.saturating_add(range).saturating_add(offset);
        if matches!(expression, Expr::Subquery(_)) {
            self.outer.push(age);
        }
        self.age = self.age.max(age);
        Ok(true)
    }

    fn post_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
        if matches!(expression, Expr::Subquery(_)) {
            self.outer.pop();
        }
        Ok(true)
    }
}

/// The ranges of a query.
#[derive(Default)]
struct Ranges(Vec<Duration>);

impl Ranges {
    fn of(promql: &str) -> Option<Self> {
        let mut ranges = Self::default();
        walk_expr(&mut ranges, &parse(promql).ok()?).ok()?;
        Some(ranges)
    }
}

impl ExprVisitor for Ranges {
    type Error = ();

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
        match expression {
            Expr::MatrixSelector(selector) => self.0.push(selector.range),
            Expr::Subquery(subquery) => self.0.push(subquery.range),
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sample_is_known() {
        let cases = [
            ("sum(a)", Some(300)),
            ("1", Some(0)),
            ("rate(a[1m])", Some(60)),
            ("rate(a[1m]) / b", Some(300)),
            ("a offset 1h", Some(3900)),
            ("a offset -1h", Some(300)),
            ("rate(a[10m] offset 1h)", Some(4200)),
            ("max_over_time(rate(a[10m])[1h:1m] offset 30m)", Some(6000)),
            ("max_over_time(a[1h:]) + sum(b)", Some(3900)),
            ("sum(b) + avg_over_time(max_over_time(a[1h:])[2h:])", Some(11_100)),
            ("not promql [", None),
        ];
        for (promql, wanted) in cases {
            let oldest = oldest(promql, Duration::from_secs(300));
            assert_eq!(oldest.map(|oldest| oldest.as_secs()), wanted, "{promql}");
        }
    }

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
