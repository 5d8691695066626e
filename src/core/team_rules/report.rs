//! What the status of a rule says, and when it is written.
//!
//! Several replicas write the same status without knowing of each other, so it depends on nothing that differs between them for long: a
//! replica compares it with the one that the API server has, and writes rarely.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Condition, ConditionType, Status};
use crate::core::{excerpt::excerpt, quantity::Decimal};

/// How long queries must have failed before the status says so.
const FAILING: Duration = Duration::from_secs(60);

/// The number of series and the value are written no more often.
const VALUE_PAUSE: Duration = Duration::from_secs(300);

/// The first pause after a write. It doubles while the conditions go to and fro.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// Writes of replicas are spread over this time.
const SPREAD: Duration = Duration::from_secs(2);

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
                format!("the namespace may have {most} rules, and has older ones"),
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

/// When a status is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When the object, or its status at the API server, has changed last.
    changed: Instant,
    /// When we have written last, and how long the pause after it is.
    written: Option<(Instant, Duration)>,
    /// Between 0 and 1.
    chance: f64,
}

impl Pace {
    /// Of an object that is new to us. `chance` is a random number between 0 and 1, for all its time.
    pub(super) fn new(now: Instant, chance: f64) -> Self {
        Self { changed: now, written: None, chance }
    }

