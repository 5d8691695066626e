//! Answers that are kept and sent again: only where a read would give the same, and only to who may read it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::json;

use crate::support::{
    app::{App, Launch, custom, external},
    backend::{Answer, Asked, Backend, knows, pods},
    cluster::{Kubernetes, Object, Stored},
    until,
};

const RULES: &str = "
rules:
- seriesQuery: m
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>}
externalRules:
- seriesQuery: m
  resources: {namespaced: false}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>}
";

const OBJECTS: &[Object] = &[
    ("pods", "n", "web-0", &[("app", "web")]),
    ("pods", "n", "web-1", &[("app", "web")]),
    ("pods", "n", "db-0", &[("app", "db")]),
];

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

fn web() -> String {
    custom("namespaces/n/pods/*/m?labelSelector=app%3Dweb")
}

/// Every pod that is asked for has the value 1, with a metric selector 2.
async fn backend() -> Backend {
    Backend::start(knows(&["m"], |asked| {
        let value = if asked.parameter("query").contains("method=") { "2" } else { "1" };
        let names = ["web-0", "web-1", "web-2", "db-0"];
        Answer::Data(pods(&names.map(|name| (name, value))))
    }))
    .await
}

/// How many answers were sent again, and how many were made.
async fn counts(app: &App) -> (u64, u64) {
    let metrics = app.get("/metrics").await.body;
    let count = |outcome: &str| {
        let name = format!("loadline_answers_total{{outcome=\"{outcome}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse::<u64>().unwrap()
    };
    (count("kept"), count("made"))
}

fn names(values: &[(String, String)]) -> Vec<&str> {
    values.iter().map(|(name, _)| name.as_str()).collect()
}

async fn until_names(app: &App, path: &str, wanted: &[&str]) {
    until(&format!("{path} gives {wanted:?}"), async || {
        let reply = app.get(path).await;
        let found = reply.status == 200 && names(&reply.values()) == wanted;
        found.then_some(())
    })
    .await;
}

/// A read that was sent again, so that the watch of pods is there and the next one may be, too.
async fn until_kept(app: &App, path: &str) {
    until("an answer is sent again", async || {
        let before = counts(app).await.0;
        app.get(path).await;
        (counts(app).await.0 > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_each_question_has_an_answer_of_its_own() {
    let (backend, cluster) = (backend().await, Kubernetes::start(OBJECTS, 10).await);
    let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
    launch.planning.life.ttl = LONG;
    let app = launch.start().await;
    until_kept(&app, &web()).await;

    let beta1 = web().replace("v1beta2", "v1beta1");
    let one = custom("namespaces/n/pods/web-0/m");
    let selected = format!("{}&metricLabelSelector=method%3Dget", web());
    let total = external("namespaces/n/m");
    let paths = [web(), beta1.clone(), one.clone(), selected.clone(), total.clone()];
    let mut first = Vec::new();
    for path in &paths {
        first.push(app.get(path).await);
    }
    let (kept, made) = counts(&app).await;
    for (path, first) in paths.iter().zip(&first) {
        let again = app.get(path).await;
        assert_eq!((&again.body, again.status), (&first.body, first.status), "{path}");
        assert_eq!(again.headers["content-type"], "application/json");
        let head = app.request(Method::HEAD, path, &[]).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""), "{path}");
        let length = first.body.len().to_string();
        assert_eq!(head.headers["content-length"], length.as_str(), "{path}");
        let yaml = app.request(Method::GET, path, &[("accept", "application/yaml")]).await;
        assert_eq!(yaml.headers["content-type"], "application/yaml", "{path}");
        let read: serde_json::Value = serde_saphyr::from_str(&yaml.body).unwrap();
        assert_eq!(read, first.json(), "{path}");
    }
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = app.request(Method::GET, &web(), &[("accept", table)]).await;
    assert_eq!(table.json()["kind"], "Table");
    assert_eq!(app.get(&web()).await.body, first[0].body, "no table");
    assert_eq!(counts(&app).await, (kept + 17, made), "none of these was made anew");

    let kinds = first.iter().map(|reply| reply.json()["apiVersion"].clone());
    let versions = kinds.collect::<Vec<_>>();
    assert_eq!(versions[0], "custom.metrics.k8s.io/v1beta2");
    assert_eq!(versions[1], "custom.metrics.k8s.io/v1beta1");
    let value = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(first[0].values(), [value("web-0", "1"), value("web-1", "1")]);
    assert_eq!(first[2].values(), [value("web-0", "1")]);
    assert_eq!(first[3].values(), [value("web-0", "2"), value("web-1", "2")]);
    // Only what is an answer is kept.
    for _ in 0..2 {
        assert_eq!(app.get(&custom("namespaces/n/pods/nobody/m")).await.status, 404);
    }
    assert_eq!(counts(&app).await, (kept + 17, made));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_come_go_or_are_relabelled_are_in_the_next_answer() {
    let (backend, cluster) = (backend().await, Kubernetes::start(OBJECTS, 10).await);
    let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
    launch.planning.life.ttl = LONG;
    let app = launch.start().await;
    let labels: &[(&str, &str)] = &[("app", "web")];
    until_kept(&app, &web()).await;
    cluster.apply(Stored::new("pods", "n", "web-2", labels));
    until_names(&app, &web(), &["web-0", "web-1", "web-2"]).await;
    until_kept(&app, &web()).await;
    cluster.delete("pods", "n", "web-0");
    until_names(&app, &web(), &["web-1", "web-2"]).await;
    until_kept(&app, &web()).await;
    cluster.apply(Stored::new("pods", "n", "web-1", &[("app", "db")]));
    until_names(&app, &web(), &["web-2"]).await;
    until_kept(&app, &web()).await;

    // What happens in other namespaces changes nothing. The watch tells in order, so the last one shows that it was told.
    let before = counts(&app).await.1;
    cluster.apply(Stored::new("pods", "other", "web-9", labels));
    let metrics = r#"loadline_watched_objects{resource="pods"} 4"#;
    until("the pod is known", async || {
        app.get("/metrics").await.body.contains(metrics).then_some(())
    })
    .await;
    app.get(&web()).await;
    assert_eq!(counts(&app).await.1, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_watch_cannot_answer_nothing_is_kept() {
    let (backend, cluster) = (backend().await, Kubernetes::start(OBJECTS, 10).await);
    cluster.refuse("watch", "pods", Some(403));
    let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
    launch.planning.life.ttl = LONG;
    let app = launch.start().await;
    for made in 1..4 {
        assert_eq!(names(&app.get(&web()).await.values()), ["web-0", "web-1"]);
        assert_eq!(counts(&app).await, (0, made));
    }
    app.stop().await;
}

/// A backend whose values grow with every query.
async fn growing() -> Backend {
    let asked = Arc::new(AtomicUsize::new(0));
    Backend::start(knows(&["m"], move |_| {
        let value = asked.fetch_add(1, Ordering::Relaxed).to_string();
        Answer::Data(pods(&[("web-0", &value)]))
    }))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_with_its_result_or_its_catalog() {
    for path in [custom("namespaces/n/pods/web-0/m"), external("namespaces/n/m")] {
        let backend = growing().await;
        let mut launch = Launch::new(RULES, &backend.url);
        launch.planning.life.ttl = Duration::from_millis(100);
        let app = launch.start().await;
        let mut bodies = Vec::new();
        until("newer values", async || {
            bodies.push(app.get(&path).await.body);
            bodies.dedup();
            (bodies.len() > 4).then_some(())
        })
        .await;
        app.stop().await;

        let backend = growing().await;
        let mut launch = Launch::new(RULES, &backend.url);
        (launch.planning.life.ttl, launch.relist_interval) = (LONG, Duration::from_millis(100));
        let app = launch.start().await;
        until("catalogs are swapped", async || {
            app.get(&path).await;
            (counts(&app).await.1 > 3).then_some(())
        })
        .await;
        assert_eq!(backend.count(Asked::is_query), 1, "from the same result");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_are_not_kept_make_no_answers_that_are() {
    let backend = growing().await;
    let app = Launch::new(RULES, &backend.url).start().await;
    for made in 1..4 {
        app.get(&custom("namespaces/n/pods/web-0/m")).await;
        assert_eq!(counts(&app).await, (0, made));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_kept_is_for_those_who_may_read_it() {
    let (backend, cluster) = (backend().await, Kubernetes::start(OBJECTS, 10).await);
    let delegation = cluster.delegation();
    delegation.configure(&[]);
    for name in ["reader", "scraper", "stranger"] {
        delegation.token(name, json!({"username": name}));
    }
    delegation.access(|spec| {
        let user =
            if spec["nonResourceAttributes"]["path"] == "/metrics" { "scraper" } else { "reader" };
        json!({"allowed": spec["user"] == user})
    });
    let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
    launch.guarded = true;
    launch.planning.life.ttl = LONG;
    let app = launch.start().await;
    let path = custom("namespaces/n/pods/web-0/m");
    let get = async |token: &str, path: &str| {
        let authorization = format!("Bearer {token}");
        app.request(Method::GET, path, &[("authorization", &authorization)]).await
    };
    for _ in 0..2 {
        for (token, status) in [("reader", 200), ("stranger", 403), ("nobody", 401)] {
            assert_eq!(get(token, &path).await.status, status, "{token}");
        }
        assert_eq!(app.get(&path).await.status, 403, "anonymous");
    }
    let metrics = get("scraper", "/metrics").await.body;
    for line in ["{outcome=\"kept\"} 1\n", "{outcome=\"made\"} 1\n"] {
        let line = format!("loadline_answers_total{line}");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    app.stop().await;
}
