//! `loadline check --live`: each fault is planted in a scripted cluster or at a backend, and has to be the one that is found.

mod credentials;

use std::{fs, process::Stdio, time::Duration};

use loadline::auth::access::Ttls;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    app::{App, Launch},
    backend::{Answer, Asked, Backend, knows},
    cluster::{Kubernetes, Stored},
    exporter::{Exporter, Page},
    process::loadline,
    store::Store,
    until,
};

const CONTROLLER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

const ACCOUNT: &str = "system:serviceaccount:monitoring:adapter";

/// Two versions of a custom API and one of an external one.
const REGISTRATIONS: [&str; 3] = [
    "v1beta1.custom.metrics.k8s.io",
    "v1beta2.custom.metrics.k8s.io",
    "v1beta1.external.metrics.k8s.io",
];

/// Rules that give what the page has, with what is added.
fn rules(more: &str) -> String {
    format!(
        "\
rules:
- seriesQuery: 'sessions{{pod!=\"\"}}'
  resources: &both {{overrides: {{pod: {{resource: pod}}, namespace: {{resource: namespace}}}}}}
  metricsQuery: sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: jobs
  resources: {{namespaced: false}}
  metricsQuery: <<.Series>>{{<<.LabelMatchers>>}}
{more}"
    )
}

