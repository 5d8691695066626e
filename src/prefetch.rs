//! Fetches what autoscalers will read before they do: after a restart, and when a healthy one gets another metric.

use std::{collections::HashMap, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        catalog::{Catalog, Entry},
        external,
        kinds::GroupResource,
        prefetch::{ExpectedRead, MetricSource},
        rules::Fingerprint,
        selector::Selector,
    },
    discovery,
    hpas::ExpectedReads,
    planner::{ExpectedObjects, Failure, Planner},
};

/// The task.
pub struct PrefetchTask {
    planner: Arc<Planner>,
    discovery: discovery::Handle,
    reads: ExpectedReads,
    /// What the planner expects, and what the file said of the rule then.
    known: HashMap<Topic, (Option<Fingerprint>, Vec<ExpectedObjects>)>,
}

/// What several autoscalers may read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Topic {
    /// Nothing for external metrics.
    resource: Option<GroupResource>,
    /// Nothing for kinds without namespaces.
    namespace: Option<Arc<str>>,
    metric: String,
    selector: Selector,
}

impl PrefetchTask {
    /// Makes the task, which does nothing before [`PrefetchTask::run`].
    pub fn new(planner: Arc<Planner>, discovery: discovery::Handle, reads: ExpectedReads) -> Self {
        Self { planner, discovery, reads, known: HashMap::new() }
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut rounds = self.discovery.rounds();
        loop {
            // A closed channel is the end of the process, which stops this, too.
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.reads.changed() => {}
                Ok(()) = rounds.changed() => {}
                else => return stop.cancelled().await,
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.update() => {}
            }
        }
    }

    /// Has the planner expect what has changed since the last time.
    async fn update(&mut self) {
        let catalog = self.discovery.catalog();
        let reads = Arc::clone(&self.reads.borrow_and_update());
        let topics = topics(&catalog, &reads);
        let gone: Vec<_> =
            self.known.keys().filter(|topic| !topics.contains_key(topic)).cloned().collect();
        let gone = gone.into_iter().map(|topic| (topic, Vec::new()));
        for (topic, readers) in gone.chain(topics) {
            let fingerprint = fingerprint(&catalog, &topic);
            let is_known = self
                .known
                .get(&topic)
                .is_some_and(|(before, known)| (before, known) == (&fingerprint, &readers));
            if is_known {
                continue;
            }
            match self.prefetch(&catalog, &topic, &readers).await {
                Ok(true) if !readers.is_empty() => {
                    self.known.insert(topic, (fingerprint, readers));
                }
                // A metric that does not exist yet is fetched when it does.
                Ok(_) => {
                    self.known.remove(&topic);
                }
                Err(error) => {
                    // Readers get the same error.
                    tracing::debug!(metric = topic.metric, %error, "an autoscaler reads what has no query");
                    self.known.insert(topic, (fingerprint, readers));
                }
            }
        }
    }

    /// Fetches what the readers of a topic will read; false where there is no such metric.
    async fn prefetch(
        &self,
        catalog: &Catalog,
        topic: &Topic,
        readers: &[ExpectedObjects],
    ) -> Result<bool, Failure> {
        let Topic { resource, namespace, metric, selector } = topic;
        let Some(resource) = resource else {
            let Some(entry) = catalog.external().get(metric) else { return Ok(false) };
            if !readers.is_empty() {
                let namespace = namespace.as_deref().unwrap_or_default();
                let query = external::query(&entry, namespace, selector)?;
                self.planner
                    .prefetch_query(&entry.rule.base.options, namespace, query.into())
                    .await?;
            }
            return Ok(true);
        };
        let Some(entry) = entry(catalog, resource, metric) else { return Ok(false) };
        self.planner.prefetch(entry.source(), namespace.as_deref(), selector, readers).await?;
        Ok(true)
    }
}

/// What the file says of the rule that a topic is read by.
fn fingerprint(catalog: &Catalog, topic: &Topic) -> Option<Fingerprint> {
    match &topic.resource {
        Some(resource) => Some(entry(catalog, resource, &topic.metric)?.rule.base.fingerprint),
        None => Some(catalog.external().get(&topic.metric)?.rule.base.fingerprint),
    }
}

fn entry(catalog: &Catalog, resource: &GroupResource, metric: &str) -> Option<Entry> {
    let kind = catalog.kinds().resolve(&resource.group, &resource.resource)?;
    catalog.get(&kind.resource, metric)
}

/// Puts together what autoscalers read of the same metric, namespace and selector.
fn topics(catalog: &Catalog, reads: &[ExpectedRead]) -> HashMap<Topic, Vec<ExpectedObjects>> {
    let mut topics: HashMap<Topic, Vec<ExpectedObjects>> = HashMap::new();
    for read in reads {
        let ExpectedRead { namespace, metric, selector, source, replicas } = read;
        let mut resource = None;
        let mut place = Some(Arc::clone(namespace));
        let objects = match source {
            MetricSource::Pods => {
                resource = Some(GroupResource::parse("pods"));
                ExpectedObjects::Selected(*replicas)
            }
            MetricSource::Object { api_version, kind, name } => {
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                // An object is named by its kind, which in lower case is nearly always the singular of its resource.
                let Some(kind) = catalog.kinds().resolve(group, &kind.to_lowercase()) else {
                    continue;
                };
                resource = Some(kind.resource.clone());
                if !kind.namespaced {
                    place = None;
                }
                ExpectedObjects::Named(name.as_str().into())
            }
            MetricSource::External => ExpectedObjects::Selected(0),
        };
        let (metric, selector) = (metric.clone(), selector.clone());
        topics
            .entry(Topic { resource, namespace: place, metric, selector })
            .or_default()
            .push(objects);
    }
    topics
}
