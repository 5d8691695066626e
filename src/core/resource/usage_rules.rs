//! `resourceRules` as they are served.

use std::{sync::Arc, time::Duration};

use super::{Pair, ResourceSource};
use crate::core::{
    kinds::{Kind, Kinds},
    rules::{ComputeResource, Fingerprint, ResourceRule, ResourceRules, RuleEntry},
};

/// How usage is queried: `resourceRules`, with their labels.
pub struct UsageRules {
    /// What the rules say, to know them again.
    fingerprint: [Option<Fingerprint>; 2],
    /// The usage of pods, by container.
    pub pods: UsageOf,
    /// The usage of nodes.
    pub nodes: UsageOf,
    /// The range that the answers report.
    pub window: Duration,
}

/// How the usage of objects of a kind is queried.
pub struct UsageOf {
    /// The kind.
    pub kind: Arc<Kind>,
    /// The queries, or why usage cannot be read.
    pub queries: Result<Pair, String>,
}

impl UsageRules {
    /// From compiled rules; nothing where the cluster has no pods or nodes, which none is without. Pods, namespaces and nodes
    /// are what they are in every cluster, so no API server is asked.
    pub fn new(rules: &ResourceRules) -> Option<Self> {
        let kinds = Kinds::builtin();
        let usage_of = |resource: &str| {
            let kind = Arc::clone(kinds.resolve("", resource)?);
            let of = |rule: &Option<Arc<ResourceRule>>, resource| {
                let missing = || {
                    let rule = RuleEntry::Resource(resource);
                    format!("{rule} is missing, or has been left out")
                };
                ResourceSource::new(rule.as_ref().ok_or_else(missing)?, &kind, &kinds)
            };
            let cpu = of(&rules.cpu, ComputeResource::Cpu);
            let memory = of(&rules.memory, ComputeResource::Memory);
            let queries = cpu.and_then(|cpu| Ok(Pair { cpu, memory: memory? }));
            Some(UsageOf { kind, queries })
        };
        let (pods, nodes) = (usage_of("pods")?, usage_of("nodes")?);
        Some(Self { fingerprint: fingerprint(rules), pods, nodes, window: rules.window })
    }

    /// Whether rules say the same as those that this was made from.
    pub fn is_of(&self, rules: &ResourceRules) -> bool {
        self.fingerprint == fingerprint(rules) && self.window == rules.window
    }

    /// Why pods or nodes cannot be read, if so.
    pub fn problems(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("pods", &self.pods), ("nodes", &self.nodes)]
            .into_iter()
            .filter_map(|(what, of)| Some((what, of.queries.as_ref().err()?.as_str())))
    }
}

fn fingerprint(rules: &ResourceRules) -> [Option<Fingerprint>; 2] {
    [&rules.cpu, &rules.memory].map(|rule| rule.as_ref().map(|rule| rule.fingerprint))
}
