//! The requests of a discovery.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    backends::Backends,
    core::{
        catalog::{Claim, Contest, DiscoveredRule, Found, external},
        series::{Matcher, SeriesSelector},
    },
    prometheus::{Answer, Error, Metadata, Range, Tenant},
};

/// The most bytes of metric names in one confirming query.
const NAMES_BYTES: usize = 4 << 10;

/// A selector, the rules that share it, and the labels that they want to know about.
pub(super) struct Group {
    pub(super) tenant: Tenant,
    selector: SeriesSelector,
    pub(super) rules: Vec<usize>,
    /// Whether a rule recognises labels by a template, so that many of `labels` may not exist.
    pub(super) has_template: bool,
    pub(super) labels: BTreeSet<String>,
}

impl Group {
    pub(super) fn new(tenant: Tenant, selector: SeriesSelector) -> Self {
        Self { tenant, selector, rules: Vec::new(), has_template: false, labels: BTreeSet::new() }
    }
}

/// What there is of a selector, as far as the backend says.
pub(super) type Discovered = Result<Metadata<Found>, Arc<Error>>;

/// Finds which metric names carry which of the wanted labels.
pub(super) async fn discover(
    group: &Group,
    range: Range,
    ignores_selectors: bool,
) -> Result<Metadata<Found>, Error> {
    let Group { tenant, .. } = group;
    if let Some(found) = by_labels(tenant, group, range, ignores_selectors).await? {
        return Ok(found);
    }
    let is_wanted = |label: &str| group.labels.contains(label);
    tenant.series(group.selector.text(), range, is_wanted).await
}

/// Asks the label endpoints; nothing where they cannot be trusted with this selector.
async fn by_labels(
    tenant: &Tenant,
    group: &Group,
    range: Range,
    ignores_selectors: bool,
) -> Result<Option<Metadata<Found>>, Error> {
    if group.selector.narrowed(&[]).is_none() || ignores_selectors {
        return Ok(None);
    }
    let mut labels: Vec<&str> = group.labels.iter().map(String::as_str).collect();
    let mut found = Metadata { data: Found::default(), is_partial: false };
    if group.has_template {
        let existing = tenant.label_names(group.selector.text(), range).await?;
        found.is_partial |= existing.is_partial;
        let existing: BTreeSet<_> = existing.data.iter().map(String::as_str).collect();
        labels.retain(|label| *label == external::NAME || existing.contains(label));
    }
    for label in labels {
        let Some(selector) = narrowed(&group.selector, &carries(label)) else {
            return Ok(None);
        };
        let names = tenant.metric_names(&selector, range).await?;
        found.is_partial |= names.is_partial;
        for name in names.data {
            found.data.insert(label, &name);
        }
    }
    Ok(Some(found))
}

/// Of contested claims, those whose series have samples within the discovery window. Where a query fails, it is as it was
/// `before`: which query serves a metric does not change because a backend is away.
pub(super) async fn alive(
    backends: &Backends,
    rules: &[DiscoveredRule],
    contests: &[Contest],
    max_age: Duration,
    before: &BTreeSet<Claim>,
) -> BTreeSet<Claim> {
    let deadline = tokio::time::Instant::now() + backends.prometheus().discovery_timeout();
    let mut wanted: BTreeMap<(usize, &str), BTreeSet<&str>> = BTreeMap::new();
    for claim in contests.iter().flat_map(|contest| &contest.claims) {
        wanted.entry((claim.rule, &claim.label)).or_default().insert(&claim.series);
    }
    let mut alive = BTreeSet::new();
    for ((rule, label), names) in wanted {
        let Some(discovered) = rules.get(rule) else {
            continue;
        };
        let Ok(tenant) = backends.discovery_tenant(&discovered.rule.options) else {
            continue;
        };
        for chunk in chunks(&names) {
            let Some(query) = confirmation(&discovered.rule.selector, label, &chunk, max_age)
            else {
                // Found by the series endpoint, which knows only what has samples in the window.
                alive.extend(chunk.iter().map(|series| {
                    let (series, label) = ((*series).to_owned(), label.to_owned());
                    Claim { rule, series, label }
                }));
                continue;
            };
            let answer = tokio::time::timeout_at(deadline, tenant.query(&query)).await;
            match answer.unwrap_or_else(|_elapsed| Err(tenant.discovery_timed_out())) {
                Ok(Answer::Vector(vector)) => {
                    for series in vector.samples.iter().filter_map(|s| s.label("__name__")) {
                        let (series, label) = (series.to_owned(), label.to_owned());
                        alive.insert(Claim { rule, series, label });
                    }
                }
                Ok(Answer::Scalar(..) | Answer::Other(_)) => {}
                Err(error) => {
                    let known = before.iter().filter(|claim| {
                        claim.rule == rule
                            && claim.label == label
                            && chunk.contains(&claim.series.as_str())
                    });
                    alive.extend(known.cloned());
                    let rule = &discovered.rule.id;
                    tracing::warn!(%rule, %error, "cannot tell live series from dead ones");
                }
            }
        }
    }
    alive
}

