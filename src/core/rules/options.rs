//! What rules of all kinds can say beyond what prometheus-adapter knows.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{
    Backend, EntryProblems, Fingerprint, backend,
    fields::{Fields, Text},
    form::excerpt,
};
use crate::core::{
    fair_share::Owner,
    template::{HeaderTemplate, TemplateError},
};

/// How a rule's queries are sent, and how long their answers are used. What is absent is as the flags or the backend have
/// it.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// How long an answer is used; zero asks for every read.
    pub cache_ttl: Option<Duration>,
    /// How old the last good answer may be that is used while the backend fails; zero uses none.
    pub max_stale: Option<Duration>,
    /// How long a query may take; never zero.
    pub timeout: Option<Duration>,
    /// The entry of `backends` that is asked; else the one of the flags.
    pub backend: Option<Arc<Backend>>,
    /// Headers of the requests, in place of the backend's headers of the same names. No name occurs twice.
    pub headers: Vec<Header>,
    /// Whose share of the backend the queries use.
    pub owner: Owner,
}

impl QueryOptions {
    /// What the file says of a rule and of the backend that it names.
    pub(super) fn fingerprint_with(&self, rule: Fingerprint) -> Fingerprint {
        self.backend.as_ref().map_or(rule, |backend| rule.with(backend.fingerprint))
    }

    /// Whether requests may differ from namespace to namespace in more than their query: answers must then not be shared
    /// between namespaces.
    pub fn may_depend_on_namespace(&self) -> bool {
        self.headers.iter().any(|header| header.value.may_depend_on_namespace())
    }

    /// The headers of requests about a namespace; empty where there is none.
    pub fn render_headers(
        &self,
        namespace: &str,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, HeaderError> {
        self.headers
            .iter()
            .map(|header| Ok((header.name.clone(), header.render(namespace)?)))
            .collect()
    }
}

/// A header of a rule.
#[derive(Clone, Debug)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: Arc<HeaderTemplate>,
}

/// A header that has no value for a namespace.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The template fails.
    #[error("header {name}: {source}")]
    Template {
        /// The header.
        name: HeaderName,
        /// What the template says.
        source: TemplateError,
    },
    /// The text cannot be the value of a header.
    #[error("header {name}: visible ASCII characters are expected")]
    Value {
        /// The header.
        name: HeaderName,
    },
}

impl Header {
    /// The value for a namespace, marked as sensitive: tenants' names do not belong in logs.
    pub fn render(&self, namespace: &str) -> Result<HeaderValue, HeaderError> {
        let name = || self.name.clone();
        let text = self
            .value
            .render(namespace)
            .map_err(|source| HeaderError::Template { name: name(), source })?;
        backend::header_value(&text).ok_or_else(|| HeaderError::Value { name: name() })
    }
}

pub(super) fn compile(
    rule: &Fields<'_>,
    backends: &[Arc<Backend>],
    problems: &mut EntryProblems<'_>,
) -> QueryOptions {
    QueryOptions {
        cache_ttl: rule.duration("cacheTTL"),
        max_stale: rule.duration("maxStale"),
        timeout: rule.duration("timeout"),
        backend: named(&rule.text("prometheus"), backends, problems),
        headers: rule
            .headers()
            .iter()
            .filter_map(|(name, value)| {
                let key = ["headers", &excerpt(name)];
                header(name, value).map_err(|message| problems.add(value.place, key, message)).ok()
            })
            .collect(),
        owner: Owner::File,
    }
}

fn named(
    written: &Text,
    backends: &[Arc<Backend>],
    problems: &mut EntryProblems<'_>,
) -> Option<Arc<Backend>> {
    if written.value.is_empty() {
        return None;
    }
    let found = backends.iter().find(|backend| *backend.name == *written.value);
    if found.is_none() {
        let message = if backends.is_empty() {
            format!("there is no backend `{}`: the file has no `backends`", written.value)
        } else {
            let known: Vec<_> = backends.iter().map(|known| format!("`{}`", known.name)).collect();
            format!("there is no backend `{}`, but {}", written.value, known.join(", "))
        };
        problems.add(written.place, "prometheus", message);
    }
    found.cloned()
}

/// A namespace to render templates with.
const SOME_NAMESPACE: &str = "default";

fn header(name: &str, value: &Text) -> Result<Header, String> {
    let name = name.parse::<HeaderName>().map_err(|error| error.to_string())?;
    let value = HeaderTemplate::compile(&value.value).map_err(|error| error.to_string())?;
    let header = Header { name, value: Arc::new(value) };
    match header.render(SOME_NAMESPACE) {
        Ok(_) => Ok(header),
        Err(HeaderError::Template { source, .. }) => Err(source.to_string()),
        Err(HeaderError::Value { .. }) => {
            Err("the value of a header is made of visible ASCII characters".to_owned())
        }
    }
}
