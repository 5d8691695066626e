//! What loadline tells of itself, against what is made of it: alerts, dashboard, documentation, and a real Prometheus that
//! scrapes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use loadline::{
    registrations::Service,
    rules_file::{Requirements, Source},
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    manifests::monitoring::{
        alerts, guide_expressions, metrics_of, panel_expressions, write_rules,
    },
    support::{
        app::{App, Launch, Reply, custom},
        backend::{Answer, Backend, knows, pods},
        cluster::Kubernetes,
        store::Store,
        until,
    },
};

/// Metrics of others that alerts read: of kube-apiserver and of kube-state-metrics.
const OF_OTHERS: [&str; 6] = [
    "aggregator_unavailable_apiservice",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_spec_target_metric",
    "kube_horizontalpodautoscaler_status_condition",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_horizontalpodautoscaler_status_desired_replicas",
];

const RULES: &str = "
rules:
- {seriesQuery: '{__name__=~\"good|bad\"}', resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}', fallback: {after: 5m, value: 5}}
delegates:
- {name: other, url: 'http://127.0.0.1:1', api: external}
";

/// A server to which everything has happened that there are metrics of. One query has failed, and pods cannot be watched.
struct Stage {
    _cluster: Kubernetes,
    _backends: [Backend; 2],
    _folder: TempDir,
    app: App,
}

impl Stage {
    async fn new() -> Self {
        let cluster = Kubernetes::start(&[("pods", "n", "p", &[])], 10).await;
        cluster.refuse("watch", "pods", Some(403));
        let delegation = cluster.delegation();
        delegation.configure(&[]);
        for name in ["reader", "scraper"] {
            delegation.token(name, json!({"username": name}));
        }
        delegation.access(|spec| {
            let scrape = json!({"path": "/metrics", "verb": "get"});
            let is_scrape = spec["nonResourceAttributes"] == scrape;
            json!({"allowed": is_scrape == (spec["user"] == "scraper")})
        });
        let query = |asked: &crate::support::backend::Asked| {
            if asked.parameter("query").contains("bad") {
                return Answer::Raw(503, "text/plain", "down".to_owned());
            }
            Answer::Data(pods(&[("p", "1"), ("p", "2")]))
        };
        let backend = Backend::start(knows(&["good", "bad"], query)).await;
        // It is well: one that is not would be an alert.
        let standby = Backend::start(knows(&["good", "bad"], query)).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
        let read = Source::read(Some(folder.path()), None, Requirements::default(), Arc::default());
        let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
        launch.source = Some(read.unwrap());
        // The metrics of servers are those of backends that have several.
        launch.prometheus.add_fallback(&standby.url).unwrap();
        launch.guarded = true;
        let (namespace, name) = ("monitoring".to_owned(), "loadline".to_owned());
        launch.service = Some(Service { namespace, name });
        launch.planning.life.ttl = Duration::from_secs(600);
        let app = launch.start().await;
        let stage = Self { _cluster: cluster, _backends: [backend, standby], _folder: folder, app };
        let read = async |path: &str| stage.get("reader", &custom(path)).await.status;
        assert_eq!(read("namespaces/n/pods/*/good").await, 200);
        assert_eq!(read("namespaces/n/pods/*/bad").await, 500);
        assert_eq!(read("namespaces/n/pods/other/good").await, 404);
        until("the delegate is asked for its metrics", async || {
            stage.metrics().await.contains("loadline_delegate_list_successful{").then_some(())
        })
        .await;
        let read =
            stage.get("reader", "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/m").await;
        assert_eq!(read.status, 503, "{}", read.body);
        until("the watch is refused", async || {
            let unsynced = r#"loadline_watch_restarts_total{resource="pods"} 1"#;
            stage.metrics().await.contains(unsynced).then_some(())
        })
        .await;
        until("the files are told of", async || {
            let files = "loadline_config_file_last_reload_successful{";
            stage.metrics().await.contains(files).then_some(())
        })
        .await;
        until("the registrations are read", async || {
            stage.metrics().await.contains("loadline_apiservice_registered{").then_some(())
        })
        .await;
        stage
    }

    async fn get(&self, token: &str, path: &str) -> Reply {
        let token = format!("Bearer {token}");
        self.app.request(Method::GET, path, &[("authorization", &token)]).await
    }

    async fn metrics(&self) -> String {
        let reply = self.get("scraper", "/metrics").await;
        assert_eq!(reply.status, 200);
        reply.body
    }
}

/// A metric as it is exposed.
#[derive(Default)]
struct Exposed {
    kind: String,
    help: String,
    labels: Vec<String>,
    samples: BTreeSet<String>,
}

/// By name, without the suffixes of samples.
fn exposed(text: &str) -> BTreeMap<String, Exposed> {
    let mut all = BTreeMap::<String, Exposed>::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                (*name).clone_into(&mut current);
                help.trim_end_matches('.')
                    .clone_into(&mut all.entry(current.clone()).or_default().help);
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(*name, current);
                (*kind).clone_into(&mut all.entry(current.clone()).or_default().kind);
            }
            _ => {
                let metric = all.get_mut(&current).expect("its description");
                let (series, _) = line.rsplit_once(' ').expect("a value");
                let (sample, labels) = series.split_once('{').unwrap_or((series, ""));
                metric.samples.insert(sample.to_owned());
                // No value of these tests has a comma in it.
                for label in
                    labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty())
                {
                    let (label, _) = label.split_once('=').expect("a label");
                    if label != "le" && !metric.labels.iter().any(|known| known == label) {
                        metric.labels.push(label.to_owned());
                    }
                }
            }
        }
    }
    all
}

