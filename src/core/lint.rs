//! What is wrong or doubtful in a rules file, told by the file alone: problems that keep rules from being served, and lints of
//! rules that are served and probably do not what is wanted.
//!
//! A lint says nothing where it does not know: what Prometheus has can make a rule right that looks wrong, and what the parser
//! of PromQL does not understand may be an extension of the backend.

mod backends;
mod conflicts;
mod counters;
mod elements;
mod external;
mod filters;
mod kinds;
mod labels;
mod metric_selector;
mod naming;
mod queries;
mod resource;
mod resources;
mod selectors;
mod sharing;
mod sides;
mod targets;
mod values;
mod written;

use std::{fmt, sync::Arc};

use promql_parser::parser::{self, Expr};
use serde::Serialize;

use self::{resources::Subjects, written::Written};
use super::{
    embedded::{self, Carried, Found},
    kinds::Kinds,
    nesting,
    rules::{self, CredentialPolicy, OnEmpty, Problem, Rule, RuleSet},
    yaml::Place,
};

/// How much a finding matters, the gravest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused, or the rule is left out.
    Error,
    /// The rule is served, and probably does not do what was intended.
    Warning,
    /// Worth knowing; often intentional.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// Something wrong, doubtful or remarkable in a rules file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What kind of finding this is, in lower-case words joined by dashes; another version calls it the same.
    pub code: &'static str,
    /// The rule, by its position: `rules[2]`; nothing where it is not about one.
    pub rule: Option<String>,
    /// The key's path: `rules[2].metricsQuery`; empty for the file itself.
    pub path: String,
    /// Where in the file, if that is known: that of the nearest key that is written.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Everything that is to be said of a rules file, or of those that a text carries, in the order of the text. Only errors where it
/// cannot be read as one; the other rules are looked at where some do not compile.
pub fn check(text: &str) -> Vec<Finding> {
    check_with(text, &CredentialPolicy::default())
}

/// [`check`] for a server with these flags.
pub fn check_with(text: &str, policy: &CredentialPolicy) -> Vec<Finding> {
    let Found { files, problems, .. } = embedded::find(text);
    let refused = |problem: &Problem| {
        let help = "correct it: a file with such a problem is refused as a whole";
        error("invalid-file", problem, help)
    };
    let mut findings: Vec<_> = problems.into_iter().map(|error| refused(&error.into())).collect();
    for carried in files {
        match rules::compile(&carried.rules) {
            Ok(rules) => check_carried(carried, &rules, Some(policy), &mut findings),
            Err(problems) => findings.extend(problems.iter().map(refused)),
        }
    }
    findings.sort_by_key(|finding| (finding.place, finding.severity));
    findings
}

/// [`check`] of a file that has been loaded already, but for what its backends may not use: the server itself tells of that.
pub fn check_rules(text: &str, rules: &RuleSet) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(carried) = embedded::one(text) {
        check_carried(carried, rules, None, &mut findings);
    }
    findings.sort_by_key(|finding| (finding.place, finding.severity));
    findings
}

fn check_carried(
    carried: Carried,
    rules: &RuleSet,
    policy: Option<&CredentialPolicy>,
    findings: &mut Vec<Finding>,
) {
    let help = "correct it: until then the rule is left out";
    findings.extend(rules.broken.iter().map(|problem| error("broken-rule", problem, help)));
    // The chart adds rules of its own to those of its values.
    let may_have_more = carried.values.is_some();
    if let Some(values) = &carried.values {
        values::check(values, findings);
    }
    let written = Written::new(carried.rules);
    let mut report = Report { written: &written, findings: std::mem::take(findings) };
    let is_empty = rules.count() == 0 && rules.broken.is_empty();
    if is_empty && !rules.is_empty_on_purpose && !may_have_more {
        let message = "the file has no rules, so that nothing is served";
        let help = "write rules, or `rules: []` if none are wanted";
        let (message, help) = (message.to_owned(), help.to_owned());
        report.add(Severity::Warning, "no-rules", String::new(), message, help);
    }
    let kinds = Kinds::builtin();
    for rule in &rules.custom {
        check_custom(rule, &kinds, &mut report);
    }
    for rule in &rules.external {
        check_external(rule, &kinds, &mut report);
    }
    if let Some(resource) = &rules.resource {
        resource::check(resource, &kinds, &mut report);
    }
    conflicts::check(rules, &kinds, &mut report);
    if let Some(policy) = policy {
        backends::check(rules, policy, &mut report);
    }
    *findings = report.findings;
}

fn error(code: &'static str, problem: &Problem, help: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        code,
        rule: rule_of(&problem.path),
        path: problem.path.clone(),
        place: problem.place,
        message: problem.message.clone(),
        help: help.to_owned(),
    }
}

/// The rule that a path is about.
fn rule_of(path: &str) -> Option<String> {
    let mut keys = path.split('.');
    let first = keys.next()?;
    if first.starts_with("rules[") || first.starts_with("externalRules[") {
        return Some(first.to_owned());
    }
    (first == "resourceRules").then_some(keys.next()?).map(|second| format!("{first}.{second}"))
}

fn check_custom(rule: &Arc<Rule>, kinds: &Kinds, report: &mut Report<'_>) {
    selectors::check(rule, report);
    naming::check(rule, report);
    let subjects = Subjects::of(rule, kinds, report);
    targets::check(rule, kinds, report);
    queries::check(rule, &subjects, report);
    sharing::check(rule, &subjects, report);
    if rule.on_empty == OnEmpty::Zero {
        report.info(
            rule,
            "zero-for-missing",
            "onEmpty",
            "objects without a sample have the value 0, so an autoscaler takes pods that were not scraped for idle",
            "leave `onEmpty` out, unless a missing sample does mean 0",
        );
    }
}

fn check_external(rule: &Arc<Rule>, kinds: &Kinds, report: &mut Report<'_>) {
    selectors::check(rule, report);
    naming::check(rule, report);
    external::check(rule, kinds, report);
    if rule.on_empty == OnEmpty::Zero {
        report.info(
            rule,
            "zero-for-missing",
            "onEmpty",
            "a query without a result has the value 0, so an autoscaler scales in where the exporter is not scraped",
            "leave `onEmpty` out, unless a missing sample does mean 0",
        );
    }
}

/// What has been found so far.
struct Report<'w> {
    written: &'w Written,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn warning(
        &mut self,
        rule: &Rule,
        code: &'static str,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, path(rule, key), message.into(), help.into());
    }

    fn info(
        &mut self,
        rule: &Rule,
        code: &'static str,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Info, code, path(rule, key), message.into(), help.into());
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: String,
        message: String,
        help: String,
    ) {
        let (rule, place) = (rule_of(&path), Some(self.written.place(&path)));
        self.findings.push(Finding { severity, code, rule, path, place, message, help });
    }
}

fn path(rule: &Rule, key: &str) -> String {
    if key.is_empty() { rule.id.clone() } else { format!("{}.{key}", rule.id) }
}

/// Names as a sentence lists them.
fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The tree of a query, or why there is none.
fn parsed(query: &str) -> Result<Expr, String> {
    if !nesting::is_safe(query) {
        return Err("it is too long or nested too deeply".to_owned());
    }
    parser::parse(query)
}

#[cfg(test)]
mod tests;
