//! What HorizontalPodAutoscalers will ask for.

use std::sync::Arc;

use super::selector::Selector;

/// A metric of one HorizontalPodAutoscaler: a question that comes at every sync of its controller, by default every 15 s.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seed {
    /// The HorizontalPodAutoscaler's namespace, where its metrics are read.
    pub namespace: Arc<str>,
    /// The metric's name, as it stands in the path of the question.
    pub metric: String,
    /// Which series. It equals what the question's `metricLabelSelector` is read as, for external metrics its `labelSelector`.
    pub selector: Selector,
    /// What the metric is one of.
    pub source: Source,
}

/// What a metric is one of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Pods of the scale target (`type: Pods`). Which these are is not known here: the question has the scale target's own
    /// selector.
    Pods {
        /// How many pods the scale target has: about as many objects are asked for.
        replicas: usize,
    },
    /// One object in the same namespace (`type: Object`), as `describedObject` has it. The controller asks for the namespace
    /// itself in another way: by `namespaces/NAME/metrics/METRIC`.
    Object {
        /// `apiVersion`: the group and version, or the version alone for the core group, or nothing.
        api_version: String,
        /// The kind, as in a manifest.
        kind: String,
        /// The name.
        name: String,
    },
    /// Nothing in the cluster (`type: External`).
    External,
}
