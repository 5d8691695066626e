//! external.metrics.k8s.io: with real stores, and with a backend that does as it is told.
//!
//! Bodies are compared as the bytes that they are, timestamps aside: clients in many languages read them.

use std::{fmt::Write as _, time::Duration};

use reqwest::Method;
use serde_json::json;

use crate::support::{
    app::{App, Launch, custom, external},
    backend::{Answer, Asked, Backend, knows},
    cluster::Kubernetes,
    exporter::{Exporter, Page},
    store::Store,
    until,
};

const RULES: &str = r#"
rules:
- seriesQuery: '{__name__=~"^ext_.*",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {matches: "^ext_(.*)$", as: "custom_$1"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: '{__name__=~"^ext_.*",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  seriesFilters: [{isNot: "_total$"}]
  name: {matches: "^ext_(.*)$"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
- seriesQuery: '{__name__=~"^ext_.*_total"}'
  resources: {template: "<<.Resource>>"}
  name: {matches: "^ext_(.*)_total$", as: "${1}_per_second"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (queue)
- seriesQuery: ext_depth
  resources: {namespaced: false}
  name: {as: everywhere}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (namespace, queue)
- seriesQuery: ext_depth
  resources: {namespaced: false}
  name: {as: whole}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>,instance!="x"}
- seriesQuery: ext_depth
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: as_scalar}
  metricsQuery: scalar(sum(<<.Series>>{<<.LabelMatchers>>}))
- seriesQuery: ext_depth
  resources: {namespaced: false}
  name: {as: as_matrix}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}[1m]'
- seriesQuery: ext_depth
  resources: {namespaced: false}
  name: {as: as_string}
  metricsQuery: '"<<.Series>>"'
- seriesQuery: ext_depth
  resources: {namespaced: false}
  name: {as: refused}
  metricsQuery: no_such_function(<<.Series>>)
- seriesQuery: ext_depth
  resources: {namespaced: false}
  name: {as: no_template}
  metricsQuery: '<<index .GroupBySlice 0>>'
- seriesQuery: no_series_at_all
  resources: {namespaced: false}
  metricsQuery: <<.Series>>
"#;

fn page() -> Page {
    let queue =
        |namespace: &str, queue: &str| format!("namespace=\"{namespace}\",queue=\"{queue}\"");
    Page::new()
        .series("ext_depth", &queue("team", "jobs"), "100")
        .series("ext_depth", &format!("{},tier=\"a.b\"", queue("team", "mail")), "10.5")
        .series("ext_depth", &format!("{},tier=\"axb\"", queue("team", "odd")), "0.1")
        .series("ext_depth", &queue("other", "jobs"), "2000")
        .series("ext_shape", &queue("team", "nan"), "NaN")
        .series("ext_shape", &queue("team", "inf"), "+Inf")
        .series("ext_shape", &queue("team", "minus_inf"), "-Inf")
        .series("ext_shape", &queue("team", "minus"), "-1.5")
        .series("ext_shape", &queue("team", "large"), "1e300")
        .series("ext_shape", "namespace=\"team\"", "3")
        .series("ext_hits_total", &queue("team", "jobs"), "7")
        .series("ext_elsewhere", &queue("other", "jobs"), "1")
}

