//! Backends that name credentials which a server with these flags does not let them use.

use super::{Report, Severity};
use crate::core::rules::{CredentialPolicy, RuleSet};

pub(super) fn check(rules: &RuleSet, policy: &CredentialPolicy, report: &mut Report<'_>) {
    for (index, backend) in rules.backends.iter().enumerate() {
        for refusal in policy.refusals(backend) {
            let path = format!("backends[{index}].{}", refusal.key);
            let help = "if the server has that flag, give it to `check`, too; else the rules that name this backend fail";
            let severity = Severity::Warning;
            report.add(severity, "credentials-refused", path, refusal.message, help.to_owned());
        }
    }
}
