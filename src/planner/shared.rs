//! The query that many readers share: whether it is used, and what becomes of its failures.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use super::{
    Asked, Choice, Failure, Part, Planner, WhyExact,
    group::{Group, Shared},
};
use crate::{
    cache::{FetchError, Got, now, slot::How},
    core::{plan::Source, samples::Index, selector::Selector},
    prometheus::Answer,
};

impl Planner {
    /// Fetches the result that everybody in all namespaces can share, whether or not that is the setting: whoever asks for most
    /// of the cluster cannot ask for less. Else it says why there is none.
    pub async fn find_everywhere(
        &self,
        source: Source<'_>,
        reader: u64,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let group = self.group(source, None, &Selector::default()).await;
        let found = match group.usable(now()) {
            Ok(shared) => self.fetch_shared(&group, shared, source, reader, "").await?,
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
            Ok(shared) => {
                self.fetch_shared(group, shared, asked.source, asked.reader, asked.scope).await
            }
            Err(why) => Ok(Err(why)),
        }
    }

    /// The result of the shared query, which uses the share of a namespace, or why a narrower one is to be sent.
    pub(super) async fn fetch_shared(
        &self,
        group: &Group,
        shared: &Shared,
        source: Source<'_>,
        reader: u64,
        scope: &str,
    ) -> Result<Result<Part, WhyExact>, Failure> {
        let query = shared.query.clone().asked_for(scope);
        let got = self.cache.get(&query).await;
        let (error, why) = match got {
            Ok(Got { how: How::Stale(error), .. }) | Err(error) if is_refused(&error) => {
                (error, WhyExact::Failed)
            }
            // The query was too slow; if Prometheus hangs, that is known by now, and nobody waits as long again.
            Err(error) if is_timeout(&error) && !shared.query.tenant.is_silent() => {
                (error, WhyExact::TimedOut)
            }
            Err(error) => return Err(Failure::Fetch(error)),
            Ok(got) => {
                if let (Answer::Vector(vector), How::Fresh) = (got.kept.value().answer(), &got.how)
                {
                    let size = match source.part_label {
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
                let plan = Arc::clone(&shared.plan);
                return Ok(Ok(Part { plan, got, query, objects: None }));
            }
        };
        self.pause(group, source, &error);
        Ok(Err(why))
    }

    /// Leaves the shared query of a group alone for a while. A rule has many groups, which fail alike.
    fn pause(&self, group: &Group, source: Source<'_>, error: &FetchError) {
        let Some(pause) = group.failed(now()) else { return };
        let (rule, pause) = (source.rule, pause.as_secs());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(untold) = told.tell((rule, is_timeout(error)), Instant::now()) else { return };
        drop(told);
        let suppressed = Some(untold).filter(|untold| *untold > 0);
        tracing::warn!(rule, %error, suppressed, "one query for all readers fails; exact ones are sent for {pause} s");
    }
}

/// Whether a narrower query may succeed where this error came.
fn is_refused(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_about_the_query() && !error.is_timeout())
}

fn is_timeout(error: &FetchError) -> bool {
    matches!(error, FetchError::Failed(error) if error.is_timeout())
}
