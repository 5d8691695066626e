//! Connections: accept, TLS handshake, HTTP/1.1 and HTTP/2, graceful end.

pub mod certificates;
pub mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures::FutureExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a handshake may still take after the stop.
const LAST_HANDSHAKE: Duration = Duration::from_secs(1);

/// How long the head of a request may take, from its first byte.
const REQUEST_HEAD: Duration = Duration::from_secs(10);

/// How long connections may go on after the stop.
const DRAIN: Duration = Duration::from_secs(30);

/// The certificates that a client has shown, the leaf first: signatures checked, chain not. Nothing where it has none.
#[derive(Clone, Debug, Default)]
pub struct PeerCertificates(pub Arc<[CertificateDer<'static>]>);

/// A bound address, not yet served.
pub struct Listener {
    tcp: TcpListener,
    tls: Arc<ServerConfig>,
}

impl Listener {
    /// Binds an address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, tls: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self { tcp: TcpListener::bind(address).await?, tls })
    }

    /// The address that is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until stopped, then lets open requests end within a time limit.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let mut connections = Connections {
            acceptor: TlsAcceptor::from(self.tls),
            router,
            stop,
            graceful: GracefulShutdown::new(),
            open: JoinSet::new(),
        };
        loop {
            let accepted = tokio::select! {
                biased;
                () = connections.stop.cancelled() => break,
                accepted = self.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => connections.open(stream),
                Err(error) => {
                    // Out of file descriptors, or a client that was gone at once: nothing that an end would mend.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        // Who has connected before the end is served: their requests may be on the way.
        while let Some(Ok((stream, _))) = self.tcp.accept().now_or_never() {
            connections.open(stream);
        }
        drop(self.tcp);
        connections.drain().await;
    }
}

/// The open connections, each a task of its own.
struct Connections {
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
    graceful: GracefulShutdown,
    open: JoinSet<()>,
}

impl Connections {
    fn open(&mut self, stream: TcpStream) {
        while self.open.try_join_next().is_some() {}
        self.open.spawn(connection(
            stream,
            self.acceptor.clone(),
            self.router.clone(),
            self.graceful.watcher(),
            self.stop.clone(),
        ));
    }

    /// Lets open requests end, and cuts what is left after the time limit.
    async fn drain(mut self) {
        if tokio::time::timeout(DRAIN, self.graceful.shutdown()).await.is_err() {
            tracing::warn!("connections are cut: they did not end within {} s", DRAIN.as_secs());
        }
        self.open.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_HANDSHAKE).await;
    };
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)) => handshake,
        () = stopped => return,
    };
    let tls = match handshake {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_elapsed) => {
            tracing::debug!("TLS handshake timed out");
            return;
        }
    };
    let (_, session) = tls.get_ref();
    let peer = PeerCertificates(session.peer_certificates().unwrap_or_default().into());
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.map(axum::body::Body::new)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    let served = builder.serve_connection(TokioIo::new(tls), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests;
