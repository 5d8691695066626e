//! An instant vector as the backend gave it: what is cached, and what values are read from.

use std::sync::Arc;

/// The result of an instant query that is a vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector {
    /// The samples with float values, in the backend's order.
    pub samples: Vec<Sample>,
    /// How many samples were native histograms, which no metrics API can say.
    pub histograms: usize,
    /// What the backend warned of; a partial answer is said here.
    pub warnings: Vec<String>,
}

/// One sample of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' labels in the backend's order; the names are shared within a vector.
    pub labels: Vec<(Arc<str>, Box<str>)>,
    /// The evaluation time of the query, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A label's value; nothing where the series does not carry the label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }
}

impl Vector {
    /// Roughly how many bytes the vector takes in memory.
    pub fn weight(&self) -> usize {
        let samples: usize = self
            .samples
            .iter()
            .map(|sample| {
                size_of::<Sample>()
                    + sample
                        .labels
                        .iter()
                        .map(|(_, value)| size_of::<(Arc<str>, Box<str>)>() + value.len())
                        .sum::<usize>()
            })
            .sum();
        let warnings: usize = self.warnings.iter().map(String::len).sum();
        size_of::<Self>() + samples + warnings
    }
}
