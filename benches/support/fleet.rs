//! A fleet of autoscaled applications on loopback, with a scripted Kubernetes API server and Prometheus that count requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get},
};
use futures::{FutureExt as _, stream};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::stage::{self, JSON};

/// The duration of a query in Prometheus.
const THOUGHT: Duration = Duration::from_millis(50);

/// The lifetime of a watch at the API server.
const WATCH: Duration = Duration::from_secs(30);

/// Namespaces with applications, each with a HorizontalPodAutoscaler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) namespaces: usize,
    /// In each namespace.
    pub(crate) apps: usize,
    /// Of each application.
    pub(crate) pods: usize,
}

/// The requests to Prometheus and the API server, and the samples of their responses.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) queries: AtomicUsize,
    pub(crate) samples: AtomicUsize,
    pub(crate) lists: AtomicUsize,
}

impl Fleet {
    /// The number of autoscalers.
    pub(crate) fn autoscalers(self) -> usize {
        self.namespaces * self.apps
    }

    /// The path that this autoscaler reads.
    pub(crate) fn path(self, autoscaler: usize) -> String {
        let (namespace, app) = (autoscaler / self.apps, autoscaler % self.apps);
        let metric = stage::METRIC;
        format!(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/*/{metric}?labelSelector=app%3D{}",
            place(namespace),
            name(app)
        )
    }

    /// The URL of a Prometheus with one sample for every pod.
    pub(crate) async fn prometheus(self, counts: &Arc<Counts>, stop: CancellationToken) -> String {
        let names = get(async |request: Request| {
            // The probe for backends that ignore match[] matches nothing.
            let is_probe = request.uri().query().unwrap_or_default().contains("matches_nothing");
            let data = if is_probe { "[]" } else { r#"["lsp_requests_total"]"# };
            (JSON, format!(r#"{{"status":"success","data":{data}}}"#))
        });
        let counts = Arc::clone(counts);
        let query = move |request: Request| {
            let counts = Arc::clone(&counts);
            async move {
                counts.queries.fetch_add(1, Ordering::Relaxed);
                let (answer, samples) = self.answer(&parameter(request, "query").await);
                counts.samples.fetch_add(samples, Ordering::Relaxed);
                sleep(THOUGHT).await;
                (JSON, answer)
            }
        };
        let router = Router::new()
            .route("/api/v1/label/__name__/values", names)
            .route("/api/v1/query", get(query.clone()).post(query));
        stage::serve(router, stop).await
    }

    /// The response to a query, and its number of samples.
    fn answer(self, query: &str) -> (String, usize) {
        let namespaces = matched(query, "namespace")
            .unwrap_or_else(|| (0..self.namespaces).map(place).collect());
        let pods = matched(query, "pod").unwrap_or_else(|| {
            (0..self.apps)
                .flat_map(|app| (0..self.pods).map(move |index| pod(app, index)))
                .collect()
        });
        let grouped = query.rsplit_once("by (").unwrap().1;
        let mut rows = Vec::with_capacity(namespaces.len() * pods.len());
        for namespace in &namespaces {
            let place = if grouped.contains("namespace") {
                format!(r#""namespace":"{namespace}","#)
            } else {
                String::new()
            };
            for (index, pod) in pods.iter().enumerate() {
                rows.push(format!(
                    r#"{{"metric":{{{place}"pod":"{pod}"}},"value":[1763651878.912,"{}.70833333333333"]}}"#,
                    index % 90 + 10
                ));
            }
        }
        let result = rows.join(",");
        let data = format!(r#"{{"resultType":"vector","result":[{result}]}}"#);
        (format!(r#"{{"status":"success","data":{data}}}"#), rows.len())
    }

    /// The kubeconfig of the API server.
    pub(crate) async fn api_server(
        self,
        counts: &Arc<Counts>,
        stop: CancellationToken,
    ) -> NamedTempFile {
        let pods = (0..self.namespaces).flat_map(move |namespace| self.pods(namespace)).collect();
        let router = Router::new()
            .route("/api", get(async || stage::aggregated(&stage::kinds())))
            .route("/apis", get(async || stage::aggregated(&[])))
            .route(
                "/apis/autoscaling/v2/horizontalpodautoscalers",
                served(self.autoscaler_objects(), counts),
            )
            .route("/api/v1/pods", served(pods, counts));
        let router = stage::reviews(router);
        let router = (0..self.namespaces).fold(router, |router, namespace| {
            let path = format!("/api/v1/namespaces/{}/pods", place(namespace));
            router.route(&path, served(self.pods(namespace).collect(), counts))
        });
        stage::kubeconfig(&stage::serve(router, stop).await)
    }

    fn pods(self, namespace: usize) -> impl Iterator<Item = Value> {
        (0..self.apps).flat_map(move |app| {
            (0..self.pods).map(move |index| {
                let (labels, namespace) =
                    (json!({"app": name(app)}), place(namespace));
                json!({"metadata": {"name": pod(app, index), "namespace": namespace, "labels": labels}})
            })
        })
    }

    fn autoscaler_objects(self) -> Vec<Value> {
        let target = json!({"type": "AverageValue", "averageValue": "1"});
        let metric =
            json!({"type": "Pods", "pods": {"metric": {"name": stage::METRIC}, "target": target}});
        (0..self.autoscalers())
            .map(|autoscaler| {
                let (namespace, app) = (autoscaler / self.apps, autoscaler % self.apps);
                json!({
                    "metadata": {"name": name(app), "namespace": place(namespace)},
                    "spec": {"metrics": [metric]},
                    "status": {
                        "currentReplicas": self.pods,
                        "conditions": [{"type": "ScalingActive", "status": "True"}],
                    },
                })
            })
            .collect()
    }
}

/// A namespace. All names have the same length, and so have responses.
fn place(namespace: usize) -> String {
    format!("team-{namespace:03}")
}

/// An application.
fn name(app: usize) -> String {
    format!("app-{app:04}")
}

fn pod(app: usize, index: usize) -> String {
    format!("{}-5d9c7b8f6d-{index:05}", name(app))
}

/// The values that a matcher lists; none if the label is not restricted.
fn matched(query: &str, label: &str) -> Option<Vec<String>> {
    let matchers = query.split_once('{').unwrap().1.split_once('}').unwrap().0;
    matchers.split("\",").find_map(|matcher| {
        let (name, value) = matcher.split_once('"')?;
        let operator = name.strip_prefix(label)?;
        let values = value.trim_end_matches('"').split('|').map(str::to_owned);
        matches!(operator, "=" | "=~").then(|| values.collect())
    })
}

/// A parameter of the URL or of the form in the body.
async fn parameter(request: Request, name: &str) -> String {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let form = format!("{query}&{body}");
    let found = form_urlencoded::parse(form.as_bytes()).find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A resource of the API server.
fn served(objects: Vec<Value>, counts: &Arc<Counts>) -> MethodRouter {
    let objects = Objects { all: objects.into(), counts: Arc::clone(counts) };
    get(async move |request: Request| objects.answer(&request))
}

/// Objects that never change.
#[derive(Clone)]
struct Objects {
    all: Arc<[Value]>,
    counts: Arc<Counts>,
}

impl Objects {
    /// Answers a WATCH, or a LIST page by page.
    fn answer(&self, request: &Request) -> Response {
        let query = request.uri().query().unwrap_or_default();
        let parameter = |name: &str| {
            let mut all = form_urlencoded::parse(query.as_bytes());
            all.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
        };
        if parameter("watch").is_some() {
            let end = sleep(WATCH).map(|()| Ok::<_, std::io::Error>(Bytes::new()));
            return (JSON, Body::from_stream(stream::once(end))).into_response();
        }
        self.counts.lists.fetch_add(1, Ordering::Relaxed);
        let app = parameter("labelSelector").map(|text| json!(text.trim_start_matches("app=")));
        let is_selected = |object: &&Value| {
            app.is_none() || object.pointer("/metadata/labels/app") == app.as_ref()
        };
        let selected: Vec<_> = self.all.iter().filter(is_selected).collect();
        let number = |name| parameter(name).and_then(|text| text.parse::<usize>().ok());
        let begin = number("continue").unwrap_or_default();
        let page = selected.iter().skip(begin).take(number("limit").unwrap_or(selected.len()));
        let page: Vec<_> = page.collect();
        let end = begin + page.len();
        let next = if end < selected.len() { end.to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": "1", "continue": next});
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page});
        (JSON, list.to_string()).into_response()
    }
}
