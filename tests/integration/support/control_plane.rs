//! A real control plane on loopback: etcd, kube-apiserver and, where it is there, kube-controller-manager.
//!
//! There is no kubelet and no scheduler. Pods never run; [`Kubelet`] says that they do.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::{StreamExt as _, stream};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use super::{install_tls_provider, kubectl, process::Process, until_within};

/// How long a control plane on a busy machine may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A control plane polls itself; asking it more often only slows it down.
const INTERVAL: Duration = Duration::from_millis(200);

/// The variable that names the folder with the programs.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The name by which kube-apiserver proves itself to servers behind it.
const FRONT_PROXY: &str = "front-proxy-client";

/// As [`super::until`], for what a control plane does.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(LIMIT, INTERVAL, what, look).await
}

/// A running control plane. Everybody who shows a certificate of its authority, or one of its tokens, is who it says.
pub(crate) struct ControlPlane {
    /// An administrator's.
    pub(crate) kubeconfig: PathBuf,
    admin: Arc<Api>,
    authority: Authority,
    // Dropped in this order: each needs the next.
    controllers: Option<Process>,
    server: Mutex<Option<Process>>,
    _store: Process,
    folder: TempDir,
    /// Program and flags of kube-apiserver.
    command: (PathBuf, Vec<String>),
}

/// The API, as an administrator.
struct Api {
    url: String,
    client: reqwest::Client,
}

impl Api {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: &Value,
    ) -> reqwest::Result<(StatusCode, Value)> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if !body.is_null() {
            request = request.header("content-type", content).body(body.to_string());
        }
        let response = request.send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

impl ControlPlane {
    /// Starts everything, and waits until kube-apiserver is ready.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// One in which autoscalers may scale to zero, which needs a feature gate before Kubernetes 1.37.
    pub(crate) async fn scaling_to_zero() -> Self {
        Self::with(&["--feature-gates=HPAScaleToZero=true"]).await
    }

    /// Starts everything, kube-apiserver and kube-controller-manager with further flags.
    async fn with(flags: &[&str]) -> Self {
        install_tls_provider();
        let assets = env::var_os(ASSETS).map(PathBuf::from);
        let assets = assets.unwrap_or_else(|| {
            panic!("{ASSETS} is not set: it names a folder with kube-apiserver and etcd")
        });
        let program = |name: &str| assets.join(name);
        let missing = format!("{ASSETS} has to name a folder with it");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let authority = write_pki(folder.path());

        let store_port = free_port();
        let mut command = Command::new(program("etcd"));
        let client = format!("http://127.0.0.1:{store_port}");
        command
            .arg(format!("--data-dir={}", path("etcd").display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{}", free_port()))
            .current_dir(folder.path());
        let mut store = Process::start(command, &missing);
        eventually("etcd listens", async || {
            assert!(store.runs(), "{}", store.stderr());
            TcpStream::connect(("127.0.0.1", store_port)).ok()
        })
        .await;

        let port = free_port();
        let mut command = (program("kube-apiserver"), server_flags(folder.path(), &client, port));
        command.1.extend(flags.iter().map(|&flag| flag.to_owned()));
        let url = format!("https://127.0.0.1:{port}");
        let (certificate, key) = authority.user("admin", "system:masters");
        let identity = format!("{certificate}{key}");
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap()])
            .identity(reqwest::Identity::from_pem(identity.as_bytes()).expect("our own PEM"))
            .no_proxy()
            .build()
            .expect("a client");
        let admin = Arc::new(Api { url, client });

        let mut plane = Self {
            kubeconfig: path("admin.kubeconfig"),
            admin,
            authority,
            controllers: None,
            server: Mutex::default(),
            _store: store,
            folder,
            command,
        };
        plane.start_server().await;
        plane.write_kubeconfig("admin", &certificate_user(&certificate, &key));
        let controllers = program("kube-controller-manager");
        if controllers.exists() {
            let kubeconfig = plane.user("system:kube-controller-manager");
            let mut command = Command::new(controllers);
            command.args(controller_flags(plane.folder.path(), &kubeconfig)).args(flags);
            plane.controllers = Some(Process::start(command, &missing));
        } else {
            println!("there is no kube-controller-manager in {ASSETS}: what needs it is left out");
        }
        plane
    }

    /// Starts kube-apiserver, and waits until it is ready.
    async fn start_server(&self) {
        let (program, flags) = &self.command;
        let mut command = Command::new(program);
        command.args(flags);
        let mut server = Process::start(command, &format!("{ASSETS} has to name a folder with it"));
        eventually("kube-apiserver is ready", async || {
            assert!(server.runs(), "{}", server.stderr());
            let answer = self.ask("/readyz").await.ok()?;
            (answer.0 == 200).then_some(())
        })
        .await;
        *self.server.lock().expect("not poisoned") = Some(server);
    }

