//! Which reads are answered by the fallback of their rule; what decides is [`fallback`](crate::core::fallback).
//!
//! All is in memory: after a restart the failures count anew.

pub mod events;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};

use self::events::{Change, Notes, What};
use crate::{
    core::{
        duration,
        fallback::Questions,
        overview::history::Topic,
        quantity::Decimal,
        repeats::Repeats,
        rules::{Fingerprint, RuleBase, RuleId, RuleSet},
    },
    metrics::Metrics,
};

/// The longest question that a fallback answers: its names and selectors together.
const MAX_QUESTION_BYTES: usize = 4 << 10;

/// What is read, by which rule.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Question {
    rule: Fingerprint,
    topic: Topic,
}

/// A fallback that may be the answer.
pub struct Due {
    question: Question,
    /// The value in thousandths.
    pub milli: i64,
}

/// Whose reads fail, of the rules that have a fallback. The others take neither time nor room.
pub struct Fallbacks {
    questions: Mutex<Questions<Question>>,
    /// The rules whose fallbacks `/metrics` had.
    reported: Mutex<Vec<RuleId>>,
    /// Which begins and ends were logged lately.
    logged: Mutex<Repeats>,
    /// The task that writes Events, where there is a cluster.
    notes: Option<Notes>,
    metrics: Arc<Metrics>,
}

impl Fallbacks {
    /// Nothing has failed yet.
    pub fn new(notes: Option<Notes>, metrics: Arc<Metrics>) -> Self {
        let questions = Mutex::default();
        Self { questions, reported: Mutex::default(), logged: Mutex::default(), notes, metrics }
    }

    /// A read by a rule has succeeded, be the answer empty or stale.
    pub fn succeeded(&self, rule: &RuleBase, topic: impl FnOnce() -> Topic) {
        if rule.fallback.is_none() || lock(&self.questions).is_empty() {
            return;
        }
        let question = Question { rule: rule.fingerprint, topic: topic() };
        let Some(since) = lock(&self.questions).succeeded(&question) else { return };
        self.note(rule, &question, since, What::End);
        if let Some(untold) = self.tell(&rule.id, false) {
            let suppressed = Some(untold).filter(|untold| *untold > 0);
            let (rule, seconds) = (&rule.id, now().saturating_duration_since(since).as_secs());
            let Topic { metric, namespace, .. } = &question.topic;
            tracing::info!(
                %rule, metric, namespace, seconds, suppressed,
                "the backend answers again: the fallback of the rule is no longer used"
            );
        }
    }

    /// The backend has failed a read by a rule. The fallback, if the rule has one and it has failed for long enough.
    pub fn failed(&self, rule: &RuleBase, topic: impl FnOnce() -> Topic) -> Option<Due> {
        let fallback = rule.fallback?;
        let question = Question { rule: rule.fingerprint, topic: topic() };
        let Topic { namespace, objects, metric, selector, .. } = &question.topic;
        let bytes: usize = [namespace, objects, metric, selector].map(String::len).iter().sum();
        let is_due = bytes <= MAX_QUESTION_BYTES
            && lock(&self.questions).failed(question.clone(), fallback.after, now());
        is_due.then_some(Due { question, milli: fallback.milli })
    }

    /// The fallback is the answer, because of a failure.
    pub fn used(&self, rule: &RuleBase, due: &Due, error: &dyn fmt::Display) {
        self.metrics.fallback_read(rule.id.clone());
        let is_new = lock(&self.questions).used(&due.question, now());
        let (Some(fallback), true) = (rule.fallback, is_new) else { return };
        let begin = What::Begin { milli: fallback.milli, after: fallback.after };
        self.note(rule, &due.question, now(), begin);
        if let Some(untold) = self.tell(&rule.id, true) {
            let suppressed = Some(untold).filter(|untold| *untold > 0);
            let (rule, place) = (&rule.id, rule.place);
            let Topic { metric, namespace, .. } = &due.question.topic;
            let after = duration::prometheus(fallback.after);
            let value = Decimal(fallback.milli);
            tracing::warn!(
                %rule, %place, metric, namespace, %value, %error, suppressed,
                "reads have failed for {after}: they return the fallback of the rule"
            );
        }
    }

    /// Since when the fallback of a rule is the answer for a metric in a namespace.
    pub fn since(&self, rule: Fingerprint, metric: &str, namespace: &str) -> Option<Timestamp> {
        self.first(|question| {
            let Question { rule: of, topic } = question;
            *of == rule && topic.metric == metric && topic.namespace == namespace
        })
    }

    /// Since when the fallback of a rule is the answer for any metric.
    pub fn since_of_rule(&self, rule: Fingerprint) -> Option<Timestamp> {
        self.first(|question| question.rule == rule)
    }

    fn first(&self, is_it: impl Fn(&Question) -> bool) -> Option<Timestamp> {
        let questions = lock(&self.questions);
        let found = questions.in_use(now()).filter(|(question, _)| is_it(question));
        time_of(found.map(|(_, since)| since).min()?)
    }

    /// Has the autoscalers that ask this told.
    fn note(&self, rule: &RuleBase, question: &Question, since: Instant, what: What) {
        if let (Some(notes), Some(since)) = (&self.notes, time_of(since)) {
            notes.send(Change {
                rule: rule.id.clone(),
                topic: question.topic.clone(),
                since,
                what,
            });
        }
    }

    /// Says in `/metrics` how many fallbacks of each rule are used now.
    pub fn report(&self, rules: &RuleSet) {
        let mut counts = BTreeMap::new();
        {
            let questions = lock(&self.questions);
            for (question, _) in questions.in_use(now()) {
                *counts.entry(question.rule).or_insert(0_usize) += 1;
            }
        }
        let with_fallback = rules.of_metrics().filter(|rule| rule.base().fallback.is_some());
        let mut reported = lock(&self.reported);
        let before = std::mem::take(&mut *reported);
        for rule in with_fallback {
            let base = rule.base();
            let count = counts.get(&base.fingerprint).copied().unwrap_or_default();
            self.metrics.fallbacks_in_use(base.id.clone(), count);
            reported.push(base.id.clone());
        }
        for gone in before.iter().filter(|rule| !reported.contains(rule)) {
            self.metrics.forget_fallbacks(gone);
        }
    }

    /// How often it was not logged that fallbacks of a rule begin or end; nothing where it is not to be logged, because it was in the
    /// last minute.
    fn tell(&self, rule: &RuleId, begins: bool) -> Option<u64> {
        lock(&self.logged).tell((rule.clone(), begins), now())
    }
}

/// The time of day of an instant of the past.
fn time_of(instant: Instant) -> Option<Timestamp> {
    let ago = SignedDuration::try_from(now().saturating_duration_since(instant)).ok()?;
    Timestamp::now().checked_sub(ago).ok()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
