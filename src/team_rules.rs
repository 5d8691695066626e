//! Rules of teams: `MetricRule` and `ClusterMetricRule` objects are watched, and reads, lists and explanations find them here.
//!
//! A change of one object compiles that object and replaces the part of its namespace in a snapshot. Nothing is discovered for it.

mod checks;
mod object;
mod status;
mod watch;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
pub use checks::ChecksTask;
use moka::future::Cache;
pub use status::StatusTask;
use tokio::sync::{Notify, watch as channel};
pub use watch::WatchTask;

use crate::{
    core::{
        catalog::{Entry, external::ExternalEntry},
        kinds::GroupResource,
        rules::{Fingerprint, RuleBase, RuleEntry, TeamRuleKind},
        team_rules::{
            Counts, Inventory, Key, Names, Outcome, Provides, RefusedRule, Snapshot, Standing,
            TeamRule,
        },
    },
    metrics::{Metrics, TeamQuota},
};

/// The most rules of the cluster that are kept compiled for a namespace, of all namespaces.
const MOST_COMPILED: u64 = 5_000;

/// How long a rule is not asked whose result had too many samples.
const SUSPENSION: Duration = Duration::from_secs(60);

/// What is known of the rules of teams. Clones share it. The default knows none, and watches nothing.
#[derive(Clone, Default)]
pub struct TeamRules(Option<Arc<Shared>>);

/// A rule and the namespace that reads it.
type InNamespace = (Arc<str>, Arc<str>);

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    names: ArcSwap<Names>,
    inventory: Mutex<Inventory>,
    /// Something is to be compiled or published.
    changed: Notify,
    /// How often a snapshot was published.
    published: channel::Sender<u64>,
    /// What became of queries since the status was looked at, by the name of the rule.
    outcomes: Mutex<BTreeMap<Arc<str>, (TeamRuleKind, Outcome)>>,
    /// Since when rules are not asked in a namespace, because their result had too many samples.
    suspended: Mutex<HashMap<InNamespace, Instant>>,
    /// Rules of the cluster, by revision and namespace; nothing where the rule is not for it.
    compiled: Cache<(u64, Arc<str>), Option<Arc<TeamRule>>>,
    metrics: Arc<Metrics>,
}

/// A read that a quota does not allow. The text is for the team.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{rule}: {why}")]
pub struct OverQuota {
    /// The rule.
    pub rule: Arc<str>,
    /// Which quota, the key that sets it, and what happens.
    pub why: String,
    /// After how long another read may succeed.
    pub retry_after: Duration,
}

/// A rule as people are shown it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TeamRuleRow {
    /// Kind, namespace and name of the object.
    pub name: String,
    /// Its metric.
    pub metric: String,
    /// What it describes.
    pub target: String,
    /// Whether it counts.
    pub standing: Standing,
}

