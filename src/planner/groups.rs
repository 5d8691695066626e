//! The groups of readers that can share a query, within a bound in bytes.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use moka::future::Cache;

use crate::{
    backends::BackendError,
    cache::Query,
    core::{
        overview::{PlanRow, Shown},
        plan::{
            Source,
            shareable::{self, NotShareable, Shareable},
        },
        rules::Fingerprint,
        selector::{Requirement, Selector},
        sharing::{SharedQuery, Sharing},
    },
};

/// Groups that nobody has read for this time are forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// What a group takes at the least, in bytes.
const GROUP_BYTES: usize = 1 << 10;

/// A group is weighed again when it has grown or shrunk by this many bytes and a quarter.
const SLACK: u32 = 4 << 10;

/// What reads have in common that can share a query.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    fingerprint: Fingerprint,
    is_namespaced: bool,
    series: Arc<str>,
    label: Arc<str>,
    /// Nothing for the group of all namespaces, and for kinds without namespaces.
    namespace: Option<Arc<str>>,
    metric_selector: Selector,
}

/// A group of readers.
pub(super) struct Group {
    key: Arc<Key>,
    sharing: Mutex<Sharing<Query>>,
    /// The bytes that it counts for: those that it took when it was weighed last.
    weighed: AtomicU32,
}

/// The groups. Those that are rarely read are evicted first.
pub(super) struct Groups(Cache<Arc<Key>, Arc<Group>>);

impl Groups {
    /// No groups, of which so many bytes may be remembered, with their readers.
    pub(super) fn new(max_bytes: u64) -> Self {
        let groups = Cache::builder()
            .name("readers that can share a query")
            .max_capacity(max_bytes)
            .weigher(|_, group: &Arc<Group>| group.weighed.load(Ordering::Relaxed))
            .time_to_idle(IDLE)
            .build();
        Self(groups)
    }

    /// The group of a read. `query` makes a query of its text.
    pub(super) async fn get(
        &self,
        source: Source<'_>,
        namespace: Option<&str>,
        metric_selector: &Selector,
        query: impl FnOnce(Arc<str>) -> Result<Query, BackendError>,
    ) -> Arc<Group> {
        let key = Key {
            fingerprint: source.fingerprint,
            is_namespaced: source.is_namespaced,
            series: Arc::clone(source.series),
            label: Arc::clone(source.label),
            namespace: namespace.map(Arc::from),
            metric_selector: metric_selector.clone(),
        };
        if let Some(group) = self.0.get(&key).await {
            return group;
        }
        let key = Arc::new(key);
        // The proof takes a while, and a crowd needs it once.
        let group = async {
            let shared = shareable::prove(source, namespace, metric_selector);
            let shared = shared.and_then(|Shareable { plan, depends_on_names }| {
                // The exact query fails in the same way, and says so.
                let query = query(plan.query);
                let query = query.map_err(|error| NotShareable::Template(error.to_string()))?;
                let (key, ttl) = (plan.key, query.life.ttl);
                Ok(SharedQuery { query, key, depends_on_names, ttl })
            });
            let (key, sharing) = (Arc::clone(&key), Mutex::new(Sharing::new(shared)));
            let group = Group { key, sharing, weighed: AtomicU32::default() };
            group.weighed.store(group.weight(), Ordering::Relaxed);
            Arc::new(group)
        };
        // Boxed, here and below: otherwise every read would reserve memory for it.
        Box::pin(self.0.get_with(Arc::clone(&key), group)).await
    }

    /// The groups with the most readers, the largest first, and how many there are beside them. `rule` knows the rules by their
    /// fingerprint.
    pub(super) fn largest(
        &self,
        now: Instant,
        most: usize,
        rule: impl Fn(Fingerprint) -> Option<String>,
    ) -> Shown<PlanRow> {
        let groups = self.0.iter().map(|(_, group)| {
            let demand = group.lock().demand();
            (demand, group)
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|(a, group), (b, other)| {
            let of = |group: &Group| (group.key.namespace.clone(), Arc::clone(&group.key.series));
            b.cmp(a).then_with(|| of(group).cmp(&of(other)))
        });
        let row = |(_, group): ((usize, usize), Arc<Group>)| {
            let Key { fingerprint, series, label, namespace, metric_selector, .. } = &*group.key;
            let state = group.lock().state(now);
            PlanRow {
                rule: rule(*fingerprint),
                series: series.to_string(),
                label: label.to_string(),
                namespace: namespace.as_deref().map(str::to_owned),
                selector: metric_selector.to_string(),
                mode: state.mode,
                why: state.why,
                readers: state.readers,
                objects: state.names,
                samples: state.size,
            }
        };
        let more = groups.len().saturating_sub(most);
        Shown { rows: groups.into_iter().take(most).map(row).collect(), more }
    }

    /// Changes the state of a group, and weighs it again where it has grown.
    pub(super) async fn update<R>(
        &self,
        group: &Arc<Group>,
        change: impl FnOnce(&mut Sharing<Query>) -> R,
    ) -> R {
        let changed = change(&mut group.lock());
        let (weight, weighed) = (group.weight(), group.weighed.load(Ordering::Relaxed));
        if weight.abs_diff(weighed) > weighed / 4 + SLACK {
            group.weighed.store(weight, Ordering::Relaxed);
            Box::pin(self.0.insert(Arc::clone(&group.key), Arc::clone(group))).await;
        }
        changed
    }
}

impl Group {
    pub(super) fn lock(&self) -> MutexGuard<'_, Sharing<Query>> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Roughly how many bytes it takes in memory.
    fn weight(&self) -> u32 {
        let value = |value: &String| size_of_val(value) + value.len();
        let requirement = |r: &Requirement| {
            size_of_val(r) + r.key.len() + r.values.iter().map(value).sum::<usize>()
        };
        let requirements = self.key.metric_selector.requirements().iter();
        let selector: usize = requirements.map(requirement).sum();
        u32::try_from(GROUP_BYTES + selector + self.lock().weight()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