/// Path below the version, with its query.
const READS: &[&str] = &[
    "namespaces/team/depth",
    "namespaces/other/depth",
    "namespaces/team/depth/",
    "namespaces/team/%64epth?pretty=false&timeout=5s",
    // Other namespaces are out of reach, but where the rule says that there are none.
    "namespaces/nobody/depth",
    "namespaces/*/depth",
    "namespaces/team/depth?labelSelector=namespace=other",
    "namespaces/team/elsewhere",
    "namespaces/team/everywhere",
    "namespaces/*/everywhere",
    "namespaces/nobody/everywhere?labelSelector=namespace=other",
    // Selectors.
    "namespaces/team/depth?labelSelector=queue=jobs",
    "namespaces/team/depth?labelSelector=queue%3D%3Djobs",
    "namespaces/team/depth?labelSelector=queue!=jobs",
    "namespaces/team/depth?labelSelector=queue+in+(jobs,mail)",
    "namespaces/team/depth?labelSelector=queue+notin+(jobs,mail)",
    "namespaces/team/depth?labelSelector=tier+in+(a.b)",
    "namespaces/team/depth?labelSelector=tier",
    "namespaces/team/depth?labelSelector=!tier",
    "namespaces/team/depth?labelSelector=!tier,queue=mail",
    // Values.
    "namespaces/team/shape",
    "namespaces/team/shape?labelSelector=queue=nan",
    "namespaces/team/hits_per_second?labelSelector=queue=none",
    "namespaces/team/as_scalar",
    "namespaces/nobody/as_scalar",
    // What cannot be asked.
    "namespaces/team/unknown",
    "namespaces/default/hits_total",
    "namespaces/team/custom_depth",
    "namespaces/team/depth?labelSelector=queue+in+jobs",
    "namespaces/team/depth?labelSelector=app.kubernetes.io/name=x",
    "namespaces/team/depth?labelSelector=tier>3",
    "namespaces/team/depth/more",
    "namespaces/team",
    "namespaces//depth",
    "depth",
    "/namespaces/team/depth",
    "namespaces/te%22am/depth",
    "namespaces/team/%ff",
    // What the rule's query does not give.
    "namespaces/team/as_matrix",
    "namespaces/team/as_string",
    "namespaces/team/refused",
    "namespaces/team/no_template",
];

#[tokio::test(flavor = "multi_thread")]
async fn reads() {
    let exporter = Exporter::start(page()).await;
    let prometheus = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(&[], 500).await;
    let app = Launch::new(RULES, &prometheus.url).cluster(&cluster).start().await;

    let mut text = String::new();
    for read in READS {
        let reply = app.get(&external(read)).await;
        if reply.status != 200 {
            reply.failure();
        }
        text.push_str(&reply.shown(read));
    }
    insta::assert_snapshot!("reads", text);
    assert_eq!(cluster.take_lists(), [""; 0], "external metrics are about no objects");

    whole_series(&app, &exporter).await;
    documents(&app).await;
    app.stop().await;
}

/// A query that does not aggregate gives every label of its series, the metric's name among them.
async fn whole_series(app: &App, exporter: &Exporter) {
    let reply = app.get(&external("namespaces/any/whole?labelSelector=queue=mail")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let labels = json!({
        "__name__": "ext_depth", "instance": exporter.address(), "job": "test",
        "namespace": "team", "queue": "mail", "tier": "a.b",
    });
    assert_eq!(reply.json()["items"][0]["metricLabels"], labels);
}

async fn documents(app: &App) {
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let mut text = String::new();
    for (path, accept) in [
        ("/apis", "application/json"),
        ("/apis", aggregated),
        ("/apis/external.metrics.k8s.io", "application/json"),
        ("/apis/external.metrics.k8s.io/v1beta1", "application/json"),
    ] {
        let reply = app.request(Method::GET, path, &[("accept", accept)]).await;
        let media = reply.headers["content-type"].to_str().unwrap();
        let body = reply.body.replace("},{", "},\n{");
        writeln!(text, "{path} as {accept}\n  {} {media}\n{body}", reply.status).unwrap();
    }
    insta::assert_snapshot!("documents", text);
    let with_slash = app.get(&external("")).await.body;
    assert_eq!(with_slash, app.get("/apis/external.metrics.k8s.io/v1beta1").await.body);
    for path in ["v1beta2", "v1beta2/namespaces/team/depth", "v1/"] {
        let reply = app.get(&format!("/apis/external.metrics.k8s.io/{path}")).await;
        assert_eq!(reply.failure(), "the server could not find the requested resource", "{path}");
    }
    let reply = app.request(Method::POST, &external("namespaces/team/depth"), &[]).await;
    assert_eq!(reply.status, 405);

    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let reply = app.request(Method::GET, &external("namespaces/team/depth"), &table).await;
    let rows = reply.json()["rows"].take();
    assert_eq!(rows[0]["cells"].as_array().unwrap()[..3], ["depth", "queue=jobs", "100"], "{rows}");
}

/// Without external rules the version document is there all the same, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn without_rules_there_is_an_empty_document() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let text = "rules:\n- {seriesQuery: m, metricsQuery: m, resources: {overrides: {pod: {resource: pod}}}}\n";
    let app = Launch::new(text, &backend.url).start().await;
    assert!(!app.get("/apis").await.body.contains("external"), "the group is not offered");
    assert_eq!(app.get("/apis/external.metrics.k8s.io").await.status, 404);
    let document = app.get("/apis/external.metrics.k8s.io/v1beta1").await.json();
    assert_eq!(document["resources"], json!([]));
    let reply = app.get(&external("namespaces/n/m")).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json()["reason"], "NotFound");
}

