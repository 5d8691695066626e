//! A Kubernetes API server as far as loadline asks one: aggregated discovery, LISTs of metadata, and
//! what [`Delegation`] answers.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use loadline::core::selector::Selector;
use reqwest::Url;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use super::{delegation::Delegation, serve};

/// An object: resource, namespace (empty: cluster-scoped), name, labels.
pub(crate) type Object =
    (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Group, version, plural, singular, kind, namespaced.
type Kind = (&'static str, &'static str, &'static str, &'static str, &'static str, bool);

const KINDS: &[Kind] = &[
    ("", "v1", "namespaces", "namespace", "Namespace", false),
    ("", "v1", "nodes", "node", "Node", false),
    ("", "v1", "pods", "pod", "Pod", true),
    ("", "v1", "services", "service", "Service", true),
    ("apps", "v1", "deployments", "deployment", "Deployment", true),
    ("batch", "v1", "jobs", "job", "Job", true),
    ("networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", true),
];

/// What the scripted API server says and has heard.
#[derive(Default)]
struct Shared {
    objects: Vec<Object>,
    page: usize,
    /// The paths and queries of LISTs.
    lists: Mutex<Vec<String>>,
    discoveries: Mutex<usize>,
    lists_fail: Mutex<Option<u16>>,
    discovery_fails: Mutex<Option<u16>>,
    /// Kinds that were installed later.
    more: Mutex<Vec<Kind>>,
    delegation: Delegation,
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
        let shared = Arc::new(Shared { objects: objects.to_vec(), page, ..Shared::default() });
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

    /// Path and query of the LISTs since the last call.
    pub(crate) fn take_lists(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.lists.lock().expect("not poisoned"))
    }

    /// How often the kinds were asked for, tries of one question included.
    pub(crate) fn discoveries(&self) -> usize {
        *self.shared.discoveries.lock().expect("not poisoned")
    }

    /// LISTs fail with this status from now on.
    pub(crate) fn fail_lists(&self, status: Option<u16>) {
        *self.shared.lists_fail.lock().expect("not poisoned") = status;
    }

    /// API discovery fails with this status from now on.
    pub(crate) fn fail_discovery(&self, status: Option<u16>) {
        *self.shared.discovery_fails.lock().expect("not poisoned") = status;
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
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => {
            let uri = request.uri().to_string();
            shared.lists.lock().expect("not poisoned").push(uri.clone());
            if let Some(status) = *shared.lists_fail.lock().expect("not poisoned") {
                return failure(status, "pods is forbidden: secret-user cannot list them");
            }
            match rest {
                ["namespaces", namespace, resource] => list(&shared, resource, namespace, &uri),
                [resource] => list(&shared, resource, "", &uri),
                _ => failure(404, "not found"),
            }
        }
        _ => failure(404, "not found"),
    }
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
            "verbs": ["get", "list"],
        });
        match groups.iter_mut().find(|(known, ..)| *known == group) {
            Some((_, _, resources)) => resources.push(resource),
            None => groups.push((group, version, vec![resource])),
        }
    }
    let items: Vec<_> = groups
        .into_iter()
        .map(|(group, version, resources)| {
            json!({
                "metadata": {"name": group, "creationTimestamp": null},
                "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    });
    let media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    ([(header::CONTENT_TYPE, media)], body.to_string()).into_response()
}

fn list(shared: &Shared, resource: &str, namespace: &str, uri: &str) -> Response {
    let uri = Url::parse(&format!("http://server{uri}")).expect("a URI");
    let parameter = |name: &str| {
        uri.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    let selector = Selector::parse(&parameter("labelSelector").unwrap_or_default());
    let Ok(selector) = selector else {
        return failure(400, "bad selector");
    };
    let skip: usize = parameter("continue").map_or(0, |token| token.parse().expect("our token"));
    let limit: usize =
        parameter("limit").map_or(usize::MAX, |limit| limit.parse().expect("a limit"));
    let matching: Vec<_> = shared
        .objects
        .iter()
        .filter(|(kind, place, _, labels)| {
            let label =
                |key: &str| labels.iter().find(|(known, _)| *known == key).map(|pair| pair.1);
            *kind == resource
                && (namespace.is_empty() || *place == namespace)
                && selector.matches(label)
        })
        .collect();
    let page = limit.min(shared.page);
    let rest = matching.len().saturating_sub(skip + page);
    let items: Vec<_> = matching
        .iter()
        .skip(skip)
        .take(page)
        .map(|(_, place, name, _)| json!({"metadata": {"name": name, "namespace": place}}))
        .collect();
    let mut metadata = json!({"resourceVersion": "1"});
    if rest > 0 {
        metadata["continue"] = json!((skip + page).to_string());
        metadata["remainingItemCount"] = json!(rest);
    }
    axum::Json(json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata, "items": items,
    }))
    .into_response()
}

pub(super) fn failure(code: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(code).expect("a status");
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Failed", "code": code,
    });
    (status, axum::Json(body)).into_response()
}
