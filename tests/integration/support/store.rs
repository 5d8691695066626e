//! Real time-series stores that scrape an [`Exporter`] every second.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{exporter::Exporter, install_tls_provider, process::Process, until};

/// A running Prometheus or VictoriaMetrics.
pub(crate) struct Store {
    pub(crate) url: String,
    client: reqwest::Client,
    process: Process,
    _folder: TempDir,
}

impl Store {
    /// A Prometheus that has scraped the exporter once.
    pub(crate) async fn prometheus(exporter: &Exporter) -> Self {
        Self::prometheus_of(&[exporter.address()], &[]).await
    }

    /// A Prometheus that has scraped each of these once, with further flags.
    pub(crate) async fn prometheus_of(targets: &[&str], flags: &[&str]) -> Self {
        let store = Self::started(&scraping(targets), &[], flags).await;
        let count = targets.len();
        store.until(&format!("count(scrape_samples_scraped{{*}} > 0) == {count}")).await;
        store
    }

    /// A Prometheus with this configuration, and files beside it that it can name.
    pub(crate) async fn configured(config: &str, files: &[(&str, &str)]) -> Self {
        Self::started(config, files, &[]).await
    }

    async fn started(config: &str, files: &[(&str, &str)], flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in [("prometheus.yaml", config)].iter().chain(files) {
            fs::write(folder.path().join(name), content).expect("a new file");
        }
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.path().join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=1h"])
            .args(flags);
        let process = Process::start(command, "apt-get install prometheus");
        Self::listening(process, folder).await
    }

    /// A Prometheus that scrapes nothing and has these samples, a text in the format of OpenMetrics with times.
    pub(crate) async fn stored(samples: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        fs::write(file("samples"), samples).expect("a new file");
        fs::write(file("nothing.yaml"), "").expect("a new file");
        let mut create = Command::new("promtool");
        create.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]);
        let created = create.arg(file("samples")).arg(file("data")).output();
        let created = created.expect("`promtool`: apt-get install prometheus");
        let complaint = String::from_utf8_lossy(&created.stderr);
        assert!(created.status.success(), "promtool: {complaint}");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file("nothing.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=99y"]);
        let process = Process::start(command, "apt-get install prometheus");
        let store = Self::listening(process, folder).await;
        let one = [("query", "1")];
        until("Prometheus answers", async || store.ask("query", &one).await).await;
        store
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

    async fn scraped(process: Process, folder: TempDir) -> Self {
        let store = Self::listening(process, folder).await;
        store.until("scrape_samples_scraped{*} > 0").await;
        store
    }

    async fn listening(mut process: Process, folder: TempDir) -> Self {
        install_tls_provider();
        let url = format!("http://127.0.0.1:{}", process.port().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url, client, process, _folder: folder }
    }

    /// Sends a signal to its process, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Suspends its process. A thread that is under way stops a moment after the signal was sent.
    pub(crate) async fn suspend(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.process.id());
        until("all threads are stopped", async || {
            let threads = fs::read_dir(&tasks).expect("the process").flatten();
            let mut states = threads.filter_map(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
                Some(stat.rsplit_once(") ")?.1.starts_with('T'))
            });
            states.all(|stopped| stopped).then_some(())
        })
        .await;
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
    fs::write(folder.path().join("scrape.yaml"), scraping(&[exporter.address()]))
        .expect("a new file");
    folder
}

fn scraping(targets: &[&str]) -> String {
    let job = json!({
        "job_name": "test",
        // Who speaks for several pods says for which.
        "honor_labels": true,
        "static_configs": [{"targets": targets}],
    });
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [job],
    });
    config.to_string()
}
