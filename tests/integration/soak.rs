//! Two replicas on a real control plane, read by 2,000 autoscalers, while everything around them is restarted and replaced.
//! `scripts/soak` runs it, and `docs/soak.md` has its report.

mod report;

use std::{
    env,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::report::{Event, Report, Usage, growth};
use crate::{
    control_plane::set_up::{
        GAUGES, GROUP, Server, as_loadline, registrations, service, until_available,
    },
    support::{
        balancer::Balancer,
        control_plane::ControlPlane,
        exporter::{Exporter, Page},
        load::{Authority, Volume},
        readers::Readers,
        store::Store,
        until,
    },
};

const NAMESPACES: usize = 20;

/// In each namespace, each with an autoscaler.
const APPS: usize = 100;

/// Of each app.
const PODS: usize = 2;

/// From one read of an autoscaler to the next, as in the HPA controller's default.
const PERIOD: Duration = Duration::from_secs(15);

/// From the beginning of an event to that of the next.
const PACE: Duration = Duration::from_secs(30);

/// How long Prometheus is away.
const OUTAGE: Duration = Duration::from_secs(10);

/// What happens, in turns.
const EVENTS: &[&str] = &[
    "a new certificate",
    "other rules",
    "Prometheus is restarted",
    "a replica is replaced",
    "kube-apiserver is restarted",
    "a replica is killed",
];

/// Events in which a read may fail: kube-apiserver does not answer, or who would answer is killed.
const MAY_FAIL: &[&str] = &["kube-apiserver is restarted", "a replica is killed"];

fn namespace(of: usize) -> String {
    format!("team-{of:02}")
}

fn pods() -> impl Iterator<Item = (String, String, String)> {
    let of_app = |app: usize| (0..PODS).map(move |pod| (app, pod));
    let of_namespace =
        move |place| (0..APPS).flat_map(of_app).map(move |(app, pod)| (place, app, pod));
    (0..NAMESPACES).flat_map(of_namespace).map(|(place, app, pod)| {
        let app = format!("app-{app:03}");
        (namespace(place), format!("{app}-5d9c7b8f6d-{pod:05}"), app)
    })
}

fn object(api: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

async fn fill(plane: &ControlPlane) {
    let places = || (0..NAMESPACES).map(namespace);
    let path = "/api/v1/namespaces";
    plane
        .create(places().map(|name| (path.to_owned(), object("v1", "Namespace", "", &name))))
        .await;
    let accounts = places().map(|place| {
        (format!("{path}/{place}/serviceaccounts"), object("v1", "ServiceAccount", &place, "web"))
    });
    plane.create(accounts).await;
    let pods = pods().map(|(place, name, app)| {
        let mut pod = object("v1", "Pod", &place, &name);
        pod["metadata"]["labels"] = json!({"app": app});
        let container = json!({"name": "web", "image": "web"});
        pod["spec"] = json!({"serviceAccountName": "web", "containers": [container]});
        (format!("{path}/{place}/pods"), pod)
    });
    plane.create(pods).await;
}

fn page() -> Page {
    pods().fold(Page::new(), |page, (place, pod, _)| {
        page.series("queue_depth", &format!("namespace=\"{place}\",pod=\"{pod}\""), "1")
    })
}

/// The same rules, one of them in another place, so that a reload has something to do.
fn rules(version: usize) -> String {
    let more = r#"- seriesQuery: 'up{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
"#;
    if version.is_multiple_of(2) {
        return GAUGES.to_owned();
    }
    GAUGES.replacen("rules:\n", &format!("rules:\n{more}"), 1)
}

/// What is restarted and replaced. The first replica runs from the start to the end.
struct World {
    plane: Arc<ControlPlane>,
    _exporter: Exporter,
    url: String,
    /// Nothing only while it is stopped.
    prometheus: Option<Store>,
    account: PathBuf,
    authority: Authority,
    volume: Volume,
    balancer: Balancer,
    replicas: Vec<Server>,
    /// How many events there were.
    count: usize,
}

impl World {
    async fn start() -> Self {
        let plane = Arc::new(ControlPlane::start().await);
        fill(&plane).await;
        let exporter = Exporter::start(page()).await;
        let prometheus = Store::prometheus(&exporter).await;
        let account = as_loadline(&plane, &[]).await;
        let authority = Authority::new();
        let (certificate, key, _) = authority.leaf();
        let mut world = Self {
            account,
            _exporter: exporter,
            url: prometheus.url.clone(),
            prometheus: Some(prometheus),
            authority,
            volume: Volume::new(&certificate, &key),
            balancer: Balancer::start().await,
            replicas: Vec::new(),
            count: 0,
            plane,
        };
        for _ in 0..2 {
            let replica = world.replica().await;
            world.replicas.push(replica);
        }
        let port = world.balancer.port;
        world.plane.apply(&service(port)).await;
        world.plane.apply(&registrations(port, |_| {})).await;
        until_available(&world.plane).await;
        world
    }

    async fn replica(&self) -> Server {
        let file =
            |flag: &str, name: &str| format!("--{flag}={}", self.volume.file(name).display());
        let certificate = file("tls-cert-file", "tls.crt");
        let key = file("tls-private-key-file", "tls.key");
        let flags = [certificate.as_str(), key.as_str(), "--v=1"];
        let server = Server::start(&self.account, &self.url, &rules(self.count), 0, &flags).await;
        self.balancer.add(server.address()).await;
        server
    }

    /// Lets something happen, and waits until it is over.
    async fn happen(&mut self, what: &str) {
        self.count += 1;
        match what {
            "a new certificate" => {
                let (certificate, key, _) = self.authority.leaf();
                self.volume.put(&self.count.to_string(), &certificate, &key);
            }
            "other rules" => {
                for replica in &self.replicas {
                    replica.write_rules(&rules(self.count));
                }
            }
            "Prometheus is restarted" => {
                let stopped = self.prometheus.take().expect("it runs").stop().await;
                tokio::time::sleep(OUTAGE).await;
                self.prometheus = Some(stopped.start().await);
            }
            "a replica is replaced" => {
                let next = self.replica().await;
                let before = std::mem::replace(&mut self.replicas[1], next);
                let address = before.address();
                before.stop().await;
                self.balancer.remove(address);
            }
            "kube-apiserver is restarted" => self.plane.restart_server().await,
            "a replica is killed" => {
                let killed = self.replicas.remove(1);
                let address = killed.address();
                killed.process.signal("KILL");
                killed.process.end().await;
                self.balancer.remove(address);
                let next = self.replica().await;
                self.replicas.push(next);
            }
            _ => unreachable!("{what}"),
        }
    }
}

/// How long it runs.
fn length() -> Duration {
    let minutes = env::var("SOAK_MINUTES").unwrap_or_else(|_| "5".to_owned());
    let minutes: u64 = minutes.parse().expect("SOAK_MINUTES is a number");
    assert!(minutes > 0, "nothing happens in no time");
    Duration::from_secs(60 * minutes)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/soak runs it: it takes minutes, and needs KUBEBUILDER_ASSETS"]
async fn soak() {
    let length = length();
    let mut world = World::start().await;
    let path = |of: usize| {
        let (place, app) = (namespace(of / APPS), of % APPS);
        format!(
            "/apis/{GROUP}/v1beta2/namespaces/{place}/pods/*/queue_depth?labelSelector=app%3Dapp-{app:03}"
        )
    };
    let paths: Vec<_> = (0..NAMESPACES * APPS).map(path).collect();
    until("there is a value", async || world.plane.get(&paths[0]).await).await;
    let readers = Readers::start(&world.plane, paths, PODS, PERIOD);
    // Every autoscaler has read twice.
    tokio::time::sleep(2 * PERIOD).await;
    let (start, mut first) = (Instant::now(), Usage::of(&world.replicas[0]));
    let (mut events, mut peak) = (Vec::new(), first);
    while start.elapsed() < length {
        let what = EVENTS[events.len() % EVENTS.len()];
        let begun = Instant::now();
        world.happen(what).await;
        let event = Event { what, begun, ended: Instant::now() };
        events.push(event);
        tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
        let usage = Usage::of(&world.replicas[0]);
        peak = peak.max(usage);
        // Before the other one was replaced, kube-apiserver may not have read from it.
        if events.len() == EVENTS.len() {
            first = usage;
        }
        println!(
            "{:5} s  {what}: {} reads failed so far; the first replica has {usage}",
            start.elapsed().as_secs(),
            readers.failures().len()
        );
    }
    let last = Usage::of(&world.replicas[0]);
    let report = Report { start, reads: readers.reads(), events, first, peak, last };
    println!("\n{report}");
    let unexpected = report.failures_outside(MAY_FAIL);
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    let grown = growth(first.memory, last.memory);
    assert!(
        grown <= 5.0 || length < Duration::from_secs(30 * 60),
        "the memory of the first replica has grown by {grown:.1} %"
    );
}
