//! Rules of teams: with the scripted API server, and a real Prometheus that holds the series of two teams.

use std::{fs, sync::Arc};

use loadline::rules_file::{Requirements, Source};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::support::{
    app::{App, Launch, Reply, custom, external},
    backend::{Answer, Asked, Backend},
    cluster::{Kubernetes, Object, Stored},
    exporter::{Exporter, Page},
    install_tls_provider,
    process::{Process, loadline},
    store::Store,
    until,
};

const OBJECTS: &[Object] = &[
    ("pods", "shop", "web-0", &[("app", "web")]),
    ("pods", "shop", "web-1", &[("app", "web")]),
    ("pods", "bank", "web-0", &[("app", "web")]),
];

/// No rule of the file but one that a team replaces.
const RULES: &str = "externalRules:
- seriesQuery: orders
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: orders}
  metricsQuery: sum(orders{<<.LabelMatchers>>}) * 0
";

fn page() -> Page {
    let mut page = Page::new();
    for (namespace, factor) in [("shop", 1), ("bank", 1_000)] {
        let of = |labels: &str| format!("namespace=\"{namespace}\",{labels}");
        page = page
            .series("orders", &of("queue=\"new\""), &(factor * 3).to_string())
            .series("orders", &of("queue=\"old\""), &(factor * 4).to_string())
            .series("busy", &of("pod=\"web-0\""), &(factor * 5).to_string())
            .series("busy", &of("pod=\"web-1\""), &(factor * 6).to_string());
    }
    page
}

/// A rule; `age` is its place in the order of creation.
fn rule(namespace: &str, name: &str, age: u32, spec: &Value) -> Stored {
    let created = format!("2026-01-01T00:00:{age:02}Z");
    Stored::new("metricrules", namespace, name, &[]).with(json!({
        "metadata": {"generation": 1, "creationTimestamp": created},
        "spec": spec,
    }))
}

fn of_external(metric: &str, query: &str) -> Value {
    json!({"metric": metric, "query": query, "target": "external"})
}

async fn start(rules: &str, url: &str, cluster: &Kubernetes) -> App {
    let mut launch = Launch::new(rules, url).cluster(cluster);
    launch.team_rules = true;
    launch.start().await
}

/// The values of an external metric, once they are these.
async fn serves(app: &App, path: &str, wanted: &[&str]) {
    until(&format!("{path} has the values {wanted:?}"), async || {
        let reply = app.get(&external(path)).await;
        if reply.status != 200 {
            return None;
        }
        let list = reply.json();
        let values = list["items"].as_array().expect("items").iter();
        let mut values: Vec<_> = values.map(|item| item["value"].as_str().expect("text")).collect();
        values.sort_unstable();
        (values == wanted).then_some(())
    })
    .await;
}

