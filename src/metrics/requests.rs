//! Requests to us: how they were answered, and who asked.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{Latencies, Metrics, OutcomeLabels, latencies};

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
struct ReviewLabels {
    kind: &'static str,
    outcome: &'static str,
}

pub(super) struct Requests {
    answered: Family<RequestLabels, Counter>,
    seconds: Latencies<LatencyLabels>,
    authentications: Family<OutcomeLabels, Counter>,
    /// The one of them that nearly all are.
    authenticated: Counter,
    reviews: Family<ReviewLabels, Counter>,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let authentications = Family::<OutcomeLabels, Counter>::default();
        let metrics = Self {
            answered: Family::default(),
            seconds: latencies(),
            authenticated: authentications
                .get_or_create_owned(&OutcomeLabels { outcome: "authenticated" }),
            authentications,
            reviews: Family::default(),
        };
        registry.register(
            "apiserver_request",
            "Requests by API group, verb and status code",
            metrics.answered.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "How long requests took",
            metrics.seconds.clone(),
        );
        registry.register(
            "loadline_authentications",
            "Authenticated requests by outcome",
            metrics.authentications.clone(),
        );
        registry.register(
            "loadline_reviews",
            "Token and access reviews by kind and outcome",
            metrics.reviews.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A request was answered. `group` is empty for what belongs to no API group.
    pub fn request(&self, group: &'static str, verb: &'static str, code: u16, seconds: f64) {
        let labels = RequestLabels { group, verb, code };
        self.requests.answered.get_or_create(&labels).inc();
        self.requests.seconds.get_or_create(&LatencyLabels { group, verb }).observe(seconds);
    }

    /// A request was authenticated, or not.
    pub fn authentication(&self, outcome: &'static str) {
        if outcome == "authenticated" {
            self.requests.authenticated.inc();
            return;
        }
        self.requests.authentications.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A review was made, or has failed.
    pub fn review(&self, kind: &'static str, outcome: &'static str) {
        self.requests.reviews.get_or_create(&ReviewLabels { kind, outcome }).inc();
    }
}
