//! The watches of objects: started by the first read, ended when there are no more reads.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Described, Scope, Selected,
    store::{Store, Writer, read},
};
use crate::{
    core::{
        fields::FieldSelector,
        kinds::{GroupResource, Kind},
        plan,
        selector::Selector,
    },
    kubernetes::{
        collection::Collection,
        list::Object,
        retries::Broken,
        watch::{Event, Watch},
    },
    metrics::{Metrics, Watched},
};

/// The time limits of watches and of the reads that wait for them.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long a read waits for a watch that has just started.
    pub patience: Duration,
    /// How long the last known state of a broken watch is used.
    pub tolerance: Duration,
    /// How long a watch continues without a read.
    pub idle: Duration,
    /// The pause before a forbidden watch is retried.
    pub refused: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(1),
            tolerance: Duration::from_secs(30),
            idle: Duration::from_secs(30 * 60),
            refused: Duration::from_secs(5 * 60),
        }
    }
}

/// The resource, its version and the scope of a watch.
type Key = (GroupResource, String, Scope);

/// The state of a watch.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Not synced yet, and nothing has failed.
    Beginning,
    /// It knows all objects.
    Synced,
    /// It was synced until then.
    Broken(Instant),
    /// Not worth waiting for: it failed before it was synced, is forbidden, or has ended.
    Useless,
}

/// A watch, as reads see it.
struct Shared {
    store: Arc<RwLock<Store>>,
    state: watch::Sender<State>,
    asked: Mutex<Instant>,
}

/// All running watches.
type Running = Arc<Mutex<HashMap<Key, Arc<Shared>>>>;

/// Starts watches on demand.
pub(super) struct Watches {
    running: Running,
    begin: mpsc::UnboundedSender<WatchTask>,
    client: Client,
    metrics: Arc<Metrics>,
    times: Times,
}

/// Runs the watches.
pub struct WatchesTask {
    queue: mpsc::UnboundedReceiver<WatchTask>,
    running: Running,
}

/// One watch as it runs.
struct WatchTask {
    key: Key,
    shared: Arc<Shared>,
    watch: Watch<Object>,
    writer: Writer,
    watched: Watched,
    times: Times,
}

impl Watches {
    pub(super) fn new(client: Client, metrics: Arc<Metrics>, times: Times) -> (Self, WatchesTask) {
        let (begin, queue) = mpsc::unbounded_channel();
        let running = Running::default();
        let task = WatchesTask { queue, running: Arc::clone(&running) };
        (Self { running, begin, client, metrics, times }, task)
    }

    /// The objects of a watch, which is started if necessary; `None` if its state cannot be used.
    pub(super) async fn select(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Option<Selected> {
        // Objects that are in no namespace are found under the empty one.
        let namespace = if kind.namespaced { namespace } else { Some("") };
        self.ask(scope, kind, |store| Selected {
            objects: plan::Objects::Named(store.select(namespace, selector)),
            population: Some(store.population(namespace)),
        })
        .await
    }

    /// Like [`Watches::select`], with namespaces and labels.
    pub(super) async fn describe(
        &self,
        scope: Scope,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &Selector,
        fields: &FieldSelector,
    ) -> Option<Described> {
        let namespace = if kind.namespaced { namespace } else { Some("") };
        self.ask(scope, kind, |store| Described {
            objects: store.describe(namespace, labels, fields),
            population: Some(store.population(namespace)),
        })
        .await
    }

    /// Reads the store of a watch; `None` if its state cannot be used.
    async fn ask<T>(&self, scope: Scope, kind: &Kind, ask: impl FnOnce(&Store) -> T) -> Option<T> {
        let shared = self.shared(scope, kind);
        let mut state = shared.state.subscribe();
        let is_known = state.wait_for(|state| !matches!(state, State::Beginning));
        // There is no wait for a synced watch: the condition holds at once.
        timeout(self.times.patience, is_known).await.is_ok().then_some(())?;
        let store = read(&shared.store);
        // The state changes before the store is cleared, so the store is as fresh as the state says.
        shared.answers(self.times.tolerance).then(|| ask(&store))
    }

    fn shared(&self, scope: Scope, kind: &Kind) -> Arc<Shared> {
        let key = (kind.resource.clone(), kind.version.clone(), scope);
        let mut running = lock(&self.running);
        if let Some(shared) = running.get(&key) {
            *lock(&shared.asked) = Instant::now();
            return Arc::clone(shared);
        }
        let writer = Writer::default();
        let shared = Arc::new(Shared {
            store: writer.store(),
            state: watch::Sender::new(State::Beginning),
            asked: Mutex::new(Instant::now()),
        });
        let task = WatchTask {
            key: key.clone(),
            shared: Arc::clone(&shared),
            watch: Watch::new(Collection::metadata(self.client.clone(), kind, scope.fields())),
            writer,
            watched: self.metrics.watched(&kind.resource.to_string()),
            times: self.times,
        };
        // Without the task of watches, as during shutdown, LISTs answer.
        if self.begin.send(task).is_err() {
            shared.state.send_replace(State::Useless);
        } else {
            running.insert(key, Arc::clone(&shared));
        }
        shared
    }
}

impl Shared {
    /// The watch has broken. Whether the store may still be used.
    fn breaks(&self, tolerance: Duration) -> bool {
        self.state.send_modify(|state| {
            *state = match *state {
                State::Synced => State::Broken(Instant::now()),
                State::Beginning => State::Useless,
                state @ (State::Broken(_) | State::Useless) => state,
            };
        });
        self.answers(tolerance)
    }

