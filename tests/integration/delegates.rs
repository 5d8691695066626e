//! Other servers of the metrics APIs: a scripted one over TLS, and a second loadline with other rules.

mod faults;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use loadline::{
    core::rules::CredentialPolicy,
    rules_file::{Requirements, Source},
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::support::{
    app::{App, Launch, custom, external},
    backend::{Answer, Asked, Backend, knows, pods},
    cluster::{Kubernetes, Stored, read_with},
    collector::{Collector, attribute},
    tls::{Authority, behind_tls},
    until,
};

/// A rule for the metric `own` of both APIs.
const RULES: &str = "rules:
- {seriesQuery: own, static: true, resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}
externalRules:
- {seriesQuery: own, static: true, resources: {namespaced: false}, metricsQuery: own}
";

const KEY: &str = "scaledobject.keda.sh/name";

/// A read that KEDA's metrics server answers.
fn of_scaled_object(metric: &str) -> String {
    external(&format!("namespaces/n/{metric}?labelSelector=scaledobject.keda.sh%2Fname%3Dweb"))
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Answer::Raw(code, "application/json", status.to_string())
}

fn json_of(value: &Value) -> Answer {
    Answer::Raw(200, "application/json", value.to_string())
}

/// The values of an external metric.
fn values(metric: &str) -> Value {
    json!({
        "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
        "items": [{"metricName": metric, "metricLabels": null, "timestamp": "2025-11-20T15:17:58Z", "value": "7"}],
    })
}

/// The discovery of a server of external metrics, as KEDA's has it; reads are answered by `read`.
fn external_server(
    read: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| match asked.path.as_str() {
        "/apis/external.metrics.k8s.io" => json_of(&json!({
            "kind": "APIGroup", "apiVersion": "v1", "name": "external.metrics.k8s.io",
            "versions": [{"groupVersion": "external.metrics.k8s.io/v1beta1", "version": "v1beta1"}],
        })),
        "/apis/external.metrics.k8s.io/v1beta1" => json_of(&json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1",
            "resources": [{"name": "externalmetrics", "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": ["get"]}],
        })),
        path if path.starts_with("/apis/external.metrics.k8s.io/v1beta1/namespaces/") => {
            read(asked)
        }
        _ => Answer::Raw(404, "text/plain", "404 page not found".to_owned()),
    }
}

/// As KEDA's metrics server: nothing without the selector, and a failure then.
fn keda(asked: &Asked) -> Answer {
    if asked.parameter("labelSelector") != format!("{KEY}=web") {
        return status(500, "InternalError", "scaledObject name is not specified");
    }
    match asked.path.rsplit('/').next() {
        Some("s0-prometheus") => json_of(&values("s0-prometheus")),
        _ => status(404, "NotFound", "no such metric"),
    }
}

/// A delegate over TLS, and the file that names it.
struct Delegate {
    server: Backend,
    url: String,
    folder: TempDir,
    guard: DropGuard,
}

impl Delegate {
    async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let server = Backend::start(script).await;
        let authority = Authority::new();
        let (url, guard) = behind_tls(&server, authority.sign("127.0.0.1", |_| {}), None).await;
        let folder = folder_with(&authority.certificate.pem(), "delegate-token");
        Self { server, url, folder, guard }
    }

    /// Its entry in the file.
    fn entry(&self, more: &str) -> String {
        entry(self.folder.path(), &self.url, more)
    }

    /// The reads that it was asked for.
    fn take_reads(&self) -> Vec<Asked> {
        let asked = self.server.take().into_iter();
        asked.filter(|asked| asked.path.contains("/namespaces/")).collect()
    }
}

/// A folder with an authority and a token.
fn folder_with(authority: &str, token: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.crt"), authority).unwrap();
    fs::write(folder.path().join("token"), token).unwrap();
    folder
}

fn entry(folder: &Path, url: &str, more: &str) -> String {
    let folder = folder.display();
    format!(
        "{{name: other, url: '{url}', caFile: '{folder}/ca.crt', tokenFile: '{folder}/token'{more}}}"
    )
}

/// loadline with these delegates, whose files it may read.
async fn launch(rules: &str, delegates: &[(&str, &Path)]) -> (Launch, Backend) {
    let backend = Backend::start(knows(&["own"], |_| Answer::Data(pods(&[("p", "1")])))).await;
    let entries: String = delegates.iter().map(|(entry, _)| format!("- {entry}\n")).collect();
    let mut launch = Launch::new(&format!("{rules}delegates:\n{entries}"), &backend.url);
    let folders = delegates.iter().map(|(_, folder)| folder.to_path_buf()).collect();
    launch.credentials = Arc::new(CredentialPolicy { folders, ..CredentialPolicy::default() });
    (launch, backend)
}

