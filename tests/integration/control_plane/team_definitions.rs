//! The definitions of rules of teams on a real API server: what it takes and refuses, and what kubectl shows.

use std::fs;

use crate::support::{
    control_plane::{ControlPlane, eventually},
    kubectl::{kubectl, succeeds},
};

const RULE: &str = "
apiVersion: loadline.dev/v1alpha1
kind: MetricRule
metadata: {name: depth, namespace: default}
spec:
  metric: queue_depth
  query: sum by (pod) (queue_depth)
  target: pods
  window: 2m
  cacheTTL: 30s
  onEmpty: 500m
  backend: long-term
";

const CLUSTER_RULE: &str = "
apiVersion: loadline.dev/v1alpha1
kind: ClusterMetricRule
metadata: {name: depth}
spec: {metric: queue_depth, query: sum(queue_depth), target: external, namespaces: [shop, bank]}
";

/// Changes of [`RULE`] that the API server refuses, and a part of the reason.
const REFUSED: [(&str, &str, &str); 14] = [
    ("  metric: queue_depth\n", "", "spec.metric"),
    ("metric: queue_depth", "metric: a/b", "spec.metric"),
    ("metric: queue_depth", "metric: -a", "spec.metric"),
    ("query: sum by (pod) (queue_depth)", "query: ''", "spec.query"),
    ("  target: pods\n", "", "spec.target"),
    ("target: pods", "target: Pods", "spec.target"),
    ("target: pods", "target: external\n  label: pod", "no label that names one"),
    ("window: 2m", "window: 2 minutes", "spec.window"),
    ("cacheTTL: 30s", "cacheTTL: -1s", "spec.cacheTTL"),
    ("onEmpty: 500m", "onEmpty: '-1'", "quantity that is not negative"),
    ("onEmpty: 500m", "onEmpty: nothing", "quantity that is not negative"),
    ("backend: long-term", "backend: Long", "spec.backend"),
    ("backend: long-term", "namespaces: [shop]", "namespaces"),
    ("backend: long-term", "qeury: x", "qeury"),
];

async fn apply(plane: &ControlPlane, manifest: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rule.yaml");
    fs::write(&file, manifest).expect("a file");
    let file = file.to_str().expect("text");
    let ended = kubectl(&plane.kubeconfig, &["apply", "--validate=strict", "-f", file]).await;
    (ended.code, ended.stderr)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a control plane"]
async fn the_api_server_takes_rules_and_refuses_others() {
    let plane = ControlPlane::start().await;
    for name in ["metricrules", "clustermetricrules"] {
        let path = format!("{}/deploy/crds/{name}.loadline.dev.yaml", env!("CARGO_MANIFEST_DIR"));
        plane.apply(&fs::read_to_string(path).expect("a definition")).await;
        let path =
            format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}.loadline.dev");
        let definition = eventually("the definition is established", async || {
            let definition = plane.get(&path).await?;
            let conditions = definition["status"]["conditions"].as_array()?.clone();
            let is = |kind: &str, status: &str| {
                conditions.iter().any(|one| one["type"] == kind && one["status"] == status)
            };
            is("Established", "True").then_some(conditions)
        })
        .await;
        // A schema that is not structural is served all the same, and this condition says so.
        assert!(
            definition.iter().all(|one| one["type"] != "NonStructuralSchema"),
            "{definition:?}"
        );
    }
    eventually("kubectl knows the kinds", async || {
        (apply(&plane, RULE).await.0 == Some(0)).then_some(())
    })
    .await;
    assert_eq!(apply(&plane, CLUSTER_RULE).await.0, Some(0));
    for (from, to, reason) in REFUSED {
        assert!(RULE.contains(from), "{from}");
        let (code, said) = apply(&plane, &RULE.replace(from, to)).await;
        assert_eq!(code, Some(1), "{to}: {said}");
        assert!(said.contains(reason), "{to}: {said}");
    }
    columns(&plane).await;
}

/// What kubectl shows of a rule, by its short name, after its status has been written.
async fn columns(plane: &ControlPlane) {
    let status = r#"{"status":{"value":"7","series":3,"observedGeneration":1,"conditions":[{"type":"Serving","status":"True","reason":"Serving","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    let patch = ["patch", "mr", "depth", "--subresource=status", "--type=merge", "-p", status];
    succeeds(&plane.kubeconfig, &patch).await;
    let shown = succeeds(&plane.kubeconfig, &["get", "mr"]).await;
    let mut lines = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let heads = ["NAME", "METRIC", "TARGET", "VALUE", "SERVING", "AGE"];
    assert_eq!(lines.next().expect("a head"), heads);
    assert_eq!(lines.next().expect("a line")[..5], ["depth", "queue_depth", "pods", "7", "True"]);
    let shown = succeeds(&plane.kubeconfig, &["get", "cmr"]).await;
    assert!(shown.contains("external"), "{shown}");
    let all = succeeds(&plane.kubeconfig, &["get", "loadline", "-A", "-o", "name"]).await;
    assert_eq!(all.lines().count(), 2, "{all}");
}
