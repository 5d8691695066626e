//! How to reach a backend: what the flags say, checked.

use std::{
    borrow::Cow,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    auth::{AuthSettings, StaticCredentials, Variables},
    bodies::Bodies,
    confined::Confined,
    shares::TeamQueries,
};
use crate::{
    core::{
        credential::{self, Flaw},
        rules::{Backend, CredentialPolicy, Verb, http_url},
    },
    kubeconfig,
};

/// Where Kubernetes puts the service account of a pod.
pub(crate) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The name of the backend of the flags. None of a rules file can have it: those are DNS labels.
const OF_FLAGS: &str = "--prometheus-url";

/// The flag that names its further servers.
const FALLBACKS: &str = "--prometheus-fallback-url";

/// Where a backend is and how to authenticate there.
#[derive(Clone)]
pub struct Config {
    /// What the rules file calls it, or the flag that names it.
    pub name: String,
    /// What people are told that this server is: the name, and which one if the backend has several.
    pub server: String,
    /// The base URL, without user and password. Its parameters are sent with every request, and may be secrets.
    pub url: Url,
    /// User and password, from the URL.
    pub basic: Option<Basic>,
    /// The further servers of the backend, in the order of preference: as [`Config::server`] to [`Config::basic`].
    pub others: Vec<(String, Url, Option<Basic>)>,
    /// The only certification authorities that are trusted, as PEM; else the system's are.
    pub ca: Option<Source>,
    /// The client certificate and its chain, as PEM.
    pub certificate: Option<Source>,
    /// The client certificate's key, as PEM.
    pub key: Option<Source>,
    /// A bearer token.
    pub token: Option<Source>,
    /// A user, and the file with the password.
    pub user: Option<(String, Source)>,
    /// Credentials that are fetched and renewed.
    pub auth: Option<AuthSettings>,
    /// What the environment says of the identity of the process in a cloud.
    pub variables: Arc<Variables>,
    /// Headers of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How queries are sent.
    pub method: Method,
    /// The longest that an instant query may take.
    pub query_timeout: Duration,
    /// The longest that a metadata request may take.
    pub discovery_timeout: Duration,
    /// How many queries are under way at the same time; others wait, within their time limit.
    pub concurrency: usize,
    /// What answers may take in memory, those of all backends that share it.
    pub bodies: Arc<Bodies>,
    /// The quota of queries that servers share; all of the rules file have that of the flags.
    pub team_queries: Arc<TeamQueries>,
    /// What its credentials are called in errors.
    pub(super) names: Names,
}

/// Where a credential comes from.
#[derive(Clone)]
pub enum Source {
    /// A file, read again when it changes.
    File(PathBuf),
    /// A file that the rules file names: read again likewise, and only where it is allowed to be.
    Confined(Confined),
    /// The credential itself. Not shown by `Debug`.
    Inline(Vec<u8>),
}

impl Source {
    /// A file that the operator names.
    pub fn file(path: &Path) -> Self {
        Self::File(path.to_owned())
    }

    /// A file that the rules file names, which may be read as long as it is below one of these folders.
    pub fn confined(path: &Path, folders: &Arc<[PathBuf]>) -> Self {
        Self::Confined(Confined::new(path.to_owned(), folders))
    }

    /// A file of the pod's service account.
    pub fn of_service_account(file: &str) -> Self {
        Self::File(Path::new(SERVICE_ACCOUNT).join(file))
    }

    /// The file, if it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Confined(file) => Some(&file.path),
            Self::Inline(_) => None,
        }
    }

    /// The credential as it is now.
    pub fn read(&self) -> Result<Vec<u8>, ConfigError> {
        match self {
            Self::Inline(content) => Ok(content.clone()),
            Self::File(path) => {
                std::fs::read(path).map_err(|error| ConfigError::unreadable(path, &error))
            }
            Self::Confined(file) => file.read(),
        }
    }

    /// What was read from it, as this takes it; `key` is what the source is called.
    pub(super) fn text<'c>(
        &self,
        key: &'static str,
        content: &'c [u8],
        take: impl FnOnce(&'c [u8]) -> Result<&'c str, Flaw>,
    ) -> Result<&'c str, ConfigError> {
        let wrong = |flaw| ConfigError::Content { path: self.path().map(Path::to_owned), flaw };
        take(content).map_err(|flaw| wrong(flaw).of(key))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path() {
            Some(path) => f.debug_tuple("File").field(&path).finish(),
            None => f.debug_tuple("Inline").finish_non_exhaustive(),
        }
    }
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

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic").finish_non_exhaustive()
    }
}

