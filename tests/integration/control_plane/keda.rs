//! loadline in front of a real KEDA: `ScaledObject`s scale as before, a failure of KEDA's metrics server harms no metric of loadline, and
//! one `ScaledObject` moves to loadline and back.
//!
//! `KEDA` has to name a folder with its programs `keda` and `keda-adapter`, and its definitions in `crds/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    load::{Done, Load, autoscaled, until_scaled, workload},
    set_up::{PEER_ACCESS, Server, as_loadline, until_registered},
};
use crate::support::{
    control_plane::{ControlPlane, Kubelet, eventually, free_port},
    exporter::{Exporter, Page},
    kubectl::succeeds,
    process::{Process, loadline},
    store::Store,
};

/// The variable that names the folder with the programs.
const PROGRAMS: &str = "KEDA";

const RULE: &str = r#"
- seriesQuery: 'backlog{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
"#;

/// KEDA's operator and its metrics server.
struct Keda {
    programs: PathBuf,
    kubeconfig: PathBuf,
    certificates: PathBuf,
    /// Where the metrics server listens, and where the operator does for it.
    port: u16,
    service_port: u16,
    _operator: Process,
    server: Option<Process>,
}

impl Keda {
    async fn start(plane: &ControlPlane, programs: PathBuf) -> Self {
        let definitions = programs.join("crds").display().to_string();
        // Some are too large for the annotation of a client's apply.
        succeeds(&plane.kubeconfig, &["apply", "--server-side", "-f", &definitions]).await;
        eventually("ScaledObjects are served", async || {
            plane.get("/apis/keda.sh/v1alpha1/scaledobjects").await
        })
        .await;
        plane.create_namespace("keda").await;
        let certificates = plane.certificates("kedaorg-certs");
        let service_port = free_port();
        let mut operator = Command::new(programs.join("keda"));
        operator
            .arg(format!("--kubeconfig={}", plane.kubeconfig.display()))
            .arg(format!("--cert-dir={}", certificates.display()))
            .arg(format!("--metrics-service-bind-address=127.0.0.1:{service_port}"))
            .args(["--enable-prometheus-metrics=false", "--health-probe-bind-address=0"])
            .arg("--enable-apiservice-patching=false");
        let mut keda = Self {
            kubeconfig: plane.kubeconfig.clone(),
            _operator: Process::start(in_keda(operator), &missing()),
            programs,
            certificates,
            port: free_port(),
            service_port,
            server: None,
        };
        keda.start_server();
        keda
    }

    fn start_server(&mut self) {
        let kubeconfig = self.kubeconfig.display();
        let file = |name: &str| self.certificates.join(name).display().to_string();
        let mut command = Command::new(self.programs.join("keda-adapter"));
        let of_servers =
            ["lister", "authentication", "authorization"].map(|of| format!("{of}-kubeconfig"));
        for flag in of_servers.iter().map(String::as_str).chain(["kubeconfig"]) {
            command.arg(format!("--{flag}={kubeconfig}"));
        }
        command
            .args(["--bind-address=127.0.0.1", "--metrics-service-grpc-authority=localhost"])
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--port={}", free_port()))
            .arg(format!("--metrics-service-address=127.0.0.1:{}", self.service_port))
            .arg(format!("--tls-cert-file={}", file("tls.crt")))
            .arg(format!("--tls-private-key-file={}", file("tls.key")))
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg(format!("--cert-dir={}", self.certificates.display()));
        self.server = Some(Process::start(in_keda(command), &missing()));
    }

    async fn kill_server(&mut self) {
        let server = self.server.take().expect("it runs");
        server.signal("KILL");
        server.end().await;
    }

    fn signal_server(&self, name: &str) {
        self.server.as_ref().expect("it runs").signal(name);
    }
}

fn in_keda(mut command: Command) -> Command {
    let variables = ["POD_NAMESPACE", "KEDA_CLUSTER_OBJECT_NAMESPACE"];
    command.envs(variables.map(|name| (name, "keda"))).env("WATCH_NAMESPACE", "");
    command
}

fn missing() -> String {
    format!("{PROGRAMS} has to name a folder with it")
}

/// The block of the page about KEDA in which something is.
fn block(part: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/beside-keda.md");
    let page = fs::read_to_string(path).unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains(part)).expect(part);
    let indent = block.len() - block.trim_start().len();
    let lines = block.lines().map(|line| line.get(indent..).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn scaled_object(prometheus: &str) -> String {
    let at_once = json!({"stabilizationWindowSeconds": 0});
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "theirs", "namespace": "ide"},
        "spec": {
            "scaleTargetRef": {"name": "theirs"},
            "minReplicaCount": 0, "maxReplicaCount": 8, "pollingInterval": 1, "cooldownPeriod": 0,
            "advanced": {"horizontalPodAutoscalerConfig": {
                "name": "theirs", "behavior": {"scaleUp": at_once, "scaleDown": at_once},
            }},
            "triggers": [{"type": "prometheus", "metadata": {
                "serverAddress": prometheus, "threshold": "10",
                "query": "sum(backlog{namespace=\"ide\",queue=\"jobs\"})",
            }}],
        },
    })
    .to_string()
}

