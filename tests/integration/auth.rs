//! Who asks, and may they: as a scripted kube-apiserver says, which is asked as little as possible and told all. What strangers
//! can do with that.

mod access;
mod certificates;
mod outages;
mod strangers;
mod tenants;
mod who;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use loadline::auth::access::Ttls;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use reqwest::{Client, Identity, Method};
use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, Reply, custom, external},
    backend::{Answer, Backend, knows, pods},
    cluster::{Kubernetes, Stored},
    relay::Relay,
    until,
};

const RULE: &str = "rules:\n- {seriesQuery: m, metricsQuery: '<<.Series>>', resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}, dep: {group: apps, resource: deployment}, node: {resource: node}}}}\n";

/// Shorter than anything that a test does.
const SHORT: Duration = Duration::from_millis(20);

/// A read that succeeds for whoever may.
fn read() -> String {
    custom("namespaces/n/pods/*/m?labelSelector=app")
}

/// An authority of client certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate chain and its key, as PEM.
#[derive(Clone)]
struct Credential {
    chain: String,
    key: String,
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(authority(name), key).unwrap())
    }

    fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(authority(name), key, &self.0).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, name: &str, organizations: [&str; 2]) -> Credential {
        self.issue_with(name, organizations, |_| {})
    }

    fn issue_with(
        &self,
        name: &str,
        organizations: [&str; 2],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Credential {
        let mut parameters = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        // A name holds a type once; by its number the same one is another.
        let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        for (kind, organization) in types.into_iter().zip(organizations) {
            if !organization.is_empty() {
                subject.push(kind, organization);
            }
        }
        if !name.is_empty() {
            subject.push(DnType::CommonName, name);
        }
        parameters.distinguished_name = subject;
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        Credential { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A cluster that trusts two authorities, and a backend behind loadline.
struct Stage {
    cluster: Kubernetes,
    backend: Backend,
    clients: Authority,
    proxies: Authority,
}

/// The ConfigMap as kube-apiserver writes it.
fn config<'a>(clients: &'a str, proxies: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("client-ca-file", clients),
        ("requestheader-client-ca-file", proxies),
        ("requestheader-allowed-names", "[\"front-proxy-client\"]"),
        ("requestheader-username-headers", "[\"X-Remote-User\"]"),
        ("requestheader-group-headers", "[\"X-Remote-Group\"]"),
        ("requestheader-uid-headers", "[\"X-Remote-Uid\"]"),
        ("requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]"),
    ]
}

impl Stage {
    async fn new() -> Self {
        let objects = [("pods", "n", "p", [("app", "web")].as_slice())];
        let cluster = Kubernetes::start(&objects, 10).await;
        let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await;
        let (clients, proxies) = (Authority::new("clients"), Authority::new("proxies"));
        cluster.delegation().configure(&config(&clients.pem(), &proxies.pem()));
        cluster.delegation().token("good", json!({"username": "holder", "groups": ["g"]}));
        Self { cluster, backend, clients, proxies }
    }

    fn launch(&self) -> Launch {
        let mut launch = Launch::new(RULE, &self.backend.url).cluster(&self.cluster);
        launch.guarded = true;
        launch
    }

    /// A server that remembers no review.
    fn forgetful(&self) -> Launch {
        let mut launch = self.launch();
        launch.token_ttl = Duration::ZERO;
        launch.access_ttls = Ttls { authorized: Duration::ZERO, unauthorized: Duration::ZERO };
        launch
    }

    fn proxy(&self) -> Credential {
        self.proxies.issue("front-proxy-client", [""; 2])
    }

    /// The users that access was asked for since the last call, each with what was asked.
    fn reviewed(&self) -> Vec<Value> {
        self.cluster.delegation().take_access_reviews()
    }
}

async fn ready(launch: Launch) -> App {
    let app = launch.start().await;
    until("the server is ready", async || (app.get("/readyz").await.status == 200).then_some(()))
        .await;
    app
}

fn client(app: &App, credential: Option<&Credential>) -> Client {
    let mut builder = Client::builder().tls_certs_only([app.authority.clone()]).no_proxy();
    if let Some(Credential { chain, key }) = credential {
        let identity = Identity::from_pem(format!("{key}{chain}").as_bytes()).unwrap();
        builder = builder.identity(identity);
    }
    builder.build().unwrap()
}

async fn ask(app: &App, credential: Option<&Credential>, headers: &[(&str, &str)]) -> Reply {
    App::send(&client(app, credential), Method::GET, &app.url(&read()), headers).await
}

/// The user of a review, without what was asked.
fn user(mut review: Value) -> Value {
    review.as_object_mut().unwrap().remove("resourceAttributes");
    review
}

/// The credential is refused.
const NOBODY: Value = Value::Null;

fn anonymous() -> Value {
    json!({"user": "system:anonymous", "groups": ["system:unauthenticated"]})
}

fn known(name: &str, groups: &[&str]) -> Value {
    let mut groups = groups.to_vec();
    groups.push("system:authenticated");
    json!({"user": name, "groups": groups})
}

/// What is shown, and who that is.
struct Case<'a> {
    what: &'a str,
    credential: Option<&'a Credential>,
    headers: Vec<(&'static str, &'static str)>,
    wanted: Value,
}

fn case<'a>(
    what: &'a str,
    credential: Option<&'a Credential>,
    headers: &[(&'static str, &'static str)],
    wanted: Value,
) -> Case<'a> {
    Case { what, credential, headers: headers.to_vec(), wanted }
}

async fn check(stage: &Stage, app: &App, cases: Vec<Case<'_>>) {
    for Case { what, credential, headers, wanted } in cases {
        stage.reviewed();
        let reply = ask(app, credential, &headers).await;
        let reviewed: Vec<_> = stage.reviewed().into_iter().map(user).collect();
        if wanted == NOBODY {
            assert_eq!(reviewed, [NOBODY; 0], "{what}");
            assert_eq!(reply.status, 401, "{what}");
            assert_eq!(reply.json()["reason"], "Unauthorized", "{what}");
            assert_eq!(reply.failure(), "Unauthorized", "{what}");
        } else {
            assert_eq!(reviewed, [wanted], "{what}: {reply:?}");
            assert_eq!(reply.values().len(), 1, "{what}");
        }
    }
}

fn denied(reason: &str) -> Value {
    json!({"allowed": false, "reason": reason})
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn get(app: &App, token: &str, path: &str) -> Reply {
    app.request(Method::GET, path, &[("authorization", &bearer(token))]).await
}
