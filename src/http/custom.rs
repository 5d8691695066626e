//! The handler of custom.metrics.k8s.io.

use std::sync::Arc;

use axum::response::Response;

use super::{
    Api, answer_of,
    delegated::{self, Hop},
    error::ApiError,
    parameters::Parameters,
};
use crate::{
    delegates::Question,
    reads::{MetricRequest, ReadError},
    wire::{
        custom::{self, Version},
        delegated::CustomRead,
        path,
    },
};

/// The values that a path asks for.
pub(super) async fn values(
    api: &Api,
    (version, path): (Version, &str),
    parameters: &Parameters<'_>,
    hop: Hop,
) -> Result<Response, ApiError> {
    answer_of("metric", Box::pin(read(api, (version, path), parameters, hop))).await
}

async fn read(
    api: &Api,
    (version, path): (Version, &str),
    parameters: &Parameters<'_>,
    hop: Hop,
) -> Result<Vec<u8>, ApiError> {
    let request = MetricRequest {
        objects: parameters.labels()?,
        metric: parameters.metric_labels()?,
        path: path::parse(path).map_err(|error| ApiError::bad_request(&error))?,
    };
    let question = || {
        let resource = &request.path.resource;
        let catalog = api.reads.catalog();
        let kind = catalog.kinds().resolve(&resource.group, &resource.resource);
        Question::Custom(CustomRead {
            kind: kind.map(Arc::clone),
            path: request.path.clone(),
            objects: request.objects.clone(),
            metric: request.metric.clone(),
            version,
        })
    };
    let has_rule = || api.reads.serves(&request.path);
    delegated::answer((api, hop), question, has_rule, ours(api, version, &request)).await
}

async fn ours(api: &Api, version: Version, request: &MetricRequest) -> Result<Vec<u8>, ReadError> {
    let values = api.reads.read(request).await?;
    let described = custom::Described {
        kind: &values.kind,
        namespace: request.path.namespace.as_deref(),
        metric: &request.path.metric,
        selector: values.selector.as_ref(),
        window_seconds: values.window_seconds,
    };
    Ok(custom::encode(version, described, &values.readings))
}
