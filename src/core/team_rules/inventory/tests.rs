use std::{num::NonZeroU32, time::Duration};

use super::*;
use crate::core::{kinds::GroupResource, team_rules::Outcome};

/// With this number of rules of a namespace.
fn inventory(rules: u32) -> Inventory {
    let mut policy = TeamPolicy::default();
    policy.quotas.rules = NonZeroU32::new(rules).unwrap();
    Inventory::new(Arc::new(policy), Arc::new(Kinds::builtin()))
}

fn key(namespace: &str, name: &str) -> Key {
    let kind = TeamRuleKind::MetricRule;
    Key { kind, namespace: namespace.into(), name: name.into() }
}

fn spec(metric: &str, query: &str) -> Spec {
    Spec {
        metric: metric.to_owned(),
        query: query.to_owned(),
        target: "external".to_owned(),
        ..Spec::default()
    }
}

fn received(key: Key, created: i64, spec: Spec) -> Received {
    Received {
        uid: key.name.to_string(),
        key,
        created: Timestamp::from_second(created).unwrap(),
        generation: Some(1),
        spec: Ok((spec, 100)),
        status: None,
    }
}

impl Inventory {
    fn add(&mut self, namespace: &str, name: &str, created: i64, spec: Spec) {
        self.apply(received(key(namespace, name), created, spec), Instant::now(), 0.0);
    }

    /// Compiles and publishes: how many were compiled, and the snapshot.
    fn update(&mut self) -> (usize, Option<Snapshot>) {
        let (jobs, policy, kinds) = self.jobs();
        let count = jobs.len();
        self.compiled(jobs.into_iter().map(|job| job.run(&policy, &kinds)).collect());
        (count, self.publish(Instant::now()))
    }

    fn standing(&self, namespace: &str, name: &str) -> &Standing {
        &self.held[&key(namespace, name)].standing
    }
}

fn query<'s>(snapshot: &'s Snapshot, namespace: &str, metric: &str) -> Option<&'s str> {
    Some(&*snapshot.of_namespace(namespace, None, metric)?.query)
}

#[test]
fn a_change_compiles_one_rule_and_replaces_one_namespace() {
    let mut inventory = inventory(10);
    for namespace in ["a", "b"] {
        for name in ["x", "y"] {
            inventory.add(namespace, name, 0, spec(name, "up"));
        }
    }
    let (compiled, first) = inventory.update();
    let first = first.unwrap();
    assert_eq!(compiled, 4);
    assert_eq!(query(&first, "a", "x"), Some("up{namespace=\"a\"}"));
    assert_eq!(inventory.update().0, 0);
    assert!(inventory.update().1.is_none(), "nothing has changed");

    inventory.add("a", "x", 0, spec("x", "down"));
    let (compiled, second) = inventory.update();
    let second = second.unwrap();
    assert_eq!(compiled, 1);
    assert_eq!(query(&second, "a", "x"), Some("down{namespace=\"a\"}"));
    let same =
        |namespace: &str| Arc::ptr_eq(&first.namespaces[namespace], &second.namespaces[namespace]);
    assert!(same("b") && !same("a"));

    // Most events are about a status.
    let mut own = received(key("a", "x"), 0, spec("x", "down"));
    own.status = Some(Status::default());
    inventory.apply(own, Instant::now(), 0.0);
    assert!(matches!(inventory.update(), (0, None)));

    inventory.delete(&key("a", "x"));
    inventory.delete(&key("a", "y"));
    let (_, third) = inventory.update();
    assert!(!third.unwrap().namespaces.contains_key("a"));
}

