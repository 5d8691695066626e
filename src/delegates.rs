//! Other servers of the metrics APIs: who is asked for a read that no rule answers, and which metrics they list.
//!
//! Whoever calls this has authenticated and authorized the user. A delegate is asked as ourselves. `core/delegation` decides whose a
//! read is, and `wire/delegated` what may be sent and what may come back.

mod connection;
mod error;
mod question;
mod remote;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
pub use error::{DelegateError, Why};
use futures::{StreamExt as _, stream};
use http::HeaderName;
use kube::Client;
pub use question::Question;
use remote::Remote;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        delegation::{Read, Route, listing::Listing, route},
        key_path::KeyPath,
        overview::DelegateRow,
        rules::{CredentialPolicy, Delegate, Problem},
    },
    metrics::Metrics,
    prometheus::bodies::Bodies,
};

/// The header of requests to delegates. A loadline that receives it does not ask delegates of its own, so that two that name each
/// other do not pass a read around.
pub const HOP: HeaderName = HeaderName::from_static("loadline-delegated");

/// How often credentials and authorities are read again, and whether lists of metrics are due.
const RECHECK: Duration = Duration::from_secs(10);

/// How a read ended.
#[derive(Debug)]
pub enum Outcome {
    /// No delegate is concerned.
    Ours,
    /// A delegate has answered: its name, and the body for the client.
    Answered(Arc<str>, Vec<u8>),
    /// No delegate has answered, and this one has failed. The metric may be ours.
    Unanswered(DelegateError),
}

/// The delegates of the rules file.
pub struct Delegates {
    /// In the order of the file.
    remotes: ArcSwap<Vec<Arc<Remote>>>,
    listing: ArcSwap<Listing>,
    nothing: Arc<Listing>,
    /// Why delegates of the file are not asked.
    unusable: ArcSwap<Vec<Problem>>,
    /// Held while a change of the file is taken over, and while lists are put together.
    installing: Mutex<()>,
    changed: Notify,
    cluster: Option<Client>,
    policy: Arc<CredentialPolicy>,
    bodies: Arc<Bodies>,
    metrics: Arc<Metrics>,
}

