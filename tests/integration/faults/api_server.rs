//! An API server that goes away and comes back, and one whose other aggregated APIs are broken.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{
    app::{App, Launch, Reply, custom},
    backend::{Answer, Backend, knows, pods},
    cluster::{Kubernetes, Object, Stored},
    relay::Relay,
    until,
};

const PODS: &[Object] = &[("pods", "n", "p", &[("app", "web")])];

async fn backend() -> Backend {
    Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1"), ("q", "2")])))).await
}

async fn read(app: &App, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let path = custom("namespaces/n/pods/*/m?labelSelector=app%3Dweb");
    app.request(reqwest::Method::GET, &path, &[("authorization", &bearer)]).await
}

/// Who reads already goes on: with the objects and the decisions that were known last. Then everything is as it is by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_fails_no_read_of_those_who_are_known() {
    let cluster = Kubernetes::start(PODS, 10).await;
    let delegation = cluster.delegation();
    delegation.configure(&[]);
    delegation.token("reader", json!({"username": "reader"}));
    delegation.token("later", json!({"username": "later"}));
    let target: SocketAddr = cluster.url.trim_start_matches("http://").parse().unwrap();
    let relay = Relay::start(target, true).await;
    cluster.reached_by(&format!("http://{}", relay.address));
    let backend = backend().await;
    let mut launch = Launch::new(super::RULE, &backend.url).cluster(&cluster);
    launch.guarded = true;
    let app = launch.start().await;
    until("it is ready", async || (app.get("/readyz").await.status == 200).then_some(())).await;
    // From the watch, which has its first list by then.
    until("the watch is synced", async || {
        assert_eq!(read(&app, "reader").await.values().len(), 1);
        let metrics =
            app.request(reqwest::Method::GET, "/metrics", &[("authorization", "Bearer reader")]);
        let synced = r#"loadline_watches{resource="pods",state="synced"} 1"#;
        metrics.await.body.contains(synced).then_some(())
    })
    .await;

    relay.cut();
    cluster.take_lists();
    cluster.take_watches();
    cluster.apply(Stored::new("pods", "n", "q", &[("app", "web")]));
    let tried = relay.accepted();
    until("it has tried to come back", async || {
        assert_eq!(read(&app, "reader").await.values().len(), 1);
        (relay.accepted() > tried).then_some(())
    })
    .await;
    // Nobody can say who that is, or whether he may.
    assert_eq!(read(&app, "later").await.status, 401);
    assert_eq!(app.get("/readyz").await.status, 200);

    relay.open();
    until("the new pod is read", async || {
        let values = read(&app, "reader").await.values();
        (values.len() == 2).then_some(())
    })
    .await;
    until("others are known again", async || {
        (read(&app, "later").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(cluster.take_lists(), [""; 0], "the watch goes on where it was");
    app.stop().await;
}

/// Servers behind other API groups are no business of ours, also if they have never answered.
#[tokio::test(flavor = "multi_thread")]
async fn other_aggregated_apis_may_be_broken_at_the_start() {
    let cluster = Kubernetes::start(PODS, 10).await;
    cluster.break_aggregated();
    let backend = backend().await;
    let app = Launch::new(super::RULE, &backend.url).cluster(&cluster).start().await;
    let ready = app.get("/readyz?verbose").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(!ready.body.contains("[!]"), "{}", ready.body);
    let path = custom("namespaces/n/pods/*/m?labelSelector=app%3Dweb");
    assert_eq!(app.get(&path).await.values(), [("p".to_owned(), "1".to_owned())]);
}
