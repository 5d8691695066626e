//! Before any handler: is that served, who asks, and may they.

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use rustls::pki_types::UnixTime;

use super::{Api, GROUPS, error::ApiError, health};
use crate::{
    auth::{
        Peer, Unauthenticated, User,
        access::Undecided,
        head_bytes,
        shares::{Share, Shares},
    },
    server::MAX_HEAD_BYTES,
    wire::{attributes::Attributes, path::PathError, status::Reason},
};

/// The longest path and query that are taken, in bytes.
const MAX_URI_BYTES: usize = 16 << 10;

/// The longest body that a request may announce, in bytes. None is ever read: metrics can only be read.
const MAX_BODY_BYTES: u64 = 64 << 10;

/// What a request takes in memory beside its head, about, in bytes.
const REQUEST_BYTES: usize = 4 << 10;

/// The most that the requests of one user may take that are being answered, and those of all, in bytes. Of a user whose heads
/// have a kilobyte these are three thousand requests.
const EACH_USER: usize = 16 << 20;
const ALL_USERS: usize = 64 << 20;

/// The same for all that nobody knows.
const STRANGERS: usize = 4 << 20;

/// Who is being answered, by the memory that it takes.
pub struct UnderWay {
    users: Arc<Shares>,
    strangers: Arc<Shares>,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self {
            users: Shares::new(EACH_USER, ALL_USERS),
            strangers: Shares::new(STRANGERS, STRANGERS),
        }
    }
}

/// Why a request is not let through.
pub(super) struct Refusal {
    error: ApiError,
    /// Whether somebody asks who has shown a good credential.
    is_known: bool,
}

impl Refusal {
    /// Whether traces tell of it: where something has failed for somebody who is known. Whoever may not read is a stranger, too.
    pub(super) fn is_told(&self) -> bool {
        self.is_known && self.error.code() >= 500
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error, is_known: false }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.error.into_response()
    }
}

/// Lets a request through whose sender is known and may do what it asks, and holds a part of its user's share for as long as it
/// is answered. What is too long and what nobody serves ends before anybody is asked: that says nothing which the documentation
/// does not say, and strangers cannot have the cluster asked about it.
pub(super) async fn admit(
    api: &Api,
    attributes: Result<&Attributes<'_>, PathError>,
    request: &mut Request,
) -> Result<Option<Share>, Refusal> {
    fits(request)?;
    let path = request.uri().path();
    if !is_served(path) {
        return Err(ApiError::not_found().into());
    }
    let attributes =
        attributes.map_err(|error| ApiError::new(Reason::BadRequest, error.to_string()))?;
    if api.authorizer.is_open(health::canonical(path)) {
        return Ok(None);
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
        return Ok(Some(share));
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

/// Whether there can be an answer other than 404 for a path, whatever the rules are.
fn is_served(path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else { return false };
    let (first, rest) =
        path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let segments = || rest.unwrap_or_default().splitn(3, '/').collect::<Vec<_>>();
    let is_version = |name: &str, version: &str| {
        let group = GROUPS.iter().find(|group| group.name == name);
        group.is_some_and(|group| group.versions.contains(&version))
    };
    match first {
        "healthz" | "livez" | "readyz" => rest.is_none_or(|check| !check.contains('/')),
        "health" => matches!(rest, Some("live" | "ready" | "startup")),
        "metrics" | "version" => rest.is_none(),
        "openapi" => match segments()[..] {
            ["v2" | "v3"] | ["v3", ""] => true,
            ["v3", "apis", group] => {
                group.split_once('/').is_some_and(|(group, version)| is_version(group, version))
            }
            _ => false,
        },
        "apis" => match segments()[..] {
            [""] => true,
            [group] | [group, ""] => GROUPS.iter().any(|known| known.name == group),
            [group, version] | [group, version, _] => is_version(group, version),
            _ => false,
        },
        _ => false,
    }
}

async fn authenticate(api: &Api, request: &mut Request) -> Result<Arc<User>, Unauthenticated> {
    let peer = request.extensions().get::<Arc<Peer>>().cloned().unwrap_or_default();
    let user = who(api, request.headers_mut(), &peer).await;
    api.metrics.authentication(match &user {
        Ok(user) if user.is_anonymous() => "anonymous",
        Ok(_) => "authenticated",
        Err(Unauthenticated::Refused(_)) => "failed",
        Err(Unauthenticated::Crowded) => "crowded",
    });
    user
}

async fn who(
    api: &Api,
    headers: &mut HeaderMap,
    peer: &Peer,
) -> Result<Arc<User>, Unauthenticated> {
    // A clock before 1970 makes every certificate invalid, which is what it should do.
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since_epoch);
    api.authenticator.authenticate(headers, peer, now).await
}

/// Who may be told something for which a path stands that was not asked for itself.
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

/// Whether a query says `watch=true`, in the spellings that Go takes for that.
pub(super) fn asks_to_watch(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|parameter| {
        matches!(
            parameter.split_once('='),
            Some(("watch", "1" | "t" | "T" | "true" | "TRUE" | "True"))
        ) || parameter == "watch"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_served_or_not_whatever_the_rules_are() {
        let custom = "/apis/custom.metrics.k8s.io";
        let served = [
            "/healthz",
            "/livez/ping",
            "/readyz/nothing",
            "/health/ready",
            "/metrics",
            "/version",
            "/openapi/v2",
            "/openapi/v3",
            "/openapi/v3/",
            "/openapi/v3/apis/metrics.k8s.io/v1",
            "/apis",
            "/apis/",
            custom,
            &format!("{custom}/"),
            &format!("{custom}/v1beta1"),
            &format!("{custom}/v1beta2/"),
            &format!("{custom}/v1beta2/namespaces/n/pods/*/m"),
            &format!("{custom}/v1beta2//x"),
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/q",
            "/apis/metrics.k8s.io/v1/nodes",
        ];
        let unserved = [
            "",
            "*",
            "/",
            "//apis",
            "/api",
            "/api/v1/pods",
            "/healthz/ping/x",
            "/health",
            "/health/nothing",
            "/metrics/",
            "/metrics/x",
            "/openapi",
            "/openapi/v2/",
            "/openapi/v3/apis/apps/v1",
            "/openapi/v3/apis/metrics.k8s.io",
            "/openapi/v3/apis/metrics.k8s.io/v1/",
            "/apis/apps",
            "/apis/apps/v1",
            "/apis//",
            &format!("{custom}/v1"),
            &format!("{custom}/v1/namespaces/n/pods/*/m"),
            &custom.replace("custom", "%63ustom"),
            "/apis/external.metrics.k8s.io/v1beta2/x",
        ];
        for path in served {
            assert!(is_served(path), "{path}");
        }
        for path in unserved {
            assert!(!is_served(path), "{path}");
        }
    }
}
