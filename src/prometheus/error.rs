//! Failures of requests to a backend, and their public causes.

use std::{error::Error as StdError, fmt, io, time::Duration};

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::{
    auth::TokenError,
    config::ConfigError,
    decode::DecodeError,
    message::{Message, beginning},
};
use crate::core::{
    excerpt::{SAID, excerpt},
    samples::MAX_NAMES,
};

/// A failed request to a backend. The text may contain the backend's message and is for the log only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or it broke.
    #[error("cannot reach Prometheus: {message}")]
    Unreachable {
        /// The kind of failure.
        obstacle: Obstacle,
        /// The causes.
        message: String,
    },
    /// The deadline passed.
    #[error("Prometheus did not answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// It was not sent, or was abandoned, because the backend answers no request.
    #[error("given up, because no answers come: {0}")]
    Silent(PublicError),
    /// It was not sent, because of the backend's `Retry-After`.
    #[error("not sent, because it is to be asked later: {0}")]
    Paused(PublicError),
    /// Too many queries were under way for this one to be sent in time.
    #[error("no query could be sent within {} s: too many are under way", .0.as_secs_f64())]
    Busy(Duration),
    /// The quota of the namespace did not allow another query: so many of its own rules were under way.
    #[error("not sent: {0} queries of the namespace's own rules are under way")]
    OverQuota(usize),
    /// Answers under way took all memory, and none was free in time.
    #[error(
        "no room for the answer: those under way take all the memory that they may (--memory-limit)"
    )]
    NoRoom,
    /// An HTTP status other than success, with the beginning of a body that is not of the API.
    #[error("Prometheus answered with HTTP status {status}: {body}")]
    Http {
        /// The status code.
        status: u16,
        /// The body.
        body: Message,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// An error in the form of the API.
    #[error("Prometheus answered with HTTP status {status}: {kind}: {message}")]
    Api {
        /// The HTTP status code.
        status: u16,
        /// The backend's `errorType`.
        kind: String,
        /// The backend's message.
        message: Message,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A web page.
    #[error("the answer is a page: {0}")]
    Page(String),
    /// The body is longer than we read.
    #[error("the answer of Prometheus is longer than {0} bytes (--max-answer-bytes)")]
    TooLarge(usize),
    /// The answer is partial, while an older complete one may still be used.
    #[error("the answer of Prometheus is partial")]
    Partial,
    /// The body does not have the form of the API.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The credentials could not be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// There are no credentials, because they could not be fetched.
    #[error("no credentials for Prometheus: {0}")]
    Token(#[from] TokenError),
}

/// Whether another server with the same series may answer after a failure, and what the failure says of this one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Blame {
    /// The query, or what may be under way: another server would do the same.
    Query,
    /// This request, for example because of its tenant, which its headers name: another server may answer it.
    Request,
    /// Perhaps the server: no query causes this.
    Server,
}

/// A cause that clients may see: no address, no credentials, no text of the backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PublicError {
    /// No connection, or it broke.
    Unreachable(Obstacle),
    /// No answer in time; with the HTTP status if a proxy or the backend itself reported it.
    TimedOut(Option<u16>),
    /// Too many queries are under way.
    Busy,
    /// The namespace has so many queries of its own rules under way, as many as its quota allows.
    OverQuota(usize),
    /// An HTTP status that is not about the query.
    Status(u16),
    /// The query was refused, with the HTTP status unless it was success.
    Refused(Option<u16>),
    /// The same, because the backend does not read the names in quotes that the query has.
    QuotedNames(Option<u16>),
    /// The answer is longer than so many bytes.
    TooLarge(usize),
    /// The answer has more label names than are read.
    TooManyNames,
    /// A part of the answer is missing.
    Partial,
    /// The answer is not of the API.
    NotPrometheus {
        /// It is a web page.
        is_page: bool,
    },
    /// Our credentials cannot be used.
    Credentials,
    /// Our credentials cannot be fetched.
    NoCredentials,
    /// There is no usable backend.
    NoBackend,
    /// The requesting task has ended.
    Abandoned,
}

