mod cluster;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use jiff::SignedDuration;
use serde_json::json;

use self::cluster::{Cluster, SECRET, registration};
use super::{
    authority::{AUTHORITIES, AUTHORITY_KEY, Own},
    fixtures::{at, self_signed},
    own::Place,
    *,
};

const NOW: &str = "2026-01-01";
const CUSTOM: &str = "v1beta1.custom.metrics.k8s.io";

fn settings() -> Settings {
    Settings {
        secret: Some("loadline-serving".to_owned()),
        service: "loadline".to_owned(),
        namespace: Some("monitoring".to_owned()),
        names: Names::new("loadline", Some("monitoring"), &["10.0.0.7".parse().unwrap()]),
        ..Settings::default()
    }
}

async fn load(settings: Settings, cluster: &Cluster, day: &str) -> Serving {
    Serving::load(settings, Some(cluster.client()), Arc::default(), at(day)).await.unwrap()
}

fn place(serving: &Serving) -> Place {
    match &serving.source {
        Source::Own(own) => own.place(),
        Source::Files(_) => panic!("from files"),
    }
}

fn leaf(serving: &Serving) -> Vec<u8> {
    serving.resolver.default.load().cert[0].to_vec()
}

fn names(serving: &Serving) -> Vec<String> {
    let key = serving.resolver.default.load_full();
    Facts::read(&key.cert[0]).unwrap().names
}

