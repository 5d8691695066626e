//! Objects from manifest files: which there are without a cluster.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{Scope, labels};
use crate::core::{kinds::Kind, resource::Object, selector::Selector};

/// Objects from manifest files: kind, namespace, name and labels.
#[derive(Debug, Default)]
pub struct Manifests {
    objects: Vec<Manifest>,
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
    /// The content of a `List`, as `kubectl get -o yaml` gives it.
    #[serde(default)]
    items: Vec<Self>,
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
        let documents: Vec<Option<Manifest>> = serde_saphyr::from_multiple(text)
            .map_err(|error| error.without_snippet().to_string())?;
        for document in documents.into_iter().flatten() {
            if document.items.is_empty() {
                self.objects.push(document);
                continue;
            }
            // The items of a list as the API gives it do not say what they are: its kind does, as `PodList`.
            let kind = document.kind.strip_suffix("List").unwrap_or_default();
            self.objects.extend(document.items.into_iter().map(|mut item| {
                if item.kind.is_empty() {
                    kind.clone_into(&mut item.kind);
                    item.api_version.clone_from(&document.api_version);
                }
                item
            }));
        }
        Ok(())
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

impl Manifest {
    fn is(&self, kind: &Kind) -> bool {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
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

    #[test]
    fn a_file_that_is_no_manifest_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "kind: [").unwrap();
        let error = Manifests::read(file.path()).unwrap_err().to_string();
        assert!(error.starts_with(&file.path().display().to_string()), "{error}");
    }
}
