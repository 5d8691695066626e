//! A load balancer of TCP connections, as a Service is one: a new connection goes to an endpoint that is ready, and stays there.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::until;

/// The pause between two looks whether an endpoint is ready. A kubelet looks every few seconds.
const PERIOD: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Endpoint {
    address: SocketAddr,
    is_ready: bool,
    /// How many connections it has.
    open: Arc<AtomicUsize>,
}

type Endpoints = Arc<Mutex<Vec<Endpoint>>>;

/// The balancer, at a port of loopback.
pub(crate) struct Balancer {
    pub(crate) port: u16,
    endpoints: Endpoints,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Balancer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let endpoints = Endpoints::default();
        let passing = tokio::spawn(pass(listener, Arc::clone(&endpoints)));
        let probing = tokio::spawn(probe(Arc::clone(&endpoints)));
        Self { port, endpoints, _tasks: [passing, probing].map(AbortOnDropHandle::new) }
    }

    /// Adds an endpoint, and waits until it is ready.
    pub(crate) async fn add(&self, address: SocketAddr) {
        let endpoint = Endpoint { address, is_ready: false, open: Arc::default() };
        self.endpoints.lock().expect("not poisoned").push(endpoint);
        until(&format!("{address} is ready"), async || {
            self.endpoint(address).is_ready.then_some(())
        })
        .await;
    }

    pub(crate) fn remove(&self, address: SocketAddr) {
        let mut endpoints = self.endpoints.lock().expect("not poisoned");
        endpoints.retain(|endpoint| endpoint.address != address);
    }

    /// How many connections an endpoint has.
    pub(crate) fn connections(&self, address: SocketAddr) -> usize {
        self.endpoint(address).open.load(Ordering::SeqCst)
    }

    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        let endpoints = self.endpoints.lock().expect("not poisoned");
        let found = endpoints.iter().find(|endpoint| endpoint.address == address);
        found.expect("it was added").clone()
    }
}

/// Looks again and again which endpoints are ready.
async fn probe(endpoints: Endpoints) {
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .build()
        .expect("a client");
    loop {
        let known = endpoints.lock().expect("not poisoned").clone();
        for Endpoint { address, .. } in known {
            let answer = client.get(format!("https://{address}/readyz")).send().await;
            let is_ready = answer.is_ok_and(|answer| answer.status() == 200);
            mark(&endpoints, address, is_ready);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn mark(endpoints: &Endpoints, address: SocketAddr, is_ready: bool) {
    let mut endpoints = endpoints.lock().expect("not poisoned");
    for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.address == address) {
        endpoint.is_ready = is_ready;
    }
}

async fn pass(listener: TcpListener, endpoints: Endpoints) {
    let (mut connections, mut turn) = (JoinSet::new(), 0_usize);
    loop {
        let (mut near, _) = listener.accept().await.expect("a connection");
        while connections.try_join_next().is_some() {}
        turn = turn.wrapping_add(1);
        let endpoints = Arc::clone(&endpoints);
        connections.spawn(async move {
            let Some((endpoint, mut far)) = connect(&endpoints, turn).await else { return };
            endpoint.open.fetch_add(1, Ordering::SeqCst);
            // Either side may end it in any way.
            copy_bidirectional(&mut near, &mut far).await.map(drop).unwrap_or_default();
            endpoint.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// A connection to one of those that are ready. One that refuses it is not.
async fn connect(endpoints: &Endpoints, turn: usize) -> Option<(Endpoint, TcpStream)> {
    loop {
        let mut ready = endpoints.lock().expect("not poisoned").clone();
        ready.retain(|endpoint| endpoint.is_ready);
        let endpoint = ready.get(turn.checked_rem(ready.len())?)?.clone();
        match TcpStream::connect(endpoint.address).await {
            Ok(stream) => return Some((endpoint, stream)),
            Err(_refused) => mark(endpoints, endpoint.address, false),
        }
    }
}
