//! HTTP: which path means what, and how answers and errors are written.

mod accept;
mod access;
mod custom;
mod deadline;
mod debug;
mod delegated;
mod error;
mod explain;
mod external;
mod form;
mod groups;
mod health;
mod lists;
mod observe;
mod openapi;
mod parameters;
mod resource;
mod router;
mod stack;
mod status_page;

use std::sync::Arc;

pub use access::UnderWay;
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use deadline::in_time;
pub use debug::debug;
use error::ApiError;
pub use error::Failures;
pub use explain::{EXPLANATION_TIME, Explanations};
use futures::future::BoxFuture;
pub use health::Health;
pub use lists::Lists;
pub use status_page::StatusPage;

use crate::{
    auth::{Authenticator, access::Authorizer},
    delegates::Delegates,
    metrics::Metrics,
    reads::Reads,
    records::Records,
    rules_file::Rules,
    server::Answering,
    traces::Traces,
};

/// What requests are answered from.
pub struct Api {
    /// Reads of metrics.
    pub reads: Reads,
    /// Who else is asked.
    pub delegates: Arc<Delegates>,
    /// The rules as they are now.
    pub rules: Rules,
    /// Explanations of metrics.
    pub explanations: Explanations,
    /// The status page.
    pub status_page: StatusPage,
    /// What is listed of the metrics that there are.
    pub lists: Lists,
    /// Authentication.
    pub authenticator: Authenticator,
    /// May they.
    pub authorizer: Authorizer,
    /// Whose requests are being answered.
    pub under_way: UnderWay,
    /// Which failures were logged lately.
    pub failures: Failures,
    /// What the status page remembers.
    pub records: Arc<Records>,
    /// The metrics of this process.
    pub metrics: Arc<Metrics>,
    /// Whether it is well.
    pub health: Health,
    /// The spans of requests.
    pub traces: Traces,
}

/// What answers all requests.
pub fn front(api: Arc<Api>) -> impl Answering {
    tower::service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok(stack::answer(&api, request).await) }
    })
}

/// The answer that a read makes. It is boxed, because each connection would carry the room for it, and without its type, because the
/// compiler gives up on types that are nested so deeply.
async fn answer_of(
    what: &'static str,
    read: BoxFuture<'_, Result<Vec<u8>, ApiError>>,
) -> Result<Response, ApiError> {
    let body = in_time(what, read).await?;
    let mut response = Response::new(Body::from(body));
    let media = HeaderValue::from_static(accept::JSON);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}
