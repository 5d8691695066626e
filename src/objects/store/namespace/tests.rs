//! The index against a look at all objects.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::objects::labels::Labels;

type Pairs = BTreeMap<String, String>;

/// Labels as pods have them: one that a few have, one that all have, one of their own, and one that is empty or absent.
fn labels(name: usize, app: usize, tier: Option<bool>) -> Pairs {
    let mut labels = BTreeMap::from([
        ("app".to_owned(), format!("app-{app}")),
        ("zone".to_owned(), "a".to_owned()),
        ("own".to_owned(), name.to_string()),
    ]);
    let tier = tier.map(|is_web| ("tier".to_owned(), if is_web { "web" } else { "" }.to_owned()));
    labels.extend(tier);
    labels
}

fn object() -> impl Strategy<Value = (usize, Pairs)> {
    (0..60_usize, 0..12_usize, any::<Option<bool>>())
        .prop_map(|(name, app, tier)| (name, labels(name, app, tier)))
}

#[derive(Clone, Debug)]
enum Step {
    Apply(usize, Pairs),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => object().prop_map(|(name, labels)| Step::Apply(name, labels)),
        1 => (0..60_usize).prop_map(Step::Remove),
    ]
}

/// One requirement or several, of every operator.
fn selector() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        (0..13_usize).prop_map(|app| format!("app-{app}")),
        (0..61_usize).prop_map(|own| own.to_string()),
        select(vec!["a", "web", ""]).prop_map(str::to_owned),
    ];
    let key = || select(vec!["app", "zone", "own", "tier", "none"]);
    let values = vec(value, 1..4);
    let operator = select(vec!["=", "==", "!=", "in", "notin", "exists", "!", ">", "<"]);
    let requirement =
        (key(), operator, values, 0..60_usize).prop_map(|(key, operator, values, number)| {
            match operator {
                "exists" => key.to_owned(),
                "!" => format!("!{key}"),
                "in" | "notin" => format!("{key} {operator} ({})", values.join(",")),
                ">" | "<" => format!("{key}{operator}{number}"),
                _ => format!("{key}{operator}{}", values[0]),
            }
        });
    vec(requirement, 0..4).prop_map(|requirements| requirements.join(","))
}

proptest! {
    #[test]
    fn the_index_finds_what_a_look_at_all_objects_finds(
        listed in vec(object(), 0..90),
        steps in vec(step(), 0..40),
        selectors in vec(selector(), 1..20),
    ) {
        let mut known = Labels::default();
        let name = |number: usize| format!("pod-{number}");
        let objects = listed.iter().map(|(number, labels)| Object {
            name: name(*number).into(),
            labels: known.share(labels),
        });
        let mut namespace = Namespace::new(objects.collect());
        let mut model: BTreeMap<_, _> =
            listed.into_iter().map(|(number, labels)| (name(number), labels)).collect();
        for step in steps {
            let (before, expected) = match step {
                Step::Apply(number, labels) => (
                    namespace.apply(&name(number), known.share(&labels)),
                    model.insert(name(number), labels),
                ),
                Step::Remove(number) => {
                    (namespace.remove(&name(number)), model.remove(&name(number)))
                }
            };
            prop_assert_eq!(before, expected.map(|labels| known.share(&labels)));
        }
        prop_assert_eq!(namespace.len(), model.len());
        for text in selectors {
            let selector = Selector::parse(&text).unwrap();
            let is_selected =
                |labels: &Pairs| selector.matches(|key| labels.get(key).map(String::as_str));
            let expected = model.iter().filter(|(_, labels)| is_selected(labels));
            let selected = namespace.select(&selector);
            let names = selected.iter().map(|object| object.name.to_string());
            prop_assert_eq!(
                names.collect::<Vec<_>>(),
                expected.map(|(name, _)| name.clone()).collect::<Vec<_>>(),
                "{}", text
            );
        }
        let labels = model.values().flatten().map(|(key, value)| hash(&format!("{key}={value}")));
        let entries = labels.filter(|hash| !namespace.common.contains(hash)).count();
        prop_assert_eq!(namespace.by_label.len(), entries, "nothing is left of what is gone");
    }
}

#[test]
fn the_index_is_used_where_few_have_the_label() {
    let mut known = Labels::default();
    let objects = (0..100).map(|number| Object {
        name: format!("pod-{number}").into(),
        labels: known.share(&labels(number, number % 20, None)),
    });
    let namespace = Namespace::new(objects.collect());
    let candidates = |text: &str| {
        let candidates = namespace.candidates(&Selector::parse(text).unwrap());
        candidates.map(|found| found.iter().map(|of_value| of_value.len()).sum::<usize>())
    };
    assert_eq!(candidates("app=app-3"), Some(5));
    assert_eq!(candidates("zone=a,app=app-3,app!=app-4"), Some(5), "the least counts");
    assert_eq!(candidates("app in (app-3,app-4,none)"), Some(10));
    assert_eq!(candidates("own=7,app=app-3"), Some(1));
    assert_eq!(candidates("app=none"), Some(0));
    assert_eq!(namespace.common, [hash("zone=a")]);
    for text in
        ["", "zone=a", "zone in (a,b)", "app", "!app", "app!=app-3", "app notin (app-3)", "own>7"]
    {
        assert_eq!(candidates(text), None, "{text}");
    }
}
