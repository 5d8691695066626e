//! From objects to the snapshot that reads are answered from: what is compiled, and which rule of a metric counts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use super::{Inventory, Job, KINDS, Key, Verdict};
use crate::core::{
    kinds::Kinds,
    rules::{TeamPolicy, TeamRuleKind},
    team_rules::{
        Claimant, Rank, Refused, TeamRule, compile,
        report::Standing,
        snapshot::{ClusterRule, ClusterRules, NamespaceRules, RefusedRule, Snapshot},
    },
};

/// The namespace in whose place a rule for all namespaces is tried.
const SOME_NAMESPACE: &str = "default";

impl Inventory {
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
                    let why =
                        format!("the namespace may have {quota} rules (`teamRules.quotas.rules`)");
                    refuse(why.into(), true);
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
