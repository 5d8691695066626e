//! Queries in dialects of PromQL that the parser does not know: they are sent as they are.

use serde_json::Value;

use crate::support::{
    app::{App, Launch, Reply, custom},
    backend::{Answer, Backend, knows, pods},
    exporter::{Exporter, Page},
    store::Store,
    until,
};

/// `MetricsQL` of VictoriaMetrics, and the values that it has for the pods of [`page`].
const METRICSQL: [(&str, [&str; 2]); 13] = [
    (r"sum(rollup_rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>) + 3", ["3", "3"]),
    ("max_over_time(<<.Series>>{<<.LabelMatchers>>}[1m]) keep_metric_names", ["2", "5"]),
    ("with (own = {<<.LabelMatchers>>}) max(<<.Series>>{own}) by (<<.GroupBy>>)", ["2", "5"]),
    (
        "sum(<<.Series>>{<<.LabelMatchers>>,queue=\"none\"}) by (<<.GroupBy>>) default <<.Series>>{<<.LabelMatchers>>}",
        ["2", "5"],
    ),
    ("<<.Series>>{<<.LabelMatchers>>} if (<<.Series>>{<<.LabelMatchers>>} > 0)", ["2", "5"]),
    ("sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) limit 5", ["2", "5"]),
    ("sum(max_over_time(<<.Series>>{<<.LabelMatchers>>})) by (<<.GroupBy>>)", ["2", "5"]),
    ("sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) * 1Ki", ["2048", "5120"]),
    ("median(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", ["2", "5"]),
    ("sum(last_over_time(<<.Series>>{<<.LabelMatchers>>}[1i])) by (<<.GroupBy>>,)", ["2", "5"]),
    (r"<<.Series>>{<<.LabelMatchers>>,queue=~`[ab]\w*`}", ["2", "5"]),
    (r#"label_set(<<.Series>>{<<.LabelMatchers>>}, "note", `\"{'`) # it's "one"#, ["2", "5"]),
    ("(\n  <<.Series>>{<<.LabelMatchers>>}\n\t, \n)", ["2", "5"]),
];

/// What a Prometheus knows, and the parser does not, or reads in another way.
const PROMETHEUS: [(&str, [&str; 2]); 4] = [
    ("holt_winters(<<.Series>>{<<.LabelMatchers>>}[1m:1s], 0.5, 0.5)", ["2", "5"]),
    (r"<<.Series>>{<<.LabelMatchers>>,queue=~`[ab]\w*`}", ["2", "5"]),
    (r#"label_replace(<<.Series>>{<<.LabelMatchers>>}, "note", `\`, "", "")"#, ["2", "5"]),
    (
        r#"label_replace(<<.Series>>{<<.LabelMatchers>>}, "note", `"'\"`, "queue", `(?:a|b|\d)`) # it's"#,
        ["2", "5"],
    ),
];

/// What no installed backend knows.
const OTHERS: [&str; 8] = [
    "sum(<<.Series>>{queue=\"a\",<<.LabelMatchers>> or queue=\"b\",<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    "sum(rate(<<.Series>>{<<.LabelMatchers>>}[5m + 1m])) by (<<.GroupBy>>)",
    "<<.Series>>{<<.LabelMatchers>>} offset (1m * 2)",
    "sum(rate(<<.Series>>{<<.LabelMatchers>>}[step()])) by (<<.GroupBy>>)",
    "double_exponential_smoothing(<<.Series>>{<<.LabelMatchers>>}[1m], 0.5, 0.5)",
    "<<.Series>>{<<.LabelMatchers>>} + (end() - start())",
    "<<.Series>>{<<.LabelMatchers>>} +fill(0) <<.Series>>{<<.LabelMatchers>>}",
    "a`\\`\u{e9} \\ \"' b <<.Series>> <<.LabelMatchers>>",
];

/// A rule for each query, whose metric is `q` and the number of the query.
fn rules(queries: &[&str]) -> String {
    let rules = queries.iter().enumerate().map(|(number, query)| {
        serde_json::json!({
            "seriesQuery": "requests{pod!=\"\"}",
            "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            "name": {"as": format!("q{number}")},
            "metricsQuery": query,
        })
    });
    serde_json::json!({"rules": rules.collect::<Vec<Value>>()}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_reaches_the_backend_byte_by_byte() {
    let queries: Vec<_> =
        METRICSQL.iter().chain(&PROMETHEUS).map(|(query, _)| *query).chain(OTHERS).collect();
    let backend =
        Backend::start(knows(&["requests"], |_| Answer::Data(pods(&[("p", "1"), ("q", "2")]))))
            .await;
    let app = Launch::new(&rules(&queries), &backend.url).start().await;
    for (number, query) in queries.iter().enumerate() {
        for (names, matcher) in [("p", "pod=\"p\""), ("q", "pod=\"q\""), ("*", "pod!=\"\"")] {
            backend.take();
            app.get(&custom(&format!("namespaces/n/pods/{names}/q{number}"))).await.values();
            let wanted = query
                .replace("<<.Series>>", "requests")
                .replace("<<.LabelMatchers>>", &format!("namespace=\"n\",{matcher}"))
                .replace("<<.GroupBy>>", "pod");
            let asked = backend.take();
            let asked: Vec<_> = asked.iter().map(|asked| asked.parameter("query")).collect();
            assert_eq!(asked, [wanted], "{query}");
        }
    }
    app.stop().await;
}

fn page() -> Page {
    Page::new().series("requests", r#"namespace="team",pod="web-0",queue="a""#, "2").series(
        "requests",
        r#"namespace="team",pod="web-1",queue="b""#,
        "5",
    )
}

/// Reads every metric of the rules.
async fn evaluates(store: &Store, queries: &[(&str, [&str; 2])]) {
    store.until("requests{*}").await;
    let texts: Vec<_> = queries.iter().map(|(query, _)| *query).collect();
    let app = Launch::new(&rules(&texts), &store.url).start().await;
    for (number, (query, values)) in queries.iter().enumerate() {
        let read =
            async |app: &App| app.get(&custom(&format!("namespaces/team/pods/*/q{number}"))).await;
        // VictoriaMetrics finds a new series a moment later, and some functions want several samples.
        let values_of =
            |reply: Reply| Some(reply).filter(|it| it.status == 200).map(|it| it.values());
        let read = async || values_of(read(&app).await).filter(|all| all.len() == 2);
        let found = until(query, read).await;
        let wanted = ["web-0", "web-1"].into_iter().zip(values);
        let wanted: Vec<_> =
            wanted.map(|(pod, value)| (pod.to_owned(), (*value).to_owned())).collect();
        assert_eq!(found, wanted, "{query}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn victoria_metrics_evaluates_metricsql() {
    let exporter = Exporter::start(page()).await;
    evaluates(&Store::victoria_metrics(&exporter).await, &METRICSQL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_evaluates_what_it_alone_knows() {
    let exporter = Exporter::start(page()).await;
    evaluates(&Store::prometheus(&exporter).await, &PROMETHEUS).await;
}
