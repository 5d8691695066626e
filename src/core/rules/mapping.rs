//! Labels to resources and back: `resources.overrides` and `resources.template`.

use std::{collections::BTreeMap, sync::Arc};

use super::{EntryProblems, fields::Fields, keys::GROUP_RESOURCE};
use crate::core::{
    key_path::KeyPath,
    kinds::{GroupResource, Kind, Kinds},
    names,
    template::ResourceTemplate,
    yaml::Place,
};

/// A rule's mapping as compiled; [`Mapping::resolve`] ties it to the kinds that a cluster has.
#[derive(Debug)]
pub struct Mapping {
    template: Option<ResourceTemplate>,
    /// Label to resource.
    overrides: BTreeMap<String, Override>,
    namespaced: bool,
}

/// One entry of `resources.overrides`.
#[derive(Debug)]
struct Override {
    place: Place,
    resource: GroupResource,
}

/// A mapping tied to the kinds of a cluster.
#[derive(Debug, Default)]
pub struct ResolvedMapping {
    by_label: BTreeMap<String, Arc<Kind>>,
    by_resource: BTreeMap<GroupResource, String>,
    unknown: Vec<UnknownResource>,
    ambiguous: Vec<AmbiguousResource>,
}

/// An override without a group whose resource is one of several kinds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AmbiguousResource {
    /// Where the override stands.
    pub place: Place,
    /// The label that is mapped.
    pub label: String,
    /// The resource that is taken.
    pub taken: GroupResource,
    /// The others.
    pub others: Vec<GroupResource>,
}

/// An override whose resource the cluster does not have (yet).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownResource {
    /// Where the override stands.
    pub place: Place,
    /// The label that is mapped.
    pub label: String,
    /// The resource as written.
    pub resource: GroupResource,
}

impl Mapping {
    /// The mapping of a rule, from its `resources`.
    pub(super) fn compile(rule: &Fields<'_>, problems: &mut EntryProblems<'_>) -> Option<Self> {
        let Some(resources) = rule.object("resources") else {
            return Some(Self { template: None, overrides: BTreeMap::new(), namespaced: true });
        };
        let written = resources.text("template");
        let template = ResourceTemplate::compile(&written.value).map(Some);
        let template = if written.value.is_empty() { Ok(None) } else { template };
        let template = template.map_err(|error| {
            problems.add(written.place, ["resources", "template"], error.to_string());
        });
        let overrides = resources.entries_of("overrides").iter().map(|(label, node)| {
            let fields = Fields::of(node, KeyPath::default(), &GROUP_RESOURCE);
            let [group, resource] = ["group", "resource"].map(|key| fields.text(key).value);
            let resource = GroupResource { group, resource };
            (label.text.trim().to_owned(), Override { place: node.place, resource })
        });
        Some(Self {
            template: template.ok()?,
            overrides: overrides.collect(),
            namespaced: resources.get("namespaced").is_none() || resources.flag("namespaced").value,
        })
    }

    /// These labels, and nothing else.
    pub(in crate::core) fn of(labels: impl IntoIterator<Item = (String, GroupResource)>) -> Self {
        let overrides = labels
            .into_iter()
            .map(|(label, resource)| (label, Override { place: Place::START, resource }));
        Self { template: None, overrides: overrides.collect(), namespaced: true }
    }

    /// Whether an external rule adds the namespace matcher (`resources.namespaced`, true by default).
    pub fn namespaced(&self) -> bool {
        self.namespaced
    }

    /// Whether labels are recognised by a template.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// Whether discovery has to ask which labels there are before it asks for one: a template means many that there are not,
    /// and a name that needs quotes is refused by servers that have none such.
    pub fn may_name_absent_labels(&self) -> bool {
        self.template.is_some() || self.overrides.keys().any(|label| !names::is_label(label))
    }

