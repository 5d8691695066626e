//! Fetches what autoscalers will read before they do: after a restart, and when a healthy one gets another metric.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        catalog::{Catalog, Entry, external::ExternalEntry},
        delegation::Read,
        explain::Api,
        external,
        kinds::GroupResource,
        prefetch::{ExpectedRead, MetricSource},
        rules::Fingerprint,
        selector::Selector,
    },
    delegates::Delegates,
    discovery,
    hpas::ExpectedReads,
    planner::{ExpectedObjects, Failure, Planner},
    team_rules::TeamRules,
};

/// The task.
pub struct PrefetchTask {
    planner: Arc<Planner>,
    discovery: discovery::Handle,
    team_rules: TeamRules,
    delegates: Arc<Delegates>,
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
    pub fn new(
        planner: Arc<Planner>,
        discovery: discovery::Handle,
        (team_rules, delegates): (TeamRules, Arc<Delegates>),
        reads: ExpectedReads,
    ) -> Self {
        Self { planner, discovery, team_rules, delegates, reads, known: HashMap::new() }
    }

    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut rounds = self.discovery.rounds();
        let mut published = self.team_rules.published();
        loop {
            // A closed channel is the end of the process, which stops this, too.
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.reads.changed() => {}
                Ok(()) = rounds.changed() => {}
                () = changed(published.as_mut()) => {}
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
        // No rule is asked for what a delegate answers.
        let topics = topics(&catalog, &reads, |read| !self.delegates.takes(read));
        let gone: Vec<_> =
            self.known.keys().filter(|topic| !topics.contains_key(topic)).cloned().collect();
        let gone = gone.into_iter().map(|topic| (topic, Vec::new()));
        for (topic, readers) in gone.chain(topics) {
            let provider = self.provider(&catalog, &topic).await;
            let fingerprint = provider.as_ref().map(Provider::fingerprint);
            let is_known = self
                .known
                .get(&topic)
                .is_some_and(|(before, known)| (before, known) == (&fingerprint, &readers));
            if is_known {
                continue;
            }
            match self.prefetch(provider, &topic, &readers).await {
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

    /// Who provides the metric of a topic: the rule of a team before those of the file.
    async fn provider(&self, catalog: &Catalog, topic: &Topic) -> Option<Provider> {
        let namespace = topic.namespace.as_deref().unwrap_or_default();
        let Some(resource) = &topic.resource else {
            let own = self.team_rules.external(namespace, &topic.metric).await;
            return own.or_else(|| catalog.external().get(&topic.metric)).map(Provider::External);
        };
        let own = self.team_rules.object(namespace, resource, &topic.metric).await;
        own.or_else(|| entry(catalog, resource, &topic.metric))
            .map(|entry| Provider::Object(Box::new(entry)))
    }

    /// Fetches what the readers of a topic will read; false where there is no such metric.
    async fn prefetch(
        &self,
        provider: Option<Provider>,
        topic: &Topic,
        readers: &[ExpectedObjects],
    ) -> Result<bool, Failure> {
        let Topic { namespace, selector, .. } = topic;
        match provider {
            None => return Ok(false),
            Some(Provider::External(entry)) if !readers.is_empty() => {
                let namespace = namespace.as_deref().unwrap_or_default();
                let query = external::query(&entry, namespace, selector)?;
                let options = &entry.rule.base.options;
                self.planner.prefetch_query(options, namespace, query.into()).await?;
            }
            Some(Provider::External(_)) => {}
            Some(Provider::Object(entry)) => {
                let namespace = namespace.as_deref();
                self.planner.prefetch(entry.source(), namespace, selector, readers).await?;
            }
        }
        Ok(true)
    }
}

/// How a metric is read.
enum Provider {
    Object(Box<Entry>),
    External(ExternalEntry),
}

impl Provider {
    /// What is said of the rule that it is read by.
    fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Object(entry) => entry.rule.base.fingerprint,
            Self::External(entry) => entry.rule.base.fingerprint,
        }
    }
}

/// Waits until the rules of teams have changed; forever where they never do.
async fn changed(published: Option<&mut watch::Receiver<u64>>) {
    if let Some(published) = published
        && published.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

fn entry(catalog: &Catalog, resource: &GroupResource, metric: &str) -> Option<Entry> {
    let kind = catalog.kinds().resolve(&resource.group, &resource.resource)?;
    catalog.get(&kind.resource, metric)
}

/// Puts together what autoscalers read of the same metric, namespace and selector, as far as it is ours. What an autoscaler selects
/// objects by is not known here.
fn topics(
    catalog: &Catalog,
    reads: &[ExpectedRead],
    is_ours: impl Fn(Read<'_>) -> bool,
) -> HashMap<Topic, Vec<ExpectedObjects>> {
    let none = Selector::default();
    let mut topics: HashMap<Topic, Vec<ExpectedObjects>> = HashMap::new();
    for read in reads {
        let ExpectedRead { namespace, metric, selector, source, replicas } = read;
        let mut resource = None;
        let mut place = Some(Arc::clone(namespace));
        let mut scope = &**namespace;
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
                    scope = if kind.resource.is_of_namespaces() { name } else { "" };
                }
                ExpectedObjects::Named(name.as_str().into())
            }
            MetricSource::External => ExpectedObjects::Selected(0),
        };
        let read = Read {
            api: if resource.is_some() { Api::Custom } else { Api::External },
            namespace: scope,
            metric,
            selectors: [&none, selector],
        };
        if !is_ours(read) {
            continue;
        }
        let (metric, selector) = (metric.clone(), selector.clone());
        topics
            .entry(Topic { resource, namespace: place, metric, selector })
            .or_default()
            .push(objects);
    }
    topics
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::*;
    use crate::core::kinds::Kinds;

    #[test]
    fn a_namespace_that_is_the_object_decides_who_answers() {
        let object = |api_version: &str, kind: &str, name: &str| ExpectedRead {
            namespace: "autoscaled".into(),
            metric: "m".to_owned(),
            selector: Selector::default(),
            source: MetricSource::Object {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
            },
            replicas: 1,
        };
        let reads = [
            object("v1", "Namespace", "shop"),
            object("v1", "Namespace", "bank"),
            object("v1", "Node", "shop"),
            object("v1", "Service", "shop"),
        ];
        let catalog = Catalog::build(Arc::new(Kinds::builtin()), &[], &BTreeSet::new());
        let scopes = RefCell::new(Vec::new());
        let topics = topics(&catalog, &reads, |read| {
            scopes.borrow_mut().push(read.namespace.to_owned());
            read.namespace != "shop"
        });
        assert_eq!(scopes.into_inner(), ["shop", "bank", "", "autoscaled"]);
        let namespaces = topics.iter().find(|(topic, _)| {
            topic.resource.as_ref().is_some_and(|resource| resource.resource == "namespaces")
        });
        assert_eq!(namespaces.unwrap().1, &[ExpectedObjects::Named("bank".into())]);
    }
}
