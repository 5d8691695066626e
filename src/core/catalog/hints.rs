//! Suggestions for names that the catalog lacks. They contain only names that discovery lists anyway.

use super::{Catalog, GroupResource};
use crate::core::nearest::{MOST, did_you_mean, nearest};

impl Catalog {
    /// Whether there is a metric of this name for any resource, or in the other API.
    pub fn has_anywhere(&self, metric: &str) -> bool {
        self.external.has(metric) || !self.kinds_with(metric).is_empty()
    }

    /// Why a resource has no metric of this name, with suggestions.
    pub fn why_unknown(&self, resource: &GroupResource, metric: &str) -> String {
        let is_external = self.external.has(metric);
        let kinds = self.kinds_with(metric);
        let of_resource = self.metrics.get(resource);
        let hint = hint(metric, || {
            of_resource.into_iter().flatten().map(|metric| (&*metric.name, &*metric.series))
        });
        let mut elsewhere = Vec::new();
        if !kinds.is_empty() {
            elsewhere.push(format!("there is a metric of this name for {}", listed(&kinds)));
        }
        if is_external {
            elsewhere.push("external.metrics.k8s.io has a metric of this name".to_owned());
        }
        match (elsewhere.is_empty(), hint.is_empty()) {
            (false, true) => elsewhere.join("; "),
            (false, false) => {
                format!(
                    "no rule serves a metric of this name for {resource}{hint}; {}",
                    elsewhere.join("; ")
                )
            }
            (true, false) => format!("{NONE}{hint}"),
            (true, true) => {
                format!("{NONE}{}{}", self.hint_from_elsewhere(resource, metric), self.left_out())
            }
        }
    }

    /// Why there is no external metric of this name, with suggestions.
    pub fn why_unknown_external(&self, metric: &str) -> String {
        let hint = hint(metric, || {
            self.external.metrics.iter().map(|metric| (&*metric.name, &*metric.series))
        });
        let kinds = self.kinds_with(metric);
        let custom = match kinds.as_slice() {
            [] if hint.is_empty() => did_you_mean(&self.near_custom(metric, None)),
            [] => String::new(),
            kinds => format!("; custom.metrics.k8s.io has one for {}", listed(kinds)),
        };
        let left_out = self.left_out();
        format!("no rule of externalRules serves a metric of this name{hint}{custom}{left_out}")
    }

    /// A note that the metric may have been left out because its rule has too many.
    fn left_out(&self) -> String {
        match self.limited.as_slice() {
            [] => String::new(),
            [rule] => format!("; {rule} has more metrics than are served"),
            [rule, ..] => format!("; {rule} and others have more metrics than are served"),
        }
    }

    /// The nearest names of other resources, or of the other API.
    fn hint_from_elsewhere(&self, resource: &GroupResource, metric: &str) -> String {
        let mut near = self.near_custom(metric, Some(resource));
        if near.is_empty() {
            let names = nearest(metric, self.external.names()).into_iter();
            near = names.map(|name| format!("{name} of external.metrics.k8s.io")).collect();
        }
        did_you_mean(&near)
    }

    /// The nearest names of custom metrics, each with its resources, but for those of one resource.
    fn near_custom(&self, metric: &str, but: Option<&GroupResource>) -> Vec<String> {
        let others = self.metrics.iter().filter(|(other, _)| but != Some(*other));
        let names = others.flat_map(|(_, metrics)| metrics.iter().map(|metric| &*metric.name));
        let place = if but.is_none() { " in custom.metrics.k8s.io" } else { "" };
        nearest(metric, names)
            .into_iter()
            .map(|name| format!("{name} of {}{place}", listed(&self.kinds_with(name))))
            .collect()
    }
}

const NONE: &str = "no rule serves a metric of this name";

/// The metrics of the series of this name, since people know the series; otherwise the nearest names.
fn hint<'c, I: Iterator<Item = (&'c str, &'c str)>>(metric: &str, names: impl Fn() -> I) -> String {
    let mut served: Vec<_> =
        names().filter(|(_, series)| *series == metric).map(|(name, _)| name).collect();
    served.sort_unstable();
    served.truncate(MOST);
    if served.is_empty() {
        served = nearest(metric, names().map(|(name, _)| name));
    }
    did_you_mean(&served)
}

