//! What every request passes, from the outside to the inside: panic guard, compression, log line and metrics, access, trace, form
//! of the answer, handler. No stage knows another: each has the rest done by `next`.

use std::{convert::Infallible, panic::AssertUnwindSafe, time::SystemTime};

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    http::{self, HeaderValue, Method, Uri, header},
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use tower::{ServiceExt as _, service_fn};
use tower_http::compression::{
    Compression,
    predicate::{Predicate as _, SizeAbove},
};

use super::{
    Api,
    accept::takes_gzip,
    access::{Refusal, admit},
    error,
    form::in_form,
    observe::{observed, traced},
    parameters::Parameters,
    router::{Route, respond},
};
use crate::wire::{attributes::Attributes, path::PathError};

/// Answers are compressed from this size on, as kube-apiserver's are. Every client in Go asks for it, and the answers that
/// autoscalers live on are so small that it would only cost both sides time.
pub(super) const LARGE: usize = 128 << 10;

/// What a request asks for, taken apart once.
pub(super) struct Asked<'a> {
    /// When it came.
    pub(super) at: SystemTime,
    pub(super) path: &'a str,
    /// Nothing for paths that are never served.
    pub(super) route: Option<Route<'a>>,
    pub(super) parameters: Parameters<'a>,
    /// What has to be allowed.
    pub(super) attributes: Result<Attributes<'a>, PathError>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(method: &Method, uri: &'a Uri) -> Self {
        let (path, parameters) = (uri.path(), Parameters::parse(uri.query()));
        let attributes = Attributes::of(method.as_str(), path, parameters.watch());
        Self { at: SystemTime::now(), path, route: Route::of(path), parameters, attributes }
    }
}

/// Answers a request.
pub(super) async fn answer(api: &Api, request: Request) -> Response {
    let uri = request.uri().clone();
    whole(request, async |request| {
        compressed(request, async |request| {
            let asked = Asked::of(request.method(), &uri);
            observed(api, &asked, request, async |mut request| {
                // The sender's share is held until the answer has been made.
                let admitted = admit(api, &asked, &mut request).await;
                let has_span = admitted.as_ref().map_or_else(Refusal::has_span, |_| true);
                traced(&asked, has_span, request, async |request| match admitted {
                    Ok((route, share)) => {
                        let is_made = route.is_made_for_one();
                        let response = in_form(&asked, request, async |accept, request| {
                            respond(api, route, &asked.parameters, accept, request).await
                        })
                        .await;
                        if !is_made {
                            return response;
                        }
                        let sending = api.under_way.sending(share.as_ref(), response);
                        sending.unwrap_or_else(IntoResponse::into_response)
                    }
                    Err(refusal) => refusal.error.into_response(),
                })
                .await
            })
            .await
        })
        .await
    })
    .await
}

/// Answers even where something panics, and to HEAD with the length that the answer to GET would have.
pub(super) async fn whole(
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let is_head = request.method() == Method::HEAD;
    let answer = AssertUnwindSafe(next(request)).catch_unwind().await;
    let response = answer.unwrap_or_else(error::panicked);
    if !is_head {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

/// Compresses large answers for those who take that.
async fn compressed(request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let takes_gzip = takes_gzip(request.headers());
    let response = next(request).await;
    if !SizeAbove::new(LARGE as u64).should_compress(&response) {
        return response;
    }
    let mut large = http::Request::new(response);
    if takes_gzip {
        large.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let plain = service_fn(|large: http::Request<Response>| {
        std::future::ready(Ok::<_, Infallible>(large.into_body()))
    });
    // Boxed, because each connection would carry the room for it.
    match Box::pin(Compression::new(plain).gzip(true).oneshot(large)).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}
