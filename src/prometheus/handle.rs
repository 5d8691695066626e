//! A backend as a rule asks it: with headers and a time limit of its own.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use super::{
    Answer, Error, Headers, METRIC_NAMES, Metadata, Prometheus, Range, SERIES, decode,
    range::Steps, shares::Permit,
};
use crate::core::{
    catalog::Found,
    fair_share::{Claimant, Owner},
    installation::product::BuildInfo,
    memory::{self, Texts},
    samples::Matrix,
};

/// A backend, and what is sent with every request to it. Equal handles return equal answers to equal queries; for whom they
/// ask makes no difference.
#[derive(Clone)]
pub struct BackendHandle {
    prometheus: Arc<Prometheus>,
    headers: Headers,
    timeout: Option<Duration>,
    claimant: Claimant,
}

impl BackendHandle {
    /// A backend, asked with these headers in place of its own of the same names, and for no longer than `timeout` for a
    /// query.
    pub fn new(prometheus: Arc<Prometheus>, headers: Headers, timeout: Option<Duration>) -> Self {
        Self { prometheus, headers, timeout, claimant: Claimant::default() }
    }

    /// The same, asked for readers of a namespace, whose share of the backend it is.
    #[must_use]
    pub fn asked_for(mut self, namespace: &str) -> Self {
        if *self.claimant.namespace != *namespace {
            self.claimant.namespace = namespace.into();
        }
        self
    }

    /// The same, asked for rules of this owner.
    #[must_use]
    pub fn owned_by(mut self, owner: Owner) -> Self {
        self.claimant.owner = owner;
        self
    }

    /// The namespace whose readers it is asked for; empty where that is none, or nobody knows which.
    pub fn namespace(&self) -> &Arc<str> {
        &self.claimant.namespace
    }

    /// What it takes in memory beside the value itself, in bytes.
    pub fn weight(&self) -> usize {
        let texts = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        memory::of_list(&self.headers) + self.claimant.namespace.len() + texts.sum::<usize>()
    }

    /// Evaluates a query now, by the backend's clock.
    pub async fn query(&self, promql: &str) -> Result<Answer, Error> {
        self.prometheus.query(promql, &self.headers, self.timeout, &self.claimant).await
    }

    /// Evaluates a query at each step of a range, both ends included. An answer has the bounds of every query's.
    pub async fn query_range(
        &self,
        promql: &str,
        range: Range,
        step: Duration,
    ) -> Result<Matrix, Error> {
        let steps = Steps { range, step };
        self.prometheus
            .query_range(promql, steps, &self.headers, self.timeout, &self.claimant)
            .await
    }

    /// The names of the labels that the series of a selector carry.
    pub async fn label_names(
        &self,
        selector: &str,
        range: Range,
    ) -> Result<Metadata<Texts>, Error> {
        let request = self.prometheus.metadata("/api/v1/labels", selector, range, &self.headers);
        self.prometheus.decoded(request.await?, &self.headers, decode::strings).await
    }

    /// The metric names of a selector's series.
    pub async fn metric_names(
        &self,
        selector: &str,
        range: Range,
    ) -> Result<Metadata<Texts>, Error> {
        let request = self.prometheus.metadata(METRIC_NAMES, selector, range, &self.headers);
        self.prometheus.decoded(request.await?, &self.headers, decode::strings).await
    }

    /// The metric names of a selector's series by the labels that they carry, of those labels that are wanted. The
    /// backend sends every series for this.
    pub async fn series(
        &self,
        selector: &str,
        range: Range,
        is_wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Metadata<Found>, Error> {
        let request = self.prometheus.metadata(SERIES, selector, range, &self.headers);
        let decode = |body: &[u8]| decode::series(body, is_wanted);
        self.prometheus.decoded(request.await?, &self.headers, decode).await
    }

    /// What the backend says of itself.
    pub async fn build_info(&self) -> Result<BuildInfo, Error> {
        let request = self.prometheus.build_info(&self.headers);
        self.prometheus.decoded(request.await?, &self.headers, decode::build_info).await
    }

    /// The name of the backend: that of the rules file, or the flag that names it.
    pub fn name(&self) -> &str {
        &self.prometheus.connections.config().name
    }

    /// Whether the backend leaves `match[]` aside at its label endpoints, as old relatives of Prometheus do: then a selector
    /// that nothing can match is answered with names all the same.
    pub async fn ignores_selectors(&self, range: Range) -> Result<bool, Error> {
        self.prometheus.ignores_selectors(range, &self.headers).await
    }

    /// Whether the backend answers nobody.
    pub fn is_silent(&self) -> bool {
        self.prometheus.silence().is_some()
    }

    /// Waits for a turn to ask what nobody waits for; it ends when the permit is dropped.
    pub(crate) async fn refresh_turn(&self) -> Permit<'_> {
        self.prometheus.refreshes.wait(&self.claimant).await
    }

    /// The error of a discovery that took longer than [`BackendHandle::discovery_timeout`].
    pub fn discovery_timed_out(&self) -> Error {
        self.prometheus.discovery_timed_out()
    }

    /// How long a request of discovery may take.
    pub fn discovery_timeout(&self) -> Duration {
        self.prometheus.discovery_timeout()
    }
}

impl PartialEq for BackendHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.prometheus, &other.prometheus)
            && self.headers == other.headers
            && self.timeout == other.timeout
    }
}

impl Eq for BackendHandle {}

impl Hash for BackendHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.prometheus).hash(state);
        self.headers.hash(state);
        self.timeout.hash(state);
    }
}

impl fmt::Debug for BackendHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendHandle").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
