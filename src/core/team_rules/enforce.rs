//! A query, limited to the series of one namespace.
//!
//! # The invariant
//!
//! > Every series that a backend reads for the returned query has the label with the namespace as its value.
//!
//! So every value in the result is computed from such series, and from numbers in the query. It follows from four things:
//!
//! - A backend reads series for selectors only. The functions and operators that may be in a query are listed, and none of them
//!   reads anything else: `info` does, and is refused. So is all that is not listed.
//! - Every selector of the returned query has the matcher `label="namespace"`. Matchers of a selector are a conjunction, for
//!   Prometheus and for what speaks its language, so further matchers, also of the same label, can only exclude series.
//!   Alternatives (`{a="b" or c="d"}`) are no conjunction, and are refused.
//! - The returned text is not the text of the team. It is written from the syntax tree ([`mod@write`]), in a small part of the
//!   language that all backends read in the same way: strings are in double quotes and escaped, operators are in parentheses,
//!   and there are no comments. Text that a backend would read in another way than the parser here never gets to it: the parser
//!   ends a string in back quotes elsewhere than Prometheus, for one.
//! - The returned text is parsed again. It is refused if the tree differs or if a selector in it lacks the matcher.
//!
//! The value of an enforced query may be empty or absent because there are no such series. `absent(x)` becomes
//! `absent(x{namespace="shop"})`, and says nothing about the series of others.
//!
//! What a result says about its namespace is true, too: a query that writes the label by `label_replace`, `label_join` or
//! `count_values` is refused, and `absent` of a selector with another matcher of the label, which may become the label. An operator that copies the label from one side to the other copies the same value.

mod scan;
mod write;

#[cfg(test)]
mod tests;

use promql_parser::parser::parse;

use crate::core::{
    excerpt::{SAID, excerpt},
    nesting,
    promql::every_selector_requires,
};

/// The longest query of a team, in bytes.
pub const MAX_QUERY: usize = 4 << 10;

/// The most selectors of a query of a team.
const MAX_SELECTORS: usize = 50;

/// How deep a query of a team may nest.
const MAX_DEPTH: usize = 100;

/// A query that reads the series of one namespace only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Enforced {
    /// The text.
    pub query: String,
    /// The selectors in it, without ranges and offsets, in their order.
    pub selectors: Vec<String>,
}

/// Why a query cannot be limited to a namespace.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotEnforced {
    /// It is too long, too deep, or has too many selectors.
    #[error("the query is too large: at most {most} {what} are allowed")]
    TooLarge {
        /// How many are allowed.
        most: usize,
        /// What is counted.
        what: &'static str,
    },
    /// The parser does not know it.
    #[error("the query is not understood: {reason}")]
    NotUnderstood {
        /// What the parser says.
        reason: String,
    },
    /// It has a number of seconds where a duration is expected.
    #[error("`{text}` is not a duration such as `5m`: a range, step or offset needs a unit")]
    Duration {
        /// What is there instead.
        text: String,
    },
    /// It has a regular expression that is too large, or none.
    #[error("the regular expression {pattern} is {reason}")]
    Pattern {
        /// The beginning of it, with its quotes.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It has a function that is not among those that read nothing but their arguments.
    #[error(
        "the function `{function}` is not allowed: it may read series that no selector of the query names"
    )]
    Function {
        /// The function.
        function: String,
    },
    /// It has a construct that not all backends know.
    #[error("{construct} are not allowed: not all backends read them in the same way")]
    Construct {
        /// What it has.
        construct: &'static str,
    },
    /// A selector has alternatives.
    #[error(
        "`or` between matchers is not allowed: a namespace can be required of a conjunction only"
    )]
    Alternatives,
    /// A matcher is of a label that backends keep for themselves.
    #[error(
        "a matcher of `{label}` is not allowed: backends may give such labels a meaning of their own"
    )]
    Reserved {
        /// The label.
        label: String,
    },
    /// It writes the label of the namespace.
    #[error("`{function}` must not write the label `{label}`: it holds the namespace")]
    Writes {
        /// What writes it.
        function: &'static str,
        /// The label of the namespace.
        label: String,
    },
    /// It writes a label whose name is not known.
    #[error("the label that `{function}` writes must be a string")]
    Unknown {
        /// What writes it.
        function: &'static str,
    },
    /// The text that was written does not mean what the query meant. This is a mistake of loadline.
    #[error("the query cannot be written in another way without a change of its meaning")]
    Differs,
}

/// Limits a query to the series whose `label` is `namespace`: see the [invariant](self). A selector that requires just that
/// already stays as it is.
pub fn enforce(query: &str, label: &str, namespace: &str) -> Result<Enforced, NotEnforced> {
    if query.len() > MAX_QUERY || !nesting::is_safe(query) {
        return Err(NotEnforced::TooLarge { most: MAX_QUERY, what: "bytes" });
    }
    let understood = |reason: String| NotEnforced::NotUnderstood { reason: excerpt(&reason, SAID) };
    let tree = parse(&scan::readable(query)?).map_err(understood)?;
    let enforced = write::enforced(&tree, label, namespace)?;
    let again = parse(&enforced.query).map_err(|_differs| NotEnforced::Differs)?;
    if !every_selector_requires(&again, label, namespace)
        || write::enforced(&again, label, namespace)? != enforced
    {
        return Err(NotEnforced::Differs);
    }
    Ok(enforced)
}
