//! Permits for what is under way at a backend at the same time. [`FairShare`](crate::core::fair_share) decides who has the next one, and
//! this waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::core::fair_share::{Claimant, FairShare};

/// The permits for what is under way at the same time.
#[derive(Debug)]
pub(super) struct Permits(Mutex<FairShare<oneshot::Sender<()>>>);

/// A permit, or somebody who waits for one, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'p> {
    permits: &'p Permits,
    claimant: Claimant,
    waits: Option<u64>,
}

impl Permits {
    pub(super) fn new(permits: usize) -> Self {
        Self(Mutex::new(FairShare::new(permits)))
    }

    /// A permit without waiting, or how many would have theirs before.
    pub(super) fn take(&self, claimant: &Claimant) -> Result<Permit<'_>, usize> {
        let mut shares = self.lock();
        if shares.take(claimant) {
            Ok(Permit { permits: self, claimant: claimant.clone(), waits: None })
        } else {
            Err(shares.ahead(claimant))
        }
    }

    /// Waits for a permit.
    pub(super) async fn wait(&self, claimant: &Claimant) -> Permit<'_> {
        let mut permit = Permit { permits: self, claimant: claimant.clone(), waits: None };
        let turn = {
            let mut shares = self.lock();
            if shares.take(claimant) {
                return permit;
            }
            let (sender, turn) = oneshot::channel();
            permit.waits = Some(shares.wait(claimant, sender));
            turn
        };
        // The sender is kept until it is used.
        turn.await.unwrap_or_default();
        permit.waits = None;
        permit
    }

    /// How many queries of a namespace's own rules may be under way, if as many are.
    pub(super) fn reached_quota(&self, claimant: &Claimant) -> Option<usize> {
        self.lock().reached_quota(claimant)
    }

    fn give_back(&self, claimant: &Claimant) {
        let next = self.lock().give_back(claimant);
        if let Some(next) = next {
            // A waiter that was dropped meanwhile returns it.
            next.send(()).unwrap_or_default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, FairShare<oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // A dropped waiter may already have got its permit.
        let has_left =
            self.waits.is_some_and(|number| self.permits.lock().leave(&self.claimant, number));
        if !has_left {
            self.permits.give_back(&self.claimant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str) -> Claimant {
        Claimant { namespace: namespace.into(), ..Claimant::default() }
    }

    #[tokio::test]
    async fn permits_are_passed_on_also_by_those_who_go_away() {
        let permits = Permits::new(1);
        let (a, b) = (name("a"), name("b"));
        let first = permits.take(&a).expect("all are free");
        assert_eq!(permits.take(&b).map(drop), Err(0));
        let mut waits = Box::pin(permits.wait(&b));
        let mut gives_up = Box::pin(permits.wait(&a));
        assert!(
            futures::poll!(&mut waits).is_pending() && futures::poll!(&mut gives_up).is_pending()
        );
        drop(first);
        // Its turn has come, and it goes away.
        drop(waits);
        let second = gives_up.await;
        let mut gives_up = Box::pin(permits.wait(&b));
        assert!(futures::poll!(&mut gives_up).is_pending());
        drop(gives_up);
        drop(second);
        drop(permits.wait(&b).await);
        assert!(permits.lock().is_idle());
    }
}
