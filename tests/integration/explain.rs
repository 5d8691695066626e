//! `loadline explain`: each cause is planted, in series of a real Prometheus or in the answers of a scripted backend, and has to be
//! the one that is named.

mod credentials;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use axum::{
    Router,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
    routing::any,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    exporter::{Exporter, Page},
    install_tls_provider,
    process::loadline,
    serve,
    store::Store,
};

const RULES: &str = r#"
rules:
- seriesQuery: '{__name__=~"ok|renamed|unlabelled|pod_name|other_names|elsewhere|infinite|twice|share_ratio|wait_seconds|desired_pods|late"}'
  resources: &both {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'requests_total{pod!=""}'
  resources: *both
  name: {matches: '(.*)_total', as: '${1}_per_second'}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1ms])) by (<<.GroupBy>>)'
- seriesQuery: machine
  resources: {overrides: {namespace: {resource: namespace}, instance: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: mapped
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: node}, server: {resource: service}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: '{__name__=~"tmp_.*"}'
  seriesFilters: [{isNot: '^tmp_'}]
  resources: *both
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: unmatched
  resources: *both
  name: {matches: '^(.*)_total$', as: '${1}'}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: gone_total
  resources: *both
  name: {matches: '(.*)_total', as: '${1}_per_second'}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
- seriesQuery: ok
  resources: *both
  name: {as: away}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (namespace)'
- seriesQuery: ok
  resources: *both
  name: {as: bare}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
- seriesQuery: of_service
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'of_job{job="web"}'
  resources: *both
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: spoilt
  resources: *both
  name: {as: spoilt_sessions}
  metricsQuery: '<<.Series'
- seriesQuery: ok
  resources: *both
  name: {as: refused}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (('
- seriesQuery: ok
  resources: *both
  name: {as: divided}
  metricsQuery: '(<<.Series>>{<<.LabelMatchers>>} - 100) / (<<.Series>>{<<.LabelMatchers>>} - 100)'
- seriesQuery: ok
  resources: *both
  name: {as: dropped}
  nan: drop
  metricsQuery: '(<<.Series>>{<<.LabelMatchers>>} - 100) / (<<.Series>>{<<.LabelMatchers>>} - 100)'
- seriesQuery: ok
  resources: *both
  name: {as: idle}
  onEmpty: zero
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>} > 1000'
- seriesQuery: mixed
  resources: *both
  name: {as: unlike}
  metricsQuery: 'sum by (<<.GroupBy>>) (ok{<<.LabelMatchers>>} / <<.Series>>{<<.LabelMatchers>>})'
- seriesQuery: ok
  resources: *both
  name: {as: half}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>} / (<<.Series>>{<<.LabelMatchers>>} + nowhere{<<.LabelMatchers>>})'
- seriesQuery: ok
  resources: *both
  name: {as: low}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>} > on(<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>} * 2)'
- seriesQuery: wait_seconds_bucket
  resources: *both
  name: {as: quantile}
  metricsQuery: 'histogram_quantile(0.9, sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>}))'
externalRules:
- seriesQuery: queue
  resources: {namespaced: false}
  name: {as: long_queues}
  onEmpty: zero
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>} > 1000'
- seriesQuery: queue
  resources: {namespaced: false}
  name: {as: all_queues}
  metricsQuery: 'sum(<<.Series>>)'
- seriesQuery: queue
  resources: {namespaced: false}
  name: {as: queue_depth}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: copies
  resources: {namespaced: false}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'queue_of_team{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
- seriesQuery: 'ok{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: work_of_web}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>,pod=~"web-.*"})'
- seriesQuery: 'ok{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: work_of_all}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
"#;

fn objects() -> String {
    let pod = |name: &str, app: &str, owner: Value| {
        let owners = if owner.is_null() { json!([]) } else { json!([owner]) };
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "namespace": "n", "labels": {"app": app}, "ownerReferences": owners
        }})
    };
    let owner = |kind: &str, name: &str| json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "1", "controller": true});
    let deployment = |name: &str, replicas: u32| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "n"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}}})
    };
    let pending = json!({"phase": "Pending"});
    let mut waiting = pod("waiting-0", "waiting", Value::Null);
    waiting["status"] = pending;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        deployment("web", 2),
        pod("web-0", "web", owner("ReplicaSet", "web-5d4f")),
        pod("web-1", "web", owner("ReplicaSet", "web-5d4f")),
        deployment("shared", 1),
        pod("shared-0", "shared", owner("ReplicaSet", "shared-77")),
        pod("batch-x", "shared", owner("Job", "batch")),
        deployment("idle", 0),
        deployment("waiting", 1),
        waiting,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "n"}}
    ]});
    list.to_string()
}

