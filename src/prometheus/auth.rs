//! Credentials that end: fetched before the first request, renewed in time, and put into requests.
//!
//! `core/cloud/renewal` decides when one is fetched. A task makes each attempt, for all requests that wait: one that goes away ends nothing.
//! The protocols are few requests each, and their replies are small, so they are here in full: the SDKs of the clouds bring further
//! HTTP stacks and implementations of cryptography.

mod aws;
mod endpoint;
mod entra;
mod google;
mod oauth2;
mod settings;
mod signing;
mod variables;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws::Aws;
use endpoint::Endpoint;
pub use endpoint::TokenError;
use entra::Entra;
use google::Google;
use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};
use oauth2::ClientCredentials;
use reqwest::{Request, Url};
use secrecy::{ExposeSecret, SecretString};
pub use settings::AuthSettings;
pub(super) use settings::StaticCredentials;
use signing::{insert, sign};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
pub use variables::Variables;

use super::{
    clock::date,
    config::{ConfigError, Source},
    now,
};
use crate::core::{
    cloud::{
        renewal::{Admission, Refusal, Renewal},
        sigv4::{self, Keys},
    },
    credential::{self, Flaw},
    rules::Auth,
};

/// How long all requests for one credential may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A difference of clocks that signatures and assertions bear, in seconds.
const TOLERANCE: i64 = 60;

/// What is put into requests.
enum Credential {
    /// A token.
    Bearer(SecretString),
    /// What requests are signed with.
    Aws { keys: Keys, region: String, service: String },
}

impl Credential {
    /// The part of it that requests carry.
    fn shown(&self) -> Option<&str> {
        match self {
            Self::Bearer(token) => Some(token.expose_secret()),
            Self::Aws { keys, .. } => keys.session.as_ref().map(ExposeSecret::expose_secret),
        }
    }
}

/// A credential that has just been got. One without a lifetime does not end.
struct Fetched {
    credential: Credential,
    lifetime: Option<Duration>,
}

/// Who has the credentials.
enum Provider {
    Aws(Aws),
    Entra(Entra),
    Google(Google),
    ClientCredentials(Box<ClientCredentials>),
}

/// By how many seconds the clock of a service is ahead of ours, as its answers show.
#[derive(Debug, Default)]
struct Skew(AtomicI64);

impl Skew {
    /// The time there.
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.0.load(Ordering::Relaxed));
        Timestamp::now().checked_add(ahead).unwrap_or_else(|_too_far| Timestamp::now())
    }

    /// Takes the time at which an answer was made. Returns whether the difference is another one than before.
    fn read(&self, made: Timestamp) -> bool {
        let ahead = made.as_second().saturating_sub(Timestamp::now().as_second());
        let ahead = if ahead.abs() <= TOLERANCE { 0 } else { ahead };
        let before = self.0.swap(ahead, Ordering::Relaxed);
        ahead.saturating_sub(before).abs() > TOLERANCE
    }
}

/// The credentials of one backend.
pub(super) struct Authenticator {
    fetcher: Arc<Fetcher>,
    skew: Arc<Skew>,
    /// The attempt that is under way, or the last one. It ends with the backend.
    attempt: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What fetches credentials.
struct Fetcher {
    backend: String,
    provider: Provider,
    renewal: watch::Sender<Renewal<Arc<Credential>, TokenError>>,
}

impl Authenticator {
    /// Reads the files that the settings name once, so that one that is missing is an error at the start. Nothing if the settings
    /// need no credentials to be fetched.
    pub(super) fn new(
        backend: &str,
        url: &Url,
        settings: &AuthSettings,
        variables: &Arc<Variables>,
    ) -> Result<Option<Self>, ConfigError> {
        let skew = Arc::new(Skew::default());
        let source = |path: &Path| settings.source(path);
        let provider = match &settings.auth {
            Auth::SigV4(sigv4) => Provider::Aws(Aws::new(sigv4, url, variables, &skew)?),
            Auth::Entra(entra) => Provider::Entra(Entra::new(entra, source, variables)?),
            Auth::Google(google) => {
                Provider::Google(Google::new(google, source, variables, &skew)?)
            }
            Auth::OAuth2(oauth2) => {
                Provider::ClientCredentials(Box::new(ClientCredentials::new(oauth2, source)?))
            }
            Auth::Basic { .. } | Auth::Bearer { .. } => return Ok(None),
        };
        let (backend, renewal) = (backend.to_owned(), watch::Sender::default());
        let fetcher = Arc::new(Fetcher { backend, provider, renewal });
        Ok(Some(Self { fetcher, skew, attempt: Mutex::default() }))
    }

