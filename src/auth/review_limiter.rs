//! How many reviews are under way at a time: nobody must be able to flood kube-apiserver by way of us, and strangers must not
//! make others wait.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use super::shares::Shares;
use crate::kubernetes;

/// Each review is a connection, for as long as it takes.
const AT_A_TIME: usize = 100;

/// How long a review may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many reviews of strangers there are beside these. A stranger never waits for a turn.
const STRANGERS_AT_A_TIME: usize = 10;

/// How often a stranger is reviewed in the long run, and how many reviews may come at once.
const STRANGERS_EVERY: Duration = Duration::from_millis(50);
const STRANGERS_AT_ONCE: u32 = 40;

/// The most that reviews of one user may hold that wait for their turn, and those of all, in bytes.
const WAITING_EACH: usize = 2 << 20;
const WAITING_ALL: usize = 16 << 20;

/// For whom a review is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker<'a> {
    /// Somebody who has not proved anything.
    Stranger,
    /// A user, by name.
    Known(&'a str),
}

/// Why there is no review.
#[derive(Debug, thiserror::Error)]
pub enum ReviewFailure {
    /// The user has reached the limit of reviews; later it may be free.
    #[error("too many reviews are under way")]
    Crowded,
    /// The cluster did not answer as it should.
    #[error(transparent)]
    Cluster(#[from] kubernetes::Error),
}

impl ReviewFailure {
    /// Its word in metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Cluster(_) => "error",
        }
    }
}

/// The limits of one kind of review.
pub(super) struct ReviewLimiter {
    turns: Semaphore,
    waiting: Arc<Shares>,
    strangers: Semaphore,
    pace: Mutex<Pace>,
}

/// So many at once, and then one after another.
#[derive(Debug, Default)]
struct Pace {
    /// When the last one that was let through would have been due, had all of them come one after another.
    due: Option<Instant>,
}

impl Pace {
    fn lets_through(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now));
        if due.saturating_duration_since(now) > STRANGERS_EVERY * (STRANGERS_AT_ONCE - 1) {
            return false;
        }
        self.due = Some(due + STRANGERS_EVERY);
        true
    }
}

impl Default for ReviewLimiter {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(AT_A_TIME),
            waiting: Shares::new(WAITING_EACH, WAITING_ALL),
            strangers: Semaphore::new(STRANGERS_AT_A_TIME),
            pace: Mutex::default(),
        }
    }
}

impl ReviewLimiter {
    /// Makes a review, which holds so many bytes, when its turn has come. A stranger's turn is now or never.
    pub(super) async fn review<T>(
        &self,
        asker: Asker<'_>,
        bytes: usize,
        work: impl Future<Output = Result<T, kubernetes::Error>>,
    ) -> Result<T, ReviewFailure> {
        let user = match asker {
            Asker::Known(user) => user,
            Asker::Stranger => {
                let turn = self.strangers.try_acquire();
                let _turn = turn.map_err(|_no_permit| ReviewFailure::Crowded)?;
                let now = Instant::now();
                if !self.pace.lock().unwrap_or_else(PoisonError::into_inner).lets_through(now) {
                    return Err(ReviewFailure::Crowded);
                }
                return Ok(work.await?);
            }
        };
        let _share = self.waiting.take(user, bytes).ok_or(ReviewFailure::Crowded)?;
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_elapsed| ReviewFailure::Crowded)?;
        Ok(work.await?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        iter,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn only_so_many_are_under_way() {
        let (limiter, under_way) = (ReviewLimiter::default(), AtomicUsize::new(0));
        let review = || {
            limiter.review(Asker::Known("a"), 1, async {
                let count = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                Ok(count)
            })
        };
        let counts = join_all((0..AT_A_TIME * 3).map(|_| review())).await;
        let most = counts.into_iter().map(Result::unwrap).max();
        assert_eq!(most, Some(AT_A_TIME));
    }

    fn is_crowded<T>(outcome: &Result<T, ReviewFailure>) -> bool {
        matches!(outcome, Err(ReviewFailure::Crowded))
    }

    #[tokio::test]
    async fn nobody_waits_behind_strangers() {
        let limiter = ReviewLimiter::default();
        let endless = || {
            Box::pin(limiter.review(Asker::Stranger, 1, std::future::pending::<Result<(), _>>()))
        };
        let mut strangers: Vec<_> = iter::repeat_with(endless).take(STRANGERS_AT_A_TIME).collect();
        assert!(strangers.iter_mut().all(|stranger| stranger.now_or_never().is_none()));
        let late = limiter.review(Asker::Stranger, 1, async { Ok(()) }).now_or_never();
        assert!(is_crowded(&late.expect("a stranger does not wait")));
        let known = (0..AT_A_TIME).map(|_| limiter.review(Asker::Known("a"), 1, async { Ok(()) }));
        assert!(join_all(known).await.iter().all(Result::is_ok));
        drop(strangers);
        limiter.review(Asker::Stranger, 1, async { Ok(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_does_not_come_is_told_so() {
        let limiter = ReviewLimiter::default();
        let endless = || {
            Box::pin(limiter.review(Asker::Known("a"), 1, std::future::pending::<Result<(), _>>()))
        };
        let mut under_way: Vec<_> = iter::repeat_with(endless).take(AT_A_TIME).collect();
        assert!(under_way.iter_mut().all(|review| review.now_or_never().is_none()));
        let start = tokio::time::Instant::now();
        assert!(is_crowded(&endless().await));
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test]
    async fn a_user_who_asks_for_too_much_does_not_keep_others_from_waiting() {
        let limiter = ReviewLimiter::default();
        let endless = |user| {
            Box::pin(limiter.review(
                Asker::Known(user),
                WAITING_EACH / 2,
                std::future::pending::<Result<(), _>>(),
            ))
        };
        let mut waiting = [endless("a"), endless("a"), endless("b")];
        assert!(waiting.iter_mut().all(|review| review.now_or_never().is_none()));
        assert!(is_crowded(&limiter.review(Asker::Known("a"), 1, async { Ok(()) }).await));
        limiter.review(Asker::Known("b"), 1, async { Ok(()) }).await.unwrap();
    }

    #[test]
    fn strangers_come_at_a_pace() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut count = |after: Duration| {
            iter::repeat_with(|| pace.lets_through(start + after)).take_while(|is| *is).count()
        };
        let at_once = usize::try_from(STRANGERS_AT_ONCE).unwrap();
        assert_eq!(count(Duration::ZERO), at_once);
        assert_eq!(count(STRANGERS_EVERY / 2), 0);
        assert_eq!(count(STRANGERS_EVERY * 3), 3);
        assert_eq!(count(Duration::from_secs(3_600)), at_once, "quiet times are not saved up");
    }
}
