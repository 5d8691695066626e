//! What discovery knows of each rule.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Problem, Settings,
    confirm::{Confirmed, Doubt, Series},
    idle::Idle,
};
use crate::{
    core::{
        catalog::{DiscoveredRule, Found, LONGEST, MOST_IN_ALL, MOST_OF_RULE, external},
        kinds::Kinds,
        rules::{MetricRule, RuleBase, RuleSet},
    },
    prometheus::{Audience, Error, PublicError},
};

/// A rule, what was found for it, and how the last try went.
pub(super) struct RuleState {
    pub(super) discovered: DiscoveredRule,
    /// How far back its series are looked for.
    pub(super) window: Duration,
    pub(super) attempted: Option<Instant>,
    /// The public cause of the last failure.
    pub(super) error: Option<PublicError>,
    /// What the operator is told of it, where he is who reads that.
    said: Option<String>,
    /// Of its contested series, those that were live when that was last known.
    pub(super) alive: BTreeSet<Series>,
    /// The public cause why that is not known now.
    doubt: Option<PublicError>,
    /// Why it has no metrics.
    pub(super) idle: Idle,
    /// How many of its metrics are not in the catalog, because there are too many.
    pub(super) left_out: usize,
}

/// What is wrong with a rule of which so many metrics are left out.
fn too_many(left_out: usize) -> String {
    format!(
        "has more metrics than are served ({MOST_OF_RULE} of a rule, {MOST_IN_ALL} in all, names of {LONGEST} bytes): \
         {left_out} of them, the last ones by name, are left out; narrow its `seriesQuery`"
    )
}

/// The rules of a file. What is known of rules that say the same is kept; a rule that has kept its name, too, is the same one
/// as before.
pub(super) fn of(
    rules: &RuleSet,
    before: Vec<RuleState>,
    kinds: &Kinds,
    settings: &Settings,
) -> Vec<RuleState> {
    let mut known: HashMap<_, VecDeque<RuleState>> = HashMap::new();
    for state in before {
        known.entry(state.rule().fingerprint).or_default().push_back(state);
    }
    let state = |rule: MetricRule| {
        let known = known.get_mut(&rule.base().fingerprint).and_then(VecDeque::pop_front);
        let mut state = match known {
            Some(mut state) => {
                state.discovered.rule = rule;
                state
            }
            None => RuleState::new(rule, settings),
        };
        state.tie(kinds);
        state
    };
    rules.of_metrics().map(state).collect()
}

impl RuleState {
    fn new(rule: MetricRule, settings: &Settings) -> Self {
        // What a query can read has to be found.
        let oldest = rule.base().oldest_sample(settings.lookback).unwrap_or_default();
        let window = oldest.max(settings.lookback).max(settings.max_age);
        let mapping = match &rule {
            MetricRule::Custom(_) => Arc::default(),
            // Namespaces are all that an external rule has to know, and every cluster has them.
            MetricRule::External(rule) => Arc::new(rule.base.mapping.resolve(&Kinds::builtin())),
        };
        let discovered = DiscoveredRule { rule, mapping, found: None };
        Self {
            discovered,
            window,
            attempted: None,
            error: None,
            said: None,
            alive: BTreeSet::new(),
            doubt: None,
            idle: Idle::default(),
            left_out: 0,
        }
    }

    /// The rule.
    pub(super) fn rule(&self) -> &RuleBase {
        self.discovered.rule.base()
    }

    /// Ties the rule to the kinds that the cluster has. Says which resources it has not.
    pub(super) fn tie(&mut self, kinds: &Kinds) {
        let DiscoveredRule { rule, mapping, found } = &mut self.discovered;
        let (base, is_custom) = (rule.base(), rule.is_custom());
        if is_custom && !kinds.is_empty() {
            let resolved = base.mapping.resolve(kinds);
            for unknown in resolved.unknown() {
                tracing::warn!(
                    rule = %base.id,
                    at = %unknown.place,
                    label = %unknown.label,
                    "{}; the label is left out until then",
                    kinds.lacks(&unknown.resource),
                );
            }
            // It is tied again whenever the kinds change.
            for it in resolved.ambiguous().iter().filter(|it| !mapping.ambiguous().contains(it)) {
                tracing::warn!(
                    rule = %base.id,
                    at = %it.place,
                    label = %it.label,
                    "{}",
                    it.says(),
                );
            }
            *mapping = Arc::new(resolved);
        }
        // A static rule says itself what there is.
        if let Some(metric) = &base.static_metric
            && (!is_custom || !kinds.is_empty())
        {
            let mut said = Found::default();
            if is_custom {
                mapping.labels().for_each(|(label, _)| said.insert(label, &metric.series));
            } else {
                said.insert(external::NAME, &metric.series);
            }
            *found = Some(Arc::new(said));
        }
    }