#[test]
fn the_oldest_of_several_claims_serves() {
    let mut inventory = inventory(10);
    inventory.add("a", "new", 9, spec("m", "x"));
    inventory.add("a", "old", 1, spec("m", "y"));
    inventory.add("a", "same-age", 1, spec("m", "z"));
    inventory.add("a", "pods", 9, Spec { target: "pods".to_owned(), ..spec("m", "w") });
    let snapshot = inventory.update().1.unwrap();
    assert_eq!(query(&snapshot, "a", "m"), Some("y{namespace=\"a\"}"));
    let pods = GroupResource::parse("pods");
    assert!(snapshot.of_namespace("a", Some(&pods), "m").is_some(), "that is another metric");
    let by = Standing::Claimed { by: "MetricRule a/old".into() };
    assert_eq!(*inventory.standing("a", "new"), by);
    assert_eq!(*inventory.standing("a", "same-age"), by);
    inventory.delete(&key("a", "old"));
    let snapshot = inventory.update().1.unwrap();
    assert_eq!(query(&snapshot, "a", "m"), Some("z{namespace=\"a\"}"));
    let names = snapshot.names();
    assert_eq!((names.custom.len(), names.external.len()), (1, 1));
}

#[test]
fn rules_over_the_quota_do_not_count_and_have_their_turn() {
    let mut inventory = inventory(2);
    for (age, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        inventory.add("n", name, i64::try_from(age).unwrap(), spec(name, "up"));
    }
    inventory.add("m", "f", 0, spec("f", "up"));
    let snapshot = inventory.update().1.unwrap();
    let served = |snapshot: &Snapshot| {
        ["a", "b", "c", "d", "e"].map(|name| query(snapshot, "n", name).is_some())
    };
    assert_eq!(served(&snapshot), [true, true, false, false, false]);
    assert_eq!(*inventory.standing("n", "c"), Standing::OverQuota { most: 2 });
    let refused = snapshot.refused("n", "d").unwrap();
    assert!(refused.is_over_quota && &*refused.name == "MetricRule n/d");
    assert!(snapshot.refused("m", "d").is_none(), "it is not theirs");
    // Of the namespace twice the quota is kept, and the rest is listed again when there is room.
    let counts = inventory.counts();
    assert_eq!((counts.serving, counts.over_quota, counts.left_out), (3, 2, 1));
    assert!(!inventory.wants_list());
    inventory.delete(&key("n", "a"));
    let snapshot = inventory.update().1.unwrap();
    assert_eq!(served(&snapshot), [false, true, true, false, false]);
    assert!(inventory.wants_list());
}

#[test]
fn a_new_list_is_all_that_there_is() {
    let mut inventory = inventory(10);
    inventory.add("a", "x", 0, spec("x", "up"));
    inventory.add("a", "y", 0, spec("y", "up"));
    assert!(!inventory.update().1.unwrap().is_complete());
    inventory.listing(TeamRuleKind::MetricRule);
    inventory.add("a", "y", 0, spec("y", "up"));
    assert!(inventory.update().1.is_none(), "until it is complete the old one counts");
    inventory.synced(TeamRuleKind::MetricRule);
    inventory.is_known(TeamRuleKind::ClusterMetricRule);
    let snapshot = inventory.update().1.unwrap();
    assert_eq!((query(&snapshot, "a", "x"), snapshot.is_complete()), (None, true));
    assert!(query(&snapshot, "a", "y").is_some());
}

#[test]
fn rules_of_the_first_list_are_known_when_they_are_compiled() {
    let mut inventory = inventory(10);
    inventory.add("a", "x", 0, spec("x", "up"));
    inventory.update();
    inventory.add("b", "y", 0, spec("y", "up"));
    inventory.is_known(TeamRuleKind::MetricRule);
    inventory.is_known(TeamRuleKind::ClusterMetricRule);
    let now = Instant::now();
    assert!(!inventory.publish(now).unwrap().is_complete(), "b/y may serve what is read");
    let snapshot = inventory.update().1.unwrap();
    assert!(snapshot.is_complete() && query(&snapshot, "b", "y").is_some());
    // A rule that comes later takes no metric away until it is compiled.
    inventory.add("c", "z", 0, spec("z", "up"));
    assert!(inventory.publish(now).unwrap().is_complete());
}

