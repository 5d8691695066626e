//! Asks once for each rule, so that its team knows what it returns before anybody reads it.
//!
//! Rules that are read need no check. What returns nothing is checked again after a while, all else once an hour.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Shared, TeamRules, now};
use crate::{
    core::{
        oddity::Oddity,
        quantity,
        samples::{Sample, Vector},
        team_rules::{Outcome, Provides, TeamRule},
    },
    planner::{Failure, Planner, public},
    prometheus::{Answer, PublicError},
};

/// How often it is looked whether a rule is due.
const LOOK: Duration = Duration::from_secs(1);

/// How many rules are checked then.
const AT_ONCE: usize = 20;

/// How many queries are sent at a time.
const CONCURRENT: usize = 4;

/// The task that checks rules.
pub struct ChecksTask {
    shared: Arc<Shared>,
    team_rules: TeamRules,
    planner: Arc<Planner>,
}

impl ChecksTask {
    /// Makes the task, which does nothing before [`ChecksTask::run`]; nothing where rules of teams are off.
    pub fn new(team_rules: &TeamRules, planner: Arc<Planner>) -> Option<Self> {
        let shared = Arc::clone(team_rules.0.as_ref()?);
        Some(Self { shared, team_rules: team_rules.clone(), planner })
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let checking = async {
            loop {
                self.shared.take_outcomes();
                let due = self.shared.inventory().checks(AT_ONCE, now());
                let task = &self;
                let checks = stream::iter(due).map(|(namespace, rule)| async move {
                    let outcome = task.check(&namespace, &rule).await;
                    task.team_rules.note(rule.base(), || Some(outcome));
                });
                checks.buffer_unordered(CONCURRENT).collect::<()>().await;
                sleep(LOOK).await;
            }
        };
        stop.run_until_cancelled(checking).await;
    }

    async fn check(&self, namespace: &str, rule: &TeamRule) -> Outcome {
        let over_quota = |error: super::OverQuota| Outcome::Failed {
            reason: "QuotaExceeded",
            message: error.why,
        };
        if let Err(error) = self.team_rules.admit(rule.base(), namespace) {
            return over_quota(error);
        }
        let options = &rule.base().options;
        let got = match self.planner.ask(options, namespace, Arc::clone(&rule.query)).await {
            Ok(got) => got,
            Err(failure) => return failed(&failure),
        };
        match got.kept.value().answer() {
            Answer::Vector(vector) => {
                match self.team_rules.check(rule.base(), namespace, vector.samples.len()) {
                    Err(error) => over_quota(error),
                    Ok(()) => outcome(vector, rule),
                }
            }
            Answer::Scalar(_, value) => match quantity::milli(*value) {
                Some(milli) if matches!(rule.provides, Provides::External(_)) => {
                    Outcome::Values { series: 1, milli }
                }
                _ => not_a_vector("scalar"),
            },
            Answer::Other(kind) => not_a_vector(kind),
        }
    }
}

fn not_a_vector(kind: &str) -> Outcome {
    let message = format!("the query returned a {kind}, not a vector");
    Outcome::Failed { reason: "QueryFailed", message }
}

fn failed(failure: &Failure) -> Outcome {
    let is_over_quota = matches!(
        failure,
        Failure::Fetch(error) if matches!(public(error), PublicError::OverQuota(_))
    );
    let reason = if is_over_quota { "QuotaExceeded" } else { "QueryFailed" };
    Outcome::Failed { reason, message: failure.public() }
}

/// What a result says of a rule, whatever objects exist.
fn outcome(vector: &Vector, rule: &TeamRule) -> Outcome {
    let label = match &rule.provides {
        Provides::Object(entry) => Some(&*entry.label),
        Provides::External(_) => None,
    };
    let is_named = |sample: &Sample<'_>| {
        label.is_none_or(|label| sample.label(label).is_some_and(|value| !value.is_empty()))
    };
    let named: Vec<_> = vector.samples.iter().filter(is_named).collect();
    let values: Vec<_> = named.iter().filter_map(|it| quantity::milli(it.value)).collect();
    if let Some(milli) = values.first() {
        return Outcome::Values { series: values.len(), milli: *milli };
    }
    let oddity = match vector.samples.first() {
        None if !vector.unusable.is_empty() => Oddity::NativeHistogram,
        None if vector.lacks_histograms => Oddity::HistogramsLeftOut,
        None => Oddity::NoSample,
        Some(_) if named.is_empty() => Oddity::NoLabel,
        Some(_) => Oddity::NotANumber,
    };
    Outcome::Nothing { why: oddity.explains(label.unwrap_or_default()) }
}