    /// The spec has changed: what was written before does not matter any more.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self::new(now, self.chance);
    }

    /// The API server has another status now.
    pub(super) fn changed(&mut self, now: Instant) {
        self.changed = now;
    }

    /// We have written.
    pub(super) fn wrote(&mut self, change: Change, now: Instant) {
        let pause = match self.written {
            _ if change != Change::Condition => FIRST_PAUSE,
            Some((then, pause)) if now.saturating_duration_since(then) < 2 * LAST_PAUSE => {
                LAST_PAUSE.min(pause * 2)
            }
            _ => FIRST_PAUSE,
        };
        self.written = Some((now, pause));
        self.changed = now;
    }

    /// When a change is to be written.
    pub(super) fn due(&self, change: Change) -> Option<Instant> {
        let after_own = self.written.map(|(then, pause)| then + pause);
        let at = match change {
            Change::None => return None,
            Change::Value => self.changed + VALUE_PAUSE + VALUE_PAUSE.mul_f64(self.chance / 4.0),
            Change::Condition => self.changed + SPREAD.mul_f64(self.chance),
        };
        Some(after_own.map_or(at, |after| after.max(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: Option<i64> = Some(3);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn values(milli: i64) -> Outcome {
        Outcome::Values { series: 2, milli }
    }

    fn failed() -> Outcome {
        Outcome::Failed { reason: "QueryFailed", message: "Prometheus does not answer".to_owned() }
    }

    fn noted(outcome: Outcome, now: Instant) -> Outcomes {
        let mut outcomes = Outcomes::default();
        outcomes.note(outcome, now);
        outcomes
    }

    /// The conditions, as `status/reason`.
    fn told(status: &Status) -> Vec<String> {
        let conditions = status.conditions.iter();
        conditions.map(|it| format!("{}/{}", it.status, it.reason)).collect()
    }

    #[test]
    fn conditions_follow_from_the_standing_and_the_outcome() {
        let now = Instant::now();
        let nothing = Outcome::Nothing { why: "gives no sample".to_owned() };
        let refused = Standing::Refused { reason: "QueryRefused", message: "no".into() };
        let none = Outcomes::default;
        for (standing, outcomes, wanted) in [
            (Standing::Serves, none(), ["True/Accepted", "Unknown/NotQueried", "True/Serving"]),
            (
                Standing::Serves,
                noted(values(1), now),
                ["True/Accepted", "True/SeriesFound", "True/Serving"],
            ),
            (
                Standing::Serves,
                noted(nothing, now),
                ["True/Accepted", "False/NoValues", "True/Serving"],
            ),
            (
                refused,
                noted(values(1), now),
                ["False/QueryRefused", "Unknown/NotQueried", "False/NotAccepted"],
            ),
            (
                Standing::OverQuota { most: 1 },
                none(),
                ["False/QuotaExceeded", "Unknown/NotQueried", "False/NotAccepted"],
            ),
            (
                Standing::Claimed { by: "x".into() },
                none(),
                ["True/Accepted", "Unknown/NotQueried", "False/ClaimedByAnother"],
            ),
        ] {
            let times = (now, Timestamp::UNIX_EPOCH);
            let status = status(GENERATION, &standing, &outcomes, None, times);
            assert_eq!(told(&status), wanted, "{standing:?}");
            assert_eq!(status.observed_generation, GENERATION);
        }
    }

    #[test]
    fn only_a_failure_that_lasts_is_told() {
        let start = Instant::now();
        let mut outcomes = noted(values(1_500), start);
        outcomes.note(failed(), after(start, 10));
        outcomes.note(failed(), after(start, 30));
        let at = |seconds| {
            let times = (after(start, seconds), Timestamp::UNIX_EPOCH);
            status(GENERATION, &Standing::Serves, &outcomes, None, times)
        };
        assert_eq!(at(69).value.as_deref(), Some("1500m"));
        let lasting = at(70);
        assert_eq!(told(&lasting), ["True/Accepted", "Unknown/QueryFailed", "False/QueryFailed"]);
        assert_eq!(lasting.last_error.as_deref(), Some("Prometheus does not answer"));
        assert_eq!(outcomes.due(), Some(after(start, 70)));
    }

    #[test]
    fn a_replica_that_knows_nothing_yet_takes_what_another_has_written() {
        let now = (Instant::now(), Timestamp::UNIX_EPOCH);
        let known = status(GENERATION, &Standing::Serves, &noted(values(1), now.0), None, now);
        let new = |generation, standing: &Standing| {
            status(generation, standing, &Outcomes::default(), Some(&known), now)
        };
        assert_eq!(new(GENERATION, &Standing::Serves), known);
        assert_eq!(told(&new(Some(4), &Standing::Serves))[1], "Unknown/NotQueried");
        let claimed = new(GENERATION, &Standing::Claimed { by: "x".into() });
        assert_eq!((told(&claimed)[2].as_str(), claimed.value), ("False/ClaimedByAnother", None));
        // Nobody claims it any more.
        let claimed = new(GENERATION, &Standing::Claimed { by: "x".into() });
        let free = status(GENERATION, &Standing::Serves, &Outcomes::default(), Some(&claimed), now);
        assert_eq!(told(&free)[2], "True/Serving");
    }

    #[test]
    fn times_are_those_of_the_last_change_of_a_condition() {
        let now = Instant::now();
        let at = |second| Timestamp::from_second(second).unwrap();
        let of = |outcome, before: Option<&Status>, second| {
            let times = (now, at(second));
            status(GENERATION, &Standing::Serves, &noted(outcome, now), before, times)
        };
        let first = of(values(1), None, 1);
        let second = of(values(2), Some(&first), 2);
        let third = of(Outcome::Nothing { why: String::new() }, Some(&second), 3);
        let times = |status: &Status| -> Vec<_> {
            status.conditions.iter().map(|it| it.last_transition_time.0.as_second()).collect()
        };
        assert_eq!((times(&second), times(&third)), (vec![1, 1, 1], vec![1, 3, 1]));
        assert_eq!(Change::between(Some(&first), &second), Change::Value);
        assert_eq!(Change::between(Some(&second), &third), Change::Condition);
        assert_eq!(Change::between(Some(&third), &third), Change::None);
        assert_eq!(Change::between(None, &first), Change::Condition);
    }

    #[test]
    fn values_are_written_every_few_minutes_and_conditions_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 0.5);
        assert_eq!(pace.due(Change::None), None);
        assert_eq!(pace.due(Change::Condition), Some(after(start, 1)));
        assert!(pace.due(Change::Value) > Some(after(start, 300)));
        pace.wrote(Change::Value, after(start, 400));
        assert!(pace.due(Change::Value) > Some(after(start, 700)));
        // Another replica has written.
        pace.changed(after(start, 600));
        assert!(pace.due(Change::Value) > Some(after(start, 900)));
    }

    #[test]
    fn replicas_that_disagree_write_less_and_less_often() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 0.0);
        let mut now = start;
        let mut gaps = Vec::new();
        for _ in 0..14 {
            pace.wrote(Change::Condition, now);
            // The other one writes at once.
            pace.changed(now);
            let due = pace.due(Change::Condition).unwrap();
            gaps.push(due.saturating_duration_since(now).as_secs());
            now = due;
        }
        assert_eq!(gaps, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600]);
        pace.begin(now);
        assert_eq!(pace.due(Change::Condition), Some(now), "the spec is another one");
    }
}
