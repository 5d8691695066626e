//! What the status of a rule says. [`Pace`] has when it is written.
//!
//! Several replicas write the same status without knowing of each other, so it depends on nothing that differs between them for long: a
//! replica compares it with the one that the API server has.

mod pace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) use pace::Pace;

use super::{Condition, ConditionType, Status};
use crate::core::{excerpt::excerpt, quantity::Decimal};

/// How long queries must have failed before the status says so.
const FAILING: Duration = Duration::from_secs(60);

/// The longest message, in bytes.
const LONGEST: usize = 1_000;

/// Whether a rule counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It has not been compiled yet.
    Waiting,
    /// It provides its metric.
    Serves,
    /// It is none.
    Refused {
        /// A word for programs.
        reason: &'static str,
        /// A sentence for its team.
        message: Arc<str>,
    },
    /// The namespace has as many older ones as it may have.
    OverQuota {
        /// How many those are.
        most: u32,
    },
    /// Another rule provides the metric.
    Claimed {
        /// The other rule.
        by: Arc<str>,
    },
}

/// What became of the last query of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// There are values.
    Values {
        /// How many series.
        series: usize,
        /// One of the values, in thousandths.
        milli: i64,
    },
    /// The query has a result that holds no value.
    Nothing {
        /// Why, as the end of a sentence that begins with the query.
        why: String,
    },
    /// There is no result that may be used.
    Failed {
        /// A word for programs.
        reason: &'static str,
        /// A sentence for its team, without an address.
        message: String,
    },
}

/// The outcomes of a rule's queries.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcomes {
    last: Option<Outcome>,
    /// Since when all have failed.
    failing: Option<Instant>,
    /// The last one before.
    good: Option<Outcome>,
}

impl Outcomes {
    /// Takes the next one.
    pub(super) fn note(&mut self, outcome: Outcome, now: Instant) {
        if matches!(outcome, Outcome::Failed { .. }) {
            self.failing.get_or_insert(now);
        } else {
            self.failing = None;
            self.good = Some(outcome.clone());
        }
        self.last = Some(outcome);
    }

    /// The one that the status is about: a failure that does not last is none.
    fn told(&self, now: Instant) -> Option<&Outcome> {
        let is_lasting = |since| now.saturating_duration_since(since) >= FAILING;
        match self.failing {
            Some(since) if !is_lasting(since) => self.good.as_ref(),
            _ => self.last.as_ref(),
        }
    }

    /// When the status has to be looked at again although nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.failing.map(|since| since + FAILING)
    }
}

