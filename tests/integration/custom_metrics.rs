//! custom.metrics.k8s.io with a real Prometheus: paths, selectors, values, documents.
//!
//! Bodies are compared as the bytes that they are, timestamps aside: clients in many languages read them.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Backend, knows, pods},
    cluster::{Kubernetes, Object},
    exporter::{Exporter, Page},
    store::Store,
};

const RULES: &str = r#"
rules:
- seriesQuery: '{__name__=~"^demo_.*",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^demo_(.*)$"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'node_heat{node!=""}'
  resources: {overrides: {node: {resource: node}}}
  metricsQuery: avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'tenant_sessions{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'ingress_hits{namespace!="",ingress!=""}'
  resources:
    overrides: {namespace: {resource: namespace}, ingress: {group: networking.k8s.io, resource: ingress}}
  metricsQuery: max(max_over_time(<<.Series>>{<<.LabelMatchers>>}[90s])) by (<<.GroupBy>>)
- seriesQuery: dep_queue
  resources: {template: "kube_<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'vllm:num_requests_waiting{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespaces}, pod: {resource: pods}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'several{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: <<.Series>>{<<.LabelMatchers>>}
- seriesQuery: 'odd{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: as_scalar}
  metricsQuery: scalar(sum(<<.Series>>{<<.LabelMatchers>>}))
- seriesQuery: 'odd{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: as_matrix}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}[1m]'
- seriesQuery: 'odd{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: unlabelled}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
- seriesQuery: 'odd{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: refused}
  metricsQuery: no_such_function(<<.Series>>{<<.LabelMatchers>>})
- seriesQuery: 'odd{pod!=""}'
  resources: {overrides: {pod: {resource: pod}}}
  name: {as: nowhere}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
"#;

/// One name is no Kubernetes name, and one is a regular expression that would match another.
fn page() -> Page {
    let pod = |pod: &str| format!("namespace=\"team\",pod=\"{pod}\"");
    Page::new()
        .series("demo_rate", &pod("web-0"), "9.99998")
        .series("demo_rate", &pod("web-1"), "2000")
        .series("demo_rate", &pod("db-0"), "0.1")
        .series("demo_rate", &pod("web.1"), "5")
        .series("demo_rate", "namespace=\"other\",pod=\"web-0\"", "77")
        .series("demo_http", &format!("{},method=\"get\",code=\"200\"", pod("web-0")), "1")
        .series("demo_http", &format!("{},method=\"post\",code=\"200\"", pod("web-0")), "2")
        .series("demo_http", &format!("{},method=\"get\",code=\"5.0\"", pod("web-1")), "4")
        .series("demo_http", &format!("{},code=\"510\"", pod("web-1")), "8")
        .series("demo_shape", &pod("web-0"), "NaN")
        .series("demo_shape", &pod("web-1"), "+Inf")
        .series("demo_shape", &pod("db-0"), "-Inf")
        .series("demo_shape", &pod("web.1"), "-1.5")
        .series("demo_large", &pod("web-0"), "1e300")
        .series("demo_large", &pod("web-1"), "536870912")
        .series("demo_large", &pod("db-0"), "10.5")
        .series("demo_large", &pod("web.1"), "0.0004")
        .series("node_heat", "node=\"n1\"", "41.5")
        .series("node_heat", "node=\"n2\"", "40")
        .series("tenant_sessions", "namespace=\"team\"", "12")
        .series("tenant_sessions", "namespace=\"other\"", "3")
        .series("ingress_hits", "namespace=\"team\",ingress=\"shop\"", "250")
        .series(
            "dep_queue",
            "kube_namespace=\"team\",kube_deployment=\"web\",kube_pod=\"web-0\"",
            "6",
        )
        .series("vllm:num_requests_waiting", &pod("web-0"), "3")
        .series("several", &format!("{},worker=\"a\"", pod("web-0")), "1")
        .series("several", &format!("{},worker=\"b\"", pod("web-0")), "2")
        .series("several", &format!("{},worker=\"b\"", pod("web-1")), "4")
        .series("several", &format!("{},worker=\"a\"", pod("web-1")), "3")
        .series("odd", &pod("web-0"), "1")
}

const OBJECTS: &[Object] = &[
    ("namespaces", "", "team", &[("tier", "paid")]),
    ("namespaces", "", "other", &[("tier", "free")]),
    ("nodes", "", "n1", &[("zone", "a")]),
    ("nodes", "", "n2", &[("zone", "b")]),
    ("pods", "team", "web-0", &[("app", "web"), ("track", "stable")]),
    ("pods", "team", "web-1", &[("app", "web"), ("track", "canary")]),
    ("pods", "team", "db-0", &[("app", "db")]),
    ("pods", "team", "idle-0", &[("app", "idle")]),
    ("pods", "other", "web-0", &[("app", "web")]),
    ("deployments", "team", "web", &[]),
    ("ingresses", "team", "shop", &[]),
];

/// Path below the version, with its query.
const READS: &[&str] = &[
    // One object.
    "namespaces/team/pods/web-0/rate",
    "namespaces/team/pod/web-1/rate",
    "namespaces/team/Pods/db-0/rate",
    "namespaces/other/pods/web-0/rate",
    "nodes/n1/node_heat",
    "node/n2/node_heat",
    "namespaces/team/metrics/tenant_sessions",
    "namespaces/team/ingresses.networking.k8s.io/shop/ingress_hits",
    "namespaces/team/ingress.networking.k8s.io/shop/ingress_hits",
    "namespaces/team/ingress/shop/ingress_hits",
    "namespaces/team/deployments.apps/web/dep_queue",
    "namespaces/team/deployment/web/dep_queue",
    "namespaces/team/pods/web-0/dep_queue",
    "namespaces/team/pods/web-0/vllm:num_requests_waiting",
    "namespaces/team/pods/web%2D0/vllm%3Anum_requests_waiting",
    // A metric of pods is one of their namespace too, where the rule says so.
    "namespaces/team/metrics/rate",
    // All objects.
    "namespaces/team/pods/*/rate",
    "namespaces/team/pods/%2A/rate?labelSelector=app%3Dweb",
    "namespaces/team/pods/*/rate?labelSelector=app=web,track!=canary",
    "namespaces/team/pods/*/rate?labelSelector=app+in+(web,db)",
    "namespaces/team/pods/*/rate?labelSelector=!track",
    "nodes/*/node_heat",
    "nodes/*/node_heat?labelSelector=zone=b",
    "namespaces/*/metrics/tenant_sessions",
    "namespaces/*/metrics/tenant_sessions?labelSelector=tier=free",
    // Which series.
    "namespaces/team/pods/*/http",
    "namespaces/team/pods/*/http?metricLabelSelector=method=get",
    "namespaces/team/pods/*/http?metricLabelSelector=method==get",
    "namespaces/team/pods/*/http?metricLabelSelector=method!=get",
    "namespaces/team/pods/*/http?metricLabelSelector=method+in+(get,post)",
    "namespaces/team/pods/*/http?metricLabelSelector=method+notin+(get)",
    "namespaces/team/pods/*/http?metricLabelSelector=method",
    "namespaces/team/pods/*/http?metricLabelSelector=!method",
    "namespaces/team/pods/*/http?metricLabelSelector=code+in+(5.0)",
    "namespaces/team/pods/web-0/http?metricLabelSelector=method=post,code=200",
    // Values.
    "namespaces/team/pods/*/shape",
    "namespaces/team/pods/*/large",
    "namespaces/team/pods/web.1/shape",
    "namespaces/team/pods/web.1/large",
    "namespaces/team/pods/*/several",
    // Nothing.
    "namespaces/team/pods/*/rate?labelSelector=app=idle",
    "namespaces/team/pods/*/http?metricLabelSelector=method=put",
    "namespaces/team/pods/web-0/http?metricLabelSelector=method=put",
    "namespaces/team/pods/nobody/rate",
    "namespaces/team/pods/web-1/shape",
    "namespaces/team/pods/*/rate?labelSelector=app=none",
    "namespaces/empty/pods/*/rate",
    "nodes/*/node_heat?labelSelector=zone=c",
    "namespaces/team/pods/web-0/unknown",
    "namespaces/team/pods/web-0/node_heat",
    "namespaces/team/gadgets/g/rate",
    "namespaces/team/po/web-0/rate",
    // The wrong scope.
    "pods/web-0/rate",
    "namespaces/team/nodes/n1/node_heat",
    // What cannot be asked.
    "namespaces/team/rate",
    "namespaces/team/pods/web-0/rate/more",
    "namespaces/team/pods//rate",
    "pods/rate",
    "nodes/%ff/node_heat",
    "namespaces/team/pods/*/rate?labelSelector=app=(",
    "namespaces/team/pods/*/http?metricLabelSelector=method+in+get",
    "namespaces/team/pods/*/http?metricLabelSelector=app.kubernetes.io/name=x",
    "namespaces/team/pods/*/http?metricLabelSelector=code>3",
    // What the rule's query does not give.
    "namespaces/team/pods/web-0/as_scalar",
    "namespaces/team/pods/web-0/as_matrix",
    "namespaces/team/pods/web-0/unlabelled",
    "namespaces/team/pods/*/unlabelled",
    "namespaces/team/pods/web-0/refused",
    "namespaces/team/pods/web-0/nowhere",
];

async fn table(app: &App) -> String {
    let mut text = String::new();
    for read in READS {
        let reply = app.get(&custom(read)).await;
        if reply.status != 200 {
            reply.failure();
        }
        text.push_str(&reply.shown(read));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn reads() {
    let exporter = Exporter::start(page()).await;
    let prometheus = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 2).await;
    let app = Launch::new(RULES, &prometheus.url).cluster(&cluster).start().await;

    cluster.take_lists();
    insta::assert_snapshot!("reads", table(&app).await);

    // In v1beta1 the metric's name and the selector stand elsewhere.
    let mut v1beta1 = String::new();
    for read in [
        "namespaces/team/pods/*/rate",
        "namespaces/team/pods/*/http?metricLabelSelector=method+in+(get,post),code=200,!x",
        "namespaces/team/ingress/shop/ingress_hits",
        "nodes/n1/node_heat",
        "namespaces/team/metrics/tenant_sessions",
        "namespaces/team/pods/*/rate?labelSelector=app=idle",
        "namespaces/team/pods/web-0/unknown",
    ] {
        let reply = app.get(&format!("/apis/custom.metrics.k8s.io/v1beta1/{read}")).await;
        v1beta1.push_str(&reply.shown(read));
    }
    insta::assert_snapshot!("reads_v1beta1", v1beta1);

    lists_of_objects(&app, &cluster).await;
    documents(&app).await;
    protocol(&app).await;
    app.stop().await;

    standalone(&prometheus).await;
}

/// What the API server is asked: nothing, once its objects are known, and its failures hurt nobody.
async fn lists_of_objects(app: &App, cluster: &Kubernetes) {
    cluster.take_lists();
    app.get(&custom("namespaces/team/pods/*/rate?labelSelector=app=web")).await.values();
    let all = app.get(&custom("namespaces/team/pods/*/rate")).await.values();
    assert_eq!(all.len(), 3, "over two pages: {all:?}");
    app.get(&custom("namespaces/team/pods/web-0/rate")).await.values();
    app.get(&custom("namespaces/team/pods/web-0/unknown")).await.failure();
    app.get(&custom("namespaces/team/pods/*/unknown")).await.failure();
    cluster.fail_lists(Some(500));
    assert_eq!(app.get(&custom("namespaces/team/pods/*/rate")).await.values(), all);
    cluster.fail_lists(None);
    assert_eq!(cluster.take_lists(), [""; 0]);
}

async fn documents(app: &App) {
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let kube_apiserver = format!(
        "{aggregated},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
    );
    let mut text = String::new();
    for (path, accept) in [
        ("/apis", "application/json"),
        ("/apis", kube_apiserver.as_str()),
        ("/apis/custom.metrics.k8s.io", "application/json"),
        ("/apis/custom.metrics.k8s.io/v1beta2", "application/json"),
    ] {
        let reply = app.request(Method::GET, path, &[("accept", accept)]).await;
        let media = reply.headers["content-type"].to_str().unwrap();
        let body = reply.body.replace("},{", "},\n{");
        writeln!(text, "{path} as {accept}\n  {} {media}\n{body}", reply.status).unwrap();
    }
    insta::assert_snapshot!("documents", text);

    let plain = app.get("/apis").await.body;
    for (path, accept) in [
        ("/apis/", "*/*"),
        ("/apis", "application/vnd.kubernetes.protobuf,application/json"),
        ("/apis", "application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList"),
    ] {
        let reply = app.request(Method::GET, path, &[("accept", accept)]).await;
        assert_eq!(reply.body, plain, "{path} as {accept}");
        assert_eq!(reply.headers["content-type"], "application/json");
    }
    // Before Kubernetes 1.30 the aggregator does not know v2.
    let old = aggregated.replace("v=v2", "v=v2beta1");
    let new = app.request(Method::GET, "/apis", &[("accept", aggregated)]).await.body;
    let reply = app.request(Method::GET, "/apis", &[("accept", &old)]).await;
    assert_eq!(reply.headers["content-type"], old);
    assert_eq!(reply.body, new.replace("apidiscovery.k8s.io/v2", "apidiscovery.k8s.io/v2beta1"));

    let v1beta1 = app.get("/apis/custom.metrics.k8s.io/v1beta1/").await.body;
    let v1beta2 = app.get("/apis/custom.metrics.k8s.io/v1beta2").await.body;
    assert_eq!(v1beta1, v1beta2.replace("v1beta2", "v1beta1"));

    let version = app.get("/version").await.json();
    assert_eq!(version["gitVersion"], concat!("v", env!("CARGO_PKG_VERSION")));
    for path in ["/healthz", "/livez", "/readyz"] {
        let reply = app.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "ok"), "{path}");
    }
}

