//! What this process tells of itself at `/metrics`.
//!
//! Names that dashboards of prometheus-adapter use are kept. Labels are bounded: paths, names and queries are none.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of latencies, in seconds.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Upper bounds of the ages of stale results, in seconds.
const STALE_SECONDS: [f64; 6] = [5.0, 10.0, 20.0, 30.0, 60.0, 300.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    group: &'static str,
    verb: &'static str,
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LatencyLabels {
    group: &'static str,
    verb: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PathLabels {
    path: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PathOutcomeLabels {
    path: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindOutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

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
struct RuleLabels {
    rule: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PlanLabels {
    plan: &'static str,
}

type Latencies<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Latencies<LatencyLabels>,
    backend_requests: Family<PathOutcomeLabels, Counter>,
    backend_seconds: Latencies<PathLabels>,
    backend_bytes: Counter,
    lists: Family<ListLabels, Counter>,
    watches: Family<WatchLabels, Gauge>,
    watched_objects: Family<ResourceLabels, Gauge>,
    watch_restarts: Family<ResourceLabels, Counter>,
    autoscalers: Gauge,
    asked_by_autoscalers: Gauge,
    discovered: Family<RuleLabels, Gauge>,
    catalog: Gauge,
    catalog_bytes: Gauge,
    authentications: Family<OutcomeLabels, Counter>,
    /// The one of them that nearly all are.
    authenticated: Counter,
    reviews: Family<KindOutcomeLabels, Counter>,
    cache_reads: Family<OutcomeLabels, Counter>,
    cache_waits: Counter,
    cache_stale_seconds: Histogram,
    cache_entries: Gauge,
    cache_bytes: Gauge,
    tended_queries: Gauge,
    reload_successful: Gauge,
    reload_success_time: Gauge,
    plans: Family<PlanLabels, Counter>,
    answers: Family<OutcomeLabels, Counter>,
}

fn latencies() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        let authentications = Family::<OutcomeLabels, Counter>::default();
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latencies),
            backend_requests: Family::default(),
            backend_seconds: Family::new_with_constructor(latencies),
            backend_bytes: Counter::default(),
            lists: Family::default(),
            watches: Family::default(),
            watched_objects: Family::default(),
            watch_restarts: Family::default(),
            autoscalers: Gauge::default(),
            asked_by_autoscalers: Gauge::default(),
            discovered: Family::default(),
            catalog: Gauge::default(),
            catalog_bytes: Gauge::default(),
            authenticated: authentications
                .get_or_create_owned(&OutcomeLabels { outcome: "authenticated" }),
            authentications,
            reviews: Family::default(),
            cache_reads: Family::default(),
            cache_waits: Counter::default(),
            cache_stale_seconds: Histogram::new(STALE_SECONDS),
            cache_entries: Gauge::default(),
            cache_bytes: Gauge::default(),
            tended_queries: Gauge::default(),
            reload_successful: Gauge::default(),
            reload_success_time: Gauge::default(),
            plans: Family::default(),
            answers: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "apiserver_request",
            "Requests by API group, verb and status code",
            self.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "How long requests took",
            self.request_seconds.clone(),
        );
        registry.register(
            "loadline_prometheus_requests",
            "Requests to Prometheus by endpoint and outcome",
            self.backend_requests.clone(),
        );
        registry.register(
            "prometheus_adapter_prometheus_client_request_duration_seconds",
            "How long requests to Prometheus took",
            self.backend_seconds.clone(),
        );
        registry.register(
            "loadline_prometheus_received_bytes",
            "Bytes of Prometheus' answers, once decompressed",
            self.backend_bytes.clone(),
        );
        registry.register(
            "loadline_kubernetes_lists",
            "LIST requests for objects that no watch could answer for, by resource and outcome",
            self.lists.clone(),
        );
        registry.register(
            "loadline_watches",
            "Watches of objects by resource and whether they are synced",
            self.watches.clone(),
        );
        registry.register(
            "loadline_watched_objects",
            "Objects that are known from watches, by resource",
            self.watched_objects.clone(),
        );
        registry.register(
            "loadline_watch_restarts",
            "How often watches were broken, by resource",
            self.watch_restarts.clone(),
        );
        registry.register(
            "loadline_autoscalers",
            "HorizontalPodAutoscalers that are known",
            self.autoscalers.clone(),
        );
        registry.register(
            "loadline_autoscaler_metrics",
            "Pods, Object and External metrics that known HorizontalPodAutoscalers ask for",
            self.asked_by_autoscalers.clone(),
        );
        registry.register(
            "loadline_discovery_successful",
            "Whether the last discovery of a rule succeeded",
            self.discovered.clone(),
        );
        registry.register(
            "loadline_catalog_metrics",
            "How many metrics exist",
            self.catalog.clone(),
        );
        registry.register(
            "loadline_catalog_bytes",
            "Memory that the catalog of metrics takes, about",
            self.catalog_bytes.clone(),
        );
        registry.register(
            "loadline_authentications",
            "Authenticated requests by outcome",
            self.authentications.clone(),
        );
        registry.register(
            "loadline_reviews",
            "Token and access reviews sent, by kind and outcome",
            self.reviews.clone(),
        );
        self.register_cache();
    }

    fn register_cache(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "loadline_cache_reads",
            "Query results that were read: fresh, previous (the next one is being fetched), stale (no newer one can be had) or none",
            self.cache_reads.clone(),
        );
        registry.register(
            "loadline_cache_waits",
            "Reads that waited for Prometheus",
            self.cache_waits.clone(),
        );
        registry.register(
            "loadline_cache_stale_age_seconds",
            "How old the results were that were read because no newer ones could be had",
            self.cache_stale_seconds.clone(),
        );
        registry.register(
            "loadline_cache_entries",
            "Query results that are kept",
            self.cache_entries.clone(),
        );
        registry.register(
            "loadline_cache_bytes",
            "Memory that the kept query results take, about",
            self.cache_bytes.clone(),
        );
        registry.register(
            "loadline_cache_refreshed_queries",
            "Queries that are sent before they are read, because they are read regularly",
            self.tended_queries.clone(),
        );
        registry.register(
            "loadline_config_last_reload_successful",
            "Whether the rules file is in use as it is now",
            self.reload_successful.clone(),
        );
        registry.register(
            "loadline_config_last_reload_success_timestamp_seconds",
            "When the rules in use were read",
            self.reload_success_time.clone(),
        );
        registry.register(
            "loadline_plans",
            "Answers that were made by their queries: exact, or shared with the readers of the namespace or of all namespaces",
            self.plans.clone(),
        );
        registry.register(
            "loadline_answers",
            "Answers to reads of metrics: made from query results, or kept and sent again while these are the same",
            self.answers.clone(),
        );
    }

    /// The metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }

    /// A request was answered. `group` is empty for what belongs to no API group.
    pub fn request(&self, group: &'static str, verb: &'static str, code: u16, seconds: f64) {
        let labels = RequestLabels { group, verb, code };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&LatencyLabels { group, verb }).observe(seconds);
    }

    /// A request to a backend ended.
    pub fn backend(&self, path: &'static str, outcome: &'static str, seconds: f64) {
        self.backend_requests.get_or_create(&PathOutcomeLabels { path, outcome }).inc();
        self.backend_seconds.get_or_create(&PathLabels { path }).observe(seconds);
    }

    /// Bytes came from a backend.
    pub fn received(&self, bytes: u64) {
        self.backend_bytes.inc_by(bytes);
    }

    /// Objects were listed.
    pub fn list(&self, resource: String, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "error" };
        self.lists.get_or_create(&ListLabels { resource, outcome }).inc();
    }

    /// A watch of objects begins, and is counted until what is given is dropped.
    pub fn watched(&self, resource: &str) -> Watched {
        let state = |state| {
            let labels = WatchLabels { resource: resource.to_owned(), state };
            self.watches.get_or_create_owned(&labels)
        };
        let labels = ResourceLabels { resource: resource.to_owned() };
        let (synced, unsynced) = (state("synced"), state("unsynced"));
        unsynced.inc();
        Watched {
            synced,
            unsynced,
            is_synced: false,
            objects: self.watched_objects.get_or_create_owned(&labels),
            held: 0,
            restarts: self.watch_restarts.get_or_create_owned(&labels),
        }
    }

    /// What is known of HorizontalPodAutoscalers.
    pub fn autoscalers(&self, autoscalers: usize, metrics: usize) {
        self.autoscalers.set(i64::try_from(autoscalers).unwrap_or(i64::MAX));
        self.asked_by_autoscalers.set(i64::try_from(metrics).unwrap_or(i64::MAX));
    }

    /// The rules are others from now on.
    pub fn forget_discoveries(&self) {
        self.discovered.clear();
    }

    /// A rule was discovered, or not.
    pub fn discovery(&self, rule: &str, succeeded: bool) {
        let labels = RuleLabels { rule: rule.to_owned() };
        self.discovered.get_or_create(&labels).set(succeeded.into());
    }

    /// The catalog was swapped.
    pub fn catalog(&self, metrics: usize, bytes: usize) {
        self.catalog.set(i64::try_from(metrics).unwrap_or(i64::MAX));
        self.catalog_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A request was authenticated, or not.
    pub fn authentication(&self, outcome: &'static str) {
        if outcome == "authenticated" {
            self.authenticated.inc();
            return;
        }
        self.authentications.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A query result was read.
    pub fn cache_read(&self, outcome: &'static str) {
        self.cache_reads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A read waits for the backend.
    pub fn waited_read(&self) {
        self.cache_waits.inc();
    }

    /// How many reads have waited for the backend.
    pub fn waited_reads(&self) -> u64 {
        self.cache_waits.get()
    }

    /// A result of this age was read because no newer one could be had.
    pub fn stale_read(&self, age_seconds: f64) {
        self.cache_stale_seconds.observe(age_seconds);
    }

    /// So much is kept.
    pub fn cache_size(&self, entries: u64, bytes: u64) {
        self.cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So many queries are refreshed before they are read.
    pub fn tended_queries(&self, queries: usize) {
        self.tended_queries.set(i64::try_from(queries).unwrap_or(i64::MAX));
    }

    /// The rules file was read, and is in use or not.
    pub fn reloaded(&self, successful: bool) {
        self.reload_successful.set(successful.into());
        if successful {
            self.reload_success_time.set(jiff::Timestamp::now().as_second());
        }
    }

    /// A question was put in this way.
    pub fn plan(&self, plan: &'static str) {
        self.plans.get_or_create(&PlanLabels { plan }).inc();
    }

    /// Counts answers that came about so.
    pub fn answers(&self, outcome: &'static str) -> Counter {
        self.answers.get_or_create_owned(&OutcomeLabels { outcome })
    }

    /// A review was sent.
    pub fn review(&self, kind: &'static str, outcome: &'static str) {
        self.reviews.get_or_create(&KindOutcomeLabels { kind, outcome }).inc();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_dashboards() {
        let metrics = Metrics::default();
        metrics.request("custom.metrics.k8s.io", "get", 200, 0.002);
        metrics.backend("query", "success", 0.2);
        let text = metrics.encode();
        for line in [
            r#"apiserver_request_total{group="custom.metrics.k8s.io",verb="get",code="200"} 1"#,
            r#"apiserver_request_duration_seconds_count{group="custom.metrics.k8s.io",verb="get"} 1"#,
            r#"prometheus_adapter_prometheus_client_request_duration_seconds_count{path="query"} 1"#,
            r#"loadline_prometheus_requests_total{path="query",outcome="success"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
