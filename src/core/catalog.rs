//! Which metrics exist: an immutable snapshot, built from what discovery found and swapped whole.
//!
//! A custom metric is registered under the resource it describes and its name in the API, an external metric under its name
//! alone ([`external`]). Where several rules or series claim the same metric, the later rule wins, and within a rule the series
//! whose name sorts last: what prometheus-adapter does, made independent of the order in which Prometheus answers. Series that
//! are no longer alive do not compete with series that are; which these are has to be asked for the contested names only
//! ([`contests`]).

pub mod external;
mod hints;
mod texts;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use external::External;
use texts::Texts;

use super::{
    kinds::{GroupResource, Kind, Kinds},
    rules::{ResolvedMapping, Rule},
};

/// The API that a rule gives metrics of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Api {
    /// custom.metrics.k8s.io
    Custom,
    /// external.metrics.k8s.io
    External,
}

/// A rule with its mapping tied to the cluster's kinds, and what discovery knows about it.
#[derive(Clone, Debug)]
pub struct DiscoveredRule {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What it gives metrics of.
    pub api: Api,
    /// Its mapping. Of an external rule only the label of namespaces counts.
    pub mapping: Arc<ResolvedMapping>,
    /// The series that were found, or nothing before the first discovery that succeeded.
    pub found: Option<Arc<Found>>,
}

/// The series names that discovery found for a rule, by the label that they carry: that of a resource, or [`external::NAME`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Label to series names.
    pub by_label: BTreeMap<String, BTreeSet<String>>,
}

impl Found {
    /// Notes that a series carries a label.
    pub fn insert(&mut self, label: &str, series: &str) {
        self.by_label.entry(label.to_owned()).or_default().insert(series.to_owned());
    }
}

/// One rule's series that claims a metric.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Claim {
    /// The position of the rule.
    pub rule: usize,
    /// The series' name.
    pub series: String,
    /// The label through which it claims; [`external::NAME`] where that is an external metric.
    pub label: String,
}

/// A metric that more than one series claims, in the order of rising precedence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contest {
    /// The resource that the metric describes; nothing for an external metric.
    pub resource: Option<GroupResource>,
    /// The metric's name in the API.
    pub metric: String,
    /// Who claims it; the last one wins.
    pub claims: Vec<Claim>,
}

/// The snapshot that reads are answered from.
#[derive(Debug, Default)]
pub struct Catalog {
    kinds: Arc<Kinds>,
    metrics: HashMap<GroupResource, HashMap<String, Entry>>,
    undiscovered: Vec<String>,
    external: External,
    len: usize,
    bytes: usize,
}

/// How a metric is read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The rule that provides the metric.
    pub rule: Arc<Rule>,
    /// The series behind the metric.
    pub series: Arc<str>,
    /// The described kind.
    pub kind: Arc<Kind>,
    /// The label that holds the object's name.
    pub label: Arc<str>,
    /// The label that holds the namespace, where the rule maps one.
    pub namespace_label: Option<Arc<str>>,
}

/// A metric and the kind that it describes, for lists.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'c> {
    /// The described kind.
    pub kind: &'c Kind,
    /// The metric's name in the API.
    pub metric: &'c str,
}

/// All claims on metrics, by resource and metric name, in the order of rising precedence.
type Claims = BTreeMap<(GroupResource, String), Vec<Claim>>;

fn claims(rules: &[DiscoveredRule]) -> Claims {
    let mut claims = Claims::new();
    for (index, discovered) in of(Api::Custom, rules) {
        let Some(found) = &discovered.found else {
            continue;
        };
        for (label, names) in &found.by_label {
            let Some(kind) = discovered.mapping.kind(label) else {
                continue;
            };
            // A template may read two labels as the same kind; only one of them is asked for.
            if discovered.mapping.label(&kind.resource) != Some(label) {
                continue;
            }
            for series in names {
                let Some(metric) = discovered.rule.namer.metric_name(series) else {
                    continue;
                };
                claims.entry((kind.resource.clone(), metric)).or_default().push(Claim {
                    rule: index,
                    series: series.clone(),
                    label: label.clone(),
                });
            }
        }
    }
    claims
}

/// The rules of an API with their positions among all.
fn of(api: Api, rules: &[DiscoveredRule]) -> impl Iterator<Item = (usize, &DiscoveredRule)> {
    rules.iter().enumerate().filter(move |(_, discovered)| discovered.api == api)
}

