//! Backends that fail, hang or talk nonsense, what a client is told of it, and what they are told of us.

use std::{fs, sync::Arc, time::Duration};

use futures::future::join_all;
use loadline::{
    planner,
    prometheus::{Method, Source},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
    until,
};

const RULE: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

/// The same metric as `READ`, by a query that no other read has.
fn read(pod: usize) -> String {
    custom(&format!("namespaces/n/pods/p{pod}/m"))
}

fn text(status: u16, body: &str) -> Answer {
    Answer::Raw(status, "text/html", body.to_owned())
}

fn api_error(status: u16, kind: &str) -> Answer {
    let body =
        json!({"status": "error", "errorType": kind, "error": "SECRET expression at 10.1.2.3"});
    Answer::Raw(status, "application/json", body.to_string())
}

fn is_long(answer: &Answer) -> bool {
    match answer {
        Answer::Raw(_, _, body) => body.len() > 1 << 20,
        answer => matches!(answer, Answer::Endless(_) | Answer::Bomb(_)),
    }
}

fn data(data: &Value) -> Answer {
    Answer::Data(data.clone())
}

/// What a backend answers, and what becomes of it.
fn answers() -> Vec<(Answer, String)> {
    const REFUSED: &str = "Prometheus refused the query";
    const NONSENSE: &str = "the answer is not one of a Prometheus";
    const PAGE: &str = "the answer is not one of a Prometheus (HTML, as of a login page)";
    const LATE: &str = "Prometheus did not answer in time";
    let refused = |status: u16| format!("{REFUSED} (HTTP status {status})");
    let late = |status: u16| format!("{LATE} (HTTP status {status})");
    let status = |status: u16, meaning: &str| {
        format!("Prometheus, or a proxy before it, answered with HTTP status {status} ({meaning})")
    };
    let row = |value: Value| json!({"resultType": "vector", "result": [value]});
    vec![
        (api_error(400, "bad_data"), refused(400)),
        (api_error(422, "execution"), refused(422)),
        (api_error(422, "422"), refused(422)),
        (api_error(200, "internal"), REFUSED.to_owned()),
        (api_error(429, "too_many_requests"), status(429, "it limits how often it is asked")),
        (text(429, "SECRET"), status(429, "it limits how often it is asked")),
        (api_error(403, "forbidden"), status(403, "the credentials do not permit it")),
        (text(403, "<html>"), status(403, "the credentials do not permit it")),
        (text(401, "SECRET realm"), status(401, "the credentials are missing or wrong")),
        (
            text(502, "<html><title>SECRET gateway</title></html>"),
            status(502, "the proxy does not reach it"),
        ),
        (text(500, ""), status(500, "it failed")),
        (api_error(500, "internal"), status(500, "it failed")),
        (
            text(404, "404 page not found"),
            status(
                404,
                "is the path prefix of --prometheus-url, or of the backend's `url`, right?",
            ),
        ),
        (text(503, "{\"message\": \"SECRET\"}"), status(503, "it is unavailable")),
        (text(200, "<html>SECRET login page</html>"), PAGE.to_owned()),
        (text(200, ""), NONSENSE.to_owned()),
        (text(200, "null"), NONSENSE.to_owned()),
        (text(200, "{\"status\":\"success\"}"), NONSENSE.to_owned()),
        (
            text(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{}"),
            NONSENSE.to_owned(),
        ),
        (data(&json!(null)), NONSENSE.to_owned()),
        (data(&json!(["SECRET"])), NONSENSE.to_owned()),
        (data(&row(json!({"metric": {}, "value": ["SECRET", "1"]}))), NONSENSE.to_owned()),
        (data(&row(json!({"metric": {"pod": "p"}, "value": [1, "SECRET"]}))), NONSENSE.to_owned()),
        (
            Answer::Raw(
                200,
                "application/json",
                format!(
                    "{{\"status\":\"success\",\"data\":{}{}}}",
                    "[".repeat(1_000_000),
                    "]".repeat(1_000_000)
                ),
            ),
            NONSENSE.to_owned(),
        ),
        (
            Answer::Raw(
                422,
                "application/json",
                format!(
                    "{{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"{}\"}}",
                    "SECRET".repeat(1_000_000)
                ),
            ),
            refused(422),
        ),
        (
            data(&json!({"resultType": "SECRET\nERROR", "result": []})),
            "the query returned a result of another type, not a vector".to_owned(),
        ),
        (
            data(&json!({"resultType": "string", "result": [1, "SECRET"]})),
            "the query returned a string, not a vector".to_owned(),
        ),
        (
            Answer::Endless(64 << 20),
            "the answer of Prometheus is too large: more than 32 MiB (--max-answer-bytes)"
                .to_owned(),
        ),
        (
            Answer::Bomb(64 << 20),
            "the answer of Prometheus is too large: more than 32 MiB (--max-answer-bytes)"
                .to_owned(),
        ),
        // After these nothing is sent for a while.
        (Answer::Cut(100), "Prometheus cannot be reached (the connection broke)".to_owned()),
        (api_error(503, "timeout"), late(503)),
        (text(504, "SECRET"), late(504)),
        (Answer::Hang, LATE.to_owned()),
        (Answer::Trickle, LATE.to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_is_told() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let with_secrets = backend.url.replace("http://", "http://SECRET-user:SECRET-password@");
    let mut launch = Launch::new(RULE, &with_secrets);
    launch.prometheus.add_header("X-Scope-OrgID=SECRET-tenant").unwrap();
    launch.prometheus.query_timeout = Duration::from_millis(300);
    let app = launch.start().await;
    for (pod, (answer, cause)) in answers().into_iter().enumerate() {
        let shown: String = format!("{answer:?}").chars().take(200).collect();
        let wanted = format!("Internal error occurred: unable to fetch metrics: rules[0]: {cause}");
        // Long bodies take their time in a build that is not optimised.
        if is_long(&answer) {
            let mut launch = Launch::new(RULE, &backend.url);
            launch.prometheus.query_timeout = Duration::from_secs(30);
            backend.play(knows(&["m"], move |_| answer.clone()));
            let app = launch.start().await;
            assert_eq!(app.get(&read(pod)).await.failure(), wanted, "{shown}");
            continue;
        }
        // What came before may have made nothing but probes go through.
        backend.play(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")]))));
        until("queries are answered", async || {
            (app.get(&custom("namespaces/n/pods/p/m")).await.status == 200).then_some(())
        })
        .await;
        backend.play(knows(&["m"], move |_| answer.clone()));
        let reply = app.get(&read(pod)).await;
        assert_eq!(reply.status, 500, "{shown}");
        assert_eq!(reply.failure(), wanted, "{shown}");
        assert!(!reply.body.contains("SECRET"), "{}", reply.body);
        assert!(!reply.body.contains(backend.url.trim_start_matches("http://")), "{}", reply.body);
        assert!(!reply.headers.contains_key("retry-after"));
        // The operator of a command without a server is told more than that.
        let explained = custom("namespaces/n/explanations/m?resource=pods&name=p");
        for path in [&explained, "/readyz?verbose"] {
            let reply = app.get(path).await;
            assert_eq!(reply.status, 200, "{shown}: {}", reply.body);
            assert!(!reply.body.contains("SECRET"), "{shown}: {}", reply.body);
        }
    }

    // A partial answer is one, and so is one with warnings.
    backend.play(knows(&["m"], |_| {
        let body = json!({"status": "success", "isPartial": true, "warnings": ["SECRET"], "infos": ["i"], "data": pods(&[("p", "1")])});
        Answer::Raw(200, "application/json", body.to_string())
    }));
    let reply = until("queries are answered", async || {
        Some(app.get(&custom("namespaces/n/pods/p/m")).await).filter(|reply| reply.status == 200)
    })
    .await;
    assert_eq!(reply.values(), [("p".to_owned(), "1".to_owned())]);
    assert!(!reply.body.contains("SECRET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_answer_does_not_replace_a_whole_one() {
    let backend =
        Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1"), ("q", "2")])))).await;
    let mut launch = Launch::new(RULE, &backend.url);
    launch.planning = planner::Settings::with_ttl(Duration::from_millis(1));
    let app = launch.start().await;
    let path = custom("namespaces/n/pods/*/m");
    let whole = app.get(&path).await.values();
    assert_eq!(whole.len(), 2);
    backend.play(knows(&["m"], |_| {
        let data = pods(&[("p", "9")]);
        let body = json!({"status": "success", "isPartial": true, "data": data});
        Answer::Raw(200, "application/json", body.to_string())
    }));
    until("a partial answer has been refused", async || {
        assert_eq!(app.get(&path).await.values(), whole);
        let metrics = app.get("/metrics").await.body;
        metrics.contains(r#"loadline_cache_reads_total{outcome="stale"}"#).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_goes_away() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await;
    let address = backend.url.clone();
    let app = Launch::new(RULE, &address).start().await;
    let path = custom("namespaces/n/pods/p/m");
    app.get(&path).await.values();
    drop(backend);
    let reply = until("the connection is refused", async || {
        Some(app.get(&path).await).filter(|reply| reply.status != 200)
    })
    .await;
    assert_eq!(
        reply.failure(),
        "Internal error occurred: unable to fetch metrics: rules[0]: Prometheus cannot be reached (connection refused)"
    );
    assert!(!reply.body.contains("127.0.0.1"), "{}", reply.body);
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!(app.get("/apis/custom.metrics.k8s.io/v1beta1").await.status, 200);
    app.stop().await;
}

/// Lets queries through once it is told to.
fn gated() -> (watch::Sender<bool>, impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
    let (gate, opened) = watch::channel(false);
    (gate, knows(&["m"], move |_| Answer::Gated(opened.clone(), pods(&[("p", "1"), ("q", "2")]))))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_are_one_query() {
    let (gate, script) = gated();
    let backend = Backend::start(script).await;
    let mut launch = Launch::new(RULE, &backend.url);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = Arc::new(launch.start().await);
    let path = custom("namespaces/n/pods/*/m");
    // One HTTP/2 connection keeps the order: what is answered after the reads were sent was received after them.
    app.get("/healthz").await;
    let mut reads = std::pin::pin!(join_all((0..200).map(|_| app.get(&path))));
    assert!(futures::poll!(&mut reads).is_pending());
    let queries = || backend.count(Asked::is_query);
    tokio::select! {
        biased;
        _ = &mut reads => panic!("nobody has opened the gate"),
        () = async {
            for _ in 0..3 {
                app.get("/healthz").await;
            }
            until("a query", async || (queries() > 0).then_some(())).await;
        } => {}
    }
    gate.send_replace(true);
    for reply in reads.await {
        assert_eq!(reply.values().len(), 2);
    }
    assert_eq!(queries(), 1, "200 readers at a time");
    app.get(&path).await.values();
    assert_eq!(queries(), 1, "and one who comes later");
    app.get(&custom("namespaces/other/pods/*/m")).await.values();
    assert_eq!(queries(), 2, "another question");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_hangs_up_does_not_stop_the_others() {
    let (gate, script) = gated();
    let backend = Backend::start(script).await;
    let mut launch = Launch::new(RULE, &backend.url);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = Arc::new(launch.start().await);
    let queries = || backend.count(Asked::is_query);
    let read = |app: &Arc<App>| {
        let app = Arc::clone(app);
        tokio::spawn(async move { app.get(&custom("namespaces/n/pods/*/m")).await })
    };
    let first = read(&app);
    until("the first reader's query", async || (queries() == 1).then_some(())).await;
    let second = read(&app);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // The server sees the end of the first request before it answers another one of that connection.
    app.get("/healthz").await;
    gate.send_replace(true);
    assert_eq!(second.await.unwrap().values().len(), 2);
    assert_eq!(queries(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_kept_for_a_moment_and_nothing_is_without_a_ttl() {
    let backend = Backend::start(knows(&["m"], |_| api_error(503, "unavailable"))).await;
    let mut launch = Launch::new(RULE, &backend.url);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = launch.start().await;
    let path = custom("namespaces/n/pods/p/m");
    let queries = || backend.count(Asked::is_query);
    for _ in 0..3 {
        assert_eq!(app.get(&path).await.status, 500);
        assert_eq!(queries(), 1);
    }
    backend.play(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")]))));
    until("a new try", async || (app.get(&path).await.status == 200).then_some(())).await;
    assert_eq!(queries(), 2);
    app.get(&path).await.values();
    assert_eq!(queries(), 2);
    let app = Launch::new(RULE, &backend.url).start().await;
    for reads in 3..=4 {
        app.get(&path).await.values();
        assert_eq!(queries(), reads, "without a TTL");
    }
}

/// How one launch asks, in discovery and in a read.
async fn asked(backend: &Backend, launch: Launch) -> Vec<Asked> {
    backend.take();
    let app = launch.start().await;
    app.get(&custom("namespaces/n/pods/p/m")).await.values();
    let asked = backend.take();
    assert!(asked.len() >= 3 && asked.iter().any(Asked::is_query), "{asked:#?}");
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backend_is_told() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "first-token\n").unwrap();

    for asked in asked(&backend, Launch::new(RULE, &backend.url)).await {
        assert_eq!(asked.header("authorization"), "");
        assert!(asked.header("user-agent").starts_with("loadline/"), "{asked:?}");
        assert_eq!(asked.method, "GET");
        assert!(asked.path.starts_with("/api/v1/"), "{asked:?}");
    }

    // A path prefix, with and without a slash at its end; user and password with escapes.
    for end in ["/team/prom", "/team/prom/"] {
        let url = format!("{}{end}", backend.url.replace("http://", "http://us%40er:pa%3Ass@"));
        for asked in asked(&backend, Launch::new(RULE, &url)).await {
            assert!(asked.path.starts_with("/team/prom/api/v1/"), "{asked:?}");
            assert_eq!(asked.header("authorization"), "Basic dXNAZXI6cGE6c3M=");
        }
    }

    let mut launch = Launch::new(RULE, &backend.url);
    launch.prometheus.add_header("X-Scope-OrgID=a|b").unwrap();
    launch.prometheus.add_header("X-More=1=2").unwrap();
    launch.prometheus.token = Some(Source::File(token.clone()));
    for asked in asked(&backend, launch).await {
        assert_eq!(asked.header("x-scope-orgid"), "a|b");
        assert_eq!(asked.header("x-more"), "1=2");
        assert_eq!(asked.header("authorization"), "Bearer first-token");
    }

    let mut launch = Launch::new(RULE, &backend.url);
    launch.prometheus.method = Method::Post;
    for asked in asked(&backend, launch).await {
        // Prometheus has no POST there.
        let wanted = if asked.path.ends_with("/values") { "GET" } else { "POST" };
        assert_eq!(asked.method, wanted, "{asked:?}");
        let parameter = if asked.is_query() { "query" } else { "match[]" };
        assert!(!asked.parameter(parameter).is_empty(), "{asked:?}");
    }

    // A query that is too long for a URL goes by POST whatever is configured.
    let app = Launch::new(RULE, &backend.url).start().await;
    backend.take();
    let names: Vec<_> = (0..900).map(|i| format!("value-{i}")).collect();
    let path = format!("namespaces/n/pods/p/m?metricLabelSelector=k+in+({})", names.join(","));
    app.get(&custom(&path)).await.values();
    let asked = backend.take();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "POST"));
    assert!(asked[0].parameter("query").len() > 7_000);

    token_files_are_read_again(&backend, &token).await;
}

/// The files are looked at again after 10 s, which is what this takes.
async fn token_files_are_read_again(backend: &Backend, token: &std::path::Path) {
    let mut launch = Launch::new(RULE, &backend.url);
    launch.prometheus.token = Some(Source::File(token.to_owned()));
    let app = launch.start().await;
    fs::write(token, "second-token").unwrap();
    let path = custom("namespaces/n/pods/p/m");
    until("the new token is sent", async || {
        backend.take();
        app.get(&path).await.values();
        let sent = backend.take()[0].header("authorization").to_owned();
        assert!(["Bearer first-token", "Bearer second-token"].contains(&sent.as_str()), "{sent}");
        (sent == "Bearer second-token").then_some(())
    })
    .await;
}
