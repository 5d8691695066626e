//! A Kubernetes API server as far as loadline asks one: aggregated discovery, LIST and WATCH, and
//! what [`Delegation`] answers.

mod content;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use loadline::core::selector::Selector;
use reqwest::Url;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use self::content::{Content, Wanted};
pub(crate) use content::Stored;

use super::{delegation::Delegation, serve};

/// An object: resource, namespace (empty: cluster-scoped), name, labels.
pub(crate) type Object =
    (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Group, version, plural, singular, kind, namespaced.
type Kind = (&'static str, &'static str, &'static str, &'static str, &'static str, bool);

/// They are listed by a part of their own, whose requests are told apart.
const AUTOSCALERS: &str = "horizontalpodautoscalers";

const KINDS: &[Kind] = &[
    ("", "v1", "namespaces", "namespace", "Namespace", false),
    ("", "v1", "nodes", "node", "Node", false),
    ("", "v1", "pods", "pod", "Pod", true),
    ("", "v1", "services", "service", "Service", true),
    ("autoscaling", "v2", AUTOSCALERS, "horizontalpodautoscaler", "HorizontalPodAutoscaler", true),
    ("apps", "v1", "deployments", "deployment", "Deployment", true),
    ("batch", "v1", "jobs", "job", "Job", true),
    ("networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", true),
];

/// The status of an autoscaler whose metrics are read, with so many pods.
pub(crate) fn read_with(replicas: usize) -> Value {
    json!({
        "currentReplicas": replicas, "currentMetrics": null,
        "conditions": [{"type": "ScalingActive", "status": "True"}],
    })
}

/// What the scripted API server says and has heard.
#[derive(Default)]
struct Shared {
    content: Content,
    page: usize,
    /// The paths and queries of LISTs, those of autoscalers left out.
    lists: Mutex<Vec<String>>,
    /// The same of every WATCH.
    watches: Mutex<Vec<String>>,
    /// How often autoscalers were listed.
    autoscaler_requests: Mutex<usize>,
    /// The status of requests by verb and resource, which stands behind the namespace if they are for one.
    refusals: Mutex<BTreeMap<(String, String), u16>>,
    /// Whether LISTs of all namespaces have to wait.
    held: watch::Sender<bool>,
    discoveries: Mutex<usize>,
    lists_fail: Mutex<Option<u16>>,
    discovery_fails: Mutex<Option<u16>>,
    is_old: AtomicBool,
    /// Whether no server behind an API group answers.
    others_are_broken: AtomicBool,
    /// Kinds that were installed later.
    more: Mutex<Vec<Kind>>,
    delegation: Delegation,
    /// Namespace and name of the Services that APIServices point at.
    registrations: Mutex<BTreeMap<String, (String, String)>>,
    /// Status and message of their condition `Available`.
    conditions: Mutex<BTreeMap<String, (&'static str, &'static str)>>,
    /// The Events that were written, and the status of the answers where they are refused.
    events: Mutex<Vec<Value>>,
    events_fail: Mutex<Option<u16>>,
    /// The statuses that were written: namespace and name of the object, and the patch.
    statuses: Mutex<Vec<(String, Value)>>,
    /// The servers behind API groups: their clients and URLs.
    aggregated: Mutex<BTreeMap<&'static str, (reqwest::Client, String)>>,
}

/// The server and its kubeconfig.
pub(crate) struct Kubernetes {
    shared: Arc<Shared>,
    pub(crate) url: String,
    pub(crate) kubeconfig: PathBuf,
    _folder: TempDir,
    _task: AbortOnDropHandle<()>,
}

impl Kubernetes {
    /// A cluster with these objects. LISTs give no more than `page` objects at a time.
    pub(crate) async fn start(objects: &[Object], page: usize) -> Self {
        let stored = objects.iter().map(|(r, place, name, l)| Stored::new(r, place, name, l));
        Self::holding(stored.collect(), page).await
    }

    /// The same for objects that are made by the test.
    pub(crate) async fn holding(objects: Vec<Stored>, page: usize) -> Self {
        let shared = Arc::new(Shared { content: Content::new(objects), page, ..Shared::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let (url, task) = serve(router).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kubeconfig = folder.path().join("kubeconfig");
        write_kubeconfig(&kubeconfig, &url);
        Self { shared, url, kubeconfig, _folder: folder, _task: task }
    }

    /// Who asks and may read.
    pub(crate) fn delegation(&self) -> &Delegation {
        &self.shared.delegation
    }

    /// Leads whoever reads the kubeconfig from now on another way to this server.
    pub(crate) fn reached_by(&self, url: &str) {
        write_kubeconfig(&self.kubeconfig, url);
    }

    /// Points an APIService at a Service.
    pub(crate) fn register(&self, apiservice: &str, namespace: &str, name: &str) {
        let mut registrations = self.shared.registrations.lock().expect("not poisoned");
        registrations.insert(apiservice.to_owned(), (namespace.to_owned(), name.to_owned()));
    }

    /// Takes an APIService away.
    pub(crate) fn unregister(&self, apiservice: &str) {
        self.shared.registrations.lock().expect("not poisoned").remove(apiservice);
    }

    /// Says of an APIService whether it is available, and why.
    pub(crate) fn judge(&self, apiservice: &str, status: &'static str, message: &'static str) {
        let mut conditions = self.shared.conditions.lock().expect("not poisoned");
        conditions.insert(apiservice.to_owned(), (status, message));
    }

    /// Sends the requests for an API group to a server, as the aggregator does.
    pub(crate) fn aggregate(&self, group: &'static str, client: reqwest::Client, url: String) {
        self.shared.aggregated.lock().expect("not poisoned").insert(group, (client, url));
    }

    /// Path and query of the LISTs since the last call.
    pub(crate) fn take_lists(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.lists.lock().expect("not poisoned"))
    }

    /// Path and query of every WATCH since the last call.
    pub(crate) fn take_watches(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.watches.lock().expect("not poisoned"))
    }

    /// How often autoscalers were listed.
    pub(crate) fn autoscaler_requests(&self) -> usize {
        *self.shared.autoscaler_requests.lock().expect("not poisoned")
    }

    /// The Events that were written, as they were sent.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.shared.events.lock().expect("not poisoned").clone()
    }

    /// The statuses that were written since the last call: `namespace/name` of the object, and the status.
    pub(crate) fn take_statuses(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.shared.statuses.lock().expect("not poisoned"))
    }

    /// An object as it is now.
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.shared.content.get(resource, namespace, name)
    }

    /// Makes an object, or changes it.
    pub(crate) fn apply(&self, object: Stored) {
        self.shared.content.apply(object);
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        self.shared.content.delete(resource, namespace, name);
    }

    /// Tells those who watch that there is nothing new up to a version, which is given.
    pub(crate) fn bookmark(&self) -> u64 {
        self.shared.content.bookmark()
    }

    /// Ends all watches in the middle of an event.
    pub(crate) fn break_watches(&self) {
        self.shared.content.break_watches();
    }

    /// Forgets what has happened: who watches has to list again.
    pub(crate) fn compact(&self) {
        self.shared.content.compact();
    }

    /// Requests fail with this status from now on: those for all namespaces, or with `NAMESPACE/RESOURCE` those for one.
    pub(crate) fn refuse(&self, verb: &str, resource: &str, status: Option<u16>) {
        let mut refusals = self.shared.refusals.lock().expect("not poisoned");
        let key = (verb.to_owned(), resource.to_owned());
        match status {
            Some(status) => refusals.insert(key, status),
            None => refusals.remove(&key),
        };
    }

    /// Whether LISTs of all namespaces have to wait from now on.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// How often the kinds were asked for, tries of one question included.
    pub(crate) fn discoveries(&self) -> usize {
        *self.shared.discoveries.lock().expect("not poisoned")
    }

    /// LISTs fail with this status from now on.
    pub(crate) fn fail_lists(&self, status: Option<u16>) {
        *self.shared.lists_fail.lock().expect("not poisoned") = status;
    }

    /// API discovery is answered as before Kubernetes 1.27 from now on, whatever is accepted.
    pub(crate) fn grow_old(&self) {
        self.shared.is_old.store(true, Ordering::SeqCst);
    }

    /// Has API groups from now on whose servers do not answer.
    pub(crate) fn break_aggregated(&self) {
        self.shared.others_are_broken.store(true, Ordering::SeqCst);
    }

    /// API discovery fails with this status from now on.
    pub(crate) fn fail_discovery(&self, status: Option<u16>) {
        *self.shared.discovery_fails.lock().expect("not poisoned") = status;
    }

    /// Events are refused with this status from now on.
    pub(crate) fn refuse_events(&self, status: Option<u16>) {
        *self.shared.events_fail.lock().expect("not poisoned") = status;
    }

    /// Installs a custom resource.
    pub(crate) fn install(&self, kind: Kind) {
        self.shared.more.lock().expect("not poisoned").push(kind);
    }
}

