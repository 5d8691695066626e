//! Autoscalers with `minReplicas: 0`: to zero and back by a signal that is there without pods, and by nothing else.
//!
//! The controller synchronizes every 2 s, and loadline keeps results for 1 s and uses old ones for 3 s, where the defaults are
//! 15 s, 5 s and 30 s. An outage lasts until three synchronizations have got an error: a minute by the defaults.

mod gate;

use std::{sync::Arc, time::Instant};

use serde_json::{Value, json};

use self::gate::{Gate, Mode};
use super::{
    load::{Done, Load, Scaling, autoscaled, until_scaled},
    set_up::{Server, as_loadline, until_registered},
};
use crate::support::{
    control_plane::{ControlPlane, Kubelet, eventually},
    exporter::{Exporter, Page},
    kubectl::{kubectl, succeeds},
    store::Store,
    until,
};

/// The length of a queue, where no series means that nothing waits; the requests that wait at the gateway of a Service; and what
/// the consumers of the queue do themselves.
const RULES: &str = r#"rules:
- seriesQuery: 'gateway_requests_waiting{namespace!="",service!=""}'
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'jobs_done_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[5s])) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: jobs_waiting
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
  static: true
  onEmpty: zero
"#;

/// A queue consumer, by the queue and by what its pods do; and a service, by what waits for it.
const NAMES: [&str; 2] = ["worker", "web"];

/// What the autoscaler of each reads, whether it has pods or not.
const SIGNALS: [&str; 2] = ["jobs_waiting", "gateway_requests_waiting"];

/// A signal that calls for one pod.
const UP: f64 = 8.0;

/// Nothing tells of the signal, and no work is done.
const ABSENT: f64 = -0.0;