    /// Whether a label may name objects of a core resource, in the singular. The labels of a template are only known once
    /// it is tied to a cluster.
    pub(super) fn may_name(&self, resource: &str) -> bool {
        self.template.is_some()
            || self.overrides.values().any(|written| {
                let GroupResource { group, resource: word } = &written.resource;
                let word = word.to_lowercase();
                group.is_empty() && word.strip_suffix('s').unwrap_or(&word) == resource
            })
    }

    /// Whether no label names objects.
    pub(super) fn is_empty(&self) -> bool {
        self.template.is_none() && self.overrides.is_empty()
    }

    /// Ties the mapping to the kinds of a cluster. An override whose resource is not known is left out and reported.
    ///
    /// If a template has the same label for several kinds, the label means the first of them in the order of API discovery;
    /// an override of a label or of a resource comes before the template.
    pub fn resolve(&self, kinds: &Kinds) -> ResolvedMapping {
        let mut resolved = ResolvedMapping::default();
        for (label, written) in &self.overrides {
            match kinds.resolve(&written.resource.group, &written.resource.resource) {
                Some(kind) => {
                    let GroupResource { group, resource } = &written.resource;
                    let others = kinds.others(group, resource);
                    if !others.is_empty() {
                        resolved.ambiguous.push(AmbiguousResource {
                            place: written.place,
                            label: label.clone(),
                            taken: kind.resource.clone(),
                            others: others.into_iter().cloned().collect(),
                        });
                    }
                    resolved.by_label.insert(label.clone(), Arc::clone(kind));
                    resolved.by_resource.insert(kind.resource.clone(), label.clone());
                }
                None => resolved.unknown.push(UnknownResource {
                    place: written.place,
                    label: label.clone(),
                    resource: written.resource.clone(),
                }),
            }
        }
        if let Some(template) = &self.template {
            for kind in kinds.iter() {
                let Ok(label) = template.render(&kind.resource.group, &kind.singular) else {
                    continue;
                };
                resolved.by_label.entry(label.clone()).or_insert_with(|| Arc::clone(kind));
                resolved.by_resource.entry(kind.resource.clone()).or_insert(label);
            }
        }
        resolved
    }
}

impl AmbiguousResource {
    /// What is taken, and what else there is: a sentence.
    pub fn says(&self) -> String {
        let others: Vec<_> = self.others.iter().map(|other| format!("`{other}`")).collect();
        let (taken, others) = (&self.taken, others.join(" and "));
        format!("the resource has no `group`, and `{taken}` is taken; there is also {others}")
    }
}

impl ResolvedMapping {
    /// The kind that a label names objects of.
    pub fn kind(&self, label: &str) -> Option<&Arc<Kind>> {
        self.by_label.get(label)
    }

    /// The label that names objects of a kind.
    pub fn label(&self, resource: &GroupResource) -> Option<&str> {
        self.by_resource.get(resource).map(String::as_str)
    }

    /// The label that holds the namespace.
    pub fn namespace_label(&self) -> Option<&str> {
        let namespaces = GroupResource { group: String::new(), resource: "namespaces".to_owned() };
        self.label(&namespaces)
    }

