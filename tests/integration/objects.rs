//! Which objects there are, from watches of a scripted API server: what is asked of it, and what is answered while it is unwell.

use std::{sync::Arc, time::Duration};

use loadline::{
    core::{
        kinds::{Kind, Kinds},
        plan,
        prefetch::MetricSource,
        selector::Selector,
    },
    kubernetes,
    metrics::Metrics,
    objects::{Cluster, Objects, Scope, Selected, Settings, Times},
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle, task::TaskTracker};

use crate::support::{
    app::{Launch, custom},
    backend::{Answer, Backend, knows, pods},
    cluster::{Kubernetes, Object, Stored, read_with},
    install_tls_provider, until,
};

const OBJECTS: &[Object] = &[
    ("pods", "n", "web-0", &[("app", "web")]),
    ("pods", "n", "web-1", &[("app", "web")]),
    ("pods", "n", "db-0", &[("app", "db")]),
    ("pods", "other", "web-0", &[("app", "web")]),
    ("nodes", "", "n1", &[("zone", "a")]),
];

const RULE: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: <<.Series>>{<<.LabelMatchers>>}\n";

/// The objects of a scripted cluster, as a running process has them.
struct Stage {
    cluster: Kubernetes,
    objects: Objects,
    metrics: Arc<Metrics>,
    kinds: Kinds,
    _watches: AbortOnDropHandle<()>,
}

/// Times that no test reaches.
fn patient() -> Times {
    let long = Duration::from_secs(600);
    Times { patience: long, tolerance: long, idle: long, refused: long }
}

impl Stage {
    async fn new(times: Times, list_ttl: Duration) -> Self {
        Self::with(Kubernetes::start(OBJECTS, 2).await, times, list_ttl).await
    }

    async fn with(cluster: Kubernetes, times: Times, list_ttl: Duration) -> Self {
        install_tls_provider();
        let client = kubernetes::connect(Some(&cluster.kubeconfig)).await.unwrap();
        let metrics = Arc::new(Metrics::default());
        let settings = Settings { list_ttl, times };
        let (objects, watches) =
            Cluster::new(client, Arc::clone(&metrics), settings, TaskTracker::new());
        let watches = AbortOnDropHandle::new(tokio::spawn(watches.run(CancellationToken::new())));
        let objects = Objects::Cluster(objects);
        Self { cluster, objects, metrics, kinds: Kinds::builtin(), _watches: watches }
    }

    fn kind(&self, resource: &str) -> &Kind {
        self.kinds.resolve("", resource).unwrap()
    }

    async fn select(&self, selector: &str) -> Selected {
        let selector = Selector::parse(selector).unwrap();
        self.objects.select(self.kind("pods"), Some("n"), &selector).await.unwrap()
    }

    async fn names(&self, selector: &str) -> Vec<String> {
        names(&self.select(selector).await)
    }

    async fn until_names(&self, selector: &str, wanted: &[&str]) {
        until(&format!("`{selector}` is {wanted:?}"), async || {
            (self.names(selector).await == wanted).then_some(())
        })
        .await;
    }

    async fn until_metric(&self, line: &str) {
        until(line, async || self.has_metric(line).then_some(())).await;
    }

    fn has_metric(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|found| found == line)
    }
}

fn names(selected: &Selected) -> Vec<String> {
    match &selected.objects {
        plan::Objects::Named(names) => names.iter().map(ToString::to_string).collect(),
        plan::Objects::Any => panic!("objects are known"),
    }
}

fn pod(name: &str, app: &str) -> Stored {
    Stored::new("pods", "n", name, &[("app", app)])
}

const SYNCED: &str = r#"loadline_watches{resource="pods",state="synced"} 1"#;

