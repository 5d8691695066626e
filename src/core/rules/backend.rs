//! Further servers of the Prometheus API: what the file says of them. Nothing is connected to and no file read here.

use std::{collections::HashMap, fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::{
    Auth, EntryProblems, Fingerprint, Problem, auth,
    fields::{Fields, Text},
    form::excerpt,
};
use crate::core::{
    key_path::KeyPath,
    shell::{LEFT_QUOTE, QUOTES},
    yaml::Place,
};

/// An entry of `backends`.
///
/// The credentials are the ones that are named here: those of the flags belong to another server. Timeouts, method and
/// concurrency that are absent are as the flags have them.
#[derive(Clone)]
pub struct Backend {
    /// What rules call it; unique in the file, and a DNS label.
    pub name: Arc<str>,
    /// Where it stands in its file.
    pub place: Place,
    /// What the file says of it.
    pub fingerprint: Fingerprint,
    /// Its http or https URL, with a host and without a fragment. User and password in it are for basic authentication, its
    /// parameters are for every request; it must not be shown before all of these are taken away.
    pub url: Url,
    /// Further URLs of the same kind, of servers with the same series: in the order in which they are preferred. None has the address
    /// and path of another one.
    pub other_urls: Vec<Url>,
    /// Headers of every request, with values marked as sensitive. No name occurs twice.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How requests are authenticated. Never together with `token_file`, `auth_in_cluster`, `auth_config`, and user and password in
    /// the URL.
    pub auth: Option<Auth>,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// The only certification authorities that are trusted; else the system's are.
    pub ca_file: Option<PathBuf>,
    /// The client certificate and its chain; present if and only if `client_tls_key_file` is.
    pub client_tls_cert_file: Option<PathBuf>,
    /// The key of the client certificate.
    pub client_tls_key_file: Option<PathBuf>,
    /// Whether to authenticate with the service account of the pod. Never together with `auth_config`.
    pub auth_in_cluster: bool,
    /// The kubeconfig with the user to authenticate as.
    pub auth_config: Option<PathBuf>,
    /// The method of requests that may be sent either way.
    pub verb: Option<Verb>,
    /// How long a query may take; never zero.
    pub timeout: Option<Duration>,
    /// How long a request of discovery may take; never zero.
    pub discovery_timeout: Option<Duration>,
    /// How many queries may run at a time.
    pub concurrency: Option<NonZeroU32>,
    /// Whether rules of teams may query it.
    pub team_rules: bool,
}

/// The method of requests that may be sent either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// GET, the parameters in the URL.
    Get,
    /// POST, the parameters in the body.
    Post,
}

