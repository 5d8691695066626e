//! A Prometheus-compatible backend: the only user of prometheus-http-query.
//!
//! Requests are built by that crate where it takes what a rules file says (instant queries); the metadata endpoints take
//! selectors as text and are asked by hand, and so is a backend whose URL has parameters, which the crate leaves out where
//! there is no path before them. Every request has a deadline, every body a limit, and answers are decoded by [`decode`], which
//! keeps what the crate's own types drop: warnings, histograms, foreign error types.
//!
//! A [`Prometheus`] is one server. A backend may have several with the same series; [`replicas`] sends each request to one of them.
//!
//! A backend that does not answer is asked by one request at a time; [`availability`] decides which. One that asks to be asked later
//! is; [`pauses`] decides when. One that refuses all queries is asked all the same; [`refusals`] decides when people are told.

mod auth;
mod availability;
pub mod bodies;
mod clock;
pub mod config;
mod confined;
mod connection;
pub mod decode;
mod error;
mod exchange;
mod handle;
mod message;
mod pauses;
mod range;
mod refusals;
mod replicas;
mod secrets;
mod shares;
mod span;
mod turns;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use auth::Authenticator;
pub use auth::{AuthSettings, TokenError, Variables};
use availability::Availability;
use bodies::{Bodies, Body};
use clock::Clock;
pub(crate) use config::FLAGS;
pub use config::{Config, ConfigError, Method, Source};
use connection::{Connection, Connections};
use decode::DecodeError;
pub use decode::{Answer, Metadata};
pub use error::{Audience, Error, Obstacle, PublicError, TokenFailure};
pub use handle::BackendHandle;
use http::{HeaderMap, HeaderName, HeaderValue};
use pauses::{Pauses, retry_after};
use refusals::Refusals;
pub use replicas::Replicas;
use secrecy::ExposeSecret;
use secrets::Secrets;
use shares::Permits;
use tokio::sync::watch;
use turns::Turns;

use crate::{
    blocking,
    core::{
        fair_share::Claimant,
        installation::product::BuildInfo,
        memory::Texts,
        overview::{BackendRow, State, exchanges::Exchanges},
        samples::Vector,
    },
    metrics::{Metrics, backend},
    traces,
};

/// Bodies of this length and more are decoded on a thread of their own: below, that takes less than a millisecond.
const LARGE_BODY_BYTES: usize = 128 << 10;

/// Queries longer than this are sent by POST whatever the configured method: servers and proxies refuse long URLs.
const MAX_GET_QUERY_BYTES: usize = 6 << 10;

/// Where queries are evaluated. The endpoints are labels of metrics as prometheus-adapter has them, with the slash.
const QUERY: &str = "/api/v1/query";

/// What is counted of queries that only find out whether a server is well, in place of their endpoint: no read fails with them.
const PROBING: &str = "probe";

/// Where queries are evaluated at many times. Only `loadline simulate` asks for that: no server has it in its metrics.
const QUERY_RANGE: &str = "/api/v1/query_range";

/// Where metric names are asked for.
const METRIC_NAMES: &str = "/api/v1/label/__name__/values";

/// Where all series are asked for.
const SERIES: &str = "/api/v1/series";

/// Where a backend says what it is. Only `loadline check --live` asks for that: no server has it in its metrics.
const BUILD_INFO: &str = "/api/v1/status/buildinfo";

/// The longest that it may say of itself.
const MAX_BUILD_INFO_BYTES: usize = 64 << 10;

/// Headers that are put in place of those of all requests.
type Headers = Vec<(HeaderName, HeaderValue)>;

/// A server of a backend: where it is, how to authenticate, and what has passed between us.
pub struct Prometheus {
    connections: Connections,
    /// The credentials that are fetched, if there are such.
    auth: Option<Authenticator>,
    method: Method,
    query_timeout: Duration,
    discovery_timeout: Duration,
    traffic: Traffic,
    exchanges: Mutex<Exchanges>,
    metrics: backend::Backend,
    availability: watch::Sender<Availability>,
    pauses: Mutex<Pauses>,
    refusals: Mutex<Refusals>,
    clock: Clock,
    in_flight: Permits,
    turns: Mutex<Turns>,
    bodies: Arc<Bodies>,
    /// Half of those under way: so that readers who have nothing yet are not behind everything that is refreshed.
    refreshes: Permits,
    /// Whether the backend has other servers with the same series.
    has_others: bool,
    /// Whether one of those is in use.
    stands_by: AtomicBool,
}