/// The rules of an API that no discovery has succeeded for yet.
fn undiscovered(api: Api, rules: &[DiscoveredRule]) -> Vec<String> {
    of(api, rules)
        .filter(|(_, discovered)| discovered.found.is_none())
        .map(|(_, discovered)| discovered.rule.id.clone())
        .collect()
}

/// Who provides a contested metric: the last of the claims that are alive, or of all where none is.
pub fn winner<'c>(claims: &'c [Claim], alive: &BTreeSet<Claim>) -> Option<&'c Claim> {
    claims.iter().rev().find(|claim| alive.contains(claim)).or(claims.last())
}

/// The metrics that more than one series claims: the ones for which it matters which series are alive.
pub fn contests(rules: &[DiscoveredRule]) -> Vec<Contest> {
    let custom = claims(rules).into_iter().map(|((resource, metric), claims)| Contest {
        resource: Some(resource),
        metric,
        claims,
    });
    let external = external::claims(rules).into_iter().map(|(metric, claims)| Contest {
        resource: None,
        metric,
        claims,
    });
    custom.chain(external).filter(|contest| contest.claims.len() > 1).collect()
}

impl Catalog {
    /// Builds the snapshot. `alive` holds the contested claims whose series have samples within the discovery window;
    /// where none of a contest's claims is alive, all compete.
    pub fn build(kinds: Arc<Kinds>, rules: &[DiscoveredRule], alive: &BTreeSet<Claim>) -> Self {
        let mut metrics: HashMap<GroupResource, HashMap<String, Entry>> = HashMap::new();
        let mut texts = Texts::default();
        let (mut len, mut bytes) = (0, 0);
        for ((resource, metric), claims) in claims(rules) {
            let Some(claim) = winner(&claims, alive) else { continue };
            let Some(discovered) = rules.get(claim.rule) else {
                continue;
            };
            let Some(kind) = discovered.mapping.kind(&claim.label) else {
                continue;
            };
            let entry = Entry {
                rule: Arc::clone(&discovered.rule),
                series: texts.shared(&claim.series),
                kind: Arc::clone(kind),
                label: texts.shared(&claim.label),
                namespace_label: discovered.mapping.namespace_label().map(|l| texts.shared(l)),
            };
            bytes += size_of::<(String, Entry)>() + metric.len();
            metrics.entry(resource).or_default().insert(metric, entry);
            len += 1;
        }
        let external = External::build(rules, alive, &mut texts);
        len += external.len();
        bytes += external.bytes() + texts.bytes();
        let undiscovered = undiscovered(Api::Custom, rules);
        Self { kinds, metrics, undiscovered, external, len, bytes }
    }

    /// The kinds that the catalog was built with.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The external metrics.
    pub fn external(&self) -> &External {
        &self.external
    }

    /// How to read a metric of a kind.
    pub fn get(&self, resource: &GroupResource, metric: &str) -> Option<&Entry> {
        self.metrics.get(resource)?.get(metric)
    }

    /// The rules of custom metrics that no discovery has succeeded for yet.
    pub fn undiscovered(&self) -> &[String] {
        &self.undiscovered
    }

    /// The kinds that a metric exists for, to help whoever asked for it at another one.
    pub fn kinds_with(&self, metric: &str) -> Vec<&GroupResource> {
        let mut kinds: Vec<_> = self
            .metrics
            .iter()
            .filter(|(_, metrics)| metrics.contains_key(metric))
            .map(|(resource, _)| resource)
            .collect();
        kinds.sort();
        kinds
    }

    /// The rules that give metrics, by what they are called in messages.
    pub fn rules(&self) -> HashSet<&str> {
        let custom = self.metrics.values().flat_map(HashMap::values).map(|entry| &entry.rule);
        custom.chain(self.external.rules()).map(|rule| rule.id.as_str()).collect()
    }

    /// All custom metrics, sorted by resource and name.
    pub fn list(&self) -> Vec<Listed<'_>> {
        let mut listed: Vec<_> = self
            .metrics
            .values()
            .flatten()
            .map(|(metric, entry)| Listed { kind: &entry.kind, metric })
            .collect();
        listed.sort_by(|a, b| (&a.kind.resource, a.metric).cmp(&(&b.kind.resource, b.metric)));
        listed
    }

    /// How many metrics there are, of both APIs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no metric.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Roughly how many bytes the metrics take in memory. Rules and kinds are not counted: they are there anyway.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
