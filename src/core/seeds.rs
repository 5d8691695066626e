//! What HorizontalPodAutoscalers will ask for, and how much of it is fetched before they do.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::selector::Selector;

/// The most metrics of one HorizontalPodAutoscaler that are fetched before they are read.
pub const MAX_OF_AUTOSCALER: usize = 20;

/// The most different questions of one namespace that are fetched before they are asked.
pub const MAX_OF_NAMESPACE: usize = 200;

/// A metric of one HorizontalPodAutoscaler: a question that comes at every sync of its controller, by default every 15 s.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Seed {
    /// The HorizontalPodAutoscaler's namespace, where its metrics are read.
    pub namespace: Arc<str>,
    /// The metric's name, as it stands in the path of the question.
    pub metric: String,
    /// Which series. It equals what the question's `metricLabelSelector` is read as, for external metrics its `labelSelector`.
    pub selector: Selector,
    /// What the metric is one of.
    pub source: Source,
    /// How many pods the scale target has.
    pub replicas: usize,
}

/// What a metric is one of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// Pods of the scale target (`type: Pods`), about as many as it has. Which these are is not known here: the question has
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

/// What is fetched before it is read, and how many metrics are not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expected {
    /// The metrics that are fetched.
    pub seeds: Vec<Seed>,
    /// Metrics that the controller has not read: nobody knows whether it ever will.
    pub not_read: usize,
    /// Metrics beyond [`MAX_OF_AUTOSCALER`] or [`MAX_OF_NAMESPACE`].
    pub over_limit: usize,
}

/// Puts together what is expected of several HorizontalPodAutoscalers, up to the limit of each namespace. Those that come first
/// count first, so in the same order the same metrics are left out. Questions that several ask are one.
pub fn within_limits<'e>(autoscalers: impl IntoIterator<Item = &'e Expected>) -> Expected {
    let mut all = Expected::default();
    let mut namespaces: HashMap<_, HashSet<_>> = HashMap::new();
    for Expected { seeds, not_read, over_limit } in autoscalers {
        all.not_read += not_read;
        all.over_limit += over_limit;
        for seed in seeds {
            let questions = namespaces.entry(&seed.namespace).or_default();
            let question = (&seed.metric, &seed.selector, &seed.source);
            if questions.len() < MAX_OF_NAMESPACE || questions.contains(&question) {
                questions.insert(question);
                all.seeds.push(seed.clone());
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
        let seed = |metric: usize| Seed {
            namespace: namespace.into(),
            metric: metric.to_string(),
            selector: Selector::default(),
            source: Source::External,
            replicas: metric,
        };
        let seeds = metrics.into_iter().map(seed).collect();
        Expected { seeds, not_read: 1, over_limit: 2 }
    }

    #[test]
    fn the_first_questions_of_each_namespace_count() {
        let autoscalers = [
            autoscaler("a", 0..150),
            autoscaler("a", 100..300),
            autoscaler("b", 0..3),
            autoscaler("a", 250..260),
        ];
        let all = within_limits(&autoscalers);
        let of = |namespace: &str| {
            let seeds = all.seeds.iter().filter(|seed| &*seed.namespace == namespace);
            seeds.map(|seed| seed.metric.parse().unwrap()).collect::<Vec<usize>>()
        };
        assert_eq!(of("a"), (0..150).chain(100..200).collect::<Vec<_>>());
        assert_eq!(of("b"), [0, 1, 2]);
        assert_eq!((all.not_read, all.over_limit), (4, 8 + 100 + 10));
    }

    #[test]
    fn a_question_that_many_ask_is_one() {
        let mut autoscalers = vec![autoscaler("a", [7]); 1_000];
        for (replicas, autoscaler) in autoscalers.iter_mut().enumerate() {
            autoscaler.seeds[0].replicas = replicas;
        }
        autoscalers.push(autoscaler("a", 10..20));
        assert_eq!(within_limits(&autoscalers).seeds.len(), 1_010);
    }
}