    /// Waits until there is a credential to send, and returns its number. Fails at once where the last attempt has failed, unless it is
    /// time for another one.
    pub(super) async fn ready(&self) -> Result<u64, TokenError> {
        loop {
            let mut admission = None;
            self.begin_if(|renewal| {
                let next = renewal.admit(now());
                matches!(admission.insert(next), Admission::Fetch)
            });
            match admission {
                Some(Admission::Use(_, number)) => return Ok(number),
                Some(Admission::Refuse(error)) => return Err(error),
                Some(Admission::Fetch | Admission::Wait) | None => self.settled().await,
            }
        }
    }

    /// Begins to renew a credential that ends soon.
    pub(super) fn renew_if_due(&self) {
        self.begin_if(|renewal| renewal.is_due(now()));
    }

    /// Whether this status means that the credential was refused.
    pub(super) fn is_refusal(&self, status: Option<u16>) -> bool {
        match self.fetcher.provider {
            // AWS answers so to keys that have ended, and to a time that is not its own.
            Provider::Aws(_) => matches!(status, Some(401 | 403)),
            _ => status == Some(401),
        }
    }

    /// Renews the credential of this number, which was refused, unless that was done recently. Returns whether there is a newer one.
    pub(super) async fn renewed(&self, number: u64) -> bool {
        loop {
            let mut refusal = Refusal::Accept;
            self.begin_if(|renewal| {
                refusal = renewal.refused(number, now());
                refusal == Refusal::Fetch
            });
            match refusal {
                Refusal::Repeat => return true,
                Refusal::Accept => return false,
                Refusal::Fetch | Refusal::Wait => self.settled().await,
            }
        }
    }

    /// Why there is no credential to send, if attempts fail.
    pub(super) fn problem(&self) -> Option<TokenError> {
        self.fetcher.renewal.borrow().problem(now()).cloned()
    }

    /// Why a request that was given up after so long may not even have been sent: there is no credential to send.
    pub(super) fn obstacle(&self, waited: Duration) -> Option<TokenError> {
        let renewal = self.fetcher.renewal.borrow();
        let problem = renewal.problem(now()).cloned();
        problem.or_else(|| renewal.is_awaited(now()).then_some(TokenError::Slow(waited)))
    }

    /// The secrets that requests under way may show the backend.
    pub(super) fn shown(&self) -> Vec<SecretString> {
        let renewal = self.fetcher.renewal.borrow();
        renewal.known().filter_map(|known| known.shown()).map(SecretString::from).collect()
    }

    /// Takes the time at which the backend has answered.
    pub(super) fn heard(&self, headers: &HeaderMap) {
        // An answer with an age was made some time ago.
        if !headers.contains_key(header::AGE)
            && let Some(made) = headers.get(header::DATE).and_then(date)
        {
            self.skew.read(made);
        }
    }

    /// Puts the latest credential into a request; nothing where there is none yet.
    pub(super) fn apply(&self, request: &mut Request) {
        let latest = self.fetcher.renewal.borrow().latest().cloned();
        match latest.as_deref() {
            None => {}
            Some(Credential::Bearer(token)) => {
                let value = format!("Bearer {}", token.expose_secret());
                insert(request.headers_mut(), header::AUTHORIZATION, &value);
            }
            Some(Credential::Aws { keys, region, service }) => {
                let scope = sigv4::Scope { region, service };
                sign(request, keys, scope, self.skew.now());
            }
        }
    }

