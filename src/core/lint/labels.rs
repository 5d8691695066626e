//! Sets of labels, of which only some may be known.

use std::collections::BTreeSet;

use promql_parser::parser::LabelModifier;

/// A set of label names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Labels {
    /// These.
    Only(BTreeSet<String>),
    /// Any but these.
    AllBut(BTreeSet<String>),
}

impl Labels {
    pub(super) fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    pub(super) fn all() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    pub(super) fn these<S: AsRef<str>>(labels: impl IntoIterator<Item = S>) -> Self {
        Self::Only(labels.into_iter().map(|label| label.as_ref().to_owned()).collect())
    }

    pub(super) fn has(&self, label: &str) -> bool {
        match self {
            Self::Only(labels) => labels.contains(label),
            Self::AllBut(labels) => !labels.contains(label),
        }
    }

    pub(super) fn with(self, label: &str) -> Self {
        self.or(&Self::these([label]))
    }

    pub(super) fn without(self, label: &str) -> Self {
        self.minus(&Self::these([label]))
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(a | b),
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a & b),
            (Self::AllBut(all), Self::Only(some)) | (Self::Only(some), Self::AllBut(all)) => {
                Self::AllBut(all - some)
            }
        }
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(a & b),
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a | b),
            (Self::AllBut(all), Self::Only(some)) | (Self::Only(some), Self::AllBut(all)) => {
                Self::Only(some - all)
            }
        }
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        match other {
            Self::Only(labels) => self.and(&Self::AllBut(labels.clone())),
            Self::AllBut(labels) => self.and(&Self::Only(labels.clone())),
        }
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.minus(other) == Self::none()
    }

    /// What a `by`, `without`, `on` or `ignoring` leaves of all labels.
    pub(super) fn of(modifier: &LabelModifier) -> Self {
        match modifier {
            LabelModifier::Include(labels) => Self::these(&labels.labels),
            LabelModifier::Exclude(labels) => Self::all().minus(&Self::these(&labels.labels)),
        }
    }
}
