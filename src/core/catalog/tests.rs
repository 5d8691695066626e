use super::*;
use crate::core::rules::{RuleEntry, load};

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
            rule: MetricRule::Custom(Arc::clone(rule)),
            mapping: Arc::new(rule.base.mapping.resolve(&kinds)),
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

fn series(catalog: &Catalog, resource: &str, metric: &str) -> Option<String> {
    let entry = catalog.get(&GroupResource::parse(resource), metric)?;
    Some(entry.series.to_string())
}

#[test]
fn a_metric_is_registered_for_every_resource_whose_label_its_series_carry() {
    let rules = rules(&[&[("pod", &["a_x"]), ("namespace", &["a_x", "a_y"])], &[]]);
    let catalog = catalog(&rules, &[]);
    assert_eq!(series(&catalog, "pods", "a_x").as_deref(), Some("a_x"));
    assert_eq!(series(&catalog, "namespaces", "a_y").as_deref(), Some("a_y"));
    assert_eq!(series(&catalog, "pods", "a_y"), None);
    assert_eq!(catalog.len(), 3);
    let listed: Vec<_> = catalog
        .list()
        .map(|listed| format!("{}/{}", listed.kind.resource, listed.metric))
        .collect();
    assert_eq!(listed, ["namespaces/a_x", "namespaces/a_y", "pods/a_x"]);
}

#[test]
fn the_later_rule_wins_and_then_the_name_that_sorts_last() {
    let both = rules(&[&[("pod", &["a_x", "a_x_total"])], &[("pod", &["b_x"])]]);
    assert_eq!(series(&catalog(&both, &[]), "pods", "a_x").as_deref(), Some("b_x"));
    let first = rules(&[&[("pod", &["a_x", "a_x_total"])], &[]]);
    assert_eq!(series(&catalog(&first, &[]), "pods", "a_x").as_deref(), Some("a_x_total"));
}

#[test]
fn a_dead_series_does_not_shadow_a_live_one() {
    let both = rules(&[&[("pod", &["a_x", "a_x_total"])], &[("pod", &["b_x"])]]);
    let contests = contests(&both);
    assert_eq!(contests.len(), 1);
    assert_eq!(&*contests[0].metric, "a_x");
    assert_eq!(contests[0].claims.len(), 3);
    let alive = Claim { rule: 0, series: "a_x".into(), label: "pod".into() };
    assert_eq!(series(&catalog(&both, &[alive]), "pods", "a_x").as_deref(), Some("a_x"));
}

#[test]
fn rules_without_a_discovery_are_named() {
    let catalog = catalog(&rules(&[&[("pod", &["a_x"])]]), &[]);
    assert_eq!(catalog.undiscovered(), [RuleEntry::Custom(1).into()]);
}

