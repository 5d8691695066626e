//! The rules of teams that there are, compiled one by one, and which of them provides which metric. No I/O, and time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{
    Claimant, Object, Rank, Refused, Spec, Status, TeamRule, compile,
    report::{self, Change, Outcome, Outcomes, Pace, Standing},
    snapshot::{ClusterRule, ClusterRules, NamespaceRules, RefusedRule, Snapshot},
};
use crate::core::{
    kinds::Kinds,
    rules::{TeamPolicy, TeamRuleKind},
};

/// The most objects that are kept, of all namespaces.
const MOST_OBJECTS: usize = 10_000;

/// The most bytes of a spec, as JSON.
pub const MAX_SPEC_BYTES: usize = 8 << 10;

/// The most bytes of all specs that are kept.
const MOST_BYTES: usize = 32 << 20;

/// A namespace has as many objects kept as its quota has rules, times this: those over the quota are told so.
const KEPT_BEYOND_QUOTA: usize = 2;

/// A rule that has values, and that nobody reads, is checked again after this time.
const CHECK_AGAIN: Duration = Duration::from_secs(3600);

/// The first pause before a rule without values is checked again. It doubles.
const FIRST_CHECK: Duration = Duration::from_secs(60);

/// The longest such pause.
const LAST_CHECK: Duration = Duration::from_secs(600);

