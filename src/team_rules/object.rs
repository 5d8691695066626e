//! An object as a watch has it. A spec that cannot be read is no reason to read no other one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    core::{
        excerpt::{SAID, excerpt},
        kinds::Kind,
        rules::TeamRuleKind,
        team_rules::{Key, MAX_SPEC_BYTES, Received},
    },
    kubernetes::list::Metadata,
};

/// A `MetricRule` or `ClusterMetricRule`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Watched {
    metadata: FullMetadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FullMetadata {
    #[serde(flatten)]
    common: Metadata,
    #[serde(default)]
    uid: String,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
}

impl AsRef<Metadata> for Watched {
    fn as_ref(&self) -> &Metadata {
        &self.metadata.common
    }
}

impl Watched {
    /// Which object it is.
    pub(super) fn key(&self, kind: TeamRuleKind) -> Key {
        let Metadata { namespace, name, .. } = &self.metadata.common;
        Key { kind, namespace: namespace.as_str().into(), name: name.as_str().into() }
    }

    /// What is used of it.
    pub(super) fn received(self, kind: TeamRuleKind) -> Received {
        let key = self.key(kind);
        let FullMetadata { uid, generation, creation_timestamp, .. } = self.metadata;
        let bytes = self.spec.to_string().len();
        let spec = if bytes > MAX_SPEC_BYTES {
            Err(format!("the spec has more than {MAX_SPEC_BYTES} bytes"))
        } else {
            serde_json::from_value(self.spec)
                .map(|spec| (spec, bytes))
                .map_err(|error| format!("spec: {}", excerpt(&error.to_string(), SAID)))
        };
        Received {
            key,
            uid,
            created: creation_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            generation,
            spec,
            status: serde_json::from_value(self.status).ok(),
        }
    }
}

/// The kind as the API server has it.
pub(super) fn kind(kind: TeamRuleKind) -> Kind {
    let (plural, namespaced) = match kind {
        TeamRuleKind::MetricRule => ("metricrules", true),
        TeamRuleKind::ClusterMetricRule => ("clustermetricrules", false),
    };
    Kind::new(TeamRuleKind::GROUP, TeamRuleKind::VERSION, plural, kind.kind(), namespaced)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn received(value: Value) -> Received {
        let watched: Watched = serde_json::from_value(value).unwrap();
        watched.received(TeamRuleKind::MetricRule)
    }

    fn written(spec: &Value) -> Value {
        json!({
            "metadata": {
                "name": "queue", "namespace": "shop", "uid": "1", "generation": 3, "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec,
        })
    }

    #[test]
    fn a_spec_that_cannot_be_read_is_said_and_the_object_is_known() {
        let good = json!({"metric": "queue", "query": "q", "target": "external"});
        let found = received(written(&good));
        assert_eq!(found.key.to_string(), "MetricRule shop/queue");
        assert_eq!((&*found.uid, found.generation, found.status), ("1", Some(3), None));
        let (spec, bytes) = found.spec.unwrap();
        assert_eq!((&*spec.metric, bytes), ("queue", good.to_string().len()));
        let long =
            json!({"metric": "queue", "query": "q".repeat(MAX_SPEC_BYTES), "target": "external"});
        let unknown =
            json!({"metric": "queue", "query": "q", "target": "external", "windows": "2m"});
        for (spec, why) in [
            (long, "8192 bytes"),
            (unknown, "windows"),
            (json!({"metric": 7}), "spec: "),
            (Value::Null, "spec: "),
        ] {
            let problem = received(written(&spec)).spec.unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn what_an_object_need_not_have_may_be_missing() {
        let found = received(json!({"metadata": {"name": "a"}, "status": {"conditions": "none"}}));
        assert_eq!((found.created, found.status), (Timestamp::UNIX_EPOCH, None));
    }
}
