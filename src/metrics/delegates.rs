//! What passes between us and the delegates.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Latencies, Metrics, latencies, level};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReadLabels {
    delegate: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DelegateLabels {
    delegate: String,
}

impl DelegateLabels {
    fn of(delegate: &str) -> Self {
        Self { delegate: delegate.to_owned() }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListLabels {
    delegate: String,
    group: &'static str,
}

pub(super) struct Delegates {
    reads: Family<ReadLabels, Counter>,
    seconds: Latencies<DelegateLabels>,
    resting: Family<DelegateLabels, Gauge>,
    connected: Family<DelegateLabels, Gauge>,
    listed: Family<ListLabels, Gauge>,
    list_succeeded: Family<ListLabels, Gauge>,
}

impl Delegates {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reads: Family::default(),
            seconds: latencies(),
            resting: Family::default(),
            connected: Family::default(),
            listed: Family::default(),
            list_succeeded: Family::default(),
        };
        registry.register(
            "loadline_delegate_reads",
            "Reads that delegates were asked for, by delegate and outcome",
            metrics.reads.clone(),
        );
        registry.register(
            "loadline_delegate_read_duration_seconds",
            "How long reads took that were sent to a delegate",
            metrics.seconds.clone(),
        );
        registry.register(
            "loadline_delegate_breaker_open",
            "Whether reads of a delegate fail at once, because it has not answered several in succession",
            metrics.resting.clone(),
        );
        registry.register(
            "loadline_delegate_connected",
            "Whether the credentials and authorities for a delegate could be read, so that it can be asked",
            metrics.connected.clone(),
        );
        registry.register(
            "loadline_delegate_listed_metrics",
            "Metrics that a delegate lists, by API group",
            metrics.listed.clone(),
        );
        registry.register(
            "loadline_delegate_list_successful",
            "Whether the last request for the metrics of a delegate succeeded, by API group",
            metrics.list_succeeded.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A read was sent to a delegate, or would have been; `seconds` is how long that took, if it was sent.
    pub fn delegated(&self, delegate: &str, outcome: &'static str, seconds: Option<f64>) {
        let labels = ReadLabels { delegate: delegate.to_owned(), outcome };
        self.delegates.reads.get_or_create(&labels).inc();
        if let Some(seconds) = seconds {
            self.delegates.seconds.get_or_create(&DelegateLabels::of(delegate)).observe(seconds);
        }
    }

    /// Whether the reads of a delegate fail at once.
    pub fn delegate_rests(&self, delegate: &str, rests: bool) {
        self.delegates.resting.get_or_create(&DelegateLabels::of(delegate)).set(rests.into());
    }

    /// Whether a delegate can be asked.
    pub fn delegate_connected(&self, delegate: &str, connected: bool) {
        self.delegates.connected.get_or_create(&DelegateLabels::of(delegate)).set(connected.into());
    }

    /// A delegate was asked for its metrics of a group; `metrics` is how many are known now.
    pub fn delegate_listed(
        &self,
        delegate: &str,
        group: &'static str,
        succeeded: bool,
        metrics: usize,
    ) {
        let labels = ListLabels { delegate: delegate.to_owned(), group };
        self.delegates.list_succeeded.get_or_create(&labels).set(succeeded.into());
        self.delegates.listed.get_or_create(&labels).set(level(metrics));
    }

    /// There is no such delegate any more.
    pub fn forget_delegate(&self, delegate: &str, groups: &[&'static str]) {
        self.delegates.resting.remove(&DelegateLabels::of(delegate));
        self.delegates.connected.remove(&DelegateLabels::of(delegate));
        for group in groups {
            let labels = ListLabels { delegate: delegate.to_owned(), group };
            self.delegates.listed.remove(&labels);
            self.delegates.list_succeeded.remove(&labels);
        }
    }
}