impl TeamRules {
    /// Knows none yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let compiled =
            Cache::builder().name("rules of the cluster").max_capacity(MOST_COMPILED).build();
        Self(Some(Arc::new(Shared {
            snapshot: ArcSwap::default(),
            names: ArcSwap::default(),
            inventory: Mutex::default(),
            changed: Notify::new(),
            published: channel::Sender::new(0),
            outcomes: Mutex::default(),
            suspended: Mutex::default(),
            compiled,
            metrics,
        })))
    }

    /// Whether rules of teams are served at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How often what is known has changed; nothing where it never does.
    pub fn published(&self) -> Option<channel::Receiver<u64>> {
        self.0.as_ref().map(|shared| shared.published.subscribe())
    }

    /// How a metric of a resource is read in a namespace, where a rule of a team provides it.
    pub async fn object(
        &self,
        namespace: &str,
        resource: &GroupResource,
        metric: &str,
    ) -> Option<Entry> {
        match &self.find(namespace, Some(resource), metric).await?.provides {
            Provides::Object(entry) => Some(entry.clone()),
            Provides::External(_) => None,
        }
    }

    /// How an external metric is read in a namespace, where a rule of a team provides it.
    pub async fn external(&self, namespace: &str, metric: &str) -> Option<ExternalEntry> {
        match &self.find(namespace, None, metric).await?.provides {
            Provides::External(entry) => Some(entry.clone()),
            Provides::Object(_) => None,
        }
    }

    /// The rule of the namespace, else the first one of the cluster that is for the namespace.
    async fn find(
        &self,
        namespace: &str,
        resource: Option<&GroupResource>,
        metric: &str,
    ) -> Option<Arc<TeamRule>> {
        let shared = self.0.as_ref()?;
        let snapshot = shared.snapshot.load_full();
        if let Some(rule) = snapshot.of_namespace(namespace, resource, metric) {
            return Some(Arc::clone(rule));
        }
        for rule in snapshot.of_cluster(resource, metric).filter(|rule| rule.is_for(namespace)) {
            let key = (rule.revision, Arc::from(namespace));
            let compiled = async { rule.compile(namespace, &snapshot).ok().map(Arc::new) };
            if let Some(rule) = shared.compiled.get_with(key, Box::pin(compiled)).await {
                return Some(rule);
            }
        }
        None
    }

    /// Whether a rule of the namespace, or of the cluster, may provide a metric of a resource, or without one an external metric.
    pub fn serves(&self, namespace: &str, resource: Option<&GroupResource>, metric: &str) -> bool {
        let Some(shared) = &self.0 else { return false };
        let snapshot = shared.snapshot.load();
        snapshot.of_namespace(namespace, resource, metric).is_some()
            || snapshot.of_cluster(resource, metric).any(|rule| rule.is_for(namespace))
    }

    /// The rule of the namespace that claims a metric and does not count.
    pub fn refused(&self, namespace: &str, metric: &str) -> Option<RefusedRule> {
        let shared = self.0.as_ref()?;
        shared.snapshot.load().refused(namespace, metric).cloned()
    }

    /// Whether a rule that is not known yet may exist.
    pub fn is_incomplete(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| !shared.snapshot.load().is_complete())
    }

    /// The names of all metrics.
    pub fn names(&self) -> Arc<Names> {
        self.0.as_ref().map(|shared| shared.names.load_full()).unwrap_or_default()
    }

    /// The first rules, those that do not count before others, and how many there are.
    pub fn rows(&self, most: usize) -> (Vec<TeamRuleRow>, Counts) {
        let Some(shared) = &self.0 else { return (Vec::new(), Counts::default()) };
        let inventory = shared.inventory();
        let row = |(key, metric, target, standing): (&Key, &str, &str, &Standing)| TeamRuleRow {
            name: key.to_string(),
            metric: metric.to_owned(),
            target: target.to_owned(),
            standing: standing.clone(),
        };
        let is_good = |standing: &Standing| *standing == Standing::Serves;
        let all = || {
            let all = inventory.standings();
            all.map(|(key, spec, standing)| (key, &*spec.metric, &*spec.target, standing))
        };
        let bad = all().filter(|(.., standing)| !is_good(standing));
        let good = all().filter(|(.., standing)| is_good(standing));
        (bad.chain(good).take(most).map(row).collect(), inventory.counts())
    }

    /// What the rules are called, by their content. A rule of the cluster is another one in each namespace that has read it.
    pub fn by_fingerprint(&self) -> HashMap<Fingerprint, String> {
        let Some(shared) = &self.0 else { return HashMap::new() };
        let snapshot = shared.snapshot.load();
        let of_cluster: Vec<_> = shared.compiled.iter().filter_map(|(_, rule)| rule).collect();
        let name = |rule: &Arc<TeamRule>| (rule.base().fingerprint, rule.name.to_string());
        snapshot.served().chain(&of_cluster).map(name).collect()
    }

    /// Whether a rule may be asked now.
    ///
    /// # Errors
    ///
    /// Its last result had more samples than the namespace may have.
    pub fn admit(&self, rule: &RuleBase, namespace: &str) -> Result<(), OverQuota> {
        let Some((shared, name, _)) = self.of(rule) else { return Ok(()) };
        let key = (Arc::clone(name), Arc::from(namespace));
        let mut suspended = lock(&shared.suspended);
        let Some(since) = suspended.get(&key) else { return Ok(()) };
        let left = SUSPENSION.saturating_sub(now().saturating_duration_since(*since));
        if left.is_zero() {
            suspended.remove(&key);
            return Ok(());
        }
        drop(suspended);
        Err(shared.too_many_samples(name, left))
    }

    /// Whether the result of a rule may be used, by the number of its samples.
    ///
    /// # Errors
    ///
    /// The namespace may not have so many. The rule is not asked for a while then.
    pub fn check(&self, rule: &RuleBase, namespace: &str, samples: usize) -> Result<(), OverQuota> {
        let Some((shared, name, _)) = self.of(rule) else { return Ok(()) };
        let most = shared.snapshot.load().policy().quotas.samples.get();
        if u64::try_from(samples).is_ok_and(|samples| samples <= u64::from(most)) {
            return Ok(());
        }
        let now = now();
        let mut suspended = lock(&shared.suspended);
        suspended.retain(|_, since| now.saturating_duration_since(*since) < SUSPENSION);
        suspended.insert((Arc::clone(name), Arc::from(namespace)), now);
        drop(suspended);
        Err(shared.too_many_samples(name, SUSPENSION))
    }

    /// Counts a read that a quota has refused.
    pub fn count_refusal(&self, quota: TeamQuota) {
        if let Some(shared) = &self.0 {
            shared.metrics.team_quota(quota);
        }
    }

    /// Notes what became of a query of a rule, if it is one of a team.
    pub fn note(&self, rule: &RuleBase, outcome: impl FnOnce() -> Option<Outcome>) {
        let Some((shared, name, kind)) = self.of(rule) else { return };
        let Some(outcome) = outcome() else { return };
        shared.metrics.team_read(match &outcome {
            Outcome::Values { .. } => "values",
            Outcome::Nothing { .. } => "nothing",
            Outcome::Failed { .. } => "failed",
        });
        // The status of a rule of the cluster is read by others than those whose namespace this is.
        if kind == TeamRuleKind::MetricRule {
            lock(&shared.outcomes).insert(Arc::clone(name), (kind, outcome));
        }
    }

    fn of<'r>(&'r self, rule: &'r RuleBase) -> Option<(&'r Shared, &'r Arc<str>, TeamRuleKind)> {
        let RuleEntry::Team(kind) = rule.id.entry else { return None };
        Some((self.0.as_deref()?, rule.object.as_ref()?, kind))
    }
}

impl Shared {
    fn inventory(&self) -> MutexGuard<'_, Inventory> {
        lock(&self.inventory)
    }

    /// A rule whose result had too many samples, and that is asked again after `left`.
    fn too_many_samples(&self, name: &Arc<str>, left: Duration) -> OverQuota {
        let most = self.snapshot.load().policy().quotas.samples;
        OverQuota {
            rule: Arc::clone(name),
            retry_after: left,
            why: format!(
                "the query returns more than the {most} samples that a result may have in the namespace (`teamRules.quotas.samples`); it is not sent for {} s after such a result",
                SUSPENSION.as_secs()
            ),
        }
    }

    /// Takes what became of queries into the inventory.
    fn take_outcomes(&self) {
        let outcomes = std::mem::take(&mut *lock(&self.outcomes));
        let mut inventory = self.inventory();
        for (name, (kind, outcome)) in outcomes {
            if let Some(key) = Key::of(kind, &name) {
                inventory.note(&key, outcome, now());
            }
        }
    }
}

/// The time by tokio's clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