fn write_kubeconfig(path: &Path, url: &str) {
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "c", "user": {"token": "cluster-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    std::fs::write(path, text.to_string()).expect("a writable file");
}

/// The groups that are served by others.
const METRICS: [&str; 3] = ["custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.k8s.io"];

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if authorization.is_none_or(|value| value != "Bearer cluster-token") {
        return failure(401, "Unauthorized");
    }
    let path = request.uri().path().to_owned();
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["api" | "apis"] => {
            // The core group is asked for first.
            if segments == ["api"] {
                *shared.discoveries.lock().expect("not poisoned") += 1;
            }
            if let Some(status) = *shared.discovery_fails.lock().expect("not poisoned") {
                return failure(status, "discovery fails as told");
            }
            if shared.is_old.load(Ordering::SeqCst) {
                let body = json!({"kind": "APIVersions", "versions": ["v1"], "groups": []});
                return axum::Json(body).into_response();
            }
            aggregated(&shared, segments == ["api"])
        }
        ["apis", "authentication.k8s.io", "v1", "tokenreviews"] => {
            shared.delegation.review_token(request).await
        }
        ["apis", "authorization.k8s.io", "v1", "subjectaccessreviews"] => {
            shared.delegation.review_access(request).await
        }
        ["api", "v1", "namespaces", "kube-system", "configmaps"] => {
            shared.delegation.config_maps(&request)
        }
        ["apis", "events.k8s.io", "v1", "namespaces", _, "events"] => {
            write_event(&shared, request).await
        }
        ["apis", "apiregistration.k8s.io", "v1", "apiservices", name] => {
            let registrations = shared.registrations.lock().expect("not poisoned");
            let Some((namespace, service)) = registrations.get(*name) else {
                return failure(404, "not found");
            };
            let spec = json!({
                "service": {"namespace": namespace, "name": service},
                "groupPriorityMinimum": 100, "versionPriority": 100,
            });
            let conditions = shared.conditions.lock().expect("not poisoned");
            let condition = conditions.get(*name).map(|(status, message)| {
                json!({"type": "Available", "status": status, "message": message})
            });
            let status = json!({"conditions": condition.into_iter().collect::<Vec<_>>()});
            let kind = "APIService";
            axum::Json(json!({"kind": kind, "apiVersion": "apiregistration.k8s.io/v1", "metadata": {"name": name}, "spec": spec, "status": status})).into_response()
        }
        ["apis", _, _, "namespaces", namespace, resource, name, "status"] => {
            let status = body(request).await["status"].take();
            let Some(object) = shared.content.patch_status(resource, namespace, name, &status)
            else {
                return failure(404, "not found");
            };
            let mut statuses = shared.statuses.lock().expect("not poisoned");
            statuses.push((format!("{namespace}/{name}"), status));
            axum::Json(object).into_response()
        }
        ["apis", group, ..] if METRICS.contains(group) => {
            let is_registered =
                |name: &String| name.split_once('.').is_some_and(|(_, of)| of == *group);
            let registrations = shared.registrations.lock().expect("not poisoned").clone();
            // Without a registration the API server does not know the group.
            if segments.len() == 2 && !registrations.keys().any(is_registered) {
                return failure(404, "404 page not found");
            }
            let behind = shared.aggregated.lock().expect("not poisoned").get(*group).cloned();
            let Some((client, url)) = behind else { return failure(404, "404 page not found") };
            let asked = client.get(format!("{url}{}", request.uri()));
            let answer = asked.bearer_auth("cluster-token").send().await.expect("an answer");
            let status = answer.status();
            (status, answer.bytes().await.expect("a body")).into_response()
        }
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => {
            let accept = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes);
            let is_partial =
                String::from_utf8_lossy(accept.unwrap_or_default()).contains("as=PartialObject");
            let uri = request.uri().to_string();
            match rest {
                ["namespaces", namespace, resource] => {
                    objects(&shared, resource, namespace, &uri, is_partial).await
                }
                [resource] => objects(&shared, resource, "", &uri, is_partial).await,
                ["namespaces", namespace, resource, name] => {
                    match shared.content.get(resource, namespace, name) {
                        Some(object) => axum::Json(object).into_response(),
                        None => failure(404, "not found"),
                    }
                }
                _ => failure(404, "not found"),
            }
        }
        _ => failure(404, "not found"),
    }
}

