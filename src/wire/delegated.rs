//! What is sent to another server of the metrics APIs, and what may come back.
//!
//! A request is written from what was parsed here, so that nothing of the client's passes as it came. A response is read, compared
//! with the request, and written anew: fields that the API does not have do not pass, and no value of another metric, namespace or
//! object does.

mod shape;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shape::Shape;

use super::{
    custom::{self, Version},
    external,
    list::{self, List, Rfc3339},
    path::{ExternalPath, MetricPath, Name, segment},
};
use crate::core::{
    excerpt::{NAME, SAID, excerpt},
    kinds::Kind,
    quantity::parse_nano,
    selector::{LabelSelector, Selector},
};

/// The most values of a response.
pub const MOST_VALUES: usize = 20_000;

/// The most labels of a value.
pub const MOST_LABELS: usize = 64;

/// The most labels of all values of a response. They take many times the memory of their bytes.
pub const MOST_LABELS_IN_ALL: usize = 100_000;

/// The most bytes of a label, with its value.
pub const LONGEST_LABEL: usize = 4 << 10;

/// The longest text of a value that is passed on, in bytes.
const LONGEST_VALUE: usize = 64;

/// A read of custom metrics that is sent to a delegate.
#[derive(Clone, Debug)]
pub struct CustomRead {
    /// What the path names.
    pub path: MetricPath,
    /// Which objects.
    pub objects: Selector,
    /// Which series.
    pub metric: Selector,
    /// The described kind, where it is known.
    pub kind: Option<Arc<Kind>>,
    /// The version that the client asked for.
    pub version: Version,
}

/// A read of an external metric that is sent to a delegate.
#[derive(Clone, Debug)]
pub struct ExternalRead {
    /// What the path names.
    pub path: ExternalPath,
    /// Which series.
    pub selector: Selector,
}

/// A response that is not an answer to what was asked. The text is for the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It is no JSON of the list.
    #[error("it is not the list that was asked for: line {line}, column {column}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is another kind or version.
    #[error("it is `{found}` and not {wanted}")]
    Kind {
        /// What it says that it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A value is of something else.
    #[error("a value is of the {what} `{found}`, which was not asked for")]
    Other {
        /// In which respect.
        what: &'static str,
        /// Which one.
        found: String,
    },
    /// A value or its time is none.
    #[error("`{0}` is not a quantity, or its time is not RFC 3339")]
    Value(String),
    /// It has too many values.
    #[error("it has more than {MOST_VALUES} values")]
    TooMany,
    /// Its values have too many labels, or one is too long.
    #[error(
        "a value has more than {MOST_LABELS} labels, all values together have more than {MOST_LABELS_IN_ALL}, or a label has more than {LONGEST_LABEL} bytes"
    )]
    Labels,
}

impl Unfit {
    fn json(error: &serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }

    fn other(what: &'static str, found: &str) -> Self {
        Self::Other { what, found: excerpt(found, NAME) }
    }
}

/// What a delegate says instead of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declined {
    /// The HTTP status.
    pub code: u16,
    /// The reason of the `Status`; empty where the body is none.
    pub reason: String,
    /// Its message, without line breaks and cut.
    pub message: String,
}

/// What there is in the body of a failure. A text with the secret in it, which may be empty, is none.
pub fn declined(code: u16, body: &[u8], secret: &str) -> Declined {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        kind: String,
        reason: String,
        message: String,
    }
    let status = serde_json::from_slice(body).ok().filter(|it: &Status| it.kind == "Status");
    let Status { reason, message, .. } = status.unwrap_or_default();
    // Before anything is cut off: a part of a secret is one, too.
    let may_be_said = |text: &String| secret.is_empty() || !text.contains(secret);
    let [reason, message] =
        [reason, message].map(|text| Some(text).filter(may_be_said).unwrap_or_default());
    let is_word = reason.len() <= NAME && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Declined {
        code,
        reason: if is_word { reason } else { String::new() },
        message: excerpt(&message, SAID),
    }
}

/// Path and query of a version's list of metrics.
pub fn list_target(group: &str, version: &str) -> String {
    format!("/apis/{group}/{version}")
}

/// Whether a text is one segment of a path for every server: some take others for several, or for steps, even when they are encoded.
fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\\'])
}

fn with_query(mut path: String, selectors: [(&str, &Selector); 2]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, selector) in selectors.iter().filter(|(_, selector)| !selector.is_empty()) {
        query.append_pair(name, &selector.to_string());
    }
    let query = query.finish();
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    path
}

