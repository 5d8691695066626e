//! Why a metric has the value that it has, or none: the engine of `loadline explain`.
//!
//! [`facts`] says what was gathered, [`metric`] and [`hpa`] make steps of it, and [`Explanation`] is what is printed. Nothing
//! here asks anybody.

pub mod broken;
pub mod candidates;
mod cause;
pub mod command;
pub mod facts;
pub mod hpa;
pub mod metric;
pub mod operands;
pub mod registration;
mod schema;
pub mod sight;
mod text;
pub mod usage;
pub mod workload;

pub use cause::Cause;
pub use facts::Api;
pub use schema::schema;
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use self::facts::Which;
use crate::core::selector::Selector;

/// A question about a metric, in the terms of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    /// Its name.
    pub metric: String,
    /// The owner of the value.
    pub subject: Subject,
    /// The namespace; nothing for objects that are in none.
    pub namespace: Option<String>,
    /// Which of its series.
    pub selector: Selector,
    /// Whether the workload that should own the objects has zero replicas.
    pub is_at_zero: bool,
}

/// The owner of the value.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// Objects: custom.metrics.k8s.io.
    Objects {
        /// The resource or kind as it is written, with its group behind a dot.
        resource: String,
        /// Which ones.
        which: Which,
    },
    /// Nobody's: external.metrics.k8s.io.
    External,
    /// Pods, of the usage of a resource: metrics.k8s.io. The metric is the name of the resource.
    Usage {
        /// Which ones.
        which: Which,
        /// The container; nothing for all of a pod together.
        container: Option<String>,
    },
}

impl Inquiry {
    /// The API that is asked.
    pub fn api(&self) -> Api {
        match self.subject {
            Subject::Objects { .. } => Api::Custom,
            Subject::External => Api::External,
            Subject::Usage { .. } => Api::Resource,
        }
    }
}

/// What there is to say of a metric.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The steps from its name to its values.
    pub steps: Vec<Step>,
    /// Its values.
    pub found: hpa::Found,
}

/// One step on the way from an autoscaler to a value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Step {
    /// What is looked at. One of the names in [`name`].
    pub name: Cow<'static, str>,
    /// Whether it is as it should be; `None` if it was not checked or is not known.
    pub ok: Option<bool>,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty where there is nothing to do.
    #[serde(rename = "do", default)]
    pub advice: String,
    /// The cause that the step has found, and what it means for the autoscaler.
    #[serde(skip)]
    pub cause: Option<(Cause, Severity)>,
}

/// The names of steps, in the order of the way.
pub mod name {
    /// What the autoscaler says.
    pub const HPA: &str = "hpa";
    /// The workload that it scales.
    pub const TARGET: &str = "target";
    /// Whether the API is registered, and by whom.
    pub const APISERVICE: &str = "apiservice";
    /// Who may read it.
    pub const ACCESS: &str = "access";
    /// The delegate that has the metric.
    pub const DELEGATE: &str = "delegate";
    /// The rule that serves the metric.
    pub const RULE: &str = "rule";
    /// The objects that are asked about.
    pub const OBJECTS: &str = "objects";
    /// The series behind the metric.
    pub const SERIES: &str = "series";
    /// The query.
    pub const QUERY: &str = "query";
    /// What Prometheus answered.
    pub const ANSWER: &str = "answer";
    /// The values that are served.
    pub const VALUES: &str = "values";
    /// What the autoscaler makes of them.
    pub const DECISION: &str = "decision";

    /// Each of them.
    pub const ALL: [&str; 12] = [
        HPA, TARGET, APISERVICE, ACCESS, DELEGATE, RULE, OBJECTS, SERIES, QUERY, ANSWER, VALUES,
        DECISION,
    ];
}

impl Step {
    /// A step that is as it should be.
    pub fn good(name: &'static str, seen: impl Into<String>) -> Self {
        Self {
            name: Cow::Borrowed(name),
            ok: Some(true),
            seen: seen.into(),
            advice: String::new(),
            cause: None,
        }
    }

    /// A step that was not looked at.
    pub fn unknown(name: &'static str, seen: impl Into<String>) -> Self {
        Self { ok: None, ..Self::good(name, seen) }
    }

    /// A step that has found a cause, which means what it usually does.
    pub fn found(
        name: &'static str,
        cause: Cause,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::weighed(name, (cause, cause.severity()), seen, advice)
    }

    /// A step that has found a cause, although there is a value.
    pub fn doubtful(
        name: &'static str,
        cause: Cause,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::weighed(name, (cause, cause.severity().min(Severity::Doubtful)), seen, advice)
    }

    /// A step that is wrong, where the autoscaler itself is refused.
    pub fn unsound(name: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::found(name, Cause::HpaInvalid, seen, advice)
    }

    fn weighed(
        name: &'static str,
        cause: (Cause, Severity),
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let ok = Some(cause.1 == Severity::Normal);
        Self { ok, advice: advice.into(), cause: Some(cause), ..Self::good(name, seen) }
    }

    /// Whether the way ends here.
    pub fn is_failure(&self) -> bool {
        matches!(self.cause, Some((_, Severity::Failed)))
    }
}

/// What a cause means for the autoscaler.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does what it should.
    Normal,
    /// There is a value, and it may not be the one that is meant.
    Doubtful,
    /// There is no value.
    Failed,
}

/// The verdict of an explanation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is as it should be.
    Ok,
    /// There is a value, and it may not be the one that is meant.
    Doubtful,
    /// Something prevents scaling.
    Failed,
}

/// An answer to "why".
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// The code of the first cause; of several the one that matters most.
    pub cause: Option<Cause>,
    /// Other causes that were found.
    pub also: Vec<Cause>,
    /// What was asked about, as the user would write it.
    pub object: String,
    /// The way, step by step.
    pub steps: Vec<Step>,
    /// What the autoscaler makes of it, where one was asked about.
    pub hpa: Option<Outcome>,
}

/// What an autoscaler decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// How many replicas there are.
    pub current: Option<i32>,
    /// The desired number; `None` if it is not known.
    pub desired: Option<i32>,
    /// Its metrics.
    pub metrics: Vec<OutcomeMetric>,
    /// What limits the change.
    pub limited_by: Option<&'static str>,
}

/// One metric of an autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeMetric {
    /// Its name.
    pub name: String,
    /// The value that the autoscaler shows.
    pub value: Option<String>,
    /// The value that it should have.
    pub target: String,
    /// The value divided by its target.
    pub ratio: Option<f64>,
    /// How many replicas it asks for.
    pub replicas: Option<i32>,
    /// Whether its number is the one that the metrics recommend.
    pub leads: bool,
}

impl Explanation {
    /// Draws the conclusion from the steps: the first of the gravest causes counts.
    pub fn conclude(object: String, steps: Vec<Step>, hpa: Option<Outcome>) -> Self {
        let causes: Vec<_> = steps.iter().filter_map(|step| step.cause).collect();
        let gravest = causes.iter().map(|(_, severity)| *severity).max();
        let first = causes.iter().find(|(_, severity)| Some(*severity) == gravest);
        let cause = first.map(|(cause, _)| *cause);
        let mut also: Vec<Cause> = Vec::new();
        for (other, _) in causes {
            if Some(other) != cause && !also.contains(&other) {
                also.push(other);
            }
        }
        let verdict = match gravest {
            None | Some(Severity::Normal) => Verdict::Ok,
            Some(Severity::Doubtful) => Verdict::Doubtful,
            Some(Severity::Failed) => Verdict::Failed,
        };
        Self { verdict, cause, also, object, steps, hpa }
    }
}

#[cfg(test)]
mod tests;
