//! Real time-series stores that scrape an [`Exporter`] every second.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{exporter::Exporter, install_tls_provider, process::Process, until};

/// A running Prometheus or VictoriaMetrics.
pub(crate) struct Store {
    pub(crate) url: String,
    client: reqwest::Client,
    process: Process,
    /// The program and its arguments, which are those of a start at a port that is free.
    command: Vec<OsString>,
    folder: TempDir,
}

/// A store that has been stopped: what it has stored, and how it was started.
pub(crate) struct Stopped {
    command: Vec<OsString>,
    address: String,
    folder: TempDir,
}

impl Stopped {
    /// Starts it again with what it has stored, at the same address, and waits until it answers.
    pub(crate) async fn start(self) -> Store {
        let (program, arguments) = self.command.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(arguments.iter().map(|argument| {
            let text = argument.to_str().expect("text");
            text.replace(ANY_PORT, &self.address)
        }));
        let process = Process::start(command, "it was there before");
        let store = Store::listening(process, self.command, self.folder).await;
        until("it answers", async || store.ask("query", &[("query", "1")]).await).await;
        store
    }
}

/// Where a store listens first.
const ANY_PORT: &str = "127.0.0.1:0";

/// What to do where there is no Prometheus.
const MISSING: &str = "apt-get install prometheus";

/// The variable that names the folder with the programs of Prometheus 3.
const PROMETHEUS3: &str = "PROMETHEUS3";

/// A program of Prometheus 3.
fn prometheus3(program: &str) -> PathBuf {
    let folder = env::var_os(PROMETHEUS3)
        .unwrap_or_else(|| panic!("{PROMETHEUS3} has to name a folder with {program}"));
    Path::new(&folder).join(program)
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

    /// A Prometheus 3 that scrapes nothing and takes metrics by OTLP, with the names that OpenTelemetry has.
    pub(crate) async fn otlp() -> Self {
        let config = json!({"otlp": {
            "translation_strategy": "NoTranslation",
            "promote_resource_attributes": ["k8s.namespace.name", "k8s.pod.name"],
        }});
        let mut command = Command::new(prometheus3("prometheus"));
        let flags = ["--web.enable-otlp-receiver"];
        let folder = Self::set_up(&mut command, &config.to_string(), &[], &flags);
        let store = Self::run(command, MISSING, folder).await;
        until("Prometheus answers", async || store.ask("query", &[("query", "1")]).await).await;
        store
    }

    /// Sends metrics by OTLP, in JSON.
    pub(crate) async fn send_otlp(&self, metrics: &Value) {
        let url = format!("{}/api/v1/otlp/v1/metrics", self.url);
        let request = self.client.post(url).header("content-type", "application/json");
        let response = request.body(metrics.to_string()).send().await.expect("an answer");
        let (status, body) = (response.status(), response.text().await.expect("text"));
        assert!(status.is_success(), "{status}: {body}");
    }

    async fn started(config: &str, files: &[(&str, &str)], flags: &[&str]) -> Self {
        let mut command = Command::new("prometheus");
        let folder = Self::set_up(&mut command, config, files, flags);
        Self::run(command, MISSING, folder).await
    }

    /// Completes the command of a Prometheus with this configuration, which is in the folder.
    fn set_up(
        command: &mut Command,
        config: &str,
        files: &[(&str, &str)],
        flags: &[&str],
    ) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in [("prometheus.yaml", config)].iter().chain(files) {
            fs::write(folder.path().join(name), content).expect("a new file");
        }
        command
            .arg(format!("--config.file={}", folder.path().join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .args([&format!("--web.listen-address={ANY_PORT}"), "--storage.tsdb.retention.time=1h"])
            .args(flags);
        folder
    }

    /// A Prometheus that scrapes nothing and has these samples, a text in the format of OpenMetrics with times.
    pub(crate) async fn stored(samples: &str) -> Self {
        Self::stored_by(Path::new("prometheus"), Path::new("promtool"), samples).await
    }

    /// The same with Prometheus 3.
    pub(crate) async fn stored_by_prometheus3(samples: &str) -> Self {
        Self::stored_by(&prometheus3("prometheus"), &prometheus3("promtool"), samples).await
    }

    async fn stored_by(prometheus: &Path, promtool: &Path, samples: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        fs::write(file("samples"), samples).expect("a new file");
        fs::write(file("nothing.yaml"), "").expect("a new file");
        let mut create = Command::new(promtool);
        create.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]);
        let created = create.arg(file("samples")).arg(file("data")).output();
        let created = created.expect("`promtool`: apt-get install prometheus");
        let complaint = String::from_utf8_lossy(&created.stderr);
        assert!(created.status.success(), "promtool: {complaint}");
        let mut command = Command::new(prometheus);
        command
            .arg(format!("--config.file={}", file("nothing.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .args([
                &format!("--web.listen-address={ANY_PORT}"),
                "--storage.tsdb.retention.time=99y",
            ]);
        let store = Self::run(command, MISSING, folder).await;
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
            .args(["-search.latencyOffset=0s", &format!("-httpListenAddr={ANY_PORT}")]);
        let store = Self::run(command, "apt-get install victoria-metrics", folder).await;
        store.until("scrape_samples_scraped{*} > 0").await;
        store
    }

    /// A VictoriaMetrics that scrapes nothing and has these samples, as in [`Store::stored`].
    pub(crate) async fn stored_by_victoria_metrics(samples: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()))
            .args(["-retentionPeriod=100y", &format!("-httpListenAddr={ANY_PORT}")]);
        let store = Self::run(command, "apt-get install victoria-metrics", folder).await;
        // OpenMetrics has seconds, and what is imported milliseconds.
        let lines = samples.lines().filter(|line| !line.starts_with('#'));
        let body: String = lines.map(|line| format!("{line}000\n")).collect();
        let send = async |path: &str, body: String| {
            let url = format!("{}/{path}", store.url);
            let response = store.client.post(url).body(body).send().await.ok()?;
            response.status().is_success().then_some(())
        };
        let imported = async || send("api/v1/import/prometheus", body.clone()).await;
        until("the samples are imported", imported).await;
        until("they are seen", async || send("internal/force_flush", String::new()).await).await;
        store
    }

    /// Starts a command that is to listen at [`ANY_PORT`].
    async fn run(command: Command, missing: &str, folder: TempDir) -> Self {
        let program = command.get_program();
        let all = std::iter::once(program).chain(command.get_args()).map(OsString::from).collect();
        Self::listening(Process::start(command, missing), all, folder).await
    }

    async fn listening(mut process: Process, command: Vec<OsString>, folder: TempDir) -> Self {
        install_tls_provider();
        let url = format!("http://127.0.0.1:{}", process.port().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url, client, process, command, folder }
    }

    /// Asks it to end, and waits until it has ended.
    pub(crate) async fn stop(self) -> Stopped {
        self.signal("TERM");
        self.process.end().await;
        let address = self.url.trim_start_matches("http://").to_owned();
        Stopped { command: self.command, address, folder: self.folder }
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
