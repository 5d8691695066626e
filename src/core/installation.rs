//! What is right and wrong with an installation: the conclusions of `loadline check --live`.
//!
//! Facts are gathered elsewhere and are arguments here; each becomes a [`Finding`].

pub mod access;
pub mod apis;
pub mod hpas;
pub mod product;
pub mod rules;

use std::fmt;

use super::{
    explain::{self, Step},
    lint::Severity,
    rules::RuleId,
    yaml::Place,
};

/// The code of what is as it should be.
pub const OK: &str = "ok";

/// The code of what was not looked at.
pub const NOT_CHECKED: &str = "not-checked";

/// Whether a code says that nothing is wrong.
pub fn is_well(code: &str) -> bool {
    code == OK || code == NOT_CHECKED
}

/// What a finding is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// An `APIService`, by name.
    ApiService(String),
    /// The rights of somebody.
    Access(Who),
    /// A backend, by name; empty for all of them.
    Backend(String),
    /// A rule, and where it is in its file; nothing for all of them.
    Rule(Option<(RuleId, Place)>),
    /// An autoscaler, as `namespace/name`; empty for all of them.
    Hpa(String),
}

/// Whose rights are reviewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// The controller of autoscalers.
    HpaController,
    /// The server that is installed.
    Server,
}

impl Subject {
    /// The part of the report that it belongs to.
    pub fn section(&self) -> &'static str {
        match self {
            Self::ApiService(_) => "apiservice",
            Self::Access(_) => "access",
            Self::Backend(_) => "backend",
            Self::Rule(_) => "rule",
            Self::Hpa(_) => "hpa",
        }
    }

    /// Its name within its part; empty where the finding is about all of them.
    pub fn name(&self) -> String {
        match self {
            Self::ApiService(name) | Self::Backend(name) | Self::Hpa(name) => name.clone(),
            Self::Access(Who::HpaController) => "hpa-controller".to_owned(),
            Self::Access(Who::Server) => "server".to_owned(),
            Self::Rule(rule) => rule.as_ref().map_or_else(String::new, |(id, _)| id.to_string()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Rule(Some(_)) => f.write_str(&name),
            _ if name.is_empty() => f.write_str(self.section()),
            _ => write!(f, "{}/{name}", self.section()),
        }
    }
}

/// Something that was seen of an installation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// How much it matters. What is as it should be is an [`Severity::Info`].
    pub severity: Severity,
    /// [`OK`], [`NOT_CHECKED`], the code of an [`explain::Cause`], or a code of `loadline check`.
    pub code: &'static str,
    /// What was seen.
    pub message: String,
    /// What to do; empty where there is nothing to do.
    pub help: String,
}

impl Finding {
    /// Something is as it should be.
    pub fn ok(subject: Subject, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { subject, severity: Severity::Info, code: OK, message, help: String::new() }
    }

    /// Something cannot be seen from where the check runs, and need not be.
    pub fn unchecked(subject: Subject, message: impl Into<String>) -> Self {
        Self { code: NOT_CHECKED, ..Self::ok(subject, message) }
    }

    /// Something was not looked at that should have been.
    pub fn incomplete(
        subject: Subject,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = help.into();
        Self { severity: Severity::Warning, help, ..Self::unchecked(subject, message) }
    }

    /// Something is wrong.
    pub fn error(
        subject: Subject,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = help.into();
        Self { severity: Severity::Error, code, help, ..Self::ok(subject, message) }
    }

    /// Something is probably not as it was meant.
    pub fn warning(
        subject: Subject,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(subject, code, message, help) }
    }

    /// What a step of an explanation says.
    pub fn of_step(subject: Subject, step: Step) -> Self {
        let Step { ok, seen, advice, cause, .. } = step;
        let (severity, code) = match (cause, ok) {
            (Some((cause, explain::Severity::Failed)), _) => (Severity::Error, cause.code()),
            (Some((cause, explain::Severity::Doubtful)), _) => (Severity::Warning, cause.code()),
            (_, Some(_)) => (Severity::Info, OK),
            (_, None) => (Severity::Info, NOT_CHECKED),
        };
        Self { subject, severity, code, message: seen, help: advice }
    }

    /// The rule that it is about.
    pub fn rule(&self) -> Option<(RuleId, Place)> {
        match &self.subject {
            Subject::Rule(rule) => rule.clone(),
            _ => None,
        }
    }
}

/// Whether nothing was looked at, so that nobody knows how the installation is.
pub fn is_blind(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.code == NOT_CHECKED)
}

/// The gravest of several findings.
pub fn gravest(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).min()
}

#[cfg(test)]
mod tests;
