//! Before any handler: who asks, and may they.

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use rustls::pki_types::UnixTime;

use super::{Api, edge::Edge, error::ApiError, health, negotiation};
use crate::{
    auth::{Peer, Unauthenticated, User},
    wire::{attributes::Attributes, path::PathError, status::Reason},
};

/// Lets a request through whose sender is known and may do what it asks. A path that is not UTF-8 ends here.
pub(super) async fn check(
    edge: &Edge,
    attributes: Result<Attributes<'_>, PathError>,
    mut request: Request,
) -> Response {
    match admit(&edge.api, attributes, &mut request).await {
        Ok(()) => negotiation::negotiate(edge, request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn admit(
    api: &Api,
    attributes: Result<Attributes<'_>, PathError>,
    request: &mut Request,
) -> Result<(), ApiError> {
    let attributes =
        attributes.map_err(|error| ApiError::new(Reason::BadRequest, error.to_string()))?;
    if api.authorizer.is_open(health::canonical(request.uri().path())) {
        return Ok(());
    }
    let user = authenticate(api, request).await.map_err(|error| {
        tracing::debug!(%error, "not authenticated");
        ApiError::new(Reason::Unauthorized, "Unauthorized")
    })?;
    let decision = api.authorizer.decide(&user, &attributes).await.map_err(|error| {
        // The authorizer has said it once; a line for every request would bury it.
        tracing::debug!(%error, "no decision");
        ApiError::new(Reason::InternalError, "access could not be reviewed").quiet()
    })?;
    if decision.allowed {
        return Ok(());
    }
    let mut message = attributes.refusal(&user.name);
    if !decision.reason.is_empty() {
        message = format!("{message}: {}", decision.reason);
    }
    Err(ApiError::new(Reason::Forbidden, message))
}

async fn authenticate(api: &Api, request: &mut Request) -> Result<Arc<User>, Unauthenticated> {
    let peer = request.extensions().get::<Arc<Peer>>().cloned().unwrap_or_default();
    // A clock before 1970 makes every certificate invalid, which is what it should do.
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since_epoch);
    let user = api.authenticator.authenticate(request.headers_mut(), &peer, now).await;
    api.metrics.authentication(match &user {
        Ok(user) if user.name == "system:anonymous" => "anonymous",
        Ok(_) => "authenticated",
        Err(_) => "failed",
    });
    user
}

/// Whether a query says `watch=true`, in the spellings that Go takes for that.
pub(super) fn asks_to_watch(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|parameter| {
        matches!(
            parameter.split_once('='),
            Some(("watch", "1" | "t" | "T" | "true" | "TRUE" | "True"))
        ) || parameter == "watch"
    })
}
