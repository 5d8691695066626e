//! The rules file that is being written.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};
use url::Url;

use super::{Notes, Settings};
use crate::core::{key_path::KeyPath, quantity::Decimal};

/// The series of a query that reads none.
const NO_SERIES: &str = "no_series";

/// A rules file in the making.
#[derive(Debug, Default)]
pub(super) struct RulesDraft {
    backends: Vec<(String, Server)>,
    backend_names: Names,
    rules: Vec<(String, Value)>,
    metrics: Names,
    /// The folder of credentials that each owner has.
    folders: BTreeMap<Owner, String>,
    folder_names: Names,
}

/// A Secret or ConfigMap: its kind, namespace and name.
type Owner = (&'static str, Option<String>, String);

/// Names, of which no two are equal.
#[derive(Debug, Default)]
struct Names {
    taken: HashSet<String>,
    /// The number that is tried next, for each wanted name that was taken.
    next: HashMap<String, usize>,
}

/// A server of the Prometheus API, and how it is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    /// With the parameters of every request.
    pub(super) url: Url,
    /// Keys of the backend beside its name and URL.
    pub(super) keys: Map<String, Value>,
}

/// A rule of an external metric that has one value.
#[derive(Debug)]
pub(super) struct Rule {
    /// Where it comes from.
    pub(super) source: String,
    /// The wanted name of the metric.
    pub(super) metric: String,
    /// A selector of a series that the query names.
    pub(super) series: Option<String>,
    /// The template of the query.
    pub(super) query: String,
    /// Whether neither a sample nor a number is 0.
    pub(super) is_zero_if_empty: bool,
    pub(super) timeout: Option<String>,
    pub(super) cache_ttl: Option<String>,
    /// The seconds of failures, and the value in thousandths from then on.
    pub(super) fallback: Option<(i64, i64)>,
    /// Templates.
    pub(super) headers: BTreeMap<String, String>,
    /// Nothing is the server of the flags.
    pub(super) server: Option<Server>,
}

impl Names {
    fn has(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    /// Takes a name that nobody has: the wanted one, or that with a number.
    fn take(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.has(&name) {
            let number = self.next.entry(wanted.to_owned()).or_insert(2);
            name = format!("{wanted}-{number}");
            *number += 1;
        }
        self.taken.insert(name.clone());
        name
    }
}

impl Server {
    /// Whether this is the server of the flags, which needs no backend.
    fn is_of_flags(&self, settings: &Settings) -> bool {
        self.keys.is_empty() && settings.prometheus.as_ref() == Some(&self.url)
    }

    /// Reports a user and a password in the URL: the rules file does not repeat them.
    pub(super) fn report_credentials(
        &self,
        path: &KeyPath,
        settings: &Settings,
        notes: &mut Notes,
    ) {
        if has_credentials(&self.url) && !self.is_of_flags(settings) {
            let text = "the user and the password in the URL are left out: write them to a kubeconfig below /etc/loadline, as `username` and `password` of a user, and name it as `authConfig` of the backend";
            notes.cannot(path, text);
        }
    }
}

impl RulesDraft {
    /// Adds a rule. Returns the metric's name.
    pub(super) fn add(&mut self, rule: Rule, settings: &Settings) -> String {
        let metric = self.metrics.take(&rule.metric);
        let mut written = Map::new();
        let mut set = |key: &str, value: Value| written.insert(key.to_owned(), value);
        set("seriesQuery", rule.series.unwrap_or_else(|| NO_SERIES.to_owned()).into());
        set("resources", json!({"namespaced": false}));
        set("name", json!({"as": metric}));
        set("metricsQuery", rule.query.into());
        set("static", true.into());
        if rule.is_zero_if_empty {
            set("onEmpty", "zero".into());
            set("nan", "zero".into());
        }
        for (key, value) in [("timeout", rule.timeout), ("cacheTTL", rule.cache_ttl)] {
            value.map(|value| set(key, value.into()));
        }
        if let Some((seconds, milli)) = rule.fallback {
            let after = format!("{seconds}s");
            set("fallback", json!({"after": after, "value": Decimal(milli).to_string()}));
        }
        if let Some(server) = rule.server
            && let Some(name) = self.backend(server, settings)
        {
            set("prometheus", name.into());
        }
        if !rule.headers.is_empty() {
            set("headers", json!(rule.headers));
        }
        self.rules.push((rule.source, Value::Object(written)));
        metric
    }

