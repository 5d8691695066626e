//! The handler of explanations.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::response::Response;
use tokio::sync::Semaphore;

use super::{Api, answer_of, error::ApiError, parameters::Parameters};
use crate::{
    auth::User,
    core::explain::{
        Answered, Api as MetricsApi, Inquiry, Subject,
        facts::{Asked, Of, Which},
        sight::Sight,
    },
    explain::{Explainer, Known},
    wire::{
        attributes::{Attributes, Target},
        discovery::{CUSTOM, EXTERNAL, RESOURCE},
        explanation,
        path::{self, ExplanationPath},
        status::Reason,
    },
};

/// How many explanations are made at a time: each of them asks several queries.
const AT_ONCE: usize = 4;

/// How long one may take. People wait for it, and a backend that takes longer for it is too slow for autoscalers, too.
pub const EXPLANATION_TIME: Duration = Duration::from_secs(10);

/// The version that the form of the status page asks.
const VERSION: &str = "custom.metrics.k8s.io/v1beta2";

/// The message for users who may see the status page but not all explanations.
const ALL_NEEDED: &str =
    "explanations on this page need the right to get explanations at the cluster scope";

/// Explanations, a few at a time.
pub struct Explanations {
    explainer: Explainer,
    turns: Semaphore,
}

impl Explanations {
    /// None is under way.
    pub fn new(explainer: Explainer) -> Self {
        Self { explainer, turns: Semaphore::new(AT_ONCE) }
    }
}

/// The explanation that a path asks for, below a group and its version. Without a user the path is open to everybody.
pub(super) async fn explanation(
    api: &Api,
    (version, rest): (&str, &str),
    parameters: &Parameters<'_>,
    user: Option<Arc<User>>,
) -> Result<Response, ApiError> {
    answer_of("explanation", Box::pin(explain(api, (version, rest), parameters, user))).await
}

async fn explain(
    api: &Api,
    (version, rest): (&str, &str),
    parameters: &Parameters<'_>,
    user: Option<Arc<User>>,
) -> Result<Vec<u8>, ApiError> {
    let path = path::parse_explanation(rest).map_err(|error| ApiError::bad_request(&error))?;
    let path = path.ok_or_else(ApiError::not_found)?;
    let inquiry = inquiry(version, path, parameters)?;
    let answered = answered(api, &inquiry, async |asked| match &user {
        Some(user) => sight(api, user, version, asked).await,
        None => Ok(Sight::Cluster),
    });
    Ok(explanation::encode(version, answered.await?))
}

/// Who asks by the form of the status page.
#[derive(Clone, Copy)]
pub(super) enum Sees<'a> {
    /// Somebody who may see everything.
    Everything,
    /// Somebody who may see the page, and explanations only with the right to all of them.
    WhatIsAllowed(&'a Arc<User>),
}

/// The explanation that the form of the status page asks for: of a metric in a namespace, which may be empty.
pub(super) async fn form(
    api: &Api,
    (namespace, metric): (&str, &str),
    parameters: &Parameters<'_>,
    who: Sees<'_>,
) -> Result<Answered, ApiError> {
    let path = path::explanation_of(namespace, metric);
    let path = path.map_err(|error| ApiError::bad_request(&error))?;
    let inquiry = inquiry(VERSION, path, parameters)?;
    answered(api, &inquiry, async |asked| {
        if let Sees::WhatIsAllowed(user) = who
            && !may(api, user, &everywhere(VERSION, asked)).await
        {
            return Err(ApiError::new(Reason::Forbidden, ALL_NEEDED));
        }
        Ok(Sight::Cluster)
    })
    .await
}

async fn answered(
    api: &Api,
    inquiry: &Inquiry,
    sight: impl AsyncFnOnce(&Asked) -> Result<Sight, ApiError>,
) -> Result<Answered, ApiError> {
    let Explanations { explainer, turns } = &api.explanations;
    let _turn = turns.try_acquire().map_err(|_none| {
        let text = "too many explanations are under way; please try again later";
        ApiError::new(Reason::TooManyRequests, text)
    })?;
    let asked = explainer.asked(inquiry);
    let sight = sight(&asked).await?;
    Ok(explainer.answer(asked, Known::default(), sight).await)
}

