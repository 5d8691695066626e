//! A Prometheus-compatible backend: the only user of prometheus-http-query.
//!
//! Requests are built by that crate where it takes what a rules file says (instant queries); the metadata endpoints take
//! selectors as text and are asked by hand. Every request has a deadline, every body a limit, and answers are decoded by
//! [`decode`], which keeps what the crate's own types drop: warnings, histograms, foreign error types.

pub mod config;
mod connection;
pub mod decode;
mod span;
mod tenant;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
pub use config::{Config, ConfigError, Method, Source};
use connection::{Connection, Connections};
pub use decode::Answer;
use decode::DecodeError;
use http::{HeaderMap, HeaderName, HeaderValue};
pub use tenant::Tenant;
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    metrics::{Metrics, backend},
    traces,
};

/// The most bytes of an answer to a metadata request that are read.
pub const MAX_ANSWER_BYTES: usize = 256 << 20;

/// The most bytes of a query's result that are read. Results are kept, and one must not push out all others.
pub const MAX_RESULT_BYTES: usize = 32 << 20;

/// Queries longer than this are sent by POST whatever the configured method: servers and proxies refuse long URLs.
const MAX_GET_QUERY_BYTES: usize = 6 << 10;

/// Where queries are evaluated. The endpoints are labels of metrics as prometheus-adapter has them, with the slash.
const QUERY: &str = "/api/v1/query";

/// Where metric names are asked for.
const METRIC_NAMES: &str = "/api/v1/label/__name__/values";

/// Headers that are put in place of those of all requests.
type Headers = Vec<(HeaderName, HeaderValue)>;

/// A backend: where it is, how to authenticate, and what has passed between us.
pub struct Prometheus {
    connections: Connections,
    method: Method,
    query_timeout: Duration,
    discovery_timeout: Duration,
    traffic: Traffic,
    metrics: backend::Backend,
    in_flight: Semaphore,
    /// Half of those under way: so that readers who have nothing yet are not behind everything that is refreshed.
    refreshes: Semaphore,
    ignores_selectors: OnceCell<bool>,
}

/// What has been asked of a backend, since the start.
#[derive(Debug, Default)]
pub struct Traffic {
    queries: AtomicU64,
    metadata_requests: AtomicU64,
    received_bytes: AtomicU64,
}

impl Traffic {
    /// Instant queries sent.
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

/// The time range of a metadata request, in whole seconds since the epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// The beginning.
    pub start: i64,
    /// The end.
    pub end: i64,
}

