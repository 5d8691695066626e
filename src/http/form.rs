//! The form of an answer: JSON, indented where somebody reads it, YAML, or a table.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use super::{
    accept::{Accept, Form, JSON, YAML},
    error::ApiError,
    stack::Asked,
};
use crate::wire::{status::Reason, table};

/// The largest answer that is written anew, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// Among the extensions of a response that already has the form that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Written;

/// Has an API's JSON answer written in the form that was asked for; 406 where there is none of the accepted ones. What is no part
/// of an API (health, metrics) is left alone.
pub(super) async fn in_form(
    asked: &Asked<'_>,
    request: Request,
    next: impl AsyncFnOnce(Accept, Request) -> Response,
) -> Response {
    if !(asked.path.starts_with("/apis") || asked.path == "/version") {
        return next(Accept::default(), request).await;
    }
    if has_foreign_body(&request) {
        let text =
            format!("the body of the request is in none of the known formats: {JSON}, {YAML}");
        return ApiError::new(Reason::UnsupportedMediaType, text).into_response();
    }
    let Some(mut accept) = Accept::of(request.headers()) else {
        let text = format!("only the following media types are accepted: {JSON}, {YAML}");
        return ApiError::new(Reason::NotAcceptable, text).into_response();
    };
    // Without the parameter, what people read with gets indented answers.
    if accept.form == Form::Json
        && asked.parameters.pretty().unwrap_or_else(|| is_read_by_people(&request))
    {
        accept.form = Form::Pretty;
    }
    let response = next(accept, request).await;
    let media = response.headers().get(header::CONTENT_TYPE);
    let is_json = media.is_some_and(|media| media.as_bytes().starts_with(JSON.as_bytes()));
    if accept.form == Form::Json || !is_json || response.extensions().get::<Written>().is_some() {
        return response;
    }
    // Boxed, because each connection would carry the room for it.
    Box::pin(rewrite(response, accept.form)).await
}

/// Whether a request that writes has a body of a media type that no API server takes.
fn has_foreign_body(request: &Request) -> bool {
    let content = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = content.and_then(|content| content.split(';').next()).unwrap_or(JSON).trim();
    let is_known = matches!(media, JSON | YAML | "application/vnd.kubernetes.protobuf")
        || (media.starts_with("application/") && media.ends_with("+json"))
        || media == "application/apply-patch+yaml";
    matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) && !is_known
}

fn is_read_by_people(request: &Request) -> bool {
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    agent.is_some_and(|agent| {
        ["curl", "Wget", "Mozilla/5.0"].iter().any(|reader| agent.starts_with(reader))
    })
}

async fn rewrite(response: Response, form: Form) -> Response {
    let (mut parts, body) = response.into_parts();
    let rewritten = to_bytes(body, MAX_BYTES).await.ok().and_then(|body| {
        let value: Value = serde_json::from_slice(&body).ok()?;
        match form {
            Form::Json => Some(value.to_string()),
            Form::Pretty => Some(format!("{value:#}\n")),
            Form::Yaml => serde_saphyr::to_string(&value).ok(),
            Form::Table => Some(table::of(&value).unwrap_or(value).to_string()),
        }
    });
    let Some(text) = rewritten else {
        let text = "the answer could not be written in the form that was asked for";
        return ApiError::new(Reason::InternalError, text).into_response();
    };
    if form == Form::Yaml {
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(YAML));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_in_formats_that_api_servers_take() {
        let cases = [
            ("POST", Some("application/json"), false),
            ("PATCH", Some("application/merge-patch+json; charset=utf-8"), false),
            ("POST", None, false),
            ("POST", Some("text/csv"), true),
            ("GET", Some("text/csv"), false),
        ];
        for (method, content, wanted) in cases {
            let mut request = Request::builder().method(method);
            if let Some(content) = content {
                request = request.header(header::CONTENT_TYPE, content);
            }
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(has_foreign_body(&request), wanted, "{method} {content:?}");
        }
    }

    #[tokio::test]
    async fn people_get_indented_answers() {
        let cases = [
            ("/apis", "kubectl/v1.36", Form::Json),
            ("/apis", "curl/8.0", Form::Pretty),
            ("/apis?pretty=false", "curl/8.0", Form::Json),
            ("/apis?pretty=true", "kubectl/v1.36", Form::Pretty),
        ];
        for (uri, agent, wanted) in cases {
            let request = Request::builder().uri(uri).header(header::USER_AGENT, agent);
            let request = request.body(Body::empty()).unwrap();
            let uri = uri.parse().unwrap();
            let next = async |accept: Accept, _: Request| {
                assert_eq!(accept.form, wanted, "{uri} {agent}");
                Response::default()
            };
            in_form(&Asked::of(&Method::GET, &uri), request, next).await;
        }
    }
}
