//! What strangers can do: little, and none of it keeps others waiting.

use std::sync::atomic::{AtomicUsize, Ordering};

use loadline::{core::budgets::MemoryBudgets, server::limits::Limits};

use super::*;
use crate::support::collector::Collector;

/// How many reviews there were of tokens and of access since the last call.
fn reviews(stage: &Stage) -> (usize, usize) {
    let delegation = stage.cluster.delegation();
    (delegation.take_token_reviews().len(), delegation.take_access_reviews().len())
}

#[track_caller]
fn is_crowded(reply: &Reply) -> bool {
    if reply.status != 429 {
        return false;
    }
    assert_eq!(reply.headers["retry-after"], "1");
    let status = reply.json();
    assert_eq!(
        (&status["reason"], &status["details"]["retryAfterSeconds"]),
        (&json!("TooManyRequests"), &json!(1))
    );
    reply.failure();
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_what_is_not_served_or_too_long() {
    let stage = Stage::new().await;
    let app = ready(stage.launch()).await;
    reviews(&stage);
    let long = "a".repeat(16 << 10);
    let cases = [
        ("GET", format!("/{}", "a".repeat(9_900)), 404, "NotFound"),
        ("GET", "/".to_owned(), 404, "NotFound"),
        ("POST", "/nothing".to_owned(), 404, "NotFound"),
        ("GET", "/apis/apps/v1/deployments".to_owned(), 404, "NotFound"),
        ("GET", "/apis/custom.metrics.k8s.io/v1/x".to_owned(), 404, "NotFound"),
        ("GET", custom(&long), 414, "RequestURITooLong"),
        ("GET", format!("{}?labelSelector={long}", read()), 414, "RequestURITooLong"),
    ];
    for token in ["", "Bearer bad", "Bearer good"] {
        for (method, path, status, reason) in &cases {
            let headers = [("authorization", token)];
            let reply = app.request(method.parse().unwrap(), path, &headers).await;
            assert_eq!(
                (reply.status.as_u16(), &reply.json()["reason"]),
                (*status, &json!(reason)),
                "{path}"
            );
            reply.failure();
        }
    }
    for (padding, status) in [(60_000, 200), (65_000, 200), (66_000, 431)] {
        let client = Client::builder().tls_certs_only([app.authority.clone()]).no_proxy();
        let client = client.http1_only().build().unwrap();
        let padding = "a".repeat(padding);
        let url = app.url("/readyz");
        let reply = App::send(&client, Method::GET, &url, &[("x", &padding)]).await;
        assert_eq!(reply.status, status, "{}", padding.len());
    }
    let body = vec![0; (64 << 10) + 1];
    let reply = app.client.post(app.url(&read())).body(body).send().await.unwrap();
    assert_eq!(reply.status(), 413);
    let status: Value = serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap();
    assert_eq!(status["reason"], "RequestEntityTooLarge");
    assert_eq!(reviews(&stage), (0, 0));
}

/// Sends requests of strangers, who have to wait until the hold ends; meanwhile those that are told to come later are counted.
/// Once there are so many of these somebody who is known is served, and `held` is called. In the end it is said how many there were.
async fn flood(
    stage: &Stage,
    app: &App,
    requests: Vec<(String, Vec<(&str, &str)>)>,
    crowd: usize,
    held: impl FnOnce(),
) -> usize {
    let crowded = AtomicUsize::new(0);
    stage.cluster.delegation().hold_strangers(true);
    let strangers = requests.iter().map(async |(path, headers)| {
        if is_crowded(&app.request(Method::GET, path, headers).await) {
            crowded.fetch_add(1, Ordering::SeqCst);
        }
    });
    let others = async {
        until("strangers are told to come later", async || {
            (crowded.load(Ordering::SeqCst) >= crowd).then_some(())
        })
        .await;
        assert_eq!(get(app, "good", &read()).await.status, 200);
        held();
        stage.cluster.delegation().hold_strangers(false);
    };
    tokio::join!(join_all(strangers), others);
    crowded.into_inner()
}

/// How many strangers are under review at a time.
const AT_A_TIME: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_wait_behind_strangers() {
    let stage = Stage::new().await;
    let app = ready(stage.forgetful()).await;
    // A token that was good is not a stranger's when it is reviewed again.
    assert_eq!(get(&app, "good", &read()).await.status, 200);
    let tokens: Vec<_> = (0..50).map(|number| format!("Bearer token-{number}")).collect();
    let nobody = (0..50).map(|number| (custom(&format!("namespaces/n/pods/p-{number}/m")), vec![]));
    let bad = tokens.iter().map(|token| (read(), vec![("authorization", token.as_str())]));
    for requests in [nobody.collect(), bad.collect()] {
        reviews(&stage);
        let crowd = 50 - AT_A_TIME;
        assert_eq!(flood(&stage, &app, requests, crowd, || {}).await, crowd);
        let (tokens, access) = reviews(&stage);
        // Each of the known user's requests is reviewed, too.
        assert_eq!(tokens.max(access), AT_A_TIME + 1, "{tokens} {access}");
    }
}

/// Many requests can wait for one review, but not more than there is memory for.
#[tokio::test(flavor = "multi_thread")]
async fn large_heads_do_not_pile_up() {
    const BYTES: usize = 60_000;
    const MOST: usize = (1 << 20) / BYTES;
    const ALL: usize = 2 * MOST;
    let stage = Stage::new().await;
    let mut launch = stage.forgetful();
    // For strangers there are 1 MiB of each.
    launch.memory = MemoryBudgets { requests: 16 << 20, token_reviews: 4 << 20, ..launch.memory };
    let app = ready(launch).await;
    assert_eq!(get(&app, "good", &read()).await.status, 200);
    let padding = "a".repeat(BYTES);
    for token in ["", "Bearer bad"] {
        let headers = vec![("x-padding", padding.as_str()), ("authorization", token)];
        reviews(&stage);
        // Those that come after the hold make reviews of their own.
        let shared = || {
            let (tokens, access) = reviews(&stage);
            assert!(tokens + access < 5, "{token}: they share one review");
        };
        let requests = vec![(read(), headers); ALL];
        let crowd = flood(&stage, &app, requests, ALL - MOST, shared).await;
        assert!((ALL - MOST..ALL).contains(&crowd), "{token}: {crowd}");
    }
}

/// Strangers make room for each other; whoever is known keeps the connection, whatever the address.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_known_keeps_the_connection() {
    let stage = Stage::new().await;
    let mut launch = stage.launch();
    launch.limits = Limits { connections: 8, strangers_per_address: 2 };
    let app = ready(launch).await;
    let relay = Relay::start(app.address, true).await;
    let url = format!("https://{}", relay.address);
    let (proxy, jane) = (stage.proxy(), stage.clients.issue("jane", [""; 2]));
    let known = [
        (client(&app, Some(&proxy)), vec![("x-remote-user", "ann")]),
        (client(&app, Some(&jane)), vec![]),
        (client(&app, None), vec![("authorization", "Bearer good")]),
    ];
    let ask = async |client: &Client, headers: &[(&str, &str)]| {
        App::send(client, Method::GET, &format!("{url}{}", read()), headers).await.status.as_u16()
    };
    for (client, headers) in &known {
        assert_eq!(ask(client, headers).await, 200);
    }
    for _ in 0..20 {
        let stranger = client(&app, None);
        let health = format!("{url}/readyz");
        assert_eq!(
            App::send(&stranger, Method::GET, &health, &[]).await.status,
            200,
            "probes are served"
        );
    }
    let accepted = relay.accepted();
    for (client, headers) in &known {
        assert_eq!(ask(client, headers).await, 200);
    }
    assert_eq!(relay.accepted(), accepted, "nobody who is known has connected again");
}

