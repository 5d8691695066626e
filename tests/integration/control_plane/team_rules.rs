//! Rules of teams: made by `kubectl`, read through kube-apiserver, and scaled on.

use std::{fs, sync::Arc, time::Instant};

use serde_json::{Value, json};

use super::{
    load::{Done, Load, autoscaled, until_scaled},
    set_up::{Server, as_loadline, until_registered},
};
use crate::support::{
    control_plane::{ControlPlane, Kubelet, eventually},
    exporter::{Exporter, Page},
    kubectl::succeeds,
    store::Store,
};

fn rule(name: &str, metric: &str, query: &str, target: &str) -> String {
    json!({
        "apiVersion": "loadline.dev/v1alpha1", "kind": "MetricRule",
        "metadata": {"name": name, "namespace": "ide"},
        "spec": {"metric": metric, "query": query, "target": target},
    })
    .to_string()
}

/// A backlog of two namespaces, and as many requests of the pods.
fn page(per_second: f64, done: &Done) -> Page {
    let page = Page::new()
        .series("backlog", r#"namespace="ide",queue="jobs""#, &per_second.to_string())
        .series("backlog", r#"namespace="other",queue="jobs""#, "1000");
    done.keys().fold(page, |page, name| {
        let each = per_second / f64::from(u32::try_from(done.len()).expect("a few pods"));
        let labels = format!("namespace=\"ide\",pod=\"{name}\"");
        page.series("busy", &labels, &each.to_string())
    })
}

async fn install(plane: &ControlPlane) {
    for name in ["metricrules", "clustermetricrules"] {
        let path = format!("{}/deploy/crds/{name}.loadline.dev.yaml", env!("CARGO_MANIFEST_DIR"));
        plane.apply(&fs::read_to_string(path).expect("a definition")).await;
    }
    eventually("the definitions are established", async || {
        plane.get("/apis/loadline.dev/v1alpha1/namespaces/default/metricrules").await.map(drop)
    })
    .await;
}

/// The values of an external metric of the namespace, through kube-apiserver, once it is served.
async fn read(plane: &ControlPlane, metric: &str) -> Vec<String> {
    let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/ide/{metric}");
    eventually(&format!("{metric} is served"), async || {
        let list = plane.get(&path).await?;
        let items = list["items"].as_array()?.iter();
        Some(items.map(|item| item["value"].as_str().expect("text").to_owned()).collect())
    })
    .await
}

async fn condition(plane: &ControlPlane, name: &str, kind: &str) -> Value {
    let path = format!("/apis/loadline.dev/v1alpha1/namespaces/ide/metricrules/{name}");
    eventually(&format!("{name} has a condition {kind}"), async || {
        let rule = plane.get(&path).await?;
        let conditions = rule["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|it| it["type"] == kind && it["status"] != "Unknown");
        found.cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn autoscalers_follow_the_rules_of_a_team() {
    let plane = ControlPlane::start().await;
    if !plane.has_controllers() {
        return;
    }
    let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
    let prometheus = Store::prometheus(&exporter).await;
    install(&plane).await;
    let account = as_loadline(&plane, &["team-rules"]).await;
    let flags = ["--cache-ttl=1s", "--team-rules"];
    let server = Server::start(&account, &prometheus.url, "rules: []\n", 0, &flags).await;
    until_registered(&plane, &server).await;

    let load = Load::start(Arc::clone(&exporter), page);
    load.set(8.0);
    plane.create_namespace("ide").await;
    let _kubelet = Kubelet::start(&plane, "ide", load.pods());
    prometheus.until("backlog{*}").await;

    // What is changed is served at once, and no series of another namespace.
    let applied = Instant::now();
    plane.apply(&rule("backlog", "backlog", "sum by (queue) (backlog)", "external")).await;
    assert_eq!(read(&plane, "backlog").await, ["8"]);
    println!("a rule was served {:?} after kubectl began", applied.elapsed());
    let foreign = r#"sum by (queue) (backlog{namespace="other"})"#;
    plane.apply(&rule("foreign", "foreign", foreign, "external")).await;
    assert_eq!(read(&plane, "foreign").await, [""; 0]);
    let escapes = r#"label_replace(backlog,"namespace","ide","","")"#;
    plane.apply(&rule("escapes", "escapes", escapes, "external")).await;
    let refused = condition(&plane, "escapes", "Accepted").await;
    assert_eq!((&refused["status"], &refused["reason"]), (&json!("False"), &json!("QueryRefused")));
    plane.apply(&rule("busy", "busy", "sum by (pod) (busy)", "pods")).await;

    let target = json!({"type": "AverageValue", "averageValue": "10"});
    let backlog = json!({"type": "External", "external": {
        "metric": {"name": "backlog", "selector": {"matchLabels": {"queue": "jobs"}}}, "target": target,
    }});
    let busy = json!({"type": "Pods", "pods": {"metric": {"name": "busy"}, "target": target}});
    for (name, metric) in [("worker", backlog), ("web", busy)] {
        let containers = json!([{"name": name, "image": name}]);
        plane.apply(&autoscaled(name, &containers, &metric)).await;
    }
    for (per_second, replicas) in [(45.0, 5), (8.0, 1)] {
        load.set(per_second);
        until_scaled(&plane, &["worker"], replicas).await;
    }
    let found = condition(&plane, "backlog", "Discovered").await;
    assert_eq!(found["status"], "True", "{found}");
    let listed = succeeds(&plane.kubeconfig, &["get", "metricrules", "-n", "ide"]).await;
    for word in ["METRIC", "TARGET", "VALUE", "AGE", "backlog", "external"] {
        assert!(listed.contains(word), "{listed}");
    }
    // A user with the role edit may write rules of the namespace, and none of the cluster.
    for (resource, wanted) in [("metricrules", true), ("clustermetricrules", false)] {
        let review = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "editor", "namespace": "ide"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "editor"}],
        });
        plane.apply(&review.to_string()).await;
        let may = ["auth", "can-i", "create", resource, "-n", "ide", "--as=editor"];
        eventually(&format!("an editor may create {resource}: {wanted}"), async || {
            let said = crate::support::kubectl::kubectl(&plane.kubeconfig, &may).await;
            (said.stdout.trim() == if wanted { "yes" } else { "no" }).then_some(())
        })
        .await;
    }
    server.print_memory();
}
