//! ConfigMaps whose keys are rules files: the watch of those that a selector selects, in chosen namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use kube::Client;
use tokio::{
    sync::{Notify, Semaphore},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    core::{config_maps::ConfigMaps, kinds::Kind, rules_files::Given, selector::Selector},
    kubernetes::{
        collection::Collection,
        list::Object,
        retries::Broken,
        watch::{Event, Watch},
    },
};

/// How long it takes until a watch that was refused is tried again.
const REFUSED: Duration = Duration::from_secs(60);

/// [`Settings::patience`] of the server.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The least time between two lists of a namespace that has too many files.
const RELIST: Duration = Duration::from_secs(10);

/// How many ConfigMaps a page of a list holds: each may have a MiB.
const PAGE: u32 = 20;

/// How many namespaces are listed at a time.
const LISTS: usize = 4;

/// The most namespaces: each is a watch, and has its own part of the memory.
pub const MAX_NAMESPACES: usize = 100;

/// Which ConfigMaps are rules files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Their labels; not empty.
    pub selector: Selector,
    /// Their namespaces; where it is empty, that of the client.
    pub namespaces: BTreeSet<Arc<str>>,
    /// How long the server is not ready because ConfigMaps have not been read. The rules of files are served afterwards as well.
    pub patience: Duration,
}

/// The files, as far as they are known.
#[derive(Clone)]
pub struct ConfigMapFiles(Arc<Shared>);

struct Shared {
    known: Mutex<ConfigMaps>,
    changed: Notify,
}

/// The task that watches.
pub struct WatchTask {
    client: Client,
    kind: Kind,
    selector: Selector,
    namespaces: BTreeSet<Arc<str>>,
    patience: Duration,
    lists: Semaphore,
    shared: Arc<Shared>,
}

type ConfigMap = Object<(), (), Option<BTreeMap<String, String>>>;

impl ConfigMapFiles {
    /// Ends when something has changed since the last call.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// The files, and what keeps others from being read, a line each.
    pub fn read(&self) -> (Vec<Given>, Vec<String>) {
        let mut known = self.0.known();
        (known.given(), known.problems())
    }

    /// Whether every namespace has been read, or cannot be.
    pub fn are_known(&self) -> bool {
        self.0.known().are_known()
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, ConfigMaps> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut ConfigMaps)) {
        change(&mut self.known());
        self.changed.notify_one();
    }
}

impl WatchTask {
    /// Makes the task, which does nothing before [`WatchTask::run`].
    pub fn new(client: Client, settings: Settings) -> (Self, ConfigMapFiles) {
        let Settings { selector, mut namespaces, patience } = settings;
        if namespaces.is_empty() {
            namespaces.insert(client.default_namespace().into());
        }
        let kind = Kind::new("", "v1", "configmaps", "ConfigMap", true);
        let known = Mutex::new(ConfigMaps::new(&namespaces));
        let shared = Arc::new(Shared { known, changed: Notify::new() });
        let files = ConfigMapFiles(Arc::clone(&shared));
        let lists = Semaphore::new(LISTS);
        (Self { client, kind, selector, namespaces, patience, lists, shared }, files)
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let watches: FuturesUnordered<_> =
            self.namespaces.iter().map(|namespace| self.keep(namespace)).collect();
        tokio::select! {
            () = stop.cancelled() => {}
            () = watches.for_each(|()| std::future::ready(())) => {}
            () = self.wait() => {}
        }
    }

    /// Keeps what is known of a namespace; without end.
    async fn keep(&self, namespace: &Arc<str>) {
        let new = || {
            let client = self.client.clone();
            Watch::new(
                Collection::<ConfigMap>::selected(client, &self.kind, namespace, &self.selector)
                    .by_pages_of(PAGE),
            )
        };
        let mut watch = new();
        let mut is_refused = false;
        loop {
            let relist = Notify::new();
            // Held until the list is complete. The semaphore is never closed.
            let mut turn = self.lists.acquire().await.ok();
            let followed = watch.follow(|event| {
                if matches!(event, Event::Synced) {
                    drop(turn.take());
                }
                if matches!(event, Event::Synced) && std::mem::take(&mut is_refused) {
                    tracing::info!(namespace = &**namespace, "ConfigMaps with rules are watched");
                }
                self.take(namespace, event);
                if self.shared.known().wants_list(namespace) {
                    relist.notify_one();
                }
            });
            let broken = tokio::select! {
                broken = followed => broken,
                () = relist.notified() => {
                    drop(turn);
                    sleep(RELIST).await;
                    watch = new();
                    continue;
                }
            };
            drop(turn);
            let pause = watch.pause(&broken, REFUSED);
            match &broken {
                Broken::Refused { .. } | Broken::Missing => {
                    if !std::mem::replace(&mut is_refused, true) {
                        tracing::warn!(
                            namespace = &**namespace, %broken,
                            "ConfigMaps with rules cannot be watched; retrying: grant list and watch in the namespace"
                        );
                    }
                    let why = broken.to_string();
                    self.shared.change(|known| known.unwatched(namespace, why));
                }
                Broken::Expired | Broken::Failed { .. } => {
                    tracing::debug!(namespace = &**namespace, %broken, ?pause, "the watch of ConfigMaps is broken; retrying");
                }
            }
            sleep(pause).await;
        }
    }

    /// Goes on without the ConfigMaps of namespaces that have not been read in time.
    async fn wait(&self) {
        sleep(self.patience).await;
        for namespace in &self.namespaces {
            let why = "the API server has not answered yet";
            self.shared.change(|known| known.overdue(namespace, why));
        }
        std::future::pending::<()>().await;
    }

    fn take(&self, namespace: &str, event: Event<ConfigMap>) {
        let texts = |object: ConfigMap| (object.metadata.name, object.data.unwrap_or_default());
        match event {
            Event::Listing => self.shared.known().listing(namespace),
            Event::Listed(object) => {
                let (name, data) = texts(object);
                self.shared.known().listed(namespace, &name, data);
            }
            Event::Synced => self.shared.change(|known| known.synced(namespace)),
            Event::Applied(object) => {
                let (name, data) = texts(object);
                self.shared.change(|known| known.applied(namespace, &name, data));
            }
            Event::Deleted(object) => {
                self.shared.change(|known| known.deleted(namespace, &object.metadata.name));
            }
        }
    }
}
