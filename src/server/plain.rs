//! A listener without TLS, for the debug address.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Answering;

/// How many connections there are at a time. Others wait.
const CONNECTIONS: usize = 16;

/// How long a connection may take to a whole head of a request, or be idle.
const HEAD: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes.
const HEAD_BYTES: usize = 32 << 10;

/// How long open requests may go on after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// A bound address, not yet served.
pub struct PlainListener(TcpListener);

impl PlainListener {
    /// Binds an address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(address).await?))
    }

    /// The address that is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until stopped, then lets open requests end within a time limit.
    pub async fn serve<S: Answering>(self, service: S, stop: CancellationToken) {
        let turns = Arc::new(Semaphore::new(CONNECTIONS));
        let mut open = JoinSet::new();
        loop {
            while open.try_join_next().is_some() {}
            let accepted = async {
                // Never closed.
                let turn = Arc::clone(&turns).acquire_owned().await.ok();
                (turn, self.0.accept().await)
            };
            let (turn, accepted) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let served = connection(stream, service.clone(), stop.clone());
                    open.spawn(async move {
                        served.await;
                        drop(turn);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection to the debug address could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        let all = async { while open.join_next().await.is_some() {} };
        tokio::time::timeout(DRAIN, all).await.unwrap_or_default();
        open.shutdown().await;
    }
}

async fn connection<S: Answering>(stream: TcpStream, service: S, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        service.clone().oneshot(request.map(Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the debug address has ended");
    }
}
