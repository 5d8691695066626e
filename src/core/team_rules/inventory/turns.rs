//! Which query is sent and which status is written next. All rules have their turn.

use std::{
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{Held, Inventory, Key, Report, Verdict};
use crate::core::{
    rules::TeamRuleKind,
    team_rules::{
        Status, TeamRule,
        report::{self, Change, Outcome, Standing},
    },
};

/// A rule that has values, and that nobody reads, is checked again after this time.
const CHECK_AGAIN: Duration = Duration::from_secs(3600);

/// The first pause before a rule without values is checked again. It doubles.
const FIRST_CHECK: Duration = Duration::from_secs(60);

/// The longest such pause.
const LAST_CHECK: Duration = Duration::from_secs(600);

impl Inventory {
    /// Notes what became of a query of a rule.
    pub fn note(&mut self, key: &Key, outcome: Outcome, now: Instant) {
        let Some(held) = self.held.get_mut(key) else { return };
        let pause = if matches!(outcome, Outcome::Values { .. }) {
            held.in_vain = 0;
            CHECK_AGAIN
        } else {
            let pause = FIRST_CHECK * (1 << held.in_vain.min(8));
            held.in_vain = held.in_vain.saturating_add(1);
            LAST_CHECK.min(pause)
        };
        held.check = now + pause;
        held.outcomes.note(outcome, now);
        held.look = Some(now);
    }

    /// The rules whose queries are to be sent now, and their namespaces: so many at the most. Rules of the cluster are not checked,
    /// because they have as many queries as there are namespaces.
    pub fn checks(&mut self, most: usize, now: Instant) -> Vec<(Arc<str>, Arc<TeamRule>)> {
        let mut due = Vec::new();
        for range in from(self.last_check.clone()) {
            for (key, held) in self.held.range_mut(range) {
                let is_due = key.kind == TeamRuleKind::MetricRule
                    && held.check <= now
                    && held.standing == Standing::Serves;
                let Verdict::Rule(rule) = &held.verdict else { continue };
                if !is_due || due.len() >= most {
                    continue;
                }
                // Until there is an outcome.
                held.check = now + FIRST_CHECK;
                self.last_check = Some(key.clone());
                due.push((Arc::clone(&key.namespace), Arc::clone(rule)));
            }
        }
        due
    }

    /// The statuses that are to be written now, in turns: so many at the most.
    pub fn reports(&mut self, most: usize, (now, at): (Instant, Timestamp)) -> Vec<Report> {
        let mut reports = Vec::new();
        for range in from(self.last_report.clone()) {
            for (key, held) in self.held.range_mut(range) {
                if reports.len() >= most {
                    return reports;
                }
                if held.look.is_none_or(|look| look > now) || held.standing == Standing::Waiting {
                    continue;
                }
                let (status, change) = held.status((now, at));
                match held.pace.due(change) {
                    Some(due) if due <= now => {
                        let (uid, before) = (held.uid.clone(), held.observed.clone());
                        self.last_report = Some(key.clone());
                        reports.push(Report { key: key.clone(), uid, before, status, change });
                    }
                    due => held.look = due.or(held.outcomes.due().filter(|due| *due > now)),
                }
            }
        }
        reports
    }

    /// A status has been written, or could not be: then it is tried again after a pause like that of a success.
    pub fn wrote(&mut self, report: Report, succeeded: bool, now: Instant) {
        if let Some(held) = self.held.get_mut(&report.key).filter(|held| held.uid == report.uid) {
            held.pace.wrote(report.change, now);
            held.look = Some(now);
            if succeeded {
                held.observed = Some(report.status);
            }
        }
    }
}

impl Held {
    fn status(&self, now: (Instant, Timestamp)) -> (Status, Change) {
        let generation = self.object.metadata.generation;
        let before = self.observed.as_ref();
        let status = report::status(generation, &self.standing, &self.outcomes, before, now);
        let change = Change::between(before, &status);
        (status, change)
    }
}

/// All keys, beginning behind the last one.
fn from(last: Option<Key>) -> Vec<(Bound<Key>, Bound<Key>)> {
    match last {
        None => vec![(Bound::Unbounded, Bound::Unbounded)],
        Some(last) => vec![
            (Bound::Excluded(last.clone()), Bound::Unbounded),
            (Bound::Unbounded, Bound::Included(last)),
        ],
    }
}