fn inquiry(
    version: &str,
    path: ExplanationPath,
    parameters: &Parameters<'_>,
) -> Result<Inquiry, ApiError> {
    let bad = |text: &str| ApiError::new(Reason::BadRequest, text);
    let own = match group(version) {
        group if group == EXTERNAL.name => MetricsApi::External,
        group if group == RESOURCE.name => MetricsApi::Resource,
        _ => MetricsApi::Custom,
    };
    let asked = parameters.api().map_or(Some(own), explanation::api);
    let asked = asked.ok_or_else(|| bad("`api` is custom, external or resource"))?;
    let which = || match parameters.name() {
        // As in a path, because it is put into queries.
        Some(name) => {
            path::one(name).map(Which::Named).map_err(|error| ApiError::bad_request(&error))
        }
        None => Ok(Which::Selected(parameters.labels()?)),
    };
    let subject = match asked {
        MetricsApi::External => Subject::External,
        MetricsApi::Custom => {
            let resource = parameters.resource().filter(|resource| !resource.is_empty());
            let resource = resource.ok_or_else(|| bad("`resource` says whose metric it is"))?;
            Subject::Objects { resource: resource.to_owned(), which: which()? }
        }
        MetricsApi::Resource => {
            if path.namespace.is_none() {
                return Err(bad("usage is explained of the pods of a namespace"));
            }
            let container = parameters.container().map(str::to_owned);
            Subject::Usage { which: which()?, container }
        }
    };
    Ok(Inquiry {
        metric: path.metric,
        subject,
        namespace: path.namespace,
        selector: parameters.metric_labels()?,
        is_at_zero: parameters.at_zero(),
    })
}

fn group(version: &str) -> &str {
    version.split('/').next().unwrap_or_default()
}

/// What somebody may see who may ask: all where they may ask at the cluster scope, else what is of the namespace.
async fn sight(
    api: &Api,
    user: &Arc<User>,
    version: &str,
    asked: &Asked,
) -> Result<Sight, ApiError> {
    if may(api, user, &everywhere(version, asked)).await {
        return Ok(Sight::Cluster);
    }
    let Some(namespace) = &asked.namespace else {
        let text = "the objects are in no namespace: explanations of their metrics need the right to get explanations at the cluster scope";
        return Err(ApiError::new(Reason::Forbidden, text));
    };
    Ok(Sight::Namespace { may_read: may(api, user, &read(asked, namespace)).await })
}

/// The right to all explanations of a metric.
fn everywhere<'a>(version: &'a str, asked: &'a Asked) -> Attributes<'a> {
    let (group, version) = version.split_once('/').unwrap_or((version, ""));
    let target = Target::Resource {
        group: group.into(),
        version: version.into(),
        namespace: Cow::default(),
        resource: explanation::RESOURCE.into(),
        name: asked.metric.as_str().into(),
        subresource: Cow::default(),
    };
    Attributes { verb: "get".into(), target }
}

/// Whether somebody may. Without a decision less is shown.
async fn may(api: &Api, user: &Arc<User>, attributes: &Attributes<'_>) -> bool {
    api.authorizer.decide(user, attributes).await.is_ok_and(|decision| decision.allowed)
}

/// The read of the metric itself.
fn read<'a>(asked: &'a Asked, namespace: &'a str) -> Attributes<'a> {
    let metric = Cow::from(asked.metric.as_str());
    let (verb, version, resource, name, subresource) = match &asked.of {
        Of::Objects { .. } if asked.usage.is_some() => {
            ("list", "v1beta1", "pods".into(), Cow::default(), Cow::default())
        }
        Of::External => ("list", "v1beta1", metric, Cow::default(), Cow::default()),
        Of::Objects { kind, which } => {
            let resource = match kind {
                Ok(kind) => kind.resource.to_string().into(),
                Err(unknown) => unknown.written.as_str().into(),
            };
            let name = match which {
                Which::Named(name) => name.as_str().into(),
                Which::Selected(_) => "*".into(),
            };
            ("get", "v1beta2", resource, name, metric)
        }
    };
    let group = match asked.api() {
        MetricsApi::Custom => CUSTOM.name,
        MetricsApi::External => EXTERNAL.name,
        MetricsApi::Resource => RESOURCE.name,
    };
    let target = Target::Resource {
        group: group.into(),
        version: version.into(),
        namespace: namespace.into(),
        resource,
        name,
        subresource,
    };
    Attributes { verb: verb.into(), target }
}
