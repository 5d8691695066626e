//! `resourceRules` as they are served.

use std::sync::Arc;

use super::ResourceSources;
use crate::core::{
    kinds::{Kind, Kinds},
    rules::{Content, ResourceRules},
};

/// The compiled rules, and the kinds that they are about.
pub struct UsageRules {
    /// What the rules say, to know them again.
    content: [Option<Content>; 2],
    /// How usage is queried.
    pub sources: ResourceSources,
    /// Pods.
    pub pods: Arc<Kind>,
    /// Nodes.
    pub nodes: Arc<Kind>,
}

impl UsageRules {
    /// From compiled rules; nothing where the cluster has no pods or nodes, which none is without.
    pub fn new(rules: &ResourceRules) -> Option<Self> {
        let kinds = Kinds::builtin();
        let kind = |resource| kinds.resolve("", resource).map(Arc::clone);
        let sources = ResourceSources::new(rules);
        Some(Self { content: content(rules), sources, pods: kind("pods")?, nodes: kind("nodes")? })
    }

    /// Whether rules say the same as those that this was made from.
    pub fn is_of(&self, rules: &ResourceRules) -> bool {
        self.content == content(rules) && self.sources.window == rules.window
    }

    /// Why pods or nodes cannot be read, if so.
    pub fn problems(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ResourceSources { pods, nodes, .. } = &self.sources;
        [("pods", pods), ("nodes", nodes)]
            .into_iter()
            .filter_map(|(what, pair)| Some((what, pair.as_ref().err()?.as_str())))
    }
}

fn content(rules: &ResourceRules) -> [Option<Content>; 2] {
    [&rules.cpu, &rules.memory].map(|rule| rule.as_ref().map(|rule| rule.content))
}
