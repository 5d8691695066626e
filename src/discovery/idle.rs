//! Rules without metrics although nothing has failed, and the reason as far as it is known.
//!
//! Most reasons follow from the discovered series. A rule without series is examined from time to time: there may be series
//! without the required labels, or its query may return a result anyway.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

use super::{
    CONCURRENCY, Discovery, RETRY,
    ask::{self, Group},
    state::RuleState,
};
use crate::{
    core::{
        catalog::{
            self, Catalog, Claim, Contest, DiscoveredRule, Entry,
            external::{ExternalEntry, NAME},
        },
        duration,
        excerpt::{self, excerpt},
        external,
        kinds::Kind,
        names, plan,
        rules::{CustomRule, MetricRule, ResolvedMapping, RuleBase, RuleId},
    },
    prometheus::{Answer, BackendHandle},
};

/// The minimum time between two examinations of a rule.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// The most labels that a cause lists.
const MOST_LABELS: usize = 5;

/// Why a rule has no metrics.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Cause {
    /// None of its resources is known.
    NoResource,
    /// Its series carry no label that names objects. They may carry some that Prometheus has renamed.
    NoLabel { series: String, labels: Vec<String>, renamed: Vec<String> },
    /// It names none of its series.
    NoName { series: String },
    /// Other rules serve all of its metrics.
    Taken { metric: String, by: RuleId },
    /// No series was found, but the query has an answer.
    Unseen { window: Duration },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResource => f.write_str("none of its resources is known"),
            Self::NoLabel { series, labels, renamed } => {
                write!(
                    f,
                    "its series, such as `{}`, carry none of the labels",
                    excerpt(series, excerpt::NAME)
                )?;
                if labels.len() > MOST_LABELS {
                    f.write_str(" that its `resources` name")?;
                } else {
                    write!(f, " {}", quoted(labels))?;
                }
                if renamed.is_empty() {
                    return Ok(());
                }
                let renamed = quoted(renamed);
                write!(
                    f,
                    ", but {renamed}: the scrape has renamed labels of the exporter; set `honorLabels: true` there, or map {renamed}"
                )
            }
            Self::NoName { series } => write!(
                f,
                "its `seriesFilters` and `name` leave out all of its series, such as `{}`",
                excerpt(series, excerpt::NAME)
            ),
            Self::Taken { metric, by } => {
                write!(
                    f,
                    "{by} serves all of its metrics, such as `{}`",
                    excerpt(metric, excerpt::NAME)
                )
            }
            Self::Unseen { window } => write!(
                f,
                "no series of `seriesQuery` was found within {}, but `metricsQuery` has an answer",
                duration::prometheus(*window)
            ),
        }
    }
}

fn quoted(labels: &[String]) -> String {
    labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
}

/// The state of a rule without metrics.
#[derive(Debug, Default)]
pub(super) struct Idle {
    cause: Option<Cause>,
    /// The kind of the last warning: it is not repeated.
    logged: Option<std::mem::Discriminant<Cause>>,
    /// When it was last examined.
    examined: Option<Instant>,
    /// Whether the log says that others serve some of its metrics.
    is_overtaken: bool,
}

impl Idle {
    /// The reason, as a public sentence.
    pub(super) fn cause(&self) -> Option<String> {
        self.cause.as_ref().map(ToString::to_string)
    }

    /// One of the rule's series, where the reason is about them.
    pub(super) fn series(&self) -> Option<&str> {
        match self.cause.as_ref()? {
            Cause::NoLabel { series, .. } | Cause::NoName { series } => Some(series),
            Cause::NoResource | Cause::Taken { .. } | Cause::Unseen { .. } => None,
        }
    }

    fn set(&mut self, rule: &RuleBase, cause: Option<Cause>) {
        if let Some(cause) = &cause {
            let kind = std::mem::discriminant(cause);
            if self.logged.replace(kind) != Some(kind) {
                tracing::warn!(rule = %rule.id, at = %rule.place, %cause, "the rule serves no metric");
            }
        }
        self.cause = cause;
    }
}

