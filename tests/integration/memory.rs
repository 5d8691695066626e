//! Answers of Prometheus that are as large as somebody likes, many at a time, and as many pods.

use std::fs;

use futures::future::join_all;
use loadline::core::budgets::MemoryBudgets;
use serde_json::json;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows},
    cluster::{Kubernetes, Stored},
    install_tls_provider,
    process::{Process, loadline},
    until,
};

const RULE: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n  metricsQuery: max_over_time(<<.Series>>{<<.LabelMatchers>>}[2m])\n";

const KIB: usize = 1 << 10;

/// A vector of about so many bytes, with one sample of the pod `p`.
fn vector(bytes: usize) -> String {
    let mut body = r#"{"status":"success","data":{"resultType":"vector","result":["#.to_owned();
    while body.len() < bytes {
        let n = body.len();
        body += &format!(r#"{{"metric":{{"pod":"other-{n}","ns":"n"}},"value":[1,"1"]}},"#);
    }
    body + r#"{"metric":{"pod":"p","ns":"n"},"value":[1,"7"]}]}}"#
}

/// Answers as large as the query says, in KiB.
fn sized(asked: &Asked) -> Answer {
    let query = asked.parameter("query");
    let size = query.split_once("size=\"").and_then(|(_, rest)| rest.split('"').next());
    let size: usize = size.and_then(|size| size.parse().ok()).unwrap_or(1);
    Answer::Raw(200, "application/json", vector(size << 10))
}

/// A server whose answers under way may take 1 MiB, and each of them 256 KiB.
fn narrow(backend: &Backend) -> Launch {
    let mut launch = Launch::new(RULE, &backend.url);
    launch.memory = MemoryBudgets {
        answers: 1_024 * KIB,
        largest_answer: 256 * KIB,
        ..MemoryBudgets::default()
    };
    launch
}

/// Reads by a query of its own.
async fn read(app: &App, n: usize, size: usize) -> Result<(), String> {
    let selector = format!("metricLabelSelector=n%3D{n},size%3D{size}");
    let reply = app.get(&custom(&format!("namespaces/n/pods/p/m?{selector}"))).await;
    if reply.status == 200 {
        assert_eq!(reply.values(), [("p".to_owned(), "7".to_owned())]);
        return Ok(());
    }
    Err(reply.failure())
}

/// A number of `/metrics`.
async fn metric(app: &App, name: &str) -> usize {
    let text = app.get("/metrics").await.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in\n{text}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_under_way_take_no_more_than_they_may_and_all_come() {
    let backend = Backend::start(knows(&["m"], sized)).await;
    let app = narrow(&backend).start().await;
    let sizes = (0..48).map(|n| (n, if n % 2 == 0 { 250 } else { 2 }));
    for result in join_all(sizes.map(|(n, size)| read(&app, n, size))).await {
        assert_eq!(result, Ok(()));
    }
    let peak = metric(&app, "loadline_prometheus_answers_peak_bytes").await;
    assert_eq!(metric(&app, "loadline_prometheus_answers_limit_bytes").await, 1_024 * KIB);
    assert!((512 * KIB..=1_024 * KIB).contains(&peak), "{peak}");
    assert_eq!(metric(&app, "loadline_prometheus_answers_bytes").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_is_an_error_of_its_rule_and_of_no_other() {
    let backend = Backend::start(knows(&["m"], sized)).await;
    let app = narrow(&backend).start().await;
    let (huge, large, small) = tokio::join!(
        join_all((0..8).map(|n| read(&app, n, 1_000))),
        read(&app, 8, 250),
        read(&app, 9, 1),
    );
    for failure in huge {
        let wanted = "Internal error occurred: unable to fetch metrics: rules[0]: the answer of Prometheus is too large: more than 262144 bytes (--max-answer-bytes)";
        assert_eq!(failure.unwrap_err(), wanted);
    }
    assert_eq!((large, small), (Ok(()), Ok(())));
    let counted = r#"loadline_prometheus_requests_total{backend="--prometheus-url",path="/api/v1/query",outcome="too_large"}"#;
    assert_eq!(metric(&app, counted).await, 8);
    assert_eq!(metric(&app, "loadline_prometheus_answers_bytes").await, 0);
}

/// Large answers are counted until clients have read them, as slowly as they like.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_clients_do_not_read_take_no_more_than_they_may() {
    let backend = Backend::start(knows(&["m"], sized)).await;
    let mut launch = Launch::new(RULE, &backend.url);
    launch.memory = MemoryBudgets { responses: 300 * KIB, ..MemoryBudgets::default() };
    let app = launch.start().await;
    let slow = reqwest::Client::builder()
        .tls_certs_only([app.authority.clone()])
        .http2_initial_stream_window_size(16 << 10)
        .no_gzip()
        .build()
        .expect("a client");
    let large = custom("namespaces/n/pods/*/m?metricLabelSelector=size%3D250");
    let unread = slow.get(app.url(&large)).bearer_auth(&app.token).send().await.expect("a head");
    assert_eq!(unread.status(), 200);

    let other = app.get(&large).await;
    assert_eq!(other.status, 429, "{}", other.body);
    assert_eq!(read(&app, 1, 1).await, Ok(()), "small answers are not counted");

    drop(unread);
    until("the answer is not counted any more", async || {
        (app.get(&large).await.status == 200).then_some(())
    })
    .await;
}

/// The results that are kept are dropped for others, however long they could be used.
#[tokio::test(flavor = "multi_thread")]
async fn results_that_are_kept_take_no_more_than_they_may() {
    let backend = Backend::start(knows(&["m"], sized)).await;
    let mut launch = Launch::new(RULE, &backend.url);
    launch.planning = loadline::planner::Settings::with_ttl(std::time::Duration::from_secs(600));
    launch.memory = MemoryBudgets { results: 1 << 20, ..MemoryBudgets::default() };
    let app = launch.start().await;
    for n in 0..20 {
        read(&app, n, 250).await.expect("a value");
        let kept = metric(&app, "loadline_cache_bytes").await;
        assert!(kept <= 1_024 * KIB, "{kept}");
    }
    assert!(metric(&app, "loadline_cache_bytes").await > 256 * KIB);
}

/// A fifth of the largest cluster is watched, and a large answer is read for each namespace, with half of the memory that the
/// page of sizes says for all of it: the program itself is larger in a build for tests.
#[tokio::test(flavor = "multi_thread")]
async fn many_pods_fit_into_the_memory_limit() {
    const NAMESPACES: usize = 20;
    const PODS: usize = 1_000;
    const LIMIT: usize = 128 * KIB;
    install_tls_provider();
    let name = |pod: usize| format!("lsp-server-5d9c7b8f6d-{pod:05}");
    let pod = |of: usize| {
        let labels = [("app", "web"), ("pod-template-hash", "5d9c7b8f6d")];
        Stored::new("pods", &format!("team-{}", of / PODS), &name(of % PODS), &labels)
    };
    let cluster = Kubernetes::holding((0..NAMESPACES * PODS).map(pod).collect(), 500).await;
    let row = |pod| json!({"metric": {"pod": name(pod)}, "value": [1_790_000_000, "1"]});
    let rows = (0..PODS).map(row).collect::<Vec<_>>();
    let vector = json!({"resultType": "vector", "result": rows});
    let backend = Backend::start(knows(&["m"], move |_| Answer::Data(vector.clone()))).await;
    let rules = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(rules.path(), RULE).expect("a file");
    let mut command = loadline(&[
        "serve",
        "--secure-port=0",
        "--bind-address=127.0.0.1",
        "--authentication-skip-lookup",
        "--authorization-always-allow-paths=*",
        &format!("--config={}", rules.path().display()),
        &format!("--prometheus-url={}", backend.url),
        &format!("--lister-kubeconfig={}", cluster.kubeconfig.display()),
        &format!("--memory-limit={LIMIT}Ki"),
    ]);
    // As the manifests set it.
    command.env("MALLOC_ARENA_MAX", "2").env("MALLOC_MMAP_THRESHOLD_", "131072");
    command.env("MALLOC_TRIM_THRESHOLD_", "131072");
    let mut process = Process::start(command, "cargo builds it");
    let url = format!("https://127.0.0.1:{}", process.port().await);
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    let client = client.build().expect("a client");
    let get = async |path: &str| {
        let response = client.get(format!("{url}{path}")).send().await.ok()?;
        (response.status() == 200).then_some(response.text().await.ok()?)
    };
    for namespace in 0..NAMESPACES {
        let path = custom(&format!("namespaces/team-{namespace}/pods/*/m?labelSelector=app%3Dweb"));
        until("all pods are read", async || {
            let body = get(&path).await?;
            (body.matches("describedObject").count() == PODS).then_some(())
        })
        .await;
    }
    let watched = format!("loadline_watched_objects{{resource=\"pods\"}} {}", NAMESPACES * PODS);
    until("all pods are watched", async || get("/metrics").await?.contains(&watched).then_some(()))
        .await;
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < LIMIT, "{peak} KiB");
}
