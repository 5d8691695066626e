//! Rules that give no metric though nothing fails: that is told, with the cause.

use std::time::Duration;

use serde_json::{Value, json};

use super::{rule, rules};
use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, pods},
    until,
};

/// Knows series by their names and the labels that they carry, and answers queries.
fn store(
    series: &'static [(&'static str, &'static [&'static str])],
    query: impl Fn(&Asked) -> Value + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        if asked.is_query() {
            return Answer::Data(query(asked));
        }
        let selector = asked.parameter("match[]");
        let found = series.iter().filter(|(name, labels)| {
            let is_asked_for = |label: &&str| selector.contains(label);
            let wanted = ["namespace", "pod"].into_iter().filter(is_asked_for);
            selector.starts_with(name) && wanted.into_iter().all(|label| labels.contains(&label))
        });
        Answer::Data(found.map(|(name, _)| *name).collect())
    }
}

fn nothing(_: &Asked) -> Value {
    pods(&[])
}

async fn problem(app: &App, rule: &str) -> String {
    until("the problem is told", async || {
        let idle = app.discovery.remarks();
        idle.iter().find_map(|problem| Some(problem.to_string().strip_prefix(rule)?.to_owned()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn series_that_are_no_metrics_say_why() {
    let series: &[(&str, &[&str])] = &[
        ("bare_a", &[]),
        ("named", &["namespace", "pod"]),
        ("twice_a", &["namespace", "pod"]),
        ("twice_b", &["namespace", "pod"]),
    ];
    let backend = Backend::start(store(series, |asked| {
        let name = |name: &&&str| asked.parameter("query").contains(**name);
        let names: Vec<_> = ["twice_a", "twice_b"].iter().filter(name).collect();
        let row = |name| json!({"metric": {"__name__": name, "pod": "p"}, "value": [1, "1"]});
        json!({"resultType": "vector", "result": names.into_iter().map(row).collect::<Vec<_>>()})
    }))
    .await;
    let text = rules(&[
        rule("bare_a", "{as: bare}"),
        rule("named", "{matches: ^other}"),
        rule("twice_a", "{as: twice}"),
        rule("twice_b", "{as: twice}"),
    ]);
    let app = Launch::new(&text, &backend.url).start().await;
    assert_eq!(
        problem(&app, "rules[0]").await,
        ": its series, such as `bare_a`, carry none of the labels `namespace`, `pod`"
    );
    assert!(
        problem(&app, "rules[1]").await.contains("leave out all of its series, such as `named`")
    );
    assert_eq!(
        problem(&app, "rules[2]").await,
        ": rules[3] serves all of its metrics, such as `twice`"
    );
    let ready = app.get("/readyz?verbose").await;
    assert!(
        ready.status == 200 && ready.body.contains("rules[2]: rules[3] serves all"),
        "{ready:?}"
    );
    assert_eq!(app.discovery.remarks().len(), 3, "{:?}", app.discovery.remarks());
    app.stop().await;
}

/// Series that discovery does not see may have an answer all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_an_answer_and_no_series_is_told() {
    let backend = Backend::start(store(&[], |_| pods(&[("p", "1")]))).await;
    let external = "externalRules:\n- {seriesQuery: '{__name__=~\"late_.*\"}', resources: {overrides: {namespace: {resource: namespace}}}, metricsQuery: 'sum(late_jobs{<<.LabelMatchers>>})'}\n- {seriesQuery: '{__name__=~\"late_.*\"}', resources: {namespaced: false}, metricsQuery: 'sum(<<.Series>>)'}\n";
    let text = rules(&[rule("late", "{as: late}")]) + external;
    let app = Launch::new(&text, &backend.url).start().await;
    let told =
        ": no series of `seriesQuery` was found within 10m, but `metricsQuery` has an answer";
    assert_eq!(problem(&app, "rules[0]").await, told);
    assert_eq!(problem(&app, "externalRules[0]").await, told);
    let mut asked: Vec<_> = backend
        .take()
        .iter()
        .filter(|asked| asked.is_query())
        .map(|asked| asked.parameter("query").to_owned())
        .collect();
    asked.sort();
    // Of the last rule nobody knows what its series are called.
    assert_eq!(
        asked,
        [
            "max(late{namespace!=\"\",pod!=\"\"}) by (pod,namespace)",
            "sum(late_jobs{namespace!=\"\"})"
        ]
    );
    app.stop().await;
}

/// A workload that does not run is no problem, and costs next to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_without_series_and_without_an_answer_is_asked_about_once() {
    let backend = Backend::start(store(&[], nothing)).await;
    let mut launch = Launch::new(&rules(&[rule("idle", "{as: idle}")]), &backend.url);
    launch.relist_interval = Duration::from_secs(1);
    let app = launch.start().await;
    let probes = |asked: &Asked| asked.parameter("match[]") == "idle{namespace!=\"\"}";
    until("three rounds", async || (backend.count(probes) >= 3).then_some(())).await;
    assert_eq!(backend.count(Asked::is_query), 1);
    assert_eq!(app.get(&custom("namespaces/n/pods/p/idle")).await.status, 404);
    assert!(app.discovery.remarks().is_empty(), "{:?}", app.discovery.remarks());
    assert!(app.get("/readyz?verbose").await.body.contains("[+]rules ok"));
    app.stop().await;
}

/// A cause that is gone is told no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_gives_metrics_again_is_well() {
    let backend = Backend::start(store(&[("m", &[])], nothing)).await;
    let mut launch = Launch::new(&rules(&[rule("m", "{as: m}")]), &backend.url);
    launch.relist_interval = Duration::from_secs(1);
    let app = launch.start().await;
    problem(&app, "rules[0]").await;
    backend.play(store(&[("m", &["namespace", "pod"])], nothing));
    until("no problem", async || app.discovery.remarks().is_empty().then_some(())).await;
    app.stop().await;
}
