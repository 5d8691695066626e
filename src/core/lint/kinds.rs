//! `resources.overrides`: kinds that look like a slip of the keyboard. Others may be custom kinds.

use super::Report;
use crate::core::{
    kinds::{GroupResource, Kinds},
    nearest::nearest,
    rules::{ResolvedMapping, RuleBase},
};

/// The group that Deployments, Ingresses and others have left.
const FORMER_GROUP: &str = "extensions";

pub(super) fn check(
    rule: &RuleBase,
    mapping: &ResolvedMapping,
    kinds: &Kinds,
    report: &mut Report<'_>,
) {
    for unknown in mapping.unknown() {
        let GroupResource { group, resource } = &unknown.resource;
        let key = ["resources", "overrides", &unknown.label];
        let is_of_kubernetes =
            group == FORMER_GROUP || kinds.iter().any(|kind| kind.resource.group == *group);
        match kinds.resolve("", resource) {
            Some(kind) if is_of_kubernetes => report.info(
                rule.id.entry,
                "unknown-kind",
                key,
                format!("Kubernetes has `{}`, and no `{resource}` in the group `{group}`", kind.resource),
                "correct the group, unless the cluster is an old one: the label is left out where there is no such kind",
            ),
            Some(_) => {}
            None => {
                let of_group = kinds.iter().filter(|kind| kind.resource.group.starts_with(group));
                let words = of_group.flat_map(|kind| [&*kind.singular, &kind.resource.resource]);
                if let Some(near) = nearest(resource, words).first() {
                    report.warning(
                        rule.id.entry,
                        "unknown-kind",
                        key,
                        format!("no kind of Kubernetes is called `{resource}`; did you mean `{near}`?"),
                        "correct it, unless the cluster has a custom kind of this name",
                    );
                }
            }
        }
    }
}
