//! May they: SubjectAccessReviews, cached by user and attributes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use moka::{Equivalent, Expiry, future::Cache};
use tokio_util::task::TaskTracker;

use super::{
    User,
    outage::Outage,
    review_limiter::{Asker, ReviewFailure, ReviewLimiter},
};
use crate::{
    kubernetes::deadline,
    metrics::Metrics,
    single_flight::{FlightError, SingleFlight},
    traces::{Span, SpanKind},
    wire::attributes::{Attributes, Target},
};

/// The group that may do everything, without being asked about.
pub const MASTERS: &str = "system:masters";

/// The approximate overhead of the cache for a decision, in bytes.
const ENTRY_BYTES: usize = 400;

/// Decides who may do what.
pub struct Authorizer {
    always_allowed: Vec<String>,
    reviews: Option<Reviews>,
    /// The decision without a review.
    allowed: Arc<Decision>,
}

/// What a SubjectAccessReview asks, and the key of its cached decision.
#[derive(Eq, Hash, PartialEq)]
struct ReviewSpec {
    user: Arc<User>,
    attributes: Attributes<'static>,
}

/// A borrowed [`ReviewSpec`] for lookups. Field by field it has the same hash.
#[derive(Hash)]
struct BorrowedSpec<'a> {
    user: &'a Arc<User>,
    attributes: &'a Attributes<'a>,
}

impl Equivalent<Arc<ReviewSpec>> for BorrowedSpec<'_> {
    fn equivalent(&self, spec: &Arc<ReviewSpec>) -> bool {
        // Of one token's requests the user is the same one.
        let is_user = Arc::ptr_eq(self.user, &spec.user) || *self.user == spec.user;
        is_user && *self.attributes == spec.attributes
    }
}

/// An answer of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, if the cluster says so.
    pub reason: String,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    /// Too many reviews are under way for this user; later that may be otherwise.
    #[error("too many reviews are under way")]
    Crowded,
    /// The cluster could not be asked. The text is for the log.
    #[error("{0}")]
    Failed(String),
}

