//! The servers of a backend: each request is sent to the one in use, and to another one if that does not answer it in full.
//!
//! [`Failover`] decides which. All servers of a backend are asked within the time limit of the request. A server that hangs is found out
//! by a probe before that time is over.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::OnceCell;

use super::{
    Answer, Config, ConfigError, Error, Headers, Metadata, Prometheus, PublicError, error::Blame,
    now,
};
use crate::{
    core::{
        failover::{Change, Failover, Fault, Repeat, Tries},
        installation::product::BuildInfo,
        overview::{BackendRow, State},
        samples::{Matrix, Vector},
    },
    metrics::Metrics,
};

/// No request is sent to a further server with less than this part of its time limit left.
const LEAST: f64 = 0.1;

/// What follows from the end of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// Other servers need not be asked.
    Final,
    /// Others are asked: the server answers nobody, or not this reader.
    Elsewhere,
    /// Others are asked as long as that is not in vain: the server answers, and has failed the request.
    Failed,
}

/// What may lack something, because a server has not reached all of its stores.
pub(super) trait Whole {
    /// Whether it answers a query. All else may be answered by a server that fails queries, and without the headers that they need.
    const IS_OF_A_QUERY: bool;

    fn is_whole(&self) -> bool;
}

impl Whole for Answer {
    const IS_OF_A_QUERY: bool = true;

    fn is_whole(&self) -> bool {
        !matches!(self, Self::Vector(Vector { is_partial: true, .. }))
    }
}

impl Whole for Matrix {
    const IS_OF_A_QUERY: bool = true;

    fn is_whole(&self) -> bool {
        !self.is_partial
    }
}

impl<T> Whole for Metadata<T> {
    const IS_OF_A_QUERY: bool = false;

    fn is_whole(&self) -> bool {
        !self.is_partial
    }
}

impl Whole for BuildInfo {
    const IS_OF_A_QUERY: bool = false;

    fn is_whole(&self) -> bool {
        true
    }
}

/// The servers of a backend.
pub struct Replicas {
    name: String,
    first: Arc<Prometheus>,
    others: Vec<Arc<Prometheus>>,
    known: Mutex<Known>,
    /// Whether selectors are ignored at the label endpoints, once that is known.
    pub(super) ignores_selectors: OnceCell<bool>,
}

/// What is known of the servers.
struct Known {
    failover: Failover,
    /// The last error of each server that says that it fails.
    failures: Vec<Option<PublicError>>,
    /// The headers of the last query that was answered in full. Gateways may answer no others, and those of a request that has failed
    /// may be why.
    headers: Headers,
}

impl Replicas {
    /// Connects to the servers of a backend. It reads the credentials once, so that a file that is missing or broken is an error at start.
    pub fn new(config: Config, metrics: &Arc<Metrics>) -> Result<Self, ConfigError> {
        let name = config.name.clone();
        let (first, others) = config.servers();
        let mut first = Prometheus::new(first, metrics)?;
        first.has_others = !others.is_empty();
        let others = others.into_iter().map(|config| {
            let counts = first.metrics.further(&config.public_url());
            let server = Prometheus::counted(config, counts)?;
            let stands_by = AtomicBool::new(true);
            Ok(Arc::new(Prometheus { has_others: true, stands_by, ..server }))
        });
        let others = others.collect::<Result<_, _>>()?;
        Ok(Self::of(name, Arc::new(first), others))
    }

    fn of(name: String, first: Arc<Prometheus>, others: Vec<Arc<Prometheus>>) -> Self {
        let count = 1 + others.len();
        let failover = Failover::new(count, now());
        let failures = vec![None; count];
        let known = Mutex::new(Known { failover, failures, headers: Headers::new() });
        Self { name, first, others, known, ignores_selectors: OnceCell::new() }
    }

    /// Each server as a backend of its own, by the name that people are told.
    pub(super) fn each(&self) -> impl Iterator<Item = Self> {
        self.servers().map(|server| {
            let name = server.connections.config().server.clone();
            Self::of(name, Arc::clone(server), Vec::new())
        })
    }