/// Why a backend cannot be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// Its name has no address.
    UnknownHost,
    /// The connection was refused.
    Refused,
    /// No connection was made in time.
    NoConnection,
    /// The connection broke.
    Broken,
    /// The connection broke after the handshake, before an answer. In TLS 1.3 a server judges our certificate only then, and a reset may
    /// overtake its alert.
    BrokenOverTls,
    /// We speak TLS, and it does not.
    SpeaksPlain,
    /// It speaks TLS, and we do not.
    SpeaksTls,
    /// Its certificate is signed by an authority that is not trusted.
    UnknownAuthority,
    /// Its certificate is for other names.
    OtherName,
    /// Its certificate has expired, or is not valid yet.
    Expired,
    /// Its certificate cannot be used for another reason.
    Certificate,
    /// It rejects our client certificate, or requires one.
    ClientCertificate,
    /// Something else.
    Other,
}

impl Error {
    /// The failure of a request without an answer.
    pub(crate) fn transport(error: &reqwest::Error) -> Self {
        Self::Unreachable { obstacle: Obstacle::of(error), message: chain(error) }
    }

    /// The same, for a query that the client library sent.
    pub(super) fn of_client(error: &prometheus_http_query::Error) -> Self {
        let sent = causes(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>());
        sent.map_or_else(
            || Self::Unreachable { obstacle: Obstacle::Other, message: chain(error) },
            Self::transport,
        )
    }

    /// The failure of an answer with an HTTP status other than success.
    pub(super) fn of_answer(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        if let Some((kind, message)) = super::decode::error(body) {
            return Self::Api { status, kind, message, retry_after };
        }
        let body = Message::of_body(body);
        // Web servers answer plain HTTP on a TLS port with this status and one of these texts.
        let wants_tls = ["HTTPS server", "HTTPS port", "SSL-enabled server port"];
        if status == 400 && wants_tls.iter().any(|words| body.text.contains(words)) {
            return Self::Unreachable { obstacle: Obstacle::SpeaksTls, message: body.text };
        }
        Self::Http { status, body, retry_after }
    }

    /// The failure of an answer that is a web page; `None` if it is not one.
    pub(super) fn of_page(body: &[u8]) -> Option<Self> {
        let is_page = body.trim_ascii_start().starts_with(b"<");
        is_page.then(|| Self::Page(beginning(body)))
    }

