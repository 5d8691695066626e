//! Requests to token endpoints and metadata servers.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, Url, redirect::Policy};

use super::{
    super::{
        clock::date,
        config::{ConfigError, Source},
        error::{TokenFailure, chain},
        secrets::Secrets,
    },
    Skew,
};
use crate::{
    blocking,
    core::{
        cloud::{aws_profile::ProfileError, replies::ReplyError},
        rules::is_loopback,
    },
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take: metadata servers are near, or not there at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The most bytes of a reply.
const MAX_REPLY_BYTES: usize = 256 << 10;

/// The type of replies with tokens.
pub(super) const JSON: &str = "application/json";

/// Why there are no credentials. The text is for the log only; it holds no secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// Something is not configured.
    #[error("{0}")]
    Settings(String),
    /// A file cannot be read.
    #[error("{0}")]
    File(ConfigError),
    /// The shared files of AWS lead to no credentials.
    #[error("{0}")]
    Profile(#[from] ProfileError),
    /// The requests took too long altogether.
    #[error("no credentials within {} s", .0.as_secs_f64())]
    Slow(Duration),
    /// The task that made them has panicked.
    #[error("the attempt to get credentials was abandoned")]
    Abandoned,
    /// The endpoint has not replied.
    #[error("{endpoint}: {message}")]
    NoReply {
        /// What it is.
        endpoint: &'static str,
        /// The causes.
        message: String,
    },
    /// The reply is too long to be one.
    #[error("{endpoint}: its reply is longer than {MAX_REPLY_BYTES} bytes")]
    TooLong {
        /// What it is.
        endpoint: &'static str,
    },
    /// The endpoint has refused.
    #[error("{endpoint} replied with HTTP status {status}: {message}")]
    Refused {
        /// What it is.
        endpoint: &'static str,
        /// The status.
        status: u16,
        /// The code of the error, if it is a known one.
        code: Option<&'static str>,
        /// What it said, without what it was sent.
        message: String,
    },
    /// The reply holds no credential.
    #[error("{endpoint}: {error}")]
    Reply {
        /// What it is.
        endpoint: &'static str,
        /// Why not.
        error: ReplyError,
    },
}

impl TokenError {
    /// What clients may know of it.
    pub(in crate::prometheus) fn public(&self) -> TokenFailure {
        match *self {
            Self::Refused { endpoint, status, code, .. } => {
                TokenFailure::Refused { endpoint, status, code }
            }
            Self::NoReply { endpoint, .. } => TokenFailure::NoReply { endpoint },
            _ => TokenFailure::Other,
        }
    }
}

/// An endpoint, and how its errors are written.
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    /// What it is called in errors.
    pub(super) name: &'static str,
    /// Reads an error out of a reply, and returns an excerpt of it.
    pub(super) error: fn(&[u8]) -> Option<String>,
}

/// A successful reply.
pub(super) struct Reply {
    pub(super) body: Vec<u8>,
    headers: HeaderMap,
}

impl Reply {
    /// When the reply was made, by the clock of its sender if it says so.
    pub(super) fn made(&self) -> Timestamp {
        self.headers.get(header::DATE).and_then(date).unwrap_or_else(Timestamp::now)
    }
}

