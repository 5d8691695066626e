//! Around every request: a line in the log, counts, a span, and the headers that every answer carries.

mod span;

use std::time::Instant;

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};
pub(super) use span::traced;
use tracing::Instrument as _;

use super::{Api, router::GROUPS, stack::Asked};
use crate::{
    traces::AUDIT_ID,
    wire::{
        attributes::{Attributes, Target},
        path::PathError,
    },
};

/// Has a request answered, and records it in the log and in metrics.
pub(super) async fn observed(
    api: &Api,
    asked: &Asked<'_>,
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let started = Instant::now();
    let audit_id = request.headers().get(&AUDIT_ID).cloned();
    let (group, verb) = labels(&asked.attributes);
    let cause = api.traces.request(request.headers()).undecided();
    let line = tracing::info_span!(
        "request",
        method = %request.method(),
        path = asked.path,
        audit_id = cause.audit_id(),
        trace_id = cause.trace_id().map(tracing::field::display),
    );
    let mut response = cause.during(next(request)).instrument(line.clone()).await;

    let seconds = started.elapsed().as_secs_f64();
    let code = response.status().as_u16();
    line.in_scope(|| {
        api.failures.tell(&mut response, &api.records);
        tracing::debug!(code, seconds, "answered");
    });
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
fn labels(attributes: &Result<Attributes<'_>, PathError>) -> (&'static str, &'static str) {
    let Ok(attributes) = attributes else { return ("", "other") };
    let group = match &attributes.target {
        Target::Resource { group, .. } => {
            GROUPS.iter().find(|served| served.name == group).map_or("", |group| group.name)
        }
        Target::Path(_) => "",
    };
    let verb =
        ["get", "list", "watch", "head", "create", "update", "patch", "delete", "deletecollection"]
            .into_iter()
            .find(|known| *known == attributes.verb)
            .unwrap_or("other");
    (group, verb)
}
