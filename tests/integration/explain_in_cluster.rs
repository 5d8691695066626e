//! Explanations in a cluster: what the server tells whom, and what `loadline explain` makes of it with a kubeconfig.

use std::{fs, process::Stdio, time::Duration};

use futures::future::join_all;
use loadline::auth::access::Ttls;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, Reply, custom, external},
    backend::{Answer, Asked, Backend},
    cluster::{Kubernetes, Stored},
    process::loadline,
    until,
};

const RULES: &str = "
rules:
- {seriesQuery: m, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)', resources: &all {overrides: {pod: {resource: pod}, ns: {resource: namespace}, node: {resource: node}}}}
- {seriesQuery: elsewhere, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)', resources: *all}
- {seriesQuery: wide, metricsQuery: 'sum(<<.Series>>) by (pod)', resources: *all}
externalRules:
- {seriesQuery: q, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}', resources: {namespaced: false}}
resourceRules:
  cpu: {containerQuery: 'sum(rate(cpu_seconds{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)', containerLabel: container, resources: *all}
  memory: {containerQuery: 'sum(memory_bytes{<<.LabelMatchers>>}) by (<<.GroupBy>>)', containerLabel: container, resources: *all}
";

const GROUPS: [&str; 3] = ["custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.k8s.io"];

/// In nothing that a tenant of `own` may see.
const SECRETS: [&str; 2] = ["hidden", "424242"];

fn vector(rows: &[(Value, &str)]) -> Answer {
    let now = jiff::Timestamp::now().as_second();
    let rows: Vec<_> = rows
        .iter()
        .map(|(metric, value)| json!({"metric": metric, "value": [now, value]}))
        .collect();
    Answer::Data(json!({"resultType": "vector", "result": rows}))
}

/// What Prometheus would answer: of `own` there are two pods, of `other` one, whose name and value are secrets.
fn query(asked: &Asked) -> Answer {
    let query = asked.parameter("query");
    let of = |ns: &str, pod: &str| json!({"ns": ns, "pod": pod, "node": "n1"});
    let other = (of("other", "hidden-0"), "424242");
    if query.contains("time()") {
        return vector(&[(json!({}), "3")]);
    }
    if query.contains("max_over_time") || query.contains("count_over_time") {
        return vector(&[(json!({}), if query.contains("ns=\"own\"") { "2" } else { "424242" })]);
    }
    let own = [(of("own", "web-0"), "2"), (of("own", "web-1"), "2")];
    let used = |value: &'static str| {
        let of = |pod: &str| (json!({"pod": pod, "ns": "own", "container": "web"}), value);
        vector(&[of("web-0"), of("web-1")])
    };
    match query {
        query if query.contains("rate(cpu_seconds") => used("0.3"),
        query if query.contains("sum(memory_bytes") => used("1024"),
        query if query.contains("__name__=\"elsewhere\"") => vector(&[other]),
        query if query.contains("__name__=") => vector(&[own[0].clone(), other]),
        query if query.contains("elsewhere{") => vector(&[]),
        query if query.starts_with("q{") => vector(&[(json!({"queue": "a"}), "50")]),
        query if query.starts_with("sum(wide)") => {
            let pods = ["web-0", "hidden-0"].map(|pod| (json!({"pod": pod}), "424242"));
            vector(&pods)
        }
        _ => vector(&[(json!({"pod": "web-0"}), "2"), (json!({"pod": "web-1"}), "2")]),
    }
}

const NAMES: [&str; 4] = ["m", "elsewhere", "wide", "q"];

/// Discovery finds the series of each rule; queries are answered by `query`.
fn with(query: fn(&Asked) -> Answer) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        if asked.is_query() {
            return query(asked);
        }
        let selector = asked.parameter("match[]");
        let is_found = |name: &&str| {
            selector.starts_with(&format!("{name}{{"))
                || selector == *name
                || selector.contains(&format!("\"{name}\""))
        };
        Answer::Data(NAMES.into_iter().filter(|name| is_found(name)).collect())
    }
}

/// A cluster with a Deployment of two pods, the server that it asks, and the backend of that.
struct Stage {
    cluster: Kubernetes,
    backend: Backend,
    app: App,
}

