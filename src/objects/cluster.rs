//! The objects of a cluster: its watches, and LISTs where a watch cannot answer.

use std::{sync::Arc, time::Duration};

use kube::Client;
use moka::future::Cache;
use tokio_util::task::TaskTracker;

use super::{
    Described, Scope, Selected, labels,
    watch::{Times, Watches, WatchesTask},
};
use crate::{
    core::{
        fields::FieldSelector,
        kinds::{GroupResource, Kind},
        plan,
        resource::Object,
        selector::Selector,
    },
    kubernetes::{self, list},
    metrics::Metrics,
    single_flight::{FlightError, SingleFlight},
    traces::{self, KeyValue, Span, SpanKind},
};

/// The most names of LISTs that are kept.
const MAX_NAMES: u64 = 1 << 20;

/// How objects are found out.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long the answer of a LIST is kept; zero: not at all.
    pub list_ttl: Duration,
    /// How patient watches are.
    pub times: Times,
}

/// The objects of a cluster.
pub struct Cluster {
    watches: Watches,
    lister: Lister,
    /// Nothing where answers of LISTs are not kept.
    kept: Option<Kept>,
}

/// What is listed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct ListKey {
    resource: GroupResource,
    version: String,
    scope: Scope,
    namespace: Option<String>,
    selector: Selector,
}

type Names = Arc<[Arc<str>]>;
type Descriptions = Arc<[Object]>;

/// The answers of LISTs that are kept.
struct Kept {
    names: SingleFlight<ListKey, Names>,
    descriptions: SingleFlight<ListKey, Descriptions>,
}

impl Kept {
    fn new(ttl: Duration, tasks: TaskTracker) -> Self {
        Self { names: kept(ttl, tasks.clone()), descriptions: kept(ttl, tasks) }
    }
}

fn kept<T>(ttl: Duration, tasks: TaskTracker) -> SingleFlight<ListKey, Arc<[T]>>
where
    Arc<[T]>: Send + Sync + 'static,
{
    let answers = Cache::builder()
        .name("objects listed")
        .time_to_live(ttl)
        .max_capacity(MAX_NAMES)
        .weigher(|_, objects: &Arc<[T]>| u32::try_from(objects.len() + 1).unwrap_or(u32::MAX))
        .build();
    SingleFlight::new(answers, tasks)
}

impl Cluster {
    /// The objects, with the task that runs the watches. LISTs are tasks of `tasks`.
    pub fn new(
        client: Client,
        metrics: Arc<Metrics>,
        settings: Settings,
        tasks: TaskTracker,
    ) -> (Arc<Self>, WatchesTask) {
        let (watches, task) = Watches::new(client.clone(), Arc::clone(&metrics), settings.times);
        let kept = (!settings.list_ttl.is_zero()).then(|| Kept::new(settings.list_ttl, tasks));
        (Arc::new(Self { watches, lister: Lister { client, metrics }, kept }), task)
    }

    /// The objects that a selector selects.
    pub(super) async fn select(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Selected, kubernetes::Error> {
        if let Some(selected) = self.watches.select(scope, kind, namespace, selector).await {
            return Ok(selected);
        }
        // Boxed: otherwise every read would reserve memory for a LIST, which few need.
        let names = Box::pin(self.list(scope, kind, namespace, selector)).await?;
        let objects = plan::Objects::Named(names.to_vec());
        Ok(Selected { objects, population: None })
    }

    /// The objects that selectors select, with namespaces and labels.
    pub(super) async fn describe(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &Selector,
        fields: &FieldSelector,
    ) -> Result<Described, kubernetes::Error> {
        if let Some(known) = self.watches.describe(scope, kind, namespace, labels, fields).await {
            return Ok(known);
        }
        // Boxed, as in `select`.
        let listed = Box::pin(self.list_described(scope, kind, namespace, labels)).await?;
        let selected =
            listed.iter().filter(|object| fields.matches(&object.namespace, &object.name));
        Ok(Described { objects: selected.cloned().collect(), population: None })
    }

    async fn list_described(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &Selector,
    ) -> Result<Descriptions, kubernetes::Error> {
        let key = ListKey::new(scope, kind, namespace, labels);
        let list = self.lister.clone().describe(kind.clone(), key.clone());
        match &self.kept {
            Some(kept) => kept.descriptions.get(key, list).await.map_err(unshared),
            None => list.await,
        }
    }

    async fn list(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Names, kubernetes::Error> {
        let key = ListKey::new(scope, kind, namespace, selector);
        let list = self.lister.clone().list(kind.clone(), key.clone());
        match &self.kept {
            Some(kept) => kept.names.get(key, list).await.map_err(unshared),
            None => list.await,
        }
    }
}

impl ListKey {
    fn new(scope: Scope, kind: &Kind, namespace: Option<&str>, selector: &Selector) -> Self {
        Self {
            resource: kind.resource.clone(),
            version: kind.version.clone(),
            scope,
            namespace: namespace.map(str::to_owned),
            selector: selector.clone(),
        }
    }
}

fn unshared(error: FlightError<kubernetes::Error>) -> kubernetes::Error {
    match error {
        FlightError::Failed(error) => Arc::unwrap_or_clone(error),
        FlightError::Abandoned(text) => kubernetes::Error::Abandoned(text),
    }
}

#[derive(Clone)]
struct Lister {
    client: Client,
    metrics: Arc<Metrics>,
}

impl Lister {
    async fn list(self, kind: Kind, key: ListKey) -> Result<Names, kubernetes::Error> {
        self.metadata(kind, key, |metadata| Arc::from(metadata.name)).await
    }

    async fn describe(self, kind: Kind, key: ListKey) -> Result<Descriptions, kubernetes::Error> {
        let object = |metadata: list::Metadata| Object {
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
            labels: metadata.labels.iter().map(labels::pair).collect(),
        };
        self.metadata(kind, key, object).await
    }

    async fn metadata<T: Ord>(
        self,
        kind: Kind,
        key: ListKey,
        take: impl Fn(list::Metadata) -> T,
    ) -> Result<Arc<[T]>, kubernetes::Error> {
        let ListKey { scope, namespace, selector, .. } = key;
        let (namespace, fields) = (namespace.as_deref(), scope.fields());
        let mut span = Span::part(SpanKind::Client, "list objects");
        span.record(|| {
            let resource = kind.resource.to_string();
            let namespace = namespace.unwrap_or_default();
            [KeyValue::new("resource", resource), traces::text("namespace", namespace)]
        });
        let listed = list::metadata(&self.client, &kind, namespace, &selector, fields, take).await;
        if listed.is_err() {
            span.fail("list", "the objects could not be listed");
        }
        self.metrics.list(kind.resource.to_string(), listed.is_ok());
        listed.map(Arc::from)
    }
}
