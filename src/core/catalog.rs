//! Which metrics exist: an immutable snapshot, built from what discovery found and swapped whole.
//!
//! A custom metric is registered under the resource it describes and its name in the API, an external metric under its name
//! alone ([`external`]). Where several rules or series claim the same metric, the later rule wins, and within a rule the series
//! whose name sorts last: what prometheus-adapter does, made independent of the order in which Prometheus answers. Series that
//! are no longer alive do not compete with series that are; which these are has to be asked for the contested names only
//! ([`contests`]).

mod exposed;
pub mod external;
mod found;
mod hints;
mod texts;

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use external::External;
pub use found::{Found, LONGEST, MOST_IN_ALL, MOST_OF_RULE, limit};
use texts::Texts;

use super::{
    kinds::{GroupResource, Kind, Kinds},
    plan::Source,
    rules::{CustomRule, MetricRule, ResolvedMapping, RuleBase, RuleId},
};

/// A rule with its mapping tied to the cluster's kinds, and what discovery knows about it.
#[derive(Clone, Debug)]
pub struct DiscoveredRule {
    /// The rule.
    pub rule: MetricRule,
    /// Its mapping. Of an external rule only the label of namespaces counts.
    pub mapping: Arc<ResolvedMapping>,
    /// The series that were found, or nothing before the first discovery that succeeded.
    pub found: Option<Arc<Found>>,
}

/// One rule's series that claims a metric.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Claim {
    /// The position of the rule.
    pub rule: usize,
    /// The series' name.
    pub series: Arc<str>,
    /// The label through which it claims; [`external::NAME`] where that is an external metric.
    pub label: Arc<str>,
}

/// A metric that more than one series claims, in the order of rising precedence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contest {
    /// The kind that the metric describes; nothing for an external metric.
    pub kind: Option<Arc<Kind>>,
    /// The metric's name in the API.
    pub metric: Arc<str>,
    /// Who claims it; the last one wins.
    pub claims: Vec<Claim>,
}

/// The snapshot that reads are answered from.
#[derive(Debug, Default)]
pub struct Catalog {
    kinds: Arc<Kinds>,
    metrics: BTreeMap<GroupResource, Vec<Metric<Provider>>>,
    undiscovered: Vec<RuleId>,
    limited: Vec<RuleId>,
    external: External,
    len: usize,
    bytes: usize,
}

/// How a metric is read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The rule that provides the metric.
    pub rule: Arc<CustomRule>,
    /// The series behind the metric.
    pub series: Arc<str>,
    /// The described kind.
    pub kind: Arc<Kind>,
    /// The label that holds the object's name.
    pub label: Arc<str>,
    /// The label that holds the namespace, where the rule maps one.
    pub namespace_label: Option<Arc<str>>,
}

impl Entry {
    /// What the metric's query is rendered from.
    pub fn source(&self) -> Source<'_> {
        let rule = &self.rule.base;
        Source {
            rule: &rule.id,
            fingerprint: rule.fingerprint,
            place: rule.place,
            query: &rule.query,
            is_sorted: self.rule.is_sorted,
            series: &self.series,
            label: &self.label,
            namespace_label: self.namespace_label.as_ref(),
            is_namespaced: self.kind.namespaced,
            part_label: None,
            options: &rule.options,
        }
    }
}

/// A metric and the kind that it describes, for lists.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'c> {
    /// The described kind.
    pub kind: &'c Kind,
    /// The metric's name in the API.
    pub metric: &'c str,
}

/// A metric as it is kept; of one kind, and of the external ones, they are in the order of their names. What is the same for
/// many of them is there once.
#[derive(Debug)]
struct Metric<P> {
    name: Arc<str>,
    series: Arc<str>,
    provider: Arc<P>,
}

/// The common part of all metrics that a rule serves by one label.
#[derive(Debug)]
struct Provider {
    rule: Arc<CustomRule>,
    kind: Arc<Kind>,
    label: Arc<str>,
    namespace_label: Option<Arc<str>>,
}