impl Stage {
    async fn new() -> Self {
        let cluster = Kubernetes::start(&[], 500).await;
        let labels = [("app", "web")];
        let ready = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]});
        let owned =
            |kind: &str, owner: &str| json!([{"kind": kind, "name": owner, "controller": true}]);
        for (namespace, name) in [("own", "web-0"), ("own", "web-1"), ("other", "hidden-0")] {
            let body = json!({"metadata": {"ownerReferences": owned("ReplicaSet", "web-5d4f")}, "status": ready});
            cluster.apply(Stored::new("pods", namespace, name, &labels).with(body));
        }
        let body = json!({"metadata": {"ownerReferences": owned("Deployment", "web")}});
        cluster.apply(Stored::new("replicasets", "own", "web-5d4f", &labels).with(body));
        cluster.apply(Stored::new("nodes", "", "n1", &[]));
        let spec = json!({"spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}}, "status": {"replicas": 2}});
        cluster.apply(Stored::new("deployments", "own", "web", &[]).with(spec));
        let delegation = cluster.delegation();
        delegation.configure(&[]);
        for name in ["admin", "reader", "tenant", "stranger"] {
            delegation.token(name, json!({"username": name}));
        }
        delegation.token("cluster-token", json!({"username": "cli"}));
        delegation.access(|spec| {
            let of = &spec["resourceAttributes"];
            let is_explanation = of["resource"] == "explanations" && of["verb"] == "get";
            json!({"allowed": match spec["user"].as_str() {
                Some("tenant") => of["namespace"] == "own" && is_explanation,
                Some("reader") => of["namespace"] == "own",
                Some("stranger") => false,
                _ => true,
            }})
        });
        let backend = Backend::start(with(query)).await;
        let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
        launch.guarded = true;
        launch.access_ttls = Ttls { authorized: Duration::ZERO, unauthorized: Duration::ZERO };
        let app = launch.start().await;
        until("the server is ready", async || {
            (app.get("/readyz").await.status == 200).then_some(())
        })
        .await;
        for group in GROUPS {
            cluster.aggregate(group, app.client.clone(), app.url(""));
        }
        for version in ["v1beta1.custom.", "v1beta2.custom.", "v1beta1.external.", "v1beta1."] {
            let name = format!("{version}metrics.k8s.io");
            cluster.register(&name, "monitoring", "loadline");
            cluster.judge(&name, "True", "all checks passed");
        }
        Self { cluster, backend, app }
    }

    async fn ask(&self, user: &str, path: &str) -> Reply {
        let bearer = format!("Bearer {user}");
        self.app.request(Method::GET, path, &[("authorization", &bearer)]).await
    }

    /// What `loadline explain` answers, and how it ends.
    async fn explain(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let kubeconfig = self.cluster.kubeconfig.display().to_string();
        let mut command = loadline(&["explain", "-o=json", "-n=own", "--kubeconfig", &kubeconfig]);
        command.args(arguments).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let answer = serde_json::from_slice(&output.stdout);
        let answer = answer.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"));
        (answer, output.status.code())
    }

    fn apply(&self, hpa: &Value) {
        let stored = Stored::new("horizontalpodautoscalers", "own", "web", &[]);
        self.cluster.apply(stored.with(hpa.clone()));
    }
}

