//! The kinds of a cluster, as far as metrics need them: which resource a word means, its kind and its scope.
//!
//! This is the part of Kubernetes' `RESTMapper` that prometheus-adapter uses: a resource is named in the singular or the
//! plural, with or without its group; without one the first kind in the order of API discovery is meant.

use std::{
    collections::HashMap,
    fmt::{self, Display},
    sync::Arc,
};

use super::nearest::{MOST, nearest};

/// A resource of an API group. The core group is empty.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupResource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource in the plural once it has been resolved, as written before.
    pub resource: String,
}

impl GroupResource {
    /// Whether the objects are namespaces. The resource may also be in the singular.
    pub fn is_of_namespaces(&self) -> bool {
        self.group.is_empty() && matches!(self.resource.as_str(), "namespaces" | "namespace")
    }

    /// Splits `deployments.apps` at its first dot, as `schema.ParseGroupResource` does.
    pub fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self { group: group.to_owned(), resource: resource.to_owned() }
    }
}

impl Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

/// A kind that the cluster serves, in its preferred version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kind {
    /// Group and plural resource.
    pub resource: GroupResource,
    /// The version of the group to ask for objects of this kind.
    pub version: String,
    /// The singular resource name, lower case.
    pub singular: String,
    /// The kind, as in a manifest.
    pub kind: String,
    /// Whether objects of this kind live in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// A kind whose singular resource is its name in lower case, as nearly always.
    pub fn new(group: &str, version: &str, plural: &str, kind: &str, namespaced: bool) -> Self {
        Self {
            resource: GroupResource { group: group.to_owned(), resource: plural.to_owned() },
            version: version.to_owned(),
            singular: kind.to_lowercase(),
            kind: kind.to_owned(),
            namespaced,
        }
    }

    /// `group/version`, with nothing before the slash for the core group, as prometheus-adapter writes `describedObject`.
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.resource.group, self.version)
    }
}

/// All kinds of a cluster in the order of API discovery; the core group comes first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kinds {
    all: Vec<Arc<Kind>>,
    by_word: HashMap<String, Vec<usize>>,
    /// Whether they are known without a cluster.
    is_builtin: bool,
}

impl Kinds {
    /// Takes the kinds in order of preference. Words are compared in lower case.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let all: Vec<_> = kinds.into_iter().map(Arc::new).collect();
        let mut by_word: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, kind) in all.iter().enumerate() {
            let plural = kind.resource.resource.to_lowercase();
            let singular = kind.singular.to_lowercase();
            if singular != plural && !singular.is_empty() {
                by_word.entry(singular).or_default().push(index);
            }
            by_word.entry(plural).or_default().push(index);
        }
        Self { all, by_word, is_builtin: false }
    }

    /// The kind that a singular or plural resource of a group means.
    ///
    /// With a group, that group is preferred and then the first that begins with it; without one the first kind of that
    /// name is taken, whatever its group.
    pub fn resolve(&self, group: &str, resource: &str) -> Option<&Arc<Kind>> {
        let indexes = self.by_word.get(&resource.to_lowercase())?;
        let mut kinds = indexes.iter().filter_map(|index| self.all.get(*index));
        if group.is_empty() {
            return kinds.next();
        }
        kinds
            .clone()
            .find(|kind| kind.resource.group == group)
            .or_else(|| kinds.find(|kind| kind.resource.group.starts_with(group)))
    }

    /// What may have been meant by a resource that the cluster does not have: those of this name in other groups, as after the
    /// end of `extensions`; else those of the nearest names.
    pub fn near(&self, unknown: &GroupResource) -> Vec<&GroupResource> {
        let word = unknown.resource.to_lowercase();
        let words = match self.by_word.get_key_value(&word) {
            Some((word, _)) => vec![word.as_str()],
            None => nearest(&word, self.by_word.keys().map(String::as_str)),
        };
        let mut near: Vec<&GroupResource> = Vec::new();
        let kinds = words.into_iter().filter_map(|word| self.by_word.get(word)).flatten();
        for kind in kinds.filter_map(|index| self.all.get(*index)) {
            if !near.contains(&&kind.resource) {
                near.push(&kind.resource);
            }
        }
        near.truncate(MOST);
        near
    }

    /// All kinds in order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.all.iter()
    }

    /// Whether no kind is known.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Why a resource is not among the kinds: a sentence for clients.
    pub fn lacks(&self, resource: &GroupResource) -> String {
        if let Some(GroupResource { group, resource: name }) = self.with_group(resource) {
            let place = if self.is_builtin { "there is no" } else { "the cluster has no" };
            return format!(
                "{place} resource {resource} without a group: write `group: {group}, resource: {name}`"
            );
        }
        if self.is_builtin {
            format!(
                "neither Kubernetes' built-in kinds nor the manifests of --objects have a resource {resource}: add its CustomResourceDefinition, or an object of this kind, to the manifests"
            )
        } else {
            format!("the cluster has no resource {resource}")
        }
    }

    /// The group and the resource that are meant by a resource without a group in whose name there is one, as in `deployments.apps`.
    pub fn with_group(&self, unknown: &GroupResource) -> Option<GroupResource> {
        let meant = GroupResource::parse(&unknown.resource);
        let has_group = unknown.group.is_empty() && !meant.group.is_empty();
        has_group.then_some(())?;
        self.resolve(&meant.group, &meant.resource)?;
        Some(meant)
    }

    /// Other kinds that a resource without a group means as well as the one that is taken. Nothing where that is one of Kubernetes' own:
    /// who leaves the group out means those.
    pub fn others(&self, group: &str, resource: &str) -> Vec<&GroupResource> {
        let taken = self.resolve(group, resource).filter(|_| group.is_empty());
        let Some(taken) = taken.filter(|kind| !is_own(&kind.resource)) else { return Vec::new() };
        let indexes = self.by_word.get(&resource.to_lowercase()).into_iter().flatten();
        let kinds = indexes.filter_map(|index| Some(&self.all.get(*index)?.resource));
        kinds.filter(|other| **other != taken.resource).collect()
    }

    /// The kinds that every Kubernetes cluster has, for use without a cluster.
    pub fn builtin() -> Self {
        Self::builtin_and(&[])
    }

    /// The kinds that every Kubernetes cluster has, and those of these that are not among them.
    pub fn builtin_and(more: &[Kind]) -> Self {
        let mut kinds: Vec<_> = BUILTIN
            .iter()
            .map(|(group, version, plural, kind, namespaced)| {
                Kind::new(group, version, plural, kind, *namespaced)
            })
            .collect();
        for kind in more {
            let is_same = |known: &Kind| {
                known.resource.group == kind.resource.group
                    && (known.kind == kind.kind || known.resource == kind.resource)
            };
            if !kinds.iter().any(is_same) {
                kinds.push(kind.clone());
            }
        }
        Self { is_builtin: true, ..Self::new(kinds) }
    }
}

