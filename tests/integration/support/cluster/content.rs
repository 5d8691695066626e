//! What is in the scripted cluster, and what has become of it: LIST and WATCH as an API server answers them.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use loadline::core::selector::Selector;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::failure;

/// An object as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    resource: String,
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    /// `spec` and `status`, and what there is of `metadata` besides.
    body: Value,
    version: u64,
}

impl Stored {
    /// An object with labels; without a namespace it is cluster-scoped.
    pub(crate) fn new(
        resource: &str,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Self {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: labels.iter().map(pair).collect(),
            body: json!({}),
            version: 0,
        }
    }

    /// With a `spec` and a `status`.
    pub(crate) fn with(mut self, body: Value) -> Self {
        self.body = body;
        self
    }

    fn is(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.resource == resource && self.namespace == namespace && self.name == name
    }

    fn json(&self, is_partial: bool, version: u64) -> Value {
        let mut object = if is_partial { json!({}) } else { self.body.clone() };
        object["metadata"] = json!({
            "name": self.name,
            "uid": format!("{}-{}-{}", self.resource, self.namespace, self.name),
            "resourceVersion": version.to_string(),
            "managedFields": [{"manager": "tests", "fieldsV1": {"f:metadata": {}}}],
        });
        if !self.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        if !self.labels.is_empty() {
            object["metadata"]["labels"] = json!(self.labels);
        }
        for (key, value) in self.body["metadata"].as_object().into_iter().flatten() {
            object["metadata"][key] = value.clone();
        }
        object
    }
}

/// Which objects a request is about, and what of them it wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) resource: String,
    /// Empty for all.
    pub(super) namespace: String,
    pub(super) labels: Selector,
    pub(super) fields: String,
    pub(super) is_partial: bool,
}

impl Wanted {
    fn has(&self, object: &Stored) -> bool {
        let label = |key: &str| object.labels.get(key).map(String::as_str);
        object.resource == self.resource
            && (self.namespace.is_empty() || object.namespace == self.namespace)
            && self.labels.matches(label)
            && match self.fields.split_once('=') {
                None => true,
                Some(("status.phase", phase)) => object.body["status"]["phase"] == phase,
                Some(field) => panic!("an API server knows no such field: {field:?}"),
            }
    }
}

/// What an object was before and is after a change; a bookmark has neither.
#[derive(Clone, Debug, Default)]
struct Change {
    version: u64,
    before: Option<Stored>,
    after: Option<Stored>,
}

impl Change {
    /// The line of a WATCH, for one that is concerned.
    fn line(&self, wanted: &Wanted) -> Option<String> {
        let had = self.before.as_ref().filter(|object| wanted.has(object));
        let has = self.after.as_ref().filter(|object| wanted.has(object));
        let (kind, object) = match (had, has) {
            (None, Some(object)) => ("ADDED", object),
            (Some(_), Some(object)) => ("MODIFIED", object),
            (Some(object), None) => ("DELETED", object),
            (None, None) if self.before.is_none() && self.after.is_none() => {
                let version = json!({"resourceVersion": self.version.to_string()});
                return Some(line(
                    "BOOKMARK",
                    &json!({"kind": "X", "apiVersion": "v1", "metadata": version}),
                ));
            }
            (None, None) => return None,
        };
        Some(line(kind, &object.json(wanted.is_partial, self.version)))
    }
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// The objects with their history.
#[derive(Default)]
struct History {
    objects: Vec<Stored>,
    changes: Vec<Change>,
    version: u64,
    /// What happened before this version nobody knows any more.
    oldest: u64,
    /// How often all watches were broken.
    breaks: u64,
}

impl History {
    fn change(&mut self, before: Option<Stored>, after: Option<Stored>) {
        self.version += 1;
        self.changes.push(Change { version: self.version, before, after });
    }
}

/// The beginning of an event, of which the rest does not come.
const HALF: &str = r#"{"type":"DELETED","object":{"metadata":{"na"#;

/// The objects, and who watches them.
#[derive(Clone, Default)]
pub(super) struct Content {
    history: Arc<Mutex<History>>,
    /// Changes with every change.
    told: watch::Sender<()>,
}

impl Content {
    pub(super) fn new(objects: Vec<Stored>) -> Self {
        let content = Self::default();
        *content.history() = History { objects, version: 1, oldest: 1, ..History::default() };
        content
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("not poisoned")
    }

    /// Makes an object, or changes it.
    pub(super) fn apply(&self, mut object: Stored) {
        let mut history = self.history();
        object.version = history.version + 1;
        let place = history
            .objects
            .iter_mut()
            .find(|known| known.is(&object.resource, &object.namespace, &object.name));
        let before = if let Some(known) = place {
            Some(std::mem::replace(known, object.clone()))
        } else {
            history.objects.push(object.clone());
            None
        };
        history.change(before, Some(object));
        drop(history);
        self.told.send_replace(());
    }