impl CustomRead {
    /// Path and query for a server of a version; nothing for names that are no segments of a path.
    pub fn target(&self, version: Version) -> Option<String> {
        let MetricPath { namespace, resource, name, metric } = &self.path;
        let resource_text = resource.to_string();
        let object = match name {
            Name::One(name) => name.as_str(),
            Name::All => "*",
        };
        if ![&resource_text, object, metric.as_str()].into_iter().all(is_segment) {
            return None;
        }
        let (group, version, metric) = (custom::GROUP, version.name(), segment(metric));
        let resource = segment(&resource_text);
        let path = match namespace {
            Some(namespace) => {
                format!("namespaces/{}/{resource}/{name}/{metric}", segment(namespace))
            }
            None if self.path.is_of_namespaces() => format!("namespaces/{name}/metrics/{metric}"),
            None => format!("{resource}/{name}/{metric}"),
        };
        let path = format!("/apis/{group}/{version}/{path}");
        let selectors = [("labelSelector", &self.objects), ("metricLabelSelector", &self.metric)];
        Some(with_query(path, selectors))
    }

    /// The response of a server of a version, in the version that the client asked for.
    ///
    /// # Errors
    ///
    /// The response is not an answer to the request.
    pub fn answer(&self, version: Version, body: &[u8]) -> Result<Vec<u8>, Unfit> {
        let list: ListIn<CustomIn> = read(body)?;
        list.check("MetricValueList", custom::GROUP, version.name())?;
        let found = list.items.unwrap_or_default();
        let mut kinds: Option<(&str, &str)> = None;
        for item in &found {
            self.check(version, item)?;
            let object = &item.described_object;
            let kind = (object.kind.as_str(), object.api_version.as_str());
            if *kinds.get_or_insert(kind) != kind {
                return Err(Unfit::other("kind", kind.0));
            }
        }
        let selector = (!self.metric.is_empty()).then(|| self.metric.to_label_selector());
        let times = times(found.iter().map(|item| (&item.timestamp, &item.value)))?;
        let is_old = self.version == Version::V1beta1;
        let items = found.iter().zip(&times).map(|(item, at_ms)| {
            let window = item.window.or(item.window_seconds);
            let metric = self.path.metric.as_str();
            CustomOut {
                described_object: &item.described_object,
                metric_name: is_old.then_some(metric),
                metric: (!is_old)
                    .then_some(MetricOut { name: metric, selector: selector.as_ref() }),
                timestamp: Rfc3339(*at_ms),
                window: window.filter(|_| is_old),
                window_seconds: window.filter(|_| !is_old),
                value: &item.value,
                selector: is_old.then_some(selector.as_ref()),
            }
        });
        let api_version = match self.version {
            Version::V1beta1 => "custom.metrics.k8s.io/v1beta1",
            Version::V1beta2 => "custom.metrics.k8s.io/v1beta2",
        };
        Ok(list::json(&List::new("MetricValueList", api_version, items), body.len()))
    }

    fn check(&self, version: Version, item: &CustomIn) -> Result<(), Unfit> {
        let MetricPath { namespace, name, metric, .. } = &self.path;
        let found = match (version, &item.metric, &item.metric_name) {
            (Version::V1beta2, Some(metric), _) => metric.name.as_str(),
            (Version::V1beta1, _, Some(name)) => name.as_str(),
            _ => "",
        };
        if found != metric {
            return Err(Unfit::other("metric", found));
        }
        let object = &item.described_object;
        let found = object.namespace.as_deref().unwrap_or_default();
        // A namespace that is the object may say that it is in itself.
        let is_itself = namespace.is_none() && found == self.path.scope();
        if found != namespace.as_deref().unwrap_or_default() && !is_itself {
            return Err(Unfit::other("namespace", found));
        }
        match name {
            Name::One(name) if *name != object.name => {
                return Err(Unfit::other("object", &object.name));
            }
            _ if object.name.is_empty() => return Err(Unfit::other("object", "")),
            _ => {}
        }
        let group = object.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        match &self.kind {
            Some(kind) if kind.kind != object.kind || kind.resource.group != group => {
                Err(Unfit::other("kind", &format!("{} of {}", object.kind, object.api_version)))
            }
            _ => Ok(()),
        }
    }
}

