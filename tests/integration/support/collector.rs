//! A collector of traces: what it is sent by OTLP over HTTP it decodes and keeps.

use std::{
    io::Read as _,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value},
    trace::v1::Span,
};
use prost::Message as _;
use tokio_util::task::AbortOnDropHandle;

use super::serve;

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>,
    refusal: Mutex<Option<u16>>,
}

/// The collector, on loopback.
pub(crate) struct Collector {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

/// The text of each attribute.
pub(crate) fn texts(attributes: &[KeyValue]) -> Vec<(&str, String)> {
    let text = |pair: &KeyValue| match pair.value.clone().and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
        other => panic!("{}: {other:?}", pair.key),
    };
    attributes.iter().map(|pair| (pair.key.as_str(), text(pair))).collect()
}

/// The text of an attribute that has to be there.
#[track_caller]
pub(crate) fn attribute(span: &Span, key: &str) -> String {
    let found = texts(&span.attributes).into_iter().find(|(known, _)| *known == key);
    found.unwrap_or_else(|| panic!("no {key} in {span:?}")).1
}

/// The digits of an identifier.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&shared));
        let (url, task) = serve(router).await;
        Self { url, shared, _task: task }
    }

    /// Answers with this status from now on.
    pub(crate) fn refuse(&self, status: u16) {
        *self.shared.refusal.lock().expect("not poisoned") = Some(status);
    }

    /// The headers and content of every request so far.
    pub(crate) fn requests(&self) -> Vec<(HeaderMap, ExportTraceServiceRequest)> {
        self.shared.requests.lock().expect("not poisoned").clone()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.requests().into_iter();
        let scopes = requests
            .flat_map(|(_, request)| request.resource_spans)
            .flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The spans of a trace.
    pub(crate) fn trace(&self, id: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| hex(&span.trace_id) == id).collect()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let plain = if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(body.as_ref()).read_to_end(&mut plain).expect("gzip");
        plain
    } else {
        body.to_vec()
    };
    let request = ExportTraceServiceRequest::decode(plain.as_slice()).expect("OTLP");
    shared.requests.lock().expect("not poisoned").push((headers, request));
    let refusal = *shared.refusal.lock().expect("not poisoned");
    refusal.map_or(StatusCode::OK, |status| StatusCode::from_u16(status).expect("a status"))
}
