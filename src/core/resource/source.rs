//! What the queries for usage are rendered from.

use std::sync::Arc;

use crate::core::{
    kinds::{GroupResource, Kind, Kinds},
    plan::Source,
    rules::{ResourceRule, is_sorted},
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
    /// The query of a rule for the containers of pods or for nodes, or why there is none.
    pub(super) fn new(
        rule: &Arc<ResourceRule>,
        kind: &Kind,
        kinds: &Kinds,
    ) -> Result<Self, String> {
        let id = &rule.id;
        let (key, query) = if kind.namespaced {
            ("containerQuery", &rule.container_query)
        } else {
            ("nodeQuery", &rule.node_query)
        };
        let query = query.as_ref().ok_or_else(|| format!("{id} has no {key}"))?;
        let mapping = rule.mapping.resolve(kinds);
        let label = |resource: &GroupResource| {
            let label = mapping.label(resource).map(Arc::from);
            label.ok_or_else(|| format!("{id} maps no label to {resource}"))
        };
        let namespaces = || label(&GroupResource::parse("namespaces"));
        Ok(Self {
            rule: Arc::clone(rule),
            query: Arc::clone(query),
            is_sorted: is_sorted(query),
            series: Arc::default(),
            namespace_label: kind.namespaced.then(namespaces).transpose()?,
            label: label(&kind.resource)?,
        })
    }

    /// What its query is rendered from.
    pub fn source(&self) -> Source<'_> {
        let Self { rule, namespace_label, .. } = self;
        Source {
            rule: &rule.id,
            fingerprint: rule.fingerprint,
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
