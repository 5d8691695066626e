//! Which of the series that claim the same metric are alive.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream};
use tokio::time::Instant;

use super::{
    CONCURRENCY,
    ask::{carries, narrowed},
};
use crate::{
    backends::{BackendError, Backends},
    core::{
        catalog::{Contest, DiscoveredRule},
        series::{Matcher, SeriesSelector},
    },
    prometheus::{Answer, BackendHandle, Error, PublicError},
};

/// The most bytes of metric names in one confirming query.
const NAMES_BYTES: usize = 4 << 10;

/// The label through which a series claims a metric, and the series' name.
pub(super) type Series = (Arc<str>, Arc<str>);

/// What was learned of a rule's contested series.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    /// Those that have samples within the discovery window.
    pub(super) alive: BTreeSet<Series>,
    /// Those that could not be confirmed; some of them may be live.
    pub(super) unconfirmed: BTreeSet<Series>,
    /// Why not.
    pub(super) doubt: Option<Doubt>,
}

/// Why it is not known which series are live.
#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    #[error(transparent)]
    BackendHandle(#[from] BackendError),
    #[error(transparent)]
    Prometheus(#[from] Error),
    #[error("the answer is no vector")]
    NoVector,
}

impl Doubt {
    /// The public cause.
    pub(super) fn public(&self) -> PublicError {
        match self {
            Self::BackendHandle(_) => PublicError::NoBackend,
            Self::Prometheus(error) => error.public(),
            Self::NoVector => PublicError::NotPrometheus { is_page: false },
        }
    }
}

/// A query that confirms which of these series are alive.
struct Confirmation {
    rule: usize,
    query: String,
    series: BTreeSet<Series>,
}

/// Asks which of the contested series have samples within the discovery window; the answer has every rule with a contest,
/// by its position. Every backend has the time that one request may take: one that hangs costs others nothing.
pub(super) async fn confirm(
    backends: &Backends,
    rules: &[DiscoveredRule],
    contests: &[Contest],
    window: impl Fn(usize) -> Duration,
) -> BTreeMap<usize, Confirmed> {
    let mut wanted: BTreeMap<(usize, &Arc<str>), BTreeSet<&Arc<str>>> = BTreeMap::new();
    for claim in contests.iter().flat_map(|contest| &contest.claims) {
        wanted.entry((claim.rule, &claim.label)).or_default().insert(&claim.series);
    }
    let mut confirmed: BTreeMap<usize, Confirmed> = BTreeMap::new();
    let mut confirmations: HashMap<BackendHandle, Vec<Confirmation>> = HashMap::new();
    for ((rule, label), names) in wanted {
        let Some(discovered) = rules.get(rule) else { continue };
        let known = confirmed.entry(rule).or_default();
        for chunk in chunks(&names) {
            let series = chunk.iter().map(|name| (Arc::clone(label), Arc::clone(name))).collect();
            let base = discovered.rule.base();
            let Some(query) = query(&base.selector, label, &chunk, window(rule)) else {
                // Found by the series endpoint, which knows only what has samples in the window.
                known.alive.extend(series);
                continue;
            };
            match backends.discovery_handle(&base.options) {
                Ok(backend) => {
                    let confirmation = Confirmation { rule, query, series };
                    confirmations.entry(backend).or_default().push(confirmation);
                }
                Err(error) => known.doubt(series, error.into()),
            }
        }
    }
    let answers = confirmations.into_iter().map(|(backend, of_backend)| ask(backend, of_backend));
    for (Confirmation { rule, series, .. }, answer) in join_all(answers).await.into_iter().flatten()
    {
        confirmed.entry(rule).or_default().note(series, answer);
    }
    confirmed
}

async fn ask(
    backend: BackendHandle,
    confirmations: Vec<Confirmation>,
) -> Vec<(Confirmation, Result<Answer, Error>)> {
    let deadline = Instant::now() + backend.discovery_timeout();
    let answers = stream::iter(confirmations).map(|confirmation| {
        let backend = backend.clone();
        async move {
            let late = |_elapsed| Err(backend.discovery_timed_out());
            let answer =
                tokio::time::timeout_at(deadline, backend.query(&confirmation.query)).await;
            let answer = answer.unwrap_or_else(late);
            (confirmation, answer)
        }
    });
    answers.buffer_unordered(CONCURRENCY).collect().await
}

impl Confirmed {
    /// Notes the answer about these series. A partial one proves that series are live, not that others have ended.
    fn note(&mut self, series: BTreeSet<Series>, answer: Result<Answer, Error>) {
        match answer {
            Ok(Answer::Vector(vector)) => {
                let names = vector.samples.iter().filter_map(|sample| sample.label("__name__"));
                let names: BTreeSet<_> = names.collect();
                let alive = series.iter().filter(|(_, name)| names.contains(&**name));
                self.alive.extend(alive.cloned());
                if vector.is_partial {
                    self.doubt(series, Error::Partial.into());
                }
            }
            Ok(Answer::Scalar(..) | Answer::Other(_)) => self.doubt(series, Doubt::NoVector),
            Err(error) => self.doubt(series, error.into()),
        }
    }

    fn doubt(&mut self, series: BTreeSet<Series>, doubt: Doubt) {
        self.unconfirmed.extend(series);
        self.doubt = Some(doubt);
    }
}

fn query(
    selector: &SeriesSelector,
    label: &str,
    names: &[&Arc<str>],
    window: Duration,
) -> Option<String> {
    // Only for a selector that was discovered by label endpoints is there something to confirm.
    selector.narrowed(&[])?;
    let mut matchers = carries(label);
    // A second name is an error in PromQL, and there is only that one.
    if selector.name().is_none() {
        let names: Vec<_> = names.iter().map(|name| &***name).collect();
        matchers.push(Matcher::named(&names));
    }
    let selector = narrowed(selector, &matchers)?;
    Some(format!("group by (__name__) (last_over_time({selector}[{}s]))", window.as_secs().max(1)))
}

fn chunks<'a>(names: &BTreeSet<&'a Arc<str>>) -> Vec<Vec<&'a Arc<str>>> {
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
    use crate::core::catalog::external;

    #[test]
    fn the_confirming_query_names_only_contested_series() {
        let age = Duration::from_secs(600);
        let a: Arc<str> = "a".into();
        let selector = SeriesSelector::new("{namespace!=\"\"}");
        assert_eq!(
            query(&selector, "pod", &[&a, &"a_total".into()], age).unwrap(),
            "group by (__name__) (last_over_time({namespace!=\"\",pod!=\"\",__name__=~\"a|a_total\"}[600s]))"
        );
        let selector = SeriesSelector::new("a{namespace!=\"\"}");
        assert_eq!(
            query(&selector, "pod", &[&a], age).unwrap(),
            "group by (__name__) (last_over_time(a{namespace!=\"\",pod!=\"\"}[600s]))"
        );
        assert_eq!(
            query(&selector, external::NAME, &[&a], age).unwrap(),
            "group by (__name__) (last_over_time(a{namespace!=\"\"}[600s]))"
        );
        let selector = SeriesSelector::new("{namespace!=\"\"}");
        assert_eq!(
            query(&selector, external::NAME, &[&a, &"b".into()], age).unwrap(),
            "group by (__name__) (last_over_time({namespace!=\"\",__name__=~\"a|b\"}[600s]))"
        );
        let foreign = SeriesSelector::new("a{b=\"c\" or d=\"e\"}");
        assert_eq!(query(&foreign, external::NAME, &[&a], age), None);
    }

    #[test]
    fn names_are_chunked_by_bytes() {
        let names: Vec<Arc<str>> = (0..300).map(|i| format!("{i:040}").into()).collect();
        let names: BTreeSet<_> = names.iter().collect();
        let chunks = chunks(&names);
        assert_eq!(chunks.iter().map(Vec::len).sum::<usize>(), 300);
        assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= 103));
    }
}
