//! `PodMetrics` and `NodeMetrics` of metrics.k8s.io, v1beta1 and v1, and their lists.
//!
//! The shapes are those of `k8s.io/metrics/pkg/apis/metrics`, field order included; both versions have the same. As at
//! metrics-server the creation is the time of the answer.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::list::{self, List, Rfc3339, Text};
use crate::core::{
    duration,
    quantity::{Binary, Decimal},
    resource::{NodeUsage, Object, PodUsage, Usage},
};

/// The API group.
pub const GROUP: &str = "metrics.k8s.io";

/// A version of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// The version that all clients know.
    V1beta1,
    /// The same, of Kubernetes 1.37 and later.
    V1,
}

impl Version {
    /// All versions, in the order of preference.
    pub const ALL: [Self; 2] = [Self::V1, Self::V1beta1];

    /// The version in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1beta1 => "v1beta1",
            Self::V1 => "v1",
        }
    }

    /// The version that a URL names.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1beta1 => "metrics.k8s.io/v1beta1",
            Self::V1 => "metrics.k8s.io/v1",
        }
    }
}

/// About how many bytes a pod or node has, without its labels.
const ITEM_BYTES: usize = 256;

/// Writes answers.
#[derive(Clone, Debug)]
pub struct Encoder {
    version: Version,
    /// As Go writes it.
    window: String,
    now_ms: i64,
}

impl Encoder {
    /// An encoder for the version that was asked for, with the range that usage is measured over and the time in milliseconds
    /// since the epoch.
    pub fn new(version: Version, window: Duration, now_ms: i64) -> Self {
        Self { version, window: duration::go(window), now_ms }
    }

    /// A `PodMetricsList`.
    pub fn pods(&self, pods: &[(Object, PodUsage)]) -> Vec<u8> {
        let items = pods.iter().map(|pod| self.pod_item(pod));
        self.list("PodMetricsList", items, pods.iter().map(|(object, _)| object))
    }

    /// A `PodMetrics`.
    pub fn pod(&self, pod: &(Object, PodUsage)) -> Vec<u8> {
        self.single("PodMetrics", self.pod_item(pod))
    }

    /// A `NodeMetricsList`.
    pub fn nodes(&self, nodes: &[(Object, NodeUsage)]) -> Vec<u8> {
        let items = nodes.iter().map(|node| self.node_item(node));
        self.list("NodeMetricsList", items, nodes.iter().map(|(object, _)| object))
    }

    /// A `NodeMetrics`.
    pub fn node(&self, node: &(Object, NodeUsage)) -> Vec<u8> {
        self.single("NodeMetrics", self.node_item(node))
    }

    fn pod_item<'a>(&'a self, (object, pod): &'a (Object, PodUsage)) -> impl Serialize + 'a {
        let containers = pod.containers.iter().map(|container| Container {
            name: &container.name,
            usage: Amounts::of(container.usage),
        });
        self.item(object, pod.at_ms, Containers { containers })
    }

    fn node_item<'a>(&'a self, (object, node): &'a (Object, NodeUsage)) -> impl Serialize + 'a {
        self.item(object, node.at_ms, Total { usage: Amounts::of(node.usage) })
    }

    fn item<'a, U>(&'a self, object: &'a Object, at_ms: i64, usage: U) -> Item<'a, U> {
        Item {
            metadata: Metadata {
                name: &object.name,
                namespace: &object.namespace,
                creation_timestamp: Rfc3339(self.now_ms),
                labels: Labels(object),
            },
            timestamp: Rfc3339(at_ms),
            window: &self.window,
            usage,
        }
    }

    fn list<'a>(
        &self,
        kind: &'static str,
        items: impl Iterator<Item: Serialize> + Clone,
        objects: impl Iterator<Item = &'a Object>,
    ) -> Vec<u8> {
        let labels =
            |object: &Object| object.labels.iter().map(|label| label.len() + 6).sum::<usize>();
        let bytes = objects.map(|object| ITEM_BYTES + labels(object)).sum();
        list::json(&List::new(kind, self.version.api_version(), items), bytes)
    }

    fn single(&self, kind: &'static str, item: impl Serialize) -> Vec<u8> {
        let single = Single { kind, api_version: self.version.api_version(), item };
        list::json(&single, 2 * ITEM_BYTES)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Single<T> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    item: T,
}

#[derive(Serialize)]
struct Item<'a, U> {
    metadata: Metadata<'a>,
    timestamp: Rfc3339,
    window: &'a str,
    #[serde(flatten)]
    usage: U,
}

