//! The result of a range query: what a query would have returned at each of many times.

use super::{LabelSets, Rows, Vector};
use crate::core::memory;

/// The result of a range query: series, and their values by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    labels: LabelSets,
    /// Time in milliseconds since the epoch, and value: those of all series, one series after the other.
    points: Vec<(i64, f64)>,
    /// Where each series ends among them.
    ends: Vec<u32>,
    /// What the backend warned of; a partial answer is said here, too.
    pub warnings: Vec<String>,
    /// Whether the backend says that something is missing.
    pub is_partial: bool,
    /// How many series have no float values: native histograms.
    pub histograms: usize,
}

/// The points of the series of an answer, in the backend's order.
#[derive(Debug, Default)]
pub struct Points {
    points: Vec<(i64, f64)>,
    ends: Vec<u32>,
}

impl Points {
    /// A value of the series that comes next, at a time in milliseconds since the epoch.
    pub fn push(&mut self, at_ms: i64, value: f64) {
        memory::push(&mut self.points, (at_ms, value));
    }

    /// Ends a series. Returns whether it has values; one without any is no series.
    pub fn end(&mut self) -> bool {
        let start = self.ends.last().map_or(0, |end| memory::index(*end));
        if start == self.points.len() {
            return false;
        }
        memory::push(&mut self.ends, memory::position(self.points.len()));
        true
    }
}

impl Matrix {
    /// The matrix of series, whose labels are those of the vector's samples, and of their points.
    pub fn new(series: Vector, points: Points) -> Self {
        let Points { points, ends } = points;
        let Vector { samples, unusable, warnings, is_partial, .. } = series;
        Self {
            labels: samples.labels,
            points,
            ends,
            warnings,
            is_partial,
            histograms: unusable.len(),
        }
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What an instant query would have returned at each of these times, which ascend, in milliseconds since the epoch.
    pub fn vectors(&self, times: impl IntoIterator<Item = i64>) -> impl Iterator<Item = Vector> {
        let mut next: Vec<usize> = (0..self.len()).map(|series| self.start(series)).collect();
        times.into_iter().map(move |at_ms| {
            let mut rows = Rows::default();
            for (series, next) in next.iter_mut().enumerate() {
                let end = self.ends.get(series).map_or(0, |end| memory::index(*end));
                let rest = self.points.get(*next..end).unwrap_or_default();
                *next += rest.iter().take_while(|(at, _)| *at < at_ms).count();
                let point = self.points.get(*next).filter(|(at, _)| *next < end && *at == at_ms);
                if let (Some((_, value)), Some(labels)) = (point, self.labels.get(series)) {
                    for (name, value) in labels.iter() {
                        // The names are those of one answer, of which there are not too many.
                        if let Some(name) = rows.name(name) {
                            rows.label(name, value);
                        }
                    }
                    rows.sample(at_ms, *value);
                }
            }
            rows.complete(self.warnings.clone(), self.is_partial)
        })
    }

    fn start(&self, series: usize) -> usize {
        let before = series.checked_sub(1).and_then(|before| self.ends.get(before));
        before.map_or(0, |end| memory::index(*end))
    }
}