/// What has been asked of a backend, since the start.
#[derive(Debug, Default)]
pub struct Traffic {
    queries: AtomicU64,
    metadata_requests: AtomicU64,
    received_bytes: AtomicU64,
}

impl Traffic {
    /// Instant and range queries sent.
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Requests to the label and series endpoints sent.
    pub fn metadata_requests(&self) -> u64 {
        self.metadata_requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies received, once decompressed.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }
}

/// A query on its way to an endpoint.
struct Question<'q> {
    path: &'static str,
    promql: &'q str,
    headers: &'q Headers,
    timeout: Duration,
    claimant: &'q Claimant,
}

/// The time range of a metadata request or of a range query, in whole seconds since the epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// The beginning.
    pub start: i64,
    /// The end.
    pub end: i64,
}

impl Prometheus {
    /// The first server of a backend. Reads the credentials once, so that a file that is missing or broken is an error at start.
    pub fn new(config: Config, metrics: &Arc<Metrics>) -> Result<Self, ConfigError> {
        let metrics = metrics.backend(&config.name, &config.public_url());
        Self::counted(config, metrics)
    }

    fn counted(config: Config, metrics: backend::Backend) -> Result<Self, ConfigError> {
        let (concurrency, bodies) = (config.concurrency, Arc::clone(&config.bodies));
        let of_teams = Arc::clone(&config.team_queries);
        let auth = config.auth.as_ref().map(|settings| {
            Authenticator::new(&config.server, &config.url, settings, &config.variables)
        });
        let auth = auth.transpose()?.flatten();
        Ok(Self {
            auth,
            method: config.method,
            query_timeout: config.query_timeout,
            discovery_timeout: config.discovery_timeout,
            connections: Connections::new(config)?,
            traffic: Traffic::default(),
            exchanges: Mutex::default(),
            metrics,
            availability: watch::Sender::new(Availability::Answering),
            pauses: Mutex::default(),
            refusals: Mutex::default(),
            clock: Clock::default(),
            in_flight: Permits::new(concurrency, Arc::clone(&of_teams)),
            turns: Mutex::default(),
            bodies,
            refreshes: Permits::new(concurrency.div_ceil(2), of_teams),
            has_others: false,
            stands_by: AtomicBool::new(false),
        })
    }

    /// Reads the files with credentials again, and takes those that have changed.
    pub async fn reread_credentials(&self) {
        self.connections.reread().await;
    }

    /// Begins to renew credentials that end soon.
    pub fn renew_credentials(&self) {
        if let Some(auth) = &self.auth {
            auth.renew_if_due();
        }
    }

    /// What has passed between us and the backend.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How long a request of discovery may take.
    pub fn discovery_timeout(&self) -> Duration {
        self.discovery_timeout
    }

    /// The failure of a discovery that took longer. It says as little of the backend as a request without an answer, and nothing of it where
    /// there were no credentials to ask with.
    pub fn discovery_timed_out(&self) -> Error {
        let obstacle = self.auth.as_ref().and_then(|auth| auth.obstacle(self.discovery_timeout));
        if let Some(error) = obstacle {
            return error.into();
        }
        let patience = self.patience_with(self.discovery_timeout);
        self.availability.send_modify(|availability| availability.doubt(patience, now()));
        Error::Timeout(self.discovery_timeout)
    }

    /// Why the backend answers nobody; nothing if it does.
    pub fn silence(&self) -> Option<PublicError> {
        self.availability.borrow().silence().map(|(_, cause)| cause)
    }

    /// Why no query is answered, as a public sentence: since when the backend does not or refuses them all, or that there are no
    /// credentials for it.
    pub fn problem(&self) -> Option<String> {
        let name = &self.connections.config().server;
        let silence = self.availability.borrow().silence();
        if let Some((since, cause)) = silence {
            return Some(format!("{name}: no answer since {}: {cause}", timestamp(since)));
        }
        if let Some(cause) = self.without_credentials() {
            return Some(format!("{name}: {cause}"));
        }
        Some(format!("{name}: {}", self.refusal()?))
    }

    /// Since when all queries are refused, and how, if they are.
    fn refusal(&self) -> Option<String> {
        let (since, cause) = self.refusals().of_all()?;
        Some(format!("refuses all queries since {}: {cause}", timestamp(since)))
    }

    /// That there are no credentials to send, if they could not be fetched.
    fn without_credentials(&self) -> Option<PublicError> {
        let error = self.auth.as_ref()?.problem()?;
        Some(PublicError::NoCredentials(error.public()))
    }