/// The conditions of a rule once it has them, as `Type=Status/Reason`.
async fn conditions(cluster: &Kubernetes, namespace: &str, name: &str, wanted: &[&str]) -> Value {
    until(&format!("{namespace}/{name} has {wanted:?}"), async || {
        let rule = cluster.get("metricrules", namespace, name)?;
        let conditions = rule["status"]["conditions"].as_array()?.iter().map(|it| {
            let text = |key: &str| it[key].as_str().expect("text").to_owned();
            format!("{}={}/{}", text("type"), text("status"), text("reason"))
        });
        (conditions.collect::<Vec<_>>() == wanted).then(|| rule["status"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_serves_its_own_namespace_from_its_creation_to_its_end() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    let app = start("rules: []", &store.url, &cluster).await;
    until("the rules are known, and there is none", async || {
        (app.get(&external("namespaces/shop/orders")).await.status == 404).then_some(())
    })
    .await;

    cluster.apply(rule("shop", "orders", 0, &of_external("orders", "sum by (queue) (orders)")));
    serves(&app, "namespaces/shop/orders", &["3", "4"]).await;
    serves(&app, "namespaces/shop/orders?labelSelector=queue%3Dold", &["4"]).await;
    serves(&app, "namespaces/shop/orders?labelSelector=queue%3Dnone", &[]).await;
    let foreign = app.get(&external("namespaces/bank/orders")).await;
    assert_eq!(foreign.status, 404);
    assert!(!foreign.body.contains("shop") && !foreign.body.contains("MetricRule"), "{foreign:?}");

    // The name of a metric is listed, and nothing else of the rule.
    let listed = app.get(&external("")).await.json();
    assert_eq!(listed["resources"][0]["name"], "orders");

    cluster.apply(rule("shop", "orders", 0, &of_external("orders", "sum(orders)")));
    serves(&app, "namespaces/shop/orders", &["7"]).await;

    let pods = json!({"metric": "busy", "query": "sum by (pod) (busy)", "target": "pods"});
    cluster.apply(rule("shop", "busy", 0, &pods));
    let path = custom("namespaces/shop/pods/*/busy?labelSelector=app%3Dweb");
    let values = until("pods have values", async || {
        let reply = app.get(&path).await;
        (reply.status == 200).then(|| reply.values())
    });
    let value = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(values.await, [value("web-0", "5"), value("web-1", "6")]);
    let one = custom(
        "namespaces/shop/pods/*/busy?labelSelector=app%3Dweb&metricLabelSelector=pod%3Dweb-1",
    );
    assert_eq!(app.get(&one).await.values(), [value("web-1", "6")]);
    assert_eq!(app.get(&custom("namespaces/bank/pods/*/busy")).await.status, 404);

    cluster.delete("metricrules", "shop", "orders");
    until("the metric has gone", async || {
        (app.get(&external("namespaces/shop/orders")).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(app.prometheus.traffic().metadata_requests(), 0, "nothing is discovered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_teams_stays_while_a_file_of_the_folder_is_broken() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("own.yaml"), RULES).unwrap();
    fs::write(path("teams.yaml"), "teamRules: {namespaceLabel: team}\n").unwrap();
    let requirements = Requirements { is_strict: false, serves_teams: true };
    let asked = Arc::new(Notify::new());
    let read = Source::read(Some(folder.path()), None, requirements, Arc::clone(&asked));
    let mut launch = Launch::new("", &store.url).cluster(&cluster);
    launch.source = Some(read.unwrap());
    launch.team_rules = true;
    let app = launch.start().await;
    // No series has the label.
    let spec = of_external("first", r#"absent(orders{queue="new"})"#);
    cluster.apply(rule("shop", "first", 0, &spec));
    serves(&app, "namespaces/shop/first", &["1"]).await;

    fs::remove_file(path("teams.yaml")).unwrap();
    fs::write(path("renamed.yaml"), "teamRules: {namespaceLabel: namespace}\nrulez: []\n").unwrap();
    asked.notify_one();
    until("the reason is told", async || {
        app.get("/readyz?verbose").await.body.contains("what rules of teams may do").then_some(())
    })
    .await;
    let spec = of_external("second", r#"absent(orders{queue="old"})"#);
    cluster.apply(rule("shop", "second", 1, &spec));
    serves(&app, "namespaces/shop/second", &["1"]).await;

    fs::write(path("renamed.yaml"), "teamRules: {namespaceLabel: namespace}\n").unwrap();
    asked.notify_one();
    serves(&app, "namespaces/shop/second", &[]).await;
    serves(&app, "namespaces/shop/first", &[]).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_comes_before_the_cluster_and_that_before_the_file() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    let app = start(RULES, &store.url, &cluster).await;
    serves(&app, "namespaces/shop/orders", &["0"]).await;
    let of_cluster = of_external("orders", "sum(orders)");
    cluster.apply(Stored::new("clustermetricrules", "", "orders", &[]).with(json!({
        "metadata": {"generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": of_cluster,
    })));
    serves(&app, "namespaces/shop/orders", &["7"]).await;
    serves(&app, "namespaces/bank/orders", &["7k"]).await;
    cluster.apply(rule("shop", "orders", 1, &of_external("orders", "sum(orders) + 1")));
    serves(&app, "namespaces/shop/orders", &["8"]).await;
    serves(&app, "namespaces/bank/orders", &["7k"]).await;
    cluster.delete("clustermetricrules", "", "orders");
    serves(&app, "namespaces/bank/orders", &["0"]).await;
    serves(&app, "namespaces/shop/orders", &["8"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_rule_stands_in_until_the_rules_of_teams_are_known() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    cluster.apply(rule("shop", "orders", 0, &of_external("orders", "sum(orders)")));
    cluster.hold(true);
    let app = start(RULES, &store.url, &cluster).await;
    until("the rule of the file has been discovered", async || {
        app.get(&external("")).await.body.contains("orders").then_some(())
    })
    .await;
    let early = app.get(&external("namespaces/shop/orders")).await;
    assert_eq!(early.status, 500);
    assert!(early.failure().contains("waiting for the list of MetricRules"), "{early:?}");
    cluster.hold(false);
    let first = until("the metric is served", async || {
        let reply = app.get(&external("namespaces/shop/orders")).await;
        (reply.status == 200).then(|| reply.json())
    })
    .await;
    assert_eq!(first["items"][0]["value"], "7", "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_what_became_of_a_rule() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    let rules = "rules: []\nteamRules: {quotas: {rules: 3}}\n";
    let app = start(rules, &store.url, &cluster).await;
    let good = of_external("orders", "sum by (queue) (orders)");
    cluster.apply(rule("shop", "first", 0, &good));
    cluster.apply(rule("shop", "second", 1, &good));
    let escapes = of_external("escape", r#"label_replace(orders,"namespace","bank","","")"#);
    cluster.apply(rule("shop", "third", 2, &escapes));
    cluster.apply(rule("shop", "fourth", 3, &of_external("more", "orders")));
    cluster.apply(rule("bank", "none", 0, &of_external("none", "no_such_series")));

    let served = ["Accepted=True/Accepted", "Discovered=True/SeriesFound", "Serving=True/Serving"];
    let status = conditions(&cluster, "shop", "first", &served).await;
    assert_eq!((&status["series"], &status["observedGeneration"]), (&json!(2), &json!(1)));
    assert!(["3", "4"].contains(&status["value"].as_str().expect("text")), "{status}");
    let claimed = [
        "Accepted=True/Accepted",
        "Discovered=Unknown/NotQueried",
        "Serving=False/ClaimedByAnother",
    ];
    let status = conditions(&cluster, "shop", "second", &claimed).await;
    assert!(status.to_string().contains("MetricRule shop/first is older"), "{status}");
    for (name, reason) in [("third", "QueryRefused"), ("fourth", "QuotaExceeded")] {
        let accepted = format!("Accepted=False/{reason}");
        let refused = [&*accepted, "Discovered=Unknown/NotQueried", "Serving=False/NotAccepted"];
        conditions(&cluster, "shop", name, &refused).await;
    }
    let nothing = ["Accepted=True/Accepted", "Discovered=False/NoValues", "Serving=True/Serving"];
    let status = conditions(&cluster, "bank", "none", &nothing).await;
    assert_eq!(status["series"], 0);

    // Whoever reads such a metric is told, unless it is another's.
    let refused = app.get(&external("namespaces/shop/escape")).await;
    let message = refused.failure();
    assert_eq!(refused.status, 404);
    assert!(message.contains("MetricRule shop/third is not accepted: spec.query"), "{message}");
    let refused = app.get(&external("namespaces/shop/more")).await;
    assert_eq!(refused.status, 429);
    let message = refused.failure();
    assert!(message.contains("MetricRule shop/fourth"), "{message}");
    assert!(message.contains("teamRules.quotas.rules"), "{message}");
    assert_refused_for(&refused, None);
    let explained = app.get(&external("namespaces/shop/explanations/more")).await.body;
    assert!(explained.contains("quota-exceeded"), "{explained}");
    let foreign = app.get(&external("namespaces/bank/escape")).await;
    assert!(!foreign.body.contains("shop"), "{foreign:?}");

    // An older rule goes, and the next one takes its place.
    cluster.delete("metricrules", "shop", "first");
    conditions(&cluster, "shop", "second", &served).await;
    let reasons = |name: &str| -> Vec<_> {
        let events = cluster.events();
        let own = events.iter().filter(|event| event["regarding"]["name"] == name);
        own.map(|event| event["reason"].as_str().expect("text").to_owned()).collect()
    };
    until("the Events are written", async || {
        (reasons("third") == ["QueryRefused"]
            && reasons("second").ends_with(&["Serving".to_owned()]))
        .then_some(())
    })
    .await;
    let metrics = app.get("/metrics").await.body;
    for line in [
        "loadline_team_rules{state=\"serving\"} 3",
        "loadline_team_rules{state=\"refused\"} 1",
        "loadline_team_rules{state=\"over_quota\"} 0",
        "loadline_team_rule_refusals_total{quota=\"rules\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_as_it_should_be_is_not_written_again() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    cluster.apply(rule("shop", "orders", 0, &of_external("orders", "sum(orders)")));
    let served = ["Accepted=True/Accepted", "Discovered=True/SeriesFound", "Serving=True/Serving"];
    let first = start("rules: []", &store.url, &cluster).await;
    conditions(&cluster, "shop", "orders", &served).await;
    first.stop().await;
    let writes = cluster.take_statuses().len();
    assert!((1..=2).contains(&writes), "{writes}");

    // Another replica finds it, and has nothing to add.
    let second = start("rules: []", &store.url, &cluster).await;
    serves(&second, "namespaces/shop/orders", &["7"]).await;
    cluster.apply(rule("shop", "later", 1, &of_external("later", "sum(orders)")));
    conditions(&cluster, "shop", "later", &served).await;
    let written: Vec<_> = cluster.take_statuses().into_iter().map(|(name, _)| name).collect();
    assert!(written.iter().all(|name| name == "shop/later"), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_samples_suspend_a_rule_and_no_other() {
    let many = |query: &str| {
        let rows = if query.contains("many") { 3 } else { 2 };
        let rows = (0..rows).map(|row| {
            let metric = json!({"namespace": "shop", "row": row.to_string()});
            json!({"metric": metric, "value": [1_790_000_000, "1"]})
        });
        let result: Vec<_> = rows.collect();
        Answer::Data(json!({"resultType": "vector", "result": result}))
    };
    let answer = move |asked: &Asked| many(asked.parameter("query"));
    let backend = Backend::start(answer).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    let rules = "rules: []\nteamRules: {quotas: {samples: 2}}\n";
    let app = start(rules, &backend.url, &cluster).await;
    cluster.apply(rule("shop", "many", 0, &of_external("many", "many")));
    cluster.apply(rule("shop", "few", 1, &of_external("few", "few")));
    serves(&app, "namespaces/shop/few", &["1", "1"]).await;
    let refused = until("the rule is suspended", async || {
        let reply = app.get(&external("namespaces/shop/many")).await;
        (reply.status == 429).then_some(reply)
    })
    .await;
    let message = refused.failure();
    assert!(message.contains("MetricRule shop/many") && message.contains("2 samples"), "{message}");
    assert!(message.contains("teamRules.quotas.samples"), "{message}");
    assert_refused_for(&refused, Some(60));
    let explained = app.get(&external("namespaces/shop/explanations/many")).await.body;
    assert!(explained.contains("quota-exceeded") && explained.contains("2 samples"), "{explained}");
    backend.take();
    assert_eq!(app.get(&external("namespaces/shop/many")).await.status, 429);
    assert!(backend.take().iter().all(|asked| !asked.parameter("query").contains("many")));
    serves(&app, "namespaces/shop/few", &["1", "1"]).await;
}

/// The time, if there is one, is in the body. By a header, clients of Kubernetes would try again themselves, ten times.
fn assert_refused_for(reply: &Reply, seconds: Option<u32>) {
    assert_eq!(reply.json()["reason"], "TooManyRequests", "{reply:?}");
    assert_eq!(reply.json()["details"]["retryAfterSeconds"], json!(seconds), "{reply:?}");
    assert!(!reply.headers.contains_key("retry-after"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_has_no_turn_because_of_its_quota_is_refused() {
    let (open, gate) = watch::channel(false);
    let empty = json!({"resultType": "vector", "result": []});
    let answer = move |asked: &Asked| match asked.parameter("query") {
        query if query.contains("slow") => Answer::Gated(gate.clone(), empty.clone()),
        _ => Answer::Data(empty.clone()),
    };
    let backend = Backend::start(answer).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    let rules = "rules: []\nteamRules: {quotas: {queries: 1, queryTime: 300ms}}\n";
    let app = start(rules, &backend.url, &cluster).await;
    let names = ["slow-a", "slow-b", "slow-c"];
    for (age, name) in (0..).zip(names) {
        let query = name.replace('-', "_");
        cluster.apply(rule("shop", name, age, &of_external(name, &query)));
    }
    cluster.apply(rule("bank", "fast", 0, &of_external("fast", "fast")));
    let refused = until("one of three queries has no turn", async || {
        let read = async |name: &str| app.get(&external(&format!("namespaces/shop/{name}"))).await;
        let [a, b, c] = names;
        let replies: [_; 3] = futures::join!(read(a), read(b), read(c)).into();
        replies.into_iter().find(|reply| reply.status == 429)
    })
    .await;
    assert!(refused.failure().contains("1 (`teamRules.quotas.queries`"), "{refused:?}");
    assert_refused_for(&refused, Some(1));
    serves(&app, "namespaces/bank/fast", &[]).await;
    let metrics = app.get("/metrics").await.body;
    assert!(metrics.contains("outcome=\"over_quota\""), "{metrics}");
    assert!(metrics.contains("loadline_team_rule_refusals_total{quota=\"queries\"}"), "{metrics}");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_flag_nothing_is_watched() {
    let backend =
        Backend::start(|_: &Asked| Answer::Data(json!({"resultType": "vector", "result": []})))
            .await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    cluster.apply(rule("shop", "orders", 0, &of_external("orders", "sum(orders)")));
    let app = Launch::new("rules: []", &backend.url).cluster(&cluster).start().await;
    assert_eq!(app.get(&external("namespaces/shop/orders")).await.status, 404);
    let asked: Vec<_> = cluster.take_lists().into_iter().chain(cluster.take_watches()).collect();
    assert!(asked.iter().all(|uri| !uri.contains("loadline.dev")), "{asked:?}");
    assert_eq!(app.get("/apis/external.metrics.k8s.io").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_kinds_all_else_is_served() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    cluster.refuse("list", "metricrules", Some(404));
    cluster.refuse("list", "clustermetricrules", Some(403));
    let app = start(RULES, &store.url, &cluster).await;
    serves(&app, "namespaces/shop/orders", &["0"]).await;
    until("an unknown metric is none", async || {
        (app.get(&external("namespaces/shop/other")).await.status == 404).then_some(())
    })
    .await;
}

const NAMESPACES: usize = 200;
const RULES_EACH: usize = 10;

/// A rule of many: its place in its namespace is its value.
fn of_many(namespace: usize, place: usize) -> Stored {
    let query = format!("sum by (queue) (rate(orders{{queue=\"q-{place}\"}}[2m])) / {place}");
    rule(
        &format!("team-{namespace:03}"),
        &format!("orders-{place}"),
        0,
        &of_external(&format!("orders_{place}"), &query),
    )
}

/// Prints what 2,000 rules in 200 namespaces take: `cargo test --release --test integration two_thousand -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn two_thousand_rules_of_two_hundred_teams() {
    install_tls_provider();
    let row = json!({"metric": {"queue": "q"}, "value": [1_790_000_000, "1"]});
    let answer = json!({"resultType": "vector", "result": [row]});
    let backend = Backend::start(move |_: &Asked| Answer::Data(answer.clone())).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.yaml");
    fs::write(&config, "rules: []\n").expect("a file");
    for count in [0, NAMESPACES] {
        let rules = (0..count)
            .flat_map(|namespace| (1..=RULES_EACH).map(move |place| of_many(namespace, place)));
        let cluster = Kubernetes::holding(rules.collect(), 500).await;
        let mut command = loadline(&[
            "serve",
            "--secure-port=0",
            "--bind-address=127.0.0.1",
            &format!("--cert-dir={}", folder.path().join(count.to_string()).display()),
            &format!("--prometheus-url={}", backend.url),
            &format!("--config={}", config.display()),
            &format!("--lister-kubeconfig={}", cluster.kubeconfig.display()),
            "--authentication-skip-lookup",
            "--authorization-always-allow-paths=*",
            "--team-rules",
        ]);
        command.env("MALLOC_ARENA_MAX", "2");
        let started = std::time::Instant::now();
        let mut process = Process::start(command, "cargo builds it");
        let port = process.port().await;
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
        let client = client.build().expect("a client");
        let get = async |path: &str| {
            let url = format!("https://127.0.0.1:{port}{path}");
            let reply = client.get(url).send().await.ok()?;
            let is_there = reply.status() == 200;
            Some((is_there, reply.text().await.ok()?))
        };
        let last = external(&format!("namespaces/team-{:03}/orders_{RULES_EACH}", NAMESPACES - 1));
        if count > 0 {
            until("the last rule is served", async || {
                get(&last).await.filter(|(is_there, _)| *is_there).map(drop)
            })
            .await;
            println!("the last rule was served {:?} after the start", started.elapsed());
            let changed = std::time::Instant::now();
            let new = of_external("orders_new", "sum(orders)");
            cluster.apply(rule("team-000", "new", 0, &new));
            let new = external("namespaces/team-000/orders_new");
            until("a new rule is served", async || {
                get(&new).await.filter(|(is_there, _)| *is_there).map(drop)
            })
            .await;
            println!("a new rule was served after {:?}", changed.elapsed());
            let line = "loadline_team_rules{state=\"serving\"} 2001";
            until("all rules serve", async || {
                get("/metrics").await.filter(|(_, text)| text.contains(line)).map(drop)
            })
            .await;
        }
        let metadata = backend.take().iter().filter(|asked| !asked.is_query()).count();
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()));
        let status = status.expect("the process");
        let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
        println!("{} rules: {memory}; {metadata} requests of discovery", count * RULES_EACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_of_a_team_is_explained_by_its_rule() {
    let exporter = Exporter::start(page()).await;
    let store = Store::prometheus(&exporter).await;
    let cluster = Kubernetes::start(OBJECTS, 500).await;
    let app = start("rules: []", &store.url, &cluster).await;
    cluster.apply(rule("shop", "orders", 0, &of_external("orders", "sum by (queue) (orders)")));
    let escapes = of_external("escape", r#"label_replace(orders,"namespace","bank","","")"#);
    cluster.apply(rule("shop", "escape", 0, &escapes));
    serves(&app, "namespaces/shop/orders", &["3", "4"]).await;
    let explained = async |metric: &str, selector: &str| {
        let path = format!("namespaces/shop/explanations/{metric}?metricLabelSelector={selector}");
        app.get(&external(&path)).await.body
    };
    let whole = explained("orders", "").await;
    assert!(whole.contains("MetricRule shop/orders serves `orders`"), "{whole}");
    assert!(whole.contains("namespace=\\\"shop\\\""), "{whole}");
    let filtered = explained("orders", "queue%3Dnone").await;
    assert!(filtered.contains("\"filtered\""), "{filtered}");
    let refused = explained("escape", "").await;
    assert!(refused.contains("broken-rule") && refused.contains("shop/escape"), "{refused}");
}
