//! A read of an external metric.

use std::sync::Arc;

use super::{
    ReadError, Reads, is_new_and_whole, look::About, oddities::Subject, teams,
    unknown::unknown_external,
};
use crate::{
    cache::{QueryResult, slot::Cached},
    core::{
        catalog::{Catalog, external::ExternalEntry},
        explain::{self, Api, Inquiry},
        external::{self, ExternalReading, ExternalReadings},
        oddity::Oddity,
        overview::history::{Seen, Topic},
        samples::Vector,
        selector::Selector,
    },
    prometheus::Answer,
    wire::path::ExternalPath,
};

/// A request for the values of an external metric, its selector parsed.
#[derive(Clone, Debug)]
pub struct ExternalRequest {
    /// What the path names.
    pub path: ExternalPath,
    /// Which series.
    pub selector: Selector,
}

/// The values of an external metric.
#[derive(Debug)]
pub struct ExternalValues {
    /// The values, sorted by their labels.
    pub readings: Vec<ExternalReading>,
    /// What the values refer to.
    pub(super) origin: Origin,
    /// The range of the query in seconds, where it is known.
    pub window_seconds: Option<i64>,
}

/// What values come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// The result of a query.
    Result(Arc<Cached<QueryResult>>),
    /// What is not a result as it came: the rule's fallback, or what a selector has left of a result.
    Own(Box<Vector>),
}

impl ExternalValues {
    /// The vector of the values, unless the result is a scalar.
    pub fn vector(&self) -> Option<&Vector> {
        match &self.origin {
            Origin::Own(vector) => Some(vector),
            Origin::Result(result) => match result.value().answer() {
                Answer::Vector(vector) => Some(vector),
                Answer::Scalar(..) | Answer::Other(_) => None,
            },
        }
    }
}

impl ExternalRequest {
    /// The question that `loadline explain` answers about this read.
    pub(super) fn inquiry(&self) -> Inquiry {
        Inquiry {
            metric: self.path.metric.clone(),
            subject: explain::Subject::External,
            namespace: Some(self.path.namespace.clone()),
            selector: self.selector.clone(),
            is_at_zero: false,
        }
    }

    /// What the status page shows of the values.
    pub(super) fn seen(&self, readings: &[ExternalReading]) -> (Topic, Seen) {
        (self.topic(), Seen::sum(readings.iter().map(|reading| reading.milli)))
    }

    /// What is read.
    pub(super) fn topic(&self) -> Topic {
        Topic {
            api: Api::External,
            namespace: self.path.namespace.clone(),
            objects: String::new(),
            metric: self.path.metric.clone(),
            selector: self.selector.to_string(),
        }
    }
}

impl Reads {
    /// Whether a rule serves an external metric, as far as that is known.
    pub fn serves_external(&self, path: &ExternalPath) -> bool {
        let ExternalPath { namespace, metric } = path;
        self.team_rules.is_incomplete()
            || self.team_rules.serves(namespace, None, metric)
            || self.catalog().external().has(metric)
    }

    /// Reads an external metric.
    pub async fn read_external(
        &self,
        request: &ExternalRequest,
    ) -> Result<ExternalValues, ReadError> {
        self.external_values(request).await.map_err(|error| self.told(error))
    }

    async fn external_values(
        &self,
        request: &ExternalRequest,
    ) -> Result<ExternalValues, ReadError> {
        let entry = self.external_entry(request).await?;
        let values = self.read_external_by(request, &entry).await;
        self.team_rules.note(&entry.rule.base, || teams::external_outcome(&values));
        values
    }

    async fn read_external_by(
        &self,
        request: &ExternalRequest,
        entry: &ExternalEntry,
    ) -> Result<ExternalValues, ReadError> {
        let ExternalRequest { path, selector } = request;
        let rule = &entry.rule.base;
        self.team_rules.admit(rule, &path.namespace)?;
        let query = external::query(entry, &path.namespace, selector)?;
        tracing::debug!(rule = %rule.id, query, "planned");
        let got = match self.planner.ask(&rule.options, &path.namespace, query.into()).await {
            Ok(got) => got,
            Err(failure) => {
                let values = self.fall_back_external(request, rule, &failure);
                return values.ok_or_else(|| ReadError::of(rule, failure));
            }
        };
        self.fallbacks.succeeded(rule, || request.topic());
        let answer = got.kept.value().answer();
        let mut own = None;
        let readings = match answer {
            Answer::Vector(vector) => {
                self.team_rules.check(rule, &path.namespace, vector.samples.len())?;
                own = teams::selected(rule, vector, selector);
                let vector = own.as_ref().unwrap_or(vector);
                let fetched_ms = got.kept.value().fetched_ms();
                let empty_at = is_new_and_whole(&got).then_some(fetched_ms);
                external::of_vector(vector, entry, &path.namespace, empty_at)
            }
            Answer::Scalar(at_ms, value) => external::of_scalar(*at_ms, *value, &entry.rule),
            Answer::Other(kind) => return Err(ReadError::no_vector(rule, kind)),
        };
        let (nothing, label) = if readings.values.is_empty() {
            let is_fact = is_new_and_whole(&got);
            let (why, label) =
                self.why_no_external(entry, &path.namespace, &readings, is_fact).await;
            (Some(why), label)
        } else {
            (None, None)
        };
        let label = label.map_or("", |label| &**label);
        let subject = Subject::external(rule, label, &path.metric);
        self.oddities.record(subject, &readings.odd, nothing);
        self.records.read(|| request.seen(&readings.values));
        let window_seconds = rule.window_seconds;
        let origin = match own {
            Some(vector) => Origin::Own(Box::new(vector)),
            None => Origin::Result(got.kept),
        };
        Ok(ExternalValues { readings: readings.values, origin, window_seconds })
    }

    /// Why there is no value, and the label concerned, if one is.
    async fn why_no_external<'e>(
        &self,
        entry: &'e ExternalEntry,
        namespace: &str,
        readings: &ExternalReadings,
        is_fact: bool,
    ) -> (Oddity, Option<&'e Arc<str>>) {
        let why = readings.odd.why_nothing();
        let is_unexplained = is_fact && why == Oddity::NoSample;
        let renamed = external::renamed(entry, namespace).filter(|_| is_unexplained);
        let Some((query, label)) = renamed else { return (why, None) };
        let about = About::new(&entry.rule.base, label);
        match self.looks.renamed(about, namespace, &query).await {
            Some(_) => (Oddity::ExportedLabel, Some(label)),
            None => (why, None),
        }
    }

    /// The entry of the metric; an unknown metric triggers one more discovery.
    async fn external_entry(&self, request: &ExternalRequest) -> Result<ExternalEntry, ReadError> {
        let ExternalPath { namespace, metric } = &request.path;
        if let Some(entry) = self.team_rules.external(namespace, metric).await {
            return Ok(entry);
        }
        self.know_teams()?;
        let find = |catalog: &Catalog| catalog.external().get(metric);
        let entry = self.discovery.find(namespace, metric, find);
        entry.await.ok_or_else(|| {
            let own = self.unknown_of_team(namespace, metric);
            own.unwrap_or_else(|| {
                let (problems, remarks) = (self.discovery.problems(), self.discovery.remarks());
                unknown_external(&self.catalog(), (&problems, &remarks), request)
            })
        })
    }
}