/// A vector of one sample, at a time that does not change.
fn one(value: &str) -> Answer {
    let row = json!({"metric": {"queue": "jobs"}, "value": [1_790_000_000.5, value]});
    Answer::Data(json!({"resultType": "vector", "result": [row]}))
}

fn is_about(asked: &Asked, selector: &str) -> bool {
    !asked.is_query() && asked.parameter("match[]").starts_with(selector)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_does_not_depend_on_the_order_of_samples() {
    const RULE: &str = "externalRules:\n- {seriesQuery: m, metricsQuery: 'rate(<<.Series>>[90s])', resources: {namespaced: false}}\n";
    let row = |labels: &[(&str, &str)], value: &str| {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({"metric": labels, "value": [1_790_000_000.5, value]})
    };
    let mut rows = vec![
        row(&[("b", "1"), ("a", "2")], "1"),
        row(&[("a", "1"), ("c", "\"")], "2"),
        row(&[], "3"),
    ];
    let backend = Backend::start(|_| Answer::Hang).await;
    let mut bodies = Vec::new();
    for _ in 0..rows.len() {
        rows.rotate_left(1);
        let data = json!({"resultType": "vector", "result": rows});
        backend.play(knows(&["m"], move |_| Answer::Data(data.clone())));
        let app = Launch::new(RULE, &backend.url).start().await;
        bodies.push(app.get(&external("namespaces/n/m")).await.body);
    }
    insta::assert_snapshot!(bodies[0], @r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[{"metricName":"m","metricLabels":{},"timestamp":"2026-09-21T14:13:20Z","window":90,"value":"3"},{"metricName":"m","metricLabels":{"a":"1","c":"\""},"timestamp":"2026-09-21T14:13:20Z","window":90,"value":"2"},{"metricName":"m","metricLabels":{"a":"2","b":"1"},"timestamp":"2026-09-21T14:13:20Z","window":90,"value":"1"}]}"#);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
}

/// Rules of both APIs share a selector, and one of each is not discovered.
#[tokio::test(flavor = "multi_thread")]
async fn apis_do_not_wait_for_each_other() {
    let text = r"
rules:
- {seriesQuery: shared, metricsQuery: x, resources: {overrides: {ns: {resource: namespace}}}}
- {seriesQuery: bad_custom, metricsQuery: x, resources: {overrides: {ns: {resource: namespace}}}}
externalRules:
- {seriesQuery: shared, metricsQuery: x, resources: {namespaced: false}}
- {seriesQuery: bad_external, metricsQuery: x, resources: {namespaced: false}}
";
    let fails = |bad: &'static str| {
        move |asked: &Asked| {
            if is_about(asked, bad) {
                return Answer::Raw(500, "text/plain", String::new());
            }
            knows(&["shared"], |_| one("1"))(asked)
        }
    };
    for (bad, undiscovered) in [("bad_external", Some("external")), ("bad_custom", None)] {
        let backend = Backend::start(fails(bad)).await;
        let app = Launch::new(text, &backend.url).start().await;
        let asked = backend.take();
        let about_shared: Vec<_> = asked
            .iter()
            .filter(|asked| is_about(asked, "shared"))
            .map(|asked| asked.parameter("match[]"))
            .collect();
        assert_eq!(about_shared, ["shared", "shared{ns!=\"\"}"], "names once, the label once");
        assert_eq!(app.get(&external("namespaces/n/shared")).await.status, 200);
        let of_external = app.get(&external("namespaces/n/unknown")).await;
        let of_custom = app.get(&custom("namespaces/n/metrics/unknown")).await;
        let (waits, knows, rule) = match undiscovered {
            Some(_) => (of_external, of_custom, "externalRules[1]"),
            None => (of_custom, of_external, "rules[1]"),
        };
        assert_eq!(waits.status, 500);
        assert_eq!(
            waits.failure(),
            format!(
                "Internal error occurred: unable to fetch metrics: not discovered yet: waiting for {rule}: Prometheus, or a proxy before it, answered with HTTP status 500 (it failed)"
            )
        );
        assert_eq!(knows.status, 404, "{knows:?}");
    }
}