fn page() -> Page {
    Page::new()
        .series("sessions", r#"namespace="ide",pod="web-0""#, "2.5")
        .series("jobs", r#"queue="a""#, "7")
        .series("unlabelled", r#"place="here""#, "1")
        .series("endless", r#"namespace="ide",pod="web-0""#, "NaN")
        .series("wait_bucket", r#"namespace="ide",pod="web-0",le="+Inf""#, "1")
}

/// A cluster with loadline in it, and the Prometheus of that.
struct Stage {
    cluster: Kubernetes,
    prometheus: Store,
    rules: String,
    folder: TempDir,
    app: App,
    _exporter: Exporter,
}

impl Stage {
    async fn new(rules: String) -> Self {
        let exporter = Exporter::start(page()).await;
        let prometheus = Store::prometheus(&exporter).await;
        let cluster = Kubernetes::start(&[], 500).await;
        let service = json!({"spec": {"selector": {"app": "loadline"}}});
        cluster.apply(Stored::new("services", "monitoring", "loadline", &[]).with(service));
        let pod = json!({"spec": {"serviceAccountName": "adapter"}});
        let labels = [("app", "loadline")];
        cluster.apply(Stored::new("pods", "monitoring", "loadline-0", &labels).with(pod));
        cluster.apply(Stored::new("pods", "ide", "web-0", &[("app", "web")]));
        let workload =
            json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}});
        cluster.apply(Stored::new("deployments", "ide", "web", &[]).with(workload));
        let delegation = cluster.delegation();
        delegation.configure(&[]);
        delegation.token("cluster-token", json!({"username": "cli"}));
        let mut launch = Launch::new(&rules, &prometheus.url).cluster(&cluster);
        launch.guarded = true;
        launch.access_ttls = Ttls { authorized: Duration::ZERO, unauthorized: Duration::ZERO };
        let app = launch.start().await;
        until("the server is ready", async || {
            (app.get("/readyz").await.status == 200).then_some(())
        })
        .await;
        for group in ["custom.metrics.k8s.io", "external.metrics.k8s.io"] {
            cluster.aggregate(group, app.client.clone(), app.url(""));
        }
        for name in REGISTRATIONS {
            cluster.register(name, "monitoring", "loadline");
            cluster.judge(name, "True", "all checks passed");
        }
        let folder = tempfile::tempdir().unwrap();
        Self { cluster, prometheus, rules, folder, app, _exporter: exporter }
    }

    fn autoscaler(&self, name: &str, metric: &Value) {
        let hpa = json!({
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1, "maxReplicas": 5, "metrics": [metric]},
            "status": {"currentReplicas": 1, "desiredReplicas": 1, "currentMetrics": null, "conditions": []},
        });
        let stored = Stored::new("horizontalpodautoscalers", "ide", name, &[]);
        self.cluster.apply(stored.with(hpa));
    }

    /// How the server is started in its pod, with another rules file.
    fn server(&self, rules: &str) -> Vec<String> {
        let file = self.folder.path().join("config.yaml");
        fs::write(&file, rules).unwrap();
        vec![
            "serve".to_owned(),
            format!("--config={}", file.display()),
            format!("--prometheus-url={}", self.prometheus.url),
            // A flag that only the server has a use for.
            "--secure-port=6443".to_owned(),
        ]
    }

    /// What is said with the arguments of the server, or without.
    async fn run(&self, arguments: &[&str], server: &[String]) -> (Option<i32>, String, String) {
        let kubeconfig = self.cluster.kubeconfig.display().to_string();
        let mut command = loadline(&["check", "--live"]);
        if !arguments.contains(&"--kubeconfig") {
            command.args(["--kubeconfig", &kubeconfig]);
        }
        command.args(arguments).stdin(Stdio::null());
        if !server.is_empty() {
            command.arg("--").args(server);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    async fn found(&self, arguments: &[&str], server: &[String]) -> Found {
        let (code, stdout, stderr) = self.run(&[&["-o=json"], arguments].concat(), server).await;
        let records = serde_json::from_str(&stdout);
        Found { code, records: records.unwrap_or_else(|error| panic!("{error}: {stderr}")) }
    }

    async fn check(&self) -> Found {
        self.found(&[], &self.server(&self.rules)).await
    }
}

#[derive(Debug)]
struct Found {
    code: Option<i32>,
    records: Vec<Value>,
}

impl Found {
    /// Path, severity and code of what is not well.
    fn faults(&self) -> Vec<[&str; 3]> {
        let all = self.records.iter().map(|record| {
            ["path", "severity", "code"].map(|key| record[key].as_str().expect("a text"))
        });
        all.filter(|[_, severity, _]| *severity != "info").collect()
    }

    #[track_caller]
    fn is(&self, code: i32, faults: &[[&str; 3]]) {
        assert_eq!(self.faults(), faults, "{self:#?}");
        assert_eq!(self.code, Some(code), "{self:#?}");
    }

    /// The message about something.
    #[track_caller]
    fn message(&self, path: &str) -> &str {
        let record = self.records.iter().find(|record| record["path"] == path);
        record.unwrap_or_else(|| panic!("{path}: {self:#?}"))["message"].as_str().unwrap()
    }
}

fn of_pods(metric: &str) -> Value {
    json!({"type": "Pods", "pods": {"metric": {"name": metric},
        "target": {"type": "AverageValue", "averageValue": "1"}}})
}

fn of_queue(metric: &str) -> Value {
    json!({"type": "External", "external": {"metric": {"name": metric},
        "target": {"type": "AverageValue", "averageValue": "1"}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_is_told_with_its_values() {
    let stage = Stage::new(rules("")).await;
    stage.autoscaler("web", &of_pods("sessions"));
    stage.autoscaler("queue", &of_queue("jobs"));
    let found = stage.check().await;
    found.is(0, &[]);
    for name in REGISTRATIONS {
        let message = found.message(&format!("apiservice/{name}"));
        assert!(
            message.contains("monitoring/loadline") && message.contains("available"),
            "{message}"
        );
    }
    assert!(found.message("access/hpa-controller").contains("pods/sessions"));
    assert!(found.message("access/server").contains(ACCOUNT));
    let product = found.message("backend/--prometheus-url");
    assert!(product.contains("Prometheus 2") || product.contains("Prometheus 3"), "{product}");
    assert_eq!(found.message("rules[0]"), "pods/sessions is 2500m for web-0 in ide");
    let external = found.message("externalRules[0]");
    assert!(external.starts_with("jobs is 7 for ") && external.contains("queue=a"), "{external}");
    assert!(found.message("hpa").contains("2 of 2"));
    let of_rule = found.records.iter().find(|record| record["rule"] == "rules[0]").unwrap();
    assert_eq!(of_rule["line"], 2, "{of_rule}");
    assert!(of_rule["file"].as_str().unwrap().ends_with("config.yaml"), "{of_rule}");

    // People are told the same.
    let (code, stdout, stderr) = stage.run(&[], &stage.server(&stage.rules)).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let sections: Vec<_> = stdout.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(sections, ["apiservice", "access", "backend", "rule", "hpa"], "{stdout}");
    assert!(stdout.contains("  ✓ rules[0]: pods/sessions is 2500m"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_kubeconfig_alone_the_server_is_asked() {
    let stage = Stage::new(rules("")).await;
    stage.autoscaler("web", &of_pods("sessions"));
    let found = stage.found(&[], &[]).await;
    found.is(0, &[]);
    for path in ["backend", "rule"] {
        let record = found.records.iter().find(|record| record["path"] == path).unwrap();
        assert_eq!(record["code"], "not-checked", "{record}");
    }
    stage.autoscaler("away", &of_pods("missing"));
    let faults = [["hpa/ide/away", "error", "unknown-metric"]];
    stage.found(&[], &[]).await.is(1, &faults);
    stage.found(&["-n", "other"], &[]).await.is(0, &[]);
    let (_, github, _) = stage.run(&["-o=github"], &[]).await;
    assert!(github.contains("::error title=unknown-metric::hpa/ide/away: "), "{github}");
    let noted = github.lines().filter(|line| line.starts_with("::notice"));
    assert_eq!(noted.count(), 0, "{github}");

    // The external API of another server is its own affair.
    stage.cluster.register(REGISTRATIONS[2], "keda", "keda-operator-metrics-apiserver");
    let nobody = stage.app.url("/nobody");
    stage.cluster.aggregate("external.metrics.k8s.io", stage.app.client.clone(), nobody);
    stage.autoscaler("away", &of_queue("of_keda"));
    stage.found(&[], &[]).await.is(0, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_registrations_and_rights_is_found() {
    let stage = Stage::new(rules("")).await;
    let [old, new, external] = REGISTRATIONS;
    stage.autoscaler("web", &of_pods("sessions"));

    for (message, code) in [
        ("dial tcp 10.0.0.1:6443: connect: connection refused", "apiservice-unavailable"),
        ("x509: certificate signed by unknown authority", "apiservice-ca"),
    ] {
        stage.cluster.judge(external, "False", message);
        let path = format!("apiservice/{external}");
        stage.check().await.is(1, &[[&path, "error", code]]);
    }
    stage.cluster.judge(external, "True", "all checks passed");

    stage.cluster.register(external, "keda", "keda-operator-metrics-apiserver");
    let path = format!("apiservice/{external}");
    stage.check().await.is(1, &[[&path, "error", "apiservice-other-owner"]]);
    stage.cluster.unregister(external);
    stage.check().await.is(1, &[[&path, "error", "apiservice-missing"]]);
    stage.cluster.register(external, "monitoring", "loadline");

    // One version of two that is sent elsewhere; and nothing at all.
    stage.cluster.register(old, "monitoring", "prometheus-adapter");
    let path = format!("apiservice/{old}");
    stage.check().await.is(1, &[[&path, "error", "apiservice-other-owner"]]);
    for name in REGISTRATIONS {
        stage.cluster.unregister(name);
    }
    let path = format!("apiservice/{new}");
    let found = stage.found(&[], &[]).await;
    found.is(
        1,
        &[[&path, "error", "apiservice-missing"], ["hpa/ide/web", "error", "apiservice-missing"]],
    );
    for name in REGISTRATIONS {
        stage.cluster.register(name, "monitoring", "loadline");
    }

    let delegation = stage.cluster.delegation();
    delegation.access(|spec| json!({"allowed": spec["user"] != CONTROLLER}));
    stage.check().await.is(
        1,
        &[
            ["access/hpa-controller", "error", "not-authorized"],
            ["hpa/ide/web", "error", "not-authorized"],
        ],
    );
    delegation.access(|spec| {
        json!({"allowed": spec["user"] != ACCOUNT || spec["resourceAttributes"]["verb"] != "list"})
    });
    let warning = ["access/server", "warning", "server-not-authorized"];
    let error = ["access/server", "error", "server-not-authorized"];
    stage.check().await.is(1, &[error, warning]);
    delegation.access(|spec| {
        json!({"allowed": spec["user"] != ACCOUNT || spec["resourceAttributes"]["verb"] != "watch"})
    });
    stage.check().await.is(0, &[warning]);
    let server = stage.server(&stage.rules);
    stage.found(&["--strict"], &server).await.is(1, &[warning]);

    // Rules in ConfigMaps need rights of their own.
    delegation.access(|spec| {
        let attributes = &spec["resourceAttributes"];
        let is_refused =
            attributes["resource"] == "configmaps" && attributes["namespace"] == "shop";
        json!({"allowed": spec["user"] != ACCOUNT || !is_refused})
    });
    stage.found(&[], &server).await.is(0, &[]);
    let flags = ["--config-selector=a=b", "--config-namespaces=shop,bank"].map(str::to_owned);
    let found = stage.found(&[], &[server, flags.to_vec()].concat()).await;
    found.is(1, &[error, error]);
    assert!(
        found.message("access/server").contains("may not list configmaps in shop"),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_backends_and_rules_is_found() {
    let page =
        Backend::start(|_| Answer::Raw(200, "text/html", "<html>sign in</html>".to_owned())).await;
    let stage = Stage::new(rules("")).await;
    let at = |backend: &str, url: &str| {
        let rule = format!(
            "- {{seriesQuery: '{backend}{{a!=\"\"}}', prometheus: {backend}, resources: {{namespaced: false}}, metricsQuery: '<<.Series>>{{<<.LabelMatchers>>}}'}}\n"
        );
        (rule, format!("- {{name: {backend}, url: \"{url}\"}}\n"))
    };
    let (gone, of_gone) = at("gone", "http://127.0.0.1:1/?token=hunter2");
    let (sign, of_sign) = at("page", &page.url);
    let file = rules(&format!("{gone}{sign}backends:\n{of_gone}{of_sign}"));
    let found = stage.found(&[], &stage.server(&file)).await;
    found.is(
        1,
        &[
            ["backend/gone", "error", "backend-unreachable"],
            ["backend/page", "error", "backend-not-prometheus"],
            ["externalRules[1]", "warning", "not-checked"],
            ["externalRules[2]", "warning", "not-checked"],
        ],
    );
    let shown = format!("{found:?}");
    assert!(!shown.contains("hunter") && !shown.contains("sign in"), "{shown}");
    let mut server = stage.server(&stage.rules);
    server.push("--prometheus-url=http://user:hunter2@127.0.0.1:1/?token=hunter3".to_owned());
    let found = stage.found(&[], &server).await;
    found.is(
        1,
        &[
            ["backend/--prometheus-url", "error", "backend-unreachable"],
            ["rules[0]", "warning", "not-checked"],
            ["externalRules[0]", "warning", "not-checked"],
        ],
    );
    let shown = format!("{found:?}");
    assert!(!shown.contains("hunter") && !shown.contains("user"), "{shown}");

    let custom = |series: &str, more: &str| {
        format!(
            "- {{seriesQuery: '{series}', resources: *both, metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'{more}}}\n"
        )
    };
    let all = [
        custom("absent{pod!=\"\"}", ""),
        custom("unlabelled", ""),
        custom("sessions", ", name: {matches: \"^x\"}"),
        custom("endless{pod!=\"\"}", ""),
        "- {seriesQuery: 'sessions{namespace!=\"\"}', resources: *both, name: {as: away}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (namespace)'}\n".to_owned(),
        "- {seriesQuery: 'sessions{pod!=\"\"}', resources: *both, name: {as: refused}, metricsQuery: 'no_function(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}\n".to_owned(),
        "- {seriesQuery: 'wait_bucket{pod!=\"\"}', resources: *both, metricsQuery: 'histogram_quantile(0.9, sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>))'}\n".to_owned(),
    ];
    let file = rules("").replace("externalRules:", &format!("{}externalRules:", all.concat()));
    let found = stage.found(&[], &stage.server(&file)).await;
    let of_installation: Vec<_> =
        found.faults().into_iter().filter(|[path, ..]| path.ends_with(']')).collect();
    assert_eq!(
        of_installation,
        [
            ["rules[1]", "warning", "series-absent"],
            ["rules[2]", "warning", "label-missing"],
            ["rules[3]", "warning", "name-does-not-match"],
            ["rules[4]", "warning", "nan"],
            ["rules[5]", "warning", "aggregated-away"],
            ["rules[6]", "error", "query-error"],
            ["rules[7]", "warning", "histogram-without-le"],
        ],
        "{found:#?}"
    );
    assert_eq!(found.code, Some(1));
    // What Prometheus says, and what it was asked.
    let refused = found.message("rules[6]");
    assert!(
        refused.contains("unknown function") && refused.contains("no_function(sessions"),
        "{refused}"
    );
}

/// An aggregation of floats leaves them out, and says so; without one they are there.
#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_are_no_values() {
    const RULES: &str = "\
rules:
- seriesQuery: 'wait{pod!=\"\"}'
  resources: {overrides: {pod: {resource: pod}, namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: wait
  resources: {namespaced: false}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>}
- seriesQuery: mixed
  seriesFilters: [{is: mixed}]
  resources: {namespaced: false}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>}
";
    let answer = |asked: &Asked| {
        let other = json!({"metric": {"pod": "web-1"}, "value": [1_790_000_000, "3"]});
        let is_mixed = asked.parameter("query").contains("mixed");
        if asked.parameter("query").contains("topk") {
            let rows = if is_mixed { json!([other]) } else { json!([]) };
            let body = json!({
                "status": "success", "data": {"resultType": "vector", "result": rows},
                "infos": ["PromQL info: ignored histogram in topk aggregation"],
            });
            return Answer::Raw(200, "application/json", body.to_string());
        }
        let histogram = json!([1_790_000_000, {"count": "1", "sum": "1", "buckets": []}]);
        let row = json!({"metric": {"pod": "web-0"}, "histogram": histogram});
        let rows = if is_mixed { json!([row, other]) } else { json!([row]) };
        Answer::Data(json!({"resultType": "vector", "result": rows}))
    };
    let backend = Backend::start(knows(&["wait", "mixed"], answer)).await;
    let stage = Stage::new(rules("")).await;
    let mut server = stage.server(RULES);
    server.push(format!("--prometheus-url={}", backend.url));
    let found = stage.found(&[], &server).await;
    let of_rules: Vec<_> =
        found.faults().into_iter().filter(|[path, ..]| path.ends_with(']')).collect();
    let histogram = |rule| [rule, "warning", "histogram-sample"];
    let wanted = ["rules[0]", "rules[0]", "externalRules[0]", "externalRules[1]"].map(histogram);
    assert_eq!(of_rules, wanted, "{found:#?}");
}

/// One that stands by answers nobody, and nothing else would tell before it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn each_server_of_a_backend_is_asked() {
    let stage = Stage::new(rules("")).await;
    let mut server = stage.server(&stage.rules);
    server.push("--prometheus-fallback-url=http://user:hunter2@127.0.0.1:1".to_owned());
    let found = stage.found(&[], &server).await;
    found.is(1, &[["backend/--prometheus-fallback-url", "error", "backend-unreachable"]]);
    assert!(found.message("backend/--prometheus-url").starts_with("answers: Prometheus"));
    assert!(!format!("{found:?}").contains("hunter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_victoria_metrics_is_known() {
    let stage = Stage::new(rules("")).await;
    let exporter = Exporter::start(page()).await;
    let store = Store::victoria_metrics(&exporter).await;
    let mut server = stage.server(&stage.rules);
    server.push(format!("--prometheus-url={}", store.url));
    let found = stage.found(&[], &server).await;
    assert_eq!(found.message("backend/--prometheus-url"), "answers: VictoriaMetrics");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_told_by_the_exit_code() {
    let stage = Stage::new(rules("")).await;
    let nobody = stage.folder.path().join("nobody");
    let text = fs::read_to_string(&stage.cluster.kubeconfig).unwrap();
    fs::write(&nobody, text.replace(&stage.cluster.url, "http://127.0.0.1:1")).unwrap();
    let nobody = nobody.display().to_string();
    for (arguments, server, said) in [
        (&["--kubeconfig", &nobody][..], &[][..], "the cluster does not answer"),
        (&["--kubeconfig", "/nonexistent"], &[], "/nonexistent"),
        (&[], &["--config=/nonexistent"], "/nonexistent"),
        (&[], &["--prometheus-url=http://x"], "--config is required"),
        (&[], &["--config=x", "--nonsense"], "--nonsense"),
        (&[], &["--config=/dev/null", "--prometheus-ca-file=/nonexistent"], "--prometheus-ca-file"),
    ] {
        let server: Vec<_> = server.iter().map(|it| (*it).to_owned()).collect();
        let (code, stdout, stderr) = stage.run(arguments, &server).await;
        assert!(
            code == Some(2) && stderr.contains(said),
            "{arguments:?} {server:?}: {code:?} {stdout}{stderr}"
        );
    }
    // What was not reached in time is no success.
    stage.autoscaler("web", &of_pods("sessions"));
    // The server knows the pods by now.
    stage.found(&[], &[]).await.is(0, &[]);
    stage.cluster.hold(true);
    let found = stage.found(&["--timeout=1s"], &[]).await;
    assert_eq!(found.faults(), [["hpa", "warning", "not-checked"]], "{found:#?}");
    stage.cluster.hold(false);
    // Whoever may not ask for explanations is told so once, and it is not the installation's fault.
    stage.autoscaler("more", &of_pods("sessions"));
    let delegation = stage.cluster.delegation();
    delegation.access(
        |spec| json!({"allowed": spec["resourceAttributes"]["resource"] != "explanations"}),
    );
    let found = stage.found(&[], &[]).await;
    let refusals = found.faults();
    assert_eq!(refusals, [["hpa", "warning", "not-authorized-me"]], "{found:#?}");
}
