//! Bearer tokens: TokenReviews, cached by the token's digest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::{Api, Client, api::PostParams};
use moka::future::Cache;
use ring::digest;
use tokio_util::task::TaskTracker;

use super::{
    Peer, Unauthenticated, User, Verdict,
    outage::Outage,
    review_limiter::{Asker, ReviewFailure, ReviewLimiter},
    shares::Shares,
};
use crate::{
    core::budgets::MemoryBudgets,
    kubernetes::deadline,
    metrics::Metrics,
    single_flight::{FlightError, SingleFlight},
    traces::{Span, SpanKind},
};

/// What the cache itself takes for a token, about, in bytes.
const ENTRY_BYTES: usize = 300;

/// How many tokens are known that were good some time ago, and for how long: who shows one is no stranger.
const MAX_GOOD: u64 = 10_000;
const GOOD_FOR: Duration = Duration::from_secs(3_600);

/// Longer tokens are not asked about, in bytes.
const MAX_TOKEN_BYTES: usize = 32 << 10;

/// Asks who holds a token, and remembers the answer.
pub struct Tokens {
    client: Client,
    limiter: Arc<ReviewLimiter>,
    answers: SingleFlight<Digest, Option<Holder>>,
    /// Tokens that were good, for longer than who holds them is remembered.
    good: Cache<Digest, ()>,
    strangers_waiting: Arc<Shares>,
    waiting: Arc<Shares>,
    ttl: Duration,
    metrics: Arc<Metrics>,
    outage: Arc<Outage>,
}

/// The digest of a token, by which it is remembered.
type Digest = [u8; 32];

/// Who holds a token, and how long that may be remembered.
#[derive(Clone)]
struct Holder {
    user: Arc<User>,
    until: Instant,
}

impl Tokens {
    /// Remembers answers, good and bad, for `ttl`.
    pub fn new(
        client: Client,
        ttl: Duration,
        memory: &MemoryBudgets,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
    ) -> Self {
        // What the heads of requests may hold whose tokens are reviewed: of those whose token was good before, and of others.
        let (waiting, of_strangers) = (memory.token_reviews, memory.token_reviews / 4);
        Self {
            client,
            limiter: Arc::default(),
            answers: SingleFlight::new(remembered(ttl, memory.tokens), tasks),
            good: Cache::builder().max_capacity(MAX_GOOD).time_to_live(GOOD_FOR).build(),
            strangers_waiting: Shares::new(of_strangers, of_strangers),
            waiting: Shares::new(waiting, waiting),
            ttl,
            metrics,
            outage: Arc::new(Outage::new(
                "tokens cannot be reviewed; those that are not remembered are refused until they can",
                "token reviews work again",
            )),
        }
    }

    /// The user who holds a token; an error where too many tokens are under review. The connection that it comes by remembers
    /// the last one, which saves digesting it. The head of the request has so many bytes, which wait with it.
    pub(super) async fn authenticate(
        &self,
        token: &str,
        head_bytes: usize,
        peer: &Peer,
    ) -> Result<Verdict, Unauthenticated> {
        if let Some(user) = peer.holder(token, Instant::now()) {
            return Ok(Ok(Some(user)));
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(Err("the bearer token is too long".to_owned()));
        }
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        let answer = match self.answers.kept(&key).await {
            Some(answer) => Ok(answer),
            // Apart, because every request would carry the room for a review that few need.
            None => Box::pin(self.ask(key, token, head_bytes)).await,
        };
        Ok(match answer {
            Ok(Some(Holder { user, until })) => {
                peer.remember(token, &user, until);
                Ok(Some(user))
            }
            Ok(None) => Err("the bearer token is not known".to_owned()),
            Err(FlightError::Failed(failure)) if matches!(*failure, ReviewFailure::Crowded) => {
                return Err(Unauthenticated::Crowded);
            }
            Err(error) => Err(format!("the bearer token could not be reviewed: {error}")),
        })
    }

