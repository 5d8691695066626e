//! What becomes of a request's names in traces and in the audit log: as a Prometheus and a collector of traces see it.

use std::{net::TcpListener, process::Command, time::Duration};

use loadline::traces;
use opentelemetry_proto::tonic::{
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::support::{
    app::{App, Launch, Reply, custom, external},
    backend::{Answer, Asked, Backend, knows, pods},
    cluster::Kubernetes,
    collector::{Collector, attribute, hex, texts},
    exporter::{Exporter, Page},
    install_tls_provider,
    process::{Ended, Process, loadline},
    recorder::Recorder,
    store::Store,
    until,
};

const RULE: &str = "rules:\n- {seriesQuery: m, metricsQuery: '<<.Series>>', resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}}\n";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const AUDIT_ID: &str = "1f3c3bd2-6d6e-4f1a-9f8e-5b8d2f1c0a77";

/// What was given to a request, and is to be found at Prometheus.
const GIVEN: [(&str, &str); 3] =
    [("traceparent", PARENT), ("tracestate", "rojo=1,congo=2"), ("audit-id", AUDIT_ID)];

async fn backend() -> Backend {
    Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await
}

async fn read(app: &App, headers: &[(&str, &str)]) -> Reply {
    app.request(Method::GET, &custom("namespaces/n/pods/p/m"), headers).await
}

/// The headers of the one query since the last call that say for whom it is.
#[track_caller]
fn said(backend: &Backend) -> [String; 3] {
    let queries: Vec<_> = backend.take().into_iter().filter(Asked::is_query).collect();
    let [query] = &queries[..] else { panic!("{queries:?}") };
    GIVEN.map(|(name, _)| query.header(name).to_owned())
}

#[track_caller]
fn one(spans: &[Span], is: impl Fn(&Span) -> bool) -> &Span {
    let found: Vec<_> = spans.iter().filter(|span| is(span)).collect();
    let [span] = found[..] else { panic!("{found:?} of {spans:?}") };
    span
}

#[track_caller]
fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    one(spans, |span| span.name == name)
}