/// What is no matter of metrics: methods, paths, encodings.
async fn protocol(app: &App) {
    let read = custom("namespaces/team/pods/*/rate");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in [read.as_str(), "/apis", "/apis/custom.metrics.k8s.io/v1beta1", "/healthz"] {
            let reply = app.request(method.clone(), path, &[]).await;
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.json()["reason"], "MethodNotAllowed");
            reply.failure();
        }
    }
    for path in [
        "/",
        "/nothing",
        "/apis/apps",
        "/apis/apps/v1",
        "/apis/custom.metrics.k8s.io/v1",
        "/apis/custom.metrics.k8s.io/v1/nodes/n1/node_heat",
        "/api/v1/namespaces",
        "//apis",
    ] {
        let reply = app.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.json()["reason"], "NotFound");
        assert_eq!(reply.failure(), "the server could not find the requested resource");
    }
    for path in ["/apis/%ff", "/apis/%ff/v1", "/apis/custom.metrics.k8s.io/%ff", "/%ff"] {
        let reply = app.get(path).await;
        assert!(reply.status.is_client_error(), "{path}: {reply:?}");
        reply.failure();
    }

    assert_eq!(app.get(&read).await.headers["content-type"], "application/json");
    let head = app.request(Method::HEAD, &read, &[]).await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
    assert_eq!(head.headers["content-type"], "application/json");

    // Our client asks for gzip, and gets what is as small as this plain.
    assert_eq!(
        app.client.get(app.url(&read)).send().await.unwrap().version(),
        http::Version::HTTP_2
    );
    let old = reqwest::Client::builder().tls_certs_only([app.authority.clone()]).no_proxy();
    let old = old.http1_only().no_gzip().build().unwrap();
    let long = "/apis/custom.metrics.k8s.io/v1beta1";
    let plain = old.get(app.url(long)).send().await.unwrap();
    assert_eq!(plain.version(), http::Version::HTTP_11);
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.bytes().await.unwrap();
    assert_eq!(plain, app.get(long).await.body.as_bytes());

    // kube-apiserver sends each group of a user in a header of its own.
    let groups = (0..500).map(|number| format!("{number:036}"));
    let request = groups.fold(app.client.get(app.url(long)), |request, group| {
        request.header("x-remote-group", group)
    });
    assert_eq!(request.send().await.unwrap().status(), 200);

    // Nobody who trusts other authorities gets that far.
    let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(stranger.get(app.url("/healthz")).send().await.unwrap_err().is_connect());
}