/// The cause of the first step that has one.
fn cause(reply: &Reply) -> Option<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let document = reply.json();
    assert_eq!(document["kind"], "MetricExplanation");
    let mut steps = document["steps"].as_array().unwrap().iter();
    steps.find_map(|step| Some(step["cause"].as_str()?.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_shown_to_those_who_may_see_it() {
    let stage = Stage::new().await;
    let explained = |rest: &str| custom(&format!("namespaces/own/explanations/{rest}"));
    let of_pods = |metric: &str| explained(&format!("{metric}?resource=pods"));
    for user in ["admin", "reader", "tenant"] {
        let reply = stage.ask(user, &of_pods("m")).await;
        assert_eq!(cause(&reply), None, "{user}: {reply:?}");
        let document = reply.json();
        assert_eq!(document["values"][1], json!({"name": "web-1", "milli": 2000}), "{user}");
        assert_eq!(document["pastDay"]["highest"], 2.0, "{user}");
        assert!(document["query"].as_str().unwrap().contains("ns=\"own\""), "{user}");
        assert!(!reply.body.contains("127.0.0.1"), "{user}: {reply:?}");
    }
    // Where the cluster's own API has the older version, and in the other group.
    let old = of_pods("m").replace("v1beta2", "v1beta1");
    assert_eq!(
        stage.ask("admin", &old).await.json()["apiVersion"],
        "custom.metrics.k8s.io/v1beta1"
    );
    let other = external("namespaces/own/explanations/m?api=custom&resource=pods");
    assert_eq!(cause(&stage.ask("admin", &other).await), None);
    assert_eq!(
        cause(&stage.ask("admin", &explained("m?api=external")).await).as_deref(),
        Some("wrong-api")
    );

    let wrong = of_pods("elsewhere");
    for (user, shown) in [("admin", "are of other, "), ("tenant", "are of other namespaces, ")] {
        let reply = stage.ask(user, &wrong).await;
        assert_eq!(cause(&reply).as_deref(), Some("wrong-namespace"), "{user}: {reply:?}");
        assert!(reply.body.contains(shown), "{user}: {reply:?}");
    }
    // A query that is not limited to the namespace: only for those who may read the metric, and never its history.
    let reply = stage.ask("tenant", &of_pods("wide")).await;
    assert_eq!(cause(&reply).as_deref(), Some("not-authorized-me"), "{reply:?}");
    let reply = stage.ask("reader", &of_pods("wide")).await;
    assert_eq!(reply.json()["values"][0]["name"], "web-0", "{reply:?}");
    assert_eq!(reply.json()["pastDay"], Value::Null);
    for metric in NAMES {
        for parameters in [
            "resource=pods",
            "resource=pods&name=hidden-0",
            "resource=pods&metricLabelSelector=ns%3Dother",
            "resource=services",
            "api=external",
            "api=external&metricLabelSelector=ns%3Dother",
        ] {
            let path = explained(&format!("{metric}?{parameters}"));
            let reply = stage.ask("tenant", &path).await;
            for secret in SECRETS {
                let is_asked = path.contains(secret);
                assert!(is_asked || !reply.body.contains(secret), "{path}: {reply:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_is_refused_and_what_cannot_be_meant_too() {
    let stage = Stage::new().await;
    let own = custom("namespaces/own/explanations/m?resource=pods");
    let other = custom("namespaces/other/explanations/m?resource=pods");
    let node = custom("explanations/m?resource=nodes&name=n1");
    let node_in_namespace = custom("namespaces/own/explanations/m?resource=nodes&name=n1");
    let namespace = custom("namespaces/own/explanations/m?resource=namespaces&name=other");
    for (user, path, wanted) in [
        ("stranger", &own, 403),
        ("nobody", &own, 401),
        ("tenant", &own, 200),
        ("tenant", &other, 403),
        ("tenant", &node, 403),
        ("tenant", &node_in_namespace, 403),
        ("reader", &namespace, 403),
        ("admin", &other, 200),
        ("admin", &node, 200),
        ("admin", &node_in_namespace, 200),
    ] {
        let reply = stage.ask(user, path).await;
        assert_eq!(reply.status, wanted, "{user} {path}: {reply:?}");
    }
    for rest in [
        "m",
        "m?resource=",
        "m?api=usage",
        "m?resource=pods&name=a%22%7D",
        "m?resource=pods&name=*",
        "m?resource=pods&labelSelector=a+in",
        "m?resource=pods&metricLabelSelector=a+in",
    ] {
        let path = custom(&format!("namespaces/own/explanations/{rest}"));
        let reply = stage.ask("admin", &path).await;
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        assert!(!reply.failure().is_empty());
    }
    let bearer = [("authorization", "Bearer admin")];
    let posted = stage.app.request(Method::POST, &own, &bearer).await;
    assert_eq!(posted.status, 405, "{posted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_are_explained_at_a_time_and_none_takes_long() {
    let stage = Stage::new().await;
    stage.backend.take();
    stage.backend.play(with(|_| Answer::Hang));
    let path = custom("namespaces/own/explanations/m?resource=pods");
    let four = join_all((0..4).map(|_| stage.ask("admin", &path)));
    let fifth = async {
        let is_query = |asked: &Asked| asked.is_query() && !asked.is_probe();
        until("four are under way", async || (stage.backend.count(is_query) == 4).then_some(()))
            .await;
        stage.ask("tenant", &path).await
    };
    let (four, fifth) = tokio::join!(four, fifth);
    assert_eq!(fifth.status, 429, "{fifth:?}");
    assert!(fifth.headers.contains_key("retry-after"));
    for reply in four {
        assert_eq!(cause(&reply).as_deref(), Some("backend-timeout"), "{reply:?}");
    }
    stage.backend.play(with(query));
    assert_eq!(stage.ask("tenant", &path).await.status, 200, "the turns are free again");
}

fn autoscaler(metric: &Value) -> Value {
    json!({
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 5, "metrics": [metric]},
        "status": {"currentReplicas": 2, "desiredReplicas": 2, "currentMetrics": null, "conditions": []},
    })
}

fn of_pods(metric: &str) -> Value {
    json!({"type": "Pods", "pods": {"metric": {"name": metric},
        "target": {"type": "AverageValue", "averageValue": "1"}}})
}

fn of_cpu(target: &Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn of_queue(metric: &str) -> Value {
    json!({"type": "External", "external": {"metric": {"name": metric},
        "target": {"type": "AverageValue", "averageValue": "1"}}})
}

#[track_caller]
fn is_named(answer: &Value, wanted: &str) {
    let wanted = if wanted.is_empty() { Value::Null } else { wanted.into() };
    assert_eq!(answer["cause"], wanted, "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_is_explained_with_a_kubeconfig() {
    let stage = Stage::new().await;
    stage.apply(&autoscaler(&of_pods("m")));
    for words in [&["hpa/web"][..], &["deploy/web"], &["hpa", "web"]] {
        let (answer, code) = stage.explain(words).await;
        is_named(&answer, "");
        assert_eq!(code, Some(0), "{answer:#}");
        assert_eq!(answer["hpa"]["current"], 2, "{answer:#}");
        assert_eq!(answer["hpa"]["desired"], 4, "{answer:#}");
        let steps = answer["steps"].as_array().unwrap();
        assert!(steps.iter().all(|step| step["ok"] == true), "{answer:#}");
        let mut names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
        names.dedup();
        let way = [
            "hpa",
            "target",
            "apiservice",
            "access",
            "rule",
            "objects",
            "query",
            "series",
            "answer",
            "values",
            "decision",
        ];
        assert_eq!(names, way, "{answer:#}");
    }
    let mut limited = autoscaler(&of_queue("q"));
    limited["spec"]["maxReplicas"] = 3.into();
    stage.apply(&limited);
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "hpa-at-limit");
    for (words, wanted) in [
        (&["pods", "m", "-l=app=web"][..], ""),
        (&["pods/web-0", "m"], ""),
        (&["pods", "q", "-l=app=web"], "wrong-api"),
        (&["external", "q"], ""),
    ] {
        let (answer, _) = stage.explain(words).await;
        is_named(&answer, wanted);
    }

    // One that is not applied yet; and the program as a plugin of kubectl.
    let folder = tempfile::tempdir().unwrap();
    let mut hpa = autoscaler(&of_pods("elsewhere"));
    hpa["kind"] = "HorizontalPodAutoscaler".into();
    hpa["metadata"] = json!({"name": "planned"});
    let file = folder.path().join("hpa.yaml");
    fs::write(&file, hpa.to_string()).unwrap();
    let (answer, code) = stage.explain(&["-f", &file.display().to_string()]).await;
    is_named(&answer, "wrong-namespace");
    assert_eq!(code, Some(1));
    let plugin = folder.path().join("kubectl-loadline");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_loadline"), &plugin).unwrap();
    let mut command = std::process::Command::new(plugin);
    command.args(["explain", "hpa/web", "-n=own"]).env("KUBECONFIG", &stage.cluster.kubeconfig);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.starts_with("hpa/web\n"), "{output:?}");

    for (words, message) in [
        (["hpa/absent", "-n=own"], "there is no hpa/absent in namespace own"),
        (["deploy/absent", "-n=own"], "there is no HorizontalPodAutoscaler of Deployment/absent"),
    ] {
        let kubeconfig = stage.cluster.kubeconfig.display().to_string();
        let mut command = loadline(&["explain", "--kubeconfig", &kubeconfig]);
        command.args(words).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(message), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_in_a_cluster_is_named() {
    let stage = Stage::new().await;
    let names = ["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"];
    let external = "v1beta1.external.metrics.k8s.io";
    stage.apply(&autoscaler(&of_pods("m")));
    let refused = "dial tcp 10.0.0.1:6443: connect: connection refused";
    let untrusted = "x509: certificate signed by unknown authority";
    for (message, wanted) in [(refused, "apiservice-unavailable"), (untrusted, "apiservice-ca")] {
        for name in names {
            stage.cluster.judge(name, "False", message);
        }
        let (answer, code) = stage.explain(&["hpa/web"]).await;
        is_named(&answer, wanted);
        assert_eq!(code, Some(1));
        assert_eq!(answer["hpa"]["desired"], 2, "{answer:#}");
    }
    // One of the versions is enough.
    stage.cluster.judge(names[0], "True", "all checks passed");
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "");
    stage.cluster.judge(names[1], "True", "all checks passed");

    let delegation = stage.cluster.delegation();
    let controller = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    delegation.access(move |spec| json!({"allowed": spec["user"] != controller}));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "not-authorized");
    delegation.access(|spec| json!({"allowed": spec["user"] != "cli"}));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "not-authorized-me");
    delegation.access(|_| json!({"allowed": true}));
    // What the server says then is no explanation, and nothing is well.
    delegation.fail_access_reviews(500);
    let (answer, _) = stage.explain(&["pods", "m"]).await;
    is_named(&answer, "apiservice-unavailable");
    delegation.fail_access_reviews(0);

    stage.apply(&autoscaler(&of_queue("q")));
    let client = stage.app.client.clone();
    stage.cluster.register(external, "keda", "keda-operator-metrics-apiserver");
    stage.cluster.aggregate("external.metrics.k8s.io", client.clone(), stage.app.url("/nobody"));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "apiservice-other-owner");
    let shown = answer["steps"].to_string();
    assert!(shown.contains("KEDA"), "{shown}");
    stage.cluster.unregister(external);
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "apiservice-missing");

    stage.apply(&autoscaler(&of_pods("m")));
    let job = json!({"metadata": {"ownerReferences": [{"kind": "Job", "name": "batch", "controller": true}]},
        "status": {"phase": "Running"}});
    let batch = Stored::new("pods", "own", "batch-x", &[("app", "web")]);
    stage.cluster.apply(batch.with(job));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "foreign-owner");
    stage.cluster.delete("pods", "own", "batch-x");
    for pod in ["web-0", "web-1"] {
        let pending = json!({"status": {"phase": "Pending"}});
        let pod = Stored::new("pods", "own", pod, &[("app", "web")]).with(pending);
        stage.cluster.apply(pod);
    }
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "not-ready");
    for pod in ["web-0", "web-1"] {
        stage.cluster.delete("pods", "own", pod);
    }
    let idle = json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}}});
    stage.cluster.apply(Stored::new("deployments", "own", "web", &[]).with(idle));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "absent-at-zero");
    stage.cluster.delete("deployments", "own", "web");
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "hpa-target-not-found");
}

