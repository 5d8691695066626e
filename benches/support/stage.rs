//! The environment of loadline in benchmarks: a scripted Prometheus and a scripted Kubernetes API server on loopback.

use std::{fmt::Write as _, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderName, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures::stream;
use loadline::{
    app::{Cluster, ClusterSettings, Settings},
    auth::{access::Ttls, trust},
    core::{budgets::MemoryBudgets, rules},
    discovery, planner, prometheus,
    server::{certificates, limits::Limits, tls::options::Options},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const RULES: &str = r#"
rules:
- seriesQuery: 'lsp_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
"#;

/// The only metric.
pub(crate) const METRIC: &str = "lsp_requests_per_second";

/// Queries with this word take a second.
pub(crate) const SLOW: &str = "takes-a-second";

/// A valid token with the length of a service account's.
pub(crate) fn token() -> String {
    "eyJhbGciOiJSUzI1NiIsImtpZCI6I".repeat(30)
}

/// The rule of [`METRIC`].
pub(crate) fn rules() -> rules::RuleSet {
    rules::load(RULES).unwrap()
}

/// A server whose results stay in the cache.
pub(crate) fn settings(prometheus_url: &str, cluster: Cluster) -> Settings {
    let hour = Duration::from_secs(3_600);
    Settings {
        rules: rules(),
        source: None,
        credentials: Arc::default(),
        prometheus: prometheus::Config::new(prometheus_url).unwrap(),
        cluster,
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        service: None,
        certificates: certificates::Settings {
            names: certificates::Names::new("loadline", None, &[]),
            ..certificates::Settings::default()
        },
        tls: Options::default(),
        limits: Limits::default(),
        memory: MemoryBudgets::default(),
        discovery: discovery::Settings {
            interval: hour,
            max_age: hour,
            lookback: discovery::LOOKBACK,
        },
        planning: planner::Settings::with_ttl(hour),
        write_kubeconfig: None,
        debug_address: None,
        host: String::new(),
        shutdown_delay: Duration::ZERO,
        traces: None,
    }
}

/// A cluster that gets one token review and one access review.
pub(crate) fn cluster(kubeconfig: &Path) -> Cluster {
    let hour = Duration::from_secs(3_600);
    Cluster::Kubernetes(Box::new(ClusterSettings {
        lister_kubeconfig: Some(kubeconfig.to_owned()),
        authentication_kubeconfig: None,
        authorization_kubeconfig: None,
        trust: trust::Overrides::default(),
        skip_lookup: true,
        tolerate_lookup_failure: false,
        token_ttl: hour,
        access_ttls: Ttls { authorized: hour, unauthorized: hour },
        always_allowed: ["/healthz", "/readyz", "/livez"].map(str::to_owned).to_vec(),
        team_rules: false,
    }))
}

/// A pod's name, as under a Deployment.
pub(crate) fn pod(index: usize) -> String {
    format!("lsp-server-5d9c7b8f6d-{index:05}")
}

/// The response of Prometheus for this number of pods.
pub(crate) fn answer(count: usize) -> String {
    let mut body = r#"{"status":"success","data":{"resultType":"vector","result":["#.to_owned();
    for index in 0..count {
        let separator = if index == 0 { "" } else { "," };
        let (pod, value) = (pod(index), index % 90 + 10);
        write!(
            body,
            r#"{separator}{{"metric":{{"pod":"{pod}"}},"value":[1763651878.912,"{value}.70833333333333"]}}"#
        )
        .unwrap();
    }
    body.push_str("]}}");
    body
}

pub(crate) const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// A Prometheus with one metric of this number of pods.
pub(crate) async fn prometheus(pods: usize, stop: CancellationToken) -> String {
    let names = |uri: Uri| async move {
        // The probe for backends that ignore match[] matches nothing.
        let is_probe = uri.query().unwrap_or_default().contains("matches_nothing");
        let data = if is_probe { "[]" } else { r#"["lsp_requests_total"]"# };
        (JSON, format!(r#"{{"status":"success","data":{data}}}"#))
    };
    let vector: Arc<str> = answer(pods).into();
    // Reads the body as Prometheus does: an unread body would break the connection.
    let query = move |uri: Uri, body: Bytes| async move {
        let form = String::from_utf8_lossy(&body);
        if form.contains(SLOW) || uri.query().unwrap_or_default().contains(SLOW) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        (JSON, vector.to_string())
    };
    let router = Router::new()
        .route("/api/v1/label/__name__/values", get(names))
        // Long queries use POST.
        .route("/api/v1/query", get(query.clone()).post(query));
    serve(router, stop).await
}

/// The kubeconfig of a Kubernetes API server with this number of pods, which accepts every token and allows everything.
pub(crate) async fn api_server(pods: usize, stop: CancellationToken) -> NamedTempFile {
    let items: Vec<_> = (0..pods)
        .map(|index| {
            let labels = json!({"app": "lsp-server"});
            json!({"metadata": {"name": pod(index), "namespace": "team-0", "labels": labels}})
        })
        .collect();
    let list: Arc<str> = json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "1"}, "items": items,
    })
    .to_string()
    .into();
    let pods = move |request: Request| async move {
        if request.uri().query().unwrap_or_default().contains("watch=") {
            // No object ever changes.
            let events = stream::pending::<Result<Bytes, std::io::Error>>();
            return (JSON, Body::from_stream(events)).into_response();
        }
        (JSON, list.to_string()).into_response()
    };
    let router = Router::new()
        .route("/api", get(async || aggregated(&kinds())))
        .route("/apis", get(async || aggregated(&[])))
        .route("/api/v1/pods", get(pods.clone()))
        .route("/api/v1/namespaces/team-0/pods", get(pods));
    kubeconfig(&serve(reviews(router), stop).await)
}

/// An API server that accepts every token and allows everything.
pub(crate) fn reviews(router: Router) -> Router {
    let user = json!({
        "username": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        "uid": "7b1f7d6e-0f3f-4a53-8d5c-2f1f0d6b9c11",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=0c9f6b4a-3c49-4b38-b9a8-5f8e7a1d2c33"]},
    });
    router
        .route(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            post(async move |_: Bytes| reviewed(&json!({"authenticated": true, "user": user}))),
        )
        .route(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            post(async |_: Bytes| reviewed(&json!({"allowed": true}))),
        )
}

/// A kubeconfig for an API server at this URL.
pub(crate) fn kubeconfig(url: &str) -> NamedTempFile {
    let kubeconfig = NamedTempFile::new().unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "c", "user": {"token": "cluster-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    std::fs::write(kubeconfig.path(), text.to_string()).unwrap();
    kubeconfig
}

/// The kinds of the cluster, as in aggregated discovery.
pub(crate) fn kinds() -> Vec<Value> {
    let resource = |plural: &str, singular: &str, kind: &str, scope: &str| {
        json!({
            "resource": plural, "singularResource": singular, "scope": scope,
            "responseKind": {"group": "", "version": "v1", "kind": kind}, "verbs": ["get", "list", "watch"],
        })
    };
    vec![json!({
        "metadata": {"name": "", "creationTimestamp": null},
        "versions": [{"version": "v1", "freshness": "Current", "resources": [
            resource("namespaces", "namespace", "Namespace", "Cluster"),
            resource("pods", "pod", "Pod", "Namespaced"),
        ]}],
    })]
}

/// A response of aggregated discovery.
pub(crate) fn aggregated(items: &[Value]) -> Response {
    let media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    });
    ([(header::CONTENT_TYPE, media)], body.to_string()).into_response()
}

fn reviewed(status: &Value) -> Response {
    let review = json!({"metadata": {}, "spec": {}, "status": status});
    (StatusCode::CREATED, Json(review)).into_response()
}

/// Serves on a free loopback port. Returns the URL.
pub(crate) async fn serve(router: Router, stop: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tokio::spawn(async { serve.await.unwrap() });
    format!("http://{address}")
}