    /// The kind of the failure, as a label of metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self.public() {
            _ if matches!(self, Self::Silent(_)) => "silent",
            _ if matches!(self, Self::Paused(_)) => "paused",
            PublicError::Unreachable(_) => "unreachable",
            PublicError::TimedOut(_) => "timeout",
            PublicError::Busy => "busy",
            PublicError::OverQuota(_) => "over_quota",
            PublicError::Status(_) => "http",
            PublicError::Refused(_) | PublicError::QuotedNames(_) => "refused",
            PublicError::TooLarge(_) | PublicError::TooManyNames => "too_large",
            PublicError::Partial => "partial",
            PublicError::NotPrometheus { .. } => "malformed",
            PublicError::Credentials | PublicError::NoCredentials | PublicError::NoBackend => {
                "credentials"
            }
            PublicError::Abandoned => "abandoned",
        }
    }

    /// The HTTP status of the answer, unless it was success.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } | Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The `Retry-After` of the backend.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http { retry_after, .. } | Self::Api { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the query itself is the problem, so that a smaller one may succeed: it was refused, returned several samples where
    /// one is required, exceeded a limit or was too slow.
    pub fn is_about_the_query(&self) -> bool {
        match self {
            Self::Timeout(_)
            | Self::TooLarge(_)
            | Self::Decode(DecodeError::Api { .. } | DecodeError::TooManyNames) => true,
            Self::Http { status, .. } => is_about_the_query(*status),
            Self::Api { status, kind, .. } => is_about_the_query(*status) || kind == "timeout",
            _ => false,
        }
    }

    /// Whether a proxy waited for the backend in vain.
    pub fn is_gateway_timeout(&self) -> bool {
        matches!(self.status(), Some(408 | 504))
    }

    /// Whether a proxy may forward a narrower query all the same, or its answer find room: proxies forbid queries, limit answers and
    /// end what takes long, each by a status or a page of its own.
    pub fn may_depend_on_width(&self) -> bool {
        matches!(self, Self::Http { .. } | Self::Api { .. } | Self::Page(_) | Self::NoRoom)
            && self.status() != Some(429)
    }

    /// What a failure says of the server, unless it answers nobody.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Timeout(_)
            | Self::Busy(_)
            | Self::OverQuota(_)
            | Self::NoRoom
            | Self::TooLarge(_)
            | Self::Decode(DecodeError::TooManyNames) => Blame::Query,
            // A probe was answered after that.
            Self::Unreachable { .. }
            | Self::Silent(_)
            | Self::Paused(_)
            | Self::Partial
            | Self::Config(_)
            | Self::Token(_) => Blame::Request,
            Self::Decode(DecodeError::Api { kind, .. }) | Self::Api { kind, .. }
                if is_of_a_query(kind) =>
            {
                Blame::Query
            }
            Self::Page(_) | Self::Decode(_) => Blame::Server,
            Self::Http { status, retry_after, .. } | Self::Api { status, retry_after, .. } => {
                let is_slow = matches!(status, 408 | 504);
                if is_slow || is_about_the_query(*status) {
                    Blame::Query
                } else if matches!(status, 401 | 403 | 404 | 429) || retry_after.is_some() {
                    Blame::Request
                } else {
                    Blame::Server
                }
            }
        }
    }

    /// Whether the time was over, by our clock or by that of the backend or of a proxy.
    pub(super) fn is_too_slow(&self) -> bool {
        !matches!(self, Self::Silent(_) | Self::Paused(_))
            && matches!(self.public(), PublicError::TimedOut(_))
    }

    /// Whether the evaluation of a query has failed: because of the query, or because the backend cannot read its own data.
    pub(super) fn is_of_evaluation(&self) -> bool {
        match self {
            Self::Http { status: 422, .. } => true,
            Self::Api { kind, .. } | Self::Decode(DecodeError::Api { kind, .. }) => {
                matches!(kind.as_str(), "execution" | "422")
            }
            _ => false,
        }
    }

    /// Whether it is an answer.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Http { .. } | Self::Api { .. } | Self::Decode(_) | Self::Page(_))
    }

    /// How much it says of what is wrong, for a choice between the failures of several servers.
    pub(super) fn tells(&self) -> u8 {
        match self {
            Self::Silent(_) | Self::Paused(_) | Self::Config(_) | Self::Token(_) => 0,
            _ if self.is_silence() => 1,
            _ => 2,
        }
    }

    /// Whether there was no answer at all: the query may be too slow, or the backend hangs.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether the backend sent nothing in time, so that it may answer no request at all. An immediate answer of the backend or of a
    /// proxy before it is an answer, even if it is an error.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self.public(), PublicError::TimedOut(_) | PublicError::Unreachable(_))
    }

    /// The public cause.
    pub fn public(&self) -> PublicError {
        match self {
            Self::Unreachable { obstacle, .. } => PublicError::Unreachable(*obstacle),
            Self::Timeout(_) => PublicError::TimedOut(None),
            Self::Silent(cause) | Self::Paused(cause) => *cause,
            Self::Busy(_) | Self::NoRoom => PublicError::Busy,
            Self::OverQuota(queries) => PublicError::OverQuota(*queries),
            Self::Http { status: status @ (408 | 504), .. }
            | Self::Api { status: status @ (408 | 504), .. } => {
                PublicError::TimedOut(Some(*status))
            }
            Self::Api { status, kind, .. } if kind == "timeout" => {
                PublicError::TimedOut(Some(*status))
            }
            // A web server or proxy has not understood the request. Prometheus and its relatives say what is wrong with a query in JSON
            // or in plain text.
            Self::Http { status: status @ 400, body, .. } if body.text.starts_with('<') => {
                PublicError::Status(*status)
            }
            Self::Http { status: status @ (400 | 422), body: message, .. }
            | Self::Api { status: status @ (400 | 422), message, .. } => {
                PublicError::of_refusal(Some(*status), message)
            }
            Self::Http { status, .. } | Self::Api { status, .. } => PublicError::Status(*status),
            Self::Decode(DecodeError::Api { kind, .. }) if kind == "timeout" => {
                PublicError::TimedOut(None)
            }
            Self::Decode(DecodeError::Api { message, .. }) => {
                PublicError::of_refusal(None, message)
            }
            Self::TooLarge(limit) => PublicError::TooLarge(*limit),
            Self::Decode(DecodeError::TooManyNames) => PublicError::TooManyNames,
            Self::Partial => PublicError::Partial,
            Self::Page(_) => PublicError::NotPrometheus { is_page: true },
            Self::Decode(_) => PublicError::NotPrometheus { is_page: false },
            Self::Config(_) => PublicError::Credentials,
            Self::Token(_) => PublicError::NoCredentials,
        }
    }
}