/// A client that follows no redirects: what it sends is for one endpoint.
pub(super) async fn client(url: &Url, ca: Option<&Source>) -> Result<Client, TokenError> {
    let is_near = is_near(url);
    let ca = ca.cloned();
    blocking::run(move || {
        let tls = |error: reqwest::Error| TokenError::File(ConfigError::Tls(chain(&error)));
        let mut builder = Client::builder()
            .user_agent(concat!("loadline/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none());
        if is_near {
            builder = builder.no_proxy();
        }
        if let Some(ca) = ca {
            let content = ca.read().map_err(TokenError::File)?;
            let certificates = reqwest::Certificate::from_pem_bundle(&content).map_err(tls)?;
            if certificates.is_empty() {
                let text = "the CA file of the token endpoint holds no certificate";
                return Err(TokenError::Settings(text.to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().map_err(tls)
    })
    .await
}

/// Whether a URL leads to this machine, or to an address that each machine of a cloud has for itself. Plain HTTP is safe there, and no
/// proxy leads there.
pub(super) fn is_near(url: &Url) -> bool {
    const EKS: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);
    const EC2: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_link_local() || ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip == EKS || ip == EC2,
        Some(url::Host::Domain("metadata.google.internal")) => true,
        _ => is_loopback(url),
    }
}

/// Fails where a secret would be sent in plain text over a network.
pub(super) fn guarded(url: &str, of: &'static str) -> Result<Url, TokenError> {
    let parsed = Url::parse(url)
        .ok()
        .filter(|parsed| parsed.host_str().is_some() && matches!(parsed.scheme(), "http" | "https"))
        .ok_or_else(|| TokenError::Settings(format!("{of} is not an http or https URL")))?;
    if parsed.scheme() != "https" && !is_near(&parsed) {
        return Err(TokenError::Settings(format!(
            "{of} is an http URL of another machine, and credentials are not sent in plain text"
        )));
    }
    Ok(parsed)
}

impl Endpoint {
    /// Sends a request with these secrets in it. An answer that is none of success is an error.
    pub(super) async fn call(
        &self,
        request: RequestBuilder,
        secrets: &[&str],
    ) -> Result<Reply, TokenError> {
        self.send(request, secrets, None).await.map_err(|(error, _)| error)
    }

    /// The same for a request that depends on the time there: it is made again where the answer shows that it is another one.
    pub(super) async fn call_at(
        &self,
        skew: &Skew,
        secrets: &[&str],
        request: impl Fn(Timestamp) -> Result<RequestBuilder, TokenError>,
    ) -> Result<Reply, TokenError> {
        match self.send(request(skew.now())?, secrets, Some(skew)).await {
            Err((_, true)) => self.call(request(skew.now())?, secrets).await,
            other => other.map_err(|(error, _)| error),
        }
    }

    /// Also returns whether an error may be due to the time.
    async fn send(
        &self,
        request: RequestBuilder,
        secrets: &[&str],
        skew: Option<&Skew>,
    ) -> Result<Reply, (TokenError, bool)> {
        let endpoint = self.name;
        let no_reply = |message: String| (TokenError::NoReply { endpoint, message }, false);
        let failed = |error: reqwest::Error| {
            let message = if error.is_timeout() {
                format!("no reply within {} s", TIMEOUT.as_secs())
            } else {
                chain(&error)
            };
            no_reply(message)
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err((TokenError::TooLong { endpoint }, false));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Reply { body, headers: std::mem::take(response.headers_mut()) });
        }
        let made = response.headers().get(header::DATE).and_then(date);
        let is_off = skew.zip(made).is_some_and(|(skew, made)| skew.read(made));
        Err((self.refused(status.as_u16(), &body, secrets), is_off))
    }

    /// The error of a reply with another status than success to a request with these secrets.
    fn refused(&self, status: u16, body: &[u8], secrets: &[&str]) -> TokenError {
        let mut message = (self.error)(body).unwrap_or_else(|| "no reason is given".to_owned());
        let code = TokenFailure::code(&message);
        Secrets::of(None, secrets.iter().copied()).remove(&mut message);
        TokenError::Refused { endpoint: self.name, status, code, message }
    }

    /// An error of the reply's content.
    pub(super) fn unreadable(&self, error: ReplyError) -> TokenError {
        TokenError::Reply { endpoint: self.name, error }
    }
}

/// A request with a form, for a reply of this type.
pub(super) fn form(
    client: &Client,
    url: Url,
    accept: &'static str,
    parameters: &[(&str, &str)],
) -> RequestBuilder {
    client.post(url).header(header::ACCEPT, accept).form(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cloud::replies;

    #[test]
    fn what_an_endpoint_says_is_escaped_once_and_has_no_secret() {
        let endpoint = Endpoint { name: "it", error: replies::token_error };
        let body =
            br#"{"error":"invalid_client","error_description":"no \"app\" by \"a-secret\"\n"}"#;
        let error = endpoint.refused(401, body, &["a-secret"]).to_string();
        let wanted = r#"invalid_client: no \"app\" by \"[withheld]\"\n"#;
        assert_eq!(error, format!("it replied with HTTP status 401: {wanted}"));
    }

    #[test]
    fn plain_text_is_for_this_machine_and_its_metadata() {
        for url in [
            "https://login.example",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost",
            "http://169.254.169.254",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://metadata.google.internal",
        ] {
            guarded(url, "it").unwrap();
        }
        for url in [
            "http://login.example",
            "http://10.0.0.1",
            "http://[fd00:ec2::24]",
            "http://169.254.169.254.evil.example",
            "http://metadata.google.internal.evil.example",
            "ftp://127.0.0.1",
            "login.example",
            "",
        ] {
            assert!(guarded(url, "it").is_err(), "{url}");
        }
    }
}