    /// What is wrong with it, as people are shown it.
    fn trouble(&self) -> Option<State> {
        let silence = self.availability.borrow().silence();
        if let Some((since, cause)) = silence {
            let why = format!("no answer since {}: {cause}", timestamp(since));
            return Some(State::Bad("silent", why));
        }
        if let Some(cause) = self.without_credentials() {
            return Some(State::Bad("no credentials", cause.to_string()));
        }
        if let Some(cause) = self.paused() {
            return Some(State::Doubtful("paused", cause.to_string()));
        }
        Some(State::Doubtful("refuses", self.refusal()?))
    }

    /// What people are shown of the backend.
    pub fn row(&self) -> BackendRow {
        let config = self.connections.config();
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        BackendRow {
            name: config.server.clone(),
            url: config.public_url(),
            state: self.trouble().unwrap_or_else(|| exchanges.state()),
            exchanges,
            received_bytes: self.traffic.received_bytes(),
        }
    }

    /// Puts into the metrics whether it answers.
    pub fn report(&self) {
        let silence = self.availability.borrow().silence();
        self.metrics.down_since(silence.map_or(0, |(since, _)| timestamp(since).as_second()));
    }

    /// Takes out of the metrics whether it answers, because it is not asked any more.
    pub fn forget(&self) {
        self.metrics.forget();
    }

    async fn query(
        &self,
        promql: &str,
        headers: &Headers,
        timeout: Duration,
        claimant: &Claimant,
    ) -> Result<Answer, Error> {
        let question = Question { path: QUERY, promql, headers, timeout, claimant };
        let send = || self.send_query(promql, headers, timeout);
        let mut answer = self.evaluated(question, send, decode::query).await;
        if let Ok(Answer::Vector(Vector { warnings, .. })) = &mut answer
            && !warnings.is_empty()
        {
            self.secrets(headers).withhold_from(warnings);
        }
        answer
    }