    /// Begins an attempt if this decides so.
    fn begin_if(&self, begins: impl FnOnce(&mut Renewal<Arc<Credential>, TokenError>) -> bool) {
        let is_begun = self.fetcher.renewal.send_if_modified(|renewal| {
            let begins = begins(renewal);
            if begins {
                renewal.begin();
            }
            begins
        });
        if is_begun {
            let attempt = Arc::clone(&self.fetcher).attempt();
            // The lock is taken first: once the task is there, it may end, and another one take its place.
            let mut task = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = tokio::spawn(attempt.instrument(tracing::info_span!("credentials")));
            *task = Some(AbortOnDropHandle::new(attempt));
        }
    }

    /// Waits until no attempt is under way.
    async fn settled(&self) {
        let mut seen = self.fetcher.renewal.subscribe();
        // The sender is our own, so this does not fail.
        let _settled = seen.wait_for(|renewal| !renewal.is_fetching()).await;
    }
}

impl Fetcher {
    /// Makes the attempt that has begun.
    async fn attempt(self: Arc<Self>) {
        let mut under_way = UnderWay(Some(&self.renewal));
        let fetched = match tokio::time::timeout(TIMEOUT, self.provider.fetch()).await {
            Ok(fetched) => fetched,
            Err(_elapsed) => Err(TokenError::Slow(TIMEOUT)),
        };
        under_way.0 = None;
        let backend = self.backend.as_str();
        match fetched {
            Ok(Fetched { credential, lifetime }) => {
                let mut had_failed = false;
                let credential = Arc::new(credential);
                self.renewal.send_modify(|renewal| {
                    had_failed = renewal.succeeded(credential, lifetime, now());
                });
                let seconds = lifetime.map(|lifetime| lifetime.as_secs());
                tracing::debug!(backend, seconds, "got credentials for Prometheus");
                if had_failed {
                    tracing::info!(backend, "there are credentials for Prometheus again");
                }
            }
            Err(error) => {
                let mut is_first = false;
                self.renewal.send_modify(|renewal| is_first = renewal.failed(error.clone(), now()));
                if is_first {
                    tracing::warn!(
                        backend,
                        %error,
                        "cannot get credentials for Prometheus; those in use remain until they end"
                    );
                }
            }
        }
    }
}

impl Provider {
    async fn fetch(&self) -> Result<Fetched, TokenError> {
        match self {
            Self::Aws(aws) => aws.fetch().await,
            Self::Entra(entra) => entra.fetch().await,
            Self::Google(google) => google.fetch().await,
            Self::ClientCredentials(client) => client.fetch().await,
        }
    }
}

/// An attempt under way. One that ends by a panic has failed.
struct UnderWay<'a>(Option<&'a watch::Sender<Renewal<Arc<Credential>, TokenError>>>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(renewal) = self.0 {
            renewal.send_modify(|renewal| {
                renewal.failed(TokenError::Abandoned, now());
            });
        }
    }
}

/// A file with a secret.
#[derive(Clone)]
struct SecretFile {
    /// What it is called in errors.
    key: &'static str,
    source: Source,
    take: fn(&[u8]) -> Result<&str, Flaw>,
}

impl SecretFile {
    /// One that holds a secret in one line.
    fn line(key: &'static str, source: Source) -> Self {
        Self { key, source, take: credential::secret }
    }

    /// One with more than that.
    fn document(key: &'static str, source: Source) -> Self {
        Self { key, source, take: credential::document }
    }

    /// Its content as it is now.
    fn read(&self) -> Result<SecretString, ConfigError> {
        let content = self.source.read().map_err(|error| error.of(self.key))?;
        Ok(self.source.text(self.key, &content, self.take)?.into())
    }

    /// The same, off the runtime threads.
    async fn content(&self) -> Result<SecretString, TokenError> {
        let file = self.clone();
        crate::blocking::run(move || file.read()).await.map_err(TokenError::File)
    }
}

#[cfg(test)]
mod tests;