/// Configuration that cannot be used. No text holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL is none, or not one of a web server.
    #[error("--prometheus-url: {0}")]
    Url(String),
    /// A further URL is none, or one that is there already.
    #[error("--prometheus-fallback-url: {0}")]
    FallbackUrl(String),
    /// A header is not `name=value`.
    #[error("--prometheus-header: {0}")]
    Header(String),
    /// What was given as the path of a file is probably the credential itself.
    #[error("the value looks like a token, not like a path: the path of a file is expected")]
    NotAPath,
    /// There is no credential in it that can be sent.
    #[error("{}: {flaw}", of_path(path.as_deref()))]
    Content {
        /// The file; nothing for a value in a kubeconfig.
        path: Option<PathBuf>,
        /// Why not.
        flaw: Flaw,
    },
    /// One of these, of the key or flag of this name.
    #[error("{key}: {error}")]
    Of {
        /// Its name.
        key: &'static str,
        /// What it is.
        error: Box<ConfigError>,
    },
    /// A file cannot be read.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// A kubeconfig cannot be used.
    #[error("{}: {error}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: kubeconfig::ReadError,
    },
    /// Certificate without key, or the other way round.
    #[error(
        "a client certificate needs both --prometheus-client-tls-cert-file and --prometheus-client-tls-key-file"
    )]
    HalfIdentity,
    /// A backend of the rules file names credentials that it may not use.
    #[error("{0}")]
    Refused(String),
    /// The TLS material was refused.
    #[error("the TLS files for Prometheus cannot be used: {0}")]
    Tls(String),
}

impl ConfigError {
    /// What is wrong where a file could not be found. A credential in place of its path is not repeated.
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let is_not_there =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename);
        if is_not_there && credential::is_in_place_of_a_path(path) {
            return Self::NotAPath;
        }
        Self::File { path: path.to_owned(), message: error.to_string() }
    }

    /// The same, of a key or a flag.
    pub(super) fn of(self, key: &'static str) -> Self {
        Self::Of { key, error: Box::new(self) }
    }
}

fn of_path(path: Option<&Path>) -> String {
    path.map_or_else(|| "a value in the kubeconfig".to_owned(), |path| path.display().to_string())
}

/// What the credentials of a backend are called where they come from: keys of a rules file, or flags.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) ca: &'static str,
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
    pub(super) token: &'static str,
    pub(super) password: &'static str,
}

/// The flags that name files: authority, client certificate, its key, bearer token.
pub(crate) const FLAGS: [&str; 4] = [
    "--prometheus-ca-file",
    "--prometheus-client-tls-cert-file",
    "--prometheus-client-tls-key-file",
    "--prometheus-token-file",
];

/// The keys of a backend in a rules file that do.
const KEYS: [&str; 4] = ["caFile", "clientTLSCertFile", "clientTLSKeyFile", "tokenFile"];

impl Names {
    fn new([ca, certificate, key, token]: [&'static str; 4]) -> Self {
        Self { ca, certificate, key, token, password: "auth.basic.passwordFile" }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, url) = (&self.name, self.public_url());
        f.debug_struct("Config").field("name", name).field("url", &url).finish_non_exhaustive()
    }
}

