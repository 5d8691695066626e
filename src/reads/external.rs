//! A read of an external metric.

use std::sync::Arc;

use super::{ReadError, Reads, failed, is_new_and_whole, oddities::Subject, refused, waiting};
use crate::{
    cache::{QueryResult, slot::Cached},
    core::{
        catalog::{Catalog, external::ExternalEntry},
        external::{self, ExternalReading},
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
    /// What they were read from.
    result: Arc<Cached<QueryResult>>,
    /// The range of the query in seconds, where it is known.
    pub window_seconds: Option<i64>,
}

impl ExternalValues {
    /// The vector that the values are of, if they are of one.
    pub fn vector(&self) -> Option<&Vector> {
        match self.result.value().answer() {
            Answer::Vector(vector) => Some(vector),
            Answer::Scalar(..) | Answer::Other(_) => None,
        }
    }
}

impl Reads {
    /// Answers a question about an external metric.
    pub async fn read_external(
        &self,
        question: &ExternalRequest,
    ) -> Result<ExternalValues, ReadError> {
        let ExternalRequest { path, selector } = question;
        let entry = self.external_entry(path).await?;
        let rule = &entry.rule.id;
        let query = external::query(&entry, &path.namespace, selector).map_err(refused)?;
        tracing::debug!(%rule, query, "planned");
        let got = self.planner.ask(&entry.rule.options, &path.namespace, query.into()).await;
        let got = got.map_err(|failure| failed(rule, failure))?;
        let answer = got.kept.value().answer();
        let readings = match answer {
            Answer::Vector(vector) => {
                let fetched_ms = got.kept.value().fetched_ms();
                let zero_at = is_new_and_whole(&got).then_some(fetched_ms);
                external::of_vector(vector, &entry, &path.namespace, zero_at)
            }
            Answer::Scalar(at_ms, value) => external::of_scalar(*at_ms, *value, &entry.rule),
            Answer::Other(kind) => {
                let (rule, kind) = (rule.clone(), (*kind).to_owned());
                return Err(ReadError::NotAVector { rule, kind });
            }
        };
        let nothing = readings.values.is_empty().then(|| readings.odd.why_nothing());
        let subject = Subject::external(&entry.rule, &path.metric);
        self.oddities.record(subject, &readings.odd, nothing);
        let window_seconds = entry.rule.window_seconds;
        Ok(ExternalValues { readings: readings.values, result: got.kept, window_seconds })
    }

    /// How to read the metric; a metric that is not known is looked for once more.
    async fn external_entry(&self, path: &ExternalPath) -> Result<ExternalEntry, ReadError> {
        let ExternalPath { namespace, metric } = path;
        let find = |catalog: &Catalog| catalog.external().get(metric);
        let entry = self.discovery.find(namespace, metric, find);
        entry.await.ok_or_else(|| unknown(&self.catalog(), &self.discovery.problems(), metric))
    }
}

/// Says of no resource that it lacks the metric, as prometheus-adapter does.
fn unknown(catalog: &Catalog, problems: &[String], metric: &str) -> ReadError {
    let undiscovered = catalog.external().undiscovered();
    if !undiscovered.is_empty() {
        return waiting(undiscovered, problems);
    }
    ReadError::UnknownMetric {
        metric: metric.to_owned(),
        resource: String::new(),
        cause: catalog.why_unknown_external(metric),
    }
}
