use std::num::NonZeroU32;

use jiff::Timestamp;

use super::*;
use crate::core::{
    kinds::Kinds,
    rules::TeamPolicy,
    team_rules::{Received, Spec},
};

/// A result of a rule may have two samples. Knows a `ClusterMetricRule` for the external metric `m`.
fn knowing(namespaces: Option<Vec<String>>) -> TeamRules {
    let mut policy = TeamPolicy::default();
    policy.quotas.samples = NonZeroU32::new(2).unwrap();
    let mut inventory = Inventory::new(Arc::new(policy), Arc::new(Kinds::builtin()));
    let kind = TeamRuleKind::ClusterMetricRule;
    let spec = Spec {
        metric: "m".to_owned(),
        query: "up".to_owned(),
        target: "external".to_owned(),
        namespaces,
        ..Spec::default()
    };
    let received = Received {
        key: Key { kind, namespace: "".into(), name: "m".into() },
        uid: "1".to_owned(),
        created: Timestamp::UNIX_EPOCH,
        generation: Some(1),
        spec: Ok((spec, 100)),
        status: None,
    };
    inventory.apply(received, now(), 0.0);
    let (jobs, policy, kinds) = inventory.jobs();
    inventory.compiled(jobs.into_iter().map(|job| job.run(&policy, &kinds)).collect());
    let rules = TeamRules::new(Arc::default());
    let snapshot = inventory.publish(now()).unwrap();
    rules.0.as_ref().unwrap().snapshot.store(Arc::new(snapshot));
    rules
}

#[tokio::test(start_paused = true)]
async fn too_many_samples_in_one_namespace_suspend_a_rule_of_the_cluster_there_only() {
    let rules = knowing(None);
    let (a, b) = (rules.external("a", "m").await.unwrap(), rules.external("b", "m").await.unwrap());
    let (a, b) = (&a.rule.base, &b.rule.base);
    assert!(rules.check(a, "a", 2).is_ok() && rules.check(a, "a", 3).is_err());
    assert!(rules.admit(a, "a").is_err() && rules.admit(b, "b").is_ok());
    tokio::time::advance(SUSPENSION / 4).await;
    assert_eq!(rules.admit(a, "a").unwrap_err().retry_after, SUSPENSION * 3 / 4);
    tokio::time::advance(SUSPENSION * 3 / 4).await;
    assert!(rules.admit(a, "a").is_ok());
}

#[tokio::test]
async fn a_rule_is_known_by_its_content_where_it_was_read() {
    let rules = knowing(None);
    let rule = rules.external("a", "m").await.unwrap().rule;
    let names = rules.by_fingerprint();
    assert_eq!(names[&rule.base.fingerprint], "ClusterMetricRule m");
}

#[tokio::test]
async fn a_rule_of_the_cluster_serves_the_namespaces_that_it_lists() {
    let rules = knowing(Some(vec!["a".to_owned()]));
    assert!(rules.serves("a", None, "m") && rules.external("a", "m").await.is_some());
    assert!(!rules.serves("b", None, "m") && rules.external("b", "m").await.is_none());
}
