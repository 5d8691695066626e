//! What a trace says of a request to a backend, by OpenTelemetry's conventions for clients of databases.

use super::{Config, Error};
use crate::traces::{self, KeyValue, Span, SpanKind};

/// Begins the span of a request to an endpoint for this query or selector. It is named by the endpoint, without what all have
/// in common.
pub(super) fn begin(backend: &Config, path: &'static str, text: &str) -> Span {
    let operation = path.trim_start_matches("/api/v1/");
    let mut span = Span::part(SpanKind::Client, operation);
    span.record(|| {
        let port = backend.url.port_or_known_default().unwrap_or_default();
        [
            KeyValue::new("db.system.name", "prometheus"),
            KeyValue::new("db.operation.name", operation),
            traces::text("db.query.text", text),
            KeyValue::new("server.address", backend.url.host_str().unwrap_or_default().to_owned()),
            KeyValue::new("server.port", i64::from(port)),
            KeyValue::new("loadline.backend", backend.name.clone()),
        ]
    });
    span
}

/// Notes how it ended. One that is given up meanwhile has no outcome.
pub(super) fn end<T>(span: &mut Span, outcome: &Result<T, Error>) {
    let Err(error) = outcome else { return };
    if let Some(status) = error.status() {
        span.record(|| [KeyValue::new("http.response.status_code", i64::from(status))]);
    }
    span.fail(error.kind(), error.public().to_string());
}
