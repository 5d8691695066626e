//! The rules of teams that there are, compiled one by one, and which of them provides which metric. No I/O, and time is an argument.

mod events;
mod publishing;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;

use super::{
    Object, Refused, Spec, Status, TeamRule,
    report::{Change, Outcomes, Pace, Standing},
    snapshot::Snapshot,
};
use crate::core::{
    kinds::Kinds,
    rules::{TeamPolicy, TeamRuleKind},
};

/// The most bytes of a spec, as JSON.
pub const MAX_SPEC_BYTES: usize = 8 << 10;

/// Which object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Its kind.
    pub kind: TeamRuleKind,
    /// Its namespace; empty for a `ClusterMetricRule`.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// The object of a rule, from what the rule is called.
    pub fn of(kind: TeamRuleKind, called: &str) -> Option<Self> {
        let place = called.strip_prefix(kind.kind())?.strip_prefix(' ')?;
        let (namespace, name) = match kind {
            TeamRuleKind::MetricRule => place.split_once('/')?,
            TeamRuleKind::ClusterMetricRule => ("", place),
        };
        Some(Self { kind, namespace: namespace.into(), name: name.into() })
    }
}

/// What the object is called in messages, as [`RuleBase::name`](crate::core::rules::RuleBase::name) has it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        match kind {
            TeamRuleKind::MetricRule => write!(f, "{} {namespace}/{name}", kind.kind()),
            TeamRuleKind::ClusterMetricRule => write!(f, "{} {name}", kind.kind()),
        }
    }
}

/// An object, as it came from the API server.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which one.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The spec and its size in bytes, or why it is none.
    pub spec: Result<(Spec, usize), String>,
    /// The status that it has.
    pub status: Option<Status>,
}

/// An object that has to be compiled.
#[derive(Debug)]
pub struct Job {
    key: Key,
    revision: u64,
    object: Arc<Object>,
}

/// A status that has to be written.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which object.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// What the API server has.
    pub before: Option<Status>,
    /// What it should have.
    pub status: Status,
    /// How they differ.
    pub change: Change,
}

/// How many rules there are of each standing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// They provide their metrics.
    pub serving: usize,
    /// They are not accepted.
    pub refused: usize,
    /// Their namespace has too many.
    pub over_quota: usize,
    /// An older one provides the metric.
    pub claimed: usize,
    /// They are not kept, because there are too many.
    pub left_out: usize,
}

/// An object that is kept.
#[derive(Debug)]
struct Held {
    object: Arc<Object>,
    uid: String,
    created: Timestamp,
    bytes: usize,
    observed: Option<Status>,
    revision: u64,
    verdict: Verdict,
    standing: Standing,
    outcomes: Outcomes,
    pace: Pace,
    /// When its status is looked at; nothing while nothing happens.
    look: Option<Instant>,
    /// When its query is to be sent if nobody reads it before.
    check: Instant,
    /// How many checks were in vain, one after the other.
    in_vain: u32,
}

#[derive(Clone, Debug)]
enum Verdict {
    Unknown,
    Rule(Arc<TeamRule>),
    Refused(&'static str, Arc<str>),
}

impl From<Refused> for Verdict {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.reason(), refused.to_string().into())
    }
}

/// All objects.
#[derive(Debug, Default)]
pub struct Inventory {
    policy: Arc<TeamPolicy>,
    kinds: Arc<Kinds>,
    held: BTreeMap<Key, Held>,
    bytes: usize,
    /// The namespaces of which something has changed; empty for the cluster's rules.
    dirty: BTreeSet<Arc<str>>,
    /// What is to be compiled.
    uncompiled: BTreeSet<Key>,
    /// What a list that is not complete has had, by kind.
    listing: HashMap<TeamRuleKind, BTreeSet<Key>>,
    /// The kinds whose first list is complete, or cannot be had.
    known: Vec<TeamRuleKind>,
    /// The objects that are not kept, by namespace.
    left_out: BTreeMap<Arc<str>, BTreeSet<Key>>,
    revisions: u64,
    /// The last object whose status was written, and whose query was sent: the next ones come first.
    last_report: Option<Key>,
    last_check: Option<Key>,
    snapshot: Snapshot,
}

impl Inventory {
    /// Nothing yet, for this policy and cluster.
    pub fn new(policy: Arc<TeamPolicy>, kinds: Arc<Kinds>) -> Self {
        Self { policy, kinds, ..Self::default() }
    }

    /// Another policy, or other kinds: everything is compiled again if they differ.
    pub fn configure(&mut self, policy: &Arc<TeamPolicy>, kinds: &Arc<Kinds>) {
        if Arc::ptr_eq(&self.policy, policy) && Arc::ptr_eq(&self.kinds, kinds) {
            return;
        }
        (self.policy, self.kinds) = (Arc::clone(policy), Arc::clone(kinds));
        // What was compiled by the policy before is not used again.
        for held in self.held.values_mut() {
            self.revisions += 1;
            held.revision = self.revisions;
        }
        self.dirty.extend(self.held.keys().map(|key| Arc::clone(&key.namespace)));
        let with_spec = self.held.iter().filter(|(_, held)| held.bytes > 0);
        self.uncompiled.extend(with_spec.map(|(key, _)| key.clone()));
    }

    fn quota(&self) -> usize {
        usize::try_from(self.policy.quotas.rules.get()).unwrap_or(usize::MAX)
    }

    fn of_namespace(&self, namespace: &Arc<str>) -> impl Iterator<Item = (&Key, &Held)> {
        let kind = TeamRuleKind::MetricRule;
        let first = Key { kind, namespace: Arc::clone(namespace), name: Arc::default() };
        let from = self.held.range(first..);
        from.take_while(move |(key, _)| key.kind == kind && key.namespace == *namespace)
    }

    fn of_cluster(&self) -> impl Iterator<Item = (&Key, &Held)> {
        self.held.iter().filter(|(key, _)| key.kind == TeamRuleKind::ClusterMetricRule)
    }

    /// The names and standings of the rules, in the order of the objects.
    pub fn standings(&self) -> impl Iterator<Item = (&Key, &Spec, &Standing)> {
        self.held.iter().map(|(key, held)| (key, &held.object.spec, &held.standing))
    }

    /// How many rules there are of each standing.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            left_out: self.left_out.values().map(BTreeSet::len).sum(),
            ..Counts::default()
        };
        for held in self.held.values() {
            match held.standing {
                Standing::Serves => counts.serving += 1,
                Standing::Refused { .. } => counts.refused += 1,
                Standing::OverQuota { .. } => counts.over_quota += 1,
                Standing::Claimed { .. } => counts.claimed += 1,
                Standing::Waiting => {}
            }
        }
        counts
    }
}

/// Both kinds.
const KINDS: [TeamRuleKind; 2] = [TeamRuleKind::MetricRule, TeamRuleKind::ClusterMetricRule];

#[cfg(test)]
mod tests;
