//! The other end of a connection: what it has shown in the handshake, and what that was found to be worth a moment ago.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

use secrecy::{ExposeSecret as _, SecretString};

use super::{User, certificate::Subject, is_equal};

/// Longer tokens are not remembered by connections, of which there may be many. That of a service account has about 1 KiB.
const MAX_TOKEN_BYTES: usize = 4 << 10;

/// The other end of a connection. Requests of one connection share it.
#[derive(Debug, Default)]
pub struct Peer {
    /// The certificates that the client has shown, the leaf first: signatures checked, chain not.
    certificates: Box<[CertificateDer<'static>]>,
    judged: Mutex<Vec<Judged>>,
    shown: Mutex<Option<Shown>>,
    /// Whether any credential that it has shown was good.
    is_known: Arc<AtomicBool>,
}

/// The token of the last request, and who holds it. It is gone with the connection, or when the next request comes after its
/// time; the buffers of the connection hold it as well.
#[derive(Debug)]
struct Shown {
    token: SecretString,
    user: Arc<User>,
    until: Instant,
}

/// What an authority has made of the certificates within a second.
#[derive(Debug)]
struct Judged {
    by: Arc<dyn ClientCertVerifier>,
    second: u64,
    subject: Result<Arc<Subject>, String>,
}

impl Peer {
    /// Somebody who has shown these certificates, if any. `is_known` becomes true with the first credential that is good.
    pub fn new(certificates: &[CertificateDer<'static>], is_known: Arc<AtomicBool>) -> Self {
        Self { certificates: certificates.into(), is_known, ..Self::default() }
    }

    /// A credential that it has shown was good.
    pub(super) fn recognise(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Whom the certificates stand for by `judge`; nothing where none were shown. It is asked at most once in a second for each
    /// verifier: certificates begin and end with a second, so nothing else could come of it, and checking a chain costs more
    /// than all the rest of a request.
    pub(super) fn subject(
        &self,
        by: &Arc<dyn ClientCertVerifier>,
        now: UnixTime,
        judge: impl FnOnce(
            &CertificateDer<'static>,
            &[CertificateDer<'static>],
        ) -> Result<Subject, String>,
    ) -> Result<Option<Arc<Subject>>, String> {
        let Some((leaf, chain)) = self.certificates.split_first() else { return Ok(None) };
        let second = now.as_secs();
        let is_by = |known: &Judged| std::ptr::addr_eq(Arc::as_ptr(&known.by), Arc::as_ptr(by));
        let known =
            lock(&self.judged).iter().find(|known| known.second == second && is_by(known)).map(
                // Cloned, so that nothing is done under the lock.
                |known| known.subject.clone(),
            );
        if let Some(subject) = known {
            return subject.map(Some);
        }
        let subject = judge(leaf, chain).map(Arc::new);
        let mut judged = lock(&self.judged);
        // Of authorities that count no more nothing is left either.
        judged.retain(|known| known.second == second && !is_by(known));
        judged.push(Judged { by: Arc::clone(by), second, subject: subject.clone() });
        subject.map(Some)
    }

    /// Who holds a token, if it is that of the last request and counts still.
    pub(super) fn holder(&self, token: &str, now: Instant) -> Option<Arc<User>> {
        let mut shown = lock(&self.shown);
        if shown.as_ref()?.until <= now {
            *shown = None;
        }
        let shown = shown.as_ref()?;
        is_equal(shown.token.expose_secret(), token).then(|| Arc::clone(&shown.user))
    }

    /// A token was shown that somebody holds until then.
    pub(super) fn remember(&self, token: &str, user: &Arc<User>, until: Instant) {
        let shown = Shown { token: token.into(), user: Arc::clone(user), until };
        *lock(&self.shown) = (token.len() <= MAX_TOKEN_BYTES).then_some(shown);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use rustls::{
        RootCertStore, crypto::ring::default_provider, pki_types::pem::PemObject as _,
        server::WebPkiClientVerifier,
    };

    use super::*;

    fn user(name: &str) -> Arc<User> {
        Arc::new(User { name: name.to_owned(), ..User::default() })
    }

    #[test]
    fn the_last_token_is_known_for_as_long_as_it_counts() {
        let (peer, start) = (Peer::default(), Instant::now());
        let until = start + Duration::from_secs(10);
        let holder = |token: &str, seconds| {
            let now = start + Duration::from_secs(seconds);
            peer.holder(token, now).map(|user| user.name.clone())
        };
        assert_eq!(holder("a", 0), None);
        peer.remember("token-a", &user("a"), until);
        assert_eq!(holder("token-a", 9).as_deref(), Some("a"));
        assert_eq!(holder("token-b", 9), None);
        assert_eq!(holder("token-", 9), None);
        assert_eq!(holder("token-a0", 9), None);
        assert!(!format!("{peer:?}").contains("token-a"), "{peer:?}");
        peer.remember("token-b", &user("b"), until);
        assert_eq!(holder("token-a", 9), None);
        assert_eq!(holder("token-b", 9).as_deref(), Some("b"));
        assert_eq!(holder("token-b", 10), None);
        assert!(lock(&peer.shown).is_none(), "it is not held any longer");
        peer.remember(&"x".repeat(MAX_TOKEN_BYTES + 1), &user("x"), until);
        assert!(lock(&peer.shown).is_none(), "it is too long");
    }

    fn verifier() -> (Arc<dyn ClientCertVerifier>, CertificateDer<'static>) {
        let issued = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let certificate = CertificateDer::from_pem_slice(issued.cert.pem().as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        (verifier.build().unwrap(), certificate)
    }

    #[test]
    fn certificates_are_judged_once_a_second_by_each_verifier() {
        let ((one, certificate), (other, _)) = (verifier(), verifier());
        let peer = Peer::new(&[certificate], Arc::default());
        let judged = Cell::new(0);
        let ask = |by, milliseconds, name: &str| {
            let now = UnixTime::since_unix_epoch(Duration::from_millis(milliseconds));
            let subject = peer.subject(by, now, |_, chain| {
                assert!(chain.is_empty());
                judged.set(judged.get() + 1);
                let common_name = name.to_owned();
                if name.is_empty() {
                    Err("no".to_owned())
                } else {
                    Ok(Subject { common_name, ..Subject::default() })
                }
            });
            let name = subject.map(|subject| subject.unwrap().common_name.clone());
            (name.unwrap_or_else(|error| error), judged.get())
        };
        assert_eq!(ask(&one, 5_000, "a"), ("a".to_owned(), 1));
        assert_eq!(ask(&one, 5_999, "b"), ("a".to_owned(), 1));
        assert_eq!(ask(&other, 5_999, ""), ("no".to_owned(), 2));
        assert_eq!(ask(&other, 5_999, "c"), ("no".to_owned(), 2));
        assert_eq!(ask(&one, 5_999, "d"), ("a".to_owned(), 2));
        assert_eq!(ask(&one, 6_000, ""), ("no".to_owned(), 3));
        assert_eq!(ask(&one, 5_000, "e"), ("e".to_owned(), 4), "the clock was put back");
        assert_eq!(lock(&peer.judged).len(), 1, "of other seconds nothing is left");
        let nobody = Peer::default().subject(&one, UnixTime::now(), |_, _| Err("no".to_owned()));
        assert_eq!(nobody, Ok(None));
    }
}
