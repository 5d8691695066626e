//! How a question is put, and why not otherwise, for people.

use std::{fmt, sync::Arc};

use crate::core::plan::sharing::NotShared;

/// How a question is put, and why not otherwise.
#[derive(Clone, Debug)]
pub enum Choice {
    /// One query for everybody in the namespace.
    Shared,
    /// One query for everybody in all namespaces.
    Everywhere,
    /// A query for just these objects.
    Exact(WhyExact),
}

/// Why a query is not shared.
#[derive(Clone, Debug)]
pub enum WhyExact {
    /// Nobody knows which objects there are, so all are asked for anyway.
    Everything,
    /// Its result is not kept, so that nobody else could use it.
    NotKept,
    /// It would not have the same answer.
    NotPointwise(Arc<NotShared>),
    /// It would cost more than the readers that there are.
    CostsMore {
        /// Who reads.
        readers: usize,
        /// How many objects all readers ask for.
        names: usize,
        /// How many samples a shared query would fetch.
        size: usize,
    },
    /// Nobody knows yet what it would cost.
    UnknownCost,
    /// It has failed a short while ago.
    Failed,
    /// There was no answer to it in time, while narrower queries are answered.
    TimedOut,
    /// Nothing newer can be had than what was found before.
    NoNewer,
}

impl Choice {
    /// A word for counting.
    pub(super) fn name(&self) -> &'static str {
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
            Self::Shared => f.write_str("shared with everybody in the namespace"),
            Self::Everywhere => f.write_str("shared with everybody in the cluster"),
            Self::Exact(why) => write!(f, "for these objects only: {why}"),
        }
    }
}

impl fmt::Display for WhyExact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("nobody knows which objects there are"),
            Self::NotKept => f.write_str("results are not kept"),
            Self::NotPointwise(why) => write!(f, "{why}"),
            Self::CostsMore { readers, names, size } => write!(
                f,
                "sharing costs more: {readers} readers of {names} objects together, and {size} samples to share"
            ),
            Self::UnknownCost => f.write_str("nobody knows yet what sharing would cost"),
            Self::Failed => f.write_str("the shared query has failed a short while ago"),
            Self::TimedOut => f.write_str("the shared query was not answered in time"),
            Self::NoNewer => f.write_str("no newer result can be had than the one of before"),
        }
    }
}
