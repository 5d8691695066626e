//! loadline behind a real kube-apiserver: registered, asked, and scaled on by the real HorizontalPodAutoscaler controller.
//!
//! `KUBEBUILDER_ASSETS` has to name a folder with `kube-apiserver` and `etcd`; what needs controllers is left out where there is
//! no `kube-controller-manager` in it.

mod usage;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{
    control_plane::{ControlPlane, Kubelet, eventually, free_port},
    exporter::{Exporter, Page},
    kubectl::{kubectl, succeeds},
    process::{Process, loadline},
    store::Store,
};

const GROUP: &str = "custom.metrics.k8s.io";

const REGISTRATIONS: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// What prometheus-adapter's chart grants, by its names.
const PEER_ACCESS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-adapter-system-auth-delegator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: prometheus-adapter, namespace: monitoring}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: prometheus-adapter-auth-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{kind: ServiceAccount, name: prometheus-adapter, namespace: monitoring}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus-adapter-resource-reader}
rules: [{apiGroups: [""], resources: [namespaces, pods, services], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-adapter-resource-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus-adapter-resource-reader}
subjects: [{kind: ServiceAccount, name: prometheus-adapter, namespace: monitoring}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus-adapter-server-resources}
rules: [{apiGroups: [custom.metrics.k8s.io], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-adapter-hpa-controller}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus-adapter-server-resources}
subjects: [{kind: ServiceAccount, name: horizontal-pod-autoscaler, namespace: kube-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus-adapter-external-metrics}
rules: [{apiGroups: [external.metrics.k8s.io], resources: ["*"], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-adapter-hpa-controller-external-metrics}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus-adapter-external-metrics}
subjects: [{kind: ServiceAccount, name: horizontal-pod-autoscaler, namespace: kube-system}]
"#;

/// A gauge of pods, services and namespaces, as it is, and as an external metric.
const GAUGES: &str = r#"rules:
- seriesQuery: 'queue_depth{namespace!=""}'
  resources:
    overrides: {namespace: {resource: namespace}, pod: {resource: pod}, service: {resource: service}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: 'queue_depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (service)
"#;

/// The counter of the LSP servers as a rate. The range is short, so that the load of a moment ago is soon forgotten. And the
/// backlog of queues, which are no objects of the cluster.
const LSP_REQUESTS: &str = r#"rules:
- seriesQuery: 'lsp_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[5s])) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: 'backlog{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
"#;

/// Two pods and a service, which nothing has to run.
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: ide}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: ide}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ide}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: ide, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: web, image: web}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: ide, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: web, image: web}]}
---
apiVersion: v1
kind: Pod
metadata: {name: batch, namespace: ide, labels: {app: batch}}
spec: {serviceAccountName: web, containers: [{name: batch, image: batch}]}
";

/// A Deployment whose pods serve 10 requests a second each, and one whose pods take 10 entries of a backlog each; both are scaled
/// as fast as the controller can.
const AUTOSCALED: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ide}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: lsp-server, namespace: ide}
spec:
  selector: {matchLabels: {app: lsp-server}}
  template:
    metadata: {labels: {app: lsp-server}}
    spec: {containers: [{name: lsp, image: lsp}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: lsp-server, namespace: ide}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: lsp-server}
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - type: Pods
    pods:
      metric: {name: lsp_requests_per_second}
      target: {type: AverageValue, averageValue: "10"}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0}
    scaleDown: {stabilizationWindowSeconds: 0}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: ide}
spec:
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec: {containers: [{name: worker, image: worker}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: worker, namespace: ide}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - type: External
    external:
      metric: {name: backlog, selector: {matchLabels: {queue: jobs}}}
      target: {type: AverageValue, averageValue: "10"}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0}
    scaleDown: {stabilizationWindowSeconds: 0}
"#;

/// A loadline that kube-apiserver can be sent to.
struct Server {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// Starts it as the container of prometheus-adapter's chart is started, but for where files and addresses are. As in a
    /// pod it knows its namespace, so that it would find the Secret of its certificate if it had access.
    async fn start(
        account: &Path,
        prometheus: &str,
        rules: &str,
        port: u16,
        more: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        fs::write(&config, rules).unwrap();
        let mut command = loadline(&[
            "/adapter",
            &format!("--secure-port={port}"),
            &format!("--cert-dir={}", folder.path().join("cert").display()),
            &format!("--prometheus-url={prometheus}"),
            "--metrics-relist-interval=1m",
            "--v=4",
            &format!("--config={}", config.display()),
            &format!("--lister-kubeconfig={}", account.display()),
            "--bind-address=127.0.0.1",
        ]);
        command.args(more).env("POD_NAMESPACE", "monitoring");
        let mut process = Process::start(command, "cargo builds it");
        let port = process.port().await;
        Self { process, port, folder }
    }

