//! Servers whose probes are refused, and which queries try. The clock is moved on, so that nobody waits ten minutes.

use loadline::core::failover::TRIAL;

use super::*;

/// Longer than from one probe to the next.
const STEP: Duration = Duration::from_secs(16);

/// Moves the clock on. Nothing may be under way that has a time limit.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A gateway that refuses probes, and forwards what it knows.
fn refusing_probes(
    answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| if asked.is_probe() { raw(403, "") } else { answer(asked) }
}

/// How many probes were refused.
async fn refused_probes(app: &App) -> usize {
    let metrics = app.get("/metrics").await.body;
    let start =
        "loadline_prometheus_requests_total{backend=\"pair\",path=\"probe\",outcome=\"http\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(start));
    counted.map_or(0, |count| count.parse().expect("a count"))
}

/// Whether the first one, which the second one stands in for, is in use after about this time, and not before.
async fn is_tried_after(time: Duration, app: &App, urls: &[&str]) {
    let mut passed = Duration::ZERO;
    while in_use(app, urls).await == Some(1) {
        assert!(passed <= time, "{passed:?}");
        let before = refused_probes(app).await;
        pass(STEP).await;
        passed += STEP;
        until("it is probed or in use", async || {
            let is_probed = refused_probes(app).await > before;
            (is_probed || in_use(app, urls).await == Some(0)).then_some(())
        })
        .await;
    }
    // The time that the test takes passes as well.
    assert!(passed > time.mul_f64(0.9), "{passed:?}");
}

/// What `/readyz` says of the first one.
async fn said(app: &App) -> String {
    let ready = app.get("/readyz?verbose").await.body;
    let line = ready.lines().find(|line| line.contains("pair urls[0]"));
    line.unwrap_or_default().to_owned()
}

/// It has failed queries, and then answered nobody. That it answers something again does not show that it answers queries.
#[tokio::test]
async fn a_server_that_failed_queries_before_a_silence_is_in_use_again_by_a_query() {
    let a = Backend::start(refusing_probes(says("1"))).await;
    let b = Backend::start(says("2")).await;
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = launch(&urls).start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    a.play(|_| raw(503, ""));
    until("the other one is in use", async || {
        assert_eq!(value(&read(&app, "p").await), "2");
        (in_use(&app, &urls).await == Some(1)).then_some(())
    })
    .await;
    a.play(|_| Answer::Cut(100));
    until("it is silent", async || said(&app).await.contains("no answer since").then_some(()))
        .await;
    a.play(refusing_probes(says("1")));
    until("it answers", async || said(&app).await.contains("by errors").then_some(())).await;
    assert!(is_ejected(&app, &a.url).await);
    a.take();

    is_tried_after(TRIAL, &app, &urls).await;
    assert_eq!(a.count(is_read), 0);
    for _ in 0..3 {
        assert_eq!(value(&read(&app, "p").await), "1");
    }
    assert_eq!(in_use(&app, &urls).await, Some(0));
    assert_eq!(said(&app).await, "");
}

/// No query fails by a trial, not even if the server says that the query is to blame.
#[tokio::test]
async fn a_trial_in_vain_is_over_with_one_query_and_the_next_one_is_later() {
    let a = Backend::start(refusing_probes(says("1"))).await;
    let b = Backend::start(says("2")).await;
    let urls = [a.url.as_str(), b.url.as_str()];
    let app = launch(&urls).start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    a.play(|_| Answer::Cut(100));
    until("the other one is in use", async || {
        assert_eq!(value(&read(&app, "p").await), "2");
        (in_use(&app, &urls).await == Some(1)).then_some(())
    })
    .await;
    for (after, answer) in [
        (TRIAL, error(422, "execution")),
        (TRIAL * 2, raw(503, "")),
        (TRIAL * 4, raw(200, "<html>a login page</html>")),
    ] {
        a.play(refusing_probes(knows(&["m"], move |_| answer.clone())));
        until("it answers", async || said(&app).await.is_empty().then_some(())).await;
        is_tried_after(after, &app, &urls).await;
        a.take();
        for _ in 0..3 {
            assert_eq!(value(&read(&app, "p").await), "2", "{after:?}");
        }
        assert_eq!((a.count(is_read), in_use(&app, &urls).await), (1, Some(1)));
    }
}
