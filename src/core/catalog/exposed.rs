//! What each rule exposes, for people.

use std::collections::BTreeMap;

use super::{Catalog, Metric};
use crate::core::{overview::Shown, rules::RuleId};

impl Catalog {
    /// The first metrics of each rule, as `resource/name`, external ones by name.
    pub fn exposed(&self, most: usize) -> BTreeMap<RuleId, Shown<String>> {
        let mut exposed: BTreeMap<RuleId, Shown<String>> = BTreeMap::new();
        let mut add = |rule: &RuleId, name: &dyn Fn() -> String| {
            let of = exposed.entry(rule.clone()).or_default();
            if of.rows.len() < most { of.rows.push(name()) } else { of.more += 1 }
        };
        for Metric { name, provider, .. } in self.metrics.values().flatten() {
            add(&provider.rule.base.id, &|| format!("{}/{name}", provider.kind.resource));
        }
        for (rule, name) in self.external.with_rules() {
            add(rule, &|| name.to_owned());
        }
        exposed
    }
}
