//! Discovery against real stores, and against a backend that plays tricks.

mod contests;
mod idle;
mod limits;
mod names;
mod partial;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::watch;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
    cluster::Kubernetes,
    exporter::{Exporter, Page},
    store::Store,
    until,
};

const NO_SERIES: Duration = Duration::from_secs(4);

/// A rule for pods: what is asked for, and what its metrics are called.
fn rule(selector: &str, name: &str) -> String {
    format!(
        "- seriesQuery: '{selector}'\n  name: {name}\n  resources: {{overrides: {{namespace: {{resource: namespace}}, pod: {{resource: pod}}}}}}\n  metricsQuery: max(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)\n"
    )
}

fn rules(rules: &[String]) -> String {
    format!("rules:\n{}", rules.concat())
}

async fn value(app: &App, pod: &str, metric: &str) -> Option<String> {
    let reply = app.get(&custom(&format!("namespaces/n/pods/{pod}/{metric}"))).await;
    if reply.status != 200 {
        return None;
    }
    reply.values().pop().map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_prometheus() {
    let exporter = Exporter::start(Page::new().pods("few", "n", 1)).await;
    let store = Store::prometheus(&exporter).await;
    with_a_real_store(&exporter, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_victoria_metrics() {
    let exporter = Exporter::start(Page::new().pods("few", "n", 1)).await;
    let store = Store::victoria_metrics(&exporter).await;
    with_a_real_store(&exporter, &store).await;
}

/// A number at `/metrics`.
async fn told(app: &App, metric: &str) -> u64 {
    let metrics = app.get("/metrics").await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{metric} is not in\n{metrics}")).parse().unwrap()
}

async fn with_a_real_store(exporter: &Exporter, store: &Store) {
    bytes_do_not_grow_with_series(exporter, store).await;
    a_dead_series_does_not_shadow_a_live_one(exporter, store).await;
    a_new_metric_works_at_once(exporter, store).await;
}

async fn bytes_do_not_grow_with_series(exporter: &Exporter, store: &Store) {
    let text = rules(&[rule("{__name__=~\"few|size_.*\",namespace!=\"\",pod!=\"\"}", "{as: $0}")]);
    let mut received = Vec::new();
    for count in [200, 4_000] {
        exporter.show(
            Page::new().pods("few", "n", 1).pods("size_a", "n", count).pods("size_b", "n", count),
        );
        store.until(&format!("count(size_b{{*}}) == {count}")).await;
        let app = Launch::new(&text, &store.url).start().await;
        let traffic = app.prometheus.traffic();
        received.push((traffic.received_bytes(), traffic.metadata_requests(), traffic.queries()));
        assert_eq!(app.discovery.catalog().len(), 6, "three names, for pods and for namespaces");
        assert_eq!(value(&app, "pod-199", "size_a").await.as_deref(), Some("1"));
    }
    assert_eq!(received[0], received[1], "bytes, metadata requests and queries");
    assert!(received[0].0 < 1_000, "{received:?}");
}

/// Two series of one rule are called the same. The one that would win disappears; the other is read from then on, although
/// the store still has the first one's name.
async fn a_dead_series_does_not_shadow_a_live_one(exporter: &Exporter, store: &Store) {
    let pod = "namespace=\"n\",pod=\"p\"";
    let page = Page::new().series("old_load", pod, "1");
    exporter.show(page.clone().series("young_load", pod, "2"));
    store.until("young_load{*}").await;
    let name = "{matches: \"^(old|young)_(.*)$\", as: \"$2\"}";
    let selector = "{__name__=~\"^(old|young)_.*\",namespace!=\"\"}";
    let mut launch = Launch::new(&rules(&[rule(selector, name)]), &store.url);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = NO_SERIES;
    let app = launch.start().await;
    assert_eq!(value(&app, "p", "load").await.as_deref(), Some("2"));

    exporter.show(page);
    until("the live series is read", async || {
        value(&app, "p", "load").await.filter(|value| value == "1")
    })
    .await;
    let now = jiff::Timestamp::now().as_second();
    let (start, end) = ((now - 4).to_string(), (now + 1).to_string());
    let range = [("match[]", selector), ("start", &start), ("end", &end)];
    let names = store.ask("label/__name__/values", &range).await.unwrap();
    assert_eq!(
        names,
        json!(["old_load", "young_load"]),
        "the store has forgotten: nothing was tested"
    );
}

async fn a_new_metric_works_at_once(exporter: &Exporter, store: &Store) {
    let rule =
        rule("{__name__=~\"^app_.*\",namespace!=\"\",pod!=\"\"}", "{matches: \"^app_(.*)$\"}");
    let app = Launch::new(&rules(&[rule]), &store.url).start().await;
    assert!(app.discovery.catalog().is_empty());
    exporter.show(Page::new().pods("app_fresh", "n", 2));
    store.until("app_fresh{*}").await;
    // The discovery interval is ten minutes. The first discovery was just now, and the next one may be in 5 s.
    until("the metric that came after the start is read", async || {
        value(&app, "pod-1", "fresh").await.filter(|value| value == "1")
    })
    .await;
}

/// Answers by the selector: what `is_told` takes care of, and else one metric name.
fn scripted(
    name: &'static str,
    is_told: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| match is_told(asked) {
        Some(answer) => answer,
        None if asked.is_query() => Answer::Data(pods(&[("p", "1")])),
        None if asked.parameter("match[]").contains("loadline_matches_nothing") => {
            Answer::Data(json!([]))
        }
        None => Answer::Data(json!([name])),
    }
}

fn refusal() -> Answer {
    let body = json!({"status": "error", "errorType": "bad_data", "error": "invalid parameter \"match[]\""});
    Answer::Raw(400, "application/json", body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_rule_leaves_the_others_alone() {
    let is_bad = |asked: &Asked| asked.parameter("match[]").contains("bad");
    let fails = move |asked: &Asked| is_bad(asked).then(refusal);
    let backend = Backend::start(scripted("m", fails)).await;
    let text = rules(&[rule("good", "{as: good}"), rule("bad{x=\"y\"}", "{as: bad}")]);
    let mut launch = Launch::new(&text, &backend.url);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(60);
    let app = launch.start().await;

    assert_eq!(value(&app, "p", "good").await.as_deref(), Some("1"));
    for (metric, is_of_the_rule) in [("bad", true), ("whatever", false)] {
        let reply = app.get(&custom(&format!("namespaces/n/pods/p/{metric}"))).await;
        assert_eq!(reply.status, 404, "the rule may wait for ever");
        let cause = "rules[1] serves no metric: Prometheus refused the query (HTTP status 400)";
        assert_eq!(reply.failure().contains(cause), is_of_the_rule, "{reply:?}");
    }

    backend.play(scripted("m", |_| None));
    until("the rule is discovered once the backend takes it", async || {
        value(&app, "p", "bad").await
    })
    .await;
    assert_eq!(app.get(&custom("namespaces/n/pods/p/whatever")).await.status, 404);

    // Both rules keep what they knew when everything fails.
    backend.take();
    backend.play(scripted("m", |asked| (!asked.is_query()).then(refusal)));
    until("two more discoveries", async || (backend.count(is_bad) >= 2).then_some(())).await;
    assert_eq!(value(&app, "p", "good").await.as_deref(), Some("1"));
    assert_eq!(value(&app, "p", "bad").await.as_deref(), Some("1"));
    assert_eq!(app.get(&custom("namespaces/n/pods/p/whatever")).await.status, 404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_the_first_discovery_but_reads() {
    let backend = Backend::start(|_| Answer::Hang).await;
    let mut launch = Launch::new(&rules(&[rule("m", "{as: m}")]), &backend.url);
    launch.prometheus.discovery_timeout = Duration::from_secs(3);
    let app = launch.start_early().await;
    for path in ["/apis", "/apis/custom.metrics.k8s.io", "/healthz", "/livez", "/version"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    let document = app.get("/apis/custom.metrics.k8s.io/v1beta1").await.json();
    assert_eq!(document["resources"], json!([]));
    let ready = app.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), app.discovery.tried()), (500, false), "{ready:?}");

    let reply = app.get(&custom("namespaces/n/pods/p/m")).await;
    assert_eq!(reply.status, 500);
    assert!(reply.failure().contains("not discovered yet: waiting for rules[0]"), "{reply:?}");
    assert_eq!(app.get("/readyz").await.status, 200);
    let document = app.get("/apis/custom.metrics.k8s.io/v1beta1").await;
    assert_eq!(document.status, 200);
}

/// Reads take the catalog as it is, however long the next one takes, and see it whole once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_while_a_discovery_hangs() {
    let backend = Backend::start(scripted("m", |_| None)).await;
    let text = rules(&[rule("{__name__=~\"m|new\",namespace!=\"\"}", "{as: $0}")]);
    let mut launch = Launch::new(&text, &backend.url);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(60);
    let app = launch.start().await;
    assert_eq!(value(&app, "p", "m").await.as_deref(), Some("1"));
    assert_eq!(told(&app, "loadline_catalog_metrics").await, 2);
    let bytes = told(&app, "loadline_catalog_bytes").await;

    let (gate, closed) = watch::channel(false);
    backend.play(scripted("m", move |asked| {
        (!asked.is_query()).then(|| Answer::Gated(closed.clone(), json!(["m", "new"])))
    }));
    backend.take();
    let metadata = || backend.count(|asked| !asked.is_query());
    until("a discovery hangs", async || (metadata() > 0).then_some(())).await;
    for _ in 0..100 {
        assert_eq!(value(&app, "p", "m").await.as_deref(), Some("1"));
    }
    let reads = backend.count(Asked::is_query);
    assert_eq!((reads, told(&app, "loadline_catalog_metrics").await), (100, 2));
    assert!(metadata() <= 2, "one for each label: it was the same discovery all the time");

    gate.send_replace(true);
    until("the metric that is new", async || value(&app, "p", "new").await).await;
    assert_eq!(told(&app, "loadline_catalog_metrics").await, 4);
    assert!(told(&app, "loadline_catalog_bytes").await > bytes);
    app.stop().await;
}

/// A backend that hangs costs a round of discovery one time limit, not one for each selector.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_hangs_is_asked_once_in_a_round() {
    let backend = Backend::start(|_| Answer::Hang).await;
    let selectors: Vec<_> = (0..8).map(|i| format!("m{{a=\"{i}\"}}")).collect();
    let all: Vec<_> = selectors.iter().map(|selector| rule(selector, "{as: m}")).collect();
    let mut launch = Launch::new(&rules(&all), &backend.url);
    launch.prometheus.discovery_timeout = Duration::from_millis(200);
    let app = launch.start().await;
    assert_eq!(backend.count(|asked| !asked.is_query()), 1);
    assert_eq!(app.discovery.problems().len(), 8);
    assert_eq!(app.get("/readyz").await.status, 200);
}

/// Who waits for discoveries is not woken by a look that had nothing to do: without rules, none has.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_discovers_nothing_is_no_round() {
    let backend = Backend::start(scripted("m", |_| None)).await;
    let app = Launch::new("rules: []", &backend.url).start().await;
    let mut rounds = app.discovery.rounds();
    rounds.borrow_and_update();
    for name in ["one", "two", "three"] {
        assert_eq!(app.discovery.find("n", name, |_| None::<()>).await, None);
    }
    assert!(!rounds.has_changed().unwrap());
    app.stop().await;
}

/// Whoever asks for names that do not exist, however many, costs one discovery in 5 s.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_are_cheap() {
    let backend = Backend::start(scripted("m", |_| None)).await;
    let text = rules(&[rule("m{a=\"1\"}", "{as: first}"), rule("m{a=\"2\"}", "{as: second}")]);
    let app = Arc::new(Launch::new(&text, &backend.url).start().await);
    // Two labels of two rules; the probe whether match[] counts is sent once.
    let once = 4;
    let count = || {
        backend.count(|asked| {
            !asked.is_query() && !asked.parameter("match[]").contains("matches_nothing")
        })
    };
    assert_eq!(count(), once);
    let mut asked = 0;
    until("another discovery", async || {
        let reads = (0..20).map(|i| {
            let app = Arc::clone(&app);
            let path = custom(&format!("namespaces/n/pods/p/unknown_{}", asked + i));
            tokio::spawn(async move { app.get(&path).await.status.as_u16() })
        });
        for status in futures::future::join_all(reads).await {
            assert_eq!(status.unwrap(), 404);
        }
        asked += 20;
        (count() > once).then_some(())
    })
    .await;
    assert_eq!(count(), 2 * once, "after {asked} reads of unknown metrics");
    assert!(asked > 20, "the first reads came right after a discovery");
    assert_eq!(backend.count(|asked| asked.parameter("match[]").contains("matches_nothing")), 1);
}

/// The same while the API server does not say which kinds there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_api_server_is_not_hammered() {
    let backend = Backend::start(scripted("m", |_| None)).await;
    let cluster = Kubernetes::start(&[], 500).await;
    cluster.fail_discovery(Some(503));
    let text = rules(&[rule("m", "{as: m}")]);
    let mut launch = Launch::new(&text, &backend.url).cluster(&cluster);
    launch.relist_interval = Duration::from_secs(60);
    let app = launch.start().await;
    let before = cluster.discoveries();
    for _ in 0..20 {
        let reply = app.get(&custom("namespaces/n/pods/p/m")).await;
        assert_eq!(reply.status, 500);
        assert!(reply.failure().contains("the cluster's kinds are not known"), "{reply:?}");
    }
    assert!(cluster.discoveries() <= before + 1, "{} discoveries", cluster.discoveries());
    cluster.fail_discovery(None);
    until("the metric, without waiting for the next discovery", async || {
        value(&app, "p", "m").await
    })
    .await;
}