/// The namespace in whose place a rule for all namespaces is tried.
const SOME_NAMESPACE: &str = "default";

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

    /// A list of a kind begins.
    pub fn listing(&mut self, kind: TeamRuleKind) {
        self.listing.insert(kind, BTreeSet::new());
    }

    /// A list of a kind is complete: what it did not have does not exist.
    pub fn synced(&mut self, kind: TeamRuleKind) {
        if let Some(listed) = self.listing.remove(&kind) {
            let of_kind = self.held.keys().chain(self.left_out.values().flatten());
            let gone = of_kind.filter(|key| key.kind == kind && !listed.contains(key));
            for key in gone.cloned().collect::<Vec<_>>() {
                self.delete(&key);
            }
        }
        self.is_known(kind);
    }

    /// Nothing more is to be known of a kind for now: it has been listed, or cannot be.
    pub fn is_known(&mut self, kind: TeamRuleKind) {
        if !self.known.contains(&kind) {
            self.known.push(kind);
            self.dirty.insert(Arc::default());
        }
    }

    /// An object exists. `chance` is a random number between 0 and 1.
    pub fn apply(&mut self, received: Received, now: Instant, chance: f64) {
        let Received { key, uid, created, generation, spec, status } = received;
        if let Some(listed) = self.listing.get_mut(&key.kind) {
            listed.insert(key.clone());
        }
        let (spec, bytes, verdict) = match spec {
            Ok((spec, bytes)) => (spec, bytes.max(1), Verdict::Unknown),
            Err(problem) => (Spec::default(), 0, Verdict::Refused("InvalidSpec", problem.into())),
        };
        if let Some(held) = self.held.get_mut(&key).filter(|held| held.uid == uid) {
            if held.observed != status {
                held.observed.clone_from(&status);
                held.pace.changed(now);
                held.look = Some(now);
            }
            let is_same = held.object.spec == spec
                && held.object.metadata.generation == generation
                && (bytes == 0) == (held.bytes == 0);
            if is_same {
                return;
            }
            held.pace.begin(now);
        } else if self.held.contains_key(&key) {
            self.delete(&key);
        }
        if !self.has_room(&key, bytes) {
            self.delete(&key);
            self.left_out.entry(Arc::clone(&key.namespace)).or_default().insert(key);
            return;
        }
        self.revisions += 1;
        let (before, observed) = match self.held.remove(&key) {
            Some(held) => {
                self.bytes -= held.bytes;
                (Some(held.pace), held.observed)
            }
            None => (None, None),
        };
        let metadata = ObjectMeta {
            name: Some(key.name.to_string()),
            namespace: (!key.namespace.is_empty()).then(|| key.namespace.to_string()),
            generation,
            creation_timestamp: Some(Time(created)),
            ..ObjectMeta::default()
        };
        self.bytes += bytes;
        self.dirty.insert(Arc::clone(&key.namespace));
        if matches!(verdict, Verdict::Unknown) {
            self.uncompiled.insert(key.clone());
        }
        let held = Held {
            object: Arc::new(Object { metadata, spec, status: None }),
            uid,
            created,
            bytes,
            observed: observed.or(status),
            revision: self.revisions,
            verdict,
            standing: Standing::Waiting,
            outcomes: Outcomes::default(),
            pace: before.unwrap_or_else(|| Pace::new(now, chance)),
            look: None,
            check: now,
            in_vain: 0,
        };
        self.held.insert(key, held);
    }

    /// An object does not exist.
    pub fn delete(&mut self, key: &Key) {
        if let Some(left_out) = self.left_out.get_mut(&key.namespace) {
            left_out.remove(key);
            if left_out.is_empty() {
                self.left_out.remove(&key.namespace);
            }
        }
        if let Some(held) = self.held.remove(key) {
            self.bytes -= held.bytes;
            self.uncompiled.remove(key);
            self.dirty.insert(Arc::clone(&key.namespace));
        }
    }

    /// Whether an object may be kept, in place of the one that it replaces.
    fn has_room(&self, key: &Key, bytes: usize) -> bool {
        let before = self.held.get(key);
        let in_all = self.held.len() - usize::from(before.is_some());
        let of_namespace = self.of_namespace(&key.namespace).filter(|(known, _)| *known != key);
        let is_own = key.kind == TeamRuleKind::MetricRule;
        in_all < MOST_OBJECTS
            && self.bytes - before.map_or(0, |held| held.bytes) + bytes <= MOST_BYTES
            && !(is_own && of_namespace.count() >= self.most_kept())
    }

    fn most_kept(&self) -> usize {
        self.quota().saturating_mul(KEPT_BEYOND_QUOTA)
    }

    fn quota(&self) -> usize {
        usize::try_from(self.policy.quotas.rules.get()).unwrap_or(usize::MAX)
    }

    /// Whether an object that is not kept has room now: only a new list brings it.
    pub fn wants_list(&self) -> bool {
        let mut firsts = self.left_out.values().filter_map(BTreeSet::first);
        firsts.any(|key| self.has_room(key, MAX_SPEC_BYTES))
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

    /// What has to be compiled, which takes a while: [`Job::run`] needs nothing of this.
    pub fn jobs(&mut self) -> (Vec<Job>, Arc<TeamPolicy>, Arc<Kinds>) {
        let uncompiled = std::mem::take(&mut self.uncompiled);
        let jobs = uncompiled.into_iter().filter_map(|key| {
            let held = self.held.get(&key)?;
            Some(Job { revision: held.revision, object: Arc::clone(&held.object), key })
        });
        (jobs.collect(), Arc::clone(&self.policy), Arc::clone(&self.kinds))
    }

    /// Takes what has been compiled.
    pub fn compiled(&mut self, done: Vec<(Job, Result<TeamRule, Refused>)>) {
        for (job, result) in done {
            let held = self.held.get_mut(&job.key).filter(|held| held.revision == job.revision);
            let Some(held) = held else { continue };
            held.verdict = result.map_or_else(Verdict::from, |rule| Verdict::Rule(Arc::new(rule)));
            self.dirty.insert(job.key.namespace);
        }
    }

    /// Decides again in the namespaces of which something has changed. Nothing if nothing has.
    pub fn publish(&mut self, now: Instant) -> Option<Snapshot> {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return None;
        }
        let waiting: BTreeSet<_> =
            self.uncompiled.iter().map(|key| Arc::clone(&key.namespace)).collect();
        for namespace in dirty {
            // Until all of its rules are compiled, those before count.
            if waiting.contains(&namespace) {
                self.dirty.insert(namespace);
                continue;
            }
            if namespace.is_empty() {
                let rules = self.decide_of_cluster(now);
                self.snapshot.cluster = Arc::new(rules);
                continue;
            }
            let rules = self.decide(&namespace, now);
            if rules.served.is_empty() && rules.refused.is_empty() {
                self.snapshot.namespaces.remove(&namespace);
            } else {
                self.snapshot.namespaces.insert(namespace, Arc::new(rules));
            }
        }
        self.snapshot.policy = Arc::clone(&self.policy);
        self.snapshot.kinds = Arc::clone(&self.kinds);
        // Rules of the first lists that still have to be compiled are not known to reads. Those that come later are new.
        let is_known = self.known.len() >= KINDS.len();
        self.snapshot.is_complete = is_known && (self.snapshot.is_complete || waiting.is_empty());
        Some(self.snapshot.clone())
    }

    /// Which rules of a namespace count.
    fn decide(&mut self, namespace: &Arc<str>, now: Instant) -> NamespaceRules {
        let quota = self.quota();
        let mut found: Vec<_> = self.of_namespace(namespace).collect();
        found.sort_unstable_by_key(|(key, held)| (held.created, &key.name));
        let mut winners: HashMap<_, (Claimant, &Key)> = HashMap::new();
        for (key, held) in found.iter().take(quota) {
            if let Verdict::Rule(rule) = &held.verdict {
                let claim = Claimant::new(Rank::Namespace, held.created, Arc::clone(&rule.name));
                let place = (rule.resource(), &*rule.metric);
                match winners.get(&place) {
                    Some((known, _)) if *known > claim => {}
                    _ => {
                        winners.insert(place, (claim, key));
                    }
                }
            }
        }
        let mut rules = NamespaceRules::default();
        let mut standings = Vec::new();
        for (at, (key, held)) in found.iter().enumerate() {
            let mut refuse = |why: Arc<str>, is_over_quota| {
                let metric: Arc<str> = held.object.spec.metric.as_str().into();
                let name = key.to_string().into();
                let refused = RefusedRule { name, why, is_over_quota };
                rules.refused.entry(metric).or_default().push(refused);
            };
            let standing = match &held.verdict {
                Verdict::Unknown => Standing::Waiting,
                _ if at >= quota => {
                    refuse(format!("the namespace may have {quota} rules").into(), true);
                    Standing::OverQuota { most: self.policy.quotas.rules.get() }
                }
                Verdict::Refused(reason, message) => {
                    refuse(Arc::clone(message), false);
                    Standing::Refused { reason, message: Arc::clone(message) }
                }
                Verdict::Rule(rule) => match winners.get(&(rule.resource(), &*rule.metric)) {
                    Some((winner, by)) if by != key => {
                        Standing::Claimed { by: Arc::clone(winner.name()) }
                    }
                    _ => {
                        let served = rules.served.entry(Arc::clone(&rule.metric)).or_default();
                        served.push(Arc::clone(rule));
                        Standing::Serves
                    }
                },
            };
            standings.push(((*key).clone(), standing));
        }
        self.stand(standings, now);
        rules
    }

    /// Which rules of the cluster count. Several may claim a metric for different namespaces, so that none is refused for that.
    fn decide_of_cluster(&mut self, now: Instant) -> ClusterRules {
        let mut found = Vec::new();
        let mut standings = Vec::new();
        for (key, held) in self.of_cluster() {
            let standing = match &held.verdict {
                Verdict::Unknown => Standing::Waiting,
                Verdict::Refused(reason, message) => {
                    Standing::Refused { reason, message: Arc::clone(message) }
                }
                Verdict::Rule(specimen) => {
                    let name = Arc::clone(&specimen.name);
                    let claim = Claimant::new(Rank::Cluster, held.created, name);
                    let (object, specimen) = (Arc::clone(&held.object), Arc::clone(specimen));
                    found.push((claim, ClusterRule { revision: held.revision, object, specimen }));
                    Standing::Serves
                }
            };
            standings.push((key.clone(), standing));
        }
        self.stand(standings, now);
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut rules = ClusterRules::new();
        for (_, rule) in found {
            rules.entry(Arc::clone(&rule.specimen.metric)).or_default().push(Arc::new(rule));
        }
        rules
    }

    fn stand(&mut self, standings: Vec<(Key, Standing)>, now: Instant) {
        for (key, standing) in standings {
            if let Some(held) = self.held.get_mut(&key)
                && held.standing != standing
            {
                held.standing = standing;
                held.look = Some(now);
            }
        }
    }

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

impl Held {
    fn status(&self, now: (Instant, Timestamp)) -> (Status, Change) {
        let generation = self.object.metadata.generation;
        let before = self.observed.as_ref();
        let status = report::status(generation, &self.standing, &self.outcomes, before, now);
        let change = Change::between(before, &status);
        (status, change)
    }
}

impl Job {
    /// Compiles it.
    pub fn run(self, policy: &TeamPolicy, kinds: &Kinds) -> (Self, Result<TeamRule, Refused>) {
        let namespace = match self.key.kind {
            TeamRuleKind::MetricRule => &*self.key.namespace,
            TeamRuleKind::ClusterMetricRule => {
                let listed = self.object.spec.namespaces.iter().flatten().next();
                listed.map_or(SOME_NAMESPACE, String::as_str)
            }
        };
        let result = compile(self.key.kind, &self.object, namespace, policy, kinds);
        (self, result)
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

#[cfg(test)]
mod tests;
