//! The real kubectl against our binary. Only what an old kubectl (1.20) can do is asked of it.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    backend::{Answer, Backend, knows, pods},
    kubectl::{kubectl, succeeds},
    process::Process,
    until,
};

const RULES: &str = "rules:\n- seriesQuery: m\n  resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

/// A kubeconfig like another one, but for something in it.
fn changed(kubeconfig: &Path, folder: &TempDir, change: impl Fn(&mut Value)) -> std::path::PathBuf {
    let text = fs::read_to_string(kubeconfig).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    change(&mut config);
    let path = folder.path().join("changed");
    fs::write(&path, config.to_string()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reads_from_a_standalone_server() {
    let values = [("web-0", "1.5"), ("web-1", "2000")];
    let backend = Backend::start(knows(&["m"], move |_| Answer::Data(pods(&values)))).await;
    let folder = tempfile::tempdir().unwrap();
    let (rules, config) = (folder.path().join("rules.yaml"), folder.path().join("kubeconfig"));
    fs::write(&rules, RULES).unwrap();
    let mut server = Process::loadline(&[
        "serve",
        "--standalone",
        "--secure-port=0",
        &format!("--config={}", rules.display()),
        &format!("--prometheus-url={}", backend.url),
        &format!("--write-kubeconfig={}", config.display()),
    ]);
    until("the kubeconfig is written", async || {
        assert!(server.runs(), "{}", server.stderr());
        config.exists().then_some(())
    })
    .await;

    let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/*/m";
    let list = until("the first discovery", async || {
        let ended = kubectl(&config, &["get", "--raw", path]).await;
        (ended.code == Some(0)).then_some(ended.stdout)
    })
    .await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"][0]["describedObject"]["name"], "web-0");
    assert_eq!(list["items"][0]["value"], "1500m");
    assert_eq!(list["items"][1]["value"], "2k");
    let selected = format!("{path}?labelSelector=app%3Dweb&metricLabelSelector=k%3Dv");
    succeeds(&config, &["get", "--raw", &selected]).await;
    assert_eq!(
        backend.take().last().unwrap().parameter("query"),
        "sum(m{k=\"v\",ns=\"n\",pod!=\"\"}) by (pod)"
    );

    let versions = succeeds(&config, &["api-versions"]).await;
    assert_eq!(versions, "custom.metrics.k8s.io/v1beta1\ncustom.metrics.k8s.io/v1beta2\n");
    assert_eq!(succeeds(&config, &["get", "--raw", "/readyz"]).await, "ok");
    let document =
        succeeds(&config, &["get", "--raw", "/apis/custom.metrics.k8s.io/v1beta1"]).await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["resources"][0]["name"], "namespaces/m");
    let version = succeeds(&config, &["version"]).await;
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");

    // A `Status` is shown as one.
    let unknown = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/*/unknown";
    let ended = kubectl(&config, &["get", "--raw", unknown]).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.stderr.trim_end(),
        format!(
            "Error from server (NotFound): the server could not find the metric unknown for pods: no rule serves a metric of this name; run: loadline explain --kubeconfig={} -n n pods unknown",
            config.display()
        )
    );

    let wrong = changed(&config, &folder, |config| {
        config["users"][0]["user"]["token"] = "wrong".into();
    });
    let ended = kubectl(&wrong, &["get", "--raw", path]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("Unauthorized") || ended.stderr.contains("must be logged in"),
        "{ended:?}"
    );

    // Without our authority the certificate is refused, so it was verified before.
    let strange = changed(&config, &folder, |config| {
        let cluster = config["clusters"][0]["cluster"].as_object_mut().unwrap();
        cluster.remove("certificate-authority-data").unwrap();
    });
    let ended = kubectl(&strange, &["get", "--raw", path]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("x509"), "{ended:?}");
}
