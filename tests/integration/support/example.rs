//! The folders of `examples/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use loadline::core::quantity::parse_milli;
use serde_json::Value;

use super::autoscaler::Target;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// An example's folder.
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl Example {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), folder: folder().join(name) }
    }

    /// All that there are, by name.
    pub(crate) fn all() -> Vec<Self> {
        let entries =
            fs::read_dir(folder()).expect("the examples").map(|entry| entry.expect("an entry"));
        let folders = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> =
            folders.map(|entry| entry.file_name().into_string().expect("text")).collect();
        names.sort();
        names.iter().map(|name| Self::new(name)).collect()
    }

    pub(crate) fn text(&self, file: &str) -> String {
        let path = self.folder.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The names of the files that a cluster is given, the workload first.
    pub(crate) fn manifests(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).expect("the example");
        let names =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
        let is_manifest = |name: &String| {
            Path::new(name).extension() == Some("yaml".as_ref())
                && !["rules.yaml", "objects.yaml"].contains(&name.as_str())
        };
        let mut names: Vec<_> = names.filter(is_manifest).collect();
        names.sort_by_key(|name| (name != "workload.yaml", name.clone()));
        names
    }

    pub(crate) fn documents(&self, file: &str) -> Vec<Value> {
        serde_saphyr::from_multiple(&self.text(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// The namespace in which all of it is.
    pub(crate) fn namespace(&self) -> String {
        let workload = self.documents("workload.yaml");
        let namespaces = workload.iter().filter(|document| document["kind"] == "Namespace");
        let names: Vec<_> = namespaces.map(|found| found["metadata"]["name"].as_str()).collect();
        assert_eq!(names.len(), 1, "{}: {names:?}", self.name);
        names[0].expect("a name").to_owned()
    }

    /// The autoscalers. What the API does not know would be a mistake.
    pub(crate) fn autoscalers(&self) -> Vec<HorizontalPodAutoscaler> {
        let documents = self.documents("hpa.yaml");
        let read = |document: Value| {
            let hpa: HorizontalPodAutoscaler =
                serde_json::from_value(document.clone()).expect("an autoscaler");
            assert_eq!(serde_json::to_value(&hpa).expect("JSON"), document);
            hpa
        };
        documents.into_iter().map(read).collect()
    }

    /// What an autoscaler scales: the Deployment, and those of the pods that it selects.
    pub(crate) fn target(&self, hpa: &HorizontalPodAutoscaler) -> Target {
        let wanted = &hpa.spec.scale_target_ref;
        let namespace = hpa.metadata.namespace.as_deref().expect("a namespace");
        let is_wanted = |object: &Value| {
            object["kind"] == *wanted.kind
                && object["metadata"]["name"] == *wanted.name
                && object["metadata"]["namespace"] == *namespace
        };
        let workload = self.documents("workload.yaml").into_iter().find(is_wanted);
        let spec =
            workload.unwrap_or_else(|| panic!("workload.yaml: no {}", wanted.name))["spec"].take();
        let labels = spec["selector"]["matchLabels"].as_object().expect("labels");
        let has = |pod: &Value, labels: &serde_json::Map<String, Value>| {
            labels.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value)
        };
        assert!(has(&spec["template"], labels), "{}: its pods are not its own", wanted.name);
        let objects = self.documents("objects.yaml");
        let pods = objects.iter().filter(|object| {
            object["kind"] == "Pod"
                && object["metadata"]["namespace"] == *namespace
                && has(object, labels)
        });
        let selector: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().expect("text")))
            .collect();
        let containers = spec["template"]["spec"]["containers"].as_array().expect("a list").iter();
        Target {
            pods: pods
                .map(|pod| pod["metadata"]["name"].as_str().expect("text").to_owned())
                .collect(),
            selector: selector.join(","),
            requests: containers
                .map(|container| {
                    let requests = container["resources"]["requests"].as_object();
                    let requests = requests.into_iter().flatten().map(|(name, value)| {
                        (
                            name.clone(),
                            parse_milli(value.as_str().expect("text")).expect("a quantity"),
                        )
                    });
                    (container["name"].as_str().expect("text").to_owned(), requests.collect())
                })
                .collect(),
        }
    }
}
