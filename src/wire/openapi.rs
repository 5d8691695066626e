//! OpenAPI documents: what kube-apiserver merges into the cluster's own and `kubectl explain` reads.

mod external;
mod resource;

use serde_json::{Map, Value, json};

use super::{
    custom::{self, Version},
    external::{GROUP as EXTERNAL, VERSION as EXTERNAL_VERSION},
    resource::{GROUP as RESOURCE, Version as UsageVersion},
};

/// The schemas' common prefix, as Kubernetes names them.
const PREFIX: &str = "io.k8s.metrics.pkg.apis.custom_metrics";

/// A group and version, each of which has a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Document {
    /// A version of custom.metrics.k8s.io.
    Custom(Version),
    /// external.metrics.k8s.io/v1beta1
    External,
    /// A version of metrics.k8s.io.
    Resource(UsageVersion),
}

impl Document {
    /// All documents.
    pub const ALL: [Self; 5] = [
        Self::Custom(Version::V1beta2),
        Self::Custom(Version::V1beta1),
        Self::External,
        Self::Resource(UsageVersion::V1),
        Self::Resource(UsageVersion::V1beta1),
    ];

    /// The document of a group and version.
    pub fn parse(group: &str, version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|document| document.group_version() == (group, version))
    }

    fn group_version(self) -> (&'static str, &'static str) {
        match self {
            Self::Custom(version) => (custom::GROUP, version.name()),
            Self::External => (EXTERNAL, EXTERNAL_VERSION),
            Self::Resource(version) => (RESOURCE, version.name()),
        }
    }

    /// `answer` gives the answer that is described by a schema.
    fn paths(
        self,
        answer: &dyn Fn(&str) -> Value,
        parameter: &dyn Fn(&str, &str, &str) -> Value,
    ) -> Map<String, Value> {
        match self {
            Self::Custom(version) => paths(version, &answer(&list_name(version)), parameter),
            Self::External => external::paths(&answer(&external::list_name()), parameter),
            Self::Resource(version) => resource::paths(version, answer, parameter),
        }
    }

    fn schemas(self, reference: &str) -> Map<String, Value> {
        match self {
            Self::Custom(version) => schemas(version, reference),
            Self::External => external::schemas(reference),
            Self::Resource(version) => resource::schemas(version, reference),
        }
    }
}

/// `/openapi/v3`: where the document of each group and version is. The hash is that of the document, so that a client asks
/// for it again only when it has changed.
pub fn v3_index(hash: impl Fn(&Value) -> String) -> Value {
    let mut paths = Map::new();
    for document in Document::ALL {
        let (group, version) = document.group_version();
        let path = format!("apis/{group}/{version}");
        let url = format!("/openapi/v3/{path}?hash={}", hash(&v3(document)));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// `/openapi/v3/apis/{group}/{version}`.
pub fn v3(document: Document) -> Value {
    let answer = |schema: &str| {
        let reference = format!("#/components/schemas/{schema}");
        json!({
            "description": "OK",
            "content": {"application/json": {"schema": {"$ref": reference}}},
        })
    };
    let parameter = |name: &str, place: &str, text: &str| {
        json!({
            "name": name, "in": place, "required": place == "path", "description": text,
            "schema": {"type": "string"},
        })
    };
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": document.paths(&answer, &parameter),
        "components": {"schemas": document.schemas("#/components/schemas/")},
    })
}

/// `/openapi/v2`: all groups and versions in one document.
pub fn v2() -> Value {
    let mut all_paths = Map::new();
    let mut definitions = Map::new();
    for document in Document::ALL {
        let answer = |schema: &str| json!({"description": "OK", "schema": {"$ref": format!("#/definitions/{schema}")}});
        let parameter = |name: &str, place: &str, text: &str| {
            json!({
                "name": name, "in": place, "required": place == "path", "description": text,
                "type": "string",
            })
        };
        all_paths.extend(document.paths(&answer, &parameter));
        definitions.extend(document.schemas("#/definitions/"));
    }
    json!({"swagger": "2.0", "info": info(), "paths": all_paths, "definitions": definitions})
}

fn info() -> Value {
    json!({"title": "loadline", "version": env!("CARGO_PKG_VERSION")})
}

