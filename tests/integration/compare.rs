//! `loadline compare`: two servers side by side, over the ways in which it reaches them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use axum::{
    Router,
    http::{StatusCode, Uri},
    response::IntoResponse as _,
    routing::get,
};
use loadline::kubeconfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{
    app::{App, Launch},
    cluster::Kubernetes,
    exporter::{Exporter, Page},
    process::{Process, loadline},
    serve,
    store::Store,
    until,
};

/// The rules of the one that is replaced.
const BEFORE: &str = "
rules:
- seriesQuery: '{__name__=~\"same|other|gone\"}'
  resources: &both {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: fewer
  resources: *both
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- {seriesQuery: queue, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)', resources: {namespaced: false}}
";

/// Another factor, one metric less and one more, fewer objects, other labels.
const AFTER: &str = "
rules:
- seriesQuery: '{__name__=~\"same|new\"}'
  resources: &both {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: other
  resources: *both
  metricsQuery: '2 * sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: fewer
  resources: *both
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>} > 1) by (<<.GroupBy>>)'
externalRules:
- {seriesQuery: queue, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})', resources: {namespaced: false}}
";

fn page() -> Page {
    let mut page = Page::new().series("queue", r#"queue="a""#, "7");
    for name in ["same", "other", "gone", "new"] {
        for pod in ["web-0", "web-1"] {
            page = page.series(name, &format!("namespace=\"ide\",pod=\"{pod}\""), "5");
        }
    }
    page.series("fewer", r#"namespace="ide",pod="web-0""#, "1").series(
        "fewer",
        r#"namespace="ide",pod="web-1""#,
        "2",
    )
}

/// A folder with kubeconfigs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The name of a server that has a kubeconfig here.
    fn of(&self, name: &str, app: &App) -> String {
        let text = kubeconfig::render(&app.url(""), &app.authority_pem, &app.token);
        fs::write(self.path(name), text).unwrap();
        format!("kubeconfig:{}", self.path(name).display())
    }
}

async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Compares, and gives back the comparison and the exit code.
async fn compared(arguments: &[&str]) -> (Value, Option<i32>) {
    let mut command = loadline(&["compare", "-o=json", "--concurrency=16"]);
    command.args(arguments);
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "", "{arguments:?}");
    let comparison = serde_json::from_slice(&output.stdout);
    (comparison.unwrap_or_else(|error| panic!("{arguments:?}: {error}")), output.status.code())
}

