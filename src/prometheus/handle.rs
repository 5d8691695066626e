//! A backend as a rule asks it: with headers and a time limit of its own.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use super::{
    Answer, Error, Headers, METRIC_NAMES, Metadata, Prometheus, Range, Replicas, SERIES, decode,
    range::Steps, shares::Permit,
};
use crate::core::{
    catalog::Found,
    fair_share::{Claimant, Owner},
    installation::product::BuildInfo,
    memory::{self, Texts},
    samples::Matrix,
};

/// A backend, and what is sent with every request to it; which of its servers is asked is not the caller's concern. Equal handles return
/// equal answers to equal queries. For whom they ask makes no difference, but for rules of teams: what the quota of one namespace refuses is
/// not refused to others.
#[derive(Clone)]
pub struct BackendHandle {
    replicas: Arc<Replicas>,
    headers: Headers,
    timeout: Option<Duration>,
    claimant: Claimant,
}

impl BackendHandle {
    /// A backend, asked with these headers in place of its own of the same names, and for no longer than `timeout` for a
    /// query.
    pub fn new(replicas: Arc<Replicas>, headers: Headers, timeout: Option<Duration>) -> Self {
        Self { replicas, headers, timeout, claimant: Claimant::default() }
    }

    /// Each server of the backend as a backend of its own.
    pub fn each(&self) -> Vec<Self> {
        let servers = self.replicas.each().map(Arc::new);
        servers.map(|replicas| Self { replicas, ..self.clone() }).collect()
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
        let (headers, claimant) = (&self.headers, &self.claimant);
        let ask = |server: Arc<Prometheus>, timeout| async move {
            server.query(promql, headers, timeout, claimant).await
        };
        self.replicas.ask(headers, self.query_timeout(), ask).await
    }

    /// Evaluates a query at each step of a range, both ends included. An answer has the bounds of every query's.
    pub async fn query_range(
        &self,
        promql: &str,
        range: Range,
        step: Duration,
    ) -> Result<Matrix, Error> {
        let (headers, claimant) = (&self.headers, &self.claimant);
        let steps = Steps { range, step };
        let ask = |server: Arc<Prometheus>, timeout| async move {
            server.query_range(promql, steps, headers, timeout, claimant).await
        };
        self.replicas.ask(headers, self.query_timeout(), ask).await
    }

    /// The names of the labels that the series of a selector carry.
    pub async fn label_names(
        &self,
        selector: &str,
        range: Range,
    ) -> Result<Metadata<Texts>, Error> {
        self.strings("/api/v1/labels", selector, range).await
    }

    /// The metric names of a selector's series.
    pub async fn metric_names(
        &self,
        selector: &str,
        range: Range,
    ) -> Result<Metadata<Texts>, Error> {
        self.strings(METRIC_NAMES, selector, range).await
    }

    async fn strings(
        &self,
        path: &'static str,
        selector: &str,
        range: Range,
    ) -> Result<Metadata<Texts>, Error> {
        let headers = &self.headers;
        let ask = |server: Arc<Prometheus>, timeout| async move {
            server.strings(path, selector, range, headers, timeout).await
        };
        self.replicas.ask(headers, self.discovery_timeout(), ask).await
    }

    /// The metric names of a selector's series by the labels that they carry, of those labels that are wanted. The
    /// backend sends every series for this.
    pub async fn series(
        &self,
        selector: &str,
        range: Range,
        is_wanted: impl Fn(&str) -> bool + Clone + Send + 'static,
    ) -> Result<Metadata<Found>, Error> {
        let (headers, is_wanted) = (&self.headers, &is_wanted);
        let ask = |server: Arc<Prometheus>, timeout| {
            let is_wanted = is_wanted.clone();
            let decode = move |body: &[u8]| decode::series(body, is_wanted);
            async move {
                let body = server.metadata(SERIES, selector, range, headers, timeout).await?;
                server.decoded(body, headers, decode).await
            }
        };
        self.replicas.ask(headers, self.discovery_timeout(), ask).await
    }

    /// What the backend says of itself.
    pub async fn build_info(&self) -> Result<BuildInfo, Error> {
        let headers = &self.headers;
        let ask = |server: Arc<Prometheus>, timeout| async move {
            server.build_info(headers, timeout).await
        };
        // The time limit of a rule is for its queries.
        self.replicas.ask(headers, self.replicas.in_use().query_timeout, ask).await
    }

    /// The name of the backend: that of the rules file, or the flag that names it.
    pub fn name(&self) -> &str {
        self.replicas.name()
    }

    /// Whether the backend leaves `match[]` aside at its label endpoints, as old relatives of Prometheus do: then a selector
    /// that nothing can match is answered with names all the same.
    pub async fn ignores_selectors(&self, range: Range) -> Result<bool, Error> {
        let headers = &self.headers;
        let ask = |server: Arc<Prometheus>, timeout| async move {
            server.ignores_selectors(range, headers, timeout).await
        };
        let known = self.replicas.ignores_selectors.get_or_try_init(async || {
            let answer = self.replicas.ask(headers, self.discovery_timeout(), ask).await?;
            if answer.is_partial {
                // The names may be in a store that is away.
                return Err(Error::Partial);
            }
            if answer.data {
                tracing::warn!("the backend ignores match[]; discovery reads every series");
            }
            Ok(answer.data)
        });
        match known.await {
            Ok(ignores) => Ok(*ignores),
            // Nearly all backends do not; the next discovery asks again.
            Err(Error::Partial) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the backend answers nobody.
    pub fn is_silent(&self) -> bool {
        self.replicas.is_silent()
    }

    /// Waits for a turn to ask what nobody waits for; it ends when the permit is dropped.
    pub(crate) async fn refresh_turn(&self) -> Permit<'_> {
        self.replicas.in_use().refreshes.wait(&self.claimant).await
    }

    /// The error of a discovery that took longer than [`BackendHandle::discovery_timeout`].
    pub fn discovery_timed_out(&self) -> Error {
        self.replicas.in_use().discovery_timed_out()
    }

    /// How long a request of discovery may take.
    pub fn discovery_timeout(&self) -> Duration {
        self.replicas.in_use().discovery_timeout()
    }

    /// The namespace for whose own rules it is asked.
    fn team(&self) -> Option<&str> {
        (self.claimant.owner == Owner::Team).then_some(&*self.claimant.namespace)
    }

    fn query_timeout(&self) -> Duration {
        self.timeout.unwrap_or(self.replicas.in_use().query_timeout)
    }
}

impl PartialEq for BackendHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.replicas, &other.replicas)
            && self.headers == other.headers
            && self.timeout == other.timeout
            && self.team() == other.team()
    }
}

impl Eq for BackendHandle {}

impl Hash for BackendHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.replicas).hash(state);
        self.headers.hash(state);
        self.timeout.hash(state);
        self.team().hash(state);
    }
}

impl fmt::Debug for BackendHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendHandle").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
