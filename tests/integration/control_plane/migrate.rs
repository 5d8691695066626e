//! `loadline migrate` in a real cluster: it reads the objects there, and the API server takes what it prints.

use std::{fs, process::Stdio};

use serde_json::json;

use crate::support::{
    control_plane::{ControlPlane, eventually},
    kubectl::succeeds,
    process::loadline,
};

/// The kinds of KEDA, without their schemas.
fn definitions() -> String {
    let kinds = [
        ("scaledobjects", "ScaledObject", "Namespaced"),
        ("scaledjobs", "ScaledJob", "Namespaced"),
        ("triggerauthentications", "TriggerAuthentication", "Namespaced"),
        ("clustertriggerauthentications", "ClusterTriggerAuthentication", "Cluster"),
    ];
    let definition = |(plural, kind, scope): (&str, &str, &str)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.keda.sh")},
            "spec": {
                "group": "keda.sh", "scope": scope,
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
                "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}],
            },
        })
    };
    kinds.map(|kind| definition(kind).to_string()).join("\n")
}

const OBJECTS: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker, namespace: default, labels: {team: a}}
spec:
  scaleTargetRef: {name: worker}
  minReplicaCount: 1
  maxReplicaCount: 30
  cooldownPeriod: 600
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleUp: {stabilizationWindowSeconds: 5, policies: [{type: Pods, value: 4, periodSeconds: 15}]}
        scaleDown: {selectPolicy: Min}
  triggers:
  - type: prometheus
    name: depth
    metadata: {serverAddress: 'https://prometheus.monitoring.svc:9090', query: sum(queue_depth), threshold: '100.50', authModes: bearer}
    authenticationRef: {name: creds}
  - type: prometheus
    metricType: Value
    metadata: {serverAddress: 'https://prometheus.monitoring.svc:9090', query: max(age_seconds), threshold: '30'}
  - {type: cpu, metricType: Utilization, metadata: {value: '60'}}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: creds, namespace: default}
spec:
  secretTargetRef: [{parameter: bearerToken, name: prom, key: token}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: myapp
  namespace: default
  annotations:
    metric-config.external.events.prometheus/query: sum(events)
    metric-config.external.events.prometheus/interval: 30s
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: myapp}
  minReplicas: 1
  maxReplicas: 10
  metrics:
  - type: External
    external:
      metric: {name: events, selector: {matchLabels: {type: prometheus}}}
      target: {type: AverageValue, averageValue: "10"}
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn the_api_server_takes_what_is_migrated_from_a_cluster() {
    let plane = ControlPlane::start().await;
    plane.apply(&definitions()).await;
    for resource in ["scaledobjects", "triggerauthentications", "clustertriggerauthentications"] {
        let path = format!("/apis/keda.sh/v1alpha1/{resource}");
        eventually(&format!("{resource} are served"), async || plane.get(&path).await).await;
    }
    plane.apply(OBJECTS).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = plane.kubeconfig.display().to_string();
    for (from, metrics) in [("keda", 3), ("kube-metrics-adapter", 1)] {
        let mut command = loadline(&["migrate", from, "-A", "--kubeconfig", &kubeconfig]);
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
        let file = folder.path().join(format!("{from}.yaml"));
        fs::write(&file, &printed).unwrap();
        let file = file.to_str().unwrap();
        let dry_run = ["apply", "--dry-run=server", "--validate=strict", "-o=json", "-f", file];
        let taken = succeeds(&plane.kubeconfig, &dry_run).await;
        let taken: serde_json::Value = serde_json::from_str(&taken).unwrap();
        let items = taken["items"].as_array().unwrap().clone();
        let hpa = items.iter().find(|item| item["kind"] == "HorizontalPodAutoscaler").unwrap();
        assert_eq!(hpa["spec"]["metrics"].as_array().unwrap().len(), metrics, "{hpa}");
    }
}