#[test]
fn a_text_is_there_once_and_its_bytes_are_counted_once() {
    let name = "a".repeat(1_000);
    let names: &[&str] = &[&name];
    let size = |labels: &[(&str, &[&str])]| catalog(&rules(&[labels]), &[]).bytes();
    assert!(size(&[]) < 100, "names of labels");
    let one = size(&[("pod", names)]);
    let two = size(&[("pod", names), ("namespace", names)]);
    // Its name in the API is the name of the series.
    assert!((1_000..1_200).contains(&one), "{one}");
    assert!((1..200).contains(&(two - one)), "{one} and {two}");

    let found = rules(&[&[("pod", names), ("namespace", names)]]);
    let catalog = catalog(&found, &[]);
    let entry = |resource| catalog.get(&GroupResource::parse(resource), &name).unwrap();
    assert!(Arc::ptr_eq(
        &entry("pods").series,
        &catalog.metrics[&GroupResource::parse("pods")][0].name
    ));
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

/// A hundred thousand series of a rule that takes all, and what discovery keeps of them.
fn very_many(names: impl Iterator<Item = usize>) -> DiscoveredRule {
    let mut answer = Found::default();
    for index in names {
        for label in ["pod", "namespace"] {
            answer.insert(label, &format!("a_{index:06}"));
        }
    }
    let mut rule = rules(&[]).swap_remove(0);
    rule.found = Some(Arc::new(answer.of(&rule, MOST_OF_RULE)));
    rule
}

#[test]
fn what_is_cut_of_a_rule_is_the_same_in_whatever_order_it_was_listed() {
    let forth = very_many(0..100_000);
    let back = very_many((0..100_000).rev());
    assert_eq!(forth.found, back.found);
    let found = forth.found.as_ref().unwrap();
    assert_eq!((found.names, found.left_out), (100_000, 200_000 - MOST_OF_RULE));
    let last = format!("a_{:06}", MOST_OF_RULE / 2 - 1);
    assert!(found.by_label.values().all(|names| names.last().is_some_and(|name| **name == *last)));
    let catalog = catalog(&[forth], &[]);
    assert_eq!(catalog.len(), MOST_OF_RULE);
    assert_eq!(catalog.limited(), [RuleEntry::Custom(0).into()]);
    let why = catalog.why_unknown(&GroupResource::parse("pods"), "a_099999_and_more");
    assert!(why.ends_with("; rules[0] has more metrics than are served"), "{why}");
}

#[test]
fn a_name_is_in_memory_once_whoever_has_it() {
    let rule = very_many(0..1_000);
    let found = rule.found.clone().unwrap();
    let catalog = catalog(&[rule], &[]);
    let (pods, namespaces) = (GroupResource::parse("pods"), GroupResource::parse("namespaces"));
    for (name, other) in found.by_label["pod"].iter().zip(&found.by_label["namespace"]) {
        for name in [
            other,
            &catalog.get(&pods, name).unwrap().series,
            &catalog.get(&namespaces, name).unwrap().series,
        ] {
            assert!(Arc::ptr_eq(name, &found.by_label["pod"].get(name).unwrap().clone()));
        }
    }
    // Five words, and half of a name with its counters; of a label there is next to nothing.
    let name = 2 * size_of::<usize>() + "a_000000".len();
    let of_each = catalog.bytes() / catalog.len();
    assert_eq!(of_each, 5 * size_of::<usize>() + name / 2);
}

#[test]
fn names_that_are_too_long_are_left_out() {
    let mut rules = rules(&[&[("pod", &[&"a".repeat(LONGEST + 1), &"b".repeat(LONGEST)])]]);
    let rule = &mut rules[0];
    let found = rule.found.take().unwrap().of(rule, MOST_OF_RULE);
    assert_eq!((found.names, found.left_out, found.by_label["pod"].len()), (2, 1, 1));
    assert_eq!(found.unnamed, None);
}

#[test]
fn what_a_rule_does_not_take_is_not_kept_or_counted() {
    let mut answer = Found::default();
    for (label, series) in [("pod", "b_x"), ("pod", "x"), ("__name__", "b_x"), ("other", "b_y")] {
        answer.insert(label, series);
    }
    let second = &rules(&[])[1];
    let found = answer.of(second, 1);
    assert_eq!(found.by_label.keys().collect::<Vec<_>>(), ["pod"]);
    assert_eq!((found.by_label["pod"].len(), found.left_out, found.names), (1, 0, 2));
    assert_eq!(found.unnamed, None);

    let mut answer = Found::default();
    answer.insert("pod", "x");
    assert_eq!(answer.of(second, 1).unnamed.as_deref(), Some("x"));
    // What a partial answer leaves out is still there, and counts.
    let both = answer.of(second, 1).and(&found).of(second, 1);
    assert_eq!((both.by_label, both.unnamed), (found.by_label, None));
}

#[test]
fn rules_share_what_may_be_in_all() {
    let names: Vec<_> = (0..10).map(|index| format!("b_{index}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let few: &[(&str, &[&str])] = &[("pod", &names[..2])];
    let many: &[(&str, &[&str])] = &[("pod", &names)];
    for (most, wanted) in [(12, [2, 10]), (11, [2, 9]), (5, [2, 3]), (3, [1, 1]), (0, [0, 0])] {
        for turned in [false, true] {
            let mut rules = if turned { rules(&[many, few]) } else { rules(&[few, many]) };
            limit(&mut rules, most);
            let mut kept = rules.iter().map(|rule| {
                let found = rule.found.as_ref().unwrap();
                let kept: usize = found.by_label.values().map(BTreeSet::len).sum();
                assert!(
                    found
                        .by_label
                        .values()
                        .flatten()
                        .map(|name| &**name)
                        .eq(names[..kept].iter().copied())
                );
                (kept, found.left_out)
            });
            let mut kept = [kept.next().unwrap(), kept.next().unwrap()];
            if turned {
                kept.reverse();
            }
            assert_eq!(kept, [(wanted[0], 2 - wanted[0]), (wanted[1], 10 - wanted[1])], "{most}");
        }
    }
}