/// The plural resource that a kind probably has: what `meta.UnsafeGuessKindToResource` of Kubernetes takes it for, but for those
/// that end in a vowel and `y`, as `Gateway` does, or in another sibilant than `s`, as `Mesh` does.
pub fn guess_plural(kind: &str) -> String {
    let singular = kind.to_lowercase();
    if singular.ends_with("endpoints") {
        singular
    } else if ["s", "sh", "ch", "x"].iter().any(|end| singular.ends_with(end)) {
        singular + "es"
    } else if let Some(stem) = singular.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'o', 'u'])
    {
        format!("{stem}ies")
    } else {
        singular + "s"
    }
}

fn is_own(resource: &GroupResource) -> bool {
    BUILTIN
        .iter()
        .any(|(group, _, plural, ..)| resource.group == *group && resource.resource == *plural)
}

/// Group, version, plural, kind, namespaced: in the order in which a Kubernetes API server lists its groups.
const BUILTIN: &[(&str, &str, &str, &str, bool)] = &[
    ("", "v1", "configmaps", "ConfigMap", true),
    ("", "v1", "endpoints", "Endpoints", true),
    ("", "v1", "events", "Event", true),
    ("", "v1", "limitranges", "LimitRange", true),
    ("", "v1", "namespaces", "Namespace", false),
    ("", "v1", "nodes", "Node", false),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    ("", "v1", "persistentvolumes", "PersistentVolume", false),
    ("", "v1", "pods", "Pod", true),
    ("", "v1", "podtemplates", "PodTemplate", true),
    ("", "v1", "replicationcontrollers", "ReplicationController", true),
    ("", "v1", "resourcequotas", "ResourceQuota", true),
    ("", "v1", "secrets", "Secret", true),
    ("", "v1", "serviceaccounts", "ServiceAccount", true),
    ("", "v1", "services", "Service", true),
    ("apiregistration.k8s.io", "v1", "apiservices", "APIService", false),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", true),
    ("apps", "v1", "daemonsets", "DaemonSet", true),
    ("apps", "v1", "deployments", "Deployment", true),
    ("apps", "v1", "replicasets", "ReplicaSet", true),
    ("apps", "v1", "statefulsets", "StatefulSet", true),
    ("events.k8s.io", "v1", "events", "Event", true),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true),
    ("batch", "v1", "cronjobs", "CronJob", true),
    ("batch", "v1", "jobs", "Job", true),
    ("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false),
    ("networking.k8s.io", "v1", "ingressclasses", "IngressClass", false),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", true),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", true),
    ("storage.k8s.io", "v1", "csidrivers", "CSIDriver", false),
    ("storage.k8s.io", "v1", "csinodes", "CSINode", false),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", false),
    ("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", false),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        false,
    ),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false),
    ("coordination.k8s.io", "v1", "leases", "Lease", true),
    ("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true),
    ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema", false),
    ("gateway.networking.k8s.io", "v1", "gateways", "Gateway", true),
    ("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", true),
];

