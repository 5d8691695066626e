//! Query results, and how reads came by them.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{Metrics, OutcomeLabels, level};

/// Upper bounds of the ages of results when they are read, in seconds: parts and multiples of the default lifetime.
const READ_SECONDS: [f64; 8] = [0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 30.0];

/// Upper bounds of the ages of stale results, in seconds.
const STALE_SECONDS: [f64; 6] = [5.0, 10.0, 20.0, 30.0, 60.0, 300.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PlanLabels {
    plan: &'static str,
}

pub(super) struct Results {
    reads: Family<OutcomeLabels, Counter>,
    waits: Counter,
    read_seconds: Histogram,
    stale_seconds: Histogram,
    entries: Gauge,
    bytes: Gauge,
    scheduled: Gauge,
    plans: Family<PlanLabels, Counter>,
}

impl Results {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reads: Family::default(),
            waits: Counter::default(),
            read_seconds: Histogram::new(READ_SECONDS),
            stale_seconds: Histogram::new(STALE_SECONDS),
            entries: Gauge::default(),
            bytes: Gauge::default(),
            scheduled: Gauge::default(),
            plans: Family::default(),
        };
        registry.register(
            "loadline_cache_reads",
            "Query results that were read: fresh, previous (the next one is being fetched), stale (no newer one can be had) or error (there was none to be had)",
            metrics.reads.clone(),
        );
        registry.register(
            "loadline_cache_waits",
            "Reads that waited for Prometheus",
            metrics.waits.clone(),
        );
        registry.register(
            "loadline_cache_read_age_seconds",
            "How old the results were when they were read, from the start of their queries",
            metrics.read_seconds.clone(),
        );
        registry.register(
            "loadline_cache_stale_age_seconds",
            "How old the results were that were read because no newer ones could be had",
            metrics.stale_seconds.clone(),
        );
        registry.register(
            "loadline_cache_entries",
            "Query results that are kept",
            metrics.entries.clone(),
        );
        registry.register(
            "loadline_cache_bytes",
            "Approximate memory of cached results",
            metrics.bytes.clone(),
        );
        registry.register(
            "loadline_cache_refreshed_queries",
            "Queries that are sent before they are read, because they are read regularly",
            metrics.scheduled.clone(),
        );
        registry.register(
            "loadline_plans",
            "Answers that were made by their queries: exact, or shared with the readers of the namespace or of all namespaces",
            metrics.plans.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A query result was read.
    pub fn cache_read(&self, outcome: &'static str) {
        self.results.reads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// The reads of query results by their outcome, where there were any.
    pub fn cache_reads(&self) -> Vec<(&'static str, u64)> {
        let count =
            |outcome| Some((outcome, self.results.reads.get(&OutcomeLabels { outcome })?.get()));
        ["fresh", "previous", "stale", "error"].into_iter().filter_map(count).collect()
    }

    /// The answers by their plan, where there were any.
    pub fn plans(&self) -> Vec<(&'static str, u64)> {
        let count = |plan| Some((plan, self.results.plans.get(&PlanLabels { plan })?.get()));
        ["exact", "shared", "everywhere"].into_iter().filter_map(count).collect()
    }

    /// A read waits for the backend.
    pub fn waited_read(&self) {
        self.results.waits.inc();
    }

    /// How many reads have waited for the backend.
    pub fn waited_reads(&self) -> u64 {
        self.results.waits.get()
    }

    /// A result was read this long after its query was sent.
    pub fn result_read(&self, age_seconds: f64) {
        self.results.read_seconds.observe(age_seconds);
    }

    /// A result of this age was read because no newer one could be had.
    pub fn stale_read(&self, age_seconds: f64) {
        self.result_read(age_seconds);
        self.results.stale_seconds.observe(age_seconds);
    }

    /// So much is kept.
    pub fn cache_size(&self, entries: u64, bytes: u64) {
        self.results.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.results.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So many queries are refreshed before they are read.
    pub fn refreshed_queries(&self, queries: usize) {
        self.results.scheduled.set(level(queries));
    }

    /// A question was put in this way.
    pub fn plan(&self, plan: &'static str) {
        self.results.plans.get_or_create(&PlanLabels { plan }).inc();
    }
}
