//! The rules file that is being written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use url::Url;

use super::Settings;
use crate::core::quantity::Decimal;

/// The series of a query that reads none.
const NO_SERIES: &str = "no_series";

/// A rules file in the making.
#[derive(Debug, Default)]
pub(super) struct RulesDraft {
    backends: Vec<(String, Server)>,
    rules: Vec<(String, Value)>,
    names: Vec<String>,
    /// Who needs a folder of credentials.
    folders: BTreeMap<String, String>,
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
    /// A series that the query names.
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

impl RulesDraft {
    /// Adds a rule. Returns the metric's name.
    pub(super) fn add(&mut self, rule: Rule, settings: &Settings) -> String {
        let metric = free(&rule.metric, &self.names);
        self.names.push(metric.clone());
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
        if server.keys.is_empty() && settings.prometheus.as_ref() == Some(&server.url) {
            return None;
        }
        if let Some((name, _)) = self.backends.iter().find(|(_, known)| *known == server) {
            return Some(name.clone());
        }
        let taken: Vec<_> = self.backends.iter().map(|(name, _)| name.clone()).collect();
        let name = free(&backend_name(&server.url), &taken);
        self.backends.push((name.clone(), server));
        Some(name)
    }

    /// The folder in which the Secret or ConfigMap of a namespace is mounted: its name, unless that of another namespace has it.
    pub(super) fn folder(&mut self, namespace: Option<&str>, name: &str) -> String {
        let owner = format!("{}/{name}", namespace.unwrap_or_default());
        let mut folder = name.to_owned();
        if self.folders.get(&folder).is_some_and(|known| *known != owner) {
            folder = format!("{}-{name}", namespace.unwrap_or("default"));
        }
        self.folders.insert(folder.clone(), owner);
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

/// A URL without the slash that a missing path becomes.
fn shown(url: &Url) -> String {
    let text = url.as_str();
    if url.path() == "/" && url.query().is_none() {
        text.strip_suffix('/').unwrap_or(text).to_owned()
    } else {
        text.to_owned()
    }
}

/// A name that nobody has.
fn free(wanted: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
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
