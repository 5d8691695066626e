//! metrics.k8s.io in place of metrics-server: `kubectl top`, and autoscalers on the CPU of pods and of a container.

use std::{sync::Arc, time::Instant};

use serde_json::json;

use super::{
    explain::explain,
    load::{Done, Load, autoscaled, until_scaled},
    set_up::{
        Server, a_namespace_goes_away, as_loadline, registered_in, registrations_in, service,
        until_all_available, until_none_available,
    },
};
use crate::support::{
    control_plane::{ControlPlane, Kubelet, eventually},
    exporter::{Exporter, Page},
    kubectl::{kubectl, succeeds},
    store::Store,
};

/// The registration of metrics.k8s.io.
const REGISTRATION: &str = "deploy/components/resource-metrics/apiservice.yaml";

/// The range is short, so that the load of a moment ago is soon forgotten, and young pods count soon.
const USAGE: &str = r#"resourceRules:
  window: 2s
  cpu:
    containerLabel: container
    containerQuery: sum by (<<.GroupBy>>) (rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>}[5s]))
    nodeQuery: sum by (<<.GroupBy>>) (rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>,container!=""}[5s]))
    resources: &resources
      overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}
  memory:
    containerLabel: container
    containerQuery: sum by (<<.GroupBy>>) (container_memory_working_set_bytes{<<.LabelMatchers>>})
    nodeQuery: sum by (<<.GroupBy>>) (container_memory_working_set_bytes{<<.LabelMatchers>>,container!=""})
    resources: *resources
"#;

/// A Deployment whose pods use one core each, its two containers together, and one of whose pods one container counts.
async fn apply_autoscaled(plane: &ControlPlane) {
    plane.create_namespace("ide").await;
    let whole = json!({"cpu": "8", "memory": "16Gi"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
        "status": {"capacity": whole, "allocatable": whole},
    });
    plane.apply(&node.to_string()).await;
    let target = json!({"type": "Utilization", "averageUtilization": 100});
    let of_pods = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    let of_one = json!({"type": "ContainerResource", "containerResource": {
        "name": "cpu", "container": "web", "target": target,
    }});
    let container = |name: &str| json!({"name": name, "image": name, "resources": {"requests": {"cpu": "500m"}}});
    let containers = json!([container("web"), container("proxy")]);
    for (name, metric) in NAMES.iter().zip([of_pods, of_one]) {
        plane.apply(&autoscaled(name, &containers, &metric)).await;
    }
}

const NAMES: [&str; 2] = ["whole", "part"];