fn register(cluster: &Cluster, name: &str, service: &str) {
    let object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": name},
        "spec": {"service": {"name": service, "namespace": "monitoring"}, "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100, "versionPriority": 100}});
    cluster.put(&registration(name), object);
}

fn bundle(cluster: &Cluster, name: &str) -> String {
    let registration = cluster.get(&registration(name));
    let text = registration["spec"]["caBundle"].as_str().unwrap_or_default();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

#[tokio::test]
async fn two_that_race_at_the_first_start_share_one_certificate() {
    let cluster = Cluster::racing(2);
    let (one, two) = tokio::join!(load(settings(), &cluster, NOW), load(settings(), &cluster, NOW));
    assert_eq!(one.authority(), two.authority());
    assert_eq!(leaf(&one), leaf(&two));
    assert_eq!(place(&one), Place::Secret);
    assert_eq!(place(&two), Place::Secret);
    let mut requests = cluster.requests();
    requests.sort();
    let (get, post) = ("GET loadline-serving", "POST secrets");
    assert_eq!(requests, [get, get, get, post, post]);
    assert_eq!(cluster.get(SECRET)["type"], "kubernetes.io/tls");
    // What one replica alone is reached by is not in what all share.
    assert!(!names(&one).contains(&"10.0.0.7".to_owned()));
}

#[tokio::test]
async fn under_the_rights_of_prometheus_adapter_it_serves_from_memory() {
    let cluster = Cluster::default();
    let all = [Method::GET, Method::POST, Method::PUT, Method::PATCH];
    cluster.forbid(&all, "/secrets");
    cluster.forbid(&all, "/apiservices");
    let settings = Settings { manage_apiservices: true, ..settings() };
    let mut serving = load(settings, &cluster, NOW).await;
    assert_eq!(place(&serving), Place::Memory);
    assert!(names(&serving).contains(&"10.0.0.7".to_owned()));
    let before = leaf(&serving);
    serving.tick(true, at(NOW)).await;
    assert_eq!(leaf(&serving), before);
    // Rights that come later are used.
    cluster.allow();
    serving.tick(true, at(NOW)).await;
    assert_eq!(place(&serving), Place::Secret);
    let other = load(self::settings(), &cluster, NOW).await;
    assert_eq!(leaf(&other), leaf(&serving));
    assert_eq!(other.authority(), serving.authority());
}

#[tokio::test]
async fn without_a_secret_the_folder_keeps_the_certificate() {
    let cluster = Cluster::default();
    cluster.forbid(&[Method::GET, Method::POST], "/secrets");
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { folder: Some(folder.path().join("made")), ..settings() };
    let first = load(settings.clone(), &cluster, NOW).await;
    assert_eq!(place(&first), Place::Folder);
    let again = load(settings.clone(), &cluster, NOW).await;
    assert_eq!(leaf(&again), leaf(&first));
    let mut later = load(settings.clone(), &cluster, "2026-08-01").await;
    assert_eq!(leaf(&later), leaf(&first));
    later.tick(false, at("2026-10-01")).await;
    assert_ne!(leaf(&later), leaf(&first));
    assert_eq!(later.authority(), first.authority());
    let last = load(settings, &cluster, "2026-10-01").await;
    assert_eq!(leaf(&last), leaf(&later));
}

#[tokio::test]
async fn when_the_certificate_ends_is_told() {
    let metrics = Arc::<Metrics>::default();
    let mut serving = Serving::load(settings(), None, Arc::clone(&metrics), at(NOW)).await.unwrap();
    let assert_told = |serving: &Serving| {
        let leaf = Facts::read(&serving.resolver.default.load().cert[0]).unwrap();
        let name = "loadline_serving_certificate_expiration_timestamp_seconds";
        let line = format!("{name} {}\n", leaf.not_after.as_second());
        assert!(metrics.encode().contains(&line), "{line}: {}", metrics.encode());
        line
    };
    let first = assert_told(&serving);
    serving.tick(true, at("2026-10-01")).await;
    assert_ne!(assert_told(&serving), first);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_no_reason_to_end() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let settings = Settings { folder: Some(folder.path().join("file/folder")), ..settings() };
    let loaded = Serving::load(settings, None, Arc::default(), at(NOW)).await.unwrap();
    assert_eq!(place(&loaded), Place::Memory);
}

#[tokio::test]
async fn files_of_others_in_the_folder_are_served_and_watched() {
    for (certificate, key) in [("tls.crt", "tls.key"), ("apiserver.crt", "apiserver.key")] {
        let folder = tempfile::tempdir().unwrap();
        let write = |pair: &(String, String)| {
            std::fs::write(folder.path().join(certificate), &pair.0).unwrap();
            std::fs::write(folder.path().join(key), &pair.1).unwrap();
        };
        write(&self_signed(&["first"]));
        let settings = Settings { folder: Some(folder.path().to_owned()), ..settings() };
        let cluster = Cluster::default();
        let mut serving = load(settings, &cluster, NOW).await;
        assert_eq!(names(&serving), ["first"]);
        write(&self_signed(&["second"]));
        serving.tick(true, at(NOW)).await;
        assert_eq!(names(&serving), ["second"]);
        assert!(cluster.requests().is_empty());
    }
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_only_read() {
    let cluster = Cluster::default();
    let put = |names: &[&str]| {
        let (certificate, key) = self_signed(names);
        let data =
            json!({"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)});
        cluster.put(SECRET, json!({"metadata": {"name": "loadline-serving"}, "data": data}));
    };
    put(&["first"]);
    let mut serving = load(settings(), &cluster, NOW).await;
    assert_eq!(names(&serving), ["first"]);
    put(&["second"]);
    serving.tick(true, at("2030-01-01")).await;
    assert_eq!(names(&serving), ["second"]);
    let broken = json!({"tls.crt": "", "tls.key": STANDARD.encode("rubbish")});
    cluster.put(SECRET, json!({"metadata": {"name": "loadline-serving"}, "data": broken}));
    serving.tick(true, at("2030-01-01")).await;
    assert_eq!(names(&serving), ["second"]);
    let requests = cluster.requests();
    assert!(requests.iter().all(|line| line.starts_with("GET")), "{requests:?}");
}

#[tokio::test]
async fn an_empty_secret_is_filled() {
    let cluster = Cluster::default();
    let metadata = json!({"name": "loadline-serving", "labels": {"from": "a chart"}});
    cluster.put(SECRET, json!({"metadata": metadata}));
    cluster.forbid(&[Method::POST], "/secrets");
    let serving = load(settings(), &cluster, NOW).await;
    assert_eq!(place(&serving), Place::Secret);
    let secret = cluster.get(SECRET);
    assert_eq!(secret["metadata"]["labels"]["from"], "a chart");
    for name in [AUTHORITIES, AUTHORITY_KEY, "tls.crt", "tls.key"] {
        assert!(secret["data"][name].is_string(), "{name}");
    }
}

#[tokio::test]
async fn one_replica_renews_for_all() {
    let cluster = Cluster::default();
    let mut one = load(settings(), &cluster, NOW).await;
    let mut two = load(settings(), &cluster, NOW).await;
    let first = leaf(&one);
    let later = at("2026-10-01");
    one.tick(false, later).await;
    assert_eq!(leaf(&one), first, "the Secret decides");
    one.tick(true, later).await;
    assert_ne!(leaf(&one), first);
    two.tick(true, later).await;
    assert_eq!(leaf(&two), leaf(&one));
    assert_eq!(one.authority(), two.authority());
}

#[tokio::test]
async fn an_api_server_that_refuses_to_renew_leaves_the_certificate_until_its_last_days() {
    let cluster = Cluster::default();
    let mut serving = load(settings(), &cluster, NOW).await;
    let first = leaf(&serving);
    cluster.forbid(&[Method::PUT], "/secrets");
    serving.tick(true, at("2026-12-01")).await;
    assert_eq!(leaf(&serving), first);
    serving.tick(true, at("2026-12-31")).await;
    assert_ne!(leaf(&serving), first);
    let authority = serving.authority().to_owned();
    cluster.allow();
    serving.tick(true, at("2026-12-31")).await;
    assert_eq!(serving.authority(), authority);
    assert_eq!(place(&serving), Place::Secret);
}

#[tokio::test]
async fn the_registrations_of_our_service_trust_us() {
    let cluster = Cluster::default();
    register(&cluster, CUSTOM, "loadline");
    register(&cluster, "v1beta1.external.metrics.k8s.io", "keda");
    let settings = Settings { manage_apiservices: true, ..settings() };
    let mut serving = load(settings, &cluster, NOW).await;
    serving.tick(true, at(NOW)).await;
    assert_eq!(bundle(&cluster, CUSTOM), serving.authority());
    let spec = &cluster.get(&registration(CUSTOM))["spec"];
    assert!(spec.get("insecureSkipTLSVerify").is_none());
    assert_eq!(spec["versionPriority"], 100);
    assert_eq!(bundle(&cluster, "v1beta1.external.metrics.k8s.io"), "");
    cluster.requests();
    serving.tick(true, at(NOW)).await;
    let requests = cluster.requests();
    assert!(requests.iter().all(|line| line.starts_with("GET")), "{requests:?}");
    serving.tick(false, at(NOW)).await;
    assert!(cluster.requests().is_empty());
}

#[tokio::test]
async fn while_an_authority_is_rotated_both_are_trusted() {
    let cluster = Cluster::default();
    register(&cluster, CUSTOM, "loadline");
    let settings = Settings { manage_apiservices: true, ..settings() };
    let mut serving = load(settings, &cluster, "2026-01-01").await;
    serving.tick(true, at("2026-01-01")).await;
    let old = serving.authority().to_owned();
    serving.tick(true, at("2033-12-01")).await;
    let before = leaf(&serving);

    let now = at("2034-01-15");
    serving.tick(true, now).await;
    assert_eq!(leaf(&serving), before, "the new authority is not known yet");
    let both = bundle(&cluster, CUSTOM);
    assert_eq!(both, serving.authority());
    assert!(both.len() > old.len() && both.ends_with(&old));

    let known = now.checked_add(SignedDuration::from_hours(24)).unwrap();
    serving.tick(true, known).await;
    assert_ne!(leaf(&serving), before);
    assert_eq!(bundle(&cluster, CUSTOM), both);
}

#[tokio::test]
async fn replicas_that_share_nothing_are_all_trusted() {
    let cluster = Cluster::default();
    register(&cluster, CUSTOM, "loadline");
    let settings = Settings { manage_apiservices: true, secret: None, ..settings() };
    let mut one = load(settings.clone(), &cluster, NOW).await;
    let mut two = load(settings, &cluster, NOW).await;
    one.tick(true, at(NOW)).await;
    two.tick(true, at(NOW)).await;
    one.tick(true, at(NOW)).await;
    let both = bundle(&cluster, CUSTOM);
    assert_eq!(both, format!("{}{}", two.authority(), one.authority()));
}

#[tokio::test]
async fn without_a_cluster_it_is_left_alone() {
    let mut serving = Serving::load(settings(), None, Arc::default(), at(NOW)).await.unwrap();
    assert_eq!(place(&serving), Place::Memory);
    serving.tick(true, at("2026-10-01")).await;
    let own = Own::create(&["a".to_owned()], at(NOW)).unwrap();
    assert_ne!(serving.authority(), own.pair().authority);
}

#[tokio::test(start_paused = true)]
async fn keeping_looks_again_and_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let paths =
        Paths { certificate: folder.path().join("a.crt"), key: folder.path().join("a.key") };
    let write = |pair: &(String, String)| {
        std::fs::write(&paths.certificate, &pair.0).unwrap();
        std::fs::write(&paths.key, &pair.1).unwrap();
    };
    write(&self_signed(&["first"]));
    let settings = Settings { files: Some(paths.clone()), ..Settings::default() };
    let serving = Serving::load(settings, None, Arc::default(), Timestamp::now()).await.unwrap();
    let resolver = serving.resolver();
    let stop = CancellationToken::new();
    let kept = tokio::spawn(serving.keep(stop.clone()));
    write(&self_signed(&["second"]));
    let first = resolver.default.load_full();
    while Arc::ptr_eq(&first, &resolver.default.load_full()) {
        tokio::time::advance(INTERVAL).await;
        tokio::task::yield_now().await;
    }
    stop.cancel();
    kept.await.unwrap();
}