#[test]
fn what_was_compiled_by_another_policy_is_not_used() {
    let mut inventory = inventory(10);
    inventory.add("a", "x", 0, spec("x", "up"));
    let kind = TeamRuleKind::ClusterMetricRule;
    let of_cluster = Key { kind, namespace: "".into(), name: "m".into() };
    inventory.apply(received(of_cluster, 0, spec("m", "up")), Instant::now(), 0.0);
    let before = inventory.update().1.unwrap();
    let (jobs, policy, kinds) = {
        inventory.add("a", "x", 0, spec("x", "down"));
        inventory.jobs()
    };
    let label = TeamPolicy { namespace_label: "ns".into(), ..TeamPolicy::default() };
    inventory.configure(&Arc::new(label), &kinds);
    inventory.compiled(jobs.into_iter().map(|job| job.run(&policy, &kinds)).collect());
    assert!(matches!(inventory.held[&key("a", "x")].verdict, Verdict::Unknown));
    let after = inventory.update().1.unwrap();
    assert_eq!(query(&after, "a", "x"), Some("down{ns=\"a\"}"));
    // What reads have compiled of a rule of the cluster is kept by its revision.
    let revision = |snapshot: &Snapshot| snapshot.of_cluster(None, "m").next().unwrap().revision;
    assert_ne!(revision(&before), revision(&after));
}

#[test]
fn specs_that_are_none_and_queries_that_escape_are_refused() {
    let mut inventory = inventory(10);
    let mut broken = received(key("a", "broken"), 0, Spec::default());
    broken.spec = Err("spec: unknown field `quary`".to_owned());
    inventory.apply(broken, Instant::now(), 0.0);
    let escapes = r#"label_replace(up,"namespace","b","","")"#;
    inventory.add("a", "escapes", 0, spec("m", escapes));
    let snapshot = inventory.update().1.unwrap();
    assert!(matches!(
        inventory.standing("a", "broken"),
        Standing::Refused { reason: "InvalidSpec", .. }
    ));
    assert!(matches!(
        inventory.standing("a", "escapes"),
        Standing::Refused { reason: "QueryRefused", .. }
    ));
    assert!(query(&snapshot, "a", "m").is_none() && snapshot.refused("a", "m").is_some());
}

#[test]
fn a_rule_of_the_cluster_is_compiled_for_the_namespace_that_reads_it() {
    let mut inventory = inventory(10);
    let cluster = |name: &str, created, spec| {
        let kind = TeamRuleKind::ClusterMetricRule;
        received(Key { kind, namespace: "".into(), name: name.into() }, created, spec)
    };
    let listed = Some(vec!["a".to_owned()]);
    let special = Spec { namespaces: listed, ..spec("m", "special") };
    inventory.apply(cluster("special", 0, special), Instant::now(), 0.0);
    inventory.apply(cluster("common", 1, spec("m", "common")), Instant::now(), 0.0);
    let snapshot = inventory.update().1.unwrap();
    let of = |namespace: &str| {
        let rules = snapshot.of_cluster(None, "m");
        let mut found = rules.filter_map(|rule| rule.compile(namespace, &snapshot).ok());
        found.next().map(|rule| rule.query.to_string())
    };
    assert_eq!(of("a").as_deref(), Some("special{namespace=\"a\"}"));
    assert_eq!(of("b").as_deref(), Some("common{namespace=\"b\"}"));
}

#[test]
fn another_policy_compiles_everything_again() {
    let mut inventory = inventory(10);
    inventory.add("a", "x", 0, spec("x", "up"));
    inventory.update();
    let (policy, kinds) = (Arc::clone(&inventory.policy), Arc::clone(&inventory.kinds));
    inventory.configure(&policy, &kinds);
    assert!(matches!(inventory.update(), (0, None)));
    let label = TeamPolicy { namespace_label: "ns".into(), ..TeamPolicy::default() };
    inventory.configure(&Arc::new(label), &kinds);
    let (compiled, snapshot) = inventory.update();
    assert_eq!(compiled, 1);
    assert_eq!(query(&snapshot.unwrap(), "a", "x"), Some("up{ns=\"a\"}"));
}

