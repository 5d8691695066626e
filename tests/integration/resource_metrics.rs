//! metrics.k8s.io: with a real Prometheus, and with a backend that does as it is told.

use std::{fmt::Write as _, time::Duration};

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, Reply},
    backend::{Answer, Asked, Backend},
    cluster::{Kubernetes, Stored},
    kubectl::{kubectl, succeeds},
    process::Process,
    store::Store,
    until,
};

/// The rules that this repository offers.
const RULES: &str = include_str!("../../deploy/overlays/resource-metrics/config.yaml");

const BETA: &str = "/apis/metrics.k8s.io/v1beta1";

/// A pod in a phase.
fn pod(namespace: &str, name: &str, labels: &[(&str, &str)], phase: &str) -> Stored {
    Stored::new("pods", namespace, name, labels).with(json!({"status": {"phase": phase}}))
}

async fn cluster(objects: impl IntoIterator<Item = Stored>) -> Kubernetes {
    let cluster = Kubernetes::start(&[], 500).await;
    objects.into_iter().for_each(|object| cluster.apply(object));
    cluster
}

/// What cAdvisor and `node_exporter` have measured from ten minutes ago until ten minutes from now. CPU grows evenly, so that
/// its rate is the same at every time.
fn measured() -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut text = String::new();
    let mut series = |name: &str, labels: &str, first: f64, per_second: f64| {
        for step in 0..80_i32 {
            let time = now - 600 + i64::from(step) * 15;
            let value = first + per_second * 15.0 * f64::from(step);
            writeln!(text, "{name}{{{labels}}} {value} {time}").expect("a String takes anything");
        }
    };
    let mut container = |namespace: &str, pod: &str, container: &str, cores: f64, bytes: f64| {
        let labels = format!(
            "namespace=\"{namespace}\",pod=\"{pod}\",container=\"{container}\",node=\"n1\""
        );
        series("container_cpu_usage_seconds_total", &labels, 1e6, cores);
        series("container_memory_working_set_bytes", &labels, bytes, 0.0);
    };
    for (name, cores, bytes) in [
        ("web", 0.25, 20_971_520.0),
        ("proxy", 0.005, 1500.0),
        ("POD", 0.001, 1024.0),
        ("", 0.256, 20_974_044.0),
    ] {
        container("team", "web-0", name, cores, bytes);
    }
    container("team", "web-1", "web", 2.0, 1_073_741_824.0);
    container("team", "done", "web", 1.0, 1024.0);
    container("other", "web-0", "db", 0.5, 2048.0);
    series(
        "container_memory_working_set_bytes",
        "namespace=\"team\",pod=\"new\",container=\"web\"",
        1024.0,
        0.0,
    );
    for (node, cores, free) in [("n1", 3.5, 4_294_967_296.0), ("n2", 0.75, 1_000_000_000.0)] {
        series("node_cpu_seconds_total", &format!("node=\"{node}\",mode=\"user\""), 1e6, cores);
        series("node_cpu_seconds_total", &format!("node=\"{node}\",mode=\"idle\""), 1e6, 4.0);
        series("node_memory_MemTotal_bytes", &format!("node=\"{node}\""), 8_589_934_592.0, 0.0);
        series("node_memory_MemAvailable_bytes", &format!("node=\"{node}\""), free, 0.0);
    }
    series("node_cpu_seconds_total", "node=\"n3\",mode=\"user\"", 1e6, 1.0);
    // Samples of one series have to be together, and series of one name.
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_by_key(|line| line.split('{').next());
    lines.join("\n") + "\n# EOF\n"
}

fn measured_objects() -> Vec<Stored> {
    vec![
        pod("team", "web-1", &[("app", "web")], "Running"),
        pod("team", "web-0", &[("app", "web"), ("tier", "")], "Running"),
        pod("team", "new", &[("app", "web")], "Running"),
        pod("team", "silent", &[("app", "silent")], "Running"),
        pod("team", "done", &[("app", "web")], "Succeeded"),
        pod("other", "web-0", &[("app", "db")], "Running"),
        Stored::new("nodes", "", "n2", &[("zone", "b")]),
        Stored::new("nodes", "", "n1", &[("zone", "a")]),
        Stored::new("nodes", "", "n3", &[("zone", "a")]),
    ]
}

