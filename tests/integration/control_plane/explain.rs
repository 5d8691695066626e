//! `loadline explain` beside the real controller: both come to the same number of replicas.

use std::process::Stdio;

use serde_json::{Value, json};

use super::set_up::{PEER_ACCESS, Server, as_prometheus_adapter, until_registered};
use crate::support::{
    control_plane::{ControlPlane, Kubelet, eventually},
    exporter::{Exporter, Page},
    process::loadline,
    store::Store,
};

const RULES: &str = r#"rules:
- seriesQuery: 'unlabelled{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: '{__name__=~"even|plenty|falling|some",namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
"#;

/// What is in `falling` before its autoscaler has to wait.
fn page(falling: &str) -> Page {
    let of_ide = r#"namespace="ide""#;
    Page::new()
        .series("even", of_ide, "30")
        .series("plenty", of_ide, "1000")
        .series("some", of_ide, "45")
        .series("falling", of_ide, falling)
        .series("unlabelled", of_ide, "1")
}

fn external(metric: &str) -> Value {
    json!({"type": "External", "external": {
        "metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": "10"}}})
}

fn of_pods(metric: &str) -> Value {
    json!({"type": "Pods", "pods": {
        "metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": "10"}}})
}

/// A Deployment and its autoscaler, with the controller's own rates and windows.
fn autoscaled(name: &str, metrics: &[Value]) -> String {
    let meta = json!({"name": name, "namespace": "ide"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": name}]},
            },
        },
    });
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1, "maxReplicas": 8, "metrics": metrics,
        },
    });
    format!("{deployment}\n{autoscaler}\n")
}

/// What `explain` says of an autoscaler.
pub(super) async fn explain(plane: &ControlPlane, name: &str) -> Value {
    let kubeconfig = plane.kubeconfig.display().to_string();
    let object = format!("hpa/{name}");
    let mut command =
        loadline(&["explain", &object, "-n=ide", "-o=json", "--kubeconfig", &kubeconfig]);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {said}"))
}

/// Waits until the controller has so many replicas, all of them ready.
async fn until_settled(plane: &ControlPlane, name: &str, replicas: u64) {
    let deployments = "/apis/apps/v1/namespaces/ide/deployments";
    eventually(&format!("{name} has {replicas} replicas"), async || {
        let status = plane.get(&format!("{deployments}/{name}")).await?["status"].take();
        let are_ready = status["readyReplicas"] == replicas && status["replicas"] == replicas;
        are_ready.then_some(())
    })
    .await;
}

/// Compares the cause with the planted one, and the desired replicas with those of the controller.
async fn agrees(plane: &ControlPlane, name: &str, cause: &str) {
    let path = format!("/apis/autoscaling/v2/namespaces/ide/horizontalpodautoscalers/{name}");
    let what = format!("explain and the controller agree about {name}");
    let mut last = String::new();
    eventually(&what, async || {
        let answer = explain(plane, name).await;
        let status = plane.get(&path).await?["status"].take();
        let (desired, wanted) = (&answer["hpa"]["desired"], &status["desiredReplicas"]);
        let found =
            format!("{name}: {}, desired {desired}, by the controller {wanted}", answer["cause"]);
        if found != last {
            println!("{found}\n{answer:#}");
            last = found;
        }
        (answer["cause"] == cause && desired == wanted && desired.is_u64()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn the_real_controller_decides_as_is_explained() {
    let plane = ControlPlane::start().await;
    if !plane.has_controllers() {
        return;
    }
    let exporter = Exporter::start(page("30")).await;
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_prometheus_adapter(&plane).await;
    plane.apply(PEER_ACCESS).await;
    let server = Server::start(&account, &prometheus.url, RULES, 0, &["--cache-ttl=1s"]).await;
    until_registered(&plane, &server).await;
    plane.create_namespace("ide").await;
    let _kubelet = Kubelet::start(&plane, "ide", |_| {});
    for (name, metrics) in [
        ("even", vec![external("even")]),
        ("plenty", vec![external("plenty")]),
        ("falling", vec![external("falling")]),
        // The metric that can be read asks for more: the other one does not matter.
        ("partly", vec![external("some"), of_pods("unlabelled")]),
        ("misnamed", vec![of_pods("even")]),
    ] {
        plane.apply(&autoscaled(name, &metrics)).await;
    }
    for (name, replicas) in [("even", 3), ("plenty", 8), ("falling", 3), ("partly", 5)] {
        until_settled(&plane, name, replicas).await;
    }
    agrees(&plane, "even", "hpa-within-tolerance").await;
    agrees(&plane, "plenty", "hpa-at-limit").await;
    exporter.show(page("8"));
    agrees(&plane, "falling", "hpa-stabilizing").await;
    agrees(&plane, "partly", "label-missing").await;
    // The controller cannot decide.
    let answer = explain(&plane, "misnamed").await;
    assert_eq!(answer["cause"], "wrong-api", "{answer:#}");
}
