//! Backends that hang: who waits for them, and what they are still asked.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    app::{App, Launch, Reply, custom},
    backend::{Answer, Asked, Backend, pods},
    exporter::{Exporter, Page},
    store::Store,
    until,
};

const LATE: &str = "Prometheus did not answer in time";

/// Nobody has to wait for long to see the first query fail.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Two rules; queries of the second one may take as long as they like.
const RULES: &str = r"
rules:
- {seriesQuery: m, resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)', timeout: 1s}
- {seriesQuery: patient, resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)', timeout: 10m}
";

fn path(metric: &str, pod: usize) -> String {
    custom(&format!("namespaces/n/pods/p{pod}/{metric}"))
}

fn answering() -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    |asked| {
        if asked.is_query() {
            let query = asked.parameter("query");
            let name = query.split("pod=\"").nth(1).and_then(|rest| rest.split('"').next());
            return Answer::Data(pods(&[(name.unwrap_or_default(), "1")]));
        }
        let selector = asked.parameter("match[]");
        let names = ["m", "patient"].into_iter().filter(|name| selector.starts_with(name));
        Answer::Data(json!(names.collect::<Vec<_>>()))
    }
}

/// Whether it is the query of a read.
fn is_sent(asked: &Asked) -> bool {
    asked.is_query() && !asked.is_probe()
}

async fn launch(backend: &Backend) -> App {
    let mut launch = Launch::new(RULES, &backend.url);
    // Half of them for one namespace.
    launch.prometheus.concurrency = 8;
    launch.start().await
}

/// The reply of a read that is not answered in time, or not sent at all.
#[track_caller]
fn assert_late(reply: &Reply) {
    assert_eq!(reply.status, 500);
    assert!(reply.failure().ends_with(LATE), "{reply:?}");
}

