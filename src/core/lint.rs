//! Checks of a rules file that need nothing but the file: problems that keep rules from being served, and lints of rules that
//! are served but probably do not do what was intended.
//!
//! A lint says nothing where it does not know: what Prometheus has can make a rule right that looks wrong, and what the parser
//! of PromQL does not understand may be an extension of the backend.

mod backends;
mod commas;
mod conflicts;
pub(in crate::core) mod counters;
mod elements;
mod external;
mod filters;
mod invisible;
mod kinds;
mod labels;
mod loose;
mod metric_selector;
mod missing;
mod naming;
mod queries;
mod resource;
mod resources;
mod selectors;
mod sharing;
mod sides;
mod slips;
mod targets;
mod teams;
mod values;
mod written;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use promql_parser::parser::Expr;
use serde::Serialize;

pub use self::teams::SaidOfTeams;
use self::{resources::Subjects, written::Written};
use super::{
    embedded::{self, Carried, Found},
    key_path::KeyPath,
    kinds::Kinds,
    nesting, promql,
    rules::{
        self, CredentialPolicy, CustomRule, ExternalRule, FileName, Merged, Outcome, Precedence,
        Problem, RuleEntry, RuleSet,
    },
    yaml::{Place, YamlError},
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
    /// The key.
    pub path: KeyPath,
    /// Where in the file, if that is known: that of the nearest key that is written.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Finding {
    /// Whether it is reported without `--verbose`, too: of a query that is not understood nothing else is said.
    pub fn is_always_reported(&self) -> bool {
        self.severity < Severity::Info || self.code == queries::NOT_UNDERSTOOD
    }

    /// The rule of the file; nothing where it is not about one.
    pub fn rule(&self) -> Option<RuleEntry> {
        RuleEntry::of(&self.path)
    }
}

/// Everything that is to be said of a rules file, or of those that a text carries, in the order of the text. Only errors where it
/// cannot be read as one; the other rules are looked at where some do not compile.
pub fn check(text: &str) -> Vec<Finding> {
    check_with(text, &CredentialPolicy::default(), None)
}

/// What the rules files of these texts let teams do; nothing where there is none. Of several the first one counts that says
/// something of teams, else the first one.
pub fn team_policy<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<SaidOfTeams> {
    let files = texts.into_iter().flat_map(|text| embedded::find(text).files);
    let said = files.filter_map(|carried| {
        let rules = rules::compile(&carried.rules).ok()?;
        SaidOfTeams::of(&carried, &rules)
    });
    said.reduce(SaidOfTeams::or)
}

/// [`team_policy`] of files that are used together.
pub fn team_policy_of(files: &[(FileName, Arc<str>)]) -> Option<SaidOfTeams> {
    let carried = files.iter().filter_map(|(file, text)| {
        let one = embedded::one(text).ok()?;
        Some((file.clone(), one))
    });
    let carried: Vec<_> = carried.collect();
    let roots: Vec<_> = carried.iter().map(|(file, one)| (file.clone(), &one.rules)).collect();
    let Merged { rules, .. } = rules::merge(&roots, &Precedence::default());
    SaidOfTeams::of_set(&carried, &rules)
}

/// [`check`] for a server with these flags. `beside` is what rules files in other texts let teams do: it counts behind those of this
/// text, as in [`team_policy`].
pub fn check_with(
    text: &str,
    policy: &CredentialPolicy,
    beside: Option<&SaidOfTeams>,
) -> Vec<Finding> {
    let Found { files, problems, team_rules, .. } = embedded::find(text);
    let mut findings: Vec<_> = problems.into_iter().map(unreadable).collect();
    let mut said = Vec::new();
    for carried in files {
        match rules::compile(&carried.rules) {
            Ok(rules) => {
                said.extend(SaidOfTeams::of(&carried, &rules));
                let found = check_set(vec![(FileName::Config, carried)], &rules, Some(policy));
                findings.extend(found.into_iter().map(|(_, finding)| finding));
            }
            Err(problems) => findings.extend(problems.iter().map(refused)),
        }
    }
    let said = said.into_iter().chain(beside.cloned()).reduce(SaidOfTeams::or);
    let teams = said.map(|said| said.policy);
    for manifest in team_rules {
        teams::check(manifest, teams.as_ref(), &mut findings);
    }
    findings.sort_by_key(|finding| (finding.place, finding.severity));
    findings
}

/// [`check_with`] of files that are used together, in their order. The findings of each are in the order of its text.
pub fn check_files(
    files: &[(FileName, Arc<str>)],
    policy: &CredentialPolicy,
) -> BTreeMap<FileName, Vec<Finding>> {
    let mut findings: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut carried = Vec::new();
    for (file, text) in files {
        let found = findings.entry(file.clone()).or_default();
        match embedded::one(text) {
            Ok(one) => carried.push((file.clone(), one)),
            Err(errors) => found.extend(errors.into_iter().map(unreadable)),
        }
    }
    let roots: Vec<_> = carried.iter().map(|(file, one)| (file.clone(), &one.rules)).collect();
    let Merged { rules, outcomes, .. } = rules::merge(&roots, &Precedence::default());
    for (file, outcome) in outcomes {
        if let Outcome::Refused(problems) = outcome {
            findings.entry(file.clone()).or_default().extend(problems.iter().map(refused));
            carried.retain(|(other, _)| *other != file);
        }
    }
    for (file, finding) in check_set(carried, &rules, Some(policy)) {
        findings.entry(file).or_default().push(finding);
    }
    for findings in findings.values_mut() {
        findings.sort_by_key(|finding| (finding.place, finding.severity));
    }
    findings
}

