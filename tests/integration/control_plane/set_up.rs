//! loadline as kube-apiserver is sent to it, and what it is given there.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    control_plane::{ControlPlane, eventually},
    kubectl::succeeds,
    process::{Process, loadline},
};

pub(crate) const GROUP: &str = "custom.metrics.k8s.io";

pub(crate) const REGISTRATIONS: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// What prometheus-adapter's chart grants, by its names.
pub(crate) const PEER_ACCESS: &str = r#"
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

/// Two pods and a service, which nothing has to run.
pub(crate) const OBJECTS: &str = "
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

/// A gauge of pods, services and namespaces, as it is, and as an external metric.
pub(crate) const GAUGES: &str = r#"rules:
- seriesQuery: 'queue_depth{namespace!=""}'
  resources:
    overrides: {namespace: {resource: namespace}, pod: {resource: pod}, service: {resource: service}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: 'queue_depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (service)
"#;

/// A loadline that kube-apiserver can be sent to.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Server {
    /// Starts it as the container of prometheus-adapter's chart is started, but for where files and addresses are. As in a
    /// pod it knows its namespace, so that it would find the Secret of its certificate if it had access.
    pub(crate) async fn start(
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

    /// Writes other rules, as the kubelet does.
    pub(crate) fn write_rules(&self, rules: &str) {
        let next = self.folder.path().join("next.yaml");
        fs::write(&next, rules).unwrap();
        fs::rename(next, self.folder.path().join("config.yaml")).unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The authority of its certificate, as PEM.
    pub(crate) fn authority(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("cert/ca.crt")).unwrap()
    }

    /// A client that trusts its certificate.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        let authority = self.authority();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        reqwest::Client::builder().tls_certs_only([authority]).no_proxy()
    }

    /// Asks it not to go on, and waits until it does not.
    pub(crate) async fn stop(self) {
        self.process.signal("TERM");
        let ended = self.process.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }

    /// Prints how much memory it takes.
    pub(crate) fn print_memory(&self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let lines =
            status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
        println!("loadline: {}", lines.collect::<Vec<_>>().join(", ").replace('\t', " "));
    }
}

/// The Service by which kube-apiserver finds a port of this machine: without a network of pods, by name.
pub(crate) fn service(port: u16) -> String {
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
pub(crate) fn registrations(port: u16, change: impl Fn(&mut Value)) -> String {
    registrations_in("apiservice.yaml", port, change)
}

/// Those of a file.
pub(crate) fn registrations_in(path: &str, port: u16, change: impl Fn(&mut Value)) -> String {
    let documents = documents(path).into_iter().map(|mut document| {
        document["spec"]["service"]["port"] = port.into();
        // As prometheus-adapter's chart has it.
        document["spec"]["insecureSkipTLSVerify"] = true.into();
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
pub(crate) async fn as_prometheus_adapter(plane: &ControlPlane) -> PathBuf {
    plane.create_namespace("monitoring").await;
    let create = ["create", "serviceaccount", "prometheus-adapter", "-n", "monitoring"];
    succeeds(&plane.kubeconfig, &create).await;
    plane.service_account("monitoring", "prometheus-adapter").await
}

/// A namespace, the account of this repository's manifests with what they and some of their components grant, and its kubeconfig.
pub(crate) async fn as_loadline(plane: &ControlPlane, components: &[&str]) -> PathBuf {
    plane.create_namespace("monitoring").await;
    for file in ["service-account", "rbac"] {
        plane.apply(&text(&format!("deploy/base/{file}.yaml"))).await;
    }
    for component in components {
        plane.apply(&text(&format!("deploy/components/{component}/rbac.yaml"))).await;
    }
    plane.service_account("monitoring", "loadline").await
}

/// The names of the APIServices of this repository.
pub(crate) fn registered() -> Vec<String> {
    registered_in("apiservice.yaml")
}

/// Those of a file.
pub(crate) fn registered_in(path: &str) -> Vec<String> {
    let name = |document: Value| document["metadata"]["name"].as_str().expect("a name").to_owned();
    documents(path).into_iter().map(name).collect()
}

/// Waits until all of them are available, and not because nobody looked.
pub(crate) async fn until_available(plane: &ControlPlane) {
    until_all_available(plane, registered()).await;
}

pub(crate) async fn until_all_available(plane: &ControlPlane, names: Vec<String>) {
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

/// Waits until kube-apiserver has found that nobody serves the version of any of these registrations.
pub(crate) async fn until_none_available(plane: &ControlPlane, names: &[String]) {
    for name in names {
        eventually(&format!("{name} is not available"), async || {
            let found = plane.get(&format!("{REGISTRATIONS}/{name}")).await?;
            let conditions = found["status"]["conditions"].as_array()?;
            let found = conditions.iter().find(|condition| condition["type"] == "Available")?;
            (found["status"] == "False" && found["reason"] == "FailedDiscoveryCheck").then_some(())
        })
        .await;
    }
}

pub(crate) async fn until_registered(plane: &ControlPlane, server: &Server) {
    plane.apply(&service(server.port)).await;
    plane.apply(&registrations(server.port, |_| {})).await;
    until_available(plane).await;
}

/// Name and value of every item.
pub(crate) fn values(list: &Value) -> Vec<(&str, &str)> {
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
pub(crate) async fn a_namespace_goes_away(plane: &ControlPlane) {
    if !plane.has_controllers() {
        return;
    }
    plane.create_namespace("gone").await;
    let started = Instant::now();
    succeeds(&plane.kubeconfig, &["delete", "namespace", "gone", "--timeout=60s"]).await;
    assert_eq!(plane.get("/api/v1/namespaces/gone").await, None);
    println!("a namespace went away within {:?}", started.elapsed());
}
