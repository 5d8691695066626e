//! Whose Service kube-apiserver sends the requests for our APIs to.

use loadline::registrations::Service;
use serde_json::json;

use crate::support::{
    app::Launch,
    backend::{Answer, Backend, knows},
    cluster::Kubernetes,
    until,
};

const RULES: &str = "externalRules:
- {seriesQuery: q, metricsQuery: q, resources: {namespaced: false}}
";

#[tokio::test(flavor = "multi_thread")]
async fn an_api_of_another_service_is_told_and_readiness_does_not_depend_on_it() {
    let backend = Backend::start(knows(&["q"], |_| Answer::Data(json!({})))).await;
    let cluster = Kubernetes::start(&[], 100).await;
    cluster.register("v1beta1.external.metrics.k8s.io", "keda", "keda-operator");
    let mut launch = Launch::new(RULES, &backend.url).cluster(&cluster);
    launch.service =
        Some(Service { namespace: "monitoring".to_owned(), name: "adapter".to_owned() });
    let app = launch.start().await;
    let line = "[!]registration informational: v1beta1.external.metrics.k8s.io is sent to keda/keda-operator, not to monitoring/adapter";
    until("what is told of the registration", async || {
        app.get("/readyz?verbose").await.body.contains(line).then_some(())
    })
    .await;
    assert_eq!(app.get("/readyz").await.status, 200);
    let metrics = app.get("/metrics").await.body;
    let level = "{apiservice=\"v1beta1.external.metrics.k8s.io\",owner=\"another\"} 1\n";
    assert!(metrics.contains(level), "{metrics}");
    assert!(!metrics.contains("custom.metrics.k8s.io\",owner"), "there are no rules for it");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_his_service_looks_at_no_registration() {
    let backend = Backend::start(knows(&["q"], |_| Answer::Data(json!({})))).await;
    let cluster = Kubernetes::start(&[], 100).await;
    let app = Launch::new(RULES, &backend.url).cluster(&cluster).start().await;
    assert!(!app.get("/readyz?verbose").await.body.contains("registration"));
    app.stop().await;
}
