//! The demo's time-series store: samples of the last minutes in memory, and as much PromQL as the demo's rules need.
//!
//! It is not a Prometheus. [`query`] lists what it evaluates; everything else is an error that says so.
//!
//! A series that a scrape no longer sees receives Prometheus' staleness marker, so its last value is gone at once and is not
//! looked back to for five minutes.

pub mod query;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use promql_parser::label::{METRIC_NAME, Matcher};
use promql_parser::parser::{Expr, VectorSelector};

use super::workload::Sample;

/// Milliseconds of history that are kept.
pub const KEPT: i64 = 10 * 60 * 1_000;

/// Prometheus' staleness marker: a NaN with these very bits.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A series' labels, `__name__` among them.
pub type Labels = BTreeMap<String, String>;

/// Times in milliseconds since 1970 and values, oldest first.
type Samples = VecDeque<(i64, f64)>;

/// What a query can answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// One value for each label set.
    Vector(Vec<(Labels, f64)>),
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

/// The store. All methods are short and never wait for anything but each other.
#[derive(Default)]
pub struct Store {
    series: Mutex<BTreeMap<Labels, Samples>>,
}

impl Store {
    /// Takes in one scrape, made at `at` (milliseconds since 1970; not before the scrape before it).
    pub fn ingest(&self, at: i64, samples: &[Sample]) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing: BTreeSet<Labels> = series
            .iter()
            .filter(|(_, samples)| samples.back().is_some_and(|(_, value)| !is_stale(*value)))
            .map(|(labels, _)| labels.clone())
            .collect();
        for sample in samples {
            let labels = labels(sample);
            missing.remove(&labels);
            series.entry(labels).or_default().push_back((at, sample.value));
        }
        for labels in missing {
            series.entry(labels).or_default().push_back((at, f64::from_bits(STALE)));
        }
        series.retain(|_, samples| {
            while samples.front().is_some_and(|(time, _)| *time <= at - KEPT) {
                samples.pop_front();
            }
            !samples.is_empty()
        });
    }

    /// Answers an instant query at `at` (milliseconds since 1970).
    pub fn query(&self, promql: &str, at: i64) -> Result<Answer, StoreError> {
        let expr = promql_parser::parser::parse(promql).map_err(StoreError::Parse)?;
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        query::evaluate(&series, &expr, at)
    }

    /// The series that any of the selectors matches (all, without a selector) and that have a sample from the first to
    /// the second time of `range`, in milliseconds.
    pub fn series(
        &self,
        selectors: &[String],
        range: Option<(i64, i64)>,
    ) -> Result<BTreeSet<Labels>, StoreError> {
        let selectors: Vec<VectorSelector> =
            selectors.iter().map(|selector| parse_selector(selector)).collect::<Result<_, _>>()?;
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let found = series.iter().filter(|(labels, samples)| {
            let wanted =
                selectors.is_empty() || selectors.iter().any(|selector| matches(selector, labels));
            wanted
                && range.is_none_or(|(start, end)| {
                    samples
                        .iter()
                        .any(|(at, value)| (start..=end).contains(at) && !is_stale(*value))
                })
        });
        Ok(found.map(|(labels, _)| labels.clone()).collect())
    }
}

fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

fn labels(sample: &Sample) -> Labels {
    let name = (METRIC_NAME.to_owned(), sample.name.to_owned());
    let labels = sample.labels.iter().map(|(label, value)| ((*label).to_owned(), value.clone()));
    labels.chain([name]).collect()
}

fn parse_selector(selector: &str) -> Result<VectorSelector, StoreError> {
    match promql_parser::parser::parse(selector).map_err(StoreError::Parse)? {
        Expr::VectorSelector(selector) => Ok(selector),
        _ => Err(StoreError::Parse(format!("not a series selector: {selector}"))),
    }
}

/// Whether a series belongs to a selector. A label that a series does not have counts as empty.
fn matches(selector: &VectorSelector, labels: &Labels) -> bool {
    let value = |label: &str| labels.get(label).map_or("", String::as_str);
    let all = |matchers: &[Matcher]| matchers.iter().all(|m| m.is_match(value(&m.name)));
    let alternatives = &selector.matchers.or_matchers;
    selector.name.as_deref().is_none_or(|name| value(METRIC_NAME) == name)
        && all(&selector.matchers.matchers)
        && (alternatives.is_empty() || alternatives.iter().any(|matchers| all(matchers)))
}

#[cfg(test)]
mod tests;
