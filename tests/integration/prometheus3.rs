//! A real Prometheus 3 with what only it has: names in quotes, as OpenTelemetry has them, and native histograms.
//!
//! `PROMETHEUS3` has to name a folder with its `prometheus` and `promtool`. The searches of [`crate::pointwise`] and
//! [`crate::team_isolation`] run there, too.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio};

use jiff::Timestamp;
use loadline::core::{
    pointwise::{Key, Pointwise, Renderings, judge},
    template::{QueryArguments, QueryTemplate},
};
use serde_json::{Value, json};

use crate::support::{
    app::{Launch, custom, external},
    process::loadline,
    store::Store,
};

const RULES: &str = r#"
rules:
- seriesQuery: '{"http.server.active_requests"}'
  resources: {template: "k8s.<<.Resource>>.name"}
  metricsQuery: 'sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>})'
- seriesQuery: '{__name__=~"http[.]server[.].+","k8s.namespace.name"!=""}'
  resources: &labels {overrides: {k8s.namespace.name: {resource: namespace}, k8s.pod.name: {resource: pod}}}
  seriesFilters: [{is: '[.]requests$'}]
  name: {matches: '^http[.](.*)$', as: '${1}.per_second'}
  metricsQuery: 'sum by (<<.GroupBy>>) (irate(<<.Series>>{<<.LabelMatchers>>}[5m]))'
- seriesQuery: '{"http.server.request.duration"}'
  resources: *labels
  name: {as: duration.p50}
  metricsQuery: 'histogram_quantile(0.5, sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[5m])))'
- seriesQuery: '{"http.server.request.duration"}'
  resources: *labels
  name: {as: duration.mean}
  metricsQuery: 'histogram_avg(sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[5m])))'
- seriesQuery: '{"http.server.request.duration"}'
  resources: *labels
  name: {as: duration}
  metricsQuery: 'sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[5m]))'
- seriesQuery: '{"http.server.request.duration"}'
  resources: *labels
  name: {as: duration.max}
  metricsQuery: 'max by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>})'
- seriesQuery: '{"http.server.request.duration"}'
  resources: *labels
  name: {as: either}
  metricsQuery: 'sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>,"k8s.pod.name"="web-0"}) or sum by (<<.GroupBy>>) ({"http.server.active_requests",<<.LabelMatchers>>})'
externalRules:
- seriesQuery: '{"http.server.active_requests"}'
  resources: *labels
  name: {as: active}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
resourceRules:
  cpu:
    containerQuery: 'sum by (<<.GroupBy>>) ({"container.cpu.usage",<<.LabelMatchers>>})'
    nodeQuery: 'sum by (<<.GroupBy>>) ({"container.cpu.usage",<<.LabelMatchers>>})'
    resources: &usage {template: "k8s.<<.Resource>>.name"}
    containerLabel: k8s.container.name
  memory:
    containerQuery: 'sum by (<<.GroupBy>>) ({"container.memory.usage",<<.LabelMatchers>>})'
    nodeQuery: 'sum by (<<.GroupBy>>) ({"container.memory.usage",<<.LabelMatchers>>})'
    resources: *usage
    containerLabel: k8s.container.name
"#;

