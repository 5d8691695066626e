//! The example of a `ValidatingAdmissionPolicy` for rules of teams, on a real API server.

use std::fs;

use serde_json::json;

use crate::support::{
    control_plane::{ControlPlane, eventually},
    kubectl::{kubectl, succeeds},
    process::Ended,
};

fn root(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Whether the API server takes a rule of the namespace `web-shop`; what it says, if not. Nothing is changed by `--dry-run=server`.
async fn apply(plane: &ControlPlane, metric: &str, cache_ttl: &str, flags: &[&str]) -> Ended {
    let rule = json!({
        "apiVersion": "loadline.dev/v1alpha1", "kind": "MetricRule",
        "metadata": {"name": "depth", "namespace": "web-shop"},
        "spec": {"metric": metric, "query": "max(depth)", "target": "external", "cacheTTL": cache_ttl},
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rule.json");
    fs::write(&file, rule.to_string()).expect("a file");
    let file = file.to_str().expect("text");
    kubectl(&plane.kubeconfig, &[&["apply", "-f", file], flags].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a control plane"]
async fn the_example_of_a_policy_refuses_what_teams_have_not_agreed_on() {
    let plane = ControlPlane::start().await;
    plane.create_namespace("web-shop").await;
    let definition = root("deploy/crds/metricrules.loadline.dev.yaml");
    succeeds(&plane.kubeconfig, &["apply", "-f", &definition]).await;
    eventually("rules are taken", async || {
        let applied = apply(&plane, "depth", "1s", &["--dry-run=server"]).await;
        (applied.code == Some(0)).then_some(())
    })
    .await;
    let policy = root("deploy/components/team-rules/policy.yaml");
    succeeds(&plane.kubeconfig, &["apply", "-f", &policy]).await;
    let refused = eventually("the policy is in force", async || {
        let applied = apply(&plane, "depth", "30s", &["--dry-run=server"]).await;
        (applied.code != Some(0)).then_some(applied.stderr)
    })
    .await;
    assert!(refused.contains("spec.metric begins with web_shop_"), "{refused}");
    let short = apply(&plane, "web_shop_depth", "4s", &[]).await;
    assert!(short.code == Some(1) && short.stderr.contains("5s at least"), "{}", short.stderr);
    let proper = apply(&plane, "web_shop_depth", "5s", &[]).await;
    assert_eq!(proper.code, Some(0), "{}", proper.stderr);
    // A change is judged, too.
    let renamed = apply(&plane, "other_depth", "5s", &[]).await;
    assert!(renamed.code == Some(1) && renamed.stderr.contains("web_shop_"), "{}", renamed.stderr);
    let path = "/apis/loadline.dev/v1alpha1/namespaces/web-shop/metricrules/depth";
    assert_eq!(plane.get(path).await.expect("the rule")["spec"]["metric"], "web_shop_depth");
}
