//! May they: SubjectAccessReviews, cached by user and attributes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use moka::{Expiry, future::Cache};
use tokio_util::task::TaskTracker;

use super::{User, outage::Outage};
use crate::{
    kubernetes::{self, deadline},
    metrics::Metrics,
    single_flight::SingleFlight,
    wire::attributes::{Attributes, Target},
};

/// The group that may do everything, without being asked about.
pub const MASTERS: &str = "system:masters";

/// How many decisions are remembered.
const MAX_DECISIONS: u64 = 50_000;

/// Decides who may do what.
pub struct Authorizer {
    always_allowed: Vec<String>,
    reviews: Option<Reviews>,
}

/// What is asked about, and the key of what is remembered.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Question {
    user: User,
    attributes: Attributes,
}

/// An answer of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, if the cluster says so.
    pub reason: String,
}

/// Asks kube-apiserver.
struct Reviews {
    client: Client,
    decisions: SingleFlight<Arc<Question>, Arc<Decision>>,
    metrics: Arc<Metrics>,
    outage: Arc<Outage>,
}

/// How long decisions are remembered.
#[derive(Clone, Copy, Debug)]
pub struct Ttls {
    /// Those that allow.
    pub authorized: Duration,
    /// Those that refuse.
    pub unauthorized: Duration,
}

impl Expiry<Arc<Question>, Arc<Decision>> for Ttls {
    fn expire_after_create(
        &self,
        _question: &Arc<Question>,
        decision: &Arc<Decision>,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(if decision.allowed { self.authorized } else { self.unauthorized })
    }
}

impl Authorizer {
    /// Allows everything to everybody who is known.
    pub fn allow_all() -> Self {
        let always_allowed = ["/healthz", "/readyz", "/livez"].map(str::to_owned).to_vec();
        Self { always_allowed, reviews: None }
    }

    /// Asks the cluster, but not about the paths that are always allowed; a path that ends in `*` stands for all that begin
    /// so.
    pub fn delegated(
        client: Client,
        ttls: Ttls,
        always_allowed: Vec<String>,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
    ) -> Self {
        let decisions = Cache::builder().max_capacity(MAX_DECISIONS).expire_after(ttls).build();
        let reviews = Reviews {
            client,
            decisions: SingleFlight::new(decisions, tasks),
            metrics,
            outage: Arc::new(Outage::new(
                "access cannot be reviewed; what is not remembered is refused until it can",
                "access reviews work again",
            )),
        };
        Self { always_allowed, reviews: Some(reviews) }
    }

    /// Whether a path is allowed to everybody, and nobody has to be asked who it is.
    pub fn is_open(&self, path: &str) -> bool {
        self.always_allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == allowed,
        })
    }

    /// Whether a user may. An error is no decision, and so a refusal.
    pub async fn decide(
        &self,
        user: &User,
        attributes: &Attributes,
    ) -> Result<Arc<Decision>, kubernetes::Error> {
        let allowed = || Arc::new(Decision { allowed: true, reason: String::new() });
        let Some(reviews) = &self.reviews else {
            return Ok(allowed());
        };
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(allowed());
        }
        let question = Question { user: user.clone(), attributes: attributes.clone() };
        reviews.decide(question).await
    }
}

impl Reviews {
    async fn decide(&self, question: Question) -> Result<Arc<Decision>, kubernetes::Error> {
        let question = Arc::new(question);
        let spec = spec(&question);
        let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
        let outage = Arc::clone(&self.outage);
        let review = async move {
            let decision = review(client, spec, &metrics).await;
            outage.note(&decision);
            decision
        };
        let decision = self.decisions.get(question, review).await;
        decision.map_err(|error| kubernetes::Error::Api(error.to_string()))
    }
}

fn spec(question: &Question) -> SubjectAccessReviewSpec {
    let User { name, uid, groups, extra } = question.user.clone();
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let verb = Some(question.attributes.verb.clone());
    let mut spec = SubjectAccessReviewSpec {
        user: Some(name),
        uid: some(&uid),
        groups: Some(groups),
        extra: (!extra.is_empty()).then_some(extra),
        ..SubjectAccessReviewSpec::default()
    };
    match &question.attributes.target {
        Target::Path(path) => {
            let path = Some(path.clone());
            spec.non_resource_attributes = Some(NonResourceAttributes { path, verb });
        }
        Target::Resource { group, version, namespace, resource, name, subresource } => {
            spec.resource_attributes = Some(ResourceAttributes {
                group: some(group),
                version: some(version),
                namespace: some(namespace),
                resource: some(resource),
                name: some(name),
                subresource: some(subresource),
                verb,
                ..ResourceAttributes::default()
            });
        }
    }
    spec
}

async fn review(
    client: Client,
    spec: SubjectAccessReviewSpec,
    metrics: &Metrics,
) -> Result<Arc<Decision>, kubernetes::Error> {
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let parameters = PostParams::default();
    let reviewed = deadline(Api::all(client).create(&parameters, &review)).await;
    let reviewed: SubjectAccessReview = match reviewed {
        Ok(reviewed) => reviewed,
        Err(error) => {
            metrics.review("access", "error");
            return Err(error);
        }
    };
    let status = reviewed.status.unwrap_or_default();
    let allowed = status.allowed && !status.denied.unwrap_or(false);
    metrics.review("access", if allowed { "allowed" } else { "denied" });
    Ok(Arc::new(Decision { allowed, reason: status.reason.unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_paths_are_whole_paths_or_beginnings() {
        let authorizer = Authorizer {
            always_allowed: vec!["/healthz".to_owned(), "/open/*".to_owned()],
            reviews: None,
        };
        let cases =
            [("/healthz", true), ("/healthz/ping", false), ("/open/x", true), ("/open", false)];
        for (path, wanted) in cases {
            assert_eq!(authorizer.is_open(path), wanted, "{path}");
        }
    }
}
