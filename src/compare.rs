//! Asks two servers of the metrics APIs for the same metrics, of a sample of objects, for `loadline compare`.
//!
//! [`core::compare`](crate::core::compare) judges what they answer.

mod explained;
mod forward;
mod listing;
mod looks;
mod responses;
mod sampling;
mod side;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};

pub use self::side::{ConnectError, Connecting, Name, NameError, Side, namespaces};
use self::{
    listing::Metric,
    sampling::{Place, Sample},
};
use crate::core::{
    compare::{Comparison, Counts, Differences, Sides},
    excerpt::{NAME, excerpt},
};

/// How many metrics a note names.
const NAMED: usize = 5;

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespaces to read, in the order of preference.
    pub namespaces: Vec<String>,
    /// The metrics to compare, with or without their resource; all where none is named.
    pub metrics: Vec<String>,
    /// How many objects of a metric are read by name.
    pub objects: usize,
    /// How many metrics are read at a time.
    pub concurrency: usize,
    /// By what fraction values may differ.
    pub tolerance: f64,
}

/// How far a comparison is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// How many metrics are done.
    pub done: usize,
    /// Of how many.
    pub all: usize,
    /// The last one; empty before the first.
    pub metric: &'a str,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server did not answer what all else depends on, or may not be asked.
    #[error("{side}: {message}{}", if *.is_forbidden { "; to read metrics you need a role that allows it" } else { "" })]
    Unread {
        /// The server.
        side: String,
        /// What it said.
        message: String,
        /// Whether it refused.
        is_forbidden: bool,
    },
    /// There is nothing to compare.
    #[error("{side} lists no metric{named}")]
    NoMetrics {
        /// The server.
        side: String,
        /// The name that was asked for.
        named: String,
    },
}

/// Compares two servers. `report` is called at the begin, and for every metric that is done.
///
/// # Errors
///
/// A server cannot be asked, or has nothing to compare.
pub async fn compare(
    sides: Sides<&Side>,
    settings: &Settings,
    report: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Comparison, Error> {
    let mut differences = Differences::default();
    let mut notes = Vec::new();
    let metrics = listing::metrics(sides, &settings.metrics, &mut differences, &mut notes).await?;
    let mut counts = Counts {
        metrics: metrics.iter().filter(|metric| !metric.is_only_reference).count(),
        ..Counts::default()
    };
    let mut silent = BTreeSet::new();
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut done = 0;
    report(Progress { done, all: metrics.len(), metric: "" });
    // The values of namespaces say where the others are.
    let (first, rest): (Vec<&Metric>, Vec<&Metric>) =
        metrics.iter().partition(|metric| !metric.namespaced);
    for part in [first, rest] {
        let near = std::mem::take(&mut places);
        let sampled = part.into_iter().map(|metric| {
            let namespaces = nearest_first(&settings.namespaces, near.get(metric.bare()));
            async move { (metric, sampling::sample(sides, metric, &namespaces, settings).await) }
        });
        let mut sampled = stream::iter(sampled).buffer_unordered(settings.concurrency.max(1));
        while let Some((metric, sample)) = sampled.next().await {
            done += 1;
            report(Progress { done, all: metrics.len(), metric: &metric.name });
            let Sample { judged, reads, objects } = sample?;
            counts.reads += reads;
            if objects.is_empty() && !metric.is_only_reference {
                silent.insert(metric.name.as_str());
            }
            for (Place { namespace, .. }, judged) in judged {
                counts.values += judged.values;
                counts.moved += judged.moved;
                for finding in judged.findings {
                    differences.add(metric.api, &metric.name, namespace.as_deref(), finding);
                }
            }
            if metric.is_of_namespaces() {
                places.entry(metric.bare().to_owned()).or_default().extend(objects);
            }
        }
    }
    notes.extend(without_values(&silent));
    let mut differences = differences.into_all();
    explained::explain(sides.with, &metrics, &mut differences).await;
    let names =
        Sides { reference: sides.reference.name().to_owned(), with: sides.with.name().to_owned() };
    Ok(Comparison::conclude(names, counts, differences, notes))
}

/// What there is to say of metrics that neither has a value of: little was compared of them.
fn without_values(metrics: &BTreeSet<&str>) -> Option<String> {
    let first: Vec<_> = metrics.iter().take(NAMED).map(|name| excerpt(name, NAME)).collect();
    let more = metrics.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let names = first.join(", ");
    (!names.is_empty()).then(|| format!("no value where it was read: {names}{more}"))
}

/// The namespaces, those first that are known to have values.
fn nearest_first(namespaces: &[String], near: Option<&BTreeSet<String>>) -> Vec<String> {
    let is_near = |namespace: &&String| near.is_some_and(|near| near.contains(*namespace));
    let (near, far): (Vec<&String>, Vec<&String>) = namespaces.iter().partition(is_near);
    near.into_iter().chain(far).cloned().collect()
}
