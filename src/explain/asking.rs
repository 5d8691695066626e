//! Questions to a backend that explain what a read got, and what its failures mean.

use std::time::Duration;

use tokio::time::Instant;

use super::Explainer;
use crate::{
    backends::BackendError,
    core::{
        duration,
        explain::{
            Cause,
            facts::{Failure, Series, SeriesFacts},
        },
        go_quote::quote,
        names,
        samples::{Sample, Vector},
    },
    prometheus::{Answer, Audience, BackendHandle, Error, Obstacle, PublicError},
};

/// The most series that are looked at: enough to see what they carry, however many there are.
const MOST_SERIES: usize = 2_000;

/// When an explanation has to be done, and who reads it.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    /// When.
    pub(crate) at: Instant,
    /// Who is told why there is no answer.
    pub(crate) audience: Audience,
}

impl Deadline {
    /// The answer of a backend, or why there is none.
    pub(crate) async fn ask<T>(
        self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout_at(self.at, request).await {
            Ok(answer) => answer.map_err(|error| failure(&error, self.audience)),
            Err(_elapsed) => Err(Failure {
                cause: Cause::BackendTimeout,
                text: "Prometheus did not answer in the time that an explanation has".to_owned(),
            }),
        }
    }

    /// The same for a backend, which is named if its credentials are at fault.
    pub(super) async fn ask_of<T>(
        self,
        backend: &BackendHandle,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let answer = self.ask(request).await;
        answer.map_err(|Failure { cause, text }| match cause {
            Cause::BackendUnauthorized => {
                Failure { cause, text: format!("{}: {text}", backend.name()) }
            }
            _ => Failure { cause, text },
        })
    }
}

impl Explainer {
    /// What it means that nobody can be asked. What is wrong with a backend is told to its operator only.
    pub(crate) fn unusable(&self, error: &BackendError) -> Failure {
        let reason = match self.audience {
            Audience::Operator => self.backends.reason(error),
            Audience::Clients => None,
        };
        let text = reason.map_or_else(|| error.to_string(), |reason| format!("{error}: {reason}"));
        Failure { cause: Cause::BackendUnauthorized, text }
    }
}

pub(super) fn samples(vector: &Vector) -> Vec<Series> {
    let sample = |sample: Sample<'_>| Series {
        labels: sample
            .labels
            .iter()
            .filter(|(name, _)| *name != "__name__")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        value: sample.value,
    };
    vector.samples.iter().take(MOST_SERIES).map(sample).collect()
}

/// What is known of the series of a name, now and within a day.
pub(super) async fn series(
    backend: &BackendHandle,
    name: &str,
    range: Option<Duration>,
    deadline: Deadline,
) -> SeriesFacts {
    let mut facts = SeriesFacts { name: name.to_owned(), range, ..SeriesFacts::default() };
    let selector = format!("{{__name__={}}}", quote(name));
    facts.failure = look_at(backend, &selector, &mut facts, deadline).await.err();
    facts
}

/// The same, of those whose label has a value where there are some: of many series, the first ones are nobody's in particular.
pub(super) async fn series_near(
    backend: &BackendHandle,
    name: &str,
    near: Option<(&str, &str)>,
    range: Option<Duration>,
    deadline: Deadline,
) -> SeriesFacts {
    if let Some((label, value)) = near {
        let mut facts = SeriesFacts { name: name.to_owned(), range, ..SeriesFacts::default() };
        let selector =
            format!("{{__name__={},{}={}}}", quote(name), names::label(label), quote(value));
        let looked = look_at(backend, &selector, &mut facts, deadline).await;
        if looked.is_ok() && !facts.now.is_empty() {
            return facts;
        }
    }
    series(backend, name, range, deadline).await
}

async fn look_at(
    backend: &BackendHandle,
    selector: &str,
    facts: &mut SeriesFacts,
    deadline: Deadline,
) -> Result<(), Failure> {
    let ask = async |query: String| match deadline.ask_of(backend, backend.query(&query)).await? {
        Answer::Vector(vector) => Ok::<_, Failure>(samples(&vector)),
        Answer::Scalar(..) | Answer::Other(_) => Ok(Vec::new()),
    };
    let first = |found: Vec<Series>| found.first().map(|series| series.value);
    // `topk` leaves native histograms out; the times of their samples are floats.
    facts.now = ask(format!("topk({MOST_SERIES},timestamp({selector}))")).await?;
    let newest = if facts.now.is_empty() {
        facts.day = ask(format!("topk({MOST_SERIES},count_over_time({selector}[1d]))")).await?;
        format!("time()-max(max_over_time(timestamp({selector})[1d:1m]))")
    } else {
        facts.day.clone_from(&facts.now);
        format!("time()-max(timestamp({selector}))")
    };
    if !facts.day.is_empty() {
        facts.newest_age_s = first(ask(newest).await?);
    }
    if let Some(range) = facts.range {
        let range = duration::prometheus(range);
        let count = format!("max(count_over_time({selector}[{range}]))");
        facts.most_in_range = first(ask(count).await?);
    }
    Ok(())
}

pub(crate) fn not_a_vector(kind: &str) -> Failure {
    Failure { cause: Cause::QueryError, text: format!("the query returned a {kind}, not a vector") }
}

/// What a failure of a backend means.
fn failure(error: &Error, audience: Audience) -> Failure {
    let cause = match error.public() {
        PublicError::Unreachable(obstacle) => match obstacle {
            Obstacle::BrokenOverTls
            | Obstacle::SpeaksPlain
            | Obstacle::SpeaksTls
            | Obstacle::UnknownAuthority
            | Obstacle::OtherName
            | Obstacle::Expired
            | Obstacle::Certificate
            | Obstacle::ClientCertificate => Cause::BackendTls,
            _ => Cause::BackendUnreachable,
        },
        PublicError::TimedOut(_) | PublicError::Abandoned => Cause::BackendTimeout,
        PublicError::OverQuota(_) => Cause::QuotaExceeded,
        PublicError::Busy | PublicError::Status(429) => Cause::BackendLimited,
        PublicError::Status(401 | 403 | 407)
        | PublicError::Credentials
        | PublicError::NoCredentials(_)
        | PublicError::NoBackend => Cause::BackendUnauthorized,
        PublicError::Status(300..=399 | 404 | 405) | PublicError::NotPrometheus { .. } => {
            Cause::BackendNotPrometheus
        }
        PublicError::Status(413 | 414 | 431)
        | PublicError::TooLarge(_)
        | PublicError::TooManyNames => Cause::TooLarge,
        PublicError::Status(_) => Cause::BackendUnreachable,
        PublicError::Refused(_) | PublicError::QuotedNames(_) | PublicError::Partial => {
            Cause::QueryError
        }
    };
    Failure { cause, text: error.told(audience) }
}
