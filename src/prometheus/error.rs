//! Failures of requests to a backend, and their public causes.

mod audience;
mod obstacle;
mod public;
mod token;

use std::time::Duration;

use super::{
    auth::TokenError,
    config::ConfigError,
    decode::DecodeError,
    message::{Message, beginning},
};
pub use audience::Audience;
pub use obstacle::Obstacle;
use obstacle::causes;
pub(super) use obstacle::chain;
pub use public::PublicError;
pub use token::TokenFailure;

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
            PublicError::Credentials | PublicError::NoCredentials(_) | PublicError::NoBackend => {
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

    /// Whether it was not sent, because too many were under way.
    pub(super) fn had_no_turn(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::OverQuota(_))
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

    /// Whether an answer refuses whoever asks, whatever the query is: because of the credentials, or because something else than the
    /// backend answers.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Page(_))
            || matches!(self.status(), Some(300..=399 | 401 | 403 | 404 | 405 | 407))
    }

    /// Whether it is the answer of a backend that has read the query, and refuses that one.
    pub(super) fn is_about_what_is_asked(&self) -> bool {
        matches!(self.public(), PublicError::Refused(_) | PublicError::QuotedNames(_))
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
            Self::Token(error) => PublicError::NoCredentials(error.public()),
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

#[cfg(test)]
mod tests;
