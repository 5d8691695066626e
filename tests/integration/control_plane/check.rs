//! `loadline check --live` with the rights that the Job of the manifests has, in a cluster with real RBAC.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::set_up::{
    GAUGES, OBJECTS, Server, as_loadline, registered, registrations, service, until_available,
};
use crate::support::{
    control_plane::{ControlPlane, eventually, free_port},
    exporter::{Exporter, Page},
    kubectl::succeeds,
    process::loadline,
    store::Store,
};

/// An autoscaler by an external metric, and what it scales.
fn autoscaled(name: &str, metric: &str) -> String {
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
            "minReplicas": 1, "maxReplicas": 8,
            "metrics": [{"type": "External", "external": {
                "metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": "10"}}}],
        },
    });
    format!("{deployment}\n{autoscaler}\n")
}

/// Path and code of what is wrong, and the exit code.
async fn check(account: &Path, server: &[String]) -> (Vec<(String, String)>, Option<i32>) {
    let kubeconfig = account.display().to_string();
    let mut command = loadline(&["check", "--live", "-o=json", "--kubeconfig", &kubeconfig]);
    command.arg("--").args(server).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let records: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    println!("{records:#?}");
    let wrong = records.iter().filter(|record| record["severity"] != "info");
    let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    let wrong = wrong.map(|record| (text(record, "path"), text(record, "code")));
    (wrong.collect(), output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn an_installation_is_checked_with_the_rights_of_its_job() {
    let plane = ControlPlane::start().await;
    let page =
        Page::new().series("queue_depth", r#"namespace="ide",pod="web-0",service="web""#, "5");
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_loadline(&plane, &["check"]).await;
    let port = free_port();
    plane.apply(&service(port)).await;
    plane.apply(&registrations(port, |_| {})).await;
    plane.apply(OBJECTS).await;
    let flags = ["--service-name=loadline", "--service-namespace=monitoring"];
    let server = Server::start(&account, &prometheus.url, GAUGES, port, &flags).await;
    until_available(&plane).await;
    plane.apply(&autoscaled("sound", "queue_depth")).await;

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    fs::write(&config, GAUGES).unwrap();
    let arguments = [
        "serve".to_owned(),
        format!("--config={}", config.display()),
        format!("--prometheus-url={}", prometheus.url),
        "--manage-apiservice".to_owned(),
    ];
    assert_eq!(check(&account, &arguments).await, (Vec::new(), Some(0)));

    plane.apply(&autoscaled("misnamed", "queue_dept")).await;
    let found = |path: &str, code: &str| (path.to_owned(), code.to_owned());
    let misnamed = found("hpa/ide/misnamed", "unknown-metric");
    assert_eq!(check(&account, &arguments).await, (vec![misnamed.clone()], Some(1)));

    // Kubernetes' own role of the controller allows it, too.
    let bindings =
        ["loadline-hpa-controller-custom-metrics", "system:controller:horizontal-pod-autoscaler"];
    let delete = [&["delete", "clusterrolebinding"][..], &bindings].concat();
    succeeds(&plane.kubeconfig, &delete).await;
    eventually("the controller is found to have no rights", async || {
        let (wrong, code) = check(&account, &arguments).await;
        let denied = ["access/hpa-controller", "hpa/ide/misnamed", "hpa/ide/sound"];
        let denied = denied.map(|path| found(path, "not-authorized"));
        (code == Some(1) && denied.iter().all(|it| wrong.contains(it))).then_some(())
    })
    .await;
    let external = registered().into_iter().find(|name| name.contains("external")).unwrap();
    succeeds(&plane.kubeconfig, &["delete", "apiservice", &external]).await;
    let (wrong, _) = check(&account, &arguments).await;
    assert!(
        wrong.contains(&found(&format!("apiservice/{external}"), "apiservice-missing")),
        "{wrong:?}"
    );
    server.stop().await;
}
