//! The form of an answer: JSON, indented where somebody reads it, YAML, or a table.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use serde_json::Value;

use super::{
    edge::Edge,
    error::ApiError,
    lists::{self, Listed},
};
use crate::wire::{status::Reason, table};

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// The media type of YAML.
pub(super) const YAML: &str = "application/yaml";

/// The largest answer that is written anew, in bytes.
const MAX_BYTES: usize = 64 << 20;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Form {
    Json,
    /// JSON, indented.
    Pretty,
    Yaml,
    /// `Table` of meta.k8s.io/v1, where the answer has one.
    Table,
}

/// Writes an API's JSON answer in the form that was asked for; 406 where there is none of the accepted ones. What is no
/// part of an API (health, metrics) is left alone.
pub(super) async fn negotiate(edge: &Edge, request: Request) -> Response {
    let path = request.uri().path();
    if !(path.starts_with("/apis") || path == "/version") {
        return edge.route(request).await;
    }
    if has_foreign_body(&request) {
        let text =
            format!("the body of the request is in none of the known formats: {JSON}, {YAML}");
        return ApiError::new(Reason::UnsupportedMediaType, text).into_response();
    }
    let Some(form) = form(request.headers()) else {
        let text = format!("only the following media types are accepted: {JSON}, {YAML}");
        return ApiError::new(Reason::NotAcceptable, text).into_response();
    };
    let form = if form == Form::Json && is_pretty(&request) { Form::Pretty } else { form };
    let takes_gzip = lists::takes_gzip(request.headers());
    let mut response = edge.route(request).await;
    if let Some(listed) = response.extensions_mut().remove::<Listed>() {
        let catalog = edge.api.reads.catalog();
        return edge.api.lists.answer(catalog, listed, form, takes_gzip).boxed().await;
    }
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(JSON.as_bytes()));
    if !is_json || form == Form::Json {
        return response;
    }
    rewrite(response, form).boxed().await
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

/// The first accepted media type that can be given, in the order of preference.
fn form(headers: &HeaderMap) -> Option<Form> {
    let accept = || headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accept().all(|value| value.trim().is_empty()) {
        return Some(Form::Json);
    }
    let ranges = accept().flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let mut form = match parts.next()? {
            JSON | "application/*" | "*/*" => Form::Json,
            YAML => Form::Yaml,
            _ => return None,
        };
        let mut quality = 1.0;
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q", value)) => quality = value.parse().ok()?,
                // Another object in place of the answer; discovery knows its own.
                Some(("as", "Table")) if form == Form::Json => form = Form::Table,
                Some(("as", "APIGroupDiscoveryList")) => {}
                Some(("as", _)) => return None,
                Some(("v", version)) if form == Form::Table && version != "v1" => return None,
                _ => {}
            }
        }
        (quality > 0.0).then_some((quality, form))
    });
    // Of equals the first.
    ranges.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, form)| form)
}

/// `pretty` decides; without it, what people read with gets indented answers.
fn is_pretty(request: &Request) -> bool {
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    if let Some(pretty) = parameters.find_map(|parameter| match parameter.split_once('=') {
        Some(("pretty", value)) => Some(value),
        None if parameter == "pretty" => Some("true"),
        _ => None,
    }) {
        return !matches!(pretty, "0" | "f" | "F" | "false" | "FALSE" | "False");
    }
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
    fn the_accepted_form_is_found() {
        let cases = [
            (None, Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("application/yaml"), Some(Form::Yaml)),
            (Some("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Json)),
            (Some("application/vnd.kubernetes.protobuf"), None),
            (Some("application/json;q=0.1, application/yaml;q=0.9"), Some(Form::Yaml)),
            (
                Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
                Some(Form::Table),
            ),
            (
                Some("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"),
                Some(Form::Json),
            ),
            (Some("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"), None),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
            (
                Some("application/json; g=apidiscovery.k8s.io; v=v2; as=APIGroupDiscoveryList"),
                Some(Form::Json),
            ),
        ];
        for (accept, wanted) in cases {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(form(&headers), wanted, "{accept:?}");
        }
    }

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

    #[test]
    fn people_get_indented_answers() {
        let cases = [
            ("/apis", "kubectl/v1.36", false),
            ("/apis", "curl/8.0", true),
            ("/apis?pretty=false", "curl/8.0", false),
            ("/apis?pretty=true", "kubectl/v1.36", true),
            ("/apis?a=b&pretty", "x", true),
        ];
        for (uri, agent, wanted) in cases {
            let request = Request::builder()
                .uri(uri)
                .header(header::USER_AGENT, agent)
                .body(Body::empty())
                .unwrap();
            assert_eq!(is_pretty(&request), wanted, "{uri} {agent}");
        }
    }
}