    /// The name of the backend: that of the rules file, or the flag that names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that is preferred.
    pub fn first(&self) -> &Arc<Prometheus> {
        &self.first
    }

    /// All servers, in the order of preference.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Prometheus>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The server that is asked first.
    pub(super) fn in_use(&self) -> &Arc<Prometheus> {
        self.server(self.known().failover.in_use())
    }

    fn server(&self, number: usize) -> &Arc<Prometheus> {
        self.servers().nth(number).unwrap_or(&self.first)
    }

    /// Whether no server answers anybody.
    pub(super) fn is_silent(&self) -> bool {
        self.servers().all(|server| server.silence().is_some())
    }

    /// Sends a request with these headers to one server after the other until one has answered it in full.
    ///
    /// # Errors
    ///
    /// The failure that says most, if there is not even a partial answer.
    pub(super) async fn ask<T: Whole, F: Future<Output = Result<T, Error>>>(
        &self,
        headers: &Headers,
        timeout: Duration,
        send: impl Fn(Arc<Prometheus>, Duration) -> F,
    ) -> Result<T, Error> {
        if self.others.is_empty() {
            return Box::pin(send(Arc::clone(&self.first), timeout)).await;
        }
        let until = now() + timeout;
        let least = timeout.mul_f64(LEAST);
        let mut tries = self.known().failover.begin(now());
        let mut first = 0;
        let mut best = None;
        // Whether a server that answers has failed it.
        let mut has_failed = false;
        loop {
            let next = self.known().failover.next(&mut tries);
            let left = until.saturating_duration_since(now());
            let (number, before) = match (next, best) {
                (Some(number), None) => (number, None),
                (Some(number), Some(before)) => {
                    if left < least || (has_failed && !self.may_repeat(&mut tries)) {
                        return before;
                    }
                    (number, Some(before))
                }
                (None, Some(before)) => return before,
                // The one in use is always tried.
                (None, None) => return Box::pin(send(Arc::clone(&self.first), timeout)).await,
            };
            let server = self.server(number);
            let request = Box::pin(send(Arc::clone(server), left));
            let Some(before) = before else {
                let result = request.await;
                match self.verdict(number, headers, &result) {
                    Verdict::Final => return result,
                    verdict => has_failed = T::IS_OF_A_QUERY && verdict == Verdict::Failed,
                }
                if has_failed {
                    tries.fail(if result.is_ok() { Fault::Partial } else { Fault::Failing });
                }
                first = number;
                best = Some(result);
                continue;
            };
            // It may have come back since it was probed, for example when servers are restarted one after the other.
            server.reconsider();
            let result = tokio::time::timeout(left, request).await;
            let result = result.unwrap_or(Err(Error::Timeout(left)));
            let verdict = self.verdict(number, headers, &result);
            let is_final = verdict == Verdict::Final;
            let is_answered = is_final && result.is_ok();
            if T::IS_OF_A_QUERY && is_answered {
                if has_failed {
                    self.known().failover.repeated(&tries);
                }
                let change = self.known().failover.relieved(&tries, now());
                self.tell(first, change);
            }
            has_failed = T::IS_OF_A_QUERY && verdict == Verdict::Failed;
            match together(before, result, is_final) {
                ControlFlow::Break(result) => return result,
                ControlFlow::Continue(result) => best = Some(result),
            }
        }
    }

    /// Whether a further server is sent a query that one which answers has failed.
    fn may_repeat(&self, tries: &mut Tries) -> bool {
        let repeat = self.known().failover.repeat(tries, now());
        if repeat == (Repeat::No { is_first: true }) {
            tracing::warn!(
                backend = self.name,
                "no Prometheus answers the queries that another one fails; most of them are sent to one only"
            );
        }
        repeat == Repeat::Yes
    }

