//! A real Prometheus that is restarted, and a backend with another clock.

use std::time::Duration;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, pods},
    exporter::{Exporter, Page},
    store::Store,
    until,
};

/// Whoever reads regularly gets values throughout, and new ones once Prometheus has them.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_fails_no_steady_read() {
    let exporter = Exporter::start(page("1")).await;
    let store = Store::prometheus(&exporter).await;
    let mut launch = Launch::new(super::RULE, &store.url);
    launch.planning.life.ttl = Duration::from_millis(50);
    launch.planning.life.max_stale = Duration::from_secs(600);
    let app = launch.start().await;
    let steady = async || {
        let values = app.get(&custom("namespaces/n/pods/p/m")).await.values();
        values.into_iter().map(|(_, value)| value).collect::<String>()
    };
    assert_eq!(steady().await, "1");

    let stopped = store.stop().await;
    until("loadline has noticed", async || {
        assert_eq!(steady().await, "1");
        is_silent(&app).await.then_some(())
    })
    .await;
    // A metric that nobody has read has no last value: it fails, and at once.
    let unread = app.get(&custom("namespaces/n/pods/q/m")).await;
    assert!(unread.failure().ends_with("(connection refused)"), "{unread:?}");

    exporter.show(page("2"));
    let store = stopped.start().await;
    until("the new value is read", async || {
        let value = steady().await;
        assert!(["1", "2"].contains(&&*value), "{value}");
        (value == "2").then_some(())
    })
    .await;
    assert!(!is_silent(&app).await);
    assert_eq!(app.get(&custom("namespaces/n/pods/q/m")).await.values()[0].1, "7");
    drop(store);
}

fn page(value: &str) -> Page {
    Page::new().series("m", "ns=\"n\",pod=\"p\"", value).series("m", "ns=\"n\",pod=\"q\"", "7")
}

/// Whether the readiness, which stays, says that Prometheus does not answer.
async fn is_silent(app: &App) -> bool {
    let ready = app.get("/readyz?verbose").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    ready.body.contains("no answer since")
}

/// A pod that has gone is gone from the next scrape on, and not when its last sample is five minutes old.
#[tokio::test(flavor = "multi_thread")]
async fn a_series_that_ends_is_gone_with_its_stale_marker() {
    let exporter = Exporter::start(page("1")).await;
    let store = Store::prometheus(&exporter).await;
    let app = Launch::new(super::RULE, &store.url).start().await;
    let all = custom("namespaces/n/pods/*/m");
    assert_eq!(app.get(&all).await.values().len(), 2);
    exporter.show(Page::new().series("m", "ns=\"n\",pod=\"p\"", "1"));
    until("one is left", async || (app.get(&all).await.values().len() == 1).then_some(())).await;
    // The other one has no value, which is not the value 0.
    let gone = app.get(&custom("namespaces/n/pods/q/m")).await;
    assert_eq!(gone.status, 404, "{}", gone.body);
}

/// Finds the series where the range of time has something of now, by the clock of the backend: it began to scrape a minute ago.
fn scraping(ahead: i64) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        let now = jiff::Timestamp::now().as_second() + ahead;
        if asked.is_query() {
            assert_eq!(asked.parameter("time"), "", "it is evaluated by the clock of the backend");
            let mut data = pods(&[("p", "1")]);
            data["result"][0]["value"][0] = now.into();
            return Answer::Data(data);
        }
        let [start, end] = ["start", "end"].map(|name| asked.parameter(name).parse().unwrap_or(0));
        let is_found = start <= now
            && end >= now - 60
            && !asked.parameter("match[]").contains("loadline_matches_nothing");
        Answer::Data(is_found.then_some("m").as_slice().into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_by_ten_minutes_hide_nothing() {
    for ahead in [600, -600, 0] {
        let backend = Backend::start(scraping(ahead)).await;
        backend.set_clock(ahead);
        let mut launch = Launch::new(super::RULE, &backend.url);
        launch.max_age = Duration::from_secs(60);
        launch.planning.life.ttl = Duration::from_secs(600);
        launch.planning.life.max_stale = Duration::from_secs(600);
        let app = launch.start().await;
        let path = custom("namespaces/n/pods/p/m");
        let before = app.get(&path).await.json();
        let told: jiff::Timestamp =
            before["items"][0]["timestamp"].as_str().unwrap().parse().unwrap();
        let differs = told.as_second() - jiff::Timestamp::now().as_second() - ahead;
        assert!(differs.abs() < 60, "the time of the sample: {told}");
        // How long it is kept is a matter of our clock only.
        for _ in 0..3 {
            assert_eq!(app.get(&path).await.json(), before);
        }
        assert_eq!(backend.count(Asked::is_query), 1, "{ahead}");
    }
}
