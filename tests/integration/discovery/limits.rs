//! More metrics than are served, or are read: somebody makes up names.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::join_all;
use loadline::core::catalog::MOST_OF_RULE;
use serde_json::json;

use super::{rule, rules};
use crate::support::{
    app::{Launch, custom},
    backend::{Answer, Asked, Backend, pods},
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_with_too_many_metrics_is_cut_and_named() {
    let names = MOST_OF_RULE / 2 + 100;
    let turned = AtomicBool::new(false);
    let backend = Backend::start(move |asked| {
        let selector = asked.parameter("match[]");
        if selector.contains("matches_nothing") {
            return Answer::Data(json!([]));
        }
        if selector.starts_with("small") {
            return Answer::Data(json!(["small"]));
        }
        let mut names: Vec<_> = (0..names).map(|index| format!("wide_{index:05}")).collect();
        // For each label in another order.
        if turned.fetch_not(Ordering::Relaxed) {
            names.reverse();
        }
        Answer::Data(json!(names))
    })
    .await;
    let text = rules(&[rule("{__name__=~\"wide_.*\"}", "{as: $0}"), rule("small", "{as: $0}")]);
    let app = Launch::new(&text, &backend.url).start().await;
    let has = |metric: &str| {
        app.discovery.catalog().list().filter(|listed| listed.metric == metric).count()
    };
    let last = format!("wide_{:05}", MOST_OF_RULE / 2 - 1);
    let first_left_out = format!("wide_{:05}", MOST_OF_RULE / 2);
    assert_eq!(app.discovery.catalog().len(), MOST_OF_RULE + 2);
    assert_eq!((has("small"), has(&last), has(&first_left_out)), (2, 2, 0));
    let remark = async || app.discovery.remarks().first().map(ToString::to_string);
    let remark = until("the remark", remark).await;
    assert!(remark.starts_with("rules[0]: has more metrics than are served"), "{remark}");
    assert!(remark.contains(": 200 of them"), "{remark}");
    let health = app.get("/readyz?verbose").await.body;
    assert!(health.contains(&remark) && health.ends_with("readyz check passed\n"), "{health}");
    let metrics = app.get("/metrics").await.body;
    for line in [
        "loadline_discovery_metrics_left_out{rule=\"rules[0]\"} 200\n",
        "loadline_discovery_metrics_left_out{rule=\"rules[1]\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let unknown = app.get(&custom("namespaces/n/pods/p/other")).await;
    assert_eq!(unknown.status, 404);
    let why = unknown.failure();
    assert!(why.contains("; rules[0] has more metrics than are served; "), "{why}");

    let lists = join_all((0..20).map(|_| app.get("/apis/custom.metrics.k8s.io/v1beta2"))).await;
    assert!(lists.iter().all(|list| list.body == lists[0].body));
    let resources = lists[0].json();
    assert_eq!(resources["resources"].as_array().unwrap().len(), MOST_OF_RULE + 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_large_leaves_the_rule_what_it_knew() {
    let names = |asked: &Asked| match asked.parameter("match[]") {
        selector if selector.contains("matches_nothing") => Answer::Data(json!([])),
        selector if selector.starts_with("small") => Answer::Data(json!(["small"])),
        _ if asked.is_query() => Answer::Data(pods(&[("p", "1")])),
        _ => Answer::Data(json!(["large"])),
    };
    let backend = Backend::start(names).await;
    let text = rules(&[rule("large", "{as: $0}"), rule("small", "{as: $0}")]);
    let mut launch = Launch::new(&text, &backend.url);
    launch.relist_interval = Duration::from_millis(50);
    let app = launch.start().await;
    for metric in ["large", "small"] {
        app.get(&custom(&format!("namespaces/n/pods/p/{metric}"))).await.values();
    }
    for answer in [Answer::Endless(64 << 20), Answer::Bomb(64 << 20)] {
        backend.play(move |asked| {
            let is_large = asked.parameter("match[]").starts_with("large");
            if is_large { answer.clone() } else { names(asked) }
        });
        until("the problem", async || {
            let health = app.get("/readyz?verbose").await.body;
            let wanted = "rules[0]: the answer of Prometheus is too large: more than 8 MiB (--max-answer-bytes)";
            health.contains(wanted).then(|| assert!(!health.contains("rules[1]"), "{health}"))
        })
        .await;
        for metric in ["large", "small"] {
            app.get(&custom(&format!("namespaces/n/pods/p/{metric}"))).await.values();
        }
        backend.play(names);
        until("the end of the problem", async || {
            (!app.get("/readyz?verbose").await.body.contains("rules[0]")).then_some(())
        })
        .await;
    }
    app.stop().await;
}
