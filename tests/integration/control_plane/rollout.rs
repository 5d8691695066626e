//! Two replicas behind a load balancer, each replaced while autoscalers read through kube-apiserver.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::set_up::{
    GAUGES, GROUP, OBJECTS, Server, as_loadline, registrations, service, until_available,
};
use crate::support::{
    balancer::Balancer,
    control_plane::ControlPlane,
    exporter::{Exporter, Page},
    readers::Readers,
    store::Store,
    until,
};

/// Each has one read under way at a time.
const READERS: usize = 8;

/// An API of somebody else whose Service does not exist.
fn broken() -> String {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.broken.example.com"},
        "spec": {
            "group": "broken.example.com", "version": "v1",
            "service": {"namespace": "nowhere", "name": "nothing"},
            "insecureSkipTLSVerify": true, "groupPriorityMinimum": 100, "versionPriority": 100,
        },
    })
    .to_string()
}

/// Nothing fails where readiness goes first. A replica that is killed takes with it what is under way at it, and nothing else.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn a_rollout_fails_no_read() {
    let plane = Arc::new(ControlPlane::start().await);
    let page = Page::new().series("queue_depth", r#"namespace="ide",pod="web-0""#, "1").series(
        "queue_depth",
        r#"namespace="ide",pod="web-1""#,
        "2",
    );
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_loadline(&plane, &[]).await;
    plane.apply(OBJECTS).await;
    plane.apply(&broken()).await;
    let balancer = Balancer::start().await;
    let replica = async || {
        let delay = "--shutdown-delay=2s";
        let server = Server::start(&account, &prometheus.url, GAUGES, 0, &[delay]).await;
        balancer.add(server.address()).await;
        server
    };
    let mut replicas = vec![replica().await, replica().await];
    plane.apply(&service(balancer.port)).await;
    plane.apply(&registrations(balancer.port, |_| {})).await;
    until_available(&plane).await;

    let path =
        format!("/apis/{GROUP}/v1beta2/namespaces/ide/pods/*/queue_depth?labelSelector=app%3Dweb");
    until("the metric is there", async || plane.get(&path).await).await;
    let readers = Readers::start(&plane, vec![path; READERS], 2, Duration::from_millis(10));
    readers.more(100).await;

    // Each is replaced by one that is ready before: one of the two has the connections of kube-apiserver.
    for _ in 0..replicas.len() {
        let next = replica().await;
        let before = replicas.remove(0);
        let address = before.address();
        println!("{address} is stopped, with {} connections", balancer.connections(address));
        before.stop().await;
        balancer.remove(address);
        replicas.push(next);
        readers.more(100).await;
    }
    assert_eq!(readers.failures(), [""; 0]);

    let is_used = |server: &Server| balancer.connections(server.address()) > 0;
    let used = replicas.iter().position(is_used).expect("one of them is read from");
    let killed = replicas.remove(used);
    killed.process.signal("KILL");
    assert_eq!(killed.process.end().await.code, None);
    readers.more(100).await;
    let lost = readers.failures();
    println!("a replica was killed: {} of {READERS} reads under way failed: {lost:#?}", lost.len());
    assert!(lost.len() <= READERS, "{lost:#?}");
    readers.more(100).await;
    assert_eq!(readers.failures().len(), lost.len(), "nothing fails later");
}