/// Stores an Event, unless there is one of its name.
async fn write_event(shared: &Shared, request: Request) -> Response {
    if let Some(status) = *shared.events_fail.lock().expect("not poisoned") {
        return failure(status, "events is forbidden: secret-user cannot create them");
    }
    let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.expect("a small body");
    let event: Value = serde_json::from_slice(&body).expect("an Event");
    let mut events = shared.events.lock().expect("not poisoned");
    let name = &event["metadata"]["name"];
    if events.iter().any(|known| known["metadata"]["name"] == *name) {
        return failure(409, "it exists");
    }
    events.push(event.clone());
    (StatusCode::CREATED, axum::Json(event)).into_response()
}

fn aggregated(shared: &Shared, core: bool) -> Response {
    let mut groups: Vec<(&str, &str, Vec<Value>)> = Vec::new();
    let more = shared.more.lock().expect("not poisoned").clone();
    for (group, version, plural, singular, kind, namespaced) in KINDS.iter().copied().chain(more) {
        if group.is_empty() != core {
            continue;
        }
        let resource = json!({
            "resource": plural,
            "singularResource": singular,
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "responseKind": {"group": group, "version": version, "kind": kind},
            "verbs": ["get", "list", "watch"],
        });
        match groups.iter_mut().find(|(known, ..)| *known == group) {
            Some((_, _, resources)) => resources.push(resource),
            None => groups.push((group, version, vec![resource])),
        }
    }
    let mut items: Vec<_> = groups
        .into_iter()
        .map(|(group, version, resources)| {
            json!({
                "metadata": {"name": group, "creationTimestamp": null},
                "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    if !core && shared.others_are_broken.load(Ordering::SeqCst) {
        // As kube-apiserver says it of those that it has never reached.
        items.extend(["a.example.com", "metrics.k8s.io", "zz.example.com"].map(|group| {
            let version = json!({"version": "v1", "freshness": "Stale"});
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": [version]})
        }));
    }
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    });
    let media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    ([(header::CONTENT_TYPE, media)], body.to_string()).into_response()
}

/// What a request sends.
async fn body(request: Request) -> Value {
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    serde_json::from_slice(&body).expect("JSON")
}

/// A LIST or a WATCH.
async fn objects(
    shared: &Shared,
    resource: &str,
    namespace: &str,
    uri: &str,
    is_partial: bool,
) -> Response {
    let url = Url::parse(&format!("http://server{uri}")).expect("a URI");
    let parameters: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);
    let verb = if parameter("watch") == "true" { "watch" } else { "list" };
    if resource == AUTOSCALERS {
        *shared.autoscaler_requests.lock().expect("not poisoned") += 1;
    } else {
        let log = if verb == "watch" { &shared.watches } else { &shared.lists };
        log.lock().expect("not poisoned").push(uri.to_owned());
    }
    let place = if namespace.is_empty() { "" } else { &format!("{namespace}/") };
    let key = (verb.to_owned(), format!("{place}{resource}"));
    let refusal = shared.refusals.lock().expect("not poisoned").get(&key).copied();
    if let Some(status) = refusal {
        return failure(status, "refused: secret-user may not");
    }
    let fails = *shared.lists_fail.lock().expect("not poisoned");
    if let Some(status) = fails.filter(|_| verb == "list") {
        return failure(status, "pods is forbidden: secret-user cannot list them");
    }
    let Ok(labels) = Selector::parse(parameter("labelSelector")) else {
        return failure(400, "bad selector");
    };
    let wanted = Wanted {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        labels,
        fields: parameter("fieldSelector").to_owned(),
        is_partial,
    };
    if verb == "watch" {
        let seen = parameter("resourceVersion").parse().expect("our own version");
        return shared.content.watch(wanted, seen);
    }
    if namespace.is_empty() {
        let mut held = shared.held.subscribe();
        held.wait_for(|held| !held).await.expect("the server is there");
    }
    let number = |name: &str, default| match parameter(name) {
        "" => default,
        text => text.parse().expect("a number"),
    };
    let limit = number("limit", usize::MAX).min(shared.page);
    shared.content.list(&wanted, number("continue", 0), limit)
}

pub(super) fn failure(code: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(code).expect("a status");
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Failed", "code": code,
    });
    (status, axum::Json(body)).into_response()
}
