//! Failures on their way out: a `Status` for the client, the cause for the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    core::{repeats::Repeats, rules::RuleEntry},
    delegates::{DelegateError, Why},
    reads::ReadError,
    records::Records,
    wire::{
        delegated::Declined,
        status::{RETRY_AFTER_SECONDS, Reason, Status},
    },
};

/// A failed request.
pub(super) struct ApiError {
    status: Box<Status>,
    cause: Option<String>,
    quiet: bool,
    /// Whether the status page shows it although the log does not.
    is_shown: bool,
    /// Whether a 429 has the header `Retry-After`.
    asks_to_retry: bool,
}

impl ApiError {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: Box::new(Status::failure(reason, message)),
            cause: None,
            quiet: false,
            is_shown: false,
            asks_to_retry: true,
        }
    }

    /// A quota of a namespace is used up.
    ///
    /// The time is in the body only. client-go heeds the header by up to ten tries of its own: kubectl would hang, and each
    /// autoscaler of the namespace would hold one of the few workers of the HorizontalPodAutoscaler controller, which are there for
    /// all namespaces. The controller comes back by itself.
    fn over_quota(message: String, retry_after: Option<Duration>) -> Self {
        let status = if let Some(time) = retry_after {
            // Rounded up, so that the read does not come too early.
            let seconds = time.as_millis().div_ceil(1_000);
            Status::later(message, u32::try_from(seconds).unwrap_or(u32::MAX))
        } else {
            let reason = Reason::TooManyRequests;
            Status::passed_on(reason.code(), reason.word().to_owned(), message)
        };
        let status = Box::new(status);
        Self { status, cause: None, quiet: false, is_shown: true, asks_to_retry: false }
    }

    /// Another server failed with this code and reason. Its 429 has no header, as in [`ApiError::over_quota`]: one delegate that is
    /// busy would hold the workers of the controller, which are there for all autoscalers.
    fn passed_on(code: u16, reason: String, message: String) -> Self {
        let status = Box::new(Status::passed_on(code, reason, message));
        Self { status, cause: None, quiet: false, is_shown: true, asks_to_retry: false }
    }

    /// Nothing is there.
    pub(super) fn not_found() -> Self {
        Self::new(Reason::NotFound, "the server could not find the requested resource")
    }

    /// Something that was sent cannot be understood.
    pub(super) fn bad_request(error: &dyn std::error::Error) -> Self {
        Self::new(Reason::BadRequest, error.to_string())
    }

    /// The user has reached a limit.
    pub(super) fn crowded() -> Self {
        let text = "too many requests are under way for this user; please try again later";
        Self::new(Reason::TooManyRequests, text)
    }

    /// The HTTP status code.
    pub(super) fn code(&self) -> u16 {
        self.status.code
    }

    /// What the client is told.
    pub(super) fn message(&self) -> &str {
        &self.status.message
    }

    /// Keeps a failure that is expected, such as a probe's, out of the log.
    pub(super) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// What happened, for the log only.
    pub(super) fn with_cause(mut self, cause: &dyn std::error::Error) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl From<ReadError> for ApiError {
    /// The one place that decides which failure of a read has which HTTP status.
    fn from(error: ReadError) -> Self {
        if let Some((_, retry_after)) = error.over_quota() {
            return Self::over_quota(error.to_string(), retry_after);
        }
        let reason = match &error {
            ReadError::UnknownMetric { .. }
            | ReadError::Refused { .. }
            | ReadError::NoUsage
            | ReadError::UnknownUsage { .. } => Reason::NotFound,
            // As metrics-server does, whose API this is.
            ReadError::Fetch { rule, .. } if matches!(rule.id.entry, RuleEntry::Resource(_)) => {
                Reason::ServiceUnavailable
            }
            ReadError::BadSelector(_) => Reason::BadRequest,
            ReadError::NotDiscovered { .. }
            | ReadError::Rule(_)
            | ReadError::Unusable { .. }
            | ReadError::NoUsageRule(_)
            | ReadError::Fetch { .. }
            | ReadError::Objects(_) => Reason::InternalError,
            // All refusals of quotas are told above.
            ReadError::OverQuota(_) => Reason::TooManyRequests,
        };
        let message = error.to_string();
        let failed = match std::error::Error::source(&error) {
            Some(cause) => Self::new(reason, message).with_cause(cause),
            None => Self::new(reason, message),
        };
        Self { is_shown: true, ..failed }
    }
}

