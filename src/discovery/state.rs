//! What discovery knows of each rule.

use std::{sync::Arc, time::Instant};

use crate::core::{
    catalog::{Api, DiscoveredRule},
    kinds::Kinds,
    rules::RuleSet,
};

/// A rule, what was found for it, and how the last try went.
pub(super) struct RuleState {
    pub(super) discovered: DiscoveredRule,
    pub(super) attempted: Option<Instant>,
    /// What may be told of the last failure.
    pub(super) error: Option<&'static str>,
}

/// Rules that nothing is known about yet.
pub(super) fn of(rules: &RuleSet) -> Vec<RuleState> {
    let state = |rule, api, mapping| RuleState {
        discovered: DiscoveredRule { rule, api, mapping, found: None },
        attempted: None,
        error: None,
    };
    let custom =
        rules.custom.iter().map(|rule| state(Arc::clone(rule), Api::Custom, Arc::default()));
    // Namespaces are all that an external rule has to know, and every cluster has them.
    let kinds = Kinds::builtin();
    let external = rules
        .external
        .iter()
        .map(|rule| state(Arc::clone(rule), Api::External, Arc::new(rule.mapping.resolve(&kinds))));
    custom.chain(external).collect()
}

impl RuleState {
    /// Whether the rule says nothing before the cluster's kinds are known.
    pub(super) fn needs_kinds(&self) -> bool {
        self.discovered.api == Api::Custom
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.error.map(|error| format!("{}: {error}", self.discovered.rule.id))
    }
}