/// The status of a rule, and its conditions' times from the one before.
pub(super) fn status(
    generation: Option<i64>,
    standing: &Standing,
    outcomes: &Outcomes,
    before: Option<&Status>,
    (now, at): (Instant, Timestamp),
) -> Status {
    let outcome = outcomes.told(now).filter(|_| *standing == Standing::Serves);
    let (accepted, serving) = match standing {
        Standing::Waiting => (
            ("Unknown", "Waiting", "the rule has not been looked at yet".to_owned()),
            ("Unknown", "Waiting", "the rule has not been looked at yet".to_owned()),
        ),
        Standing::Serves => (
            ("True", "Accepted", "the query is limited to the namespace".to_owned()),
            ("True", "Serving", "the metric can be read".to_owned()),
        ),
        Standing::Refused { reason, message } => (
            ("False", *reason, message.to_string()),
            ("False", "NotAccepted", "a rule that is not accepted serves no metric".to_owned()),
        ),
        Standing::OverQuota { most } => (
            (
                "False",
                "QuotaExceeded",
                format!(
                    "the namespace may have {most} rules (`teamRules.quotas.rules`), and has older ones"
                ),
            ),
            ("False", "NotAccepted", "a rule that is not accepted serves no metric".to_owned()),
        ),
        Standing::Claimed { by } => (
            ("True", "Accepted", "the query is limited to the namespace".to_owned()),
            ("False", "ClaimedByAnother", format!("{by} is older and serves the metric")),
        ),
    };
    let serving = match outcome {
        Some(Outcome::Failed { reason, message }) => ("False", *reason, message.clone()),
        _ => serving,
    };
    let discovered = match outcome {
        Some(Outcome::Values { .. }) => {
            ("True", "SeriesFound", "the query returns values".to_owned())
        }
        Some(Outcome::Nothing { why }) => ("False", "NoValues", format!("the query {why}")),
        Some(Outcome::Failed { .. }) => {
            ("Unknown", "QueryFailed", "the query has no result".to_owned())
        }
        None => ("Unknown", "NotQueried", "the query has not been sent yet".to_owned()),
    };
    // What another replica knows of the same spec is better than nothing.
    let known = before.filter(|before| {
        outcome.is_none() && *standing == Standing::Serves && is_of(before, generation)
    });
    let conditions = [
        (ConditionType::Accepted, accepted),
        (ConditionType::Discovered, discovered),
        (ConditionType::Serving, serving),
    ];
    let condition = |(kind, (status, reason, message)): (ConditionType, (&str, &str, String))| {
        let kept = known.and_then(|known| known.conditions.iter().find(|known| known.kind == kind));
        if let Some(kept) = kept.filter(|kept| is_of_query(kept)) {
            return kept.clone();
        }
        let before = before.into_iter().flat_map(|before| &before.conditions);
        let same = before.filter(|known| known.kind == kind && known.status == status);
        let since = same.map(|known| known.last_transition_time.clone()).next();
        Condition {
            kind,
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: excerpt(&message, LONGEST),
            last_transition_time: since.unwrap_or_else(|| Time(seconds(at))),
            observed_generation: generation,
        }
    };
    let (series, value, last_error) = match (outcome, known) {
        (Some(Outcome::Values { series, milli }), _) => {
            (i64::try_from(*series).ok(), Some(Decimal(*milli).to_string()), None)
        }
        (Some(Outcome::Nothing { .. }), _) => (Some(0), None, None),
        (Some(Outcome::Failed { message, .. }), _) => (None, None, Some(excerpt(message, LONGEST))),
        (None, Some(known)) => (known.series, known.value.clone(), known.last_error.clone()),
        (None, None) => (None, None, None),
    };
    Status {
        observed_generation: generation,
        conditions: conditions.map(condition).into(),
        series,
        value,
        last_error,
    }
}

/// Whether a status is about this spec, and says that it is accepted.
fn is_of(status: &Status, generation: Option<i64>) -> bool {
    let is_accepted = |it: &Condition| it.kind == ConditionType::Accepted && it.status == "True";
    status.observed_generation == generation && status.conditions.iter().any(is_accepted)
}

/// Whether a condition says what became of a query.
fn is_of_query(condition: &Condition) -> bool {
    matches!(condition.kind, ConditionType::Discovered | ConditionType::Serving)
        && !matches!(
            &*condition.reason,
            "NotQueried" | "ClaimedByAnother" | "NotAccepted" | "Waiting"
        )
}

/// The API has whole seconds.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// How two statuses differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Not at all.
    None,
    /// By values.
    Value,
    /// By a condition, or by the generation that they are about.
    Condition,
}

impl Change {
    /// From the status that the API server has to the one that it should have.
    pub fn between(before: Option<&Status>, after: &Status) -> Self {
        let Some(before) = before else { return Self::Condition };
        let told = |status: &Status| {
            let of = |it: &Condition| {
                // What a query fails by is worded in many ways.
                let message = if is_of_query(it) { String::new() } else { it.message.clone() };
                (it.kind, it.status.clone(), it.reason.clone(), message)
            };
            status.conditions.iter().map(of).collect::<Vec<_>>()
        };
        if before.observed_generation != after.observed_generation || told(before) != told(after) {
            Self::Condition
        } else if (before.series, &before.value, &before.last_error)
            != (after.series, &after.value, &after.last_error)
        {
            Self::Value
        } else {
            Self::None
        }
    }
}

#[cfg(test)]
mod tests;
