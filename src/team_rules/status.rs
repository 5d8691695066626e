//! Writes the status of rules, rarely: [`report`](crate::core::team_rules) decides when.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Shared, TeamRules, now, object::kind};
use crate::{
    core::{
        rules::TeamRuleKind,
        team_rules::{Change, Condition, ConditionType, Report},
    },
    kubernetes::{
        events::{Events, Occurrence, Regarding, Severity},
        refusal::Refusal,
        status,
    },
};

/// How often it is looked whether there is something to write.
const LOOK: Duration = Duration::from_millis(500);

/// The least time between two writes.
const PAUSE: Duration = Duration::from_millis(100);

/// How many statuses are decided at a time; they may be outdated when the last one is written.
const AT_ONCE: usize = 10;

/// How long nothing is written that we may not write.
const REFUSED: Duration = Duration::from_secs(5 * 60);

/// The task that writes the status of rules, and Events about what has changed.
pub struct StatusTask {
    client: Client,
    events: Events,
    shared: Arc<Shared>,
    is_refused: bool,
}

impl StatusTask {
    /// Makes the task, which does nothing before [`StatusTask::run`]; nothing where rules of teams are off.
    pub fn new(client: Client, events: Events, team_rules: &TeamRules) -> Option<Self> {
        let shared = Arc::clone(team_rules.0.as_ref()?);
        Some(Self { client, events, shared, is_refused: false })
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let writing = async {
            loop {
                self.write_due().await;
                sleep(LOOK).await;
            }
        };
        stop.run_until_cancelled(writing).await;
    }

    async fn write_due(&mut self) {
        self.shared.take_outcomes();
        let reports = self.shared.inventory().reports(AT_ONCE, (now(), Timestamp::now()));
        for report in reports {
            let written = self.write(&report).await;
            self.shared.metrics.team_status(written.as_ref().map_or("failed", |()| "written"));
            match &written {
                Ok(()) => {
                    self.is_refused = false;
                    if report.change == Change::Condition {
                        self.tell(&report).await;
                    }
                }
                Err(Refusal::Forbidden(error)) => {
                    if !std::mem::replace(&mut self.is_refused, true) {
                        tracing::warn!(
                            error,
                            "not permitted to write the status of rules of teams"
                        );
                    }
                    sleep(REFUSED).await;
                }
                // It may have been deleted meanwhile.
                Err(error) => {
                    tracing::debug!(rule = %report.key, %error, "a status was not written");
                }
            }
            self.shared.inventory().wrote(report, written.is_ok(), now());
            sleep(PAUSE).await;
        }
    }

    async fn write(&self, report: &Report) -> Result<(), Refusal> {
        let Report { key, uid, status, .. } = report;
        let place = (&kind(key.kind), &*key.namespace, &*key.name);
        status::write(&self.client, place, uid, status).await
    }

    /// Publishes an Event for each condition that has changed, unless it is as good as it was.
    async fn tell(&self, report: &Report) {
        let before = report.before.iter().flat_map(|status| &status.conditions);
        let before = |kind| before.clone().find(|known| known.kind == kind);
        for condition in &report.status.conditions {
            let Some(severity) = severity(before(condition.kind), condition) else { continue };
            let regarding = Regarding {
                api_version: kind(report.key.kind).api_version(),
                kind: report.key.kind.kind().to_owned(),
                namespace: (report.key.kind == TeamRuleKind::MetricRule)
                    .then(|| report.key.namespace.to_string()),
                name: report.key.name.to_string(),
                uid: Some(report.uid.clone()),
            };
            let (reason, note) = (&*condition.reason, &*condition.message);
            let occurrence = Occurrence { severity, reason, action: "ReadRule", note };
            self.events.publish(&regarding, occurrence).await;
        }
    }
}

/// What an Event about a condition is, where there is to be one.
fn severity(before: Option<&Condition>, now: &Condition) -> Option<Severity> {
    let is_same =
        before.is_some_and(|before| (&before.status, &before.reason) == (&now.status, &now.reason));
    if is_same || now.kind == ConditionType::Discovered {
        return None;
    }
    match (&*now.status, before) {
        // That nothing is served follows from why the rule is not accepted.
        ("False", _) if now.reason == "NotAccepted" => None,
        ("False", _) => Some(Severity::Warning),
        ("True", Some(before)) if before.status == "False" => Some(Severity::Normal),
        ("True", None) if now.kind == ConditionType::Accepted => Some(Severity::Normal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(kind: ConditionType, status: &str, reason: &str) -> Condition {
        Condition {
            kind,
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    #[test]
    fn events_are_about_what_a_team_has_to_know() {
        use ConditionType::{Accepted, Discovered, Serving};
        let warning = Some(Severity::Warning);
        let normal = Some(Severity::Normal);
        for (kind, before, now, wanted) in [
            (Accepted, None, ("True", "Accepted"), normal),
            (Accepted, None, ("False", "QueryRefused"), warning),
            (Accepted, Some(("True", "Accepted")), ("False", "QuotaExceeded"), warning),
            (Accepted, Some(("False", "QueryRefused")), ("False", "QuotaExceeded"), warning),
            (Accepted, Some(("False", "QueryRefused")), ("False", "QueryRefused"), None),
            (Accepted, Some(("False", "QueryRefused")), ("True", "Accepted"), normal),
            (Serving, None, ("True", "Serving"), None),
            (Serving, Some(("True", "Serving")), ("False", "QueryFailed"), warning),
            (Serving, Some(("True", "Serving")), ("False", "NotAccepted"), None),
            (Serving, Some(("False", "QueryFailed")), ("True", "Serving"), normal),
            (Discovered, None, ("False", "NoValues"), None),
        ] {
            let before = before.map(|(status, reason)| condition(kind, status, reason));
            let after = condition(kind, now.0, now.1);
            assert_eq!(severity(before.as_ref(), &after), wanted, "{before:?} {now:?}");
        }
    }
}
