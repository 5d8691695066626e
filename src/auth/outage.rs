//! Says in the log once that reviews fail, and once that they work again.

use std::sync::atomic::{AtomicBool, Ordering};

use super::review_limiter::ReviewFailure;

/// Whether reviews fail at present. Only those that were sent count: what is remembered says nothing of the cluster.
pub(super) struct Outage {
    failing: AtomicBool,
    begun: &'static str,
    ended: &'static str,
}

impl Outage {
    /// Says these sentences when it begins and has ended.
    pub(super) fn new(begun: &'static str, ended: &'static str) -> Self {
        Self { failing: AtomicBool::new(false), begun, ended }
    }

    /// Notes the outcome of a review.
    pub(super) fn note<T>(&self, outcome: &Result<T, ReviewFailure>) {
        if matches!(outcome, Err(ReviewFailure::Crowded)) {
            return;
        }
        let was_failing = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error) if !was_failing => tracing::error!(%error, "{}", self.begun),
            Ok(_) if was_failing => tracing::info!("{}", self.ended),
            _ => {}
        }
    }
}
