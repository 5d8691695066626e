//! What both servers list.

use std::collections::BTreeMap;

use super::{Aspect, Finding, Reason, Sides};

/// The metrics of one API that two servers list.
#[derive(Debug, Default)]
pub struct Listed {
    /// Those that both list alike: whether each is of objects in namespaces, by name.
    pub both: BTreeMap<String, bool>,
    /// Those that only the reference lists, likewise. Whether anybody can read them decides what that means.
    pub only_reference: BTreeMap<String, bool>,
    /// What differs of the others, by name.
    pub findings: Vec<(String, Finding)>,
}

/// Compares what two servers list of one API: whether each metric is of objects in namespaces, by name.
pub fn lists(listed: Sides<BTreeMap<String, bool>>) -> Listed {
    let Sides { reference, with } = listed;
    let mut compared = Listed::default();
    for (name, namespaced) in &with {
        let reason = match reference.get(name) {
            None => {
                let sides = Sides { reference: None, with: Some("listed".to_owned()) };
                compared.findings.push((
                    name.clone(),
                    Finding {
                        aspect: Aspect::Listed,
                        object: String::new(),
                        sides,
                        // Whoever reads the reference does not miss it.
                        reason: Some(Reason::Discovery),
                    },
                ));
                continue;
            }
            Some(same) if same == namespaced => continue,
            Some(true) => Some(Reason::Scope),
            Some(false) => None,
        };
        let scope = |namespaced: bool| {
            Some(if namespaced { "in namespaces" } else { "of the cluster" }.to_owned())
        };
        let sides = Sides { reference: scope(!namespaced), with: scope(*namespaced) };
        let finding = Finding { aspect: Aspect::Scope, object: String::new(), sides, reason };
        compared.findings.push((name.clone(), finding));
    }
    for (name, namespaced) in reference {
        match with.get(&name) {
            None => compared.only_reference.insert(name, namespaced),
            Some(same) if *same == namespaced => compared.both.insert(name, namespaced),
            Some(_) => None,
        };
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(metrics: &[(&str, bool)]) -> BTreeMap<String, bool> {
        metrics.iter().map(|(name, namespaced)| ((*name).to_owned(), *namespaced)).collect()
    }

    #[test]
    fn metrics_of_one_and_other_scopes_are_found() {
        let compared = lists(Sides {
            reference: list(&[
                ("pods/a", true),
                ("pods/gone", true),
                ("roles/b", true),
                ("c", false),
            ]),
            with: list(&[("pods/a", true), ("pods/new", true), ("roles/b", false), ("c", true)]),
        });
        assert_eq!(compared.both, list(&[("pods/a", true)]));
        assert_eq!(compared.only_reference, list(&[("pods/gone", true)]));
        let found: Vec<_> = compared
            .findings
            .iter()
            .map(|(name, finding)| (&**name, finding.aspect, finding.reason))
            .collect();
        assert_eq!(
            found,
            [
                ("c", Aspect::Scope, None),
                ("pods/new", Aspect::Listed, Some(Reason::Discovery)),
                ("roles/b", Aspect::Scope, Some(Reason::Scope)),
            ]
        );
    }
}
