//! Why a read has no values.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    cache::FetchError,
    core::{
        explain::{Inquiry, command::ExplainBy},
        plan::PlanError,
        rules::{RuleBase, RuleId},
        team_rules::{Outcome, RefusedRule},
    },
    kubernetes,
    metrics::TeamQuota,
    planner::{Failure, public},
    prometheus::PublicError,
    team_rules::OverQuota,
};

/// Why there are no values. The text of a variant is for people who read metrics; sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kind is not known, there is no such metric for it, or no sample for the named object.
    #[error("the server could not find the metric {metric} for {of}: {cause}; run: {}", .inquiry.command(.by))]
    UnknownMetric {
        /// The metric.
        metric: String,
        /// The resource, in the plural where it is known, and the object if one is named; empty for external metrics.
        of: String,
        /// What an administrator can look at.
        cause: String,
        /// The question whose answer says more.
        inquiry: Box<Inquiry>,
        /// How it is asked.
        by: ExplainBy,
    },
    /// No discovery has succeeded yet.
    #[error("unable to fetch metrics: not discovered yet: {cause}")]
    NotDiscovered {
        /// The rules that no discovery has succeeded for.
        cause: String,
    },
    /// The selector cannot be expressed in a query.
    #[error("{0}")]
    BadSelector(String),
    /// The rule has no query for this read.
    #[error("unable to fetch metrics: {0}")]
    Rule(PlanError),
    /// A rule of the team claims the metric, and does not count.
    #[error("the server could not find the metric {metric}: {} is not accepted: {}", rule.name, rule.why)]
    Refused {
        /// The metric.
        metric: String,
        /// The rule.
        rule: RefusedRule,
    },
    /// The rule of the team has reached a quota of its namespace.
    #[error("unable to fetch metrics: {0}")]
    OverQuota(#[from] OverQuota),
    /// The rule has no usable backend, or the query's result is not a vector.
    #[error("unable to fetch metrics: {rule}: {cause}")]
    Unusable {
        /// The rule.
        rule: RuleName,
        /// Why not.
        cause: String,
    },
    /// Prometheus did not answer as it should.
    #[error("unable to fetch metrics: {rule}: {cause}")]
    Fetch {
        /// The rule.
        rule: RuleName,
        /// The public cause.
        cause: PublicError,
        /// The cause for the log.
        source: FetchError,
    },
    /// There are no `resourceRules`.
    #[error("the server could not find the requested resource")]
    NoUsage,
    /// The rules do not say how usage is queried.
    #[error("unable to fetch metrics: {0}")]
    NoUsageRule(String),
    /// A pod or node has no usage.
    #[error("{resource}.metrics.k8s.io \"{name}\" not found: {cause}")]
    UnknownUsage {
        /// The resource, as metrics-server says it.
        resource: &'static str,
        /// The object, behind its namespace and a slash if it is in one.
        name: String,
        /// What an administrator can look at.
        cause: String,
    },
    /// The API server did not list the objects.
    #[error("unable to list matching resources")]
    Objects(#[source] kubernetes::Error),
}

/// After how long a read may succeed that the quota of queries refuses.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl ReadError {
    /// The quota of the namespace that has refused the read, if one has, and after how long another read may succeed. Time does not
    /// help a rule beyond the quota of rules.
    pub fn over_quota(&self) -> Option<(TeamQuota, Option<Duration>)> {
        match self {
            Self::OverQuota(OverQuota { retry_after, .. }) => {
                Some((TeamQuota::Samples, Some(*retry_after)))
            }
            Self::Refused { rule, .. } => rule.is_over_quota.then_some((TeamQuota::Rules, None)),
            Self::Fetch { cause: PublicError::OverQuota(_), .. } => {
                Some((TeamQuota::Queries, Some(RETRY_AFTER)))
            }
            _ => None,
        }
    }

    /// The same, with the command by which this server is asked for more.
    pub(super) fn explained_by(mut self, how: &ExplainBy) -> Self {
        if let Self::UnknownMetric { by, .. } = &mut self {
            by.clone_from(how);
        }
        self
    }

    /// Why a query of a rule could not be planned or was not answered.
    pub(super) fn of(rule: impl Into<RuleName>, failure: Failure) -> Self {
        let rule = rule.into();
        match failure {
            Failure::Plan(error) => error.into(),
            Failure::BackendHandle(error) => Self::Unusable { rule, cause: error.to_string() },
            Failure::Fetch(source) => Self::Fetch { rule, cause: public(&source), source },
        }
    }

    /// The result of a rule's query is of another type than that of a vector.
    pub(super) fn no_vector(rule: impl Into<RuleName>, kind: &str) -> Self {
        let cause = format!("the query returned a {kind}, not a vector");
        Self::Unusable { rule: rule.into(), cause }
    }

    /// What the status of a team's rule says of it; nothing where the rule is not the cause.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let failed = |reason, message| Some(Outcome::Failed { reason, message });
        match self {
            Self::Fetch { cause: cause @ PublicError::OverQuota(_), .. } => {
                failed("QuotaExceeded", cause.to_string())
            }
            Self::Fetch { cause, .. } => failed("QueryFailed", cause.to_string()),
            Self::Unusable { cause, .. } => failed("QueryFailed", cause.clone()),
            Self::OverQuota(OverQuota { why, .. }) => failed("QuotaExceeded", why.clone()),
            _ => None,
        }
    }
}

/// What a rule is called in errors.
#[derive(Clone, Debug)]
pub struct RuleName {
    /// Which one it is.
    pub id: RuleId,
    object: Option<Arc<str>>,
}

impl From<&RuleId> for RuleName {
    fn from(id: &RuleId) -> Self {
        Self { id: id.clone(), object: None }
    }
}

impl From<&RuleBase> for RuleName {
    fn from(rule: &RuleBase) -> Self {
        Self { id: rule.id.clone(), object: rule.object.clone() }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => f.write_str(object),
            None => self.id.fmt(f),
        }
    }
}

impl From<PlanError> for ReadError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Selector(problem) => Self::BadSelector(problem),
            error @ (PlanError::NoNamespaceLabel { .. } | PlanError::Template { .. }) => {
                Self::Rule(error)
            }
        }
    }
}
