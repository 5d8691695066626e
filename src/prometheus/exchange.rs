//! When a request is sent to a backend, how long it may take, and what its end says of the backend.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Answer, Error, Headers, PROBING, Prometheus, PublicError, QUERY, QUERY_RANGE, TokenError,
    availability::{self, Admission, Availability},
    decode,
    error::Blame,
    now,
    pauses::Pauses,
    refusals::Refusals,
    replicas::Whole as _,
    shares::Permit,
    turns::Turns,
};
use crate::{
    core::{
        failover::{Fault, Health},
        fair_share::Claimant,
    },
    jitter,
};

/// The query that checks whether a backend answers: it is cheap, but uses the store as other queries do.
const PROBE: &str = "loadline_matches_nothing";

/// How long a server of several may take at the least to answer it. It is the query timeout otherwise: a busy server is not to be taken for
/// one that hangs sooner than by a query.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// How long finding out whether a server is well may take in all: longer than the longest probe of [`availability`], and than it takes to
/// find out that a server hangs.
const HEALTH_PATIENCE: Duration = Duration::from_secs(20);

/// The part of its time limit after which a request without an answer makes a probe necessary where there are other servers, and the
/// longest time until then. The probe waits as long again: a server that is only busy is not to be taken for one that hangs.
const DOUBT: f64 = 0.3;
const LONGEST_DOUBT: Duration = Duration::from_secs(5);

impl Prometheus {
    /// Waits until a request may be sent; it fails at once where the backend answers nobody, or wants to be asked later.
    pub(super) async fn admitted(
        &self,
        path: &'static str,
        headers: &Headers,
    ) -> Result<(), Error> {
        if let Some(cause) = self.pauses().cause(headers, now()) {
            return Err(self.unsent(path, Error::Paused(cause)));
        }
        let silence = self.settled(headers).await;
        silence.map_or(Ok(()), |cause| Err(self.unsent(path, Error::Silent(cause))))
    }

    /// The caller sends a request if this succeeds. It fails if the backend has meanwhile sent a `Retry-After`.
    pub(super) fn unpaused(&self, path: &'static str, headers: &Headers) -> Result<(), Error> {
        let cause = self.pauses().admit(headers, now());
        cause.map_or(Ok(()), |cause| Err(self.unsent(path, Error::Paused(cause))))
    }

    /// Waits until it is known whether the backend answers, and probes it where nobody else does. Says why it does not.
    async fn settled(&self, headers: &Headers) -> Option<PublicError> {
        loop {
            match self.admit() {
                Admission::Pass => return None,
                Admission::Refuse(cause) => return Some(cause),
                Admission::Wait => {
                    let mut seen = self.availability.subscribe();
                    // The sender is our own, so this does not fail.
                    let _known = seen.wait_for(|availability| !availability.is_waited_for()).await;
                }
                Admission::Probe(patience) => {
                    self.probe(headers, patience).await;
                    return self.silence();
                }
            }
        }
    }

    fn admit(&self) -> Admission {
        let mut admission = Admission::Pass;
        self.availability.send_if_modified(|availability| {
            admission = availability.admit(now());
            false
        });
        admission
    }

    /// Waits until there are credentials to send with a request of this time limit, and returns the number of what is renewed if the backend
    /// refuses it. Where there are other servers, it waits no longer than for a server that may hang: another one may have credentials.
    pub(super) async fn credentials(
        &self,
        path: &'static str,
        timeout: Duration,
    ) -> Result<Option<u64>, Error> {
        let Some(auth) = &self.auth else { return Ok(None) };
        let ready = if self.has_others {
            let longest = doubt(timeout);
            let ready = tokio::time::timeout(longest, auth.ready()).await;
            ready.unwrap_or(Err(TokenError::Slow(longest)))
        } else {
            auth.ready().await
        };
        ready.map(Some).map_err(|error| self.unsent(path, error.into()))
    }