fn listed(kinds: &[&GroupResource]) -> String {
    kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::core::{
        catalog::{DiscoveredRule, Found, external::NAME},
        kinds::Kinds,
        rules::load,
    };

    /// Names of pods' series by the label `pod`, of nodes' by `node`, and of external metrics.
    fn catalog(pods: &[&str], nodes: &[&str], external: &[&str]) -> Catalog {
        let rules = load(
            "rules:
- {seriesQuery: a, resources: {overrides: {pod: {resource: pod}, node: {resource: node}}}, metricsQuery: a, name: {matches: '^(.*?)(_total)?$', as: '$1'}}
externalRules:
- {seriesQuery: b, resources: {namespaced: false}, metricsQuery: b}
",
        )
        .unwrap();
        let mut found = [Found::default(), Found::default()];
        for (label, names) in [("pod", pods), ("node", nodes)] {
            for name in names {
                found[0].insert(label, name);
            }
        }
        for name in external {
            found[1].insert(NAME, name);
        }
        let kinds = Kinds::builtin();
        let discovered: Vec<_> = rules
            .of_metrics()
            .zip(found)
            .map(|(rule, found)| DiscoveredRule {
                mapping: Arc::new(rule.base().mapping.resolve(&kinds)),
                rule,
                found: Some(Arc::new(found)),
            })
            .collect();
        Catalog::build(Arc::new(kinds), &discovered, &BTreeSet::new())
    }

    #[test]
    fn an_unknown_metric_names_its_neighbours() {
        let catalog = catalog(
            &["DCGM_ACTIVE", "requests_total", "both"],
            &["disk_bytes", "both"],
            &["queue_depth", "both"],
        );
        let cases = [
            ("dcgm_active", "a metric of this name; did you mean DCGM_ACTIVE?"),
            ("DCGM_ACTIV", "did you mean DCGM_ACTIVE?"),
            ("requests_total", "did you mean requests?"),
            ("disk_bytes", "there is a metric of this name for nodes"),
            ("disk_byte", "did you mean disk_bytes of nodes?"),
            ("queue_depth", "external.metrics.k8s.io has a metric of this name"),
            ("queue_dept", "did you mean queue_depth of external.metrics.k8s.io?"),
            ("memory", "no rule serves a metric of this name"),
        ];
        let pods = GroupResource::parse("pods");
        for (metric, wanted) in cases {
            let why = catalog.why_unknown(&pods, metric);
            assert!(why.ends_with(wanted), "{metric}: {why}");
        }
        let services = GroupResource::parse("services");
        assert_eq!(
            catalog.why_unknown(&services, "both"),
            "there is a metric of this name for nodes, pods; external.metrics.k8s.io has a metric of this name"
        );
        assert!(
            catalog.why_unknown(&services, "bot").ends_with("did you mean both of nodes, pods?")
        );
    }

    #[test]
    fn what_is_near_comes_before_what_is_elsewhere() {
        let catalog = catalog(&["requests"], &["request"], &[]);
        assert_eq!(
            catalog.why_unknown(&GroupResource::parse("pods"), "request"),
            "no rule serves a metric of this name for pods; did you mean requests?; there is a metric of this name for nodes"
        );
    }

    #[test]
    fn an_unknown_external_metric_names_its_neighbours() {
        let catalog = catalog(&["requests"], &[], &["queue_depth"]);
        let cases = [
            ("Queue_Depth", "did you mean queue_depth?"),
            ("requests", "custom.metrics.k8s.io has one for pods"),
            ("Requests", "did you mean requests of pods in custom.metrics.k8s.io?"),
            ("requestss", "did you mean requests of pods in custom.metrics.k8s.io?"),
            ("other", "no rule of externalRules serves a metric of this name"),
        ];
        for (metric, wanted) in cases {
            let why = catalog.why_unknown_external(metric);
            assert!(why.ends_with(wanted), "{metric}: {why}");
        }
    }
}
