//! What readers get, and what is asked, while Prometheus is away, does not answer or refuses the shared query.

use serde_json::Value;

use super::*;

/// A rule that has a value for every pod, whoever is asked for: 0 where there is no other.
const OR_ZERO: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) or sum(info{ns=\"ns-0\"}) by (pod) * 0\n";

const USAGE: &str = "/apis/metrics.k8s.io/v1beta1";

/// Longer than a crowd takes to come.
const TIMEOUT: Duration = Duration::from_secs(2);

impl World {
    /// Answers [`OR_ZERO`] as Prometheus would: 1 for the pods that are asked for, 0 for the others.
    fn or_zero(self, asked: &Asked) -> Answer {
        let Some(Matched::Names(names)) = matched(asked.parameter("query"), "pod") else {
            panic!("no names: {asked:?}")
        };
        let known = (0..self.apps).flat_map(|app| (0..=self.pods).map(move |of| pod(app, of)));
        let row = |name: String| {
            let value = if names.contains(&name) { "1" } else { "0" };
            json!({"metric": {"pod": name}, "value": [1_790_000_000, value]})
        };
        let rows: Vec<_> = known.map(row).collect();
        Answer::Data(json!({"resultType": "vector", "result": rows}))
    }
}

/// Not answering these queries.
fn hanging(world: World, hangs: fn(&str) -> bool) -> impl Fn(&Asked) -> Answer {
    move |asked| {
        if hangs(asked.parameter("query")) {
            return Answer::Hang;
        }
        world.answer(asked, &Traffic::default())
    }
}

fn is_wide(query: &str) -> bool {
    query.contains("pod!=")
}

#[tokio::test(flavor = "multi_thread")]
async fn old_results_are_read_for_the_objects_that_they_were_asked_for() {
    let world = World { namespaces: 1, apps: 5, pods: 100 };
    for (max_query_bytes, parts) in [(800, 2), (8 << 10, 1)] {
        let cluster = world.cluster().await;
        let backend = Backend::start(knows(&["m"], move |asked| world.or_zero(asked))).await;
        let mut launch = Launch::new(OR_ZERO, &backend.url).cluster(&cluster);
        launch.planning.life.ttl = Duration::from_millis(50);
        launch.planning.life.max_stale = Duration::from_secs(600);
        launch.planning.max_query_bytes = max_query_bytes;
        let app = launch.start().await;
        watch_pods(&app, &cluster).await;
        queries(&backend);
        let before = app.get(&path(0, 3)).await.values();
        assert_eq!(before.len(), 100);
        assert_eq!(queries(&backend).len(), parts);

        backend.play(knows(&["m"], |_| Answer::Raw(503, "text/plain", "away".to_owned())));
        // One that no result was asked for, though each has a value for it.
        cluster.apply(Stored::new("pods", "ns-0", &pod(3, 100), &[("app", "app-3")]));
        cluster.delete("pods", "ns-0", &pod(3, 1));
        let after = until("the deleted pod is gone", async || {
            let values = app.get(&path(0, 3)).await.values();
            values.iter().all(|(name, _)| *name != pod(3, 1)).then_some(values)
        })
        .await;
        let wanted: Vec<_> = before.into_iter().filter(|(name, _)| *name != pod(3, 1)).collect();
        assert_eq!(after, wanted);
        assert!(after.iter().all(|(_, value)| value == "1"), "{after:?}");
        app.stop().await;
    }
}

fn timestamps(body: &Value) -> Vec<&str> {
    let items = body["items"].as_array().expect("items").iter();
    items.map(|item| item["timestamp"].as_str().expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_prometheus_is_away_the_last_values_of_pods_that_exist_are_used_for_a_while() {
    let world = World { namespaces: 1, apps: 1, pods: 3 };
    let (cluster, (backend, _)) = (world.cluster().await, world.backend().await);
    let mut launch = launch(&backend, &cluster);
    launch.planning.life.ttl = Duration::from_millis(50);
    launch.planning.life.max_stale = Duration::from_secs(3);
    let app = launch.start().await;
    watch_pods(&app, &cluster).await;
    let before = app.get(&path(0, 0)).await.json();
    backend.play(knows(&["m"], |_| Answer::Raw(503, "text/plain", "away".to_owned())));
    cluster.delete("pods", "ns-0", &pod(0, 1));
    let after = until("the deleted pod is gone", async || {
        let reply = app.get(&path(0, 0)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        (reply.values().len() == 2).then_some(reply.json())
    })
    .await;
    assert_eq!(timestamps(&after), [timestamps(&before)[0]; 2], "the time of the evaluation");
    let stale = async || (app.get(&path(0, 0)).await.status == 500).then_some(());
    until("the last value is too old", stale).await;
    assert!(number(&app, "loadline_cache_stale_age_seconds_count").await > 0);
    backend.play(knows(&["m"], move |asked| world.answer(asked, &Traffic::default())));
    until("Prometheus is back", async || (app.get(&path(0, 0)).await.status == 200).then_some(()))
        .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_query_that_is_refused_makes_way_for_exact_ones_at_once() {
    let world = World { namespaces: 1, apps: 20, pods: 1 };
    let cluster = world.cluster().await;
    let backend = Backend::start(knows(&["m"], move |asked| {
        if asked.parameter("query").contains("pod!=") {
            let body = json!({"status": "error", "errorType": "execution", "error": "found duplicate series"});
            return Answer::Raw(422, "application/json", body.to_string());
        }
        world.answer(asked, &Traffic::default())
    }))
    .await;
    let app = launch(&backend, &cluster).start().await;
    watch_pods(&app, &cluster).await;
    queries(&backend);
    let paths: Vec<_> = (1..20).map(|reader| path(0, reader)).collect();
    for reply in join_all(paths.iter().map(|path| app.get(path))).await {
        assert_eq!(reply.values().len(), 1);
    }
    let (shared, exact): (Vec<_>, Vec<_>) =
        queries(&backend).into_iter().partition(|query| query.contains("pod!="));
    assert_eq!((shared.len(), exact.len()), (1, 19));
    app.stop().await;
}

/// A world whose backend is not waited for long, and has not been asked anything yet.
async fn impatient(world: World) -> (Backend, Kubernetes, App) {
    let (cluster, (backend, _)) = (world.cluster().await, world.backend().await);
    let mut launch = launch(&backend, &cluster);
    launch.prometheus.query_timeout = TIMEOUT;
    let app = launch.start().await;
    watch_pods(&app, &cluster).await;
    queries(&backend);
    (backend, cluster, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_hangs_is_asked_no_exact_queries() {
    let world = World { namespaces: 2, apps: 20, pods: 2 };
    let (backend, _cluster, app) = impatient(world).await;
    backend.play(knows(&["m"], |_| Answer::Hang));
    let paths: Vec<_> = (0..20).map(|reader| path(1, reader)).collect();
    for reply in join_all(paths.iter().map(|path| app.get(path))).await {
        assert_eq!(reply.status, 500);
        assert!(reply.failure().ends_with("Prometheus did not answer in time"), "{reply:?}");
    }
    assert_eq!(backend.count(Asked::is_probe), 1, "for all readers");
    let (shared, exact): (Vec<_>, Vec<_>) = queries(&backend).into_iter().partition(|q| is_wide(q));
    assert_eq!((shared.len(), exact.len()), (1, 0), "{exact:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_query_that_is_too_slow_makes_way_for_exact_ones() {
    let world = World { namespaces: 2, apps: 20, pods: 2 };
    let (backend, _cluster, app) = impatient(world).await;
    backend.play(knows(&["m"], hanging(world, is_wide)));
    let paths: Vec<_> = (0..20).map(|reader| path(1, reader)).collect();
    for wide in [1, 0] {
        let (now, later) = paths.split_at(10);
        for reply in
            join_all((if wide == 1 { now } else { later }).iter().map(|path| app.get(path))).await
        {
            assert_eq!(reply.values().len(), 2);
        }
        let (shared, exact): (Vec<_>, Vec<_>) =
            queries(&backend).into_iter().partition(|q| is_wide(q));
        assert_eq!((shared.len(), exact.len()), (wide, 10));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_not_tried_where_the_cluster_is_not_answered() {
    let world = World { namespaces: 2, apps: 10, pods: 2 };
    let (cluster, (backend, _)) = (world.cluster().await, world.backend().await);
    let mut launch = launch(&backend, &cluster);
    launch.planning.across_namespaces = true;
    launch.planning.life.ttl = TIMEOUT;
    launch.planning.life.max_stale = Duration::ZERO;
    launch.prometheus.query_timeout = TIMEOUT;
    let app = launch.start().await;
    watch_pods(&app, &cluster).await;
    // All that there is in the namespace, for which one query for the namespace always pays.
    let all = custom("namespaces/ns-1/pods/*/m");
    let spans = |asked: &Asked| asked.parameter("query").contains("ns!=");
    until("one query for the cluster", async || {
        let paths: Vec<_> = (0..20).map(|reader| path(reader % 2, reader / 2)).collect();
        join_all(paths.iter().map(|path| app.get(path))).await;
        assert_eq!(app.get(&all).await.values().len(), 20);
        (backend.count(spans) > 0).then_some(())
    })
    .await;
    backend.play(knows(&["m"], |_| Answer::Hang));
    queries(&backend);
    until("the last result is too old", async || (app.get(&all).await.status == 500).then_some(()))
        .await;
    let asked = queries(&backend);
    let is_of_namespace = |query: &&String| query.contains("ns=\"ns-1\"");
    let (of_namespace, exact): (Vec<_>, Vec<_>) =
        asked.iter().filter(is_of_namespace).partition(|query| is_wide(query));
    assert_eq!((of_namespace.len(), exact.len()), (0, 0), "{asked:?}");
    app.stop().await;
}

/// A world whose readers share one query for all namespaces.
async fn spanning(world: World, ttl: Duration) -> (Backend, Kubernetes, App) {
    let (cluster, (backend, _)) = (world.cluster().await, world.backend().await);
    let mut launch = launch(&backend, &cluster);
    launch.planning.across_namespaces = true;
    launch.planning.life.ttl = ttl;
    let app = launch.start().await;
    watch_pods(&app, &cluster).await;
    (backend, cluster, app)
}

fn spans(query: &str) -> bool {
    query.contains("ns!=")
}

/// Reads of all apps of all namespaces at once.
async fn read_all(app: &App, world: World) {
    let all = world.namespaces * world.apps;
    let paths: Vec<_> =
        (0..all).map(|at| path(at % world.namespaces, at / world.namespaces)).collect();
    for reply in join_all(paths.iter().map(|path| app.get(path))).await {
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.values().len(), world.pods);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_forbids_a_query_for_all_namespaces_gets_narrower_ones() {
    for (status, body) in
        [(403, "forbidden"), (504, "upstream timed out"), (502, "<html>bad gateway</html>")]
    {
        let world = World { namespaces: 4, apps: 10, pods: 2 };
        let (backend, _cluster, app) = spanning(world, Duration::from_secs(600)).await;
        backend.play(knows(&["m"], move |asked| {
            if spans(asked.parameter("query")) {
                return Answer::Raw(status, "text/plain", body.to_owned());
            }
            world.answer(asked, &Traffic::default())
        }));
        until("a query for all namespaces", async || {
            read_all(&app, world).await;
            (backend.count(|asked| spans(asked.parameter("query"))) > 0).then_some(())
        })
        .await;
        // It is not sent for a while.
        queries(&backend);
        for _ in 0..5 {
            read_all(&app, world).await;
        }
        assert!(!queries(&backend).iter().any(|query| spans(query)), "{status}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_result_of_all_namespaces_is_read_where_every_query_is_refused() {
    let world = World { namespaces: 4, apps: 10, pods: 2 };
    let (backend, _cluster, app) = spanning(world, Duration::from_secs(1)).await;
    until("a query for all namespaces", async || {
        read_all(&app, world).await;
        (backend.count(|asked| spans(asked.parameter("query"))) > 0).then_some(())
    })
    .await;
    let body = json!({"status": "error", "errorType": "execution", "error": "storage"}).to_string();
    backend.play(knows(&["m"], move |_| Answer::Raw(422, "application/json", body.clone())));
    let stale = "loadline_cache_stale_age_seconds_count";
    let before = number(&app, stale).await;
    until("results are stale", async || {
        read_all(&app, world).await;
        (number(&app, stale).await > before).then_some(())
    })
    .await;
    app.stop().await;
}

const USAGE_RULES: &str = include_str!("../../../deploy/overlays/resource-metrics/config.yaml");

/// A cluster of running pods, one in each of so many namespaces.
async fn running(namespaces: usize) -> Kubernetes {
    let cluster = Kubernetes::start(&[], 500).await;
    for namespace in 0..namespaces {
        let pod = Stored::new("pods", &format!("ns-{namespace}"), "web", &[]);
        cluster.apply(pod.with(json!({"status": {"phase": "Running"}})));
    }
    cluster
}

fn is_everywhere(query: &str) -> bool {
    query.contains("namespace!=")
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_not_asked_one_by_one_where_prometheus_hangs() {
    let cluster = running(12).await;
    let backend = Backend::start(|_| Answer::Hang).await;
    let mut launch = Launch::new(USAGE_RULES, &backend.url).cluster(&cluster);
    launch.planning.life.ttl = Duration::from_secs(600);
    launch.prometheus.query_timeout = TIMEOUT;
    let app = launch.start().await;
    queries(&backend);
    let path = format!("{USAGE}/pods");
    for reply in join_all((0..5).map(|_| app.get(&path))).await {
        assert_eq!(reply.status, 503);
        assert!(reply.failure().ends_with("Prometheus did not answer in time"), "{reply:?}");
    }
    let (everywhere, others): (Vec<_>, Vec<_>) =
        queries(&backend).into_iter().partition(|query| is_everywhere(query));
    assert_eq!(
        (everywhere.len(), others.len()),
        (2, 0),
        "one for CPU and one for memory: {others:?}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_of_the_cluster_that_is_too_slow_makes_way_for_that_of_namespaces() {
    let cluster = running(12).await;
    let backend = Backend::start(|asked| {
        let query = asked.parameter("query");
        if is_everywhere(query) {
            return Answer::Hang;
        }
        let row =
            json!({"metric": {"pod": "web", "container": "c"}, "value": [1_790_000_000, "1"]});
        Answer::Data(json!({"resultType": "vector", "result": [row]}))
    })
    .await;
    let mut launch = Launch::new(USAGE_RULES, &backend.url).cluster(&cluster);
    launch.planning.life.ttl = Duration::from_millis(1);
    launch.prometheus.query_timeout = TIMEOUT;
    let app = launch.start().await;
    for everywhere in [2, 0] {
        queries(&backend);
        let list = app.get(&format!("{USAGE}/pods")).await.json();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(12), "{list}");
        let asked = queries(&backend);
        assert_eq!(asked.iter().filter(|query| is_everywhere(query)).count(), everywhere);
    }
    app.stop().await;
}