impl Config {
    /// A backend at a URL, with everything else at its default. User and password in the URL become basic auth.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let (url, basic) = location(url).map_err(ConfigError::Url)?;
        Ok(Self {
            name: OF_FLAGS.to_owned(),
            server: OF_FLAGS.to_owned(),
            url,
            basic,
            others: Vec::new(),
            ca: None,
            certificate: None,
            key: None,
            token: None,
            user: None,
            auth: None,
            variables: Arc::default(),
            headers: Vec::new(),
            method: Method::default(),
            query_timeout: Duration::from_secs(30),
            discovery_timeout: Duration::from_secs(60),
            concurrency: 64,
            bodies: Arc::default(),
            team_queries: Arc::default(),
            names: Names::new(FLAGS),
        })
    }

    /// A backend of a rules file. Method, limits and timeouts that the file does not say are taken from `flags`; credentials
    /// never are, since they belong to another server. It is an error if the policy does not allow what it names.
    pub fn of_file(
        backend: &Backend,
        flags: &Self,
        policy: &CredentialPolicy,
    ) -> Result<Self, ConfigError> {
        let refusals = policy.refusals(backend).into_iter();
        let refusals: Vec<_> =
            refusals.map(|refusal| format!("{}: {}", refusal.key, refusal.message)).collect();
        if !refusals.is_empty() {
            return Err(ConfigError::Refused(refusals.join("; ")));
        }
        let confined = |path: &Path| Source::confined(path, &policy.folders);
        let mut config = Self::new(backend.url.as_str())?;
        config.names = Names::new(KEYS);
        config.name = backend.name.to_string();
        config.server.clone_from(&config.name);
        for (index, url) in backend.other_urls.iter().enumerate() {
            let (url, basic) = location(url.as_str()).map_err(ConfigError::Url)?;
            config.server = format!("{} urls[0]", config.name);
            let server = format!("{} urls[{}]", config.name, index + 1);
            config.others.push((server, url, basic));
        }
        config.headers.clone_from(&backend.headers);
        config.method = match backend.verb {
            Some(Verb::Get) => Method::Get,
            Some(Verb::Post) => Method::Post,
            None => flags.method,
        };
        config.query_timeout = backend.timeout.unwrap_or(flags.query_timeout);
        config.discovery_timeout = backend.discovery_timeout.unwrap_or(flags.discovery_timeout);
        config.concurrency = backend
            .concurrency
            .and_then(|limit| usize::try_from(limit.get()).ok())
            .unwrap_or(flags.concurrency);
        config.bodies = Arc::clone(&flags.bodies);
        config.team_queries = Arc::clone(&flags.team_queries);
        config.variables = Arc::clone(&flags.variables);
        if backend.auth_in_cluster {
            config.add_service_account("authInCluster");
        }
        if let Some(path) = &backend.auth_config {
            let key = "authConfig";
            confined(path).read().map_err(|error| error.of(key))?;
            config.add_kubeconfig(path, key, confined).map_err(|error| error.of(key))?;
        }
        config.add_files(
            [
                backend.ca_file.as_deref(),
                backend.client_tls_cert_file.as_deref(),
                backend.client_tls_key_file.as_deref(),
                backend.token_file.as_deref(),
            ],
            KEYS,
            confined,
        );
        if let Some(auth) = &backend.auth {
            config.add_auth(AuthSettings::confined(auth.clone(), &policy.folders));
        }
        Ok(config)
    }

    /// Authenticates in this way.
    pub fn add_auth(&mut self, settings: AuthSettings) {
        match settings.static_credentials() {
            Some(StaticCredentials::Basic(user, password)) => self.user = Some((user, password)),
            Some(StaticCredentials::Bearer(token)) => {
                self.names.token = "auth.bearer.tokenFile";
                self.token = Some(token);
            }
            None => self.auth = Some(settings),
        }
    }

    /// Adds a server that is asked if those before it are not well. It gets the same credentials.
    pub fn add_fallback(&mut self, url: &str) -> Result<(), ConfigError> {
        let (url, basic) = location(url).map_err(ConfigError::FallbackUrl)?;
        let is_known = |known: &Url| public(known) == public(&url);
        if is_known(&self.url) || self.others.iter().any(|(_, known, _)| is_known(known)) {
            return Err(ConfigError::FallbackUrl("the server is named twice".to_owned()));
        }
        let server = match self.others.len() {
            0 => FALLBACKS.to_owned(),
            number => format!("{FALLBACKS} ({})", number + 1),
        };
        self.others.push((server, url, basic));
        Ok(())
    }

    /// The configurations of its servers, the first one and the others, each of which has no others.
    pub(super) fn servers(mut self) -> (Self, Vec<Self>) {
        let others = std::mem::take(&mut self.others);
        let of = |(server, url, basic)| Self { server, url, basic, ..self.clone() };
        let others = others.into_iter().map(of).collect();
        (self, others)
    }

    /// The URL without what may be a secret: user, password and query.
    pub fn public_url(&self) -> String {
        public(&self.url)
    }

    /// Authenticates with the service account of the pod, as the key or flag of this name says.
    pub fn add_service_account(&mut self, key: &'static str) {
        self.names = Names { token: key, ca: key, ..self.names };
        self.token = Some(Source::of_service_account("token"));
        self.ca = Some(Source::of_service_account("ca.crt"));
    }

    /// Takes files where there are some: authority, client certificate, its key, bearer token. The keys or flags with these names have them.
    pub fn add_files(
        &mut self,
        files: [Option<&Path>; 4],
        keys: [&'static str; 4],
        source: impl Fn(&Path) -> Source,
    ) {
        let names = &mut self.names;
        let settings = [
            (&mut self.ca, &mut names.ca),
            (&mut self.certificate, &mut names.certificate),
            (&mut self.key, &mut names.key),
            (&mut self.token, &mut names.token),
        ];
        for ((file, key), (setting, name)) in files.into_iter().zip(keys).zip(settings) {
            if let Some(path) = file {
                (*setting, *name) = (Some(source(path)), key);
            }
        }
    }

    /// Authenticates as the user of a kubeconfig's current context, and trusts the authority of its cluster. Only the files
    /// and data that it names are used: a user who authenticates by running a program is an error. The key or flag of this name has the path.
    pub fn add_kubeconfig(
        &mut self,
        path: &Path,
        key: &'static str,
        source: impl Fn(&Path) -> Source,
    ) -> Result<(), ConfigError> {
        if !path.exists() && credential::is_in_place_of_a_path(path) {
            return Err(ConfigError::NotAPath);
        }
        self.names = Names { ca: key, certificate: key, key, token: key, ..self.names };
        let file = |message: String| ConfigError::File { path: path.to_owned(), message };
        let kubeconfig = kubeconfig::read(path)
            .map_err(|error| ConfigError::Kubeconfig { path: path.to_owned(), error })?;
        let current = kubeconfig.current_context.as_deref().unwrap_or_default();
        let context = kubeconfig
            .contexts
            .iter()
            .find(|context| context.name == current)
            .and_then(|context| context.context.as_ref())
            .ok_or_else(|| file("the current context does not exist".to_owned()))?;
        let user = kubeconfig
            .auth_infos
            .iter()
            .find(|user| Some(&user.name) == context.user.as_ref())
            .and_then(|user| user.auth_info.clone())
            .unwrap_or_default();
        if user.exec.is_some() || user.auth_provider.is_some() {
            let message = "the user authenticates by a program, which is not supported here";
            return Err(file(message.to_owned()));
        }
        let cluster = kubeconfig
            .clusters
            .iter()
            .find(|cluster| cluster.name == context.cluster)
            .and_then(|cluster| cluster.cluster.clone())
            .unwrap_or_default();
        let secret = |secret: Option<SecretString>| {
            secret.map(|secret| secret.expose_secret().as_bytes().to_vec())
        };
        let either = |inline: Option<Vec<u8>>, file: Option<String>| {
            inline.map(Source::Inline).or_else(|| file.map(|file| source(Path::new(&file))))
        };
        let ca = inline(cluster.certificate_authority_data.as_deref(), &file)?;
        self.ca = either(ca, cluster.certificate_authority);
        let certificate = inline(user.client_certificate_data.as_deref(), &file)?;
        self.certificate = either(certificate, user.client_certificate);
        let key = secret(user.client_key_data);
        let key = inline(key.as_deref().and_then(|key| std::str::from_utf8(key).ok()), &file)?;
        self.key = either(key, user.client_key);
        self.token = either(secret(user.token), user.token_file);
        if let (Some(user), Some(password)) = (user.username, secret(user.password)) {
            let password = String::from_utf8_lossy(&password).into_owned();
            let basic = Some(Basic { user, password });
            for (.., of_other) in &mut self.others {
                of_other.clone_from(&basic);
            }
            self.basic = basic;
        }
        Ok(())
    }

    /// Takes a `--prometheus-header`, `NAME=VALUE`. No error repeats the value, or what may be a part of it.
    pub fn add_header(&mut self, header: &str) -> Result<(), ConfigError> {
        let refused = |text: &str| ConfigError::Header(text.to_owned());
        let Some((name, value)) = header.split_once('=') else {
            return Err(refused("NAME=VALUE is expected: there is no `=`"));
        };
        if name.contains(':') {
            return Err(refused("NAME=VALUE is expected, and not `NAME: VALUE`"));
        }
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_invalid| refused("what stands before the `=` is no name of a header"))?;
        let mut value: HeaderValue = value
            .trim()
            .parse()
            .map_err(|error| ConfigError::Header(format!("the value of `{name}`: {error}")))?;
        // BackendHandle names and tokens alike: none of them belongs in a log.
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(())
    }
}

