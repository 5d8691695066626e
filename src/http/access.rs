//! Checks before any handler: length, known path, authentication, authorization.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
    response::Response,
};
use http_body::{Frame, SizeHint};
use rustls::pki_types::UnixTime;

use super::{Api, error::ApiError, health, router::Route, stack::Asked};
use crate::{
    auth::{
        Peer, Unauthenticated, User,
        access::Undecided,
        head_bytes,
        shares::{Share, Shares},
    },
    server::MAX_HEAD_BYTES,
    wire::{attributes::Attributes, status::Reason},
};

/// The longest path and query that are taken, in bytes.
const MAX_URI_BYTES: usize = 16 << 10;

/// The longest body that a request may announce, in bytes. None is ever read: metrics can only be read.
const MAX_BODY_BYTES: u64 = 64 << 10;

/// What a request takes in memory beside its head, about, in bytes.
const REQUEST_BYTES: usize = 4 << 10;

/// Answers up to this size are not counted while they are sent: those of autoscalers are smaller.
const SMALL_ANSWER_BYTES: u64 = 64 << 10;

/// How much of a larger answer is passed on at a time, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Who is being answered, by the memory that it takes.
pub struct UnderWay {
    users: Arc<Shares>,
    strangers: Arc<Shares>,
    answers: Arc<Shares>,
}

impl UnderWay {
    /// Nobody yet. The requests of all users may take `requests` bytes, those of one a quarter of that, and those of all that
    /// nobody knows a sixteenth. Answers that are being sent may take `answers` bytes, those of one user half of that.
    pub fn new(requests: usize, answers: usize) -> Self {
        let strangers = requests / 16;
        Self {
            users: Shares::new(requests / 4, requests),
            strangers: Shares::new(strangers, strangers),
            answers: Shares::new(answers / 2, answers),
        }
    }

    /// Counts an answer that was made for one request until it has been sent: clients read as slowly as they like. An answer
    /// that is larger than what there is for all is sent alone.
    pub(super) fn sending(
        &self,
        user: Option<&Share>,
        response: Response,
    ) -> Result<Response, ApiError> {
        let bytes = response.body().size_hint().exact().unwrap_or_default();
        if bytes <= SMALL_ANSWER_BYTES {
            return Ok(response);
        }
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let share = self.answers.take_whole(user.map_or("", Share::user), bytes);
        let share = share.ok_or_else(ApiError::crowded)?;
        Ok(response.map(|body| Body::new(Sending { body, rest: Bytes::new(), _share: share })))
    }
}

/// A body that is counted until it has been sent. It comes in pieces, because a connection lets go of a body whose last piece
/// waits to be sent.
struct Sending {
    body: Body,
    /// What has come of the body and has not been passed on.
    rest: Bytes,
    _share: Share,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let behind = self.body.size_hint().exact();
        behind
            .map_or_else(SizeHint::new, |behind| SizeHint::with_exact(rest.saturating_add(behind)))
    }
}

/// Why a request is not let through.
pub(super) struct Refusal {
    pub(super) error: ApiError,
    /// Whether somebody asks who has shown a good credential.
    is_known: bool,
}

impl Refusal {
    /// Whether it has a span: a failure of ours for a known user. A user without the right to read counts as a stranger.
    pub(super) fn has_span(&self) -> bool {
        self.is_known && self.error.code() >= 500
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error, is_known: false }
    }
}

