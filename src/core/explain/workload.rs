//! The objects that an autoscaler is about, out of documents of the API: manifests, or what a cluster answered.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use serde_json::Value;

use super::facts::ObjectFacts;
use crate::core::{
    autoscaler::{Pod, Readiness, ReadyCondition, Scale},
    selector::Selector,
};

/// How many owners are followed: a pod, its `ReplicaSet`, its Deployment, and what has made that.
const MOST_OWNERS: usize = 5;

/// Documents of the API.
#[derive(Clone, Debug, Default)]
pub struct Documents(Vec<Value>);

/// The workload that an autoscaler scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// `Kind/name`.
    pub name: String,
    /// Its replicas.
    pub scale: Scale,
    /// The selector of its pods, as text.
    pub selector: String,
}

/// A pod, and who owns it.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedPod {
    /// What the algorithm wants to know.
    pub pod: Pod,
    /// Its owners, as `Kind/name`, the nearest first.
    pub owners: Vec<String>,
}

impl Documents {
    /// Takes documents; the items of lists count as documents of their own.
    pub fn new(documents: Vec<Value>) -> Self {
        let mut all = Vec::new();
        for mut document in documents {
            let kind = text(&document, "/kind").strip_suffix("List").map(str::to_owned);
            let version = document.get("apiVersion").cloned();
            match (kind, document.get_mut("items").map(Value::take)) {
                (Some(kind), Some(Value::Array(items))) => {
                    all.extend(
                        items.into_iter().map(|item| of_list(item, &kind, version.as_ref())),
                    );
                }
                _ => all.push(document),
            }
        }
        Self(all)
    }

    /// Adds documents.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// All documents.
    pub fn into_values(self) -> Vec<Value> {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All documents of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |document| text(document, "/kind") == kind)
    }

    /// The document of a kind and name, in a namespace. One that names no namespace is in any.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.of_kind(kind)
            .find(|document| text(document, "/metadata/name") == name && is_in(document, namespace))
    }

    /// The workload of a kind and name, if it is among the documents and scales.
    pub fn workload(&self, kind: &str, namespace: &str, name: &str) -> Option<Workload> {
        let document = self.find(kind, namespace, name)?;
        let scale = scale(document);
        let selector = match document.pointer("/status/selector").and_then(Value::as_str) {
            Some(selector) => selector.to_owned(),
            None => selector_text(document.pointer("/spec/selector")?),
        };
        Some(Workload { name: format!("{kind}/{name}"), scale, selector })
    }

    /// The pods of a namespace that a selector matches, with their owners, as far as these are among the documents.
    pub fn pods(&self, namespace: &str, selector: &Selector) -> Vec<OwnedPod> {
        let matching = self.of_kind("Pod").filter(|pod| {
            is_in(pod, namespace)
                && selector.matches(|key| pod.get("metadata")?.get("labels")?.get(key)?.as_str())
        });
        let read = |document: &Value| {
            let pod: v1::Pod = serde_json::from_value(document.clone()).ok()?;
            let mut pod = Pod::read(&pod);
            if document.get("status").is_none() {
                // A manifest that says nothing of it means a pod that serves.
                "Running".clone_into(&mut pod.phase);
                pod.ready = Some(ReadyCondition { status: Readiness::Ready, since_ms: 0 });
                pod.started_ms = Some(0);
            }
            Some(OwnedPod { pod, owners: self.owners(document, namespace) })
        };
        matching.filter_map(read).collect()
    }

    fn owners(&self, document: &Value, namespace: &str) -> Vec<String> {
        let mut owners = Vec::new();
        let mut next = owner(document);
        while let Some((kind, name)) = next.filter(|_| owners.len() < MOST_OWNERS) {
            owners.push(format!("{kind}/{name}"));
            next = self.find(&kind, namespace, &name).and_then(owner).or_else(|| {
                // A Deployment calls its ReplicaSets after itself and a hash.
                let (deployment, _) = name.rsplit_once('-').filter(|_| kind == "ReplicaSet")?;
                let is_unknown = self.find("ReplicaSet", namespace, &name).is_none();
                is_unknown.then(|| ("Deployment".to_owned(), deployment.to_owned()))
            });
        }
        owners
    }
}

impl OwnedPod {
    /// What an explanation says of the pod.
    pub fn facts(&self) -> ObjectFacts {
        let Self { pod, owners } = self;
        let is_ready = (pod.ready.is_some() || pod.phase == "Pending").then(|| pod.is_ready());
        ObjectFacts { name: pod.name.clone(), owners: owners.clone(), is_ready }
    }
}

/// The replicas of a workload. Of a manifest that leaves them out, they are what the API server writes.
pub fn scale(document: &Value) -> Scale {
    let number = |path: &str| {
        document.pointer(path).and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok())
    };
    let spec = number("/spec/replicas").unwrap_or(1);
    Scale { spec, status: number("/status/replicas").unwrap_or(spec) }
}

/// An item of a list. As the API returns them, they do not say their kind: that of the list does, as `PodList`.
fn of_list(mut item: Value, kind: &str, version: Option<&Value>) -> Value {
    if let Some(fields) = item.as_object_mut().filter(|_| !kind.is_empty()) {
        fields.entry("kind").or_insert_with(|| Value::from(kind));
        if let Some(version) = version {
            fields.entry("apiVersion").or_insert_with(|| version.clone());
        }
    }
    item
}

fn is_in(document: &Value, namespace: &str) -> bool {
    let own = text(document, "/metadata/namespace");
    own.is_empty() || namespace.is_empty() || own == namespace
}

fn owner(document: &Value) -> Option<(String, String)> {
    let owners = document.pointer("/metadata/ownerReferences")?.as_array()?;
    let is_controller =
        |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    let owner = owners.iter().find(is_controller).or_else(|| owners.first())?;
    Some((text(owner, "/kind").to_owned(), text(owner, "/name").to_owned()))
}

fn text<'v>(document: &'v Value, pointer: &str) -> &'v str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A label selector as text; a plain map of labels is one, too.
pub fn selector_text(selector: &Value) -> String {
    let equal = |labels: &Value| -> Vec<String> {
        let labels: BTreeMap<&String, &Value> = labels.as_object().into_iter().flatten().collect();
        let labels = labels.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
        labels.map(|(key, value)| format!("{key}={value}")).collect()
    };
    let has_form =
        selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    if !has_form {
        return equal(selector).join(",");
    }
    let mut parts = selector.get("matchLabels").map(equal).unwrap_or_default();
    for expression in
        selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten()
    {
        let key = text(expression, "/key");
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values: Vec<_> = values.filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_read_from_manifests_with_their_owners() {
        let documents = Documents::new(vec![json!({"kind": "List", "apiVersion": "v1", "items": [
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "n", "labels": {"app": "web"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f", "apiVersion": "apps/v1", "uid": "1", "controller": true}]}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "m", "labels": {"app": "web"}}}
        ]})]);
        let pods = documents.pods("n", &Selector::parse("app=web").unwrap());
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0].owners, ["ReplicaSet/web-5d4f", "Deployment/web"]);
        assert_eq!(pods[0].facts().is_ready, Some(true));
    }

    #[test]
    fn selectors_are_written_as_the_api_takes_them() {
        let selector = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [
            {"key": "k", "operator": "In", "values": ["x", "y"]}, {"key": "z", "operator": "DoesNotExist"}
        ]});
        assert_eq!(selector_text(&selector), "a=1,b=2,k in (x,y),!z");
        assert_eq!(selector_text(&json!({"app": "web"})), "app=web");
    }
}
