//! Backends and delegates: those that no rule names, and those that name credentials which a server with these flags does not let
//! them use.

use std::collections::HashSet;

use super::{Report, Severity, written::Written};
use crate::core::{
    key_path::KeyPath,
    rules::{ComputeResource, CredentialPolicy, RuleEntry, RuleSet},
};

/// The backends that rules of a file name.
pub(super) fn named(written: &Written) -> Vec<String> {
    let count = |list: &str| written.len(&list.into());
    (0..count("rules"))
        .map(RuleEntry::Custom)
        .chain((0..count("externalRules")).map(RuleEntry::External))
        .chain([ComputeResource::Cpu, ComputeResource::Memory].map(RuleEntry::Resource))
        .map(|rule| written.text(&rule.key("prometheus")).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Checks those of the report's file. `named` are the backends that rules name, of whatever file.
pub(super) fn check(
    rules: &RuleSet,
    named: &HashSet<String>,
    policy: Option<&CredentialPolicy>,
    report: &mut Report<'_>,
) {
    for (path, name) in entries("backends", report.written) {
        let place = report.written.place(&path);
        let is_it = |of: &str, at| *of == *name && at == place;
        let Some(backend) = rules.backends.iter().find(|it| is_it(&it.name, it.place)) else {
            continue;
        };
        // Which rules of teams name it is not in a file.
        if !backend.team_rules && !named.contains(&name) {
            let message = format!("no rule names the backend `{name}`");
            let help =
                format!("say `prometheus: {name}` in the rules that it is for, or take it away");
            report.add(Severity::Warning, "unused-backend", path.key("name"), message, help);
        }
        for refusal in policy.map(|policy| policy.refusals(backend)).into_iter().flatten() {
            let path = path.join(refusal.key);
            let help = "if the server has that flag, pass it to `check` as well; otherwise the rules that name this backend fail";
            report.add(Severity::Warning, "credentials-refused", path, refusal.message, help);
        }
    }
    for (path, name) in entries("delegates", report.written) {
        let place = report.written.place(&path);
        let is_it = |of: &str, at| *of == *name && at == place;
        let Some(delegate) = rules.delegates.iter().find(|it| is_it(&it.name, it.place)) else {
            continue;
        };
        let refusals = policy.map(|policy| policy.refusals_of_delegate(delegate));
        for refusal in refusals.into_iter().flatten() {
            let path = path.join(refusal.key);
            let help = "if the server has that flag, pass it to `check` as well; otherwise this delegate is not asked";
            report.add(Severity::Warning, "credentials-refused", path, refusal.message, help);
        }
    }
}

/// The entries of a list, by path and name.
fn entries(list: &str, written: &Written) -> Vec<(KeyPath, String)> {
    let list = KeyPath::from(list);
    let entry = |index| {
        let path = list.index(index);
        let name = written.text(&path.key("name")).to_owned();
        (path, name)
    };
    (0..written.len(&list)).map(entry).collect()
}
