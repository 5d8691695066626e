//! The store against a model of it that is as simple as can be.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

type Labelled = BTreeMap<String, String>;

/// Every object by namespace and name.
type Model = BTreeMap<(&'static str, &'static str), Labelled>;

const NAMESPACES: [&str; 3] = ["", "a", "b"];
const NAMES: [&str; 6] = ["p-0", "p-1", "p-10", "q", "r", "s"];
const SELECTORS: [&str; 6] =
    ["", "app=web", "app!=web", "!app", "unique in (p-0,q)", "app=db,tier"];

#[derive(Clone, Debug)]
struct Object {
    namespace: &'static str,
    name: &'static str,
    labels: Labelled,
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Object),
    Delete(Object),
    Relist { objects: Vec<Object>, complete: bool },
    Clear,
}

fn object() -> impl Strategy<Value = Object> {
    let place = (prop::sample::select(&NAMESPACES[..]), prop::sample::select(&NAMES[..]));
    (place, 0..4_u8, any::<bool>()).prop_map(|((namespace, name), shape, unique)| {
        let pairs: &[(&str, &str)] = match shape {
            0 => &[],
            1 => &[("app", "web")],
            2 => &[("app", "db"), ("tier", "back")],
            _ => &[("application", "web"), ("app", "")],
        };
        let unique = unique.then_some(("unique", name));
        let pairs = pairs.iter().copied().chain(unique);
        let labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Object { namespace, name, labels }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => object().prop_map(Step::Apply),
        4 => object().prop_map(Step::Delete),
        2 => (vec(object(), 0..12), any::<bool>())
            .prop_map(|(objects, complete)| Step::Relist { objects, complete }),
        1 => Just(Step::Clear),
    ]
}

fn take(writer: &mut Writer, model: &mut Model, step: Step) {
    let list = |writer: &mut Writer, namespace, name, labels: &_| {
        writer.list(namespace, name, labels);
    };
    match step {
        Step::Apply(Object { namespace, name, labels }) => {
            writer.apply(namespace, name, &labels);
            model.insert((namespace, name), labels);
        }
        Step::Delete(Object { namespace, name, .. }) => {
            writer.delete(namespace, name);
            model.remove(&(namespace, name));
        }
        Step::Relist { objects, complete } => {
            writer.begin();
            for object in &objects {
                list(writer, object.namespace, object.name, &object.labels);
            }
            if complete {
                writer.finish();
                *model = objects.into_iter().map(|o| ((o.namespace, o.name), o.labels)).collect();
            }
        }
        Step::Clear => {
            writer.clear();
            model.clear();
        }
    }
}

/// What is in a namespace, or everywhere.
fn within(model: &Model, namespace: Option<&str>) -> Model {
    let is_in = |place: &str| namespace.is_none_or(|namespace| namespace == place);
    model.iter().filter(|((place, _), _)| is_in(place)).map(|(k, v)| (*k, v.clone())).collect()
}

proptest! {
    #[test]
    fn the_store_is_the_model(steps in vec(step(), 1..40)) {
        let mut writer = Writer::default();
        let store = writer.store();
        let mut model = Model::new();
        for step in steps {
            take(&mut writer, &mut model, step);
            let store = read(&store);
            for place in NAMESPACES.iter().map(|name| Some(*name)).chain([None]) {
                let now = within(&model, place);
                prop_assert_eq!(store.population(place), now.len());
                for text in SELECTORS {
                    let selector = Selector::parse(text).unwrap();
                    let wanted: BTreeSet<_> = now
                        .iter()
                        .filter(|(_, labels)| {
                            selector.matches(|key| labels.get(key).map(String::as_str))
                        })
                        .map(|((_, name), _)| *name)
                        .collect();
                    let selected = store.select(place, &selector);
                    let selected: Vec<_> = selected.iter().map(|name| &**name).collect();
                    prop_assert_eq!(selected, wanted.into_iter().collect::<Vec<_>>(), "{}", text);
                }
            }
            drop(store);
            let used: BTreeSet<_> = model.values().collect();
            let texts: BTreeSet<_> = model.values().flatten().collect();
            if writer.listing.is_none() {
                prop_assert_eq!(writer.labels.held(), (used.len(), texts.len()));
            }
        }
    }
}

#[test]
fn an_unfinished_list_shows_nothing_and_costs_nothing_afterwards() {
    let mut writer = Writer::default();
    let labels = |value: &str| BTreeMap::from([("app".to_owned(), value.to_owned())]);
    writer.apply("n", "old", &labels("old"));
    let store = writer.store();
    writer.begin();
    writer.list("n", "new", &labels("new"));
    assert_eq!(read(&store).select(Some("n"), &Selector::default()), ["old".into()]);
    assert_eq!(writer.labels.held(), (2, 2));
    writer.begin();
    assert_eq!(writer.labels.held(), (1, 1));
    writer.list("n", "old", &labels("old"));
    writer.finish();
    assert_eq!(read(&store).select(Some("n"), &Selector::default()), ["old".into()]);
}
