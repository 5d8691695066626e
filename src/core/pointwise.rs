//! The proof that one query answers for many: that leaving the names out of it changes no value of an object.
//!
//! The query of one read selects the series of the objects that it asks for, `pod=~"a|b"`. A shared one selects those of
//! every object, `pod!=""`, and each reader picks its own out of the result. Both say the same about an object exactly when the
//! query is pointwise in the label that names it. That is decided here on the syntax tree.
//!
//! # The invariant
//!
//! The keys are the labels that name an object: the resource's label, and in a query for the whole cluster also the label of
//! the namespace. A part of a query is *dependent* if a selector in it carries the match on the names, else *independent*. For
//! every dependent part and every value `v` of the keys, the empty one included:
//!
//! > The elements whose keys are `v` depend on nothing but the samples with keys `v` that the dependent selectors select, and on
//! > independent parts.
//!
//! An independent part is the same text whatever the names, and so the same result. A dependent selector selects no sample
//! whose key is empty, and of an object that is asked for it selects the same samples whatever other objects are requested. So for each of
//! these objects, a part that has the invariant returns the same elements for one name, for several and for all. By induction:
//!
//! - Selectors have it. Further matchers, offsets, `@`, ranges, subqueries and parentheses keep it.
//! - Functions that make each element out of one element or series, without writing a key, keep it.
//!   `histogram_quantile` makes one out of a group that differs in `le` alone. An allow list names them all: `absent` looks at
//!   everything at once.
//! - An aggregation keeps it if every group has one value of the keys: `by` with all keys, `without` with none of them.
//! - A binary operator between vectors keeps it if an element meets only elements that have its own value of the keys (the keys
//!   are in the match), or if it is an element of the dependent side, meets only independent ones and keeps its own labels: left
//!   of `and` and `unless`, and the many side of arithmetic and comparison. `group_left` and `group_right` take no key from the
//!   other side.
//!
//! Nobody asks for an object without a name. So elements with an empty key are allowed: in
//! `sum by (pod) (…) or vector(0)` the zero is for nobody, here as there.
//!
//! A label that the keys leave out may differ, and an answer that fails says nothing: the shared query can fail where the one for
//! few names does not, by a duplicate series of somebody else, a limit or a timeout. Who shares has to fall back then.
//!
//! # Two rules that PromQL does not need
//!
//! VictoriaMetrics takes a vector of a single element without labels for a number if the operator has no `on` or `ignoring`. So
//! there a dependent side may have no elements with an empty key. And its `or` lets elements of one side that match
//! each other shadow each other, so `or` always needs the keys in its match.
//!
//! # The whole cluster
//!
//! There the query is shared with another grouping, too: `.GroupBy` gains the label of the namespace. In the query of one
//! read every dependent element belongs to one namespace, so that the label changes neither the groups nor what
//! matches, as long as both sides have gained it or neither has. Where it has been gained nothing may read it. Whoever reads that
//! query takes the elements by the resource's label alone, so no element of another namespace may come in: every element of a
//! dependent part has non-empty keys.

mod functions;
mod operation;
mod part;
mod proof;
mod refusal;
#[cfg(test)]
mod tests;

use promql_parser::parser::Expr;

pub(super) use functions::{BUCKETS, Works, works};
pub use refusal::{Names, Refusal};

use proof::{Name, Proof};

use super::promql::parse;

/// The longest query that is looked at, in bytes. The parser's tree may be as deep as the query is long.
pub const MAX_LENGTH: usize = 8 << 10;

/// What stands in a query for the names that a read asks for.
#[derive(Clone, Copy, Debug)]
pub struct Renderings<'a> {
    /// For one object: that of [`Key::one`].
    pub one: &'a str,
    /// For several objects: those of [`Key::several`].
    pub several: &'a str,
    /// For all objects. With two keys, grouped by both.
    pub wide: &'a str,
}

/// A label that names objects, and the names that the renderings were made for.
///
/// These stand for all others. They must be letters, digits and dashes, and there must be no other reason for them to be in a
/// query.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The label.
    pub label: &'a str,
    /// The name in [`Renderings::one`].
    pub one: &'a str,
    /// The names in [`Renderings::several`], in their order; none of them is that of `one`. The namespace is a single one there, too.
    pub several: &'a [&'a str],
}

/// How a query depends on the names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pointwise {
    /// Element by element: the wide query has every reader's elements, under the keys.
    Dependent,
    /// Not at all: the wide query is everybody's query, read in the way in which the query of one read is read.
    Independent,
}

/// Decides whether a query is pointwise in the keys: in the label of the object, or in that and the label of the namespace if
/// the query is for the whole cluster.
///
/// It speaks for the renderings alone. That they stand for those with any other names has to be known from the template, see
/// [`QueryTemplate::names_are_plain`](super::template::QueryTemplate::names_are_plain), and it holds for names that mean
/// themselves in a regular expression and in a quoted string, as those of Kubernetes do but for the dots.
///
/// # Errors
///
/// Why it is not, or why that is not known.
pub fn judge(
    object: &Key<'_>,
    namespace: Option<&Key<'_>>,
    renderings: Renderings<'_>,
) -> Result<Pointwise, Refusal> {
    let wide = tree(renderings.wide)?;
    let one = Proof::new(
        Name { label: object.label, values: &[object.one] },
        namespace.map(|key| Name { label: key.label, values: std::slice::from_ref(&key.one) }),
    )
    .prove(&tree(renderings.one)?, &wide)?;
    let several = Proof::new(
        Name { label: object.label, values: object.several },
        namespace.map(|key| Name { label: key.label, values: key.several }),
    )
    .prove(&tree(renderings.several)?, &wide)?;
    if one == several { Ok(one.pointwise) } else { Err(Refusal::Differs) }
}

fn tree(query: &str) -> Result<Expr, Refusal> {
    if query.len() > MAX_LENGTH {
        return Err(Refusal::TooLong { bytes: query.len() });
    }
    parse(query).map_err(|reason| Refusal::Unknown { reason })
}