/// The content of a `…-data` field: base64.
fn inline(
    data: Option<&str>,
    failed: &impl Fn(String) -> ConfigError,
) -> Result<Option<Vec<u8>>, ConfigError> {
    let Some(data) = data else { return Ok(None) };
    match STANDARD.decode(data.trim()) {
        Ok(content) => Ok(Some(content)),
        Err(error) => Err(failed(format!("a `…-data` field is not base64: {error}"))),
    }
}

/// A URL, and the user and password that it had.
fn location(url: &str) -> Result<(Url, Option<Basic>), String> {
    let mut url = http_url(url)?;
    let basic = (!url.username().is_empty() || url.password().is_some()).then(|| Basic {
        user: percent_decoded(url.username()),
        password: percent_decoded(url.password().unwrap_or_default()),
    });
    // These cannot fail for a URL with a host.
    url.set_username("").and_then(|()| url.set_password(None)).unwrap_or_default();
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.set_fragment(None);
    Ok((url, basic))
}

fn public(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.as_str().trim_end_matches('/').to_owned()
}

fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
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
        assert_eq!(config.public_url(), "https://host:9090/prom");
        let config = Config::new("http://u:p@host:9090/?token=secret#f").unwrap();
        assert_eq!(config.public_url(), "http://host:9090");
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_web_url_is_refused() {
        for url in ["", "prometheus:9090", "ftp://host", "http://"] {
            assert!(Config::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_credential_in_place_of_its_path_is_not_repeated() {
        let long = "x".repeat(300);
        for path in ["eyINLINESECRET", &long] {
            let path = Path::new(path);
            let confined = Source::confined(path, &[PathBuf::from("/")].into());
            for source in [Source::file(path), confined] {
                let error = source.read().unwrap_err().to_string();
                assert!(
                    error.contains("looks like a token") && !error.contains("SECRET"),
                    "{error}"
                );
            }
            let mut config = Config::new("http://host").unwrap();
            let kubeconfig = config.add_kubeconfig(path, "flag", Source::file).unwrap_err();
            assert!(matches!(kubeconfig, ConfigError::NotAPath), "{kubeconfig}");
        }
        let absent = Source::file(Path::new("/absent/token")).read().unwrap_err().to_string();
        assert!(absent.contains("/absent/token"), "{absent}");
    }

    #[test]
    fn headers_are_name_and_value() {
        let mut config = Config::new("http://host").unwrap();
        config.add_header("X-Scope-OrgID=team=a").unwrap();
        assert_eq!(config.headers[0].0, "x-scope-orgid");
        assert_eq!(config.headers[0].1, "team=a");
        assert!(!format!("{config:?}").contains("team=a"));
        for header in [
            "secret",
            "a secret=c",
            "Authorization: Basic secret==",
            "X-Scope-OrgID:secret",
            "secret:a=b",
            "a=secret\n",
            "a=\u{0}secret",
        ] {
            let Err(error) = config.add_header(header) else { continue };
            let error = error.to_string();
            let wanted = if header.contains(':') { "NAME=VALUE" } else { "--prometheus-header: " };
            assert!(error.contains(wanted) && !error.contains("secret"), "{error}");
        }
        assert_eq!(config.headers.len(), 2);
    }
}
