//! A way to Prometheus on which queries can be made to fail, or to be answered in part.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{install_tls_provider, serve};

/// The largest request that is passed on.
const MAX_BYTES: usize = 1 << 20;

/// What becomes of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// It is passed on.
    Open,
    /// It is answered by an error.
    Failing,
    /// It is answered without a sample, and the answer says that a part is missing.
    Partial,
}

/// Passes requests on to a Prometheus.
pub(super) struct Gate {
    pub(super) url: String,
    mode: Arc<Mutex<Mode>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Way {
    mode: Arc<Mutex<Mode>>,
    client: reqwest::Client,
    url: String,
}

impl Gate {
    pub(super) async fn start(prometheus: &str) -> Self {
        install_tls_provider();
        let mode = Arc::new(Mutex::new(Mode::Open));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let way = Way { mode: Arc::clone(&mode), client, url: prometheus.to_owned() };
        let (url, task) = serve(Router::new().fallback(pass).with_state(way)).await;
        Self { url, mode, _task: task }
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock().expect("not poisoned") = mode;
    }
}

async fn pass(State(way): State<Way>, request: Request) -> Response {
    let mode = *way.mode.lock().expect("not poisoned");
    let (head, body) = request.into_parts();
    let is_query = head.uri.path() == "/api/v1/query";
    if is_query && mode == Mode::Failing {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if is_query && mode == Mode::Partial {
        let data = json!({"resultType": "vector", "result": []});
        let answer = json!({"status": "success", "isPartial": true, "data": data});
        return axum::Json(answer).into_response();
    }
    let body = axum::body::to_bytes(body, MAX_BYTES).await.expect("a small body");
    let mut request = way.client.request(head.method, format!("{}{}", way.url, head.uri));
    if let Some(content) = head.headers.get("content-type") {
        request = request.header("content-type", content);
    }
    match request.body(body).send().await {
        Ok(answer) => {
            let status = answer.status();
            // Prometheus answers nothing else.
            let content = [("content-type", "application/json")];
            (status, content, answer.bytes().await.unwrap_or_default()).into_response()
        }
        Err(_gone) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