/// Path below the group, with its query.
const READS: &[&str] = &[
    "v1beta1/pods",
    "v1/pods",
    "v1beta1/namespaces/team/pods",
    "v1beta1/namespaces/nobody/pods",
    "v1beta1/namespaces/team/pods/web-0",
    "v1/namespaces/team/pods/web-1/",
    "v1beta1/nodes",
    "v1/nodes/n1",
    // Selectors.
    "v1beta1/namespaces/team/pods?labelSelector=app%3Dweb,tier",
    "v1beta1/pods?labelSelector=app+in+(db)",
    "v1beta1/pods?fieldSelector=metadata.name%3Dweb-0&limit=500",
    "v1beta1/pods?fieldSelector=metadata.namespace!%3Dteam",
    "v1beta1/pods?fieldSelector=metadata.namespace%3D%3Dteam,metadata.name!%3Dweb-0",
    "v1beta1/nodes?labelSelector=zone%3Db",
    "v1beta1/nodes?fieldSelector=metadata.name%3Dn1",
    "v1beta1/nodes?fieldSelector=metadata.name%3Dn9",
    // What is not there.
    "v1beta1/namespaces/team/pods/done",
    "v1beta1/namespaces/team/pods/silent",
    "v1beta1/namespaces/team/pods/new",
    "v1beta1/namespaces/other/pods/web-1",
    "v1beta1/nodes/n3",
    "v1beta1/nodes/n9",
    // What cannot be asked.
    "v1beta1/pods?fieldSelector=spec.nodeName%3Dn1",
    "v1beta1/pods?fieldSelector=metadata.name",
    "v1beta1/pods?labelSelector=app+in+web",
    "v1beta1/pods?watch=true",
    "v1beta1/namespaces/te%22am/pods",
    "v1beta1/namespaces/team/pods/*",
    "v1beta1/namespaces/team/nodes",
    "v1beta1/services",
    "v2/pods",
];

