//! What clients may know of a failure to get a token.

use std::fmt;

/// The errors of token endpoints that are told: they are words of a protocol (RFC 6749, sections 4.1.2.1 and 5.2; RFC 8707), or names of
/// AWS STS. Any other text may repeat what the endpoint was sent.
const CODES: [&str; 14] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
    "AccessDenied",
    "ExpiredTokenException",
    "InvalidIdentityToken",
    "SignatureDoesNotMatch",
];

/// Why there are no credentials, without what may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenFailure {
    /// An endpoint has answered with an error.
    Refused {
        /// What it is.
        endpoint: &'static str,
        /// The HTTP status.
        status: u16,
        /// The code of the error, if it is a known one.
        code: Option<&'static str>,
    },
    /// An endpoint has not answered.
    NoReply {
        /// What it is.
        endpoint: &'static str,
    },
    /// Something else.
    Other,
}

impl TokenFailure {
    /// The known code at the beginning of what an endpoint said.
    pub(in crate::prometheus) fn code(said: &str) -> Option<&'static str> {
        let (first, _) = said.split_once(':').unwrap_or((said, ""));
        CODES.into_iter().find(|code| *code == first)
    }
}

/// The end of a sentence.
impl fmt::Display for TokenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { endpoint, status, code } => {
                write!(f, ": {endpoint} answered with HTTP status {status}")?;
                code.map_or(Ok(()), |code| write!(f, " ({code})"))
            }
            Self::NoReply { endpoint } => write!(f, ": {endpoint} did not answer"),
            Self::Other => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_of_the_protocols_are_told() {
        for (said, wanted) in [
            ("invalid_client", Some("invalid_client")),
            ("invalid_client: the secret is s3cret", Some("invalid_client")),
            ("AccessDenied: Not authorized", Some("AccessDenied")),
            ("invalid_client s3cret", None),
            ("s3cret: invalid_client", None),
            ("no reason is given", None),
            ("", None),
        ] {
            assert_eq!(TokenFailure::code(said), wanted, "{said}");
        }
    }
}
