//! What the proof knows about a part of a query.

/// A part of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// No selector in it carries the names.
    Independent,
    /// A selector in it carries the names, and it has the invariant.
    Dependent(Dependent),
}

/// A part that depends on the names and has the invariant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Dependent {
    /// No element has an empty key.
    pub(super) keyed: bool,
    /// With two keys: how the elements for one namespace look with the grouping for the whole cluster. With one: the same.
    pub(super) grouping: Grouping,
}

/// What another grouping changes about the elements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Grouping {
    /// Nothing. All have the label of the namespace.
    Same,
    /// Each gains the label of the namespace, which none has without it.
    Gains,
}
