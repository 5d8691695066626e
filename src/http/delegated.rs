//! Reads that a delegate may answer. The user has been authenticated and authorized before.

use std::sync::Arc;

use axum::http::HeaderMap;

use super::{Api, error::ApiError};
use crate::{
    core::delegation::listing::Listing,
    delegates::{Delegates, HOP, Outcome, Question},
    reads::ReadError,
};

/// Who has sent a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hop {
    /// A client.
    First,
    /// A loadline whose delegate we are: it asks its other delegates itself.
    Last,
}

impl Hop {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(HOP) { Self::Last } else { Self::First }
    }

    /// What of the metrics of delegates is listed.
    pub(super) fn listing(self, delegates: &Delegates) -> Arc<Listing> {
        match self {
            Self::First => delegates.listing(),
            Self::Last => delegates.nothing(),
        }
    }
}

/// The answer of a delegate, or ours. `has_rule` says whether a rule serves the metric, and `ours` reads by the rules.
pub(super) async fn answer(
    (api, hop): (&Api, Hop),
    question: impl FnOnce() -> Question,
    has_rule: impl FnOnce() -> bool,
    ours: impl Future<Output = Result<Vec<u8>, ReadError>>,
) -> Result<Vec<u8>, ApiError> {
    if hop == Hop::Last || api.delegates.is_empty() {
        return Ok(ours.await?);
    }
    match api.delegates.read(&question(), has_rule).await? {
        Outcome::Ours => Ok(ours.await?),
        Outcome::Answered(_, body) => Ok(body),
        Outcome::Unanswered(error) => match ours.await {
            // The delegate that has failed may have it.
            Err(ReadError::UnknownMetric { .. }) => Err(error.into()),
            answered => Ok(answered?),
        },
    }
}
