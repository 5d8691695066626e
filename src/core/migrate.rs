//! What others scale with, as HorizontalPodAutoscalers and rules of ours: KEDA's `ScaledObjects`, and the annotations of
//! kube-metrics-adapter. And rules of the rules file, as rules of teams.
//!
//! No field is dropped in silence. [`Fields`] hands each out once, and what nobody has taken is reported.

mod adapter;
mod draft;
mod fields;
mod keda;
mod notes;
mod output;
mod query;
mod teams;

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use self::draft::RulesDraft;
use super::excerpt::excerpt;
use fields::Fields;
use notes::Notes;
pub use notes::{Level, Note};
pub use teams::{TeamRules, team_rules};

/// What the manifests do not say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The namespace of objects that name none.
    pub namespace: Option<String>,
    /// The server that `--prometheus-url` of loadline names: rules that ask it need no backend.
    pub prometheus: Option<Url>,
    /// The servers that kube-metrics-adapter knows by a name.
    pub aliases: BTreeMap<String, Url>,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Migration {
    autoscalers: Vec<Autoscaler>,
    rules: RulesDraft,
    notes: Vec<Note>,
    objects: usize,
}

/// A `HorizontalPodAutoscaler`, and what it comes from.
#[derive(Debug)]
struct Autoscaler {
    source: String,
    manifest: Value,
}

/// Migrates the `ScaledObjects` among documents of the API. `TriggerAuthentications` are looked up among them, and documents of other
/// APIs are ignored.
pub fn keda(documents: Vec<Value>, settings: &Settings) -> Migration {
    keda::migrate(documents, settings)
}

/// Migrates the HorizontalPodAutoscalers among documents of the API that are configured for kube-metrics-adapter. Other documents are
/// ignored.
pub fn kube_metrics_adapter(documents: Vec<Value>, settings: &Settings) -> Migration {
    adapter::migrate(documents, settings)
}

impl Migration {
    /// What cannot move, and what is different afterwards.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// How many objects were looked at.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// Whether everything has moved.
    pub fn is_whole(&self) -> bool {
        self.notes.iter().all(|note| note.level == Level::Note)
    }

    /// The `HorizontalPodAutoscalers`.
    pub fn autoscalers(&self) -> impl Iterator<Item = &Value> {
        self.autoscalers.iter().map(|autoscaler| &autoscaler.manifest)
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What an object is called in notes: `ScaledObject ide/worker`.
fn called(kind: &str, namespace: Option<&str>, name: &str) -> String {
    let slash = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    excerpt(&format!("{kind} {slash}{name}"), LONGEST_NAME)
}

/// The namespace that an object names, or the one of the settings.
fn namespace_of(document: &Value, settings: &Settings) -> Option<String> {
    let named = document.pointer("/metadata/namespace").and_then(Value::as_str);
    named.filter(|name| !name.is_empty()).map(str::to_owned).or_else(|| settings.namespace.clone())
}

/// A metric's name in the API. Names are those of the whole cluster, so the namespace and the object are part of it. A namespace has
/// no dots.
fn metric_name(namespace: Option<&str>, object: &str, metric: &str) -> String {
    namespace.into_iter().chain([object, metric]).collect::<Vec<_>>().join(".")
}

/// Whether a text can be part of a metric's name as it is.
fn is_plain_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 63 && text.chars().all(is_plain)
}

/// Takes what the API server writes of an object and nobody configures.
fn take_server_fields(metadata: &mut Fields) {
    for key in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        metadata.take(key);
    }
}

/// The longest name of an object that is shown, in characters: namespaces have 63, names 253.
const LONGEST_NAME: usize = 350;

/// The annotation in which `kubectl apply` keeps a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests;
