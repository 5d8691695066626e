//! The throughput of loadline for reads of a fleet of HorizontalPodAutoscalers over TLS, compared with servers that only send bytes.
//!
//! 2,000 autoscalers in 20 namespaces, each with its own label selector for 10 pods. Results have the default TTL of 5 s, and
//! are refreshed while they are read. Sixteen keep-alive connections read one selector after another as fast as responses
//! arrive, each request with a bearer token; its reviews are cached.
//!
//! A bare server with the same libraries (axum, hyper, rustls) and, if it is installed, nginx with a file send the response
//! to one of these requests. They alternate with loadline every 5 s, so that other load of the machine slows all of them. For
//! each of them two ratios are printed:
//!
//! - reads per second, on a machine that the client, the servers, Prometheus and the API server share and keep busy;
//! - CPU time of the server per read, without that of the client and other processes.
//!
//! `cargo bench --bench served_reads -- 20` measures 20 rounds instead of 5, for less variance.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what a benchmark is run for")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use connection::Connection;
use fleet::{Counts, Fleet};
use loadline::{app, planner};
use rivals::Nginx;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use usage::Usage;

#[path = "support/connection.rs"]
mod connection;
#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/rivals.rs"]
mod rivals;
#[path = "support/stage.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod stage;
#[path = "support/usage.rs"]
mod usage;

const FLEET: Fleet = Fleet { namespaces: 20, apps: 100, pods: 10 };

const CONNECTIONS: usize = 16;

/// The default TTL of results.
const TTL: Duration = Duration::from_secs(5);

/// The duration of a round of one server. In that time every result is refreshed once.
const TURN: Duration = TTL;

/// The paths, in the order of the reads.
type Requests = Arc<[Arc<[u8]>]>;

fn main() {
    assert!(rustls::crypto::ring::default_provider().install_default().is_ok());
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let [ours, around, theirs, client] = ["loadline", "around", "bare", "client"].map(runtime);
    let (stop, counts) = (CancellationToken::new(), Arc::new(Counts::default()));
    let requests = (0..FLEET.autoscalers())
        .map(|autoscaler| connection::request(&FLEET.path(autoscaler), &stage::token()));
    let requests: Requests = requests.collect();
    let place = loadline(&ours, &around, &counts, &stop);
    let mut served = Side::connect(&client, place, &requests, Usage::Threads("loadline"));
    let bare = theirs.block_on(rivals::bare(served.answer.clone()));
    let nginx = Nginx::start(&served.answer.1);
    let mut rivals =
        vec![("bare", Side::connect(&client, bare, &requests, Usage::Threads("bare")))];
    match &nginx {
        Some(nginx) => {
            let usage = Usage::Processes(nginx.workers());
            rivals.push(("nginx", Side::connect(&client, nginx.place(), &requests, usage)));
        }
        None => println!("nginx is not installed"),
    }
    assert!(rivals.iter().all(|(_, side)| side.answer.1 == served.answer.1), "all send the same");

    let mut queries = 0;
    for _ in 0..rounds {
        let before = counts.queries.load(Ordering::Relaxed);
        served.turn(&client);
        queries += counts.queries.load(Ordering::Relaxed) - before;
        for (_, side) in &mut rivals {
            side.turn(&client);
        }
    }
    println!(
        "{} reads of {} selectors, {} bytes each; {queries} queries to Prometheus meanwhile",
        served.reads,
        requests.len(),
        served.answer.1.len()
    );
    println!(
        "{:10} {:>10} {:>12} {:>9} {:>7} {:>9}",
        "", "reads/s", "CPU", "ratio", "spread", "of CPU"
    );
    served.report("loadline", None);
    for (name, side) in &rivals {
        side.report(name, Some(&served));
    }
    stop.cancel();
    for runtime in [ours, around, theirs, client] {
        runtime.shutdown_background();
    }
}

/// Thread names, to separate CPU time.
fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().unwrap()
}

