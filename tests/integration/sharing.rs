//! What many readers cost Prometheus and the API server, in queries, samples and LISTs.

mod outages;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use serde_json::json;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows},
    cluster::{Kubernetes, Stored, read_with},
    until,
};

const RULE: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

/// A cluster of namespaces with apps, an app being some pods with a label of their own.
#[derive(Clone, Copy)]
struct World {
    namespaces: usize,
    apps: usize,
    pods: usize,
}

/// What the backend has been asked and has given.
#[derive(Default)]
struct Traffic {
    samples: AtomicUsize,
}

fn pod(app: usize, pod: usize) -> String {
    format!("app-{app}-{pod}")
}

impl World {
    async fn cluster(self) -> Kubernetes {
        let cluster = Kubernetes::start(&[], 500).await;
        for namespace in 0..self.namespaces {
            for app in 0..self.apps {
                for index in 0..self.pods {
                    let (namespace, label) = (format!("ns-{namespace}"), format!("app-{app}"));
                    let labels = [("app", label.as_str())];
                    cluster.apply(Stored::new("pods", &namespace, &pod(app, index), &labels));
                }
            }
        }
        cluster
    }

    /// Answers as Prometheus would: every pod has the value 1.
    fn answer(self, asked: &Asked, traffic: &Traffic) -> Answer {
        let query = asked.parameter("query");
        let namespaces: Vec<String> = match matched(query, "ns") {
            Some(Matched::Names(names)) => names,
            _ => (0..self.namespaces).map(|namespace| format!("ns-{namespace}")).collect(),
        };
        let names = match matched(query, "pod") {
            Some(Matched::Names(names)) => names,
            _ => (0..self.apps)
                .flat_map(|app| (0..self.pods).map(move |index| pod(app, index)))
                .collect(),
        };
        let mut rows = Vec::new();
        for namespace in &namespaces {
            for name in &names {
                let mut labels = json!({"pod": name});
                if query.contains("by (pod,ns)") {
                    labels["ns"] = json!(namespace);
                }
                rows.push(json!({"metric": labels, "value": [1_790_000_000, "1"]}));
            }
        }
        traffic.samples.fetch_add(rows.len(), Ordering::Relaxed);
        Answer::Data(json!({"resultType": "vector", "result": rows}))
    }

    async fn backend(self) -> (Backend, Arc<Traffic>) {
        let traffic = Arc::new(Traffic::default());
        let counted = Arc::clone(&traffic);
        let script = knows(&["m"], move |asked| self.answer(asked, &counted));
        (Backend::start(script).await, traffic)
    }
}

/// What a label has to be.
enum Matched {
    Names(Vec<String>),
    Anything,
}

fn matched(query: &str, label: &str) -> Option<Matched> {
    let braces = query.split_once('{')?.1.split_once('}')?.0;
    braces.split("\",").find_map(|matcher| {
        let (name, value) = matcher.split_once('"')?;
        let value = value.trim_end_matches('"');
        match name.strip_prefix(label)? {
            "=" | "=~" => Some(Matched::Names(value.split('|').map(str::to_owned).collect())),
            "!=" => Some(Matched::Anything),
            _ => None,
        }
    })
}

/// What an autoscaler of an app reads.
fn path(namespace: usize, app: usize) -> String {
    custom(&format!("namespaces/ns-{namespace}/pods/*/m?labelSelector=app%3Dapp-{app}"))
}

fn launch(backend: &Backend, cluster: &Kubernetes) -> Launch {
    let mut launch = Launch::new(RULE, &backend.url).cluster(cluster);
    launch.planning.life.ttl = Duration::from_secs(600);
    launch.planning.across_namespaces = false;
    launch
}

fn queries(backend: &Backend) -> Vec<String> {
    let queries = backend.take().into_iter().filter(|asked| asked.is_query() && !asked.is_probe());
    queries.map(|asked| asked.parameter("query").to_owned()).collect()
}

/// Starts the watch of pods, so that what comes then is answered from it.
async fn watch_pods(app: &App, cluster: &Kubernetes) {
    until("the watch of pods", async || {
        app.get(&custom("namespaces/ns-0/pods/*/none")).await;
        app.get(&path(0, 0)).await;
        let metrics = app.get("/metrics").await.body;
        metrics.contains("resource=\"pods\",state=\"synced\"} 1").then_some(())
    })
    .await;
    cluster.take_lists();
}