impl From<FlightError<ReviewFailure>> for Undecided {
    fn from(error: FlightError<ReviewFailure>) -> Self {
        match error {
            FlightError::Failed(failure) if matches!(*failure, ReviewFailure::Crowded) => {
                Self::Crowded
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Reviews by kube-apiserver, with a cache.
struct Reviews {
    decisions: SingleFlight<Arc<ReviewSpec>, Arc<Decision>>,
    asking: Asking,
}

/// What a review is made with.
#[derive(Clone)]
struct Asking {
    client: Client,
    limiter: Arc<ReviewLimiter>,
    metrics: Arc<Metrics>,
    outage: Arc<Outage>,
}

/// How long decisions are cached.
#[derive(Clone, Copy, Debug)]
pub struct Ttls {
    /// Those that allow.
    pub authorized: Duration,
    /// Those that refuse.
    pub unauthorized: Duration,
}

impl Decision {
    fn unasked() -> Arc<Self> {
        Arc::new(Self { allowed: true, reason: String::new() })
    }
}

impl Expiry<Arc<ReviewSpec>, Arc<Decision>> for Ttls {
    fn expire_after_create(
        &self,
        _spec: &Arc<ReviewSpec>,
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
        Self { always_allowed, reviews: None, allowed: Decision::unasked() }
    }

    /// Asks the cluster, but not about the paths that are always allowed; a path that ends in `*` stands for all that begin
    /// so. Decisions are remembered so long, and together take so many bytes.
    pub fn delegated(
        client: Client,
        (ttls, max_bytes): (Ttls, u64),
        always_allowed: Vec<String>,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
    ) -> Self {
        let decisions = remembered(ttls, max_bytes);
        let asking = Asking {
            client,
            limiter: Arc::default(),
            metrics,
            outage: Arc::new(Outage::new(
                "access cannot be reviewed: requests without a cached decision are refused",
                "access reviews work again",
            )),
        };
        let reviews = Reviews { decisions: SingleFlight::new(decisions, tasks), asking };
        Self { always_allowed, reviews: Some(reviews), allowed: Decision::unasked() }
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
        user: &Arc<User>,
        attributes: &Attributes<'_>,
    ) -> Result<Arc<Decision>, Undecided> {
        let Some(reviews) = &self.reviews else {
            return Ok(Arc::clone(&self.allowed));
        };
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(Arc::clone(&self.allowed));
        }
        if let Some(decision) = reviews.decisions.kept(&BorrowedSpec { user, attributes }).await {
            return Ok(decision);
        }
        let attributes = attributes.clone().into_owned();
        // Apart, because every request would carry the room for a review that few need.
        Ok(Box::pin(reviews.decide(ReviewSpec { user: Arc::clone(user), attributes })).await?)
    }
}

impl ReviewSpec {
    /// The approximate memory in bytes. Users are counted as if none were shared.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.attributes.bytes() + self.user.bytes()
    }

    /// The spec as the API has it.
    fn to_api(&self) -> SubjectAccessReviewSpec {
        let User { name, uid, groups, extra } = User::clone(&self.user);
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let verb = Some(self.attributes.verb.to_string());
        let spec = SubjectAccessReviewSpec {
            user: Some(name),
            uid: some(&uid),
            groups: Some(groups),
            extra: (!extra.is_empty()).then_some(extra),
            ..SubjectAccessReviewSpec::default()
        };
        match &self.attributes.target {
            Target::Path(path) => {
                let attributes = NonResourceAttributes { path: Some(path.to_string()), verb };
                SubjectAccessReviewSpec { non_resource_attributes: Some(attributes), ..spec }
            }
            Target::Resource { group, version, namespace, resource, name, subresource } => {
                let attributes = ResourceAttributes {
                    group: some(group),
                    version: some(version),
                    namespace: some(namespace),
                    resource: some(resource),
                    name: some(name),
                    subresource: some(subresource),
                    verb,
                    ..ResourceAttributes::default()
                };
                SubjectAccessReviewSpec { resource_attributes: Some(attributes), ..spec }
            }
        }
    }
}

/// A cache of decisions, bounded by memory.
fn remembered(ttls: Ttls, max_bytes: u64) -> Cache<Arc<ReviewSpec>, Arc<Decision>> {
    Cache::builder()
        .max_capacity(max_bytes)
        .weigher(|spec: &Arc<ReviewSpec>, decision: &Arc<Decision>| {
            let bytes = ENTRY_BYTES + spec.bytes() + decision.reason.len();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        })
        .expire_after(ttls)
        .build()
}

impl Reviews {
    async fn decide(&self, spec: ReviewSpec) -> Result<Arc<Decision>, FlightError<ReviewFailure>> {
        let spec = Arc::new(spec);
        let asking = self.asking.clone();
        let asked = Arc::clone(&spec);
        let review = Box::pin(async move {
            let decision = asking.review(&asked).await;
            asking.outage.note(&decision);
            decision
        });
        self.decisions.get(spec, review).await
    }
}

impl Asking {
    async fn review(&self, spec: &ReviewSpec) -> Result<Arc<Decision>, ReviewFailure> {
        let user = &spec.user;
        let asker = if user.is_anonymous() { Asker::Stranger } else { Asker::Known(&user.name) };
        let mut span = Span::part(SpanKind::Client, "SubjectAccessReview");
        let ask = async {
            let spec = spec.to_api();
            let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            let api = Api::all(self.client.clone());
            deadline(api.create(&PostParams::default(), &review)).await
        };
        let reviewed = self.limiter.review(asker, spec.bytes(), ask).await;
        let reviewed: SubjectAccessReview = match reviewed {
            Ok(reviewed) => reviewed,
            Err(failure) => {
                span.fail("review", "access could not be reviewed");
                self.metrics.review("access", failure.outcome());
                return Err(failure);
            }
        };
        let status = reviewed.status.unwrap_or_default();
        let allowed = status.allowed && !status.denied.unwrap_or(false);
        self.metrics.review("access", if allowed { "allowed" } else { "denied" });
        Ok(Arc::new(Decision { allowed, reason: status.reason.unwrap_or_default() }))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        hash::{BuildHasher as _, RandomState},
    };

    use super::*;

    const MAX_BYTES: u64 = 16 << 20;

    #[test]
    fn what_is_looked_up_hashes_as_what_is_remembered() {
        let user = Arc::new(User { groups: vec!["g".to_owned()], ..User::anonymous() });
        let other = Arc::new(User { groups: vec!["h".to_owned()], ..User::anonymous() });
        let of = |path| Attributes::of("GET", path, false).unwrap();
        for path in ["/apis/g/v1/namespaces/n/pods/a%20b/m", "/apis/g/v1/nodes/*/m", "/metrics"] {
            let attributes = of(path);
            let spec =
                Arc::new(ReviewSpec { user: Arc::clone(&user), attributes: of(path).into_owned() });
            let same = Arc::new(User::clone(&user));
            for user in [&user, &same] {
                let asked = BorrowedSpec { user, attributes: &attributes };
                let hashes = RandomState::new();
                assert_eq!(hashes.hash_one(&asked), hashes.hash_one(&spec), "{path}");
                assert!(asked.equivalent(&spec), "{path}");
            }
            assert!(!BorrowedSpec { user: &other, attributes: &attributes }.equivalent(&spec));
            assert!(!BorrowedSpec { user: &user, attributes: &of("/x") }.equivalent(&spec));
        }
    }

    /// Whatever users request, the cached decisions stay within their limit.
    #[tokio::test]
    async fn what_is_remembered_is_weighed() {
        let long = Duration::from_secs(600);
        let decisions = remembered(Ttls { authorized: long, unauthorized: long }, MAX_BYTES);
        let groups: Vec<_> = (0..100).map(|number| format!("{number:0400}")).collect();
        let extra = BTreeMap::from([("key".to_owned(), groups.clone())]);
        let users = [
            User::anonymous(),
            User { groups, ..User::anonymous() },
            User { extra, ..User::anonymous() },
            User { uid: "u".repeat(40_000), ..User::anonymous() },
        ];
        for user in users.map(Arc::new) {
            let is_large = user.bytes() > 40_000;
            for number in 0..5_000 {
                let path = format!(
                    "/{number}{}",
                    if is_large { String::new() } else { "a".repeat(9_900) }
                );
                let attributes = Attributes::of("GET", &path, false).unwrap().into_owned();
                let spec = ReviewSpec { user: Arc::clone(&user), attributes };
                assert!(spec.bytes() > if is_large { 40_000 } else { 9_900 });
                decisions.insert(Arc::new(spec), Decision::unasked()).await;
            }
            decisions.run_pending_tasks().await;
            let (weight, count) = (decisions.weighted_size(), decisions.entry_count());
            assert!((MAX_BYTES / 2..=MAX_BYTES).contains(&weight), "{weight}");
            assert!(count < MAX_BYTES / 9_900, "{count}");
        }
    }

    #[test]
    fn open_paths_are_whole_paths_or_beginnings() {
        let authorizer = Authorizer {
            always_allowed: vec!["/healthz".to_owned(), "/open/*".to_owned()],
            reviews: None,
            allowed: Decision::unasked(),
        };
        let cases =
            [("/healthz", true), ("/healthz/ping", false), ("/open/x", true), ("/open", false)];
        for (path, wanted) in cases {
            assert_eq!(authorizer.is_open(path), wanted, "{path}");
        }
    }
}
