//! What readers hold of discovery.

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Problem, RETRY, miss_backoff::MissBackoff};
use crate::core::{catalog::Catalog, rules::RuleSet};

/// What the task is asked for. The answer comes when it is done, and the catalog has the result.
pub(super) enum Ask {
    /// Looks again, for a reader in a namespace, for rules that were not just tried.
    Look(Arc<str>, oneshot::Sender<()>),
    /// Takes other rules in place of those that there are.
    Replace(Arc<RuleSet>, oneshot::Sender<()>),
}

/// What readers hold: the catalog, and a way to ask for a fresh one.
#[derive(Clone)]
pub struct Handle {
    catalog: Arc<ArcSwap<Catalog>>,
    asks: mpsc::Sender<Ask>,
    rounds: watch::Receiver<u64>,
    problems: Told,
    remarks: Told,
    misses: MissBackoff,
    clock: Arc<ArcSwapOption<Clock>>,
}

/// The last discovery and the next one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When the last one ended.
    pub last: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// When the next one begins, unless somebody asks for it before.
    pub next: Timestamp,
}

/// Problems that change with every discovery.
type Told = Arc<ArcSwap<Vec<Problem>>>;

impl Handle {
    pub(super) fn new(
        catalog: Arc<ArcSwap<Catalog>>,
        asks: mpsc::Sender<Ask>,
        rounds: watch::Receiver<u64>,
        (problems, remarks): (Told, Told),
        clock: Arc<ArcSwapOption<Clock>>,
    ) -> Self {
        Self { catalog, asks, rounds, problems, remarks, misses: MissBackoff::new(), clock }
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// A metric of the catalog, by what names it. If the catalog does not have it, every rule that was not tried within
    /// [`RETRY`] is discovered again first, for at most as long: who reads is one of few workers of the HPA controller. A
    /// metric that was not found is not looked for again in the namespace for a while, and the readers of a namespace have
    /// one discovery a minute. The namespace is empty for readers of what is in none.
    pub async fn find<T>(
        &self,
        namespace: &str,
        name: impl Hash,
        find: impl Fn(&Catalog) -> Option<T>,
    ) -> Option<T> {
        if let Some(found) = find(&self.catalog.load()) {
            return Some(found);
        }
        let key = MissBackoff::key(namespace, name);
        let now = Instant::now();
        if !self.misses.is_over(key, now).await {
            return None;
        }
        let look = self.ask(|done| Ask::Look(namespace.into(), done));
        tokio::time::timeout(RETRY, look).await.unwrap_or_default();
        let found = find(&self.catalog.load());
        if found.is_none() {
            self.misses.note(key, now).await;
        }
        found
    }

    /// Takes other rules in place of those that there are, and comes back when the catalog is theirs. Until then it is that of
    /// the rules before; what is known of rules that say the same is kept.
    pub async fn replace(&self, rules: Arc<RuleSet>) {
        self.ask(|done| Ask::Replace(rules, done)).await;
    }

    async fn ask(&self, ask: impl FnOnce(oneshot::Sender<()>) -> Ask) {
        let (done, wait) = oneshot::channel();
        if self.asks.send(ask(done)).await.is_ok() {
            // An error is the end of discovery, and so of the process.
            wait.await.unwrap_or_default();
        }
    }

    /// Whether the first discovery has been tried, with whatever result.
    pub fn tried(&self) -> bool {
        *self.rounds.borrow() > 0
    }

    /// How many discoveries have ended, with whatever result.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.clone()
    }

    /// What failed in the last discovery.
    pub fn problems(&self) -> Arc<Vec<Problem>> {
        self.problems.load_full()
    }

    /// The rules without metrics although nothing has failed, and those with more metrics than are served.
    pub fn remarks(&self) -> Arc<Vec<Problem>> {
        self.remarks.load_full()
    }

    /// When the last discovery ended, and when the next one begins.
    pub fn clock(&self) -> Option<Clock> {
        self.clock.load().as_deref().copied()
    }

    /// Waits until the first discovery has been tried.
    pub async fn first_try(&self) {
        self.rounds.clone().wait_for(|rounds| *rounds > 0).await.map(drop).unwrap_or_default();
    }
}