    /// Learns from the end of a request, and returns what follows.
    fn verdict<T: Whole>(
        &self,
        number: usize,
        headers: &Headers,
        result: &Result<T, Error>,
    ) -> Verdict {
        let is_silent = self.server(number).silence().is_some();
        let change = |change: fn(&mut Failover, usize, std::time::Instant) -> Change| {
            let mut known = self.known();
            let change = change(&mut known.failover, number, now());
            drop(known);
            self.tell(number, change);
        };
        match result {
            Ok(answer) if answer.is_whole() => {
                if T::IS_OF_A_QUERY {
                    self.remember(headers);
                    change(Failover::answered);
                } else {
                    change(Failover::responded);
                }
                return Verdict::Final;
            }
            Err(_) if is_silent => {
                change(Failover::silent);
                return Verdict::Elsewhere;
            }
            Err(error) => match error.blame() {
                Blame::Query => {
                    let is_of_evaluation = error.is_of_evaluation();
                    let mut known = self.known();
                    if is_of_evaluation {
                        known.failed(number, error.public());
                        known.failover.doubted(number);
                    }
                    // It may be one that evaluates nothing, which no probe shows.
                    if !is_of_evaluation || !known.failover.is_on_trial(number) {
                        return Verdict::Final;
                    }
                }
                Blame::Request => return Verdict::Elsewhere,
                Blame::Server => {
                    let mut known = self.known();
                    known.failed(number, error.public());
                    known.failover.doubted(number);
                }
            },
            Ok(_) => self.known().failover.doubted(number),
        }
        Verdict::Failed
    }

    fn remember(&self, headers: &Headers) {
        let known = &mut self.known().headers;
        if known != headers {
            known.clone_from(headers);
        }
    }

    /// The servers to probe now. Returns to the preferred one when it has been well for long enough.
    pub(crate) fn due(&self) -> Vec<usize> {
        if self.others.is_empty() {
            return Vec::new();
        }
        let switched = self.known().failover.returned(now());
        self.tell(0, Change { switched, ..Change::default() });
        self.known().failover.due(now())
    }

    /// Probes a server that is due for it.
    pub(crate) async fn probe(&self, number: usize) {
        let headers = self.known().headers.clone();
        let (health, failure) = self.server(number).health(&headers).await;
        let mut known = self.known();
        if let Some(failure) = failure {
            known.failed(number, failure);
        }
        let change = known.failover.probed(number, health, now());
        drop(known);
        self.tell(number, change);
    }

    /// Logs and counts what has become of a server.
    fn tell(&self, number: usize, change: Change) {
        let name = |server: &Prometheus| server.connections.config().server.clone();
        let server = self.server(number);
        if let Some(fault) = change.ejected {
            server.metrics.ejected();
            let reason = self.known().meaning(number, fault);
            let (backend, url) = (name(server), server.connections.config().public_url());
            tracing::warn!(
                backend,
                url,
                reason,
                "a Prometheus is not well; others with the same series are asked"
            );
        }
        if change.recovered {
            tracing::info!(backend = name(server), "a Prometheus is well again");
        }
        if let Some(switched) = change.switched {
            let server = self.server(switched);
            server.metrics.switched();
            let (backend, url) = (name(server), server.connections.config().public_url());
            tracing::info!(backend, url, "another Prometheus is in use");
        }
        if change != Change::default() {
            self.report_servers();
        }
    }

    /// Puts into the metrics which server is in use, and which are ejected.
    pub(crate) fn report_servers(&self) {
        if self.others.is_empty() {
            return;
        }
        // It is kept, so that of two who report the one that knows more is the last one.
        let known = self.known();
        let in_use = known.failover.in_use();
        for (number, server) in self.servers().enumerate() {
            server.stands_by.store(number != in_use, Ordering::Relaxed);
            server.metrics.state(number == in_use, known.failover.fault(number).is_some());
        }
    }

    /// Puts into the metrics whether the servers answer, which is in use, and which are ejected.
    pub(crate) fn report(&self) {
        self.first.metrics.show();
        self.servers().for_each(|server| server.report());
        self.report_servers();
    }

    /// Takes that out of the metrics, because the backend is not asked any more. One that has taken its place may have the same name and
    /// the same servers, so that this is done once until [`Replicas::report`].
    pub(crate) fn forget(&self) {
        if !self.first.metrics.is_forgotten() {
            self.servers().for_each(|server| server.forget());
        }
    }