/// A claim, and the metric that it is on.
struct Claimed<P> {
    metric: Arc<str>,
    claim: Claim,
    provider: Arc<P>,
}

impl<P> Borrow<Claim> for Claimed<P> {
    fn borrow(&self) -> &Claim {
        &self.claim
    }
}

/// All claims on metrics, by resource and metric name, in the order of rising precedence.
fn claims(rules: &[DiscoveredRule], texts: &mut Texts) -> Vec<Claimed<Provider>> {
    let mut claims = Vec::new();
    for (index, DiscoveredRule { rule, mapping, found }) in rules.iter().enumerate() {
        let MetricRule::Custom(rule) = rule else { continue };
        let namespace_label = mapping.namespace_label().map(|label| texts.shared(label));
        for (label, names) in found.iter().flat_map(|found| &found.by_label) {
            let Some(kind) = mapping.kind(label) else {
                continue;
            };
            // A template may read two labels as the same kind; only one of them is asked for.
            if mapping.label(&kind.resource) != Some(label) {
                continue;
            }
            let provider = Arc::new(Provider {
                rule: Arc::clone(rule),
                kind: Arc::clone(kind),
                label: texts.shared(label.as_str()),
                namespace_label: namespace_label.clone(),
            });
            claimed(&mut claims, (index, &rule.base, &provider.label), names, &provider, texts);
        }
    }
    claims.sort_unstable_by(|a, b| {
        let resources = a.provider.kind.resource.cmp(&b.provider.kind.resource);
        resources.then_with(|| (&a.metric, &a.claim).cmp(&(&b.metric, &b.claim)))
    });
    claims
}

/// Adds the claims of a rule through a label.
fn claimed<P>(
    claims: &mut Vec<Claimed<P>>,
    (index, rule, label): (usize, &RuleBase, &Arc<str>),
    names: &BTreeSet<Arc<str>>,
    provider: &Arc<P>,
    texts: &mut Texts,
) {
    claims.extend(names.iter().filter_map(|series| {
        let metric = rule.namer.metric_name(series)?;
        let series = texts.shared(Arc::clone(series));
        Some(Claimed {
            metric: texts.shared(metric),
            claim: Claim { rule: index, series, label: Arc::clone(label) },
            provider: Arc::clone(provider),
        })
    }));
}

/// The metrics of sorted claims of one kind, or of external ones.
fn won<P>(claims: &[Claimed<P>], alive: &BTreeSet<Claim>) -> Vec<Metric<P>> {
    let metrics = claims.chunk_by(|a, b| a.metric == b.metric);
    let won = metrics.filter_map(|claims| winner(claims, alive));
    let mut won: Vec<_> = won
        .map(|Claimed { metric, claim, provider }| Metric {
            name: Arc::clone(metric),
            series: Arc::clone(&claim.series),
            provider: Arc::clone(provider),
        })
        .collect();
    won.shrink_to_fit();
    won
}

fn find<'c, P>(metrics: &'c [Metric<P>], name: &str) -> Option<&'c Metric<P>> {
    let at = metrics.binary_search_by(|metric| (*metric.name).cmp(name)).ok()?;
    metrics.get(at)
}

/// Who provides a contested metric: the last of the claims that are alive, or of all where none is.
pub fn winner<'c, C: Borrow<Claim>>(claims: &'c [C], alive: &BTreeSet<Claim>) -> Option<&'c C> {
    claims.iter().rev().find(|claim| alive.contains((*claim).borrow())).or(claims.last())
}

/// The metrics that more than one series claims: the ones for which it matters which series are alive.
pub fn contests(rules: &[DiscoveredRule]) -> Vec<Contest> {
    let mut texts = Texts::default();
    let custom = claims(rules, &mut texts);
    let custom = custom.chunk_by(|a, b| {
        a.metric == b.metric && a.provider.kind.resource == b.provider.kind.resource
    });
    let custom =
        custom.filter_map(|claims| contest(claims, |provider| Some(Arc::clone(&provider.kind))));
    let external = external::claims(rules, &mut texts);
    let external = external.chunk_by(|a, b| a.metric == b.metric);
    custom.chain(external.filter_map(|claims| contest(claims, |_| None))).collect()
}

