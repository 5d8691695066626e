//! Why a backend cannot be reached, from the error of the transport.

use std::{error::Error as StdError, io};

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::core::excerpt::{SAID, excerpt};

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

impl Obstacle {
    pub(super) fn meaning(self) -> &'static str {
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

    pub(super) fn of(error: &reqwest::Error) -> Self {
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
pub(super) fn causes<'e>(
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
pub(in crate::prometheus) fn chain(error: &(dyn StdError + 'static)) -> String {
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