impl Delegates {
    /// None yet. Without a cluster those that need one cannot be used.
    pub fn new(
        cluster: Option<Client>,
        policy: Arc<CredentialPolicy>,
        bodies: Arc<Bodies>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            remotes: ArcSwap::default(),
            listing: ArcSwap::default(),
            nothing: Arc::default(),
            unusable: ArcSwap::default(),
            installing: Mutex::default(),
            changed: Notify::new(),
            cluster,
            policy,
            bodies,
            metrics,
        }
    }

    /// Takes the delegates of a file in place of those that there are. What has not changed goes on as it is. One that cannot be used
    /// is not asked; what is wrong with it is returned, and logged once.
    pub fn install(&self, delegates: &[Arc<Delegate>]) -> Arc<Vec<Problem>> {
        let alone = self.alone();
        let before = self.remotes.load_full();
        let mut usable = Vec::new();
        let mut problems = Vec::new();
        for delegate in delegates {
            if let Some(message) = self.refusal(delegate) {
                let path = KeyPath::from(["delegates", &delegate.name]);
                problems.push(Problem::new(Some(delegate.place), path, message));
            } else {
                let known = before.iter().find(|known| known.is_of(delegate.fingerprint));
                usable.push((delegate, known));
            }
        }
        // What is told of one that goes must not be taken for what is told of one that comes with its name.
        for old in before.iter() {
            let is_kept = |kept: &Arc<Remote>| Arc::ptr_eq(kept, old);
            if !usable.iter().any(|(_, known)| known.is_some_and(is_kept)) {
                old.retire();
            }
        }
        let remotes = usable.into_iter().map(|(delegate, known)| {
            known.cloned().unwrap_or_else(|| {
                Arc::new(Remote::new(
                    Arc::clone(delegate),
                    (self.cluster.clone(), Arc::clone(&self.policy)),
                    (Arc::clone(&self.bodies), Arc::clone(&self.metrics)),
                ))
            })
        });
        let remotes: Vec<_> = remotes.collect();
        let told = self.unusable.load_full();
        for problem in problems.iter().filter(|problem| !told.contains(problem)) {
            tracing::error!("{problem}; this delegate is not asked");
        }
        let problems = Arc::new(problems);
        self.unusable.store(Arc::clone(&problems));
        let is_same = remotes.len() == before.len()
            && remotes.iter().zip(before.iter()).all(|(new, old)| Arc::ptr_eq(new, old));
        if !is_same {
            self.remotes.store(Arc::new(remotes));
            self.publish(&alone);
            self.changed.notify_one();
        }
        problems
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.installing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a delegate cannot be used.
    fn refusal(&self, delegate: &Delegate) -> Option<String> {
        if delegate.needs_cluster() && self.cluster.is_none() {
            let text = "`service`, `caSecret` and `caBundleOf` need a cluster; use `url` and `caFile` with --standalone";
            return Some(text.to_owned());
        }
        let refusals = self.policy.refusals_of_delegate(delegate);
        let refusals: Vec<_> = refusals
            .iter()
            .map(|refusal| format!("{}: {}", refusal.key, refusal.message))
            .collect();
        (!refusals.is_empty()).then(|| refusals.join("; "))
    }

    /// Keeps connections and lists up to date, until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let this = &self;
        let keeping = async {
            loop {
                let remotes: Vec<_> = self.remotes.load().iter().cloned().collect();
                // A delegate that hangs holds up neither the others nor a change of the file.
                let round = stream::iter(remotes).for_each_concurrent(None, |remote| async move {
                    remote.reconnect().await;
                    if remote.list().await {
                        this.publish(&this.alone());
                    }
                });
                tokio::select! {
                    () = async { round.await; tokio::time::sleep(RECHECK).await } => {}
                    () = self.changed.notified() => {}
                }
            }
        };
        stop.run_until_cancelled(keeping).await;
    }

    /// Puts the lists together, alone: what is made of older ones must not come later.
    fn publish(&self, _alone: &MutexGuard<'_, ()>) {
        let remotes = self.remotes.load();
        let lists: Vec<_> = remotes.iter().map(|remote| (remote.name(), remote.listed())).collect();
        let lists = lists.iter().map(|(name, listed)| (*name, &**listed));
        let listing = Listing::merge(lists);
        let left_out = listing.left_out();
        if left_out > 0 {
            tracing::debug!(left_out, "the delegates list more metrics than are listed here");
        }
        self.listing.store(Arc::new(listing));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.remotes.load().is_empty()
    }

    /// The metrics that they list, as far as they are known; one that is away keeps its own.
    pub fn listing(&self) -> Arc<Listing> {
        self.listing.load_full()
    }

    /// A list without metrics, for a reader that asks delegates itself.
    pub fn nothing(&self) -> Arc<Listing> {
        Arc::clone(&self.nothing)
    }

    /// Answers a read of somebody who may send it. `has_rule` says whether a rule serves the metric.
    ///
    /// # Errors
    ///
    /// The delegate whose the read is has failed.
    pub async fn read(
        &self,
        question: &Question,
        has_rule: impl FnOnce() -> bool,
    ) -> Result<Outcome, DelegateError> {
        let remotes = self.remotes.load_full();
        let delegates: Vec<_> = remotes.iter().map(|remote| Arc::clone(&remote.delegate)).collect();
        let others = match route(&delegates, question.read(), has_rule) {
            Route::Ours => return Ok(Outcome::Ours),
            Route::Matched(index) => {
                let Some(remote) = remotes.get(index) else { return Ok(Outcome::Ours) };
                let body = remote.read(question).await?;
                return Ok(Outcome::Answered(Arc::clone(remote.name()), body));
            }
            Route::InTurn(others) => others,
        };
        let mut failed = None;
        for remote in others.into_iter().filter_map(|index| remotes.get(index)) {
            if !remote.may_serve(question.read().api) {
                continue;
            }
            match remote.read(question).await {
                Ok(body) => return Ok(Outcome::Answered(Arc::clone(remote.name()), body)),
                Err(error) if error.is_unknown_metric() => {}
                // It lists the metric: no other one stands in for it.
                Err(error) if self.owner(question).as_ref() == Some(remote.name()) => {
                    return Err(error);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok(Outcome::Ours),
            // It lists the metric, so that nobody has to look for it here.
            Some(error) if self.owner(question).is_some() => Err(error),
            Some(error) => Ok(Outcome::Unanswered(error)),
        }
    }

    /// Whether the `match` of a delegate takes a read, so that no rule answers it.
    pub fn takes(&self, read: Read<'_>) -> bool {
        let remotes = self.remotes.load();
        let delegates: Vec<_> = remotes.iter().map(|remote| Arc::clone(&remote.delegate)).collect();
        matches!(route(&delegates, read, || true), Route::Matched(_))
    }

    /// The delegate that lists the metric of a read.
    pub fn owner(&self, question: &Question) -> Option<Arc<str>> {
        let read = question.read();
        self.listing.load().owner(question.resource(), read.metric).cloned()
    }

    /// Those that cannot be used or do not answer, as public sentences.
    pub fn problems(&self) -> Vec<String> {
        let remotes = self.remotes.load();
        let unusable = self.unusable.load();
        let unusable = unusable.iter().map(|problem| format!("{}: cannot be used", problem.path));
        remotes.iter().filter_map(|remote| remote.problem()).chain(unusable).collect()
    }

    /// What the status page shows of them.
    pub fn rows(&self) -> Vec<DelegateRow> {
        let remotes = self.remotes.load();
        let unusable = self.unusable.load();
        let unusable =
            unusable.iter().map(|problem| DelegateRow::unusable(problem.path.to_string()));
        remotes.iter().map(|remote| remote.row()).chain(unusable).collect()
    }
}

#[cfg(test)]
mod tests;