#[test]
fn a_status_is_reported_once_and_again_when_something_has_changed() {
    let mut inventory = inventory(10);
    inventory.add("a", "x", 0, spec("x", "up"));
    inventory.update();
    let at = |seconds: u64| (Instant::now() + Duration::from_secs(seconds), Timestamp::UNIX_EPOCH);
    let reports = inventory.reports(10, at(1));
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((&report.key, report.change), (&key("a", "x"), Change::Condition));
    inventory.wrote(report.clone(), true, at(1).0);
    assert!(inventory.reports(10, at(100)).is_empty());
    let outcome = Outcome::Values { series: 1, milli: 1 };
    inventory.note(&key("a", "x"), outcome, at(100).0);
    let reports = inventory.reports(10, at(101));
    assert_eq!(reports.len(), 1);
    // Not written: it is tried again.
    inventory.wrote(reports[0].clone(), false, at(101).0);
    assert!(inventory.reports(10, at(101)).is_empty());
    assert_eq!(inventory.reports(10, at(110)).len(), 1);
}

#[test]
fn a_rule_is_checked_once_an_hour_and_sooner_without_values() {
    let mut inventory = inventory(10);
    inventory.add("a", "x", 0, spec("x", "up"));
    inventory.update();
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    assert_eq!(inventory.checks(10, at(0)).len(), 1);
    assert!(inventory.checks(10, at(0)).is_empty(), "it is under way");
    let nothing = || Outcome::Nothing { why: String::new() };
    inventory.note(&key("a", "x"), nothing(), at(0));
    let mut gaps = Vec::new();
    let mut now = 0;
    for _ in 0..6 {
        let next = (now + 1..now + 10_000)
            .find(|second| !inventory.checks(10, at(*second)).is_empty())
            .unwrap();
        gaps.push(next - now);
        now = next;
        inventory.note(&key("a", "x"), nothing(), at(now));
    }
    assert_eq!(gaps, [60, 120, 240, 480, 600, 600]);
    inventory.note(&key("a", "x"), Outcome::Values { series: 1, milli: 1 }, at(now));
    assert!(inventory.checks(10, at(now + 3_599)).is_empty());
    assert_eq!(inventory.checks(10, at(now + 3_600)).len(), 1);
}

#[test]
fn all_rules_have_their_turn_although_the_first_ones_are_always_due() {
    let names = ["a", "b", "c", "d"];
    let start = Instant::now();
    let mut inventory = inventory(10);
    for name in names {
        inventory.add("n", name, 0, spec(name, "up"));
    }
    inventory.update();
    let (mut reported, mut checked) = (Vec::new(), Vec::new());
    for round in 1..=8 {
        // So late that everything is due again.
        let now = start + Duration::from_secs(20_000) * round;
        for name in names {
            let series = usize::try_from(round).unwrap();
            inventory.note(&key("n", name), Outcome::Values { series, milli: 1 }, now);
        }
        let later = now + Duration::from_secs(10_000);
        for report in inventory.reports(2, (later, Timestamp::UNIX_EPOCH)) {
            reported.push(report.key.name.to_string());
            inventory.wrote(report, true, later);
        }
        let checks = inventory.checks(2, later).into_iter();
        checked.extend(checks.map(|(_, rule)| rule.metric.to_string()));
    }
    let turns: Vec<_> = names.iter().cycle().take(reported.len()).collect();
    assert_eq!(reported.iter().collect::<Vec<_>>(), turns);
    assert_eq!(checked.iter().collect::<Vec<_>>(), turns);
}

#[test]
fn an_object_is_known_by_what_its_rule_is_called() {
    for key in [
        key("shop", "queue"),
        Key { kind: TeamRuleKind::ClusterMetricRule, namespace: "".into(), name: "queue".into() },
    ] {
        assert_eq!(Key::of(key.kind, &key.to_string()), Some(key.clone()));
        assert_eq!(Key::of(key.kind, "something else"), None);
    }
}
