//! A certificate that loadline makes itself, and what kube-apiserver is told of it.

use std::time::Instant;

use super::set_up::{
    GAUGES, GROUP, OBJECTS, REGISTRATIONS, Server, as_loadline, registered, registrations, service,
    until_available, values,
};
use crate::support::{
    control_plane::{ControlPlane, eventually, free_port},
    exporter::{Exporter, Page},
    store::Store,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn it_makes_itself_trusted() {
    let plane = ControlPlane::start().await;
    let exporter =
        Exporter::start(Page::new().series("queue_depth", r#"namespace="ide",pod="web-0""#, "1"))
            .await;
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_loadline(&plane, &[]).await;
    let flags = [
        "--tls-secret-name=loadline-serving",
        "--manage-apiservice",
        "--service-name=loadline",
        "--service-namespace=monitoring",
    ];
    // Registrations that come later than we do are looked for once in a minute, so they are there before.
    let port = free_port();
    plane.apply(&service(port)).await;
    let verified = registrations(port, |registration| {
        registration["spec"].as_object_mut().unwrap().remove("insecureSkipTLSVerify").unwrap();
    });
    plane.apply(&verified).await;
    plane.apply(OBJECTS).await;
    let server = Server::start(&account, &prometheus.url, GAUGES, port, &flags).await;
    let started = Instant::now();
    until_available(&plane).await;
    println!("trusted after {:?}", started.elapsed());

    let secret = plane.get("/api/v1/namespaces/monitoring/secrets/loadline-serving").await.unwrap();
    for name in registered() {
        let path = format!("{REGISTRATIONS}/{name}");
        let spec = plane.get(&path).await.unwrap()["spec"].take();
        assert_eq!(spec.get("insecureSkipTLSVerify"), None);
        assert_eq!(spec["caBundle"], secret["data"]["ca.crt"], "{spec}");
    }
    let path = format!("/apis/{GROUP}/v1beta2/namespaces/ide/pods/*/queue_depth");
    let list = eventually("the metrics are there", async || plane.get(&path).await).await;
    assert_eq!(values(&list), [("web-0", "1")]);
    drop(server);
}
