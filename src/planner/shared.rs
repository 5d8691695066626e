//! The query that many readers share: whether it is used, and what becomes of its failures.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;

use super::{
    Asked, Choice, Failure, Part, Planner, WhyExact,
    group::{Group, Shared},
};
use crate::{
    cache::{
        FetchError, Got, Query, now,
        slot::{How, Life},
    },
    core::{
        plan::{self, Objects, Source},
        samples::Index,
        selector::Selector,
    },
    prometheus::Answer,
};

/// How long a reader waits to learn whether a narrower query is answered, after he has waited for the shared one in vain.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// A name that no object and no namespace has.
const NOBODY: &str = "loadline-nobody";

impl Planner {
    /// Fetches the result that everybody in all namespaces can share, whether or not that is the setting: whoever asks for most
    /// of the cluster cannot ask for less. Else it says why there is none.
    pub async fn find_everywhere(
        &self,
        entry: &dyn Source,
        reader: u64,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let group = self.group(entry, None, &Selector::default()).await;
        let found = match group.usable(now()) {
            Ok(shared) => {
                let narrow = || nothing(entry, shared);
                self.fetch_shared(&group, shared, entry, reader, narrow).await?
            }
            Err(why) => Err(why),
        };
        if found.is_ok() {
            self.metrics.plan(Choice::Everywhere.name());
        }
        Ok(found)
    }

    /// The result of the shared query if that pays, or why it is not used.
    pub(super) async fn share(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        population: Option<usize>,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        match group.weigh(asked.reader, names.len(), population, now()) {
            Ok(shared) => self.fetch_for(asked, names, group, shared).await,
            Err(why) => Ok(Err(why)),
        }
    }

    /// The result of the shared query for somebody who could also ask for just his objects.
    pub(super) async fn fetch_for(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        shared: &Shared,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let Asked { entry, namespace, metric_selector, reader, .. } = asked;
        let narrow = || -> Result<Query, Failure> {
            let max_bytes = self.settings.max_query_bytes;
            let plans = plan::exact_in_parts(entry, namespace, names, metric_selector, max_bytes)?;
            let first = plans.into_iter().next();
            let text = first.map_or_else(Arc::default, |part| part.plan.query);
            Ok(self.query(entry.options(), namespace, text)?)
        };
        self.fetch_shared(group, shared, entry, reader, narrow).await
    }

    /// The result of the shared query. Where there is no answer in time, the query of `narrow` tells whether any is answered.
    async fn fetch_shared(
        &self,
        group: &Group,
        shared: &Shared,
        entry: &dyn Source,
        reader: u64,
        narrow: impl FnOnce() -> Result<Query, Failure>,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let got = self.cache.get(&shared.query).await;
        let (error, why) = match got {
            Ok(Got { how: How::Stale(error), .. }) | Err(error) if is_refused(&error) => {
                (error, WhyExact::Failed)
            }
            Err(error) if is_timeout(&error) => {
                // The query is too slow, or Prometheus hangs. Nobody waits as long again to learn which.
                if !self.is_answered(group, narrow()?).await {
                    return Err(Failure::Fetch(error));
                }
                (error, WhyExact::TimedOut)
            }
            Err(error) => return Err(Failure::Fetch(error)),
            Ok(got) => {
                if let (Answer::Vector(vector), How::Fresh) = (got.kept.value().answer(), &got.how)
                {
                    let size = match entry.part_label() {
                        None => vector.samples.len(),
                        // Readers count objects, so what they share is counted in objects, too.
                        Some(_) => got.kept.value().with_index(
                            vector,
                            &shared.plan.key,
                            Index::objects_len,
                        ),
                    };
                    group.fetched(size, now());
                }
                self.abandon(group.move_on(reader, &[])).await;
                let (plan, query) = (Arc::clone(&shared.plan), shared.query.clone());
                return Ok(Ok(Part { plan, got, query, objects: None }));
            }
        };
        pause(group, entry, &error);
        Ok(Err(why))
    }

    /// Whether a narrower query is answered where the shared one is not. One is sent for all readers of the group, and none of
    /// them waits long for it: how it ends is known to those who come later.
    async fn is_answered(&self, group: &Group, query: Query) -> bool {
        let probe = group.probe(|| {
            let cache = self.cache.clone();
            let is_answered =
                async move { matches!(cache.get(&query).await, Ok(Got { how: How::Fresh, .. })) };
            is_answered.boxed().shared()
        });
        let Ok(is_answered) = tokio::time::timeout(PROBE_PATIENCE, probe.clone()).await else {
            return false;
        };
        group.probed(&probe);
        is_answered
    }
}

/// A query that no object matches, to learn whether anything is answered.
fn nothing(entry: &dyn Source, shared: &Shared) -> Result<Query, Failure> {
    let nobody = Objects::Named(vec![NOBODY.into()]);
    let plan = plan::exact(entry, Some(NOBODY), &nobody, &Selector::default())?;
    let life = Life { ttl: PROBE_PATIENCE, max_stale: Duration::ZERO };
    Ok(Query { text: plan.query, life, tenant: shared.query.tenant.clone() })
}

/// Leaves the shared query of a group alone for a while.
fn pause(group: &Group, entry: &dyn Source, error: &FetchError) {
    if let Some(pause) = group.failed(now()) {
        let (rule, pause) = (entry.rule(), pause.as_secs());
        tracing::warn!(rule, %error, "one query for all readers fails; exact ones are sent for {pause} s");
    }
}

/// Whether a narrower query may succeed where this error came.
fn is_refused(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_about_the_query() && !error.is_timeout())
}

fn is_timeout(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_timeout())
}