/// What the pods `web-0` and `web-1` of the namespace `shop` send, and one of the same name in another namespace: a minute ago and
/// now.
fn metrics() -> Value {
    let now = Timestamp::now().as_second();
    let at = |second: i64| format!("{second}000000000");
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let point = |second: i64, more: &Value| {
        let mut point = json!({
            "startTimeUnixNano": at(now - 600), "timeUnixNano": at(second),
            "attributes": [text("http.request.method", "GET")],
        });
        let fields = point.as_object_mut().expect("fields");
        fields.extend(more.as_object().expect("fields").clone());
        point
    };
    // All in one bucket, of which the first is that from 1 s to 2 s, and all in the middle of it.
    let durations = |second: i64, bucket: i32, count: i32| {
        let sum = 1.5 * f64::from(count << bucket);
        let more = json!({
            "count": count.to_string(), "sum": sum, "scale": 0, "zeroCount": "0",
            "positive": {"offset": bucket, "bucketCounts": [count.to_string()]},
        });
        point(second, &more)
    };
    let of_pod = |namespace: &str, pod: &str, active: &str, bucket: i32| {
        let of_container = |name: &str, value: &str| {
            let attributes = [text("k8s.container.name", "web"), text("k8s.node.name", "n1")];
            let point = point(now, &json!({"asInt": value, "attributes": attributes}));
            json!({"name": name, "gauge": {"dataPoints": [point]}})
        };
        let active = [point(now, &json!({"asInt": active}))];
        let requests =
            [point(now - 60, &json!({"asInt": "600"})), point(now, &json!({"asInt": "1200"}))];
        let durations = [durations(now - 60, bucket, 10), durations(now, bucket, 40)];
        let sum = json!({"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": requests});
        let histogram = json!({"aggregationTemporality": 2, "dataPoints": durations});
        json!({
            "resource": {
                "attributes": [text("k8s.namespace.name", namespace), text("k8s.pod.name", pod)]
            },
            "scopeMetrics": [{"metrics": [
                {"name": "http.server.active_requests", "gauge": {"dataPoints": active}},
                {"name": "http.server.requests", "sum": sum},
                {"name": "http.server.request.duration", "exponentialHistogram": histogram},
                of_container("container.cpu.usage", "1"),
                of_container("container.memory.usage", "1048576"),
            ]}],
        })
    };
    json!({"resourceMetrics": [
        of_pod("shop", "web-0", "3", 0),
        of_pod("shop", "web-1", "5", 1),
        of_pod("bank", "web-0", "100", 2),
    ]})
}

/// A store that has them.
async fn store() -> Store {
    let store = Store::otlp().await;
    store.send_otlp(&metrics()).await;
    store.until("{\"http.server.active_requests\",*}").await;
    store
}

