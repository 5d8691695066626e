//! The handlers of metrics.k8s.io.

use std::time::SystemTime;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};

use super::{Api, answer_of, error::ApiError, parameters::Parameters};
use crate::{
    reads::{ReadError, resource::UsageRequest},
    wire::{
        discovery::{self, RESOURCE},
        path::{self, PathError, UsagePath},
        resource::{Encoder, Version},
        status::Reason,
    },
};

/// The version document. Without rules there is none, as with prometheus-adapter: an `APIService` that is left over is not Available
/// then, where an empty document would hide that nobody serves usage.
pub(super) fn resources(api: &Api, version: Version) -> Result<Response, ApiError> {
    if !api.rules.served().contains(&RESOURCE) {
        return Err(ApiError::not_found());
    }
    Ok(Json(discovery::usage_resources(version.name())).into_response())
}

/// The usage that a path asks for.
pub(super) async fn usage(
    api: &Api,
    version: Version,
    path: &str,
    parameters: &Parameters<'_>,
) -> Result<Response, ApiError> {
    let path = path::parse_usage(path).map_err(|error| match error {
        PathError::UsageForm => ApiError::not_found(),
        error => ApiError::bad_request(&error),
    })?;
    if parameters.watch() {
        let resource = match &path {
            UsagePath::Pods { .. } => "pods",
            UsagePath::Nodes { .. } => "nodes",
        };
        let text =
            format!("watch is not supported on resources of kind \"{resource}.metrics.k8s.io\"");
        return Err(ApiError::new(Reason::MethodNotAllowed, text));
    }
    answer_of("usage", Box::pin(read(api, version, path, parameters))).await
}

async fn read(
    api: &Api,
    version: Version,
    path: UsagePath,
    parameters: &Parameters<'_>,
) -> Result<Vec<u8>, ApiError> {
    let window = api.reads.usage_window().ok_or(ReadError::NoUsage)?;
    let encoder = Encoder::new(version, window, now_ms());
    // What the selectors of a list select.
    let list = |namespace| {
        let (labels, fields) = (parameters.labels()?, parameters.fields()?);
        Ok::<_, ApiError>(UsageRequest { namespace, name: None, labels, fields })
    };
    Ok(match path {
        UsagePath::Pods { namespace, name: None } => {
            encoder.pods(&api.reads.pods(&list(namespace)?).await?)
        }
        UsagePath::Pods { namespace, name } => {
            let request = UsageRequest { namespace, name, ..UsageRequest::default() };
            let pods = api.reads.pods(&request).await?;
            pods.first().map(|pod| encoder.pod(pod)).ok_or_else(ApiError::not_found)?
        }
        UsagePath::Nodes { name: None } => encoder.nodes(&api.reads.nodes(&list(None)?).await?),
        UsagePath::Nodes { name } => {
            let request = UsageRequest { name, ..UsageRequest::default() };
            let nodes = api.reads.nodes(&request).await?;
            nodes.first().map(|node| encoder.node(node)).ok_or_else(ApiError::not_found)?
        }
    })
}

/// The time in milliseconds since the epoch.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or_default()
}
