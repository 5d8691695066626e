//! Other servers of the metrics APIs: what the file says of them. Nothing is connected to and no file read here.

use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use regex::Regex;
use url::Url;

use super::{
    EntryProblems, Fingerprint, Problem,
    backend::http_url,
    credentials::is_loopback,
    fields::{Fields, Text},
};
use crate::core::{go_regex, key_path::KeyPath, yaml::Place};

/// The timeout of a read where the file names none. kube-apiserver waits for a minute, and the autoscaler's workers wait in turn.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many reads may be under way at a time where the file does not say.
const CONCURRENCY: usize = 16;

/// The port of a Service where the file names none.
const PORT: u16 = 443;

/// The key of a Secret where the file names none: cert-manager and KEDA write the authority there.
const AUTHORITY_KEY: &str = "ca.crt";

/// The longest name of a Kubernetes object.
const LONGEST_NAME: usize = 253;

/// An entry of `delegates`.
#[derive(Clone)]
pub struct Delegate {
    /// The name in errors, metrics and on the status page; unique in the file, and a DNS label.
    pub name: Arc<str>,
    /// Where it stands in its file.
    pub place: Place,
    /// What the file says of it.
    pub fingerprint: Fingerprint,
    /// Scheme, host and port. The scheme is https, but for hosts of this machine. The host of a Service is `NAME.NAMESPACE.svc`.
    pub url: Url,
    /// Whether `url` is that of a Service.
    pub is_service: bool,
    /// Where the authorities are that may have signed its certificate.
    pub authority: CaSource,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// Whether to authenticate with the service account of the pod.
    pub auth_in_cluster: bool,
    /// The APIs that it is asked about.
    pub apis: Apis,
    /// Which reads go to it at once; without one it gets what no rule serves.
    pub matching: Option<Match>,
    /// How long a read may take; never zero.
    pub timeout: Duration,
    /// How many reads may be under way at a time; never zero.
    pub concurrency: usize,
}

/// Where the authorities are that may have signed a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CaSource {
    /// Those of the system.
    System,
    /// A file.
    File(PathBuf),
    /// A key of a Secret.
    Secret {
        /// The namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
        /// The key of the PEM.
        key: String,
    },
    /// `spec.caBundle` of the `APIService` of this name.
    BundleOf(String),
}

/// APIs of metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Apis {
    /// custom.metrics.k8s.io
    pub custom: bool,
    /// external.metrics.k8s.io
    pub external: bool,
}

/// Which reads go to a delegate at once. All that is said must hold.
#[derive(Clone, Debug)]
pub struct Match {
    /// The metrics, by their whole names.
    pub metrics: Option<Regex>,
    /// The key of a requirement that a selector of the read has.
    pub selector_key: Option<String>,
    /// The namespaces; all where it is empty.
    pub namespaces: Vec<String>,
}

impl Delegate {
    /// Whether a cluster is needed to reach it.
    pub fn needs_cluster(&self) -> bool {
        self.is_service || matches!(self.authority, CaSource::Secret { .. } | CaSource::BundleOf(_))
    }
}

impl fmt::Debug for Delegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delegate")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Compiles the delegates, or says what is wrong with any of them.
pub(super) fn compile_all(file: &Fields<'_>) -> Result<Vec<Arc<Delegate>>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut delegates: Vec<Arc<Delegate>> = Vec::new();
    let mut seen: HashMap<String, KeyPath> = HashMap::new();
    let mut patterns = go_regex::Budget::default();
    for entry in file.items("delegates") {
        let mut problems = EntryProblems::new(entry.path.clone(), &mut problems);
        let name = entry.text("name");
        if let Some(first) = seen.get(&name.value) {
            problems.add(name.place, "name", format!("{first} has the name `{}`, too", name.value));
        }
        delegates.extend(compile(&entry, &mut patterns, &mut problems).map(Arc::new));
        seen.entry(name.value).or_insert(entry.path);
    }
    if problems.is_empty() { Ok(delegates) } else { Err(problems) }
}

fn compile(
    entry: &Fields<'_>,
    patterns: &mut go_regex::Budget,
    problems: &mut EntryProblems<'_>,
) -> Option<Delegate> {
    let url = url(entry, problems);
    let authority = authority(entry, problems);
    let matching = entry.object("match").map(|entry| matching(&entry, patterns, problems));
    let (token_file, auth_in_cluster) =
        (file(&entry.text("tokenFile")), entry.flag("authInCluster"));
    if auth_in_cluster.value && token_file.is_some() {
        let message = "`authInCluster` and `tokenFile` exclude each other";
        problems.add(auth_in_cluster.place, "authInCluster", message);
    }
    let api = entry.text("api").value;
    Some(Delegate {
        name: entry.text("name").value.into(),
        place: entry.place,
        fingerprint: entry.fingerprint("delegates"),
        url: url?,
        is_service: entry.object("service").is_some(),
        authority,
        token_file,
        auth_in_cluster: auth_in_cluster.value,
        apis: Apis { custom: api != "external", external: api != "custom" },
        matching,
        timeout: entry.duration("timeout").unwrap_or(TIMEOUT),
        concurrency: entry.text("concurrency").value.parse().unwrap_or(CONCURRENCY),
    })
}

