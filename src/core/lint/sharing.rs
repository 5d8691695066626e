//! Which queries cannot be shared by many readers, and why.

use std::sync::Arc;

use super::{Report, listed, resources::Subjects};
use crate::core::{
    plan::shareable::{self, NotShareable},
    pointwise::Refusal,
    rules::RuleBase,
    selector::Selector,
};

const NAMESPACE: &str = "loadline-opaque-namespace";

pub(super) fn check(rule: &RuleBase, subjects: &Subjects, report: &mut Report<'_>) {
    if rule.options.may_depend_on_namespace() {
        report.info(
            rule.id.entry,
            "headers-by-namespace",
            "headers",
            "the headers depend on the namespace, so no query is shared between namespaces",
            "nothing, if each namespace is a tenant of its own",
        );
    }
    let no_selector = Selector::default();
    let (mut at_all, mut everywhere) = (Vec::new(), Vec::new());
    for entry in &subjects.entries {
        let namespace = entry.kind.namespaced.then_some(NAMESPACE);
        if let Err(reason) = shareable::prove(entry.source(), namespace, &no_selector) {
            at_all.extend(shown(&reason).map(|reason| (Arc::clone(&entry.label), reason)));
        } else if namespace.is_some()
            && let Err(reason) = shareable::prove(entry.source(), None, &no_selector)
        {
            everywhere.extend(shown(&reason).map(|reason| (Arc::clone(&entry.label), reason)));
        }
    }
    let mut tell = |code, what: &str, refused: &[(Arc<str>, String)]| {
        if let Some((_, reason)) = refused.first() {
            let labels = listed(refused.iter().map(|(label, _)| label));
            report.info(
                rule.id.entry,
                code,
                "metricsQuery",
                format!(
                    "many readers of objects by {labels} cannot share one query {what}: {reason}"
                ),
                "nothing, if there are few autoscalers; each has a query of its own",
            );
        }
    };
    tell("not-shared", "for a namespace", &at_all);
    tell("not-shared-across-namespaces", "for the whole cluster", &everywhere);
}

/// The reason, unless another finding has it.
fn shown(reason: &NotShareable) -> Option<String> {
    match reason {
        NotShareable::Plan(_) | NotShareable::Query(Refusal::Unknown { .. }) => None,
        reason => Some(reason.to_string()),
    }
}
