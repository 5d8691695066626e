//! What passes between us and the backends.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{Latencies, Metrics, latencies};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    backend: String,
    path: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LatencyLabels {
    path: &'static str,
    server: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct BackendLabels {
    backend: String,
}

pub(super) struct Requests {
    sent: Family<RequestLabels, Counter>,
    seconds: Latencies<LatencyLabels>,
    bytes: Family<BackendLabels, Counter>,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics =
            Self { sent: Family::default(), seconds: latencies(), bytes: Family::default() };
        registry.register(
            "loadline_prometheus_requests",
            "Requests to Prometheus by backend (as the rules file calls it, or --prometheus-url), endpoint and outcome",
            metrics.sent.clone(),
        );
        registry.register(
            "prometheus_adapter_prometheus_client_request_duration_seconds",
            "How long requests to Prometheus took, by endpoint and URL",
            metrics.seconds.clone(),
        );
        registry.register(
            "loadline_prometheus_received_bytes",
            "Bytes of Prometheus' answers, once decompressed",
            metrics.bytes.clone(),
        );
        metrics
    }
}

/// Where the requests to one backend are counted.
pub struct Backend {
    metrics: Arc<Metrics>,
    name: String,
    server: String,
    bytes: Counter,
}

impl Metrics {
    /// The counts of a backend: its name, and its URL, which must not hold a secret.
    pub fn backend(self: &Arc<Self>, name: &str, server: &str) -> Backend {
        let (name, server) = (name.to_owned(), server.to_owned());
        let bytes =
            self.backends.bytes.get_or_create_owned(&BackendLabels { backend: name.clone() });
        Backend { metrics: Arc::clone(self), name, server, bytes }
    }
}

impl Backend {
    /// A request was answered, or has failed.
    pub fn answered(&self, path: &'static str, outcome: &'static str, seconds: f64) {
        self.count(path, outcome);
        let labels = LatencyLabels { path, server: self.server.clone() };
        self.metrics.backends.seconds.get_or_create(&labels).observe(seconds);
    }

    /// A request could not be sent.
    pub fn unsent(&self, path: &'static str, outcome: &'static str) {
        self.count(path, outcome);
    }

    /// Bytes came.
    pub fn received(&self, bytes: u64) {
        self.bytes.inc_by(bytes);
    }

    fn count(&self, path: &'static str, outcome: &'static str) {
        let labels = RequestLabels { backend: self.name.clone(), path, outcome };
        self.metrics.backends.sent.get_or_create(&labels).inc();
    }
}
