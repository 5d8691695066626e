//! HTTP clients for a backend, renewed when the files that they authenticate with change.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use prometheus_http_query::Client;
use reqwest::redirect::Policy;

use super::config::{Config, ConfigError, Source};
use crate::{
    blocking,
    core::{credential, rules::is_loopback},
    files,
};

/// A client and the headers that every request carries.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) headers: HeaderMap,
    materials: Materials,
    /// What requests under way may have shown that were sent before the credentials changed.
    pub(super) before: Option<Arc<Shown>>,
}

/// What a backend is shown by every request.
pub(super) struct Shown {
    pub(super) headers: HeaderMap,
    pub(super) password: Option<String>,
}

/// The connection in use, and what it is made from.
pub(super) struct Connections {
    config: Config,
    current: ArcSwap<Connection>,
    /// What the log has of files that cannot be used: each cause is logged once, although the files are read every few seconds.
    told: Mutex<Option<String>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The credentials as they were read.
#[derive(Clone, Default, Eq, PartialEq)]
struct Materials {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    token: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Connections {
    pub(super) fn new(config: Config) -> Result<Self, ConfigError> {
        if config.certificate.is_some() != config.key.is_some() {
            return Err(ConfigError::HalfIdentity);
        }
        let connection = connect(&config, Materials::read(&config)?, None)?;
        Ok(Self { config, current: ArcSwap::from_pointee(connection), told: Mutex::default() })
    }

    /// Where they lead.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The connection to use now.
    pub(super) fn current(&self) -> Arc<Connection> {
        self.current.load_full()
    }

    /// Reads the files again. Where one has changed there is a new connection; where the new content cannot be used, the old
    /// one stays.
    pub(super) async fn reread(&self) {
        let config = &self.config;
        let sources = [&config.ca, &config.certificate, &config.key, &config.token];
        let is_constant =
            |source: &&Option<Source>| matches!(source, None | Some(Source::Inline(_)));
        if sources.iter().all(is_constant) && config.user.is_none() {
            return;
        }
        let backend = config.server.as_str();
        let (config, current) = (config.clone(), self.current());
        let read = move || Materials::read(&config);
        let renewed = match files::changed(Some(&current.materials), read).await {
            Ok(None) => Ok(false),
            Ok(Some(materials)) => self.connect(materials).await.map(|()| true),
            Err(error) => Err(error),
        };
        let problem = renewed.as_ref().err().map(ToString::to_string);
        let before = self.tell(problem.clone());
        match (problem, before) {
            (Some(error), before) if before.as_ref() != Some(&error) => {
                tracing::warn!(backend, error, "keeping the last good credentials for Prometheus");
            }
            (None, Some(_)) => {
                tracing::info!(backend, "the files with credentials for Prometheus are good again");
            }
            (None, None) if renewed.is_ok_and(|is_new| is_new) => {
                tracing::info!(
                    backend,
                    "the credentials for Prometheus have changed and are in use"
                );
            }
            _ => {}
        }
    }

    /// Notes what the log has, and returns what it had.
    fn tell(&self, problem: Option<String>) -> Option<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *told, problem)
    }

    /// Closes all connections: idle ones may be dead.
    pub(super) async fn renew(&self) {
        // What could be used once can be used again.
        self.connect(self.current().materials.clone()).await.unwrap_or_default();
    }

    async fn connect(&self, materials: Materials) -> Result<(), ConfigError> {
        let (config, current) = (self.config.clone(), self.current());
        let is_same = materials == current.materials;
        let before = if is_same { current.before.clone() } else { Some(current.shown()) };
        let connection = blocking::run(move || connect(&config, materials, before)).await?;
        self.current.store(Arc::new(connection));
        Ok(())
    }
}

impl Connection {
    /// The password in a file, as it was read.
    pub(super) fn password(&self) -> Option<String> {
        let password = self.materials.password.as_ref()?;
        Some(String::from_utf8_lossy(password).trim_end_matches(['\r', '\n']).to_owned())
    }

    fn shown(&self) -> Arc<Shown> {
        Arc::new(Shown { headers: self.headers.clone(), password: self.password() })
    }
}

impl Materials {
    fn read(config: &Config) -> Result<Self, ConfigError> {
        let names = &config.names;
        let read = |key: &'static str, source: Option<&Source>| {
            source.map(Source::read).transpose().map_err(|error| error.of(key))
        };
        let password = config.user.as_ref().map(|(_, password)| password);
        Ok(Self {
            ca: read(names.ca, config.ca.as_ref())?,
            certificate: read(names.certificate, config.certificate.as_ref())?,
            key: read(names.key, config.key.as_ref())?,
            token: read(names.token, config.token.as_ref())?,
            password: read(names.password, password)?,
        })
    }
}

