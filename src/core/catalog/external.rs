//! The external metrics of a catalog: registered under their name alone, whatever labels their series carry.

use std::{collections::BTreeSet, sync::Arc};

use super::{Claim, Claimed, DiscoveredRule, Metric, claimed, find, texts::Texts, won};
use crate::core::rules::{ExternalRule, MetricRule, RuleId};

/// The label that every series carries; external metrics are claimed through it.
pub const NAME: &str = "__name__";

/// All external metrics.
#[derive(Debug, Default)]
pub struct External {
    pub(super) metrics: Vec<Metric<Provider>>,
}

/// What all metrics of a rule have in common.
#[derive(Debug)]
pub(super) struct Provider {
    rule: Arc<ExternalRule>,
    namespace_label: Option<Arc<str>>,
}

/// How an external metric is read.
#[derive(Clone, Debug)]
pub struct ExternalEntry {
    /// The rule that provides the metric.
    pub rule: Arc<ExternalRule>,
    /// The series behind the metric.
    pub series: Arc<str>,
    /// The label that holds the namespace, where the rule maps one. Whether it is matched is the rule's
    /// `resources.namespaced`.
    pub namespace_label: Option<Arc<str>>,
}

/// All claims on external metrics, by the metric's name, in the order of rising precedence.
pub(super) fn claims(rules: &[DiscoveredRule], texts: &mut Texts) -> Vec<Claimed<Provider>> {
    let mut claims = Vec::new();
    let label = texts.shared(NAME);
    for (index, DiscoveredRule { rule, mapping, found }) in rules.iter().enumerate() {
        let MetricRule::External(rule) = rule else { continue };
        let namespace_label = mapping.namespace_label().map(|label| texts.shared(label));
        let provider = Arc::new(Provider { rule: Arc::clone(rule), namespace_label });
        if let Some(names) = found.as_ref().and_then(|found| found.by_label.get(NAME)) {
            claimed(&mut claims, (index, &rule.base, &label), names, &provider, texts);
        }
    }
    claims.sort_unstable_by(|a, b| (&a.metric, &a.claim).cmp(&(&b.metric, &b.claim)));
    claims
}

impl External {
    pub(super) fn build(
        rules: &[DiscoveredRule],
        alive: &BTreeSet<Claim>,
        texts: &mut Texts,
    ) -> Self {
        Self { metrics: won(&claims(rules, texts), alive) }
    }

    /// Roughly how many bytes the metrics take in memory, without the texts that are shared.
    pub(super) fn bytes(&self) -> usize {
        self.metrics.len() * size_of::<Metric<Provider>>()
    }

    /// How to read a metric.
    pub fn get(&self, metric: &str) -> Option<ExternalEntry> {
        let Metric { series, provider, .. } = find(&self.metrics, metric)?;
        Some(ExternalEntry {
            rule: Arc::clone(&provider.rule),
            series: Arc::clone(series),
            namespace_label: provider.namespace_label.clone(),
        })
    }

    /// Whether there is a metric of this name.
    pub fn has(&self, metric: &str) -> bool {
        find(&self.metrics, metric).is_some()
    }

    /// The rule of each metric.
    pub(super) fn rules(&self) -> impl Iterator<Item = RuleId> {
        self.metrics.iter().map(|metric| metric.provider.rule.base.id.clone())
    }

    /// The rule and the name of each metric, sorted by name.
    pub(super) fn with_rules(&self) -> impl Iterator<Item = (&RuleId, &str)> {
        self.metrics.iter().map(|metric| (&metric.provider.rule.base.id, &*metric.name))
    }

    /// The names of all metrics, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.metrics.iter().map(|metric| &*metric.name)
    }

    /// How many metrics there are.
    pub fn len(&self) -> usize {
        self.metrics.len()
    }

    /// Whether there is no metric.
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::core::rules::RuleEntry;

    use super::*;
    use crate::core::{
        catalog::{Catalog, Found, contests},
        kinds::Kinds,
        rules::load,
    };

    const RULES: &str = r#"