impl ExternalRead {
    /// Path and query; nothing for names that are no segments of a path.
    pub fn target(&self) -> Option<String> {
        let ExternalPath { namespace, metric } = &self.path;
        if !is_segment(namespace) || !is_segment(metric) {
            return None;
        }
        let (namespace, metric) = (segment(namespace), segment(metric));
        let (group, version) = (external::GROUP, external::VERSION);
        let path = format!("/apis/{group}/{version}/namespaces/{namespace}/{metric}");
        let none = Selector::default();
        Some(with_query(path, [("labelSelector", &self.selector), ("metricLabelSelector", &none)]))
    }

    /// The response, as it is passed on.
    ///
    /// # Errors
    ///
    /// The response is not an answer to the request.
    pub fn answer(&self, body: &[u8]) -> Result<Vec<u8>, Unfit> {
        let list: ListIn<ExternalIn> = read(body)?;
        list.check("ExternalMetricValueList", external::GROUP, external::VERSION)?;
        let found = list.items.unwrap_or_default();
        let other = found.iter().find(|item| item.metric_name != self.path.metric);
        if let Some(item) = other {
            return Err(Unfit::other("metric", &item.metric_name));
        }
        let times = times(found.iter().map(|item| (&item.timestamp, &item.value)))?;
        let none = BTreeMap::new();
        let items = found.iter().zip(&times).map(|(item, at_ms)| ExternalOut {
            metric_name: &item.metric_name,
            metric_labels: item.metric_labels.as_ref().unwrap_or(&none),
            timestamp: Rfc3339(*at_ms),
            window: item.window.or(item.window_seconds),
            value: &item.value,
        });
        let list = List::new("ExternalMetricValueList", "external.metrics.k8s.io/v1beta1", items);
        Ok(list::json(&list, body.len()))
    }
}

/// A list, unless it holds more than may be kept.
fn read<I: DeserializeOwned>(body: &[u8]) -> Result<ListIn<I>, Unfit> {
    let json = |error: serde_json::Error| Unfit::json(&error);
    let Shape { values, labels, most_labels, longest_label } = Shape::of(body).map_err(json)?;
    if values > MOST_VALUES {
        return Err(Unfit::TooMany);
    }
    if most_labels > MOST_LABELS || labels > MOST_LABELS_IN_ALL || longest_label > LONGEST_LABEL {
        return Err(Unfit::Labels);
    }
    serde_json::from_slice(body).map_err(json)
}

/// The times of values, in milliseconds since the epoch.
fn times<'i>(values: impl Iterator<Item = (&'i String, &'i String)>) -> Result<Vec<i64>, Unfit> {
    let time = |(timestamp, value): (&String, &String)| {
        let is_quantity = value.len() <= LONGEST_VALUE && parse_nano(value).is_some();
        let at = timestamp.parse::<Timestamp>().ok().filter(|_| is_quantity);
        at.map(Timestamp::as_millisecond).ok_or_else(|| Unfit::Value(excerpt(value, NAME)))
    };
    values.map(time).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListIn<I> {
    kind: String,
    api_version: String,
    /// Go writes null for none.
    items: Option<Vec<I>>,
}

impl<I> ListIn<I> {
    fn check(&self, kind: &str, group: &str, version: &str) -> Result<(), Unfit> {
        let api_version = format!("{group}/{version}");
        if self.kind != kind || self.api_version != api_version {
            let found = excerpt(&format!("{} {}", self.api_version, self.kind), SAID);
            return Err(Unfit::Kind { found, wanted: format!("{api_version} {kind}") });
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomIn {
    described_object: Object,
    metric_name: Option<String>,
    metric: Option<MetricIn>,
    timestamp: String,
    window: Option<i64>,
    window_seconds: Option<i64>,
    value: String,
}

#[derive(Deserialize)]
struct MetricIn {
    name: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    api_version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CustomOut<'a> {
    described_object: &'a Object,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<MetricOut<'a>>,
    timestamp: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<i64>,
    value: &'a str,
    #[expect(clippy::option_option, reason = "v1beta1 has the key, with null where there is none")]
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<Option<&'a LabelSelector>>,
}

#[derive(Serialize)]
struct MetricOut<'a> {
    name: &'a str,
    selector: Option<&'a LabelSelector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalIn {
    metric_name: String,
    metric_labels: Option<BTreeMap<String, String>>,
    timestamp: String,
    window: Option<i64>,
    window_seconds: Option<i64>,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalOut<'a> {
    metric_name: &'a str,
    metric_labels: &'a BTreeMap<String, String>,
    timestamp: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<i64>,
    value: &'a str,
}

#[cfg(test)]
mod tests;
