//! Which query was chosen, and why no other, for people.

use std::{fmt, sync::Arc};

use crate::core::plan::shareable::NotShareable;

/// Which query was chosen for a read.
#[derive(Clone, Debug)]
pub enum Choice {
    /// One for all readers in the namespace.
    Shared,
    /// One for all readers in all namespaces.
    Everywhere,
    /// One for just these objects.
    Exact(WhyExact),
}

/// Why a query is not shared.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WhyExact {
    /// The objects are not known, so all are asked for anyway.
    #[error("the objects are not known")]
    Everything,
    /// The result is not cached, so no other reader could use it.
    #[error("results are not cached")]
    NotKept,
    /// It would not have the same answer.
    #[error("{0}")]
    NotShareable(Arc<NotShareable>),
    /// It would cost more than the exact queries of all readers.
    #[error(
        "sharing costs more: {readers} readers of {names} objects together, and {size} samples to share"
    )]
    CostsMore {
        /// How many readers there are.
        readers: usize,
        /// How many objects they read together.
        names: usize,
        /// How many samples the shared query returns.
        size: usize,
    },
    /// Its cost is not known yet.
    #[error("the cost of sharing is not known yet")]
    UnknownCost,
    /// It failed recently.
    #[error("the shared query failed recently")]
    Failed,
    /// It was not answered in time, while narrower queries are answered.
    #[error("the shared query was not answered in time")]
    TimedOut,
    /// No result is newer than the last one.
    #[error("no newer result is available")]
    NoNewer,
}

impl Choice {
    /// The value of the label `plan` of the metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Everywhere => "everywhere",
            Self::Exact(_) => "exact",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared by all readers in the namespace"),
            Self::Everywhere => f.write_str("shared by all readers in the cluster"),
            Self::Exact(why) => write!(f, "for these objects only: {why}"),
        }
    }
}
