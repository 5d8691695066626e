//! The other end of a connection: what it has shown in the handshake, and what that was found to be worth a moment ago.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

use super::certificate::Subject;

/// The other end of a connection. Requests of one connection share it.
#[derive(Debug, Default)]
pub struct Peer {
    /// The certificates that the client has shown, the leaf first: signatures checked, chain not.
    certificates: Box<[CertificateDer<'static>]>,
    judged: Mutex<Vec<Judged>>,
}

/// What an authority has made of the certificates within a second.
#[derive(Debug)]
struct Judged {
    by: Arc<dyn ClientCertVerifier>,
    second: u64,
    subject: Result<Arc<Subject>, String>,
}

impl Peer {
    /// Somebody who has shown these certificates, if any.
    pub fn new(certificates: &[CertificateDer<'static>]) -> Self {
        Self { certificates: certificates.into(), judged: Mutex::default() }
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
        let known = self.lock().iter().find(|known| known.second == second && is_by(known)).map(
            // Cloned, so that nothing is done under the lock.
            |known| known.subject.clone(),
        );
        if let Some(subject) = known {
            return subject.map(Some);
        }
        let subject = judge(leaf, chain).map(Arc::new);
        let mut judged = self.lock();
        // Of authorities that count no more nothing is left either.
        judged.retain(|known| known.second == second && !is_by(known));
        judged.push(Judged { by: Arc::clone(by), second, subject: subject.clone() });
        subject.map(Some)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Judged>> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
