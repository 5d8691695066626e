//! Permits for what is under way at a backend at the same time. [`FairShare`](crate::core::fair_share) decides who has the next one, and
//! this waits.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::oneshot;

use crate::core::fair_share::{Claimant, FairShare};

/// How many queries of a namespace's own rules a server may be asked at a time. It may change while they wait.
#[derive(Debug)]
pub struct TeamQueries(AtomicUsize);

impl Default for TeamQueries {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl TeamQueries {
    /// Changes it for all who share it.
    pub fn set(&self, at_a_time: usize) {
        self.0.store(at_a_time, Ordering::Relaxed);
    }
}

/// The permits for what is under way at the same time.
#[derive(Debug)]
pub(super) struct Permits {
    shares: Mutex<FairShare<oneshot::Sender<()>>>,
    of_teams: Arc<TeamQueries>,
}

/// A permit, or somebody who waits for one, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'p> {
    permits: &'p Permits,
    claimant: Claimant,
    waits: Option<u64>,
}

impl Permits {
    pub(super) fn new(permits: usize, of_teams: Arc<TeamQueries>) -> Self {
        Self { shares: Mutex::new(FairShare::new(permits)), of_teams }
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

    /// How many queries of a namespace's own rules may be under way, if that alone keeps the claimant from a permit.
    pub(super) fn reached_quota(&self, claimant: &Claimant) -> Option<usize> {
        self.lock().reached_quota(claimant)
    }

    fn give_back(&self, claimant: &Claimant) {
        let mut shares = self.lock();
        if let Some(holder) = shares.give_back(claimant) {
            // A waiter that was dropped meanwhile returns it.
            holder.send(()).unwrap_or_default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, FairShare<oneshot::Sender<()>>> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.limit_teams(self.of_teams.0.load(Ordering::Relaxed)) {
            while let Some(holder) = shares.next_holder() {
                holder.send(()).unwrap_or_default();
            }
        }
        shares
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
    use crate::core::fair_share::Owner;

    fn name(namespace: &str) -> Claimant {
        Claimant { namespace: namespace.into(), ..Claimant::default() }
    }

    #[tokio::test]
    async fn permits_are_passed_on_also_by_those_who_go_away() {
        let permits = Permits::new(1, Arc::default());
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

    #[test]
    fn a_changed_quota_holds_for_the_next_query() {
        let of_teams = Arc::new(TeamQueries::default());
        let permits = Permits::new(16, Arc::clone(&of_teams));
        let team = Claimant { owner: Owner::Team, namespace: "a".into() };
        let _first = permits.take(&team).expect("there is no quota");
        of_teams.set(1);
        assert!(permits.take(&team).is_err());
        assert_eq!(permits.reached_quota(&team), Some(1));
        of_teams.set(2);
        assert!(permits.take(&team).is_ok());
    }

    #[tokio::test]
    async fn a_raised_quota_holds_for_all_who_wait() {
        let of_teams = Arc::new(TeamQueries::default());
        of_teams.set(1);
        let permits = Permits::new(16, Arc::clone(&of_teams));
        let team = Claimant { owner: Owner::Team, namespace: "a".into() };
        let first = permits.take(&team).expect("one may be under way");
        let mut waits = [(); 4].map(|()| Box::pin(permits.wait(&team)));
        for waits in &mut waits {
            assert!(futures::poll!(waits).is_pending());
        }
        of_teams.set(3);
        assert_eq!(permits.take(&team).map(drop), Err(2), "those that wait come first");
        let mut held = vec![first];
        for waits in &mut waits {
            if let std::task::Poll::Ready(permit) = futures::poll!(waits) {
                held.push(permit);
            }
        }
        assert_eq!(held.len(), 3);
    }
}