    /// Whether a request that was answered with this status, if it has failed, is sent once more, because the backend has refused
    /// credentials for which there are newer ones.
    pub(super) async fn is_repeated(&self, credentials: Option<u64>, status: Option<u16>) -> bool {
        let (Some(auth), Some(number)) = (&self.auth, credentials) else { return false };
        auth.is_refusal(status) && auth.renewed(number).await
    }

    /// Waits for others, which is not the query's fault, and so not within its time.
    pub(super) async fn permit(
        &self,
        path: &'static str,
        claimant: &Claimant,
        timeout: Duration,
    ) -> Result<Permit<'_>, Error> {
        let ahead = match self.in_flight.take(claimant) {
            Ok(permit) => return Ok(permit),
            Err(ahead) => ahead,
        };
        if !self.turns().join(ahead, timeout, now()) {
            return Err(self.unsent(path, self.crowded(claimant, timeout)));
        }
        let _waiting = Waiting(&self.turns);
        let permit = tokio::time::timeout(timeout, self.in_flight.wait(claimant));
        let error = tokio::select! {
            biased;
            // Those who have the permits are not answered.
            cause = self.silenced() => Error::Silent(cause),
            permit = permit => if let Ok(permit) = permit {
                self.turns().served(now());
                return Ok(permit);
            } else {
                self.turns().waited_in_vain(now());
                self.crowded(claimant, timeout)
            },
        };
        Err(self.unsent(path, error))
    }

    /// Why a query has no turn within its time.
    fn crowded(&self, claimant: &Claimant, timeout: Duration) -> Error {
        let quota = self.in_flight.reached_quota(claimant);
        quota.map_or(Error::Busy(timeout), Error::OverQuota)
    }

    /// Waits until the backend answers nobody, and says why.
    async fn silenced(&self) -> PublicError {
        let mut seen = self.availability.subscribe();
        let silence = seen.wait_for(|availability| availability.silence().is_some()).await;
        // The sender is our own, so there is one.
        match silence.ok().and_then(|availability| availability.silence()) {
            Some((_, cause)) => cause,
            None => std::future::pending().await,
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsent(&self, path: &'static str, error: Error) -> Error {
        // The one in use has failed before, which was counted. So was what shows that one that stands by is away, or is not to be asked.
        let is_known = matches!(error, Error::Silent(_) | Error::Paused(_))
            && self.stands_by.load(Ordering::Relaxed);
        self.metrics.unsent(if is_known { PROBING } else { path }, error.kind());
        self.note(None, Some(error.kind()));
        error
    }

    /// Sends a request, and learns from how it ends whether the backend answers.
    pub(super) async fn exchange<T>(
        &self,
        path: &'static str,
        timeout: Duration,
        headers: &Headers,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let result = tokio::select! {
            biased;
            result = self.watched(timeout, headers, self.measured(path, timeout, request)) => result,
            // The backend does not answer others: nothing is to be hoped for from what was sent before.
            cause = self.silenced() => return Err(self.unsent(path, Error::Silent(cause))),
        };
        self.heed(headers, &result);
        self.weigh(path, &result);
        match &result {
            Err(error) if error.is_silence() => {
                // Other waiters for the permit are not to try the same.
                self.verify(self.patience_with(timeout), headers).await;
            }
            _ => self.answered(),
        }
        result
    }

    /// Waits for a request that was sent. Where there are other servers, one that is not answered for a while makes a probe necessary: if
    /// that is not answered either, nobody waits any longer.
    async fn watched<T>(
        &self,
        timeout: Duration,
        headers: &Headers,
        request: impl Future<Output = T>,
    ) -> T {
        if !self.has_others {
            return request.await;
        }
        let mut request = pin!(request);
        if let Ok(result) = tokio::time::timeout(doubt(timeout), &mut request).await {
            return result;
        }
        tokio::select! {
            biased;
            result = &mut request => return result,
            () = self.verify(self.patience_with(timeout), headers) => {}
        }
        request.await
    }

    /// How long a probe waits after a request of this time limit that was not answered. Where there are other servers, one that is busy is
    /// not to be taken for one that hangs.
    pub(super) fn patience_with(&self, timeout: Duration) -> Duration {
        if self.has_others {
            doubt(timeout).max(availability::PATIENCE)
        } else {
            availability::PATIENCE
        }
    }

    /// Finds out by a probe that waits so long whether the backend answers, as after a request without an answer.
    async fn verify(&self, patience: Duration, headers: &Headers) {
        self.availability.send_modify(|availability| availability.doubt(patience, now()));
        self.settled(headers).await;
    }

    /// Takes nothing for granted that was found out of a silent backend some time ago: the next request sends a probe.
    pub(super) fn reconsider(&self) {
        self.availability.send_modify(|availability| availability.reconsider(now()));
    }

    /// Whether a query that asks for nothing is answered, and what that says of the backend; by which error it fails, if it does.
    pub(super) async fn health(&self, headers: &Headers) -> (Health, Option<PublicError>) {
        let health = tokio::time::timeout(HEALTH_PATIENCE, self.probed_health(headers));
        health.await.unwrap_or((Health::Unknown, None))
    }

    async fn probed_health(&self, headers: &Headers) -> (Health, Option<PublicError>) {
        self.availability.send_modify(|availability| availability.hasten(now()));
        let health = match self.answer_to_probe(headers).await {
            Ok(answer) if answer.is_whole() => Health::Well,
            Ok(_) => Health::Bad(Fault::Partial),
            Err(_) if self.silence().is_some() => Health::Bad(Fault::Silent),
            // There is nothing about the probe that could fail in evaluation.
            Err(error) if error.blame() == Blame::Server || error.is_of_evaluation() => {
                return (Health::Bad(Fault::Failing), Some(error.public()));
            }
            Err(error) if error.is_answer() => Health::Answered,
            Err(_) => Health::Unknown,
        };
        (health, None)
    }

    /// The answer to the query that asks for nothing. No permit is needed: all may be held by those who wait in vain.
    async fn answer_to_probe(&self, headers: &Headers) -> Result<Answer, Error> {
        self.admitted(PROBING, headers).await?;
        let timeout = self.query_timeout.clamp(PROBE_PATIENCE, HEALTH_PATIENCE);
        let credentials = self.credentials(PROBING, timeout).await?;
        self.unpaused(PROBING, headers)?;
        let send = || {
            self.traffic.queries.fetch_add(1, Ordering::Relaxed);
            let request = self.send_query(PROBE, headers, timeout);
            self.exchange(PROBING, timeout, headers, request)
        };
        let mut body = send().await;
        let status = body.as_ref().err().and_then(Error::status);
        if self.is_repeated(credentials, status).await {
            body = send().await;
        }
        self.decoded(body?, headers, decode::query).await
    }

    /// Asks whether anything is answered. No permit is needed here either.
    async fn probe(&self, headers: &Headers, patience: Duration) {
        let mut probing = Probing(Some(&self.availability));
        // Discovery abandons a request that exceeds its time budget, and would never see the result.
        let patience = patience.min(self.query_timeout).min(self.discovery_timeout / 2);
        self.traffic.queries.fetch_add(1, Ordering::Relaxed);
        let request = self.send_query(PROBE, headers, patience);
        let result = self.measured(PROBING, patience, request).await;
        self.heed(headers, &result);
        match result {
            Err(error) if error.is_silence() => {
                if error.is_timeout() {
                    // The next probe must not wait on a connection that leads nowhere.
                    self.connections.renew().await;
                }
                self.silent(&error);
            }
            _ => self.answered(),
        }
        probing.0 = None;
    }

    /// Takes out of a request's end whether others with these headers are to come later.
    fn heed<T>(&self, headers: &Headers, result: &Result<T, Error>) {
        let backend = &self.connections.config().server;
        let later = result.as_ref().err().and_then(|error| Some((error, error.retry_after()?)));
        if let Some((error, after)) = later {
            let begun =
                self.pauses().begin(headers, error.public(), after, jitter::chance(), now());
            if let Some(pause) = begun {
                let seconds = pause.as_secs();
                tracing::warn!(backend, seconds, %error, "Prometheus wants to be asked later; nothing is sent until then");
            }
            return;
        }
        let is_answered = result.as_ref().map_or_else(|error| !error.is_silence(), |_| true);
        if is_answered && self.pauses().answered(headers) {
            tracing::info!(backend, "Prometheus is asked again");
        }
    }

    /// Takes out of a request's end whether all queries are refused. Probes may be refused where queries are answered, and what is not a
    /// query may be answered where they are refused.
    fn weigh<T>(&self, path: &'static str, result: &Result<T, Error>) {
        let is_query = matches!(path, QUERY | QUERY_RANGE);
        let backend = &self.connections.config().server;
        match result {
            // A server of several that is to blame is ejected, which is told.
            Err(error) if error.is_refusal() => {
                let is_told = self.has_others && error.blame() == Blame::Server;
                if is_query && !is_told && self.refusals().refused(error.public(), now()) {
                    let status = error.status();
                    tracing::warn!(backend, status, %error, "Prometheus refuses all queries");
                }
            }
            Err(error) if !error.is_about_what_is_asked() => {}
            _ if is_query || path == PROBING => {
                let ended = self.refusals().answered(now());
                if let Some(since) = ended {
                    let seconds = now().saturating_duration_since(since).as_secs();
                    tracing::info!(
                        backend,
                        seconds,
                        "Prometheus does not refuse all queries any more"
                    );
                }
            }
            _ => {}
        }
    }

    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) {
        let mut ended = None;
        self.availability.send_if_modified(|availability| {
            let is_news = !matches!(availability, Availability::Answering);
            ended = availability.answered();
            is_news
        });
        if let Some(since) = ended {
            let seconds = now().saturating_duration_since(since).as_secs();
            self.report();
            tracing::info!(
                backend = self.connections.config().server,
                seconds,
                "Prometheus answers again"
            );
        }
    }

    fn silent(&self, error: &Error) {
        let mut begins = false;
        self.availability.send_modify(|availability| {
            begins = availability.probe_failed(error.public(), now());
        });
        if begins {
            self.report();
            tracing::warn!(
                backend = self.connections.config().server,
                %error,
                "Prometheus does not answer; until it does, one query at a time is sent"
            );
        }
    }

    /// Limits the time of a request, and counts it.
    async fn measured<T>(
        &self,
        path: &'static str,
        timeout: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let result = match tokio::time::timeout(timeout, request).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Error::Timeout(timeout)),
        };
        let took = started.elapsed();
        let failure = result.as_ref().err().map(Error::kind);
        self.metrics.answered(path, failure.unwrap_or("success"), took.as_secs_f64());
        self.note(Some(took), failure);
        result
    }

    fn note(&self, took: Option<Duration>, failure: Option<&'static str>) {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.note(took, failure, jiff::Timestamp::now());
    }

    /// Why some requests are not sent for a while.
    pub(super) fn paused(&self) -> Option<PublicError> {
        self.pauses().any(now())
    }
}

/// After which time a request without an answer makes a probe necessary where there are other servers.
fn doubt(timeout: Duration) -> Duration {
    timeout.mul_f64(DOUBT).min(LONGEST_DOUBT)
}

/// A probe under way. If its waiter is dropped, another request sends one.
struct Probing<'p>(Option<&'p watch::Sender<Availability>>);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if let Some(availability) = self.0 {
            availability.send_modify(Availability::probe_abandoned);
        }
    }
}

/// A query that waits for its turn. Dropping it is going away.
struct Waiting<'p>(&'p Mutex<Turns>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).leave();
    }
}
