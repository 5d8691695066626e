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
    for ambiguous in mapping.ambiguous() {
        report.warning(
            rule.id.entry,
            "ambiguous-kind",
            ["resources", "overrides", &ambiguous.label],
            ambiguous.says(),
            format!("write `group: {}`, or the group that is meant", ambiguous.taken.group),
        );
    }
    for unknown in mapping.unknown() {
        let GroupResource { group, resource } = &unknown.resource;
        let key = ["resources", "overrides", &unknown.label];
        if let Some(GroupResource { group, resource: name }) = kinds.with_group(&unknown.resource) {
            report.warning(
                rule.id.entry,
                "unknown-kind",
                key,
                format!("a resource has no group in its name, so `{resource}` is left out"),
                format!("write `group: {group}, resource: {name}`"),
            );
            continue;
        }
        if let Some(meant) = meant_by_version(group, resource, kinds) {
            let help = match meant.as_str() {
                "" => "leave `group` out".to_owned(),
                meant => format!("write `group: {meant}`"),
            };
            report.warning(
                rule.id.entry,
                "unknown-kind",
                key,
                format!("`{group}` is a version of an API and no group, so the label is left out"),
                help,
            );
            continue;
        }
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

/// The group that is meant where an `apiVersion` is written instead. A group has no slash, and one of a custom kind has a dot.
fn meant_by_version(group: &str, resource: &str, kinds: &Kinds) -> Option<String> {
    if let Some((group, _)) = group.split_once('/') {
        return Some(group.to_owned());
    }
    let number = group.strip_prefix('v')?;
    let is_version = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_alphanumeric());
    let known = || kinds.resolve("", resource).map(|kind| kind.resource.group.clone());
    is_version.then(|| known().unwrap_or_default())
}
