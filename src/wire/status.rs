//! Kubernetes' `Status`: the body of every error.

use std::borrow::Cow;

use serde::Serialize;

/// A failed request, as `kubectl` and client-go read it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    #[serde(rename = "status")]
    outcome: &'static str,
    /// A sentence for people.
    pub message: String,
    /// A word for programs.
    pub reason: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    /// The HTTP status code.
    pub code: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Empty {}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Cause {
    message: String,
}

/// When to come again after [`Reason::TooManyRequests`].
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// The reasons that this server uses, each with its HTTP code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// 400: the request is malformed.
    BadRequest,
    /// 401: the credentials are not known.
    Unauthorized,
    /// 403: the user is not permitted.
    Forbidden,
    /// 404: there is no such metric, object or path.
    NotFound,
    /// 405: only reading is possible.
    MethodNotAllowed,
    /// 406: none of the accepted media types is supported.
    NotAcceptable,
    /// 413: the body of the request is too long.
    RequestEntityTooLarge,
    /// 414: path and query are too long.
    UriTooLong,
    /// 415: a body of a media type that no API server takes.
    UnsupportedMediaType,
    /// 429: the user has reached a limit; a second later it may be free.
    TooManyRequests,
    /// 431: the head of the request is too long.
    RequestHeaderFieldsTooLarge,
    /// 500: something behind this server failed.
    InternalError,
    /// 503: something behind this server is not there.
    ServiceUnavailable,
    /// 504: something behind this server did not answer in time.
    Timeout,
}

impl Reason {
    /// The word in a `Status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UriTooLong => "RequestURITooLong",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::TooManyRequests => "TooManyRequests",
            Self::RequestHeaderFieldsTooLarge => "RequestHeaderFieldsTooLarge",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }

    /// The HTTP status code.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestEntityTooLarge => 413,
            Self::UriTooLong => 414,
            Self::UnsupportedMediaType => 415,
            Self::TooManyRequests => 429,
            Self::RequestHeaderFieldsTooLarge => 431,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

impl Status {
    /// A failure with a sentence for the client. `InternalError` puts Kubernetes' own words in front and the sentence into
    /// the details, as an API server does.
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        if reason == Reason::TooManyRequests {
            return Self::later(message, RETRY_AFTER_SECONDS);
        }
        let (message, details) = match reason {
            Reason::InternalError => {
                let causes = vec![Cause { message: message.clone() }];
                let details = Details { causes, retry_after_seconds: None };
                (format!("Internal error occurred: {message}"), Some(details))
            }
            _ => (message, None),
        };
        Self {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            outcome: "Failure",
            message,
            reason: reason.word().into(),
            details,
            code: reason.code(),
        }
    }

    /// [`Reason::TooManyRequests`], for a client that is to come again after so many seconds.
    pub fn later(message: String, seconds: u32) -> Self {
        let reason = Reason::TooManyRequests;
        Self {
            details: Some(Details { causes: Vec::new(), retry_after_seconds: Some(seconds) }),
            ..Self::passed_on(reason.code(), reason.word().to_owned(), message)
        }
    }

    /// A failure of another server, with its code and its reason.
    pub fn passed_on(code: u16, reason: String, message: String) -> Self {
        Self {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            outcome: "Failure",
            message,
            reason: reason.into(),
            details: None,
            code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_those_of_an_api_server() {
        let not_found =
            Status::failure(Reason::NotFound, "the server could not find the metric m for pods");
        assert_eq!(
            serde_json::to_string(&not_found).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the metric m for pods","reason":"NotFound","code":404}"#
        );
        let crowded = Status::failure(Reason::TooManyRequests, "later");
        assert_eq!(
            serde_json::to_string(&crowded).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"later","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}"#
        );
        let internal = Status::failure(Reason::InternalError, "unable to fetch metrics");
        assert_eq!(
            serde_json::to_string(&internal).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Internal error occurred: unable to fetch metrics","reason":"InternalError","details":{"causes":[{"message":"unable to fetch metrics"}]},"code":500}"#
        );
    }
}
