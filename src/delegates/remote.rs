//! One delegate: its circuit breaker, and the metrics that it lists.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::header;
use kube::Client;
use tokio::sync::Semaphore;

use super::{
    DelegateError, HOP, Question, Why,
    connection::{Connection, Materials},
};
use crate::{
    blocking,
    core::{
        delegation::{
            breaker::{Admission, Breaker},
            listing::{self, ListedMetrics},
            serves,
        },
        explain::Api,
        overview::{DelegateRow, State},
        rules::{CredentialPolicy, Delegate, Fingerprint, origin},
    },
    metrics::Metrics,
    prometheus::{
        Error, Obstacle,
        bodies::{Bodies, Body},
    },
    traces::{KeyValue, Span, SpanKind},
    wire::{
        answer,
        custom::Version,
        delegated::{self, Declined},
        discovery::{CUSTOM, EXTERNAL, Group},
    },
};

/// The largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// How often a delegate is asked for its metrics, and after a failure.
const LIST_INTERVAL: Duration = Duration::from_secs(60);
const LIST_RETRY: Duration = Duration::from_secs(10);

/// How long a request for the metrics may take, and reading what is needed for a connection.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// A delegate.
pub(super) struct Remote {
    pub(super) delegate: Arc<Delegate>,
    cluster: Option<Client>,
    policy: Arc<CredentialPolicy>,
    connection: ArcSwapOption<Connection>,
    /// Why there is no connection, or not one with what there is now.
    obstacle: ArcSwapOption<String>,
    permits: Semaphore,
    breaker: Mutex<Breaker>,
    served: ArcSwap<Served>,
    bodies: Arc<Bodies>,
    metrics: Arc<Metrics>,
    /// Whether it is no longer one of the file. Held while a gauge of it is set.
    retired: Mutex<bool>,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// What is known of the APIs of a delegate.
#[derive(Clone, Default)]
struct Served {
    /// The versions of custom.metrics.k8s.io; nothing where they are not known.
    custom: Option<Vec<Version>>,
    /// Whether external.metrics.k8s.io is served, if that is known.
    external: Option<bool>,
    listed: Arc<ListedMetrics>,
    /// When it is to be asked again.
    due: Option<Instant>,
    is_failing: bool,
}

/// A read that the breaker has admitted. Dropped without a result it was abandoned.
struct Admitted<'r>(Option<&'r Remote>);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(remote) = self.0 {
            remote.breaker().abandoned(Instant::now());
        }
    }
}

