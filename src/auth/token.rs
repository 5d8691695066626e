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

use super::{Peer, User, Verdict, outage::Outage, turns::Turns};
use crate::{
    kubernetes::{self, deadline},
    metrics::Metrics,
    single_flight::{FlightError, SingleFlight},
    traces::{Span, SpanKind},
};

/// How many tokens are remembered.
const MAX_TOKENS: u64 = 10_000;

/// Longer tokens are not asked about, in bytes.
const MAX_TOKEN_BYTES: usize = 32 << 10;

/// Asks who holds a token, and remembers the answer.
pub struct Tokens {
    client: Client,
    turns: Turns,
    answers: SingleFlight<[u8; 32], Option<Holder>>,
    ttl: Duration,
    metrics: Arc<Metrics>,
    outage: Arc<Outage>,
}

/// Who holds a token, and how long that may be remembered.
#[derive(Clone)]
struct Holder {
    user: Arc<User>,
    until: Instant,
}

impl Tokens {
    /// Remembers answers, good and bad, for `ttl`.
    pub fn new(client: Client, ttl: Duration, tasks: TaskTracker, metrics: Arc<Metrics>) -> Self {
        let answers = Cache::builder().max_capacity(MAX_TOKENS).time_to_live(ttl).build();
        Self {
            client,
            turns: Turns::default(),
            answers: SingleFlight::new(answers, tasks),
            ttl,
            metrics,
            outage: Arc::new(Outage::new(
                "tokens cannot be reviewed; those that are not remembered are refused until they can",
                "token reviews work again",
            )),
        }
    }

    /// The user who holds a token. The connection that it comes by remembers the last one, which saves digesting it.
    pub(super) async fn authenticate(&self, token: &str, peer: &Peer) -> Verdict {
        if let Some(user) = peer.holder(token, Instant::now()) {
            return Ok(Some(user));
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err("the bearer token is too long".to_owned());
        }
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        let answer = match self.answers.kept(&key).await {
            Some(answer) => Ok(answer),
            // Apart, because every request would carry the room for a review that few need.
            None => Box::pin(self.ask(key, token)).await,
        };
        match answer {
            Ok(Some(Holder { user, until })) => {
                peer.remember(token, &user, until);
                Ok(Some(user))
            }
            Ok(None) => Err("the bearer token is not known".to_owned()),
            Err(error) => Err(format!("the bearer token could not be reviewed: {error}")),
        }
    }

    async fn ask(
        &self,
        key: [u8; 32],
        token: &str,
    ) -> Result<Option<Holder>, FlightError<kubernetes::Error>> {
        let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
        let (token, outage, ttl) = (token.to_owned(), Arc::clone(&self.outage), self.ttl);
        let turns = self.turns.clone();
        let review = async move {
            let answer = review(client, &turns, token, &metrics).await;
            outage.note(&answer);
            let until = Instant::now() + ttl;
            answer.map(|user| user.map(|user| Holder { user, until }))
        };
        self.answers.get(key, review).await
    }
}

async fn review(
    client: Client,
    turns: &Turns,
    token: String,
    metrics: &Metrics,
) -> Result<Option<Arc<User>>, kubernetes::Error> {
    let review =
        TokenReview { spec: TokenReviewSpec { token, audiences: None }, ..TokenReview::default() };
    let parameters = PostParams::default();
    let api = Api::all(client);
    let mut span = Span::part(SpanKind::Client, "TokenReview");
    let reviewed = deadline(turns.take(api.create(&parameters, &review))).await;
    let reviewed: TokenReview = match reviewed {
        Ok(reviewed) => reviewed,
        Err(error) => {
            span.fail("review", "the token could not be reviewed");
            metrics.review("token", "error");
            return Err(error);
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