async fn number(app: &App, metric: &str) -> u64 {
    let metrics = app.get("/metrics").await.body;
    let line = metrics.lines().find(|line| line.starts_with(&format!("{metric} ")));
    let line = line.unwrap_or_else(|| panic!("{metric} is not in\n{metrics}"));
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_first_readers_of_a_namespace_are_one_query() {
    let world = World { namespaces: 2, apps: 100, pods: 10 };
    let (cluster, (backend, traffic)) = (world.cluster().await, world.backend().await);
    let app = launch(&backend, &cluster).start().await;
    watch_pods(&app, &cluster).await;
    queries(&backend);
    traffic.samples.store(0, Ordering::Relaxed);

    let paths: Vec<_> = (0..1_000).map(|reader| path(1, reader % 100)).collect();
    for (reader, reply) in join_all(paths.iter().map(|path| app.get(path))).await.iter().enumerate()
    {
        let wanted: BTreeSet<_> = (0..10).map(|index| pod(reader % 100, index)).collect();
        let read: BTreeSet<_> = reply.values().into_iter().map(|(name, _)| name).collect();
        assert_eq!(read, wanted);
    }
    assert_eq!(queries(&backend), [r#"sum(m{ns="ns-1",pod!=""}) by (pod)"#]);
    assert_eq!(traffic.samples.load(Ordering::Relaxed), 1_000);
    assert_eq!(cluster.take_lists(), Vec::<String>::new());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_reader_of_a_few_pods_among_thousands_asks_for_these() {
    let world = World { namespaces: 1, apps: 2_500, pods: 2 };
    let (cluster, (backend, traffic)) = (world.cluster().await, world.backend().await);
    let app = launch(&backend, &cluster).start().await;
    watch_pods(&app, &cluster).await;
    queries(&backend);
    traffic.samples.store(0, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(app.get(&path(0, 7)).await.values().len(), 2);
    }
    assert_eq!(queries(&backend), [r#"sum(m{ns="ns-0",pod=~"app-7-0|app-7-1"}) by (pod)"#]);
    assert_eq!(traffic.samples.load(Ordering::Relaxed), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_many_pods_asks_in_parts_of_8_kib() {
    let world = World { namespaces: 1, apps: 8, pods: 1_250 };
    let (cluster, (backend, traffic)) = (world.cluster().await, world.backend().await);
    let app = launch(&backend, &cluster).start().await;
    watch_pods(&app, &cluster).await;
    queries(&backend);
    traffic.samples.store(0, Ordering::Relaxed);
    let values = app.get(&path(0, 3)).await.values();
    assert_eq!(values.len(), 1_250);
    assert!(values.is_sorted());
    let queries = queries(&backend);
    assert!(queries.len() > 1 && queries.iter().all(|query| query.len() <= 8 << 10));
    assert_eq!(traffic.samples.load(Ordering::Relaxed), 1_250);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_shares_a_result_that_is_not_kept() {
    let world = World { namespaces: 1, apps: 50, pods: 20 };
    let cluster = world.cluster().await;
    let of_the_rule = RULE.replace("  metricsQuery", "  cacheTTL: 0s\n  metricsQuery");
    for (rule, ttl) in [(RULE, 0), (&of_the_rule, 600)] {
        let (backend, traffic) = world.backend().await;
        let mut launch = Launch::new(rule, &backend.url).cluster(&cluster);
        launch.planning.life.ttl = Duration::from_secs(ttl);
        let app = launch.start().await;
        watch_pods(&app, &cluster).await;
        queries(&backend);
        traffic.samples.store(0, Ordering::Relaxed);
        let paths: Vec<_> = (0..50).map(|reader| path(0, reader)).collect();
        for reply in join_all(paths.iter().map(|path| app.get(path))).await {
            assert_eq!(reply.values().len(), 20);
        }
        let queries = queries(&backend);
        assert_eq!(queries.len(), 50);
        assert!(queries.iter().all(|query| !query.contains("pod!=")), "{queries:?}");
        assert_eq!(traffic.samples.load(Ordering::Relaxed), 1_000);
        app.stop().await;
    }
}

/// Autoscalers that each read at their own time in every period.
async fn autoscale(app: &App, world: World, period: Duration, rounds: u32) {
    let count = u32::try_from(world.namespaces * world.apps).expect("not so many");
    let start = tokio::time::Instant::now();
    let readers = (0..count).map(|reader| async move {
        let phase = period * reader / count;
        let reader = reader as usize;
        for round in 0..rounds {
            tokio::time::sleep_until(start + phase + period * round).await;
            let reply = app.get(&path(reader % world.namespaces, reader / world.namespaces)).await;
            assert_eq!(reply.values().len(), world.pods);
        }
    });
    join_all(readers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn regular_readers_never_wait_and_cost_one_query_for_each_namespace_and_life() {
    let ttl = Duration::from_millis(500);
    let period = ttl * 3;
    for across in [false, true] {
        let world = World { namespaces: 4, apps: 25, pods: 2 };
        let (cluster, (backend, _)) = (world.cluster().await, world.backend().await);
        let mut launch = launch(&backend, &cluster);
        launch.planning.life.ttl = ttl;
        launch.planning.across_namespaces = across;
        let app = launch.start().await;
        watch_pods(&app, &cluster).await;
        // Everybody's pace gets known.
        autoscale(&app, world, period, 4).await;
        let waits = number(&app, "loadline_cache_waits_total").await;
        queries(&backend);
        cluster.take_lists();
        let begin = tokio::time::Instant::now();
        autoscale(&app, world, period, 4).await;
        let queries = queries(&backend).len();
        let lives = begin.elapsed().as_millis().div_ceil(ttl.as_millis()) + 1;
        let most = lives * if across { 1 } else { 4 };
        assert!(queries > 0 && queries as u128 <= most, "{queries} queries, {most} at the most");
        assert_eq!(number(&app, "loadline_cache_waits_total").await, waits, "nobody waits");
        assert_eq!(cluster.take_lists(), Vec::<String>::new());
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_autoscalers_will_read_is_fetched_before_they_do() {
    let world = World { namespaces: 1, apps: 30, pods: 2 };
    let (cluster, (backend, _)) = (world.cluster().await, world.backend().await);
    let target = json!({"type": "Value", "value": "1"});
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": target}});
    let object = json!({"type": "Object", "object": {
        "describedObject": {"apiVersion": "v1", "kind": "Pod", "name": "app-0-0"},
        "metric": {"name": "m", "selector": {"matchLabels": {"queue": "a"}}}, "target": target,
    }});
    for (name, metric) in
        (0..30).map(|app| (format!("app-{app}"), &pods)).chain([("one".to_owned(), &object)])
    {
        cluster.apply(Stored::new("horizontalpodautoscalers", "ns-0", &name, &[]).with(json!({
            "spec": {"metrics": [metric]}, "status": read_with(2),
        })));
    }
    let app = launch(&backend, &cluster).start().await;
    until("both queries", async || (backend.count(Asked::is_query) >= 2).then_some(())).await;
    let mut asked = queries(&backend);
    asked.sort();
    assert_eq!(
        asked,
        [
            r#"sum(m{ns="ns-0",pod!=""}) by (pod)"#,
            r#"sum(m{queue="a",ns="ns-0",pod="app-0-0"}) by (pod)"#,
        ]
    );
    assert_eq!(app.get(&path(0, 5)).await.values().len(), 2);
    let read = custom("namespaces/ns-0/pods/app-0-0/m?metricLabelSelector=queue%3Da");
    assert_eq!(app.get(&read).await.values().len(), 1);
    assert_eq!(queries(&backend), Vec::<String>::new());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_autoscalers_of_all_namespaces_will_read_is_one_query() {
    let world = World { namespaces: 3, apps: 10, pods: 2 };
    let (cluster, (backend, _)) = (world.cluster().await, world.backend().await);
    let target = json!({"type": "Value", "value": "1"});
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": target}});
    for autoscaler in 0..30 {
        let (namespace, name) =
            (format!("ns-{}", autoscaler % 3), format!("app-{}", autoscaler / 3));
        let autoscaler = Stored::new("horizontalpodautoscalers", &namespace, &name, &[]);
        cluster.apply(autoscaler.with(json!({
            "spec": {"metrics": [pods]}, "status": read_with(2),
        })));
    }
    let mut launch = launch(&backend, &cluster);
    launch.planning.across_namespaces = true;
    let app = launch.start().await;
    let spans = |asked: &Asked| asked.parameter("query") == r#"sum(m{ns!="",pod!=""}) by (pod,ns)"#;
    until("the query", async || (backend.count(spans) == 1).then_some(())).await;
    // Of the first namespace that is known the others are not.
    assert!(queries(&backend).len() <= 2);
    watch_pods(&app, &cluster).await;
    let paths: Vec<_> = (0..30).map(|reader| path(reader % 3, reader / 3)).collect();
    for reply in join_all(paths.iter().map(|path| app.get(path))).await {
        assert_eq!(reply.values().len(), 2);
    }
    assert_eq!(queries(&backend), Vec::<String>::new());
    assert_eq!(cluster.take_lists(), Vec::<String>::new());
    app.stop().await;
}
