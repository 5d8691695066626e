//! The duration of cached reads while loadline has other work, compared with the same reads without it.
//!
//! Sixteen keep-alive connections read a cached result at a fixed pace, over TLS and with a bearer token; only the refresh
//! of its query reaches Prometheus. The other work runs concurrently: discovery once a second, a reader whose query takes
//! Prometheus a second, and 10,000 queries that are read regularly and so refreshed in advance. Prometheus, the API server
//! and the client share the process and the processors, so their CPU time counts as well.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what a benchmark is run for")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use connection::Connection;
use futures::{StreamExt as _, stream};
use loadline::{app, planner};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

#[path = "support/connection.rs"]
mod connection;
#[path = "support/stage.rs"]
mod stage;

const CONNECTIONS: usize = 16;

/// The pace of one connection.
const EVERY: Duration = Duration::from_millis(10);

/// The duration of a measurement, with and without other work.
const MEASURED: Duration = Duration::from_secs(30);

/// The TTL of results. In this time all queries are refreshed once.
const TTL: Duration = Duration::from_secs(15);

const PODS: usize = 10;

const QUERIES: usize = 10_000;

/// The number of concurrent reads of them. They do not come as a crowd.
const BATCH: usize = 10;

fn main() {
    assert!(rustls::crypto::ring::default_provider().install_default().is_ok());
    let (around, ours, client) = (runtime("around"), runtime("loadline"), runtime("client"));
    let stop = CancellationToken::new();
    let idle = {
        let served = Served::start(&around, &ours, Duration::from_secs(3_600), &stop);
        client.block_on(measure(served.address, &served.authority))
    };
    report("idle", &idle);
    let served = Served::start(&around, &ours, Duration::from_secs(1), &stop);
    let work = CancellationToken::new();
    let reading = ours.spawn(read_all(served.router.clone(), work.clone()));
    let waiting = ours.spawn(read_slowly(served.router.clone(), work.clone()));
    // From the second round on all queries are refreshed.
    ours.block_on(async { tokio::time::sleep(TTL * 2).await });
    let before = served.queries();
    let loaded = client.block_on(measure(served.address, &served.authority));
    let queries = served.queries() - before;
    report("other work", &loaded);
    let ratio = percentile(&loaded, 99).as_secs_f64() / percentile(&idle, 99).as_secs_f64();
    println!("p99 with other work / idle: {ratio:.2}; queries to Prometheus meanwhile: {queries}");
    work.cancel();
    ours.block_on(async { (reading.await.unwrap(), waiting.await.unwrap()) });
    stop.cancel();
    for runtime in [around, ours, client] {
        runtime.shutdown_background();
    }
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().unwrap()
}

/// loadline with a scripted Prometheus and API server.
struct Served {
    address: SocketAddr,
    authority: String,
    router: Router,
    prometheus: Arc<loadline::prometheus::Prometheus>,
}

impl Served {
    fn start(around: &Runtime, ours: &Runtime, relist: Duration, stop: &CancellationToken) -> Self {
        let url = around.block_on(stage::prometheus(PODS, stop.clone()));
        let kubeconfig = around.block_on(stage::api_server(PODS, stop.clone()));
        ours.block_on(async {
            let mut settings = stage::settings(&url, stage::cluster(kubeconfig.path()));
            settings.discovery.interval = relist;
            settings.planning = planner::Settings::with_ttl(TTL);
            let bound = app::build(settings).await.unwrap();
            let served = Self {
                address: bound.address(),
                authority: bound.authority().to_owned(),
                router: bound.router(),
                prometheus: bound.prometheus(),
            };
            let discovery = bound.discovery();
            tokio::spawn(bound.run(stop.clone()));
            discovery.first_try().await;
            served
        })
    }

    fn queries(&self) -> u64 {
        self.prometheus.traffic().queries()
    }
}

/// The durations of reads, sorted.
async fn measure(address: SocketAddr, authority: &str) -> Vec<Duration> {
    let path = format!("{}?labelSelector=app%3Dlsp-server", path("*"));
    let request = connection::request(&path, &stage::token());
    let mut tasks = JoinSet::new();
    for index in 0..CONNECTIONS {
        let mut connection = Connection::open(address, authority).await;
        connection.first(&request).await;
        let request = Arc::clone(&request);
        tasks.spawn(async move {
            // Spreads the reads over time.
            let first = EVERY * u32::try_from(index).unwrap() / u32::try_from(CONNECTIONS).unwrap();
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let (started, mut times) = (Instant::now(), Vec::new());
            while started.elapsed() < MEASURED {
                ticks.tick().await;
                let asked = Instant::now();
                connection.again(&request).await;
                times.push(asked.elapsed());
            }
            times
        });
    }
    let mut times = tasks.join_all().await.concat();
    times.sort_unstable();
    times
}

/// Reads 10,000 different queries within each TTL.
async fn read_all(router: Router, stop: CancellationToken) {
    let reads = async {
        let mut rounds = tokio::time::interval(TTL);
        loop {
            rounds.tick().await;
            let pace = tokio::time::interval(TTL / 2 / u32::try_from(QUERIES / BATCH).unwrap());
            let paced = stream::unfold(pace, async |mut pace| {
                pace.tick().await;
                Some(((), pace))
            });
            let batches = paced.take(QUERIES / BATCH).enumerate();
            let reads =
                batches.flat_map(|(batch, ())| stream::iter(batch * BATCH..(batch + 1) * BATCH));
            let shard = |shard| {
                read(
                    &router,
                    format!("{}?metricLabelSelector=shard%3D{shard}", path(&stage::pod(0))),
                )
            };
            reads.map(shard).buffer_unordered(32).for_each(async |()| {}).await;
        }
    };
    stop.run_until_cancelled(reads).await;
}

/// Repeats a read whose query takes Prometheus a second.
async fn read_slowly(router: Router, stop: CancellationToken) {
    let reads = async {
        for round in 0_u64.. {
            let selector = format!("speed%3D{}-{round}", stage::SLOW);
            let path = path(&stage::pod(0));
            read(&router, format!("{path}?metricLabelSelector={selector}")).await;
        }
    };
    stop.run_until_cancelled(reads).await;
}

async fn read(router: &Router, path: String) {
    let authorization = format!("Bearer {}", stage::token());
    let request = Request::get(path).header(header::AUTHORIZATION, authorization);
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
}

fn path(name: &str) -> String {
    format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/team-0/pods/{name}/{}", stage::METRIC)
}

fn report(what: &str, times: &[Duration]) {
    let (half, most) = (percentile(times, 50).as_micros(), percentile(times, 99).as_micros());
    println!("{what:10}  p50 {half:6} us  p99 {most:6} us  of {} reads", times.len());
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    *times.get(times.len() * percent / 100).unwrap()
}
