//! The memory of a watch of many pods, and the duration of a selector.
//!
//! The API server is a second process of this program, so that the memory of this process is that of the watch alone. Its
//! objects have the metadata of real pods, most of which the watch drops.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use kube::Config;
use loadline::{
    core::{
        kinds::{Kind, Kinds},
        plan,
        selector::Selector,
    },
    kubernetes,
    metrics::Metrics,
    objects::{Cluster, Objects, Settings, Times},
};
use serde_json::{Value, json};
use tokio::{runtime, sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PODS: usize = 100_000;

/// The pods of one namespace.
const NAMESPACE: usize = 5_000;

/// The pods of one Deployment.
const DEPLOYMENT: usize = 50;

/// The argument that starts the API server.
const SERVE: &str = "--serve";

/// The timeout of every wait.
const DEADLINE: Duration = Duration::from_secs(100);

fn main() {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    if env::args().any(|argument| argument == SERVE) {
        runtime.unwrap().block_on(serve());
    } else {
        runtime.unwrap().block_on(measure());
    }
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let server = Command::new(env::current_exe().unwrap())
        .arg(SERVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Server(server.unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();

    let client = kubernetes::client(Config::new(url.parse().unwrap())).unwrap();
    let metrics = Arc::new(Metrics::default());
    let settings = Settings {
        list_ttl: Duration::ZERO,
        times: Times { patience: DEADLINE, ..Times::default() },
    };
    let (objects, watches) =
        Cluster::new(client.clone(), Arc::clone(&metrics), settings, TaskTracker::new());
    let objects = Objects::Cluster(objects);
    tokio::spawn(watches.run(CancellationToken::new()));
    let kinds = Kinds::builtin();
    let (nodes, pods) = (kinds.resolve("", "nodes").unwrap(), kinds.resolve("", "pods").unwrap());

    // The first request has one-time costs.
    objects.select(nodes, None, &Selector::default()).await.unwrap();
    let before = memory("VmRSS:");
    let start = Instant::now();
    let everything = count(&objects, pods, None, "").await;
    let synced = start.elapsed();
    assert_eq!(everything, PODS);
    let after = memory("VmRSS:");
    println!("{PODS} pods, 5 labels each, one of them unique");
    println!("synced within               {:8} ms", synced.as_millis());
    println!("RSS before                  {before:8} KiB");
    println!("RSS after                   {after:8} KiB");
    println!("a pod                       {:8} byte", (after - before) * 1_024 / PODS);
    println!("peak RSS                    {:8} KiB", memory("VmHWM:"));

    for round in 1..=3 {
        // Forces a new list; the server then has one pod less.
        let start = Instant::now();
        client.request_text(http::Request::get("/expire").body(Vec::new()).unwrap()).await.unwrap();
        while count(&objects, pods, None, "").await != PODS - round {
            assert!(start.elapsed() < DEADLINE, "the list is complete");
            sleep(Duration::from_millis(50)).await;
        }
        println!("RSS after {round} more lists      {:8} KiB", memory("VmRSS:"));
    }
    println!("peak RSS                    {:8} KiB", memory("VmHWM:"));

    for selector in ["", "app=app-7", "app in (app-7,app-8),tier!=none", "app!=app-7", "!app"] {
        let parsed = Selector::parse(selector).unwrap();
        let mut times: Vec<_> = Vec::new();
        let mut selected = 0;
        for _ in 0..200 {
            let start = Instant::now();
            let answer = objects.select(pods, Some("namespace-3"), &parsed).await.unwrap();
            times.push(start.elapsed());
            selected = names(&answer.objects);
        }
        times.sort();
        let median = times.get(times.len() / 2).unwrap();
        println!("{NAMESPACE} pods, {selector:32} selects {selected:5} in {median:?}");
    }
}

async fn count(objects: &Objects, kind: &Kind, namespace: Option<&str>, selector: &str) -> usize {
    let selector = Selector::parse(selector).unwrap();
    let selected = objects.select(kind, namespace, &selector).await.unwrap();
    names(&selected.objects);
    selected.population.unwrap_or_default()
}

fn names(objects: &plan::Objects) -> usize {
    match objects {
        plan::Objects::Named(names) => names.len(),
        plan::Objects::Any => 0,
    }
}

/// The memory of this process according to the system, in KiB.
fn memory(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Killed when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// The number of resource versions that have expired.
type Expired = watch::Sender<usize>;

/// The API server.
async fn serve() {
    let router = Router::new()
        .route("/api/v1/pods", axum::routing::get(pods))
        .route("/api/v1/nodes", axum::routing::get(nodes))
        .route("/expire", axum::routing::get(expire))
        .with_state(Expired::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

async fn expire(State(expired): State<Expired>) {
    expired.send_modify(|expired| *expired += 1);
}

async fn nodes(Query(query): Query<BTreeMap<String, String>>) -> Response {
    if query.contains_key("watch") {
        return Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
            .into_response();
    }
    axum::Json(json!({"metadata": {"resourceVersion": "1"}, "items": []})).into_response()
}

async fn pods(
    State(expired): State<Expired>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let mut told = expired.subscribe();
    let count = PODS - *told.borrow_and_update();
    if query.contains_key("watch") {
        let gone = stream::once(async move {
            told.changed().await.unwrap();
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 410,
                "status": "Failure", "message": "too old resource version", "reason": "Expired"});
            Ok::<_, std::io::Error>(format!("{}\n", json!({"type": "ERROR", "object": status})))
        });
        return Body::from_stream(gone.chain(stream::pending())).into_response();
    }
    let number = |name: &str| query.get(name).map(|text| text.parse::<usize>().unwrap());
    let from = number("continue").unwrap_or_default();
    let to = count.min(from + number("limit").unwrap());
    let next = (to < count).then(|| to.to_string());
    let items: Vec<_> = (from..to).map(pod).collect();
    let metadata = json!({"resourceVersion": "1", "continue": next});
    axum::Json(json!({"metadata": metadata, "items": items})).into_response()
}

/// The metadata of a pod, as the API server sends it.
fn pod(index: usize) -> Value {
    let (namespace, deployment) = (index / NAMESPACE, index / DEPLOYMENT);
    let hash = format!("{:08x}", deployment.wrapping_mul(2_654_435_761) & 0xffff_ffff);
    let app = format!("app-{}", deployment % (NAMESPACE / DEPLOYMENT));
    let name = format!("{app}-{hash}-{index:05}");
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {
            "name": name,
            "generateName": format!("{app}-{hash}-"),
            "namespace": format!("namespace-{namespace}"),
            "uid": format!("8d5f0b7e-3f0a-4a53-9f5e-{index:012}"),
            "resourceVersion": index.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "app": app,
                "pod-template-hash": hash,
                "tier": "backend",
                "topology.kubernetes.io/zone": "zone-a",
                "example.com/instance": name,
            },
            "annotations": {"example.com/checksum": "0123456789abcdef".repeat(8)},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-{hash}"),
                "uid": format!("1b5f0b7e-3f0a-4a53-9f5e-{deployment:012}"),
                "controller": true, "blockOwnerDeletion": true,
            }],
            "managedFields": [
                {
                    "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                    "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:pod-template-hash": {}}},
                        "f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:image": {},
                            "f:resources": {}, "f:ports": {}, "f:env": {}}}, "f:dnsPolicy": {}},
                    },
                },
                {
                    "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                    "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "subresource": "status",
                    "fieldsV1": {"f:status": {"f:conditions": {}, "f:containerStatuses": {},
                        "f:hostIP": {}, "f:phase": {}, "f:podIP": {}, "f:startTime": {}}},
                },
            ],
        },
    })
}
