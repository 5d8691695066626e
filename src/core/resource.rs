//! The usage of pods and nodes, as metrics.k8s.io tells it: what is asked of Prometheus, and what its samples mean.

mod reading;
mod source;
mod usage_rules;

use std::{sync::Arc, time::Duration};

pub use reading::{
    ContainerUsage, Containers, NodeUsage, Nodes, PodUsage, nodes, pods, why_no_node, why_no_pod,
};
pub use source::ResourceSource;
pub use usage_rules::UsageRules;

use super::{
    kinds::Kinds,
    rules::{ResourceRule, ResourceRules},
};

/// An object whose usage is asked for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Object {
    /// The namespace; empty for what is in none.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// The labels, each as `key=value`, sorted by key.
    pub labels: Arc<[Arc<str>]>,
}

/// CPU and memory of a container or a node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in thousandths of a byte.
    pub memory_milli: i64,
}

/// How usage is queried: `resourceRules`, with their labels.
#[derive(Debug)]
pub struct ResourceSources {
    /// The usage of pods by container, or why it cannot be read.
    pub pods: Result<Pair, String>,
    /// The usage of nodes, or why it cannot be read.
    pub nodes: Result<Pair, String>,
    /// The range that the answers report.
    pub window: Duration,
}

/// How CPU and memory are queried, each.
#[derive(Debug)]
pub struct Pair {
    /// CPU, in cores.
    pub cpu: ResourceSource,
    /// Memory, in bytes.
    pub memory: ResourceSource,
}

impl ResourceSources {
    /// The queries of rules. Pods, namespaces and nodes are what they are in every cluster, so no API server is asked.
    pub fn new(rules: &ResourceRules) -> Self {
        let kinds = Kinds::builtin();
        let pair = |source: SourceOf| {
            let of = |rule: &Option<Arc<ResourceRule>>, name| match rule {
                Some(rule) => source(rule, &kinds),
                None => Err(format!("resourceRules.{name} is missing, or has been left out")),
            };
            Ok(Pair { cpu: of(&rules.cpu, "cpu")?, memory: of(&rules.memory, "memory")? })
        };
        Self {
            pods: pair(ResourceSource::containers),
            nodes: pair(ResourceSource::nodes),
            window: rules.window,
        }
    }
}

type SourceOf = fn(&Arc<ResourceRule>, &Kinds) -> Result<ResourceSource, String>;

#[cfg(test)]
mod tests;