/// Without a cluster: the objects are those that the queries return, or those of manifests.
async fn standalone(prometheus: &Store) {
    let app = Launch::new(RULES, &prometheus.url).start().await;
    let names = async |app: &App, path: &str| {
        let values = app.get(&custom(path)).await.values().into_iter();
        values.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&app, "namespaces/team/pods/*/rate").await, "db-0 web-0 web-1 web.1");
    assert_eq!(names(&app, "namespaces/*/metrics/tenant_sessions").await, "other team");
    assert_eq!(names(&app, "nodes/*/node_heat").await, "n1 n2");
    assert_eq!(names(&app, "namespaces/nobody/pods/*/rate").await, "");
    assert_eq!(names(&app, "namespaces/team/deployments/*/dep_queue").await, "web");

    let folder = tempfile::tempdir().unwrap();
    let pod = |name: &str, app: &str| {
        let metadata = json!({"name": name, "namespace": "team", "labels": {"app": app}});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    };
    let list: Value = json!({"kind": "List", "items": [pod("web-1", "web"), pod("db-0", "db")]});
    std::fs::write(folder.path().join("pods.json"), list.to_string()).unwrap();
    let mut launch = Launch::new(RULES, &prometheus.url);
    launch.objects = Some(folder.path().to_owned());
    let app = launch.start().await;
    assert_eq!(names(&app, "namespaces/team/pods/*/rate").await, "db-0 web-1");
    assert_eq!(names(&app, "namespaces/team/pods/*/rate?labelSelector=app=web").await, "web-1");
    let reply = app.get(&custom("namespaces/team/pods/*/rate?labelSelector=app=x")).await;
    assert_eq!(reply.status, 404);
}