    /// Merges into the status of an object: the object as it is then.
    pub(super) fn patch_status(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Option<Value> {
        let known = {
            let history = self.history();
            history.objects.iter().find(|known| known.is(resource, namespace, name)).cloned()
        };
        let mut object = known?;
        for (key, value) in patch.as_object().into_iter().flatten() {
            object.body["status"][key] = value.clone();
        }
        self.apply(object);
        self.get(resource, namespace, name)
    }

    pub(super) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut history = self.history();
        let known = history.objects.iter().position(|known| known.is(resource, namespace, name));
        let before = history.objects.remove(known.expect("the object exists"));
        history.change(Some(before), None);
        drop(history);
        self.told.send_replace(());
    }

    /// Tells those who watch of a new version, and nothing else: the version.
    pub(super) fn bookmark(&self) -> u64 {
        let mut history = self.history();
        history.change(None, None);
        let version = history.version;
        drop(history);
        self.told.send_replace(());
        version
    }

    /// Ends all watches in the middle of an event.
    pub(super) fn break_watches(&self) {
        self.history().breaks += 1;
        self.told.send_replace(());
    }

    /// Forgets what has happened, at a version that no watch has seen.
    pub(super) fn compact(&self) {
        let mut history = self.history();
        history.version += 1;
        history.oldest = history.version;
        history.changes.clear();
        drop(history);
        self.told.send_replace(());
    }

    /// An object, whole.
    pub(super) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let history = self.history();
        let mut objects = history.objects.iter();
        let found = objects.find(|object| object.is(resource, namespace, name))?;
        Some(found.json(false, found.version))
    }

    pub(super) fn list(&self, wanted: &Wanted, skip: usize, limit: usize) -> Response {
        let history = self.history();
        let matching: Vec<_> = history.objects.iter().filter(|object| wanted.has(object)).collect();
        let rest = matching.len().saturating_sub(skip + limit);
        let items: Vec<_> = matching
            .iter()
            .skip(skip)
            .take(limit)
            .map(|object| object.json(wanted.is_partial, object.version))
            .collect();
        let mut metadata = json!({"resourceVersion": history.version.to_string()});
        if rest > 0 {
            metadata["continue"] = json!((skip + limit).to_string());
            metadata["remainingItemCount"] = json!(rest);
        }
        let (kind, version) = if wanted.is_partial {
            ("PartialObjectMetadataList", "meta.k8s.io/v1")
        } else {
            ("List", "v1")
        };
        // kube-apiserver writes an empty list of metadata so.
        let items = if wanted.is_partial && items.is_empty() { Value::Null } else { items.into() };
        let list =
            json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items});
        axum::Json(list).into_response()
    }

    /// Every change after the version that was seen, as a line of its own.
    pub(super) fn watch(&self, wanted: Wanted, seen: u64) -> Response {
        let (oldest, breaks) = {
            let history = self.history();
            (history.oldest, history.breaks)
        };
        if seen < oldest {
            return failure(410, "too old resource version");
        }
        let told = self.told.subscribe();
        let state = Some((self.clone(), told, seen));
        let lines = stream::unfold(state, move |state| {
            let wanted = wanted.clone();
            async move {
                let (content, mut told, seen) = state?;
                loop {
                    told.borrow_and_update();
                    match content.after(&wanted, seen, breaks) {
                        Next::Lines(lines, version) if lines.is_empty() => {
                            assert!(version >= seen, "versions grow");
                            told.changed().await.ok()?;
                        }
                        Next::Lines(lines, version) => {
                            return Some((Ok(lines), Some((content, told, version))));
                        }
                        Next::End(end) => return Some((end, None)),
                    }
                }
            }
        });
        let lines = lines.flat_map(|lines: io::Result<String>| match lines {
            Ok(lines) => stream::iter(vec![Ok(lines)]),
            Err(broken) => stream::iter(vec![Ok(HALF.to_owned()), Err(broken)]),
        });
        ([("content-type", "application/json")], Body::from_stream(lines)).into_response()
    }

    fn after(&self, wanted: &Wanted, seen: u64, breaks: u64) -> Next {
        let history = self.history();
        if history.breaks != breaks {
            return Next::End(Err(io::Error::other("broken as told")));
        }
        if seen < history.oldest {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410,
            });
            return Next::End(Ok(line("ERROR", &status)));
        }
        let changes = history.changes.iter().filter(|change| change.version > seen);
        let lines = changes.filter_map(|change| change.line(wanted)).collect();
        Next::Lines(lines, history.version)
    }
}

enum Next {
    Lines(String, u64),
    End(io::Result<String>),
}
