//! Who asks, and may they: as a scripted kube-apiserver says, which is asked as little as possible and told all.

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
    cluster::Kubernetes,
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

const SPOOFED: &[(&str, &str)] = &[
    ("x-remote-user", "admin"),
    ("x-remote-group", "system:masters"),
    ("x-remote-uid", "0"),
    ("x-remote-extra-scopes", "all"),
];

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_certificates() {
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let good = ("authorization", "Bearer good");
    let bad = ("authorization", "Bearer bad");
    let jane = stage.clients.issue("jane", ["team-a", "team-b"]);
    let nameless = stage.clients.issue("", ["team-a", ""]);
    let expired = stage.clients.issue_with("jane", [""; 2], |parameters| {
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(2001, 1, 1);
    });
    let wrong = Authority::new("clients").issue("jane", ["system:masters", ""]);
    let spoofed: Vec<_> = SPOOFED.iter().copied().chain([good]).collect();
    let cases = vec![
        case("nothing", None, &[], anonymous()),
        case("a good token", None, &[good], known("holder", &["g"])),
        case(
            "the scheme in any case",
            None,
            &[("authorization", "bEARER good")],
            known("holder", &["g"]),
        ),
        case("a bad token", None, &[bad], NOBODY),
        case("an empty token", None, &[("authorization", "Bearer ")], anonymous()),
        case("another scheme", None, &[("authorization", "Basic Z29vZA==")], anonymous()),
        case("a certificate", Some(&jane), &[], known("jane", &["team-a", "team-b"])),
        case(
            "a certificate before a token",
            Some(&jane),
            &[bad],
            known("jane", &["team-a", "team-b"]),
        ),
        case("a certificate without a name", Some(&nameless), &[], NOBODY),
        case("an expired certificate", Some(&expired), &[], NOBODY),
        case("a certificate of a namesake", Some(&wrong), &[], NOBODY),
        case("its token counts", Some(&wrong), &[good], known("holder", &["g"])),
        case("neither is good", Some(&wrong), &[bad], NOBODY),
        case("headers of nobody", None, SPOOFED, anonymous()),
        case("headers of a client", Some(&jane), SPOOFED, known("jane", &["team-a", "team-b"])),
        case("headers of a stranger", Some(&wrong), SPOOFED, NOBODY),
        case("headers of a token's holder", None, &spoofed, known("holder", &["g"])),
    ];
    check(&stage, &app, cases).await;

    let whole = json!({
        "username": "system:serviceaccount:kube-system:hpa", "uid": "u-1",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/pod-name": ["a", "b"]},
    });
    stage.cluster.delegation().token("whole", whole);
    let wanted = json!({
        "user": "system:serviceaccount:kube-system:hpa", "uid": "u-1",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/pod-name": ["a", "b"]},
    });
    let headers = [("authorization", "Bearer whole")];
    check(&stage, &app, vec![case("all of a user", None, &headers, wanted)]).await;
    assert_eq!(
        stage.cluster.delegation().take_token_reviews().last().unwrap(),
        &json!({"token": "whole"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_proxy() {
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let proxy = stage.proxy();
    let other = stage.proxies.issue("somebody", [""; 2]);
    let between = stage.proxies.intermediate("between");
    let mut below = between.issue("front-proxy-client", [""; 2]);
    below.chain += &between.pem();
    let wrong = Authority::new("proxies").issue("front-proxy-client", [""; 2]);
    let client = stage.clients.issue("front-proxy-client", [""; 2]);
    let ann = ("x-remote-user", "ann");
    let good = ("authorization", "Bearer good");
    let all = [
        ann,
        ("x-remote-uid", "42"),
        ("x-remote-group", "a,b"),
        ("x-remote-group", "c"),
        ("x-remote-group", ""),
        ("X-Remote-Group", "d e"),
        ("X-Remote-Extra-Scopes", "x"),
        ("x-remote-extra-scopes", "y,z"),
        ("x-remote-extra-example.com%2Fkey", "v"),
    ];
    let wanted = json!({
        "user": "ann", "uid": "42", "groups": ["a,b", "c", "d e", "system:authenticated"],
        "extra": {"scopes": ["x", "y,z"], "example.com/key": ["v"]},
    });
    let anonymous_passed_on =
        [("x-remote-user", "system:anonymous"), ("x-remote-group", "system:unauthenticated")];
    let cases = vec![
        case("only a user", Some(&proxy), &[ann], known("ann", &[])),
        case("everything", Some(&proxy), &all, wanted),
        case("a chain", Some(&below), &[ann], known("ann", &[])),
        case("before a token", Some(&proxy), &[ann, good], known("ann", &[])),
        case("who is anonymous there", Some(&proxy), &anonymous_passed_on, anonymous()),
        case("no user", Some(&proxy), &[("x-remote-group", "g")], NOBODY),
        case(
            "no user but a token",
            Some(&proxy),
            &[("x-remote-group", "x"), good],
            known("holder", &["g"]),
        ),
        case("another name", Some(&other), &[ann], NOBODY),
        case("another name with a token", Some(&other), &[ann, good], known("holder", &["g"])),
        case("another authority", Some(&wrong), &[ann], NOBODY),
        case("a client of that name", Some(&client), &[ann], known("front-proxy-client", &[])),
    ];
    check(&stage, &app, cases).await;
}

/// What the ConfigMap says: names of headers, whose names are allowed, bundles of more than one authority.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured() {
    let stage = Stage::new().await;
    let older = Authority::new("older");
    let bundle = |first: &Authority| format!("# a comment\n{}\n{}", first.pem(), older.pem());
    let (clients, proxies) = (bundle(&stage.clients), bundle(&stage.proxies));
    stage.cluster.delegation().configure(&[
        ("client-ca-file", &clients),
        ("requestheader-client-ca-file", &proxies),
        ("requestheader-allowed-names", "[]"),
        ("requestheader-username-headers", "[\"X-Absent\",\"X-Who\",\"X-Remote-User\"]"),
        ("requestheader-group-headers", "[\"X-Group\",\"X-Role\"]"),
        ("requestheader-uid-headers", "[\"X-Id\"]"),
        ("requestheader-extra-headers-prefix", "[\"X-More-\",\"X-Also-\"]"),
    ]);
    let app = ready(stage.forgetful()).await;
    let any = stage.proxies.issue("any name", [""; 2]);
    let old = older.issue("old", ["g", ""]);
    let said = [
        ("x-who", "ann"),
        ("x-remote-user", "ignored"),
        ("x-remote-group", "ignored"),
        ("x-remote-uid", "ignored"),
        ("x-group", "a"),
        ("x-role", "b"),
        ("x-role", "c"),
        ("x-id", "7"),
        ("x-more-a", "1"),
        ("x-also-a", "2"),
        ("x-also-b", "3"),
    ];
    let groups = ["a", "b", "c", "system:authenticated"];
    let wanted = json!({"user": "ann", "uid": "7", "groups": groups, "extra": {"a": ["1", "2"], "b": ["3"]}});
    let cases = vec![
        case("any name", Some(&any), &said, wanted),
        case("the second of a proxy's bundle", Some(&old), &[("x-who", "bob")], known("bob", &[])),
        case("the second of the clients'", Some(&old), &[], known("old", &["g"])),
        case("nobody may say it", None, &said, anonymous()),
    ];
    check(&stage, &app, cases).await;
}

/// What flags say comes before what the ConfigMap says, each for itself.
#[tokio::test(flavor = "multi_thread")]
async fn flags_come_before() {
    let stage = Stage::new().await;
    let (clients, folder) = (Authority::new("of a file"), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, clients.pem()).unwrap();
    let mut launch = stage.forgetful();
    launch.trust.client_ca_file = Some(file);
    launch.trust.allowed_names = vec!["by flag".to_owned()];
    launch.trust.username_headers = vec!["x-flag-user".to_owned()];
    let app = ready(launch).await;
    let jane = clients.issue("jane", [""; 2]);
    let written = stage.clients.issue("jane", [""; 2]);
    let allowed = stage.proxies.issue("by flag", [""; 2]);
    let proxy = stage.proxy();
    let headers = [("x-flag-user", "ann"), ("x-remote-user", "bob"), ("x-remote-group", "g")];
    let cases = vec![
        case("the file's authority", Some(&jane), &[], known("jane", &[])),
        case("the ConfigMap's", Some(&written), &[], NOBODY),
        case("the flag's name", Some(&allowed), &headers, known("ann", &["g"])),
        case("the ConfigMap's name", Some(&proxy), &headers, NOBODY),
    ];
    check(&stage, &app, cases).await;
}

/// Authorities are rotated while connections are open, and those go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority() {
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    let relay = Relay::start(app.address, true).await;
    let (next_clients, next_proxies) = (Authority::new("clients"), Authority::new("proxies"));
    let headers = [("x-remote-user", "ann")];
    let old = client(&app, Some(&stage.proxy()));
    let new = client(&app, Some(&next_proxies.issue("front-proxy-client", [""; 2])));
    let jane = client(&app, Some(&next_clients.issue("jane", [""; 2])));
    let ask = async |client: &Client| {
        let url = format!("https://{}{}", relay.address, read());
        App::send(client, Method::GET, &url, &headers).await.status.as_u16()
    };
    let statuses = async || [ask(&old).await, ask(&new).await, ask(&jane).await];
    assert_eq!(statuses().await, [200, 401, 401]);

    let configure = |clients: &str, proxies: &str| {
        stage.cluster.delegation().configure(&config(clients, proxies));
    };
    let both = |old: &Authority, new: &Authority| format!("{}{}", old.pem(), new.pem());
    let clients = both(&stage.clients, &next_clients);
    configure(&clients, &both(&stage.proxies, &next_proxies));
    until("both are trusted", async || (statuses().await == [200; 3]).then_some(())).await;
    configure(&next_clients.pem(), &next_proxies.pem());
    until("only the new ones are trusted", async || {
        (statuses().await == [401, 200, 200]).then_some(())
    })
    .await;
    // A bundle that cannot be read is a slip, not a wish to lock everybody out: the other one changes, this one stays.
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    configure(&stage.clients.pem(), broken);
    until("the clients are others", async || {
        let [old, new, jane] = statuses().await;
        assert_eq!([old, new], [401, 200]);
        (jane == 401).then_some(())
    })
    .await;
    configure("no certificate", &stage.proxies.pem());
    until("the proxies are others", async || (statuses().await == [200, 401, 401]).then_some(()))
        .await;
    let early = client(&app, Some(&stage.clients.issue("early", [""; 2])));
    assert_eq!(App::send(&early, Method::GET, &app.url(&read()), &[]).await.status, 200);
    assert_eq!(relay.accepted(), 3, "every client has kept its connection");
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

/// What access is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn attributes() {
    let stage = Stage::new().await;
    let app = ready(stage.launch()).await;
    stage.cluster.delegation().access(|_| denied("because"));
    let resource = |verb: &str, namespace: &str, resource: &str, name: &str, subresource: &str| {
        let mut attributes =
            json!({"group": "custom.metrics.k8s.io", "version": "v1beta2", "verb": verb});
        for (key, value) in [
            ("namespace", namespace),
            ("resource", resource),
            ("name", name),
            ("subresource", subresource),
        ] {
            if !value.is_empty() {
                attributes[key] = json!(value);
            }
        }
        json!({"resourceAttributes": attributes})
    };
    let of_external = |verb: &str, namespace: &str| {
        json!({"resourceAttributes": {
            "group": "external.metrics.k8s.io", "version": "v1beta1", "verb": verb,
            "namespace": namespace, "resource": "q",
        }})
    };
    let path =
        |verb: &str, path: &str| json!({"nonResourceAttributes": {"path": path, "verb": verb}});
    let cases = [
        ("GET", custom("namespaces/n/pods/*/m"), resource("get", "n", "pods", "*", "m")),
        ("GET", custom("namespaces/n/pods/p/m"), resource("get", "n", "pods", "p", "m")),
        ("HEAD", custom("namespaces/h/pods/p/m"), resource("get", "h", "pods", "p", "m")),
        (
            "GET",
            custom("namespaces/n/deployments.apps/d/m"),
            resource("get", "n", "deployments.apps", "d", "m"),
        ),
        ("GET", custom("namespaces/n/pod/p/m"), resource("get", "n", "pod", "p", "m")),
        ("GET", custom("nodes/n1/m"), resource("get", "", "nodes", "n1", "m")),
        ("GET", custom("namespaces/n/metrics/m"), resource("get", "n", "metrics", "m", "")),
        (
            "GET",
            custom("namespaces/n/pods/*/m?watch=true"),
            resource("watch", "n", "pods", "*", "m"),
        ),
        (
            "GET",
            custom("namespaces/n/pods/%2A/http%3Arate"),
            resource("get", "n", "pods", "*", "http:rate"),
        ),
        ("POST", custom("namespaces/n/pods/p/m"), resource("create", "n", "pods", "p", "m")),
        ("DELETE", custom("namespaces/n/pods/p/m"), resource("delete", "n", "pods", "p", "m")),
        ("GET", external("namespaces/n/q"), of_external("list", "n")),
        ("HEAD", external("namespaces/h/%71/?labelSelector=a"), of_external("list", "h")),
        ("GET", external("namespaces/n/q?watch=1"), of_external("watch", "n")),
        ("POST", external("namespaces/n/q"), of_external("create", "n")),
        ("GET", external(""), path("get", "/apis/external.metrics.k8s.io/v1beta1/")),
        ("GET", "/apis".to_owned(), path("get", "/apis")),
        ("GET", "/metrics".to_owned(), path("get", "/metrics")),
        ("HEAD", "/openapi/v3".to_owned(), path("head", "/openapi/v3")),
        ("GET", "/nothing".to_owned(), path("get", "/nothing")),
        ("GET", "/readyz/ping".to_owned(), path("get", "/readyz/ping")),
        (
            "GET",
            "/apis/custom.metrics.k8s.io/v1beta2".to_owned(),
            path("get", "/apis/custom.metrics.k8s.io/v1beta2"),
        ),
    ];
    for (method, path, mut wanted) in cases {
        let method: Method = method.parse().unwrap();
        let reply = app.request(method.clone(), &path, &[("authorization", "Bearer good")]).await;
        wanted["user"] = json!("holder");
        wanted["groups"] = json!(["g", "system:authenticated"]);
        assert_eq!(stage.reviewed(), [wanted], "{method} {path}");
        assert_eq!(reply.status, 403, "{method} {path}");
        if method != Method::HEAD {
            assert_eq!(reply.json()["reason"], "Forbidden");
            assert!(reply.failure().ends_with(": because"), "{reply:?}");
        }
    }
    let reply = get(&app, "good", &custom("namespaces/n/pods/*/m")).await;
    assert_eq!(
        reply.failure(),
        r#"pods.custom.metrics.k8s.io "*" is forbidden: User "holder" cannot get resource "pods/m" in API group "custom.metrics.k8s.io" in the namespace "n": because"#
    );
    let reply = get(&app, "good", &external("namespaces/n/q")).await;
    assert_eq!(
        reply.failure(),
        r#"q.external.metrics.k8s.io is forbidden: User "holder" cannot list resource "q" in API group "external.metrics.k8s.io" in the namespace "n": because"#
    );
    let reply = app.get("/metrics").await;
    assert_eq!(
        reply.failure(),
        r#"forbidden: User "system:anonymous" cannot get path "/metrics": because"#
    );
}

/// What is judged is what is read: no way of writing a path makes them differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_judged_as_it_is_read() {
    let stage = Stage::new().await;
    let app = ready(stage.launch()).await;
    stage
        .cluster
        .delegation()
        .access(|spec| json!({"allowed": spec["resourceAttributes"]["namespace"] != "n"}));
    for path in [
        custom("namespaces/n/pods/*/m"),
        custom("namespaces/n/pods/*/m/"),
        custom("/namespaces/n/pods/*/m"),
        custom("//namespaces/n/pods/*/m"),
        custom("namespaces/%6e/pods/*/m"),
        custom("%6eamespaces/n/pods/*/m"),
        custom("namespaces//n/pods/*/m"),
        custom("namespaces%2Fn/pods/*/m"),
        custom("x/../namespaces/n/pods/*/m"),
        custom("namespaces/n/pods/*/m").replace("/apis", "//apis"),
        custom("namespaces/n/pods/*/m").replace("/apis", "/%61pis"),
        custom("namespaces/n/pods/*/m").replace("custom", "%63ustom"),
        custom("namespaces/n/metrics/m"),
        custom("/namespaces/n/metrics/m"),
    ] {
        let reply = app.get(&path).await;
        assert!(reply.status.is_client_error(), "{path}: {reply:?}");
        reply.failure();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_remembered() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let app = ready(stage.launch()).await;
    delegation.token("other", json!({"username": "other"}));
    delegation.access(|spec| json!({"allowed": spec["user"] == "holder"}));
    let path = read();
    let status = async |token: &str, path: &str| get(&app, token, path).await.status.as_u16();
    let replies = join_all((0..20).map(|_| status("good", &path))).await;
    assert_eq!(replies, [200; 20]);
    let counts = || (delegation.take_token_reviews().len(), delegation.take_access_reviews().len());
    assert_eq!(counts(), (1, 1), "twenty at once are one question");
    assert_eq!((status("other", &path).await, status("other", &path).await), (403, 403));
    assert_eq!(counts(), (1, 1), "a refusal is remembered");
    assert_eq!((status("bad", &path).await, status("bad", &path).await), (401, 401));
    assert_eq!(counts(), (1, 0), "so is an unknown token");
    status("good", &custom("namespaces/n/pods/p/m")).await;
    status("good", &custom("namespaces/n/pods/p/m?labelSelector=a")).await;
    assert_eq!(counts(), (0, 1), "queries are not judged");
    for path in ["/healthz", "/livez", "/readyz", "/health/live", "/health/ready"] {
        assert_eq!(status("bad", path).await, 200, "{path}");
    }
    assert_eq!(counts(), (0, 0), "open paths are for everybody");

    delegation.token("root", json!({"username": "root", "groups": ["system:masters"]}));
    delegation.access(|_| denied(""));
    assert_eq!((status("root", &path).await, status("root", "/metrics").await), (200, 200));
    assert_eq!(counts(), (1, 0), "masters may do everything");
    delegation.access(|_| json!({"allowed": true, "denied": true}));
    assert_eq!(status("good", "/version").await, 403, "a denial outweighs");
}

/// Each of the three times is its own.
#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_forgotten() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let path = read();

    let mut launch = stage.launch();
    launch.token_ttl = SHORT;
    let app = ready(launch).await;
    assert_eq!(get(&app, "good", &path).await.status, 200);
    until("the token is reviewed again", async || {
        assert_eq!(get(&app, "good", &path).await.status, 200);
        (!delegation.take_token_reviews().is_empty()).then_some(())
    })
    .await;
    assert_eq!(stage.reviewed().len(), 1, "access was not");

    for is_allowed in [true, false] {
        let mut launch = stage.launch();
        let ttl = if is_allowed {
            &mut launch.access_ttls.authorized
        } else {
            &mut launch.access_ttls.unauthorized
        };
        *ttl = SHORT;
        let app = ready(launch).await;
        let may = move |allowed: bool| delegation.access(move |_| json!({"allowed": allowed}));
        let status = async || get(&app, "good", &path).await.status.as_u16();
        let (before, after) = if is_allowed { (200, 403) } else { (403, 200) };
        may(is_allowed);
        assert_eq!(status().await, before);
        may(!is_allowed);
        until("access is reviewed again", async || {
            let status = status().await;
            assert!([before, after].contains(&status), "{status}");
            (status == after).then_some(())
        })
        .await;
        may(is_allowed);
        assert_eq!(status().await, after, "the other answer is kept for long");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_that_cannot_be_had() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let app = ready(stage.launch()).await;
    let path = read();
    for status in [500, 503, 429, 403, 404] {
        delegation.fail_access_reviews(status);
        let reply = get(&app, "good", &path).await;
        assert_eq!(reply.status, 500, "{status}");
        assert_eq!(reply.json()["reason"], "InternalError");
        assert_eq!(reply.failure(), "Internal error occurred: access could not be reviewed");
    }
    assert_eq!(stage.reviewed().len(), 5, "no repetition, and failures are not remembered");
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    delegation.fail_access_reviews(0);
    assert_eq!(get(&app, "good", &path).await.status, 200);

    delegation.fail_token_reviews(500);
    delegation.token("later", json!({"username": "later"}));
    assert_eq!(get(&app, "later", &path).await.status, 401, "as by Kubernetes");
    assert_eq!(get(&app, "good", &path).await.status, 200, "it is remembered");
    let jane = stage.clients.issue("jane", [""; 2]);
    assert_eq!(ask(&app, Some(&jane), &[]).await.status, 200, "a certificate needs no review");
    delegation.fail_token_reviews(0);
    assert_eq!(get(&app, "later", &path).await.status, 200);
}

/// The log of a runtime of one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn count(&self, text: &str) -> usize {
        self.text().matches(text).count()
    }

    /// How many errors there are of ours, within whatever spans.
    fn errors(&self) -> usize {
        let is_ours = |line: &&str| line.contains(" ERROR ") && line.contains(" loadline::");
        self.text().lines().filter(is_ours).count()
    }
}

