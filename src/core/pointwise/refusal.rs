//! Why a query is not shared.

use std::fmt;

/// Why a query is not known to be pointwise: a sentence for the author of the rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The parser refuses it. The backend may know more.
    #[error("the parser does not know this query: {reason}")]
    Unknown {
        /// The parser's message.
        reason: String,
    },
    /// More than [`MAX_LENGTH`](super::MAX_LENGTH).
    #[error("{bytes} bytes are too long to be looked at")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The tree is too deep.
    #[error("it is nested too deeply to be looked at")]
    TooDeep,
    /// The trees for one name, several and all differ in more than matchers.
    #[error("the names change more than what selectors match")]
    Differs,
    /// A matcher changes with the names, and is not the one on a key in one of the forms that are known.
    #[error("`{matcher}` has the names in another form than .LabelMatchers has")]
    Form {
        /// As it is for all names.
        matcher: String,
    },
    /// A selector carries one key and not the other.
    #[error("a selector has the match on `{present}` without the one on `{missing}`")]
    Half {
        /// The key that it carries.
        present: String,
        /// The key that it does not carry.
        missing: String,
    },
    /// A function that is not known to work element by element.
    #[error(
        "`{function}` of something that depends on the names is not known to work element by element"
    )]
    Function {
        /// Its name, or that of the aggregation.
        function: String,
    },
    /// A function that writes a key.
    #[error("`{function}` may write the label `{label}`")]
    Writes {
        /// Its name.
        function: String,
        /// The key.
        label: String,
    },
    /// A function that reads a label that is only there if the whole cluster shares the query.
    #[error(
        "`{function}` reads the label `{label}` that only the grouping for the whole cluster has"
    )]
    Reads {
        /// Its name.
        function: String,
        /// The key.
        label: String,
    },
    /// An aggregation over different values of a key.
    #[error("`{operator}` aggregates the label `{label}` away")]
    AggregatedAway {
        /// The aggregation.
        operator: String,
        /// The key.
        label: String,
    },
    /// A binary operator that does not match on a key, though it must.
    #[error("`{operator}` with names {names} needs `{label}` in its match")]
    Match {
        /// The operator.
        operator: String,
        /// Which of its sides depend on the names.
        names: Names,
        /// The key.
        label: String,
    },
    /// A key comes from the other side.
    #[error("`{operator}` includes the label `{label}` of its other side")]
    Included {
        /// The operator.
        operator: String,
        /// The key.
        label: String,
    },
    /// A modifier that fills in a value for elements without a match.
    #[error("`{operator}` fills in values")]
    Fills {
        /// The operator.
        operator: String,
    },
    /// An operator without `on` or `ignoring`, on something that may have elements without a key.
    #[error(
        "a side of `{operator}` may have elements without `{label}`, which some backends take for a number; say `on` or `ignoring`"
    )]
    Keyless {
        /// The operator.
        operator: String,
        /// The key.
        label: String,
    },
    /// In a query for the whole cluster: elements that the names do not restrict to a namespace.
    #[error("`{operator}` lets in elements of every namespace")]
    OtherNamespaces {
        /// The operator.
        operator: String,
    },
    /// In a query for the whole cluster: the grouping by the namespace changes more than the label.
    #[error("grouping by `{label}` as well may change the result of `{operator}`")]
    Grouping {
        /// The operator or aggregation.
        operator: String,
        /// The label of the namespace.
        label: String,
    },
}

/// The sides of an operator that depend on the names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Names {
    /// Both.
    Both,
    /// The left one.
    Left,
    /// The right one.
    Right,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "on both sides",
            Self::Left => "only on its left",
            Self::Right => "only on its right",
        })
    }
}