fn page() -> Page {
    let mut page = Page::new();
    let of_pods = r#"namespace="n",pod="web-"#;
    for (name, value) in [
        ("ok", "100"),
        ("requests_total", "100"),
        ("tmp_filtered", "1"),
        ("unmatched", "1"),
        ("infinite", "+Inf"),
        ("share_ratio", "0.3"),
        ("wait_seconds", "0.2"),
        ("desired_pods", "4"),
        ("wait_seconds_bucket", "4"),
    ] {
        page = page.series(name, &format!(r#"{of_pods}0""#), value);
        page = page.series(name, &format!(r#"{of_pods}1""#), value);
    }
    let exported = r#"namespace="m",pod="exporter-1",exported_namespace="n",exported_pod="web-0""#;
    page.series("ok", r#"namespace="n",pod="shared-0""#, "100")
        .series("ok", r#"namespace="n",pod="batch-x""#, "100")
        .series("ok", r#"namespace="n",pod="waiting-0""#, "100")
        .series("mixed", r#"namespace="n",pod="web-0",engine="0""#, "1")
        .series("renamed", exported, "1")
        .series("unlabelled", r#"namespace="n",job="x""#, "1")
        .series("pod_name", r#"namespace="n",pod_name="web-0""#, "1")
        .series("machine", r#"namespace="n",instance="10.0.0.1:9100""#, "1")
        .series("mapped", r#"namespace="n",pod="node-a",server="web-0""#, "5")
        .series("other_names", r#"namespace="n",pod="app-7f-x""#, "1")
        .series("elsewhere", r#"namespace="m",pod="web-0""#, "1")
        .series("queue", r#"queue="a""#, "5")
        .series("queue", r#"queue="b""#, "700")
        .series("copies", r#"queue="a",instance="x:1""#, "5")
        .series("copies", r#"queue="a",instance="y:1""#, "5")
        .series("queue_of_team", r#"namespace="m""#, "5")
        .series("twice", r#"namespace="n",pod="web-0",x="1""#, "1")
        .series("twice", r#"namespace="n",pod="web-0",x="2""#, "2")
        .series("of_service", r#"namespace="n",service="web""#, "1")
        .series("of_job", r#"namespace="n",pod="web-0",job="batch""#, "4")
}

/// A folder with the files that all questions name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    fs::write(folder.path().join("objects.yaml"), objects()).unwrap();
    folder
}

/// What it answers, and how it ends.
fn asking(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let all =
        ["explain", "-o=json", "-c=rules.yaml", "--objects=objects.yaml", "--prometheus-url", url];
    let mut command = loadline(&[&all, arguments].concat());
    command.current_dir(folder).stdin(Stdio::null());
    command
}

async fn explain(folder: &Path, url: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let mut command = asking(folder, url, arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let answer = serde_json::from_slice(&output.stdout);
    (answer.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}")), output.status.code())
}

#[track_caller]
fn is_named(arguments: &[&str], answer: &Value, cause: &str) {
    let wanted = if cause.is_empty() { Value::Null } else { Value::from(cause) };
    assert_eq!(answer["cause"], wanted, "{arguments:?}: {answer:#}");
    let found = answer["steps"].as_array().unwrap().iter().find(|step| step["ok"] == false);
    let says_what_to_do =
        |step: &Value| step["do"].as_str().is_some_and(|advice| !advice.is_empty());
    assert!(found.is_none_or(says_what_to_do), "{arguments:?}: {answer:#}");
}

#[tokio::test]
async fn every_cause_of_a_metric_is_named() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let folder = folder();
    let web = ["-n=n", "-l=app=web"];
    for (question, cause, code) in [
        ("pods ok", "", 0),
        ("pods idle", "", 0),
        ("pods renamed", "exported-labels", 1),
        ("pods unlabelled", "label-missing", 1),
        ("pods pod_name", "label-missing", 1),
        ("pods machine", "label-is-no-object", 1),
        ("pods mapped", "label-maps-elsewhere", 1),
        ("pods other_names", "names-differ", 1),
        ("pods elsewhere", "wrong-namespace", 1),
        ("pods tmp_filtered", "filtered", 1),
        ("pods of_job", "filtered", 1),
        ("pods unmatched", "name-does-not-match", 1),
        ("pods gone_per_second", "series-absent", 1),
        ("pods away", "aggregated-away", 1),
        ("pods bare", "no-labels", 1),
        ("pods of_service", "other-resource", 1),
        ("pods spoilt_sessions", "broken-rule", 1),
        ("pods refused", "query-error", 1),
        ("pods okk", "unknown-metric", 1),
        ("pods divided", "nan", 0),
        ("pods dropped", "nan", 1),
        ("pods infinite", "infinite", 1),
        ("pods twice", "several-samples", 0),
        ("pods requests_per_second", "too-few-samples", 1),
        ("pods/web-0 unlike", "unmatched-sides", 1),
        ("pods/web-0 half", "series-absent", 1),
        ("pods/web-0 low", "filtered", 1),
        ("pods quantile", "histogram-without-le", 1),
        ("ingresses.extensions/web ok", "other-resource", 1),
        ("pods queue_depth", "wrong-api", 1),
        ("services of_service", "no-object-selected", 1),
        ("services/web of_service", "", 0),
        ("external ok", "wrong-api", 1),
    ] {
        let words: Vec<&str> = question.split(' ').collect();
        // A name and a selector exclude each other.
        let web = if question.contains('/') { &web[..1] } else { &web[..] };
        let arguments = [&words[..], web].concat();
        let (answer, ended) = explain(folder.path(), &store.url, &arguments).await;
        is_named(&arguments, &answer, cause);
        assert_eq!(ended, Some(code), "{question}");
    }
    for (metric, selector, cause) in [
        ("queue_depth", "", ""),
        ("long_queues", "", ""),
        ("queue_depth", "queue=a", ""),
        ("queue_depth", "queue=z", "filtered"),
        ("queue_depth", "queue_name=a", "label-missing"),
        ("all_queues", "queue=a", "selector-ignored"),
        ("copies", "", "several-summed"),
        ("queue_of_team", "", "wrong-namespace"),
    ] {
        let arguments = ["external", metric, "-n=n", "-l", selector];
        let (answer, _) = explain(folder.path(), &store.url, &arguments).await;
        is_named(&arguments, &answer, cause);
    }
    for (metric, said) in [
        ("unlike", &["`/`", "`engine`"][..]),
        ("half", &["right side of `+`", "no series of `nowhere`"]),
    ] {
        let arguments = ["pods/web-0", metric, "-n=n"];
        let (answer, _) = explain(folder.path(), &store.url, &arguments).await;
        let text = answer["steps"].to_string();
        assert!(said.iter().all(|said| text.contains(said)), "{answer:#}");
    }
    let (answer, _) =
        explain(folder.path(), &store.url, &["ingresses.extensions/web", "ok", "-n=n"]).await;
    assert!(answer.to_string().contains("did you mean ingresses.networking.k8s.io?"), "{answer:#}");
    // Without a query there is no step that says it is well.
    let arguments = ["external", "queue_depth", "-n=n", "-l", "queue=a,queue=b"];
    let (answer, _) = explain(folder.path(), &store.url, &arguments).await;
    is_named(&arguments, &answer, "filtered");
    let steps = answer["steps"].as_array().unwrap();
    let of_query: Vec<_> = steps.iter().filter(|step| step["name"] == "query").collect();
    assert!(of_query.len() == 1 && of_query[0]["ok"] == false, "{answer:#}");
    let path =
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/*/ok?labelSelector=app%3Dnothing";
    let (answer, _) = explain(folder.path(), &store.url, &[path]).await;
    is_named(&[path], &answer, "no-object-selected");
}

fn autoscaler(target: &str, metric: &Value) -> Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": target, "namespace": "n"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1, "maxReplicas": 3, "metrics": [metric]}})
}

fn of_pods(metric: &str, target: &str) -> Value {
    json!({"type": "Pods", "pods": {"metric": {"name": metric},
        "target": {"type": "AverageValue", "averageValue": target}}})
}

#[tokio::test]
async fn every_cause_of_an_autoscaler_is_named() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let folder = folder();
    let external = |metric: &str, target: Value| json!({"type": "External", "external": {"metric": {"name": metric}, "target": target}});
    let mut ignored = of_pods("ok", "70");
    ignored["pods"]["target"]["value"] = "3".into();
    let mut invalid = of_pods("ok", "70");
    invalid["pods"]["target"] = json!({"type": "Value", "value": "50"});
    let service = json!({"type": "Object", "object": {"metric": {"name": "desired_pods"},
        "describedObject": {"apiVersion": "v1", "kind": "Pod", "name": "web-0"},
        "target": {"type": "Value", "value": "4"}}});
    for (target, metric, cause, desired) in [
        ("web", of_pods("ok", "100"), "hpa-within-tolerance", Some(2)),
        ("web", of_pods("ok", "70"), "", Some(3)),
        ("web", of_pods("ok", "20"), "hpa-at-limit", Some(3)),
        ("web", of_pods("ok", "300"), "hpa-stabilizing", Some(2)),
        ("web", invalid, "hpa-invalid", None),
        ("web", ignored, "hpa-field-ignored", Some(3)),
        ("web", of_pods("share_ratio", "30"), "hpa-target-unreachable", None),
        ("web", of_pods("wait_seconds", "500"), "hpa-target-unreachable", None),
        ("web", service, "hpa-value-compounds", None),
        (
            "web",
            external("queue_depth", json!({"type": "Value", "value": "700"})),
            "hpa-within-tolerance",
            Some(2),
        ),
        (
            "web",
            external("ok", json!({"type": "AverageValue", "averageValue": "1"})),
            "wrong-api",
            None,
        ),
        ("absent", of_pods("ok", "70"), "hpa-target-not-found", None),
        ("shared", of_pods("ok", "70"), "foreign-owner", None),
        ("idle", of_pods("ok", "70"), "absent-at-zero", None),
        ("waiting", of_pods("ok", "70"), "not-ready", None),
    ] {
        let hpa = autoscaler(target, &metric);
        fs::write(folder.path().join("hpa.yaml"), hpa.to_string()).unwrap();
        let (answer, _) = explain(folder.path(), &store.url, &["-f=hpa.yaml"]).await;
        let shown = metric.to_string();
        is_named(&[target, &shown], &answer, cause);
        if let Some(desired) = desired {
            assert_eq!(answer["hpa"]["desired"], desired, "{shown}: {answer:#}");
        }
        if target == "web" {
            let (by_name, _) =
                explain(folder.path(), &store.url, &["deploy/web", "-f=hpa.yaml"]).await;
            assert_eq!(by_name["cause"], answer["cause"]);
        }
    }
}

/// The series of other pods, or of none, stay when the autoscaler's own pods have gone.
#[tokio::test]
async fn an_autoscaler_to_zero_needs_a_signal_that_outlives_its_pods() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let folder = folder();
    for (metric, min, dies) in [
        ("work_of_web", 0, true),
        ("work_of_web", 1, false),
        ("work_of_all", 0, false),
        ("queue_depth", 0, false),
    ] {
        let metric = json!({"type": "External", "external": {
            "metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": "100"}}});
        let mut hpa = autoscaler("web", &metric);
        hpa["spec"]["minReplicas"] = min.into();
        fs::write(folder.path().join("hpa.yaml"), hpa.to_string()).unwrap();
        let (answer, _) = explain(folder.path(), &store.url, &["-f=hpa.yaml"]).await;
        assert_eq!(answer["cause"] == "absent-at-zero", dies, "{min} {metric}: {answer:#}");
        assert_eq!(answer["verdict"] == "doubtful", dies, "{min} {metric}: {answer:#}");
    }
}

#[tokio::test]
async fn the_leading_metric_is_named_and_v1_is_converted() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let folder = folder();
    let mut hpa = autoscaler("web", &of_pods("ok", "70"));
    hpa["spec"]["metrics"] = json!([of_pods("ok", "100"), of_pods("ok", "70")]);
    let path = folder.path().join("hpa.yaml");
    fs::write(&path, hpa.to_string()).unwrap();
    let (answer, _) = explain(folder.path(), &store.url, &["-f=hpa.yaml"]).await;
    let leads = |at: usize| answer["hpa"]["metrics"][at]["leads"].clone();
    assert_eq!((leads(0), leads(1)), (json!(false), json!(true)), "{answer:#}");
    let decision = answer["steps"].as_array().unwrap().last().unwrap()["seen"].clone();
    assert!(decision.as_str().unwrap().ends_with("recommend 3, by ok (ok 2)"), "{decision}");

    let metrics =
        json!([{"type": "Pods", "pods": {"metricName": "ok", "targetAverageValue": "70"}}]);
    let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "n",
            "annotations": {"autoscaling.alpha.kubernetes.io/metrics": metrics.to_string()}},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 3}});
    fs::write(path, v1.to_string()).unwrap();
    let (answer, _) = explain(folder.path(), &store.url, &["-f=hpa.yaml"]).await;
    is_named(&["v1"], &answer, "");
    assert_eq!(answer["hpa"]["desired"], 3, "{answer:#}");
}

#[tokio::test]
async fn series_that_have_ended_are_told_from_those_that_never_were() {
    let now = jiff::Timestamp::now().as_second();
    let sample =
        |name: &str, age: i64| format!("{name}{{namespace=\"n\",pod=\"web-0\"}} 1 {}\n", now - age);
    let samples = [
        "# TYPE ok gauge\n",
        &sample("ok", 7_200),
        &sample("ok", 3_600),
        "# TYPE late gauge\n",
        &sample("late", 400),
        &sample("late", 200),
        "# EOF\n",
    ];
    let store = Store::stored(&samples.concat()).await;
    let folder = folder();
    for (metric, cause) in [("ok", "series-ended"), ("renamed", "series-absent"), ("late", "stale")]
    {
        let arguments = ["pods/web-0", metric, "-n=n"];
        let (answer, _) = explain(folder.path(), &store.url, &arguments).await;
        is_named(&arguments, &answer, cause);
    }
}

/// A backend that knows the series `ok`, and answers queries so.
async fn backend(status: StatusCode, body: &'static str) -> (String, impl Drop) {
    let answer = move |uri: Uri| async move {
        let names = json!({"status": "success", "data": ["ok"]});
        let is_probe = uri.query().is_some_and(|query| query.contains("matches_nothing"));
        let response: Response = if is_probe {
            axum::Json(json!({"status": "success", "data": []})).into_response()
        } else if uri.path().ends_with("/values") {
            axum::Json(names).into_response()
        } else {
            (status, body).into_response()
        };
        response
    };
    serve(Router::new().fallback(any(answer))).await
}

#[tokio::test]
async fn every_failure_of_a_backend_is_named() {
    install_tls_provider();
    let folder = folder();
    let histogram = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"web-0","namespace":"n"},"histogram":[1700000000,{"count":"1","sum":"1","buckets":[]}]}]}}"#;
    for (status, body, cause) in [
        (401, "", "backend-unauthorized"),
        (403, "", "backend-unauthorized"),
        (404, "", "backend-not-prometheus"),
        (200, "<html>Sign in</html>", "backend-not-prometheus"),
        (200, "{}", "backend-not-prometheus"),
        (413, "", "too-large"),
        (422, "", "query-error"),
        (429, "", "backend-limited"),
        (502, "", "backend-unreachable"),
        (504, "", "backend-timeout"),
        (200, histogram, "histogram-sample"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let (url, _task) = backend(status, body).await;
        let (answer, code) = explain(folder.path(), &url, &["pods/web-0", "ok", "-n=n"]).await;
        is_named(&[status.as_str(), body], &answer, cause);
        assert_eq!(code, Some(1));
        // Neither the backend's address nor its pages.
        let shown = answer.to_string();
        assert!(!shown.contains("127.0.0.1") && !shown.contains("Sign in"), "{answer:#}");
    }
    let (url, _task) = backend(StatusCode::OK, "").await;
    let tls = url.replace("http://", "https://");
    for (url, cause) in
        [("http://127.0.0.1:1", "backend-unreachable"), (tls.as_str(), "backend-tls")]
    {
        let (answer, _) = explain(folder.path(), url, &["pods/web-0", "ok", "-n=n"]).await;
        is_named(&[url], &answer, cause);
    }
}

/// Who asks has no log of a server to look into.
#[tokio::test]
async fn what_a_backend_says_of_a_query_is_shown_beside_it() {
    install_tls_provider();
    let folder = folder();
    let body = r#"{"status":"error","errorType":"bad_data","error":"unknown function with name \"rollup_rate\" \u001b[2J"}"#;
    let (url, _task) = backend(StatusCode::BAD_REQUEST, body).await;
    let (answer, _) = explain(folder.path(), &url, &["pods/web-0", "ok", "-n=n"]).await;
    is_named(&["refused"], &answer, "query-error");
    let shown = answer.to_string();
    assert!(shown.contains("unknown function") && !shown.contains("u001b"), "{answer:#}");
}

/// Samples of two pods, of which the first one is a native histogram.
const MIXED: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"web-0","namespace":"n"},"histogram":[1700000000,{"count":"1","sum":"1","buckets":[]}]},{"metric":{"pod":"web-1","namespace":"n"},"value":[1700000000,"5"]}]}}"#;

/// The same without the second one.
const ONLY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"web-0","namespace":"n"},"histogram":[1700000000,{"count":"1","sum":"1","buckets":[]}]}]}}"#;

/// Prometheus says that it has left them out.
const LEFT_OUT: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]},"infos":["PromQL info: ignored histogram in max aggregation"]}"#;

#[tokio::test]
async fn native_histograms_beside_values_are_told_and_what_hides_them_fails() {
    let folder = folder();
    let pods = "seriesQuery: ok, resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}";
    let external = "seriesQuery: ok, resources: {namespaced: false}";
    let query = "metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'";
    let rules = format!(
        "rules:\n- {{{pods}, {query}}}\n- {{{pods}, name: {{as: zero}}, onEmpty: zero, {query}}}\nexternalRules:\n- {{{external}, name: {{as: each}}, {query}}}\n- {{{external}, name: {{as: sum}}, aggregate: sum, {query}}}\n- {{{external}, name: {{as: none}}, onEmpty: zero, {query}}}\n"
    );
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    for (body, question, verdict) in [
        (MIXED, "pods ok", "doubtful"),
        (MIXED, "pods/web-0 ok", "failed"),
        (MIXED, "pods/web-1 ok", "ok"),
        (MIXED, "pods zero", "doubtful"),
        (ONLY, "pods ok", "failed"),
        (ONLY, "pods zero", "failed"),
        (MIXED, "external each", "doubtful"),
        (MIXED, "external sum", "failed"),
        (ONLY, "external none", "failed"),
        (LEFT_OUT, "external none", "failed"),
        (LEFT_OUT, "pods zero", "failed"),
    ] {
        let (url, _task) = backend(StatusCode::OK, body).await;
        let mut arguments: Vec<_> = question.split(' ').collect();
        arguments.push("-n=n");
        arguments.extend(question.starts_with("pods ").then_some("-l=app=web"));
        let (answer, code) = explain(folder.path(), &url, &arguments).await;
        assert_eq!(answer["verdict"], verdict, "{question}: {answer:#}");
        is_named(&arguments, &answer, if verdict == "ok" { "" } else { "histogram-sample" });
        assert_eq!(code, Some(i32::from(verdict == "failed")), "{question}");
        if verdict == "doubtful" {
            arguments.push("--strict");
            assert_eq!(explain(folder.path(), &url, &arguments).await.1, Some(1), "{question}");
        }
        let seen = answer["steps"].to_string();
        assert!(!seen.contains("1 native histograms"), "{seen}");
    }
}

#[tokio::test]
async fn usage_errors_end_with_2() {
    let folder = folder();
    fs::write(folder.path().join("hpa.yaml"), autoscaler("web", &of_pods("ok", "1")).to_string())
        .unwrap();
    for arguments in [
        &["nonsense"][..],
        &["hpa/absent"],
        &["-f=absent.yaml"],
        &["pods", "ok", "-l=a in"],
        // What would be ignored.
        &["pods/web-0", "ok", "-l=app=web"],
        &["-f=hpa.yaml", "-l=app=web"],
        &["-f=hpa.yaml", "--metric-selector=a"],
        &["-f=hpa.yaml", "-n=other"],
    ] {
        let all = [
            "explain",
            "-c=rules.yaml",
            "--objects=objects.yaml",
            "--prometheus-url=http://127.0.0.1:1",
        ];
        let mut command = loadline(&[&all, arguments].concat());
        let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{arguments:?}");
    }
}
