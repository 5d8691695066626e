//! Queries for just the objects that are asked for, and what is left of them when the backend fails.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Asked, Choice, Failure, Found, Part, Planner, WhyExact, group::Group};
use crate::{
    cache::{FetchError, Got, Query, now, slot::How},
    core::plan::{self, Objects, PartialPlan, Plan, PlanError},
};

/// How many parts of an exact query are sent at the same time.
const PARTS_AT_ONCE: usize = 8;

/// First reads come in crowds, and one query can do for all of them: whoever finds nothing that he can use looks this often for
/// others, until so many looks have found nobody new.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 20;
const QUIET_LOOKS: usize = 3;

/// An exact query that was answered.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    pub(super) plan: Arc<Plan>,
    pub(super) query: Query,
    /// The objects that were asked for: sorted, each once.
    pub(super) names: Vec<Arc<str>>,
}

impl Planner {
    /// Queries for just the objects that are asked for.
    pub(super) async fn exact(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        why: WhyExact,
    ) -> Result<Found, Failure> {
        let plans = self.exact_plans(asked, names, group)?;
        if matches!(why, WhyExact::CostsMore { .. } | WhyExact::UnknownCost)
            && self.is_new(asked, &plans).await
            && self.gather(group, asked, names.len()).await
            && let Ok(shared) = &group.shared
            && let Ok(part) =
                self.fetch_shared(group, shared, asked.source, asked.reader, asked.scope).await?
        {
            return Ok(Found { parts: vec![part], choice: Choice::Shared });
        }
        let parts: Vec<_> = stream::iter(plans)
            .map(|part| self.fetch(asked, part.plan, Some(Objects::Named(part.names))))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        if parts.iter().all(|part| !matches!(part.got.how, How::Stale(_))) {
            self.abandon(group.move_on(asked.reader, &exact_queries(&parts))).await;
        }
        Ok(Found { parts, choice: Choice::Exact(why) })
    }

    /// How to ask for just these objects.
    fn exact_plans(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
    ) -> Result<Vec<PartialPlan>, PlanError> {
        let Asked { source, namespace, selected, metric_selector, .. } = asked;
        if !group.is_pointwise() {
            // What one object gets depends on the others, so they have to be asked for together.
            let plan = plan::exact(source, namespace, &selected.objects, metric_selector)?;
            return Ok(vec![PartialPlan { plan, names: names.to_vec() }]);
        }
        let max_bytes = self.settings.max_query_bytes;
        plan::exact_in_parts(source, namespace, names, metric_selector, max_bytes)
    }

    /// What was found before for a reader whose plan or objects have changed since, so that there is no older result of the
    /// same query.
    pub(super) async fn stale(
        &self,
        asked: Asked<'_>,
        names: &[Arc<str>],
        group: &Group,
        error: FetchError,
    ) -> Result<Found, Failure> {
        // Where what one object gets depends on the others, a result for others is none for these.
        let Ok(shared) = &group.shared else { return Err(Failure::Fetch(error)) };
        // A result may have a value for an object that it was not asked for, and that would not be its value.
        let of_these = |mut exact: Exact| {
            exact.names.retain(|name| names.binary_search(name).is_ok());
            (!exact.names.is_empty()).then_some((
                exact.plan,
                exact.query,
                Some(Objects::Named(exact.names)),
            ))
        };
        let exact = group.exact(asked.reader).into_iter().filter_map(of_these).collect();
        let shared = vec![(Arc::clone(&shared.plan), shared.query.clone(), None)];
        for queries in [exact, shared] {
            let mut parts = Vec::new();
            for (plan, query, objects) in queries {
                // Some of the parts would be some of the objects.
                let Some(kept) = self.cache.stale(&query).await else {
                    parts.clear();
                    break;
                };
                let got = Got { kept, how: How::Stale(error.clone()) };
                parts.push(Part { plan, got, query, objects });
            }
            if !parts.is_empty() {
                return Ok(Found { parts, choice: Choice::Exact(WhyExact::NoNewer) });
            }
        }
        Err(Failure::Fetch(error))
    }

    pub(super) async fn fetch(
        &self,
        asked: Asked<'_>,
        plan: Plan,
        objects: Option<Objects>,
    ) -> Result<Part, Failure> {
        let query = self.query(asked.source.options, asked.namespace, Arc::clone(&plan.query))?;
        let query = query.asked_for(asked.scope);
        let got = self.cache.get(&query).await.map_err(Failure::Fetch)?;
        Ok(Part { plan: Arc::new(plan), got, query, objects })
    }

    /// Whether nobody has asked these queries lately.
    async fn is_new(&self, asked: Asked<'_>, plans: &[PartialPlan]) -> bool {
        let Some(part) = plans.first() else { return false };
        let text = Arc::clone(&part.plan.query);
        match self.query(asked.source.options, asked.namespace, text) {
            Ok(query) => !self.cache.has(&query).await,
            Err(_) => false,
        }
    }

    /// Waits a moment for other readers of the group, and says whether there are so many that they share.
    async fn gather(&self, group: &Group, asked: Asked<'_>, names: usize) -> bool {
        let waiting = group.wait(asked.reader, names);
        let (mut seen, mut quiet) = (0, 0);
        for _ in 0..LOOKS {
            let Some(count) = waiting.others(asked.selected.population, now()) else {
                return true;
            };
            quiet = if count > seen { 0 } else { quiet + 1 };
            if quiet >= QUIET_LOOKS {
                return false;
            }
            seen = seen.max(count);
            let began = now();
            tokio::time::sleep(LOOK).await;
            // Where this task had to queue, so have those that are looked for.
            if now().duration_since(began) > LOOK * 2 {
                quiet = 0;
            }
        }
        false
    }
}

fn exact_queries(parts: &[Part]) -> Vec<Exact> {
    let exact = |part: &Part| {
        let names = match &part.objects {
            Some(Objects::Named(names)) => names.clone(),
            Some(Objects::Any) | None => Vec::new(),
        };
        Exact { plan: Arc::clone(&part.plan), query: part.query.clone(), names }
    };
    parts.iter().map(exact).collect()
}
