//! A store behind the backend is away, and what the backend says of names and labels is not all there is.

use std::time::Duration;

use serde_json::{Value, json};

use super::{rule, rules, value};
use crate::support::{
    app::{App, Launch},
    backend::{Answer, Asked, Backend, pods},
    until,
};

/// What the store has.
#[derive(Clone, Copy)]
struct Content {
    /// The names of the later rule's series.
    names: &'static [&'static str],
    is_partial: bool,
}

fn whole(names: &'static [&'static str]) -> Content {
    Content { names, is_partial: false }
}

fn partial(names: &'static [&'static str]) -> Content {
    Content { names, is_partial: true }
}

/// Selectors that are asked for at the label endpoints, and at that of series.
const SELECTORS: [&str; 2] =
    ["{__name__=~\"app_.*\",namespace!=\"\"}", "{__name__=~\"app_.*\",a=\"1\" or a=\"2\"}"];

/// `x` of two rules, the later one of which also has what else is called `app_…`.
fn both(selector: &str) -> String {
    rules(&[rule("old_x", "{as: x}"), rule(selector, "{matches: \"^app_(.*)$\"}")])
}

fn is_about_app(asked: &Asked) -> bool {
    !asked.is_query() && asked.parameter("match[]").contains("app_")
}

fn is_probe(asked: &Asked) -> bool {
    asked.parameter("match[]").contains("loadline_matches_nothing")
}

fn said(data: &Value, is_partial: bool) -> Answer {
    let warnings: &[&str] = if is_partial { &["fetch label values: a store is away"] } else { &[] };
    let body = json!({"status": "success", "data": data, "warnings": warnings});
    Answer::Raw(200, "application/json", body.to_string())
}

fn store(content: Content) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        let query = asked.parameter("query");
        if query.starts_with("group by (__name__)") {
            let name = if query.contains("old_") { "old_x" } else { "app_x" };
            let row = json!({"metric": {"__name__": name}, "value": [1, "1"]});
            return Answer::Data(json!({"resultType": "vector", "result": [row]}));
        }
        if asked.is_query() {
            return Answer::Data(pods(&[("p", if query.contains("app_") { "50" } else { "7" })]));
        }
        if is_probe(asked) {
            return said(&json!([]), content.is_partial);
        }
        if !is_about_app(asked) {
            return Answer::Data(json!(["old_x"]));
        }
        if asked.path != "/api/v1/series" {
            return said(&json!(content.names), content.is_partial);
        }
        let series = |name: &&str| json!({"__name__": name, "namespace": "n", "pod": "p"});
        said(&content.names.iter().map(series).collect(), content.is_partial)
    }
}

async fn values(app: &App) -> [Option<String>; 3] {
    [value(app, "p", "x").await, value(app, "p", "y").await, value(app, "p", "z").await]
}

fn text(values: [Option<&str>; 3]) -> [Option<String>; 3] {
    values.map(|value| value.map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_answer_adds_to_what_is_known_and_takes_nothing_away() {
    for selector in SELECTORS {
        let backend = Backend::start(store(whole(&["app_x", "app_y"]))).await;
        let mut launch = Launch::new(&both(selector), &backend.url);
        launch.relist_interval = Duration::from_secs(1);
        launch.max_age = Duration::from_secs(60);
        let app = launch.start().await;
        assert_eq!(values(&app).await, text([Some("50"), Some("50"), None]), "{selector}");

        backend.play(store(partial(&["app_z"])));
        until("what is new", async || value(&app, "p", "z").await).await;
        assert_eq!(values(&app).await, text([Some("50"); 3]), "{selector}");
        let told = async || app.discovery.problems().first().map(ToString::to_string);
        let problem = until("what is told of it", told).await;
        assert_eq!(problem, "rules[1]: the answer of Prometheus is partial");

        backend.play(store(whole(&["app_z"])));
        let healed = async || app.discovery.problems().is_empty().then_some(());
        until("a whole answer", healed).await;
        assert_eq!(values(&app).await, text([Some("7"), None, Some("50")]), "{selector}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_better_than_nothing() {
    let backend = Backend::start(store(partial(&["app_x"]))).await;
    let mut launch = Launch::new(&both(SELECTORS[0]), &backend.url);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(60);
    let app = launch.start().await;
    assert_eq!(value(&app, "p", "x").await.as_deref(), Some("50"));
    let [problem] = &app.discovery.problems()[..] else { panic!("one problem") };
    assert_eq!(problem.to_string(), "rules[1]: the answer of Prometheus is partial");

    backend.play(store(whole(&["app_x", "app_y"])));
    let healed = async || app.discovery.problems().is_empty().then_some(());
    until("a whole answer", healed).await;
    assert_eq!(value(&app, "p", "y").await.as_deref(), Some("50"));
    let probes = backend.count(is_probe);
    assert!(probes > 1, "an empty part says nothing of the backend");
    backend.take();
    until("two rounds", async || (backend.count(is_about_app) > 4).then_some(())).await;
    assert_eq!(backend.count(is_probe), 0, "a whole answer is remembered");
    app.stop().await;
}
