//! The status page, on the debug address and in the APIs that we serve.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use tokio::sync::Semaphore;

use super::{
    Api,
    deadline::in_time,
    error::ApiError,
    explain::{self, Sees},
    parameters::Parameters,
};
use crate::{
    auth::User,
    overview::Gatherer,
    wire::{
        page::{self, Answer, POLICY, Question, STYLE},
        status::Reason,
    },
};

/// How many pages are made at a time.
const AT_ONCE: usize = 2;

/// The status page, a few at a time.
pub struct StatusPage {
    gatherer: Gatherer,
    turns: Semaphore,
}

impl StatusPage {
    /// Nobody looks yet.
    pub fn new(gatherer: Gatherer) -> Self {
        Self { gatherer, turns: Semaphore::new(AT_ONCE) }
    }
}

/// What belongs to the page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PageFile {
    Page,
    Style,
}

/// Answers a request for the page or its stylesheet. `user` is the client of the API; the debug address has none.
pub(super) async fn file(
    api: &Api,
    file: PageFile,
    query: Option<&str>,
    user: Option<&Arc<User>>,
) -> Result<Response, ApiError> {
    match file {
        PageFile::Style => Ok(written("text/css; charset=utf-8", STYLE.into())),
        PageFile::Page => {
            let page = in_time("status page", Box::pin(page(api, query, user))).await?;
            Ok(written("text/html; charset=utf-8", page.into()))
        }
    }
}

async fn page(
    api: &Api,
    query: Option<&str>,
    user: Option<&Arc<User>>,
) -> Result<String, ApiError> {
    let StatusPage { gatherer, turns } = &api.status_page;
    let _turn = turns.try_acquire().map_err(|_none| {
        let text = "too many status pages are being made; please try again later";
        ApiError::new(Reason::TooManyRequests, text)
    })?;
    let parameters = Parameters::of_form(query);
    let question = question(&parameters);
    let answer = if question.metric.is_empty() {
        None
    } else {
        let who = user.map_or(Sees::Everything, Sees::WhatIsAllowed);
        let place = (question.namespace.as_str(), question.metric.as_str());
        Some(match explain::form(api, place, &parameters, who).await {
            Ok(answered) => Answer::Explained(answered),
            Err(error) => Answer::Refused(error.message().to_owned()),
        })
    };
    let overview = gatherer.gather().await;
    Ok(page::render(&overview, &question, answer.as_ref()))
}

fn question(parameters: &Parameters<'_>) -> Question {
    let text = |text: Option<&str>| text.unwrap_or_default().trim().to_owned();
    Question {
        api: text(parameters.api()),
        namespace: text(parameters.namespace()),
        resource: text(parameters.resource()),
        name: text(parameters.name()),
        labels: text(parameters.labels_as_written()),
        metric: text(parameters.metric()),
        metric_labels: text(parameters.metric_labels_as_written()),
    }
}

/// A response that browsers take for what it is and for nothing else.
fn written(media: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
