//! The handler of custom.metrics.k8s.io.

use axum::response::Response;

use super::{Api, answer_of, error::ApiError, parameters::Parameters};
use crate::{
    reads::MetricRequest,
    wire::{
        custom::{self, Version},
        path,
    },
};

/// The values that a path asks for.
pub(super) async fn values(
    api: &Api,
    version: Version,
    path: &str,
    parameters: &Parameters<'_>,
) -> Result<Response, ApiError> {
    answer_of("metric", Box::pin(read(api, version, path, parameters))).await
}

async fn read(
    api: &Api,
    version: Version,
    path: &str,
    parameters: &Parameters<'_>,
) -> Result<Vec<u8>, ApiError> {
    let request = MetricRequest {
        objects: parameters.labels()?,
        metric: parameters.metric_labels()?,
        path: path::parse(path).map_err(|error| ApiError::bad_request(&error))?,
    };
    let values = api.reads.read(&request).await?;
    let described = custom::Described {
        kind: &values.kind,
        namespace: request.path.namespace.as_deref(),
        metric: &request.path.metric,
        selector: values.selector.as_ref(),
        window_seconds: values.window_seconds,
    };
    Ok(custom::encode(version, described, &values.readings))
}