/// Whether an `errorType` is one that a query causes. `VictoriaMetrics` has the HTTP status there. We cancel no query whose answer we
/// wait for: that is what a Prometheus does when it stops.
fn is_of_a_query(kind: &str) -> bool {
    matches!(kind, "bad_data" | "execution" | "timeout" | "400" | "422")
}

/// Whether a shorter or simpler query may succeed after this status.
fn is_about_the_query(status: u16) -> bool {
    matches!(status, 400 | 413 | 414 | 422 | 431)
}

impl PublicError {
    /// The cause of a refusal with this message of the backend.
    fn of_refusal(status: Option<u16>, message: &Message) -> Self {
        if message.is_about_quoted_names {
            Self::QuotedNames(status)
        } else {
            Self::Refused(status)
        }
    }
}

impl fmt::Display for PublicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(obstacle) => match obstacle.meaning() {
                "" => f.write_str("Prometheus cannot be reached"),
                meaning => write!(f, "Prometheus cannot be reached ({meaning})"),
            },
            Self::TimedOut(None) => f.write_str("Prometheus did not answer in time"),
            Self::TimedOut(Some(status)) => {
                write!(f, "Prometheus did not answer in time (HTTP status {status})")
            }
            Self::Busy => f.write_str("too many queries are under way"),
            Self::OverQuota(queries) => write!(
                f,
                "the namespace has as many queries of its own rules under way as it may have: {queries} (`teamRules.quotas.queries`, and a quarter of the backend's `concurrency` at most)"
            ),
            Self::Status(status) => {
                let by = "Prometheus, or a proxy before it, answered with HTTP status";
                match meaning(*status) {
                    "" => write!(f, "{by} {status}"),
                    meaning => write!(f, "{by} {status} ({meaning})"),
                }
            }
            Self::Refused(None) => f.write_str("Prometheus refused the query"),
            Self::Refused(Some(status)) => {
                write!(f, "Prometheus refused the query (HTTP status {status})")
            }
            Self::QuotedNames(status) => write!(
                f,
                "{}: it has a name in quotes, which needs Prometheus 3 or another backend that reads such names",
                Self::Refused(*status)
            ),
            Self::TooLarge(limit) => {
                f.write_str("the answer of Prometheus is too large: more than ")?;
                match limit >> 20 {
                    0 => write!(f, "{limit} bytes")?,
                    mebibytes => write!(f, "{mebibytes} MiB")?,
                }
                f.write_str(" (--max-answer-bytes)")
            }
            Self::TooManyNames => write!(
                f,
                "the answer of Prometheus is too large: more than {MAX_NAMES} label names"
            ),
            Self::Partial => f.write_str("the answer of Prometheus is partial"),
            Self::NotPrometheus { is_page: false } => {
                f.write_str("the answer is not one of a Prometheus")
            }
            Self::NotPrometheus { is_page: true } => {
                f.write_str("the answer is not one of a Prometheus (HTML, as of a login page)")
            }
            Self::Credentials => f.write_str("the credentials for Prometheus cannot be used"),
            Self::NoCredentials => f.write_str("no credentials for Prometheus could be fetched"),
            Self::NoBackend => f.write_str("its backend cannot be asked"),
            Self::Abandoned => f.write_str("the query was abandoned"),
        }
    }
}

