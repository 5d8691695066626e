//! A real Prometheus that scrapes a page of this process.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::header, routing::get};
use futures::stream;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::stage;

/// The timeout of every wait.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

/// The polling interval of waits.
const LOOK: Duration = Duration::from_millis(20);

/// A child that does not outlive its owner.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// A field of its `/proc/…/status`, in KiB.
    pub(crate) fn memory(&self, key: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The CPU time of its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap() {
            // A thread may exit in between.
            let ran = fs::read_to_string(task.unwrap().path().join("schedstat"));
            nanoseconds += ran.unwrap_or_default().split(' ').next().unwrap().parse().unwrap_or(0);
        }
        Duration::from_nanos(nanoseconds)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// A running Prometheus.
pub(crate) struct Store {
    pub(crate) url: String,
    pub(crate) process: Running,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Store {
    /// A Prometheus that scrapes `/metrics` of a URL at an interval, as the job `bench`.
    pub(crate) async fn start(target: &str, interval: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = target.trim_start_matches("http://");
        let config = format!(
            "global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\nscrape_configs:\n- job_name: bench\n  static_configs: [{{targets: [\"{target}\"]}}]\n",
        );
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, config).unwrap();
        // Another process may take the port in between; then Prometheus exits, and so does the benchmark.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .expect("`prometheus`: apt-get install prometheus");
        let client = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let store = Self { url, process: Running(process), client, _folder: folder };
        until("Prometheus answers", async || store.number("vector(1)").await).await;
        store
    }

    /// The body of a response of the HTTP API.
    pub(crate) async fn body(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Vec<u8>> {
        let url = format!("{}/api/v1/{path}", self.url);
        let response = self.client.get(url).query(parameters).send().await.ok()?;
        Some(response.error_for_status().ok()?.bytes().await.ok()?.to_vec())
    }

    /// The length of the body of a response, which is not stored.
    pub(crate) async fn length(&self, path: &str, parameters: &[(&str, &str)]) -> usize {
        let url = format!("{}/api/v1/{path}", self.url);
        let mut response = self.client.get(url).query(parameters).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        let mut length = 0;
        while let Some(chunk) = response.chunk().await.unwrap() {
            length += chunk.len();
        }
        length
    }

    /// The value of the first sample of a query, if there is one.
    pub(crate) async fn number(&self, query: &str) -> Option<f64> {
        let body = self.body("query", &[("query", query)]).await?;
        let answer: Value = serde_json::from_slice(&body).ok()?;
        answer.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }

    /// Waits until a query returns at least this value.
    pub(crate) async fn until(&self, query: &str, least: f64) {
        until(query, async || self.number(query).await.filter(|value| *value >= least)).await;
    }
}

/// Serves a page of metrics in these chunks.
pub(crate) async fn exporter(chunks: usize, chunk: fn(usize) -> String) -> String {
    let page = move || async move {
        let chunks = (0..chunks).map(move |index| Ok::<_, std::io::Error>(chunk(index)));
        let media = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
        (media, Body::from_stream(stream::iter(chunks)))
    };
    stage::serve(Router::new().route("/metrics", get(page)), CancellationToken::new()).await
}

/// Waits until the function returns a value.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "{what}");
        sleep(LOOK).await;
    }
}

/// Runs to the end, or until a signal stops this process. Both drop everything that runs.
pub(crate) async fn unless_stopped(work: impl Future<Output = ()>) {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        () = work => {}
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result.unwrap(),
    }
}
