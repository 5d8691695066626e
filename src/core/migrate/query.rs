//! The queries of others, as templates of ours.

use promql_parser::parser::{Expr, token, value::ValueType};

use crate::core::{lint::counters, names};

/// A query and its syntax tree. Extensions of PromQL have none.
#[derive(Debug)]
pub(super) struct Query {
    text: String,
    tree: Option<Expr>,
}

impl Query {
    pub(super) fn new(text: &str) -> Self {
        let text = text.trim().to_owned();
        let tree = crate::core::lint::parsed(&text).ok();
        Self { text, tree }
    }

    /// A selector of the first series that the query names, which a static rule has to have; nothing where there is none.
    pub(super) fn series(&self) -> Option<String> {
        let selectors = counters::selectors(self.tree.as_ref()?).into_iter().rev();
        let name = selectors.filter_map(counters::name).find(|name| !name.is_empty())?;
        Some(names::selector(name).into_owned())
    }

    /// Whether it is read as PromQL.
    pub(super) fn is_known(&self) -> bool {
        self.tree.is_some()
    }

    /// Whether the query may divide by 0.
    pub(super) fn divides(&self) -> bool {
        self.tree.as_ref().is_some_and(|tree| {
            counters::all(tree).into_iter().any(|tree| {
                matches!(tree, Expr::Binary(binary) if matches!(binary.op.id(), token::T_DIV | token::T_MOD))
            })
        })
    }

    /// The query as it is, in a template.
    pub(super) fn template(&self) -> String {
        escape(&self.text)
    }

    /// The query with 0, or with no value where `no_value` allows it, in place of values up to a threshold.
    pub(super) fn above(&self, threshold: f64, no_value: bool) -> String {
        let query = escape(&self.text);
        // A comment would hide the parenthesis.
        let end = if query.contains('#') { "\n" } else { "" };
        let query = format!("({query}{end})");
        let is_scalar =
            self.tree.as_ref().is_some_and(|tree| tree.value_type() == ValueType::Scalar);
        if no_value && !is_scalar {
            format!("{query} > {threshold}")
        } else {
            format!("{query} * ({query} > bool {threshold})")
        }
    }
}

/// A template that renders to the text.
pub(super) fn escape(text: &str) -> String {
    text.replace("<<", "<<\"<<\">>")
}