/// CPU time of cores that are busy, half of it in each of two containers.
fn page(_: f64, done: &Done) -> Page {
    let mut page = Page::new().series("up_since", "", "0");
    for (pod, seconds) in done {
        let each = seconds / 2.0;
        // Without a container's name: the sum, and the sandbox.
        for (container, seconds) in [("web", each), ("proxy", each), ("", *seconds), ("POD", 0.0)] {
            let labels =
                format!("namespace=\"ide\",pod=\"{pod}\",container=\"{container}\",node=\"n1\"");
            let (cpu, memory) =
                ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes");
            page = page.series(cpu, &labels, &seconds.to_string());
            page = page.series(memory, &labels, "10485760");
        }
    }
    page
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn it_takes_the_place_of_metrics_server() {
    let started = Instant::now();
    let plane = ControlPlane::start().await;
    if !plane.has_controllers() {
        return;
    }
    let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_loadline(&plane, &["resource-metrics"]).await;
    let server = Server::start(&account, &prometheus.url, USAGE, 0, &["--cache-ttl=1s"]).await;
    plane.apply(&service(server.port)).await;
    plane.apply(&registrations_in(REGISTRATION, server.port, |_| {})).await;
    until_all_available(&plane, registered_in(REGISTRATION)).await;

    let work = Load::start(Arc::clone(&exporter), page);
    work.set(0.8);
    let _kubelet = Kubelet::start(&plane, "ide", work.pods());
    apply_autoscaled(&plane).await;
    println!("ready to scale after {:?}", started.elapsed());
    until_scaled(&plane, &NAMES, 1).await;
    kubectl_tops(&plane).await;
    both_versions_answer_alike(&plane).await;
    for (cores, replicas) in [(4.5, 5), (2.5, 3), (0.8, 1)] {
        let changed = Instant::now();
        work.set(cores);
        until_scaled(&plane, &NAMES, replicas).await;
        println!("{cores} cores: {replicas} replicas within {:?}", changed.elapsed());
    }
    explain_agrees(&plane).await;
    who_may_view_a_namespace_sees_its_usage(&plane).await;

    // Without rules nobody serves usage: the registrations say so, and have to go before they hold up the end of a namespace.
    let port = server.port;
    server.stop().await;
    let server = Server::start(&account, &prometheus.url, "rules: []\n", port, &[]).await;
    let registered = registered_in(REGISTRATION);
    until_none_available(&plane, &registered).await;
    let deleted = [&["delete", "apiservice"][..], &names(&registered)].concat();
    succeeds(&plane.kubeconfig, &deleted).await;
    a_namespace_goes_away(&plane).await;
    println!("done after {:?}", started.elapsed());
    drop(server);
}

/// `explain` comes to the number of replicas that the controller has, from the usage that loadline serves.
async fn explain_agrees(plane: &ControlPlane) {
    for name in NAMES {
        let path = format!("/apis/autoscaling/v2/namespaces/ide/horizontalpodautoscalers/{name}");
        let mut last = String::new();
        eventually(&format!("explain and the controller agree about {name}"), async || {
            let answer = explain(plane, name).await;
            let status = plane.get(&path).await?["status"].take();
            let found = format!("{answer:#}, by the controller {}", status["desiredReplicas"]);
            if found != last {
                println!("{found}");
                last = found;
            }
            let is_ours = answer["steps"].to_string().contains("resourceRules.cpu");
            let agrees = answer["hpa"]["desired"] == status["desiredReplicas"];
            (answer["verdict"] == "ok" && is_ours && agrees).then_some(())
        })
        .await;
    }
}

fn names(registered: &[String]) -> Vec<&str> {
    registered.iter().map(String::as_str).collect()
}

/// `kubectl top` and `kubectl get`, through kube-apiserver.
async fn kubectl_tops(plane: &ControlPlane) {
    let pods = eventually("both pods are seen", async || {
        let ended = kubectl(&plane.kubeconfig, &["top", "pods", "-A", "--no-headers"]).await;
        (ended.stdout.lines().count() == 2).then_some(ended.stdout)
    })
    .await;
    assert!(pods.contains("ide") && pods.contains("part-") && pods.contains("20Mi"), "{pods}");
    let selected = ["top", "pods", "-n", "ide", "-l", "app=part", "--containers", "--no-headers"];
    let containers = succeeds(&plane.kubeconfig, &selected).await;
    assert_eq!(containers.lines().count(), 2, "{containers}");
    assert!(containers.contains("proxy") && containers.contains("10Mi"), "{containers}");
    let nodes = succeeds(&plane.kubeconfig, &["top", "nodes", "--no-headers"]).await;
    assert!(nodes.starts_with("n1 ") && nodes.contains('%'), "{nodes}");
    let groups = plane.discovery().await;
    let ours = groups.iter().find(|group| group["metadata"]["name"] == "metrics.k8s.io").unwrap();
    let versions: Vec<_> = ours["versions"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&versions[0]["version"], &versions[1]["version"]),
        (&json!("v1"), &json!("v1beta1"))
    );
    assert_eq!(versions[1]["resources"][1]["resource"], "pods");
    for name in ["v1", "v1beta1"] {
        let table = ["get", &format!("pods.{name}.metrics.k8s.io"), "-n", "ide"];
        let table = succeeds(&plane.kubeconfig, &table).await;
        assert!(table.to_lowercase().contains("memory") && table.contains("20Mi"), "{table}");
    }
    // `kubectl get pods` still means those of the core group.
    let pods = succeeds(&plane.kubeconfig, &["get", "pods", "-n", "ide"]).await;
    assert!(pods.contains("READY"), "{pods}");
}

/// Consumers of Kubernetes 1.37 prefer v1 where it is registered, and those before read v1beta1.
async fn both_versions_answer_alike(plane: &ControlPlane) {
    for resource in ["pods", "nodes"] {
        eventually(&format!("both versions have the same {resource}"), async || {
            let mut lists = Vec::new();
            for version in ["v1", "v1beta1"] {
                let mut list =
                    plane.get(&format!("/apis/metrics.k8s.io/{version}/{resource}")).await?;
                assert_eq!(list["apiVersion"].take(), format!("metrics.k8s.io/{version}"));
                let items = list["items"].as_array_mut()?;
                assert!(!items.is_empty(), "{resource}");
                // Between two reads a query may have been asked anew.
                for item in items {
                    item["timestamp"].take();
                    for container in item["containers"].as_array_mut().into_iter().flatten() {
                        container["usage"]["cpu"].take();
                    }
                    item["usage"]["cpu"].take();
                }
                lists.push(list);
            }
            (lists[0] == lists[1]).then_some(())
        })
        .await;
    }
}

async fn who_may_view_a_namespace_sees_its_usage(plane: &ControlPlane) {
    let viewer = plane.user("viewer");
    let top = ["top", "pods", "-n", "ide", "--no-headers"];
    let ended = kubectl(&viewer, &top).await;
    assert!(ended.stderr.contains("pods.metrics.k8s.io is forbidden"), "{ended:?}");
    let bind =
        ["create", "rolebinding", "viewer", "-n", "ide", "--clusterrole=view", "--user=viewer"];
    succeeds(&plane.kubeconfig, &bind).await;
    eventually("the role has the rules of others in it", async || {
        let ended = kubectl(&viewer, &top).await;
        (ended.code == Some(0)).then_some(())
    })
    .await;
}
