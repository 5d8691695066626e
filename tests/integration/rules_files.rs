//! Rules of several files: a folder, and ConfigMaps of the scripted API server, with a real Prometheus.

use std::{fs, os::unix::fs::symlink, path::PathBuf, sync::Arc, time::Duration};

use loadline::{
    core::selector::Selector,
    rules_file::{Requirements, Source, config_maps},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{
    app::{App, Launch, external},
    cluster::{Kubernetes, Stored},
    exporter::{Exporter, Page},
    process::{Process, loadline},
    store::Store,
    until,
};

/// Series with the values 1 to 4.
async fn store() -> (Exporter, Store) {
    let series = ["one", "two", "three", "four"].iter().zip(1..);
    let page = series.fold(Page::new(), |page, (name, value)| {
        page.series(name, "namespace=\"shop\"", &value.to_string())
    });
    let exporter = Exporter::start(page).await;
    let store = Store::prometheus(&exporter).await;
    (exporter, store)
}

/// Rules that serve series under other names: `("orders", "one")`.
fn rules(metrics: &[(&str, &str)]) -> String {
    let rules = metrics.iter().map(|(metric, series)| {
        format!(
            "- {{seriesQuery: '{series}{{}}', resources: {{overrides: {{namespace: {{resource: namespace}}}}}}, name: {{as: {metric}}}, metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}})'}}\n"
        )
    });
    format!("externalRules:\n{}", rules.collect::<String>())
}

/// A rules file with a key that there is not.
const BROKEN: &str = "externalRules:\n- seriesQuerry: one\n";

/// A server of a folder, or of ConfigMaps.
struct Stage {
    folder: TempDir,
    asked: Arc<Notify>,
    app: App,
    _prometheus: (Exporter, Store),
}

impl Stage {
    /// Serves the files of a folder.
    async fn of_folder(files: &[(&str, &str)]) -> Self {
        Self::start(files, None).await
    }

    /// Serves ConfigMaps of the namespace `shop`, and the files of a folder if there are any.
    async fn of_cluster(files: &[(&str, &str)], cluster: &Kubernetes) -> Self {
        Self::start(files, Some(cluster)).await
    }

    async fn start(files: &[(&str, &str)], cluster: Option<&Kubernetes>) -> Self {
        let prometheus = store().await;
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let asked = Arc::new(Notify::new());
        let config_maps = cluster.map(|_| config_maps::Settings {
            selector: Selector::parse("loadline=rules").unwrap(),
            namespaces: [Arc::from("shop")].into(),
            // As long as a test needs to see that the server is not ready.
            patience: Duration::from_secs(3_600),
        });
        let path = (cluster.is_none() || !files.is_empty()).then_some(folder.path());
        let read = Source::read(path, config_maps, Requirements::default(), Arc::clone(&asked));
        let mut launch = Launch::new("", &prometheus.1.url);
        launch.source = Some(read.unwrap());
        if let Some(cluster) = cluster {
            launch = launch.cluster(cluster);
        }
        let app = launch.start().await;
        Self { folder, asked, app, _prometheus: prometheus }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.asked.notify_one();
    }

    /// The value of a metric; nothing if there is no such metric.
    async fn value(&self, metric: &str) -> Option<String> {
        let reply = self.app.get(&external(&format!("namespaces/shop/{metric}"))).await;
        if reply.status != 200 {
            return None;
        }
        Some(reply.json()["items"][0]["value"].as_str().expect("a value").to_owned())
    }

    async fn serves(&self, metrics: &[(&str, Option<&str>)]) {
        for (metric, wanted) in metrics {
            let has = async || (self.value(metric).await.as_deref() == *wanted).then_some(());
            until(&format!("{metric} is {wanted:?}"), has).await;
        }
    }

    async fn get(&self, path: &str) -> String {
        self.app.get(path).await.body
    }

    async fn until_body(&self, path: &str, has: &str) {
        let found = async || self.get(path).await.contains(has).then_some(());
        until(&format!("{path} has {has}"), found).await;
    }

    /// Waits until a file is in use as it is, or is not.
    async fn until_current(&self, file: &str, is_current: bool) {
        let value = u8::from(is_current);
        let line =
            format!("loadline_config_file_last_reload_successful{{file=\"{file}\"}} {value}\n");
        self.until_body("/metrics", &line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_its_rules_and_harms_no_other() {
    let files = [
        ("a.yaml", &*rules(&[("a", "one")])),
        ("b.yml", BROKEN),
        (
            "c.json",
            r#"{"externalRules": [{"seriesQuery": "three{}", "resources": {"namespaced": false}, "name": {"as": "c"}, "metricsQuery": "three"}]}"#,
        ),
        ("README.md", "no rules"),
        (".hidden.yaml", BROKEN),
    ];
    let stage = Stage::of_folder(&files).await;
    stage.serves(&[("a", Some("1")), ("b", None), ("c", Some("3"))]).await;
    stage.until_current("b.yml", false).await;
    let metrics = stage.get("/metrics").await;
    assert!(metrics.contains("loadline_config_last_reload_successful 0\n"), "{metrics}");
    assert!(!metrics.contains("hidden") && !metrics.contains("README"), "{metrics}");
    let rule = "loadline_discovery_successful{rule=\"externalRules[0] of a.yaml\"} 1\n";
    stage.until_body("/metrics", rule).await;
    let ready = stage.get("/readyz?verbose").await;
    assert!(ready.contains("b.yml:2:3: externalRules[0].seriesQuerry: unknown key"), "{ready}");
    assert!(ready.contains("readyz check passed"), "{ready}");
    assert!(!ready.contains("previous rules"), "there are none: {ready}");

    // It is mended, then broken again.
    stage.write("b.yml", &rules(&[("b", "two")]));
    stage.serves(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]).await;
    stage.until_current("b.yml", true).await;
    stage.until_body("/readyz?verbose", "[+]rules ok").await;
    stage.write("b.yml", BROKEN);
    stage.until_current("b.yml", false).await;
    stage.until_body("/readyz?verbose", "previous rules").await;
    stage.serves(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]).await;
    // The others change all the same, and one comes.
    stage.write("a.yaml", &rules(&[("a", "four")]));
    stage.write("d.yaml", &rules(&[("d", "four")]));
    stage.serves(&[("a", Some("4")), ("b", Some("2")), ("d", Some("4"))]).await;

    // What is gone has no rules, and is told of no more.
    for name in ["b.yml", "d.yaml"] {
        fs::remove_file(stage.path(name)).unwrap();
    }
    stage.asked.notify_one();
    stage.serves(&[("a", Some("4")), ("b", None), ("c", Some("3")), ("d", None)]).await;
    stage.until_body("/readyz?verbose", "[+]rules ok").await;
    let metrics = stage.get("/metrics").await;
    assert!(!metrics.contains("b.yml") && !metrics.contains("d.yaml"), "{metrics}");

    // A folder that has lost all its files was more likely unmounted than emptied.
    for name in ["a.yaml", "c.json"] {
        fs::remove_file(stage.path(name)).unwrap();
    }
    stage.asked.notify_one();
    stage.until_body("/readyz?verbose", "the folder has no rules files, and would replace 2").await;
    stage.serves(&[("a", Some("4")), ("c", Some("3"))]).await;
    stage.write("none.yaml", "rules: []");
    stage.serves(&[("a", None), ("c", None)]).await;
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_files_with_one_metric_the_later_counts() {
    let (first, second) = (rules(&[("x", "one")]), rules(&[("x", "two"), ("y", "three")]));
    let stage = Stage::of_folder(&[("a.yaml", &first), ("b.yaml", &second)]).await;
    stage.serves(&[("x", Some("2")), ("y", Some("3"))]).await;
    fs::remove_file(stage.path("b.yaml")).unwrap();
    stage.asked.notify_one();
    stage.serves(&[("y", None), ("x", Some("1"))]).await;
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_links_of_a_mounted_config_map_are_followed() {
    let stage = Stage::of_folder(&[("own.yaml", &rules(&[("own", "one")]))]).await;
    // As Kubernetes does it: `..data` leads to a folder, and each file through it.
    let mount = |version: &str, files: &[(&str, &str)]| {
        fs::create_dir(stage.path(version)).unwrap();
        for (name, text) in files {
            fs::write(stage.path(version).join(name), text).unwrap();
            if fs::symlink_metadata(stage.path(name)).is_err() {
                symlink(format!("..data/{name}"), stage.path(name)).unwrap();
            }
        }
        symlink(version, stage.path("..data_tmp")).unwrap();
        fs::rename(stage.path("..data_tmp"), stage.path("..data")).unwrap();
        stage.asked.notify_one();
    };
    let second = rules(&[("b", "two")]);
    mount("..1", &[("a.yaml", &rules(&[("a", "one")])), ("b.yaml", &second)]);
    stage.serves(&[("own", Some("1")), ("a", Some("1")), ("b", Some("2"))]).await;
    // A link leads nowhere for a moment before it is taken away.
    mount("..2", &[("a.yaml", &rules(&[("a", "four")]))]);
    stage.serves(&[("own", Some("1")), ("a", Some("4")), ("b", Some("2"))]).await;
    fs::remove_file(stage.path("b.yaml")).unwrap();
    stage.asked.notify_one();
    stage.serves(&[("own", Some("1")), ("a", Some("4")), ("b", None)]).await;
    stage.until_body("/readyz?verbose", "[+]rules ok").await;
    stage.app.stop().await;
}

fn config_map(namespace: &str, name: &str, data: &Value) -> Stored {
    labelled(namespace, name, "rules", data)
}

fn labelled(namespace: &str, name: &str, label: &str, data: &Value) -> Stored {
    Stored::new("configmaps", namespace, name, &[("loadline", label)]).with(json!({"data": data}))
}

#[tokio::test(flavor = "multi_thread")]
async fn config_maps_are_rules_files() {
    let of = |metric: &str, series: &str| rules(&[(metric, series)]);
    let cluster = Kubernetes::holding(
        vec![
            config_map("shop", "a", &json!({"r.yaml": of("a", "one"), "notes.txt": BROKEN})),
            config_map("bank", "b", &json!({"r.yaml": of("b", "one")})),
            labelled("shop", "c", "other", &json!({"r.yaml": of("c", "one")})),
        ],
        100,
    )
    .await;
    let stage = Stage::of_cluster(&[("file.yaml", &of("file", "four"))], &cluster).await;
    let nobody = [("b", None), ("c", None)];
    stage.serves(&[("a", Some("1")), ("file", Some("4"))]).await;
    stage.serves(&nobody).await;

    // One comes, and one changes.
    let two = json!({"r.yaml": of("d", "two"), "s.yml": of("e", "three")});
    cluster.apply(config_map("shop", "d", &two));
    stage.serves(&[("d", Some("2")), ("e", Some("3"))]).await;
    cluster.apply(config_map("shop", "a", &json!({"r.yaml": of("a", "four")})));
    stage.serves(&[("a", Some("4"))]).await;

    // One breaks, and keeps its rules.
    cluster.apply(config_map("shop", "d", &json!({"r.yaml": BROKEN, "s.yml": of("e", "four")})));
    stage.until_current("configmap shop/d key r.yaml", false).await;
    stage.serves(&[("d", Some("2")), ("e", Some("4")), ("a", Some("4"))]).await;
    let ready = stage.get("/readyz?verbose").await;
    assert!(
        ready.contains("configmap shop/d key r.yaml:2:3: externalRules[0].seriesQuerry"),
        "{ready}"
    );

    // A watch that ends loses nothing, and what happens meanwhile is found afterwards.
    cluster.compact();
    cluster.break_watches();
    cluster.apply(config_map("shop", "f", &json!({"r.yaml": of("f", "one")})));
    stage.serves(&[("f", Some("1")), ("a", Some("4")), ("d", Some("2"))]).await;

    // Deleted, and not selected any more.
    cluster.delete("configmaps", "shop", "d");
    cluster.apply(labelled("shop", "f", "other", &json!({"r.yaml": of("f", "one")})));
    stage.serves(&[("d", None), ("e", None), ("f", None), ("a", Some("4"))]).await;
    stage.until_body("/readyz?verbose", "[+]rules ok").await;
    stage.serves(&nobody).await;
    let lists = cluster.take_lists();
    let mut of_config_maps = lists.iter().filter(|list| list.contains("configmaps"));
    // Each object may be large.
    let is_limited =
        |list: &String| list.split(['?', '&']).any(|parameter| parameter == "limit=20");
    assert!(of_config_maps.all(is_limited), "{lists:?}");
    let watches = cluster.take_watches();
    let of_config_maps = watches.iter().filter(|watch| watch.contains("configmaps"));
    let prefix = "/api/v1/namespaces/shop/configmaps?";
    assert!(
        of_config_maps.clone().all(|watch| {
            watch.starts_with(prefix) && watch.contains("labelSelector=loadline%3Drules")
        }),
        "{watches:?}"
    );
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_has_no_say_about_servers() {
    let text = rules(&[("a", "one")])
        + "backends: [{name: evil, url: 'http://127.0.0.1:1'}]\nresourceRules: {cpu: {nodeQuery: x}}\n";
    let cluster =
        Kubernetes::holding(vec![config_map("shop", "a", &json!({"r.yaml": text}))], 100).await;
    let stage = Stage::of_cluster(&[], &cluster).await;
    stage.serves(&[("a", Some("1"))]).await;
    stage.until_body("/metrics", "loadline_rules_left_out 2\n").await;
    assert_eq!(stage.app.get("/apis/metrics.k8s.io/v1beta1/nodes").await.status, 404);
    assert!(!stage.get("/metrics").await.contains("evil"));
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_config_maps_are_known_the_server_is_not_ready_and_serves_its_files() {
    let of = |metric: &str, series: &str| rules(&[(metric, series)]);
    let stored = vec![config_map("shop", "a", &json!({"r.yaml": of("a", "one")}))];
    let cluster = Kubernetes::holding(stored, 100).await;
    cluster.refuse("list", "shop/configmaps", Some(503));
    let stage = Stage::of_cluster(&[("file.yaml", &of("file", "four"))], &cluster).await;
    stage.serves(&[("file", Some("4"))]).await;
    let ready = stage.get("/readyz?verbose").await;
    assert!(ready.contains("[-]config-maps failed"), "{ready}");
    cluster.refuse("list", "shop/configmaps", None);
    stage.until_body("/readyz?verbose", "[+]config-maps ok").await;
    assert_eq!(stage.value("a").await.as_deref(), Some("1"), "ready means that they are served");

    // Known rules stay while nobody may watch.
    for verb in ["list", "watch"] {
        cluster.refuse(verb, "shop/configmaps", Some(403));
    }
    cluster.compact();
    cluster.break_watches();
    stage.until_body("/readyz?verbose", "configmaps of namespace shop: they are not watched").await;
    stage.serves(&[("a", Some("1")), ("file", Some("4"))]).await;
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn config_maps_that_may_not_be_read_keep_nobody_from_being_ready() {
    let cluster = Kubernetes::holding(Vec::new(), 100).await;
    cluster.refuse("list", "shop/configmaps", Some(403));
    let files = [("file.yaml", &*rules(&[("file", "four")]))];
    let stage = Stage::of_cluster(&files, &cluster).await;
    stage.until_body("/readyz?verbose", "[+]config-maps ok").await;
    let ready = stage.get("/readyz?verbose").await;
    assert!(ready.contains("not allowed to list"), "{ready}");
    assert!(ready.contains("readyz check passed"), "{ready}");
    stage.serves(&[("file", Some("4"))]).await;
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_selector_no_config_map_is_read() {
    let stored = vec![config_map("shop", "a", &json!({"r.yaml": rules(&[("a", "one")])}))];
    let cluster = Kubernetes::holding(stored, 100).await;
    let prometheus = store().await;
    let app = Launch::new(&rules(&[("file", "four")]), &prometheus.1.url).cluster(&cluster);
    let app = app.start().await;
    assert_eq!(app.get(&external("namespaces/shop/file")).await.status, 200);
    assert_eq!(app.get(&external("namespaces/shop/a")).await.status, 404);
    let asked = [cluster.take_lists(), cluster.take_watches()].concat();
    assert!(!asked.iter().any(|asked| asked.contains("configmaps")), "{asked:?}");
    assert!(!app.get("/readyz?verbose").await.body.contains("config-maps"));
    app.stop().await;
}

/// Starts a server of a folder with these files.
fn serve(files: &[(&str, &str)], more: &[&str]) -> (TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let config = format!("--config={}", folder.path().display());
    let arguments = [
        "serve",
        "--standalone",
        "--secure-port=0",
        "--prometheus-url=http://127.0.0.1:1",
        &config,
    ];
    (folder, Process::loadline(&[&arguments[..], more].concat()))
}

#[tokio::test]
async fn one_of_several_broken_files_does_not_end_the_start() {
    let good = rules(&[("a", "one")]);
    let (_folder, server) = serve(&[("a.yaml", &good), ("b.yaml", BROKEN)], &[]);
    until("it serves", async || server.stderr().contains("serving").then_some(())).await;
    let log = server.stderr();
    assert!(log.contains("b.yaml:2:3: externalRules[0].seriesQuerry"), "{log}");
    assert!(log.contains("the file is left out"), "{log}");
    for (files, more) in [
        (&[("a.yaml", BROKEN), ("b.yaml", BROKEN)][..], &[][..]),
        (&[("a.yaml", &good), ("b.yaml", BROKEN)], &["--strict"]),
    ] {
        let (_folder, server) = serve(files, more);
        let ended = server.end().await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("b.yaml:2:3: externalRules[0].seriesQuerry"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn flags_that_cannot_be_meant_are_refused() {
    for (flags, said) in [
        (&["--config-namespaces=a", "--config=x"][..], "needs --config-selector"),
        (&["--config-selector=a=b", "--standalone"], "exclude each other"),
        (&["--config-selector=", "--config=x"], "every ConfigMap"),
        (&["--config-selector=a", "--config-namespaces=A"], "is no namespace"),
        (&[], "--config is required"),
    ] {
        let output = loadline(&[&["serve"], flags].concat()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(said), "{flags:?}: {stderr}");
    }
}

#[test]
fn check_and_explain_take_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", &rules(&[("x", "one")]));
    write("b.yaml", BROKEN);
    write("c.yaml", &rules(&[("x", "two")]));
    let path = folder.path().to_str().unwrap();
    let output = loadline(&["check", "-c", path, "-o", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.as_array().unwrap();
    let has = |file: &str, code: &str| {
        let file = format!("{path}/{file}");
        found.iter().any(|it| it["file"] == file.as_str() && it["code"] == code)
    };
    assert!(has("b.yaml", "invalid-file"), "{found:?}");
    assert!(has("a.yaml", "metric-claimed-twice"), "{found:?}");
    let says =
        found.iter().any(|it| it["message"].as_str().unwrap().contains("of c.yaml also serves"));
    assert!(says, "{found:?}");

    let arguments = ["explain", "-c", path, "--prometheus-url=http://127.0.0.1:1", "external", "y"];
    let output = loadline(&arguments).output().unwrap();
    let said =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("external y"), "{said}");

    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    let explain = ["explain", "-c", path, "--prometheus-url=http://127.0.0.1:1", "external", "y"];
    for command in [&["check", "-c", path][..], &explain] {
        let output = loadline(command).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("has no *.yaml"));
    }
}
