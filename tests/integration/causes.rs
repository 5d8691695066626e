//! Whose a sample is, and what is said where there is no value: the same whichever query was sent.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, custom, external},
    backend::{Answer, Asked, Backend, knows},
    cluster::{Kubernetes, Object, Stored},
    exporter::{Exporter, Page},
    install_tls_provider,
    process::Process,
    store::Store,
    until,
};

/// Longer than any test, so that queries are shared; or nothing is kept, so that they are not.
const LIVES: [Duration; 2] = [Duration::from_secs(600), Duration::ZERO];

async fn values(app: &App, path: &str) -> Vec<(String, String)> {
    app.get(&custom(path)).await.values()
}

fn owned(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The message of a read that is answered with 404.
async fn missing(app: &App, path: &str) -> String {
    let reply = app.get(path).await;
    assert_eq!(reply.status, 404, "{path}: {reply:?}");
    reply.failure()
}

/// The labels and values of an external metric.
async fn items(app: &App, path: &str) -> Vec<(Value, Value)> {
    let reply = app.get(&external(path)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let list = reply.json();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| (item["metricLabels"].clone(), item["value"].clone())).collect()
}

/// Pods of one name in several namespaces, as those of stateful sets are.
const WEBS: &[Object] = &[
    ("namespaces", "", "prod", &[]),
    ("namespaces", "", "staging", &[]),
    ("nodes", "", "n1", &[]),
    ("pods", "prod", "web-0", &[("app", "web")]),
    ("pods", "prod", "web-1", &[("app", "web")]),
    ("pods", "staging", "web-0", &[("app", "web")]),
    ("pods", "staging", "web-2", &[("app", "web")]),
];

/// None of these asks for a namespace.
const WITHOUT_MATCHERS: &str = r#"
rules:
- seriesQuery: 'load{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: sum(<<.Series>>) by (namespace, pod)
- seriesQuery: 'load{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: named}
  metricsQuery: sum(<<.Series>>{pod=~"<<index .LabelValuesByName "pod">>"}) by (namespace, pod)
- seriesQuery: 'kube_load'
  resources: {template: "kube_<<.Resource>>"}
  metricsQuery: sum(<<.Series>>) by (kube_namespace, kube_pod)
- seriesQuery: 'load{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: bare}
  metricsQuery: max(<<.Series>>) by (pod)
- seriesQuery: 'sessions{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>) by (namespace)
- seriesQuery: 'heat{node!=""}'
  resources: {overrides: {node: {resource: node}, namespace: {resource: namespace}}}
  metricsQuery: <<.Series>>
externalRules:
- seriesQuery: 'load{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>) by (namespace)
- seriesQuery: 'load{namespace!=""}'
  resources: {namespaced: false, overrides: {namespace: {resource: namespace}}}
  name: {as: everywhere}
  metricsQuery: sum(<<.Series>>) by (namespace)
- seriesQuery: 'sessions{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: whole}
  metricsQuery: sum(<<.Series>>)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_another_namespace_is_never_this_ones() {
    let of = |namespace: &str, pod: &str| format!("namespace=\"{namespace}\",pod=\"{pod}\"");
    let page = Page::new()
        .series("load", &of("prod", "web-0"), "100")
        .series("load", &of("staging", "web-0"), "1")
        .series("load", &of("staging", "web-1"), "2")
        .series("load", &of("staging", "web-2"), "3")
        .series("kube_load", "kube_namespace=\"prod\",kube_pod=\"web-0\"", "100")
        .series("kube_load", "kube_namespace=\"staging\",kube_pod=\"web-0\"", "1")
        .series("sessions", "namespace=\"prod\"", "7")
        .series("sessions", "namespace=\"staging\"", "8")
        // What is of no namespace may be measured in one.
        .series("heat", "node=\"n1\",namespace=\"monitoring\"", "40");
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(WEBS, 10).await;
    for ttl in LIVES {
        let mut launch = Launch::new(WITHOUT_MATCHERS, &prometheus.url).cluster(&cluster);
        launch.planning.life.ttl = ttl;
        let app = launch.start().await;
        for (metric, prod, staging) in [
            ("load", &[("web-0", "100")][..], &[("web-0", "1"), ("web-2", "3")][..]),
            ("named", &[("web-0", "100")], &[("web-0", "1"), ("web-2", "3")]),
            ("kube_load", &[("web-0", "100")], &[("web-0", "1")]),
            // What says no namespace counts everywhere.
            ("bare", &[("web-0", "100"), ("web-1", "2")], &[("web-0", "100"), ("web-2", "3")]),
        ] {
            let of =
                |namespace| format!("namespaces/{namespace}/pods/*/{metric}?labelSelector=app");
            assert_eq!(values(&app, &of("prod")).await, owned(prod), "{metric}");
            assert_eq!(values(&app, &of("staging")).await, owned(staging), "{metric}");
            let one = format!("namespaces/prod/pods/web-0/{metric}");
            assert_eq!(values(&app, &one).await, owned(&[("web-0", "100")]), "{metric}");
        }
        for metric in ["load", "named"] {
            let path = custom(&format!("namespaces/prod/pods/web-1/{metric}"));
            let message = missing(&app, &path).await;
            assert!(message.contains("samples of other namespaces only"), "{message}");
            assert!(!message.contains("staging"), "{message}");
        }
        // The described object is the namespace, or has none.
        let sessions = values(&app, "namespaces/prod/metrics/sessions").await;
        assert_eq!(sessions, owned(&[("prod", "7")]));
        let all = values(&app, "namespaces/*/metrics/sessions").await;
        assert_eq!(all, owned(&[("prod", "7"), ("staging", "8")]));
        assert_eq!(values(&app, "nodes/n1/heat").await, owned(&[("n1", "40")]));

        let (prod, staging) = (json!({"namespace": "prod"}), json!({"namespace": "staging"}));
        let (hundred, six) = (json!("100"), json!("6"));
        let own = vec![(prod.clone(), hundred.clone())];
        assert_eq!(items(&app, "namespaces/prod/load").await, own);
        assert_eq!(items(&app, "namespaces/nobody/load").await, []);
        let both = vec![(prod, hundred), (staging, six)];
        assert_eq!(items(&app, "namespaces/prod/everywhere").await, both);
        let whole = vec![(json!({}), json!("15"))];
        assert_eq!(items(&app, "namespaces/prod/whole").await, whole);
        let metrics = app.get("/metrics").await.body;
        for line in [
            r#"loadline_empty_reads_total{rule="externalRules[0]",cause="other-namespaces"} 1"#,
            r#"loadline_read_oddities_total{rule="externalRules[1]",cause="several-values"} 1"#,
            r#"loadline_empty_reads_total{rule="rules[0]",cause="other-namespaces"} 1"#,
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
        app.stop().await;
    }
}

const SORTED: &str = r#"
rules:
- seriesQuery: 'depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: rising}
  metricsQuery: (sort(<<.Series>>{<<.LabelMatchers>>}))
- seriesQuery: 'depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: falling}
  metricsQuery: sort_desc(<<.Series>>{<<.LabelMatchers>>})
- seriesQuery: 'depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: unsorted}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn where_the_query_sorts_the_last_sample_counts() {
    let of = |pod: &str, queue: &str| format!("namespace=\"n\",pod=\"{pod}\",queue=\"{queue}\"");
    let page = Page::new()
        .series("depth", &of("a", "x"), "3")
        .series("depth", &of("a", "y"), "5")
        .series("depth", &of("a", "z"), "4")
        .series("depth", &of("b", "x"), "2")
        .series("depth", &of("b", "y"), "1");
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    let pods: &[Object] = &[("pods", "n", "a", &[]), ("pods", "n", "b", &[])];
    let cluster = Kubernetes::start(pods, 10).await;
    for ttl in LIVES {
        let mut launch = Launch::new(SORTED, &prometheus.url).cluster(&cluster);
        launch.planning.life.ttl = ttl;
        let app = launch.start().await;
        for (metric, a, b) in [("rising", "5", "2"), ("falling", "3", "1"), ("unsorted", "4", "1")]
        {
            let all = values(&app, &format!("namespaces/n/pods/*/{metric}")).await;
            assert_eq!(all, owned(&[("a", a), ("b", b)]), "{metric}");
            let one = values(&app, &format!("namespaces/n/pods/a/{metric}")).await;
            assert_eq!(one, owned(&[("a", a)]), "{metric}");
        }
        let metrics = app.get("/metrics").await.body;
        let several = |rule: &str| {
            let labels = format!("{{rule=\"{rule}\",cause=\"several-samples\"}}");
            metrics.contains(&format!("loadline_read_oddities_total{labels}"))
        };
        let is_told = ["rules[0]", "rules[1]", "rules[2]"].map(several);
        assert_eq!(is_told, [false, false, true], "who sorts has chosen");
        app.stop().await;
    }
}

const CAUSES: &str = "
rules:
- seriesQuery: m
  resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}
  nan: drop
  metricsQuery: sum(m{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: m
  resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}
  name: {as: all}
  nan: drop
  metricsQuery: sum(m) by (pod)
";

const PODS: &[Object] = &[
    ("pods", "n", "well", &[]),
    ("pods", "n", "nan", &[]),
    ("pods", "n", "endless", &[]),
    ("pods", "n", "histogram", &[]),
    ("pods", "n", "silent", &[]),
];

/// Answers as Prometheus would: with the pods that the query asks for, if it asks.
fn odd(asked: &Asked) -> Answer {
    let query = asked.parameter("query");
    if query.starts_with("count(") {
        return Answer::Data(json!({"resultType": "vector", "result": []}));
    }
    let is_asked = |pod: &str| {
        let names = query.split_once("pod=").map(|(_, rest)| rest.trim_start_matches(['~', '"']));
        let names = names.and_then(|rest| Some(rest.split_once('"')?.0));
        names.is_none_or(|names| names.split('|').any(|name| name == pod))
    };
    let time = 1_790_000_000.5;
    let mut rows = vec![json!({
        "metric": {"pod": "histogram"},
        "histogram": [time, {"count": "1", "sum": "1", "buckets": [[0, "1", "2", "1"]]}],
    })];
    for (pod, value) in [("well", "1"), ("nan", "NaN"), ("endless", "+Inf")] {
        rows.push(json!({"metric": {"pod": pod}, "value": [time, value]}));
    }
    rows.retain(|row| is_asked(row["metric"]["pod"].as_str().expect("text")));
    Answer::Data(json!({"resultType": "vector", "result": rows}))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_does_not_depend_on_the_plan() {
    let backend = Backend::start(knows(&["m"], odd)).await;
    let cluster = Kubernetes::start(PODS, 10).await;
    let mut told = Vec::new();
    for ttl in LIVES {
        let mut launch = Launch::new(CAUSES, &backend.url).cluster(&cluster);
        launch.planning.life.ttl = ttl;
        let app = launch.start().await;
        backend.take();
        let is_shared = |asked: &Asked| asked.parameter("query").contains("pod!=");
        if !ttl.is_zero() {
            until("a query is shared", async || {
                values(&app, "namespaces/n/pods/*/m").await;
                (backend.count(is_shared) > 0).then_some(())
            })
            .await;
        }
        for metric in ["m", "all"] {
            let all = values(&app, &format!("namespaces/n/pods/*/{metric}")).await;
            assert_eq!(all, owned(&[("well", "1")]));
        }
        let mut messages = Vec::new();
        for (path, wanted) in [
            ("nan/m", "rules[0] returned NaN"),
            ("endless/m", "rules[0] returned an infinite value"),
            ("histogram/m", "rules[0] returned a native histogram"),
            ("silent/m", "rules[0] gives no sample"),
            ("histogram/all", "rules[1] returned a native histogram"),
            ("silent/all", "rules[1] returned samples of other objects only"),
        ] {
            let message = missing(&app, &custom(&format!("namespaces/n/pods/{path}"))).await;
            assert!(message.contains(wanted), "{message}");
            messages.push(message);
        }
        told.push(messages);
        app.stop().await;
    }
    assert_eq!(told[0], told[1]);
}

/// A label that the scrape has renamed is looked for, but seldom.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_label_is_told_of_and_looked_for_once() {
    const RULE: &str = r#"
rules:
- seriesQuery: '{__name__=~"^gpu_.*",namespace!="",pod!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: gpu_bare
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: bare}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: gpu_of_job
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: gpu_memory
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
"#;
    let exporters = "namespace=\"monitoring\",pod=\"exporter-0\"";
    let renamed = format!("{exporters},exported_namespace=\"ml\",exported_pod=\"w-0\"");
    let half = "namespace=\"monitoring\",pod=\"w-0\",exported_namespace=\"ml\"";
    let bare = "exported_namespace=\"ml\",exported_pod=\"w-0\"";
    let page = Page::new()
        .series("gpu_memory", &renamed, "900")
        .series("gpu_half", half, "900")
        .series("gpu_bare", bare, "900")
        .series("gpu_of_job", bare, "900")
        .series("gpu_plain", exporters, "1");
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    let app = Launch::new(RULE, &prometheus.url).start().await;
    for (path, is_told) in [
        ("w-0/gpu_memory", true),
        ("w-1/gpu_memory", true),
        // Something else was looked for a moment ago.
        ("w-0/gpu_plain", false),
        ("w-0/gpu_memory", true),
    ] {
        let message = missing(&app, &custom(&format!("namespaces/ml/pods/{path}"))).await;
        assert!(message.contains("the query of rules[0] gives no sample"), "{message}");
        assert_eq!(message.contains("`exported_pod`"), is_told, "{path}: {message}");
    }
    app.stop().await;
    let app = Launch::new(RULE, &prometheus.url).start().await;
    let message = missing(&app, &custom("namespaces/ml/pods/w-0/gpu_half")).await;
    assert!(message.contains("`exported_namespace`"), "{message}");
    let message = missing(&app, &custom("namespaces/ml/pods/w-0/gpu_of_job")).await;
    assert!(
        message.contains("for jobs.batch; its series have the label `exported_pod`"),
        "{message}"
    );
    let named = "rules[1] serves no metric: its series, such as `gpu_bare`, carry none of the labels `namespace`, `pod`, but `exported_namespace`, `exported_pod`: ";
    until("the rule has been examined", async || {
        let message = missing(&app, &custom("namespaces/ml/pods/w-0/bare")).await;
        message.contains(named).then_some(())
    })
    .await;
    // The answer about an external metric has no place for it, and the metrics have.
    assert!(items(&app, "namespaces/ml/gpu_memory").await.is_empty());
    let metrics = app.get("/metrics").await.body;
    let counted = r#"loadline_empty_reads_total{rule="externalRules[0]",cause="exported-label"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    app.stop().await;

    let silent = |_: &Asked| Answer::Data(json!({"resultType": "vector", "result": []}));
    let backend = Backend::start(knows(&["m"], silent)).await;
    let app = Launch::new(CAUSES, &backend.url).start().await;
    for pod in 0..10 {
        let path = custom(&format!("namespaces/n-{pod}/pods/pod-{pod}/m"));
        let wanted = "the query of rules[0] gives no sample; run: ";
        assert!(missing(&app, &path).await.contains(wanted));
    }
    let looks = |asked: &Asked| asked.parameter("query").contains("exported_pod");
    assert_eq!(backend.count(looks), 1);
    app.stop().await;
}

