//! How many reads a second loadline answers over TLS, against a bare server that sends the very same bytes.
//!
//! Both serve the same sixteen kept connections, taking turns, from threads of their own in one process, so that whatever else
//! the machine does slows both. Each request to loadline carries a bearer token; reviews of it, objects and query results are
//! cached. Two ratios are printed for each kind of request:
//!
//! - reads a second, on a machine that client and server share and keep busy;
//! - processor time of the server's threads for one read, which the client and other processes have no part in.
//!
//! `cargo bench --bench served_reads -- 40` measures 40 rounds instead of 10, which takes longer and says more.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::print_stdout, reason = "the figures are what a benchmark is run for")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use connection::Connection;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use loadline::app;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

#[path = "support/connection.rs"]
mod connection;
#[path = "support/stage.rs"]
mod stage;

const CONNECTIONS: usize = 16;

const PODS: usize = 10;

/// How long one server has a turn.
const TURN: Duration = Duration::from_millis(400);

fn main() {
    assert!(rustls::crypto::ring::default_provider().install_default().is_ok());
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let (ours, client) = (runtime("loadline"), runtime("client"));
    let stop = CancellationToken::new();
    let (address, authority) = ours.block_on(loadline(stop.clone()));
    let reads = format!(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/team-0/pods/{{}}/{}",
        stage::METRIC
    );
    let requests = [
        ("10 pods by *", format!("{}?labelSelector=app%3Dlsp-server", reads.replace("{}", "*"))),
        ("one pod by name", reads.replace("{}", &stage::pod(0))),
        ("no read", "/version".to_owned()),
    ];
    println!(
        "{:16} {:>10} {:>10} {:>7} {:>7} | {:>12} {:>12} {:>7}",
        "", "loadline/s", "bare/s", "ratio", "spread", "loadline CPU", "bare CPU", "ratio"
    );
    for (name, path) in requests {
        let request = connection::request(&path, &stage::token());
        let answer = client.block_on(async {
            let mut connection = Connection::open(address, &authority).await;
            connection.first(&request).await
        });
        let bare_runtime = runtime("bare");
        let (bare_address, bare_authority) = bare_runtime.block_on(bare(answer));
        let mut served = Side::connect(&client, address, &authority, &request, "loadline");
        let mut compared = Side::connect(&client, bare_address, &bare_authority, &request, "bare");
        assert_eq!(served.body, compared.body, "both send the same");
        for _ in 0..rounds {
            served.turn(&client);
            compared.turn(&client);
        }
        let mut ratios: Vec<_> =
            served.speeds.iter().zip(&compared.speeds).map(|(ours, bare)| ours / bare).collect();
        println!(
            "{name:16} {:10.0} {:10.0} {:7.2} {:>7} | {:9.1} us {:9.1} us {:7.2}",
            median(&mut served.speeds),
            median(&mut compared.speeds),
            median(&mut ratios),
            format!("{:.2}", ratios.last().unwrap() - ratios.first().unwrap()),
            served.cpu_of_one(),
            compared.cpu_of_one(),
            compared.cpu_of_one() / served.cpu_of_one(),
        );
        bare_runtime.shutdown_background();
    }
    stop.cancel();
    ours.shutdown_background();
}

/// Threads by whose name processor time is told apart.
fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().unwrap()
}

/// loadline with a scripted Prometheus and API server, which are idle once everything is cached.
async fn loadline(stop: CancellationToken) -> (SocketAddr, String) {
    let url = stage::prometheus(PODS, stop.clone()).await;
    let kubeconfig = stage::api_server(PODS, stop.clone()).await;
    let bound = app::build(stage::settings(&url, stage::cluster(kubeconfig.path()))).await.unwrap();
    let (address, authority) = (bound.address(), bound.authority().to_owned());
    let discovery = bound.discovery();
    tokio::spawn(bound.run(stop));
    discovery.first_try().await;
    (address, authority)
}

/// A server that does nothing but send these bytes by the same libraries.
async fn bare((media, body): (String, Bytes)) -> (SocketAddr, String) {
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let handler =
        async move || -> Response { ([(header::CONTENT_TYPE, media)], body).into_response() };
    let router = Router::new().route("/{*any}", get(handler));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let tls = acceptor.accept(stream).await.unwrap();
                let builder = auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(router);
                builder.serve_connection(TokioIo::new(tls), service).await.unwrap_or_default();
            });
        }
    });
    (address, key.cert.pem())
}

/// One server, and what was measured of it.
struct Side {
    threads: &'static str,
    connections: Vec<Connection>,
    request: Arc<[u8]>,
    body: Bytes,
    speeds: Vec<f64>,
    reads: usize,
    cpu: Duration,
}

impl Side {
    fn connect(
        client: &Runtime,
        address: SocketAddr,
        authority: &str,
        request: &Arc<[u8]>,
        threads: &'static str,
    ) -> Self {
        let (connections, body) = client.block_on(async {
            let (mut connections, mut body) = (Vec::new(), Bytes::new());
            for _ in 0..CONNECTIONS {
                let mut connection = Connection::open(address, authority).await;
                (_, body) = connection.first(request).await;
                connections.push(connection);
            }
            (connections, body)
        });
        let (request, speeds) = (Arc::clone(request), Vec::new());
        let mut side =
            Self { threads, connections, request, body, speeds, reads: 0, cpu: Duration::ZERO };
        // What is made once is not measured.
        side.turn(client);
        Self { speeds: Vec::new(), reads: 0, cpu: Duration::ZERO, ..side }
    }

    /// All connections ask as fast as they are answered.
    fn turn(&mut self, client: &Runtime) {
        let (is_over, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (started, before) = (Instant::now(), cpu(self.threads));
        self.connections = client.block_on(async {
            let mut tasks = JoinSet::new();
            for mut connection in self.connections.drain(..) {
                let (is_over, reads) = (Arc::clone(&is_over), Arc::clone(&reads));
                let request = Arc::clone(&self.request);
                tasks.spawn(async move {
                    let mut done = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        connection.again(&request).await;
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
        self.cpu += cpu(self.threads).saturating_sub(before);
        self.reads += reads;
        self.speeds.push(float(reads) / started.elapsed().as_secs_f64());
    }

    /// Processor time for one read, in microseconds.
    fn cpu_of_one(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / float(self.reads)
    }
}

/// The time that threads of a name have run so far.
fn cpu(threads: &str) -> Duration {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let folder = task.unwrap().path();
        // A thread may end meanwhile.
        let Ok(name) = fs::read_to_string(folder.join("comm")) else { continue };
        if name.trim() == threads {
            let ran = fs::read_to_string(folder.join("schedstat")).unwrap_or_default();
            nanoseconds += ran.split(' ').next().unwrap().parse().unwrap_or(0);
        }
    }
    Duration::from_nanos(nanoseconds)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn float(count: usize) -> f64 {
    count as f64
}
