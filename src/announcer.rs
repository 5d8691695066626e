//! Tells the planner what autoscalers will read, so that it is fetched before they do: after a restart, and when one that is
//! healthy gets another metric.

use std::{collections::HashMap, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        catalog::{Catalog, Entry},
        external,
        kinds::GroupResource,
        rules::Content,
        seeds::{Seed, Source},
        selector::Selector,
    },
    discovery,
    hpas::Seeds,
    planner::{Announced, Failure, Planner},
};

/// The task.
pub struct Announcer {
    planner: Arc<Planner>,
    discovery: discovery::Handle,
    seeds: Seeds,
    /// Who was announced, and what the file said of the rule then.
    told: HashMap<Topic, (Option<Content>, Vec<Announced>)>,
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

impl Announcer {
    /// Makes the task, which does nothing before [`Announcer::run`].
    pub fn new(planner: Arc<Planner>, discovery: discovery::Handle, seeds: Seeds) -> Self {
        Self { planner, discovery, seeds, told: HashMap::new() }
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut rounds = self.discovery.rounds();
        loop {
            // A closed channel is the end of the process, which stops this, too.
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.seeds.changed() => {}
                Ok(()) = rounds.changed() => {}
                else => return stop.cancelled().await,
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.tell() => {}
            }
        }
    }

    /// Tells what has changed since the last time.
    async fn tell(&mut self) {
        let catalog = self.discovery.catalog();
        let seeds = Arc::clone(&self.seeds.borrow_and_update());
        let topics = topics(&catalog, &seeds);
        let gone: Vec<_> =
            self.told.keys().filter(|topic| !topics.contains_key(topic)).cloned().collect();
        let gone = gone.into_iter().map(|topic| (topic, Vec::new()));
        for (topic, readers) in gone.chain(topics) {
            let content = content(&catalog, &topic);
            let is_told =
                |told: &(Option<Content>, Vec<Announced>)| *told == (content, readers.clone());
            if self.told.get(&topic).is_some_and(is_told) {
                continue;
            }
            match self.announce(&catalog, &topic, &readers).await {
                Ok(true) if !readers.is_empty() => {
                    self.told.insert(topic, (content, readers));
                }
                // A metric that does not exist yet is told of when it does.
                Ok(_) => {
                    self.told.remove(&topic);
                }
                Err(error) => {
                    // Whoever reads it is told the same.
                    tracing::debug!(metric = topic.metric, %error, "an autoscaler asks what cannot be asked");
                    self.told.insert(topic, (content, readers));
                }
            }
        }
    }

    /// Announces the readers of a topic; false where there is no such metric.
    async fn announce(
        &self,
        catalog: &Catalog,
        topic: &Topic,
        readers: &[Announced],
    ) -> Result<bool, Failure> {
        let Topic { resource, namespace, metric, selector } = topic;
        let Some(resource) = resource else {
            let Some(entry) = catalog.external().get(metric) else { return Ok(false) };
            if !readers.is_empty() {
                let namespace = namespace.as_deref().unwrap_or_default();
                let query = external::query(&entry, namespace, selector)?;
                self.planner.expect(&entry.rule.options, namespace, query.into()).await?;
            }
            return Ok(true);
        };
        let Some(entry) = entry(catalog, resource, metric) else { return Ok(false) };
        self.planner.announce(entry.source(), namespace.as_deref(), selector, readers).await?;
        Ok(true)
    }
}

/// What the file says of the rule that a topic is read by.
fn content(catalog: &Catalog, topic: &Topic) -> Option<Content> {
    match &topic.resource {
        Some(resource) => Some(entry(catalog, resource, &topic.metric)?.rule.content),
        None => Some(catalog.external().get(&topic.metric)?.rule.content),
    }
}

fn entry(catalog: &Catalog, resource: &GroupResource, metric: &str) -> Option<Entry> {
    let kind = catalog.kinds().resolve(&resource.group, &resource.resource)?;
    catalog.get(&kind.resource, metric)
}

/// Puts together what autoscalers read of the same metric, namespace and selector.
fn topics(catalog: &Catalog, seeds: &[Seed]) -> HashMap<Topic, Vec<Announced>> {
    let mut topics: HashMap<Topic, Vec<Announced>> = HashMap::new();
    for seed in seeds {
        let Seed { namespace, metric, selector, source, replicas } = seed;
        let mut resource = None;
        let mut place = Some(Arc::clone(namespace));
        let announced = match source {
            Source::Pods => {
                resource = Some(GroupResource::parse("pods"));
                Announced::Selector(*replicas)
            }
            Source::Object { api_version, kind, name } => {
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                // An object is named by its kind, which in lower case is nearly always the singular of its resource.
                let Some(kind) = catalog.kinds().resolve(group, &kind.to_lowercase()) else {
                    continue;
                };
                resource = Some(kind.resource.clone());
                if !kind.namespaced {
                    place = None;
                }
                Announced::Object(name.as_str().into())
            }
            Source::External => Announced::Selector(0),
        };
        let (metric, selector) = (metric.clone(), selector.clone());
        topics
            .entry(Topic { resource, namespace: place, metric, selector })
            .or_default()
            .push(announced);
    }
    topics
}