    /// A client that trusts its certificate.
    fn client(&self) -> reqwest::ClientBuilder {
        let authority = fs::read(self.folder.path().join("cert/ca.crt")).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        reqwest::Client::builder().tls_certs_only([authority]).no_proxy()
    }

    /// Asks it not to go on, and waits until it does not.
    async fn stop(self) {
        self.process.signal("TERM");
        let ended = self.process.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }

    /// Prints how much memory it takes.
    fn print_memory(&self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let lines =
            status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
        println!("loadline: {}", lines.collect::<Vec<_>>().join(", ").replace('\t', " "));
    }
}

/// The Service by which kube-apiserver finds a port of this machine: without a network of pods, by name.
fn service(port: u16) -> String {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "loadline", "namespace": "monitoring"},
        "spec": {
            "type": "ExternalName", "externalName": "localhost",
            "ports": [{"name": "https", "port": port}],
        },
    })
    .to_string()
}

/// The APIServices of this repository, at such a port, with something else changed in each.
fn registrations(port: u16, change: impl Fn(&mut Value)) -> String {
    registrations_in("apiservice.yaml", port, change)
}

/// Those of a file.
fn registrations_in(path: &str, port: u16, change: impl Fn(&mut Value)) -> String {
    let documents = documents(path).into_iter().map(|mut document| {
        document["spec"]["service"]["port"] = port.into();
        change(&mut document);
        document.to_string()
    });
    documents.collect::<Vec<_>>().join("\n")
}

/// The documents of a file of this repository.
fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A namespace, an account that may nothing yet, and its kubeconfig.
async fn as_prometheus_adapter(plane: &ControlPlane) -> PathBuf {
    plane.create_namespace("monitoring").await;
    let create = ["create", "serviceaccount", "prometheus-adapter", "-n", "monitoring"];
    succeeds(&plane.kubeconfig, &create).await;
    plane.service_account("monitoring", "prometheus-adapter").await
}

/// The names of the APIServices of this repository.
fn registered() -> Vec<String> {
    registered_in("apiservice.yaml")
}

/// Those of a file.
fn registered_in(path: &str) -> Vec<String> {
    let name = |document: Value| document["metadata"]["name"].as_str().expect("a name").to_owned();
    documents(path).into_iter().map(name).collect()
}

/// Waits until all of them are available, and not because nobody looked.
async fn until_available(plane: &ControlPlane) {
    until_all_available(plane, registered()).await;
}

async fn until_all_available(plane: &ControlPlane, names: Vec<String>) {
    for name in names {
        let path = format!("{REGISTRATIONS}/{name}");
        let mut last = Value::Null;
        eventually(&format!("{name} is available"), async || {
            let service = plane.get(&path).await?;
            let conditions = service["status"]["conditions"].as_array()?;
            let found = conditions.iter().find(|condition| condition["type"] == "Available")?;
            if *found != last {
                last = found.clone();
                println!("{name}: {}: {}", last["status"], last["message"]);
            }
            (last["status"] == "True" && last["reason"] == "Passed").then_some(())
        })
        .await;
    }
}

async fn until_registered(plane: &ControlPlane, server: &Server) {
    plane.apply(&service(server.port)).await;
    plane.apply(&registrations(server.port, |_| {})).await;
    until_available(plane).await;
}

/// Name and value of every item.
fn values(list: &Value) -> Vec<(&str, &str)> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
    items
        .map(|item| {
            (
                item["describedObject"]["name"].as_str().expect("a name"),
                item["value"].as_str().expect("a value"),
            )
        })
        .collect()
}

/// A namespace goes away only after every API has been asked what it has there.
async fn a_namespace_goes_away(plane: &ControlPlane) {
    if !plane.has_controllers() {
        return;
    }
    plane.create_namespace("gone").await;
    let started = Instant::now();
    succeeds(&plane.kubeconfig, &["delete", "namespace", "gone", "--timeout=60s"]).await;
    assert_eq!(plane.get("/api/v1/namespaces/gone").await, None);
    println!("a namespace went away within {:?}", started.elapsed());
}

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
    assert!(text.contains("[-]authentication failed: kube-system/extension-"), "{text}");
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
        "Error from server (NotFound): the server could not find the metric unknown for pods: no rule gives a metric of this name"
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn it_makes_itself_trusted() {
    let plane = ControlPlane::start().await;
    let exporter =
        Exporter::start(Page::new().series("queue_depth", r#"namespace="ide",pod="web-0""#, "1"))
            .await;
    let prometheus = Store::prometheus(&exporter).await;
    plane.create_namespace("monitoring").await;
    for file in ["service-account", "rbac"] {
        plane.apply(&text(&format!("deploy/base/{file}.yaml"))).await;
    }
    plane.apply(&text("deploy/components/self-managed-certificates/rbac.yaml")).await;
    let account = plane.service_account("monitoring", "loadline").await;
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

/// Requests that a service gets, shared by the pods that are there, and as many entries in a queue.
struct Load {
    shared: Arc<Mutex<Shared>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    per_second: f64,
    /// The counters of the pods that are there.
    pods: BTreeMap<String, f64>,
}

impl Load {
    fn start(exporter: Arc<Exporter>) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let counting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            let mut last = ticks.tick().await;
            loop {
                let now = ticks.tick().await;
                exporter.show(counting.lock().expect("not poisoned").after(now - last));
                last = now;
            }
        });
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    fn set(&self, per_second: f64) {
        self.shared.lock().expect("not poisoned").per_second = per_second;
    }

    /// What tells of the pods that are there now.
    fn pods(&self) -> impl Fn(Vec<String>) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |names| {
            let pods = &mut shared.lock().expect("not poisoned").pods;
            pods.retain(|name, _| names.contains(name));
            for name in names.into_iter().filter(|name| name.starts_with("lsp-server-")) {
                pods.entry(name).or_default();
            }
        }
    }
}

