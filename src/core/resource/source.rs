//! What the queries for usage are rendered from.

use std::sync::Arc;

use crate::core::{
    kinds::{GroupResource, Kinds},
    plan::Source,
    rules::{ResolvedMapping, ResourceRule, is_sorted},
    template::QueryTemplate,
};

/// One query of `resourceRules`.
///
/// It is rendered with an empty `.Series`. That for containers matches the namespace and then the pods, and groups by the label
/// of pods and that of containers, in this order, as prometheus-adapter does.
#[derive(Clone, Debug)]
pub struct ResourceSource {
    rule: Arc<ResourceRule>,
    query: Arc<QueryTemplate>,
    is_sorted: bool,
    series: Arc<str>,
    label: Arc<str>,
    /// Nodes are in no namespace, and have no containers.
    namespace_label: Option<Arc<str>>,
}

impl ResourceSource {
    /// The query of a rule for the containers of pods, or why there is none.
    pub(super) fn containers(rule: &Arc<ResourceRule>, kinds: &Kinds) -> Result<Self, String> {
        let query = rule.container_query.as_ref();
        let query = query.ok_or_else(|| format!("{} has no containerQuery", rule.id))?;
        let mapping = rule.mapping.resolve(kinds);
        let namespace_label = Some(label(rule, &mapping, "namespaces")?);
        Ok(Self { namespace_label, ..Self::new(rule, query, label(rule, &mapping, "pods")?) })
    }

    /// The query of a rule for nodes, or why there is none.
    pub(super) fn nodes(rule: &Arc<ResourceRule>, kinds: &Kinds) -> Result<Self, String> {
        let query = rule.node_query.as_ref();
        let query = query.ok_or_else(|| format!("{} has no nodeQuery", rule.id))?;
        Ok(Self::new(rule, query, label(rule, &rule.mapping.resolve(kinds), "nodes")?))
    }

    fn new(rule: &Arc<ResourceRule>, query: &Arc<QueryTemplate>, label: Arc<str>) -> Self {
        Self {
            rule: Arc::clone(rule),
            query: Arc::clone(query),
            is_sorted: is_sorted(query),
            series: Arc::default(),
            label,
            namespace_label: None,
        }
    }

    /// What its query is rendered from.
    pub fn source(&self) -> Source<'_> {
        let Self { rule, namespace_label, .. } = self;
        Source {
            rule: &rule.id,
            content: rule.content,
            place: rule.place,
            query: &self.query,
            is_sorted: self.is_sorted,
            series: &self.series,
            label: &self.label,
            namespace_label: namespace_label.as_ref(),
            is_namespaced: namespace_label.is_some(),
            part_label: namespace_label.as_ref().map(|_| rule.container_label.as_str()),
            options: &rule.options,
        }
    }
}

fn label(
    rule: &ResourceRule,
    mapping: &ResolvedMapping,
    resource: &str,
) -> Result<Arc<str>, String> {
    let resource = GroupResource { group: String::new(), resource: resource.to_owned() };
    mapping
        .label(&resource)
        .map(Arc::from)
        .ok_or_else(|| format!("{} maps no label to {resource}", rule.id))
}
