//! What kube-apiserver tells an API server behind it: who holds a token, who may do what, and which authorities to trust.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
};
use futures::stream;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::cluster::failure;

/// The ConfigMap of trusted authorities.
const CONFIG_MAP: &str = "extension-apiserver-authentication";

/// Answers access reviews, by their `spec`, with a `status`.
type Access = Box<dyn Fn(&Value) -> Value + Send + Sync>;

/// How often the ConfigMap was written, and its data; nothing while it does not exist.
type Written = (u64, Option<BTreeMap<String, String>>);

/// What is answered, and what was asked.
pub(crate) struct Delegation {
    /// The users of known tokens.
    tokens: Mutex<BTreeMap<String, Value>>,
    access: Mutex<Access>,
    token_reviews: Mutex<Vec<Value>>,
    access_reviews: Mutex<Vec<Value>>,
    /// The status that each part fails with; 0: it does not fail.
    tokens_fail: AtomicU16,
    access_fails: AtomicU16,
    config_fails: AtomicU16,
    /// Whether reviews of those that nobody knows have to wait.
    strangers_held: watch::Sender<bool>,
    config: watch::Sender<Written>,
}

impl Default for Delegation {
    fn default() -> Self {
        Self {
            tokens: Mutex::default(),
            access: Mutex::new(Box::new(|_| json!({"allowed": true}))),
            token_reviews: Mutex::default(),
            access_reviews: Mutex::default(),
            tokens_fail: AtomicU16::default(),
            access_fails: AtomicU16::default(),
            config_fails: AtomicU16::default(),
            strangers_held: watch::Sender::default(),
            config: watch::Sender::default(),
        }
    }
}

impl Delegation {
    /// A token belongs to a user from now on.
    pub(crate) fn token(&self, token: &str, user: Value) {
        self.tokens.lock().expect("not poisoned").insert(token.to_owned(), user);
    }

    /// Access is decided by this from now on; everything is allowed before.
    pub(crate) fn access(&self, decide: impl Fn(&Value) -> Value + Send + Sync + 'static) {
        *self.access.lock().expect("not poisoned") = Box::new(decide);
    }

    /// The `spec` of every token review since the last call.
    pub(crate) fn take_token_reviews(&self) -> Vec<Value> {
        std::mem::take(&mut *self.token_reviews.lock().expect("not poisoned"))
    }

    /// The `spec` of every access review since the last call.
    pub(crate) fn take_access_reviews(&self) -> Vec<Value> {
        std::mem::take(&mut *self.access_reviews.lock().expect("not poisoned"))
    }

    /// Token reviews fail with this status from now on; 0 ends that.
    pub(crate) fn fail_token_reviews(&self, status: u16) {
        self.tokens_fail.store(status, Ordering::SeqCst);
    }

    /// Access reviews fail with this status from now on; 0 ends that.
    pub(crate) fn fail_access_reviews(&self, status: u16) {
        self.access_fails.store(status, Ordering::SeqCst);
    }

    /// Whether reviews of unknown tokens, and of what somebody anonymous may do, have to wait from now on.
    pub(crate) fn hold_strangers(&self, held: bool) {
        self.strangers_held.send_replace(held);
    }

    async fn wait(&self) {
        let mut held = self.strangers_held.subscribe();
        held.wait_for(|held| !held).await.expect("it is ours");
    }

    /// The ConfigMap cannot be read from now on; 0 ends that.
    pub(crate) fn fail_config(&self, status: u16) {
        self.config_fails.store(status, Ordering::SeqCst);
    }

    /// Writes the ConfigMap, which those who watch it are told.
    pub(crate) fn configure(&self, data: &[(&str, &str)]) {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let data = data.iter().map(pair).collect();
        self.config.send_modify(|written| *written = (written.0 + 1, Some(data)));
    }

    /// Deletes the ConfigMap, which those who watch it are told.
    pub(crate) fn delete_config(&self) {
        self.config.send_modify(|written| *written = (written.0 + 1, None));
    }

