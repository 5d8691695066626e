//! Connections: accept, TLS handshake, HTTP/1.1 and HTTP/2, graceful end.

pub mod certificates;
pub mod limits;
mod plain;
mod strangers;
pub mod tls;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{body::Body, response::Response};
use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    io::AsyncBufReadExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

pub use self::plain::PlainListener;
use self::{
    limits::Limits,
    strangers::{Stranger, Strangers},
};
use crate::auth::Peer;

/// How long a new connection may take to the whole head of its first request, the handshake included.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// The longest head of a request that is read, in bytes, and the most headers that it may have by HTTP/1.1. kube-apiserver sends each group of
/// a user in a header, and some users are in hundreds. It speaks HTTP/2 where that is offered, and room for many headers costs
/// every request by HTTP/1.1: that is made only where nothing else is offered.
pub const MAX_HEAD_BYTES: u32 = 64 << 10;
const MAX_HEADERS: usize = 1_000;

/// How many requests there may be at a time on a connection by HTTP/2. Clients in Go open another one then.
const MAX_STREAMS: u32 = 250;

/// How much of the bodies of requests may be on the way, in bytes: the least that HTTP/2 knows, because none is read.
const BODY_WINDOW: u32 = 65_535;

/// The time between two lines of the log about connections that could not be taken.
const QUIET: Duration = Duration::from_secs(60);

/// How long after the stop a new connection may still take to its first byte of HTTP, and an HTTP/1.1 connection may be
/// idle. What comes on it is answered with `connection: close`; were it closed at once, a request might be on the way.
const GRACE: Duration = Duration::from_secs(1);

/// How long an HTTP/1.1 connection may be without a whole head of a request, from the answer before. hyper has one time for
/// an idle connection and for a slow head; clients such as Prometheus keep connections idle for longer than a head takes.
const REQUEST_HEAD: Duration = Duration::from_secs(90);

/// How many connections may wait to be accepted: tokio's number.
const BACKLOG: usize = 1_024;

/// How long connections may go on after the stop.
const DRAIN: Duration = Duration::from_secs(30);

/// What answers requests: a router, or less. It finds the [`Peer`] among a request's extensions.
pub trait Answering:
    Service<Request<Body>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Answering for S where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A bound address, not yet served.
pub struct Listener {
    tcp: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Limits,
}

