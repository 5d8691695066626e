//! Reads that can have no answer say what may have been meant, and those whose answer is nothing may be 0.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, custom, external},
    backend::{Answer, Asked, Backend, knows},
};

const RULES: &str = r"
rules:
- seriesQuery: 'DCGM_ACTIVE'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, ingress: {group: networking.k8s.io, resource: ingress}}}
  metricsQuery: 'avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: 'DCGM_ACTIVE'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: queue_depth}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
";

fn vector(rows: &[Value]) -> Answer {
    Answer::Data(json!({"resultType": "vector", "result": rows}))
}

async fn failure(app: &App, path: &str, status: u16) -> String {
    let reply = app.get(path).await;
    assert_eq!(reply.status, status, "{path}: {reply:?}");
    reply.failure()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_name_their_neighbours() {
    let backend = Backend::start(knows(&["DCGM_ACTIVE"], |_| vector(&[]))).await;
    let app = Launch::new(RULES, &backend.url).start().await;
    let cases = [
        (custom("namespaces/ml/pods/*/dcgm_active"), "did you mean DCGM_ACTIVE?"),
        (custom("namespaces/ml/pods/*/DCGM_ACTIV"), "did you mean DCGM_ACTIVE?"),
        (custom("namespaces/ml/pods/p/queue_depth"), "external.metrics.k8s.io has a metric"),
        (
            custom("namespaces/ml/services/*/DCGM_ACTIVE"),
            "for namespaces, pods, ingresses.networking.k8s.io",
        ),
        (
            custom("namespaces/ml/ingresses.extensions/i/x"),
            "did you mean ingresses.networking.k8s.io?",
        ),
        (external("namespaces/ml/queue_dept"), "did you mean queue_depth?"),
        (external("namespaces/ml/DCGM_ACTIVE"), "did you mean queue_depth?"),
    ];
    for (path, wanted) in cases {
        let message = failure(&app, &path, 404).await;
        assert!(message.contains(wanted), "{path}: {message}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_that_nothing_can_match_are_refused_before_anybody_is_asked() {
    let backend = Backend::start(knows(&["DCGM_ACTIVE"], |_| vector(&[]))).await;
    let app = Launch::new(RULES, &backend.url).start().await;
    let cases = [
        (external("namespaces/app/queue_depth?labelSelector=namespace%3Dnsq"), "namespace=nsq"),
        (external("namespaces/app/queue_depth?labelSelector=a%3D1,a%3D2"), "`a=1` and `a=2`"),
        (
            custom("namespaces/app/pods/*/DCGM_ACTIVE?metricLabelSelector=namespace!%3Dapp"),
            "namespace=app",
        ),
        (custom("namespaces/app/pods/p/DCGM_ACTIVE?metricLabelSelector=pod%3Dq"), "`pod=q`"),
        (
            custom("namespaces/app/pods/*/DCGM_ACTIVE?metricLabelSelector=!a,a"),
            "exclude each other",
        ),
    ];
    backend.take();
    for (path, wanted) in cases {
        let message = failure(&app, &path, 400).await;
        assert!(message.contains(wanted), "{path}: {message}");
    }
    assert_eq!(backend.count(Asked::is_query), 0);
    let possible = external("namespaces/app/queue_depth?labelSelector=namespace%3Dapp");
    assert_eq!(app.get(&possible).await.status, 200);
    app.stop().await;
}

/// Only what is new and whole is a fact: an outage must not look like an empty queue.
#[tokio::test(flavor = "multi_thread")]
async fn an_external_metric_of_nothing_can_have_a_value() {
    let rule = |name: &str, more: &str| {
        format!(
            "- {{seriesQuery: {name}, metricsQuery: {name}, static: true, resources: {{namespaced: false}}{more}}}\n"
        )
    };
    let text = format!(
        "externalRules:\n{}{}{}{}",
        rule("omitted", ""),
        rule("five", ", onEmpty: 5, aggregate: max"),
        rule("zero", ", onEmpty: zero"),
        rule("summed", ", onEmpty: zero, aggregate: sum"),
    );
    let backend = Backend::start(knows(&[], |_| vector(&[]))).await;
    let mut launch = Launch::new(&text, &backend.url);
    launch.planning.life.ttl = Duration::from_millis(1);
    launch.planning.life.max_stale = Duration::from_secs(600);
    let app = launch.start().await;
    let items = async |name: &str| {
        let reply = app.get(&external(&format!("namespaces/n/{name}"))).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["items"].as_array().unwrap().clone()
    };
    assert_eq!(items("omitted").await, Vec::<Value>::new());
    for (name, value) in [("zero", "0"), ("summed", "0"), ("five", "5")] {
        let items = items(name).await;
        let told: Vec<_> =
            items.iter().map(|item| (&item["value"], &item["metricLabels"])).collect();
        assert_eq!(told, [(&json!(value), &json!({}))], "{name}");
    }
    backend.play(knows(&[], |_| {
        let body = json!({"status": "success", "warnings": ["No StoreAPIs matched for this query"],
            "isPartial": true, "data": {"resultType": "vector", "result": []}});
        Answer::Raw(200, "application/json", body.to_string())
    }));
    assert_eq!(items("zero").await, Vec::<Value>::new(), "a partial answer");
    assert_eq!(items("five").await, Vec::<Value>::new(), "a partial answer");
    backend.play(knows(&[], |_| Answer::Raw(503, "text/plain", "away".to_owned())));
    assert_eq!(items("summed").await, Vec::<Value>::new(), "the last answer, in an outage");
    backend.play(knows(&[], |_| vector(&[json!({"metric": {}, "value": [1, "3"]})])));
    assert_eq!(items("omitted").await[0]["value"], "3");
    app.stop().await;
}