impl Discovery {
    /// Notes the rules without metrics, as far as the discovered series show it.
    pub(super) fn find_idle(
        &mut self,
        catalog: &Catalog,
        contests: &[Contest],
        alive: &BTreeSet<Claim>,
    ) {
        let giving = catalog.rules();
        let claims = contests.iter().flat_map(|contest| &contest.claims);
        let contesting: HashSet<_> = claims.map(|claim| claim.rule).collect();
        let taken = taken(contests, alive);
        let id = |rule: usize| self.rules.get(rule).map(|state| state.rule().id.clone());
        let by: HashMap<_, _> = taken
            .into_iter()
            .filter_map(|(rule, (metric, winner))| Some((rule, (metric, winner, id(winner.rule)?))))
            .collect();
        for (index, state) in self.rules.iter_mut().enumerate() {
            let DiscoveredRule { rule, found: Some(found), .. } = &state.discovered else {
                continue;
            };
            let rule = rule.base();
            let gives = giving.contains(&rule.id);
            let taken = by.get(&index);
            let first = found.by_label.values().flatten().next();
            let cause = match (first.or(found.unnamed.as_ref()), taken) {
                _ if gives => None,
                (Some(_), Some((metric, _, by))) => {
                    Some(Cause::Taken { metric: (*metric).to_owned(), by: by.clone() })
                }
                (Some(_), None) if contesting.contains(&index) => None,
                (Some(series), None) => Some(unclaimed(state, series)),
                (None, _)
                    if state.needs_kinds()
                        && state.discovered.mapping.labels().next().is_none() =>
                {
                    // A rule without `resources` is reported when the file is loaded.
                    (!state.discovered.mapping.unknown().is_empty()).then_some(Cause::NoResource)
                }
                // That it was found out stays so until it is looked at again.
                (None, _) => {
                    state.idle.cause.take().filter(|cause| {
                        matches!(cause, Cause::NoLabel { .. } | Cause::Unseen { .. })
                    })
                }
            };
            if let (true, Some((metric, winner, by)), false) =
                (gives, taken, state.idle.is_overtaken)
            {
                state.idle.is_overtaken = true;
                tracing::info!(rule = %rule.id, %metric, %by, series = %winner.series, "series of one metric: the last one is read");
            }
            state.idle.set(rule, cause);
        }
    }

    /// The rules for which no series was found, each at most once in [`PAUSE`].
    pub(super) fn idle_to_examine(&mut self) -> Vec<(usize, Examination)> {
        let now = Instant::now();
        let states = self.rules.iter_mut().enumerate();
        states
            .filter(|(_, state)| state.is_to_be_examined(now))
            .filter_map(|(index, state)| {
                state.idle.examined = Some(now);
                let backend = self.backends.discovery_handle(&state.rule().options).ok()?;
                Some((index, Examination::new(state, backend)))
            })
            .collect()
    }

    /// Looks at rules for which no series was found, for no longer than [`RETRY`].
    pub(super) async fn examine(&mut self, idle: Vec<(usize, Examination)>) {
        let deadline = Instant::now() + RETRY;
        let looks = stream::iter(idle).map(async |(index, examination)| {
            let look = tokio::time::timeout_at(deadline.into(), examination.look());
            (index, (Instant::now() < deadline).then_some(look.await.ok().flatten()))
        });
        let looks: Vec<_> = looks.buffer_unordered(CONCURRENCY).collect().await;
        for (index, look) in looks {
            let Some(state) = self.rules.get_mut(index) else { continue };
            match look {
                Some(Some(cause)) => {
                    state.idle.set(state.discovered.rule.base(), cause);
                }
                // It failed, as discovery itself may the next time.
                Some(None) => {}
                // It was not its turn.
                None => state.idle.examined = None,
            }
        }
        self.tell_remarks();
    }

    /// Publishes which rules have no metrics, and which have too many.
    pub(super) fn tell_remarks(&self) {
        let remarks = self.rules.iter().flat_map(RuleState::remarks).collect();
        self.remarks.store(Arc::new(remarks));
    }
}

/// By rule: a metric that a live series of the rule claims, and the claim of another rule that won.
fn taken<'c>(
    contests: &'c [Contest],
    alive: &BTreeSet<Claim>,
) -> HashMap<usize, (&'c str, &'c Claim)> {
    let mut taken = HashMap::new();
    for contest in contests {
        let Some(winner) = catalog::winner(&contest.claims, alive) else { continue };
        for claim in contest.claims.iter().filter(|claim| *claim != winner && alive.contains(claim))
        {
            taken.entry(claim.rule).or_insert((&*contest.metric, winner));
        }
    }
    taken
}

/// Why discovered series, such as this one, are no metrics. Series that have ended may be replaced by others.
fn unclaimed(state: &RuleState, series: &str) -> Cause {
    let series = series.to_owned();
    match &state.discovered.found {
        Some(found) if found.unnamed.is_some() => Cause::NoName { series },
        _ => Cause::NoLabel { series, labels: labels(state), renamed: Vec::new() },
    }
}

