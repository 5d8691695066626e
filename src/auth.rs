//! Who asks, and may they: authentication and authorization as Kubernetes' own API servers do it.
//!
//! Behind the aggregator both are delegated. Who asks is told by kube-apiserver in headers that count only together with its
//! front-proxy certificate; others show a client certificate or a bearer token. Whether they may is asked of kube-apiserver.
//! Authenticators are tried in order: one that does not recognise a credential hands on to the next, and a request fails
//! only when none succeeded and one failed.

pub mod access;
pub mod certificate;
pub mod front_proxy;
pub mod local;
mod outage;
mod peer;
pub mod token;
pub mod trust;
mod turns;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};
use rustls::pki_types::UnixTime;

pub use self::peer::Peer;
use self::{local::LocalToken, token::Tokens, trust::Trust};

/// Everybody who is not anonymous is in this group.
const AUTHENTICATED: &str = "system:authenticated";

/// Who asks.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The user's unique identifier; empty where there is none.
    pub uid: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// Further facts, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Who shows no credential.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    /// A user with all rights.
    fn master(name: &str) -> Arc<Self> {
        let groups = vec![access::MASTERS.to_owned()];
        Arc::new(Self { name: name.to_owned(), groups, ..Self::default() })
    }

    /// Adds what every authenticated user is in.
    fn authenticated(mut self: Arc<Self>) -> Arc<Self> {
        let is_anonymous = self.name == "system:anonymous";
        if !is_anonymous && !self.groups.iter().any(|group| group == AUTHENTICATED) {
            Arc::make_mut(&mut self).groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

/// A credential was shown and is not good. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(String);

/// Tells who asks.
pub enum Authenticator {
    /// Everybody on this machine may do everything; a token that is shown has to be the local one.
    Local(LocalToken),
    /// As kube-apiserver says.
    Delegated(Box<Delegated>),
}

/// Delegated authentication.
pub struct Delegated {
    /// The authorities that are trusted now, and for what.
    pub trust: Arc<ArcSwap<Trust>>,
    /// Bearer tokens.
    pub tokens: Tokens,
    /// The token of the kubeconfig that we wrote, if we did.
    pub local: Option<LocalToken>,
}

/// What one authenticator makes of a request: a user, nothing that it recognises, or a credential that is not good.
type Verdict = Result<Option<Arc<User>>, String>;

impl Authenticator {
    /// Tells who asks, and removes from the headers everything that only the front proxy may say.
    pub async fn authenticate(
        &self,
        headers: &mut HeaderMap,
        peer: &Peer,
        now: UnixTime,
    ) -> Result<Arc<User>, Unauthenticated> {
        match self {
            Self::Local(token) => {
                front_proxy::strip(headers, None);
                match bearer(headers) {
                    Some(shown) if !token.is(shown) => {
                        Err(Unauthenticated("the bearer token is not the local one".to_owned()))
                    }
                    _ => Ok(User::master("system:loadline:local")),
                }
            }
            Self::Delegated(delegated) => delegated.authenticate(headers, peer, now).await,
        }
    }
}

impl Delegated {
    async fn authenticate(
        &self,
        headers: &mut HeaderMap,
        peer: &Peer,
        now: UnixTime,
    ) -> Result<Arc<User>, Unauthenticated> {
        let trust = self.trust.load_full();
        let mut failures = Vec::new();
        let front_proxy = trust.front_proxy.as_ref();
        let mut user = judge(
            front_proxy.map_or(Ok(None), |proxy| proxy.authenticate(headers, peer, now)),
            &mut failures,
        );
        front_proxy::strip(headers, front_proxy);
        if user.is_none() {
            let authority = trust.client_authority.as_ref();
            user = judge(
                authority.map_or(Ok(None), |authority| authority.authenticate(peer, now)),
                &mut failures,
            );
        }
        if user.is_none()
            && let Some(token) = bearer(headers)
        {
            let verdict = match &self.local {
                Some(local) if local.is(token) => Ok(Some(User::master("system:loadline:local"))),
                _ => self.tokens.authenticate(token, peer).await,
            };
            user = judge(verdict, &mut failures);
        }
        match user {
            Some(user) => Ok(user.authenticated()),
            None if failures.is_empty() => Ok(Arc::new(User::anonymous())),
            None => Err(Unauthenticated(failures.join("; "))),
        }
    }
}

fn judge(verdict: Verdict, failures: &mut Vec<String>) -> Option<Arc<User>> {
    verdict.unwrap_or_else(|failure| {
        failures.push(failure);
        None
    })
}

/// Compares tokens in a time that does not depend on where they differ.
fn is_equal(known: &str, shown: &str) -> bool {
    known.len() == shown.len()
        && known.bytes().zip(shown.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
