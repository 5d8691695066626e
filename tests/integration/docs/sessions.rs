//! The commands of pages, each page in one shell, against a real Prometheus with the series of the page.

use jiff::Timestamp;

use super::{page, session::Session};
use crate::support::{control_plane::free_port, store::Store};

/// Samples of the pods and queues in the namespace `ide`, every 15 s from half an hour ago on and for longer than a test takes.
fn samples(queue_depth: f64) -> String {
    let series = [
        (
            r#"lsp_requests_total{instance="10.1.0.7:8080",job="lsp-server",namespace="ide",pod="lsp-server-0"}"#,
            100_000.0,
            40.0,
        ),
        (
            r#"lsp_requests_total{instance="10.1.0.8:8080",job="lsp-server",namespace="ide",pod="lsp-server-1"}"#,
            100_000.0,
            65.0,
        ),
        (
            r#"lsp_sessions{kubernetes_namespace="ide",kubernetes_pod_name="lsp-server-0"}"#,
            12.0,
            0.0,
        ),
        (
            r#"http_server_request_duration_seconds_count{k8s_namespace_name="ide",k8s_pod_name="lsp-server-0"}"#,
            100_000.0,
            40.0,
        ),
        (r#"queue_depth{namespace="ide",queue="jobs"}"#, queue_depth, 0.0),
        (r#"queue_depth{namespace="ide",queue="mail"}"#, 7.0, 0.0),
    ];
    let begin = Timestamp::now().as_second() - 1800;
    let mut text = String::new();
    for (name, value, per_second) in series {
        for second in (0..2 * 3600).step_by(15) {
            let value = value + per_second * f64::from(second);
            text += &format!("{name} {value} {}\n", begin + i64::from(second));
        }
    }
    text + "# EOF\n"
}

fn port(store: &Store) -> u16 {
    store.url.rsplit_once(':').expect("a port").1.parse().expect("a port")
}

/// Runs a page beside a Prometheus with the samples.
async fn run(path: &str) {
    let store = Store::stored(&samples(120.0)).await;
    Session::start(vec![("9090", port(&store))]).run(&page(path)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn the_readme() {
    run("README.md").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn checking() {
    run("docs/check.md").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn the_first_rule() {
    run("docs/first-rule.md").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn explaining() {
    run("docs/explain.md").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn debugging() {
    run("docs/debugging.md").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn from_keda() {
    run("docs/from-keda.md").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn from_prometheus_adapter() {
    run("docs/from-prometheus-adapter.md").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn installing() {
    Session::start(Vec::new()).run(&page("docs/install.md")).await;
}

/// The page starts and stops a Prometheus of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn an_outage() {
    Session::start(vec![("9090", free_port())]).run(&page("docs/outage.md")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn several_prometheus() {
    let (one, other) = (Store::stored(&samples(120.0)).await, Store::stored(&samples(30.0)).await);
    let ports = vec![("9090", port(&one)), ("9091", port(&other))];
    Session::start(ports).run(&page("docs/several-prometheus.md")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-docs runs it"]
async fn rules_by_teams() {
    Session::start(Vec::new()).run(&page("docs/team-rules.md")).await;
}
