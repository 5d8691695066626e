//! What passes between us and the backends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
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

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ServerLabels {
    backend: String,
    server: String,
}

pub(super) struct Requests {
    sent: Family<RequestLabels, Counter>,
    seconds: Latencies<LatencyLabels>,
    bytes: Family<BackendLabels, Counter>,
    down_since: Family<BackendLabels, Gauge>,
    in_use: Family<ServerLabels, Gauge>,
    ejected: Family<ServerLabels, Gauge>,
    switches: Family<BackendLabels, Counter>,
    ejections: Family<ServerLabels, Counter>,
    answer_memory: AnswerMemory,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            sent: Family::default(),
            seconds: latencies(),
            bytes: Family::default(),
            down_since: Family::default(),
            in_use: Family::default(),
            ejected: Family::default(),
            switches: Family::default(),
            ejections: Family::default(),
            answer_memory: AnswerMemory::default(),
        };
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
        registry.register(
            "loadline_prometheus_down_since_timestamp_seconds",
            "Time since which a backend has not answered any request; 0 if it answered the last one",
            metrics.down_since.clone(),
        );
        registry.register(
            "loadline_prometheus_server_in_use",
            "Whether queries to a backend are sent to this server, of those that it has",
            metrics.in_use.clone(),
        );
        registry.register(
            "loadline_prometheus_server_ejected",
            "Whether a server of several is not well, and is not asked as long as there is another one",
            metrics.ejected.clone(),
        );
        registry.register(
            "loadline_prometheus_server_switches",
            "How often another server of a backend came into use",
            metrics.switches.clone(),
        );
        registry.register(
            "loadline_prometheus_server_ejections",
            "How often a server was found not to be well, and was not asked as long as there was another one",
            metrics.ejections.clone(),
        );
        registry.register(
            "loadline_prometheus_answers_bytes",
            "Memory of Prometheus' answers that are being received and decoded",
            metrics.answer_memory.now.clone(),
        );
        registry.register(
            "loadline_prometheus_answers_peak_bytes",
            "The most memory that they took at a time since the start",
            metrics.answer_memory.peak.clone(),
        );
        registry.register(
            "loadline_prometheus_answers_limit_bytes",
            "The memory that they may take; those that come wait for others that end",
            metrics.answer_memory.most.clone(),
        );
        metrics
    }
}

/// The memory of the answers of all backends that are being received and decoded, in bytes.
#[derive(Clone, Debug, Default)]
pub struct AnswerMemory {
    /// What they take now.
    pub now: Gauge,
    /// The most since the start.
    pub peak: Gauge,
    /// The most that they may take.
    pub most: Gauge,
}

/// Where the requests to one server of a backend are counted.
pub struct Backend {
    metrics: Arc<Metrics>,
    name: String,
    server: String,
    bytes: Counter,
    labels: BackendLabels,
    servers: Arc<Mutex<Servers>>,
    /// The number of this one.
    number: usize,
}

/// What the servers of a backend have in common.
struct Servers {
    /// Since when each has not answered, in seconds since the epoch; 0 where it does.
    down: Vec<i64>,
    /// Whether the backend is asked no more. What is under way must not bring its series back.
    is_forgotten: bool,
}

impl Metrics {
    /// The metrics of the memory of answers.
    pub fn answer_memory(&self) -> &AnswerMemory {
        &self.backends.answer_memory
    }

    /// The counts of a backend: its name, and its URL, which must not hold a secret.
    pub fn backend(self: &Arc<Self>, name: &str, server: &str) -> Backend {
        let (name, server) = (name.to_owned(), server.to_owned());
        let labels = BackendLabels { backend: name.clone() };
        let bytes = self.backends.bytes.get_or_create_owned(&labels);
        let servers = Arc::new(Mutex::new(Servers { down: vec![0], is_forgotten: false }));
        Backend { metrics: Arc::clone(self), name, server, bytes, labels, servers, number: 0 }
    }
}

impl Backend {
    /// The counts of a further server of the same backend, by its URL.
    #[must_use]
    pub fn further(&self, server: &str) -> Self {
        let mut servers = self.servers();
        servers.down.push(0);
        Self {
            metrics: Arc::clone(&self.metrics),
            name: self.name.clone(),
            server: server.to_owned(),
            bytes: self.bytes.clone(),
            labels: self.labels.clone(),
            servers: Arc::clone(&self.servers),
            number: servers.down.len() - 1,
        }
    }

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

    /// The server has not answered since this second since the epoch; 0 where it does. A backend is down when all of its servers are.
    pub fn down_since(&self, second: i64) {
        let mut servers = self.servers();
        if let Some(since) = servers.down.get_mut(self.number) {
            *since = second;
        }
        if servers.is_forgotten {
            return;
        }
        let down = &servers.down;
        let since = if down.contains(&0) { 0 } else { down.iter().copied().max().unwrap_or(0) };
        self.metrics.backends.down_since.get_or_create(&self.labels).set(since);
    }

    /// Whether the server is the one that queries are sent to, of several, and whether it is ejected.
    pub fn state(&self, is_in_use: bool, is_ejected: bool) {
        let servers = self.servers();
        if servers.is_forgotten {
            return;
        }
        let backends = &self.metrics.backends;
        backends.in_use.get_or_create(&self.server_labels()).set(is_in_use.into());
        backends.ejected.get_or_create(&self.server_labels()).set(is_ejected.into());
        // From the start on there is a count that can grow.
        drop(backends.switches.get_or_create(&self.labels));
        drop(backends.ejections.get_or_create(&self.server_labels()));
    }

    /// The server came into use in place of another one.
    pub fn switched(&self) {
        let servers = self.servers();
        if servers.is_forgotten {
            return;
        }
        self.metrics.backends.switches.get_or_create(&self.labels).inc();
    }

    /// The server was ejected.
    pub fn ejected(&self) {
        let servers = self.servers();
        if servers.is_forgotten {
            return;
        }
        self.metrics.backends.ejections.get_or_create(&self.server_labels()).inc();
    }

    /// It is not asked any more: until [`Backend::show`], nothing is told of its servers.
    pub fn forget(&self) {
        let mut servers = self.servers();
        servers.is_forgotten = true;
        let backends = &self.metrics.backends;
        backends.down_since.remove(&self.labels);
        backends.switches.remove(&self.labels);
        backends.in_use.remove(&self.server_labels());
        backends.ejected.remove(&self.server_labels());
        backends.ejections.remove(&self.server_labels());
    }

    /// Whether the backend is not asked any more.
    pub fn is_forgotten(&self) -> bool {
        self.servers().is_forgotten
    }

    /// The backend is asked, perhaps again.
    pub fn show(&self) {
        self.servers().is_forgotten = false;
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server_labels(&self) -> ServerLabels {
        ServerLabels { backend: self.name.clone(), server: self.server.clone() }
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