fn list_name(version: Version) -> String {
    format!("{PREFIX}.{}.MetricValueList", version.name())
}

fn paths(
    version: Version,
    answer: &Value,
    parameter: &dyn Fn(&str, &str, &str) -> Value,
) -> Map<String, Value> {
    let root = format!("/apis/{}/{}", custom::GROUP, version.name());
    let selectors = [
        parameter("labelSelector", "query", "Which objects, where the name is *."),
        parameter("metricLabelSelector", "query", "Which series."),
    ];
    let described = [
        ("namespace", "The objects' namespace."),
        ("resource", "The described resource, with its group behind a dot."),
        ("name", "The object's name, or * for all that match labelSelector."),
        ("metric", "The metric's name."),
    ];
    let mut paths = Map::new();
    for (path, what) in [
        ("namespaces/{namespace}/{resource}/{name}/{metric}", "objects in a namespace"),
        ("{resource}/{name}/{metric}", "objects of the cluster"),
        ("namespaces/{namespace}/metrics/{metric}", "a namespace"),
    ] {
        let parameters: Vec<_> = described
            .iter()
            .filter(|(name, _)| path.contains(&format!("{{{name}}}")))
            .map(|(name, text)| parameter(name, "path", text))
            .chain(selectors.iter().cloned())
            .collect();
        let get = json!({
            "description": format!("Read a metric of {what}."),
            "operationId": format!("read{}{}", version.name(), paths.len()),
            "parameters": parameters,
            "responses": {"200": answer},
        });
        paths.insert(format!("{root}/{path}"), json!({"get": get}));
    }
    paths
}

fn schemas(version: Version, reference: &str) -> Map<String, Value> {
    let name = |kind: &str| format!("{PREFIX}.{}.{kind}", version.name());
    let selector =
        json!({"type": "object", "description": "The metric label selector of the request."});
    let text = |description: &str| json!({"type": "string", "description": description});
    let mut value = json!({
        "describedObject": {
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "name": {"type": "string"},
                "namespace": {"type": "string"},
            },
        },
        "timestamp": {"type": "string", "format": "date-time", "description": "When the value was evaluated."},
        "value": text("A quantity."),
    });
    let window = json!({"type": "integer", "format": "int64", "description": "The range that the value covers, in seconds."});
    if let Some(value) = value.as_object_mut() {
        match version {
            Version::V1beta1 => {
                value.insert("window".to_owned(), window);
                value.insert("metricName".to_owned(), text("The metric's name."));
                value.insert("selector".to_owned(), selector);
            }
            Version::V1beta2 => {
                value.insert("windowSeconds".to_owned(), window);
                let properties = json!({"name": text("The metric's name."), "selector": selector});
                let metric = json!({"type": "object", "properties": properties});
                value.insert("metric".to_owned(), metric);
            }
        }
    }
    let item = format!("{reference}{}", name("MetricValue"));
    let list = json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": item}},
        },
        "x-kubernetes-group-version-kind": [
            {"group": custom::GROUP, "version": version.name(), "kind": "MetricValueList"},
        ],
    });
    let value = json!({"type": "object", "properties": value});
    Map::from_iter([(name("MetricValueList"), list), (name("MetricValue"), value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference of a document has to lead somewhere.
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(|field| check(document, field));
            }
            Value::Array(items) => items.iter().for_each(|item| check(document, item)),
            _ => {}
        }
    }

    #[test]
    fn references_lead_somewhere() {
        for document in Document::ALL.map(v3).into_iter().chain([v2()]) {
            check(&document, &document);
        }
        assert_eq!(v2()["paths"].as_object().unwrap().len(), 17);
    }

    #[test]
    fn the_index_names_every_version() {
        let index = v3_index(|_| "abc".to_owned());
        assert_eq!(
            index["paths"]["apis/custom.metrics.k8s.io/v1beta1"]["serverRelativeURL"],
            "/openapi/v3/apis/custom.metrics.k8s.io/v1beta1?hash=abc"
        );
        assert_eq!(
            index["paths"]["apis/external.metrics.k8s.io/v1beta1"]["serverRelativeURL"],
            "/openapi/v3/apis/external.metrics.k8s.io/v1beta1?hash=abc"
        );
        assert_eq!(index["paths"].as_object().unwrap().len(), 5);
    }
}