fn file(text: &Text) -> Option<PathBuf> {
    (!text.value.is_empty()).then(|| PathBuf::from(&text.value))
}

/// The URL of the Service, or the one that is written.
fn url(entry: &Fields<'_>, problems: &mut EntryProblems<'_>) -> Option<Url> {
    let written = entry.text("url");
    let Some(service) = entry.object("service") else {
        if written.value.is_empty() {
            let message = "one of `service` and `url` is required";
            problems.add(entry.place, "service", message);
            return None;
        }
        let url = plain_url(&written.value);
        return url.map_err(|message| problems.add(written.place, "url", message)).ok();
    };
    if !written.value.is_empty() {
        problems.add(written.place, "url", "`service` and `url` exclude each other");
    }
    let port = service.text("port");
    let number = if port.value.is_empty() { Some(PORT) } else { port.value.parse().ok() };
    let (name, namespace) = (service.text("name").value, service.text("namespace").value);
    let url =
        number.and_then(|port| Url::parse(&format!("https://{name}.{namespace}.svc:{port}")).ok());
    if url.is_none() {
        problems.add(port.place, ["service", "port"], "a port from 1 to 65535 is expected");
    }
    url
}

/// A URL with a host and nothing more, https but for this machine. No message repeats it.
fn plain_url(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    let is_bare = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_bare {
        return Err("https:// with a host, a port and nothing more is expected".to_owned());
    }
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err("an https:// URL is expected: its answers scale workloads".to_owned());
    }
    Ok(url)
}

fn authority(entry: &Fields<'_>, problems: &mut EntryProblems<'_>) -> CaSource {
    let (file_text, bundle) = (entry.text("caFile"), entry.text("caBundleOf"));
    let secret = entry.object("caSecret");
    let given = [!file_text.value.is_empty(), secret.is_some(), !bundle.value.is_empty()];
    if given.iter().filter(|given| **given).count() > 1 {
        let message = "`caFile`, `caSecret` and `caBundleOf` exclude each other";
        problems.add(entry.place, "caFile", message);
    }
    if let Some(path) = file(&file_text) {
        return CaSource::File(path);
    }
    if let Some(secret) = secret {
        let (name, key) = (secret.text("name"), secret.text("key").value);
        check_name(&name, ["caSecret", "name"], problems);
        return CaSource::Secret {
            namespace: secret.text("namespace").value,
            name: name.value,
            key: if key.is_empty() { AUTHORITY_KEY.to_owned() } else { key },
        };
    }
    if bundle.value.is_empty() {
        return CaSource::System;
    }
    check_name(&bundle, ["caBundleOf"], problems);
    CaSource::BundleOf(bundle.value)
}

/// The name becomes a part of a path that kube-apiserver is asked for.
fn check_name<const N: usize>(name: &Text, key: [&str; N], problems: &mut EntryProblems<'_>) {
    let is_part = |part: &str| {
        let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !part.is_empty() && part.bytes().all(is_letter)
    };
    let is_name = name.value.len() <= LONGEST_NAME && name.value.split('.').all(is_part);
    if !is_name {
        let message =
            "the name of an object is expected: lower-case letters, digits, dashes and dots";
        problems.add(name.place, key, message);
    }
}

fn matching(
    entry: &Fields<'_>,
    patterns: &mut go_regex::Budget,
    problems: &mut EntryProblems<'_>,
) -> Match {
    let (written, selector_key) = (entry.text("metrics"), entry.text("selectorKey").value);
    let whole = || {
        // It has to be one by itself: `a)(b` is none, but would become one.
        go_regex::compile_within(&written.value, patterns)?;
        go_regex::compile_within(&format!("^(?:{})$", written.value), patterns)
    };
    let metrics = (!written.value.is_empty()).then(whole);
    let metrics = metrics.and_then(|compiled| {
        let place = written.place;
        compiled.map_err(|error| problems.add(place, ["match", "metrics"], error.to_string())).ok()
    });
    let found = Match {
        metrics,
        selector_key: (!selector_key.is_empty()).then_some(selector_key),
        namespaces: entry.texts("namespaces").into_iter().map(|text| text.value).collect(),
    };
    if written.value.is_empty() && found.selector_key.is_none() && found.namespaces.is_empty() {
        let message = "at least one of `metrics`, `selectorKey` and `namespaces` is expected: without `match` a delegate gets what no rule serves";
        problems.add(entry.place, "match", message);
    }
    found
}
