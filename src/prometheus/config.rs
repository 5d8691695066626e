//! How to reach a backend: what the flags say, checked.

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
use reqwest::Url;

/// Where a backend is and how to authenticate there.
#[derive(Clone, Debug)]
pub struct Config {
    /// The base URL, without credentials.
    pub url: Url,
    /// User and password, from the URL.
    pub basic: Option<Basic>,
    /// A PEM file of the only certification authorities that are trusted; else the system's are.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the client certificate and its chain.
    pub certificate_file: Option<PathBuf>,
    /// A PEM file with the client certificate's key.
    pub key_file: Option<PathBuf>,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// Headers of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How queries are sent.
    pub method: Method,
    /// The longest that an instant query may take.
    pub query_timeout: Duration,
    /// The longest that a metadata request may take.
    pub discovery_timeout: Duration,
}

/// The method of requests that may be sent either way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Method {
    /// GET, the parameters in the URL.
    #[default]
    Get,
    /// POST, the parameters in the body.
    Post,
}

/// User and password. Not shown by `Debug`.
#[derive(Clone, Eq, PartialEq)]
pub struct Basic {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").finish_non_exhaustive()
    }
}

/// Configuration that cannot be used. No text holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is none, or not one of a web server.
    #[error("--prometheus-url: {0}")]
    Url(String),
    /// A header is not `name=value`.
    #[error("--prometheus-header: {0}")]
    Header(String),
    /// A file cannot be read.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// Certificate without key, or the other way round.
    #[error("a client certificate needs both --prometheus-client-tls-cert-file and --prometheus-client-tls-key-file")]
    HalfIdentity,
    /// The TLS material was refused.
    #[error("the TLS files for Prometheus cannot be used: {0}")]
    Tls(String),
}

impl Config {
    /// A backend at a URL, with everything else at its default. User and password in the URL become basic auth.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let mut url = Url::parse(url).map_err(|error| ConfigError::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            let message = "an http:// or https:// URL is expected";
            return Err(ConfigError::Url(message.to_owned()));
        }
        let basic = (!url.username().is_empty() || url.password().is_some()).then(|| Basic {
            user: percent_decoded(url.username()),
            password: percent_decoded(url.password().unwrap_or_default()),
        });
        // These cannot fail for a URL with a host.
        url.set_username("").and_then(|()| url.set_password(None)).unwrap_or_default();
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self {
            url,
            basic,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            token_file: None,
            headers: Vec::new(),
            method: Method::default(),
            query_timeout: Duration::from_secs(30),
            discovery_timeout: Duration::from_secs(60),
        })
    }

    /// Takes a `--prometheus-header`, `name=value`.
    pub fn add_header(&mut self, header: &str) -> Result<(), ConfigError> {
        let Some((name, value)) = header.split_once('=') else {
            return Err(ConfigError::Header("`name=value` is expected".to_owned()));
        };
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|error| ConfigError::Header(format!("`{name}`: {error}")))?;
        let mut value: HeaderValue = value
            .trim()
            .parse()
            .map_err(|error| ConfigError::Header(format!("the value of `{name}`: {error}")))?;
        // Tenant names and tokens alike: none of them belongs in a log.
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(())
    }
}

fn percent_decoded(text: &str) -> String {
    crate::wire::path::decode(text).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url() {
        let config = Config::new("https://us%40er:pa%3Ass@host:9090/prom/").unwrap();
        assert_eq!(config.url.as_str(), "https://host:9090/prom");
        let basic = config.basic.clone().unwrap();
        assert_eq!((basic.user.as_str(), basic.password.as_str()), ("us@er", "pa:ss"));
        assert!(!format!("{config:?}").contains("pa:ss"));
        assert!(Config::new("http://host").unwrap().basic.is_none());
    }

    #[test]
    fn what_is_no_web_url_is_refused() {
        for url in ["", "prometheus:9090", "ftp://host", "http://"] {
            assert!(Config::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn headers_are_name_and_value() {
        let mut config = Config::new("http://host").unwrap();
        config.add_header("X-Scope-OrgID=team=a").unwrap();
        assert_eq!(config.headers[0].0, "x-scope-orgid");
        assert_eq!(config.headers[0].1, "team=a");
        assert!(!format!("{config:?}").contains("team=a"));
        assert!(config.add_header("nothing").is_err());
        assert!(config.add_header("a b=c").is_err());
    }
}
