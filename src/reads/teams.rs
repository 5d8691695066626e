//! What is different about reads by rules of teams.
//!
//! Their queries have no place for a selector, so that it chooses among the samples of the result.

use super::{ReadError, Reads, Values, external::ExternalValues, kind};
use crate::{
    core::{
        catalog::Entry, rules::RuleBase, samples::Vector, selector::Selector, team_rules::Outcome,
    },
    wire::path::MetricPath,
};

impl Reads {
    /// How the rule of a team reads a metric of objects, where there is one.
    pub(super) async fn team_entry(&self, path: &MetricPath) -> Option<Entry> {
        if !self.team_rules.is_on() {
            return None;
        }
        let catalog = self.discovery.catalog();
        let (namespace, kind) = (path.namespace.as_deref()?, kind(&catalog, path)?);
        self.team_rules.object(namespace, &kind.resource, &path.metric).await
    }

    /// Why a metric that nobody provides is unknown, where that has to do with rules of the team.
    pub(super) fn unknown_of_team(&self, namespace: &str, metric: &str) -> Option<ReadError> {
        let rule = self.team_rules.refused(namespace, metric)?;
        Some(ReadError::Refused { metric: metric.to_owned(), rule })
    }

    /// An error as the reader is told it. Counts those of quotas.
    pub(super) fn told(&self, error: ReadError) -> ReadError {
        if let Some((quota, _)) = error.over_quota() {
            self.team_rules.count_refusal(quota);
        }
        error.explained_by(&self.explain_by)
    }

    /// Fails until the rules of teams are known: one of them may come before others.
    pub(super) fn know_teams(&self) -> Result<(), ReadError> {
        let cause = "waiting for the list of MetricRules".to_owned();
        if self.team_rules.is_incomplete() {
            Err(ReadError::NotDiscovered { cause })
        } else {
            Ok(())
        }
    }
}

/// The samples that a selector chooses; nothing where all count, or where the query has the selector.
pub(super) fn selected(rule: &RuleBase, vector: &Vector, selector: &Selector) -> Option<Vector> {
    (rule.object.is_some() && !selector.is_empty()).then(|| vector.selected(selector))
}

/// What the status of a rule says after a read of objects.
pub(super) fn outcome(values: &Result<Values, ReadError>) -> Option<Outcome> {
    match values {
        Ok(values) => Some(of(values.readings.iter().map(|reading| reading.milli))),
        Err(error) => error.outcome(),
    }
}

/// The same of an external metric.
pub(super) fn external_outcome(values: &Result<ExternalValues, ReadError>) -> Option<Outcome> {
    match values {
        Ok(values) => Some(of(values.readings.iter().map(|reading| reading.milli))),
        Err(error) => error.outcome(),
    }
}

fn of(mut values: impl ExactSizeIterator<Item = i64>) -> Outcome {
    let series = values.len();
    match values.next() {
        Some(milli) => Outcome::Values { series, milli },
        None => Outcome::Nothing { why: "returned no value for the last read".to_owned() },
    }
}
