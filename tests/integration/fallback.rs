//! The fallback of a rule: the answer after a while of failures of the backend, and nothing else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, Reply, custom, external},
    backend::{Answer, Asked, Backend, knows, pods},
    cluster::{Kubernetes, Stored},
    until,
};

const FALLBACK: &str = "static: true, fallback: {after: 1s, value: 5}";

fn rules() -> String {
    let custom = "resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'";
    let external = "resources: {namespaced: false}, metricsQuery: 'queue{<<.LabelMatchers>>}'";
    format!(
        "rules:\n- {{seriesQuery: load, {custom}, {FALLBACK}}}\n- {{seriesQuery: bare, {custom}, static: true}}\n\
         externalRules:\n- {{seriesQuery: queue, {external}, {FALLBACK}}}\n- {{seriesQuery: plain, {external}, static: true}}\n"
    )
}

fn down() -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    knows(&[], |_| Answer::Raw(503, "text/plain", "away".to_owned()))
}

fn up() -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    knows(&[], |asked| {
        Answer::Data(if asked.parameter("query").starts_with("queue") {
            json!({"resultType": "vector", "result": [{"metric": {"q": "a"}, "value": [1, "3"]}]})
        } else {
            pods(&[("p", "1"), ("q", "2")])
        })
    })
}

fn nothing() -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    knows(&[], |_| Answer::Data(json!({"resultType": "vector", "result": []})))
}

/// A server that keeps no results, and the pods p and q of the namespace n.
async fn start(backend: &Backend, objects: &std::path::Path) -> App {
    let pod = |name: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: n, labels: {{app: {name}}}}}}}\n"
        )
    };
    std::fs::write(objects, format!("{}{}", pod("p"), pod("q"))).unwrap();
    let mut launch = Launch::new(&rules(), &backend.url);
    launch.objects = Some(objects.to_owned());
    launch.debug = true;
    launch.planning.life.ttl = Duration::ZERO;
    launch.planning.life.max_stale = Duration::ZERO;
    launch.start().await
}

async fn read(app: &App, path: &str) -> Reply {
    let path = match path.strip_prefix("external:") {
        Some(metric) => external(&format!("namespaces/n/{metric}")),
        None => custom(&format!("namespaces/n/pods/{path}")),
    };
    app.get(&path).await
}

/// The reads that a fallback answers, and what it answers.
const ANSWERED: [(&str, &[(&str, &str)]); 4] = [
    ("*/load", &[("p", "5"), ("q", "5")]),
    ("*/load?labelSelector=app%3Dq", &[("q", "5")]),
    ("p/load", &[("p", "5")]),
    ("external:queue", &[]),
];

/// The reads that fail all the time: of an object that does not exist, and of rules without a fallback.
const FAILING: [&str; 4] = ["gone/load", "*/bare", "p/bare", "external:plain"];

fn is_fallback(reply: &Reply, wanted: &[(&str, &str)]) -> bool {
    if reply.status != 200 {
        return false;
    }
    let items = reply.json()["items"].as_array().unwrap().clone();
    if wanted.is_empty() {
        let told: Vec<_> = items.iter().map(|it| (&it["value"], &it["metricLabels"])).collect();
        return told == [(&json!("5"), &json!({"loadline_fallback": "true"}))];
    }
    let values = reply.values();
    values.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted.iter().copied())
}

fn metric(text: &str, name: &str, rule: &str) -> Option<u64> {
    let line = format!("{name}{{rule=\"{rule}\"}} ");
    text.lines().find_map(|it| it.strip_prefix(&line)?.parse().ok())
}

async fn in_use(app: &App) -> [u64; 2] {
    let text = app.get("/metrics").await.body;
    assert_eq!(metric(&text, "loadline_fallbacks_in_use", "rules[1]"), None, "it has none");
    ["rules[0]", "externalRules[0]"]
        .map(|rule| metric(&text, "loadline_fallbacks_in_use", rule).unwrap())
}