/// loadline with the fleet's Prometheus and API server: its address and its CA.
fn loadline(
    ours: &Runtime,
    around: &Runtime,
    counts: &Arc<Counts>,
    stop: &CancellationToken,
) -> (SocketAddr, String) {
    let (prometheus, kubeconfig) = around.block_on(async {
        let prometheus = FLEET.prometheus(counts, stop.clone()).await;
        (prometheus, FLEET.api_server(counts, stop.clone()).await)
    });
    let mut settings = stage::settings(&prometheus, stage::cluster(kubeconfig.path()));
    settings.planning = planner::Settings::with_ttl(TTL);
    ours.block_on(async {
        let bound = app::build(settings).await.unwrap();
        let place = (bound.address(), bound.authority().to_owned());
        let discovery = bound.discovery();
        tokio::spawn(bound.run(stop.clone()));
        discovery.first_try().await;
        place
    })
}

/// One server and its measurements.
struct Side {
    connections: Vec<Connection>,
    requests: Requests,
    /// Media type and body of the first response.
    answer: (String, Bytes),
    usage: Usage,
    speeds: Vec<f64>,
    reads: usize,
    cpu: Duration,
}

impl Side {
    fn connect(
        client: &Runtime,
        (address, authority): (SocketAddr, String),
        requests: &Requests,
        usage: Usage,
    ) -> Self {
        let first = requests.first().unwrap();
        let (connections, answer) = client.block_on(async {
            let (mut connections, mut answer) = (Vec::new(), None);
            for _ in 0..CONNECTIONS {
                let mut connection = Connection::open(address, &authority).await;
                answer = Some(connection.first(first).await);
                connections.push(connection);
            }
            (connections, answer.unwrap())
        });
        let (requests, speeds) = (Arc::clone(requests), Vec::new());
        let mut side =
            Self { connections, requests, answer, usage, speeds, reads: 0, cpu: Duration::ZERO };
        // One-time costs are not measured.
        side.turn(client);
        Self { speeds: Vec::new(), reads: 0, cpu: Duration::ZERO, ..side }
    }

    /// All connections read as fast as responses arrive, each with its own selectors.
    fn turn(&mut self, client: &Runtime) {
        let (is_over, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (started, before) = (Instant::now(), self.usage.so_far());
        self.connections = client.block_on(async {
            let mut tasks = JoinSet::new();
            for (index, mut connection) in self.connections.drain(..).enumerate() {
                let (is_over, reads) = (Arc::clone(&is_over), Arc::clone(&reads));
                let requests = Arc::clone(&self.requests);
                tasks.spawn(async move {
                    let mut done = 0;
                    for request in requests.iter().skip(index).step_by(CONNECTIONS).cycle() {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        connection.again(request).await;
                        done += 1;
                    }
                    reads.fetch_add(done, Ordering::Relaxed);
                    connection
                });
            }
            tokio::time::sleep(TURN).await;
            is_over.store(true, Ordering::Relaxed);
            tasks.join_all().await
        });
        let reads = reads.load(Ordering::Relaxed);
        self.cpu += self.usage.so_far().saturating_sub(before);
        self.reads += reads;
        self.speeds.push(float(reads) / started.elapsed().as_secs_f64());
    }

    /// Prints a line that compares `served` with this server.
    fn report(&self, name: &str, served: Option<&Self>) {
        let speed = median(self.speeds.clone());
        print!("{name:10} {speed:10.0} {:9.1} us", self.cpu_of_one());
        let Some(served) = served else { return println!() };
        let ratios: Vec<_> =
            served.speeds.iter().zip(&self.speeds).map(|(ours, theirs)| ours / theirs).collect();
        let most = ratios.iter().copied().fold(f64::MIN, f64::max);
        let least = ratios.iter().copied().fold(f64::MAX, f64::min);
        println!(
            " {:9.2} {:7.2} {:9.2}",
            median(ratios),
            most - least,
            self.cpu_of_one() / served.cpu_of_one()
        );
    }

    /// CPU time per read, in microseconds.
    fn cpu_of_one(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / float(self.reads)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn float(count: usize) -> f64 {
    count as f64
}
