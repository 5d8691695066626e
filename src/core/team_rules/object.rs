//! The objects, as the API server has them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::Status;

/// The `target` of a metric that belongs to no object.
pub const EXTERNAL: &str = "external";

/// A `MetricRule` or `ClusterMetricRule`. Which of them it is, is known from where it was read.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its name, namespace, generation and time of creation.
    pub metadata: ObjectMeta,
    /// What the team says.
    pub spec: Spec,
    /// What loadline says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// A metric, and the query that has its values.
///
/// A field that is not known is an error: what a team has written must not be left out silently.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The name of the metric in the metrics API.
    pub metric: String,
    /// A PromQL query. Every selector in it is limited to the series of the namespace.
    pub query: String,
    /// What the values belong to: `pods`, another resource such as `deployments.apps`, or `external`.
    pub target: String,
    /// The label of the result that holds the name of the object. By default the singular name of the resource: `pod`,
    /// `deployment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The range that the query looks over, as the answers report it. By default it is read from the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// How long a result is used. By default as --cache-ttl.
    #[serde(default, rename = "cacheTTL", skip_serializing_if = "Option::is_none")]
    pub cache_ttl: Option<String>,
    /// What becomes of objects without a sample: `omit` (the default), `zero`, or a value such as `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_empty: Option<String>,
    /// The server that is queried, one of those that are allowed to rules of teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The namespaces that a `ClusterMetricRule` is for. By default all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
}