    /// Replaces the known series by those found. A partial answer is added instead: a series that it lacks may still exist.
    pub(super) fn learn(&mut self, answer: Found, is_partial: bool) {
        let known = self.discovered.found.as_ref();
        let found = match known.filter(|_| is_partial) {
            Some(known) => answer.and(known).of(&self.discovered, MOST_OF_RULE),
            None => answer,
        };
        // What has not changed stays where it is: the catalog has its names.
        if known.is_none_or(|known| **known != found) {
            self.discovered.found = Some(Arc::new(found));
        }
    }

    /// Notes how many metrics of the rule the catalog has not, because there are too many.
    pub(super) fn limit(&mut self, left_out: usize) {
        let rule = self.rule();
        match (self.left_out, left_out) {
            (0, 1..) => tracing::warn!(
                rule = %rule.id,
                at = %rule.place,
                "the rule {}",
                too_many(left_out),
            ),
            (1.., 0) => tracing::info!(rule = %rule.id, "all metrics of the rule are served again"),
            _ => {}
        }
        self.left_out = left_out;
    }

    /// Whether the backend has to be asked what there is.
    pub(super) fn is_asked_for(&self) -> bool {
        self.rule().static_metric.is_none()
    }

    /// Whether the rule says nothing before the cluster's kinds are known.
    pub(super) fn needs_kinds(&self) -> bool {
        self.discovered.rule.is_custom()
    }

    /// Whether a discovery has succeeded or failed.
    pub(super) fn is_judged(&self) -> bool {
        self.error.is_some() || self.discovered.found.is_some()
    }

    /// How many names of series are known; nothing before a discovery has succeeded.
    pub(super) fn series_names(&self) -> Option<usize> {
        Some(self.discovered.found.as_ref()?.names)
    }

    /// Notes which contested series are live, and returns the doubt if it is a new one. Series that could not be confirmed keep
    /// their state: the query of a metric does not change because a backend is away.
    pub(super) fn confirm(&mut self, confirmed: Confirmed) -> Option<Doubt> {
        let Confirmed { mut alive, unconfirmed, doubt } = confirmed;
        alive.extend(self.alive.intersection(&unconfirmed).cloned());
        self.alive = alive;
        let public = doubt.as_ref().map(Doubt::public);
        let rule = &self.rule().id;
        if public.is_none() && self.doubt.is_some() {
            tracing::info!(%rule, "live series can be distinguished from ended ones again");
        }
        let is_new = public != self.doubt;
        self.doubt = public;
        doubt.filter(|_| is_new)
    }

    /// Notes a failure, and says whether it is another one than the last time.
    pub(super) fn failed(&mut self, error: &Error, audience: Audience) -> bool {
        self.said = match audience {
            Audience::Clients => None,
            Audience::Operator => Some(error.told(audience)),
        };
        let public = error.public();
        self.error.replace(public) != Some(public)
    }

    /// Notes that nobody can be asked. What is wrong with a backend is reported with the backend.
    pub(super) fn not_asked(&mut self) {
        (self.error, self.said) = (Some(PublicError::NoBackend), None);
    }

    /// Whether all that there was to learn was learned the last time.
    pub(super) fn is_well(&self) -> bool {
        self.error.is_none() && self.doubt.is_none()
    }

    /// Why there is no metric though nothing has failed, and that there are too many.
    pub(super) fn remarks(&self) -> impl Iterator<Item = Problem> {
        let left_out = (self.left_out > 0).then(|| too_many(self.left_out));
        let rule = self.rule();
        let problem = |remark| Problem::new(Some(rule.id.clone()), remark);
        let idle = self.idle.cause().map(|remark| {
            let metric = self.metric(self.idle.series());
            Problem { metric, ..problem(remark) }
        });
        idle.into_iter().chain(left_out.map(problem))
    }

    /// The metric of a series, else that of the rule, where it is one.
    fn metric(&self, series: Option<&str>) -> Option<String> {
        let rule = self.rule();
        rule.namer.metric_name(series.or(rule.selector.name())?)
    }

    /// What failed the last time.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        let rule = || Some(self.rule().id.clone());
        let error = self.error.map(|error| {
            let cause = self.said.clone().unwrap_or_else(|| error.to_string());
            let metric = self.metric(None);
            Problem { metric, is_refusal: error.is_refusal(), ..Problem::new(rule(), cause) }
        });
        // Each cause is reported once.
        let doubt = self.doubt.filter(|doubt| self.error != Some(*doubt));
        let doubt =
            doubt.map(|doubt| format!("cannot distinguish live series from ended ones: {doubt}"));
        let doubt = doubt.map(|cause| Problem::new(rule(), cause));
        error.into_iter().chain(doubt)
    }
}