async fn until_all_are_answered(app: &App) {
    for (path, wanted) in ANSWERED {
        until(path, async || is_fallback(&read(app, path).await, wanted).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_is_the_answer_after_a_while_of_failures_until_the_first_success() {
    let backend = Backend::start(up()).await;
    let objects = tempfile::NamedTempFile::new().unwrap();
    let app = start(&backend, objects.path()).await;
    for (path, wanted) in ANSWERED {
        let reply = read(&app, path).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert!(!is_fallback(&reply, wanted), "{path}");
    }
    assert_eq!(in_use(&app).await, [0, 0]);
    backend.play(down());
    for path in ANSWERED.map(|(path, _)| path) {
        assert_eq!(read(&app, path).await.status, 500, "{path}: not at once");
    }
    assert_eq!(in_use(&app).await, [0, 0]);
    until_all_are_answered(&app).await;
    let reply = read(&app, "*/load").await.json();
    let age = jiff::Timestamp::now().duration_since(
        reply["items"][0]["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap(),
    );
    assert!(age.as_secs() < 30, "the time of the read: {reply}");
    for path in FAILING {
        assert_eq!(read(&app, path).await.status, 500, "{path}");
    }
    assert_eq!(read(&app, "*/lode").await.status, 404, "an unknown metric");
    let bad = read(&app, "external:queue?labelSelector=q%3Da%2Cq%3Db").await;
    assert_eq!(bad.status, 400, "the client's own mistake: {bad:?}");
    assert_eq!(in_use(&app).await, [3, 1]);
    let text = app.get("/metrics").await.body;
    assert!(metric(&text, "loadline_fallback_reads_total", "rules[0]").unwrap() >= 4, "{text}");
    // A success of one question is one of no other.
    let of_queue = |asked: &Asked| asked.parameter("query").starts_with("queue");
    let (good, bad) = (up(), down());
    backend.play(move |asked| if of_queue(asked) { good(asked) } else { bad(asked) });
    until("the backend is asked again", async || {
        let reply = read(&app, "external:queue").await;
        let value = reply.json()["items"][0]["value"].clone();
        (value == "3").then_some(())
    })
    .await;
    assert_eq!(in_use(&app).await[1], 0);
    backend.play(up());
    until("all succeed", async || {
        let mut answers = Vec::new();
        for path in ["*/load", "*/load?labelSelector=app%3Dq", "p/load"] {
            answers.push(read(&app, path).await.values());
        }
        let one = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = [vec![one("p", "1"), one("q", "2")], vec![one("q", "2")], vec![one("p", "1")]];
        (answers == wanted).then_some(())
    })
    .await;
    assert_eq!(in_use(&app).await, [0, 0]);
    // The next outage counts anew.
    backend.play(down());
    for path in ANSWERED.map(|(path, _)| path) {
        assert_eq!(read(&app, path).await.status, 500, "{path}");
    }
    app.stop().await;
}

/// An answer without a sample is an answer: it ends a fallback, and it begins none.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_is_a_success() {
    let backend = Backend::start(down()).await;
    let objects = tempfile::NamedTempFile::new().unwrap();
    let app = start(&backend, objects.path()).await;
    until_all_are_answered(&app).await;
    backend.play(nothing());
    let empty = async |path: &str| {
        let reply = read(&app, path).await;
        reply.status == 404
            || (reply.status == 200 && reply.json()["items"] == Value::Array(vec![]))
    };
    for (path, _) in ANSWERED {
        until(path, async || empty(path).await.then_some(())).await;
    }
    assert_eq!(in_use(&app).await, [0, 0]);
    let begin = std::time::Instant::now();
    until("more than the time has passed", async || {
        for (path, _) in ANSWERED {
            assert!(empty(path).await, "{path}");
        }
        (begin.elapsed() > Duration::from_millis(1500)).then_some(())
    })
    .await;
    app.stop().await;
}

/// A new process has seen no failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_counts_anew() {
    let backend = Backend::start(down()).await;
    let objects = tempfile::NamedTempFile::new().unwrap();
    let app = start(&backend, objects.path()).await;
    until_all_are_answered(&app).await;
    app.stop().await;
    let app = start(&backend, objects.path()).await;
    for (path, _) in ANSWERED {
        assert_eq!(read(&app, path).await.status, 500, "{path}");
    }
    assert_eq!(in_use(&app).await, [0, 0]);
    until_all_are_answered(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explanations_and_the_status_page_show_a_fallback() {
    let backend = Backend::start(down()).await;
    let objects = tempfile::NamedTempFile::new().unwrap();
    let app = start(&backend, objects.path()).await;
    let explained = async |path: &str| app.get(path).await.body;
    let page = async || {
        let url = format!("http://{}/", app.debug_address.unwrap());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    let with = [
        external("namespaces/n/explanations/queue"),
        custom("namespaces/n/explanations/load?resource=pods&name=p"),
    ];
    let without = [
        external("namespaces/n/explanations/plain"),
        custom("namespaces/n/explanations/bare?resource=pods&name=p"),
    ];
    for path in with.iter().chain(&without) {
        assert!(!explained(path).await.contains("fallback-in-use"), "{path}");
    }
    let state = "reads have returned 5 since";
    assert!(!page().await.contains(state));
    until_all_are_answered(&app).await;
    for path in &with {
        let text = explained(path).await;
        assert!(text.contains("fallback-in-use") && !text.contains("\"failed\""), "{path}: {text}");
    }
    for path in &without {
        let text = explained(path).await;
        assert!(!text.contains("fallback-in-use") && text.contains("\"failed\""), "{path}: {text}");
    }
    assert_eq!(page().await.matches(state).count(), 2, "one row for each rule");
    app.stop().await;
}

/// Autoscalers of the namespace n: two of the queue, one of a part of it, one of pods; and one of another namespace.
async fn autoscalers() -> Kubernetes {
    let cluster = Kubernetes::start(&[("pods", "n", "p", &[("app", "p")])], 100).await;
    let external = |selector: Value| json!({"type": "External", "external": {"metric": {"name": "queue", "selector": selector}, "target": {}}});
    let all = external(Value::Null);
    let part = external(json!({"matchLabels": {"q": "a"}}));
    let load = json!({"type": "Pods", "pods": {"metric": {"name": "load"}, "target": {}}});
    for (namespace, name, metric) in [
        ("n", "all", &all),
        ("n", "both", &all),
        ("n", "part", &part),
        ("n", "pods", &load),
        ("m", "all", &all),
    ] {
        // As it is after failed reads: the controller has read nothing.
        let body = json!({"spec": {"metrics": [metric]}, "status": {"currentMetrics": null}});
        let stored = Stored::new("horizontalpodautoscalers", namespace, name, &[]);
        cluster.apply(stored.with(body));
    }
    cluster
}

async fn start_in(cluster: &Kubernetes, backend: &Backend) -> App {
    let mut launch = Launch::new(&rules(), &backend.url).cluster(cluster);
    launch.planning.life.ttl = Duration::ZERO;
    launch.planning.life.max_stale = Duration::ZERO;
    launch.start().await
}

/// Namespace and name of the autoscaler, type and reason, sorted.
fn told(cluster: &Kubernetes) -> Vec<String> {
    let events = cluster.events();
    let words = events.iter().map(|event| {
        let regarding = &event["regarding"];
        assert_eq!(regarding["kind"], "HorizontalPodAutoscaler", "{event}");
        assert!(regarding["uid"].is_string(), "{event}");
        let all = [&regarding["namespace"], &regarding["name"], &event["type"], &event["reason"]];
        all.map(|it| it.as_str().unwrap()).join(" ")
    });
    let mut words: Vec<_> = words.collect();
    words.sort();
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn the_autoscalers_that_read_a_fallback_have_an_event_of_its_begin_and_of_its_end() {
    let backend = Backend::start(down()).await;
    let cluster = autoscalers().await;
    // Two replicas see the same.
    let apps = [start_in(&cluster, &backend).await, start_in(&cluster, &backend).await];
    for app in &apps {
        until("the fallback of the queue", async || {
            is_fallback(&read(app, "external:queue").await, &[]).then_some(())
        })
        .await;
    }
    let begun = ["n all Warning FallbackInUse", "n both Warning FallbackInUse"];
    until("the Events", async || (told(&cluster).len() >= 2).then_some(())).await;
    // More reads and the other replica's make no more, or one a minute later.
    let mut words = told(&cluster);
    words.dedup();
    assert_eq!(words, begun);
    let note = cluster.events()[0]["note"].as_str().unwrap().to_owned();
    assert!(note.contains("externalRules[0]") && !note.contains("127.0.0.1"), "{note}");
    for app in &apps {
        until("the fallback of pods", async || {
            is_fallback(&read(app, "*/load?labelSelector=app%3Dp").await, &[("p", "5")])
                .then_some(())
        })
        .await;
    }
    backend.play(up());
    for app in &apps {
        until("a value", async || {
            let reply = read(app, "external:queue").await;
            (reply.json()["items"][0]["value"] == "3").then_some(())
        })
        .await;
    }
    let all = [
        "n all Normal FallbackEnded",
        begun[0],
        "n both Normal FallbackEnded",
        begun[1],
        "n pods Warning FallbackInUse",
    ];
    until("all Events", async || {
        let mut words = told(&cluster);
        words.dedup();
        (words == all).then_some(())
    })
    .await;
    for app in apps {
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_do_not_depend_on_the_right_to_write_events() {
    let backend = Backend::start(down()).await;
    let cluster = autoscalers().await;
    cluster.refuse_events(Some(403));
    let app = start_in(&cluster, &backend).await;
    until("the fallback of the queue", async || {
        is_fallback(&read(&app, "external:queue").await, &[]).then_some(())
    })
    .await;
    assert_eq!(told(&cluster), Vec::<String>::new());
    assert_eq!(app.get("/readyz").await.status, 200);
    app.stop().await;
}