    /// The name of a backend for a server; nothing for that of the flags.
    fn backend(&mut self, server: Server, settings: &Settings) -> Option<String> {
        if server.is_of_flags(settings) {
            return None;
        }
        if let Some((name, _)) = self.backends.iter().find(|(_, known)| *known == server) {
            return Some(name.clone());
        }
        let name = self.backend_names.take(&backend_name(&server.url));
        self.backends.push((name.clone(), server));
        Some(name)
    }

    /// The folder in which a Secret or ConfigMap is mounted: its name, or with that of its namespace if another one has that folder.
    pub(super) fn folder(
        &mut self,
        kind: &'static str,
        namespace: Option<&str>,
        name: &str,
    ) -> String {
        let owner: Owner = (kind, namespace.map(str::to_owned), name.to_owned());
        if let Some(folder) = self.folders.get(&owner) {
            return folder.clone();
        }
        let folder = if self.folder_names.has(name) {
            self.folder_names.take(&format!("{}-{name}", namespace.unwrap_or("default")))
        } else {
            self.folder_names.take(name)
        };
        self.folders.insert(owner, folder.clone());
        folder
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The backends, as in the file.
    pub(super) fn backends(&self) -> Vec<Value> {
        let written = self.backends.iter().map(|(name, server)| {
            let mut written = Map::new();
            written.insert("name".to_owned(), name.as_str().into());
            written.insert("url".to_owned(), shown(&server.url).into());
            written.extend(server.keys.clone());
            Value::Object(written)
        });
        written.collect()
    }

    /// The rules, as in the file, and where each comes from.
    pub(super) fn rules(&self) -> &[(String, Value)] {
        &self.rules
    }
}

/// Whether a URL has a user or a password.
pub(super) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// A URL without user and password, and without the slash that a missing path becomes.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These cannot fail for a URL with a host.
    url.set_username("").and_then(|()| url.set_password(None)).unwrap_or_default();
    let text = url.as_str();
    if url.path() == "/" && url.query().is_none() {
        text.strip_suffix('/').unwrap_or(text).to_owned()
    } else {
        text.to_owned()
    }
}

/// A DNS label for a server: the first part of its host.
fn backend_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let first = match url.host() {
        Some(url::Host::Domain(name)) => name.split('.').next().unwrap_or_default(),
        _ => host,
    };
    let name: String =
        first.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    let name = name.trim_matches('-').to_ascii_lowercase();
    if name.is_empty() { "prometheus".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once() {
        let mut names = Names::default();
        let given = ["a", "a", "a-2", "a", "a-2", "b"].map(|wanted| names.take(wanted));
        assert_eq!(given, ["a", "a-2", "a-2-2", "a-3", "a-2-3", "b"]);
    }

    #[test]
    fn each_owner_has_a_folder_of_its_own() {
        let mut draft = RulesDraft::default();
        let owners = [
            ("Secret", Some("x"), "b-creds", "b-creds"),
            ("Secret", Some("a"), "creds", "creds"),
            ("Secret", Some("b"), "creds", "b-creds-2"),
            ("ConfigMap", Some("a"), "creds", "a-creds"),
            ("Secret", None, "creds", "default-creds"),
        ];
        for (kind, namespace, name, folder) in owners.into_iter().chain(owners) {
            assert_eq!(draft.folder(kind, namespace, name), folder, "{kind} {namespace:?} {name}");
        }
    }
}