/// A request that the backend did not answer as it should. The text may hold the backend's words and is for the log only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or it broke.
    #[error("cannot reach Prometheus: {0}")]
    Unreachable(String),
    /// The deadline passed.
    #[error("Prometheus did not answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// So many queries are under way that this one did not have its turn in time.
    #[error("no query could be sent within {} s: too many are under way", .0.as_secs_f64())]
    Busy(Duration),
    /// An HTTP status that is no success, with the beginning of a body that is not the API's.
    #[error("Prometheus answered with HTTP status {status}: {body}")]
    Http {
        /// The status code.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The backend says that the request failed.
    #[error("Prometheus answered with HTTP status {status}: {kind}: {message}")]
    Api {
        /// The HTTP status code.
        status: u16,
        /// The backend's `errorType`.
        kind: String,
        /// The backend's words.
        message: String,
    },
    /// The body is longer than we read.
    #[error("the answer of Prometheus is longer than {0} bytes")]
    TooLarge(usize),
    /// A part of the answer is missing, where a whole one may still be used.
    #[error("the answer of Prometheus is partial")]
    Partial,
    /// The body is not what the API says.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The credentials could not be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

impl Error {
    /// A word for the failure, for counting.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Busy(_) => "busy",
            Self::Http { .. } => "http",
            Self::Api { .. } | Self::Decode(DecodeError::Api { .. }) => "refused",
            Self::TooLarge(_) => "too_large",
            Self::Partial => "partial",
            Self::Decode(DecodeError::Json(_) | DecodeError::NoData) => "malformed",
            Self::Config(_) => "credentials",
        }
    }

    /// Whether it is the query that cannot be answered, so that one which asks for less may be: it is refused, gives several
    /// samples where one is wanted, or is over a limit or too slow.
    pub fn is_about_the_query(&self) -> bool {
        // 401, 403 and 429 are about who asks, and how often.
        let is_refusal =
            |status: u16| (400..500).contains(&status) && !matches!(status, 401 | 403 | 429);
        match self {
            Self::Timeout(_) | Self::TooLarge(_) | Self::Decode(DecodeError::Api { .. }) => true,
            Self::Http { status, .. } => is_refusal(*status),
            Self::Api { status, kind, .. } => is_refusal(*status) || kind == "timeout",
            Self::Unreachable(_)
            | Self::Busy(_)
            | Self::Partial
            | Self::Decode(DecodeError::Json(_) | DecodeError::NoData)
            | Self::Config(_) => false,
        }
    }

    /// Whether there was no answer at all: the query may be too slow, or the backend hangs.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// A cause that may be told to whoever reads metrics: no address, no credentials, none of the backend's words.
    pub fn public(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Prometheus cannot be reached",
            Self::Timeout(_) => "Prometheus did not answer in time",
            Self::Busy(_) => "too many queries are under way",
            Self::Http { .. } => "Prometheus, or a proxy before it, answered with an HTTP error",
            Self::Api { .. } | Self::Decode(DecodeError::Api { .. }) => {
                "Prometheus refused the query"
            }
            Self::TooLarge(_) => "the answer of Prometheus is too large",
            Self::Partial => "the answer of Prometheus is partial",
            Self::Decode(DecodeError::Json(_) | DecodeError::NoData) => {
                "the answer is not one of a Prometheus"
            }
            Self::Config(_) => "the credentials for Prometheus cannot be used",
        }
    }
}

impl Prometheus {
    /// Reads the credentials once, so that a file that is missing or broken is an error at start.
    pub fn new(config: Config, metrics: &Arc<Metrics>) -> Result<Self, ConfigError> {
        let concurrency = config.concurrency;
        let metrics = metrics.backend(&config.name, &config.public_url());
        Ok(Self {
            method: config.method,
            query_timeout: config.query_timeout,
            discovery_timeout: config.discovery_timeout,
            connections: Connections::new(config)?,
            traffic: Traffic::default(),
            metrics,
            in_flight: Semaphore::new(concurrency),
            refreshes: Semaphore::new(concurrency.div_ceil(2)),
            ignores_selectors: OnceCell::new(),
        })
    }

    /// What has passed between us and the backend.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How long a request of discovery may take.
    pub fn discovery_timeout(&self) -> Duration {
        self.discovery_timeout
    }

    /// The failure of a discovery that took longer.
    pub fn discovery_timed_out(&self) -> Error {
        Error::Timeout(self.discovery_timeout)
    }

    async fn query(
        &self,
        promql: &str,
        headers: &Headers,
        timeout: Option<Duration>,
    ) -> Result<Answer, Error> {
        let timeout = timeout.unwrap_or(self.query_timeout);
        // Waiting for others is not the query's fault, and so not within its time.
        let permit = tokio::time::timeout(timeout, self.in_flight.acquire()).await;
        let _permit = permit.map_err(|_elapsed| {
            let error = Error::Busy(timeout);
            self.metrics.unsent(QUERY, error.kind());
            error
        })?;
        self.traffic.queries.fetch_add(1, Ordering::Relaxed);
        let mut span = span::begin(self.connections.config(), QUERY, promql);
        let request = span.during(self.send_query(promql, headers, timeout));
        let body = self.measured(QUERY, timeout, request).await;
        let answer = body.and_then(|body| Ok(decode::query(&body)?));
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
    ) -> Result<Bytes, Error> {
        let connection = self.connections.current().await;
        // A little less than we wait, so that a query that is too slow is told from a backend that does not answer.
        let timeout = timeout.mul_f64(0.9);
        let timeout = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let mut query = connection.client.query(promql).timeout(timeout);
        for (name, value) in &connection.headers_with(headers) {
            query = query.header(name, value.clone());
        }
        let by_post = self.method == Method::Post || promql.len() > MAX_GET_QUERY_BYTES;
        let response = if by_post { query.post_raw().await } else { query.get_raw().await };
        let response = response.map_err(|error| Error::Unreachable(chain(&error)))?;
        self.receive(response, MAX_RESULT_BYTES).await
    }

