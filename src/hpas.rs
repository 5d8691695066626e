//! What HorizontalPodAutoscalers will read, known before they do: a watch of all of them.
//!
//! It is a help, not a need: where it is not allowed everything goes on without.

mod autoscaler;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Client;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        overview::{Shown, autoscalers::AutoscalerRow},
        prefetch::{Expected, ExpectedRead, MAX_OF_AUTOSCALER, within_limits},
    },
    kubernetes::{
        Error, list,
        watch::{Broken, Event, Watch},
    },
    metrics::Metrics,
};
use autoscaler::{Watched, asked_in, expected, kind};

/// The least time between two publications.
const PAUSE: Duration = Duration::from_secs(1);

/// How long it takes until a watch that was refused is tried again.
const REFUSED: Duration = Duration::from_secs(5 * 60);

/// What is known, within the limits; it changes at most once a second. They come in the order of namespace and name of their
/// HorizontalPodAutoscaler, and two that ask the same have one each. It is empty until the first list is complete, and keeps
/// its last content while the watch is broken.
pub type ExpectedReads = watch::Receiver<Arc<[ExpectedRead]>>;

/// The watch of HorizontalPodAutoscalers.
pub struct Hpas {
    watch: Watch<Watched>,
    known: Mutex<Known>,
    changed: Notify,
    reads: watch::Sender<Arc<[ExpectedRead]>>,
    metrics: Arc<Metrics>,
}

/// By namespace and name.
type Autoscalers = BTreeMap<(String, String), Expected>;

#[derive(Default)]
struct Known {
    autoscalers: Autoscalers,
    /// Those of a list that is not complete.
    listing: Option<Autoscalers>,
}

impl Hpas {
    /// Makes the task, which does nothing before [`Hpas::run`], with what it gets to know.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, ExpectedReads) {
        let (reads, receiver) = watch::channel(Arc::from([]));
        let hpas = Self {
            watch: Watch::all(client, &kind()),
            known: Mutex::default(),
            changed: Notify::new(),
            reads,
            metrics,
        };
        (hpas, receiver)
    }

    /// Watches until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let Self { watch, known, changed, reads, metrics } = &mut self;
        tokio::select! {
            () = stop.cancelled() => {}
            () = keep(watch, known, changed) => {}
            () = publish(known, changed, reads, metrics) => {}
        }
    }
}

/// The first autoscalers of the cluster, for people.
pub async fn first(client: &Client, most: u32) -> Result<Shown<AutoscalerRow>, Error> {
    let found = list::first::<HorizontalPodAutoscaler>(client, &kind(), None, most).await;
    let (autoscalers, more) = found?;
    Ok(Shown { rows: autoscalers.iter().map(AutoscalerRow::of).collect(), more })
}

/// An autoscaler, and what its metrics ask for, whether the controller can read it or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The reads of its metrics, in their order; those beyond [`MAX_OF_AUTOSCALER`] are left out.
    pub reads: Vec<ExpectedRead>,
}

/// The first autoscalers of a namespace.
///
/// # Errors
///
/// The API server refuses, fails, or does not answer in time.
pub async fn of_namespace(
    client: &Client,
    namespace: &str,
    most: u32,
) -> Result<Vec<Autoscaler>, Error> {
    let kind = kind();
    let found = list::first::<HorizontalPodAutoscaler>(client, &kind, Some(namespace), most);
    let (autoscalers, _) = found.await?;
    let read = |autoscaler: HorizontalPodAutoscaler| {
        let metrics = autoscaler.spec.metrics.unwrap_or_default();
        let reads = metrics.into_iter().filter_map(|metric| asked_in(namespace, metric));
        Autoscaler {
            name: autoscaler.metadata.name.unwrap_or_default(),
            uid: autoscaler.metadata.uid,
            reads: reads.take(MAX_OF_AUTOSCALER).collect(),
        }
    };
    Ok(autoscalers.into_iter().map(read).collect())
}

/// Keeps what is known; without end.
async fn keep(watch: &mut Watch<Watched>, known: &Mutex<Known>, changed: &Notify) {
    let mut is_refused = false;
    loop {
        let broken = watch
            .follow(|event| {
                if matches!(event, Event::Synced) {
                    is_refused = false;
                }
                if lock(known).take(event) {
                    changed.notify_one();
                }
            })
            .await;
        let pause = watch.pause(&broken, REFUSED);
        match broken {
            broken @ (Broken::Refused { .. } | Broken::Missing) => {
                if !std::mem::replace(&mut is_refused, true) {
                    tracing::info!(
                        %broken,
                        "HorizontalPodAutoscalers cannot be watched: their first reads will wait for Prometheus"
                    );
                }
            }
            broken @ (Broken::Expired | Broken::Failed { .. }) => {
                tracing::debug!(%broken, ?pause, "the watch of HorizontalPodAutoscalers is broken; retrying");
            }
        }
        sleep(pause).await;
    }
}

/// Publishes what has changed; without end.
async fn publish(
    known: &Mutex<Known>,
    changed: &Notify,
    reads: &watch::Sender<Arc<[ExpectedRead]>>,
    metrics: &Metrics,
) {
    loop {
        changed.notified().await;
        let (autoscalers, all) = {
            let known = lock(known);
            (known.autoscalers.len(), within_limits(known.autoscalers.values()))
        };
        metrics.autoscalers(autoscalers, all.reads.len());
        metrics.left_out("not_read", all.not_read);
        metrics.left_out("limit", all.over_limit);
        reads.send_if_modified(|before| {
            let is_changed = **before != *all.reads;
            if is_changed {
                *before = all.reads.into();
            }
            is_changed
        });
        sleep(PAUSE).await;
    }
}

impl Known {
    /// Applies an event of the watch. Returns whether it changed anything.
    fn take(&mut self, event: Event<Watched>) -> bool {
        match event {
            Event::Listing => {
                self.listing = Some(Autoscalers::new());
                false
            }
            Event::Listed(autoscaler) => {
                let (place, expected) = entry(autoscaler);
                self.listing.get_or_insert_default().insert(place, expected);
                false
            }
            Event::Synced => match self.listing.take() {
                Some(listing) => {
                    let is_changed = self.autoscalers != listing;
                    self.autoscalers = listing;
                    is_changed
                }
                None => false,
            },
            Event::Applied(autoscaler) => {
                let (place, expected) = entry(autoscaler);
                let before = self.autoscalers.get(&place);
                let is_changed = before != Some(&expected);
                if is_changed {
                    self.autoscalers.insert(place, expected);
                }
                is_changed
            }
            Event::Deleted(autoscaler) => {
                let metadata = autoscaler.metadata;
                self.autoscalers.remove(&(metadata.namespace, metadata.name)).is_some()
            }
        }
    }
}

fn entry(autoscaler: Watched) -> ((String, String), Expected) {
    let metadata = &autoscaler.metadata;
    let place = (metadata.namespace.clone(), metadata.name.clone());
    (place, expected(autoscaler))
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
