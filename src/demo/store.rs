//! An embedded time-series store with PromQL: tsink, held to what Prometheus does.
//!
//! - Samples live in memory. tsink never lets go of samples that it keeps in memory, so there are two of it: every sample
//!   goes into both, the older one answers, and after [`KEPT`] the older one is dropped and a new one begins.
//! - A series that a scrape no longer sees gets Prometheus' staleness marker, so its last value is gone at once and is not
//!   looked back to for five minutes.
//! - What tsink's answers lack is in [`query`].

pub mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector};
use tsink::{
    DataPoint, Label, Row, SeriesMatcher, SeriesSelection, Storage, StorageBuilder,
    TimestampPrecision,
};

use super::workload::Sample;

/// Milliseconds of history that are there at the least, once so much time has passed.
pub const KEPT: i64 = 10 * 60 * 1_000;

/// Prometheus' staleness marker: a NaN with these very bits.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A series' labels, `__name__` among them.
pub type Labels = BTreeMap<String, String>;

/// What a query can answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// One value for each label set.
    Vector(Vec<(Labels, f64)>),
    /// Values with their times, in milliseconds, for each label set.
    Matrix(Vec<(Labels, Vec<(i64, f64)>)>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The query or selector is not PromQL.
    #[error("parse error: {0}")]
    Parse(String),
    /// It is, but has no answer.
    #[error("{0}")]
    Execution(String),
}

impl From<tsink::TsinkError> for StoreError {
    fn from(error: tsink::TsinkError) -> Self {
        Self::Execution(error.to_string())
    }
}

/// The store. All methods are short and never wait for anything but each other.
pub struct Store {
    generations: Mutex<Generations>,
}

struct Generations {
    answering: Arc<dyn Storage>,
    filling: Arc<dyn Storage>,
    /// The first sample's time in `filling`.
    filling_since: Option<i64>,
    /// What the last scrape saw.
    seen: BTreeSet<(&'static str, Vec<(&'static str, String)>)>,
}

impl Store {
    /// An empty store.
    pub fn new() -> Result<Self, StoreError> {
        Ok(Self {
            generations: Mutex::new(Generations {
                answering: in_memory()?,
                filling: in_memory()?,
                filling_since: None,
                seen: BTreeSet::new(),
            }),
        })
    }

    /// Takes in one scrape, made at `at` (milliseconds since 1970; not before the scrape before it).
    pub fn ingest(&self, at: i64, samples: &[Sample]) -> Result<(), StoreError> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let seen: BTreeSet<_> =
            samples.iter().map(|sample| (sample.name, sample.labels.clone())).collect();
        let mut rows: Vec<Row> = samples
            .iter()
            .map(|sample| row(at, sample.name, &sample.labels, sample.value))
            .collect();
        rows.extend(
            generations
                .seen
                .difference(&seen)
                .map(|(name, labels)| row(at, name, labels, f64::from_bits(STALE))),
        );
        generations.seen = seen;

        let since = *generations.filling_since.get_or_insert(at);
        if at - since >= KEPT {
            let fresh = in_memory()?;
            generations.answering = std::mem::replace(&mut generations.filling, fresh);
            generations.filling_since = Some(at);
        }
        generations.answering.insert_rows(&rows)?;
        generations.filling.insert_rows(&rows)?;
        Ok(())
    }

    /// Answers an instant query at `at` (milliseconds since 1970).
    pub fn query(&self, promql: &str, at: i64) -> Result<Answer, StoreError> {
        query::answer(&self.storage(), promql, at)
    }

    /// The series that any of the selectors matches (all, without a selector) and that have a sample from the first to
    /// the second time of `range`, in milliseconds.
    pub fn series(
        &self,
        selectors: &[String],
        range: Option<(i64, i64)>,
    ) -> Result<BTreeSet<Labels>, StoreError> {
        let mut selections =
            selectors.iter().map(|selector| selection(selector)).collect::<Result<Vec<_>, _>>()?;
        if selections.is_empty() {
            selections.push(SeriesSelection::new());
        }
        let storage = self.storage();
        let mut series = BTreeSet::new();
        for mut selection in selections {
            if let Some((start, end)) = range {
                selection = selection.with_time_range(start, end.saturating_add(1).max(start + 1));
            }
            let found = storage.select_series(&selection)?;
            series.extend(found.into_iter().map(|s| labels(&s.name, s.labels)));
        }
        Ok(series)
    }

    fn storage(&self) -> Arc<dyn Storage> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&generations.answering)
    }
}

fn in_memory() -> Result<Arc<dyn Storage>, StoreError> {
    let storage = StorageBuilder::new()
        .with_timestamp_precision(TimestampPrecision::Milliseconds)
        .with_wal_enabled(false)
        .build()?;
    Ok(storage)
}

fn row(at: i64, name: &str, labels: &[(&'static str, String)], value: f64) -> Row {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, value)).collect();
    Row::with_labels(name, labels, DataPoint::new(at, value))
}

/// tsink's series as Prometheus writes it; no `__name__` for an empty name.
fn labels(name: &str, labels: Vec<Label>) -> Labels {
    let name = (!name.is_empty()).then(|| ("__name__".to_owned(), name.to_owned()));
    labels.into_iter().map(|label| (label.name, label.value)).chain(name).collect()
}

fn selection(selector: &str) -> Result<SeriesSelection, StoreError> {
    let parsed = promql_parser::parser::parse(selector).map_err(StoreError::Parse)?;
    let Expr::VectorSelector(VectorSelector { name, matchers, .. }) = parsed else {
        return Err(StoreError::Parse(format!("not a series selector: {selector}")));
    };
    if !matchers.or_matchers.is_empty() {
        return Err(StoreError::Execution(
            "the demo's store does not know `or` between matchers".to_owned(),
        ));
    }
    let matchers = matchers.matchers.into_iter().map(matcher);
    let name = name.map(|name| SeriesMatcher::equal("__name__", name));
    Ok(SeriesSelection::new().with_matchers(matchers.chain(name).collect()))
}

fn matcher(Matcher { op, name, value }: Matcher) -> SeriesMatcher {
    match op {
        MatchOp::Equal => SeriesMatcher::equal(name, value),
        MatchOp::NotEqual => SeriesMatcher::not_equal(name, value),
        MatchOp::Re(_) => SeriesMatcher::regex_match(name, value),
        MatchOp::NotRe(_) => SeriesMatcher::regex_no_match(name, value),
    }
}

#[cfg(test)]
mod tests;
