//! Autoscalers on metrics of rules and of a second adapter that is asked by way of loadline, while that one hangs and is gone.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{
    load::{Done, Load, autoscaled, until_scaled},
    set_up::{PEER_ACCESS, Server, as_loadline, until_registered},
};
use crate::support::{
    control_plane::{ControlPlane, Kubelet, eventually},
    exporter::{Exporter, Page},
    kubectl::succeeds,
    store::Store,
    until_within,
};

const RULES: &str = r#"externalRules:
- seriesQuery: 'backlog{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
"#;

/// The same series under another name.
const OTHER_RULES: &str = r#"externalRules:
- seriesQuery: 'backlog{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: other_backlog}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
"#;

/// loadline may read external metrics at the delegate, as at any other server, and the Secret with its authority.
const ACCESS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: loadline-delegates}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus-adapter-external-metrics}
subjects: [{kind: ServiceAccount, name: loadline, namespace: monitoring}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: loadline-delegates, namespace: monitoring}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [other-certs], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: loadline-delegates, namespace: monitoring}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: loadline-delegates}
subjects: [{kind: ServiceAccount, name: loadline, namespace: monitoring}]
"#;

const NAMES: [&str; 2] = ["ours", "theirs"];

fn page(backlog: f64, _: &Done) -> Page {
    Page::new().series("backlog", r#"namespace="ide",queue="jobs""#, &backlog.to_string())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn autoscalers_follow_rules_and_a_delegate_and_ours_go_on_without_it() {
    let plane = ControlPlane::start().await;
    if !plane.has_controllers() {
        return;
    }
    let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_loadline(&plane, &[]).await;
    let create = ["create", "serviceaccount", "prometheus-adapter", "-n", "monitoring"];
    succeeds(&plane.kubeconfig, &create).await;
    plane.apply(PEER_ACCESS).await;
    plane.apply(ACCESS).await;
    let other = plane.service_account("monitoring", "prometheus-adapter").await;
    let flags = ["--cache-ttl=1s"];
    let other = Server::start(&other, &prometheus.url, OTHER_RULES, 0, &flags).await;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other-certs", "namespace": "monitoring"},
        "data": {"ca.crt": BASE64_STANDARD.encode(other.authority())},
    });
    plane.apply(&secret.to_string()).await;
    fs::write(at("token"), plane.token("monitoring", "loadline").await).unwrap();
    let rules = format!(
        "{RULES}delegates:\n- {{name: other, url: 'https://127.0.0.1:{}', caSecret: {{namespace: monitoring, name: other-certs}}, tokenFile: '{}', api: external, timeout: 2s}}\n",
        other.port,
        at("token"),
    );
    let allowed = format!("--backend-credentials-dir={}", folder.path().display());
    let flags = ["--cache-ttl=1s", &allowed];
    let server = Server::start(&account, &prometheus.url, &rules, 0, &flags).await;
    until_registered(&plane, &server).await;

    let load = Load::start(Arc::clone(&exporter), page);
    load.set(8.0);
    let _kubelet = Kubelet::start(&plane, "ide", load.pods());
    plane.create_namespace("ide").await;
    for (name, metric) in NAMES.iter().zip(["backlog", "other_backlog"]) {
        let metric = json!({"type": "External", "external": {
            "metric": {"name": metric, "selector": {"matchLabels": {"queue": "jobs"}}},
            "target": {"type": "AverageValue", "averageValue": "10"},
        }});
        let containers = json!([{"name": name, "image": name}]);
        plane.apply(&autoscaled(name, &containers, &metric)).await;
    }
    until_scaled(&plane, &NAMES, 1).await;
    let changed = Instant::now();
    load.set(45.0);
    until_scaled(&plane, &NAMES, 5).await;
    println!("both scaled within {:?}", changed.elapsed());
    // It is asked for its metrics once a minute, and first before it had found any.
    let (limit, interval) = (Duration::from_secs(90), Duration::from_secs(1));
    until_within(limit, interval, "the metrics of both are listed", async || {
        let listed = plane.raw("/apis/external.metrics.k8s.io/v1beta1").await.to_string();
        (listed.contains("\"backlog\"") && listed.contains("\"other_backlog\"")).then_some(())
    })
    .await;

    other.process.signal("STOP");
    load.set(25.0);
    until_scaled(&plane, &["ours"], 3).await;
    eventually("the autoscaler names the delegate", async || {
        let text = succeeds(&plane.kubeconfig, &["describe", "hpa", "-n", "ide", "theirs"]).await;
        text.contains("the delegate other ").then_some(())
    })
    .await;
    let theirs = plane.get("/apis/apps/v1/namespaces/ide/deployments/theirs").await.unwrap();
    assert_eq!(theirs["spec"]["replicas"], 5, "it keeps its size");
    other.process.signal("CONT");
    until_scaled(&plane, &NAMES, 3).await;

    other.process.signal("KILL");
    other.process.end().await;
    load.set(8.0);
    until_scaled(&plane, &["ours"], 1).await;
    let theirs = plane.get("/apis/apps/v1/namespaces/ide/deployments/theirs").await.unwrap();
    assert_eq!(theirs["spec"]["replicas"], 3, "it keeps its size");
    server.stop().await;
}
