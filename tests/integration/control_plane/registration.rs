//! APIServices that name another Service, or one that does not serve them.

use super::set_up::{
    GAUGES, OBJECTS, REGISTRATIONS, Server, as_loadline, registrations, registrations_in, service,
    until_all_available, until_none_available,
};
use crate::support::{
    control_plane::{ControlPlane, eventually, free_port},
    exporter::{Exporter, Page},
    kubectl::succeeds,
    store::Store,
};

const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn an_api_of_another_service_is_told_and_what_is_not_served_is_not_available() {
    let plane = ControlPlane::start().await;
    let exporter =
        Exporter::start(Page::new().series("queue_depth", r#"namespace="ide""#, "1")).await;
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_loadline(&plane, &[]).await;
    let port = free_port();
    plane.apply(&service(port)).await;
    let taken = registrations(port, |registration| {
        if registration["spec"]["group"] == "external.metrics.k8s.io" {
            let keda =
                serde_json::json!({"namespace": "keda", "name": "keda-operator", "port": 443});
            registration["spec"]["service"] = keda;
        }
    });
    plane.apply(&taken).await;
    let usage =
        registrations_in("deploy/components/resource-metrics/apiservice.yaml", port, |_| {});
    plane.apply(&usage).await;
    plane.apply(OBJECTS).await;
    let flags = ["--service-name=loadline", "--service-namespace=monitoring"];
    let server = Server::start(&account, &prometheus.url, GAUGES, port, &flags).await;
    eventually("the log names the other Service", async || {
        server.process.stderr().contains("keda/keda-operator").then_some(())
    })
    .await;
    eventually("an Event on the APIService names it", async || {
        let events = plane.get("/apis/events.k8s.io/v1/namespaces/default/events").await?;
        let events = events["items"].as_array()?.clone();
        let event = events.iter().find(|event| event["reason"] == "AnotherOwner")?;
        assert_eq!(event["regarding"]["name"], EXTERNAL, "{event}");
        event["note"].as_str()?.contains("keda/keda-operator").then_some(())
    })
    .await;
    let custom = ["v1beta1", "v1beta2"].map(|version| format!("{version}.custom.metrics.k8s.io"));
    until_all_available(&plane, custom.to_vec()).await;
    // It has no resourceRules.
    let usage = ["v1beta1.metrics.k8s.io", "v1.metrics.k8s.io"].map(str::to_owned);
    until_none_available(&plane, &usage).await;
    let spec = plane.get(&format!("{REGISTRATIONS}/{EXTERNAL}")).await.unwrap()["spec"].take();
    assert_eq!(spec["service"]["name"], "keda-operator", "nobody fights for it");
    the_way_back_leaves_nothing_of_ours(&plane).await;
    server.stop().await;
}

/// As the pages say it.
async fn the_way_back_leaves_nothing_of_ours(plane: &ControlPlane) {
    let ours = r#"jsonpath={range .items[?(@.spec.service.name=="loadline")]}apiservice/{.metadata.name}{"\n"}{end}"#;
    let listed = succeeds(&plane.kubeconfig, &["get", "apiservice", "-o", ours]).await;
    let names: Vec<_> = listed.lines().collect();
    assert_eq!(names.len(), 4, "{listed}");
    succeeds(&plane.kubeconfig, &[&["delete"][..], &names].concat()).await;
    let left = succeeds(&plane.kubeconfig, &["get", "apiservice", "-o", "name"]).await;
    let left: Vec<_> = left.lines().filter(|line| line.contains("metrics.k8s.io")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].ends_with(EXTERNAL), "{left:?}");
}
