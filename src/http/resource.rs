//! The handlers of metrics.k8s.io.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{Path, State},
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Api, Parameters, deadline::in_time, error::ApiError, guard::asks_to_watch};
use crate::{
    core::{fields::FieldSelector, selector::Selector},
    reads::{ReadError, resource::UsageRequest},
    wire::{
        discovery::{self as documents, RESOURCE},
        path::{self, PathError, UsagePath},
        resource::{self, Version},
        status::Reason,
    },
};

/// The version document. Without rules there is none, as with prometheus-adapter: an `APIService` that is left over is not Available
/// then, where an empty document would hide that nobody serves usage.
pub(super) async fn resources(
    State(api): State<Arc<Api>>,
    Path(version): Path<String>,
) -> Result<Json<impl Serialize>, ApiError> {
    let version = Version::parse(&version).ok_or_else(ApiError::not_found)?;
    if !api.rules.served().contains(&RESOURCE) {
        return Err(ApiError::not_found());
    }
    Ok(Json(documents::usage_resources(version.name())))
}

pub(super) async fn usage(
    State(api): State<Arc<Api>>,
    uri: Uri,
    Path((version, _)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let version = Version::parse(&version).ok_or_else(ApiError::not_found)?;
    // The raw path: a decoded one could not tell a slash in a name from one between segments.
    let rest = uri.path().splitn(5, '/').nth(4).unwrap_or_default();
    let path = path::parse_usage(rest).map_err(|error| match error {
        PathError::UsageForm => ApiError::not_found(),
        error => ApiError::new(Reason::BadRequest, error.to_string()),
    })?;
    if asks_to_watch(uri.query()) {
        let resource = match &path {
            UsagePath::Pods { .. } => "pods",
            UsagePath::Nodes { .. } => "nodes",
        };
        let text =
            format!("watch is not supported on resources of kind \"{resource}.metrics.k8s.io\"");
        return Err(ApiError::new(Reason::MethodNotAllowed, text));
    }
    let read = answer(&api, version, path, uri.query().unwrap_or_default());
    let body = in_time("usage", read).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn answer(
    api: &Api,
    version: Version,
    path: UsagePath,
    query: &str,
) -> Result<Vec<u8>, ApiError> {
    let window = api.reads.usage_window().ok_or(ReadError::NoUsage)?;
    let encoder = resource::Encoder::new(version, window, now_ms());
    Ok(match path {
        UsagePath::Pods { namespace, name: None } => {
            let question = UsageRequest { namespace, ..selection(query)? };
            encoder.pods(&api.reads.pods(&question).await?)
        }
        UsagePath::Pods { namespace, name } => {
            let question = UsageRequest { namespace, name, ..UsageRequest::default() };
            let pods = api.reads.pods(&question).await?;
            pods.first().map(|pod| encoder.pod(pod)).ok_or_else(ApiError::not_found)?
        }
        UsagePath::Nodes { name: None } => {
            encoder.nodes(&api.reads.nodes(&selection(query)?).await?)
        }
        UsagePath::Nodes { name } => {
            let question = UsageRequest { name, ..UsageRequest::default() };
            let nodes = api.reads.nodes(&question).await?;
            nodes.first().map(|node| encoder.node(node)).ok_or_else(ApiError::not_found)?
        }
    })
}

/// What the selectors of a list select.
fn selection(query: &str) -> Result<UsageRequest, ApiError> {
    let bad =
        |problem: &dyn std::fmt::Display| ApiError::new(Reason::BadRequest, problem.to_string());
    let Parameters { label_selector, fields, .. } = Parameters::parse(query);
    let labels = Selector::parse(&label_selector.unwrap_or_default());
    let selected = FieldSelector::parse(&fields.unwrap_or_default());
    Ok(UsageRequest {
        labels: labels.map_err(|error| bad(&error))?,
        fields: selected.map_err(|error| bad(&error))?,
        ..UsageRequest::default()
    })
}

/// The time in milliseconds since the epoch.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or_default()
}