fn contest<P>(
    claims: &[Claimed<P>],
    kind: impl FnOnce(&P) -> Option<Arc<Kind>>,
) -> Option<Contest> {
    let (first, [_, ..]) = claims.split_first()? else { return None };
    Some(Contest {
        kind: kind(&first.provider),
        metric: Arc::clone(&first.metric),
        claims: claims.iter().map(|claimed| claimed.claim.clone()).collect(),
    })
}

impl Catalog {
    /// Builds the snapshot. `alive` holds the contested claims whose series have samples within the discovery window;
    /// where none of a contest's claims is alive, all compete.
    pub fn build(kinds: Arc<Kinds>, rules: &[DiscoveredRule], alive: &BTreeSet<Claim>) -> Self {
        let mut texts = Texts::default();
        let claims = claims(rules, &mut texts);
        let of_kinds = claims
            .chunk_by(|a, b| a.provider.kind.resource == b.provider.kind.resource)
            .filter_map(|claims| {
                Some((claims.first()?.provider.kind.resource.clone(), won(claims, alive)))
            });
        let metrics: BTreeMap<_, _> = of_kinds.collect();
        let custom: usize = metrics.values().map(Vec::len).sum();
        let external = External::build(rules, alive, &mut texts);
        let those = |is: fn(Option<&Found>) -> bool| {
            let rules = rules.iter().filter(|rule| is(rule.found.as_deref()));
            rules.map(|rule| rule.rule.base().id.clone()).collect()
        };
        Self {
            kinds,
            metrics,
            undiscovered: those(|found| found.is_none()),
            limited: those(|found| found.is_some_and(|found| found.left_out > 0)),
            len: custom + external.len(),
            bytes: custom * size_of::<Metric<Provider>>() + external.bytes() + texts.bytes(),
            external,
        }
    }

    /// The kinds that the catalog was built with.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The kinds that the catalog was built with: the same as long as the cluster has the same.
    pub fn shared_kinds(&self) -> &Arc<Kinds> {
        &self.kinds
    }

    /// The external metrics.
    pub fn external(&self) -> &External {
        &self.external
    }

    /// How to read a metric of a kind.
    pub fn get(&self, resource: &GroupResource, metric: &str) -> Option<Entry> {
        let Metric { series, provider, .. } = find(self.metrics.get(resource)?, metric)?;
        Some(Entry {
            rule: Arc::clone(&provider.rule),
            series: Arc::clone(series),
            kind: Arc::clone(&provider.kind),
            label: Arc::clone(&provider.label),
            namespace_label: provider.namespace_label.clone(),
        })
    }

    /// Whether there is a metric of a kind.
    pub fn has(&self, resource: &GroupResource, metric: &str) -> bool {
        self.metrics.get(resource).is_some_and(|metrics| find(metrics, metric).is_some())
    }

    /// The rules of metrics that no discovery has succeeded for yet.
    pub fn undiscovered(&self) -> &[RuleId] {
        &self.undiscovered
    }

    /// The rules that have more metrics than are served.
    pub fn limited(&self) -> &[RuleId] {
        &self.limited
    }

    /// The kinds that have the metric, sorted, for the error of a read of another kind.
    pub fn kinds_with(&self, metric: &str) -> Vec<&GroupResource> {
        let kinds = self.metrics.iter().filter(|(_, metrics)| find(metrics, metric).is_some());
        kinds.map(|(resource, _)| resource).collect()
    }

    /// The rules that serve metrics.
    pub fn rules(&self) -> HashSet<RuleId> {
        let custom =
            self.metrics.values().flatten().map(|metric| metric.provider.rule.base.id.clone());
        custom.chain(self.external.rules()).collect()
    }

    /// All custom metrics, sorted by resource and name.
    pub fn list(&self) -> impl Iterator<Item = Listed<'_>> {
        let metrics = self.metrics.values().flatten();
        metrics.map(|Metric { name, provider, .. }| Listed { kind: &provider.kind, metric: name })
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
