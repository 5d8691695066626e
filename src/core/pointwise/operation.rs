//! Binary operators between vectors of which at least one depends on the names.

use promql_parser::parser::{
    BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality,
    token::{T_LAND, T_LOR, T_LUNLESS},
};

use super::{
    Names,
    part::{Dependent, Grouping},
};

/// An operator and its sides.
pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) names: Names,
    /// What is known of the dependent sides; twice the same where there is only one.
    pub(super) sides: (Dependent, Dependent),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    And,
    Or,
    Unless,
    /// Arithmetic or comparison, one element against one.
    OneToOne,
    /// Arithmetic or comparison, many elements of the left side against one.
    ManyToOne,
    /// Arithmetic or comparison, one element against many of the right side.
    OneToMany,
}

impl Kind {
    pub(super) fn new(operation: &BinaryExpr, modifier: &BinModifier) -> Self {
        match (operation.op.id(), &modifier.card) {
            (T_LAND, _) => Self::And,
            (T_LOR, _) => Self::Or,
            (T_LUNLESS, _) => Self::Unless,
            (_, VectorMatchCardinality::ManyToOne(_)) => Self::ManyToOne,
            (_, VectorMatchCardinality::OneToMany(_)) => Self::OneToMany,
            (_, VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany) => {
                Self::OneToOne
            }
        }
    }

    pub(super) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl Operation {
    /// Whether the invariant is lost unless the keys are in the match.
    pub(super) fn needs_match(&self) -> bool {
        !matches!(
            (self.kind, self.names),
            (Kind::And | Kind::Unless | Kind::ManyToOne, Names::Left)
                | (Kind::OneToMany, Names::Right)
        )
    }

    /// Whether no element of the dependent sides has an empty key.
    pub(super) fn is_keyed(&self) -> bool {
        self.sides.0.keyed && self.sides.1.keyed
    }

    /// Whether no element of the result has an empty key. Elements that match on the keys have the same ones.
    pub(super) fn keeps_keyed(&self) -> bool {
        let (left, right) = (self.sides.0.keyed, self.sides.1.keyed);
        match (self.kind, self.names) {
            (Kind::Or, Names::Both) => left && right,
            (Kind::Or, _) | (Kind::Unless, Names::Right) => false,
            (Kind::Unless, _) => left,
            _ => left || right,
        }
    }

    /// How the result looks with the grouping for the whole cluster; nothing where it may be another one. Every dependent
    /// element is of one namespace. The arguments say whether the label of the namespace is in the match without that
    /// grouping, and with it.
    pub(super) fn regroup(&self, before: bool, now: bool) -> Option<Grouping> {
        let (left, right) = (self.sides.0.grouping, self.sides.1.grouping);
        if self.names != Names::Both {
            let meets_another_label = now && left == Grouping::Gains;
            return (before == now && !meets_another_label).then_some(left);
        }
        if (before || self.kind == Kind::Or) && left != right {
            return None;
        }
        Some(match self.kind {
            // Only what it matches on is left.
            Kind::OneToOne if !before => Grouping::Gains,
            Kind::OneToMany => right,
            _ => left,
        })
    }
}

/// Whether a group has one value of the label.
pub(super) fn groups_by(modifier: Option<&LabelModifier>, label: &str) -> bool {
    match modifier {
        None => false,
        Some(LabelModifier::Include(labels)) => labels.labels.iter().any(|by| by == label),
        Some(LabelModifier::Exclude(labels)) => {
            labels.labels.iter().all(|without| without != label)
        }
    }
}

/// Whether elements that match have one value of the label.
pub(super) fn matches_on(modifier: &BinModifier, label: &str) -> bool {
    modifier.matching.is_none() || groups_by(modifier.matching.as_ref(), label)
}