/// What a status says that is not about the query.
fn meaning(status: u16) -> &'static str {
    match status {
        300..=399 => "it redirects to another server, as to https or to a login page",
        400 => "a proxy or web server does not accept the request",
        401 => "the credentials are missing or wrong",
        403 => "the credentials do not permit it",
        404 => "is the path prefix of --prometheus-url, or of the backend's `url`, right?",
        405 => "it does not permit the method: see --prometheus-verb, or the backend's `verb`",
        407 => "the credentials for the proxy are missing or wrong",
        413 | 414 | 431 => "the query is too long for it",
        429 => "it limits how often it is asked",
        502 => "the proxy does not reach it",
        503 => "it is unavailable",
        500..=599 => "it failed",
        _ => "",
    }
}

impl Obstacle {
    fn meaning(self) -> &'static str {
        match self {
            Self::UnknownHost => "its host name is unknown",
            Self::Refused => "connection refused",
            Self::NoConnection => "no connection in time",
            Self::Broken => "the connection broke",
            Self::BrokenOverTls => {
                "the connection broke; is our client certificate missing or not accepted?"
            }
            Self::SpeaksPlain => "no TLS at this port: http:// instead of https://?",
            Self::SpeaksTls => "only TLS at this port: https:// instead of http://?",
            Self::UnknownAuthority => "its certificate is of an unknown authority",
            Self::OtherName => "its certificate is for another name",
            Self::Expired => "its certificate has expired, or is not valid yet",
            Self::Certificate => "its certificate is not valid",
            Self::ClientCertificate => "our client certificate is missing or not accepted",
            Self::Other => "",
        }
    }

    fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::NoConnection;
        }
        let known = causes(error).find_map(Self::of_cause);
        let obstacle = known.unwrap_or(if error.is_connect() { Self::Other } else { Self::Broken });
        let is_tls = error.url().is_some_and(|url| url.scheme() == "https");
        match obstacle {
            Self::Broken if is_tls && error.is_request() && !error.is_connect() => {
                Self::BrokenOverTls
            }
            obstacle => obstacle,
        }
    }

    fn of_cause(cause: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(Self::of_tls(error));
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            // What comes first in TLS is no line of HTTP.
            return error.is_parse().then_some(Self::SpeaksTls);
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::ConnectionRefused => Some(Self::Refused),
                io::ErrorKind::TimedOut => Some(Self::NoConnection),
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Some(Self::Broken),
                _ => None,
            };
        }
        // The connector's own type is not public.
        (cause.to_string() == "dns error").then_some(Self::UnknownHost)
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => match error {
                // The latter where authorities of the same name have different keys.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::UnknownAuthority
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                _ => Self::Certificate,
            },
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::SpeaksPlain,
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::DecryptError
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied,
            ) => Self::ClientCertificate,
            _ => Self::Other,
        }
    }
}

/// The causes of an error, those that an I/O error carries included.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause: &&'e (dyn StdError + 'static)| {
        let cause: &'e (dyn StdError + 'static) = *cause;
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => cause.source(),
        }
    })
}