/// Compares, which must not be possible, and gives back why.
async fn refused(mut command: Command) -> String {
    command.env_remove("KUBECONFIG").env("HOME", "/nowhere");
    let output = run(command).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// Metric, aspect, both sides, reason and cause of each difference.
fn differences(comparison: &Value) -> Vec<String> {
    let all = comparison["differences"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
    let of = |it: &Value| {
        ["metric", "aspect", "reference", "with", "reason", "cause"]
            .map(|key| text(&it[key]))
            .join(" | ")
    };
    all.map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_with_other_rules_differ_in_what_the_rules_say() {
    let exporter = Exporter::start(page()).await;
    let prometheus = Store::prometheus(&exporter).await;
    let before = Launch::new(BEFORE, &prometheus.url).start().await;
    let after = Launch::new(AFTER, &prometheus.url).start().await;
    let folder = Folder::new();
    let (reference, with) = (folder.of("before", &before), folder.of("after", &after));

    let sides = ["--reference", &reference, "--with", &with, "-n=ide"];
    let (comparison, code) = compared(&sides).await;
    assert_eq!(code, Some(1), "{comparison:#}");
    assert_eq!(comparison["verdict"], "different");
    let wanted = [
        "namespaces/fewer | value | 3 | 2 | - | -",
        "namespaces/gone | listed | listed, 1 value | - | - | unknown-metric",
        "namespaces/new | listed | - | listed | discovery | -",
        "namespaces/other | value | 10 | 20 | - | -",
        "pods/fewer | object | 1 | - | - | filtered",
        "pods/gone | listed | listed, 2 values | - | - | unknown-metric",
        "pods/new | listed | - | listed | discovery | -",
        "pods/other | value | 5 | 10 | - | -",
        "queue | object | - | 7 | - | -",
        "queue | object | 7 | - | - | -",
    ];
    assert_eq!(differences(&comparison), wanted, "{comparison:#}");
    let other = &comparison["differences"][7];
    assert_eq!((&other["namespace"], &other["object"]), (&json!("ide"), &json!("web-0")));
    // Each of two pods in a list and by name.
    assert_eq!(other["count"], 4);

    let (same, code) = compared(&[&sides[..], &["same"]].concat()).await;
    assert_eq!((&same["verdict"], code), (&json!("same"), Some(0)), "{same:#}");
    // One namespace and two pods, each in a list and by name.
    let counts = json!({"metrics": 2, "reads": 5, "values": 6, "moved": 0});
    assert_eq!(same["compared"], counts);
    let (explained, code) = compared(&[&sides[..], &["pods/new", "same"]].concat()).await;
    assert_eq!((&explained["verdict"], code), (&json!("explained"), Some(0)), "{explained:#}");

    let mut command = loadline(&["compare", "unknown"]);
    command.args(sides);
    let said = refused(command).await;
    assert!(said.contains("lists no metric named unknown"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_terminal_is_shown_how_far_it_is() {
    let exporter = Exporter::start(page()).await;
    let prometheus = Store::prometheus(&exporter).await;
    let app = Launch::new(BEFORE, &prometheus.url).start().await;
    let folder = Folder::new();
    let side = folder.of("app", &app);
    let arguments = ["compare", "--reference", &side, "--with", &side, "-n=ide", "pods/same"];
    let plain = run(loadline(&arguments)).await;
    assert_eq!(String::from_utf8_lossy(&plain.stderr), "");
    let table = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(table, "metrics: 1, reads: 3, values: 4\nsame: nothing differs\n");

    let mut command = Command::new("python3");
    command.args(["-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"]);
    command.arg(env!("CARGO_BIN_EXE_loadline")).args(arguments).env("TERM", "xterm");
    let shown = run(command).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    let lines = [
        "[------------------------] 0 of 1 metrics",
        "[########################] 1 of 1 metrics pods/same",
        &table.replace('\n', "\r\n"),
    ];
    let shown: Vec<_> = shown.split("\r\u{1b}[K").filter(|line| !line.is_empty()).collect();
    assert_eq!(shown, lines);
}

/// What prometheus-adapter answers where it differs: for each path a status and a body.
const ADAPTER: &[(&str, u16, &str)] = &[
    (
        "/apis/custom.metrics.k8s.io",
        200,
        r#"{"kind":"APIGroup","versions":[{"version":"v1beta1"}]}"#,
    ),
    (
        "/apis/custom.metrics.k8s.io/v1beta1",
        200,
        r#"{"resources":[{"name":"pods/finite","namespaced":true},{"name":"pods/rate","namespaced":true},{"name":"pods/ended","namespaced":true},{"name":"pods/broken","namespaced":true},{"name":"pods/lost","namespaced":true},{"name":"pods/wide","namespaced":true}]}"#,
    ),
    (
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ide/pods/*/finite",
        200,
        r#"{"items":[{"describedObject":{"name":"web-0"},"value":"-9223372036854775808m","timestamp":"TIME"},{"describedObject":{"name":"web-1"},"value":"1","timestamp":"TIME"}]}"#,
    ),
    (
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ide/pods/*/rate",
        200,
        r#"{"items":[{"describedObject":{"name":"web-0"},"value":"0","timestamp":"TIME"}]}"#,
    ),
    (
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ide/pods/*/wide",
        200,
        r#"{"items":[{"describedObject":{"name":"web-0"},"value":"7","timestamp":"TIME"}]}"#,
    ),
    (
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ide/pods/*/ended",
        404,
        r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#,
    ),
    (
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ide/pods/*/broken",
        500,
        r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500}"#,
    ),
    (
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ide/pods/*/lost",
        200,
        r#"{"items":[{"describedObject":{"name":"web-0"},"value":"1","timestamp":"TIME"}]}"#,
    ),
];

async fn adapter() -> (String, AbortOnDropHandle<()>) {
    let answer = async |uri: Uri| {
        let found = ADAPTER.iter().find(|(path, ..)| *path == uri.path());
        let now = jiff::Timestamp::now().to_string();
        match found {
            Some((_, status, body)) => {
                (StatusCode::from_u16(*status).unwrap(), body.replace("TIME", &now)).into_response()
            }
            // So it answers where it does not serve a group.
            None => (StatusCode::NOT_FOUND, r#"{"paths":["/apis"]}"#).into_response(),
        }
    };
    serve(Router::new().fallback(get(answer))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_documented_is_told_apart_from_what_is_not() {
    let labels = |pod: &str| format!("namespace=\"ide\",pod=\"{pod}\"");
    let page = Page::new()
        .series("finite", &labels("web-0"), "+Inf")
        .series("finite", &labels("web-1"), "1")
        .series("rate_total", &labels("web-0"), "5")
        .series("wide", "namespace=\"other\",pod=\"web-0\"", "7");
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    prometheus.until("count_over_time(rate_total{*}[1m]) > 1").await;
    let rules = "
rules:
- seriesQuery: finite
  resources: &both {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: wide
  resources: *both
  metricsQuery: 'sum(<<.Series>>) by (namespace, pod)'
- seriesQuery: rate_total
  resources: *both
  name: {as: rate}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
";
    let app = Launch::new(rules, &prometheus.url).start().await;
    let (url, _adapter) = adapter().await;
    let folder = Folder::new();
    let text = kubeconfig::render(&url, "", "token");
    let text =
        text.replace("\"certificate-authority-data\": \"\"", "\"insecure-skip-tls-verify\": true");
    fs::write(folder.path("adapter"), text).unwrap();
    let reference = format!("kubeconfig:{}", folder.path("adapter").display());
    let with = folder.of("app", &app);
    let sides = ["--reference", &reference, "--with", &with, "-n=ide", "--objects=0"];
    let (comparison, code) = compared(&sides).await;
    let wanted = [
        "namespaces/finite | listed | - | listed | discovery | -",
        "namespaces/rate | listed | - | listed | discovery | -",
        "namespaces/wide | listed | - | listed | discovery | -",
        "pods/broken | listed | listed, 500 InternalError | - | unreadable | -",
        "pods/ended | listed | listed | - | discovery | -",
        "pods/finite | object | -9223372036854775808m | - | not-finite | -",
        "pods/lost | listed | listed, 1 value | - | - | unknown-metric",
        "pods/rate | window | - | 60 s | window | -",
        "pods/wide | object | 7 | - | other-namespace | wrong-namespace",
    ];
    assert_eq!(differences(&comparison), wanted, "{comparison:#}");
    assert_eq!(code, Some(1));
    let (comparison, code) = compared(&[&sides[..], &["finite", "rate", "ended"]].concat()).await;
    assert_eq!((&comparison["verdict"], code), (&json!("explained"), Some(0)));
    assert_eq!(comparison["notes"], json!([]));
}

/// A server in a cluster, where everybody may read but `stranger`.
async fn in_a_cluster(prometheus: &str) -> (Kubernetes, App) {
    let cluster = Kubernetes::start(
        &[
            ("namespaces", "", "ide", &[]),
            ("pods", "ide", "web-0", &[]),
            ("pods", "ide", "web-1", &[]),
        ],
        500,
    )
    .await;
    let delegation = cluster.delegation();
    delegation.configure(&[]);
    delegation.token("cluster-token", json!({"username": "cli"}));
    delegation.token("stranger", json!({"username": "stranger"}));
    delegation.access(|spec| {
        let is_document = spec["resourceAttributes"].is_null();
        json!({"allowed": is_document || spec["user"] == "cli"})
    });
    let mut launch = Launch::new(BEFORE, prometheus).cluster(&cluster);
    launch.guarded = true;
    let app = launch.start().await;
    until("the server is ready", async || (app.get("/readyz").await.status == 200).then_some(()))
        .await;
    for group in ["custom.metrics.k8s.io", "external.metrics.k8s.io"] {
        cluster.register(&format!("v1beta1.{group}"), "monitoring", "loadline");
        cluster.aggregate(group, app.client.clone(), app.url(""));
    }
    (cluster, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_is_compared_with_a_url_as_the_same_user() {
    let exporter = Exporter::start(page()).await;
    let prometheus = Store::prometheus(&exporter).await;
    let (cluster, app) = in_a_cluster(&prometheus.url).await;
    let folder = Folder::new();
    fs::write(folder.path("ca.pem"), &app.authority_pem).unwrap();
    fs::write(folder.path("token"), "stranger").unwrap();
    let kubeconfig = cluster.kubeconfig.display().to_string();
    let authority = folder.path("ca.pem").display().to_string();
    let url = app.url("");
    let arguments = ["--with", &url, "--kubeconfig", &kubeconfig];
    let trusting = [&arguments[..], &["--certificate-authority", &authority]].concat();
    let (comparison, code) = compared(&trusting).await;
    assert_eq!((&comparison["verdict"], code), (&json!("same"), Some(0)), "{comparison:#}");
    assert_eq!(comparison["reference"], "registered");
    assert!(comparison["compared"]["values"].as_u64().unwrap() > 10, "{comparison:#}");
    let (comparison, _) =
        compared(&[&arguments[..], &["--insecure-skip-tls-verify"]].concat()).await;
    assert_eq!(comparison["verdict"], "same");

    let token = folder.path("token").display().to_string();
    for (more, wanted) in [
        (&arguments[..], "certificate"),
        (&[&trusting[..], &["--token-file", &token]].concat(), "cannot get resource"),
        (&[&trusting[..], &["--token-file", "/nowhere"]].concat(), "/nowhere"),
        (&[&trusting[..], &["--context", "none"]].concat(), "none"),
    ] {
        let mut command = loadline(&["compare"]);
        command.args(more);
        let said = refused(command).await;
        assert!(said.contains(wanted), "{more:?}: {said}");
        assert!(!said.contains("cluster-token"), "{said}");
    }
}

/// A `kubectl` that writes its arguments down and says what the text says.
fn kubectl(folder: &Path, says: &str) {
    let script = format!("#!/bin/sh\necho \"$@\" > {}/arguments\n{says}\n", folder.display());
    let path = folder.join("kubectl");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_reached_by_kubectl_which_ends_with_the_comparison() {
    let exporter = Exporter::start(page()).await;
    let prometheus = Store::prometheus(&exporter).await;
    let (cluster, app) = in_a_cluster(&prometheus.url).await;
    let folder = Folder::new();
    let path = format!("{}:{}", folder.0.path().display(), std::env::var("PATH").unwrap());
    let kubeconfig = cluster.kubeconfig.display().to_string();
    let command = |more: &[&str]| {
        let mut command =
            loadline(&["compare", "--with", "service/monitoring/loadline", "-o=json"]);
        command.args(["--kubeconfig", &kubeconfig]).args(more).env("PATH", &path);
        command
    };
    // Nobody would wait for it if it were not ended.
    let line = format!("Forwarding from 127.0.0.1:{} -> 6443", app.address.port());
    let pid = folder.path("pid").display().to_string();
    kubectl(folder.0.path(), &format!("echo $$ > {pid}\necho '{line}'\nexec sleep 1000"));
    let output = run(command(&[])).await;
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(comparison["verdict"], "same", "{comparison:#}");
    assert_eq!(comparison["with"], "service/monitoring/loadline");
    let arguments = fs::read_to_string(folder.path("arguments")).unwrap();
    let wanted = format!(
        "--kubeconfig {kubeconfig} --namespace monitoring port-forward --address=127.0.0.1 service/loadline :443\n"
    );
    assert_eq!(arguments, wanted);
    let ended = fs::read_to_string(pid).unwrap();
    assert!(!Path::new(&format!("/proc/{}", ended.trim())).exists());

    // A signal ends it, too.
    let waits = fs::read_to_string(folder.path("kubectl")).unwrap();
    let pids = folder.path("pid");
    fs::remove_file(&pids).unwrap();
    let stopped = command(&["--objects=1"]);
    let late = waits.replace("echo 'Forwarding", "exec sleep 1000; echo 'Forwarding");
    fs::write(folder.path("kubectl"), late).unwrap();
    let child = Process::start(stopped, "cargo builds it");
    let pid = until("kubectl runs", async || {
        fs::read_to_string(&pids).ok().filter(|text| text.ends_with('\n'))
    })
    .await;
    child.signal("TERM");
    let ended = child.end().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());

    // Its certificate has another name.
    fs::write(folder.path("kubectl"), waits).unwrap();
    fs::write(folder.path("ca.pem"), &app.authority_pem).unwrap();
    let authority = folder.path("ca.pem").display().to_string();
    let said = refused(command(&["--certificate-authority", &authority])).await;
    assert!(said.contains("certificate"), "{said}");

    kubectl(folder.0.path(), "echo 'error: timed out waiting for the condition' >&2; exit 1");
    let said = refused(command(&[])).await;
    assert!(said.contains("kubectl port-forward: error: timed out"), "{said}");
    let mut without = command(&[]);
    without.env("PATH", "/nowhere");
    let said = refused(without).await;
    assert!(said.contains("kubectl, which leads to Services, cannot be started"), "{said}");
}
