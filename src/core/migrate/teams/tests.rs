use super::*;
use crate::core::rules::load;

fn migrated(text: &str) -> (Vec<String>, Vec<String>) {
    let migrated = team_rules(&load(text).unwrap(), "shop");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rules = migrated.manifests().map(|manifest| {
        let of = |key: &str| text(&manifest["spec"][key]);
        format!("{} {} {}", of("metric"), of("target"), of("query"))
    });
    let cannot = migrated.notes().iter().map(ToString::to_string);
    (rules.collect(), cannot.filter(|note| note.starts_with("cannot")).collect())
}

const LABELS: &str =
    "resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}";
const SUM: &str =
    "metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'";

#[test]
fn templates_become_queries() {
    let (rules, cannot) = migrated(&format!(
        "rules:\n- seriesQuery: http_requests_total\n  {LABELS}\n  {SUM}\n  name: {{matches: '^(.*)_total$', as: '${{1}}_per_second'}}\n"
    ));
    assert_eq!(cannot, Vec::<String>::new());
    assert_eq!(
        rules,
        [
            r#"http_requests_per_second pods sum(rate(http_requests_total{namespace="shop",pod!=""}[2m])) by (pod)"#
        ]
    );
}

#[test]
fn external_rules_keep_what_becomes_of_several_samples() {
    let (rules, cannot) = migrated(&format!(
        "externalRules:\n- seriesQuery: depth\n  {LABELS}\n  metricsQuery: 'max(<<.Series>>{{<<.LabelMatchers>>}}) by (queue)'\n  aggregate: sum\n"
    ));
    assert_eq!(cannot, Vec::<String>::new());
    assert_eq!(rules, [r#"depth external sum(max(depth{namespace="shop"}) by (queue))"#]);
}

#[test]
fn a_rule_of_all_namespaces_is_another_one_in_a_namespace() {
    let (rules, cannot) = migrated(
        "externalRules:\n- seriesQuery: depth\n  resources: {namespaced: false}\n  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>})'\n",
    );
    assert_eq!(rules, [r#"depth external max(depth{namespace="shop"})"#]);
    let wanted = "cannot move: externalRules[0]: resources.namespaced:";
    assert!(matches!(&cannot[..], [one] if one.starts_with(wanted)), "{cannot:?}");
}

#[test]
fn what_cannot_move_is_told() {
    for (rule, key) in [
        (
            format!("- seriesQuery: '{{__name__=~\"^http_.*\"}}'\n  {LABELS}\n  {SUM}"),
            "seriesQuery",
        ),
        (
            format!(
                "- seriesQuery: up\n  resources: {{overrides: {{ns: {{resource: namespace}}, pod: {{resource: pod}}}}}}\n  {SUM}"
            ),
            "resources",
        ),
        (
            format!(
                "- seriesQuery: up\n  resources: {{overrides: {{namespace: {{resource: namespace}}, node: {{resource: node}}}}}}\n  {SUM}"
            ),
            "resources.overrides.node",
        ),
        (
            format!(
                "- seriesQuery: up\n  resources: {{overrides: {{namespace: {{resource: namespace}}, w: {{resource: widget, group: x.io}}}}}}\n  {SUM}"
            ),
            "resources.overrides.w",
        ),
        (format!("- seriesQuery: up\n  {LABELS}\n  {SUM}\n  nan: drop"), "nan"),
        (
            format!("- seriesQuery: up\n  {LABELS}\n  {SUM}\n  fallback: {{after: 5m, value: 1}}"),
            "fallback",
        ),
        (
            format!("- seriesQuery: up\n  {LABELS}\n  {SUM}\n  headers: {{X-Scope-OrgID: a}}"),
            "headers",
        ),
        (
            format!(
                "- seriesQuery: up\n  {LABELS}\n  metricsQuery: 'info(<<.Series>>{{<<.LabelMatchers>>}})'"
            ),
            "metricsQuery",
        ),
    ] {
        let (moved, cannot) = migrated(&format!("rules:\n{rule}\n"));
        assert!(key != "headers" || moved.is_empty(), "it would ask another tenant: {moved:?}");
        assert!(
            matches!(cannot.as_slice(), [one] if one.starts_with(&format!("cannot move: rules[0]: {key}:"))),
            "{rule}: {cannot:?}"
        );
    }
}

#[test]
fn names_of_objects_are_unique() {
    let rule = format!("- seriesQuery: up\n  {LABELS}\n  {SUM}\n");
    let migrated = team_rules(&load(&format!("rules:\n{rule}{rule}{rule}")).unwrap(), "shop");
    let names: Vec<_> =
        migrated.manifests().map(|manifest| manifest["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["up", "up-pods", "up-pods-2"]);
}