/// What a Prometheus cannot be made to say every time: the time of a sample, the order of samples.
#[tokio::test(flavor = "multi_thread")]
async fn answers_do_not_depend_on_chance() {
    const RULE: &str = "rules:\n- {seriesQuery: m, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}', resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}}\n";
    let row = |pod: &str, worker: &str, value: &str| json!({"metric": {"pod": pod, "worker": worker}, "value": [1_790_000_000.5, value]});
    let mut rows =
        vec![row("a", "x", "1"), row("a", "y", "2"), row("b", "y", "4"), row("b", "x", "3")];
    let backend = Backend::start(|_| Answer::Hang).await;
    let mut bodies = Vec::new();
    for _ in 0..rows.len() {
        rows.rotate_left(1);
        let data = json!({"resultType": "vector", "result": rows});
        backend.play(knows(&["m"], move |_| Answer::Data(data.clone())));
        let app = Launch::new(RULE, &backend.url).start().await;
        bodies.push(app.get(&custom("namespaces/n/pods/*/m")).await.body);
    }
    insta::assert_snapshot!(bodies[0], @r#"{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta2","metadata":{},"items":[{"describedObject":{"kind":"Pod","namespace":"n","name":"a","apiVersion":"/v1"},"metric":{"name":"m","selector":null},"timestamp":"2026-09-21T14:13:20Z","value":"2"},{"describedObject":{"kind":"Pod","namespace":"n","name":"b","apiVersion":"/v1"},"metric":{"name":"m","selector":null},"timestamp":"2026-09-21T14:13:20Z","value":"4"}]}"#);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");

    // Native histograms are no values; what stands next to them is.
    backend.play(knows(&["m"], |_| {
        let mut data = pods(&[("a", "1")]);
        data["result"].as_array_mut().unwrap().push(json!({
            "metric": {"pod": "b"},
            "histogram": [1_790_000_000.5, {"count": "1", "sum": "1", "buckets": [[0, "1", "2", "1"]]}],
        }));
        Answer::Data(data)
    }));
    let app = Launch::new(RULE, &backend.url).start().await;
    let values = app.get(&custom("namespaces/n/pods/*/m")).await.values();
    assert_eq!(values, [("a".to_owned(), "1".to_owned())]);
    assert_eq!(app.get(&custom("namespaces/n/pods/b/m")).await.status, 404);
}

/// kube-controller-manager's way of asking: as the aggregator passes it on, with `timeout` and without a trailing slash.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_other_endpoints_are_let_pass() {
    const RULE: &str = "rules:\n- {seriesQuery: m, metricsQuery: '<<.Series>>', resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}}\n";
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("a", "1")])))).await;
    let app = Launch::new(RULE, &backend.url).start().await;
    for query in
        ["timeout=5s", "resourceVersion=0&pretty=true", "labelSelector=", "labelSelector", ""]
    {
        let reply = app.get(&custom(&format!("namespaces/n/pods/*/m?{query}"))).await;
        assert_eq!(reply.values().len(), 1, "{query}");
    }
}