impl Backend {
    /// All URLs, the one that is preferred first, and where each stands in the entry.
    pub fn urls(&self) -> impl Iterator<Item = (KeyPath, &Url)> {
        let is_list = !self.other_urls.is_empty();
        let all = std::iter::once(&self.url).chain(&self.other_urls);
        all.enumerate().map(move |(index, url)| {
            (if is_list { KeyPath::from("urls").index(index) } else { "url".into() }, url)
        })
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("name", &self.name)
            .field("host", &self.url.host_str())
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Compiles the backends, or says what is wrong with any of them.
pub(super) fn compile_all(file: &Fields<'_>) -> Result<Vec<Arc<Backend>>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut backends: Vec<Arc<Backend>> = Vec::new();
    let mut seen: HashMap<String, KeyPath> = HashMap::new();
    for entry in file.items("backends") {
        let mut problems = EntryProblems::new(entry.path.clone(), &mut problems);
        let name = entry.text("name");
        if let Some(first) = seen.get(&name.value) {
            problems.add(name.place, "name", format!("{first} has the name `{}`, too", name.value));
        }
        backends.extend(compile(&entry, &mut problems).map(Arc::new));
        seen.entry(name.value).or_insert(entry.path);
    }
    if problems.is_empty() { Ok(backends) } else { Err(problems) }
}

fn compile(entry: &Fields<'_>, problems: &mut EntryProblems<'_>) -> Option<Backend> {
    let urls = urls(entry, problems);
    let headers = entry.headers();
    let headers = headers.iter().filter_map(|(name, value)| {
        let header = name.parse::<HeaderName>().ok().zip(header_value(&value.value));
        if header.is_none() {
            let message = "the value of a header is made of visible ASCII characters";
            problems.add(value.place, ["headers", &excerpt(name)], message);
        }
        header
    });
    let headers = headers.collect();
    let [certificate, key] = ["clientTLSCertFile", "clientTLSKeyFile"].map(|key| entry.text(key));
    if certificate.value.is_empty() != key.value.is_empty() {
        let (given, missing) = if key.value.is_empty() {
            (&certificate, "clientTLSKeyFile")
        } else {
            (&key, "clientTLSCertFile")
        };
        let message = "a client certificate needs both `clientTLSCertFile` and `clientTLSKeyFile`";
        problems.add(given.place, missing, message);
    }
    let (auth_in_cluster, auth_config) =
        (entry.flag("authInCluster").value, entry.text("authConfig"));
    if auth_in_cluster && !auth_config.value.is_empty() {
        let message = "`authInCluster` and `authConfig` exclude each other";
        problems.add(auth_config.place, "authConfig", message);
    }
    let file = |text: Text| (!text.value.is_empty()).then(|| PathBuf::from(text.value));
    let auth = entry.object(auth::KEY).and_then(|of| {
        let others = ["tokenFile", "authInCluster", "authConfig"];
        let is_given =
            |key: &str| entry.get(key).is_some() && (key != "authInCluster" || auth_in_cluster);
        if let Some(other) = others.into_iter().find(|key| is_given(key)) {
            problems.add(of.place, auth::KEY, format!("`auth` and `{other}` exclude each other"));
        }
        let has_user = |url: &Url| !url.username().is_empty() || url.password().is_some();
        if urls.iter().flatten().any(has_user) {
            let message = "`auth` and a user or password in the URL exclude each other";
            problems.add(of.place, auth::KEY, message);
        }
        auth::compile(&of, &mut problems.within(auth::KEY))
    });
    let mut urls = urls?.into_iter();
    Some(Backend {
        name: entry.text("name").value.into(),
        place: entry.place,
        fingerprint: entry.fingerprint("backends"),
        url: urls.next()?,
        other_urls: urls.collect(),
        headers,
        auth,
        token_file: file(entry.text("tokenFile")),
        ca_file: file(entry.text("caFile")),
        client_tls_cert_file: file(certificate),
        client_tls_key_file: file(key),
        auth_in_cluster,
        auth_config: file(auth_config),
        verb: match entry.text("verb").value.as_str() {
            "GET" => Some(Verb::Get),
            "POST" => Some(Verb::Post),
            _ => None,
        },
        timeout: entry.duration("timeout"),
        discovery_timeout: entry.duration("discoveryTimeout"),
        concurrency: entry.text("concurrency").value.parse().ok(),
        team_rules: entry.flag("teamRules").value,
    })
}

/// What `url` or `urls` says; nothing where any of it is wrong.
fn urls(entry: &Fields<'_>, problems: &mut EntryProblems<'_>) -> Option<Vec<Url>> {
    if entry.get("urls").is_none() {
        let written = entry.text("url");
        if entry.get("url").is_none() {
            problems.add(written.place, "url", "`url` or `urls` is required");
            return None;
        }
        return match url(&written.value) {
            Ok(url) => Some(vec![url]),
            Err(message) => {
                problems.add(written.place, "url", message);
                None
            }
        };
    }
    if let Some(url) = entry.get("url") {
        problems.add(url.place, "url", "`url` and `urls` exclude each other");
        return None;
    }
    let written = entry.texts("urls");
    if written.is_empty() {
        problems.add(entry.text("urls").place, "urls", "a URL is expected");
    }
    let mut urls = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let key = KeyPath::from("urls").index(index);
        match url(&text.value) {
            Ok(url) if urls.iter().any(|known| is_same(known, &url)) => {
                problems.add(text.place, key, "a URL before has the same address and path");
            }
            Ok(url) => urls.push(url),
            Err(message) => problems.add(text.place, key, message),
        }
    }
    let is_whole = urls.len() == written.len() && !urls.is_empty();
    is_whole.then_some(urls)
}

/// Whether two URLs lead to the same server: it is not asked again when it fails.
fn is_same(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
        && one.path().trim_end_matches('/') == other.path().trim_end_matches('/')
}

fn url(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    if url.fragment().is_some() {
        return Err("a URL without `#` is expected".to_owned());
    }
    Ok(url)
}

/// The URL of a web server, with a host.
///
/// # Errors
///
/// Why it is none. No message repeats the text: it may hold a password.
pub(crate) fn http_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if text.starts_with(QUOTES) {
        return Err(format!("it {LEFT_QUOTE}"));
    }
    let Some((_, rest)) = text.split_once("://") else {
        return Err("http:// or https:// is missing at its beginning".to_owned());
    };
    if let Some((character, code)) = misplaced(rest) {
        return Err(format!(
            "a `{character}` in its user or password ends them: percent-encode it there, as {code}"
        ));
    }
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::InvalidPort if has_two_ports(rest) => {
            "it has two ports: values of the chart name one in `prometheus.url` and one in `prometheus.port`"
                .to_owned()
        }
        error => format!("not a URL: {error}"),
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("an http:// or https:// URL is expected".to_owned());
    }
    if url.host_str().is_some_and(|host| host.contains(['{', '}'])) {
        return Err("its host has braces: a template is not filled in".to_owned());
    }
    let path = url.path().trim_end_matches('/');
    if API.iter().any(|api| path.ends_with(api)) {
        return Err(format!(
            "its path ends with the path of the API, which every request has anyway: leave out `{}`",
            path.get(path.rfind("/api/v1").unwrap_or_default()..).unwrap_or_default()
        ));
    }
    let own = url.query_pairs().find_map(|(name, _)| OWN.iter().find(|own| **own == name));
    if let Some(own) = own {
        return Err(format!(
            "the parameter `{own}` is that of the requests themselves: leave it out"
        ));
    }
    Ok(url)
}

