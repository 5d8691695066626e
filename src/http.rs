//! HTTP: which path means what, and how answers and errors are written.

mod deadline;
mod edge;
mod error;
mod external;
mod guard;
mod health;
mod lists;
mod negotiation;
mod observe;
mod openapi;
mod resource;

use std::{borrow::Cow, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use deadline::in_time;
use edge::Edge;
use error::ApiError;
pub use error::Failures;
pub use guard::UnderWay;
pub use health::Health;
use lists::Listed;
pub use lists::Lists;
use serde_json::{Value, json};

use crate::{
    auth::{Authenticator, access::Authorizer},
    core::selector::Selector,
    metrics::{self, Metrics},
    reads::{MetricRequest, ReadError, Reads},
    rules_file::Rules,
    server::Answering,
    traces::Traces,
    wire::{
        custom::{self, Version},
        discovery::{self as documents, Aggregated, CUSTOM, EXTERNAL, Group, RESOURCE},
        path,
        status::Reason,
    },
};

/// The API groups that this server knows. The version documents of custom and external metrics are always answered, possibly empty:
/// an APIService that is registered and not answered slows every `kubectl` and keeps namespaces from being deleted.
const GROUPS: &[Group] = &[CUSTOM, EXTERNAL, RESOURCE];

/// What requests are answered from.
pub struct Api {
    /// Reads of metrics.
    pub reads: Reads,
    /// The rules as they are now.
    pub rules: Rules,
    /// What is listed of the metrics that there are.
    pub lists: Lists,
    /// Who asks.
    pub authenticator: Authenticator,
    /// May they.
    pub authorizer: Authorizer,
    /// Whose requests are being answered.
    pub under_way: UnderWay,
    /// Which failures were logged lately.
    pub failures: Failures,
    /// What this process tells of itself.
    pub metrics: Arc<Metrics>,
    /// Whether it is well.
    pub health: Health,
    /// What is told of requests in traces.
    pub traces: Traces,
}

/// What answers all requests.
pub fn front(api: Arc<Api>) -> impl Answering {
    let edge = Arc::new(Edge { routes: routes(Arc::clone(&api)), api });
    tower::service_fn(move |request| {
        let edge = Arc::clone(&edge);
        async move { Ok(edge::pass(&edge, request).await) }
    })
}

/// All paths.
fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route("/healthz", get(health::healthy))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/{endpoint}/{check}", get(health::single))
        .route("/health/{name}", get(health::json_form))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .route("/openapi/v2", get(openapi::v2))
        .route("/openapi/v3", get(openapi::v3))
        .route("/openapi/v3/", get(openapi::v3))
        .route("/openapi/v3/apis/{group}/{version}", get(openapi::group_version))
        .route("/apis", get(groups))
        .route("/apis/", get(groups))
        .route("/apis/{group}", get(group))
        .route("/apis/{group}/", get(group))
        .route("/apis/custom.metrics.k8s.io/{version}", get(custom_resources))
        .route("/apis/custom.metrics.k8s.io/{version}/", get(custom_resources))
        .route("/apis/custom.metrics.k8s.io/{version}/{*rest}", get(custom_route))
        .route("/apis/external.metrics.k8s.io/{version}", get(external::resources))
        .route("/apis/external.metrics.k8s.io/{version}/", get(external::resources))
        .route("/apis/external.metrics.k8s.io/{version}/{*rest}", get(external::values))
        .route("/apis/metrics.k8s.io/{version}", get(resource::resources))
        .route("/apis/metrics.k8s.io/{version}/", get(resource::resources))
        .route("/apis/metrics.k8s.io/{version}/{*rest}", get(resource::usage))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || {
            ApiError::new(Reason::MethodNotAllowed, "metrics can only be read")
        })
        .with_state(api)
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], api.metrics.encode()).into_response()
}

