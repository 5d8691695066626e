//! What is known of the cluster: watches, LISTs, autoscalers.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Metrics, level};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListLabels {
    resource: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResourceLabels {
    resource: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WatchLabels {
    resource: String,
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RegistrationLabels {
    apiservice: String,
    owner: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LeftOutLabels {
    reason: &'static str,
}

/// Why metrics of autoscalers are not fetched before they are read: nobody has read them, or there are too many.
const LEFT_OUT: [&str; 2] = ["not_read", "limit"];

/// Who an `APIService` may send requests to.
const OWNERS: [&str; 4] = ["ours", "another", "absent", "unknown"];

pub(super) struct Objects {
    registered: Family<RegistrationLabels, Gauge>,
    lists: Family<ListLabels, Counter>,
    watches: Family<WatchLabels, Gauge>,
    watched: Family<ResourceLabels, Gauge>,
    watch_restarts: Family<ResourceLabels, Counter>,
    autoscalers: Gauge,
    asked_by_autoscalers: Gauge,
    left_out: Family<LeftOutLabels, Gauge>,
}

impl Objects {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            registered: Family::default(),
            lists: Family::default(),
            watches: Family::default(),
            watched: Family::default(),
            watch_restarts: Family::default(),
            autoscalers: Gauge::default(),
            asked_by_autoscalers: Gauge::default(),
            left_out: Family::default(),
        };
        registry.register(
            "loadline_apiservice_registered",
            "Whether an APIService of ours sends requests to our Service, to another one, is absent, or is not known",
            metrics.registered.clone(),
        );
        registry.register(
            "loadline_kubernetes_lists",
            "LIST requests for objects that no watch could answer for, by resource and outcome",
            metrics.lists.clone(),
        );
        registry.register(
            "loadline_watches",
            "Watches of objects by resource and whether they are synced",
            metrics.watches.clone(),
        );
        registry.register(
            "loadline_watched_objects",
            "Objects that are known from watches, by resource",
            metrics.watched.clone(),
        );
        registry.register(
            "loadline_watch_restarts",
            "How often watches were broken, by resource",
            metrics.watch_restarts.clone(),
        );
        registry.register(
            "loadline_autoscalers",
            "HorizontalPodAutoscalers that are known",
            metrics.autoscalers.clone(),
        );
        registry.register(
            "loadline_autoscaler_metrics",
            "Pods, Object and External metrics of HorizontalPodAutoscalers that are fetched before they are read",
            metrics.asked_by_autoscalers.clone(),
        );
        registry.register(
            "loadline_autoscaler_metrics_left_out",
            "Metrics of HorizontalPodAutoscalers that are fetched only when they are read, by reason",
            metrics.left_out.clone(),
        );
        for reason in LEFT_OUT {
            metrics.left_out.get_or_create(&LeftOutLabels { reason }).set(0);
        }
        metrics
    }
}

impl Metrics {
    /// Who is registered for a version of a group: `ours`, `another`, `absent` or `unknown`.
    pub fn registered(&self, apiservice: &str, whose: &'static str) {
        for owner in OWNERS {
            let labels = RegistrationLabels { apiservice: apiservice.to_owned(), owner };
            self.objects.registered.get_or_create(&labels).set((owner == whose).into());
        }
    }

    /// We do not serve this version of a group any more.
    pub fn forget_registration(&self, apiservice: &str) {
        for owner in OWNERS {
            let labels = RegistrationLabels { apiservice: apiservice.to_owned(), owner };
            self.objects.registered.remove(&labels);
        }
    }

    /// Objects were listed.
    pub fn list(&self, resource: String, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "error" };
        self.objects.lists.get_or_create(&ListLabels { resource, outcome }).inc();
    }

    /// A watch of objects begins, and is counted until what is given is dropped.
    pub fn watched(&self, resource: &str) -> Watched {
        let state = |state| {
            let labels = WatchLabels { resource: resource.to_owned(), state };
            self.objects.watches.get_or_create_owned(&labels)
        };
        let labels = ResourceLabels { resource: resource.to_owned() };
        let (synced, unsynced) = (state("synced"), state("unsynced"));
        unsynced.inc();
        Watched {
            synced,
            unsynced,
            is_synced: false,
            objects: self.objects.watched.get_or_create_owned(&labels),
            held: 0,
            restarts: self.objects.watch_restarts.get_or_create_owned(&labels),
        }
    }

    /// What is known of HorizontalPodAutoscalers.
    pub fn autoscalers(&self, autoscalers: usize, metrics: usize) {
        self.objects.autoscalers.set(level(autoscalers));
        self.objects.asked_by_autoscalers.set(level(metrics));
    }

    /// So many of their metrics are not fetched before they are read, for one of [`LEFT_OUT`].
    pub fn left_out(&self, reason: &'static str, metrics: usize) {
        self.objects.left_out.get_or_create(&LeftOutLabels { reason }).set(level(metrics));
    }
}

/// A watch that is counted.
pub struct Watched {
    synced: Gauge,
    unsynced: Gauge,
    is_synced: bool,
    objects: Gauge,
    held: i64,
    restarts: Counter,
}

impl Watched {
    /// It is synced.
    pub fn synced(&mut self) {
        if !std::mem::replace(&mut self.is_synced, true) {
            self.unsynced.dec();
            self.synced.inc();
        }
    }

    /// It is broken.
    pub fn broken(&mut self) {
        self.restarts.inc();
        if std::mem::take(&mut self.is_synced) {
            self.synced.dec();
            self.unsynced.inc();
        }
    }

    /// So many objects are known from it.
    pub fn objects(&mut self, objects: usize) {
        let held = i64::try_from(objects).unwrap_or(i64::MAX);
        self.objects.inc_by(held - std::mem::replace(&mut self.held, held));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let state = if self.is_synced { &self.synced } else { &self.unsynced };
        state.dec();
        self.objects(0);
    }
}
