//! What is served on the debug address: the status page and, where they are built in, profiles. There is neither TLS nor
//! authentication: all who reach it may read it.

#[cfg(feature = "profiles")]
use std::time::Duration;
use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{
    Api,
    error::ApiError,
    stack::whole,
    status_page::{self, PageFile},
};
#[cfg(feature = "profiles")]
use crate::profiles;
use crate::{server::Answering, wire::page::STYLE_NAME};

/// The longest query of a request, in bytes.
const MAX_QUERY_BYTES: usize = 8 << 10;

/// What answers requests to the debug address.
pub fn debug(api: Arc<Api>) -> impl Answering {
    tower::service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok(whole(request, async |request| answer(&api, request).await).await) }
    })
}

async fn answer(api: &Api, request: Request) -> Response {
    let uri = request.uri();
    let asks = uri.query().is_some() || uri.path().starts_with("/debug/");
    if let Err(why) = is_meant(request.headers(), asks) {
        return plain(StatusCode::FORBIDDEN, why);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "everything here is read by GET");
    }
    let query = uri.query();
    if query.is_some_and(|query| query.len() > MAX_QUERY_BYTES) {
        return plain(StatusCode::URI_TOO_LONG, "the query is too long");
    }
    #[cfg(feature = "profiles")]
    if uri.path() == "/debug/pprof/profile" {
        return cpu_profile(query).await;
    }
    #[cfg(feature = "profiles")]
    if uri.path() == "/debug/pprof/heap" {
        return profile(profiles::heap().await);
    }
    let file = match uri.path() {
        "/" => PageFile::Page,
        path if path.strip_prefix('/') == Some(STYLE_NAME) => PageFile::Style,
        _ => return plain(StatusCode::NOT_FOUND, "the status page is at /"),
    };
    let answer = status_page::file(api, file, query, None).await;
    answer.unwrap_or_else(|error| failure(&error))
}

/// Refuses what a browser sends without its user wanting it. A page of another site can have requests sent to loopback: under a
/// name of its own that it has given our address (the `Host` shows it), or as what it is (the browser says so). A link may lead
/// here, but not ask anything.
fn is_meant(headers: &HeaderMap, asks: bool) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    if !is_own(host) {
        return Err("the debug address is reached by its IP address or by localhost");
    }
    if let Some(origin) = text(header::ORIGIN)
        && origin.strip_prefix("http://") != Some(host)
    {
        return Err("this was sent by the page of another site");
    }
    let from = text(header::HeaderName::from_static("sec-fetch-site"));
    // A frame navigates, too, but it is no document of its own.
    let is_link = text(header::HeaderName::from_static("sec-fetch-mode")) == Some("navigate")
        && text(header::HeaderName::from_static("sec-fetch-dest")) == Some("document");
    match from {
        None | Some("none" | "same-origin") => Ok(()),
        Some(_) if is_link && !asks => Ok(()),
        Some(_) => Err("this was sent by the page of another site"),
    }
}

/// Whether a host, with or without a port, is an IP address or `localhost`: nobody can make these mean another server.
fn is_own(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    is_port && (name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok())
}

/// The longest profile.
#[cfg(feature = "profiles")]
const LONGEST_PROFILE_SECONDS: u64 = 60;

/// A CPU profile, in the format of pprof.
#[cfg(feature = "profiles")]
async fn cpu_profile(query: Option<&str>) -> Response {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let seconds = pairs.find(|(name, _)| name == "seconds").map(|(_, value)| value);
    let seconds = seconds.map_or(Some(30), |text| text.parse().ok());
    let seconds = seconds.filter(|seconds| (1..=LONGEST_PROFILE_SECONDS).contains(seconds));
    let Some(seconds) = seconds else {
        let text = format!("seconds is a number from 1 to {LONGEST_PROFILE_SECONDS}");
        return plain(StatusCode::BAD_REQUEST, &text);
    };
    profile(profiles::cpu(Duration::from_secs(seconds)).await)
}

#[cfg(feature = "profiles")]
fn profile(made: Result<Vec<u8>, profiles::Error>) -> Response {
    match made {
        Ok(profile) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CACHE_CONTROL, "no-store"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\""),
            ];
            (headers, Body::from(profile)).into_response()
        }
        Err(error @ profiles::Error::Busy) => {
            plain(StatusCode::TOO_MANY_REQUESTS, &error.to_string())
        }
        Err(error @ profiles::Error::NoSamples) => plain(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ (profiles::Error::Refused(_) | profiles::Error::Heap(_))) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

fn failure(error: &ApiError) -> Response {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    plain(code, error.message())
}

fn plain(code: StatusCode, text: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (code, headers, Body::from(format!("{text}\n"))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_nobody_else_can_have_are_ours() {
        for host in [
            "localhost",
            "LOCALHOST:6060",
            "127.0.0.1",
            "127.0.0.1:6060",
            "[::1]:6060",
            "[::1]",
            "10.0.0.7:1",
        ] {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:6060",
            "127.0.0.1.evil.example",
            "localhost.evil.example:6060",
            "localhost:x",
            "[::1",
            "127.0.0.1:6060:1",
            "a@127.0.0.1",
            "?",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }

    #[test]
    fn other_sites_are_refused() {
        let ask = |headers: &[(&'static str, &'static str)], asks| {
            let mut map = HeaderMap::new();
            map.insert("host", HeaderValue::from_static("127.0.0.1:6060"));
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            is_meant(&map, asks).is_ok()
        };
        let site = "sec-fetch-site";
        let link = ("sec-fetch-mode", "navigate");
        assert!(ask(&[], true));
        assert!(ask(&[(site, "none"), link], true));
        assert!(ask(&[(site, "same-origin"), ("origin", "http://127.0.0.1:6060")], true));
        let dest = "sec-fetch-dest";
        assert!(ask(&[(site, "cross-site"), link, (dest, "document")], false));
        assert!(!ask(&[(site, "cross-site"), link, (dest, "document")], true));
        assert!(!ask(&[(site, "cross-site"), link, (dest, "iframe")], false));
        assert!(!ask(&[(site, "same-site"), ("sec-fetch-mode", "no-cors")], false));
        for origin in
            ["http://evil.example", "null", "https://127.0.0.1:6060", "http://127.0.0.1:6061"]
        {
            assert!(!ask(&[("origin", origin)], false), "{origin}");
        }
        assert!(is_meant(&HeaderMap::new(), false).is_err());
    }
}