    /// Sends a query when it is its turn, and decodes the answer.
    async fn evaluated<T: Send + 'static, F: Future<Output = Result<Body, Error>>>(
        &self,
        question: Question<'_>,
        send: impl Fn() -> F,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError> + Send + 'static,
    ) -> Result<T, Error> {
        let Question { path, promql, headers, timeout, claimant } = question;
        self.admitted(path, headers).await?;
        let credentials = self.credentials(path, timeout).await?;
        let _permit = self.permit(path, claimant, timeout).await?;
        self.unpaused(path, headers)?;
        self.traffic.queries.fetch_add(1, Ordering::Relaxed);
        let mut span = span::begin(self.connections.config(), path, promql);
        let mut body = self.exchange(path, timeout, headers, span.during(send())).await;
        let status = body.as_ref().err().and_then(Error::status);
        if self.is_repeated(credentials, status).await {
            self.traffic.queries.fetch_add(1, Ordering::Relaxed);
            body = self.exchange(path, timeout, headers, span.during(send())).await;
        }
        let answer = match body {
            Ok(body) => self.decoded(body, headers, decode).await,
            Err(error) => Err(error),
        };
        span::end(&mut span, &answer);
        let outcome = answer.as_ref().map_or_else(Error::kind, |_| "success");
        tracing::debug!(query = promql, outcome, "asked Prometheus");
        answer
    }

    async fn send_query(
        &self,
        promql: &str,
        headers: &Headers,
        timeout: Duration,
    ) -> Result<Body, Error> {
        let until = patience(timeout);
        let connection = self.connections.current();
        // A little less than we wait, to distinguish a slow query from a backend that does not answer.
        let timeout = timeout.mul_f64(0.9);
        let timeout = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let by_post = self.method == Method::Post || promql.len() > MAX_GET_QUERY_BYTES;
        // The client library sends what it builds, so what is signed is built here.
        if connection.client.base_url().query().is_some() || self.auth.is_some() {
            let timeout = format!("{timeout}ms");
            let parameters = [("query", promql), ("timeout", timeout.as_str())];
            let request = connection.request(QUERY, &parameters, by_post);
            let request = request.headers(connection.headers_with(headers));
            return self.send(request, headers, usize::MAX, until).await;
        }
        let mut query = connection.client.query(promql).timeout(timeout);
        for (name, value) in &connection.headers_with(headers) {
            query = query.header(name, value.clone());
        }
        let response = if by_post { query.post_raw().await } else { query.get_raw().await };
        let body = match response {
            Ok(response) => self.receive(response, usize::MAX, until).await,
            Err(error) => Err(Error::of_client(&error)),
        };
        body.map_err(|error| self.secrets(headers).withhold(error))
    }

    /// Whether a selector that nothing can match is answered with names.
    async fn ignores_selectors(
        &self,
        range: Range,
        headers: &Headers,
        timeout: Duration,
    ) -> Result<Metadata<bool>, Error> {
        let nothing = "{__name__=\"loadline_matches_nothing\",loadline_matches_nothing!=\"\"}";
        let names = self.strings(METRIC_NAMES, nothing, range, headers, timeout).await?;
        let data = !names.data.is_empty();
        // Where there are names, no others need to be known.
        Ok(Metadata { data, is_partial: names.is_partial && !data })
    }

    async fn strings(
        &self,
        path: &'static str,
        selector: &str,
        range: Range,
        headers: &Headers,
        timeout: Duration,
    ) -> Result<Metadata<Texts>, Error> {
        let body = self.metadata(path, selector, range, headers, timeout).await?;
        self.decoded(body, headers, decode::strings).await
    }

    async fn metadata(
        &self,
        path: &'static str,
        selector: &str,
        range: Range,
        headers: &Headers,
        timeout: Duration,
    ) -> Result<Body, Error> {
        self.admitted(path, headers).await?;
        let credentials = self.credentials(path, timeout).await?;
        self.unpaused(path, headers)?;
        self.traffic.metadata_requests.fetch_add(1, Ordering::Relaxed);
        let mut span = span::begin(self.connections.config(), path, selector);
        let request = span.during(self.send_metadata(path, selector, range, headers, timeout));
        let mut body = self.exchange(path, timeout, headers, request).await;
        let status = body.as_ref().err().and_then(Error::status);
        if self.is_repeated(credentials, status).await {
            self.traffic.metadata_requests.fetch_add(1, Ordering::Relaxed);
            let request = span.during(self.send_metadata(path, selector, range, headers, timeout));
            body = self.exchange(path, timeout, headers, request).await;
        }
        span::end(&mut span, &body);
        body
    }

    async fn send_metadata(
        &self,
        path: &str,
        selector: &str,
        range: Range,
        headers: &Headers,
        timeout: Duration,
    ) -> Result<Body, Error> {
        let until = patience(timeout);
        let asked = self.clock.covering(range);
        let body = self.send_selector(path, selector, asked, headers, until).await?;
        let wanted = self.clock.covering(range);
        if asked.start <= wanted.start && wanted.end <= asked.end {
            return Ok(body);
        }
        // This answer was the first to say what time it is there.
        drop(body);
        self.traffic.metadata_requests.fetch_add(1, Ordering::Relaxed);
        self.send_selector(path, selector, wanted, headers, until).await
    }

    async fn send_selector(
        &self,
        path: &str,
        selector: &str,
        range: Range,
        headers: &Headers,
        until: Instant,
    ) -> Result<Body, Error> {
        let connection = self.connections.current();
        let (start, end) = (range.start.to_string(), range.end.to_string());
        let parameters = [("match[]", selector), ("start", &start), ("end", &end)];
        // Prometheus takes no POST for label values.
        let by_post = self.method == Method::Post && !path.ends_with("/values");
        let request = connection.request(path, &parameters, by_post);
        let request = request.headers(connection.headers_with(headers));
        // What names become takes several times as much as they do.
        let limit = if path == SERIES { usize::MAX } else { self.bodies.largest() / 4 };
        self.send(request, headers, limit, until).await
    }

    async fn build_info(&self, headers: &Headers, timeout: Duration) -> Result<BuildInfo, Error> {
        self.admitted(BUILD_INFO, headers).await?;
        let credentials = self.credentials(BUILD_INFO, timeout).await?;
        self.unpaused(BUILD_INFO, headers)?;
        let send = || {
            self.traffic.metadata_requests.fetch_add(1, Ordering::Relaxed);
            let request = self.send_build_info(headers, timeout);
            self.exchange(BUILD_INFO, timeout, headers, request)
        };
        let mut body = send().await;
        let status = body.as_ref().err().and_then(Error::status);
        if self.is_repeated(credentials, status).await {
            body = send().await;
        }
        self.decoded(body?, headers, decode::build_info).await
    }

    async fn send_build_info(&self, headers: &Headers, timeout: Duration) -> Result<Body, Error> {
        let connection = self.connections.current();
        let request = connection.request(BUILD_INFO, &[], false);
        let request = request.headers(connection.headers_with(headers));
        self.send(request, headers, MAX_BUILD_INFO_BYTES, patience(timeout)).await
    }

    /// Sends a request that has these headers among its own.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        headers: &Headers,
        limit: usize,
        until: Instant,
    ) -> Result<Body, Error> {
        let (client, request) = request.build_split();
        let sent = async {
            let mut request = request?;
            if let Some(auth) = &self.auth {
                auth.apply(&mut request);
            }
            client.execute(request).await
        };
        let body = match sent.await {
            Ok(response) => self.receive(response, limit, until).await,
            Err(error) => Err(Error::transport(&error)),
        };
        body.map_err(|error| self.secrets(headers).withhold(error))
    }

    async fn receive(
        &self,
        mut response: reqwest::Response,
        limit: usize,
        until: Instant,
    ) -> Result<Body, Error> {
        let (status, now) = (response.status(), jiff::Timestamp::now());
        let retry_after = retry_after(status, response.headers(), now);
        // Errors may be those of a proxy.
        if status.is_success()
            && let Some(ahead) = self.clock.read(response.headers(), now)
        {
            let backend = &self.connections.config().server;
            tracing::warn!(
                backend,
                ahead,
                "the clock of Prometheus is not ours; the difference is in seconds"
            );
        }
        if let Some(auth) = &self.auth {
            auth.heard(response.headers());
        }
        let mut body = self.bodies.begin(limit, until);
        body.expect(response.content_length().unwrap_or_default())?;
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| Error::transport(&error))? else {
                break;
            };
            let received = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.traffic.received_bytes.fetch_add(received, Ordering::Relaxed);
            self.metrics.received(received);
            body.extend(&chunk).await?;
        }
        let body = body.complete();
        if !status.is_success() {
            return Err(Error::of_answer(status.as_u16(), body.bytes(), retry_after));
        }
        Error::of_page(body.bytes()).map_or(Ok(body), Err)
    }

    /// Decodes the body of an answer to a request with these headers. A large one takes long enough to hold up others.
    async fn decoded<T: Send + 'static>(
        &self,
        body: Body,
        headers: &Headers,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError> + Send + 'static,
    ) -> Result<T, Error> {
        let decoded = if body.bytes().len() < LARGE_BODY_BYTES {
            decode(body.bytes())
        } else {
            blocking::run(move || decode(body.bytes())).await
        };
        decoded.map_err(|error| self.secrets(headers).withhold(error.into()))
    }

    /// What a request with these headers of its own shows the backend: also the parameters of its URL may be secrets.
    fn secrets(&self, headers: &Headers) -> Secrets {
        let config = self.connections.config();
        let connection = self.connections.current();
        let before = connection.before.as_deref();
        let headers = connection.headers_with_own(headers);
        let parameters: Vec<_> = config.url.query_pairs().map(|(_, value)| value).collect();
        let password = config.basic.as_ref().map(|basic| basic.password.as_str());
        let of_file = connection.password();
        let of_file_before = before.and_then(|before| before.password.as_deref());
        let fetched = self.auth.as_ref().map(Authenticator::shown).unwrap_or_default();
        let fetched = fetched.iter().map(ExposeSecret::expose_secret);
        let of_files = of_file.as_deref().into_iter().chain(of_file_before);
        let others = password.into_iter().chain(of_files).chain(fetched);
        let headers = std::iter::once(&headers).chain(before.map(|before| &before.headers));
        Secrets::of(headers, parameters.iter().map(AsRef::as_ref).chain(others))
    }
}

