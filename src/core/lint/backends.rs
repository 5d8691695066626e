//! Backends and delegates that name credentials which a server with these flags does not let them use.

use super::{Report, Severity};
use crate::core::{
    key_path::KeyPath,
    rules::{CredentialPolicy, RuleSet},
};

pub(super) fn check(rules: &RuleSet, policy: &CredentialPolicy, report: &mut Report<'_>) {
    for (index, backend) in rules.backends.iter().enumerate() {
        for refusal in policy.refusals(backend) {
            let path = KeyPath::from("backends").index(index).join(refusal.key);
            let help = "if the server has that flag, pass it to `check` as well; otherwise the rules that name this backend fail";
            report.add(Severity::Warning, "credentials-refused", path, refusal.message, help);
        }
    }
    for (index, delegate) in rules.delegates.iter().enumerate() {
        for refusal in policy.refusals_of_delegate(delegate) {
            let path = KeyPath::from("delegates").index(index).join(refusal.key);
            let help = "if the server has that flag, pass it to `check` as well; otherwise this delegate is not asked";
            report.add(Severity::Warning, "credentials-refused", path, refusal.message, help);
        }
    }
}
