//! The metrics of this process at `/metrics`; `docs/monitoring.md` lists them.
//!
//! Names that dashboards of prometheus-adapter use are kept. Labels are bounded: they come from code, from the rules file and
//! from the kinds of the cluster. No path, name of an object or query is one.

pub mod backend;
mod delegates;
pub mod objects;
mod process;
mod requests;
mod results;
mod rules;
mod team_rules;

pub use objects::Watched;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};
pub use team_rules::TeamQuota;

use self::{
    backend::Requests as BackendRequests, delegates::Delegates, objects::Objects,
    requests::Requests, results::Results, rules::Rules, team_rules::TeamRules,
};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of latencies, in seconds.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    outcome: &'static str,
}

type Latencies<L> = Family<L, Histogram, fn() -> Histogram>;

fn latencies<L: Clone + Eq + std::hash::Hash>() -> Latencies<L> {
    Family::new_with_constructor(|| Histogram::new(SECONDS))
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    requests: Requests,
    results: Results,
    backends: BackendRequests,
    delegates: Delegates,
    rules: Rules,
    team_rules: TeamRules,
    objects: Objects,
    certificate_end: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register(
            "loadline_build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let requests = Requests::register(&mut registry);
        let results = Results::register(&mut registry);
        let backends = BackendRequests::register(&mut registry);
        let delegates = Delegates::register(&mut registry);
        let rules = Rules::register(&mut registry);
        let team_rules = TeamRules::register(&mut registry);
        let objects = Objects::register(&mut registry);
        let certificate_end = Gauge::default();
        registry.register(
            "loadline_serving_certificate_expiration_timestamp_seconds",
            "When the serving certificate ends; of several, the one that ends first",
            certificate_end.clone(),
        );
        registry.register_collector(Box::new(process::Process));
        Self {
            registry,
            requests,
            results,
            backends,
            delegates,
            rules,
            team_rules,
            objects,
            certificate_end,
        }
    }
}

impl Metrics {
    /// The metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }

    /// The serving certificate ends at this second since the epoch.
    pub fn certificate_ends(&self, second: i64) {
        self.certificate_end.set(second);
    }
}

/// A count as a gauge has it.
fn level(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_are_those_of_dashboards() {
        let metrics = Arc::new(Metrics::default());
        metrics.request("custom.metrics.k8s.io", "get", 200, 0.002);
        let backend = metrics.backend("--prometheus-url", "http://prometheus:9090");
        backend.answered("/api/v1/query", "success", 0.2);
        let text = metrics.encode();
        for line in [
            r#"apiserver_request_total{group="custom.metrics.k8s.io",verb="get",code="200"} 1"#,
            r#"apiserver_request_duration_seconds_count{group="custom.metrics.k8s.io",verb="get"} 1"#,
            r#"prometheus_adapter_prometheus_client_request_duration_seconds_count{path="/api/v1/query",server="http://prometheus:9090"} 1"#,
            r#"loadline_prometheus_requests_total{backend="--prometheus-url",path="/api/v1/query",outcome="success"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
