//! What the queries for usage are rendered from.

use std::sync::Arc;

use crate::core::{
    kinds::{GroupResource, Kinds},
    plan::Source,
    rules::{Content, QueryOptions, ResolvedMapping, ResourceRule, is_sorted},
    template::QueryTemplate,
    yaml::Place,
};

/// One query of `resourceRules`. Clones are the same source.
///
/// It is rendered with an empty `.Series`. That for containers matches the namespace and then the pods, and groups by the label
/// of pods and that of containers, in this order, as prometheus-adapter does.
#[derive(Clone, Debug)]
pub struct ResourceSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: String,
    place: Place,
    query: Arc<QueryTemplate>,
    is_sorted: bool,
    series: Arc<str>,
    label: Arc<str>,
    /// Nodes are in no namespace, and have no containers.
    namespace_label: Option<Arc<str>>,
    container_label: Option<String>,
    options: QueryOptions,
    content: Content,
}

impl ResourceSource {
    /// The query of a rule for the containers of pods, or why there is none.
    pub(super) fn containers(rule: &Arc<ResourceRule>, kinds: &Kinds) -> Result<Self, String> {
        let query = rule.container_query.as_ref();
        let query = query.ok_or_else(|| format!("{} has no containerQuery", rule.id))?;
        let mapping = rule.mapping.resolve(kinds);
        let label = label(rule, &mapping, "pods")?;
        let namespace_label = Some(self::label(rule, &mapping, "namespaces")?);
        Ok(Self(Arc::new(Inner {
            rule: rule.id.clone(),
            place: rule.place,
            is_sorted: is_sorted(query),
            query: Arc::clone(query),
            series: Arc::default(),
            label,
            namespace_label,
            container_label: Some(rule.container_label.clone()),
            options: rule.options.clone(),
            content: rule.content,
        })))
    }

    /// The query of a rule for nodes, or why there is none.
    pub(super) fn nodes(rule: &Arc<ResourceRule>, kinds: &Kinds) -> Result<Self, String> {
        let query = rule.node_query.as_ref();
        let query = query.ok_or_else(|| format!("{} has no nodeQuery", rule.id))?;
        let label = label(rule, &rule.mapping.resolve(kinds), "nodes")?;
        Ok(Self(Arc::new(Inner {
            rule: rule.id.clone(),
            place: rule.place,
            is_sorted: is_sorted(query),
            query: Arc::clone(query),
            series: Arc::default(),
            label,
            namespace_label: None,
            container_label: None,
            options: rule.options.clone(),
            content: rule.content,
        })))
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

impl Source for ResourceSource {
    fn rule(&self) -> &str {
        &self.0.rule
    }

    fn content(&self) -> Content {
        self.0.content
    }

    fn place(&self) -> Place {
        self.0.place
    }

    fn query(&self) -> &QueryTemplate {
        &self.0.query
    }

    fn is_sorted(&self) -> bool {
        self.0.is_sorted
    }

    fn series(&self) -> &Arc<str> {
        &self.0.series
    }

    fn label(&self) -> &Arc<str> {
        &self.0.label
    }

    fn namespace_label(&self) -> Option<&Arc<str>> {
        self.0.namespace_label.as_ref()
    }

    fn is_namespaced(&self) -> bool {
        self.0.container_label.is_some()
    }

    fn part_label(&self) -> Option<&str> {
        self.0.container_label.as_deref()
    }

    fn options(&self) -> &QueryOptions {
        &self.0.options
    }
}
