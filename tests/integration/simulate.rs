//! `loadline simulate` over the history of a real Prometheus, whose samples are made so that the outcome is known.

use std::{fmt::Write as _, fs, path::Path, process::Stdio, sync::Arc};

use axum::{
    Router,
    extract::{RawQuery, State},
    routing::any,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::support::{process::loadline, serve, store::Store};

const RULES: &str = r#"
rules:
- seriesQuery: 'requests_per_second{pod!=""}'
  resources: &both {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: queue_messages
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
resourceRules:
  cpu:
    containerQuery: 'sum(cpu{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    resources: *both
    containerLabel: container
  memory:
    containerQuery: 'sum(memory{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
    resources: *both
    containerLabel: container
"#;

const OBJECTS: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, resources: {requests: {cpu: 500m}}}]}
";

/// Synchronizations in an hour.
const HOUR: i64 = 240;

/// The last synchronization of the history, in seconds since the epoch: that of the last quarter of a minute.
fn end() -> i64 {
    jiff::Timestamp::now().as_second() / 15 * 15
}

/// The samples of a series in the format of OpenMetrics: so many times each of the values, the last one 15 s before the end.
fn series(text: &mut String, end: i64, series: &str, values: &[(i64, &str)]) {
    let count: i64 = values.iter().map(|(times, _)| times).sum();
    let mut at = end - 15 * count;
    let name = series.split('{').next().unwrap();
    writeln!(text, "# TYPE {name} gauge").unwrap();
    for (times, value) in values {
        for _ in 0..*times {
            writeln!(text, "{series} {value} {at}").unwrap();
            at += 15;
        }
    }
}

fn hpa(name: &str, metric: &Value) -> Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 10, "metrics": [metric]}})
}

/// A metric of which a replica is to have 10.
fn external(name: &str) -> Value {
    json!({"type": "External", "external": {"metric": {"name": name},
        "target": {"type": "AverageValue", "averageValue": "10"}}})
}

fn folder(hpas: &[Value]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    fs::write(folder.path().join("objects.yaml"), OBJECTS).unwrap();
    let documents: Vec<_> = hpas.iter().map(Value::to_string).collect();
    fs::write(folder.path().join("hpa.yaml"), documents.join("\n---\n")).unwrap();
    folder
}

