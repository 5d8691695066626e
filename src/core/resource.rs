//! The usage of pods and nodes for metrics.k8s.io: the queries, and the meaning of their samples.

mod reading;
mod source;
mod usage_rules;

use std::sync::Arc;

pub use reading::{
    ContainerUsage, Containers, Node, NodeUsage, Nodes, Pod, PodUsage, UsageSamples, nodes, pods,
    why_no_node, why_no_pod,
};
pub use source::ResourceSource;
pub use usage_rules::{UsageOf, UsageRules};

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

/// How CPU and memory are queried, each.
#[derive(Debug)]
pub struct Pair {
    /// CPU, in cores.
    pub cpu: ResourceSource,
    /// Memory, in bytes.
    pub memory: ResourceSource,
}

#[cfg(test)]
mod tests;
