//! Around every request: a line in the log, counts, a span, and the headers that every answer carries.

mod span;

use std::time::{Instant, SystemTime};

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use tracing::Instrument as _;

use super::{
    GROUPS,
    edge::Edge,
    guard::{self, Refusal},
    negotiation,
};
use crate::{
    traces::{AUDIT_ID, Span},
    wire::{
        attributes::{Attributes, Target},
        path::PathError,
    },
};

/// Answers a request and tells of it. Of what strangers ask, traces tell nothing.
pub(super) async fn observe(edge: &Edge, mut request: Request) -> Response {
    let (started, came) = (Instant::now(), SystemTime::now());
    let audit_id = request.headers().get(&AUDIT_ID).cloned();
    let uri = request.uri().clone();
    let attributes =
        Attributes::of(request.method().as_str(), uri.path(), guard::asks_to_watch(uri.query()));
    let (group, verb) = labels(&attributes);
    let cause = edge.api.traces.request(request.headers()).undecided();
    let line = tracing::info_span!(
        "request",
        method = %request.method(),
        path = uri.path(),
        audit_id = cause.audit_id(),
        trace_id = cause.trace_id().map(tracing::field::display),
    );
    let names_trace = cause.trace_id().is_some();

    let admitted = guard::admit(&edge.api, attributes.as_ref().map_err(Clone::clone), &mut request);
    let admitted = cause.clone().during(admitted.instrument(line.clone())).await;
    let is_told = admitted.as_ref().map_or_else(Refusal::is_told, |_| true);
    let mut span = if is_told {
        span::begin(cause, came, &request, attributes.as_ref().ok())
    } else {
        Span::from(cause.untraced())
    };
    let cause = span.cause();
    if let (false, Some(id)) = (names_trace, cause.trace_id()) {
        line.record("trace_id", tracing::field::display(id));
    }
    let mut response = match admitted {
        // What it holds of its user's share is given back with the answer.
        Ok(_share) => {
            let answer = negotiation::negotiate(edge, request).instrument(line.clone());
            cause.during(answer).await
        }
        Err(refusal) => line.in_scope(|| refusal.into_response()),
    };

    let seconds = started.elapsed().as_secs_f64();
    let code = response.status().as_u16();
    span::end(&mut span, code);
    line.in_scope(|| {
        edge.api.failures.log(&mut response);
        tracing::debug!(code, seconds, "answered");
    });
    edge.api.metrics.request(group, verb, code, seconds);
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
