//! OpenAPI documents with entity tags: kube-apiserver asks again every minute.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use ring::digest;
use serde_json::Value;

/// A document, unless the client has it.
pub(super) fn tagged(headers: &HeaderMap, document: &Value) -> Response {
    let tag = format!("\"{}\"", hash(document));
    let is_known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|known| known.to_str().is_ok_and(|known| known.contains(&tag)));
    if is_known {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, tag)];
    (headers, document.to_string()).into_response()
}

/// What changes with a document.
pub(super) fn hash(document: &Value) -> String {
    let digest = digest::digest(&digest::SHA256, document.to_string().as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02X}")).collect()
}
