//! What loadline says of a rule of a team: the status of the object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

/// The status of a `MetricRule` or `ClusterMetricRule`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How many series the last result had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<i64>,
    /// A value of the last result, as a quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why the last query failed. Empty after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A condition, in the form that Kubernetes has for them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, as one word for programs.
    pub reason: String,
    /// Why, as a sentence for people.
    pub message: String,
    /// When `status` changed last.
    pub last_transition_time: Time,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The types of conditions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ConditionType {
    /// The spec compiles, the query is limited to the namespace, and the quota allows the rule.
    Accepted,
    /// The query had a result.
    Discovered,
    /// Reads of the metric in the namespace are answered by this rule.
    Serving,
}