/// Starts it, and waits until its delegates have been asked for their metrics.
async fn start(rules: &str, delegate: &Delegate, more: &str) -> (App, Backend) {
    let entry = delegate.entry(more);
    let (launch, backend) = launch(rules, &[(&entry, delegate.folder.path())]).await;
    let app = launch.start().await;
    listed(&app).await;
    (app, backend)
}

async fn listed(app: &App) {
    until("the delegate has been asked for its metrics", async || {
        let metrics = app.get("/metrics").await.body;
        metrics.contains("loadline_delegate_list_successful{").then_some(())
    })
    .await;
}

async fn assert_own(app: &App) {
    let began = Instant::now();
    for path in [custom("namespaces/n/pods/p/own"), external("namespaces/n/own")] {
        let reply = app.get(&path).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    assert_eq!(app.get("/readyz").await.status, 200);
    assert!(began.elapsed().as_millis() < 2_000, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_is_asked_as_ourselves_for_what_its_match_says() {
    let delegate = Delegate::start(external_server(keda)).await;
    let more = format!(", api: external, match: {{selectorKey: {KEY}}}");
    let (app, backend) = start(RULES, &delegate, &more).await;
    assert_own(&app).await;
    delegate.server.take();
    backend.take();
    let own = format!("Bearer {}", app.token);
    let headers = [
        ("authorization", own.as_str()),
        ("cookie", "client-secret"),
        ("x-remote-user", "admin"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let url = app.url(&of_scaled_object("s0-prometheus"));
    let reply = App::send(&app.client, Method::GET, &url, &headers).await;
    let wanted = r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[{"metricName":"s0-prometheus","metricLabels":{},"timestamp":"2025-11-20T15:17:58Z","value":"7"}]}"#;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, wanted));
    let asked = delegate.take_reads();
    let [asked] = &asked[..] else { panic!("{asked:#?}") };
    assert_eq!(asked.path, "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/s0-prometheus");
    assert_eq!(asked.query, "labelSelector=scaledobject.keda.sh%2Fname%3Dweb");
    let sent: Vec<_> = asked.headers.keys().map(ToString::to_string).collect();
    for name in &sent {
        let known = [
            "accept",
            "accept-encoding",
            "authorization",
            "host",
            "loadline-delegated",
            "user-agent",
        ];
        assert!(known.contains(&name.as_str()), "{sent:?}");
    }
    assert_eq!(asked.header("authorization"), "Bearer delegate-token");
    // It has the metric, so that nobody looks for it here.
    assert_eq!(backend.count(|_| true), 0, "{:#?}", backend.take());

    // Of a match the delegate alone decides.
    let reply = app.get(&of_scaled_object("s1-prometheus")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["reason"]), (404, &json!("NotFound")));
    assert_eq!(reply.failure(), "the delegate other answered 404: no such metric");
    assert_eq!(delegate.take_reads().len(), 1);
    // What does not match is not asked for.
    let reply = app.get(&external("namespaces/n/s0-prometheus")).await;
    assert!(reply.failure().contains("could not find the metric s0-prometheus"));
    assert_eq!(delegate.take_reads().len(), 0);

    // Its metrics are listed beside ours.
    let list = app.get("/apis/external.metrics.k8s.io/v1beta1").await.json();
    let names: Vec<_> =
        list["resources"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["own", "externalmetrics"]);
    let metrics = app.get("/metrics").await.body;
    for line in [
        "loadline_delegate_connected{delegate=\"other\"} 1\n",
        "loadline_delegate_reads_total{delegate=\"other\",outcome=\"success\"} 1\n",
        "loadline_delegate_reads_total{delegate=\"other\",outcome=\"unknown-metric\"} 1\n",
        "loadline_delegate_breaker_open{delegate=\"other\"} 0\n",
        "loadline_delegate_listed_metrics{delegate=\"other\",group=\"external.metrics.k8s.io\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert!(app.get("/readyz?verbose").await.body.contains("[+]delegates ok"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_delegate_is_a_span_of_the_request() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let (delegate, collector) =
        (Delegate::start(external_server(keda)).await, Collector::start().await);
    let entry = delegate.entry(&format!(", api: external, match: {{selectorKey: {KEY}}}"));
    let (launch, _backend) = launch(RULES, &[(&entry, delegate.folder.path())]).await;
    let variable = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url);
    let app = launch.traced(&[variable]).start().await;
    listed(&app).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for (metric, status) in [("s0-prometheus", 200), ("s1-prometheus", 404)] {
        let headers = [("traceparent", &*parent)];
        let reply = app.request(Method::GET, &of_scaled_object(metric), &headers).await;
        assert_eq!(reply.status, status, "{}", reply.body);
    }
    // No server has a metric of this name, and none is asked.
    let unsent = of_scaled_object("a%2Fb");
    let reply = app.request(Method::GET, &unsent, &[("traceparent", &*parent)]).await;
    assert_eq!(reply.status, 404, "{}", reply.body);
    app.stop().await;
    let spans = collector.trace(TRACE);
    let of_delegate: Vec<_> = spans.iter().filter(|span| span.name == "delegate").collect();
    let [read, refused] = of_delegate[..] else { panic!("{spans:?}") };
    for span in [read, refused] {
        let parent = spans.iter().find(|other| other.span_id == span.parent_span_id);
        assert_eq!(parent.map(Span::kind), Some(SpanKind::Server), "{spans:?}");
        assert_eq!(attribute(span, "loadline.delegate"), "other");
        assert_eq!(attribute(span, "server.address"), "127.0.0.1");
    }
    assert_eq!(attribute(refused, "http.response.status_code"), "404");
    assert_eq!(attribute(refused, "error.type"), "unknown-metric");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_says_whose_a_metric_is() {
    let delegate = Delegate::start(external_server(keda)).await;
    let more = format!(", api: external, match: {{selectorKey: {KEY}}}");
    let (app, _backend) = start(RULES, &delegate, &more).await;
    let explain = async |metric: &str| {
        let path = format!(
            "namespaces/n/explanations/{metric}?api=external&metricLabelSelector=scaledobject.keda.sh%2Fname%3Dweb"
        );
        app.get(&external(&path)).await.body
    };
    let told = explain("s0-prometheus").await;
    assert!(told.contains("the delegate `other` is asked for `s0-prometheus`"), "{told}");
    assert!(told.contains("\"values\""), "{told}");
    let told = explain("s1-prometheus").await;
    assert!(told.contains("unknown-metric") && told.contains("no such metric"), "{told}");
    let page = app.get("/apis/external.metrics.k8s.io/v1beta1/statuspages/loadline").await.body;
    assert!(
        page.contains("Other servers of the metrics APIs") && page.contains("answers"),
        "{page}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_first_and_then_each_delegate_in_its_turn() {
    let read = |known: &'static str| {
        external_server(move |asked: &Asked| match asked.path.rsplit('/').next() {
            Some(metric) if metric == known || metric == "both" || metric == "own" => {
                json_of(&values(metric))
            }
            _ => status(404, "NotFound", "no such metric"),
        })
    };
    let (first, second) = (Delegate::start(read("a")).await, Delegate::start(read("b")).await);
    let entries = [first.entry(""), second.entry("").replace("name: other", "name: second")];
    let delegates =
        [(entries[0].as_str(), first.folder.path()), (entries[1].as_str(), second.folder.path())];
    let (launch, _backend) = launch(RULES, &delegates).await;
    let app = launch.start().await;
    listed(&app).await;
    let asked = async |metric: &str| {
        let status = app.get(&external(&format!("namespaces/n/{metric}"))).await.status.as_u16();
        (status, first.take_reads().len(), second.take_reads().len())
    };
    assert_eq!(asked("own").await, (200, 0, 0));
    assert_eq!(asked("a").await, (200, 1, 0));
    assert_eq!(asked("b").await, (200, 1, 1));
    assert_eq!(asked("both").await, (200, 1, 0));
    // Nobody has it: the answer is ours.
    let reply = app.get(&external("namespaces/n/none")).await;
    assert!(reply.failure().contains("loadline explain"), "{}", reply.body);
    // One that passes reads on does not ask others for a delegator.
    first.take_reads();
    let headers = [("loadline-delegated", "1")];
    let reply = app.request(Method::GET, &external("namespaces/n/a"), &headers).await;
    assert_eq!((reply.status.as_u16(), first.take_reads().len()), (404, 0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_delegate_stands_in_for_the_one_that_lists_a_metric() {
    let away = external_server(|_: &Asked| status(503, "ServiceUnavailable", "later"));
    let first = Delegate::start(move |asked: &Asked| match asked.path.as_str() {
        "/apis/external.metrics.k8s.io/v1beta1" => json_of(&json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1",
            "resources": [{"name": "listed", "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": ["get"]}],
        })),
        _ => away(asked),
    })
    .await;
    let all = |asked: &Asked| json_of(&values(asked.path.rsplit('/').next().unwrap()));
    let second = Delegate::start(external_server(all)).await;
    let entries = [first.entry(""), second.entry("").replace("name: other", "name: second")];
    let delegates =
        [(entries[0].as_str(), first.folder.path()), (entries[1].as_str(), second.folder.path())];
    let (launch, _backend) = launch(RULES, &delegates).await;
    let app = launch.start().await;
    until("both lists are known", async || {
        let list = app.get("/apis/external.metrics.k8s.io/v1beta1").await.body;
        (list.contains("\"listed\"") && list.contains("externalmetrics")).then_some(())
    })
    .await;
    second.take_reads();
    let reply = app.get(&external("namespaces/n/listed")).await;
    assert_eq!((reply.status.as_u16(), second.take_reads().len()), (503, 0), "{}", reply.body);
    assert!(reply.failure().contains("the delegate other answered 503"), "{}", reply.body);
    // A metric that it does not list may be the other one's.
    let reply = app.get(&external("namespaces/n/unlisted")).await;
    assert_eq!((reply.status.as_u16(), second.take_reads().len()), (200, 1), "{}", reply.body);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_match_takes_is_not_fetched_for_autoscalers() {
    let delegate = Delegate::start(external_server(keda)).await;
    let entry = delegate.entry(", api: external, match: {metrics: theirs}");
    // Two are there at once, and one when it is found.
    let rules: String = [("own", "static: true, "), ("theirs", "static: true, "), ("later", "")]
        .map(|(series, more)| format!("- {{seriesQuery: {series}, {more}resources: {{namespaced: false}}, metricsQuery: {series}}}\n"))
        .concat();
    let cluster = Kubernetes::start(&[], 100).await;
    let autoscaler = |metric: &str| {
        let target = json!({"type": "Value", "value": "1"});
        let metrics = json!([{"type": "External", "external": {"metric": {"name": metric}, "target": target}}]);
        Stored::new("horizontalpodautoscalers", "n", metric, &[])
            .with(json!({"spec": {"metrics": metrics}, "status": read_with(1)}))
    };
    for metric in ["own", "theirs", "later"] {
        cluster.apply(autoscaler(metric));
    }
    let is_found = Arc::new(AtomicBool::new(false));
    let found = Arc::clone(&is_found);
    let sample = |_: &Asked| Answer::Data(pods(&[("p", "1")]));
    let (without, with) = (knows(&["own"], sample), knows(&["own", "later"], sample));
    let backend =
        Backend::start(
            move |asked| {
                if found.load(Ordering::SeqCst) { with(asked) } else { without(asked) }
            },
        )
        .await;
    let rules = format!("externalRules:\n{rules}delegates:\n- {entry}\n");
    let mut launch = Launch::new(&rules, &backend.url).cluster(&cluster);
    let folders = [delegate.folder.path().to_path_buf()].into();
    launch.credentials = Arc::new(CredentialPolicy { folders, ..CredentialPolicy::default() });
    launch.planning.life.ttl = Duration::from_secs(600);
    launch.relist_interval = Duration::from_secs(1);
    let app = launch.start().await;
    let asked = async |metric: &str| {
        let is = |asked: &Asked| asked.is_query() && asked.parameter("query") == metric;
        until("a metric is fetched", async || (backend.count(is) > 0).then_some(())).await;
    };
    asked("own").await;
    // What was known with it has been fetched before what comes later.
    is_found.store(true, Ordering::SeqCst);
    asked("later").await;
    let queries = backend.count(|asked| asked.parameter("query") == "theirs");
    assert_eq!((queries, delegate.take_reads().len()), (0, 0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_by_a_delegate_what_they_may_not_read() {
    let delegate = Delegate::start(external_server(keda)).await;
    let cluster = Kubernetes::start(&[], 100).await;
    cluster.delegation().configure(&[]);
    cluster.delegation().token("alice-token", json!({"username": "alice"}));
    cluster.delegation().access(|spec| {
        let attributes = &spec["resourceAttributes"];
        let may = attributes["namespace"] == "n" && attributes["resource"] == "s0-prometheus";
        json!({"allowed": may && spec["user"] == "alice"})
    });
    let entry = delegate.entry(&format!(", api: external, match: {{selectorKey: {KEY}}}"));
    let (launch, _backend) = launch(RULES, &[(&entry, delegate.folder.path())]).await;
    let mut launch = launch.cluster(&cluster);
    launch.guarded = true;
    let app = launch.start().await;
    let read = async |path: &str, token: &str| {
        let token = format!("Bearer {token}");
        let headers = [("authorization", token.as_str())];
        app.request(Method::GET, path, &headers).await.status.as_u16()
    };
    let allowed = of_scaled_object("s0-prometheus");
    until("the delegate is connected", async || {
        (read(&allowed, "alice-token").await == 200).then_some(())
    })
    .await;
    delegate.take_reads();
    assert_eq!(read(&of_scaled_object("s1-prometheus"), "alice-token").await, 403);
    assert_eq!(read(&allowed.replace("/n/", "/kube-system/"), "alice-token").await, 403);
    assert_eq!(read(&allowed, "other-token").await, 401);
    assert_eq!(app.get(&allowed).await.status, 403);
    assert_eq!(delegate.take_reads().len(), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_loadline_with_other_rules_is_a_delegate() {
    const OTHERS: &str = "rules:
- {seriesQuery: theirs, static: true, resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}
externalRules:
- {seriesQuery: theirs, static: true, resources: {namespaced: false}, metricsQuery: theirs}
";
    let store = Backend::start(knows(&[], |_| Answer::Data(pods(&[("p", "5"), ("q", "6")])))).await;
    let second = Launch::new(OTHERS, &store.url).start().await;
    let folder = folder_with(&second.authority_pem, &second.token);
    let entry = entry(folder.path(), &second.url(""), "");
    let (launch, _backend) = launch(RULES, &[(&entry, folder.path())]).await;
    let first = launch.start().await;
    listed(&first).await;
    assert_own(&first).await;
    for version in ["v1beta1", "v1beta2"] {
        for rest in
            ["namespaces/n/pods/*/theirs", "namespaces/n/pods/p/theirs?metricLabelSelector=a%3Db"]
        {
            let path = format!("/apis/custom.metrics.k8s.io/{version}/{rest}");
            let (ours, theirs) = (first.get(&path).await, second.get(&path).await);
            assert_eq!((ours.status.as_u16(), ours.body), (200, theirs.body), "{path}");
        }
        let list = first.get(&format!("/apis/custom.metrics.k8s.io/{version}")).await.body;
        assert!(list.contains("\"pods/own\"") && list.contains("\"pods/theirs\""), "{list}");
    }
    let path = external("namespaces/n/theirs");
    assert_eq!(first.get(&path).await.body, second.get(&path).await.body);
    second.stop().await;
    let reply = first.get(&path).await;
    assert_eq!(reply.failure(), "the delegate other cannot be reached");
    assert_own(&first).await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_file_adds_and_removes_delegates() {
    let delegate = Delegate::start(external_server(keda)).await;
    let entry = delegate.entry(&format!(", api: external, match: {{selectorKey: {KEY}}}"));
    let with = format!("{RULES}delegates:\n- {entry}\n");
    let (mut launch, _backend) = launch(RULES, &[(&entry, delegate.folder.path())]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, &with).unwrap();
    let asked = Arc::new(Notify::new());
    let strict = Requirements { is_strict: true, serves_teams: false };
    let read = Source::read(Some(&path), None, strict, Arc::clone(&asked));
    launch.source = Some(read.unwrap());
    let app = launch.start().await;
    let until_status = async |status: u16| {
        until("the change is in use", async || {
            let read = app.get(&of_scaled_object("s0-prometheus")).await;
            (read.status == status).then_some(())
        })
        .await;
    };
    until_status(200).await;
    for (text, status) in [(RULES, 404), (&with, 200), (RULES, 404)] {
        fs::write(&path, text).unwrap();
        asked.notify_one();
        until_status(status).await;
        assert_own(&app).await;
    }
    let metrics = app.get("/metrics").await.body;
    assert!(!metrics.contains("loadline_delegate_breaker_open{"), "{metrics}");
    assert!(!app.get("/readyz?verbose").await.body.contains("delegates"));
    app.stop().await;
}
