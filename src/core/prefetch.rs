//! What HorizontalPodAutoscalers will read, and how much of it is fetched before they do.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{explain::Api, overview::history::Topic, selector::Selector};

/// The most metrics of one HorizontalPodAutoscaler that are fetched before they are read.
pub const MAX_OF_AUTOSCALER: usize = 20;

/// The most different reads of one namespace that are fetched before they come.
pub const MAX_OF_NAMESPACE: usize = 200;

/// A metric of one HorizontalPodAutoscaler: a read that comes at every sync of its controller, by default every 15 s.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ExpectedRead {
    /// The HorizontalPodAutoscaler's namespace, where its metrics are read.
    pub namespace: Arc<str>,
    /// The metric's name, as it stands in the path of the read.
    pub metric: String,
    /// Which series. It equals what the read's `metricLabelSelector` is parsed to, for external metrics its `labelSelector`.
    pub selector: Selector,
    /// What the metric is one of.
    pub source: MetricSource,
    /// How many pods the scale target has.
    pub replicas: usize,
}

/// What a metric is one of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum MetricSource {
    /// Pods of the scale target (`type: Pods`), about as many as it has. Which these are is not known here: the read has
    /// the scale target's own selector.
    Pods,
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

impl ExpectedRead {
    /// Whether this read asks what a topic names. Which pods are meant is not known here, so any are.
    pub fn asks(&self, topic: &Topic) -> bool {
        let is_about = match &self.source {
            MetricSource::External => topic.api == Api::External,
            MetricSource::Pods => {
                topic.api == Api::Custom
                    && topic.objects.split(['/', ' ']).next().is_some_and(|it| it == "pods")
            }
            MetricSource::Object { api_version, kind, name } => {
                topic.api == Api::Custom && is_object(&topic.objects, api_version, kind, name)
            }
        };
        is_about
            && *self.namespace == *topic.namespace
            && self.metric == topic.metric
            && self.selector.to_string() == topic.selector
    }
}

/// Whether `ingresses.networking.k8s.io/web` is an object of a group and kind. A plural begins as its kind, but for a `y`.
fn is_object(objects: &str, api_version: &str, kind: &str, name: &str) -> bool {
    let Some((resource, named)) = objects.split_once('/') else { return false };
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let of_kind = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = kind.to_lowercase();
    named == name && group == of_kind && plural.starts_with(kind.trim_end_matches('y'))
}

/// What is fetched before it is read, and how many metrics are not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expected {
    /// The metrics that are fetched.
    pub reads: Vec<ExpectedRead>,
    /// Metrics that the controller has not read: nobody knows whether it ever will.
    pub not_read: usize,
    /// Metrics beyond [`MAX_OF_AUTOSCALER`] or [`MAX_OF_NAMESPACE`].
    pub over_limit: usize,
}

