//! The results that answer a read, or why there are none.

use crate::{
    backends::BackendError,
    cache::{FetchError, Lookup, Query, slot::How},
    core::{
        plan::{Key, Objects, PlanError, Source},
        samples::Index,
        sharing::{
            ExactQuery,
            choice::{Choice, WhyExact},
        },
    },
    prometheus::{Answer, PublicError},
};

/// The results that answer a read.
#[derive(Debug)]
pub struct Results {
    /// One result, or several that have some of the objects each, in the order of their names.
    pub parts: Vec<Part>,
    /// How they were asked for.
    pub choice: Choice,
}

/// One result.
#[derive(Debug)]
pub struct Part {
    /// How an object's samples are found in it.
    pub key: Key,
    /// The result.
    pub got: Lookup,
    /// The query.
    pub query: Query,
    /// The objects that are in this part; nothing where all that were asked for are.
    pub objects: Option<Objects>,
}

/// What became of sharing.
#[derive(Debug)]
pub enum Attempt {
    /// The result of the shared query.
    Shared(Part),
    /// Narrower queries have to be sent.
    Exact(WhyExact),
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no query for the read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no backend for it.
    #[error(transparent)]
    BackendHandle(#[from] BackendError),
    /// The backend did not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl Failure {
    /// The cause, without what only the log may have.
    pub fn public(&self) -> String {
        match self {
            Self::Plan(error) => error.to_string(),
            Self::BackendHandle(error) => error.to_string(),
            Self::Fetch(error) => public(error).to_string(),
        }
    }
}

/// The public cause of a query that has failed.
pub fn public(error: &FetchError) -> PublicError {
    match error {
        FetchError::Failed(error) => error.public(),
        FetchError::Abandoned(_) => PublicError::Abandoned,
    }
}

impl Part {
    /// The query, and the objects that it was asked for.
    pub(super) fn exact(&self) -> Option<ExactQuery<Query>> {
        let Some(Objects::Named(names)) = &self.objects else { return None };
        Some(ExactQuery { query: self.query.clone(), names: names.clone() })
    }
}

/// How many samples a result has that is fresh, or objects where each has several samples: readers count objects.
pub(super) fn fresh_size(got: &Lookup, source: Source<'_>, key: &Key) -> Option<usize> {
    let (Answer::Vector(vector), How::Fresh) = (got.kept.value().answer(), &got.how) else {
        return None;
    };
    Some(match source.part_label {
        None => vector.samples.len(),
        Some(_) => got.kept.value().with_index(vector, key, Index::objects_len),
    })
}

/// Whether a narrower query may succeed where this error came.
pub(super) fn is_refused(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_about_the_query() && !error.is_timeout())
}

/// Whether a narrower query may succeed where this error came for a query for all namespaces. Where such a query was answered before,
/// an error that is no fault of queries is taken for an outage, in which there are to be no more queries.
pub(super) fn may_be_too_wide(error: &FetchError, was_answered: bool) -> bool {
    let FetchError::Failed(error) = error else { return false };
    error.is_gateway_timeout() || (!was_answered && error.may_depend_on_width())
}

pub(super) fn is_timeout(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_timeout())
}