/// What a node uses.
#[derive(Serialize)]
struct Total {
    usage: Amounts,
}

/// What the containers of a pod use.
#[derive(Serialize)]
struct Containers<I: Iterator<Item: Serialize> + Clone> {
    #[serde(serialize_with = "list::sequence")]
    containers: I,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    creation_timestamp: Rfc3339,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels<'a>,
}

/// The labels as an object, sorted by key as Go's JSON has them.
struct Labels<'a>(&'a Object);

impl Labels<'_> {
    fn is_empty(&self) -> bool {
        self.0.labels.is_empty()
    }
}

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A label is `key=value`, and a key has no equals sign.
        let labels = self.0.labels.iter();
        serializer.collect_map(labels.map(|label| label.split_once('=').unwrap_or((label, ""))))
    }
}

#[derive(Serialize)]
struct Container<'a> {
    name: &'a str,
    usage: Amounts,
}

#[derive(Serialize)]
struct Amounts {
    cpu: Text<Decimal>,
    memory: Text<Binary>,
}

impl Amounts {
    fn of(usage: Usage) -> Self {
        Self { cpu: Text(Decimal(usage.cpu_milli)), memory: Text(Binary(usage.memory_milli)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::resource::ContainerUsage;

    fn encoder(version: Version) -> Encoder {
        Encoder::new(version, Duration::from_secs(180), 1_763_651_880_000)
    }

    fn object(namespace: &str, name: &str, labels: &[&str]) -> Object {
        Object {
            namespace: namespace.into(),
            name: name.into(),
            labels: labels.iter().map(|label| (*label).into()).collect(),
        }
    }

    fn usage(cpu_milli: i64, mebibytes: i64) -> Usage {
        Usage { cpu_milli, memory_milli: (mebibytes << 20) * 1000 }
    }

    fn pod() -> (Object, PodUsage) {
        let container = |name: &str, usage| ContainerUsage { name: name.into(), usage };
        let containers = vec![container("proxy", usage(5, 20)), container("web", usage(1500, 1))];
        let pod = PodUsage { name: "web-0".into(), at_ms: 1_763_651_878_912, containers };
        (object("team", "web-0", &["app=web", "app.kubernetes.io/name=a=b", "empty="]), pod)
    }

    fn node() -> (Object, NodeUsage) {
        let node =
            NodeUsage { name: "n1".into(), at_ms: 1_763_651_878_912, usage: usage(2000, 2048) };
        (object("", "n1", &[]), node)
    }

    fn text(json: Vec<u8>) -> String {
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn pods_are_as_metrics_server_writes_them() {
        let wanted = r#"{"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":[{"metadata":{"name":"web-0","namespace":"team","creationTimestamp":"2025-11-20T15:18:00Z","labels":{"app":"web","app.kubernetes.io/name":"a=b","empty":""}},"timestamp":"2025-11-20T15:17:58Z","window":"3m0s","containers":[{"name":"proxy","usage":{"cpu":"5m","memory":"20Mi"}},{"name":"web","usage":{"cpu":"1500m","memory":"1Mi"}}]}]}"#;
        assert_eq!(text(encoder(Version::V1beta1).pods(&[pod()])), wanted);
        let single = text(encoder(Version::V1beta1).pod(&pod()));
        let start = r#"{"kind":"PodMetrics","apiVersion":"metrics.k8s.io/v1beta1","metadata":{"name":"web-0","#;
        assert!(single.starts_with(start), "{single}");
    }

    #[test]
    fn nodes_are_as_metrics_server_writes_them() {
        let encoder = encoder(Version::V1);
        let wanted = r#"{"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1","metadata":{"name":"n1","creationTimestamp":"2025-11-20T15:18:00Z"},"timestamp":"2025-11-20T15:17:58Z","window":"3m0s","usage":{"cpu":"2","memory":"2Gi"}}"#;
        assert_eq!(text(encoder.node(&node())), wanted);
        let list = text(encoder.nodes(&[node()]));
        let start = r#"{"kind":"NodeMetricsList","apiVersion":"metrics.k8s.io/v1","metadata":{},"items":[{"metadata":{"name":"n1","#;
        assert!(list.starts_with(start), "{list}");
    }

    #[test]
    fn an_empty_answer_has_an_empty_list() {
        let text = text(encoder(Version::V1beta1).pods(&[]));
        assert!(text.ends_with(r#""metadata":{},"items":[]}"#), "{text}");
    }
}
