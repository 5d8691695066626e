//! The handler of external.metrics.k8s.io.

use axum::response::Response;

use super::{Api, answer_of, error::ApiError, parameters::Parameters};
use crate::{
    reads::external::ExternalRequest,
    wire::{external, path},
};

/// The values that a path asks for.
pub(super) async fn values(
    api: &Api,
    path: &str,
    parameters: &Parameters<'_>,
) -> Result<Response, ApiError> {
    answer_of("metric", Box::pin(read(api, path, parameters))).await
}

async fn read(api: &Api, path: &str, parameters: &Parameters<'_>) -> Result<Vec<u8>, ApiError> {
    let request = ExternalRequest {
        path: path::parse_external(path).map_err(|error| ApiError::bad_request(&error))?,
        selector: parameters.labels()?,
    };
    let values = api.reads.read_external(&request).await?;
    let (window, vector) = (values.window_seconds, values.vector());
    Ok(external::encode(&request.path.metric, window, &values.readings, vector))
}
