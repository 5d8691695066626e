//! The pods that a query's series are of.

use std::collections::BTreeSet;

use crate::core::{
    explain::facts::{Facts, Series},
    lint::{counters, parsed},
};

/// The labels that name the pod of a series: its own where the scrape keeps it, and before that of the exporter.
const LABELS: [&str; 2] = ["exported_pod", "pod"];

/// The most pods. Of more nothing is said.
const MOST: usize = 100;

/// The pods of the series that the query reads, within a day if there are none now. None where a series is of no pod, where not all
/// series that the query reads are known, and where there are more than [`MOST`].
pub fn pods(facts: &Facts) -> Vec<String> {
    let all = || {
        let series = facts.series.as_ref().filter(|series| series.failure.is_none())?;
        let known = if series.now.is_empty() { &series.day } else { &series.now };
        let tree = parsed(&facts.answer.as_ref()?.query).ok()?;
        let mut pods = BTreeSet::new();
        for selector in counters::selectors(&tree) {
            let is_read = |series: &&Series| {
                let matchers = selector.matchers.matchers.iter();
                let mut others = matchers.filter(|matcher| matcher.name != "__name__");
                others.all(|matcher| matcher.is_match(series.label(&matcher.name)))
            };
            if counters::name(selector)? != series.name || !selector.matchers.or_matchers.is_empty()
            {
                return None;
            }
            let mut read = known.iter().filter(is_read).peekable();
            read.peek()?;
            for series in read {
                let mut labels = LABELS.iter().map(|label| series.label(label));
                pods.insert(labels.find(|pod| !pod.is_empty())?.to_owned());
            }
        }
        Some(pods)
    };
    all().filter(|pods| pods.len() <= MOST).unwrap_or_default().into_iter().collect()
}
