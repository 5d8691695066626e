//! The requests of a discovery.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    blocking,
    core::{
        catalog::{DiscoveredRule, Found, MOST_OF_RULE, external},
        series::{Matcher, SeriesSelector},
    },
    prometheus::{BackendHandle, Error, Metadata, Range},
};

/// A selector, the rules that share it, and the labels that they want to know about.
pub(super) struct Group {
    pub(super) backend: BackendHandle,
    selector: SeriesSelector,
    /// How far back series are looked for.
    window: Duration,
    /// The rules by their positions.
    pub(super) rules: Vec<(usize, DiscoveredRule)>,
    /// Whether `labels` may hold some that must not be asked for before it is known that there are such.
    pub(super) labels_may_be_absent: bool,
    pub(super) labels: BTreeSet<String>,
}

impl Group {
    pub(super) fn new(backend: BackendHandle, selector: SeriesSelector, window: Duration) -> Self {
        Self {
            backend,
            selector,
            window,
            rules: Vec::new(),
            labels_may_be_absent: false,
            labels: BTreeSet::new(),
        }
    }
}

/// The time from so long ago until now.
pub(super) fn range(window: Duration) -> Range {
    let now = jiff::Timestamp::now().as_second();
    let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
    // Up to the next whole second: a series that began within this one is there too. Nothing is older than time itself.
    Range { start: now.saturating_sub(window).max(0), end: now.saturating_add(1) }
}

/// What each rule takes of what there is of a selector, as far as the backend says.
pub(super) type Discovered = Result<Metadata<Vec<(usize, Found)>>, Arc<Error>>;

/// Finds what each rule of a selector takes of the series that there are. Of an answer with very many names, no more than
/// the rules take is kept, whatever else is asked at the same time.
pub(super) async fn discover(
    group: &Group,
    ignores_selectors: bool,
) -> Result<Metadata<Vec<(usize, Found)>>, Error> {
    let Metadata { data, is_partial } = names(group, ignores_selectors).await?;
    let rules = group.rules.clone();
    let of_rules = move || {
        let of = |(index, rule): &(usize, DiscoveredRule)| (*index, data.of(rule, MOST_OF_RULE));
        rules.iter().map(of).collect()
    };
    Ok(Metadata { data: blocking::run(of_rules).await, is_partial })
}

/// Finds which metric names carry which of the wanted labels.
pub(super) async fn names(
    group: &Group,
    ignores_selectors: bool,
) -> Result<Metadata<Found>, Error> {
    let Group { backend, .. } = group;
    let range = range(group.window);
    if let Some(found) = by_labels(backend, group, range, ignores_selectors).await? {
        return Ok(found);
    }
    let labels = group.labels.clone();
    let is_wanted = move |label: &str| labels.contains(label);
    backend.series(group.selector.text(), range, is_wanted).await
}

/// Asks the label endpoints; nothing where they cannot be trusted with this selector.
async fn by_labels(
    backend: &BackendHandle,
    group: &Group,
    range: Range,
    ignores_selectors: bool,
) -> Result<Option<Metadata<Found>>, Error> {
    if group.selector.narrowed(&[]).is_none() || ignores_selectors {
        return Ok(None);
    }
    let mut labels: Vec<&str> = group.labels.iter().map(String::as_str).collect();
    let mut found = Metadata { data: Found::default(), is_partial: false };
    if group.labels_may_be_absent {
        let existing = backend.label_names(group.selector.text(), range).await?;
        found.is_partial |= existing.is_partial;
        let existing: BTreeSet<_> = existing.data.iter().collect();
        labels.retain(|label| *label == external::NAME || existing.contains(*label));
    }
    for label in labels {
        let Some(selector) = narrowed(&group.selector, &carries(label)) else {
            return Ok(None);
        };
        let names = backend.metric_names(&selector, range).await?;
        found.is_partial |= names.is_partial;
        for name in names.data.iter() {
            found.data.insert(label, name);
        }
    }
    Ok(Some(found))
}

/// What a selector needs to have only the series that carry a label. All have a name.
pub(super) fn carries(label: &str) -> Vec<Matcher> {
    if label == external::NAME { Vec::new() } else { vec![Matcher::carries(label)] }
}

pub(super) fn narrowed(selector: &SeriesSelector, matchers: &[Matcher]) -> Option<String> {
    if matchers.is_empty() {
        return Some(selector.text().to_owned());
    }
    selector.narrowed(matchers)
}