impl Shared {
    /// Counts the requests of some time.
    #[expect(clippy::cast_precision_loss, reason = "there are few pods")]
    fn after(&mut self, time: Duration) -> Page {
        let each = self.per_second * time.as_secs_f64() / self.pods.len() as f64;
        // What the autoscaler does not ask for would make it scale to the limit.
        let page = Page::new()
            .series("backlog", r#"namespace="ide",queue="jobs""#, &self.per_second.to_string())
            .series("backlog", r#"namespace="ide",queue="mail""#, "1000")
            .series("backlog", r#"namespace="other",queue="jobs""#, "1000");
        self.pods.iter_mut().fold(page, |page, (name, count)| {
            *count += each;
            let labels = format!("namespace=\"ide\",pod=\"{name}\"");
            page.series("lsp_requests_total", &labels, &count.to_string())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn autoscalers_follow_lsp_requests_and_a_backlog() {
    let started = Instant::now();
    let plane = ControlPlane::start().await;
    if !plane.has_controllers() {
        return;
    }
    // Without a series Prometheus has scraped nothing yet.
    let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_prometheus_adapter(&plane).await;
    plane.apply(PEER_ACCESS).await;
    let server =
        Server::start(&account, &prometheus.url, LSP_REQUESTS, 0, &["--cache-ttl=1s"]).await;
    until_registered(&plane, &server).await;

    let load = Load::start(Arc::clone(&exporter));
    load.set(8.0);
    let _kubelet = Kubelet::start(&plane, "ide", load.pods());
    plane.apply(AUTOSCALED).await;
    println!("ready to scale after {:?}", started.elapsed());
    until_scaled(&plane, 1).await;
    for (per_second, replicas) in [(45.0, 5), (25.0, 3), (8.0, 1)] {
        let changed = Instant::now();
        load.set(per_second);
        until_scaled(&plane, replicas).await;
        println!(
            "{per_second} requests a second: {replicas} replicas within {:?}",
            changed.elapsed()
        );
    }
    for (name, metric) in [
        ("lsp-server", "\"lsp_requests_per_second\" on pods"),
        ("worker", "\"backlog\" (target average value)"),
    ] {
        let text = succeeds(&plane.kubeconfig, &["describe", "hpa", "-n", "ide", name]).await;
        assert!(text.contains(metric), "{text}");
        for count in [5, 3, 1] {
            assert!(text.contains(&format!("New size: {count};")), "{text}");
        }
    }
    server.print_memory();
    println!("done after {:?}", started.elapsed());
}

/// Waits until both autoscalers have read their metrics, want so many replicas, and so many are ready.
async fn until_scaled(plane: &ControlPlane, replicas: u64) {
    for (name, kind) in [("lsp-server", "pods"), ("worker", "external")] {
        let mut last = String::new();
        eventually(&format!("there are {replicas} replicas of {name}"), async || {
            let path =
                format!("/apis/autoscaling/v2/namespaces/ide/horizontalpodautoscalers/{name}");
            let status = plane.get(&path).await?["status"].take();
            let path = format!("/apis/apps/v1/namespaces/ide/deployments/{name}");
            let deployment = plane.get(&path).await?;
            let is_active = status["conditions"].as_array()?.iter().any(|condition| {
                condition["type"] == "ScalingActive" && condition["reason"] == "ValidMetricFound"
            });
            let read = &status["currentMetrics"][0][kind]["current"]["averageValue"];
            let ready = &deployment["status"]["readyReplicas"];
            let wanted = &status["desiredReplicas"];
            let state = format!("{name}: {read} on average: {wanted} wanted, {ready} ready");
            if state != last {
                println!("{state}");
                last = state;
            }
            (is_active && *wanted == replicas && *ready == replicas).then_some(())
        })
        .await;
    }
}