    /// Kills kube-apiserver, which would wait for those who watch, and starts it again.
    pub(crate) async fn restart_server(&self) {
        let server = self.server.lock().expect("not poisoned").take().expect("it runs");
        server.signal("KILL");
        server.end().await;
        self.start_server().await;
    }

    /// Creates objects, each at the path of its kind, a few at a time.
    pub(crate) async fn create(&self, objects: impl IntoIterator<Item = (String, Value)>) {
        let create = async |(path, object): (String, Value)| {
            let answer = self.admin.ask(Method::POST, &path, "application/json", &object).await;
            let (status, answer) = answer.expect("an answer");
            assert_eq!(status, 201, "{answer}");
        };
        stream::iter(objects).for_each_concurrent(16, create).await;
    }

    /// Whether namespaces go away, Deployments make pods, and autoscalers scale.
    pub(crate) fn has_controllers(&self) -> bool {
        self.controllers.is_some()
    }

    fn write_kubeconfig(&self, name: &str, user: &Value) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {
                "server": self.admin.url,
                "certificate-authority-data": BASE64_STANDARD.encode(self.authority.pem()),
            }}],
            "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        let path = self.folder.path().join(format!("{}.kubeconfig", name.replace(':', "-")));
        fs::write(&path, config.to_string()).expect("a new file");
        path
    }

    /// A kubeconfig of a user, who may do nothing yet.
    pub(crate) fn user(&self, name: &str) -> PathBuf {
        let (certificate, key) = self.authority.user(name, "people");
        self.write_kubeconfig(name, &certificate_user(&certificate, &key))
    }

    /// A certificate of a user, with its key, as PEM.
    pub(crate) fn identity(&self, name: &str) -> String {
        let (certificate, key) = self.authority.user(name, "people");
        format!("{certificate}{key}")
    }

    /// A folder with what a server and its clients prove themselves with to each other on loopback, as in a Secret: `ca.crt`,
    /// `tls.crt` and `tls.key`.
    pub(crate) fn certificates(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) =
            self.authority.leaf(name, "servers", &["127.0.0.1", "localhost"], usages);
        fs::create_dir(&folder).expect("a new folder");
        for (file, text) in
            [("ca.crt", self.authority.pem()), ("tls.crt", certificate), ("tls.key", key)]
        {
            fs::write(folder.join(file), text).expect("a new file");
        }
        folder
    }

    /// A token of a service account, which has to exist.
    pub(crate) async fn token(&self, namespace: &str, name: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = self.admin.ask(Method::POST, &path, "application/json", &body).await;
        let (_, answer) = answer.expect("an answer");
        answer["status"]["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// A kubeconfig of a service account, with a token such as pods have.
    pub(crate) async fn service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.token(namespace, name).await;
        self.write_kubeconfig(&format!("{namespace}-{name}"), &json!({ "token": token }))
    }

    /// Applies manifests.
    pub(crate) async fn apply(&self, manifests: &str) {
        let file = self.folder.path().join("manifests.yaml");
        fs::write(&file, manifests).expect("a file");
        let file = file.to_str().expect("text");
        kubectl::succeeds(&self.kubeconfig, &["apply", "-f", file]).await;
    }

    /// Changes an object as a JSON merge patch says.
    pub(crate) async fn patch(&self, path: &str, change: &Value) {
        let content = "application/merge-patch+json";
        let answer = self.admin.ask(Method::PATCH, path, content, change).await;
        let (status, answer) = answer.expect("an answer");
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) async fn create_namespace(&self, name: &str) {
        kubectl::succeeds(&self.kubeconfig, &["create", "namespace", name]).await;
    }

    /// Status and body of the answer to an administrator's GET.
    pub(crate) async fn ask(&self, path: &str) -> reqwest::Result<(StatusCode, Value)> {
        self.admin.ask(Method::GET, path, "", &Value::Null).await
    }

    /// An object; nothing where there is none.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let (status, answer) = self.ask(path).await.expect("an answer");
        (status == 200).then_some(answer)
    }

    /// What `kubectl get --raw` prints for an administrator.
    pub(crate) async fn raw(&self, path: &str) -> Value {
        let text = kubectl::succeeds(&self.kubeconfig, &["get", "--raw", path]).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Aggregated discovery, as kubectl asks for it: what the groups of `/apis` are.
    pub(crate) async fn discovery(&self) -> Vec<Value> {
        let media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let request = self.admin.client.get(format!("{}/apis", self.admin.url));
        let response = request.header("accept", media).send().await.expect("an answer");
        let body = response.bytes().await.expect("a body");
        let mut list: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(list["kind"], "APIGroupDiscoveryList", "{list}");
        list["items"].as_array_mut().map(std::mem::take).expect("items")
    }
}

fn certificate_user(certificate: &str, key: &str) -> Value {
    json!({
        "client-certificate-data": BASE64_STANDARD.encode(certificate),
        "client-key-data": BASE64_STANDARD.encode(key),
    })
}

