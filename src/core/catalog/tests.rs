use super::*;
use crate::core::rules::load;

const RULES: &str = r#"
rules:
- seriesQuery: '{__name__=~"^a.*"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^(.*?)(_total)?$", as: "$1"}
  metricsQuery: 'first(<<.Series>>)'
- seriesQuery: '{__name__=~"^b.*"}'
  resources: {template: "<<.Resource>>"}
  name: {matches: "^b(.*)$", as: "a$1"}
  metricsQuery: 'second(<<.Series>>)'
"#;

fn rules(found: &[&[(&str, &[&str])]]) -> Vec<DiscoveredRule> {
    let kinds = Kinds::builtin();
    let rules = load(RULES).unwrap();
    assert!(rules.broken.is_empty(), "{:?}", rules.broken);
    rules
        .custom
        .iter()
        .enumerate()
        .map(|(index, rule)| DiscoveredRule {
            rule: Arc::clone(rule),
            api: Api::Custom,
            mapping: Arc::new(rule.mapping.resolve(&kinds)),
            found: found.get(index).map(|labels| {
                let mut found = Found::default();
                for (label, names) in *labels {
                    for name in *names {
                        found.insert(label, name);
                    }
                }
                Arc::new(found)
            }),
        })
        .collect()
}

fn catalog(rules: &[DiscoveredRule], alive: &[Claim]) -> Catalog {
    Catalog::build(Arc::new(Kinds::builtin()), rules, &alive.iter().cloned().collect())
}

fn series<'c>(catalog: &'c Catalog, resource: &str, metric: &str) -> Option<&'c str> {
    catalog.get(&GroupResource::parse(resource), metric).map(|entry| &*entry.series)
}

#[test]
fn a_metric_is_registered_for_every_resource_whose_label_its_series_carry() {
    let rules = rules(&[&[("pod", &["a_x"]), ("namespace", &["a_x", "a_y"])], &[]]);
    let catalog = catalog(&rules, &[]);
    assert_eq!(series(&catalog, "pods", "a_x"), Some("a_x"));
    assert_eq!(series(&catalog, "namespaces", "a_y"), Some("a_y"));
    assert_eq!(series(&catalog, "pods", "a_y"), None);
    assert_eq!(catalog.len(), 3);
    let listed: Vec<_> = catalog
        .list()
        .iter()
        .map(|listed| format!("{}/{}", listed.kind.resource, listed.metric))
        .collect();
    assert_eq!(listed, ["namespaces/a_x", "namespaces/a_y", "pods/a_x"]);
}

#[test]
fn the_later_rule_wins_and_then_the_name_that_sorts_last() {
    let both = rules(&[&[("pod", &["a_x", "a_x_total"])], &[("pod", &["b_x"])]]);
    assert_eq!(series(&catalog(&both, &[]), "pods", "a_x"), Some("b_x"));
    let first = rules(&[&[("pod", &["a_x", "a_x_total"])], &[]]);
    assert_eq!(series(&catalog(&first, &[]), "pods", "a_x"), Some("a_x_total"));
}

#[test]
fn a_dead_series_does_not_shadow_a_live_one() {
    let both = rules(&[&[("pod", &["a_x", "a_x_total"])], &[("pod", &["b_x"])]]);
    let contests = contests(&both);
    assert_eq!(contests.len(), 1);
    assert_eq!(contests[0].metric, "a_x");
    assert_eq!(contests[0].claims.len(), 3);
    let alive = Claim { rule: 0, series: "a_x".into(), label: "pod".into() };
    assert_eq!(series(&catalog(&both, &[alive]), "pods", "a_x"), Some("a_x"));
}

#[test]
fn rules_without_a_discovery_are_named() {
    let catalog = catalog(&rules(&[&[("pod", &["a_x"])]]), &[]);
    assert_eq!(catalog.undiscovered(), ["rules[1]"]);
}

#[test]
fn a_text_is_there_once_and_its_bytes_are_counted_once() {
    let name = "a".repeat(1_000);
    let names: &[&str] = &[&name];
    let size = |labels: &[(&str, &[&str])]| catalog(&rules(&[labels]), &[]).bytes();
    assert_eq!(size(&[]), 0);
    let one = size(&[("pod", names)]);
    let two = size(&[("pod", names), ("namespace", names)]);
    // Its name in the API and the name of the series.
    assert!((2_000..2_500).contains(&one), "{one}");
    // Another name in the API.
    assert!((1_000..1_500).contains(&(two - one)), "{one} and {two}");

    let found = rules(&[&[("pod", names), ("namespace", names)]]);
    let catalog = catalog(&found, &[]);
    let entry = |resource| catalog.get(&GroupResource::parse(resource), &name).unwrap();
    assert!(Arc::ptr_eq(&entry("pods").series, &entry("namespaces").series));
    assert!(Arc::ptr_eq(
        &entry("namespaces").label,
        entry("pods").namespace_label.as_ref().unwrap()
    ));
}

#[test]
fn who_asks_at_the_wrong_kind_can_be_told_the_right_one() {
    let catalog = catalog(&rules(&[&[("pod", &["a_x"])], &[("service", &["b_x"])]]), &[]);
    let kinds: Vec<_> = catalog.kinds_with("a_x").iter().map(ToString::to_string).collect();
    assert_eq!(kinds, ["pods", "services"]);
}
