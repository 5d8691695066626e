//! When a token is renewed, and what it costs when its endpoint fails.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use loadline::{
    metrics::Metrics,
    prometheus::{BackendHandle, Replicas},
};

use super::*;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_renewed_once() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let endpoint = Backend::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        token(&format!("access-token-{number}"), 3600)
    })
    .await;
    let settings = oauth2(folder.path(), &endpoint, "");
    let backend = taking("access-token-1").await;
    let app = launch(&backend, &settings, &[]).start().await;
    let reads = futures::future::join_all((0..20).map(|_| read(&app))).await;
    assert!(reads.iter().all(|(status, _)| *status == 200), "{reads:?}");
    assert_eq!(endpoint.take().len(), 2, "the first token, and one in its place");
    // Now every token is refused: it is not the token.
    backend.play(|_| Answer::Raw(401, "text/plain", String::new()));
    for _ in 0..5 {
        let (status, body) = read(&app).await;
        assert_eq!(status, 500, "{body}");
        assert!(body.contains("401"), "{body}");
    }
    assert!(endpoint.take().is_empty(), "not again within half a minute");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_without_tokens_costs_the_rules_of_the_backend() {
    let folder = tempfile::tempdir().unwrap();
    let said = |asked: &Asked| format!("{} {:?}", asked.parameter("client_secret"), asked.headers);
    let is_hanging = Arc::new(AtomicBool::new(false));
    for number in 0..6 {
        let hang = Arc::clone(&is_hanging);
        let endpoint = Backend::start(move |asked| match number {
            0 => {
                let body = json!({"error": "invalid_client", "error_description": said(asked)});
                Answer::Raw(401, "application/json", body.to_string())
            }
            1 => Answer::Raw(502, "text/html", format!("<html>{}", said(asked))),
            2 => Answer::Raw(200, "application/json", json!({"token": said(asked)}).to_string()),
            3 => Answer::Endless(8 << 20),
            4 => Answer::Redirect(302, "/elsewhere".to_owned()),
            _ => {
                hang.store(true, Ordering::SeqCst);
                Answer::Hang
            }
        })
        .await;
        let backend = taking("access-token").await;
        let more = ", clientAuth: post";
        let settings = oauth2(folder.path(), &endpoint, more);
        let app = launch(&backend, &settings, &[]).start().await;
        endpoint.take();
        let reads = futures::future::join_all((0..20).map(|_| read(&app))).await;
        for (status, body) in &reads {
            assert_eq!(*status, 500, "{number}: {body}");
            assert!(body.contains("no credentials for Prometheus could be fetched"), "{body}");
            assert!(!body.contains("127.0.0.1"), "{body}");
        }
        assert!(endpoint.take().len() <= 1, "one attempt for all");
        assert_eq!(backend.count(|_| true), 0, "nothing is sent without credentials");
        let health = app.get("/readyz?verbose").await.body;
        assert!(health.contains("no credentials for Prometheus could be fetched"), "{health}");
        let metrics = app.get("/metrics").await.body;
        assert!(metrics.contains("outcome=\"credentials\""), "{metrics}");
        for text in reads.iter().map(|(_, body)| body).chain([&health, &metrics]) {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
        // It recovers with the endpoint.
        endpoint.play(|_| token("access-token", 3600));
        until("values again", async || (read(&app).await.0 == 200).then_some(())).await;
        let health = app.get("/readyz?verbose").await.body;
        assert!(!health.contains("no credentials"), "{health}");
        app.stop().await;
    }
    assert!(is_hanging.load(Ordering::SeqCst));
}

/// Tokens of half a minute: one is renewed before it ends, so that no read waits, and one whose endpoint is away is used to its end. It
/// takes that long.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_before_its_end_and_good_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let renewing = Backend::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        token(&format!("access-token-{number}"), 30)
    })
    .await;
    let failing = Backend::start(|_| token("access-token", 30)).await;
    let backends = (backend().await, backend().await);
    let apps = (
        launch(&backends.0, &oauth2(folder.path(), &renewing, ""), &[]).start().await,
        launch(&backends.1, &oauth2(folder.path(), &failing, ""), &[]).start().await,
    );
    assert_eq!((read(&apps.0).await.0, read(&apps.1).await.0), (200, 200));
    let started = std::time::Instant::now();
    failing.play(|_| Answer::Raw(500, "text/plain", String::new()));
    backends.0.take();
    until("a new token is sent", async || {
        let (status, body) = read(&apps.0).await;
        assert_eq!(status, 200, "{body}");
        let asked = backends.0.take();
        asked
            .iter()
            .any(|asked| asked.header("authorization") == "Bearer access-token-1")
            .then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(24), "nobody has waited for its end");
    until("the end of the token", async || {
        let (status, body) = read(&apps.1).await;
        let is_over = started.elapsed() > Duration::from_secs(23);
        assert!(status == 200 || is_over, "{:?}: {body}", started.elapsed());
        (status == 500).then_some(())
    })
    .await;
    assert!(failing.count(|_| true) > 1, "it has been tried before");
    apps.0.stop().await;
    apps.1.stop().await;
}