/// Nothing is asked for that is not there, and nothing is there that nobody has described.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_dashboard_and_guide_are_about_what_is_exposed() {
    let stage = Stage::new().await;
    let exposed = exposed(&stage.metrics().await);

    let mut known: BTreeSet<_> =
        exposed.values().flat_map(|metric| &metric.samples).cloned().collect();
    known.extend(OF_OTHERS.map(str::to_owned));
    let alerts = alerts();
    let alerts = alerts.iter().map(|alert| alert["expr"].as_str().expect("text").to_owned());
    let mut read = BTreeSet::new();
    for expression in alerts.chain(panel_expressions()).chain(guide_expressions()) {
        let names = metrics_of(&expression);
        let unknown: Vec<_> = names.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expression}");
        read.extend(names);
    }
    for other in OF_OTHERS {
        assert!(read.contains(other), "{other} is in no alert");
    }
    for (name, metric) in &exposed {
        assert!(!metric.samples.is_disjoint(&read), "{name} is in no alert and on no panel");
    }

    let rows = exposed.iter().map(|(name, metric)| {
        let suffix = match metric.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!(
            "| `{name}{suffix}` | {} | {} | {} |\n",
            metric.kind,
            labels.join(", "),
            metric.help
        )
    });
    let table: String = rows.collect();
    let guide = include_str!("../../docs/monitoring.md");
    assert!(
        guide.contains(&format!("| --- | --- | --- | --- |\n{table}\n")),
        "the table is:\n{table}"
    );
}

/// With the settings of the `ServiceMonitor`: TLS that is verified, and the token of somebody who may.
#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_scrapes_it_and_evaluates_alerts_and_dashboard() {
    let stage = Stage::new().await;
    let config = format!(
        "
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yaml]
scrape_configs:
- job_name: loadline
  scheme: https
  authorization: {{credentials_file: token}}
  tls_config: {{ca_file: ca.crt, server_name: loadline}}
  static_configs: [{{targets: ['{}'], labels: {{namespace: monitoring, pod: a}}}}]
",
        stage.app.address
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_rules(folder.path());
    let rules = std::fs::read_to_string(folder.path().join("rules.yaml")).expect("the rules");
    let files = [
        ("rules.yaml", rules.as_str()),
        ("token", "scraper"),
        ("ca.crt", &stage.app.authority_pem),
    ];
    let prometheus = Store::configured(&config, &files).await;
    prometheus.until("sum_over_time(up{*}[1m]) > 2").await;

    let judged = until("all alerts are evaluated", async || {
        let groups = prometheus.ask("rules", &[]).await?["groups"].take();
        let rules = groups[0]["rules"].as_array()?.clone();
        let is_judged = |rule: &Value| rule["health"] != "unknown";
        rules.iter().all(is_judged).then_some(rules)
    })
    .await;
    assert_eq!(judged.len(), alerts().len());
    for rule in &judged {
        let is_true =
            rule["name"] == "LoadlineWatchNotSynced" || rule["name"] == "LoadlineDelegateAway";
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_eq!(rule["state"], if is_true { "pending" } else { "inactive" }, "{rule}");
    }
    for expression in panel_expressions() {
        let query = expression
            .replace("$namespace", "monitoring")
            .replace("$job", "loadline")
            .replace("$instance", ".*")
            .replace("$__rate_interval", "1m");
        let data = prometheus.ask("query", &[("query", &query)]).await;
        let samples = data.as_ref().and_then(|data| data["result"].as_array());
        assert!(samples.is_some_and(|samples| !samples.is_empty()), "{query}: {data:?}");
    }
    stage.app.stop().await;
}

/// Reads of three metrics, one query at a time, and none is answered: the last does not even have its turn.
#[tokio::test(flavor = "multi_thread")]
async fn queries_that_had_no_turn_are_counted() {
    let backend = Backend::start(knows(&["a", "b", "c"], |_| Answer::Hang)).await;
    let rules = RULES.replace("good|bad", "a|b|c");
    let mut launch = Launch::new(&rules, &backend.url);
    launch.prometheus.concurrency = 1;
    launch.prometheus.query_timeout = Duration::from_millis(200);
    let app = launch.start().await;
    let read =
        async |metric: &str| app.get(&custom(&format!("namespaces/n/pods/p/{metric}"))).await;
    let replies = futures::join!(read("a"), read("b"), read("c"));
    for reply in [replies.0, replies.1, replies.2] {
        assert_eq!(reply.status, 500, "{reply:?}");
    }
    let metrics = app.get("/metrics").await.body;
    let outcome = |word: &str| {
        let labels = r#"backend="--prometheus-url",path="/api/v1/query",outcome="#;
        metrics.contains(&format!("loadline_prometheus_requests_total{{{labels}\"{word}\"}}"))
    };
    assert!(outcome("timeout") && outcome("busy"), "{metrics}");
    app.stop().await;
}
