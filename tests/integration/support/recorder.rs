//! A way to a real backend on which requests are remembered.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use tokio_util::task::AbortOnDropHandle;

use super::serve;

struct Shared {
    target: String,
    client: reqwest::Client,
    passed: Mutex<Vec<(String, HeaderMap)>>,
}

/// Passes requests on, and remembers their paths and headers.
pub(crate) struct Recorder {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl Recorder {
    /// A way to this URL.
    pub(crate) async fn start(target: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let (target, passed) = (target.to_owned(), Mutex::default());
        let shared = Arc::new(Shared { target, client, passed });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let (url, task) = serve(router).await;
        Self { url, shared, _task: task }
    }

    /// The headers of the requests for a path since the last call.
    pub(crate) fn take(&self, path: &str) -> Vec<HeaderMap> {
        let mut passed = self.shared.passed.lock().expect("not poisoned");
        let taken = passed.extract_if(.., |(known, _)| known == path);
        taken.map(|(_, headers)| headers).collect()
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    shared.passed.lock().expect("not poisoned").push((path, head.headers.clone()));
    let url = format!("{}{}", shared.target, head.uri);
    let body = to_bytes(body, 1 << 20).await.expect("a small body");
    let mut headers = head.headers;
    for hop in ["host", "content-length", "accept-encoding"] {
        headers.remove(hop);
    }
    let answer = shared.client.request(head.method, url).headers(headers).body(body).send().await;
    let answer = answer.expect("the backend is there");
    let status = answer.status();
    (status, Body::from(answer.bytes().await.expect("a body"))).into_response()
}