/// Whether a text can be the name of an object: a DNS subdomain as in RFC 1123, which is what most kinds require
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).
pub fn is_object_name(text: &str) -> bool {
    let is_outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.starts_with(is_outer)
        && text.ends_with(is_outer)
        && text.chars().all(|c| is_outer(c) || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn resolved(group: &str, resource: &str) -> String {
        let kinds = Kinds::builtin();
        kinds
            .resolve(group, resource)
            .map_or_else(|| "none".to_owned(), |kind| kind.resource.to_string())
    }

    #[test]
    fn resolves_singular_and_plural_with_and_without_group() {
        assert_eq!(resolved("", "pod"), "pods");
        assert_eq!(resolved("", "Pods"), "pods");
        assert_eq!(resolved("", "deployment"), "deployments.apps");
        assert_eq!(resolved("apps", "deployment"), "deployments.apps");
        assert_eq!(resolved("networking", "ingress"), "ingresses.networking.k8s.io");
        assert_eq!(resolved("", "event"), "events");
        assert_eq!(resolved("events.k8s.io", "event"), "events.events.k8s.io");
        assert_eq!(resolved("batch", "deployment"), "none");
        assert_eq!(resolved("", "po"), "none");
    }

    #[test]
    fn a_resource_that_is_not_there_finds_its_neighbours() {
        let kinds = Kinds::builtin();
        let near = |text| {
            let near = kinds.near(&GroupResource::parse(text));
            near.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(near("ingresses.extensions"), "ingresses.networking.k8s.io");
        assert_eq!(near("deployment.extensions"), "deployments.apps");
        assert_eq!(near("Deployments.v1"), "deployments.apps");
        assert_eq!(near("event.audit"), "events events.events.k8s.io");
        assert_eq!(near("podz"), "pods");
        assert_eq!(near("widgets.example.com"), "");
    }

    #[test]
    fn a_group_in_the_name_of_a_resource_is_told_apart() {
        let lacks = |resource: &str| {
            let resource = GroupResource { group: String::new(), resource: resource.to_owned() };
            Kinds::builtin().lacks(&resource)
        };
        let message = lacks("deployments.apps");
        assert!(message.contains("write `group: apps, resource: deployments`"), "{message}");
        assert!(lacks("widgets.example.com").contains("CustomResourceDefinition"));
    }

    #[test]
    fn plurals_are_guessed_as_they_are_in_most_definitions() {
        for (kind, plural) in [
            ("Model", "models"),
            ("Bus", "buses"),
            ("Mesh", "meshes"),
            ("Policy", "policies"),
            ("Gateway", "gateways"),
            ("MyEndpoints", "myendpoints"),
        ] {
            assert_eq!(guess_plural(kind), plural);
        }
    }

    #[test]
    fn kinds_that_are_added_do_not_replace_builtin_ones() {
        let kind = |group: &str, plural: &str, kind: &str| Kind {
            resource: GroupResource { group: group.to_owned(), resource: plural.to_owned() },
            version: "v1alpha1".to_owned(),
            singular: kind.to_lowercase(),
            kind: kind.to_owned(),
            namespaced: true,
        };
        let kinds = Kinds::builtin_and(&[
            kind("apps", "deploys", "Deployment"),
            kind("x.io", "models", "Model"),
            kind("x.io", "modelses", "Model"),
            kind("y.io", "models", "Model"),
        ]);
        assert_eq!(kinds.iter().count(), Kinds::builtin().iter().count() + 2);
        assert!(kinds.resolve("apps", "deploys").is_none());
        assert_eq!(kinds.resolve("", "model").unwrap().resource.to_string(), "models.x.io");
        assert!(kinds.lacks(&GroupResource::parse("w.z.io")).contains("--objects"));
        assert!(Kinds::new([]).lacks(&GroupResource::parse("w.z.io")).contains("the cluster"));
    }

    #[test]
    fn api_versions_are_written_as_prometheus_adapter_writes_them() {
        let kinds = Kinds::builtin();
        assert_eq!(kinds.resolve("", "pod").unwrap().api_version(), "/v1");
        assert_eq!(kinds.resolve("", "deployment").unwrap().api_version(), "apps/v1");
    }

    #[test]
    fn group_resources_split_at_the_first_dot() {
        let parsed = GroupResource::parse("ingresses.networking.k8s.io");
        assert_eq!(parsed.group, "networking.k8s.io");
        assert_eq!(parsed.to_string(), "ingresses.networking.k8s.io");
        assert_eq!(GroupResource::parse("pods").group, "");
    }
}
