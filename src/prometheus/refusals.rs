//! Whether a server refuses every query, whoever it is sent for. Time is an argument.
//!
//! A refusal is an answer that no query causes: missing or wrong credentials, a redirect, a login page. One says little, because gateways
//! refuse one tenant and answer another. So it takes [`ENOUGH`] in a row, and while queries were answered before, so much time without an
//! answer that other tenants would have been heard of. Nothing else follows from it than that people are told.

use std::time::{Duration, Instant};

use super::error::PublicError;

/// So many refusals in a row are told.
const ENOUGH: u32 = 5;

/// The least time between the first and the last of them: many queries are sent at the same moment.
const LEAST: Duration = Duration::from_secs(1);

/// The least time since the last answer. Autoscalers read every 15 s, so that other tenants are answered in this time.
const QUIET: Duration = Duration::from_secs(60);

/// What is known of a server's answers to queries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusals {
    /// Nothing speaks against it.
    None {
        /// When a query was last answered.
        answered: Option<Instant>,
    },
    /// It has refused some, which may be all of one tenant.
    Some {
        /// When a query was last answered.
        answered: Option<Instant>,
        /// When the first one was refused after that.
        since: Instant,
        /// How many were refused.
        count: u32,
    },
    /// It refuses all.
    All {
        /// When the first one was refused.
        since: Instant,
        /// How the last one was.
        cause: PublicError,
    },
}

impl Default for Refusals {
    fn default() -> Self {
        Self::None { answered: None }
    }
}

impl Refusals {
    /// A query was answered. Says since when all were refused, if they were.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Instant> {
        match std::mem::replace(self, Self::None { answered: Some(now) }) {
            Self::All { since, .. } => Some(since),
            Self::None { .. } | Self::Some { .. } => None,
        }
    }

    /// A query was refused. Says whether it is known from now on that all are.
    pub(super) fn refused(&mut self, cause: PublicError, now: Instant) -> bool {
        let (answered, since, count) = match *self {
            Self::None { answered } => (answered, now, 1),
            Self::Some { answered, since, count } => (answered, since, count.saturating_add(1)),
            Self::All { since, .. } => {
                *self = Self::All { since, cause };
                return false;
            }
        };
        let passed = |since: Instant| now.saturating_duration_since(since);
        let is_quiet = answered.is_none_or(|answered| passed(answered) >= QUIET);
        let is_known = count >= ENOUGH && passed(since) >= LEAST && is_quiet;
        *self = if is_known {
            Self::All { since, cause }
        } else {
            Self::Some { answered, since, count }
        };
        is_known
    }

    /// Since when all queries are refused, and how the last one was.
    pub(super) fn of_all(self) -> Option<(Instant, PublicError)> {
        match self {
            Self::All { since, cause } => Some((since, cause)),
            Self::None { .. } | Self::Some { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSE: PublicError = PublicError::Status(401);
    const OTHER: PublicError = PublicError::Status(403);

    #[test]
    fn some_refusals_over_some_time_are_told_once_where_nothing_was_answered() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut it = Refusals::default();
        for _ in 0..100 {
            assert!(!it.refused(CAUSE, start), "a burst");
        }
        assert!(!it.refused(CAUSE, after(999)));
        assert_eq!(it.of_all(), None);
        assert!(it.refused(CAUSE, after(1000)));
        assert!(!it.refused(OTHER, after(2000)), "once");
        assert_eq!(it.of_all(), Some((start, OTHER)));
        assert_eq!(it.answered(after(3000)), Some(start));
        assert_eq!((it.of_all(), it.answered(after(3001))), (None, None));

        let mut few = Refusals::default();
        for second in 0..4 {
            assert!(!few.refused(CAUSE, after(second * 10_000)), "four in all");
        }
        assert!(few.refused(CAUSE, after(40_000)));
    }

    #[test]
    fn a_tenant_that_is_refused_is_not_all_of_them() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let mut it = Refusals::default();
        for second in 0..600 {
            if second % 30 == 0 {
                assert_eq!(it.answered(after(second)), None, "another one is answered");
            }
            assert!(!it.refused(CAUSE, after(second)), "{second}");
        }
        assert!(!it.refused(CAUSE, after(629)));
        assert!(it.refused(CAUSE, after(630)), "a minute after the last answer");
        assert_eq!(it.of_all(), Some((after(570), CAUSE)));
    }
}