fn page(signal: f64, done: &Done) -> Page {
    let mut page = Page::new().series("up_since", "", "0");
    if signal.is_sign_positive() {
        let value = signal.to_string();
        page = page.series(SIGNALS[0], r#"namespace="ide",queue="jobs""#, &value);
        page = page.series(SIGNALS[1], r#"namespace="ide",service="web""#, &value);
    }
    let consumers = done.iter().filter(|(name, _)| name.starts_with("worker-"));
    consumers.fold(page, |page, (name, count)| {
        let labels = format!("namespace=\"ide\",pod=\"{name}\"");
        page.series("jobs_done_total", &labels, &count.to_string())
    })
}

fn manifests(name: &str) -> String {
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    let metric = if name == NAMES[0] {
        let selector = json!({"matchLabels": {"queue": "jobs"}});
        json!({"type": "External", "external": {
            "metric": {"name": SIGNALS[0], "selector": selector}, "target": target,
        }})
    } else {
        json!({"type": "Object", "object": {
            "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"},
            "metric": {"name": SIGNALS[1]}, "target": {"type": "Value", "value": "10"},
        }})
    };
    autoscaled(name, &json!([{"name": name, "image": name}]), &metric)
}

/// Everything that runs.
struct Stage {
    plane: ControlPlane,
    prometheus: Option<Store>,
    gate: Gate,
    server: Option<Server>,
    account: std::path::PathBuf,
    load: Load,
    started: Instant,
}

impl Stage {
    async fn start(plane: ControlPlane) -> (Self, Kubelet) {
        let started = Instant::now();
        let exporter = Arc::new(Exporter::start(Page::new().series("up_since", "", "0")).await);
        let prometheus = Store::prometheus(&exporter).await;
        let gate = Gate::start(&prometheus.url).await;
        let account = as_loadline(&plane, &[]).await;
        plane.create_namespace("ide").await;
        let load = Load::start(exporter, page);
        load.set(UP);
        let kubelet = Kubelet::start(&plane, "ide", load.pods());
        let prometheus = Some(prometheus);
        let mut stage = Self { plane, prometheus, gate, server: None, account, load, started };
        stage.start_server(0).await;
        let server = stage.server.as_ref().unwrap();
        until_registered(&stage.plane, server).await;
        (stage, kubelet)
    }

    async fn start_server(&mut self, port: u16) {
        let flags = ["--cache-ttl=1s", "--max-stale=3s"];
        let server = Server::start(&self.account, &self.gate.url, RULES, port, &flags).await;
        self.server = Some(server);
    }

    async fn restart_server(&mut self) {
        let server = self.server.take().unwrap();
        let port = server.port;
        server.stop().await;
        self.start_server(port).await;
    }

    fn tell(&self, what: &str) {
        println!("{:>5.1} s  {what}", self.started.elapsed().as_secs_f64());
    }

    /// How often each signal has been read, which is how often its autoscaler was synchronized since the server has started. Only
    /// those reads that were answered by `code`, where one is given.
    fn reads(&self, code: &str) -> [usize; 2] {
        let log = self.server.as_ref().unwrap().process.stderr();
        SIGNALS.map(|signal| {
            let is_read = |line: &&str| {
                line.contains("answered") && line.contains(signal) && line.contains(code)
            };
            log.lines().filter(is_read).count()
        })
    }

    async fn replicas(&self) -> [u64; 2] {
        let mut replicas = [0; 2];
        for (name, replicas) in NAMES.iter().zip(&mut replicas) {
            let path = format!("/apis/apps/v1/namespaces/ide/deployments/{name}/scale");
            let scale = self.plane.get(&path).await.unwrap();
            *replicas = scale["spec"]["replicas"].as_u64().unwrap_or_default();
        }
        replicas
    }

    /// Sees that both stay as they are for three synchronizations from now on.
    async fn stays(&self, wanted: [u64; 2], why: &str) {
        self.stays_through(wanted, "", why).await;
    }

    /// Sees that both stay as they are until three synchronizations have got an error.
    async fn stays_without_answers(&self, wanted: [u64; 2], why: &str) {
        self.stays_through(wanted, "code=500", why).await;
    }

    async fn stays_through(&self, wanted: [u64; 2], code: &str, why: &str) {
        let before = self.reads(code);
        eventually(&format!("three reads of each signal, {why}"), async || {
            assert_eq!(self.replicas().await, wanted, "{why}");
            let reads = self.reads(code);
            (0..2).all(|at| reads[at] >= before[at] + 3).then_some(())
        })
        .await;
        self.tell(&format!("{wanted:?} replicas: {why}"));
    }

    async fn until_replicas(&self, wanted: [u64; 2], why: &str) {
        eventually(&format!("{wanted:?} replicas, {why}"), async || {
            (self.replicas().await == wanted).then_some(())
        })
        .await;
        self.tell(&format!("{wanted:?} replicas: {why}"));
    }

    /// Waits until queries of both signals have this value.
    async fn until_seen(&self, signal: f64) {
        let prometheus = self.prometheus.as_ref().unwrap();
        until("Prometheus has the signals", async || {
            for name in SIGNALS {
                let found = prometheus.ask("query", &[("query", name)]).await?;
                let value = found["result"][0]["value"][1].as_str()?.parse::<f64>().ok()?;
                if value.total_cmp(&signal).is_ne() {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Raises the signal, and sees that both are woken within two synchronizations after Prometheus has it.
    async fn wakes(&self, why: &str) {
        self.load.set(UP);
        self.until_seen(UP).await;
        self.is_woken(why).await;
    }

    /// Sees that both are woken within two synchronizations.
    async fn is_woken(&self, why: &str) {
        let (before, begin) = (self.reads(""), Instant::now());
        let mut woken: [Option<usize>; 2] = [None; 2];
        eventually(&format!("both are woken, {why}"), async || {
            let replicas = self.replicas().await;
            let reads = self.reads("");
            for at in 0..2 {
                assert!(replicas[at] <= 1, "{}: {why}", NAMES[at]);
                if replicas[at] == 1 {
                    woken[at].get_or_insert(reads[at] - before[at]);
                }
            }
            woken.iter().all(Option::is_some).then_some(())
        })
        .await;
        self.tell(&format!("woken after {:?}, {woken:?} reads: {why}", begin.elapsed()));
        // A third one may have been answered before the test has looked.
        assert!(woken.iter().flatten().all(|reads| *reads <= 3), "{woken:?}: {why}");
        until_scaled(&self.plane, &NAMES, 1).await;
    }

    /// Lowers the signal, and waits until both are at zero by the hand of their autoscalers.
    async fn sleeps(&self) {
        self.load.set(0.0);
        self.until_replicas([0, 0], "nothing waits").await;
        for name in NAMES {
            eventually(&format!("{name} has no pod, and its autoscaler says so"), async || {
                let scaling = Scaling::of(&self.plane, "ide", name).await?;
                (scaling.wanted == 0 && scaling.ready == 0).then_some(())
            })
            .await;
        }
    }

    /// Replaces both Deployments by others of the same name.
    async fn replace(&self, change: impl Fn(&mut Value)) {
        for name in NAMES {
            succeeds(&self.plane.kubeconfig, &["delete", "deployment", "-n", "ide", name]).await;
            let written = manifests(name);
            let mut deployment: Value =
                serde_json::from_str(written.lines().next().unwrap()).unwrap();
            change(&mut deployment);
            self.plane.apply(&deployment.to_string()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd"]
async fn autoscalers_go_to_zero_and_are_woken_by_their_signal_alone() {
    let plane = ControlPlane::scaling_to_zero().await;
    if !plane.has_controllers() {
        return;
    }
    let (mut stage, _kubelet) = Stage::start(plane).await;
    for name in NAMES {
        stage.plane.apply(&manifests(name)).await;
        let path = format!("/apis/autoscaling/v2/namespaces/ide/horizontalpodautoscalers/{name}");
        let mut spec = json!({"minReplicas": 0});
        if name == NAMES[0] {
            // Its pods' own series end with them, and must not keep the queue from waking it.
            let written = stage.plane.get(&path).await.unwrap();
            let mut metrics = written["spec"]["metrics"].as_array().unwrap().clone();
            metrics.push(json!({"type": "Pods", "pods": {
                "metric": {"name": "jobs_done_per_second"},
                "target": {"type": "AverageValue", "averageValue": "100"},
            }}));
            spec["metrics"] = metrics.into();
        }
        stage.plane.patch(&path, &json!({ "spec": spec })).await;
    }
    until_scaled(&stage.plane, &NAMES, 1).await;

    // What is not known does not take pods away.
    stage.gate.set(Mode::Failing);
    stage.stays_without_answers([1, 1], "queries fail").await;
    stage.gate.set(Mode::Partial);
    stage.stays([1, 1], "answers are partial").await;
    stage.gate.set(Mode::Open);
    stage.load.set(ABSENT);
    // No series means 0 for the queue, by its rule, and nothing for the service.
    stage.until_replicas([0, 1], "a whole answer is empty").await;
    stage.load.set(UP);
    stage.until_replicas([1, 1], "the signal is back").await;
    until_scaled(&stage.plane, &NAMES, 1).await;

    stage.sleeps().await;
    stage.stays([0, 0], "nothing waits").await;
    stage.wakes("by the signal").await;

    stage.sleeps().await;
    stage.gate.set(Mode::Failing);
    stage.stays_without_answers([0, 0], "queries fail").await;
    stage.gate.set(Mode::Partial);
    stage.stays([0, 0], "answers are partial").await;
    stage.gate.set(Mode::Open);
    stage.load.set(ABSENT);
    stage.stays([0, 0], "answers are empty").await;
    stage.wakes("after errors and empty answers").await;

    stage.sleeps().await;
    stage.restart_server().await;
    stage.stays([0, 0], "loadline has been restarted").await;
    stage.wakes("after a restart of loadline").await;

    stage.sleeps().await;
    let stopped = stage.prometheus.take().unwrap().stop().await;
    // The signal comes while nobody can see it.
    stage.load.set(UP);
    stage.stays_without_answers([0, 0], "Prometheus is down").await;
    stage.restart_server().await;
    let why = "loadline has been restarted while Prometheus is down";
    stage.stays_without_answers([0, 0], why).await;
    stage.prometheus = Some(stopped.start().await);
    stage.until_seen(UP).await;
    // A server that has not seen a metric yet looks for it every 15 s.
    stage.until_replicas([1, 1], "Prometheus is back").await;
    until_scaled(&stage.plane, &NAMES, 1).await;

    stage.sleeps().await;
    stage.replace(|_| {}).await;
    stage.sleeps().await;
    stage.wakes("after the Deployments were replaced").await;
    stage.sleeps().await;
    // As a tool does that keeps what the autoscaler has made of it.
    stage.replace(|deployment| deployment["spec"]["replicas"] = 0.into()).await;
    stage.stays([0, 0], "replaced, without replicas").await;
    stage.wakes("after the Deployments were replaced at zero").await;

    stage.sleeps().await;
    a_fallback_wakes_and_is_told(&stage).await;
    stage.server.as_ref().unwrap().print_memory();
}

/// A rule with a fallback has one consumer in an outage, and its autoscaler has Events of the begin and the end.
async fn a_fallback_wakes_and_is_told(stage: &Stage) {
    let server = stage.server.as_ref().unwrap();
    server.write_rules(&format!("{RULES}  fallback: {{after: 2s, value: 10}}\n"));
    eventually("the rules are in use", async || {
        server.process.stderr().contains("the rules file has changed and is in use").then_some(())
    })
    .await;
    stage.gate.set(Mode::Failing);
    stage.until_replicas([1, 0], "the fallback of the queue").await;
    until_told(&stage.plane, "FallbackInUse").await;
    stage.gate.set(Mode::Open);
    until_told(&stage.plane, "FallbackEnded").await;
    stage.until_replicas([0, 0], "nothing waits").await;
}

async fn until_told(plane: &ControlPlane, reason: &str) {
    let find = ["events", "-n", "ide", "--for", "hpa/worker", "-o", "json"];
    eventually(&format!("an Event {reason}"), async || {
        let found = kubectl(&plane.kubeconfig, &find).await;
        let list: Value = serde_json::from_str(&found.stdout).ok()?;
        let of_reason = |event: &&Value| event["reason"] == reason;
        let told = list["items"].as_array()?.iter().filter(of_reason).count();
        assert!(told <= 2, "one for each minute in which it was seen: {list}");
        (told > 0).then_some(())
    })
    .await;
    let described = succeeds(&plane.kubeconfig, &["describe", "hpa", "-n", "ide", "worker"]).await;
    assert!(described.contains(reason), "{described}");
}