/// Puts together what is expected of several HorizontalPodAutoscalers, up to the limit of each namespace. Those that come first
/// count first, so in the same order the same metrics are left out. Reads that several expect are one.
pub fn within_limits<'e>(autoscalers: impl IntoIterator<Item = &'e Expected>) -> Expected {
    let mut all = Expected::default();
    let mut namespaces: HashMap<_, HashSet<_>> = HashMap::new();
    for Expected { reads, not_read, over_limit } in autoscalers {
        all.not_read += not_read;
        all.over_limit += over_limit;
        for read in reads {
            let different = namespaces.entry(&read.namespace).or_default();
            let read_of = (&read.metric, &read.selector, &read.source);
            if different.len() < MAX_OF_NAMESPACE || different.contains(&read_of) {
                different.insert(read_of);
                all.reads.push(read.clone());
            } else {
                all.over_limit += 1;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An autoscaler that reads these external metrics.
    fn autoscaler(namespace: &str, metrics: impl IntoIterator<Item = usize>) -> Expected {
        let read = |metric: usize| ExpectedRead {
            namespace: namespace.into(),
            metric: metric.to_string(),
            selector: Selector::default(),
            source: MetricSource::External,
            replicas: metric,
        };
        let reads = metrics.into_iter().map(read).collect();
        Expected { reads, not_read: 1, over_limit: 2 }
    }

    #[test]
    fn the_first_reads_of_each_namespace_count() {
        let autoscalers = [
            autoscaler("a", 0..150),
            autoscaler("a", 100..300),
            autoscaler("b", 0..3),
            autoscaler("a", 250..260),
        ];
        let all = within_limits(&autoscalers);
        let of = |namespace: &str| {
            let reads = all.reads.iter().filter(|read| &*read.namespace == namespace);
            reads.map(|read| read.metric.parse().unwrap()).collect::<Vec<usize>>()
        };
        assert_eq!(of("a"), (0..150).chain(100..200).collect::<Vec<_>>());
        assert_eq!(of("b"), [0, 1, 2]);
        assert_eq!((all.not_read, all.over_limit), (4, 8 + 100 + 10));
    }

    #[test]
    fn a_read_asks_for_its_metric_of_its_objects_only() {
        let topic = |api, objects: &str, metric: &str, selector: &str| Topic {
            api,
            namespace: "a".to_owned(),
            objects: objects.to_owned(),
            metric: metric.to_owned(),
            selector: selector.to_owned(),
        };
        let read = |source| ExpectedRead {
            namespace: "a".into(),
            metric: "m".to_owned(),
            selector: Selector::parse("q=1").unwrap(),
            source,
            replicas: 0,
        };
        let object = |api_version: &str, kind: &str| {
            let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
            read(MetricSource::Object { api_version, kind, name: "web".to_owned() })
        };
        let (pods, external) = (read(MetricSource::Pods), read(MetricSource::External));
        let ingress = object("networking.k8s.io/v1", "Ingress");
        let policy = object("networking.k8s.io/v1", "NetworkPolicy");
        let service = object("v1", "Service");
        let all = [&pods, &external, &ingress, &policy, &service];
        for (topic, asking) in [
            (topic(Api::External, "", "m", "q=1"), Some(&external)),
            (topic(Api::External, "", "m", ""), None),
            (topic(Api::External, "", "n", "q=1"), None),
            (topic(Api::Custom, "pods app=web", "m", "q=1"), Some(&pods)),
            (topic(Api::Custom, "pods", "m", "q=1"), Some(&pods)),
            (topic(Api::Custom, "podgroups app=web", "m", "q=1"), None),
            (topic(Api::Custom, "ingresses.networking.k8s.io/web", "m", "q=1"), Some(&ingress)),
            (topic(Api::Custom, "ingresses.extensions/web", "m", "q=1"), None),
            (topic(Api::Custom, "ingresses.networking.k8s.io/shop", "m", "q=1"), None),
            (
                topic(Api::Custom, "networkpolicies.networking.k8s.io/web", "m", "q=1"),
                Some(&policy),
            ),
            (topic(Api::Custom, "services/web", "m", "q=1"), Some(&service)),
        ] {
            let found: Vec<_> = all.into_iter().filter(|read| read.asks(&topic)).collect();
            assert_eq!(found, asking.into_iter().collect::<Vec<_>>(), "{topic:?}");
        }
        let elsewhere = Topic { namespace: "b".to_owned(), ..topic(Api::External, "", "m", "q=1") };
        assert!(!external.asks(&elsewhere));
    }

    #[test]
    fn a_read_that_many_expect_is_one() {
        let mut autoscalers = vec![autoscaler("a", [7]); 1_000];
        for (replicas, autoscaler) in autoscalers.iter_mut().enumerate() {
            autoscaler.reads[0].replicas = replicas;
        }
        autoscalers.push(autoscaler("a", 10..20));
        assert_eq!(within_limits(&autoscalers).reads.len(), 1_010);
    }
}