/// Pods of the Deployment that request CPU, or not.
fn apply_pods(stage: &Stage, requests: &Value) {
    let ready = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]});
    let owner = json!([{"kind": "ReplicaSet", "name": "web-5d4f", "controller": true}]);
    for name in ["web-0", "web-1"] {
        let body = json!({"metadata": {"ownerReferences": owner}, "status": ready,
            "spec": {"containers": [{"name": "web", "resources": {"requests": requests}}]}});
        stage.cluster.apply(Stored::new("pods", "own", name, &[("app", "web")]).with(body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_explained_as_metrics_are() {
    let stage = Stage::new().await;
    apply_pods(&stage, &json!({"cpu": "100m"}));
    let percent = of_cpu(&json!({"type": "Utilization", "averageUtilization": 100}));
    stage.apply(&autoscaler(&percent));
    let (answer, code) = stage.explain(&["hpa/web"]).await;
    // 300m of 100m on each of two pods ask for 6, and 4 are as many as may be added at once.
    is_named(&answer, "");
    assert_eq!((code, &answer["hpa"]["desired"]), (Some(0), &json!(4)), "{answer:#}");
    assert_eq!(answer["hpa"]["metrics"][0]["value"], "300%", "{answer:#}");
    let shown = answer["steps"].to_string();
    for seen in
        ["resourceRules.cpu", "cpu_seconds", "web-0=300m, web-1=300m", "v1beta1.metrics.k8s.io"]
    {
        assert!(shown.contains(seen), "{seen}: {answer:#}");
    }
    let (answer, _) = stage.explain(&["usage", "memory", "-l=app=web"]).await;
    is_named(&answer, "");
    assert!(answer["steps"].to_string().contains("web-0=1024"), "{answer:#}");
    // What the server says to whom.
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/own/explanations/cpu";
    assert_eq!(cause(&stage.ask("tenant", path).await), None);
    assert_eq!(stage.ask("stranger", path).await.status, 403);
    let elsewhere = path.replace("own", "other");
    assert_eq!(stage.ask("tenant", &elsewhere).await.status, 403);

    let of_container = json!({"type": "ContainerResource", "containerResource": {
        "name": "cpu", "container": "absent", "target": {"type": "AverageValue", "averageValue": "1"}}});
    stage.apply(&autoscaler(&of_container));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "names-differ");

    stage.apply(&autoscaler(&percent));
    stage.backend.play(with(|asked| {
        let query = asked.parameter("query");
        let is_of_cpu = query.contains("rate(cpu_seconds");
        if is_of_cpu || query.contains("count_over_time") {
            vector(&[])
        } else {
            self::query(asked)
        }
    }));
    let (answer, code) = stage.explain(&["hpa/web"]).await;
    assert_eq!(code, Some(1), "{answer:#}");
    is_named(&answer, "too-few-samples");
    // CPU is known, and usage is served of pods whose memory is known, too.
    stage.backend.play(with(|asked| match asked.parameter("query") {
        query if query.contains("memory_bytes") => vector(&[]),
        _ => query(asked),
    }));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "series-absent");
    assert!(answer["steps"].to_string().contains("memory_bytes"), "{answer:#}");
    stage.backend.play(with(query));

    apply_pods(&stage, &json!({"memory": "1Gi"}));
    let (answer, _) = stage.explain(&["hpa/web"]).await;
    is_named(&answer, "hpa-request-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_of_another_server_is_as_it_should_be() {
    let stage = Stage::new().await;
    apply_pods(&stage, &json!({"cpu": "100m"}));
    let average = of_cpu(&json!({"type": "AverageValue", "averageValue": "100m"}));
    stage.apply(&autoscaler(&average));
    let name = "v1beta1.metrics.k8s.io";
    let container = json!({"name": "web", "usage": {"cpu": "200m", "memory": "1Ki"}});
    let pod = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "own"}, "timestamp": "2026-11-29T12:00:00Z",
        "window": "30s", "containers": [container]})
    };
    let list = json!({"kind": "PodMetricsList", "items": [pod("web-0"), pod("web-1")]});
    let served = std::sync::Arc::new(std::sync::Mutex::new(list));
    let answer = std::sync::Arc::clone(&served);
    let pods = move || {
        let list = answer.lock().unwrap().clone();
        async move { axum::Json(list) }
    };
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/own/pods";
    let router = axum::Router::new().route(path, axum::routing::get(pods));
    let (url, _task) = crate::support::serve(router).await;
    stage.cluster.aggregate("metrics.k8s.io", reqwest::Client::new(), url.clone());
    stage.cluster.register(name, "kube-system", "metrics-server");
    let (explained, code) = stage.explain(&["hpa/web"]).await;
    is_named(&explained, "");
    assert_eq!((code, &explained["hpa"]["desired"]), (Some(0), &json!(4)), "{explained:#}");
    assert!(explained["steps"].to_string().contains("by its name metrics-server"), "{explained:#}");

    *served.lock().unwrap() = json!({"kind": "PodMetricsList", "items": []});
    let (explained, _) = stage.explain(&["hpa/web"]).await;
    is_named(&explained, "not-ready");
    stage.cluster.judge(name, "False", "no endpoints");
    let (explained, code) = stage.explain(&["hpa/web"]).await;
    is_named(&explained, "apiservice-unavailable");
    assert_eq!(code, Some(1));
    stage.cluster.register(name, "keda", "keda-operator-metrics-apiserver");
    let (explained, _) = stage.explain(&["hpa/web"]).await;
    is_named(&explained, "apiservice-other-owner");
    stage.cluster.unregister(name);
    stage.cluster.aggregate("metrics.k8s.io", reqwest::Client::new(), url + "/nobody");
    let (explained, _) = stage.explain(&["hpa/web"]).await;
    is_named(&explained, "apiservice-missing");
}