async fn down_since(app: &App) -> u64 {
    let metrics = app.get("/metrics").await.body;
    let line = "loadline_prometheus_down_since_timestamp_seconds{backend=\"--prometheus-url\"} ";
    let found = metrics.lines().find_map(|found| found.strip_prefix(line));
    found.expect("the metric").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_reaches_a_backend_that_hangs_but_one_probe_at_a_time() {
    let backend = Backend::start(answering()).await;
    let app = launch(&backend).await;
    app.get(&path("m", 0)).await.values();
    backend.play(|_| Answer::Hang);
    assert_late(&app.get(&path("m", 0)).await);

    backend.take();
    // These would wait for ten minutes, each of them.
    let reads: Vec<_> = (0..50).map(|pod| path("patient", pod)).collect();
    for reply in join_all(reads.iter().map(|path| app.get(path))).await {
        assert_late(&reply);
    }
    // Discovery is not sent, either: of the metric that nobody knows only that it cannot be looked for is known.
    assert_eq!(app.get(&path("unknown", 0)).await.status, 404);
    let asked = backend.take();
    assert!(asked.iter().all(Asked::is_probe), "{asked:?}");

    let health = app.get("/readyz?verbose").await;
    assert_eq!(health.status, 200);
    assert!(health.body.contains("--prometheus-url: no answer since 2"), "{}", health.body);
    assert!(down_since(&app).await > 0);

    // What was asked meanwhile is never answered; what is asked now is.
    backend.play(answering());
    until("reads are answered again", async || {
        (app.get(&path("patient", 1)).await.status == 200).then_some(())
    })
    .await;
    for reply in join_all(reads.iter().map(|path| app.get(path))).await {
        assert_eq!(reply.values().len(), 1);
    }
    assert_eq!(down_since(&app).await, 0);
    assert!(!app.get("/readyz?verbose").await.body.contains("no answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_too_slow_is_its_own_fault() {
    let backend = Backend::start(answering()).await;
    let app = launch(&backend).await;
    let answer = answering();
    backend.play(move |asked| {
        if asked.parameter("query").contains("p13") { Answer::Hang } else { answer(asked) }
    });
    for _ in 0..2 {
        assert_late(&app.get(&path("m", 13)).await);
        // Nobody else has been answered meanwhile.
        let others: Vec<_> = (0..10).map(|pod| path("patient", pod)).collect();
        for reply in join_all(others.iter().map(|path| app.get(path))).await {
            assert_eq!(reply.values().len(), 1);
        }
    }
    assert_eq!(backend.count(Asked::is_probe), 2, "one for each");
    assert_eq!(down_since(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_turn_behind_queries_that_hang_is_not_sent() {
    let backend = Backend::start(answering()).await;
    let app = Arc::new(launch(&backend).await);
    backend.play(|_| Answer::Hang);
    backend.take();
    let mut reads = JoinSet::new();
    for (metric, pods) in [("m", 4), ("patient", 20)] {
        for pod in 0..pods {
            let app = Arc::clone(&app);
            reads.spawn(async move { app.get(&path(metric, pod)).await });
        }
        // All turns are taken.
        until("the first queries", async || (backend.count(is_sent) == 4).then_some(())).await;
    }
    for reply in reads.join_all().await {
        assert_late(&reply);
    }
    assert_eq!(backend.count(is_sent), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_already_is_told_too() {
    let backend = Backend::start(answering()).await;
    let app = launch(&backend).await;
    backend.play(|_| Answer::Hang);
    // The first one would wait for ten minutes.
    let (first, second) = (path("patient", 1), path("m", 1));
    let second = async {
        until("the first query", async || (backend.count(is_sent) == 1).then_some(())).await;
        app.get(&second).await
    };
    let (first, second) = futures::join!(app.get(&first), second);
    assert_late(&first);
    assert_late(&second);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_is_served_while_a_backend_hangs() {
    let backend = Backend::start(answering()).await;
    let mut launch = Launch::new(RULES, &backend.url);
    launch.planning.life.ttl = Duration::from_millis(1);
    launch.planning.life.max_stale = Duration::from_secs(600);
    let app = launch.start().await;
    let before = app.get(&path("m", 1)).await.values();
    backend.play(|_| Answer::Hang);
    until("the backend is silent", async || {
        assert_eq!(app.get(&path("m", 1)).await.values(), before);
        app.get("/readyz?verbose").await.body.contains("no answer since").then_some(())
    })
    .await;
    backend.take();
    for _ in 0..20 {
        assert_eq!(app.get(&path("m", 1)).await.values(), before);
    }
    assert!(backend.take().iter().all(Asked::is_probe));
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_does_not_add_to_what_hangs() {
    let backend = Backend::start(|_| Answer::Hang).await;
    let mut launch = Launch::new(RULES, &backend.url);
    launch.prometheus.discovery_timeout = TIMEOUT;
    launch.relist_interval = Duration::from_millis(50);
    let app = launch.start().await;
    until("the backend is silent", async || {
        app.get("/readyz?verbose").await.body.contains("no answer since").then_some(())
    })
    .await;
    let tried = async || {
        let metrics = app.get("/metrics").await.body;
        let refused = metrics.lines().find_map(|line| {
            let (labels, count) = line.rsplit_once(' ')?;
            let is_it = labels.starts_with("loadline_prometheus_requests_total{")
                && labels.contains("/values")
                && labels.contains("silent");
            is_it.then(|| count.parse::<u32>().ok())?
        });
        refused.filter(|count| *count >= 3)
    };
    backend.take();
    until("discovery has been tried again and again", tried).await;
    let asked = backend.take();
    assert!(asked.iter().all(Asked::is_probe), "{asked:?}");
    let failure = app.get(&path("m", 1)).await.failure();
    assert!(failure.contains("not discovered yet") && failure.ends_with(LATE), "{failure}");

    backend.play(answering());
    until("it is discovered", async || (app.get(&path("m", 1)).await.status == 200).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_says_that_prometheus_hangs_is_believed() {
    for (status, body) in [
        (504, "upstream request timeout".to_owned()),
        (503, json!({"status": "error", "errorType": "timeout", "error": "x"}).to_string()),
    ] {
        let backend = Backend::start(answering()).await;
        let app = launch(&backend).await;
        backend.play(move |_| Answer::Raw(status, "text/plain", body.clone()));
        let failure = app.get(&path("m", 1)).await.failure();
        assert!(failure.ends_with(&format!("{LATE} (HTTP status {status})")), "{failure}");
        backend.take();
        assert_eq!(app.get(&path("m", 1)).await.failure(), failure, "the last cause");
        assert!(backend.take().iter().all(Asked::is_probe));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_is_suspended_and_goes_on() {
    let labels = "ns=\"n\",pod=\"p1\"";
    let page = Page::new().series("m", labels, "1").series("patient", labels, "1");
    let exporter = Exporter::start(page).await;
    let store = Store::prometheus(&exporter).await;
    let app = Launch::new(RULES, &store.url).start().await;
    app.get(&path("m", 1)).await.values();

    store.suspend().await;
    assert_late(&app.get(&path("m", 1)).await);
    let sent = app.prometheus.traffic().queries();
    let reads: Vec<_> = (0..20).map(|_| path("patient", 1)).collect();
    for reply in join_all(reads.iter().map(|path| app.get(path))).await {
        assert_late(&reply);
    }
    // A probe every second, and no read.
    assert!(app.prometheus.traffic().queries() - sent < 20);
    store.signal("CONT");
    until("reads are answered again", async || {
        (app.get(&path("patient", 1)).await.status == 200).then_some(())
    })
    .await;
    app.get(&path("m", 1)).await.values();
}
