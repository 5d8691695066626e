//! A metric that a delegate has.

use std::sync::Arc;

use tokio::time::timeout_at;

use super::{Explainer, asking::Deadline};
use crate::{
    core::{
        delegation::{self, Route},
        explain::{
            Cause,
            facts::{AnswerFacts, Asked, DelegateFacts, Facts, Failure, Of, Which},
        },
        quantity::parse_milli_rounded_up,
        selector::Selector,
    },
    delegates::{DelegateError, Outcome, Question},
    wire::{
        answer,
        custom::Version,
        delegated::{CustomRead, ExternalRead},
        path::{ExternalPath, MetricPath, Name},
    },
};

impl Explainer {
    /// Asks the delegates, and says whether one of them has the metric. `has_rule` says whether a rule serves it.
    pub(super) async fn delegated(
        &self,
        facts: &mut Facts,
        has_rule: bool,
        deadline: Deadline,
    ) -> bool {
        let Some(question) = question(&facts.asked) else { return false };
        let rules = self.rules.current();
        let route = delegation::route(&rules.delegates, question.read(), || has_rule);
        let matched = match &route {
            Route::Ours => return false,
            Route::Matched(index) => rules.delegates.get(*index).map(|it| Arc::clone(&it.name)),
            Route::InTurn(_) => None,
        };
        let Some(delegates) = &self.delegates else {
            // Somebody else's files are explained: there are no connections.
            let found = matched.map(|name| (name, None));
            return note(facts, found, true);
        };
        let read = timeout_at(deadline.at, delegates.read(&question, || has_rule)).await;
        let owner = delegates.owner(&question);
        let is_matched = matched.is_some();
        let found = match read {
            Ok(Ok(Outcome::Answered(name, body))) => Some((name, Some(Ok(values(&body))))),
            Ok(Err(error)) => Some((Arc::clone(&error.delegate), Some(Err(failure(&error))))),
            Ok(Ok(Outcome::Ours | Outcome::Unanswered(_))) => None,
            Err(_elapsed) => matched.or(owner).map(|name| {
                let text = format!(
                    "the delegate {name} did not answer in the time that an explanation has"
                );
                (name, Some(Err(Failure { cause: Cause::BackendTimeout, text })))
            }),
        };
        note(facts, found, is_matched)
    }
}

type Found = (Arc<str>, Option<Result<Vec<(String, i64)>, Failure>>);

fn note(facts: &mut Facts, found: Option<Found>, is_matched: bool) -> bool {
    let Some((name, read)) = found else { return false };
    facts.delegate = Some(DelegateFacts { name: name.to_string(), is_matched });
    facts.answer = read.map(|read| match read {
        Ok(values) => AnswerFacts { values, ..AnswerFacts::default() },
        Err(failure) => AnswerFacts { failure: Some(failure), ..AnswerFacts::default() },
    });
    true
}

fn failure(error: &DelegateError) -> Failure {
    Failure { cause: error.code(), text: error.to_string() }
}

/// The read of an autoscaler; nothing for a kind that is not known.
fn question(asked: &Asked) -> Option<Question> {
    let (metric, namespace) = (asked.metric.clone(), asked.namespace.clone());
    Some(match &asked.of {
        Of::External => Question::external(ExternalRead {
            path: ExternalPath { namespace: namespace?, metric },
            selector: asked.selector.clone(),
        }),
        Of::Objects { kind, which } => {
            let kind = kind.as_ref().ok()?;
            let (name, objects) = match which {
                Which::Named(name) => (Name::One(name.clone()), Selector::default()),
                Which::Selected(selector) => (Name::All, selector.clone()),
            };
            Question::Custom(CustomRead {
                path: MetricPath { namespace, resource: kind.resource.clone(), name, metric },
                objects,
                metric: asked.selector.clone(),
                kind: Some(Arc::clone(kind)),
                version: Version::V1beta2,
            })
        }
    })
}

/// The values of an answer that has been checked, with the object's name or the labels.
fn values(body: &[u8]) -> Vec<(String, i64)> {
    let items = std::str::from_utf8(body).ok().and_then(|text| answer::items(text).ok());
    let value = |item: answer::Item| {
        let labels = item.metric_labels.iter().map(|(name, value)| format!("{name}={value}"));
        let of = if item.described_object.name.is_empty() {
            labels.collect::<Vec<_>>().join(",")
        } else {
            item.described_object.name.clone()
        };
        Some((of, parse_milli_rounded_up(&item.value)?))
    };
    items.unwrap_or_default().into_iter().filter_map(value).collect()
}
