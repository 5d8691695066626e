use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;
use crate::core::{
    external,
    plan::{self, Objects, shareable},
    rules::load,
    selector::Selector,
    team_rules::Spec,
};

fn object(change: impl FnOnce(&mut Spec)) -> Object {
    let mut spec = Spec {
        metric: "depth".to_owned(),
        query: "sum by (pod) (rate(depth[2m]))".to_owned(),
        target: "pods".to_owned(),
        ..Spec::default()
    };
    change(&mut spec);
    let metadata = ObjectMeta {
        name: Some("queue".to_owned()),
        namespace: Some("shop".to_owned()),
        ..ObjectMeta::default()
    };
    Object { metadata, spec, status: None }
}

fn compiled_in(namespace: &str, kind: TeamRuleKind, object: &Object) -> Result<TeamRule, Refused> {
    compile(kind, object, namespace, &TeamPolicy::default(), &Kinds::builtin())
}

fn compiled(change: impl FnOnce(&mut Spec)) -> Result<TeamRule, Refused> {
    compiled_in("shop", TeamRuleKind::MetricRule, &object(change))
}

#[test]
fn a_rule_of_objects_is_planned_like_any_other() {
    let rule = compiled(|_| {}).unwrap();
    assert_eq!(&*rule.name, "MetricRule shop/queue");
    assert_eq!(rule.base().name(), "MetricRule shop/queue");
    assert_eq!(rule.base().window_seconds, Some(120));
    assert_eq!(rule.resource().unwrap().to_string(), "pods");
    let Provides::Object(entry) = &rule.provides else { panic!("it is of pods") };
    let names = Objects::Named(vec!["a".into()]);
    let plan = plan::exact(entry.source(), Some("shop"), &names, &Selector::default()).unwrap();
    assert_eq!(&*plan.query, r#"sum by (pod) (rate(depth{namespace="shop"}[2m]))"#);
    assert_eq!((&*plan.key.name, plan.key.namespace.as_deref()), ("pod", Some("namespace")));
    // One query is for all readers of the namespace, and never for those of others.
    let none = Selector::default();
    assert!(!shareable::prove(entry.source(), Some("shop"), &none).unwrap().depends_on_names);
    assert!(shareable::prove(entry.source(), None, &none).is_err());
}

#[test]
fn an_external_rule_is_rendered_like_any_other() {
    let rule = compiled(|spec| {
        spec.target = EXTERNAL.to_owned();
        spec.query = "max(depth{a=\"<<.Series>>\"})".to_owned();
    });
    let rule = rule.unwrap();
    assert_eq!(rule.resource(), None);
    let Provides::External(entry) = &rule.provides else { panic!("it is external") };
    let query = external::query(entry, "shop", &Selector::default()).unwrap();
    assert_eq!(query, r#"max(depth{namespace="shop",a="<<.Series>>"})"#);
}

#[test]
fn a_rule_is_for_its_namespace_only() {
    let rule = object(|_| {});
    let elsewhere = compiled_in("bank", TeamRuleKind::MetricRule, &rule);
    assert_eq!(elsewhere.unwrap_err(), Refused::Elsewhere);
    let cluster = TeamRuleKind::ClusterMetricRule;
    for namespace in ["shop", "bank"] {
        let query = compiled_in(namespace, cluster, &rule).unwrap().query;
        assert!(query.contains(&format!("namespace=\"{namespace}\"")), "{query}");
    }
    let listed = object(|spec| spec.namespaces = Some(vec!["bank".to_owned()]));
    assert!(compiled_in("bank", cluster, &listed).is_ok());
    assert_eq!(compiled_in("shop", cluster, &listed).unwrap_err(), Refused::Elsewhere);
    let own = compiled_in("shop", TeamRuleKind::MetricRule, &listed).unwrap_err();
    assert_eq!(own.reason(), "InvalidSpec");
    for target in ["nodes", "namespaces"] {
        assert_eq!(
            compiled(|spec| spec.target = target.to_owned()).unwrap_err().reason(),
            "InvalidSpec"
        );
    }
}

#[test]
fn backends_have_to_be_allowed() {
    let rules = load(
        "rules: []\nbackends:\n- {name: private, url: 'http://a'}\n- {name: open, url: 'http://b', teamRules: true}\n- {name: other, url: 'http://c', teamRules: true}\n",
    );
    let policy = rules.unwrap().teams;
    let backend = |name: Option<&str>| {
        let object = object(|spec| spec.backend = name.map(str::to_owned));
        let rule = compile(TeamRuleKind::MetricRule, &object, "shop", &policy, &Kinds::builtin());
        rule.map(|rule| rule.base().options.backend.as_ref().unwrap().name.to_string())
    };
    assert_eq!(backend(None).as_deref(), Ok("open"));
    assert_eq!(backend(Some("other")).as_deref(), Ok("other"));
    assert_eq!(backend(Some("private")).unwrap_err().reason(), "BackendNotAllowed");
    assert!(compiled(|_| {}).unwrap().base().options.backend.is_none());
    let any = compiled(|spec| spec.backend = Some("open".to_owned()));
    assert_eq!(any.unwrap_err().reason(), "BackendNotAllowed");
}

#[test]
fn values_are_those_of_the_rules_file() {
    let rule = compiled(|spec| {
        spec.label = Some("k8s.pod.name".to_owned());
        spec.window = Some("5m".to_owned());
        spec.cache_ttl = Some("0".to_owned());
        spec.on_empty = Some("500m".to_owned());
    });
    let rule = rule.unwrap();
    let base = rule.base();
    assert_eq!(base.window_seconds, Some(300));
    assert_eq!(base.options.cache_ttl, Some(Duration::ZERO));
    assert_eq!(base.options.timeout, Some(TeamPolicy::default().quotas.query_time));
    assert_eq!(base.on_empty, OnEmpty::Value(500));
    let Provides::Object(entry) = &rule.provides else { panic!("it is of pods") };
    assert_eq!(&*entry.label, "k8s.pod.name");
}

#[test]
fn what_a_field_cannot_have_is_named() {
    type Change = (fn(&mut Spec), &'static str, &'static str);
    let changes: [Change; 12] = [
        (|spec| spec.metric = "a/b".to_owned(), "spec.metric", "InvalidSpec"),
        (|spec| spec.metric = String::new(), "spec.metric", "InvalidSpec"),
        (|spec| spec.target = "widgets.x.io".to_owned(), "spec.target", "UnknownTarget"),
        (|spec| spec.label = Some("namespace".to_owned()), "spec.label", "InvalidSpec"),
        (|spec| spec.label = Some(String::new()), "spec.label", "InvalidSpec"),
        (|spec| spec.query = "info(up)".to_owned(), "spec.query", "QueryRefused"),
        (|spec| spec.query = "vector(1)".to_owned(), "spec.query", "InvalidSpec"),
        (|spec| spec.window = Some("0s".to_owned()), "spec.window", "InvalidSpec"),
        (|spec| spec.cache_ttl = Some("2h".to_owned()), "spec.cacheTTL", "InvalidSpec"),
        (|spec| spec.on_empty = Some("-1".to_owned()), "spec.onEmpty", "InvalidSpec"),
        (|spec| spec.on_empty = Some("none".to_owned()), "spec.onEmpty", "InvalidSpec"),
        (
            |spec| {
                spec.target = EXTERNAL.to_owned();
                spec.label = Some("pod".to_owned());
            },
            "spec.label",
            "InvalidSpec",
        ),
    ];
    for (change, path, reason) in changes {
        let refused = compiled(change).unwrap_err();
        assert_eq!((&*refused.path().to_string(), refused.reason()), (path, reason), "{refused}");
    }
}

#[test]
fn a_rule_is_another_one_if_anything_of_it_is() {
    let fingerprint = |change: fn(&mut Spec)| compiled(change).unwrap().base().fingerprint;
    let changes: [fn(&mut Spec); 6] = [
        |_| {},
        |spec| spec.metric = "other".to_owned(),
        |spec| spec.query = "sum by (pod) (other)".to_owned(),
        |spec| spec.label = Some("other".to_owned()),
        |spec| spec.cache_ttl = Some("1s".to_owned()),
        |spec| spec.on_empty = Some("zero".to_owned()),
    ];
    let all: std::collections::BTreeSet<_> = changes.into_iter().map(fingerprint).collect();
    assert_eq!(all.len(), changes.len());
    assert_eq!(fingerprint(|_| {}), fingerprint(|_| {}));
}
