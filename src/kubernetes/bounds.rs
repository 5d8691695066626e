//! Limits of an API server's answers. kube reads whole bodies, and watches line by line, whatever their length; an impostor of
//! the API server could fill the memory.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::{Either, Full};
use kube::client::Body;
use serde_json::json;
use tower::{BoxError, Layer, Service};

/// The most bytes of a body that is no watch. A page of a list holds 500 objects.
const MAX_BODY_BYTES: usize = 32 << 20;

/// The most bytes of one event of a watch. The API server takes no object of more than 3 MiB.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// Limits the bodies of a client's answers, and moves `Retry-After` of a refusal into its `Status`, where kube keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds;

#[derive(Clone, Debug)]
pub(super) struct Bounded<S>(S);

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded(inner)
    }
}

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<LimitedBody<Either<B, Full<Bytes>>>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let limit = if is_watch(request.uri().query().unwrap_or_default()) {
            Limit::EachLine(MAX_EVENT_BYTES)
        } else {
            Limit::Whole(MAX_BODY_BYTES)
        };
        let response = self.0.call(request);
        Box::pin(async move {
            let (parts, body) = response.await?.into_parts();
            let body = match refusal(parts.status, parts.headers.get(header::RETRY_AFTER)) {
                Some(status) => Either::Right(Full::from(status)),
                None => Either::Left(body),
            };
            Ok(Response::from_parts(parts, LimitedBody { body, limit, read: 0 }))
        })
    }
}

fn is_watch(query: &str) -> bool {
    query.split('&').any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

/// A refusal as a `Status` that says after how many seconds to ask again; nothing where the server does not say.
fn refusal(status: StatusCode, retry_after: Option<&HeaderValue>) -> Option<Vec<u8>> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds: u32 = retry_after?.to_str().ok()?.trim().parse().ok()?;
    let reason = status.canonical_reason().unwrap_or_default();
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(), "reason": reason.replace(' ', ""),
        "message": format!("{} {reason}", status.as_u16()), "details": {"retryAfterSeconds": seconds},
    });
    Some(status.to_string().into_bytes())
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    /// Of all bytes.
    Whole(usize),
    /// Of the bytes between two newlines.
    EachLine(usize),
}

/// A body that ends with an error where it is longer than its limit.
#[derive(Debug)]
pub(super) struct LimitedBody<B> {
    body: B,
    limit: Limit,
    /// Bytes so far, of the body or of the line.
    read: usize,
}

/// The answer is longer than its limit.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {0} bytes")]
struct TooLong(usize);

impl<B> LimitedBody<B> {
    fn take(&mut self, data: &[u8]) -> Result<(), TooLong> {
        let limit = match self.limit {
            Limit::Whole(limit) => {
                self.read = self.read.saturating_add(data.len());
                limit
            }
            Limit::EachLine(limit) => {
                let mut lines = data.split(|byte| *byte == b'\n');
                // The last one goes on in the next piece.
                let last = lines.next_back().map_or(0, <[u8]>::len);
                for line in lines {
                    let length = std::mem::take(&mut self.read).saturating_add(line.len());
                    if length > limit {
                        return Err(TooLong(limit));
                    }
                }
                self.read = self.read.saturating_add(last);
                limit
            }
        };
        if self.read > limit { Err(TooLong(limit)) } else { Ok(()) }
    }
}

impl<B> http_body::Body for LimitedBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(Into::into)?;
        if let Some(data) = frame.data_ref() {
            self.take(data.chunk())?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(limit: Limit) -> LimitedBody<Full<Bytes>> {
        LimitedBody { body: Full::default(), limit, read: 0 }
    }

    #[test]
    fn a_body_is_limited_as_a_whole_and_a_watch_by_its_lines() {
        let cases: [(Limit, &[&str], bool); 8] = [
            (Limit::Whole(4), &["abcd"], true),
            (Limit::Whole(4), &["ab", "\nc"], true),
            (Limit::Whole(4), &["ab", "c\nd"], false),
            (Limit::EachLine(4), &["abcd\nabcd\n", "abcd", "\nabcd"], true),
            (Limit::EachLine(4), &["abcd", "e"], false),
            (Limit::EachLine(4), &["ab", "cde\n"], false),
            (Limit::EachLine(4), &["\n", "abcde"], false),
            (Limit::EachLine(4), &["a\n", "b\nabcde\nc"], false),
        ];
        for (limit, pieces, fits) in cases {
            let mut body = limited(limit);
            let taken = pieces.iter().try_for_each(|piece| body.take(piece.as_bytes()));
            assert_eq!(taken.is_ok(), fits, "{limit:?} {pieces:?}");
        }
    }

    #[test]
    fn watches_are_known_by_their_query() {
        assert!(is_watch("limit=5&watch=true&timeoutSeconds=30"));
        assert!(is_watch("watch=1"));
        assert!(!is_watch("limit=500&unwatch=true"));
    }

    #[test]
    fn what_a_server_says_of_when_to_ask_again_is_kept() {
        let seconds = |code: u16, value: &'static str| {
            let status = refusal(
                StatusCode::from_u16(code).unwrap(),
                Some(&HeaderValue::from_static(value)),
            )?;
            let status: kube::core::Status = serde_json::from_slice(&status).unwrap();
            assert_eq!(status.code, code);
            Some(status.details.unwrap().retry_after_seconds)
        };
        assert_eq!(seconds(429, "7"), Some(7));
        assert_eq!(seconds(503, "1"), Some(1));
        assert_eq!(seconds(500, "1"), None);
        assert_eq!(seconds(429, "Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(seconds(429, "-1"), None);
        assert!(refusal(StatusCode::TOO_MANY_REQUESTS, None).is_none());
    }
}