/// Lets a request through whose sender is known and may do what it asks, and holds a part of its user's share for as long as it
/// is answered. What is too long and what nobody serves ends before anybody is asked: that says nothing which the documentation
/// does not say, and strangers cannot have the cluster asked about it.
pub(super) async fn admit<'a>(
    api: &Api,
    asked: &Asked<'a>,
    request: &mut Request,
) -> Result<(Route<'a>, Option<Share>), Refusal> {
    fits(request)?;
    let route = asked.route.ok_or_else(ApiError::not_found)?;
    let attributes = asked.attributes.as_ref().map_err(|error| ApiError::bad_request(error))?;
    if api.authorizer.is_open(health::canonical(asked.path)) {
        return Ok((route, None));
    }
    let user = authenticate(api, request).await.map_err(|error| match error {
        Unauthenticated::Crowded => ApiError::crowded(),
        error @ Unauthenticated::Refused(_) => {
            tracing::debug!(%error, "not authenticated");
            ApiError::new(Reason::Unauthorized, "Unauthorized")
        }
    })?;
    let is_known = !user.is_anonymous();
    let shares = if is_known { &api.under_way.users } else { &api.under_way.strangers };
    let bytes = REQUEST_BYTES + uri_bytes(request) + head_bytes(request.headers());
    let share = shares.take(&user.name, bytes).ok_or_else(ApiError::crowded)?;
    let decision = api.authorizer.decide(&user, attributes).await.map_err(|error| {
        // The authorizer has said it once; a line for every request would bury it.
        tracing::debug!(%error, "no decision");
        let error = match error {
            Undecided::Crowded => ApiError::crowded(),
            Undecided::Failed(_) => {
                ApiError::new(Reason::InternalError, "access could not be reviewed").quiet()
            }
        };
        Refusal { error, is_known }
    })?;
    if decision.allowed {
        if matches!(route, Route::Explanation(..) | Route::StatusPage(_)) {
            // How much is shown depends on who looks.
            request.extensions_mut().insert(user);
        }
        return Ok((route, Some(share)));
    }
    let mut message = attributes.refusal(&user.name);
    if !decision.reason.is_empty() {
        message = format!("{message}: {}", decision.reason);
    }
    Err(ApiError::new(Reason::Forbidden, message).into())
}

/// Refuses what is longer than anything that somebody who reads metrics sends.
fn fits(request: &Request) -> Result<(), ApiError> {
    let uri_bytes = uri_bytes(request);
    if uri_bytes > MAX_URI_BYTES {
        let text = format!("the path and query are longer than {MAX_URI_BYTES} bytes");
        return Err(ApiError::new(Reason::UriTooLong, text));
    }
    // Where it is read, somewhat more may come at once.
    let most = usize::try_from(MAX_HEAD_BYTES).unwrap_or(usize::MAX);
    if uri_bytes + head_bytes(request.headers()) > most {
        let text = format!("the headers are longer than {most} bytes");
        return Err(ApiError::new(Reason::RequestHeaderFieldsTooLarge, text));
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES) {
        let text = format!("the body of the request is longer than {MAX_BODY_BYTES} bytes");
        return Err(ApiError::new(Reason::RequestEntityTooLarge, text));
    }
    Ok(())
}

/// How long path and query are.
fn uri_bytes(request: &Request) -> usize {
    request.uri().path_and_query().map_or(0, |uri| uri.as_str().len())
}

async fn authenticate(api: &Api, request: &mut Request) -> Result<Arc<User>, Unauthenticated> {
    let peer = request.extensions().get::<Arc<Peer>>().cloned().unwrap_or_default();
    // A clock before 1970 makes every certificate invalid, which is what it should do.
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since_epoch);
    let user = api.authenticator.authenticate(request.headers_mut(), &peer, now).await;
    api.metrics.authentication(match &user {
        Ok(user) if user.is_anonymous() => "anonymous",
        Ok(_) => "authenticated",
        Err(Unauthenticated::Refused(_)) => "failed",
        Err(Unauthenticated::Crowded) => "crowded",
    });
    user
}

/// A client, to decide whether an answer may contain what another path would return.
pub(super) struct Reader<'a> {
    api: &'a Api,
    /// Nobody, where that is not known.
    user: Option<Arc<User>>,
}

impl<'a> Reader<'a> {
    /// Whoever sends a request. Who shows no credential, or none that is good, is nobody: what all of the cluster asks often
    /// (probes) must not depend on the cluster.
    pub(super) async fn of(api: &'a Api, request: &mut Request) -> Self {
        let user = authenticate(api, request).await.ok();
        Self { api, user: user.filter(|user| !user.is_anonymous()) }
    }

    /// Whether it may read a path.
    pub(super) async fn may_get(&self, path: &str) -> bool {
        if self.api.authorizer.is_open(path) {
            return true;
        }
        let (Some(user), Ok(attributes)) = (&self.user, Attributes::of("GET", path, false)) else {
            return false;
        };
        let decision = self.api.authorizer.decide(user, &attributes).await;
        decision.is_ok_and(|decision| decision.allowed)
    }
}
