//! The load of a fleet of HorizontalPodAutoscalers on Prometheus and the API server, and the duration of its reads.
//!
//! Every autoscaler reads once in 15 s, at its own offset, over TLS from loadline in this process. Prometheus and the API server
//! are scripted; Prometheus takes 50 ms per query. After a warm-up everything is counted in intervals of 5 s, the lifetime of
//! a result: first with a query for each namespace, then with one for the whole cluster.
//!
//! The defaults are `cargo bench --bench autoscalers -- namespaces=20 apps=100 pods=10 warm_up=60 measured=60`; times are in
//! seconds.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::{
    env,
    ops::Sub,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fleet::{Counts, Fleet};
use loadline::{app, planner};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/stage.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod stage;

/// The sync period, as in the HPA controller's default.
const PERIOD: Duration = Duration::from_secs(15);

/// The default TTL of results.
const TTL: Duration = Duration::from_secs(5);

fn main() {
    assert!(rustls::crypto::ring::default_provider().install_default().is_ok());
    let argument = |name: &str, usual: usize| {
        let value = |text: String| text.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
        env::args().find_map(value).unwrap_or(usual)
    };
    let fleet = Fleet {
        namespaces: argument("namespaces", 20),
        apps: argument("apps", 100),
        pods: argument("pods", 10),
    };
    let spans = |name| (argument(name, 60) * 1_000).div_ceil(TTL.as_millis() as usize);
    let (warm_up, measured) = (spans("warm_up"), spans("measured"));
    let autoscalers = fleet.autoscalers();
    println!(
        "{autoscalers} autoscalers in {} namespaces, {} pods each, one metric, read every {} s; results live {} s",
        fleet.namespaces,
        fleet.pods,
        PERIOD.as_secs(),
        TTL.as_secs()
    );
    for across_namespaces in [false, true] {
        let plan = if across_namespaces { "the cluster" } else { "each namespace" };
        println!("\none query for {plan}");
        let (ours, rest) = (runtime("loadline"), runtime("rest"));
        let stop = CancellationToken::new();
        let stand = Stand::start(fleet, across_namespaces, &ours, &rest, &stop);
        rest.block_on(stand.measure(warm_up, measured, &stop));
        rest.shutdown_background();
        ours.shutdown_background();
    }
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().unwrap()
}

/// The running processes and their counters.
struct Stand {
    fleet: Fleet,
    counts: Arc<Counts>,
    reads: Arc<Reads>,
    client: reqwest::Client,
    url: String,
}

/// The results of the autoscalers' reads.
#[derive(Default)]
struct Reads {
    answered: AtomicUsize,
    failed: AtomicUsize,
    is_measured: AtomicBool,
    latencies: Mutex<Vec<Duration>>,
}

/// All counters at one time, or their increase in an interval.
#[derive(Clone, Copy)]
struct Tally {
    queries: usize,
    samples: usize,
    lists: usize,
    reads: usize,
    failed: usize,
    waits: usize,
}

impl Stand {
    fn start(
        fleet: Fleet,
        across_namespaces: bool,
        ours: &Runtime,
        rest: &Runtime,
        stop: &CancellationToken,
    ) -> Self {
        let counts = Arc::new(Counts::default());
        let (prometheus, kubeconfig) = rest.block_on(async {
            let prometheus = fleet.prometheus(&counts, stop.clone()).await;
            (prometheus, fleet.api_server(&counts, stop.clone()).await)
        });
        let mut settings = stage::settings(&prometheus, stage::cluster(kubeconfig.path()));
        settings.planning =
            planner::Settings { across_namespaces, ..planner::Settings::with_ttl(TTL) };
        let app::Cluster::Kubernetes(cluster) = &mut settings.cluster else { unreachable!() };
        cluster.always_allowed = vec!["*".to_owned()];
        let (address, authority) = ours.block_on(async {
            let bound = app::build(settings).await.unwrap();
            let told = (bound.address(), bound.authority().to_owned());
            let discovery = bound.discovery();
            tokio::spawn(bound.run(stop.clone()));
            discovery.first_try().await;
            told
        });
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy();
        Self {
            fleet,
            counts,
            reads: Arc::default(),
            client: client.build().unwrap(),
            url: format!("https://{address}"),
        }
    }