    /// All labels that name objects, with their kinds, in alphabetical order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &Arc<Kind>)> {
        self.by_label.iter().map(|(label, kind)| (label.as_str(), kind))
    }

    /// The overrides without a group whose resources are in several.
    pub fn ambiguous(&self) -> &[AmbiguousResource] {
        &self.ambiguous
    }

    /// The overrides whose resources the cluster does not have.
    pub fn unknown(&self) -> &[UnknownResource] {
        &self.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rules::load;

    fn resolved(resources: &str) -> ResolvedMapping {
        let text =
            format!("rules:\n- seriesQuery: up\n  metricsQuery: x\n  resources: {{{resources}}}\n");
        let rules = load(&text).unwrap();
        assert!(rules.broken.is_empty(), "{:?}", rules.broken);
        rules.custom[0].base.mapping.resolve(&Kinds::builtin())
    }

    #[test]
    fn overrides_are_singular_or_plural() {
        let mapping = resolved(
            "overrides: {ns: {resource: namespaces}, deploy: {group: apps, resource: deployment}}",
        );
        assert_eq!(mapping.namespace_label(), Some("ns"));
        assert_eq!(mapping.kind("deploy").unwrap().kind, "Deployment");
        assert_eq!(mapping.label(&GroupResource::parse("deployments.apps")), Some("deploy"));
        assert_eq!(mapping.label(&GroupResource::parse("pods")), None);
    }

    #[test]
    fn templates_name_every_kind_with_its_group_sanitised() {
        let mapping = resolved("template: \"kube_<<.Group>>_<<.Resource>>\"");
        assert_eq!(mapping.namespace_label(), Some("kube__namespace"));
        assert_eq!(mapping.kind("kube_apps_deployment").unwrap().kind, "Deployment");
        assert_eq!(mapping.kind("kube_networking_k8s_io_ingress").unwrap().kind, "Ingress");
    }

    #[test]
    fn labels_may_need_quotes() {
        let mapping = resolved(
            "template: \"k8s.<<.Resource>>.name\", overrides: {\"k8s.ns\": {resource: namespace}}",
        );
        assert_eq!(mapping.namespace_label(), Some("k8s.ns"));
        assert_eq!(mapping.kind("k8s.pod.name").unwrap().kind, "Pod");
        let asks = |resources: &str| {
            let rule = format!("{{seriesQuery: up, metricsQuery: x, resources: {{{resources}}}}}");
            load(&format!("rules: [{rule}]")).unwrap().custom[0]
                .base
                .mapping
                .may_name_absent_labels()
        };
        assert!(asks("overrides: {pod: {resource: pod}, k8s.pod.name: {resource: pod}}"));
        assert!(!asks("overrides: {pod: {resource: pod}}"));
    }

    #[test]
    fn blanks_around_labels_are_none_of_theirs() {
        let mapping = resolved(
            "template: \" <<.Resource>>\\n\", overrides: {\"ns\\n\": {resource: \"namespace\\n\"}}",
        );
        assert_eq!(mapping.namespace_label(), Some("ns"));
        assert_eq!(mapping.kind("pod").unwrap().kind, "Pod");
    }

    #[test]
    fn an_override_comes_before_the_template() {
        let mapping =
            resolved("template: \"<<.Resource>>\", overrides: {instance: {resource: pod}}");
        assert_eq!(mapping.label(&GroupResource::parse("pods")), Some("instance"));
        assert_eq!(mapping.label(&GroupResource::parse("services")), Some("service"));
        assert_eq!(mapping.kind("event").unwrap().resource.group, "");
    }

    #[test]
    fn a_resource_of_two_groups_is_ambiguous_without_one() {
        let gadget = |group| Kind::new(group, "v1", "gadgets", "Gadget", true);
        // The metrics API has pods, too, and nobody means these.
        let pods = Kind::new("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", true);
        let kinds = Kinds::builtin_and(&[gadget("a.io"), gadget("b.io"), pods]);
        let of = |resources: &str| {
            let rule = format!("{{seriesQuery: up, metricsQuery: x, resources: {{{resources}}}}}");
            let rules = load(&format!("rules: [{rule}]")).unwrap();
            let mapping = rules.custom[0].base.mapping.resolve(&kinds);
            let text = |it: &AmbiguousResource| (it.taken.to_string(), it.others[0].to_string());
            mapping.ambiguous().iter().map(text).collect::<Vec<_>>()
        };
        let both = [("gadgets.a.io".to_owned(), "gadgets.b.io".to_owned())];
        assert_eq!(of("overrides: {g: {resource: gadget}, pod: {resource: pod}}"), both);
        assert_eq!(of("overrides: {g: {group: b.io, resource: gadget}}"), []);
    }

    #[test]
    fn unknown_resources_are_left_out_and_reported() {
        let mapping =
            resolved("overrides: {pod: {resource: pod}, w: {group: x.io, resource: widget}}");
        assert_eq!(mapping.labels().count(), 1);
        assert_eq!(mapping.unknown()[0].label, "w");
        assert_eq!(mapping.unknown()[0].resource.to_string(), "widget.x.io");
    }
}