/// It takes as long as one attempt may.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_is_told_and_nobody_waits_twice_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Backend::start(|_| Answer::Hang).await;
    let backend = taking("access-token").await;
    let found = "- {seriesQuery: 'd{}', resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}\n";
    let rules = format!("{RULE}{found}");
    let settings = oauth2(folder.path(), &endpoint, "");
    let mut launch = launch_with(&rules, &backend, &settings, &[]);
    launch.prometheus.discovery_timeout = Duration::from_millis(500);
    let app = launch.start().await;
    let cause = "no credentials for Prometheus could be fetched";
    let discovery = async || {
        let health = app.get("/readyz?verbose").await.body;
        assert!(!health.contains("no answer"), "{health}");
        health.contains(cause).then_some(())
    };
    until("discovery knows why it has failed", discovery).await;
    assert_eq!(endpoint.count(|_| true), 1);
    let (status, body) = read(&app).await;
    assert!(status == 500 && body.contains(cause), "{status} {body}");
    assert_eq!(backend.count(|_| true), 0, "the backend is not in doubt");

    let reads = until("no read ends otherwise", async || {
        let (status, body) = read(&app).await;
        assert!(status == 500 && body.contains(cause), "{status} {body}");
        None::<()>
    });
    let second = async {
        until("another attempt", async || (endpoint.count(|_| true) == 2).then_some(())).await;
        let other = custom("namespaces/n/pods/q/m");
        let reply = tokio::time::timeout(Duration::from_secs(5), app.get(&other)).await;
        let reply = reply.expect("it does not wait for the attempt");
        assert!(reply.status == 500 && reply.body.contains(cause), "{}", reply.body);
        let health = app.get("/readyz?verbose").await.body;
        assert!(health.contains(&format!("--prometheus-url: {cause}")), "{health}");
        assert_eq!(endpoint.count(|_| true), 2, "it is still under way");
    };
    tokio::select! {
        () = reads => {}
        () = second => {}
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_that_has_credentials_is_asked_while_those_of_the_first_are_awaited() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let endpoint = Backend::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Hang,
        _ => token("access-token", 3600),
    })
    .await;
    let (first, second) = (taking("access-token").await, taking("access-token").await);
    let mut launch = launch(&first, &oauth2(folder.path(), &endpoint, ""), &[]);
    launch.prometheus.query_timeout = Duration::from_secs(4);
    launch.prometheus.others = vec![("second".to_owned(), second.url.parse().unwrap(), None)];
    let app = launch.start().await;
    let reply = tokio::time::timeout(Duration::from_secs(4), read(&app)).await;
    let (status, body) = reply.expect("it is in time");
    assert_eq!(status, 200, "{body}");
    assert_eq!(first.count(|_| true), 0, "it has no credentials");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_is_is_asked_again_with_a_token_in_place_of_a_refused_one() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let endpoint = Backend::start(move |_| {
        token(&format!("access-token-{}", count.fetch_add(1, Ordering::SeqCst)), 3600)
    })
    .await;
    let backend = Backend::start(|asked| {
        if asked.header("authorization") == "Bearer access-token-1" {
            Answer::Data(json!({"version": "3.1.0"}))
        } else {
            Answer::Raw(401, "text/plain", String::new())
        }
    })
    .await;
    let config = launch(&backend, &oauth2(folder.path(), &endpoint, ""), &[]).prometheus;
    let replicas = Replicas::new(config, &Arc::new(Metrics::default())).unwrap();
    let handle = BackendHandle::new(Arc::new(replicas), Vec::new(), None);
    handle.build_info().await.unwrap();
    assert_eq!(backend.count(|_| true), 2);
}
