//! What stands in for a cluster's pods and their Prometheus: the cloud IDE, scraped every second into the store, behind
//! the store's HTTP endpoint.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::endpoint;
use super::store::Store;
use super::workload::{CloudIde, Sample, Workload};

/// Seconds of history that are there from the first moment, so that the first rate is already right.
const HISTORY: i32 = 120;

/// The running cloud IDE and its clock. Clones are the same cloud IDE.
#[derive(Debug, Clone)]
pub struct LiveIde {
    ide: Arc<Mutex<CloudIde>>,
    started: Instant,
}

impl LiveIde {
    fn start() -> Self {
        Self {
            ide: Arc::new(Mutex::new(CloudIde::new(f64::from(-HISTORY)))),
            started: Instant::now(),
        }
    }

    /// How long it has been running.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The pods that a workload has now.
    pub fn pods(&self, workload: Workload) -> Vec<String> {
        self.with(|ide| ide.pods(workload))
    }

    /// Sets the number of pods of a workload from now on.
    pub fn scale(&self, workload: Workload, replicas: u32) {
        let at = self.age().as_secs_f64();
        self.with(|ide| ide.scale(workload, at, replicas));
    }

    fn samples(&self, at: f64) -> Vec<Sample> {
        self.with(|ide| ide.samples(at))
    }

    fn with<T>(&self, act: impl FnOnce(&mut CloudIde) -> T) -> T {
        act(&mut self.ide.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The cloud IDE, its store and the store's endpoint, as one running task.
#[derive(Debug)]
pub struct Backend {
    ide: LiveIde,
    address: SocketAddr,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Backend {
    /// Starts serving on `listener`, with two minutes of history. `stop` ends it.
    pub fn start(listener: TcpListener, stop: CancellationToken) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the demo's store has no address")?;
        let ide = LiveIde::start();
        let store = Arc::new(Store::default());
        let epoch = jiff::Timestamp::now().as_millisecond();
        for second in -HISTORY..=0 {
            scrape(&ide, &store, epoch, second);
        }
        let task = tokio::spawn(
            run(listener, ide.clone(), store, epoch, stop)
                .instrument(tracing::info_span!("demo backend")),
        );
        Ok(Self { ide, address, task })
    }

    /// The cloud IDE.
    pub fn ide(&self) -> LiveIde {
        self.ide.clone()
    }

    /// Where the Prometheus API is, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for its end: after `stop`, or by itself when something is wrong.
    pub async fn stopped(self) -> anyhow::Result<()> {
        self.task.await.context("the demo's store stopped")?
    }
}

async fn run(
    listener: TcpListener,
    ide: LiveIde,
    store: Arc<Store>,
    epoch: i64,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = endpoint::router(Arc::clone(&store));
    let serve = async {
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .await
            .context("serving the demo's store")
    };
    let (served, ()) = tokio::join!(serve, scrape_every_second(&ide, &store, epoch, &stop));
    served
}

async fn scrape_every_second(ide: &LiveIde, store: &Store, epoch: i64, stop: &CancellationToken) {
    let period = Duration::from_secs(1);
    let mut ticks = tokio::time::interval_at(ide.started + period, period);
    // A late scrape is made up for, at the second that it belongs to: the series stay evenly spaced.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for second in 1.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => scrape(ide, store, epoch, second),
        }
    }
}

fn scrape(ide: &LiveIde, store: &Store, epoch: i64, second: i32) {
    store.ingest(epoch + i64::from(second) * 1_000, &ide.samples(f64::from(second)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_rate_is_right_and_it_stops_when_told() {
        // The provider may have been installed by another test.
        _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let backend = Backend::start(listener, stop.clone()).unwrap();
        let query = "sum(rate(lsp_requests_total{namespace=\"cloud-ide\"}[10s]))by(pod)";
        let url = reqwest::Url::parse_with_params(
            &format!("{}/api/v1/query", backend.url()),
            [("query", query)],
        )
        .unwrap();
        let body = reqwest::get(url).await.unwrap().bytes().await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let result = body["data"]["result"].as_array().unwrap();
        assert_eq!(result.len(), 2, "{body}");
        for sample in result {
            let rate: f64 = sample["value"][1].as_str().unwrap().parse().unwrap();
            assert!((44.0..=48.0).contains(&rate), "{body}");
        }
        backend.ide().scale(Workload::LspServer, 3);
        assert_eq!(backend.ide().pods(Workload::LspServer).len(), 3);
        stop.cancel();
        backend.stopped().await.unwrap();
    }
}