/// Its standard output and error, and how it ends.
async fn simulate(folder: &Path, url: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    let all = ["simulate", "-c=rules.yaml", "-f=hpa.yaml", "--prometheus-url", url];
    let mut command = loadline(&[&all, arguments].concat());
    command.current_dir(folder).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

async fn json(folder: &Path, url: &str, arguments: &[&str]) -> Value {
    let (shown, said, code) = simulate(folder, url, &[&["-o=json"], arguments].concat()).await;
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    serde_json::from_str(&shown).unwrap()
}

fn until(end: i64) -> String {
    format!("--until={}", jiff::Timestamp::from_second(end).unwrap())
}

#[track_caller]
fn assert_hours(run: &Value, wanted: f64) {
    let hours = run["summary"]["replicaHours"].as_f64().unwrap();
    assert!((hours - wanted).abs() < 1e-6, "{hours}, not {wanted}: {run:#}");
}

#[tokio::test]
async fn the_history_of_a_day_has_known_replica_hours() {
    let end = end();
    let mut samples = String::new();
    // 20 for 22 h, 60 for half an hour, 20 for another one, and none for the last hour.
    let day = [(22 * HOUR, "20"), (HOUR / 2, "60"), (HOUR / 2, "20"), (HOUR, "NaN")];
    series(&mut samples, end, r#"queue_messages{namespace="shop",queue="a"}"#, &day);
    let elsewhere = [(24 * HOUR, "900")];
    series(&mut samples, end, r#"queue_messages{namespace="other",queue="a"}"#, &elsewhere);
    samples = one_type(&samples) + "# EOF\n";
    let store = Store::stored(&samples).await;
    let folder = folder(&[hpa("queue", &external("queue_messages"))]);
    let (until, page) = (until(end), folder.path().join("page.html"));
    let html = format!("--html={}", page.display());
    let arguments = [
        "--set=target=20",
        "--variant=quick:behavior.scaleDown.stabilizationWindowSeconds=0,maxReplicas=4",
        "--replicas=2",
        &until,
        &html,
    ];
    let report = json(folder.path(), &store.url, &arguments).await;
    let [written, set, quick] = report["variants"].as_array().unwrap().as_slice() else {
        panic!("{report:#}")
    };
    // 2 replicas for 22 h; 4, and 6 from the second synchronization on; 6 for 285 s more, then 2; nothing is decided at NaN.
    let hour = |seconds: f64| seconds / 3600.0;
    let busy = hour(4.0 * 15.0) + hour(6.0 * 1785.0);
    assert_hours(written, 44.0 + busy + hour(6.0 * 285.0) + hour(2.0 * 1515.0) + 2.0);
    assert_eq!(written["summary"]["ups"], 2);
    assert_eq!(written["summary"]["minutesAboveTarget"], 0.5);
    assert_eq!(written["summary"]["minutesUnreadable"], 60.0);
    // 1 replica is enough for 20, and 3 for 60.
    let calm = hour(2.0 * 300.0) + hour(22.0 * 3600.0 - 300.0);
    assert_hours(set, calm + hour(3.0 * 1800.0) + hour(3.0 * 285.0) + hour(1515.0) + 1.0);
    // Four at the most, and a decrease comes at once.
    assert_eq!(quick["summary"]["most"], 4);
    assert_eq!(quick["summary"]["minutesAtMaximum"], 30.0);
    assert_hours(quick, 44.0 + hour(4.0 * 1800.0) + hour(2.0 * 1800.0) + 2.0);
    let changes = written["changes"].as_array().unwrap();
    let first = jiff::Timestamp::from_second(end - 7200).unwrap().to_string();
    assert_eq!(changes[0], json!({"time": first, "from": 2, "to": 4, "limitedBy": "scaleUp"}));
    assert_eq!(report["metrics"][0]["model"], "fixed");
    assert_eq!(report["metrics"][0]["assumed"], true);
    assert!(fs::read_to_string(&page).unwrap().matches("<svg ").count() == 3);

    // A coarser step and the text.
    let arguments = ["--step=5m", "--replicas=2", &until];
    let (shown, said, code) = simulate(folder.path(), &store.url, &arguments).await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(
        shown.contains("queue_messages per pod, target 10") && !shown.contains('\u{1b}'),
        "{shown}"
    );

    // Which reads have failed is not in the history.
    let note = "note: the `fallback` of externalRules[0] is not simulated";
    assert!(!shown.contains("fallback"), "{shown}");
    let rule = "- seriesQuery: queue_messages\n";
    let rules = RULES.replace(rule, &format!("{rule}  fallback: {{after: 3m, value: 50}}\n"));
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let (shown, said, _) = simulate(folder.path(), &store.url, &arguments).await;
    assert!(shown.contains(note), "{shown}{said}");
}

/// Samples of OpenMetrics, with the type of a metric said once.
fn one_type(samples: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in samples.lines() {
        if !line.starts_with('#') || !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn pods_and_usage_count_by_owner() {
    let end = end();
    let mut samples = String::new();
    for (pod, value) in
        [("web-5d4f-aaaaa", "30"), ("web-5d4f-bbbbb", "50"), ("web-api-77-ccccc", "500")]
    {
        let labels = format!(r#"namespace="shop",pod="{pod}""#);
        series(&mut samples, end, &format!("requests_per_second{{{labels}}}"), &[(HOUR, value)]);
    }
    for (name, value) in [("cpu", "1"), ("memory", "1000")] {
        let labels = r#"namespace="shop",pod="web-5d4f-aaaaa",container="web""#;
        series(&mut samples, end, &format!("{name}{{{labels}}}"), &[(HOUR, value)]);
    }
    let store = Store::stored(&(one_type(&samples) + "# EOF\n")).await;
    let of_pods = json!({"type": "Pods", "pods": {"metric": {"name": "requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "20"}}});
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50}}});
    let folder = folder(&[hpa("requests", &of_pods), hpa("cpu", &cpu)]);
    let until = until(end);
    let arguments = ["--objects=objects.yaml", "--since=1h", "--pod-start=0s", &until];
    let reports = json(folder.path(), &store.url, &arguments).await;
    // 80 in all, recorded of 2 pods: 4 are needed.
    let requests = &reports[0];
    assert_eq!(requests["replicas"], 2);
    assert_hours(&requests["variants"][0], 4.0);
    assert_eq!(requests["notes"], json!([]));
    // 1 core, recorded of 1 pod, and 250m of each of the requests.
    let cpu = &reports[1];
    assert_eq!(cpu["variants"][0]["summary"]["most"], 4, "{cpu:#}");
    assert_eq!(cpu["metrics"][0]["source"], "Resource");

    // Nobody knows the requests.
    let (_, said, code) = simulate(folder.path(), &store.url, &["--since=1h", &until]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("--objects"), "{said}");
}

/// One metric that no read gets a value of does not hide what the others do: with it, nothing is scaled in.
#[tokio::test]
async fn a_metric_that_cannot_be_read_is_one_without_values() {
    let end = end();
    let mut samples = String::new();
    let hour = [(HOUR / 2, "60"), (HOUR / 2, "20")];
    series(&mut samples, end, r#"queue_messages{namespace="shop",queue="a"}"#, &hour);
    let store = Store::stored(&(one_type(&samples) + "# EOF\n")).await;
    let mut never = external("queue_messages");
    never["external"]["metric"]["selector"] = json!({"matchExpressions": [
        {"key": "queue", "operator": "In", "values": ["a"]},
        {"key": "queue", "operator": "In", "values": ["b"]},
    ]});
    let mut both = hpa("both", &external("queue_messages"));
    both["spec"]["metrics"].as_array_mut().unwrap().push(never);
    let folder = folder(&[both]);
    let arguments = ["--since=1h", "--replicas=6", &until(end)];
    let report = json(folder.path(), &store.url, &arguments).await;
    let summary = &report["variants"][0]["summary"];
    assert_eq!((&summary["ups"], &summary["downs"]), (&json!(0), &json!(0)), "{report:#}");
    assert!(report["notes"].to_string().contains("no value at any time"), "{report:#}");
}

#[tokio::test]
async fn what_cannot_be_simulated_says_why() {
    let end = end();
    let mut samples = String::new();
    series(&mut samples, end, r#"queue_messages{namespace="other"}"#, &[(HOUR, "20")]);
    let store = Store::stored(&(samples + "# EOF\n")).await;
    let average = || external("queue_messages");
    let many = |count: usize| (0..count).map(|_| hpa("web", &average())).collect::<Vec<_>>();
    let one = || many(1);
    for (hpas, arguments, code, wanted) in [
        (one(), vec!["--since=1h"], 1, "no value"),
        (vec![hpa("web", &external("queue_message"))], vec!["--since=1h"], 1, "queue_message"),
        (many(11), vec![], 2, "11"),
        (vec![], vec![], 2, "-f"),
        (one(), vec!["--since=32d"], 2, "--since"),
        (one(), vec!["--step=1s"], 2, "--step"),
        (one(), vec!["--until=yesterday"], 2, "--until"),
        (one(), vec!["--set=maxReplica=3"], 2, "maxReplica"),
        (one(), vec!["--set=behavior.scaleUp.selectPolicy=Average"], 2, "scaleUp.selectPolicy"),
        (one(), vec!["--set=behavior.scaleUp.window=3"], 2, "scaleUp.window"),
        (one(), vec!["--variant=target=3"], 2, "--variant"),
        (one(), vec!["--variant=a:target=3", "--variant=a:target=4"], 2, "--variant"),
        (one(), vec!["--since=1h", "--html=/nowhere/page.html"], 1, "no value"),
    ] {
        let folder = folder(&hpas);
        let (shown, said, ended) = simulate(folder.path(), &store.url, &arguments).await;
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(wanted) && shown.is_empty(), "{arguments:?}: {said}");
    }
    let folder = folder(&[hpa("web", &average())]);
    let (_, said, code) = simulate(folder.path(), "http://127.0.0.1:1", &["--since=1h"]).await;
    assert_eq!(code, Some(1), "{said}");
}

/// What a scripted backend was asked: start and end of each range query.
type Asked = Arc<Mutex<Vec<(i64, i64)>>>;

/// Answers range queries of at most 700 points. For more it takes too long.
async fn answer(State(asked): State<Asked>, RawQuery(query): RawQuery) -> String {
    let query = query.unwrap_or_default();
    let parameter = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|value| value.parse::<i64>().ok())
    };
    let (Some(start), Some(end), Some(step)) =
        (parameter("start"), parameter("end"), parameter("step"))
    else {
        let is_nothing = query.contains("matches_nothing");
        let names = if is_nothing { json!([]) } else { json!(["queue_messages"]) };
        return json!({"status": "success", "data": names}).to_string();
    };
    asked.lock().await.push((start, end));
    if (end - start) / step >= 700 {
        std::future::pending::<()>().await;
    }
    let times = (start..=end).step_by(usize::try_from(step).unwrap());
    let values: Vec<_> = times.map(|at| json!([at, "20"])).collect();
    let histogram = json!({"metric": {"namespace": "shop"}, "histograms": [[end, {"count": "1"}]]});
    let result = json!([{"metric": {"namespace": "shop"}, "values": values}, histogram]);
    json!({"status": "success", "data": {"resultType": "matrix", "result": result}}).to_string()
}

/// Without any value they are the reason.
#[tokio::test]
async fn native_histograms_are_named_where_there_is_no_value() {
    let series = json!([{"metric": {"namespace": "shop"}, "histograms": [[1, {"count": "1"}]]}]);
    let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": series}});
    let router = Router::new()
        .route("/api/v1/query_range", any(async move || answer.to_string()))
        .route("/api/v1/label/__name__/values", any(self::answer))
        .fallback(|| async { r#"{"status":"success","data":{"resultType":"vector","result":[]}}"# })
        .with_state(Asked::default());
    let (url, _serving) = serve(router).await;
    let folder = folder(&[hpa("queue", &external("queue_messages"))]);
    let (_, said, code) = simulate(folder.path(), &url, &["--since=30m", "--replicas=2"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no value at any time") && said.contains("native histograms"), "{said}");
}

#[tokio::test]
async fn a_range_that_takes_too_long_is_halved() {
    let asked = Asked::default();
    let router = Router::new()
        .route("/api/v1/query_range", any(answer))
        .route("/api/v1/label/__name__/values", any(answer))
        .fallback(|| async { r#"{"status":"success","data":{"resultType":"vector","result":[]}}"# })
        .with_state(Arc::clone(&asked));
    let (url, _serving) = serve(router).await;
    let folder = folder(&[hpa("queue", &external("queue_messages"))]);
    let arguments = ["--since=12h", "--replicas=2", "--prometheus-query-timeout=500ms"];
    let report = json(folder.path(), &url, &arguments).await;
    assert_hours(&report["variants"][0], 24.0);
    let notes = report["notes"].as_array().unwrap();
    let of_histograms =
        notes.iter().filter(|it| it.as_str().unwrap().contains("native histograms"));
    assert_eq!(of_histograms.count(), 1, "{report:#}");
    let asked = asked.lock().await;
    // 2,880, twice halved; each of the four quarters once.
    let answered: Vec<_> = asked.iter().filter(|(start, end)| end - start < 700 * 15).collect();
    assert!(answered.len() >= 4, "{asked:?}");
    assert!(answered.windows(2).all(|pair| pair[1].0 == pair[0].1 + 15), "{asked:?}");
}