#[tokio::test]
async fn what_fails_is_said_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let app = ready(stage.launch()).await;
    let remembered = async || assert_eq!(get(&app, "good", &read()).await.status, 200);
    remembered().await;
    let mut fresh = 0;
    for round in 1..3 {
        for status in [500, 0] {
            delegation.fail_access_reviews(status);
            delegation.fail_token_reviews(status);
            for _ in 0..3 {
                fresh += 1;
                app.get(&custom(&format!("namespaces/n/pods/p-{fresh}/m"))).await;
                remembered().await;
                get(&app, &format!("token-{fresh}"), &read()).await;
                remembered().await;
            }
        }
        for text in [
            "access cannot be reviewed",
            "tokens cannot be reviewed",
            "access reviews work again",
            "token reviews work again",
        ] {
            assert_eq!(log.count(text), round, "{text}");
        }
        assert_eq!(log.errors(), 2 * round);
    }
    assert_eq!(log.count("token-"), 0, "no token is in the log");
}

/// The way to a server that is not there yet.
async fn way(url: &str) -> Relay {
    let target: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    Relay::start(target, false).await
}

/// The cluster comes later than loadline: first nothing of it, then all but the ConfigMap, then that too.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_comes_later() {
    const MISSING: &str = "[-]authentication failed: kube-system/extension-apiserver-authentication has not been read yet";
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let relay = way(&stage.cluster.url).await;
    stage.cluster.reached_by(&format!("http://{}", relay.address));
    delegation.fail_config(403);
    let mut launch = stage.launch();
    launch.relist_interval = Duration::from_secs(1);
    let app = launch.start().await;
    let verbose = async || app.get("/readyz?verbose").await;
    let reply = verbose().await;
    assert_eq!(reply.status, 500);
    assert!(reply.body.lines().any(|line| line == MISSING), "{}", reply.body);
    assert!(reply.body.contains("the API server does not tell which kinds"), "{}", reply.body);
    assert_eq!(app.get("/readyz/authentication").await.status, 500);
    assert_eq!(app.get("/livez").await.status, 200);

    relay.open();
    until("kinds are known", async || {
        let reply = verbose().await;
        assert_eq!(reply.status, 500);
        assert!(reply.body.lines().any(|line| line == MISSING), "{}", reply.body);
        (!reply.body.contains("which kinds")).then_some(())
    })
    .await;
    delegation.fail_config(0);
    until("the server is ready", async || (verbose().await.status == 200).then_some(())).await;
    let proxied = ask(&app, Some(&stage.proxy()), &[("x-remote-user", "ann")]).await;
    assert_eq!(proxied.values().len(), 1);
}
