//! The cost of one read of a metric, in steps and as a whole.
//!
//! `cargo bench` runs all benchmarks, `cargo bench -- plan` those with `plan` in their names. The last group sends
//! an HTTP request through the router, with discovery, object lookup and cache behind it and a Prometheus on loopback that
//! gets one query.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::panic, reason = "likewise")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hint::black_box,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use divan::{
    AllocProfiler, Bencher,
    counter::{BytesCount, ItemsCount},
};
use loadline::{
    app::{self, Cluster},
    core::{
        catalog::Entry,
        kinds::Kinds,
        plan::{self, Key, Objects},
        reading::{self, Reading},
        rules::Nan,
        samples::{Index, Vector},
        selector::Selector,
        template::{QueryArguments, QueryTemplate},
    },
    prometheus::{Answer, Prometheus, decode},
    wire::{
        custom::{self, Described, Version},
        path,
    },
};
use stage::{METRIC, answer, pod};
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

#[path = "support/stage.rs"]
mod stage;

/// Counts the allocations of each benchmark.
#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    assert!(rustls::crypto::ring::default_provider().install_default().is_ok());
    divan::main();
}

fn key() -> Key {
    Key { name: "pod".into(), ..Key::default() }
}

fn pods(count: usize) -> Vec<String> {
    (0..count).map(pod).collect()
}

fn vector(count: usize) -> Vector {
    match decode::query(answer(count).as_bytes()).unwrap() {
        Answer::Vector(vector) => vector,
        other => panic!("{other:?}"),
    }
}

fn readings(count: usize) -> Vec<Reading> {
    let vector = vector(count);
    reading::read(&vector, &Index::new(&vector, &key()), "team-0", &Objects::Any, Nan::Zero).values
}

fn entry() -> Entry {
    let rules = stage::rules();
    let kinds = Kinds::builtin();
    let rule = Arc::clone(rules.custom.first().unwrap());
    let mapping = rule.base.mapping.resolve(&kinds);
    let kind = Arc::clone(kinds.resolve("", "pods").unwrap());
    Entry {
        series: "lsp_requests_total".into(),
        label: mapping.label(&kind.resource).unwrap().into(),
        namespace_label: mapping.namespace_label().map(Arc::from),
        kind,
        rule,
    }
}

#[divan::bench]
fn path_parse(bencher: Bencher<'_, '_>) {
    let rest = "namespaces/team-0/pods/*/lsp_requests_per_second";
    bencher.bench(|| path::parse(black_box(rest)).unwrap());
}

#[divan::bench(args = ["", "app=lsp-server", "app=lsp-server,tier in (edge,core),!canary"])]
fn selector_parse(bencher: Bencher<'_, '_>, text: &str) {
    bencher.bench(|| Selector::parse(black_box(text)).unwrap());
}

#[divan::bench]
fn template_render(bencher: Bencher<'_, '_>) {
    let template =
        QueryTemplate::compile("sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)")
            .unwrap();
    let values =
        BTreeMap::from([("pod".to_owned(), pod(0)), ("namespace".into(), "team-0".into())]);
    let matchers = format!("namespace=\"team-0\",pod=\"{}\"", pod(0));
    let group_by = ["pod".to_owned()];
    let arguments = QueryArguments {
        series: "lsp_requests_total",
        label_matchers: &matchers,
        label_values_by_name: &values,
        group_by: "pod",
        group_by_slice: &group_by,
    };
    bencher.bench(|| template.render(black_box(&arguments)).unwrap());
}

/// The exact query for this number of pods by name.
#[divan::bench(args = [1, 10, 1_000])]
fn plan_exact(bencher: Bencher<'_, '_>, names: usize) {
    let entry = entry();
    let objects = Objects::Named(pods(names).into_iter().map(Arc::from).collect());
    let selector = Selector::default();
    bencher.counter(ItemsCount::new(names)).bench(|| {
        plan::exact(entry.source(), Some("team-0"), black_box(&objects), &selector).unwrap()
    });
}

/// Prometheus' JSON to samples.
#[divan::bench(args = [10, 1_000])]
fn decode_vector(bencher: Bencher<'_, '_>, samples: usize) {
    let body = answer(samples);
    bencher
        .counter(ItemsCount::new(samples))
        .counter(BytesCount::of_str(&body))
        .bench(|| decode::query(black_box(body.as_bytes())).unwrap());
}