/// The labels by which objects are found.
fn labels(state: &RuleState) -> Vec<String> {
    let mapping = &state.discovered.mapping;
    mapping
        .labels()
        .filter(|(label, kind)| mapping.label(&kind.resource) == Some(label))
        .map(|(label, _)| label.to_owned())
        .collect()
}

impl RuleState {
    /// Whether a discovery has found nothing, and nobody has looked for the cause of late.
    fn is_to_be_examined(&self, now: Instant) -> bool {
        let DiscoveredRule { found, mapping, .. } = &self.discovered;
        let has_labels = !self.needs_kinds() || mapping.labels().next().is_some();
        let is_due = |last| now.saturating_duration_since(last) >= PAUSE;
        self.is_asked_for()
            && self.error.is_none()
            && has_labels
            && found.as_ref().is_some_and(|found| found.names == 0)
            && self.idle.examined.is_none_or(is_due)
    }
}

/// The queries about a rule without series.
pub(super) struct Examination {
    /// The series, whatever labels they have; nothing where discovery has asked so itself.
    series: Option<Group>,
    labels: Vec<String>,
    window: Duration,
    backend: BackendHandle,
    /// The query for everything, and the label that samples have to have.
    query: Option<(String, Option<Arc<str>>)>,
}

impl Examination {
    fn new(state: &RuleState, backend: BackendHandle) -> Self {
        let labels = labels(state);
        let series = state.needs_kinds().then(|| {
            let mut group =
                Group::new(backend.clone(), state.rule().selector.clone(), state.window);
            group.labels = labels.iter().map(|label| names::exported(label)).collect();
            group.labels.insert(NAME.to_owned());
            group.labels_may_be_absent = true;
            group
        });
        let query = query(&state.discovered);
        Self { series, labels, window: state.window, backend, query }
    }

    /// The cause, if there is one; nothing where a request failed.
    async fn look(self) -> Option<Option<Cause>> {
        if let Some(group) = &self.series {
            let ignores = self.backend.ignores_selectors(ask::range(self.window)).await.ok()?;
            let found = ask::names(group, ignores).await.ok()?;
            let by_label = &found.data.by_label;
            if let Some(series) = by_label.get(NAME).and_then(BTreeSet::first) {
                let carried = self.labels.iter().map(|label| names::exported(label));
                let carried = carried.filter(|label| {
                    by_label.get(label).is_some_and(|carrying| carrying.contains(series))
                });
                return Some(Some(Cause::NoLabel {
                    series: series.to_string(),
                    renamed: carried.take(MOST_LABELS).collect(),
                    labels: self.labels,
                }));
            }
        }
        let Some((query, label)) = self.query else { return Some(None) };
        let Answer::Vector(vector) = self.backend.query(&query).await.ok()? else {
            return Some(None);
        };
        let has_answer = vector.samples.iter().any(|sample| {
            let value =
                |label: &Arc<str>| sample.label(label).is_some_and(|value| !value.is_empty());
            label.as_ref().is_none_or(value)
        });
        Some(has_answer.then_some(Cause::Unseen { window: self.window }))
    }
}

/// The query for all objects, where it is known without its series: `seriesQuery` has a name, or the query does not need one.
fn query(discovered: &DiscoveredRule) -> Option<(String, Option<Arc<str>>)> {
    let of = |series: &str| match &discovered.rule {
        MetricRule::Custom(rule) => of_objects(rule, &discovered.mapping, series),
        MetricRule::External(rule) => {
            let namespace_label = discovered.mapping.namespace_label().map(Arc::from);
            let rule = Arc::clone(rule);
            let entry = ExternalEntry { rule, series: series.into(), namespace_label };
            Some((external::query_everywhere(&entry).ok()?, None))
        }
    };
    match discovered.rule.base().selector.name() {
        Some(series) => of(series),
        None => of("one").filter(|one| of("other").as_ref() == Some(one)),
    }
}

fn of_objects(
    rule: &Arc<CustomRule>,
    mapping: &ResolvedMapping,
    series: &str,
) -> Option<(String, Option<Arc<str>>)> {
    let is_namespaces = |kind: &Kind| mapping.namespace_label() == mapping.label(&kind.resource);
    // Most rules map the label of namespaces for the matcher alone.
    let (label, kind) = mapping
        .labels()
        .find(|(_, kind)| !is_namespaces(kind))
        .or_else(|| mapping.labels().next())?;
    let entry = Entry {
        rule: Arc::clone(rule),
        series: series.into(),
        kind: Arc::clone(kind),
        label: label.into(),
        namespace_label: mapping.namespace_label().map(Arc::from),
    };
    let plan = plan::everything(entry.source()).ok()?;
    Some((plan.query.to_string(), Some(plan.key.name)))
}