    /// Whether the store may be used.
    fn answers(&self, tolerance: Duration) -> bool {
        match *self.state.borrow() {
            State::Synced => true,
            State::Broken(since) => since.elapsed() <= tolerance,
            State::Beginning | State::Useless => false,
        }
    }
}

impl WatchesTask {
    /// Runs the watches until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(task) = self.queue.recv() => {
                    tasks.spawn(task.run(Arc::clone(&self.running)));
                }
                Some(ended) = tasks.join_next() => {
                    // Nothing that anybody sends makes a watch panic; if one does, the process should not go on without it.
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
        tasks.shutdown().await;
    }
}

impl WatchTask {
    async fn run(self, running: Running) {
        let (resource, scope) = (self.key.0.clone(), self.key.2);
        tracing::info!(%resource, ?scope, "watching");
        let (key, shared, idle) = (self.key.clone(), Arc::clone(&self.shared), self.times.idle);
        let why = tokio::select! {
            () = unasked(&running, &key, &shared, idle) => "nobody has asked for them",
            () = self.keep() => "the cluster does not serve them any more",
        };
        forget(&running, &key, &shared);
        shared.state.send_replace(State::Useless);
        tracing::info!(%resource, ?scope, why, "stopped watching");
    }

    /// Keeps the store up to date until the cluster no longer serves the resource.
    async fn keep(mut self) {
        let resource = self.key.0.clone();
        let mut is_refused = false;
        loop {
            let Self { watch, writer, shared, watched, times, .. } = &mut self;
            let broken = watch
                .follow(|event| {
                    take(writer, &event);
                    if !matches!(event, Event::Listed(_)) {
                        watched.objects(read(&shared.store).population(None));
                    }
                    if matches!(event, Event::Synced) {
                        watched.synced();
                        shared.state.send_replace(State::Synced);
                        if std::mem::take(&mut is_refused) {
                            tracing::info!(%resource, "may be watched now");
                        }
                    }
                })
                .await;
            let pause = watch.pause(&broken, times.refused);
            let still_answers = shared.breaks(times.tolerance);
            match broken {
                Broken::Missing => {
                    shared.state.send_replace(State::Useless);
                    return;
                }
                // As after a failure, because an API server that has just started refuses everybody for a moment.
                Broken::Refused { .. } if still_answers => {
                    tracing::debug!(%resource, %broken, ?pause, "the watch is refused; retrying");
                }
                Broken::Refused { verb, message } => {
                    shared.state.send_replace(State::Useless);
                    writer.clear();
                    watched.objects(0);
                    if !std::mem::replace(&mut is_refused, true) {
                        tracing::warn!(
                            %resource,
                            verb,
                            message,
                            "not permitted to {verb} {resource} in all namespaces: falling back to a LIST for each read, which costs the API server; grant {verb}"
                        );
                    }
                }
                Broken::Expired | Broken::Failed { .. } => {
                    tracing::debug!(%resource, %broken, ?pause, "the watch is broken; retrying");
                }
            }
            watched.broken();
            sleep(pause).await;
        }
    }
}

fn take(writer: &mut Writer, event: &Event<Object>) {
    match event {
        Event::Listing => writer.begin(),
        Event::Listed(object) => {
            let metadata = &object.metadata;
            writer.list(&metadata.namespace, &metadata.name, &metadata.labels);
        }
        Event::Synced => writer.finish(),
        Event::Applied(object) => {
            let metadata = &object.metadata;
            writer.apply(&metadata.namespace, &metadata.name, &metadata.labels);
        }
        Event::Deleted(object) => {
            writer.delete(&object.metadata.namespace, &object.metadata.name);
        }
    }
}

/// Waits until there has been no read for a while. The next read starts a new watch.
async fn unasked(running: &Running, key: &Key, shared: &Arc<Shared>, idle: Duration) {
    loop {
        let end = *lock(&shared.asked) + idle;
        sleep_until(end).await;
        let mut running = lock(running);
        // Nobody asks while this is held.
        if lock(&shared.asked).elapsed() >= idle {
            running.remove(key);
            return;
        }
    }
}

/// Forgets a watch, unless another has taken its place.
fn forget(running: &Running, key: &Key, shared: &Arc<Shared>) {
    let mut running = lock(running);
    if running.get(key).is_some_and(|known| Arc::ptr_eq(known, shared)) {
        running.remove(key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