impl Remote {
    pub(super) fn new(
        delegate: Arc<Delegate>,
        (cluster, policy): (Option<Client>, Arc<CredentialPolicy>),
        (bodies, metrics): (Arc<Bodies>, Arc<Metrics>),
    ) -> Self {
        metrics.delegate_rests(&delegate.name, false);
        metrics.delegate_connected(&delegate.name, false);
        Self {
            permits: Semaphore::new(delegate.concurrency),
            delegate,
            cluster,
            policy,
            connection: ArcSwapOption::empty(),
            obstacle: ArcSwapOption::empty(),
            breaker: Mutex::default(),
            served: ArcSwap::default(),
            bodies,
            metrics,
            retired: Mutex::default(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.delegate.name
    }

    /// It is not one of the file any more. What it still does is told by no gauge: another one may have its name.
    pub(super) fn retire(&self) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        *retired = true;
        self.metrics.forget_delegate(self.name(), &[CUSTOM.name, EXTERNAL.name]);
    }

    fn gauge(&self, set: impl FnOnce(&Metrics)) {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        if !*retired {
            set(&self.metrics);
        }
    }

    pub(super) fn is_of(&self, fingerprint: Fingerprint) -> bool {
        self.delegate.fingerprint == fingerprint
    }

    /// Whether it may serve an API: it is asked about it, and has not said that it does not have it.
    pub(super) fn may_serve(&self, api: Api) -> bool {
        let served = self.served.load();
        let is_absent = match api {
            Api::Custom => served.custom.as_ref().is_some_and(Vec::is_empty),
            Api::External => served.external == Some(false),
            Api::Resource => true,
        };
        serves(self.delegate.apis, api) && !is_absent
    }

    /// The metrics that it lists, as far as they are known.
    pub(super) fn listed(&self) -> Arc<ListedMetrics> {
        Arc::clone(&self.served.load().listed)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a read.
    pub(super) async fn read(&self, question: &Question) -> Result<Vec<u8>, DelegateError> {
        let mut seconds = None;
        let result = self.admitted(question, &mut seconds).await;
        let outcome = result.as_ref().map_or_else(Why::outcome, |_| "success");
        let count = if result.is_ok() { &self.answered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        self.metrics.delegated(self.name(), outcome, seconds);
        result.map_err(|why| DelegateError { delegate: Arc::clone(self.name()), why })
    }

    /// The span of a read. What is read has the names of the request's span.
    fn span(&self) -> Span {
        let mut span = Span::part(SpanKind::Client, "delegate");
        span.record(|| {
            let url = &self.delegate.url;
            let port = url.port_or_known_default().unwrap_or_default();
            [
                KeyValue::new("http.request.method", "GET"),
                KeyValue::new("server.address", url.host_str().unwrap_or_default().to_owned()),
                KeyValue::new("server.port", i64::from(port)),
                KeyValue::new("loadline.delegate", self.name().to_string()),
            ]
        });
        span
    }

    /// Sends a read if it may be sent. `seconds` is then how long that took, with the wait for its turn.
    async fn admitted(
        &self,
        question: &Question,
        seconds: &mut Option<f64>,
    ) -> Result<Vec<u8>, Why> {
        let started = Instant::now();
        let until = started + self.delegate.timeout;
        let admission = self.breaker().admit(Instant::now());
        let mut admitted = match admission {
            Admission::Refuse => return Err(Why::Resting),
            Admission::Pass => Admitted(None),
            Admission::Probe => Admitted(Some(self)),
        };
        let permit = tokio::time::timeout_at(until.into(), self.permits.acquire()).await;
        // The semaphore is never closed.
        let Ok(Ok(_permit)) = permit else { return Err(Why::Busy) };
        let version = question.version(self.served.load().custom.as_deref());
        let Some(target) = question.target(version) else {
            let (reason, message) = ("NotFound".to_owned(), "no metric has this name".to_owned());
            return Err(Why::Declined(Declined { code: 404, reason, message }));
        };
        let connection = self.connection()?;
        let result = self.exchange(&connection, (question, version, &target), until).await;
        *seconds = Some(started.elapsed().as_secs_f64());
        let silence = match &result {
            Err(why) if why.is_silence() => Some(why),
            Err(Why::NoRoom) => return result,
            _ => None,
        };
        admitted.0 = None;
        match silence {
            Some(_) => self.note(|breaker| _ = breaker.failed(Instant::now()), silence),
            None => self.note(Breaker::succeeded, None),
        }
        result
    }

    /// Changes the breaker, and tells if it opens or closes.
    fn note(&self, change: impl FnOnce(&mut Breaker), silence: Option<&Why>) {
        let (was_open, is_open) = {
            let mut breaker = self.breaker();
            let was_open = breaker.is_open();
            change(&mut breaker);
            let is_open = breaker.is_open();
            if was_open != is_open {
                // Before the lock is given back: of two changes the later one counts.
                self.gauge(|metrics| metrics.delegate_rests(self.name(), is_open));
            }
            (was_open, is_open)
        };
        if was_open == is_open {
            return;
        }
        let delegate = self.name();
        match silence {
            Some(Why::Unreachable(_, cause)) => {
                tracing::warn!(%delegate, cause, "the delegate does not answer; one read at a time is sent until it does");
            }
            Some(_) => {
                tracing::warn!(%delegate, "the delegate does not answer in time; one read at a time is sent until it does");
            }
            None => tracing::info!(%delegate, "the delegate answers again"),
        }
    }

    async fn exchange(
        &self,
        connection: &Connection,
        (question, version, target): (&Question, Version, &str),
        until: Instant,
    ) -> Result<Vec<u8>, Why> {
        let mut span = self.span();
        let exchange = async {
            let body = self.get(connection, target, until).await?;
            let question = question.clone();
            // There may be many values.
            let answer = blocking::run(move || question.answer(version, body.bytes())).await;
            answer.map_err(Why::Unfit)
        };
        let result = span.during(exchange).await;
        if let Err(why) = &result {
            if let Why::Declined(Declined { code, .. }) = why {
                span.record(|| [KeyValue::new("http.response.status_code", i64::from(*code))]);
            }
            span.fail(why.outcome(), why.outcome());
        }
        result
    }

    fn connection(&self) -> Result<Arc<Connection>, Why> {
        self.connection.load_full().ok_or_else(|| {
            let why = self.obstacle.load_full();
            Why::Unconnected(
                why.map_or_else(|| "not connected yet".to_owned(), |why| (*why).clone()),
            )
        })
    }

    /// The body of an answer.
    async fn get(
        &self,
        connection: &Connection,
        target: &str,
        until: Instant,
    ) -> Result<Body, Why> {
        let mut url = self.delegate.url.clone();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        url.set_path(path);
        url.set_query((!query.is_empty()).then_some(query));
        let mut request = connection.client.get(url);
        request = request.header(header::ACCEPT, "application/json").header(HOP, "1");
        if let Some(authorization) = &connection.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let exchange = self.received(request, until);
        let (code, body) = match tokio::time::timeout_at(until.into(), exchange).await {
            Ok(received) => received?,
            Err(_elapsed) => return Err(Why::Silent),
        };
        if (200..300).contains(&code) {
            return Ok(body);
        }
        let token = connection.materials.token.as_deref().unwrap_or_default();
        let token = String::from_utf8_lossy(token);
        Err(Why::Declined(delegated::declined(code, body.bytes(), token.trim())))
    }

    async fn received(
        &self,
        request: reqwest::RequestBuilder,
        until: Instant,
    ) -> Result<(u16, Body), Why> {
        let unreachable = |error: reqwest::Error| why(Error::transport(&error));
        let mut response = request.send().await.map_err(unreachable)?;
        let code = response.status().as_u16();
        let mut body = self.bodies.begin(MAX_ANSWER_BYTES, until);
        body.expect(response.content_length().unwrap_or_default()).map_err(why)?;
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend(&chunk).await.map_err(why)?;
        }
        Ok((code, body.complete()))
    }

    /// Connects with the credentials and authorities as they are now. What cannot be used leaves the connection as it is.
    pub(super) async fn reconnect(&self) {
        let materials = Materials::read(&self.delegate, self.cluster.as_ref(), &self.policy);
        let materials = tokio::time::timeout(LIST_TIMEOUT, materials).await;
        let materials =
            materials.unwrap_or_else(|_elapsed| Err("the cluster did not answer".to_owned()));
        let current = self.connection.load_full();
        let connected = match materials {
            Ok(materials) if current.as_ref().is_some_and(|it| it.materials == materials) => {
                self.obstacle.store(None);
                return;
            }
            Ok(materials) => blocking::run(move || Connection::new(materials)).await,
            Err(error) => Err(error),
        };
        let delegate = self.name();
        match connected {
            Ok(connection) => {
                self.obstacle.store(None);
                self.connection.store(Some(Arc::new(connection)));
                self.gauge(|metrics| metrics.delegate_connected(delegate, true));
                if current.is_some() {
                    tracing::info!(%delegate, "the credentials for the delegate have changed and are in use");
                }
            }
            Err(error) => {
                let is_known = self.obstacle.load().as_deref() == Some(&error);
                if !is_known {
                    tracing::warn!(%delegate, error, "the delegate cannot be connected to as configured");
                }
                self.obstacle.store(Some(Arc::new(error)));
            }
        }
    }

    /// Asks for the metrics, if that is due. The result is whether other ones are known.
    pub(super) async fn list(&self) -> bool {
        let before = self.served.load_full();
        let now = Instant::now();
        if before.due.is_some_and(|due| now < due) {
            return false;
        }
        let Ok(connection) = self.connection() else { return false };
        let mut served = (*before).clone();
        let mut listed = (*before.listed).clone();
        served.is_failing = false;
        if self.delegate.apis.custom {
            let found = self.list_of(&connection, Api::Custom, CUSTOM).await;
            self.tell(CUSTOM, found.as_ref().map(|(_, listed)| listed.len()), listed.custom.len());
            match found {
                Ok((versions, found)) => {
                    let versions = versions.iter().filter_map(|version| Version::parse(version));
                    served.custom = Some(versions.collect());
                    listed.custom = found;
                }
                Err(_told) => served.is_failing = true,
            }
        }
        if self.delegate.apis.external {
            let found = self.list_of(&connection, Api::External, EXTERNAL).await;
            let before = listed.external.len();
            self.tell(EXTERNAL, found.as_ref().map(|(_, listed)| listed.len()), before);
            match found {
                Ok((versions, found)) => {
                    served.external = Some(!versions.is_empty());
                    listed.external = found;
                }
                Err(_told) => served.is_failing = true,
            }
        }
        if !served.is_failing {
            // Nobody may read, and then no read finds out that it is there again.
            self.note(Breaker::reached, None);
        }
        let wait = if served.is_failing { LIST_RETRY } else { LIST_INTERVAL };
        served.due = Some(now + wait);
        let is_new = listed != *before.listed;
        if is_new {
            served.listed = Arc::new(listed);
        }
        self.served.store(Arc::new(served));
        is_new
    }

    fn tell(&self, group: Group, found: Result<usize, &Why>, before: usize) {
        let metrics = found.unwrap_or(before);
        let is_ok = found.is_ok();
        self.gauge(|gauges| gauges.delegate_listed(self.name(), group.name, is_ok, metrics));
        if let Err(why) = found {
            tracing::debug!(delegate = %self.name(), group = group.name, ?why, "the delegate does not list its metrics");
        }
    }

    /// The versions of a group, of those that we know, and the metrics of the first one.
    async fn list_of(
        &self,
        connection: &Connection,
        api: Api,
        group: Group,
    ) -> Result<(Vec<String>, Vec<listing::ListedMetric>), Why> {
        let until = Instant::now() + LIST_TIMEOUT;
        let unfit = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            Why::Unfit(delegated::Unfit::Json { line, column })
        };
        let body = match self.get(connection, &format!("/apis/{}", group.name), until).await {
            Ok(body) => body,
            Err(Why::Declined(Declined { code: 404, .. })) => return Ok((Vec::new(), Vec::new())),
            Err(why) => return Err(why),
        };
        let versions = text(&body).map_or_else(|| Ok(Vec::new()), answer::versions);
        let mut versions = versions.map_err(unfit)?;
        drop(body);
        versions.retain(|version| group.versions.contains(&version.as_str()));
        let Some(version) = versions.first() else { return Ok((Vec::new(), Vec::new())) };
        let target = delegated::list_target(group.name, version);
        let body = self.get(connection, &target, until).await?;
        let delegate = Arc::clone(&self.delegate);
        let listed = blocking::run(move || {
            let listed = text(&body).map_or_else(|| Ok(BTreeMap::new()), answer::resources)?;
            Ok::<_, serde_json::Error>(listing::cleaned(&delegate, api, listed))
        });
        Ok((versions, listed.await.map_err(unfit)?))
    }

    /// What is wrong with it, as a public sentence.
    pub(super) fn problem(&self) -> Option<String> {
        let name = self.name();
        if self.connection.load().is_none() && self.obstacle.load().is_some() {
            return Some(format!("the delegate {name} cannot be connected to"));
        }
        if self.breaker().is_open() {
            return Some(format!("the delegate {name} does not answer"));
        }
        let is_failing = self.served.load().is_failing;
        is_failing.then(|| format!("the delegate {name} does not list its metrics"))
    }

    /// What the status page shows of it.
    pub(super) fn row(&self) -> DelegateRow {
        let served = self.served.load();
        let state = match (self.problem(), self.breaker().is_open()) {
            (Some(problem), true) => State::Bad("silent", problem),
            (Some(problem), false) => State::Doubtful("failing", problem),
            (None, _) if served.due.is_none() => State::Doubtful("waiting", String::new()),
            (None, _) => State::Good("answers"),
        };
        DelegateRow {
            name: self.name().to_string(),
            host: origin(&self.delegate.url),
            state,
            custom: served.listed.custom.len(),
            external: served.listed.external.len(),
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// What a failure to receive an answer means.
fn why(error: Error) -> Why {
    match error {
        Error::TooLarge(bytes) => Why::TooLarge(bytes),
        Error::NoRoom => Why::NoRoom,
        Error::Unreachable { obstacle, message } => Why::Unreachable(obstacle, message),
        other => Why::Unreachable(Obstacle::Other, other.to_string()),
    }
}

fn text(body: &Body) -> Option<&str> {
    std::str::from_utf8(body.bytes()).ok()
}

#[cfg(test)]
mod tests {
    use std::future::IntoFuture as _;

    use serde_json::json;

    use super::*;
    use crate::core::rules::load;

    /// A delegate whose API has no version, and what is exposed of it.
    async fn listing(more: &str) -> (Remote, impl Fn() -> String) {
        // As the binary does; a test before this one may have done it.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(|| async { axum::Json(json!({"versions": []})) });
        tokio::spawn(axum::serve(listener, router).into_future());
        let rules =
            load(&format!("delegates:\n- {{name: a, url: '{url}', api: external{more}}}\n"));
        let delegate = Arc::clone(&rules.unwrap().delegates[0]);
        let metrics = Arc::new(Metrics::default());
        let shared = (Arc::default(), Arc::clone(&metrics));
        let remote = Remote::new(delegate, (None, Arc::default()), shared);
        (remote, move || metrics.encode())
    }

    #[tokio::test]
    async fn a_list_of_metrics_finds_out_that_a_delegate_is_there_again() {
        let (remote, metrics) = listing("").await;
        remote.reconnect().await;
        for _ in 0..10 {
            remote.note(|breaker| _ = breaker.failed(Instant::now()), Some(&Why::Silent));
        }
        assert!(metrics().contains("loadline_delegate_breaker_open{delegate=\"a\"} 1\n"));
        remote.list().await;
        assert_eq!(remote.problem(), None);
        assert!(metrics().contains("loadline_delegate_breaker_open{delegate=\"a\"} 0\n"));
        assert!(metrics().contains("loadline_delegate_connected{delegate=\"a\"} 1\n"));
    }

    #[tokio::test]
    async fn a_delegate_whose_authority_is_missing_is_not_connected() {
        let (remote, metrics) = listing(", caFile: /nowhere/ca.crt").await;
        remote.reconnect().await;
        assert!(!remote.list().await);
        assert!(metrics().contains("loadline_delegate_connected{delegate=\"a\"} 0\n"));
        assert!(remote.problem().unwrap().contains("cannot be connected to"));
    }
}