/// In the answer of an old API server there are no kinds, which does not mean that it has none.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_without_aggregated_discovery_is_an_error() {
    let backend = Backend::start(scripted("m", |_| None)).await;
    let cluster = Kubernetes::start(&[], 500).await;
    cluster.grow_old();
    let text = rules(&[rule("m", "{as: m}")]);
    let app = Launch::new(&text, &backend.url).cluster(&cluster).start().await;
    let reply = app.get(&custom("namespaces/n/pods/p/m")).await;
    assert!(reply.failure().contains("the cluster's kinds are not known"), "{reply:?}");
    let ready = app.get("/readyz?verbose").await.body;
    assert!(ready.contains("does not list the kinds of the cluster"), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_ignores_selectors_is_asked_for_series() {
    let backend = Backend::start(|asked| match asked.path.as_str() {
        "/api/v1/series" => Answer::Data(json!([
            {"__name__": "jobs_total", "namespace": "n", "pod": "p"},
            {"__name__": "jobs_total", "namespace": "n", "pod": "q"},
            {"__name__": "jobs_running", "namespace": "n"},
        ])),
        "/api/v1/query" => Answer::Data(pods(&[("p", "1")])),
        _ => Answer::Data(json!(["jobs_total", "jobs_running", "of_another_rule"])),
    })
    .await;
    let text = rules(&[rule("{__name__=~\"jobs_.*\"}", "{as: $0}")]);
    let app = Launch::new(&text, &backend.url).start().await;
    let asked: Vec<_> = backend.take();
    let series: Vec<_> = asked.iter().filter(|asked| asked.path == "/api/v1/series").collect();
    assert_eq!((asked.len(), series.len()), (2, 1), "one probe, one request: {asked:#?}");
    assert_eq!(series[0].parameter("match[]"), "{__name__=~\"jobs_.*\"}");
    let number = |name: &str| series[0].parameter(name).parse::<i64>().unwrap();
    assert_eq!(number("end") - number("start"), 601);
    let listed = app
        .discovery
        .catalog()
        .list()
        .map(|l| format!("{}/{}", l.kind.resource, l.metric))
        .collect::<Vec<_>>();
    assert_eq!(listed, ["namespaces/jobs_running", "namespaces/jobs_total", "pods/jobs_total"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_matched_with_the_labels_that_there_are() {
    let backend = Backend::start(scripted("m", |asked| {
        (asked.path == "/api/v1/labels").then(|| {
            Answer::Data(json!(["__name__", "k_namespace", "k_pod", "k_gadget", "k_", "job"]))
        })
    }))
    .await;
    let text = "rules:\n- seriesQuery: m\n  resources: {template: 'k_<<.Resource>>'}\n  metricsQuery: <<.Series>>{<<.LabelMatchers>>}\n";
    let app = Launch::new(text, &backend.url).start().await;
    let mut asked: Vec<_> =
        backend.take().iter().map(|asked| asked.parameter("match[]").to_owned()).collect();
    asked.retain(|selector| !selector.contains("matches_nothing"));
    asked.sort();
    assert_eq!(asked, ["m", "m{k_namespace!=\"\"}", "m{k_pod!=\"\"}"]);
    let listed = app.discovery.catalog().list().count();
    assert_eq!(listed, 2);
    app.get(&custom("namespaces/n/pods/p/m")).await;
    assert_eq!(backend.take()[0].parameter("query"), "m{k_namespace=\"n\",k_pod=\"p\"}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_manifests_are_known_without_a_cluster() {
    let objects = tempfile::NamedTempFile::new().unwrap();
    let manifest = "{apiVersion: example.com/v1, kind: Gadget, metadata: {name: g, namespace: n}}";
    std::fs::write(objects.path(), manifest).unwrap();
    let backend = Backend::start(scripted("m", |asked| match asked.path.as_str() {
        "/api/v1/labels" => Some(Answer::Data(json!(["namespace", "gadget"]))),
        "/api/v1/query" => {
            let row = json!({"metric": {"gadget": "g"}, "value": [1, "1"]});
            Some(Answer::Data(json!({"resultType": "vector", "result": [row]})))
        }
        _ => None,
    }))
    .await;
    for resources in [
        "overrides: {namespace: {resource: namespace}, gadget: {group: example.com, resource: gadget}}",
        "template: <<.Resource>>",
    ] {
        let text = format!(
            "rules:\n- seriesQuery: m\n  resources: {{{resources}}}\n  metricsQuery: <<.Series>>{{<<.LabelMatchers>>}}\n"
        );
        let mut launch = Launch::new(&text, &backend.url);
        launch.objects = Some(objects.path().to_owned());
        let app = launch.start().await;
        for path in ["gadgets.example.com/g/m", "gadget.example.com/*/m", "gadgets/*/m"] {
            let reply = app.get(&custom(&format!("namespaces/n/{path}"))).await;
            assert_eq!(reply.values(), [("g".to_owned(), "1".to_owned())], "{path}");
        }
        let reply = app.get(&custom("namespaces/n/widgets.example.com/w/m")).await;
        assert!(reply.status == 404 && reply.failure().contains("--objects"), "{reply:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_the_cluster_lacks_leaves_out_its_label_only() {
    let backend = Backend::start(scripted("m", |asked| {
        asked.is_query().then(|| {
            let row = json!({"metric": {"pod": "p", "gadget": "g"}, "value": [1, "1"]});
            Answer::Data(json!({"resultType": "vector", "result": [row]}))
        })
    }))
    .await;
    let cluster = Kubernetes::start(&[], 500).await;
    let text = "rules:\n- seriesQuery: m\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, gadget: {group: example.com, resource: gadget}}}\n  metricsQuery: <<.Series>>{<<.LabelMatchers>>}\n";
    let mut launch = Launch::new(text, &backend.url).cluster(&cluster);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(60);
    let app = launch.start().await;
    assert_eq!(value(&app, "p", "m").await.as_deref(), Some("1"));
    let gadget = custom("namespaces/n/gadgets.example.com/g/m");
    let reply = app.get(&gadget).await;
    assert_eq!(
        reply.failure(),
        "the server could not find the metric m for gadgets.example.com: the cluster has no resource gadgets.example.com; run: loadline explain -n n gadgets.example.com/g m"
    );
    cluster.install(("example.com", "v1alpha1", "gadgets", "gadget", "Gadget", true));
    let reply = until("the new resource's metric", async || {
        Some(app.get(&gadget).await).filter(|reply| reply.status == 200)
    })
    .await;
    assert_eq!(reply.json()["items"][0]["describedObject"]["apiVersion"], "example.com/v1alpha1");
    // An API server that fails later takes nothing away.
    cluster.fail_discovery(Some(500));
    let before = cluster.discoveries();
    until("another discovery", async || (cluster.discoveries() > before + 1).then_some(())).await;
    assert_eq!(app.get(&gadget).await.status, 200);
}

/// Several claims on one metric: the later rule's, if its series are alive.
#[tokio::test(flavor = "multi_thread")]
async fn the_later_rule_wins() {
    let alternatives = "{a=\"1\" or a=\"2\"}";
    // Selectors in the order of the rules, those whose series are alive, and the series that is read.
    let cases: [(&[&str], &[&str], &str); 6] = [
        (&["one", "two"], &["one", "two"], "two"),
        (&["one", "two"], &["one"], "one"),
        (&["one", "two"], &[], "two"),
        (&["two", "one"], &["one", "two"], "one"),
        // What `/series` found has samples in the window.
        (&["one", alternatives], &["one"], "three"),
        (&[alternatives, "two"], &[], "three"),
    ];
    for (selectors, alive, wanted) in cases {
        let backend = Backend::start(move |asked| {
            let names = ["one", "two"];
            if asked.path == "/api/v1/series" {
                return Answer::Data(json!([{"__name__": "three", "namespace": "n", "pod": "p"}]));
            }
            if asked.is_query() {
                let query = asked.parameter("query");
                let live = alive
                    .iter()
                    .filter(|name| query.contains(&format!("({name}{{")))
                    .map(|name| json!({"metric": {"__name__": name}, "value": [1, "1"]}));
                let result: Vec<_> = live.collect();
                return Answer::Data(json!({"resultType": "vector", "result": result}));
            }
            let selector = asked.parameter("match[]");
            let found: Vec<_> = names.iter().filter(|name| selector.starts_with(**name)).collect();
            Answer::Data(json!(found))
        })
        .await;
        let written: Vec<_> = selectors.iter().map(|selector| rule(selector, "{as: m}")).collect();
        let app = Launch::new(&rules(&written), &backend.url).start().await;
        backend.take();
        app.get(&custom("namespaces/n/pods/p/m")).await;
        let query = backend.take()[0].parameter("query").to_owned();
        assert_eq!(
            query,
            format!("max({wanted}{{namespace=\"n\",pod=\"p\"}}) by (pod)"),
            "{selectors:?} of which {alive:?} are alive"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_with_the_same_selector_are_discovered_together() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await;
    let text = rules(&[rule("m", "{as: one}"), rule("m", "{as: two}"), rule("m", "{as: three}")]);
    let app = Launch::new(&text, &backend.url).start().await;
    assert_eq!(app.discovery.catalog().len(), 6);
    assert_eq!(backend.count(|asked| asked.parameter("match[]").starts_with("m{")), 2);
}
