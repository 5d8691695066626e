//! Reading a `MetricValueList`, as far as an autoscaler needs it.

use serde::Deserialize;

/// The answer of `custom.metrics.k8s.io`.
#[derive(Debug, Deserialize)]
pub struct MetricValueList {
    /// One item per object.
    pub items: Vec<Item>,
}

/// An object's value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The object.
    pub described_object: DescribedObject,
    /// The value, a Kubernetes quantity.
    pub value: String,
}

/// An object's name.
#[derive(Debug, Deserialize)]
pub struct DescribedObject {
    /// The name.
    pub name: String,
}