/// A port of loopback that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn server_flags(folder: &Path, store: &str, port: u16) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let flags = [
        ("etcd-servers", store.to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("secure-port", port.to_string()),
        // Nobody goes there, but loopback is refused.
        ("advertise-address", "192.0.2.1".to_owned()),
        ("endpoint-reconciler-type", "none".to_owned()),
        ("service-cluster-ip-range", "10.96.0.0/16".to_owned()),
        ("authorization-mode", "RBAC".to_owned()),
        ("cert-dir", file("")),
        ("tls-cert-file", file("server.crt")),
        ("tls-private-key-file", file("server.key")),
        ("client-ca-file", file("ca.crt")),
        ("requestheader-client-ca-file", file("front-proxy-ca.crt")),
        ("requestheader-allowed-names", FRONT_PROXY.to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("proxy-client-cert-file", file("front-proxy.crt")),
        ("proxy-client-key-file", file("front-proxy.key")),
        ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
        ("service-account-key-file", file("service-accounts.pub")),
        ("service-account-signing-key-file", file("service-accounts.key")),
    ];
    flags.map(|(name, value)| format!("--{name}={value}")).into()
}

fn controller_flags(folder: &Path, kubeconfig: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let flags = [
        ("kubeconfig", kubeconfig.display().to_string()),
        // Nobody has anything to ask of it.
        ("secure-port", "0".to_owned()),
        ("leader-elect", "false".to_owned()),
        ("use-service-account-credentials", "true".to_owned()),
        ("service-account-private-key-file", file("service-accounts.key")),
        ("root-ca-file", file("ca.crt")),
        ("horizontal-pod-autoscaler-sync-period", "2s".to_owned()),
        ("kube-api-qps", "200".to_owned()),
        ("kube-api-burst", "400".to_owned()),
    ];
    flags.map(|(name, value)| format!("--{name}={value}")).into()
}

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("random numbers");
        Self(CertifiedIssuer::self_signed(params, key).expect("our own parameters"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key of a client.
    fn user(&self, name: &str, group: &str) -> (String, String) {
        self.leaf(name, group, &[], vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn leaf(
        &self,
        name: &str,
        group: &str,
        hosts: &[&str],
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> (String, String) {
        let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        let key = KeyPair::generate().expect("random numbers");
        let certificate = params.signed_by(&key, &self.0).expect("our own parameters");
        (certificate.pem(), key.serialize_pem())
    }
}

/// Writes what kube-apiserver and kube-controller-manager read. The authority of the cluster is given back.
fn write_pki(folder: &Path) -> Authority {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a new file");
    let authority = Authority::new("cluster");
    write("ca.crt", &authority.pem());
    let hosts = ["127.0.0.1", "10.96.0.1", "localhost", "kubernetes.default.svc"];
    let (certificate, key) = authority.leaf(
        "kube-apiserver",
        "servers",
        &hosts,
        vec![ExtendedKeyUsagePurpose::ServerAuth],
    );
    write("server.crt", &certificate);
    write("server.key", &key);

    let front_proxy = Authority::new("front-proxy");
    write("front-proxy-ca.crt", &front_proxy.pem());
    let (certificate, key) = front_proxy.user(FRONT_PROXY, "proxies");
    write("front-proxy.crt", &certificate);
    write("front-proxy.key", &key);

    let accounts = KeyPair::generate().expect("random numbers");
    write("service-accounts.key", &accounts.serialize_pem());
    write("service-accounts.pub", &accounts.public_key_pem());
    authority
}

/// Says of the pods of a namespace that they run and are ready, as long as it is kept.
pub(crate) struct Kubelet(#[expect(dead_code, reason = "it is kept")] AbortOnDropHandle<()>);

impl Kubelet {
    /// `report` hears of the pods that are ready, after every look.
    pub(crate) fn start(
        plane: &ControlPlane,
        namespace: &str,
        report: impl Fn(&[Value]) + Send + 'static,
    ) -> Self {
        let (api, pods) =
            (Arc::clone(&plane.admin), format!("/api/v1/namespaces/{namespace}/pods"));
        let task = tokio::spawn(async move {
            loop {
                if let Ok((StatusCode::OK, list)) =
                    api.ask(Method::GET, &pods, "", &Value::Null).await
                {
                    let mut ready = Vec::new();
                    for pod in list["items"].as_array().into_iter().flatten() {
                        let name = pod["metadata"]["name"].as_str().expect("a name");
                        if pod["status"]["phase"] == "Running"
                            || mark_ready(&api, &pods, name).await
                        {
                            ready.push(pod.clone());
                        }
                    }
                    report(&ready);
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self(AbortOnDropHandle::new(task))
    }
}

/// A pod may have gone meanwhile.
async fn mark_ready(api: &Api, pods: &str, name: &str) -> bool {
    let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let status = json!({"status": {
        "phase": "Running",
        "startTime": now,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
    }});
    let path = format!("{pods}/{name}/status");
    let answer = api.ask(Method::PATCH, &path, "application/merge-patch+json", &status).await;
    answer.is_ok_and(|(status, _)| status.is_success())
}