const USAGE: &str = "
resourceRules:
  cpu:
    containerQuery: sum by (<<.GroupBy>>) (cpu{<<.LabelMatchers>>})
    nodeQuery: sum by (<<.GroupBy>>) (node_cpu{<<.LabelMatchers>>})
    resources: {overrides: {namespace: {resource: namespace}, instance: {resource: node}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: sum by (<<.GroupBy>>) (mem{<<.LabelMatchers>>})
    nodeQuery: sum by (<<.GroupBy>>) (node_mem{<<.LabelMatchers>>})
    resources: {overrides: {namespace: {resource: namespace}, instance: {resource: node}, pod: {resource: pod}}}
    containerLabel: container
";

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_missing_says_why() {
    let of = |pod: &str, container: &str| {
        format!("namespace=\"n\",pod=\"{pod}\",container=\"{container}\"")
    };
    let page = Page::new()
        .series("cpu", &of("well", "app"), "1")
        .series("mem", &of("well", "app"), "1024")
        .series("cpu", &of("half", "app"), "1")
        .series("cpu", &of("nan", "app"), "NaN")
        .series("mem", &of("nan", "app"), "1024")
        .series("cpu", &of("unlabelled", "app"), "1")
        .series("mem", "namespace=\"n\",pod=\"unlabelled\"", "1024")
        // Their label `instance` is the address of the exporter.
        .series("node_cpu", "mode=\"user\"", "2")
        .series("node_mem", "mode=\"user\"", "2048");
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus_of(&[exporter.address()], &[]).await;
    let cluster = Kubernetes::start(&[], 10).await;
    for name in ["well", "half", "nan", "unlabelled", "silent"] {
        let running = json!({"status": {"phase": "Running"}});
        cluster.apply(Stored::new("pods", "n", name, &[]).with(running));
    }
    cluster.apply(Stored::new("nodes", "", "node-a", &[]));
    let (pods, nodes) =
        ("/apis/metrics.k8s.io/v1beta1/namespaces/n/pods", "/apis/metrics.k8s.io/v1beta1/nodes");
    for ttl in LIVES {
        let mut launch = Launch::new(USAGE, &prometheus.url).cluster(&cluster);
        launch.planning.life.ttl = ttl;
        let app = launch.start().await;
        assert_eq!(app.get(pods).await.json()["items"].as_array().unwrap().len(), 1);
        for (name, cpu, memory) in [
            ("half", None, Some("gives no sample")),
            ("nan", Some("returned NaN"), None),
            ("unlabelled", None, Some("gives no sample with the label of containers")),
            ("silent", Some("gives no sample"), Some("gives no sample")),
        ] {
            let message = missing(&app, &format!("{pods}/{name}")).await;
            for (resource, cause) in [("cpu", cpu), ("memory", memory)] {
                let query = format!("the query of resourceRules.{resource}");
                assert_eq!(message.contains(&query), cause.is_some(), "{name}: {message}");
                let wanted = format!("{query} {}", cause.unwrap_or_default());
                assert!(cause.is_none() || message.contains(&wanted), "{name}: {message}");
            }
        }
        assert_eq!(app.get(nodes).await.json()["items"], json!([]));
        let message = missing(&app, &format!("{nodes}/node-a")).await;
        for part in ["`instance`".to_owned(), format!("`{}`", exporter.address())] {
            assert!(message.contains(&part), "{part} is not in {message}");
        }
        let metrics = app.get("/metrics").await.body;
        let line =
            r#"loadline_empty_reads_total{rule="resourceRules.cpu",cause="other-objects"} 2"#;
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        app.stop().await;
    }
}

/// A node of which the others' labels tell that its own has another name, and a label that no series has.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_usage_is_told_what_the_label_has() {
    let mut page = Page::new();
    for instance in ["node-a", "10.0.0.2:9100"] {
        let label = format!("instance=\"{instance}\"");
        page = page.series("node_cpu", &label, "2").series("node_mem", &label, "2048");
    }
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(&[], 10).await;
    for name in ["node-a", "node-b"] {
        cluster.apply(Stored::new("nodes", "", name, &[]));
    }
    for (rules, wanted) in [
        (
            USAGE.to_owned(),
            "one has `10.0.0.2:9100` in its label `instance`, which is the name of no node",
        ),
        (
            USAGE.replace("instance:", "machine:"),
            "gives no sample: its series are without the label `machine`",
        ),
    ] {
        let app = Launch::new(&rules, &prometheus.url).cluster(&cluster).start().await;
        let message = missing(&app, "/apis/metrics.k8s.io/v1beta1/nodes/node-b").await;
        assert!(message.contains(wanted), "{message}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_whose_labels_were_renamed_says_so() {
    let of = |namespace: &str, pod: &str| {
        format!(
            "namespace=\"{namespace}\",pod=\"exp-0\",exported_namespace=\"n\",exported_pod=\"{pod}\",container=\"app\""
        )
    };
    for namespace in ["monitoring", "n"] {
        let labels = of(namespace, "web-0");
        let page = Page::new().series("cpu", &labels, "1").series("mem", &labels, "1024");
        let exporter = Exporter::start(page).await;
        let prometheus = Store::prometheus(&exporter).await;
        let cluster = Kubernetes::start(&[], 10).await;
        for name in ["web-0", "exp-0"] {
            let running = json!({"status": {"phase": "Running"}});
            cluster.apply(Stored::new("pods", "n", name, &[]).with(running));
        }
        let app = Launch::new(USAGE, &prometheus.url).cluster(&cluster).start().await;
        let path = "/apis/metrics.k8s.io/v1beta1/namespaces/n/pods/web-0";
        let message = missing(&app, path).await;
        let told = message.matches("its series have the label `exported_pod`").count();
        assert_eq!(told, 2, "{message}");
        let metrics = app.get("/metrics").await.body;
        for resource in ["cpu", "memory"] {
            let labels = format!("{{rule=\"resourceRules.{resource}\",cause=\"exported-label\"}}");
            let line = format!("loadline_empty_reads_total{labels} 1");
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
        app.stop().await;
    }
}

/// Without an answer that could say it, the log does: once.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_is_in_the_log_once_with_its_cause() {
    const RULES: &str = "
externalRules:
- {seriesQuery: m, resources: {namespaced: false}, metricsQuery: 'm{<<.LabelMatchers>>}'}
";
    let query = |asked: &Asked| {
        let value = if asked.parameter("query").contains("odd") { "NaN" } else { "1" };
        let gone = asked.parameter("query").contains("gone");
        let row = json!({"metric": {"queue": "q\n"}, "value": [1_790_000_000, value]});
        let rows = if gone { vec![] } else { vec![row] };
        Answer::Data(json!({"resultType": "vector", "result": rows}))
    };
    let backend = Backend::start(knows(&["m"], query)).await;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, RULES).unwrap();
    let mut server = Process::loadline(&[
        "serve",
        "--standalone",
        "--secure-port=0",
        &format!("--config={}", rules.display()),
        &format!("--prometheus-url={}", backend.url),
    ]);
    let address = format!("https://127.0.0.1:{}", server.port().await);
    install_tls_provider();
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    let client = client.build().unwrap();
    let get = async |path: &str| client.get(format!("{address}{path}")).send().await.unwrap();
    until("it is ready", async || (get("/readyz").await.status() == 200).then_some(())).await;
    for queue in ["gone", "odd", "gone", "odd", "well", "gone"] {
        let path = external(&format!("namespaces/n/m?labelSelector=queue%3D{queue}"));
        assert_eq!(get(&path).await.status(), 200);
    }
    let log = server.stderr();
    let told: Vec<_> = log.lines().filter(|line| line.contains("the answer is empty")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains("externalRules[0] gives no sample"), "{log}");
    assert!(told[1].contains("externalRules[0] returned NaN"), "{log}");
    assert!(told.iter().all(|line| line.contains("place=3:3")), "{log}");
    let metrics = get("/metrics").await.text().await.unwrap();
    for (cause, count) in [("no-sample", 3), ("nan", 2)] {
        let labels = format!("{{rule=\"externalRules[0]\",cause=\"{cause}\"}}");
        let line = format!("loadline_empty_reads_total{labels} {count}");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}
