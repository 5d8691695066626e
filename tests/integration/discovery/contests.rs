//! Several series claim a metric, and the backend does not say, or says in part, which of them are alive.

use std::time::Duration;

use serde_json::json;

use super::{rule, rules, value};
use crate::support::{
    app::{App, Launch},
    backend::{Answer, Asked, Backend, pods},
    until,
};

/// Two rules of `metric`. The later one's series has ended, and only its name is left.
fn claims(metric: &str, more: &str) -> [String; 2] {
    ["live", "dead"].map(|series| {
        rule(&format!("{series}_{metric}"), &format!("{{as: {metric}}}"))
            .replace("\n  name", &format!("{more}\n  name"))
    })
}

/// Whether this is the query by which live series are told from dead ones.
fn confirms(asked: &Asked) -> bool {
    asked.parameter("query").starts_with("group by (__name__)")
}

/// The series of which a confirming query says that they are alive.
fn alive(series: Option<&str>) -> serde_json::Value {
    let row = |name| json!({"metric": {"__name__": name}, "value": [1, "1"]});
    json!({"resultType": "vector", "result": series.map(row).as_slice()})
}

/// The series that an answer is about.
fn series(asked: &Asked) -> Option<&str> {
    let text = asked.parameter(if asked.is_query() { "query" } else { "match[]" });
    let is_name = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.split(|c| !is_name(c)).find(|word| word.starts_with("live_") || word.starts_with("dead_"))
}

/// Knows the names of all series and values of those that live. `confirm` may answer a confirming query in another way.
fn store(
    confirm: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        let series = series(asked);
        let live = series.filter(|series| series.starts_with("live_"));
        if !asked.is_query() {
            return Answer::Data(json!(series.as_slice()));
        }
        if confirms(asked) {
            return confirm(asked).unwrap_or_else(|| Answer::Data(alive(live)));
        }
        Answer::Data(pods(live.map(|_| ("p", "50")).as_slice()))
    }
}

fn away() -> Answer {
    Answer::Raw(503, "text/plain", "away".to_owned())
}

fn in_part(data: &serde_json::Value) -> Answer {
    let body = json!({"status": "success", "data": data, "warnings": ["No StoreAPIs matched"]});
    Answer::Raw(200, "application/json", body.to_string())
}

/// What is told of rules whose live series cannot be told from dead ones.
fn doubts(app: &App) -> Vec<String> {
    let problems = app.discovery.problems();
    let problems = problems.iter().map(ToString::to_string);
    problems.filter(|problem| problem.contains("live series")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_problem_where_nobody_can_tell_who_lives() {
    let backend = Backend::start(store(|_| Some(away()))).await;
    let mut launch = Launch::new(&rules(&claims("x", "")), &backend.url);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(60);
    let app = launch.start().await;
    let why = "cannot distinguish live series from ended ones: Prometheus, or a proxy before it, answered with HTTP status 503 (it is unavailable)";
    assert_eq!(doubts(&app), [format!("rules[0]: {why}"), format!("rules[1]: {why}")]);
    assert!(app.get("/readyz?verbose").await.body.contains(why));
    let told = "loadline_discovery_successful{rule=\"rules[1]\"}";
    assert!(app.get("/metrics").await.body.contains(&format!("{told} 0")));

    backend.play(store(|_| None));
    until("no doubts", async || doubts(&app).is_empty().then_some(())).await;
    assert_eq!(value(&app, "p", "x").await.as_deref(), Some("50"));
    assert!(app.get("/metrics").await.body.contains(&format!("{told} 1")));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_answer_tells_of_life_and_not_of_death() {
    let partly = |asked: &Asked| {
        Some(in_part(&alive(series(asked).filter(|series| series.starts_with("live_")))))
    };
    let backend = Backend::start(store(partly)).await;
    let mut launch = Launch::new(&rules(&claims("x", "")), &backend.url);
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(60);
    let app = launch.start().await;
    assert_eq!(value(&app, "p", "x").await.as_deref(), Some("50"));
    assert_eq!(doubts(&app).len(), 2);

    // Of what was alive, nothing is told any more.
    let nothing = |_: &Asked| Some(in_part(&alive(None)));
    backend.play(store(nothing));
    backend.take();
    until("two rounds", async || (backend.count(confirms) > 8).then_some(())).await;
    assert_eq!(value(&app, "p", "x").await.as_deref(), Some("50"));
    assert_eq!(doubts(&app).len(), 2);

    backend.play(store(|_| None));
    until("a whole answer", async || doubts(&app).is_empty().then_some(())).await;
    assert_eq!(value(&app, "p", "x").await.as_deref(), Some("50"));
    app.stop().await;
}

/// What is no vector says nothing of life and death.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_type_is_a_problem() {
    let scalar =
        |_: &Asked| Some(Answer::Data(json!({"resultType": "scalar", "result": [1, "1"]})));
    let backend = Backend::start(store(scalar)).await;
    let app = Launch::new(&rules(&claims("x", "")), &backend.url).start().await;
    assert_eq!(doubts(&app).len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_whose_queries_hang_takes_no_time_of_another() {
    let hangs = Backend::start(store(|_| Some(Answer::Hang))).await;
    let backend = Backend::start(store(|_| None)).await;
    let there = claims("other", "\n  prometheus: there");
    let text = rules(&[there.concat(), claims("mine", "").concat()]);
    let text = format!("backends:\n- {{name: there, url: '{}'}}\n{text}", hangs.url);
    let mut launch = Launch::new(&text, &backend.url);
    launch.prometheus.discovery_timeout = Duration::from_secs(3);
    let app = launch.start().await;
    assert_eq!(backend.count(confirms), 4, "two labels of two rules");
    assert_eq!(value(&app, "p", "mine").await.as_deref(), Some("50"));
    let why = "cannot distinguish live series from ended ones: Prometheus did not answer in time";
    assert_eq!(doubts(&app), [format!("rules[0]: {why}"), format!("rules[1]: {why}")]);
    app.stop().await;
}