fn connect(
    config: &Config,
    materials: Materials,
    before: Option<Arc<Shown>>,
) -> Result<Connection, ConfigError> {
    let tls = |error: reqwest::Error| ConfigError::Tls(super::error::chain(&error));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("loadline/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .redirect(redirects(&config.url))
        .tcp_keepalive(Duration::from_secs(30));
    if is_loopback(&config.url) {
        // As in Go: what runs on this machine is never behind the proxy of the environment.
        builder = builder.no_proxy();
    }
    if let Some(ca) = &materials.ca {
        let certificates = reqwest::Certificate::from_pem_bundle(ca).map_err(tls)?;
        if certificates.is_empty() {
            return Err(ConfigError::Tls("the CA file holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let (Some(certificate), Some(key)) = (&materials.certificate, &materials.key) {
        let pem = [key.as_slice(), b"\n", certificate.as_slice()].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(tls)?);
    }
    let client = Client::from(builder.build().map_err(tls)?, config.url.as_str())
        .map_err(|error| ConfigError::Url(error.to_string()))?;
    let headers = headers(config, &materials)?;
    Ok(Connection { client, headers, materials, before })
}

/// Redirects are followed within the same server only, because headers may hold credentials, and where the parameters of the
/// backend's URL are kept, because they may say whose series are asked for.
fn redirects(base: &reqwest::Url) -> Policy {
    let kept = base.clone();
    Policy::custom(move |attempt| {
        let origin = |url: &reqwest::Url| url.origin();
        let is_same = attempt.previous().last().map(origin) == Some(origin(attempt.url()));
        let is_whole =
            kept.query_pairs().all(|kept| attempt.url().query_pairs().any(|it| it == kept));
        if is_same && is_whole && attempt.previous().len() <= 5 {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

fn headers(config: &Config, materials: &Materials) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    let names = &config.names;
    let token = config.token.as_ref().zip(materials.token.as_ref());
    let token = token.map(|(source, token)| source.text(names.token, token, credential::token));
    let of_file = config.user.as_ref().zip(materials.password.as_ref());
    let of_file = of_file.map(|((user, source), content)| {
        let password = source.text(names.password, content, credential::password)?;
        Ok::<_, ConfigError>((user.as_str(), password))
    });
    let of_url = config.basic.as_ref().map(|basic| (basic.user.as_str(), basic.password.as_str()));
    let user = of_file.transpose()?.or(of_url);
    let authorization = match (token.transpose()?, user) {
        (Some(token), _) => Some(format!("Bearer {token}")),
        // It would end the user there.
        (None, Some((user, _))) if user.contains(':') => {
            return Err(ConfigError::Refused(
                "the name of the user holds a `:`, which basic authentication cannot send"
                    .to_owned(),
            ));
        }
        (None, Some((user, password))) => {
            Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        }
        (None, None) => None,
    };
    if let Some(authorization) = authorization {
        // A token that can be sent is the value of a header, and so is base64.
        let mut value = HeaderValue::from_str(&authorization)
            .map_err(|error| ConfigError::Refused(error.to_string()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in &config.headers {
        headers.append(name, value.clone());
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{metrics::Metrics, prometheus::Prometheus};

    /// A backend may repeat a request that was sent before the file changed.
    #[tokio::test]
    async fn what_was_shown_before_a_change_is_still_withheld() {
        // As the binary does; a test before this one may have done it.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for with_user in [false, true] {
            fs::write(&file, "the-old-one\n").unwrap();
            let mut config = Config::new("http://127.0.0.1:9").unwrap();
            let source = Source::file(&file);
            if with_user {
                config.user = Some(("user".to_owned(), source));
            } else {
                config.token = Some(source);
            }
            let prometheus = Prometheus::new(config, &Arc::new(Metrics::default())).unwrap();
            let is_withheld = |secret: &str| {
                let mut text = format!("x {secret}");
                prometheus.secrets(&Vec::new()).remove(&mut text);
                !text.contains(secret)
            };
            let basic = STANDARD.encode("user:the-old-one");
            assert!(is_withheld("the-old-one") && !is_withheld("the-new-one"));
            fs::write(&file, "the-new-one\n").unwrap();
            prometheus.reread_credentials().await;
            // As after a request without an answer.
            prometheus.connections.renew().await;
            assert!(is_withheld("the-new-one") && is_withheld("the-old-one"), "{with_user}");
            assert!(!with_user || is_withheld(&basic));
            assert!(!is_withheld("another-one"));
        }
    }

    /// Whether it is there at the start or comes later, what cannot be sent is named, and not repeated.
    #[tokio::test]
    async fn a_file_without_a_credential_is_named_and_the_last_good_one_stays() {
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for (auth, key) in [
            ("bearer: {tokenFile: PATH}", "auth.bearer.tokenFile"),
            ("basic: {username: u, passwordFile: PATH}", "auth.basic.passwordFile"),
        ] {
            let auth = auth.replace("PATH", &file.display().to_string());
            let config = || {
                let mut config = Config::new("http://127.0.0.1:9").unwrap();
                let auth = crate::core::rules::auth::load(&auth).unwrap();
                config.add_auth(crate::prometheus::AuthSettings::of_flags(auth));
                config
            };
            for (content, wanted) in [
                ("hidden\nhidden\n", "line break"),
                ("\n", "empty"),
                ("\u{feff}hidden", "byte order mark"),
                ("hid\0den", "control character"),
            ] {
                fs::write(&file, "good\n").unwrap();
                let connections = Connections::new(config()).unwrap();
                let before = connections.current().headers.clone();
                fs::write(&file, content).unwrap();
                let error = Connections::new(config()).unwrap_err().to_string();
                let names = [key, wanted, &file.display().to_string()];
                assert!(names.iter().all(|name| error.contains(name)), "{error}");
                assert!(!error.contains("hid"), "{error}");
                connections.reread().await;
                assert_eq!(connections.current().headers, before, "{content:?}");
                fs::write(&file, "better\n").unwrap();
                connections.reread().await;
                assert_ne!(connections.current().headers, before, "{content:?}");
            }
        }
    }

    #[test]
    fn a_user_that_cannot_be_sent_is_refused() {
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let config = Config::new("http://us%3Aer:hidden@127.0.0.1:9").unwrap();
        let error = Connections::new(config).unwrap_err().to_string();
        assert!(error.contains('`') && !error.contains("hidden"), "{error}");
    }
}
