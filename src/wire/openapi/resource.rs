//! What metrics.k8s.io has in OpenAPI documents.

use serde_json::{Map, Value, json};

use crate::wire::resource::{GROUP, Version};

/// What is read: the kind, the paths of one and of many, and where the objects are.
const KINDS: [(&str, &[&str], &str); 2] = [
    ("NodeMetrics", &["nodes"], "nodes/{name}"),
    ("PodMetrics", &["namespaces/{namespace}/pods", "pods"], "namespaces/{namespace}/pods/{name}"),
];

fn name(version: Version, kind: &str) -> String {
    // Kubernetes names the schemas by its Go packages.
    format!("io.k8s.metrics.pkg.apis.metrics.{}.{kind}", version.name())
}

pub(super) fn paths(
    version: Version,
    answer: &dyn Fn(&str) -> Value,
    parameter: &dyn Fn(&str, &str, &str) -> Value,
) -> Map<String, Value> {
    let root = format!("/apis/{GROUP}/{}", version.name());
    let selectors = [
        parameter("labelSelector", "query", "Which objects, by their labels."),
        parameter(
            "fieldSelector",
            "query",
            "Which objects, by metadata.name and metadata.namespace.",
        ),
    ];
    let segments =
        [("namespace", "The namespace of the pods."), ("name", "The name of the object.")];
    let mut paths = Map::new();
    for (kind, lists, single) in KINDS {
        let list_kind = format!("{kind}List");
        let all = lists.iter().map(|path| (*path, list_kind.as_str(), true));
        for (path, kind, is_list) in all.chain([(single, kind, false)]) {
            let parameters: Vec<_> = segments
                .iter()
                .filter(|(segment, _)| path.contains(&format!("{{{segment}}}")))
                .map(|(segment, text)| parameter(segment, "path", text))
                .chain(selectors.iter().filter(|_| is_list).cloned())
                .collect();
            let get = json!({
                "description": format!("Read {kind}."),
                "operationId": format!("read{}{kind}{}", version.name(), paths.len()),
                "parameters": parameters,
                "responses": {"200": answer(&name(version, kind))},
            });
            paths.insert(format!("{root}/{path}"), json!({"get": get}));
        }
    }
    paths
}

pub(super) fn schemas(version: Version, reference: &str) -> Map<String, Value> {
    let usage = json!({
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "Quantities of cpu and memory.",
    });
    let container = json!({
        "type": "object",
        "required": ["name", "usage"],
        "properties": {
            "name": {"type": "string", "description": "The container's name."},
            "usage": usage,
        },
    });
    let containers = json!({
        "type": "array",
        "items": {"$ref": format!("{reference}{}", name(version, "ContainerMetrics"))},
    });
    let mut schemas = Map::from_iter([(name(version, "ContainerMetrics"), container)]);
    for (kind, field, content) in
        [("NodeMetrics", "usage", usage), ("PodMetrics", "containers", containers)]
    {
        let mut object = json!({
            "type": "object",
            "required": ["timestamp", "window", field],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "timestamp": {"type": "string", "format": "date-time", "description": "When usage was evaluated."},
                "window": {"type": "string", "description": "The range that usage is measured over."},
            },
            "x-kubernetes-group-version-kind": [
                {"group": GROUP, "version": version.name(), "kind": kind},
            ],
        });
        if let Some(properties) = object.pointer_mut("/properties").and_then(Value::as_object_mut) {
            properties.insert(field.to_owned(), content);
        }
        let list_kind = format!("{kind}List");
        let list = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "items": {"type": "array", "items": {"$ref": format!("{reference}{}", name(version, kind))}},
            },
            "x-kubernetes-group-version-kind": [
                {"group": GROUP, "version": version.name(), "kind": list_kind},
            ],
        });
        schemas.insert(name(version, kind), object);
        schemas.insert(name(version, &list_kind), list);
    }
    schemas
}