/// What `loadline migrate keda` prints of the namespace.
async fn migrated(plane: &ControlPlane, what: &str, prometheus: &str) -> String {
    let kubeconfig = plane.kubeconfig.display().to_string();
    let url = format!("--prometheus-url={prometheus}");
    let arguments = ["migrate", "keda", "-n", "ide", "-o", what, &url, "--kubeconfig", &kubeconfig];
    let mut command = loadline(&arguments);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn until_replicas(plane: &ControlPlane, replicas: u64) {
    eventually(&format!("the workload of KEDA has {replicas} replicas"), async || {
        let found = plane.get("/apis/apps/v1/namespaces/ide/deployments/theirs").await?;
        (found["spec"]["replicas"] == replicas).then_some(())
    })
    .await;
}

fn page(backlog: f64, _: &Done) -> Page {
    Page::new().series("backlog", r#"namespace="ide",queue="jobs""#, &backlog.to_string())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS, and KEDA: a folder with its programs and definitions"]
async fn scaled_objects_go_on_behind_loadline_and_one_moves_there_and_back() {
    let Some(programs) = env::var_os(PROGRAMS).map(PathBuf::from) else {
        println!("{PROGRAMS} is not set: it names a folder with keda, keda-adapter and crds");
        return;
    };
    let plane = ControlPlane::scaling_to_zero().await;
    if !plane.has_controllers() {
        return;
    }
    let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
    let prometheus = Store::prometheus(&exporter).await;
    let account = as_loadline(&plane, &[]).await;
    plane.apply(PEER_ACCESS).await;
    let mut keda = Keda::start(&plane, programs).await;

    let authority = fs::read(keda.certificates.join("ca.crt")).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kedaorg-certs", "namespace": "keda"},
        "data": {"ca.crt": BASE64_STANDARD.encode(authority)},
    });
    plane.apply(&secret.to_string()).await;
    plane.apply(&block("kind: ClusterRoleBinding")).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token").display().to_string();
    fs::write(&token, plane.token("monitoring", "loadline").await).unwrap();
    // Here are no Services of pods, and no account of a pod.
    let delegate = block("delegates:")
        .replace(
            "service: {namespace: keda, name: keda-operator-metrics-apiserver}",
            &format!("url: 'https://127.0.0.1:{}'", keda.port),
        )
        .replace("authInCluster: true", &format!("tokenFile: '{token}'"));
    let rules = |more: &str| format!("externalRules:{RULE}{more}{delegate}\n");
    let allowed = format!("--backend-credentials-dir={}", folder.path().display());
    let flags = ["--cache-ttl=1s", &allowed];
    let server = Server::start(&account, &prometheus.url, &rules(""), 0, &flags).await;
    until_registered(&plane, &server).await;

    let load = Load::start(Arc::clone(&exporter), page);
    load.set(8.0);
    plane.create_namespace("ide").await;
    let _kubelet = Kubelet::start(&plane, "ide", load.pods());
    let metric = json!({"type": "External", "external": {
        "metric": {"name": "backlog", "selector": {"matchLabels": {"queue": "jobs"}}},
        "target": {"type": "AverageValue", "averageValue": "10"},
    }});
    let containers = json!([{"name": "web", "image": "web"}]);
    plane.apply(&autoscaled("ours", &containers, &metric)).await;
    plane.apply(&workload("theirs", &containers)).await;
    plane.apply(&scaled_object(&prometheus.url)).await;
    let both = ["ours", "theirs"];
    until_scaled(&plane, &both, 1).await;
    load.set(45.0);
    until_scaled(&plane, &both, 5).await;

    keda.signal_server("STOP");
    load.set(25.0);
    until_scaled(&plane, &["ours"], 3).await;
    eventually("the autoscaler names the delegate", async || {
        let text = succeeds(&plane.kubeconfig, &["describe", "hpa", "-n", "ide", "theirs"]).await;
        text.contains("the delegate keda ").then_some(())
    })
    .await;
    until_replicas(&plane, 5).await;
    keda.signal_server("CONT");
    until_scaled(&plane, &both, 3).await;

    keda.kill_server().await;
    load.set(15.0);
    until_scaled(&plane, &["ours"], 2).await;
    until_replicas(&plane, 3).await;
    keda.start_server();
    until_scaled(&plane, &both, 2).await;

    // KEDA's operator starts and stops workloads itself.
    load.set(0.0);
    until_replicas(&plane, 0).await;
    load.set(8.0);
    until_scaled(&plane, &both, 1).await;

    let migrated_rules = migrated(&plane, "rules", &prometheus.url).await;
    let file: Value = serde_saphyr::from_str(&migrated_rules).unwrap();
    let [rule] = &file["externalRules"].as_array().unwrap()[..] else { panic!("{file}") };
    let autoscaler = migrated(&plane, "hpa", &prometheus.url).await;
    server.write_rules(&rules(&format!("- {rule}\n")));
    eventually("loadline serves the metric", async || {
        let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ide/ide.theirs.s0-prometheus";
        plane.get(path).await
    })
    .await;
    succeeds(&plane.kubeconfig, &["delete", "scaledobject", "-n", "ide", "theirs"]).await;
    until_autoscaler_is_gone(&plane).await;
    plane.apply(&autoscaler).await;
    keda.kill_server().await;
    load.set(25.0);
    until_scaled(&plane, &both, 3).await;
    load.set(0.0);
    until_replicas(&plane, 0).await;
    load.set(8.0);
    until_scaled(&plane, &both, 1).await;

    succeeds(&plane.kubeconfig, &["delete", "hpa", "-n", "ide", "theirs"]).await;
    keda.start_server();
    plane.apply(&scaled_object(&prometheus.url)).await;
    load.set(45.0);
    until_scaled(&plane, &both, 5).await;
    server.stop().await;
}

async fn until_autoscaler_is_gone(plane: &ControlPlane) {
    let path = "/apis/autoscaling/v2/namespaces/ide/horizontalpodautoscalers/theirs";
    eventually("KEDA's autoscaler is gone", async || plane.get(path).await.is_none().then_some(()))
        .await;
}
