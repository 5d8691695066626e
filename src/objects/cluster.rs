//! The objects of a cluster: its watches, and LISTs where a watch cannot answer.

use std::{sync::Arc, time::Duration};

use kube::Client;
use moka::future::Cache;
use tokio_util::task::TaskTracker;

use super::{
    Content, Scope, Selected,
    watch::{Keeper, Times, Watches},
};
use crate::{
    core::{
        kinds::{GroupResource, Kind},
        plan,
        selector::Selector,
    },
    kubernetes::{self, list},
    metrics::Metrics,
    single_flight::{FlightError, SingleFlight},
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
    kept: Option<SingleFlight<ListKey, Names>>,
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

impl Cluster {
    /// The objects, with the task that runs the watches. LISTs are tasks of `tasks`.
    pub fn new(
        client: Client,
        metrics: Arc<Metrics>,
        settings: Settings,
        tasks: TaskTracker,
    ) -> (Arc<Self>, Keeper) {
        let (watches, keeper) = Watches::new(client.clone(), Arc::clone(&metrics), settings.times);
        let kept = (!settings.list_ttl.is_zero()).then(|| {
            let names = Cache::builder()
                .name("objects listed")
                .time_to_live(settings.list_ttl)
                .max_capacity(MAX_NAMES)
                .weigher(|_, names: &Names| u32::try_from(names.len() + 1).unwrap_or(u32::MAX))
                .build();
            SingleFlight::new(names, tasks)
        });
        (Arc::new(Self { watches, lister: Lister { client, metrics }, kept }), keeper)
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
        let names = self.list(scope, kind, namespace, selector).await?;
        let objects = plan::Objects::Named(names.to_vec());
        Ok(Selected { objects, population: None, version: None })
    }

    /// What is known now; nothing where only a LIST can tell.
    pub(super) fn content(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
    ) -> Option<Content> {
        self.watches.content(scope, kind, namespace)
    }

    async fn list(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Names, kubernetes::Error> {
        let key = ListKey {
            resource: kind.resource.clone(),
            version: kind.version.clone(),
            scope,
            namespace: namespace.map(str::to_owned),
            selector: selector.clone(),
        };
        let list = self.lister.clone().list(kind.clone(), key.clone());
        let Some(kept) = &self.kept else { return list.await };
        kept.get(key, list).await.map_err(|error| match error {
            FlightError::Failed(error) => Arc::unwrap_or_clone(error),
            FlightError::Abandoned(text) => kubernetes::Error::Abandoned(text),
        })
    }
}

#[derive(Clone)]
struct Lister {
    client: Client,
    metrics: Arc<Metrics>,
}

impl Lister {
    async fn list(self, kind: Kind, key: ListKey) -> Result<Names, kubernetes::Error> {
        let ListKey { scope, namespace, selector, .. } = key;
        let (namespace, fields) = (namespace.as_deref(), scope.fields());
        let names = list::names(&self.client, &kind, namespace, &selector, fields).await;
        self.metrics.list(kind.resource.to_string(), names.is_ok());
        names.map(Arc::from)
    }
}
