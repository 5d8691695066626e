//! What every request passes, in this order: panic guard, compression, log line and metrics, is it served, who and may they, form
//! of the answer.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::Request,
    http::{self, HeaderValue, Method, header},
    response::Response,
};
use futures::FutureExt as _;
use tower::{ServiceExt as _, service_fn};
use tower_http::compression::{
    Compression,
    predicate::{Predicate as _, SizeAbove},
};

use super::{Api, error, observe};

/// Answers are compressed from this size on, as kube-apiserver's are. Every client in Go asks for it, and the answers that
/// autoscalers live on are so small that it would only cost both sides time.
pub(super) const LARGE: usize = 128 << 10;

/// Where requests are answered.
pub(super) struct Edge {
    pub(super) api: Arc<Api>,
    /// All paths.
    pub(super) routes: Router,
}

/// Answers a request. What few requests need is in boxes of its own: all carry the room for the rest.
pub(super) async fn pass(edge: &Edge, request: Request) -> Response {
    let is_head = request.method() == Method::HEAD;
    let answer = async {
        let accepted = request.headers().get_all(header::ACCEPT_ENCODING);
        let accepted: Vec<_> = accepted.into_iter().cloned().collect();
        let response = observe::observe(edge, request).await;
        if SizeAbove::new(LARGE as u64).should_compress(&response) {
            compressed(accepted, response).boxed().await
        } else {
            response
        }
    };
    let response = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(error::panicked);
    if is_head { without_body(response) } else { response }
}

/// The answer to HEAD, which says how long that to GET would be.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

/// An answer in the encoding that was asked for.
async fn compressed(accepted: Vec<HeaderValue>, response: Response) -> Response {
    let mut request = http::Request::new(response);
    for encoding in accepted {
        request.headers_mut().append(header::ACCEPT_ENCODING, encoding);
    }
    let plain = service_fn(|request: http::Request<Response>| {
        std::future::ready(Ok::<_, Infallible>(request.into_body()))
    });
    match Compression::new(plain).gzip(true).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

impl Edge {
    /// Hands a request that may be answered to who answers it.
    pub(super) async fn route(&self, mut request: Request) -> Response {
        // The whole answer, so that its length is right in whatever form.
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        match self.routes.clone().oneshot(request).boxed().await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
