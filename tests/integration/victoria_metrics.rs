//! All three APIs with a real VictoriaMetrics.

use serde_json::Value;

use crate::support::{
    app::{Launch, custom},
    cluster::{Kubernetes, Stored},
    exporter::{Exporter, Page},
    store::Store,
    until,
};

const RULES: &str = r#"
rules:
- seriesQuery: 'requests{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: busy}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) or vector(0)'
externalRules:
- seriesQuery: 'backlog{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  aggregate: sum
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
resourceRules:
  cpu:
    containerQuery: 'sum(used_cores{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    nodeQuery: 'sum(used_cores{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
  memory:
    containerQuery: 'sum(used_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    nodeQuery: 'sum(used_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
"#;

#[tokio::test(flavor = "multi_thread")]
async fn all_apis() {
    let mut page = Page::new();
    let cluster = Kubernetes::start(&[], 500).await;
    for (pod, busy) in [("web-0", "2"), ("web-1", "0.5")] {
        let labels = format!("namespace=\"team\",pod=\"{pod}\"");
        let usage = format!("{labels},container=\"web\",node=\"n1\"");
        page = page
            .series("requests", &labels, busy)
            .series("backlog", &labels, busy)
            .series("used_cores", &usage, "0.25")
            .series("used_bytes", &usage, "1048576");
        cluster.apply(
            Stored::new("pods", "team", pod, &[("app", "web")])
                .with(serde_json::json!({"status": {"phase": "Running"}})),
        );
    }
    cluster.apply(Stored::new("nodes", "", "n1", &[]));
    let exporter = Exporter::start(page).await;
    let store = Store::victoria_metrics(&exporter).await;
    for series in ["requests", "backlog", "used_cores", "used_bytes"] {
        store.until(&format!("{series}{{*}}")).await;
    }
    let app = Launch::new(RULES, &store.url).cluster(&cluster).start().await;
    let text = |value: &Value| value.as_str().expect("text").to_owned();

    // A series that is new to VictoriaMetrics is found a moment later.
    let path = custom("namespaces/team/pods/*/busy?labelSelector=app%3Dweb");
    let read = async || Some(app.get(&path).await).filter(|reply| reply.status == 200);
    let values = until("the custom metric", read).await.values();
    assert_eq!(values, [("web-0", "2"), ("web-1", "500m")].map(|(n, v)| (n.into(), v.into())));

    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/team/backlog";
    let read = async || Some(app.get(path).await).filter(|reply| reply.status == 200);
    let items = until("the external metric", read).await.json()["items"].clone();
    assert_eq!(
        (items.as_array().expect("items").len(), text(&items[0]["value"])),
        (1, "2500m".into())
    );

    let pods = app.get("/apis/metrics.k8s.io/v1beta1/pods").await.json();
    let usage = &pods["items"][1]["containers"][0]["usage"];
    assert_eq!(
        (text(&usage["cpu"]), text(&usage["memory"])),
        ("250m".into(), "1Mi".into()),
        "{pods}"
    );
    let nodes = app.get("/apis/metrics.k8s.io/v1/nodes").await.json();
    assert_eq!(text(&nodes["items"][0]["usage"]["memory"]), "2Mi", "{nodes}");
    app.stop().await;
}
