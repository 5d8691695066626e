//! What the rules file may say, and what is said of one that is wrong.

mod additions;
mod backends;
mod delegates;
mod limits;
mod resource;

use super::*;

const LAB: &str = r#"
rules:
- seriesQuery: 'lsp_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
- seriesQuery: 'queue_depth{namespace!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: 'queue_depth{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}, namespaced: no}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
resourceRules:
  cpu:
    containerQuery: sum(rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(container_cpu_usage_seconds_total{<<.LabelMatchers>>,id='/'}[3m])) by (<<.GroupBy>>)
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
  window: 3m
"#;

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    match load(text) {
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
        Ok(rules) => rules.broken.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn reads_what_prometheus_adapter_reads() {
    let rules = load(LAB).unwrap();
    assert!(rules.broken.is_empty(), "{:?}", rules.broken);
    assert_eq!(rules.custom.len(), 2);
    assert_eq!(rules.custom[0].base.window_seconds, Some(60));
    assert_eq!(rules.custom[1].base.window_seconds, None);
    assert_eq!(rules.external[0].base.id, RuleEntry::External(0).into());
    assert!(!rules.external[0].base.mapping.namespaced());
    let resource = rules.resource.unwrap();
    assert_eq!(resource.window.as_secs(), 180);
    assert_eq!(resource.cpu.as_ref().unwrap().container_label, "container");
    assert!(resource.memory.is_none());
}

#[test]
fn an_empty_file_has_no_rules() {
    for text in ["", "rules:\n", "rules: []\nexternalRules: ~\n", "# nothing\n"] {
        let rules = load(text).unwrap();
        assert!(rules.custom.is_empty() && rules.external.is_empty(), "{text:?}");
    }
}

#[test]
fn a_selector_without_quotes_is_told() {
    let found = problems("rules:\n- seriesQuery: {__name__=~\"^a.*\"}\n  metricsQuery: a\n");
    assert!(
        found[0].ends_with(
            "rules[0].seriesQuery: a string is expected: quote one that begins with `{`"
        ),
        "{found:?}"
    );
}

#[test]
fn blanks_at_the_ends_of_scalars_are_no_part_of_them() {
    let rules = load(
        "externalRules:\n- seriesQuery: a\n  metricsQuery: a\n  resources: {namespaced: \"false \"}\n  window: |\n    5m\n",
    )
    .unwrap();
    assert_eq!(rules.external[0].base.window_seconds, Some(300));
    let rule = &rules.external[0].base;
    assert!(!rule.mapping.namespaced());
}

#[test]
fn reports_every_problem_of_form_with_its_place() {
    insta::assert_snapshot!(problems(
        "rules:\n- serieQuery: up\n  seriesFilters: [{is: a, isNot: b}, {}]\n  resources: {template: [x], namespaced: maybe}\n  name: 7\n- just a word\nexternalRule: []\nresourceRules: {cpu: {window: 5m}, window: forever}\n"
    ).join("\n"), @r"
    2:3: rules[0].serieQuery: unknown key; did you mean `seriesQuery`?
    3:19: rules[0].seriesFilters[0]: exactly one of `is` and `isNot` is expected
    3:38: rules[0].seriesFilters[1]: exactly one of `is` and `isNot` is expected
    4:25: rules[0].resources.template: a string is expected
    4:42: rules[0].resources.namespaced: `maybe` is neither true nor false
    5:9: rules[0].name: a mapping is expected, with the keys `matches`, `as`
    6:3: rules[1]: a mapping is expected, with the keys `seriesQuery`, `seriesFilters`, `resources`, `name`, `metricsQuery`, `static`, `window`, `nan`, `onEmpty`, `fallback`, `cacheTTL`, `maxStale`, `timeout`, `prometheus`, `headers`
    7:1: externalRule: unknown key; did you mean `externalRules`?
    8:23: resourceRules.cpu.window: unknown key; expected one of `containerQuery`, `nodeQuery`, `resources`, `containerLabel`, `cacheTTL`, `maxStale`, `timeout`, `prometheus`, `headers`
    8:44: resourceRules.window: `forever`: a duration such as `5m` is expected
    ");
}

#[test]
fn keys_in_a_wrong_place_are_told_where_they_belong() {
    let of_rule = |keys: &str| format!("rules:\n- seriesQuery: up\n  metricsQuery: up\n{keys}");
    for (text, wanted) in [
        (
            of_rule("  resources:\n  template: a\n"),
            "5:3: rules[0].template: unknown key; it belongs to `resources`: indent it below that, which is empty",
        ),
        (
            of_rule("  name:\n  as: a\n"),
            "5:3: rules[0].as: unknown key; it belongs to `name`: indent it below that, which is empty",
        ),
        (of_rule("  as: a\n"), "4:3: rules[0].as: unknown key; it belongs to `name`: put it there"),
        (
            of_rule("  resources:\n    overrides:\n    namespace: {resource: namespace}\n"),
            "6:5: rules[0].resources.namespace: unknown key; it belongs to `overrides`: indent it below that, which is empty",
        ),
        (
            of_rule("  resources: {pod: {resource: pod}}\n"),
            "4:15: rules[0].resources.pod: unknown key; it belongs to `overrides`: put it there",
        ),
        (
            of_rule("  externalRules: []\n"),
            "4:3: rules[0].externalRules: unknown key; it is one of the file, and is indented too far here",
        ),
        (
            of_rule("  resources: {namespace: true}\n"),
            "4:15: rules[0].resources.namespace: unknown key; did you mean `namespaced`?",
        ),
    ] {
        assert_eq!(problems(&text), [wanted], "{text}");
    }
}

#[test]
fn a_rule_that_does_not_compile_leaves_the_others_alone() {
    let text = r#"
rules:
- seriesQuery: up
  name: {matches: "(", as: x}
  resources: {template: "kube"}
  metricsQuery: '<<.Serie>>'
- seriesQuery: 'up{pod!=""}'
  resources: {overrides: {pod: {resource: pod}}}
  name: {matches: "(a)(b)"}
  metricsQuery: '<<.Series>>'
- seriesQuery: 'up{pod!=""}'
  resources: {overrides: {pod: {resource: pod}}}
  metricsQuery: '<<.Series>>'
"#;
    let rules = load(text).unwrap();
    assert_eq!(rules.custom.len(), 1);
    assert_eq!(rules.custom[0].base.id, RuleEntry::Custom(2).into());
    let paths: Vec<_> = rules.broken.iter().map(|problem| problem.path.to_string()).collect();
    assert_eq!(
        paths,
        [
            "rules[0].name.matches",
            "rules[0].resources.template",
            "rules[0].metricsQuery",
            "rules[1].name.as"
        ]
    );
}

#[test]
fn what_is_not_yaml_is_an_error_with_a_place() {
    let text = problems("rules:\n- seriesQuery: 'up\n").join("\n");
    assert!(text.starts_with("2:") || text.starts_with("3:"), "{text}");
}
