//! What one namespace can do to the others, counted in requests that the backend receives.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    app::{Launch, custom, external},
    backend::{Answer, Asked, Backend, knows},
    cluster::{Kubernetes, Stored, read_with},
    until,
};

const RULE: &str = "externalRules:\n- seriesQuery: queue\n  resources: {overrides: {ns: {resource: namespace}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})\n";

/// A sample whatever is asked.
fn sample() -> Answer {
    let row = json!({"metric": {}, "value": [1_790_000_000, "1"]});
    Answer::Data(json!({"resultType": "vector", "result": [row]}))
}

/// An autoscaler on the depths of these queues.
fn autoscaler(namespace: &str, name: &str, queues: Range<usize>, status: &Value) -> Stored {
    let metric = |queue: usize| {
        let selector = json!({"matchLabels": {"queue": queue.to_string()}});
        let target = json!({"type": "Value", "value": "1"});
        let metric = json!({"name": "queue", "selector": selector});
        json!({"type": "External", "external": {"metric": metric, "target": target}})
    };
    let metrics: Vec<_> = queues.map(metric).collect();
    Stored::new("horizontalpodautoscalers", namespace, name, &[])
        .with(json!({"spec": {"metrics": metrics}, "status": status}))
}

/// The queries that the backend has received, each once.
fn queries(backend: &Backend) -> BTreeSet<String> {
    let queries = backend.take().into_iter().filter(Asked::is_query);
    queries.map(|asked| asked.parameter("query").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_before_it_is_read_is_limited_by_namespace() {
    let cluster = Kubernetes::start(&[], 500).await;
    cluster.apply(autoscaler("flood", "never-read", 0..2_000, &json!({"currentReplicas": 0})));
    cluster.apply(autoscaler("flood", "wide", 2_000..2_100, &read_with(1)));
    for index in 0..30 {
        let first = 3_000 + index * 20;
        let name = format!("x-{index}");
        cluster.apply(autoscaler("flood", &name, first..first + 20, &read_with(1)));
    }
    cluster.apply(autoscaler("quiet", "web", 0..3, &read_with(1)));
    let backend = Backend::start(knows(&["queue"], |_| sample())).await;
    let mut launch = Launch::new(RULE, &backend.url).cluster(&cluster);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = launch.start().await;
    let mut reads = app.expected_reads.clone().expect("there is a cluster");
    let known = reads.wait_for(|reads| !reads.is_empty()).await.expect("it goes on").clone();
    let of = |namespace: &str| known.iter().filter(|read| &*read.namespace == namespace).count();
    assert_eq!((of("flood"), of("quiet")), (200, 3));
    until("all of them", async || (backend.count(Asked::is_query) >= 203).then_some(())).await;
    let asked = queries(&backend);
    let of = |namespace: &str| {
        let matcher = format!("ns=\"{namespace}\"");
        asked.iter().filter(|query| query.contains(&matcher)).count()
    };
    assert_eq!((of("flood"), of("quiet")), (200, 3));
    let metrics = app.get("/metrics").await.body;
    for line in [
        "loadline_autoscaler_metrics 203\n",
        "loadline_autoscaler_metrics_left_out{reason=\"not_read\"} 2000\n",
        "loadline_autoscaler_metrics_left_out{reason=\"limit\"} 500\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_cost_one_discovery_for_each_namespace() {
    let backend = Backend::start(knows(&["queue"], |_| sample())).await;
    let app = Launch::new(RULE, &backend.url).start().await;
    let discoveries = || backend.count(|asked| asked.parameter("match[]") == "queue");
    let mut number = 0;
    // Each time another metric.
    let mut read = async |path: &str| {
        number += 1;
        assert_eq!(app.get(&format!("{path}/unknown_{number}")).await.status, 404);
        discoveries()
    };
    let of_a = [
        external("namespaces/a"),
        custom("namespaces/a/pods/p"),
        custom("namespaces/a/pods/*"),
        custom("namespaces/a/metrics"),
        custom("namespaces/a/services/s"),
    ];
    let paths = [
        &of_a[..],
        &[external("namespaces/b")],
        &[custom("namespaces/c/pods/*")],
        // What is in no namespace is one more.
        &[custom("nodes/n"), custom("nodes/*"), custom("persistentvolumes/v")],
    ];
    let mut known = discoveries();
    for (index, of_one) in paths.iter().enumerate() {
        until("a discovery for another namespace", async || {
            for path in paths[..index].iter().copied().flatten() {
                assert_eq!(read(path).await, known, "{path} has had its discovery");
            }
            (read(&of_one[0]).await > known).then_some(())
        })
        .await;
        known += 1;
        assert_eq!(discoveries(), known);
    }
    for path in paths.concat() {
        assert_eq!(read(&path).await, known, "{path} has had its discovery");
    }
    app.stop().await;
}

/// Answers queries about a namespace when the gate is open, and others at once.
fn gated(
    namespace: &'static str,
    gate: watch::Receiver<bool>,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    let is_held = move |asked: &Asked| asked.parameter("query").contains(namespace);
    knows(&["queue"], move |asked| match sample() {
        Answer::Data(data) if is_held(asked) => Answer::Gated(gate.clone(), data),
        answer => answer,
    })
}

/// All queries of one namespace hang, and more wait than may be under way: those of another one are sent and answered.
#[tokio::test(flavor = "multi_thread")]
async fn queries_of_one_namespace_leave_room_for_those_of_others() {
    let (gate, closed) = watch::channel(false);
    let backend = Backend::start(gated("flood", closed)).await;
    let mut launch = Launch::new(RULE, &backend.url);
    launch.prometheus.concurrency = 4;
    let app = launch.start().await;
    let read = async |namespace: &str, number: usize| {
        let selector = format!("labelSelector=queue%3D{number}");
        app.get(&external(&format!("namespaces/{namespace}/queue?{selector}"))).await.status
    };
    let flood = futures::future::join_all((0..20).map(|number| read("flood", number)));
    let others = async {
        until("half of the flood", async || (backend.count(Asked::is_query) >= 2).then_some(()))
            .await;
        for number in 0..20 {
            assert_eq!(read("quiet", number).await, 200);
        }
        let of_flood = |asked: &Asked| asked.parameter("query").contains("flood");
        assert_eq!(backend.count(of_flood), 2, "half of what may be under way");
        gate.send_replace(true);
    };
    let (flood, ()) = futures::future::join(flood, others).await;
    assert!(flood.iter().all(|status| *status == 200), "{flood:?}");
}

/// Somebody makes series with a label name each. Their readers are told so, and others are served.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_many_label_names_hurts_nobody_else() {
    let rows = |index: usize| {
        let name = format!("n{index:06}");
        json!({"metric": {"ns": "flood", name: "1"}, "value": [1_790_000_000, "1"]})
    };
    let rows: Vec<_> = (0..50_000).map(rows).collect();
    let many = json!({"resultType": "vector", "result": rows});
    let backend = Backend::start(knows(&["queue"], move |asked| {
        let is_flood = asked.parameter("query").contains("flood");
        if is_flood { Answer::Data(many.clone()) } else { sample() }
    }))
    .await;
    let app = Launch::new(RULE, &backend.url).start().await;
    let read =
        async |namespace: &str| app.get(&external(&format!("namespaces/{namespace}/queue"))).await;
    let flood = futures::future::join_all((0..4).map(|_| read("flood")));
    let others = futures::future::join_all((0..20).map(|_| read("quiet")));
    let (flood, others, live) = futures::future::join3(flood, others, app.get("/livez")).await;
    for reply in flood {
        assert!(reply.failure().contains("the answer of Prometheus is too large"), "{reply:?}");
    }
    assert!(others.iter().all(|reply| reply.status == 200), "{others:?}");
    assert_eq!(live.status, 200);
    app.stop().await;
}