async fn version() -> axum::Json<Value> {
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = version.split('.');
    axum::Json(json!({
        "major": parts.next(),
        "minor": parts.next(),
        "gitVersion": format!("v{version}"),
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

async fn groups(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    match accept.and_then(aggregated) {
        Some(form) => {
            let body = documents::aggregated(&api.rules.served(), form).to_string();
            ([(header::CONTENT_TYPE, form.media_type())], body).into_response()
        }
        None => axum::Json(documents::group_list(&api.rules.served())).into_response(),
    }
}

/// The aggregated form of discovery that comes first among the accepted media types, if it comes before the plain one.
fn aggregated(accept: &str) -> Option<Aggregated> {
    accept
        .split(',')
        .map(|media| media.replace(' ', ""))
        .find_map(|media| {
            let mut parameters = media.split(';');
            if !matches!(parameters.next(), Some("application/json" | "application/*" | "*/*")) {
                return None;
            }
            let parameters: Vec<_> = parameters.collect();
            if !parameters.iter().any(|parameter| parameter.starts_with("as=")) {
                return Some(None);
            }
            let has = |parameter| parameters.contains(&parameter);
            let is_ours = has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io");
            let versions = [("v=v2", Aggregated::V2), ("v=v2beta1", Aggregated::V2beta1)];
            let version = versions.into_iter().find(|(parameter, _)| has(parameter));
            version.filter(|_| is_ours).map(|(_, form)| Some(form))
        })
        .flatten()
}

async fn group(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<axum::Json<Value>, ApiError> {
    match api.rules.served().iter().find(|group| group.name == name) {
        Some(group) => Ok(axum::Json(documents::group(*group))),
        None => Err(ApiError::not_found()),
    }
}

async fn custom_resources(Path(version): Path<String>) -> Result<Extension<Listed>, ApiError> {
    let version = Version::parse(&version).ok_or_else(ApiError::not_found)?;
    // The form that was asked for is made elsewhere.
    Ok(Extension(Listed::Custom(version)))
}

/// The parameters of a read. Others, such as `timeout` and `resourceVersion`, mean nothing here and are let pass, as an API
/// server does; of one that is given twice the first counts, as in Go.
#[derive(Default)]
struct Parameters<'a> {
    label_selector: Option<Cow<'a, str>>,
    metric_label_selector: Option<Cow<'a, str>>,
    fields: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    fn parse(query: &'a str) -> Self {
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let parameter = match name.as_ref() {
                "labelSelector" => &mut parameters.label_selector,
                "metricLabelSelector" => &mut parameters.metric_label_selector,
                "fieldSelector" => &mut parameters.fields,
                _ => continue,
            };
            parameter.get_or_insert(value);
        }
        parameters
    }
}

async fn custom_route(
    State(api): State<Arc<Api>>,
    uri: Uri,
    Path((version, _)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let version = Version::parse(&version).ok_or_else(ApiError::not_found)?;
    made(Box::pin(read_custom(&api, &uri, version))).await
}

/// The answer that a read makes, within the time that a request may take.
async fn made(read: impl Future<Output = Result<Vec<u8>, ApiError>>) -> Result<Response, ApiError> {
    let body = in_time("metric", read).await?;
    let mut response = Response::new(Body::from(body));
    let media = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}

async fn read_custom(api: &Api, uri: &Uri, version: Version) -> Result<Vec<u8>, ApiError> {
    let question = question(uri)?;
    let values = api.reads.read(&question).await?;
    let described = custom::Described {
        kind: &values.kind,
        namespace: question.path.namespace.as_deref(),
        metric: &question.path.metric,
        selector: values.selector.as_ref(),
        window_seconds: values.window_seconds,
    };
    Ok(custom::encode(version, described, &values.readings))
}

fn question(uri: &Uri) -> Result<MetricRequest, ApiError> {
    // The raw path: a decoded one could not tell a slash in a name from one between segments.
    let rest = uri.path().splitn(5, '/').nth(4).unwrap_or_default();
    let bad =
        |problem: &dyn std::fmt::Display| ApiError::new(Reason::BadRequest, problem.to_string());
    let Parameters { label_selector, metric_label_selector, .. } =
        Parameters::parse(uri.query().unwrap_or_default());
    let selector = |text: Option<Cow<'_, str>>| {
        Selector::parse(&text.unwrap_or_default()).map_err(|error| bad(&error))
    };
    Ok(MetricRequest {
        path: path::parse(rest).map_err(|error| bad(&error))?,
        objects: selector(label_selector)?,
        metric: selector(metric_label_selector)?,
    })
}

impl From<ReadError> for ApiError {
    /// The one place that decides which failure of a read has which HTTP status.
    fn from(error: ReadError) -> Self {
        let reason = match &error {
            ReadError::UnknownMetric { .. }
            | ReadError::NoSample { .. }
            | ReadError::NoUsage
            | ReadError::UnknownUsage { .. } => Reason::NotFound,
            ReadError::UsageUnavailable { .. } => Reason::ServiceUnavailable,
            ReadError::BadSelector(_) => Reason::BadRequest,
            ReadError::NotDiscovered { .. }
            | ReadError::Rule(_)
            | ReadError::Tenant { .. }
            | ReadError::NoUsageRule(_)
            | ReadError::Fetch { .. }
            | ReadError::NotAVector { .. }
            | ReadError::Objects(_) => Reason::InternalError,
        };
        let message = error.to_string();
        match std::error::Error::source(&error) {
            Some(cause) => Self::new(reason, message).with_cause(cause),
            None => Self::new(reason, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aggregated_form_is_given_to_whoever_prefers_it() {
        let (old, new) = (Aggregated::V2beta1, Aggregated::V2);
        let [v2beta1, v2] = [old, new].map(Aggregated::media_type);
        let cases = [
            (format!("{v2},application/json"), Some(new)),
            (v2.replace(';', "; "), Some(new)),
            (format!("{v2beta1},application/json"), Some(old)),
            (format!("{v2beta1},{v2}"), Some(old)),
            (format!("{v2},{v2beta1},application/json"), Some(new)),
            (format!("{},{v2}", v2.replace("v=v2", "v=v3")), Some(new)),
            ("application/json".to_owned(), None),
            ("*/*".to_owned(), None),
            (format!("application/json,{v2}"), None),
        ];
        for (accept, wanted) in cases {
            assert_eq!(aggregated(&accept), wanted, "{accept}");
        }
    }
}
