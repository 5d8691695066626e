//! What discovery found for a rule, bounded: a backend decides how many series there are, and what they are called.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{DiscoveredRule, external::NAME};
use crate::core::rules::MetricRule;

/// The most metrics of a rule.
pub const MOST_OF_RULE: usize = 25_000;

/// The most metrics of all rules together.
pub const MOST_IN_ALL: usize = 100_000;

/// The most bytes of the name of a series or of a metric; longer ones are left out.
pub const LONGEST: usize = 512;

/// The series names that discovery found for a rule, by the label that they carry: that of a resource, or [`NAME`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Label to series names.
    pub by_label: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// The first of the series if the rule names none of them.
    pub unnamed: Option<Arc<str>>,
    /// How many names of series there were, whether or not the rule takes them.
    pub names: usize,
    /// How many metrics of the rule are not here because there are too many, or their names are too long.
    pub left_out: usize,
}

impl Found {
    /// Notes that a series carries a label.
    pub fn insert(&mut self, label: &str, series: &str) {
        self.by_label.entry(label.to_owned()).or_default().insert(series.into());
    }

    /// What a rule takes of this, and at most so many metrics: those whose series come first by name, whatever the order in
    /// which a backend lists them. Each name is in memory once.
    #[must_use]
    pub fn of(&self, discovered: &DiscoveredRule, most: usize) -> Self {
        let DiscoveredRule { rule, mapping, .. } = discovered;
        let is_of_rule = |label: &str| match rule {
            MetricRule::Custom(_) => mapping.kind(label).is_some(),
            MetricRule::External(_) => label == NAME,
        };
        let labels = self.by_label.iter().filter(|(label, _)| is_of_rule(label));
        let mut found: Vec<(&Arc<str>, &str)> = labels
            .flat_map(|(label, names)| names.iter().map(move |series| (series, label.as_str())))
            .collect();
        found.sort_unstable();
        let mut taken: BTreeMap<&str, Vec<Arc<str>>> = BTreeMap::new();
        let (mut names, mut metrics, mut left_out) = (0, 0, self.left_out);
        for of_series in found.chunk_by(|a, b| a.0 == b.0) {
            let Some((series, _)) = of_series.first() else { continue };
            names += 1;
            let Some(metric) = rule.base().namer.metric_name(series) else { continue };
            if series.len().max(metric.len()) > LONGEST {
                left_out += of_series.len();
                continue;
            }
            for (_, label) in of_series {
                if metrics == most {
                    left_out += 1;
                    continue;
                }
                metrics += 1;
                taken.entry(label).or_default().push(Arc::clone(series));
            }
        }
        let first = found.first().map(|(series, _)| Arc::clone(series));
        let unnamed = self.unnamed.clone().or(first).filter(|_| taken.is_empty() && left_out == 0);
        let taken = taken.into_iter();
        Self {
            by_label: taken
                .map(|(label, series)| (label.to_owned(), series.into_iter().collect()))
                .collect(),
            unnamed,
            names: self.names.max(names),
            left_out,
        }
    }

    /// This, and what was known before: what a partial answer leaves out may be there all the same.
    #[must_use]
    pub fn and(&self, known: &Self) -> Self {
        let mut both = self.clone();
        for (label, names) in &known.by_label {
            both.by_label.entry(label.clone()).or_default().extend(names.iter().cloned());
        }
        both.left_out = self.left_out.max(known.left_out);
        both
    }

    fn metrics(&self) -> usize {
        self.by_label.values().map(BTreeSet::len).sum()
    }
}

/// Leaves metrics out until there are no more than so many in all. Rules share evenly: one with few metrics loses none because
/// another one has many.
pub fn limit(rules: &mut [DiscoveredRule], most: usize) {
    let metrics = |rule: &DiscoveredRule| rule.found.as_ref().map_or(0, |found| found.metrics());
    let mut counts: Vec<_> = rules.iter().map(metrics).collect();
    counts.sort_unstable();
    let mut rest = most;
    for (rules_left, count) in (1..=counts.len()).rev().zip(counts) {
        let share = rest / rules_left;
        if count > share {
            for rule in rules.iter_mut().filter(|rule| metrics(rule) > share) {
                rule.found = rule.found.take().map(|found| Arc::new(found.of(rule, share)));
            }
            return;
        }
        rest -= count;
    }
}