/// The values of some pods from 1,000 samples.
#[divan::bench(args = [10, 1_000])]
fn read_of_1000_samples(bencher: Bencher<'_, '_>, names: usize) {
    let vector = vector(1_000);
    let objects = Objects::Named(pods(names).into_iter().map(Arc::from).collect());
    let index = Index::new(&vector, &key());
    bencher
        .counter(ItemsCount::new(names))
        .bench(|| reading::read(black_box(&vector), &index, "team-0", &objects, Nan::Zero));
}

#[divan::bench(args = [10, 1_000])]
fn encode_v1beta1(bencher: Bencher<'_, '_>, items: usize) {
    encode(bencher, Version::V1beta1, items);
}

#[divan::bench(args = [10, 1_000])]
fn encode_v1beta2(bencher: Bencher<'_, '_>, items: usize) {
    encode(bencher, Version::V1beta2, items);
}

fn encode(bencher: Bencher<'_, '_>, version: Version, items: usize) {
    let kinds = Kinds::builtin();
    let described = Described {
        kind: kinds.resolve("", "pods").unwrap(),
        namespace: Some("team-0"),
        metric: METRIC,
        selector: None,
        window_seconds: Some(120),
    };
    let readings = readings(items);
    let bytes = custom::encode(version, described, &readings).len();
    bencher
        .counter(ItemsCount::new(items))
        .counter(BytesCount::new(bytes))
        .bench(|| custom::encode(version, black_box(described), &readings));
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A complete read of this number of pods by label selector with a cached query: router, path, selector, catalog, manifests,
/// plan, cache, reading, JSON.
#[divan::bench(args = [1, 10, 1_000])]
fn cached_read(bencher: Bencher<'_, '_>, pods: usize) {
    let served = RUNTIME.block_on(Served::start(pods));
    let bytes = RUNTIME.block_on(served.read());
    let asked = served.prometheus.traffic().queries();
    bencher
        .counter(ItemsCount::new(pods))
        .counter(BytesCount::new(bytes))
        .bench(|| RUNTIME.block_on(served.read()));
    assert_eq!(served.prometheus.traffic().queries(), asked, "every read came from the cache");
    served.stop.cancel();
}

/// The same with a bearer token that has been reviewed, as from clients of the API server. It reads one object by name, so
/// there is no object lookup.
#[divan::bench]
fn cached_read_by_token(bencher: Bencher<'_, '_>) {
    let served = RUNTIME.block_on(Served::behind_api_server());
    RUNTIME.block_on(served.read());
    let asked = served.prometheus.traffic().queries();
    bencher.bench(|| RUNTIME.block_on(served.read()));
    assert_eq!(served.prometheus.traffic().queries(), asked, "every read came from the cache");
    served.stop.cancel();
}

/// loadline without its TLS listener, in front of a scripted Prometheus on loopback.
struct Served {
    router: Router,
    name: String,
    prometheus: Arc<Prometheus>,
    stop: CancellationToken,
}

impl Served {
    async fn start(pods: usize) -> Self {
        let objects = manifests(pods);
        let cluster = Cluster::Standalone { objects: Some(objects.path().to_owned()) };
        Self::serve(pods, cluster, "*".to_owned(), CancellationToken::new()).await
    }

    async fn behind_api_server() -> Self {
        let stop = CancellationToken::new();
        let kubeconfig = stage::api_server(10, stop.clone()).await;
        Self::serve(10, stage::cluster(kubeconfig.path()), pod(0), stop).await
    }

    async fn serve(pods: usize, cluster: Cluster, name: String, stop: CancellationToken) -> Self {
        let url = stage::prometheus(pods, stop.clone()).await;
        let bound = app::build(stage::settings(&url, cluster)).await.unwrap();
        let (router, prometheus, discovery) =
            (bound.router(), bound.prometheus(), bound.discovery());
        tokio::spawn(bound.run(stop.clone()));
        discovery.first_try().await;
        Self { router, name, prometheus, stop }
    }

    /// One read. Returns the length of the response.
    async fn read(&self) -> usize {
        let uri = format!(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/team-0/pods/{}/{METRIC}?labelSelector=app%3Dlsp-server",
            self.name
        );
        let authorization = format!("Bearer {}", stage::token());
        let mut request = Request::get(uri);
        // Without a cluster the token cannot be reviewed.
        if self.name != "*" {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        body.len()
    }
}

fn manifests(count: usize) -> NamedTempFile {
    let mut text = String::new();
    for pod in pods(count) {
        writeln!(
            text,
            "- {{apiVersion: v1, kind: Pod, metadata: {{namespace: team-0, name: {pod}, labels: {{app: lsp-server}}}}}}"
        )
        .unwrap();
    }
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), format!("kind: List\nitems:\n{text}")).unwrap();
    file
}