    pub(super) async fn review_token(&self, request: Request) -> Response {
        let spec = spec(request).await;
        let token = spec["token"].as_str().expect("a token").to_owned();
        self.token_reviews.lock().expect("not poisoned").push(spec.clone());
        if let Some(failure) = failed(&self.tokens_fail) {
            return failure;
        }
        let user = self.tokens.lock().expect("not poisoned").get(&token).cloned();
        if user.is_none() {
            self.wait().await;
        }
        let status = match user {
            Some(user) => json!({"authenticated": true, "user": user}),
            None => json!({"error": "[invalid bearer token]"}),
        };
        reviewed("TokenReview", "authentication.k8s.io/v1", &spec, &status)
    }

    pub(super) async fn review_access(&self, request: Request) -> Response {
        let spec = spec(request).await;
        self.access_reviews.lock().expect("not poisoned").push(spec.clone());
        if let Some(failure) = failed(&self.access_fails) {
            return failure;
        }
        if spec["user"] == "system:anonymous" {
            self.wait().await;
        }
        let status = (self.access.lock().expect("not poisoned"))(&spec);
        reviewed("SubjectAccessReview", "authorization.k8s.io/v1", &spec, &status)
    }

    /// A LIST or a WATCH of ConfigMaps. Only the one by its name may be read, as by its own role.
    pub(super) fn config_maps(&self, request: &Request) -> Response {
        if let Some(failure) = failed(&self.config_fails) {
            return failure;
        }
        let uri = Url::parse(&format!("http://server{}", request.uri())).expect("a URI");
        let parameters: BTreeMap<_, _> = uri.query_pairs().into_owned().collect();
        let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);
        if parameter("fieldSelector") != format!("metadata.name={CONFIG_MAP}") {
            return failure(403, "configmaps is forbidden");
        }
        if parameter("watch") == "true" {
            let seen = parameter("resourceVersion").parse().expect("our own version");
            return self.watch(seen);
        }
        let written = self.config.borrow().clone();
        let items: Vec<_> = written.1.is_some().then(|| config_map(&written)).into_iter().collect();
        let list = json!({
            "kind": "ConfigMapList", "apiVersion": "v1",
            "metadata": {"resourceVersion": written.0.to_string()}, "items": items,
        });
        Json(list).into_response()
    }

    /// Every writing after the one that was seen, as a line of its own.
    fn watch(&self, seen: u64) -> Response {
        let told = self.config.subscribe();
        let lines = stream::unfold((told, seen), async |(mut told, seen)| {
            let written = told.wait_for(|(version, _)| *version > seen).await.ok()?.clone();
            let kind = match &written {
                (_, None) => "DELETED",
                _ if seen == 0 => "ADDED",
                _ => "MODIFIED",
            };
            let line = format!("{}\n", json!({"type": kind, "object": config_map(&written)}));
            Some((Ok::<_, std::io::Error>(line), (told, written.0)))
        });
        ([("content-type", "application/json")], Body::from_stream(lines)).into_response()
    }
}

fn config_map((version, data): &Written) -> Value {
    json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {
            "name": CONFIG_MAP, "namespace": "kube-system", "uid": "1",
            "resourceVersion": version.to_string(),
        },
        "data": data.clone().unwrap_or_default(),
    })
}

async fn spec(request: Request) -> Value {
    let body = to_bytes(request.into_body(), 1 << 20).await.expect("a small body");
    let mut review: Value = serde_json::from_slice(&body).expect("JSON");
    review["spec"].take()
}

fn failed(status: &AtomicU16) -> Option<Response> {
    match status.load(Ordering::SeqCst) {
        0 => None,
        status => Some(failure(status, "fails as told")),
    }
}

fn reviewed(kind: &str, version: &str, spec: &Value, status: &Value) -> Response {
    let review = json!({"kind": kind, "apiVersion": version, "metadata": {}, "spec": spec, "status": status});
    (http::StatusCode::CREATED, Json(review)).into_response()
}
