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
struct RuleLabels {
    rule: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    outcome: &'static str,
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
    discovered: Family<RuleLabels, Gauge>,
    catalog: Gauge,
    authentications: Family<OutcomeLabels, Counter>,
    reviews: Family<KindOutcomeLabels, Counter>,
}

fn latencies() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latencies),
            backend_requests: Family::default(),
            backend_seconds: Family::new_with_constructor(latencies),
            backend_bytes: Counter::default(),
            lists: Family::default(),
            discovered: Family::default(),
            catalog: Gauge::default(),
            authentications: Family::default(),
            reviews: Family::default(),
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
            "LIST requests for objects by resource and outcome",
            self.lists.clone(),
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
            "loadline_authentications",
            "Authenticated requests by outcome",
            self.authentications.clone(),
        );
        registry.register(
            "loadline_reviews",
            "Token and access reviews sent, by kind and outcome",
            self.reviews.clone(),
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

    /// A rule was discovered, or not.
    pub fn discovery(&self, rule: &str, succeeded: bool) {
        let labels = RuleLabels { rule: rule.to_owned() };
        self.discovered.get_or_create(&labels).set(succeeded.into());
    }

    /// The catalog was swapped.
    pub fn catalog(&self, metrics: usize) {
        self.catalog.set(i64::try_from(metrics).unwrap_or(i64::MAX));
    }

    /// A request was authenticated, or not.
    pub fn authentication(&self, outcome: &'static str) {
        self.authentications.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A review was sent.
    pub fn review(&self, kind: &'static str, outcome: &'static str) {
        self.reviews.get_or_create(&KindOutcomeLabels { kind, outcome }).inc();
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