const UNSYNCED: &str = r#"loadline_watches{resource="pods",state="unsynced"} 1"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_in_the_answers_without_a_list() {
    let stage = Stage::new(patient(), Duration::ZERO).await;
    let first = stage.select("app=web").await;
    assert_eq!(names(&first), ["web-0", "web-1"]);
    assert_eq!(first.population, Some(3));
    let lists = stage.cluster.take_lists();
    assert_eq!(lists, ["/api/v1/pods?&limit=500", "/api/v1/pods?&limit=500&continue=2"]);
    let watches = stage.cluster.take_watches();
    assert_eq!(watches.len(), 1, "{watches:?}");
    assert!(watches[0].contains("allowWatchBookmarks=true&resourceVersion=1"), "{watches:?}");

    let nodes = stage.objects.select(stage.kind("nodes"), None, &Selector::default()).await;
    assert_eq!(names(&nodes.unwrap()), ["n1"]);
    assert_eq!(stage.cluster.take_lists(), ["/api/v1/nodes?&limit=500"]);

    stage.cluster.apply(pod("web-2", "web"));
    stage.until_names("app=web", &["web-0", "web-1", "web-2"]).await;
    stage.cluster.delete("pods", "n", "web-0");
    stage.until_names("app=web", &["web-1", "web-2"]).await;
    stage.cluster.apply(pod("web-1", "db"));
    stage.until_names("app=web", &["web-2"]).await;
    assert_eq!(stage.names("app=db").await, ["db-0", "web-1"]);

    // The one has the same labels, the other is elsewhere; the third shows that both have been told.
    stage.cluster.apply(pod("db-0", "db").with(json!({"status": {"phase": "Failed"}})));
    stage.cluster.apply(Stored::new("pods", "other", "web-9", &[]));
    stage.cluster.apply(Stored::new("pods", "third", "last", &[]));
    until("the last pod is known", async || {
        let kind = stage.kind("pods");
        let third = stage.objects.select(kind, Some("third"), &Selector::default()).await;
        (names(&third.unwrap()) == ["last"]).then_some(())
    })
    .await;
    assert_eq!(stage.select("").await.population, Some(3));

    stage.until_metric(SYNCED).await;
    stage.until_metric(r#"loadline_watched_objects{resource="pods"} 6"#).await;
    assert_eq!(stage.cluster.take_lists(), [""; 0], "a synced watch needs no list");
    assert_eq!(stage.cluster.take_watches().len(), 1, "that of nodes");
}