/// The `traceparent` of what is asked within a span.
fn parent(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

#[track_caller]
fn has(span: &Span, attributes: &[(&str, &str)]) {
    for (key, value) in attributes {
        assert_eq!(attribute(span, key), *value, "{key}");
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_request_to_the_query_that_it_causes() {
    let exporter = Exporter::start(Page::new().pods("requests", "team", 2)).await;
    let store = Store::prometheus(&exporter).await;
    store.until("requests{*}").await;
    let (way, collector) = (Recorder::start(&store.url).await, Collector::start().await);
    let rules = "rules:\n- {seriesQuery: 'requests{namespace!=\"\",pod!=\"\"}', resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}\n";
    let mut launch = Launch::new(rules, &way.url).traced(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "metrics"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=loadline-0"),
    ]);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = launch.start().await;
    let path = custom("namespaces/team/pods/pod-0/requests");
    let mut given = GIVEN.to_vec();
    given.push(("user-agent", "kube-controller-manager"));
    let reply = app.request(Method::GET, &path, &given).await;
    assert_eq!(reply.values(), [("pod-0".to_owned(), "1".to_owned())]);
    assert_eq!(app.get("/healthz").await.status, 200);
    app.stop().await;

    let spans = collector.trace(TRACE);
    let [_, _, _] = &spans[..] else { panic!("{spans:?}") };
    let route =
        "/apis/custom.metrics.k8s.io/{version}/namespaces/{namespace}/{resource}/{name}/{metric}";
    let request = one(&spans, |span| span.kind() == SpanKind::Server);
    assert_eq!(request.name, format!("GET {route}"));
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(request.trace_state, "rojo=1,congo=2");
    let wanted = [
        ("http.request.method", "GET"),
        ("http.route", route),
        ("http.response.status_code", "200"),
        ("url.scheme", "https"),
        ("url.path", &path),
        ("user_agent.original", "kube-controller-manager"),
        ("audit-id", AUDIT_ID),
        ("verb", "get"),
        ("api-group", "custom.metrics.k8s.io"),
        ("api-version", "v1beta2"),
        ("namespace", "team"),
        ("resource", "pods"),
        ("name", "pod-0"),
        ("metric", "requests"),
    ];
    has(request, &wanted);
    let wait = named(&spans, "wait for query");
    assert_eq!(wait.parent_span_id, request.span_id);
    has(wait, &[("loadline.query.joined", "false"), ("loadline.query.result", "fresh")]);
    let query = named(&spans, "query");
    assert_eq!((query.kind(), &query.parent_span_id), (SpanKind::Client, &wait.span_id));
    let promql = "sum(requests{namespace=\"team\",pod=\"pod-0\"}) by (pod)";
    let port = way.url.rsplit(':').next().unwrap();
    let wanted = [
        ("db.system.name", "prometheus"),
        ("db.operation.name", "query"),
        ("db.query.text", promql),
        ("server.address", "127.0.0.1"),
        ("server.port", port),
        ("loadline.backend", "--prometheus-url"),
    ];
    has(query, &wanted);
    assert!(
        spans
            .iter()
            .all(|span| span.status.clone().unwrap_or_default().code() == StatusCode::Unset)
    );

    // Prometheus knows who asks.
    let queries = way.take("/api/v1/query");
    let of_request = queries.iter().find(|headers| headers.contains_key("audit-id")).unwrap();
    assert_eq!(text(of_request, "traceparent"), parent(query));
    assert_eq!(text(of_request, "tracestate"), "rojo=1,congo=2");
    assert_eq!(text(of_request, "audit-id"), AUDIT_ID);

    // What nobody has asked for is a trace of its own.
    let spans = collector.spans();
    let discovery = named(&spans, "discovery");
    assert_eq!((discovery.parent_span_id.len(), hex(&discovery.trace_id) == TRACE), (0, false));
    let asked = way.take("/api/v1/label/__name__/values");
    assert!(!asked.is_empty());
    for headers in asked {
        let by = one(&spans, |span| parent(span) == text(&headers, "traceparent"));
        assert_eq!(by.name, "label/__name__/values");
        assert_eq!(by.parent_span_id, discovery.span_id);
        assert_ne!(attribute(by, "db.query.text"), "");
        assert_eq!(text(&headers, "audit-id"), "");
    }

    // Probes have none, and neither has the export itself.
    let servers = spans.iter().filter(|span| span.kind() == SpanKind::Server);
    assert_eq!(servers.count(), 1);
    for (headers, exported) in collector.requests() {
        assert_eq!(text(&headers, "authorization"), "Bearer s3cret");
        assert_eq!(text(&headers, "content-type"), "application/x-protobuf");
        assert_eq!(text(&headers, "traceparent"), "");
        for resource in exported.resource_spans {
            describes_us(&resource.resource.unwrap());
        }
    }
}

/// As the variables of [`from_a_request_to_the_query_that_it_causes`] say.
#[track_caller]
fn describes_us(resource: &Resource) {
    let said = texts(&resource.attributes);
    for (key, value) in [
        ("service.name", "metrics"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("k8s.pod.name", "loadline-0"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert!(said.contains(&(key, value.to_owned())), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_names_are_passed_on_as_they_came() {
    let (backend, collector) = (backend().await, Collector::start().await);
    let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url), ("OTEL_SDK_DISABLED", "true")];
    let app = Launch::new(RULE, &backend.url).traced(&off).start().await;
    backend.take();
    assert_eq!(read(&app, &GIVEN).await.status, 200);
    assert_eq!(said(&backend), GIVEN.map(|(_, value)| value.to_owned()));
    assert_eq!(read(&app, &[("traceparent", UNSAMPLED)]).await.status, 200);
    assert_eq!(said(&backend), [UNSAMPLED, "", ""]);

    let long = "x".repeat(129);
    for garbage in [
        [("traceparent", "garbage"), ("tracestate", "rojo=1"), ("audit-id", "two words")],
        [
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"),
            ("tracestate", ""),
            ("audit-id", &long),
        ],
    ] {
        assert_eq!(read(&app, &garbage).await.status, 200);
        assert_eq!(said(&backend), ["", "", ""], "{garbage:?}");
    }
    app.stop().await;
    assert!(collector.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_configuration_win() {
    let (backend, collector) = (backend().await, Collector::start().await);
    let mut launch = Launch::new(RULE, &backend.url)
        .traced(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/v1/traces", collector.url))]);
    launch.prometheus.add_header("Traceparent=mine").unwrap();
    launch.prometheus.add_header("Audit-ID=ours").unwrap();
    let app = launch.start().await;
    backend.take();
    assert_eq!(read(&app, &GIVEN).await.status, 200);
    assert_eq!(said(&backend), ["mine", "", "ours"]);
    app.stop().await;
    assert_eq!(collector.trace(TRACE).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_decides_whether_its_trace_is_kept() {
    let (backend, collector) = (backend().await, Collector::start().await);
    let app = Launch::new(RULE, &backend.url)
        .traced(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)])
        .start()
        .await;
    backend.take();
    assert_eq!(read(&app, &[("traceparent", UNSAMPLED)]).await.status, 200);
    let [passed, ..] = said(&backend);
    assert!(passed.starts_with(&format!("00-{TRACE}-")) && passed.ends_with("-00"), "{passed}");
    // What says nothing that can be read begins a trace of its own.
    assert_eq!(read(&app, &[("traceparent", "garbage")]).await.status, 200);
    let [own, ..] = said(&backend);
    app.stop().await;
    assert_eq!(collector.trace(TRACE), []);
    let spans = collector.spans();
    let query = one(&spans, |span| parent(span) == own);
    let request = one(&spans, |span| span.span_id == query.parent_span_id);
    assert_eq!((request.kind(), request.parent_span_id.len()), (SpanKind::Server, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_readers_of_a_query_one_has_caused_it() {
    let (gate, opened) = watch::channel(false);
    let answer = move |_: &Asked| Answer::Gated(opened.clone(), pods(&[("p", "1")]));
    let backend = Backend::start(knows(&["m"], answer)).await;
    let collector = Collector::start().await;
    let mut launch =
        Launch::new(RULE, &backend.url).traced(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = launch.start().await;
    let second = PARENT.replace(TRACE, &"b".repeat(32));
    let waits = async |count: usize| {
        let wanted = format!("loadline_cache_waits_total {count}");
        until("a reader waits", async || {
            let metrics = app.get("/metrics").await.body;
            metrics.lines().any(|line| line == wanted).then_some(())
        })
        .await;
    };
    let theirs = [("traceparent", second.as_str())];
    let readers = async {
        let first = read(&app, &GIVEN);
        let second = async {
            waits(1).await;
            read(&app, &theirs).await
        };
        let open = async {
            waits(2).await;
            gate.send_replace(true);
        };
        tokio::join!(first, second, open)
    };
    let (first, other, ()) = readers.await;
    assert_eq!(first.values(), other.values());
    assert_eq!(said(&backend)[2], AUDIT_ID, "the one query is the first reader's");
    app.stop().await;

    let (mine, others) = (collector.trace(TRACE), collector.trace(&"b".repeat(32)));
    let (cause, joined) = (named(&mine, "wait for query"), named(&others, "wait for query"));
    assert_eq!(named(&mine, "query").parent_span_id, cause.span_id);
    assert!(others.iter().all(|span| span.name != "query"), "{others:?}");
    assert_eq!(attribute(cause, "loadline.query.joined"), "false");
    assert_eq!(cause.links, []);
    assert_eq!(attribute(joined, "loadline.query.joined"), "true");
    let [link] = &joined.links[..] else { panic!("{joined:?}") };
    assert_eq!((&link.trace_id, &link.span_id), (&cause.trace_id, &cause.span_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refreshed_is_for_nobody() {
    let (backend, collector) = (backend().await, Collector::start().await);
    let mut launch =
        Launch::new(RULE, &backend.url).traced(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    launch.planning.life.ttl = Duration::from_millis(100);
    let app = launch.start().await;
    backend.take();
    let refreshed = until("a refresh", async || {
        assert_eq!(read(&app, &GIVEN).await.status, 200);
        let asked = backend.take();
        asked.into_iter().find(|asked| asked.is_query() && asked.header("audit-id").is_empty())
    })
    .await;
    app.stop().await;
    let spans = collector.spans();
    let query = one(&spans, |span| parent(span) == refreshed.header("traceparent"));
    let refresh = one(&spans, |span| span.span_id == query.parent_span_id);
    assert_eq!((refresh.name.as_str(), refresh.parent_span_id.len()), ("refresh", 0));
    assert_ne!(hex(&refresh.trace_id), TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_is_asked_for_a_request() {
    let (backend, collector) = (backend().await, Collector::start().await);
    let cluster = Kubernetes::start(&[("pods", "n", "p", &[("app", "a")])], 10).await;
    cluster.delegation().configure(&[]);
    cluster.delegation().token("good", json!({"username": "holder"}));
    // Without a watch there are LISTs.
    cluster.refuse("list", "pods", Some(403));
    let mut launch = Launch::new(RULE, &backend.url)
        .cluster(&cluster)
        .traced(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    launch.guarded = true;
    let app = launch.start().await;
    until("the server is ready", async || (app.get("/readyz").await.status == 200).then_some(()))
        .await;
    let path = custom("namespaces/n/pods/*/m?labelSelector=app");
    let headers = [("traceparent", PARENT), ("authorization", "Bearer good")];
    assert_eq!(app.request(Method::GET, &path, &headers).await.status, 200);
    cluster.delegation().fail_access_reviews(500);
    let path = external("namespaces/n/q");
    assert_eq!(app.request(Method::GET, &path, &headers).await.status, 500);
    app.stop().await;

    let spans = collector.trace(TRACE);
    let request = one(&spans, |span| span.name.contains("custom.metrics.k8s.io"));
    for name in ["TokenReview", "list objects", "query"] {
        assert_eq!(named(&spans, name).parent_span_id, request.span_id, "{name}");
    }
    assert_eq!(attribute(named(&spans, "list objects"), "resource"), "pods");
    assert_eq!(attribute(named(&spans, "list objects"), "namespace"), "n");
    let failed = one(&spans, |span| span.name.contains("external.metrics.k8s.io"));
    let reviews: Vec<_> = spans.iter().filter(|span| span.name == "SubjectAccessReview").collect();
    let [allowed, refused] = reviews[..] else { panic!("{spans:?}") };
    assert_eq!(allowed.parent_span_id, request.span_id);
    assert_eq!(refused.parent_span_id, failed.span_id);
    for (span, kind) in [(failed, "500"), (refused, "review")] {
        assert_eq!(span.status.clone().unwrap().code(), StatusCode::Error, "{span:?}");
        assert_eq!(attribute(span, "error.type"), kind);
    }
}

#[test]
fn the_component_of_the_manifests_switches_them_on() {
    let copy = tempfile::tempdir().unwrap();
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
    let copied = Command::new("cp").arg("-r").arg(deploy).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let folder = copy.path().join("deploy/mine");
    std::fs::create_dir(&folder).unwrap();
    let text = "resources: [../base]\ncomponents: [../components/traces]\n";
    std::fs::write(folder.join("kustomization.yaml"), text).unwrap();
    let output = Command::new("kubectl").arg("kustomize").arg(&folder).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let documents: Vec<Value> =
        text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    let container = &of("Deployment")["spec"]["template"]["spec"]["containers"][0];
    let environment = container["env"].as_array().unwrap();
    let value = |name: &str| {
        let found = environment.iter().find(|variable| variable["name"] == name)?;
        Some(found["value"].as_str()?.to_owned())
    };
    assert!(traces::Settings::read(value).unwrap().is_some());
    let port = value("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap().rsplit(':').next().unwrap().to_owned();
    let egress = of("NetworkPolicy")["spec"]["egress"].as_array().unwrap();
    let ports = egress.iter().map(|rule| rule["ports"][0]["port"].to_string());
    assert_eq!(ports.filter(|open| *open == port).count(), 1, "{egress:?}");
}

/// A standalone server as a process, and a client that may read its metrics.
struct Server {
    process: Process,
    client: reqwest::Client,
    url: String,
    _folder: TempDir,
}

/// A server with these variables in its environment.
async fn server(backend: &Backend, variables: &[(&str, &str)]) -> Server {
    install_tls_provider();
    let folder = tempfile::tempdir().unwrap();
    let (rules, kubeconfig) = (folder.path().join("rules.yaml"), folder.path().join("kubeconfig"));
    std::fs::write(&rules, RULE).unwrap();
    let mut command = loadline(&[
        "--standalone",
        "--secure-port=0",
        "--log-format=json",
        "-v=4",
        &format!("--config={}", rules.display()),
        &format!("--write-kubeconfig={}", kubeconfig.display()),
        &format!("--prometheus-url={}", backend.url),
    ]);
    command.envs(variables.iter().copied());
    let mut process = Process::start(command, "cargo builds it");
    process.port().await;
    let written = until("the kubeconfig", async || std::fs::read(&kubeconfig).ok()).await;
    let kubeconfig: Value = serde_json::from_slice(&written).unwrap();
    let token = kubeconfig["users"][0]["user"]["token"].as_str().unwrap();
    let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    let url = format!("{server}{}", custom("namespaces/n/pods/p/m"));
    let bearer = format!("Bearer {token}").parse().unwrap();
    let headers = [(reqwest::header::AUTHORIZATION, bearer)].into_iter().collect();
    let client = client.default_headers(headers);
    Server { process, client: client.build().unwrap(), url, _folder: folder }
}

impl Server {
    /// Reads a metric until there were that many values.
    async fn read(&self, count: usize) {
        let mut values = 0;
        until("values", async || {
            let reply = App::send(&self.client, Method::GET, &self.url, &GIVEN).await;
            values += usize::from(reply.status == 200);
            (values >= count).then_some(())
        })
        .await;
    }

    async fn end(self) -> Ended {
        self.process.signal("TERM");
        let ended = self.process.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_at_the_end_and_lines_of_the_log_have_the_same_names() {
    let (backend, collector) = (backend().await, Collector::start().await);
    let server = server(
        &backend,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
            // Longer than the test.
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ],
    )
    .await;
    server.read(1).await;
    assert_eq!(collector.spans(), []);
    let ended = server.end().await;
    let spans = collector.trace(TRACE);
    assert!(spans.iter().any(|span| span.kind() == SpanKind::Server), "{spans:?}");
    assert!(spans.iter().any(|span| span.name == "query"), "{spans:?}");

    let lines = ended.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.collect();
    for message in ["answered", "asked Prometheus"] {
        let line = lines
            .iter()
            .find(|line| line["fields"]["message"] == message && line["trace_id"] == TRACE)
            .unwrap_or_else(|| panic!("{message} in {}", ended.stderr));
        assert_eq!(line["audit_id"], AUDIT_ID, "{line}");
    }
    let serving = lines.iter().find(|line| line["fields"]["message"] == "serving").unwrap();
    assert_eq!((serving.get("audit_id"), serving.get("trace_id")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_does_no_harm() {
    let backend = backend().await;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server(
        &backend,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{closed}")),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ],
    )
    .await;
    server.read(50).await;
    let ended = server.end().await;
    let complaints: Vec<_> =
        ended.stderr.lines().filter(|line| line.contains("spans could not be exported")).collect();
    assert!((1..=2).contains(&complaints.len()), "{complaints:?}");
    assert!(complaints.iter().all(|line| line.contains("Connection refused")), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_is_not_asked_again_and_again() {
    let (backend, collector) = (backend().await, Collector::start().await);
    collector.refuse(400);
    let app = Launch::new(RULE, &backend.url)
        .traced(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)])
        .start()
        .await;
    assert_eq!(read(&app, &GIVEN).await.status, 200);
    app.stop().await;
    let spans = collector.spans();
    let mut ids: Vec<_> = spans.iter().map(|span| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
    assert!(!spans.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_cannot_be_meant_is_named() {
    let (folder, rules) = (tempfile::tempdir().unwrap(), "rules.yaml");
    let rules = folder.path().join(rules);
    std::fs::write(&rules, RULE).unwrap();
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.crt"),
    ] {
        let mut command = loadline(&[
            "--standalone",
            &format!("--config={}", rules.display()),
            "--secure-port=0",
        ]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318").env(variable, value);
        let ended = Process::start(command, "cargo builds it").end().await;
        assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
        assert!(ended.stderr.contains(&format!("loadline: {variable}: ")), "{ended:?}");
    }
}
