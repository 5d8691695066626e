//! The operands of the operation that a query without a result consists of.
//!
//! Where the result of `a / b` is empty, it matters whether a side is empty, too: else no element of one matches one of the other.

use promql_parser::parser::{BinaryExpr, Expr, LabelModifier, token, value::ValueType};

use crate::core::{
    lint::{counters, parsed},
    promql,
};

/// The most names of a side that are looked for.
const MAX_NAMES: usize = 3;

/// How deep a tree is looked into.
const MAX_DEPTH: usize = 100;

/// An operation of two vectors that match, in a query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    /// The operator, with `on` or `ignoring` if it has them.
    pub operator: String,
    /// The operation itself. A comparison returns 0 or 1 in it, so that it leaves nothing out that matches.
    pub query: String,
    /// What is on its left side and on its right side.
    pub sides: [Side; 2],
}

/// A side of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Side {
    /// Its query.
    pub query: String,
    /// The names of series that it reads, the first ones.
    pub names: Vec<String>,
}

/// The outermost operation of a query; nothing where there is none, or the query cannot be taken apart without a change.
pub fn operation(query: &str) -> Option<Operation> {
    let tree = parsed(query).ok()?;
    let binary = outermost(&tree, 0)?;
    let mut whole = binary.clone();
    if binary.op.is_comparison_operator() {
        whole.modifier.get_or_insert_default().return_bool = true;
    }
    let sides = [side(&binary.lhs)?, side(&binary.rhs)?];
    let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
    let matching = matching.map_or_else(String::new, |matching| {
        let (word, labels) = match matching {
            LabelModifier::Include(labels) => ("on", labels),
            LabelModifier::Exclude(labels) => ("ignoring", labels),
        };
        format!(" {word}({})", labels.labels.join(", "))
    });
    let operator = format!("{}{matching}", binary.op);
    Some(Operation { operator, query: text(&Expr::Binary(whole))?, sides })
}

fn side(tree: &Expr) -> Option<Side> {
    let mut names: Vec<String> = Vec::new();
    for name in counters::selectors(tree).into_iter().filter_map(counters::name) {
        if names.len() < MAX_NAMES && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Some(Side { query: text(tree)?, names })
}

/// The text of a tree, if it means the same.
fn text(tree: &Expr) -> Option<String> {
    let text = tree.to_string();
    promql::parse(&text).is_ok_and(|again| again == *tree).then_some(text)
}

fn outermost(tree: &Expr, depth: usize) -> Option<&BinaryExpr> {
    if depth == MAX_DEPTH {
        return None;
    }
    let inner = |tree| outermost(tree, depth + 1);
    match tree {
        Expr::Binary(binary) => {
            let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
            let are_vectors = is_vector(&binary.lhs) && is_vector(&binary.rhs);
            // `or` takes whatever is there, and `unless` leaves it.
            let is_union = binary.op.is_set_operator() && binary.op.id() != token::T_LAND;
            if are_vectors && !is_union {
                return Some(binary);
            }
            inner(&binary.lhs).or_else(|| inner(&binary.rhs))
        }
        Expr::Aggregate(aggregate) => inner(&aggregate.expr),
        Expr::Paren(paren) => inner(&paren.expr),
        Expr::Unary(unary) => inner(&unary.expr),
        Expr::Call(call) => call.args.args.iter().find_map(|argument| inner(argument)),
        // What it was at other times is not asked.
        Expr::Subquery(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_operation_of_two_vectors_is_taken_apart() {
        for (query, operator, sides) in [
            (r#"sum by (pod) (a{ns="n"} / b{ns="n"})"#, "/", [r#"a{ns="n"}"#, r#"b{ns="n"}"#]),
            ("(rate(a[2m]) / (b + c)) > 5", "/", ["rate(a[2m])", "(b + c)"]),
            ("a and on (pod) b", "and on(pod)", ["a", "b"]),
            ("a * ignoring (x, y) group_left () b", "* ignoring(x, y)", ["a", "b"]),
            ("clamp_max(2 * (a - b), 1)", "-", ["a", "b"]),
            ("a unless (b / c)", "/", ["b", "c"]),
        ] {
            let found = operation(query).unwrap_or_else(|| panic!("{query}"));
            assert_eq!(found.operator, operator, "{query}");
            assert_eq!(found.sides.map(|side| side.query), sides, "{query}");
        }
        for query in ["a", "a * 2", "a or b", "max_over_time((a / b)[5m:1m])", "a /", ""] {
            assert_eq!(operation(query), None, "{query}");
        }
    }

    #[test]
    fn a_comparison_keeps_what_matches_and_sides_name_their_series() {
        let found = operation(r#"a > on (pod) (b{x="1"} + {__name__="c"} + b)"#).unwrap();
        let whole = parsed(&found.query).unwrap();
        let Expr::Binary(whole) = whole else { panic!("{}", found.query) };
        assert!(whole.modifier.is_some_and(|modifier| modifier.return_bool));
        let names = found.sides.map(|side| side.names);
        assert_eq!(names, [vec!["a"], vec!["b", "c"]]);
    }
}
