//! What clients may know of a failure.

use std::fmt;

use super::{super::message::Message, Obstacle, TokenFailure};
use crate::core::samples::MAX_NAMES;

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
    NoCredentials(TokenFailure),
    /// There is no usable backend.
    NoBackend,
    /// The requesting task has ended.
    Abandoned,
}

impl PublicError {
    /// Whether the query itself was refused, so that it is refused the next time, too.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::QuotedNames(_))
    }

    /// The cause of a refusal with this message of the backend.
    pub(super) fn of_refusal(status: Option<u16>, message: &Message) -> Self {
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
            Self::NoCredentials(failure) => {
                write!(f, "no credentials for Prometheus could be fetched{failure}")
            }
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
