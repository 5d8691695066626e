//! Autoscalers on metrics of pods and from outside.

use std::{sync::Arc, time::Instant};

use serde_json::json;

use super::{
    load::{Done, Load, autoscaled, until_scaled},
    set_up::{PEER_ACCESS, Server, as_prometheus_adapter, until_registered},
};
use crate::support::{
    control_plane::{ControlPlane, Kubelet},
    exporter::{Exporter, Page},
    kubectl::succeeds,
    store::Store,
};

/// The counter of the LSP servers as a rate. The range is short, so that the load of a moment ago is soon forgotten. And the
/// backlog of queues, which are no objects of the cluster.
const LSP_REQUESTS: &str = r#"rules:
- seriesQuery: 'lsp_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[5s])) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: 'backlog{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
"#;

/// A Deployment whose pods serve 10 requests a second each, and one whose pods take 10 entries of a backlog each.
async fn apply_autoscaled(plane: &ControlPlane) {
    plane.create_namespace("ide").await;
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    let requests = json!({"type": "Pods", "pods": {
        "metric": {"name": "lsp_requests_per_second"}, "target": target,
    }});
    let backlog = json!({"type": "External", "external": {
        "metric": {"name": "backlog", "selector": {"matchLabels": {"queue": "jobs"}}}, "target": target,
    }});
    for (name, metric) in NAMES.iter().zip([requests, backlog]) {
        let containers = json!([{"name": name, "image": name}]);
        plane.apply(&autoscaled(name, &containers, &metric)).await;
    }
}

const NAMES: [&str; 2] = ["lsp-server", "worker"];

/// Requests to the language servers, and as many entries in a queue.
fn page(per_second: f64, done: &Done) -> Page {
    // What the autoscaler does not ask for would make it scale to the limit.
    let page = Page::new()
        .series("backlog", r#"namespace="ide",queue="jobs""#, &per_second.to_string())
        .series("backlog", r#"namespace="ide",queue="mail""#, "1000")
        .series("backlog", r#"namespace="other",queue="jobs""#, "1000");
    let servers = done.iter().filter(|(name, _)| name.starts_with("lsp-server-"));
    servers.fold(page, |page, (name, count)| {
        let labels = format!("namespace=\"ide\",pod=\"{name}\"");
        page.series("lsp_requests_total", &labels, &count.to_string())
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn autoscalers_follow_lsp_requests_and_a_backlog() {
    let started = Instant::now();
    let plane = ControlPlane::start().await;
    if !plane.has_controllers() {
        return;
    }
    // Without a series Prometheus has scraped nothing yet.
    let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_prometheus_adapter(&plane).await;
    plane.apply(PEER_ACCESS).await;
    let server =
        Server::start(&account, &prometheus.url, LSP_REQUESTS, 0, &["--cache-ttl=1s"]).await;
    until_registered(&plane, &server).await;

    let load = Load::start(Arc::clone(&exporter), page);
    load.set(8.0);
    let _kubelet = Kubelet::start(&plane, "ide", load.pods());
    apply_autoscaled(&plane).await;
    println!("ready to scale after {:?}", started.elapsed());
    until_scaled(&plane, &NAMES, 1).await;
    for (per_second, replicas) in [(45.0, 5), (25.0, 3), (8.0, 1)] {
        let changed = Instant::now();
        load.set(per_second);
        until_scaled(&plane, &NAMES, replicas).await;
        println!(
            "{per_second} requests a second: {replicas} replicas within {:?}",
            changed.elapsed()
        );
    }
    for (name, metric) in [
        ("lsp-server", "\"lsp_requests_per_second\" on pods"),
        ("worker", "\"backlog\" (target average value)"),
    ] {
        let text = succeeds(&plane.kubeconfig, &["describe", "hpa", "-n", "ide", name]).await;
        assert!(text.contains(metric), "{text}");
        for count in [5, 3, 1] {
            assert!(text.contains(&format!("New size: {count};")), "{text}");
        }
    }
    server.print_memory();
    println!("done after {:?}", started.elapsed());
}