/// What a selector needs to have only the series that carry a label. All have a name.
fn carries(label: &str) -> Vec<Matcher> {
    if label == external::NAME { Vec::new() } else { vec![Matcher::carries(label)] }
}

fn narrowed(selector: &SeriesSelector, matchers: &[Matcher]) -> Option<String> {
    if matchers.is_empty() {
        return Some(selector.text().to_owned());
    }
    selector.narrowed(matchers)
}

fn confirmation(
    selector: &SeriesSelector,
    label: &str,
    names: &[&str],
    max_age: Duration,
) -> Option<String> {
    // Only for a selector that was discovered by label endpoints is there something to confirm.
    selector.narrowed(&[])?;
    let mut matchers = carries(label);
    // A second name next to `name{…}` is an error in PromQL, and there is only that one.
    if selector.name().is_none() {
        matchers.push(Matcher::named(names));
    }
    let selector = narrowed(selector, &matchers)?;
    Some(format!("group by (__name__) (last_over_time({selector}[{}s]))", max_age.as_secs().max(1)))
}

fn chunks<'a>(names: &BTreeSet<&'a str>) -> Vec<Vec<&'a str>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = 0;
    for name in names {
        if bytes + name.len() > NAMES_BYTES && bytes > 0 {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += name.len() + 1;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(*name);
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_confirming_query_names_only_contested_series() {
        let age = Duration::from_secs(600);
        let selector = SeriesSelector::new("{namespace!=\"\"}");
        assert_eq!(
            confirmation(&selector, "pod", &["a", "a_total"], age).unwrap(),
            "group by (__name__) (last_over_time({namespace!=\"\",pod!=\"\",__name__=~\"a|a_total\"}[600s]))"
        );
        let selector = SeriesSelector::new("a{namespace!=\"\"}");
        assert_eq!(
            confirmation(&selector, "pod", &["a"], age).unwrap(),
            "group by (__name__) (last_over_time(a{namespace!=\"\",pod!=\"\"}[600s]))"
        );
        assert_eq!(
            confirmation(&selector, external::NAME, &["a"], age).unwrap(),
            "group by (__name__) (last_over_time(a{namespace!=\"\"}[600s]))"
        );
        let selector = SeriesSelector::new("{namespace!=\"\"}");
        assert_eq!(
            confirmation(&selector, external::NAME, &["a", "b"], age).unwrap(),
            "group by (__name__) (last_over_time({namespace!=\"\",__name__=~\"a|b\"}[600s]))"
        );
        let foreign = SeriesSelector::new("a{b=\"c\" or d=\"e\"}");
        assert_eq!(confirmation(&foreign, external::NAME, &["a"], age), None);
    }

    #[test]
    fn names_are_chunked_by_bytes() {
        let names: Vec<String> = (0..300).map(|i| format!("{i:040}")).collect();
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let chunks = chunks(&names);
        assert_eq!(chunks.iter().map(Vec::len).sum::<usize>(), 300);
        assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= 103));
    }
}
