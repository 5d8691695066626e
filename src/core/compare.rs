//! Two servers of the metrics APIs, answer by answer: what differs, and whether that is known. The engine of `loadline compare`.
//!
//! The reference is the server that is to be replaced. [`lists()`] compares what both list, [`judge`] what both answer to a read,
//! and [`Comparison`] is what is printed. Nothing here asks anybody.

pub mod documented;
mod judgement;
mod lists;
mod report;
mod schema;
mod text;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

pub use self::{
    documented::Reason,
    judgement::{Judged, judge},
    lists::{Listed, lists},
    report::{Comparison, Counts, Difference, Differences, Verdict},
    schema::schema,
};
use crate::core::quantity;

/// An API of metrics.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsApi {
    /// custom.metrics.k8s.io
    Custom,
    /// external.metrics.k8s.io
    External,
    /// metrics.k8s.io
    Resource,
}

impl MetricsApi {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Custom, Self::External, Self::Resource];
}

/// What two servers have of each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sides<T> {
    /// The server that is to be replaced.
    pub reference: T,
    /// The one that replaces it.
    pub with: T,
}

/// What a server said to a read.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Values, by the name of the object or the labels of the series.
    Values(BTreeMap<String, Measured>),
    /// No success.
    Failed {
        /// The HTTP status; 0 where there was no answer.
        code: u16,
        /// The reason of the `Status`, or what happened where there was no answer.
        reason: String,
    },
}

impl Sides<Response> {
    /// The answers to a read of one object, which is 404 where a list lacks it. Where the other has a value, they are compared as
    /// lists are.
    #[must_use]
    pub fn of_object(self) -> Self {
        let none = Response::Values(BTreeMap::new());
        match (&self.reference, &self.with) {
            (Response::Failed { code: 404, .. }, Response::Values(_)) => {
                Self { reference: none, ..self }
            }
            (Response::Values(_), Response::Failed { code: 404, .. }) => {
                Self { with: none, ..self }
            }
            _ => self,
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) => match values.len() {
                0 => f.write_str("no values"),
                1 => f.write_str("1 value"),
                many => write!(f, "{many} values"),
            },
            Self::Failed { code: 0, reason } => f.write_str(reason),
            Self::Failed { code, reason } if reason.is_empty() => code.fmt(f),
            Self::Failed { code, reason } => write!(f, "{code} {reason}"),
        }
    }
}

/// A value with its circumstances.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// A Kubernetes quantity, as it was written.
    pub quantity: String,
    /// When it was measured, in seconds since the epoch.
    pub at: Option<i64>,
    /// The range that it was measured over, in seconds.
    pub window: Option<i64>,
}

impl Measured {
    /// Billionths; nothing where the text is no quantity.
    fn nano(&self) -> Option<i128> {
        quantity::parse_nano(&self.quantity)
    }
}

/// In what two servers differ.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// One of them does not list the metric.
    Listed,
    /// One lists it for objects in namespaces, the other for objects of the cluster.
    Scope,
    /// One succeeds and the other does not, or they fail in different ways.
    Status,
    /// One has no value for an object.
    Object,
    /// The values of an object.
    Value,
    /// The ranges that they were measured over.
    Window,
    /// The times at which they were measured.
    Timestamp,
}

impl Aspect {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::Listed,
        Self::Scope,
        Self::Status,
        Self::Object,
        Self::Value,
        Self::Window,
        Self::Timestamp,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Scope => "scope",
            Self::Status => "status",
            Self::Object => "object",
            Self::Value => "value",
            Self::Window => "window",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A difference between two answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// In what they differ.
    pub aspect: Aspect,
    /// Whose value it is; empty where it is about the whole answer.
    pub object: String,
    /// What each of them has; nothing where it has none.
    pub sides: Sides<Option<String>>,
    /// Why, where that is known.
    pub reason: Option<Reason>,
}
