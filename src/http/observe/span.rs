//! What a trace says of a request: by OpenTelemetry's conventions for servers of HTTP, and by the names that kube-apiserver's
//! own traces have for what it knows of a request.

use axum::{
    extract::Request,
    http::{Method, header},
    response::Response,
};

use crate::{
    http::stack::Asked,
    traces::{self, Cause, KeyValue, Span, SpanKind},
    wire::{
        attributes::{Attributes, Target},
        discovery::{CUSTOM, EXTERNAL, RESOURCE},
    },
};

/// Answers a request within a span, which begins when the request came. Requests of strangers have no span.
pub(in crate::http) async fn traced(
    asked: &Asked<'_>,
    has_span: bool,
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let cause = Cause::current();
    let has_trace = cause.trace_id().is_some();
    let mut span =
        if has_span { begin(cause, asked, &request) } else { Span::from(cause.untraced()) };
    if let (false, Some(id)) = (has_trace, span.cause().trace_id()) {
        tracing::Span::current().record("trace_id", tracing::field::display(id));
    }
    let response = span.during(next(request)).await;
    let code = response.status().as_u16();
    span.record(|| [KeyValue::new("http.response.status_code", i64::from(code))]);
    if code >= 500 {
        span.fail(code.to_string(), "the request could not be answered");
    }
    response
}

/// Begins the span of a request. Probes, scrapes and paths that are not served have none.
fn begin(cause: Cause, asked: &Asked<'_>, request: &Request) -> Span {
    let known = asked.attributes.as_ref().ok().filter(|_| cause.is_traced());
    let Some((attributes, route)) = known.and_then(|known| Some((known, route(&known.target)?)))
    else {
        return Span::from(cause.untraced());
    };
    let audit_id = cause.audit_id().map(|id| traces::text("audit-id", id));
    let (method, name) = match method(request.method()) {
        Some(method) => (method, format!("{method} {route}")),
        None => ("_OTHER", format!("HTTP {route}")),
    };
    let mut span = cause.span_since(asked.at, SpanKind::Server, name);
    span.record(|| {
        let agent = request.headers().get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        let mut known = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("url.scheme", "https"),
            traces::text("url.path", request.uri().path()),
        ];
        known.extend(agent.map(|agent| traces::text("user_agent.original", agent)));
        known.extend(audit_id);
        known.extend(named(attributes));
        known
    });
    span
}

fn method(method: &Method) -> Option<&'static str> {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method.as_str())
}

/// What a path has in the places where others have something else.
fn named(attributes: &Attributes<'_>) -> Vec<KeyValue> {
    let Target::Resource { group, version, namespace, resource, name, subresource } =
        &attributes.target
    else {
        return Vec::new();
    };
    let metric = match (&**group, &**resource) {
        (_, "explanations") if subresource.is_empty() => name,
        (group, _) if group == EXTERNAL.name => resource,
        // A metric of the namespace itself.
        (group, "metrics") if group == CUSTOM.name => name,
        _ => subresource,
    };
    let texts = [
        ("verb", &attributes.verb),
        ("api-group", group),
        ("api-version", version),
        ("namespace", namespace),
        ("resource", resource),
        ("name", name),
        ("metric", metric),
    ];
    let known = texts.into_iter().filter(|(_, text)| !text.is_empty());
    known.map(|(key, text)| traces::text(key, text)).collect()
}

