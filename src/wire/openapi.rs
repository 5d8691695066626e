//! OpenAPI documents: what kube-apiserver merges into the cluster's own and `kubectl explain` reads.
//!
//! They are the files beside this module. Tests compare them with the paths that are served and with the answers.

use serde_json::{Map, Value, json};

use super::{
    custom::{GROUP as CUSTOM, Version},
    external::{GROUP as EXTERNAL, VERSION as EXTERNAL_VERSION},
    resource::{GROUP as RESOURCE, Version as UsageVersion},
};

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
            Self::Custom(version) => (CUSTOM, version.name()),
            Self::External => (EXTERNAL, EXTERNAL_VERSION),
            Self::Resource(version) => (RESOURCE, version.name()),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Custom(Version::V1beta1) => {
                include_str!("openapi/v3/custom.metrics.k8s.io.v1beta1.json")
            }
            Self::Custom(Version::V1beta2) => {
                include_str!("openapi/v3/custom.metrics.k8s.io.v1beta2.json")
            }
            Self::External => include_str!("openapi/v3/external.metrics.k8s.io.v1beta1.json"),
            Self::Resource(UsageVersion::V1beta1) => {
                include_str!("openapi/v3/metrics.k8s.io.v1beta1.json")
            }
            Self::Resource(UsageVersion::V1) => include_str!("openapi/v3/metrics.k8s.io.v1.json"),
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
    read(document.text())
}

/// `/openapi/v2`: all groups and versions in one document.
pub fn v2() -> Value {
    read(include_str!("openapi/v2.json"))
}

/// A file, with the version of this program in place of `unversioned`.
fn read(text: &str) -> Value {
    let mut document: Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(version) = document.pointer_mut("/info/version") {
        *version = env!("CARGO_PKG_VERSION").into();
    }
    document
}

#[cfg(test)]
mod tests;
