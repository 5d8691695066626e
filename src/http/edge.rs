//! What every request passes, in this order: panic guard, compression, log line and metrics, who and may they, form of the
//! answer. It stands before the table of paths, so that the reads that HorizontalPodAutoscalers live on need not be looked up
//! there.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use tower::{ServiceExt as _, service_fn};
use tower_http::compression::{
    Compression,
    predicate::{DefaultPredicate, Predicate as _},
};

use super::{Api, error, observe};
use crate::wire::custom::Version;

/// Where requests are answered.
pub(super) struct Edge {
    pub(super) api: Arc<Api>,
    /// All paths.
    pub(super) routes: Router,
}

/// Answers a request.
pub(super) async fn pass(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let answer = async {
        if request.headers().contains_key(header::ACCEPT_ENCODING) {
            compressed(Arc::clone(&edge), request).await
        } else {
            plain(&edge, request).await
        }
    };
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(error::panicked)
}

/// An answer in the encoding that was asked for.
async fn compressed(edge: Arc<Edge>, request: Request) -> Response {
    let plain = service_fn(|request| {
        let edge = Arc::clone(&edge);
        async move { Ok::<_, Infallible>(observe::observe(&edge, request).await) }
    });
    match Compression::new(plain).gzip(true).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// An answer for who has not asked for any encoding: it says, as [`Compression`] would, that others might get another.
async fn plain(edge: &Edge, request: Request) -> Response {
    let mut response = observe::observe(edge, request).await;
    if DefaultPredicate::new().should_compress(&response) {
        let accepted = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(header::VARY, accepted);
    }
    response
}

impl Edge {
    /// Hands a request that may be answered to who answers it.
    pub(super) async fn route(&self, mut request: Request) -> Response {
        // The whole answer, so that its length is right in whatever form; whoever sends it leaves the body out.
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        if request.method() == Method::GET
            && let Some(version) = custom_read(request.uri().path())
        {
            return super::custom_values(&self.api, request.uri(), version).await.into_response();
        }
        match self.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The version of a read of custom metrics, where it is one and written as usual.
fn custom_read(path: &str) -> Option<Version> {
    let (version, rest) = path.strip_prefix("/apis/custom.metrics.k8s.io/")?.split_once('/')?;
    Version::parse(version).filter(|_| !rest.is_empty())
}
