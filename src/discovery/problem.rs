//! What discovery has to report of rules.

use std::fmt;

use crate::core::rules::RuleId;

/// A failure of a discovery, or the reason why a rule has no metrics. It is displayed as a public sentence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The rule; nothing where all rules have the problem.
    pub rule: Option<RuleId>,
    /// What is wrong.
    pub cause: String,
    /// The metric that the rule would serve without the problem, where it is one, and its name is known.
    pub metric: Option<String>,
    /// Whether it is the rule that has to change: the backend refuses to look for its series.
    pub is_refusal: bool,
}

impl Problem {
    pub(super) fn new(rule: Option<RuleId>, cause: impl fmt::Display) -> Self {
        Self { rule, cause: cause.to_string(), metric: None, is_refusal: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.cause)
    }
}