fn pods(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PROMETHEUS3, see CONTRIBUTING.md"]
async fn names_of_opentelemetry_are_served() {
    let store = store().await;
    let app = Launch::new(RULES, &store.url).start().await;
    assert!(app.discovery.problems().is_empty(), "{:?}", app.discovery.problems());
    let both = pods(&[("web-0", "3"), ("web-1", "5")]);
    for (path, wanted) in [
        ("namespaces/shop/pods/*/http.server.active_requests", &both[..]),
        ("namespaces/shop/pods/%2A/http%2Eserver%2Eactive_requests", &both),
        ("namespaces/shop/pods/web-1/http.server.active_requests", &both[1..]),
        (
            "namespaces/shop/pods/*/http.server.active_requests?metricLabelSelector=http.request.method%3DGET",
            &both,
        ),
        ("namespaces/bank/pods/*/http.server.active_requests", &pods(&[("web-0", "100")])),
        ("namespaces/shop/metrics/http.server.active_requests", &pods(&[("shop", "8")])),
        (
            "namespaces/shop/pods/*/server.requests.per_second",
            &pods(&[("web-0", "10"), ("web-1", "10")]),
        ),
    ] {
        assert_eq!(app.get(&custom(path)).await.values(), wanted, "{path}");
    }
    let none = "namespaces/shop/pods/*/http.server.active_requests?metricLabelSelector=http.request.method%3DPUT";
    assert_eq!(app.get(&custom(none)).await.values(), []);
    let listed = app.get("/apis/custom.metrics.k8s.io/v1beta2").await.body;
    assert!(listed.contains("\"pods/http.server.active_requests\""), "{listed}");

    for (selector, value) in [("", "8"), ("?labelSelector=k8s.pod.name%3Dweb-1", "5")] {
        let reply = app.get(&external(&format!("namespaces/shop/active{selector}"))).await;
        assert_eq!(reply.json()["items"][0]["value"], value, "{}", reply.body);
    }
    let usage = app.get("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/web-0").await.json();
    let wanted = json!([{"name": "web", "usage": {"cpu": "1", "memory": "1Mi"}}]);
    assert_eq!(usage["containers"], wanted, "{usage}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PROMETHEUS3, see CONTRIBUTING.md"]
async fn numbers_of_native_histograms_are_served() {
    let store = store().await;
    let app = Launch::new(RULES, &store.url).start().await;
    for (metric, wanted) in [
        // 2^0.5 and 2^1.5: the buckets grow by powers of 2, and so does what is between their bounds.
        ("duration.p50", pods(&[("web-0", "1414m"), ("web-1", "2828m")])),
        ("duration.mean", pods(&[("web-0", "1500m"), ("web-1", "3")])),
        // One histogram costs no other sample.
        ("either", pods(&[("web-1", "5")])),
    ] {
        let reply = app.get(&custom(&format!("namespaces/shop/pods/*/{metric}"))).await;
        assert_eq!(reply.values(), wanted, "{metric}");
    }
    for (path, wanted) in [
        ("web-0/duration", "rules[4] returned a native histogram, which is no value"),
        ("web-0/duration.max", "rules[5] gives no sample, and Prometheus says that it left"),
        ("web-0/either", "rules[6] returned a native histogram"),
    ] {
        let reply = app.get(&custom(&format!("namespaces/shop/pods/{path}"))).await;
        let message = reply.failure();
        assert!(reply.status == 404 && message.contains(wanted), "{message}");
    }
    app.stop().await;

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    for (object, metric, wanted) in [
        ("pods/web-0", "duration.p50", Value::Null),
        ("pods/web-0", "duration", "histogram-sample".into()),
        ("pods/web-0", "duration.max", "histogram-sample".into()),
        // The series are found, though they have no floats.
        ("pods/web-9", "duration.p50", "names-differ".into()),
    ] {
        let explanation = explain(folder.path(), &store.url, &[object, metric, "-n=shop"]).await;
        assert_eq!(explanation["cause"], wanted, "{metric}: {explanation:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PROMETHEUS3, see CONTRIBUTING.md"]
async fn shared_queries_of_native_histograms_have_the_values_of_each_reader() {
    // `D` stands for a selector that carries the names.
    const FORMS: [&str; 5] = [
        "histogram_quantile(0.9, sum by (<<.GroupBy>>) (rate(D[5m])))",
        "histogram_quantile(0.9, rate(D[5m]))",
        "histogram_avg(sum by (<<.GroupBy>>) (rate(D[5m])))",
        "histogram_sum(sum by (<<.GroupBy>>) (D)) / histogram_count(sum by (<<.GroupBy>>) (D))",
        "histogram_fraction(0, 1.5, sum by (<<.GroupBy>>) (D))",
    ];
    const LABEL: &str = "k8s.pod.name";
    let store = store().await;
    let time = Timestamp::now().as_second().to_string();
    let answer = async |query: &str| {
        let data = store.ask("query", &[("query", query), ("time", &time)]).await.unwrap();
        data["result"].as_array().expect("a vector").clone()
    };
    for form in FORMS {
        let selector = "{\"http.server.request.duration\",<<.LabelMatchers>>}";
        let template = QueryTemplate::compile(&form.replace('D', selector)).unwrap();
        let render = |matcher: &str| {
            let matchers = format!("\"k8s.namespace.name\"=\"shop\",\"{LABEL}\"{matcher}");
            let arguments = QueryArguments {
                series: "",
                label_matchers: &matchers,
                label_values_by_name: &BTreeMap::new(),
                group_by: "\"k8s.pod.name\"",
                group_by_slice: &[],
            };
            template.render(&arguments).unwrap()
        };
        let wide = render("!=\"\"");
        let key = Key { label: LABEL, one: "n-1", several: &["n-2", "n-3"] };
        let (one, several) = (render("=\"n-1\""), render("=~\"n-2|n-3\""));
        let renderings = Renderings { one: &one, several: &several, wide: &wide };
        assert_eq!(judge(&key, None, renderings).unwrap(), Pointwise::Dependent, "{form}");
        let all = answer(&wide).await;
        for pod in ["web-0", "web-1"] {
            let own = answer(&render(&format!("=\"{pod}\""))).await;
            let mut of_all = all.clone();
            of_all.retain(|row| row["metric"][LABEL] == pod);
            assert_eq!(of_all, own, "{form}");
            assert!(own.len() == 1 && !own[0]["value"].is_null(), "{form}: {own:?}");
        }
    }
}

/// What `loadline explain` says of a metric.
async fn explain(folder: &Path, url: &str, arguments: &[&str]) -> Value {
    let all = ["explain", "-o=json", "-c=rules.yaml", "--prometheus-url", url];
    let mut command = loadline(&[&all, arguments].concat());
    command.current_dir(folder).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}