/// Which kinds there are is nothing to external metrics.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_api_server_does_not_keep_them() {
    let backend = Backend::start(knows(&["m"], |_| one("1"))).await;
    let cluster = Kubernetes::start(&[], 500).await;
    cluster.fail_discovery(Some(503));
    let text = "rules:\n- {seriesQuery: m, metricsQuery: m, resources: {template: '<<.Resource>>'}}\nexternalRules:\n- {seriesQuery: m, metricsQuery: 'm{<<.LabelMatchers>>}', resources: {template: 'k_<<.Resource>>'}}\n";
    let app = Launch::new(text, &backend.url).cluster(&cluster).start().await;
    backend.take();
    assert_eq!(app.get(&external("namespaces/n/m")).await.status, 200);
    assert_eq!(backend.take()[0].parameter("query"), "m{k_namespace=\"n\"}");
    let reply = app.get(&custom("namespaces/n/metrics/m")).await;
    assert!(reply.failure().contains("the cluster's kinds are not known"), "{reply:?}");
}

/// Whoever asks for names that do not exist, however many, costs one discovery in 5 s; then what is new is found.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_are_cheap_and_new_ones_are_found() {
    let backend = Backend::start(knows(&["old"], |_| one("1"))).await;
    let text =
        "externalRules:\n- {seriesQuery: 'x{}', metricsQuery: m, resources: {namespaced: false}}\n";
    let app = Launch::new(text, &backend.url).start().await;
    let count = || backend.count(|asked| is_about(asked, "x{}"));
    assert_eq!(count(), 1);
    for i in 0..20 {
        let reply = app.get(&external(&format!("namespaces/n/unknown_{i}"))).await;
        assert_eq!(
            reply.failure(),
            format!(
                "the server could not find the metric unknown_{i} for : no rule of externalRules serves a metric of this name; run: loadline explain --config=RULES --prometheus-url=URL -n n external unknown_{i}"
            )
        );
    }
    assert!(count() <= 2, "{} discoveries", count());
    backend.play(knows(&["old", "new"], |_| one("1")));
    until("the metric that came after the start", async || {
        (app.get(&external("namespaces/n/new")).await.status == 200).then_some(())
    })
    .await;
    assert!(count() <= 3, "{} discoveries", count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_ignores_selectors_is_asked_for_series() {
    let backend = Backend::start(|asked| match asked.path.as_str() {
        "/api/v1/series" => Answer::Data(json!([
            {"__name__": "jobs_total", "queue": "a"},
            {"__name__": "jobs_total", "queue": "b"},
            {"__name__": "jobs_running"},
        ])),
        "/api/v1/query" => one("1"),
        _ => Answer::Data(json!(["jobs_total", "jobs_running", "of_another_rule"])),
    })
    .await;
    let text = "externalRules:\n- {seriesQuery: '{__name__=~\"jobs_.*\"}', metricsQuery: m, resources: {namespaced: false}}\n";
    let app = Launch::new(text, &backend.url).start().await;
    let catalog = app.discovery.catalog();
    assert_eq!(catalog.external().names().collect::<Vec<_>>(), ["jobs_running", "jobs_total"]);
    assert_eq!(backend.take().len(), 2, "one probe, one request");
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

async fn with_a_real_store(exporter: &Exporter, store: &Store) {
    bytes_do_not_grow_with_series(exporter, store).await;
    of_two_claims_the_later_that_lives_wins(exporter, store).await;
}

async fn bytes_do_not_grow_with_series(exporter: &Exporter, store: &Store) {
    let text = "externalRules:\n- {seriesQuery: '{__name__=~\"few|size_.*\"}', metricsQuery: 'count(<<.Series>>{<<.LabelMatchers>>})', resources: {overrides: {namespace: {resource: namespace}}}}\n";
    let mut received = Vec::new();
    for count in [200, 4_000] {
        exporter.show(Page::new().pods("few", "n", 1).pods("size_a", "n", count));
        store.until(&format!("count(size_a{{*}}) == {count}")).await;
        let app = Launch::new(text, &store.url).start().await;
        let traffic = app.prometheus.traffic();
        received.push((traffic.received_bytes(), traffic.metadata_requests(), traffic.queries()));
        let reply = app.get(&external("namespaces/n/size_a?labelSelector=pod=pod-199")).await;
        assert_eq!(reply.json()["items"][0]["value"], "1");
    }
    assert_eq!(received[0], received[1], "bytes, metadata requests and queries");
    assert_eq!(received[0].1, 2, "the probe and the names");
    assert!(received[0].0 < 500, "{received:?}");
}

/// Two rules claim one name. The later one's series ends; the earlier one is read from then on, although the store still has the
/// name of the dead one.
async fn of_two_claims_the_later_that_lives_wins(exporter: &Exporter, store: &Store) {
    let page = Page::new().series("first_backlog", "", "1");
    exporter.show(page.clone().series("second_backlog", "", "2"));
    store.until("second_backlog{*}").await;
    let rule = |selector: &str| {
        format!(
            "- {{seriesQuery: '{selector}', name: {{as: backlog}}, metricsQuery: 'max(<<.Series>>)', resources: {{namespaced: false}}}}\n"
        )
    };
    let rules =
        format!("externalRules:\n{}{}", rule("first_backlog"), rule("{__name__=~\"second_.*\"}"));
    let mut launch = Launch::new(&rules, &store.url);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(4);
    let app = launch.start().await;
    let value = async || {
        let reply = app.get(&external("namespaces/n/backlog")).await.json();
        reply["items"][0]["value"].as_str().map(str::to_owned)
    };
    assert_eq!(value().await.as_deref(), Some("2"));
    exporter.show(page);
    until("the live series is read", async || value().await.filter(|value| value == "1")).await;
    let catalog = app.discovery.catalog();
    assert_eq!(&*catalog.external().get("backlog").unwrap().series, "first_backlog");
}

/// Many autoscalers on one metric are one query.
#[tokio::test(flavor = "multi_thread")]
async fn equal_questions_meet_in_the_cache() {
    let backend = Backend::start(knows(&["m"], |_| one("5"))).await;
    let text = "externalRules:\n- {seriesQuery: m, metricsQuery: 'm{<<.LabelMatchers>>}', resources: {overrides: {ns: {resource: namespace}}}}\n";
    let mut launch = Launch::new(text, &backend.url);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = launch.start().await;
    backend.take();
    for selector in ["a=1,b=2", "b=2,a=1", "b%3D2%2Ca%3D%3D1"] {
        let path = external(&format!("namespaces/n/m?labelSelector={selector}"));
        assert_eq!(app.get(&path).await.status, 200);
    }
    let asked: Vec<_> =
        backend.take().iter().map(|asked| asked.parameter("query").to_owned()).collect();
    assert_eq!(asked, ["m{a=\"1\",b=\"2\",ns=\"n\"}"]);
    app.get(&external("namespaces/other/m?labelSelector=a=1,b=2")).await;
    assert_eq!(backend.take().len(), 1, "another namespace is another question");
}
