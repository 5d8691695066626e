//! The handlers of external.metrics.k8s.io.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    http::Uri,
    response::Response,
};

use super::{Api, Parameters, error::ApiError, lists::Listed};
use crate::{
    core::selector::Selector,
    reads::external::ExternalRequest,
    wire::{
        external,
        path::{self, ExternalPath},
        status::Reason,
    },
};

/// The version document, which is answered whether or not there are rules.
pub(super) async fn resources(Path(version): Path<String>) -> Result<Extension<Listed>, ApiError> {
    if version != external::VERSION {
        return Err(ApiError::not_found());
    }
    Ok(Extension(Listed::External))
}

pub(super) async fn values(
    State(api): State<Arc<Api>>,
    uri: Uri,
    Path((version, _)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    if version != external::VERSION {
        return Err(ApiError::not_found());
    }
    super::made(Box::pin(read(&api, &uri))).await
}

async fn read(api: &Api, uri: &Uri) -> Result<Vec<u8>, ApiError> {
    let question = question(uri)?;
    let values = api.reads.read_external(&question).await?;
    let ExternalPath { metric, .. } = &question.path;
    Ok(external::encode(metric, values.window_seconds, &values.readings))
}

fn question(uri: &Uri) -> Result<ExternalRequest, ApiError> {
    // The raw path: a decoded one could not tell a slash in a name from one between segments.
    let rest = uri.path().splitn(5, '/').nth(4).unwrap_or_default();
    let bad =
        |problem: &dyn std::fmt::Display| ApiError::new(Reason::BadRequest, problem.to_string());
    let parameters = Parameters::parse(uri.query().unwrap_or_default());
    let selector = parameters.label_selector.unwrap_or_default();
    Ok(ExternalRequest {
        path: path::parse_external(rest).map_err(|error| bad(&error))?,
        selector: Selector::parse(&selector).map_err(|error| bad(&error))?,
    })
}
