//! What Prometheus and Grafana are given: who may scrape and how, the alerts with their tests, the dashboard.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use promql_parser::{
    parser::{Expr, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use serde_json::{Value, json};

use super::{Documents, file, list, name, text, yaml};

/// The files that the chart has, too, because Helm reads nothing outside its own folder, and kustomize neither.
const COPIED: [&str; 2] = ["loadline.json", "prometheus-rule.yaml"];

#[test]
fn the_chart_has_the_same_files() {
    for name in COPIED {
        let read = |folder: &str| fs::read(file(folder).join(name)).expect("the file");
        let is_same = read("deploy/monitoring") == read("deploy/helm/loadline/files/monitoring");
        assert!(is_same, "cp deploy/monitoring/{name} deploy/helm/loadline/files/monitoring/");
    }
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_rules(folder.path());
    promtool(&["check", "rules", "rules.yaml"], folder.path());
    let mut arguments = vec!["test".to_owned(), "rules".to_owned()];
    fs::create_dir(folder.path().join("tests")).expect("a new folder");
    for test in tests() {
        let name = format!("tests/{}", test.file_name().expect("a name").to_string_lossy());
        fs::copy(test, folder.path().join(&name)).expect("a copy");
        arguments.push(name);
    }
    promtool(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), folder.path());
}

#[test]
fn every_alert_has_tests_and_says_what_to_do() {
    let mut tested = BTreeMap::<String, BTreeSet<bool>>::new();
    for test in tests() {
        let tests = yaml(test.to_str().expect("text"));
        for check in list(&tests["tests"]).flat_map(|test| list(&test["alert_rule_test"])) {
            let fires = list(&check["exp_alerts"]).next().is_some();
            tested.entry(text(&check["alertname"]).to_owned()).or_default().insert(fires);
        }
    }
    let guide = fs::read_to_string(file("docs/monitoring.md")).expect("the guide");
    let headings: BTreeSet<_> =
        guide.lines().filter_map(|line| line.strip_prefix("### Loadline")).collect();
    let alerts = alerts();
    for alert in &alerts {
        let name = text(&alert["alert"]);
        assert_eq!(tested.remove(name), Some([false, true].into()), "{name}: its tests");
        assert!(headings.contains(name.trim_start_matches("Loadline")), "{name}: its runbook");
        let annotations = &alert["annotations"];
        let runbook = format!("docs/monitoring.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook"], runbook.as_str());
        for annotation in ["summary", "description"] {
            assert!(text(&annotations[annotation]).ends_with('.'), "{name}: {annotation}");
        }
        let severity = text(&alert["labels"]["severity"]);
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        assert!(alert["for"].is_string(), "{name} fires at once");
    }
    assert_eq!(headings.len(), alerts.len(), "{headings:?}");
    assert!(tested.is_empty(), "tests of no alert: {tested:?}");
}

#[test]
fn the_dashboard_is_one_that_grafana_shows() {
    let dashboard = dashboard();
    let variables: BTreeSet<_> =
        list(&dashboard["templating"]["list"]).map(|variable| text(&variable["name"])).collect();
    assert_eq!(variables, ["datasource", "instance", "job", "namespace"].into());
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(!title.is_empty() && ids.insert(panel["id"].as_u64()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(place("x") + place("w") <= 24, "{title} is too wide");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} is over another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"], source, "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: no unit");
        let targets: Vec<_> = list(&panel["targets"]).collect();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"], source, "{title}");
            let expression = text(&target["expr"]);
            let chosen = r#"{namespace="$namespace",job="$job",instance=~"$instance""#;
            let selectors = expression.matches('{').count();
            assert_eq!(expression.matches(chosen).count(), selectors, "{title}: {expression}");
            assert!(selectors > 0 && !metrics_of(expression).is_empty(), "{title}: {expression}");
        }
    }
}

impl Documents {
    /// What scrapes does so where our Service is, as somebody who may, and trusts whom kube-apiserver trusts.
    pub(super) fn check_monitors(&self) {
        let service = self.of("Service").next().expect("a Service");
        let namespace = &service["metadata"]["namespace"];
        for monitor in self.of("ServiceMonitor") {
            let from = format!("{}: {}", self.from, name(monitor));
            let selector = &monitor["spec"]["selector"]["matchLabels"];
            assert_eq!(monitor["metadata"]["namespace"], *namespace, "{from}");
            assert!(
                crate::support::schema::is_within(selector, &service["metadata"]["labels"]),
                "{from}"
            );
            let endpoints: Vec<_> = list(&monitor["spec"]["endpoints"]).collect();
            let [endpoint] = endpoints.as_slice() else { panic!("{from}: {endpoints:?}") };
            assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"], "{from}");
            assert_eq!(
                (&endpoint["scheme"], &endpoint["path"]),
                (&json!("https"), &json!("/metrics"))
            );
            for key in endpoint.as_object().expect("an endpoint").keys() {
                assert!(ENDPOINT.contains(&key.as_str()), "{from}: {key} is unknown");
            }
            self.check_scraper(&from, namespace, endpoint);
            self.check_trust(&from, service, endpoint);
        }
    }

