//! Objects from manifest files: which there are without a cluster.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{Scope, labels};
use crate::core::{
    kinds::{GroupResource, Kind, Kinds, guess_plural},
    resource::Object,
    selector::Selector,
};

/// Objects from manifest files: kind, namespace, name and labels.
#[derive(Debug, Default)]
pub struct Manifests {
    objects: Vec<Manifest>,
    /// What definitions and discovery documents among the manifests say of kinds.
    defined: Vec<Kind>,
}

/// Manifests that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct ManifestError {
    path: PathBuf,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    status: Status,
    /// The content of a `List`, as `kubectl get -o yaml` prints it.
    #[serde(default)]
    items: Vec<Self>,
    /// Of a `CustomResourceDefinition`.
    #[serde(default, deserialize_with = "if_it_fits")]
    spec: Definition,
    /// Of an `APIResourceList`, as `kubectl get --raw /apis/GROUP/VERSION` prints it.
    #[serde(default, deserialize_with = "if_it_fits")]
    resources: Vec<Resource>,
    #[serde(default, rename = "groupVersion", deserialize_with = "if_it_fits")]
    group_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Definition {
    group: String,
    scope: String,
    names: DefinedNames,
    versions: Vec<DefinedVersion>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DefinedNames {
    kind: String,
    plural: String,
    singular: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DefinedVersion {
    name: String,
    served: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Resource {
    name: String,
    singular_name: String,
    kind: String,
    namespaced: bool,
    group: Option<String>,
    version: Option<String>,
}

/// What other kinds have under the same key is as good as nothing.
fn if_it_fits<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: Option<String>,
}

impl Manifests {
    /// Reads a file, or every `.yaml`, `.yml` and `.json` file of a directory.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| ManifestError {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(|error| failed(path, &error))? {
                let file = entry.map_err(|error| failed(path, &error))?.path();
                let extension = file.extension().and_then(|extension| extension.to_str());
                if matches!(extension, Some("yaml" | "yml" | "json")) {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            files.push(path.to_owned());
        }
        let mut manifests = Self::default();
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(|error| failed(&file, &error))?;
            manifests.add(&text).map_err(|message| ManifestError { path: file, message })?;
        }
        Ok(manifests)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        // What is not looked at may hold any number.
        let options = serde_saphyr::options! {
            non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        };
        let documents: Vec<Option<Manifest>> =
            serde_saphyr::from_multiple_with_options(text, options)
                .map_err(|error| error.without_snippet().to_string())?;
        for document in documents.into_iter().flatten() {
            if document.items.is_empty() {
                self.push(document);
                continue;
            }
            // The items of an API's list do not have a kind: the list has it, as `PodList`.
            let kind = document.kind.strip_suffix("List").unwrap_or_default();
            for mut item in document.items {
                if item.kind.is_empty() {
                    kind.clone_into(&mut item.kind);
                    item.api_version.clone_from(&document.api_version);
                }
                self.push(item);
            }
        }
        Ok(())
    }

    /// Keeps an object, and what it says of kinds.
    fn push(&mut self, mut object: Manifest) {
        let spec = std::mem::take(&mut object.spec);
        match object.kind.as_str() {
            "CustomResourceDefinition" => {
                let kind = spec.kind();
                if kind.is_none() {
                    tracing::warn!(
                        name = object.metadata.name,
                        "this CustomResourceDefinition names no group, kind or plural: it is left out"
                    );
                }
                self.defined.extend(kind);
            }
            "APIResourceList" => {
                let of = std::mem::take(&mut object.group_version);
                let resources = std::mem::take(&mut object.resources);
                self.defined.extend(resources.into_iter().filter_map(|named| named.kind(&of)));
            }
            _ => {}
        }
        self.objects.push(object);
    }

    /// The kinds that every cluster has, those that are defined among the manifests, and those of other objects: with the
    /// plural that is usual, and in namespaces if one of the objects is.
    pub fn kinds(&self) -> Kinds {
        let mut kinds = self.defined.clone();
        for object in self.objects.iter().filter(|object| !object.metadata.name.is_empty()) {
            let (group, version) = group_version(&object.api_version);
            let is_namespaced = object.metadata.namespace.is_some();
            let is_of = |kind: &&mut Kind| kind.kind == object.kind && kind.resource.group == group;
            if let Some(known) = kinds.iter_mut().skip(self.defined.len()).find(is_of) {
                known.namespaced |= is_namespaced;
            } else if is_word(&object.kind) {
                let plural = guess_plural(&object.kind);
                kinds.push(Kind::new(group, version, &plural, &object.kind, is_namespaced));
            }
        }
        Kinds::builtin_and(&kinds)
    }

    /// The names of the objects that are selected, sorted.
    pub(super) fn select(
        &self,
        kind: &Kind,
        scope: Scope,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self
            .matching(kind, scope, namespace, selector)
            .map(|object| Arc::from(object.metadata.name.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The objects that are selected, sorted by namespace and name.
    pub(super) fn describe(
        &self,
        kind: &Kind,
        scope: Scope,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Vec<Object> {
        let mut objects: Vec<_> = self
            .matching(kind, scope, namespace, selector)
            .map(|object| Object {
                namespace: if kind.namespaced { object.namespace() } else { "" }.into(),
                name: object.metadata.name.as_str().into(),
                labels: object.metadata.labels.iter().flatten().map(labels::pair).collect(),
            })
            .collect();
        let identity = |object: &Object| (Arc::clone(&object.namespace), Arc::clone(&object.name));
        objects.sort_by_key(identity);
        objects.dedup_by_key(|object| identity(object));
        objects
    }

    fn matching(
        &self,
        kind: &Kind,
        scope: Scope,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> impl Iterator<Item = &Manifest> {
        self.objects.iter().filter(move |object| {
            object.is(kind)
                && object.is_in(kind, namespace)
                && object.is_within(scope)
                && selector.matches(|key| object.label(key))
        })
    }
}

impl Definition {
    /// The kind that is defined, if it is.
    fn kind(self) -> Option<Kind> {
        let Self { group, scope, names, versions } = self;
        if group.is_empty() || !is_word(&names.kind) || names.plural.is_empty() {
            return None;
        }
        let served = versions.iter().find(|version| version.served);
        Some(Kind {
            resource: GroupResource { group, resource: names.plural },
            version: served.or(versions.first()).map_or_else(String::new, |v| v.name.clone()),
            singular: singular(names.singular, &names.kind),
            kind: names.kind,
            namespaced: scope != "Cluster",
        })
    }
}

impl Resource {
    /// The kind of a resource of this group and version; of a part of one, such as `pods/log`, nothing.
    fn kind(self, of: &str) -> Option<Kind> {
        if self.name.is_empty() || self.name.contains('/') || !is_word(&self.kind) {
            return None;
        }
        let (group, version) = group_version(of);
        Some(Kind {
            resource: GroupResource {
                group: self.group.unwrap_or_else(|| group.to_owned()),
                resource: self.name,
            },
            version: self.version.unwrap_or_else(|| version.to_owned()),
            singular: singular(self.singular_name, &self.kind),
            kind: self.kind,
            namespaced: self.namespaced,
        })
    }
}

/// Whether this can be the name of a kind.
fn is_word(kind: &str) -> bool {
    !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric())
}

/// The singular of a resource, which is the kind's name where it is not written.
fn singular(written: String, kind: &str) -> String {
    if written.is_empty() { kind.to_lowercase() } else { written }
}

/// Group and version of an `apiVersion`. The core group is empty.
fn group_version(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("", text))
}

impl Manifest {
    fn is(&self, kind: &Kind) -> bool {
        let (group, _) = group_version(&self.api_version);
        self.kind == kind.kind && group == kind.resource.group
    }

    /// An object without a namespace is where kubectl would put it: in `default`.
    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    fn is_in(&self, kind: &Kind, namespace: Option<&str>) -> bool {
        match namespace {
            Some(wanted) if kind.namespaced => self.namespace() == wanted,
            _ => true,
        }
    }

    /// A manifest that does not say its phase is taken for one that runs.
    fn is_within(&self, scope: Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::Running => self.status.phase.as_ref().is_none_or(|phase| phase == "Running"),
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kinds::Kinds;

    const TEXT: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: team, labels: {app: web}}
spec: {containers: []}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: team, labels: {app: web}}}
- {apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: team}, status: {phase: Succeeded}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}
- {apiVersion: v1, kind: Node, metadata: {name: n1}}
";

    #[track_caller]
    fn selected(resource: &str, namespace: Option<&str>, selector: &str) -> Vec<Arc<str>> {
        let mut manifests = Manifests::default();
        manifests.add(TEXT).unwrap();
        let kinds = Kinds::builtin();
        let kind = kinds.resolve("", resource).unwrap();
        manifests.select(kind, Scope::All, namespace, &Selector::parse(selector).unwrap())
    }

    #[test]
    fn selects_by_kind_namespace_and_labels() {
        assert_eq!(selected("pods", Some("team"), ""), ["db-0", "web-0", "web-1"].map(Arc::from));
        assert_eq!(selected("pods", Some("team"), "app=web"), ["web-0", "web-1"].map(Arc::from));
        assert_eq!(selected("pods", Some("other"), ""), Vec::new());
        assert_eq!(selected("deployments", Some("default"), ""), ["web".into()]);
        assert_eq!(selected("nodes", None, ""), ["n1".into()]);
    }

    #[test]
    fn a_list_as_the_api_gives_it_says_the_kind_of_its_items() {
        let mut manifests = Manifests::default();
        let pod = r#"{"metadata": {"name": "web-0", "namespace": "team"}}"#;
        let list = format!(r#"{{"kind": "PodList", "apiVersion": "v1", "items": [{pod}]}}"#);
        manifests.add(&list).unwrap();
        let kinds = Kinds::builtin();
        let pods = kinds.resolve("", "pods").unwrap();
        let all = manifests.select(pods, Scope::All, Some("team"), &Selector::default());
        assert_eq!(all, ["web-0".into()]);
    }

    #[test]
    fn pods_that_do_not_run_can_be_left_out() {
        let mut manifests = Manifests::default();
        manifests.add(TEXT).unwrap();
        let kinds = Kinds::builtin();
        let pods = kinds.resolve("", "pods").unwrap();
        let running = manifests.select(pods, Scope::Running, Some("team"), &Selector::default());
        assert_eq!(running, ["web-0", "web-1"].map(Arc::from));
    }

    #[test]
    fn objects_are_described_with_namespaces_and_labels() {
        let mut manifests = Manifests::default();
        manifests.add(TEXT).unwrap();
        let kinds = Kinds::builtin();
        let described = |resource, namespace| {
            let kind = kinds.resolve("", resource).unwrap();
            manifests.describe(kind, Scope::Running, namespace, &Selector::default())
        };
        let object = |namespace: &str, name: &str, labels: &[&str]| Object {
            namespace: namespace.into(),
            name: name.into(),
            labels: labels.iter().map(|label| Arc::from(*label)).collect(),
        };
        assert_eq!(
            described("pods", None),
            [object("team", "web-0", &["app=web"]), object("team", "web-1", &["app=web"])]
        );
        assert_eq!(described("nodes", None), [object("", "n1", &[])]);
    }

    #[track_caller]
    fn kind(manifests: &str, group: &str, word: &str) -> Option<String> {
        let mut known = Manifests::default();
        known.add(manifests).unwrap();
        let kind = Arc::clone(known.kinds().resolve(group, word)?);
        let scope = if kind.namespaced { "in namespaces" } else { "in the cluster" };
        Some(format!("{} {} {scope}", kind.resource, kind.api_version()))
    }

    #[test]
    fn objects_tell_their_kinds() {
        let text = "{apiVersion: v1, kind: List, items: [{apiVersion: x.io/v1, kind: Policy, metadata: {name: a}}, {apiVersion: x.io/v1, kind: Policy, metadata: {name: b, namespace: n}}, {apiVersion: x.io/v1, kind: Zone, metadata: {name: z}}]}";
        let policy = "policies.x.io x.io/v1 in namespaces";
        assert_eq!(kind(text, "x.io", "policy").as_deref(), Some(policy));
        assert_eq!(kind(text, "", "policies").as_deref(), Some(policy));
        assert_eq!(
            kind(text, "x.io", "zones").as_deref(),
            Some("zones.x.io x.io/v1 in the cluster")
        );
        assert_eq!(kind(text, "y.io", "zone"), None);
        // A list without items, and what is no object.
        assert_eq!(kind("{apiVersion: v1, kind: List, items: []}", "", "list"), None);
        assert_eq!(kind("{kind: 'a b', metadata: {name: x}}", "", "a b"), None);
    }

    #[test]
    fn definitions_tell_kinds_before_objects_do() {
        let definition = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: mice.x.io}
spec:
  group: x.io
  scope: Namespaced
  names: {plural: mice, kind: Mouse, shortNames: [m]}
  versions: [{name: v1alpha1, served: false}, {name: v1, served: true, storage: true, schema: {}}]
";
        let object = "{apiVersion: x.io/v1, kind: Mouse, metadata: {name: a}}\n";
        let wanted = Some("mice.x.io x.io/v1 in namespaces");
        for text in [format!("{definition}---\n{object}"), format!("{object}---{definition}")] {
            assert_eq!(kind(&text, "x.io", "mouse").as_deref(), wanted);
            assert_eq!(kind(&text, "x.io", "mice").as_deref(), wanted);
            assert_eq!(kind(&text, "x.io", "mouses"), None);
        }
        let cluster = definition.replace("Namespaced", "Cluster");
        assert_eq!(kind(&cluster, "", "mouse").unwrap(), "mice.x.io x.io/v1 in the cluster");
    }

    #[test]
    fn discovery_documents_tell_kinds() {
        let text = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"x.io/v2","resources":[{"name":"mice","singularName":"mouse","namespaced":true,"kind":"Mouse","verbs":["get"]},{"name":"mice/status","singularName":"","namespaced":true,"kind":"Mouse","verbs":["get"]},{"name":"oxen","singularName":"","namespaced":false,"kind":"Ox","group":"y.io","version":"v3","verbs":[]}]}"#;
        assert_eq!(kind(text, "x.io", "mouse").unwrap(), "mice.x.io x.io/v2 in namespaces");
        assert_eq!(kind(text, "", "ox").unwrap(), "oxen.y.io y.io/v3 in the cluster");
        assert_eq!(kind(text, "", "mice/status"), None);
    }

    #[test]
    fn what_looks_like_a_definition_and_is_none_is_left_out() {
        for spec in [
            "{}",
            "[a]",
            "~",
            "{group: x.io, names: {kind: Mouse}}",
            "{group: x.io, names: [a], versions: 3}",
            "{group: x.io, names: {kind: 'M/../x', plural: mice}}",
            "{names: {kind: Mouse, plural: mice}, versions: [1]}",
        ] {
            let text =
                format!("{{kind: CustomResourceDefinition, metadata: {{name: x}}, spec: {spec}}}");
            assert_eq!(kind(&text, "", "mice"), None, "{spec}");
        }
        // Other kinds have what they want under the same keys.
        let text = "{kind: Kustomization, resources: [a.yaml], spec: {names: [.inf, 1: 2], big: 99999999999999999999, scope: {}}}";
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {names: !!binary aGk=, group: 0x1f, scope: .nan, 1: {x: ~}}}";
        assert_eq!(kind(text, "", "mice"), None);
        assert!(kind(pod, "", "pod").is_some());
    }

    #[test]
    fn a_file_that_is_no_manifest_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "kind: [").unwrap();
        let error = Manifests::read(file.path()).unwrap_err().to_string();
        assert!(error.starts_with(&file.path().display().to_string()), "{error}");
    }
}