#[tokio::test(flavor = "multi_thread")]
async fn running_pods_are_watched_for_themselves() {
    let stage = Stage::new(patient(), Duration::ZERO).await;
    let phase = |phase: &str| pod("web-0", "web").with(json!({"status": {"phase": phase}}));
    stage.cluster.apply(phase("Running"));
    let running = async || {
        let everything = Selector::default();
        let kind = stage.kind("pods");
        let selected =
            stage.objects.select_within(Scope::Running, kind, Some("n"), &everything).await;
        names(&selected.unwrap())
    };
    assert_eq!(running().await, ["web-0"]);
    let lists = stage.cluster.take_lists();
    assert!(lists[0].contains("fieldSelector=status.phase%3DRunning"), "{lists:?}");
    assert_eq!(stage.names("").await.len(), 3);
    stage.cluster.apply(phase("Succeeded"));
    until("the pod has ended", async || running().await.is_empty().then_some(())).await;
    assert_eq!(stage.names("").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_answers_before_the_first_sync() {
    let times = Times { patience: Duration::ZERO, ..patient() };
    let stage = Stage::new(times, Duration::ZERO).await;
    stage.cluster.hold(true);
    let selected = stage.select("app=web").await;
    assert_eq!(names(&selected), ["web-0", "web-1"]);
    assert_eq!(selected.population, None, "listed");
    let is_ours = |list: &String| list.starts_with("/api/v1/namespaces/n/pods?");
    let lists = stage.cluster.take_lists();
    let ours: Vec<_> = lists.iter().filter(|list| is_ours(list)).collect();
    assert_eq!(ours.len(), 1, "{lists:?}");
    assert!(ours[0].contains("labelSelector=app%3Dweb"), "the server selects: {lists:?}");
    stage.cluster.hold(false);
    stage.until_metric(SYNCED).await;
    stage.cluster.take_lists();
    assert_eq!(stage.select("app=web").await.population, Some(3));
    assert_eq!(stage.cluster.take_lists(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_refused_leaves_lists_which_are_shared() {
    for (verb, status) in [("list", 403), ("watch", 403), ("list", 401), ("watch", 405)] {
        let stage = Stage::new(patient(), Duration::from_secs(600)).await;
        stage.cluster.refuse(verb, "pods", Some(status));
        let selected = stage.select("app=web").await;
        assert_eq!(names(&selected), ["web-0", "web-1"], "{verb}");
        assert_eq!(selected.population, None, "listed");
        stage.cluster.take_lists();
        assert_eq!(stage.names("app=web").await, ["web-0", "web-1"]);
        assert_eq!(stage.cluster.take_lists(), [""; 0], "kept");
        assert_eq!(stage.names("app=db").await, ["db-0"]);
        assert_eq!(stage.cluster.take_lists().len(), 1, "another selector is another question");
        assert!(stage.has_metric(UNSYNCED));
        stage.until_metric(r#"loadline_watch_restarts_total{resource="pods"} 1"#).await;
        let lists = r#"loadline_kubernetes_lists_total{resource="pods",outcome="success"} 2"#;
        assert!(stage.has_metric(lists), "{}", stage.metrics.encode());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_was_refused_is_tried_again() {
    let stage = Stage::new(Times { refused: Duration::ZERO, ..patient() }, Duration::ZERO).await;
    stage.cluster.refuse("watch", "pods", Some(403));
    assert_eq!(stage.select("").await.population, None, "listed");
    stage.cluster.refuse("watch", "pods", None);
    stage.until_metric(SYNCED).await;
    assert_eq!(stage.select("").await.population, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_starts_refuses_for_a_moment_which_costs_no_lists() {
    let stage = Stage::new(patient(), Duration::ZERO).await;
    assert_eq!(stage.select("").await.population, Some(3));
    stage.until_metric(SYNCED).await;
    stage.cluster.refuse("watch", "pods", Some(403));
    stage.cluster.break_watches();
    stage.until_metric(UNSYNCED).await;
    assert_eq!(stage.select("").await.population, Some(3), "of the watch");
    stage.cluster.refuse("watch", "pods", None);
    stage.until_metric(SYNCED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_is_forgotten_once_it_may_not_be_known() {
    let stage = Stage::new(Times { tolerance: Duration::ZERO, ..patient() }, Duration::ZERO).await;
    assert_eq!(stage.select("").await.population, Some(3));
    stage.cluster.refuse("watch", "pods", Some(403));
    stage.cluster.break_watches();
    stage.until_metric(r#"loadline_watched_objects{resource="pods"} 0"#).await;
    assert_eq!(stage.select("").await.population, None, "listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_kept_for_the_ttl_only() {
    let stage = Stage::new(patient(), Duration::from_millis(50)).await;
    stage.cluster.refuse("list", "pods", Some(403));
    assert_eq!(stage.names("app=web").await, ["web-0", "web-1"]);
    stage.cluster.delete("pods", "n", "web-0");
    stage.until_names("app=web", &["web-1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_breaks_goes_on_where_it_was() {
    let stage = Stage::new(patient(), Duration::ZERO).await;
    stage.select("app=web").await;
    let version = stage.cluster.bookmark();
    // Shows that the bookmark has been told.
    stage.cluster.apply(pod("web-2", "web"));
    stage.until_names("app=web", &["web-0", "web-1", "web-2"]).await;
    stage.cluster.take_watches();
    stage.cluster.take_lists();
    stage.cluster.break_watches();
    let watches = until("the watch is resumed", async || {
        Some(stage.cluster.take_watches()).filter(|watches| !watches.is_empty())
    })
    .await;
    assert!(watches[0].ends_with(&format!("resourceVersion={}", version + 1)), "{watches:?}");
    stage.cluster.delete("pods", "n", "web-0");
    stage.until_names("app=web", &["web-1", "web-2"]).await;
    assert_eq!(stage.cluster.take_lists(), [""; 0], "nothing was missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_watch_answers_for_a_while_only() {
    for (tolerance, population) in [(Duration::from_secs(600), Some(3)), (Duration::ZERO, None)] {
        let stage = Stage::new(Times { tolerance, ..patient() }, Duration::ZERO).await;
        assert_eq!(stage.select("").await.population, Some(3));
        // It is said a moment later than it is so.
        stage.until_metric(SYNCED).await;
        stage.cluster.refuse("watch", "pods", Some(500));
        stage.cluster.break_watches();
        stage.until_metric(UNSYNCED).await;
        stage.cluster.take_lists();
        let selected = stage.select("").await;
        assert_eq!(names(&selected), ["db-0", "web-0", "web-1"]);
        assert_eq!(selected.population, population);
        let is_listed = population.is_none();
        assert_eq!(stage.cluster.take_lists().len(), 2 * usize::from(is_listed), "of two pages");
        stage.cluster.refuse("watch", "pods", None);
        stage.until_metric(SYNCED).await;
        assert_eq!(stage.select("").await.population, Some(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_listed_while_answers_go_on() {
    let stage = Stage::new(patient(), Duration::ZERO).await;
    stage.select("").await;
    stage.cluster.take_lists();
    stage.cluster.hold(true);
    stage.cluster.compact();
    until("a list begins", async || (!stage.cluster.take_lists().is_empty()).then_some(())).await;
    let meanwhile = stage.select("").await;
    assert_eq!(names(&meanwhile), ["db-0", "web-0", "web-1"]);
    assert_eq!(meanwhile.population, Some(3), "by the watch");
    stage.cluster.delete("pods", "n", "web-0");
    stage.cluster.hold(false);
    stage.until_names("", &["db-0", "web-1"]).await;
    assert!(stage.cluster.take_lists().iter().all(|list| list.starts_with("/api/v1/pods?")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_nobody_asks_ends_and_begins_anew() {
    let stage =
        Stage::new(Times { idle: Duration::from_secs(1), ..patient() }, Duration::ZERO).await;
    stage.select("").await;
    stage.until_metric(SYNCED).await;
    stage.until_metric(r#"loadline_watches{resource="pods",state="synced"} 0"#).await;
    assert!(stage.has_metric(r#"loadline_watched_objects{resource="pods"} 0"#));
    stage.cluster.take_lists();
    assert_eq!(stage.select("").await.population, Some(3));
    assert_eq!(stage.cluster.take_lists().len(), 2, "nobody knows what happened in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_of_a_resource_that_goes_ends() {
    let stage = Stage::new(patient(), Duration::ZERO).await;
    stage.select("").await;
    stage.cluster.refuse("watch", "pods", Some(404));
    stage.cluster.refuse("list", "pods", Some(404));
    stage.cluster.break_watches();
    stage.until_metric(r#"loadline_watches{resource="pods",state="synced"} 0"#).await;
    stage.until_metric(r#"loadline_watches{resource="pods",state="unsynced"} 0"#).await;
    stage.cluster.take_lists();
    // What is asked then is answered by a LIST, which the API server has to refuse.
    stage.cluster.fail_lists(Some(404));
    let kind = stage.kind("pods");
    stage.objects.select(kind, Some("n"), &Selector::default()).await.unwrap_err();
    assert!(!stage.cluster.take_lists().is_empty());
    // It may come back.
    stage.cluster.fail_lists(None);
    stage.cluster.refuse("watch", "pods", None);
    stage.cluster.refuse("list", "pods", None);
    until("it is watched again", async || stage.select("").await.population).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_need_no_list_once_the_watch_is_synced() {
    let cluster = Kubernetes::start(OBJECTS, 2).await;
    let answer = Answer::Data(pods(&[("web-0", "1"), ("web-1", "2"), ("db-0", "3")]));
    let backend = Backend::start(knows(&["m"], move |_| answer.clone())).await;
    let app = Launch::new(RULE, &backend.url).cluster(&cluster).start().await;
    let read = custom("namespaces/n/pods/*/m?labelSelector=app%3Dweb");
    app.get(&read).await.values();
    cluster.take_lists();
    for _ in 0..50 {
        let values = app.get(&read).await.values();
        assert_eq!(values.len(), 2, "{values:?}");
    }
    assert_eq!(cluster.take_lists(), [""; 0]);
    // The HPA averages over what it is given: what is gone must not be in it.
    cluster.delete("pods", "n", "web-0");
    until("the pod is gone", async || {
        let values = app.get(&read).await.values();
        (values == [("web-1".to_owned(), "2".to_owned())]).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_lists_nothing_is_an_error_of_ours() {
    for status in [500, 403, 429, 503] {
        let cluster = Kubernetes::start(OBJECTS, 2).await;
        cluster.fail_lists(Some(status));
        let backend =
            Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("web-0", "1")])))).await;
        let app = Launch::new(RULE, &backend.url).cluster(&cluster).start().await;
        let reply = app.get(&custom("namespaces/n/pods/*/m")).await;
        assert_eq!(reply.status, 500);
        assert_eq!(reply.json()["reason"], "InternalError");
        let message = reply.failure();
        let wanted = "Internal error occurred: unable to list matching resources";
        assert!(message.starts_with(wanted), "{message}");
        assert!(!reply.body.contains("secret-user"), "{message}");
        cluster.fail_lists(None);
        app.get(&custom("namespaces/n/pods/*/m")).await.values();
        app.stop().await;
    }
}

fn autoscaler(name: &str, metric: &Value, replicas: usize) -> Stored {
    Stored::new("horizontalpodautoscalers", "n", name, &[]).with(json!({
        "spec": {"metrics": [metric]}, "status": read_with(replicas),
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_autoscalers_will_ask_for_is_known() {
    let cluster = Kubernetes::start(&[], 2).await;
    let target = json!({"type": "Value", "value": "1"});
    let rate = json!({"type": "Pods", "pods": {"metric": {"name": "rate"}, "target": target}});
    let queue =
        json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}});
    cluster.apply(autoscaler("web", &rate, 3));
    cluster.apply(autoscaler("jobs", &queue, 1));
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[])))).await;
    let app = Launch::new(RULE, &backend.url).cluster(&cluster).start().await;
    let mut reads = app.expected_reads.clone().expect("there is a cluster");
    let known = reads.wait_for(|reads| !reads.is_empty()).await.unwrap().clone();
    let names: Vec<_> = known.iter().map(|read| read.metric.as_str()).collect();
    assert_eq!(names, ["queue", "rate"], "sorted by the name of the autoscaler");
    assert_eq!(known[0].source, MetricSource::External);
    assert_eq!((&known[1].source, known[1].replicas), (&MetricSource::Pods, 3));
    let metrics = app.get("/metrics").await.body;
    assert!(metrics.contains("loadline_autoscalers 2\n"), "{metrics}");
    assert!(metrics.contains("loadline_autoscaler_metrics 2\n"), "{metrics}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_access_to_autoscalers_everything_goes_on() {
    let cluster = Kubernetes::start(OBJECTS, 2).await;
    cluster.refuse("list", "horizontalpodautoscalers", Some(403));
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("web-0", "1")])))).await;
    let app = Launch::new(RULE, &backend.url).cluster(&cluster).start().await;
    until("a list was tried", async || (cluster.autoscaler_requests() > 0).then_some(())).await;
    assert_eq!(app.get(&custom("namespaces/n/pods/*/m")).await.values().len(), 1);
    assert!(app.expected_reads.as_ref().is_some_and(|reads| reads.borrow().is_empty()));
    app.stop().await;
}