    fn check_scraper(&self, from: &str, namespace: &Value, endpoint: &Value) {
        if endpoint.get("bearerTokenFile").is_some() {
            assert!(endpoint.get("authorization").is_none(), "{from}");
            return;
        }
        let credentials = &endpoint["authorization"]["credentials"];
        assert_eq!(credentials["key"], "token", "{from}");
        let is_it = |secret: &&Value| secret["metadata"]["name"] == credentials["name"];
        let secret = self.of("Secret").find(is_it).expect("the Secret of the token");
        assert_eq!(secret["type"], "kubernetes.io/service-account-token", "{from}");
        assert_eq!(secret["metadata"]["namespace"], *namespace, "{from}");
        let account = &secret["metadata"]["annotations"]["kubernetes.io/service-account.name"];
        assert!(self.has("ServiceAccount", namespace, account), "{from}: {account}");
        let subject = json!({"kind": "ServiceAccount", "namespace": namespace, "name": account});
        let bound: Vec<_> = self
            .of("ClusterRoleBinding")
            .filter(|binding| list(&binding["subjects"]).any(|bound| *bound == subject))
            .map(|binding| &binding["roleRef"]["name"])
            .collect();
        let rules: Vec<_> = self
            .of("ClusterRole")
            .filter(|role| bound.contains(&&role["metadata"]["name"]))
            .map(|role| &role["rules"])
            .collect();
        let access = json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]);
        assert!(rules == [&access] || bound.is_empty() && self.of("ClusterRole").next().is_none());
    }

    /// The certificate is verified where kube-apiserver verifies it, unless the values say otherwise.
    fn check_trust(&self, from: &str, service: &Value, endpoint: &Value) {
        let tls = &endpoint["tlsConfig"];
        if tls.get("caFile").is_some() {
            return;
        }
        let skips = |spec: &Value| spec["insecureSkipTLSVerify"] == true;
        let is_unverified = self.of("APIService").any(|api| skips(&api["spec"]));
        assert_eq!(tls["insecureSkipVerify"] == true, is_unverified, "{from}: {tls}");
        if is_unverified {
            return;
        }
        let namespace = &service["metadata"]["namespace"];
        let host = format!("{}.{}.svc", name(service), text(namespace));
        assert_eq!(tls["serverName"], host.as_str(), "{from}");
        let authority = &tls["ca"]["secret"];
        assert_eq!(authority["key"], "ca.crt", "{from}");
        let secret = &authority["name"];
        let deployment = self.of("Deployment").next().expect("a Deployment");
        let own = format!("--tls-secret-name={}", text(secret));
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let is_own = list(arguments).any(|argument| *argument == *own);
        let is_issued = self.of("Certificate").any(|made| made["spec"]["secretName"] == *secret);
        let is_given = self.of("Secret").any(|given| {
            given["metadata"]["name"] == *secret && given["data"].get("ca.crt").is_some()
        });
        assert!(is_own || is_issued || is_given, "{from}: {secret}");
    }
}

/// Those of prometheus-operator's endpoints that we use or let values say.
const ENDPOINT: [&str; 10] = [
    "authorization",
    "bearerTokenFile",
    "interval",
    "metricRelabelings",
    "path",
    "port",
    "relabelings",
    "scheme",
    "scrapeTimeout",
    "tlsConfig",
];

/// The alerts.
pub(crate) fn alerts() -> Vec<Value> {
    let rule = yaml("deploy/monitoring/prometheus-rule.yaml");
    list(&rule["spec"]["groups"]).flat_map(|group| list(&group["rules"])).cloned().collect()
}

/// The expressions of the dashboard.
pub(crate) fn panel_expressions() -> Vec<String> {
    let dashboard = dashboard();
    let targets = list(&dashboard["panels"]).flat_map(|panel| list(&panel["targets"]));
    targets.map(|target| text(&target["expr"]).to_owned()).collect()
}

/// Writes the rules as Prometheus reads them, without what prometheus-operator has around them.
pub(crate) fn write_rules(folder: &Path) {
    let rule = yaml("deploy/monitoring/prometheus-rule.yaml");
    // JSON is YAML.
    fs::write(folder.join("rules.yaml"), rule["spec"].to_string()).expect("a new file");
}

/// The metrics that an expression reads.
pub(crate) fn metrics_of(expression: &str) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);

    impl ExprVisitor for Names {
        type Error = String;

        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
            let selector: Option<&VectorSelector> = match expression {
                Expr::VectorSelector(selector) => Some(selector),
                Expr::MatrixSelector(range) => Some(&range.vs),
                _ => None,
            };
            if let Some(selector) = selector {
                let name = selector.name.clone().ok_or("a selector without a name")?;
                self.0.insert(name);
            }
            Ok(true)
        }
    }

    let expression = expression.replace("$__rate_interval", "5m");
    let parsed = promql_parser::parser::parse(&expression)
        .unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut names = Names(BTreeSet::new());
    walk_expr(&mut names, &parsed).unwrap_or_else(|error| panic!("{expression}: {error}"));
    names.0
}

/// The queries of the guide.
pub(crate) fn guide_expressions() -> Vec<String> {
    let guide = fs::read_to_string(file("docs/monitoring.md")).expect("the guide");
    let blocks = guide.split("```promql\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().trim().to_owned()).collect()
}

/// The files with tests of alerts.
fn tests() -> Vec<PathBuf> {
    let folder = fs::read_dir(file("deploy/monitoring/tests")).expect("the tests");
    let tests: Vec<_> = folder.map(|test| test.expect("a file").path()).collect();
    assert!(!tests.is_empty());
    tests
}

fn dashboard() -> Value {
    let text = fs::read_to_string(file("deploy/monitoring/loadline.json")).expect("the dashboard");
    serde_json::from_str(&text).expect("JSON")
}

fn promtool(arguments: &[&str], folder: &Path) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => {
            panic!("`promtool` is missing on the PATH: apt-get install prometheus")
        }
        _ => panic!("`promtool` does not start: {error}"),
    });
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}:\n{out}{err}");
}