/// How long an answer waits for memory: a little less than for the backend, to distinguish the two.
fn patience(timeout: Duration) -> Instant {
    now() + timeout.mul_f64(0.95)
}

/// The time of day of an instant, to the second.
fn timestamp(at: Instant) -> jiff::Timestamp {
    let age = now().saturating_duration_since(at);
    let second = jiff::Timestamp::now().as_second() - i64::try_from(age.as_secs()).unwrap_or(0);
    jiff::Timestamp::from_second(second).unwrap_or_default()
}

/// The time by tokio's clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Connection {
    /// The headers of a request. Its own replace those of the backend with the same names; both replace the headers of traces.
    fn headers_with(&self, own: &Headers) -> HeaderMap {
        let mut headers = self.headers_with_own(own);
        traces::add_headers(&mut headers);
        headers
    }

    /// The same without those that say for whom it is sent.
    fn headers_with_own(&self, own: &Headers) -> HeaderMap {
        let mut headers = self.headers.clone();
        for (name, value) in own {
            headers.insert(name, value.clone());
        }
        headers
    }

    /// A request without its headers. The parameters of the backend's URL stay in the URL, whatever the method.
    fn request(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        by_post: bool,
    ) -> reqwest::RequestBuilder {
        let mut url = self.client.base_url().clone();
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let http = self.client.inner();
        if by_post { http.post(url).form(parameters) } else { http.get(url).query(parameters) }
    }
}