/// The whole answer in two lines, times left out.
fn shown(request: &str, reply: &Reply) -> String {
    let times =
        regex::Regex::new(r#""(timestamp|creationTimestamp)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ""#);
    let body = times.unwrap().replace_all(&reply.body, "\"$1\":\"…\"");
    format!("{request}\n  {} {}\n", reply.status.as_u16(), body.trim_end())
}

#[tokio::test(flavor = "multi_thread")]
async fn reads() {
    let prometheus = Store::stored(&measured()).await;
    let cluster = cluster(measured_objects()).await;
    let app = Launch::new(RULES, &prometheus.url).cluster(&cluster).start().await;
    let mut text = String::new();
    for read in READS {
        let reply = app.get(&format!("/apis/metrics.k8s.io/{read}")).await;
        if reply.status != 200 {
            reply.failure();
        }
        text.push_str(&shown(read, &reply));
    }
    insta::assert_snapshot!("reads", text);
    as_tables(&app).await;
    documents(&app).await;
    // What is selected is known from watches of running pods and of nodes.
    let watches = cluster.take_watches();
    let is_of_pods = |uri: &&String| uri.starts_with("/api/v1/pods?");
    assert!(
        watches
            .iter()
            .filter(is_of_pods)
            .all(|uri| uri.contains("fieldSelector=status.phase%3DRunning")),
        "{watches:?}"
    );
    assert_eq!(cluster.take_lists().len(), 2, "one for pods and one for nodes");
    app.stop().await;
}

async fn as_tables(app: &App) {
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    for (path, rows) in [
        (
            "namespaces/team/pods",
            json!([["web-0", "255m", "20973020", "3m0s"], ["web-1", "2", "1Gi", "3m0s"]]),
        ),
        ("nodes/n1", json!([["n1", "3500m", "4Gi", "3m0s"]])),
    ] {
        let table = app.request(Method::GET, &format!("{BETA}/{path}"), &accept).await.json();
        assert_eq!(table["kind"], "Table");
        let cells = table["rows"].as_array().unwrap().iter().map(|row| row["cells"].clone());
        assert_eq!(cells.collect::<Value>(), rows, "{path}");
    }
}

async fn documents(app: &App) {
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let mut text = String::new();
    for (path, accept) in [
        ("/apis", "application/json"),
        ("/apis", aggregated),
        ("/apis/metrics.k8s.io", "application/json"),
        ("/apis/metrics.k8s.io/v1beta1", "application/json"),
        ("/apis/metrics.k8s.io/v1", "application/json"),
    ] {
        let reply = app.request(Method::GET, path, &[("accept", accept)]).await;
        let media = reply.headers["content-type"].to_str().unwrap();
        let body = reply.body.replace("},{", "},\n{");
        writeln!(text, "{path} as {accept}\n  {} {media}\n{body}", reply.status).unwrap();
    }
    insta::assert_snapshot!("documents", text);
    let reply = app.request(Method::POST, &format!("{BETA}/pods"), &[]).await;
    assert_eq!(reply.status, 405);
}

/// A vector of one container for each of these pods.
fn vector(pods: &[(String, String)]) -> Answer {
    let rows: Vec<_> = pods
        .iter()
        .map(|(namespace, pod)| {
            let labels = json!({"namespace": namespace, "pod": pod, "container": "c"});
            json!({"metric": labels, "value": [1_790_000_000.5, "1"]})
        })
        .collect();
    Answer::Data(json!({"resultType": "vector", "result": rows}))
}

/// The pods of many namespaces, three in each.
fn many(namespaces: usize) -> Vec<(String, String)> {
    let pods = (0..namespaces).flat_map(|at| (0..3).map(move |pod| (at, pod)));
    pods.map(|(at, pod)| (format!("team-{at:03}"), format!("web-{pod}"))).collect()
}

async fn running(pods: &[(String, String)]) -> Kubernetes {
    cluster(pods.iter().map(|(namespace, name)| pod(namespace, name, &[("name", name)], "Running")))
        .await
}

/// The queries since the last call; discovery, which has nothing to find, probes the backend once.
fn queries(backend: &Backend) -> Vec<String> {
    let asked = backend.take().into_iter().filter(Asked::is_query);
    asked.map(|asked| asked.parameter("query").to_owned()).collect()
}

fn names(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
    items
        .map(|item| (text(&item["metadata"]["namespace"]), text(&item["metadata"]["name"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pods_are_two_queries() {
    let pods = many(100);
    let cluster = running(&pods).await;
    let answered = pods.clone();
    let backend = Backend::start(move |_| vector(&answered)).await;
    let app = Launch::new(RULES, &backend.url).cluster(&cluster).start().await;
    let list = app.get(&format!("{BETA}/pods")).await.json();
    assert_eq!(names(&list), pods);
    let asked = queries(&backend);
    assert_eq!(asked.len(), 2, "{asked:?}");
    for query in asked {
        assert!(query.contains(r#"{namespace!="",pod!="","#), "{query}");
    }

    // A third of them is still less to fetch at once than in a hundred queries.
    let list = app.get(&format!("{BETA}/pods?labelSelector=name%3Dweb-1")).await.json();
    assert_eq!(names(&list).len(), 100);
    assert_eq!(queries(&backend).len(), 2);
    // A few of them are asked for by name.
    let query = "labelSelector=name%3Dweb-1&fieldSelector=metadata.namespace%3Dteam-007";
    let list = app.get(&format!("{BETA}/pods?{query}")).await.json();
    assert_eq!(names(&list), [("team-007".to_owned(), "web-1".to_owned())]);
    let asked = queries(&backend);
    assert_eq!(asked.len(), 2);
    assert!(asked[0].contains(r#"{namespace="team-007",pod="web-1","#));
    app.stop().await;
}

/// Where the whole cannot be asked for in one query, because it is not known to give the same, or because the backend refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_asked_for_one_by_one_where_that_has_to_be() {
    let pods = many(20);
    let cluster = running(&pods).await;
    let answered = pods.clone();
    let of_one = move |asked: &Asked| {
        let query = asked.parameter("query").to_owned();
        let is_in =
            |(namespace, _): &&(String, String)| query.contains(&format!("=\"{namespace}\""));
        let found: Vec<_> = answered.iter().filter(is_in).cloned().collect();
        vector(&found)
    };
    let refusing = of_one.clone();
    let backend = Backend::start(move |asked| {
        if asked.parameter("query").contains("namespace!=") {
            let body = r#"{"status":"error","errorType":"execution","error":"too many samples"}"#;
            return Answer::Raw(422, "application/json", body.to_owned());
        }
        refusing(asked)
    })
    .await;
    let app = Launch::new(RULES, &backend.url).cluster(&cluster).start().await;
    let list = app.get(&format!("{BETA}/pods")).await.json();
    assert_eq!(names(&list), pods);
    let is_narrow = |asked: &Asked| asked.parameter("query").contains("{namespace=\"");
    assert_eq!(backend.count(is_narrow), 40);
    app.stop().await;

    // Each value depends on those of the others.
    let rules = RULES
        .replace(
            "sum by (<<.GroupBy>>) (rate(container_cpu",
            "topk by (namespace) (5, rate(container_cpu",
        )
        .replace("sum by (<<.GroupBy>>) (container_mem", "topk by (namespace) (5, container_mem");
    backend.take();
    backend.play(of_one);
    let app = Launch::new(&rules, &backend.url).cluster(&cluster).start().await;
    let list = app.get(&format!("{BETA}/pods")).await.json();
    assert_eq!(names(&list), pods);
    let asked = queries(&backend);
    assert_eq!(asked.len(), 40);
    assert!(asked.iter().all(|asked| asked.contains(r#"pod=~"web-0|web-1|web-2""#)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscalers_of_a_namespace_share_two_queries() {
    let pods: Vec<_> = (0..60).map(|at| ("team".to_owned(), format!("web-{at:02}"))).collect();
    let label = |name: &str| name.get(..5).expect("web-N").to_owned();
    let cluster = cluster(
        pods.iter().map(|(place, name)| pod(place, name, &[("app", &label(name))], "Running")),
    )
    .await;
    let answered = pods.clone();
    let backend = Backend::start(move |_| vector(&answered)).await;
    let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
    launch.planning.life.ttl = Duration::from_secs(600);
    let app = launch.start().await;
    let read = async |at: usize| {
        let path = format!("{BETA}/namespaces/team/pods?labelSelector=app%3Dweb-{at}");
        app.get(&path).await.json()
    };
    let lists = join_all((0..6).map(read)).await;
    for (at, list) in lists.iter().enumerate() {
        let names = names(list);
        assert_eq!(names.len(), 10);
        assert!(names.iter().all(|(_, name)| label(name) == format!("web-{at}")), "{names:?}");
    }
    let asked = queries(&backend);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.contains(r#"{namespace="team",pod!="","#)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_fails_is_no_empty_answer() {
    let pods = many(2);
    let cluster = running(&pods).await;
    cluster.apply(Stored::new("nodes", "", "n1", &[]));
    let backend = Backend::start(|_| Answer::Raw(500, "text/plain", "secret".to_owned())).await;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for url in [&backend.url, &gone] {
        let app = Launch::new(RULES, url).cluster(&cluster).start().await;
        for path in [
            "pods",
            "namespaces/team-000/pods",
            "namespaces/team-000/pods/web-0",
            "nodes",
            "nodes/n1",
        ] {
            let reply = app.get(&format!("{BETA}/{path}")).await;
            assert_eq!(reply.status, 503, "{path}: {reply:?}");
            assert_eq!(reply.json()["reason"], "ServiceUnavailable");
            let message = reply.failure();
            assert!(message.starts_with("unable to fetch metrics: resourceRules."), "{message}");
            assert!(!message.contains("secret") && !message.contains("127.0.0.1"), "{message}");
            assert!(
                !reply.headers.contains_key("retry-after"),
                "client-go would try again ten times"
            );
        }
        // Nobody is there, so Prometheus has nothing to say.
        let reply = app.get(&format!("{BETA}/namespaces/nobody/pods")).await;
        assert_eq!((reply.status.as_u16(), names(&reply.json())), (200, Vec::new()));
        app.stop().await;
    }
    // One of both is not enough.
    backend.play(|asked| {
        if asked.parameter("query").contains("memory") {
            return Answer::Raw(503, "text/plain", String::new());
        }
        vector(&many(2))
    });
    let app = Launch::new(RULES, &backend.url).cluster(&cluster).start().await;
    assert_eq!(app.get(&format!("{BETA}/pods")).await.status, 503);
    app.stop().await;
}

/// An `APIService` for which there are no rules is not Available: the aggregator asks for the document of its version.
#[tokio::test(flavor = "multi_thread")]
async fn without_rules_there_is_nothing() {
    let backend = Backend::start(|_| vector(&[])).await;
    let app = Launch::new("rules: []\n", &backend.url).start().await;
    for path in ["", "/v1beta1", "/v1", "/v1/", "/v1beta1/pods", "/v1/pods"] {
        let reply = app.get(&format!("/apis/metrics.k8s.io{path}")).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.failure(), "the server could not find the requested resource");
    }
    for path in ["/apis/custom.metrics.k8s.io/v1beta1", "/apis/external.metrics.k8s.io/v1beta1"] {
        let document = app.get(path).await;
        assert_eq!((document.status.as_u16(), &document.json()["resources"]), (200, &json!([])));
    }
    assert_eq!(app.get("/apis").await.json()["groups"], json!([]));
    app.stop().await;
}

/// Half of the rules: who reads what they do not say is told so.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_say_all_say_so() {
    let backend = Backend::start(|_| vector(&[])).await;
    let cluster = cluster([pod("team", "web-0", &[], "Running")]).await;
    let (_, memory) = RULES.split_once("  memory:\n").unwrap();
    let (head, _) = RULES.split_once("  cpu:\n").unwrap();
    let memory = memory.replace("resources: *resources", "resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}");
    let app = Launch::new(&format!("{head}  memory:\n{memory}"), &backend.url)
        .cluster(&cluster)
        .start()
        .await;
    let reply = app.get(&format!("{BETA}/pods")).await;
    assert_eq!(reply.status, 500);
    assert!(reply.failure().contains("resourceRules.cpu is missing"), "{reply:?}");
    assert_eq!(queries(&backend), [""; 0]);
    app.stop().await;
}

/// Without a cluster there are the objects of manifests, or whatever the queries give.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_top_reads_from_a_standalone_server() {
    let prometheus = Store::stored(&measured()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("rules.yaml"), RULES).unwrap();
    let objects = r"
{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: team, labels: {app: web}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done, namespace: team}, status: {phase: Succeeded}}
";
    std::fs::write(file("objects.yaml"), objects).unwrap();
    for (given, wanted) in [
        (Some(file("objects.yaml")), "team web-0 255m 20Mi\n"),
        (
            None,
            "other web-0 500m 0Mi\nteam done 1000m 0Mi\nteam web-0 255m 20Mi\nteam web-1 2000m 1024Mi\n",
        ),
    ] {
        let config = file(if given.is_some() { "known" } else { "unknown" });
        let mut flags = vec![
            "serve".to_owned(),
            "--standalone".to_owned(),
            "--secure-port=0".to_owned(),
            format!("--config={}", file("rules.yaml").display()),
            format!("--prometheus-url={}", prometheus.url),
            format!("--write-kubeconfig={}", config.display()),
        ];
        flags.extend(given.map(|path| format!("--objects={}", path.display())));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut server = Process::loadline(&flags);
        until("the kubeconfig is written", async || {
            assert!(server.runs(), "{}", server.stderr());
            config.exists().then_some(())
        })
        .await;
        let top = until("the server answers", async || {
            let ended = kubectl(&config, &["top", "pods", "-A", "--no-headers"]).await;
            (ended.code == Some(0)).then_some(ended.stdout)
        })
        .await;
        let lines =
            top.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n");
        assert_eq!(lines.collect::<String>(), wanted);
        let containers = ["top", "pods", "-n", "team", "web-0", "--containers", "--no-headers"];
        let containers = succeeds(&config, &containers).await;
        let words: Vec<_> = containers.split_whitespace().collect();
        assert_eq!(words, ["web-0", "proxy", "5m", "0Mi", "web-0", "web", "250m", "20Mi"]);
        let rows = succeeds(&config, &["get", "pods.metrics.k8s.io", "-n", "team", "web-0"]).await;
        assert!(rows.contains("255m") && rows.contains("20973020"), "{rows}");
        let missing = kubectl(&config, &["top", "pods", "-n", "team", "missing"]).await;
        assert!(
            missing.stderr.contains(r#"podmetrics.metrics.k8s.io "team/missing" not found"#),
            "{missing:?}"
        );
    }
}