    async fn ask(
        &self,
        key: Digest,
        token: &str,
        head_bytes: usize,
    ) -> Result<Option<Holder>, FlightError<ReviewFailure>> {
        let was_good = self.good.contains_key(&key);
        // Requests wait here that share a review, too.
        let waiting = if was_good { &self.waiting } else { &self.strangers_waiting };
        let Some(_share) = waiting.take("", head_bytes) else {
            return Err(FlightError::Failed(Arc::new(ReviewFailure::Crowded)));
        };
        let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
        let (token, outage, ttl) = (token.to_owned(), Arc::clone(&self.outage), self.ttl);
        let (limiter, good) = (Arc::clone(&self.limiter), self.good.clone());
        let review = Box::pin(async move {
            let asker = if was_good { Asker::Known("") } else { Asker::Stranger };
            let answer = review(client, &limiter, asker, token, &metrics).await;
            outage.note(&answer);
            let user = answer?;
            if user.is_some() {
                good.insert(key, ()).await;
            }
            Ok(user.map(|user| Holder { user, until: Instant::now() + ttl }))
        });
        self.answers.get(key, review).await
    }
}

/// Who holds which token, by what it takes in memory.
fn remembered(ttl: Duration, max_bytes: u64) -> Cache<Digest, Option<Holder>> {
    Cache::builder()
        .max_capacity(max_bytes)
        .weigher(|_, holder: &Option<Holder>| {
            let user = holder.as_ref().map_or(0, |holder| holder.user.bytes());
            u32::try_from(ENTRY_BYTES + user).unwrap_or(u32::MAX)
        })
        .time_to_live(ttl)
        .build()
}

async fn review(
    client: Client,
    limiter: &ReviewLimiter,
    asker: Asker<'_>,
    token: String,
    metrics: &Metrics,
) -> Result<Option<Arc<User>>, ReviewFailure> {
    let bytes = token.len();
    let review =
        TokenReview { spec: TokenReviewSpec { token, audiences: None }, ..TokenReview::default() };
    let parameters = PostParams::default();
    let api = Api::all(client);
    let mut span = Span::part(SpanKind::Client, "TokenReview");
    let ask = deadline(api.create(&parameters, &review));
    let reviewed: TokenReview = match limiter.review(asker, bytes, ask).await {
        Ok(reviewed) => reviewed,
        Err(failure) => {
            span.fail("review", "the token could not be reviewed");
            metrics.review("token", failure.outcome());
            return Err(failure);
        }
    };
    let status = reviewed.status.unwrap_or_default();
    let is_known = status.authenticated.unwrap_or(false);
    metrics.review("token", if is_known { "authenticated" } else { "unauthenticated" });
    Ok(is_known.then(|| {
        // As it is given to every request, so that none has to add to it.
        Arc::new(User::from(status.user.unwrap_or_default())).authenticated()
    }))
}

impl From<UserInfo> for User {
    fn from(user: UserInfo) -> Self {
        Self {
            name: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: u64 = 16 << 20;

    /// However many tokens are shown, and however large their holders are: what is remembered has its limit.
    #[tokio::test]
    async fn what_is_remembered_is_weighed() {
        let answers = remembered(Duration::from_secs(600), MAX_BYTES);
        let large = User { groups: vec!["g".repeat(1_000); 50], ..User::anonymous() };
        let holder = Holder { user: Arc::new(large), until: Instant::now() };
        for (holder, bytes) in [(None, ENTRY_BYTES), (Some(holder), 50_000)] {
            for number in 0..100_000_u32 {
                let mut key = [0; 32];
                key[..4].copy_from_slice(&number.to_le_bytes());
                answers.insert(key, holder.clone()).await;
            }
            answers.run_pending_tasks().await;
            let most = MAX_BYTES / u64::try_from(bytes).unwrap();
            assert!((1..=most).contains(&answers.entry_count()), "{}", answers.entry_count());
            assert!(answers.weighted_size() <= MAX_BYTES);
        }
    }
}
