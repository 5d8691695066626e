//! Real time-series stores that scrape an [`Exporter`] every second.

use std::{fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{exporter::Exporter, install_tls_provider, process::Process, until};

/// A running Prometheus or VictoriaMetrics.
pub(crate) struct Store {
    pub(crate) url: String,
    client: reqwest::Client,
    _process: Process,
    _folder: TempDir,
}

impl Store {
    /// A Prometheus that has scraped the exporter once.
    pub(crate) async fn prometheus(exporter: &Exporter) -> Self {
        let folder = folder(exporter);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.path().join("scrape.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=1h"]);
        let process = Process::start(command, "apt-get install prometheus");
        Self::scraped(process, folder).await
    }

    /// A VictoriaMetrics that has scraped the exporter once.
    pub(crate) async fn victoria_metrics(exporter: &Exporter) -> Self {
        let folder = folder(exporter);
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-promscrape.config={}", folder.path().join("scrape.yaml").display()))
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
            // Samples are seen at once instead of after 30 s.
            .args(["-search.latencyOffset=0s", "-httpListenAddr=127.0.0.1:0"]);
        let process = Process::start(command, "apt-get install victoria-metrics");
        Self::scraped(process, folder).await
    }

    async fn scraped(mut process: Process, folder: TempDir) -> Self {
        install_tls_provider();
        let url = format!("http://127.0.0.1:{}", process.port().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let store = Self { url, client, _process: process, _folder: folder };
        store.until("scrape_samples_scraped{*} > 0").await;
        store
    }

    /// The answer of the HTTP API; nothing where it is no success.
    pub(crate) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = format!("{}/api/v1/{path}", self.url);
        let response = self.client.get(url).query(parameters).send().await.ok()?;
        let body = response.bytes().await.ok()?;
        let mut answer: Value = serde_json::from_slice(&body).ok()?;
        (answer["status"] == "success").then(|| answer["data"].take())
    }

    /// Waits until a query gives something. A `*` among the matchers stands for one that is different every time:
    /// VictoriaMetrics remembers for 10 s that a selector had no series.
    pub(crate) async fn until(&self, query: &str) {
        assert!(query.contains('*'), "{query}");
        let what = format!("`{query}` gives a sample");
        let mut tries = 0;
        until(&what, async || {
            tries += 1;
            let query = query.replace('*', &format!("try!=\"{tries}\""));
            let data = self.ask("query", &[("query", &query)]).await?;
            data["result"].as_array().filter(|samples| !samples.is_empty()).map(|_| ())
        })
        .await;
    }
}

fn folder(exporter: &Exporter) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: test\n  static_configs: [{{targets: [\"{}\"]}}]\n",
        exporter.address()
    );
    fs::write(folder.path().join("scrape.yaml"), config).expect("a new file");
    folder
}
