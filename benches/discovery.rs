//! The cost of discovery for different numbers of series: bytes from Prometheus, requests, time, and memory of loadline.
//!
//! A real Prometheus scrapes this process, and the loadline binary discovers one rule there in a process of its own. Its API
//! server is scripted. For comparison, the benchmark reads the series endpoint, as prometheus-adapter does for the same rule.
//!
//! `cargo bench --bench discovery -- 10000 20000` measures these numbers of series instead of 300,000 and 600,000. It needs
//! `prometheus` on the PATH, and about 3 GB of memory for 600,000 series.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::expect_used, reason = "likewise")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::{
    env,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use store::{Running, Store, exporter, unless_stopped, until};
use tokio_util::sync::CancellationToken;

#[path = "support/stage.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod stage;
#[path = "support/store.rs"]
#[expect(dead_code, reason = "another benchmark uses the rest")]
mod store;

const SIZES: [usize; 2] = [300_000, 600_000];

/// Series of one pod, each with a different name.
const NAMES: usize = 50;

/// Pods of one namespace.
const NAMESPACE: usize = 100;

const SELECTOR: &str = r#"{__name__=~"^bench_.*",namespace!="",pod!=""}"#;

fn main() {
    assert!(rustls::crypto::ring::default_provider().install_default().is_ok());
    let mut sizes: Vec<_> = env::args().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(unless_stopped(measure(&sizes)));
}

async fn measure(sizes: &[usize]) {
    println!(
        "{:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} | {:>13} {:>9} {:>8}",
        "series",
        "metrics",
        "requests",
        "received",
        "duration",
        "ready in",
        "RSS",
        "peak RSS",
        "/api/v1/series",
        "duration",
        "ratio"
    );
    let mut costs = Vec::new();
    for size in sizes {
        let cost = Cost::of(*size).await;
        println!(
            "{size:>8} {:>8} {:>8} {:>7} B {:>6} ms {:>6} ms {:>5} KiB {:>5} KiB | {:>12} B {:>6} ms {:>8.0}",
            cost.metrics,
            cost.requests,
            cost.received,
            cost.asking.as_millis(),
            cost.ready.as_millis(),
            cost.resident,
            cost.most_resident,
            cost.series_length,
            cost.series_time.as_millis(),
            ratio(cost.series_length, cost.received),
        );
        costs.push((size, cost));
    }
    let Some((first_size, first)) = costs.first() else { return };
    for (size, cost) in costs.iter().skip(1) {
        println!(
            "{size} series against {first_size}: received {:.3}, RSS {:.3}, peak RSS {:.3}, /api/v1/series {:.3}",
            ratio(cost.received, first.received),
            ratio(cost.resident, first.resident),
            ratio(cost.most_resident, first.most_resident),
            ratio(cost.series_length, first.series_length),
        );
    }
}

/// The cost of the first discovery.
struct Cost {
    metrics: usize,
    requests: usize,
    received: usize,
    /// The total duration of all requests to Prometheus.
    asking: Duration,
    /// The time from the start of the process until it is ready.
    ready: Duration,
    resident: usize,
    most_resident: usize,
    series_length: usize,
    series_time: Duration,
}

impl Cost {
    async fn of(size: usize) -> Self {
        let target = exporter(size.div_ceil(NAMES), pod).await;
        let store = Store::start(&target, "30s").await;
        let series = float(size.div_ceil(NAMES) * NAMES);
        store.until(r#"scrape_samples_scraped{job="bench"}"#, series).await;
        assert_eq!(store.number(&format!("count({SELECTOR})")).await, Some(series));

        let stop = CancellationToken::new();
        let kubeconfig = stage::api_server(1, stop.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("rules.yaml"), rules()).unwrap();
        let start = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_loadline"))
            .arg("serve")
            .arg(format!("--config={}", file("rules.yaml").display()))
            .arg(format!("--prometheus-url={}", store.url))
            .arg(format!("--lister-kubeconfig={}", kubeconfig.path().display()))
            .arg(format!("--write-kubeconfig={}", file("kubeconfig").display()))
            .args(["--secure-port=0", "--bind-address=127.0.0.1", "--authentication-skip-lookup"])
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .spawn();
        let process = Running(process.unwrap());
        let client = until("loadline listens", async || client(&file("kubeconfig")).await).await;
        until("loadline is ready", async || get(&client, "/readyz").await).await;
        let ready = start.elapsed();
        let (resident, most_resident) = (process.memory("VmRSS:"), process.memory("VmHWM:"));
        let told = get(&client, "/metrics").await.unwrap();
        let number = |name: &str| count(total(&told, name));
        assert_eq!(number("loadline_discovery_successful"), 1, "{told}");
        let seconds =
            total(&told, "prometheus_adapter_prometheus_client_request_duration_seconds_sum");
        stop.cancel();

        let begin = Instant::now();
        let ten_minutes_ago = (jiff::Timestamp::now().as_second() - 600).to_string();
        let parameters = [("match[]", SELECTOR), ("start", &ten_minutes_ago)];
        let series_length = store.length("series", &parameters).await;
        Self {
            metrics: number("loadline_catalog_metrics"),
            requests: number("loadline_prometheus_requests_total"),
            received: number("loadline_prometheus_received_bytes_total"),
            asking: Duration::from_secs_f64(seconds),
            ready,
            resident,
            most_resident,
            series_length,
            series_time: begin.elapsed(),
        }
    }
}

fn rules() -> String {
    format!(
        "rules:\n- seriesQuery: '{SELECTOR}'\n  resources: {{overrides: {{namespace: {{resource: namespace}}, pod: {{resource: pod}}}}}}\n  metricsQuery: sum(rate(<<.Series>>{{<<.LabelMatchers>>}}[2m])) by (<<.GroupBy>>)\n"
    )
}

/// The series of a pod, with the labels of an application that the Prometheus operator scrapes.
fn pod(index: usize) -> String {
    let (namespace, app) = (index / NAMESPACE, index / 10 % 10);
    let mut page = String::new();
    for name in 0..NAMES {
        writeln!(
            page,
            r#"bench_http_server_request_duration_seconds_{name}{{namespace="team-{namespace}",pod="app-{app}-5d9c7b8f6d-{index:05}",container="server",node="node-{}",service="app-{app}",endpoint="metrics"}} {index}"#,
            index % 97,
        )
        .unwrap();
    }
    page
}

/// A client for the server of this kubeconfig, if the file exists.
async fn client(kubeconfig: &Path) -> Option<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).ok()?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Some(Client::try_from(config).unwrap())
}

async fn get(client: &Client, path: &str) -> Option<String> {
    client.request_text(http::Request::get(path).body(Vec::new()).unwrap()).await.ok()
}

/// The sum of the values of a metric over all label sets.
fn total(told: &str, metric: &str) -> f64 {
    let values = told.lines().filter_map(|line| {
        let labels = line.strip_prefix(metric)?;
        let (_, value) = labels.rsplit_once(' ')?;
        labels.starts_with(['{', ' ']).then(|| value.parse::<f64>().unwrap())
    });
    values.sum()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
fn count(value: f64) -> usize {
    value as usize
}

fn ratio(dividend: usize, divisor: usize) -> f64 {
    float(dividend) / float(divisor)
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}
