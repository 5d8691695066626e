//! What discovery knows of each rule.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Settings,
    confirm::{Confirmed, Doubt, Series},
    idle::Idle,
};
use crate::{
    core::{
        catalog::{Api, DiscoveredRule, Found, external},
        kinds::Kinds,
        rules::{Rule, RuleSet},
    },
    prometheus::{Metadata, PublicError},
};

/// A rule, what was found for it, and how the last try went.
pub(super) struct RuleState {
    pub(super) discovered: DiscoveredRule,
    /// How far back its series are looked for.
    pub(super) window: Duration,
    pub(super) attempted: Option<Instant>,
    /// What may be told of the last failure.
    pub(super) error: Option<PublicError>,
    /// Of its contested series, those that were alive when that could last be told.
    pub(super) alive: BTreeSet<Series>,
    /// What may be told of why it cannot be told now.
    doubt: Option<PublicError>,
    /// Why it gives no metric.
    pub(super) idle: Idle,
}

/// The rules of a file. What is known of rules that say the same is kept; a rule that has kept its name, too, is the same one
/// as before.
pub(super) fn of(
    rules: &RuleSet,
    mut before: Vec<RuleState>,
    kinds: &Kinds,
    settings: &Settings,
) -> Vec<RuleState> {
    let mut state = |rule: &Arc<Rule>, api| {
        let is_same = |state: &RuleState| {
            state.discovered.api == api && state.discovered.rule.content == rule.content
        };
        let mut state = match before.iter().position(is_same) {
            Some(at) => before.swap_remove(at),
            None => RuleState::new(Arc::clone(rule), api, settings),
        };
        let known = &state.discovered.rule;
        if known.id != rule.id || known.place != rule.place {
            state.discovered.rule = Arc::clone(rule);
        }
        state.tie(kinds);
        state
    };
    let custom: Vec<_> = rules.custom.iter().map(|rule| state(rule, Api::Custom)).collect();
    let external = rules.external.iter().map(|rule| state(rule, Api::External));
    custom.into_iter().chain(external).collect()
}

impl RuleState {
    fn new(rule: Arc<Rule>, api: Api, settings: &Settings) -> Self {
        // What a query can read has to be found.
        let oldest = rule.oldest_sample(settings.lookback).unwrap_or_default();
        let window = oldest.max(settings.lookback).max(settings.max_age);
        let mapping = match api {
            Api::Custom => Arc::default(),
            // Namespaces are all that an external rule has to know, and every cluster has them.
            Api::External => Arc::new(rule.mapping.resolve(&Kinds::builtin())),
        };
        let discovered = DiscoveredRule { rule, api, mapping, found: None };
        Self {
            discovered,
            window,
            attempted: None,
            error: None,
            alive: BTreeSet::new(),
            doubt: None,
            idle: Idle::default(),
        }
    }

    /// Ties the rule to the kinds that the cluster has. Says which resources it has not.
    pub(super) fn tie(&mut self, kinds: &Kinds) {
        let DiscoveredRule { rule, api, mapping, found } = &mut self.discovered;
        if *api == Api::Custom && !kinds.is_empty() {
            let resolved = rule.mapping.resolve(kinds);
            for unknown in resolved.unknown() {
                tracing::warn!(
                    rule = %rule.id,
                    at = %unknown.place,
                    label = %unknown.label,
                    "{}; the label is left out until then",
                    kinds.lacks(&unknown.resource),
                );
            }
            *mapping = Arc::new(resolved);
        }
        // A static rule says itself what there is.
        if let Some(metric) = &rule.static_metric
            && (*api == Api::External || !kinds.is_empty())
        {
            let mut said = Found::default();
            match api {
                Api::Custom => {
                    for (label, _) in mapping.labels() {
                        said.insert(label, &metric.series);
                    }
                }
                Api::External => said.insert(external::NAME, &metric.series),
            }
            *found = Some(Arc::new(said));
        }
    }

    /// Takes what was found in place of what was known. What a partial answer tells is added: that it leaves out what was
    /// known says nothing.
    pub(super) fn learn(&mut self, told: &Metadata<Found>) {
        let mut found = told.data.clone();
        if told.is_partial
            && let Some(known) = &self.discovered.found
        {
            for (label, names) in &known.by_label {
                found.by_label.entry(label.clone()).or_default().extend(names.iter().cloned());
            }
        }
        self.discovered.found = Some(Arc::new(found));
    }

    /// Whether the backend has to be asked what there is.
    pub(super) fn is_asked_for(&self) -> bool {
        self.discovered.rule.static_metric.is_none()
    }

    /// Whether the rule says nothing before the cluster's kinds are known.
    pub(super) fn needs_kinds(&self) -> bool {
        self.discovered.api == Api::Custom
    }

    /// Whether a discovery has succeeded or failed.
    pub(super) fn is_judged(&self) -> bool {
        self.error.is_some() || self.discovered.found.is_some()
    }

    /// How many names of series are known; nothing before a discovery has succeeded.
    pub(super) fn series_names(&self) -> Option<usize> {
        let found = self.discovered.found.as_ref()?;
        Some(found.by_label.values().flatten().collect::<BTreeSet<_>>().len())
    }

    /// Takes what was learned of its contested series, and gives the doubt back if it is another one than before. Where
    /// nothing was learned it is as it was: which query serves a metric does not change because a backend is away.
    pub(super) fn confirm(&mut self, confirmed: Confirmed) -> Option<Doubt> {
        let Confirmed { mut alive, untold, doubt } = confirmed;
        alive.extend(self.alive.intersection(&untold).cloned());
        self.alive = alive;
        let public = doubt.as_ref().map(Doubt::public);
        let rule = &self.discovered.rule.id;
        if public.is_none() && self.doubt.is_some() {
            tracing::info!(%rule, "live series can be told from dead ones again");
        }
        let is_new = public != self.doubt;
        self.doubt = public;
        doubt.filter(|_| is_new)
    }

    /// Whether all that there was to learn was learned the last time.
    pub(super) fn is_well(&self) -> bool {
        self.error.is_none() && self.doubt.is_none()
    }

    /// Why there is no metric though nothing has failed, in a sentence that may be told to anybody.
    pub(super) fn idle(&self) -> Option<String> {
        let cause = self.idle.cause()?;
        Some(format!("{}: {cause}", self.discovered.rule.id))
    }

    /// What failed the last time, in sentences that may be told to anybody.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let rule = &self.discovered.rule.id;
        let error = self.error.map(|error| format!("{rule}: {error}"));
        // One cause is told once.
        let doubt = self.doubt.filter(|doubt| self.error != Some(*doubt));
        let doubt =
            doubt.map(|doubt| format!("{rule}: cannot tell live series from dead ones: {doubt}"));
        error.into_iter().chain(doubt)
    }
}