    /// Why servers answer nobody, or are not well, as public sentences.
    pub(crate) fn problems(&self) -> Vec<String> {
        let of_server = |(number, server): (usize, &Arc<Prometheus>)| {
            server.problem().or_else(|| {
                let known = self.known();
                let reason = known.meaning(number, known.failover.fault(number)?);
                drop(known);
                Some(format!("{}: {reason}", server.connections.config().server))
            })
        };
        self.servers().enumerate().filter_map(of_server).collect()
    }

    /// What people are shown of the servers.
    pub(crate) fn rows(&self) -> Vec<BackendRow> {
        let mut rows: Vec<_> = self.servers().map(|server| server.row()).collect();
        if self.others.is_empty() {
            return rows;
        }
        let known = self.known();
        for (number, (server, row)) in self.servers().zip(&mut rows).enumerate() {
            if server.trouble().is_some() {
                continue;
            }
            let is_in_use = number == known.failover.in_use();
            if let Some(fault) = known.failover.fault(number) {
                row.state = State::Doubtful("ejected", known.meaning(number, fault));
            } else if !is_in_use && row.exchanges.is_empty() {
                // It need not have been asked.
                row.state = State::Good("stands by");
            } else if let State::Good(state) = &mut row.state {
                *state = if is_in_use { "in use" } else { "stands by" };
            }
        }
        rows
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known after the result of a further server; a break if no other one is to be asked.
fn together<T>(
    before: Result<T, Error>,
    result: Result<T, Error>,
    is_final: bool,
) -> ControlFlow<Result<T, Error>, Result<T, Error>> {
    match (before, result) {
        // The query did not have all of its time, so that this says neither that it is too slow nor that all servers are busy.
        (before, Err(error)) if error.is_too_slow() || error.had_no_turn() => {
            ControlFlow::Continue(before)
        }
        (partial @ Ok(_), Err(_)) if is_final => ControlFlow::Break(partial),
        (_, result) if is_final => ControlFlow::Break(result),
        (before, result) => ControlFlow::Continue(better(before, result)),
    }
}

/// The one of two results that is worth more; the first one if they are worth the same.
fn better<T>(one: Result<T, Error>, other: Result<T, Error>) -> Result<T, Error> {
    let is_worse = match (&one, &other) {
        (Ok(_), _) => false,
        (Err(_), Ok(_)) => true,
        (Err(one), Err(other)) => one.tells() < other.tells(),
    };
    if is_worse { other } else { one }
}

impl Known {
    /// A server has failed by this error, and perhaps is to blame.
    fn failed(&mut self, number: usize, failure: PublicError) {
        if let Some(known) = self.failures.get_mut(number) {
            *known = Some(failure);
        }
    }

    /// What is wrong with a server, as the end of a public sentence.
    fn meaning(&self, number: usize, fault: Fault) -> String {
        match (fault, self.failures.get(number).copied().flatten()) {
            (Fault::Partial, _) => "its answers are partial".to_owned(),
            (Fault::Failing, None) => "it answers by errors".to_owned(),
            (Fault::Failing, Some(failure)) => format!("it answers by errors: {failure}"),
            (Fault::Silent, _) => "it does not answer".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_further_server_had_no_time_for_a_query_says_nothing_of_it() {
        let failed = || Error::of_answer(503, b"", None);
        let time = Duration::from_secs(1);
        for error in [Error::Timeout(time), Error::Busy(time), Error::OverQuota(1)] {
            let shown = error.to_string();
            let result = together::<()>(Err(failed()), Err(error), true);
            let ControlFlow::Continue(Err(error)) = result else { panic!("{shown}: {result:?}") };
            assert_eq!(error.public(), PublicError::Status(503), "{shown}");
        }
        let result = together(Ok(()), Err(Error::Busy(time)), true);
        assert!(matches!(result, ControlFlow::Continue(Ok(()))), "a partial answer is kept");
        let refused = Error::of_answer(422, b"", None);
        let result = together::<()>(Err(failed()), Err(refused), true);
        assert!(matches!(result, ControlFlow::Break(Err(Error::Http { status: 422, .. }))));
    }
}
