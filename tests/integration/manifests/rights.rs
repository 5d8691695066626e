//! What the base lets loadline do in a cluster: as the documentation has it, and no more.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{documents::Documents, file, kustomize::kustomize, list, name, text};

/// A verb on a resource; names and the namespace are empty where there is no limit.
type Right = [String; 4];

/// What the roles grant that are bound to the service account, and the roles that are not among the documents.
fn granted(documents: &Documents) -> (BTreeSet<Right>, BTreeSet<String>) {
    let (mut rights, mut others) = (BTreeSet::new(), BTreeSet::new());
    let bindings = ["ClusterRoleBinding", "RoleBinding"];
    for binding in bindings.iter().flat_map(|kind| documents.of(kind)) {
        if !list(&binding["subjects"]).any(|subject| subject["name"] == "loadline") {
            continue;
        }
        let role = &binding["roleRef"];
        let mut roles = documents.of(text(&role["kind"]));
        let Some(found) = roles.find(|found| name(found) == text(&role["name"])) else {
            others.insert(text(&role["name"]).to_owned());
            continue;
        };
        let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
        for rule in list(&found["rules"]) {
            assert!(rule.get("nonResourceURLs").is_none(), "{rule}");
            rights.extend(
                of_rule(rule)
                    .map(|[verb, resource, name]| [verb, resource, name, namespace.to_owned()]),
            );
        }
    }
    (rights, others)
}

fn of_rule(rule: &Value) -> impl Iterator<Item = [String; 3]> {
    let texts = |key: &str| -> Vec<_> { list(&rule[key]).map(|it| text(it).to_owned()).collect() };
    let mut names = texts("resourceNames");
    if names.is_empty() {
        names.push(String::new());
    }
    let mut rights = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            let resource = if group.is_empty() { resource } else { format!("{resource}.{group}") };
            for name in &names {
                for verb in texts("verbs") {
                    rights.push([verb, resource.clone(), name.clone()]);
                }
            }
        }
    }
    rights.into_iter()
}

/// What the table of the page says.
fn documented() -> BTreeSet<Right> {
    let page = fs::read_to_string(file("docs/security.md")).expect("the page");
    let heading = "\n| verbs | resources | names | where |\n";
    let table = page.split_once(heading).expect("the table").1;
    let mut rights = BTreeSet::new();
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let codes = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let cells: Vec<_> = row.trim_matches('|').split('|').map(codes).collect();
        let [verbs, resources, names, namespace] = cells.as_slice() else { panic!("{row}") };
        let none = [String::new()];
        let names = if names.is_empty() { &none[..] } else { names };
        let namespace = namespace.first().cloned().unwrap_or_default();
        for verb in verbs {
            for resource in resources {
                let right = |name: &String| {
                    [verb.clone(), resource.clone(), name.clone(), namespace.clone()]
                };
                rights.extend(names.iter().map(right));
            }
        }
    }
    rights
}

#[test]
fn its_rights_are_those_that_are_documented() {
    let (rights, others) = granted(&kustomize(&file("deploy/base")));
    assert_eq!(rights, documented());
    let builtin = ["extension-apiserver-authentication-reader", "system:auth-delegator"];
    assert_eq!(others, builtin.map(str::to_owned).into());
}