/// The form of a path that is served.
fn route(target: &Target<'_>) -> Option<&'static str> {
    match target {
        Target::Resource { group, namespace, resource, name, subresource, .. } => {
            let in_namespace = !namespace.is_empty();
            match (&**group, &**resource) {
                (group, "metrics")
                    if group == CUSTOM.name && in_namespace && subresource.is_empty() =>
                {
                    Some(
                        "/apis/custom.metrics.k8s.io/{version}/namespaces/{namespace}/metrics/{metric}",
                    )
                }
                (group, "explanations")
                    if [CUSTOM.name, EXTERNAL.name].contains(&group) && subresource.is_empty() =>
                {
                    Some(if in_namespace {
                        "/apis/{group}/{version}/namespaces/{namespace}/explanations/{metric}"
                    } else {
                        "/apis/{group}/{version}/explanations/{metric}"
                    })
                }
                (group, _) if group == CUSTOM.name && in_namespace => Some(
                    "/apis/custom.metrics.k8s.io/{version}/namespaces/{namespace}/{resource}/{name}/{metric}",
                ),
                (group, _) if group == CUSTOM.name => {
                    Some("/apis/custom.metrics.k8s.io/{version}/{resource}/{name}/{metric}")
                }
                (group, _) if group == EXTERNAL.name => {
                    Some("/apis/external.metrics.k8s.io/{version}/namespaces/{namespace}/{metric}")
                }
                (group, "pods") if group == RESOURCE.name => Some(match (in_namespace, &**name) {
                    (false, _) => "/apis/metrics.k8s.io/{version}/pods",
                    (true, "") => "/apis/metrics.k8s.io/{version}/namespaces/{namespace}/pods",
                    (true, _) => {
                        "/apis/metrics.k8s.io/{version}/namespaces/{namespace}/pods/{name}"
                    }
                }),
                (group, "nodes") if group == RESOURCE.name => Some(match &**name {
                    "" => "/apis/metrics.k8s.io/{version}/nodes",
                    _ => "/apis/metrics.k8s.io/{version}/nodes/{name}",
                }),
                _ => None,
            }
        }
        Target::Path(path) => match path.trim_end_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["", "apis"] => Some("/apis"),
            ["", "apis", _] => Some("/apis/{group}"),
            ["", "apis", _, _] => Some("/apis/{group}/{version}"),
            ["", "version"] => Some("/version"),
            ["", "openapi", "v2"] => Some("/openapi/v2"),
            ["", "openapi", "v3"] => Some("/openapi/v3"),
            ["", "openapi", "v3", "apis", _, _] => Some("/openapi/v3/apis/{group}/{version}"),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn recorded(path: &str) -> (Option<&'static str>, Vec<String>) {
        let attributes = Attributes::of("GET", path, false).unwrap();
        let named = named(&attributes);
        let named = named.iter().map(|known| format!("{}={}", known.key, known.value)).collect();
        (route(&attributes.target), named)
    }

    #[test]
    fn routes_are_few_and_names_are_attributes() {
        let custom = "/apis/custom.metrics.k8s.io/v1beta2";
        let common = ["verb=get", "api-group=custom.metrics.k8s.io", "api-version=v1beta2"];
        let (route, named) = recorded(&format!("{custom}/namespaces/n/pods/*/m"));
        assert_eq!(
            route,
            Some(
                "/apis/custom.metrics.k8s.io/{version}/namespaces/{namespace}/{resource}/{name}/{metric}"
            )
        );
        assert_eq!(named[..3], common);
        assert_eq!(named[3..], ["namespace=n", "resource=pods", "name=*", "metric=m"]);
        let (route, named) = recorded(&format!("{custom}/namespaces/n/metrics/m"));
        assert!(route.unwrap().ends_with("/namespaces/{namespace}/metrics/{metric}"));
        assert_eq!(named[3..], ["namespace=n", "resource=metrics", "name=m", "metric=m"]);
        let (route, named) = recorded(&format!("{custom}/nodes/n1/m"));
        assert!(route.unwrap().ends_with("/{version}/{resource}/{name}/{metric}"));
        assert_eq!(named[3..], ["resource=nodes", "name=n1", "metric=m"]);
        let (route, named) = recorded("/apis/external.metrics.k8s.io/v1beta1/namespaces/n/q");
        assert!(route.unwrap().ends_with("/namespaces/{namespace}/{metric}"));
        assert_eq!(named.last().unwrap(), "metric=q");
        let (route, named) = recorded("/apis/metrics.k8s.io/v1beta1/namespaces/n/pods/p");
        assert!(route.unwrap().ends_with("/namespaces/{namespace}/pods/{name}"));
        assert_eq!(named.last().unwrap(), "name=p");
    }

    #[test]
    fn probes_scrapes_and_what_is_not_served_have_no_span() {
        for path in [
            "/",
            "/healthz",
            "/readyz/ping",
            "/livez",
            "/health/live",
            "/metrics",
            "/api/v1/pods",
            "/apis/apps/v1/namespaces/n/pods/p/m",
            "/apis/metrics.k8s.io/v1/secrets",
        ] {
            assert_eq!(recorded(path).0, None, "{path}");
        }
        assert_eq!(
            recorded("/apis/custom.metrics.k8s.io/v1beta2").0,
            Some("/apis/{group}/{version}")
        );
        assert_eq!(recorded("/apis").0, Some("/apis"));
    }
}