    /// Asked once.
    async fn ignores_selectors(&self, range: Range, headers: &Headers) -> Result<bool, Error> {
        let ignores = self.ignores_selectors.get_or_try_init(async || {
            let nothing = "{__name__=\"loadline_matches_nothing\",loadline_matches_nothing!=\"\"}";
            let body = self.metadata(METRIC_NAMES, nothing, range, headers).await?;
            let ignores = !decode::strings(&body)?.is_empty();
            if ignores {
                tracing::warn!("the backend ignores match[]; discovery reads every series");
            }
            Ok::<_, Error>(ignores)
        });
        Ok(*ignores.await?)
    }

    async fn metadata(
        &self,
        path: &'static str,
        selector: &str,
        range: Range,
        headers: &Headers,
    ) -> Result<Bytes, Error> {
        self.traffic.metadata_requests.fetch_add(1, Ordering::Relaxed);
        let mut span = span::begin(self.connections.config(), path, selector);
        let request = span.during(self.send_metadata(path, selector, range, headers));
        let body = self.measured(path, self.discovery_timeout, request).await;
        span::end(&mut span, &body);
        body
    }

    async fn send_metadata(
        &self,
        path: &str,
        selector: &str,
        range: Range,
        headers: &Headers,
    ) -> Result<Bytes, Error> {
        let connection = self.connections.current().await;
        let url = connection.endpoint(path);
        let (start, end) = (range.start.to_string(), range.end.to_string());
        let parameters = [("match[]", selector), ("start", &start), ("end", &end)];
        let http = connection.client.inner();
        // Prometheus takes no POST for label values.
        let request = if self.method == Method::Post && !path.ends_with("/values") {
            http.post(url).form(&parameters)
        } else {
            http.get(url).query(&parameters)
        };
        let response = request.headers(connection.headers_with(headers)).send().await;
        let response = response.map_err(|error| Error::Unreachable(chain(&error)))?;
        self.receive(response, MAX_ANSWER_BYTES).await
    }

    async fn receive(&self, mut response: reqwest::Response, limit: usize) -> Result<Bytes, Error> {
        let status = response.status();
        let mut body = BytesMut::new();
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| Error::Unreachable(chain(&error)))? else {
                break;
            };
            let received = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.traffic.received_bytes.fetch_add(received, Ordering::Relaxed);
            self.metrics.received(received);
            if body.len() + chunk.len() > limit {
                return Err(Error::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        let body = body.freeze();
        if status.is_success() {
            return Ok(body);
        }
        let status = status.as_u16();
        Err(match decode::error(&body) {
            Some((kind, message)) => Error::Api { status, kind, message },
            None => Error::Http { status, body: beginning(&body) },
        })
    }

    /// Gives a request its time limit, and counts it.
    async fn measured<T>(
        &self,
        path: &'static str,
        timeout: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let result = match tokio::time::timeout(timeout, request).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Error::Timeout(timeout)),
        };
        let outcome = result.as_ref().map_or_else(Error::kind, |_| "success");
        self.metrics.answered(path, outcome, started.elapsed().as_secs_f64());
        result
    }
}

/// The causes of a transport error, without the URL that reqwest puts into its own text: it may hold a token.
fn chain(error: &dyn std::error::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.downcast_ref::<reqwest::Error>().is_none() {
            causes.push(cause.to_string());
        }
        next = cause.source();
    }
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}

fn beginning(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Connection {
    /// The headers of a request that has some of its own: they count in place of others of the same names. Those that say
    /// for whom it is sent give way to both.
    fn headers_with(&self, own: &Headers) -> HeaderMap {
        let mut headers = self.headers.clone();
        for (name, value) in own {
            headers.insert(name, value.clone());
        }
        traces::add_headers(&mut headers);
        headers
    }

    fn endpoint(&self, path: &str) -> reqwest::Url {
        let mut url = self.client.base_url().clone();
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }
}
