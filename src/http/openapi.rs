//! The OpenAPI endpoints, with entity tags: kube-apiserver asks again every minute.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use ring::digest;
use serde_json::Value;

use super::error::ApiError;
use crate::wire::openapi::{self, Document};

pub(super) async fn v2(headers: HeaderMap) -> Response {
    tagged(&headers, &openapi::v2())
}

pub(super) async fn v3(headers: HeaderMap) -> Response {
    tagged(&headers, &openapi::v3_index(hash))
}

pub(super) async fn group_version(
    Path((group, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match Document::parse(&group, &version) {
        Some(document) => tagged(&headers, &openapi::v3(document)),
        None => ApiError::not_found().into_response(),
    }
}

fn tagged(headers: &HeaderMap, document: &Value) -> Response {
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

fn hash(document: &Value) -> String {
    let digest = digest::digest(&digest::SHA256, document.to_string().as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02X}")).collect()
}
