//! What is odd about the samples that reads find, and why reads end without a value: said once, and counted.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    core::{
        oddity::{Oddities, Oddity},
        plan::Source,
        rules::{Fingerprint, RuleBase, RuleId},
        yaml::Place,
    },
    metrics::Metrics,
};

/// The most oddities that are remembered. With more, some are logged again.
const MAX_LOGGED: usize = 10_000;

/// The query that a read was answered by.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The rule.
    rule: &'a RuleId,
    fingerprint: Fingerprint,
    place: Place,
    /// The label that names the objects; empty where there are none.
    label: &'a str,
    /// What was read.
    metric: &'a str,
}

impl<'a> Subject<'a> {
    /// The query for a metric of objects, or for their usage.
    pub(super) fn of(source: Source<'a>, label: &'a str, metric: &'a str) -> Self {
        let Source { rule, fingerprint, place, .. } = source;
        Self { rule, fingerprint, place, label, metric }
    }

    /// The query for an external metric, and the label that explains a missing value, if one does.
    pub(super) fn external(rule: &'a RuleBase, label: &'a str, metric: &'a str) -> Self {
        Self { rule: &rule.id, fingerprint: rule.fingerprint, place: rule.place, label, metric }
    }
}

/// Logs oddities once for each rule, identified by its fingerprint, and counts each of them.
pub(super) struct Recorder {
    /// The logged oddities: the rule, the label of the objects, the oddity, and whether a read failed because of it.
    logged: Mutex<HashSet<(Fingerprint, String, Oddity, bool)>>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { logged: Mutex::default(), metrics }
    }

    /// Records the oddities of a read and, if it has no value, the reason.
    pub(super) fn record(&self, subject: Subject<'_>, odd: &Oddities, nothing: Option<Oddity>) {
        let Subject { rule, place, label, metric, .. } = subject;
        for (oddity, example) in odd.iter() {
            self.metrics.odd_read(rule.clone(), oddity);
            if nothing != Some(oddity) && self.is_first(subject, oddity, false) {
                let (cause, says) = (oddity.code(), oddity.says());
                let example = Some(example).filter(|example| !example.is_empty());
                tracing::warn!(%place, cause, metric, label, example, "the query of {rule} {says}");
            }
        }
        let Some(cause) = nothing else { return };
        self.metrics.empty_read(rule.clone(), cause);
        if self.is_first(subject, cause, true) {
            let example = odd.example(cause).filter(|example| !example.is_empty());
            let (cause, explains) = (cause.code(), cause.explains(label));
            tracing::warn!(%place, cause, metric, label, example, "the query of {rule} {explains}; the answer is empty");
        }
    }

    fn is_first(&self, subject: Subject<'_>, oddity: Oddity, is_nothing: bool) -> bool {
        let what = (subject.fingerprint, subject.label.to_owned(), oddity, is_nothing);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= MAX_LOGGED {
            // Rules of teams change without end.
            logged.clear();
        }
        logged.insert(what)
    }
}
