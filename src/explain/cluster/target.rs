//! The workload of an autoscaler and its pods, as kube-apiserver has them.

use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, HorizontalPodAutoscaler};
use serde_json::Value;

use super::{super::environment::Target, Cluster};
use crate::{
    core::{
        autoscaler::Scale,
        explain::{
            Cause, Step, name,
            workload::{Documents, OwnedPod, Workload},
        },
        kinds::guess_plural,
        selector::Selector,
    },
    kubernetes::reader::Unread,
};

impl Cluster {
    /// The workload that an autoscaler scales, without its pods.
    pub(crate) async fn workload_of(
        &self,
        hpa: &HorizontalPodAutoscaler,
        namespace: &str,
    ) -> Target {
        let wanted = &hpa.spec.scale_target_ref;
        let called = format!("{}/{}", wanted.kind, wanted.name);
        let workload = match self.workload(wanted, namespace).await {
            Ok(workload) => workload,
            Err(unread) => {
                let step = if unread.is_absent() {
                    let seen = format!("there is no {called} in namespace {namespace}");
                    let advice = "correct `scaleTargetRef` of the autoscaler";
                    Step::found(name::TARGET, Cause::HpaTargetNotFound, seen, advice)
                } else {
                    Step::unknown(name::TARGET, format!("{called} cannot be read: {unread}"))
                };
                return Target { steps: vec![step], ..Target::default() };
            }
        };
        let seen = format!(
            "{called} has {} replicas, selector `{}`",
            workload.scale.spec, workload.selector
        );
        let mut steps = vec![Step::good(name::TARGET, seen)];
        if Selector::parse(&workload.selector).unwrap_or_default().is_empty() {
            let seen = format!("{called} does not say which pods are its own");
            steps.push(Step::unknown(name::TARGET, seen));
        }
        Target { workload: Some(workload), steps, ..Target::default() }
    }

    /// The replicas of a workload, and the selector of its pods.
    async fn workload(
        &self,
        wanted: &CrossVersionObjectReference,
        namespace: &str,
    ) -> Result<Workload, Unread> {
        let called = format!("{}/{}", wanted.kind, wanted.name);
        let path = path_of(wanted, namespace);
        if let Ok(scale) = self.0.get(&format!("{path}/scale")).await {
            // Of no replicas the API server says nothing.
            let number = |pointer: &str| {
                let number = scale.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
                i32::try_from(number).unwrap_or(i32::MAX)
            };
            let selector = scale.pointer("/status/selector").and_then(Value::as_str);
            return Ok(Workload {
                name: called,
                scale: Scale { spec: number("/spec/replicas"), status: number("/status/replicas") },
                selector: selector.unwrap_or_default().to_owned(),
            });
        }
        let mut document = self.0.get(&path).await?;
        if let Some(document) = document.as_object_mut() {
            document.insert("kind".to_owned(), wanted.kind.clone().into());
        }
        let documents = Documents::new(vec![document]);
        let workload = documents.workload(&wanted.kind, namespace, &wanted.name);
        let message = "it has no selector, as what scales has";
        workload.ok_or_else(|| Unread { code: 0, message: message.to_owned() })
    }

    /// The pods that a selector matches and the names of all, with what there is to say where something cannot be read.
    pub(super) async fn pods(
        &self,
        namespace: &str,
        selector: &Selector,
    ) -> (Option<Vec<OwnedPod>>, Vec<String>, Vec<Step>) {
        let unreadable = |what: &str, unread: &Unread| {
            Step::unknown(name::TARGET, format!("the {what} cannot be listed: {unread}"))
        };
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let pods = match self.0.list(&path, "Pod").await {
            Ok(pods) => pods,
            Err(unread) => return (None, Vec::new(), vec![unreadable("pods", &unread)]),
        };
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all = pods.iter().map(|pod| text(pod, "/metadata/name")).collect();
        let is_owned_by = |kind: &str| {
            let mut owners = pods
                .iter()
                .filter_map(|pod| pod.pointer("/metadata/ownerReferences")?.as_array())
                .flatten();
            owners.any(|owner| text(owner, "/kind") == kind)
        };
        let mut steps = Vec::new();
        let mut owners = Vec::new();
        for (kind, group, resource) in
            [("ReplicaSet", "apps", "replicasets"), ("Job", "batch", "jobs")]
        {
            if !is_owned_by(kind) {
                continue;
            }
            let path = format!("/apis/{group}/v1/namespaces/{namespace}/{resource}");
            match self.0.list(&path, kind).await {
                Ok(found) => owners.extend(found),
                Err(unread) => steps.push(unreadable(resource, &unread)),
            }
        }
        let documents = Documents::new(pods.into_iter().chain(owners).collect());
        (Some(documents.pods(namespace, selector)), all, steps)
    }
}

/// The path of a workload. Its kind says the resource, as for all kinds that autoscalers are used with.
fn path_of(wanted: &CrossVersionObjectReference, namespace: &str) -> String {
    let version = match (wanted.kind.as_str(), wanted.api_version.as_deref()) {
        // Manifests still name versions that are no more.
        ("Deployment" | "ReplicaSet" | "StatefulSet", _) => "apps/v1",
        (_, version) => version.unwrap_or("v1"),
    };
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = guess_plural(&wanted.kind);
    format!("{root}/{version}/namespaces/{namespace}/{plural}/{}", wanted.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_have_paths_by_their_kinds() {
        for (kind, version, wanted) in [
            ("Deployment", Some("extensions/v1beta1"), "/apis/apps/v1/namespaces/n/deployments/x"),
            ("StatefulSet", None, "/apis/apps/v1/namespaces/n/statefulsets/x"),
            (
                "Rollout",
                Some("argoproj.io/v1alpha1"),
                "/apis/argoproj.io/v1alpha1/namespaces/n/rollouts/x",
            ),
            ("ReplicationController", Some("v1"), "/api/v1/namespaces/n/replicationcontrollers/x"),
        ] {
            let wanted_by = CrossVersionObjectReference {
                api_version: version.map(str::to_owned),
                kind: kind.to_owned(),
                name: "x".to_owned(),
            };
            assert_eq!(path_of(&wanted_by, "n"), wanted);
        }
    }
}