/// Nobody who is known is closed for anybody, so that what is new is.
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_those_who_are_known_have_a_number_too() {
    let stage = Stage::new().await;
    let mut launch = stage.launch();
    launch.limits = Limits { connections: 4, strangers_per_address: 4 };
    let app = ready(launch).await;
    let url = app.url(&read());
    let headers = [("authorization", "Bearer good")];
    let known: Vec<_> = (0..4).map(|_| client(&app, None)).collect();
    for client in &known {
        assert_eq!(App::send(client, Method::GET, &url, &headers).await.status, 200);
    }
    let late = client(&app, None);
    let ask = async || late.get(&url).bearer_auth("good").send().await;
    for _ in 0..3 {
        ask().await.unwrap_err();
    }
    for client in &known {
        assert_eq!(App::send(client, Method::GET, &url, &headers).await.status, 200);
    }
    drop(known);
    until("there is room", async || ask().await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_too_long_are_not_reviewed() {
    let stage = Stage::new().await;
    let app = ready(stage.launch()).await;
    reviews(&stage);
    for (length, wanted) in [(32 << 10, 1), ((32 << 10) + 1, 0)] {
        assert_eq!(get(&app, &"t".repeat(length), &read()).await.status, 401);
        assert_eq!(reviews(&stage).0, wanted, "{length}");
    }
}

/// Reasons are for those who may read the single checks, as in kube-apiserver.
#[tokio::test(flavor = "multi_thread")]
async fn why_the_server_is_not_well_is_for_those_who_may_read_it() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    delegation.token("monitor", json!({"username": "monitor"}));
    delegation.access(|spec| {
        let path = spec["nonResourceAttributes"]["path"].as_str().unwrap_or_default();
        let is_public = ["/readyz", "/livez", "/healthz"].contains(&path);
        json!({"allowed": is_public || (spec["user"] == "monitor" && path.starts_with("/readyz/"))})
    });
    // Nothing answers there.
    let mut launch = Launch::new(RULE, "http://127.0.0.1:1").cluster(&stage.cluster);
    launch.guarded = true;
    let app = ready(launch).await;
    let reason = "Prometheus cannot be reached";
    for (token, wanted, is_told) in [
        ("", 0, false),
        ("Bearer bad", 0, false),
        ("Bearer good", 1, false),
        ("Bearer monitor", 1, true),
    ] {
        reviews(&stage);
        let headers = [("authorization", token)];
        let plain = app.request(Method::GET, "/readyz?verbose", &headers).await;
        let (_, access) = reviews(&stage);
        assert_eq!((plain.status.as_u16(), access), (200, wanted), "{token}");
        let json = app.request(Method::GET, "/health/ready", &headers).await;
        assert_eq!(json.status, 200, "{token}");
        for reply in [&plain, &json] {
            assert_eq!(reply.body.contains(reason), is_told, "{token}: {reply:?}");
            assert_eq!(reply.body.contains("reason withheld"), !is_told, "{token}: {reply:?}");
        }
        assert!(
            plain.body.contains("[!]prometheus ") && plain.body.contains("[+]ping ok"),
            "{plain:?}"
        );
        let single = app.request(Method::GET, "/readyz/prometheus", &headers).await;
        assert_eq!(single.body.contains(reason), is_told, "{token}: {single:?}");
        // Probes depend on nobody.
        reviews(&stage);
        assert_eq!(app.request(Method::GET, "/readyz", &headers).await.body, "ok");
        assert_eq!(reviews(&stage), (0, 0), "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_do_not_tell_of_strangers() {
    let (stage, collector) = (Stage::new().await, Collector::start().await);
    let delegation = stage.cluster.delegation();
    delegation.access(|spec| json!({"allowed": spec["user"] == "holder"}));
    delegation.token("poor", json!({"username": "poor"}));
    let launch = stage.launch().traced(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    let app = ready(launch).await;
    let traces = ["1", "2", "3", "4", "5"].map(|digit| digit.repeat(32));
    let parents = traces.clone().map(|trace| format!("00-{trace}-00f067aa0ba902b7-01"));
    let ask = async |path: &str, token: &str, parent: &str| {
        let headers = [("authorization", token), ("traceparent", parent)];
        app.request(Method::GET, path, &headers).await.status.as_u16()
    };
    let path = read();
    assert_eq!(ask(&path, "", &parents[0]).await, 403);
    assert_eq!(ask(&path, "Bearer bad", &parents[1]).await, 401);
    assert_eq!(ask(&path, "Bearer poor", &parents[2]).await, 403);
    assert_eq!(ask("/apis/apps", "Bearer good", &parents[3]).await, 404);
    assert_eq!(ask(&path, "Bearer good", &parents[4]).await, 200);
    app.stop().await;
    for trace in &traces[..4] {
        assert_eq!(collector.trace(trace), [], "{trace}");
    }
    let known = collector.trace(&traces[4]);
    for name in ["TokenReview", "SubjectAccessReview", "query"] {
        assert!(known.iter().any(|span| span.name == name), "{name}: {known:?}");
    }
    assert!(
        collector.spans().iter().all(|span| span.name != "TokenReview" || known.contains(span))
    );
}
