//! Backends that want to be asked later: 429 and 503 with `Retry-After`.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, pods},
    until,
};

/// Two tenants of one backend.
const RULES: &str = r"
rules:
- {seriesQuery: m, resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}
- {seriesQuery: other, resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)', headers: {X-Scope-OrgID: other}}
";

const LIMITED: &str = "Prometheus, or a proxy before it, answered with HTTP status 429 (it limits how often it is asked)";

fn path(metric: &str, pod: usize) -> String {
    custom(&format!("namespaces/n/pods/p{pod}/{metric}"))
}

fn is_others(asked: &Asked) -> bool {
    asked.header("x-scope-orgid") == "other"
}

/// Answers all tenants, or all but one.
fn answering(
    later: Option<(u16, &'static str)>,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        if let Some((status, after)) = later
            && !is_others(asked)
        {
            return Answer::Later(status, after);
        }
        if asked.is_query() {
            let query = asked.parameter("query");
            let name = query.split("pod=\"").nth(1).and_then(|rest| rest.split('"').next());
            return Answer::Data(pods(&[(name.unwrap_or_default(), "1")]));
        }
        let selector = asked.parameter("match[]");
        let names = ["m", "other"].into_iter().filter(|name| selector.starts_with(name));
        Answer::Data(json!(names.collect::<Vec<_>>()))
    }
}

async fn told(app: &App, outcome: &str) -> u32 {
    let metrics = app.get("/metrics").await.body;
    let counts = metrics.lines().filter(|line| {
        line.starts_with("loadline_prometheus_requests_total{")
            && line.contains(&format!("outcome=\"{outcome}\""))
    });
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_for_whoever_is_to_ask_later() {
    let backend = Backend::start(answering(None)).await;
    let app = Launch::new(RULES, &backend.url).start().await;
    for after in ["3600", "Thu, 01 Jan 2099 00:00:00 GMT"] {
        let app = Launch::new(RULES, &backend.url).start().await;
        backend.play(answering(Some((429, after))));
        backend.take();
        assert!(app.get(&path("m", 0)).await.failure().ends_with(LIMITED));
        let reads: Vec<_> = (0..50).map(|pod| path("m", pod)).collect();
        for reply in join_all(reads.iter().map(|path| app.get(path))).await {
            assert_eq!(reply.status, 500);
            assert!(reply.failure().ends_with(LIMITED), "{reply:?}");
        }
        // Nor is what nobody knows looked for.
        assert_eq!(app.get(&path("unknown", 0)).await.status, 404);
        let sent = backend.take().iter().filter(|asked| !is_others(asked)).count();
        assert_eq!(sent, 1, "the one that was refused: {after}");
        assert!(told(&app, "paused").await >= 50);
        // Each tenant has limits of its own.
        for pod in 0..3 {
            assert_eq!(app.get(&path("other", pod)).await.values().len(), 1);
        }
        backend.play(answering(None));
    }
    // Without the header, or in an answer that is about something else, nothing is paused.
    for later in [(429, ""), (500, "3600")] {
        backend.play(answering(Some(later)));
        backend.take();
        for pod in 0..3 {
            assert_eq!(app.get(&path("m", pod)).await.status, 500);
        }
        assert_eq!(backend.count(Asked::is_query), 3, "{later:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_is_served_in_a_pause() {
    let backend = Backend::start(answering(None)).await;
    let mut launch = Launch::new(RULES, &backend.url);
    launch.planning.life.ttl = Duration::from_millis(1);
    launch.planning.life.max_stale = Duration::from_secs(600);
    launch.relist_interval = Duration::from_millis(50);
    let app = launch.start().await;
    let before = app.get(&path("m", 1)).await.values();
    backend.play(answering(Some((503, "3600"))));
    until("the pause", async || {
        assert_eq!(app.get(&path("m", 1)).await.values(), before);
        (told(&app, "paused").await > 0).then_some(())
    })
    .await;
    backend.take();
    for _ in 0..20 {
        assert_eq!(app.get(&path("m", 1)).await.values(), before);
    }
    // Discovery goes on to try, and is not sent, either.
    let paused = told(&app, "paused").await;
    until("discovery", async || (told(&app, "paused").await > paused + 3).then_some(())).await;
    assert_eq!(backend.take().iter().filter(|asked| !is_others(asked)).count(), 0);
    let health = app.get("/readyz?verbose").await;
    assert_eq!(health.status, 200);
    assert!(health.body.contains("HTTP status 503"), "{}", health.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_pause_one_asks_for_all() {
    let backend = Backend::start(answering(None)).await;
    let app = Launch::new(RULES, &backend.url).start().await;
    backend.play(answering(Some((429, "1"))));
    assert_eq!(app.get(&path("m", 0)).await.status, 500);
    backend.take();
    // Each of these would be sent as soon as the pause is over, if it could.
    let crowd = async || {
        let reads: Vec<_> = (0..50).map(|pod| path("m", pod)).collect();
        join_all(reads.iter().map(|path| app.get(path))).await
    };
    for round in 1..=2 {
        until("the next request", async || {
            let replies = crowd().await;
            assert!(replies.iter().all(|reply| reply.status == 500), "{replies:?}");
            (backend.count(Asked::is_query) >= round).then_some(())
        })
        .await;
        assert_eq!(backend.count(Asked::is_query), round);
    }
    backend.play(answering(None));
    until("all are answered", async || {
        crowd().await.iter().all(|reply| reply.status == 200).then_some(())
    })
    .await;
}