impl From<DelegateError> for ApiError {
    /// The code and the reason of a delegate are kept, with two exceptions: 401 is about our credentials, and a client would take
    /// it for its own; codes that are no failures of a read are an internal error. What it says of a failure of its own may have
    /// addresses, and goes to the log.
    fn from(error: DelegateError) -> Self {
        let message = error.to_string();
        let cause = error.cause();
        let failed = match error.why {
            Why::Declined(Declined { code: 401, .. }) => Self::new(Reason::InternalError, message),
            Why::Declined(Declined { code, reason, .. }) if (400..600).contains(&code) => {
                let reason = if reason.is_empty() { word_of(code).to_owned() } else { reason };
                Self::passed_on(code, reason, message)
            }
            Why::Silent => Self::new(Reason::Timeout, message),
            Why::Unreachable(..) | Why::Unconnected(_) | Why::Resting | Why::Busy | Why::NoRoom => {
                Self::new(Reason::ServiceUnavailable, message)
            }
            Why::Declined(_) | Why::TooLarge(_) | Why::Unfit(_) => {
                Self::new(Reason::InternalError, message)
            }
        };
        Self { cause: Some(cause), is_shown: true, ..failed }
    }
}

/// The reason that goes with a code, for a server that has named none.
fn word_of(code: u16) -> &'static str {
    let reason = match code {
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        405 => Reason::MethodNotAllowed,
        406 => Reason::NotAcceptable,
        429 => Reason::TooManyRequests,
        503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        400..500 => Reason::BadRequest,
        _ => Reason::InternalError,
    };
    reason.word()
}

/// What the log has to say of a failed request. It goes with the response, because many requests fail alike.
#[derive(Clone)]
struct Failure {
    code: u16,
    message: String,
    cause: String,
}

/// The failures that were logged lately.
#[derive(Default)]
pub struct Failures(Mutex<Repeats>);

impl Failures {
    /// Records why a request failed and logs it, equal failures once a minute. Failures are equal if their messages are: a message
    /// names the rule and the cause. The words of the backend differ each time and do not count.
    pub(super) fn tell(&self, response: &mut Response, records: &Records) {
        let Some(Failure { code, message, cause }) = response.extensions_mut().remove() else {
            return;
        };
        records.failed(code, &message);
        if code < 500 {
            return;
        }
        let mut repeats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(untold) = repeats.tell((code, &message), Instant::now()) else { return };
        drop(repeats);
        let suppressed = Some(untold).filter(|untold| *untold > 0);
        tracing::error!(code, cause, suppressed, "{message}");
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, cause, quiet, is_shown, asks_to_retry } = self;
        let code = status.code;
        let message = status.message.clone();
        let failure = ((code >= 500 || is_shown) && !quiet).then(|| Failure {
            code,
            message,
            cause: cause.unwrap_or_default(),
        });
        let body = serde_json::to_string(&status).unwrap_or_default();
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response =
            (code, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if code == StatusCode::TOO_MANY_REQUESTS && asks_to_retry {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if let Some(failure) = failure {
            response.extensions_mut().insert(failure);
        }
        response
    }
}

/// A panic of a handler ends its request, not the process.
#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without text");
    tracing::error!(panic = text, "a request panicked; this is a bug in loadline");
    ApiError::new(Reason::InternalError, "the request could not be handled").into_response()
}
