//! What stands around loadline in these tests.

pub(crate) mod app;
pub(crate) mod autoscaler;
pub(crate) mod backend;
pub(crate) mod balancer;
pub(crate) mod browser;
pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod console;
pub(crate) mod control_plane;
pub(crate) mod delegation;
pub(crate) mod example;
pub(crate) mod exporter;
pub(crate) mod kubectl;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod readers;
pub(crate) mod recorder;
pub(crate) mod relay;
pub(crate) mod schema;
pub(crate) mod store;
pub(crate) mod tls;
pub(crate) mod token_endpoint;

use std::{
    sync::Once,
    time::{Duration, Instant},
};

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// How long a condition may take to come true. Nothing waits this long unless it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Looks again and again until there is what is looked for.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(DEADLINE, Duration::from_millis(20), what, look).await
}

/// As [`until`], for what takes longer or must not be looked at so often.
pub(crate) async fn until_within<T>(
    limit: Duration,
    interval: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "within {} s: {what}", limit.as_secs());
        tokio::time::sleep(interval).await;
    }
}

/// The TLS provider of this process, as the binary installs it.
pub(crate) fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("no other provider");
    });
}

/// Serves a router on a free port of loopback, for as long as the handle is kept.
pub(crate) async fn serve(router: axum::Router) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let task = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("serving does not end");
    });
    (url, AbortOnDropHandle::new(task))
}
