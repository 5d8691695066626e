//! The status of custom resources.

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde::Serialize;
use serde_json::json;

use super::refusal::{Refusal, deadline};
use crate::core::kinds::Kind;

/// Replaces the status of an object by kind, namespace and name; without a namespace it is cluster-scoped. An object of the same name
/// that has another UID is a conflict. What is written twice is written once.
pub async fn write(
    client: &Client,
    (kind, namespace, name): (&Kind, &str, &str),
    uid: &str,
    status: &impl Serialize,
) -> Result<(), Refusal> {
    let resource = ApiResource {
        group: kind.resource.group.clone(),
        version: kind.version.clone(),
        api_version: kind.api_version(),
        kind: kind.kind.clone(),
        plural: kind.resource.resource.clone(),
    };
    let api: Api<DynamicObject> = if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    };
    // A list that is patched is replaced whole; keys that are gone have to be named.
    let mut body = json!({"series": null, "value": null, "lastError": null});
    if let (Some(body), Ok(serde_json::Value::Object(status))) =
        (body.as_object_mut(), serde_json::to_value(status))
    {
        body.extend(status);
    }
    let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "status": body}));
    deadline(api.patch_status(name, &PatchParams::default(), &patch)).await?;
    Ok(())
}