/// The causes of a transport error, without the URL that reqwest puts into its own text: it may hold a token.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error).filter(|cause| cause.downcast_ref::<reqwest::Error>().is_none()) {
        let text = cause.to_string();
        // An I/O error repeats what it carries.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
    }
    // A certificate or a header of the peer may be repeated there.
    let text = if texts.is_empty() { "the request failed".to_owned() } else { texts.join(": ") };
    excerpt(&text, SAID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: u16, kind: &str) -> Error {
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"SECRET"}}"#);
        Error::of_answer(status, body.as_bytes(), None)
    }

    fn page(status: u16) -> Error {
        Error::of_answer(status, b"<html>SECRET</html>", None)
    }

    #[test]
    fn statuses_are_told_by_number_and_meaning_whatever_the_body() {
        for (status, meaning, kind) in [
            (302, "redirect", "http"),
            (307, "redirect", "http"),
            (401, "credentials", "http"),
            (403, "credentials", "http"),
            (404, "path prefix", "http"),
            (405, "--prometheus-verb", "http"),
            (407, "credentials", "http"),
            (408, "in time", "timeout"),
            (414, "too long", "http"),
            (418, "answered", "http"),
            (422, "refused the query", "refused"),
            (429, "limits", "http"),
            (500, "failed", "http"),
            (502, "proxy", "http"),
            (503, "unavailable", "http"),
            (504, "in time", "timeout"),
        ] {
            for error in
                [page(status), Error::of_answer(status, b"", None), api(status, "internal")]
            {
                let public = error.public().to_string();
                assert!(public.contains(&format!("HTTP status {status}")), "{public}");
                assert!(public.contains(meaning) && !public.contains("SECRET"), "{public}");
                assert_eq!(error.kind(), kind, "{public}");
            }
        }
        let plain = Error::of_answer(400, b"unknown function SECRET", None);
        for error in [plain, Error::of_answer(400, b"", None), api(400, "bad_data")] {
            assert_eq!(error.public(), PublicError::Refused(Some(400)), "{error}");
        }
        for error in [api(503, "timeout"), api(422, "timeout")] {
            assert!(error.public().to_string().contains("did not answer in time"), "{error}");
        }
    }

    /// The messages are those of Prometheus 2.42 and VictoriaMetrics 1.79.
    #[test]
    fn backends_that_do_not_read_quoted_names_are_told_from_others() {
        let told = |status: u16, message: &str| {
            let body = serde_json::json!({"status": "error", "errorType": "x", "error": message});
            Error::of_answer(status, body.to_string().as_bytes(), None).public()
        };
        for message in [
            r#"invalid parameter "query": 1:3: parse error: unexpected string "\"a.b\"" in label matching, expected identifier or "}""#,
            r#"1:9: parse error: unexpected string "\"a.b\"" in grouping opts, expected label"#,
            r#"cannot parse matches[]={"a.b"}: labelFilterExpr: unexpected token "\"a.b\""; want "ident"; unparsed data: "\"a.b\"}""#,
            r#"identList: unexpected token "\"a.b\""; want "ident"; unparsed data: "\"a.b\") (x)""#,
        ] {
            let public = told(400, message);
            assert_eq!(public, PublicError::QuotedNames(Some(400)), "{message}");
            assert!(public.to_string().contains("Prometheus 3"), "{public}");
            let long = format!("cannot parse {}: {message}", "é".repeat(1_000));
            assert_eq!(told(422, &long), PublicError::QuotedNames(Some(422)), "{message}");
            let plain = Error::of_answer(400, long.as_bytes(), None);
            assert_eq!(plain.public(), PublicError::QuotedNames(Some(400)), "{message}");
            assert!(plain.to_string().chars().count() < 300, "{plain}");
        }
        for message in [
            r#"1:8: parse error: unexpected string "\"c\"" in label matching, expected "," or "}""#,
            r#"1:9: parse error: unexpected number "1" in grouping opts, expected label"#,
            r#"identList: unexpected token ""; want "ident"; unparsed data: """#,
            r#"labelFilterExpr: unexpected token "."; want "ident"; unparsed data: ".b=\"c\"}""#,
            "1:6: parse error: unclosed left parenthesis",
        ] {
            assert_eq!(told(422, message), PublicError::Refused(Some(422)), "{message}");
        }
    }

    #[test]
    fn what_is_about_the_query_may_be_answered_for_less() {
        for error in [api(422, "execution"), page(400), page(414), api(503, "timeout")] {
            assert!(error.is_about_the_query(), "{error}");
        }
        for error in [page(401), api(403, "forbidden"), page(404), page(429), page(503), page(302)]
        {
            assert!(!error.is_about_the_query(), "{error}");
        }
    }

    #[test]
    fn a_server_is_blamed_for_what_no_query_causes() {
        use Blame::{Query, Request, Server};
        let later = Some(Duration::from_secs(1));
        let in_200 =
            |kind: &str| DecodeError::Api { kind: kind.to_owned(), message: Message::default() };
        for (error, blame) in [
            (api(400, "bad_data"), Query),
            (api(422, "execution"), Query),
            (api(422, "422"), Query),
            (api(503, "timeout"), Query),
            (api(503, "canceled"), Server),
            (page(400), Query),
            (page(413), Query),
            (page(504), Query),
            (in_200("execution").into(), Query),
            (Error::Timeout(Duration::ZERO), Query),
            (Error::Busy(Duration::ZERO), Query),
            (Error::TooLarge(1), Query),
            (api(429, "too_many_requests"), Request),
            (page(429), Request),
            (Error::of_answer(503, b"", later), Request),
            (Error::Paused(PublicError::Busy), Request),
            (page(503), Server),
            (api(500, "internal"), Server),
            (api(503, "unavailable"), Server),
            (page(502), Server),
            (page(401), Request),
            (api(403, "forbidden"), Request),
            (page(404), Request),
            (page(302), Server),
            (in_200("internal").into(), Server),
            (DecodeError::NoData.into(), Server),
            (DecodeError::Json(String::new()).into(), Server),
            (Error::Page(String::new()), Server),
        ] {
            assert_eq!(error.blame(), blame, "{error}");
        }
        let [unsent, slow, answered] =
            [Error::Silent(PublicError::Busy), Error::Timeout(Duration::ZERO), page(503)];
        assert!(unsent.tells() < slow.tells() && slow.tells() < answered.tells());
    }

    #[test]
    fn what_ends_for_lack_of_time_and_what_fails_in_evaluation_are_told_apart() {
        for error in [Error::Timeout(Duration::ZERO), page(504), api(503, "timeout")] {
            assert!(error.is_too_slow() && !error.is_of_evaluation(), "{error}");
        }
        for error in [api(422, "execution"), page(422), api(422, "422")] {
            assert!(error.is_of_evaluation() && !error.is_too_slow(), "{error}");
        }
        let silent = Error::Silent(PublicError::TimedOut(None));
        for error in [silent, api(400, "bad_data"), page(503)] {
            assert!(!error.is_too_slow() && !error.is_of_evaluation(), "{error}");
        }
    }

    #[test]
    fn servers_that_want_tls_say_so_in_their_own_words() {
        for words in [
            "Client sent an HTTP request to an HTTPS server.\n",
            "<center>The plain HTTP request was sent to HTTPS port</center>",
            "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
        ] {
            let error = Error::of_answer(400, words.as_bytes(), None);
            assert_eq!(error.public(), PublicError::Unreachable(Obstacle::SpeaksTls), "{words}");
        }
        let other = page(400).public();
        assert_eq!(other, PublicError::Status(400));
        assert!(other.to_string().contains("a proxy or web server"), "{other}");
    }

    #[test]
    fn pages_are_told_from_answers() {
        assert!(Error::of_page(b"\n <!DOCTYPE html>").is_some());
        assert!(Error::of_page(b"{\"a\":\"<b>\"}").is_none() && Error::of_page(b"").is_none());
    }
}