rules:
- seriesQuery: '{__name__=~"^a.*"}'
  resources: {overrides: {pod: {resource: pod}}}
  metricsQuery: custom(<<.Series>>)
externalRules:
- seriesQuery: '{__name__=~"^a.*"}'
  resources: {overrides: {ns: {resource: namespaces}}}
  name: {matches: "^(.*?)(_total)?$", as: "$1"}
  metricsQuery: first(<<.Series>>)
- seriesQuery: '{__name__=~"^b.*"}'
  resources: {namespaced: false}
  name: {matches: "^b(.*)$", as: "a$1"}
  metricsQuery: second(<<.Series>>)
"#;

    /// The rules of both APIs; what was found for each, or nothing where it was not discovered.
    fn rules(found: [Option<(&str, &[&str])>; 3]) -> Vec<DiscoveredRule> {
        let rules = load(RULES).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        let rules = rules.of_metrics().zip(found).map(|(rule, found)| DiscoveredRule {
            mapping: Arc::new(rule.base().mapping.resolve(&Kinds::builtin())),
            rule,
            found: found.map(|(label, names)| {
                let mut found = Found::default();
                for name in names {
                    found.insert(label, name);
                }
                Arc::new(found)
            }),
        });
        rules.collect()
    }

    fn catalog(rules: &[DiscoveredRule], alive: &[Claim]) -> Catalog {
        Catalog::build(Arc::new(Kinds::builtin()), rules, &alive.iter().cloned().collect())
    }

    #[test]
    fn metrics_are_registered_by_name_next_to_custom_metrics() {
        let names: &[&str] = &["a_x", "a_y_total", "a.dotted"];
        let rules =
            rules([Some(("pod", names)), Some((NAME, names)), Some((NAME, &["b_z", "other"]))]);
        let catalog = catalog(&rules, &[]);
        let external = catalog.external();
        assert_eq!(external.names().collect::<Vec<_>>(), ["a.dotted", "a_x", "a_y", "a_z"]);
        assert_eq!(&*external.get("a_y").unwrap().series, "a_y_total");
        assert_eq!(external.get("a_x").unwrap().namespace_label.as_deref(), Some("ns"));
        assert_eq!(external.get("a_z").unwrap().namespace_label, None);
        assert!(external.get("a_y_total").is_none());
        assert_eq!((catalog.list().count(), catalog.len()), (3, 7));
        assert!(catalog.bytes() > 7 * size_of::<Metric<Provider>>());
        assert!(contests(&rules).is_empty(), "the APIs do not compete");
    }

    #[test]
    fn the_later_rule_wins_unless_its_series_is_dead() {
        let both = rules([
            Some(("pod", &[])),
            Some((NAME, &["a_x", "a_x_total"])),
            Some((NAME, &["b_x"])),
        ]);
        let series =
            |catalog: &Catalog| catalog.external().get("a_x").map(|entry| entry.series.to_string());
        assert_eq!(series(&catalog(&both, &[])).as_deref(), Some("b_x"));
        let contests = contests(&both);
        assert_eq!(contests.len(), 1);
        assert_eq!((&contests[0].kind, &*contests[0].metric), (&None, "a_x"));
        let claims: Vec<_> =
            contests[0].claims.iter().map(|claim| (claim.rule, &*claim.series)).collect();
        assert_eq!(claims, [(1, "a_x"), (1, "a_x_total"), (2, "b_x")]);
        let alive = Claim { rule: 1, series: "a_x".into(), label: NAME.into() };
        assert_eq!(series(&catalog(&both, &[alive])).as_deref(), Some("a_x"));
    }

    #[test]
    fn rules_without_a_discovery_are_named_by_api() {
        let catalog = catalog(&rules([None, None, Some((NAME, &["b_x"]))]), &[]);
        assert_eq!(
            catalog.undiscovered(),
            [RuleEntry::Custom(0).into(), RuleEntry::External(0).into()]
        );
        assert_eq!(catalog.external().len(), 1);
    }
}
