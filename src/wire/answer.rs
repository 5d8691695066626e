//! The answers of the metrics APIs as a client reads them: of any version, of our own servers and of others.

use std::collections::BTreeMap;

use serde::{Deserialize, de::Error as _};

/// The items of an answer: `MetricValueList`, `ExternalMetricValueList`, `PodMetrics`, `NodeMetrics` and their lists.
///
/// # Errors
///
/// It is none of these.
pub fn items(text: &str) -> serde_json::Result<Vec<Item>> {
    #[derive(Deserialize)]
    struct List {
        items: Option<Vec<Item>>,
    }
    if let Some(items) = serde_json::from_str::<List>(text)?.items {
        return Ok(items);
    }
    // metrics.k8s.io answers a read by name with the object alone.
    let item: Item = serde_json::from_str(text)?;
    if item.metadata.name.is_empty() {
        return Err(serde_json::Error::custom("neither a list nor the usage of an object"));
    }
    Ok(vec![item])
}

/// An item, with what the kinds of answers have. What an answer lacks is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Item {
    /// The object of a custom metric.
    pub described_object: ObjectName,
    /// The labels of an external value.
    pub metric_labels: BTreeMap<String, String>,
    /// The pod or node of a usage.
    pub metadata: ObjectName,
    /// When the value was measured, RFC 3339.
    pub timestamp: Option<String>,
    /// The range that the value was measured over: `window` or `windowSeconds`, a number of seconds or a duration of Go.
    #[serde(alias = "windowSeconds")]
    pub window: Option<Window>,
    /// The value, a Kubernetes quantity.
    pub value: String,
    /// The usage of a node.
    pub usage: BTreeMap<String, String>,
    /// The containers of a pod.
    pub containers: Vec<Container>,
}

/// The name of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ObjectName {
    /// The namespace; empty for objects that are in none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What a container uses.
#[derive(Debug, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// A quantity for each resource.
    pub usage: BTreeMap<String, String>,
}

/// A range of time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(untagged)]
pub enum Window {
    /// Seconds.
    Seconds(i64),
    /// A duration of Go, such as `3m0s`.
    Text(String),
}

/// The versions of a group, from its `APIGroup`.
///
/// # Errors
///
/// It is none.
pub fn versions(text: &str) -> serde_json::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct ApiGroup {
        versions: Vec<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let group: ApiGroup = serde_json::from_str(text)?;
    Ok(group.versions.into_iter().map(|version| version.version).collect())
}

/// The resources of a version, from its `APIResourceList`: whether each lives in namespaces, by name.
///
/// # Errors
///
/// It is none.
pub fn resources(text: &str) -> serde_json::Result<BTreeMap<String, bool>> {
    #[derive(Deserialize)]
    struct ApiResourceList {
        /// Go writes null for none.
        #[serde(deserialize_with = "Option::deserialize")]
        resources: Option<Vec<Resource>>,
    }
    #[derive(Deserialize)]
    struct Resource {
        name: String,
        namespaced: bool,
    }
    let list: ApiResourceList = serde_json::from_str(text)?;
    let resources = list.resources.unwrap_or_default().into_iter();
    Ok(resources.map(|resource| (resource.name, resource.namespaced)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_custom_metrics_are_read() {
        let v1 = r#"{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta1","metadata":{},"items":[{"describedObject":{"kind":"Pod","namespace":"n","name":"web-0","apiVersion":"/v1"},"metricName":"m","timestamp":"2025-11-20T15:17:58Z","window":60,"value":"9999m","selector":null}]}"#;
        let v2 = v1
            .replace(r#""metricName":"m""#, r#""metric":{"name":"m","selector":null}"#)
            .replace(r#""window""#, r#""windowSeconds""#);
        for text in [v1, &v2] {
            let items = items(text).unwrap();
            let [item] = items.as_slice() else { panic!("{items:?}") };
            assert_eq!((&*item.described_object.name, &*item.value), ("web-0", "9999m"));
            assert_eq!(item.window, Some(Window::Seconds(60)));
        }
    }

    #[test]
    fn usage_is_read_alone_and_in_lists() {
        let pod = r#"{"kind":"PodMetrics","metadata":{"name":"web-0","namespace":"n","creationTimestamp":null},"timestamp":"2025-11-20T15:17:58Z","window":"3m0s","containers":[{"name":"app","usage":{"cpu":"5m","memory":"20Mi"}}]}"#;
        for text in [pod, &format!(r#"{{"metadata":{{}},"items":[{pod}]}}"#)] {
            let items = items(text).unwrap();
            let [item] = items.as_slice() else { panic!("{items:?}") };
            assert_eq!(item.metadata.name, "web-0");
            assert_eq!(item.containers[0].usage["cpu"], "5m");
            assert_eq!(item.window, Some(Window::Text("3m0s".to_owned())));
        }
    }

    #[test]
    fn what_is_none_is_an_error() {
        for text in
            ["<html>", "[]", "3", "{}", r#"{"items": 3}"#, r#"{"kind": "Status", "metadata": {}}"#]
        {
            assert!(items(text).is_err(), "{text}");
        }
        for text in [r#"{"kind":"Status"}"#, r#"{"resources":[{}]}"#] {
            assert!(versions(text).is_err() && resources(text).is_err(), "{text}");
        }
    }
}
