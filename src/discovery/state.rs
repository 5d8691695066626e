//! What discovery knows of each rule.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use crate::core::{
    catalog::{Api, DiscoveredRule, Found, external},
    kinds::Kinds,
    rules::{Rule, RuleSet},
};

/// A rule, what was found for it, and how the last try went.
pub(super) struct RuleState {
    pub(super) discovered: DiscoveredRule,
    pub(super) attempted: Option<Instant>,
    /// What may be told of the last failure.
    pub(super) error: Option<&'static str>,
}

/// The rules of a file. What is known of rules that say the same is kept; a rule that has kept its name, too, is the same one
/// as before.
pub(super) fn of(rules: &RuleSet, mut before: Vec<RuleState>, kinds: &Kinds) -> Vec<RuleState> {
    let mut state = |rule: &Arc<Rule>, api| {
        let is_same = |state: &RuleState| {
            state.discovered.api == api && state.discovered.rule.content == rule.content
        };
        let mut state = match before.iter().position(is_same) {
            Some(at) => before.swap_remove(at),
            None => RuleState::new(Arc::clone(rule), api),
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
    fn new(rule: Arc<Rule>, api: Api) -> Self {
        let mapping = match api {
            Api::Custom => Arc::default(),
            // Namespaces are all that an external rule has to know, and every cluster has them.
            Api::External => Arc::new(rule.mapping.resolve(&Kinds::builtin())),
        };
        let discovered = DiscoveredRule { rule, api, mapping, found: None };
        Self { discovered, attempted: None, error: None }
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
                    resource = %unknown.resource,
                    "the cluster has no such resource; the label is left out until it has",
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

    pub(super) fn problem(&self) -> Option<String> {
        self.error.map(|error| format!("{}: {error}", self.discovered.rule.id))
    }
}
