//! Rules of teams: how many there are, how they are read, and what quotas refuse.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Metrics, OutcomeLabels, level};
use crate::core::team_rules::Counts;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct QuotaLabels {
    quota: &'static str,
}

/// A quota of a namespace that refuses reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TeamQuota {
    /// Of rules.
    Rules,
    /// Of queries at a time.
    Queries,
    /// Of samples in a result.
    Samples,
}

pub(super) struct TeamRules {
    rules: Family<StateLabels, Gauge>,
    reads: Family<OutcomeLabels, Counter>,
    refusals: Family<QuotaLabels, Counter>,
    statuses: Family<OutcomeLabels, Counter>,
}

impl TeamRules {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            rules: Family::default(),
            reads: Family::default(),
            refusals: Family::default(),
            statuses: Family::default(),
        };
        registry.register("loadline_team_rules", "Rules of teams by state", metrics.rules.clone());
        registry.register(
            "loadline_team_rule_reads",
            "Reads and checks of rules of teams by outcome",
            metrics.reads.clone(),
        );
        registry.register(
            "loadline_team_rule_refusals",
            "Reads of rules of teams that a quota has refused",
            metrics.refusals.clone(),
        );
        registry.register(
            "loadline_team_rule_status_writes",
            "Writes of the status of rules of teams by outcome",
            metrics.statuses.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// So many rules of teams there are of each state.
    pub fn team_rules(&self, counts: &Counts) {
        let states = [
            ("serving", counts.serving),
            ("refused", counts.refused),
            ("over_quota", counts.over_quota),
            ("claimed", counts.claimed),
            ("left_out", counts.left_out),
        ];
        for (state, count) in states {
            self.team_rules.rules.get_or_create(&StateLabels { state }).set(level(count));
        }
    }

    /// A rule of a team was read or checked.
    pub fn team_read(&self, outcome: &'static str) {
        self.team_rules.reads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A quota has refused a read.
    pub fn team_quota(&self, quota: TeamQuota) {
        let quota = match quota {
            TeamQuota::Rules => "rules",
            TeamQuota::Queries => "queries",
            TeamQuota::Samples => "samples",
        };
        self.team_rules.refusals.get_or_create(&QuotaLabels { quota }).inc();
    }

    /// A status was written, or could not be.
    pub fn team_status(&self, outcome: &'static str) {
        self.team_rules.statuses.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}
