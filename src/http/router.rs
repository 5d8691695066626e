//! Which path means what: the one table of everything that is served.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    Api,
    accept::{Accept, takes_gzip},
    custom,
    delegated::Hop,
    error::ApiError,
    explain, external, groups, health,
    lists::{Listed, Listings},
    openapi,
    parameters::Parameters,
    resource,
    status_page::{self, PageFile},
};
use crate::{
    auth::User,
    metrics,
    wire::{
        custom::Version,
        discovery::{CUSTOM, EXTERNAL, Group, RESOURCE},
        openapi::{self as documents, Document},
        path,
        resource::Version as UsageVersion,
        status::Reason,
    },
};

/// The API groups that this server knows. The version documents of custom and external metrics are always answered, possibly empty:
/// an APIService that is registered and not answered slows every `kubectl` and keeps namespaces from being deleted.
pub(super) const GROUPS: [Group; 3] = [CUSTOM, EXTERNAL, RESOURCE];

/// The status page below a version. Its resource is one of its own for who may read it. Paths are compared as they are sent, so no
/// other spelling is judged as one resource and read as another.
const PAGE: &str = "statuspages/loadline";

/// Its stylesheet.
const PAGE_STYLE: &str = "statuspages/style.css";

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Route<'a> {
    /// `/healthz`, `/livez` or `/readyz`, without the slash.
    Health(&'a str),
    /// A single check of one of them.
    HealthCheck(&'a str, &'a str),
    /// `live`, `ready` or `startup`, as JSON.
    HealthJson(&'a str),
    Metrics,
    Version,
    OpenApiV2,
    OpenApiV3,
    OpenApiOf(Document),
    /// The groups of APIs.
    Groups,
    Group(Group),
    /// What there is to be read.
    List(Listed),
    UsageResources(UsageVersion),
    /// A read, with the path after the version. The path is still encoded: once decoded, a slash in a name looks like one between
    /// segments.
    Custom(Version, &'a str),
    External(&'a str),
    Usage(UsageVersion, &'a str),
    /// The explanation of a metric: the group and version, and what stands behind.
    Explanation(&'a str, &'a str),
    /// The status page, or what belongs to it.
    StatusPage(PageFile),
}

impl<'a> Route<'a> {
    /// Whether each request has an answer of its own. What is listed is encoded once for all who ask.
    pub(super) fn is_made_for_one(&self) -> bool {
        matches!(
            self,
            Self::Custom(..)
                | Self::External(_)
                | Self::Usage(..)
                | Self::Explanation(..)
                | Self::Metrics
                | Self::StatusPage(PageFile::Page)
        )
    }

    /// What a path stands for; nothing for paths that are never served, whatever the rules are.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.splitn(4, '/');
        let segments: [_; 4] = std::array::from_fn(|_| segments.next());
        Some(match segments {
            [Some(name @ ("healthz" | "livez" | "readyz")), None, ..] => Self::Health(name),
            [Some(name @ ("healthz" | "livez" | "readyz")), Some(check), None, _] => {
                Self::HealthCheck(name, check)
            }
            [Some("health"), Some(name @ ("live" | "ready" | "startup")), None, _] => {
                Self::HealthJson(name)
            }
            [Some("metrics"), None, ..] => Self::Metrics,
            [Some("version"), None, ..] => Self::Version,
            [Some("openapi"), Some("v2"), None, _] => Self::OpenApiV2,
            [Some("openapi"), Some("v3"), None | Some(""), None] => Self::OpenApiV3,
            [Some("openapi"), Some("v3"), Some("apis"), Some(rest)] => {
                let (group, version) = rest.split_once('/')?;
                Self::OpenApiOf(Document::parse(group, version)?)
            }
            [Some("apis"), None | Some(""), None, _] => Self::Groups,
            [Some("apis"), Some(group), None | Some(""), None] => Self::Group(group_of(group)?),
            [Some("apis"), Some(group), Some(version), rest] => {
                let group_version = path.get("/apis/".len()..)?;
                let group_version = group_version.get(..group.len() + 1 + version.len())?;
                let group = group_of(group).filter(|group| group.versions.contains(&version))?;
                let rest = rest.filter(|rest| !rest.is_empty());
                match (group, rest) {
                    (_, Some(rest)) if path::is_explanation(rest) => {
                        Self::Explanation(group_version, rest)
                    }
                    (CUSTOM | EXTERNAL, Some(PAGE)) => Self::StatusPage(PageFile::Page),
                    (CUSTOM | EXTERNAL, Some(PAGE_STYLE)) => Self::StatusPage(PageFile::Style),
                    (CUSTOM, None) => Self::List(Listed::Custom(Version::parse(version)?)),
                    (CUSTOM, Some(rest)) => Self::Custom(Version::parse(version)?, rest),
                    (EXTERNAL, None) => Self::List(Listed::External),
                    (EXTERNAL, Some(rest)) => Self::External(rest),
                    (_, None) => Self::UsageResources(UsageVersion::parse(version)?),
                    (_, Some(rest)) => Self::Usage(UsageVersion::parse(version)?, rest),
                }
            }
            _ => return None,
        })
    }
}

fn group_of(name: &str) -> Option<Group> {
    GROUPS.into_iter().find(|group| group.name == name)
}

/// Has the handler of a route answer a request of somebody who may send it. What needs much room is in boxes: each connection
/// carries the room for the rest.
pub(super) async fn respond(
    api: &Api,
    route: Route<'_>,
    parameters: &Parameters<'_>,
    accept: Accept,
    request: Request,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let error = ApiError::new(Reason::MethodNotAllowed, "metrics can only be read");
        let mut response = error.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
        return response;
    }
    let headers = request.headers();
    let answer = match route {
        Route::Health(name) => {
            Ok(Box::pin(health::plain(api, name, parameters.verbose(), request)).await)
        }
        Route::HealthCheck(name, check) => health::single(api, name, check),
        Route::HealthJson(name) => Ok(Box::pin(health::json_form(api, name, request)).await),
        Route::Metrics => {
            let media = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
            api.reads.report_fallbacks();
            Ok((media, api.metrics.encode()).into_response())
        }
        Route::Version => Ok(axum::Json(version()).into_response()),
        Route::OpenApiV2 => Ok(openapi::tagged(headers, &documents::v2())),
        Route::OpenApiV3 => Ok(openapi::tagged(headers, &documents::v3_index(openapi::hash))),
        Route::OpenApiOf(document) => Ok(openapi::tagged(headers, &documents::v3(document))),
        Route::Groups => Ok(groups::all(api, accept)),
        Route::Group(group) => groups::one(api, group),
        Route::List(listed) => {
            let metrics = Listings {
                catalog: api.reads.catalog(),
                delegated: Hop::of(headers).listing(&api.delegates),
                teams: api.reads.team_metrics(),
            };
            let takes_gzip = takes_gzip(headers);
            Ok(Box::pin(api.lists.answer(metrics, listed, accept.form, takes_gzip)).await)
        }
        Route::UsageResources(version) => resource::resources(api, version),
        Route::Custom(version, rest) => {
            let hop = Hop::of(headers);
            custom::values(api, (version, rest), parameters, hop).await
        }
        Route::External(rest) => {
            let hop = Hop::of(headers);
            external::values(api, rest, parameters, hop).await
        }
        Route::Usage(version, rest) => resource::usage(api, version, rest, parameters).await,
        Route::Explanation(version, rest) => {
            let user = request.extensions().get().cloned();
            explain::explanation(api, (version, rest), parameters, user).await
        }
        Route::StatusPage(file) => {
            let user = request.extensions().get::<Arc<User>>().cloned();
            status_page::file(api, file, request.uri().query(), user.as_ref()).await
        }
    };
    answer.into_response()
}

fn version() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = version.split('.');
    json!({
        "major": parts.next(),
        "minor": parts.next(),
        "gitVersion": format!("v{version}"),
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_served_or_not_whatever_the_rules_are() {
        let custom = "/apis/custom.metrics.k8s.io";
        let (old, new) = (Version::V1beta1, Version::V1beta2);
        let served = [
            ("/healthz", Route::Health("healthz")),
            ("/livez/ping", Route::HealthCheck("livez", "ping")),
            ("/readyz/nothing", Route::HealthCheck("readyz", "nothing")),
            ("/health/ready", Route::HealthJson("ready")),
            ("/metrics", Route::Metrics),
            ("/version", Route::Version),
            ("/openapi/v2", Route::OpenApiV2),
            ("/openapi/v3", Route::OpenApiV3),
            ("/openapi/v3/", Route::OpenApiV3),
            (
                "/openapi/v3/apis/metrics.k8s.io/v1",
                Route::OpenApiOf(Document::Resource(UsageVersion::V1)),
            ),
            ("/apis", Route::Groups),
            ("/apis/", Route::Groups),
            (custom, Route::Group(CUSTOM)),
            (&format!("{custom}/"), Route::Group(CUSTOM)),
            (&format!("{custom}/v1beta1"), Route::List(Listed::Custom(old))),
            (&format!("{custom}/v1beta2/"), Route::List(Listed::Custom(new))),
            (
                &format!("{custom}/v1beta2/namespaces/n/pods/*/m"),
                Route::Custom(new, "namespaces/n/pods/*/m"),
            ),
            (&format!("{custom}/v1beta2//x"), Route::Custom(new, "/x")),
            (
                &format!("{custom}/v1beta1/namespaces/n/explanations/m"),
                Route::Explanation("custom.metrics.k8s.io/v1beta1", "namespaces/n/explanations/m"),
            ),
            (
                "/apis/external.metrics.k8s.io/v1beta1/explanations/m",
                Route::Explanation("external.metrics.k8s.io/v1beta1", "explanations/m"),
            ),
            (
                &format!("{custom}/v1beta2/namespaces/n/explanations/e/m"),
                Route::Custom(new, "namespaces/n/explanations/e/m"),
            ),
            (&format!("{custom}/v1beta2/{PAGE}"), Route::StatusPage(PageFile::Page)),
            (&format!("{custom}/v1beta1/{PAGE_STYLE}"), Route::StatusPage(PageFile::Style)),
            (
                "/apis/external.metrics.k8s.io/v1beta1/statuspages/loadline",
                Route::StatusPage(PageFile::Page),
            ),
            (&format!("{custom}/v1beta2/{PAGE}/"), Route::Custom(new, "statuspages/loadline/")),
            (
                &format!("{custom}/v1beta2/statuspages/other"),
                Route::Custom(new, "statuspages/other"),
            ),
            ("/apis/external.metrics.k8s.io/v1beta1", Route::List(Listed::External)),
            (
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/q%2Fr",
                Route::External("namespaces/n/q%2Fr"),
            ),
            ("/apis/metrics.k8s.io/v1/", Route::UsageResources(UsageVersion::V1)),
            ("/apis/metrics.k8s.io/v1beta1/nodes", Route::Usage(UsageVersion::V1beta1, "nodes")),
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
            "/health/live/x",
            "/metrics/",
            "/metrics/x",
            "/openapi",
            "/openapi/v2/",
            "/openapi/v3//",
            "/openapi/v3/apis/apps/v1",
            "/openapi/v3/apis/metrics.k8s.io",
            "/openapi/v3/apis/metrics.k8s.io/v1/",
            "/apis/apps",
            "/apis/apps/v1",
            "/apis//",
            &format!("{custom}//"),
            &format!("{custom}/v1"),
            &format!("{custom}/v1/namespaces/n/pods/*/m"),
            &custom.replace("custom", "%63ustom"),
            "/apis/external.metrics.k8s.io/v1beta2/x",
        ];
        for (path, route) in served {
            assert_eq!(Route::of(path), Some(route), "{path}");
        }
        for path in unserved {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