    async fn measure(&self, warm_up: usize, measured: usize, stop: &CancellationToken) {
        let start = Instant::now();
        let readers = TaskTracker::new();
        for autoscaler in 0..self.fleet.autoscalers() {
            readers.spawn(self.reader(autoscaler, start, stop.child_token()));
        }
        println!(
            "{:>8} {:>8} {:>8} {:>6} {:>8} {:>8} {:>6}",
            "seconds", "queries", "samples", "LISTs", "reads", "failed", "waits"
        );
        let mut before = self.tally().await;
        let mut all = Vec::new();
        for span in 0..warm_up + measured {
            self.reads.is_measured.store(span >= warm_up, Ordering::Relaxed);
            let seconds = TTL.as_secs() * u64::try_from(span + 1).unwrap();
            sleep_until(start + Duration::from_secs(seconds)).await;
            let after = self.tally().await;
            let within = after - before;
            before = after;
            let note = if span < warm_up { "  warm-up" } else { "" };
            println!(
                "{seconds:>8} {:>8} {:>8} {:>6} {:>8} {:>8} {:>6}{note}",
                within.queries,
                within.samples,
                within.lists,
                within.reads,
                within.failed,
                within.waits
            );
            if span >= warm_up {
                all.push(within);
            }
        }
        stop.cancel();
        readers.close();
        readers.wait().await;
        self.sum_up(&all);
    }

    fn sum_up(&self, all: &[Tally]) {
        let line = |name: &str, count: fn(&Tally) -> usize| {
            let sum: usize = all.iter().map(count).sum();
            let most = all.iter().map(count).max().unwrap_or_default();
            println!("{name:32} {:10.2} on average {most:8} at most", ratio(sum, all.len()));
        };
        println!("in {} s", TTL.as_secs());
        line("queries", |tally| tally.queries);
        line("samples", |tally| tally.samples);
        line("LISTs", |tally| tally.lists);
        line("reads answered", |tally| tally.reads);
        line("reads that failed", |tally| tally.failed);
        line("reads that waited for Prometheus", |tally| tally.waits);
        line("prometheus-adapter: queries", |tally| tally.reads);
        line("prometheus-adapter: LISTs", |tally| tally.reads);
        let sum = |count: fn(&Tally) -> usize| all.iter().map(count).sum::<usize>();
        println!(
            "{:.0} reads for a query, {:.1} samples fetched for a sample read",
            ratio(sum(|tally| tally.reads), sum(|tally| tally.queries)),
            ratio(sum(|tally| tally.samples), sum(|tally| tally.reads) * self.fleet.pods),
        );
        let mut latencies = self.reads.latencies.lock().unwrap();
        latencies.sort_unstable();
        let at = |per_mille: usize| latencies.get(latencies.len() * per_mille / 1_000).copied();
        if let (Some(median), Some(slow), Some(last)) = (at(500), at(990), latencies.last()) {
            println!("a read takes {median:.2?} (median), {slow:.2?} (p99), {last:.2?} at most");
        }
    }

    /// An autoscaler, until stopped.
    fn reader(
        &self,
        autoscaler: usize,
        start: Instant,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let count = self.fleet.autoscalers();
        // Consecutive reads are in different namespaces.
        let phase = PERIOD.mul_f64(ratio(autoscaler * 7_919 % count, count));
        let request = self.client.get(format!("{}{}", self.url, self.fleet.path(autoscaler)));
        let (reads, pods) = (Arc::clone(&self.reads), self.fleet.pods);
        async move {
            let mut next = start + phase;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep_until(next) => {}
                }
                let begin = Instant::now();
                let is_answered = has_values(request.try_clone().unwrap(), pods).await;
                let counter = if is_answered { &reads.answered } else { &reads.failed };
                counter.fetch_add(1, Ordering::Relaxed);
                if reads.is_measured.load(Ordering::Relaxed) {
                    reads.latencies.lock().unwrap().push(begin.elapsed());
                }
                next += PERIOD;
            }
        }
    }

    async fn tally(&self) -> Tally {
        let told = self.client.get(format!("{}/metrics", self.url)).send().await.unwrap();
        let told = told.text().await.unwrap();
        let waits = told.lines().find_map(|line| line.strip_prefix("loadline_cache_waits_total "));
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Tally {
            queries: count(&self.counts.queries),
            samples: count(&self.counts.samples),
            lists: count(&self.counts.lists),
            reads: count(&self.reads.answered),
            failed: count(&self.reads.failed),
            waits: waits.unwrap().parse().unwrap(),
        }
    }
}

impl Sub for Tally {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            queries: self.queries - before.queries,
            samples: self.samples - before.samples,
            lists: self.lists - before.lists,
            reads: self.reads - before.reads,
            failed: self.failed - before.failed,
            waits: self.waits - before.waits,
        }
    }
}

/// Whether a read returns the value of every pod of the application.
async fn has_values(request: reqwest::RequestBuilder, pods: usize) -> bool {
    let Ok(response) = request.send().await else { return false };
    let is_success = response.status().is_success();
    let body = response.text().await.unwrap_or_default();
    is_success && body.matches("\"describedObject\"").count() == pods
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is 2^52")]
fn ratio(dividend: usize, divisor: usize) -> f64 {
    dividend as f64 / divisor as f64
}