impl Listener {
    /// Binds an address; port 0 takes a free one. There will be no more connections than the limits and the process's open
    /// files allow.
    pub async fn bind(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        limits: Limits,
    ) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        Ok(Self { tcp, tls, limits: limits.within_open_files() })
    }

    /// The address that is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until stopped, then lets open requests end within a time limit.
    pub async fn serve<S: Answering>(self, service: S, stop: CancellationToken) {
        let mut connections = Connections {
            acceptor: TlsAcceptor::from(self.tls),
            service,
            stop,
            open: JoinSet::new(),
            most: self.limits.connections,
            strangers: Strangers::new(self.limits.strangers_per_address, self.limits.strangers()),
            said: None,
        };
        loop {
            let accepted = tokio::select! {
                biased;
                () = connections.stop.cancelled() => break,
                accepted = self.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => connections.open(stream, from.ip()),
                Err(error) => {
                    // Out of file descriptors, or a client that was gone at once: nothing that an end would mend.
                    connections
                        .warn(|| tracing::warn!(%error, "a connection could not be accepted"));
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        match self.tcp.into_std() {
            Ok(tcp) => connections.open_waiting(&tcp),
            Err(error) => tracing::warn!(%error, "connections that were not accepted yet are lost"),
        }
        connections.drain().await;
    }
}

/// The open connections, each a task of its own.
struct Connections<S> {
    acceptor: TlsAcceptor,
    service: S,
    stop: CancellationToken,
    open: JoinSet<()>,
    /// How many there may be.
    most: usize,
    strangers: Strangers,
    /// When a rejected connection was last logged.
    said: Option<Instant>,
}

impl<S: Answering> Connections<S> {
    fn open(&mut self, stream: TcpStream, from: IpAddr) {
        while self.open.try_join_next().is_some() {}
        if self.open.len() >= self.most && !self.strangers.make_room() {
            let most = self.most;
            self.warn(|| {
                tracing::warn!(most, "there are too many connections: new ones are closed");
            });
            return;
        }
        self.open.spawn(connection(
            stream,
            self.acceptor.clone(),
            self.service.clone(),
            self.stop.clone(),
            self.strangers.welcome(from),
        ));
    }

    /// Says something in the log, unless something like it was said a short while ago.
    fn warn(&mut self, say: impl FnOnce()) {
        if self.said.is_none_or(|said| said.elapsed() >= QUIET) {
            self.said = Some(Instant::now());
            say();
        }
    }

    /// Opens what has connected before the end: requests may be on the way. The system is asked itself, because the runtime
    /// may not have heard yet.
    fn open_waiting(&mut self, tcp: &std::net::TcpListener) {
        for _ in 0..BACKLOG {
            let Ok((stream, from)) = tcp.accept() else { return };
            match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => self.open(stream, from.ip()),
                Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
            }
        }
    }

    /// Lets open requests end, and cuts what is left after the time limit.
    async fn drain(mut self) {
        let all = async { while self.open.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("connections are cut: they did not end within {} s", DRAIN.as_secs());
        }
        self.open.shutdown().await;
    }
}

async fn connection<S: Answering>(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    service: S,
    stop: CancellationToken,
    stranger: Arc<Stranger>,
) {
    let evicted = stranger.evicted.clone();
    tokio::select! {
        () = serve(stream, acceptor, service, stop, &stranger) => {}
        () = evicted.cancelled() => tracing::debug!("a connection has made room for another"),
    }
}

async fn serve<S: Answering>(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    service: S,
    stop: CancellationToken,
    stranger: &Arc<Stranger>,
) {
    let deadline = Instant::now() + FIRST_HEAD;
    // Looking at a token takes its lock, clones share it, and every request looks: so each connection has a token of its own.
    let stop = stop.child_token();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let mut stopped = std::pin::pin!(stopped);
    let tls = tokio::select! {
        opened = opening(stream, &acceptor, deadline) => match opened {
            Ok(tls) => tls,
            Err(error) => {
                tracing::debug!(%error, "a connection has ended before its first request");
                return;
            }
        },
        () = stopped.as_mut() => return,
    };
    let (_, session) = tls.get_ref();
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let offers_http2 = acceptor.config().alpn_protocols.iter().any(|protocol| protocol == b"h2");
    let certificates = session.peer_certificates().unwrap_or_default();
    let peer = Arc::new(Peer::new(certificates, Arc::clone(&stranger.is_known)));
    let stopping = Arc::new(stop.clone());
    let asks = Arc::clone(stranger);
    let service = service_fn(move |request: Request<Incoming>| {
        asks.has_asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&peer));
        let answer = service.clone().oneshot(request);
        let (stopping, asks) = (Arc::clone(&stopping), Arc::clone(&asks));
        async move {
            let mut response = answer.await?;
            asks.is_answered.store(true, Ordering::Relaxed);
            // hyper does so only after a graceful shutdown has begun.
            if !is_http2 && stopping.is_cancelled() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // What was agreed on counts, not what the first bytes look like: HTTP/2 may be switched off.
    let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    let max_head_bytes = usize::try_from(MAX_HEAD_BYTES).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD)
        .max_buf_size(max_head_bytes);
    if !offers_http2 {
        builder.http1().max_headers(MAX_HEADERS);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(BODY_WINDOW)
        .initial_connection_window_size(BODY_WINDOW)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    let served = builder.serve_connection(TokioIo::new(tls), service);
    let mut served = std::pin::pin!(served);
    let closing = async {
        if is_http2 {
            // GOAWAY says which requests were taken: nothing is lost.
            stop.cancelled().await;
        } else {
            stopped.await;
        }
    };
    let silent = async {
        tokio::time::sleep_until(deadline).await;
        if stranger.has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        // hyper reads what is there before it learns of the stop: it closes a connection that has not read anything.
        biased;
        ended = served.as_mut() => ended,
        () = closing => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = silent => {
            tracing::debug!("a connection has not sent a request in time");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Takes a connection to its first byte of HTTP, which is left unread.
async fn opening(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    deadline: Instant,
) -> io::Result<TlsStream<TcpStream>> {
    let opened = async {
        let mut tls = acceptor.accept(stream).await?;
        tls.fill_buf().await?;
        Ok(tls)
    };
    tokio::time::timeout_at(deadline, opened).await?
}

#[cfg(test)]
mod tests;