/// Whether two numbers follow the host.
fn has_two_ports(rest: &str) -> bool {
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let mut parts = host.rsplit(':').map(|part| part.parse::<u16>().is_ok());
    parts.next() == Some(true) && parts.next() == Some(true)
}

/// Paths of the API of Prometheus, below which no Prometheus is.
const API: [&str; 5] =
    ["/api/v1", "/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels"];

/// Parameters that requests have.
const OWN: [&str; 6] = ["query", "time", "match[]", "start", "end", "step"];

/// The character that ends the part of a URL in which user and password stand before these do, and how it is written there.
fn misplaced(rest: &str) -> Option<(char, &'static str)> {
    let end = rest.find(['/', '?', '#', '\\'])?;
    let (authority, behind) = rest.split_at_checked(end)?;
    let has_port = |text: &str| {
        let port = text.rsplit_once(':').map(|(_, port)| port);
        port.map(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_host = has_port(authority) != Some(false);
    // A path may have an `@`, too, but hardly one before something with a port; parameters may have anything.
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    let (_, host) = if is_host { path } else { behind }.rsplit_once('@')?;
    let host = host.split('/').next().unwrap_or_default();
    if authority.contains('@') || (is_host && has_port(host) != Some(true)) {
        return None;
    }
    Some(match behind.chars().next()? {
        '/' => ('/', "%2F"),
        '?' => ('?', "%3F"),
        '#' => ('#', "%23"),
        _ => ('\\', "%5C"),
    })
}

/// A text as the value of a header, without white space around it and marked as sensitive.
pub(super) fn header_value(text: &str) -> Option<HeaderValue> {
    let text = text.trim();
    let mut value: HeaderValue = if text.is_ascii() { text.parse().ok()? } else { return None };
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_what_is_wrong_without_their_text() {
        let missing = "is missing at its beginning";
        for (text, wanted) in [
            ("", missing),
            ("127.0.0.1:9090", missing),
            ("prometheus:9090", missing),
            ("//host", missing),
            ("user:secret@host", missing),
            ("ftp://host", "http:// or https://"),
            ("http://", "not a URL"),
            ("http://host:99999", "not a URL"),
            ("http://user:sec/ret#x@host:9090", "%2F"),
            ("http://user:12/secret@host:9090/prom", "%2F"),
            ("http://user/secret@host:9090", "%2F"),
            ("http://user:secret?@host", "%3F"),
            ("http://user:se#cret@host", "%23"),
            ("http://{{host}}:9090", "template"),
            ("\"http://user:secret@host\"", "remove the quotes"),
            (" ‘http://secret’", "remove the quotes"),
            ("http://host:9090:9090/secret", "two ports"),
            ("http://host:9090:secret", "not a URL"),
            ("http://host/api/v1", "leave out `/api/v1`"),
            ("http://host/prom/api/v1/query/", "leave out `/api/v1/query`"),
            ("http://host/?match%5B%5D=secret", "the parameter `match[]`"),
            ("http://host?dedup=true&query=secret", "the parameter `query`"),
            ("http://user:sec\\ret@host", "%5C"),
        ] {
            let error = http_url(text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("secret"), "{text}: {error}");
        }
        for text in [
            "http://user:p%2Fa%23b@host:9090",
            "http://us@er:p@ss@host:9090/a@b",
            "https://host/team@eu",
            "https://host:9090/team@eu/",
            "http://[::1]:9090/a@b",
            "http://host:9090/a?label=b@c:1",
            "http://host/?extra_label=team=a&extra_filters[]={query=\"a\"}&timeout=5s",
            "https://host/v1/projects/a/location/global/prometheus",
            "https://host/api/v1/prometheus",
            " http://host ",
        ] {
            http_url(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}
