//! loadline in the place of prometheus-adapter.

use std::time::Instant;

use serde_json::{Value, json};

use super::set_up::{
    GAUGES, GROUP, OBJECTS, PEER_ACCESS, Server, a_namespace_goes_away, as_prometheus_adapter,
    registered, until_available, until_registered, values,
};
use crate::support::{
    control_plane::{ControlPlane, eventually},
    exporter::{Exporter, Page},
    kubectl::{kubectl, succeeds},
    store::Store,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn it_takes_the_place_of_prometheus_adapter() {
    let started = Instant::now();
    let plane = ControlPlane::start().await;
    println!("the control plane is up after {:?}", started.elapsed());
    let page = Page::new()
        .series("queue_depth", r#"namespace="ide",pod="web-0",service="web""#, "1.5")
        .series("queue_depth", r#"namespace="ide",pod="web-1",service="web""#, "2000")
        .series("queue_depth", r#"namespace="ide",pod="batch""#, "7");
    let exporter = Exporter::start(page).await;
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_prometheus_adapter(&plane).await;
    let server = Server::start(&account, &prometheus.url, GAUGES, 0, &[]).await;
    it_waits_for_access(&plane, &server).await;
    until_registered(&plane, &server).await;
    println!("available after {:?}", started.elapsed());

    reads_through_kube_apiserver(&plane).await;
    a_stranger_is_refused(&plane, &server).await;
    the_cluster_is_not_hurt(&plane).await;
    server.print_memory();

    // Without a single rule the registrations must not hurt, either.
    let port = server.port;
    server.stop().await;
    let server = Server::start(&account, &prometheus.url, "rules: []\n", port, &[]).await;
    until_available(&plane).await;
    eventually("the metrics are gone", async || {
        let document = plane.get(&format!("/apis/{GROUP}/v1beta2")).await?;
        (document["resources"] == json!([])).then_some(())
    })
    .await;
    the_cluster_is_not_hurt(&plane).await;
    println!("done after {:?}", started.elapsed());
    drop(server);
}

/// Manifests are applied in any order. What comes before its access is not ready, says so once, and goes on by itself.
async fn it_waits_for_access(plane: &ControlPlane, server: &Server) {
    let client = server.client().build().unwrap();
    let ready = async || {
        let url = format!("https://127.0.0.1:{}/readyz", server.port);
        let response = client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    eventually("it was tried", async || {
        server.process.stderr().contains("cannot read kube-system/").then_some(())
    })
    .await;
    let (status, text) = ready().await;
    assert_eq!(status, 500);
    assert!(text.contains("[-]authentication failed: "), "{text}");
    plane.apply(OBJECTS).await;
    plane.apply(PEER_ACCESS).await;
    eventually("it is ready", async || (ready().await.0 == 200).then_some(())).await;
    let log = server.process.stderr();
    assert_eq!(log.matches("cannot read kube-system/").count(), 1, "{log}");
    assert_eq!(log.matches("can be read again").count(), 1, "{log}");
}

async fn reads_through_kube_apiserver(plane: &ControlPlane) {
    let [beta1, beta2] = ["v1beta1", "v1beta2"].map(|version| format!("/apis/{GROUP}/{version}"));
    eventually("the metrics are there", async || {
        let document = plane.get(&beta2).await?;
        let names = document["resources"].as_array()?.iter().map(|resource| &resource["name"]);
        let names: Vec<_> = names.collect();
        (names == ["namespaces/queue_depth", "pods/queue_depth", "services/queue_depth"])
            .then_some(())
    })
    .await;

    let list = plane.raw(&format!("{beta1}/namespaces/ide/pods/*/queue_depth")).await;
    assert_eq!(list["apiVersion"], "custom.metrics.k8s.io/v1beta1");
    assert_eq!(list["items"][0]["metricName"], "queue_depth");
    assert_eq!(values(&list), [("batch", "7"), ("web-0", "1500m"), ("web-1", "2k")]);

    let list = plane
        .raw(&format!("{beta2}/namespaces/ide/pods/*/queue_depth?labelSelector=app%3Dweb"))
        .await;
    assert_eq!(list["apiVersion"], "custom.metrics.k8s.io/v1beta2");
    assert_eq!(list["items"][0]["metric"]["name"], "queue_depth");
    assert_eq!(values(&list), [("web-0", "1500m"), ("web-1", "2k")]);

    for (path, name, value) in [
        ("namespaces/ide/pods/web-0/queue_depth", "web-0", "1500m"),
        ("namespaces/ide/services/web/queue_depth", "web", "2001500m"),
        ("namespaces/ide/metrics/queue_depth", "ide", "2008500m"),
    ] {
        let list = plane.raw(&format!("{beta2}/{path}")).await;
        assert_eq!(values(&list), [(name, value)], "{path}");
    }

    let external = "/apis/external.metrics.k8s.io/v1beta1";
    let list = plane.raw(&format!("{external}/namespaces/ide/queue_depth")).await;
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
    let items: Vec<_> = items.map(|item| (&item["metricLabels"], &item["value"])).collect();
    assert_eq!(
        items,
        [(&json!({}), &json!("7")), (&json!({"service": "web"}), &json!("2001500m"))]
    );
    let path = format!("{external}/namespaces/monitoring/queue_depth?labelSelector=service");
    assert_eq!(plane.raw(&path).await["items"], json!([]));

    let path = format!("{beta2}/namespaces/ide/pods/*/unknown");
    let ended = kubectl(&plane.kubeconfig, &["get", "--raw", &path]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.stderr.trim_end(),
        "Error from server (NotFound): the server could not find the metric unknown for pods: no rule serves a metric of this name; run: loadline explain -n ide pods unknown"
    );
}

/// kube-apiserver refuses who may not read, and so do we when we are asked directly, in the same words.
async fn a_stranger_is_refused(plane: &ControlPlane, server: &Server) {
    let path = format!("/apis/{GROUP}/v1beta2/namespaces/ide/pods/*/queue_depth");
    let words = |name: &str| {
        format!(
            "pods.custom.metrics.k8s.io \"*\" is forbidden: User \"{name}\" cannot get resource \"pods/queue_depth\" in API group \"custom.metrics.k8s.io\" in the namespace \"ide\""
        )
    };
    let stranger = plane.user("stranger");
    let ended = kubectl(&stranger, &["get", "--raw", &path]).await;
    assert_eq!(ended.code, Some(1));
    let expected = format!("Error from server (Forbidden): {}", words("stranger"));
    assert_eq!(ended.stderr.trim_end(), expected);

    let url = format!("https://127.0.0.1:{}{path}", server.port);
    let refused = async |request: reqwest::RequestBuilder| -> (u16, String) {
        let response = request.send().await.unwrap();
        let (status, body) = (response.status().as_u16(), response.bytes().await.unwrap());
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["message"].as_str().unwrap_or_default().to_owned())
    };
    let identity = reqwest::Identity::from_pem(plane.identity("stranger").as_bytes()).unwrap();
    let known = server.client().identity(identity).build().unwrap();
    assert_eq!(refused(known.get(&url)).await, (403, words("stranger")));

    let client = server.client().build().unwrap();
    let token = plane.token("monitoring", "prometheus-adapter").await;
    let name = "system:serviceaccount:monitoring:prometheus-adapter";
    assert_eq!(refused(client.get(&url).bearer_auth(token)).await, (403, words(name)));
    assert_eq!(refused(client.get(&url).bearer_auth("nonsense")).await.0, 401);
    assert_eq!(refused(client.get(&url)).await, (403, words("system:anonymous")));

    // A header that only the front proxy may send says nothing from others.
    let forged = client.get(&url).header("x-remote-user", "admin");
    assert_eq!(refused(forged.header("x-remote-group", "system:masters")).await.0, 403);
}

/// What a registered API can break for everybody: discovery, and what goes by it.
async fn the_cluster_is_not_hurt(plane: &ControlPlane) {
    let versions = succeeds(&plane.kubeconfig, &["api-versions"]).await;
    let resources = succeeds(&plane.kubeconfig, &["api-resources"]).await;
    assert!(resources.contains("deployments"), "{resources}");
    assert!(!resources.contains("queue_depth"), "{resources}");
    for name in registered() {
        let (version, group) = name.split_once('.').expect("version.group");
        let expected = format!("{group}/{version}");
        assert!(versions.lines().any(|line| line == expected), "{versions}");
        // kube-apiserver knows the group, and has no metrics in what it tells everybody.
        eventually(&format!("kube-apiserver has read {name}"), async || {
            let groups = plane.discovery().await;
            let ours = groups.iter().find(|found| found["metadata"]["name"] == group)?;
            let versions = ours["versions"].as_array()?;
            let ours = versions.iter().find(|found| found["version"] == version)?;
            assert!(ours["resources"].as_array().is_none_or(Vec::is_empty), "{ours}");
            (ours["freshness"] == "Current").then_some(())
        })
        .await;
    }
    a_namespace_goes_away(plane).await;
}
