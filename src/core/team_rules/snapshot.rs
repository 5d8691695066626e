//! What reads are answered from: an immutable snapshot, of which a change replaces the part of one namespace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{Object, Refused, TeamRule, compile};
use crate::core::{
    kinds::{GroupResource, Kinds},
    rules::{TeamPolicy, TeamRuleKind},
};

/// The most names of metrics that are listed to clients.
const MOST_LISTED: usize = 10_000;

/// The rules of teams as they are now.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) policy: Arc<TeamPolicy>,
    pub(super) kinds: Arc<Kinds>,
    pub(super) namespaces: HashMap<Arc<str>, Arc<NamespaceRules>>,
    pub(super) cluster: Arc<ClusterRules>,
    pub(super) is_complete: bool,
}

/// The rules of a namespace.
#[derive(Debug, Default)]
pub(super) struct NamespaceRules {
    /// By metric, and of each a rule for each target.
    pub(super) served: HashMap<Arc<str>, Vec<Arc<TeamRule>>>,
    /// Rules that do not count, by the metric that they claim: their names and the reasons.
    pub(super) refused: HashMap<Arc<str>, Vec<RefusedRule>>,
}

/// A rule that does not count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusedRule {
    /// Kind, namespace and name of the object.
    pub name: Arc<str>,
    /// Why it does not count, for its team.
    pub why: Arc<str>,
    /// Whether only a quota is the reason.
    pub is_over_quota: bool,
}

/// The rules of the cluster, by metric; of each metric those that prevail come first.
pub(super) type ClusterRules = HashMap<Arc<str>, Vec<Arc<ClusterRule>>>;

/// A rule of the cluster, which is compiled for each namespace that reads it.
#[derive(Debug)]
pub struct ClusterRule {
    /// A number that no other rule has, nor another version of this one.
    pub revision: u64,
    pub(super) object: Arc<Object>,
    /// The rule as it is for some namespace.
    pub(super) specimen: Arc<TeamRule>,
}

impl ClusterRule {
    /// Whether it is for a namespace.
    pub fn is_for(&self, namespace: &str) -> bool {
        let listed = self.object.spec.namespaces.as_deref().unwrap_or_default();
        listed.is_empty() || listed.iter().any(|name| *name == *namespace)
    }

    /// The rule for a namespace.
    ///
    /// # Errors
    ///
    /// It is not for this namespace, or its query cannot be limited to it.
    pub fn compile(&self, namespace: &str, snapshot: &Snapshot) -> Result<TeamRule, Refused> {
        let (policy, kinds) = (&snapshot.policy, &snapshot.kinds);
        compile(TeamRuleKind::ClusterMetricRule, &self.object, namespace, policy, kinds)
    }
}

/// The names of the metrics of all rules, for lists: they say nothing of namespaces.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// The metrics of objects, by resource and name.
    pub custom: BTreeSet<(GroupResource, Arc<str>)>,
    /// The external metrics.
    pub external: BTreeSet<Arc<str>>,
}

impl Snapshot {
    /// What rules of teams may do.
    pub fn policy(&self) -> &TeamPolicy {
        &self.policy
    }

    /// Whether all rules are known that there were at the start.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The rule of a namespace that provides a metric of a resource, or without one an external metric.
    pub fn of_namespace(
        &self,
        namespace: &str,
        resource: Option<&GroupResource>,
        metric: &str,
    ) -> Option<&Arc<TeamRule>> {
        let rules = self.namespaces.get(namespace)?.served.get(metric)?;
        rules.iter().find(|rule| rule.resource() == resource)
    }

    /// The rules of the cluster that may provide a metric, those that prevail first.
    pub fn of_cluster(
        &self,
        resource: Option<&GroupResource>,
        metric: &str,
    ) -> impl Iterator<Item = &Arc<ClusterRule>> {
        let rules = self.cluster.get(metric).into_iter().flatten();
        rules.filter(move |rule| rule.specimen.resource() == resource)
    }

    /// The first rule of a namespace that claims a metric and does not count. Those of other namespaces are nobody's business.
    pub fn refused(&self, namespace: &str, metric: &str) -> Option<&RefusedRule> {
        self.namespaces.get(namespace)?.refused.get(metric)?.first()
    }

    /// All rules that provide a metric in their namespace.
    pub fn served(&self) -> impl Iterator<Item = &Arc<TeamRule>> {
        let of_namespaces = self.namespaces.values().flat_map(|rules| rules.served.values());
        let of_cluster = self.cluster.values().flatten().map(|rule| &rule.specimen);
        of_namespaces.flatten().chain(of_cluster)
    }

    /// The names of the metrics, the first ones of each API if there are very many.
    pub fn names(&self) -> Names {
        let mut custom = BTreeMap::new();
        let mut external = BTreeSet::new();
        for rule in self.served() {
            match rule.resource() {
                Some(resource) => {
                    let names: &mut BTreeSet<_> = custom.entry(resource).or_default();
                    names.insert(Arc::clone(&rule.metric));
                }
                None => {
                    external.insert(Arc::clone(&rule.metric));
                }
            }
        }
        let custom = custom
            .into_iter()
            .flat_map(|(resource, names)| names.into_iter().map(|name| (resource.clone(), name)));
        Names {
            custom: custom.take(MOST_LISTED).collect(),
            external: external.into_iter().take(MOST_LISTED).collect(),
        }
    }
}