/// Findings about files that are used together, and their rules, but for what keeps a whole file from being used. Without a policy
/// nothing is said of the credentials of backends.
pub(in crate::core) fn check_set(
    files: Vec<(FileName, Carried)>,
    rules: &RuleSet,
    policy: Option<&CredentialPolicy>,
) -> Vec<(FileName, Finding)> {
    let kinds = Kinds::builtin();
    let has_several = files.len() > 1;
    let mut findings = Vec::new();
    let mut texts = BTreeMap::new();
    let listed: Vec<_> = files.iter().map(|(file, _)| file.clone()).collect();
    let own = rules.by_file(listed.iter());
    for (file, Carried { rules: root, values }) in files {
        let written = Written::new(root);
        let Some(own) = own.get(&file) else { continue };
        let mut report = Report { written: &written, findings: Vec::new() };
        match &values {
            Some(values) => values::check(values, &mut report.findings),
            // The chart leaves out what is empty.
            None => resource::check_written(&mut report),
        }
        // The chart adds rules of its own to those of its values, and a file of several may hold the backends of the others.
        let may_have_none = values.is_some() || (has_several && !written.is_empty());
        check_rules(own, &kinds, may_have_none, &mut report);
        let found = std::mem::take(&mut report.findings);
        findings.extend(found.into_iter().map(|finding| (file.clone(), finding)));
        texts.insert(file, written);
    }
    findings.extend(conflicts::check(rules, &texts, &kinds));
    let named: HashSet<_> = texts.values().flat_map(backends::named).collect();
    for (file, written) in &texts {
        let mut report = Report { written, findings: Vec::new() };
        backends::check(rules, &named, policy, &mut report);
        findings.extend(report.findings.into_iter().map(|finding| (file.clone(), finding)));
    }
    findings
}

fn check_rules(rules: &RuleSet, kinds: &Kinds, may_have_none: bool, report: &mut Report<'_>) {
    let help = "correct it: until then the rule is left out";
    report.findings.extend(rules.broken.iter().map(|problem| error("broken-rule", problem, help)));
    let is_empty = rules.count() == 0 && rules.broken.is_empty();
    if is_empty && !rules.is_empty_on_purpose && !may_have_none {
        let message = if report.written.is_empty() {
            "the file is empty or has only comments: it holds neither rules nor manifests"
        } else {
            "the file has no rules, so that nothing is served"
        };
        let help = "write rules, or `rules: []` if none are wanted";
        report.add(Severity::Warning, "no-rules", KeyPath::default(), message, help);
    }
    for rule in &rules.custom {
        check_custom(rule, kinds, report);
    }
    for rule in &rules.external {
        check_external(rule, kinds, report);
    }
    if let Some(resource) = &rules.resource {
        resource::check(resource, kinds, report);
    }
}

/// A text that carries no rules file.
fn unreadable(error: YamlError) -> Finding {
    refused(&error.into())
}

fn refused(problem: &Problem) -> Finding {
    let help = "correct it: a file with such a problem is refused as a whole";
    error("invalid-file", problem, help)
}

fn error(code: &'static str, problem: &Problem, help: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        code,
        path: problem.path.clone(),
        place: problem.place,
        message: problem.message.clone(),
        help: help.to_owned(),
    }
}

fn check_custom(custom: &Arc<CustomRule>, kinds: &Kinds, report: &mut Report<'_>) {
    let rule = &custom.base;
    invisible::check(rule, report);
    selectors::check(rule, report);
    naming::check(rule, report);
    let subjects = Subjects::of(custom, kinds, report);
    targets::check(rule, kinds, report);
    queries::check(rule, &subjects, report);
    sharing::check(rule, &subjects, report);
    missing::check_objects(rule, report);
    missing::check_fallback(rule, report);
}

fn check_external(external: &Arc<ExternalRule>, kinds: &Kinds, report: &mut Report<'_>) {
    let rule = &external.base;
    invisible::check(rule, report);
    selectors::check(rule, report);
    naming::check(rule, report);
    external::check(external, kinds, report);
    missing::check_answers(rule, report);
    missing::check_fallback(rule, report);
}

/// Whether a query returns nothing because `histogram_quantile` in it reads buckets whose label `le` is aggregated away.
pub fn has_buckets_without_le(query: &str) -> bool {
    parsed(query).is_ok_and(|tree| counters::has_buckets_without_le(&tree))
}

/// What has been found so far.
struct Report<'w> {
    written: &'w Written,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn warning(
        &mut self,
        rule: RuleEntry,
        code: &'static str,
        key: impl Into<KeyPath>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, rule.key(key), message, help);
    }

    fn info(
        &mut self,
        rule: RuleEntry,
        code: &'static str,
        key: impl Into<KeyPath>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Info, code, rule.key(key), message, help);
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: KeyPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), help.into());
        let place = Some(self.written.place(&path));
        self.findings.push(Finding { severity, code, path, place, message, help });
    }
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
pub(in crate::core) fn parsed(query: &str) -> Result<Expr, String> {
    if !nesting::is_safe(query) {
        return Err("it is too long or nested too deeply".to_owned());
    }
    promql::parse(query).map_err(|reason| {
        let is_of_dot = ["after '.'", "inside braces: '.'"].iter().any(|at| reason.contains(at));
        if is_of_dot {
            format!("{reason}; a name or label with a dot has to be quoted, as in `{{\"a.b\",\"c.d\"!=\"\"}}`")
        } else {
            reason
        }
    })
}

#[cfg(test)]
mod tests;
