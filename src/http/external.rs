//! The handler of external.metrics.k8s.io.

use axum::response::Response;

use super::{
    Api, answer_of,
    delegated::{self, Hop},
    error::ApiError,
    parameters::Parameters,
};
use crate::{
    delegates::Question,
    reads::{ReadError, external::ExternalRequest},
    wire::{delegated::ExternalRead, external, path},
};

/// The values that a path asks for.
pub(super) async fn values(
    api: &Api,
    path: &str,
    parameters: &Parameters<'_>,
    hop: Hop,
) -> Result<Response, ApiError> {
    answer_of("metric", Box::pin(read(api, path, parameters, hop))).await
}

async fn read(
    api: &Api,
    path: &str,
    parameters: &Parameters<'_>,
    hop: Hop,
) -> Result<Vec<u8>, ApiError> {
    let request = ExternalRequest {
        path: path::parse_external(path).map_err(|error| ApiError::bad_request(&error))?,
        selector: parameters.labels()?,
    };
    let question = || {
        let (path, selector) = (request.path.clone(), request.selector.clone());
        Question::external(ExternalRead { path, selector })
    };
    let has_rule = || api.reads.serves_external(&request.path);
    delegated::answer((api, hop), question, has_rule, ours(api, &request)).await
}

async fn ours(api: &Api, request: &ExternalRequest) -> Result<Vec<u8>, ReadError> {
    let values = api.reads.read_external(request).await?;
    let (window, vector) = (values.window_seconds, values.vector());
    Ok(external::encode(&request.path.metric, window, &values.readings, vector))
}
