//! Authentication and authorization, as in Kubernetes' own API servers.
//!
//! Behind the aggregator both are delegated. kube-apiserver sends the user in headers, which count only together with its
//! front-proxy certificate; others show a client certificate or a bearer token. Whether they may is asked of kube-apiserver.
//! Authenticators are tried in order: one that does not recognise a credential hands on to the next, and a request fails
//! only when none succeeded and one failed.

pub mod access;
pub mod certificate;
pub mod front_proxy;
pub mod local;
mod outage;
mod peer;
mod review_limiter;
pub mod shares;
pub mod token;
pub mod trust;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};
use rustls::pki_types::UnixTime;
use subtle::{Choice, ConstantTimeEq as _};

pub use self::peer::Peer;
use self::{local::LocalToken, token::Tokens, trust::Trust};

/// Who shows no credential.
const ANONYMOUS: &str = "system:anonymous";

/// Everybody who is not anonymous is in this group.
const AUTHENTICATED: &str = "system:authenticated";

/// An authenticated user.
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
            name: ANONYMOUS.to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    /// Whether nobody knows who it is.
    pub fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// How much memory it takes, about, in bytes.
    fn bytes(&self) -> usize {
        let of_text = |text: &String| size_of::<String>() + text.len();
        let of_list = |texts: &Vec<String>| texts.iter().map(of_text).sum::<usize>();
        let extra = self.extra.iter().map(|(key, values)| of_text(key) + of_list(values));
        size_of::<Self>()
            + self.name.len()
            + self.uid.len()
            + of_list(&self.groups)
            + extra.sum::<usize>()
    }

    /// A user with all rights.
    fn master(name: &str) -> Arc<Self> {
        let groups = vec![access::MASTERS.to_owned()];
        Arc::new(Self { name: name.to_owned(), groups, ..Self::default() })
    }

    /// Adds what every authenticated user is in.
    fn authenticated(mut self: Arc<Self>) -> Arc<Self> {
        if !self.is_anonymous() && !self.groups.iter().any(|group| group == AUTHENTICATED) {
            Arc::make_mut(&mut self).groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

/// Why a request is not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// A credential was shown and is not good. The text is for the log.
    #[error("{0}")]
    Refused(String),
    /// A token was shown that nobody has time to review; later it may be.
    #[error("too many tokens are under review")]
    Crowded,
}

/// Authenticates requests.
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
    /// Authenticates a request, and removes all headers that only the front proxy may send.
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
                        let text = "the bearer token is not the local one";
                        Err(Unauthenticated::Refused(text.to_owned()))
                    }
                    _ => {
                        peer.recognise();
                        Ok(User::master("system:loadline:local"))
                    }
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
                _ => self.tokens.authenticate(token, head_bytes(headers), peer).await?,
            };
            user = judge(verdict, &mut failures);
        }
        match user {
            Some(user) => {
                peer.recognise();
                Ok(user.authenticated())
            }
            None if failures.is_empty() => Ok(Arc::new(User::anonymous())),
            None => Err(Unauthenticated::Refused(failures.join("; "))),
        }
    }
}

fn judge(verdict: Verdict, failures: &mut Vec<String>) -> Option<Arc<User>> {
    verdict.unwrap_or_else(|failure| {
        failures.push(failure);
        None
    })
}

/// How long the headers of a request are, in bytes, as HTTP/2 counts them.
pub fn head_bytes(headers: &HeaderMap) -> usize {
    const EACH: usize = 32;
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + EACH).sum()
}

/// Compares tokens in a time that does not depend on where they differ. Compares eight bytes at a time, because every request has
/// a token, of about 1 KiB.
fn is_equal(known: &str, shown: &str) -> bool {
    if known.len() != shown.len() {
        return false;
    }
    let (known, known_rest) = known.as_bytes().as_chunks::<8>();
    let (shown, shown_rest) = shown.as_bytes().as_chunks::<8>();
    let of = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    let pairs = known.iter().zip(shown);
    let words = pairs.fold(Choice::from(1), |all, (a, b)| all & of(a).ct_eq(&of(b)));
    (words & known_rest.ct_eq(shown_rest)).into()
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_where_every_byte_is() {
        for length in 0..20 {
            let known = "x".repeat(length);
            assert!(is_equal(&known, &known));
            assert!(!is_equal(&known, &format!("{known}x")));
            for at in 0..length {
                let mut other = known.clone();
                other.replace_range(at..=at, "y");
                assert!(!is_equal(&known, &other), "{other}");
            }
        }
    }
}
