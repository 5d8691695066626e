//! Around every request: a line in the log, counts, and the headers that every answer carries.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use super::{Api, GROUPS};
use crate::wire::attributes::{Attributes, Target};

/// Where kube-apiserver says by which name its audit log knows a request.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

pub(super) async fn observe(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let audit_id = request.headers().get(&AUDIT_ID).cloned();
    let (group, verb) = labels(request.method().as_str(), request.uri().path());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let audit = audit_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let span = tracing::info_span!("request", %method, path, audit_id = audit);

    let mut response = next.run(request).instrument(span.clone()).await;

    let seconds = started.elapsed().as_secs_f64();
    let code = response.status().as_u16();
    span.in_scope(|| tracing::debug!(code, seconds, "answered"));
    api.metrics.request(group, verb, code, seconds);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(audit_id) = audit_id {
        headers.insert(AUDIT_ID, audit_id);
    }
    response
}

/// The labels of a request's metrics: only groups that are served and verbs that exist, whatever was sent.
fn labels(method: &str, path: &str) -> (&'static str, &'static str) {
    let verb = |verb: &str| {
        ["get", "list", "watch", "head", "create", "update", "patch", "delete", "deletecollection"]
            .into_iter()
            .find(|known| *known == verb)
            .unwrap_or("other")
    };
    match Attributes::of(method, path, false) {
        Ok(Attributes { verb: asked, target: Target::Resource { group, .. } }) => {
            let group = GROUPS.iter().find(|served| served.name == group);
            (group.map_or("", |group| group.name), verb(&asked))
        }
        Ok(Attributes { verb: asked, target: Target::Path(_) }) => ("", verb(&asked)),
        Err(_) => ("", "other"),
    }
}
