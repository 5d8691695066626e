//! Credentials in requests.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use reqwest::Request;

use crate::core::cloud::sigv4::{self, Keys};

/// Signs a request. What is not signed may be changed by proxies: traces, and what HTTP libraries add.
pub(super) fn sign(request: &mut Request, keys: &Keys, scope: sigv4::Scope<'_>, at: Timestamp) {
    if let Some(query) = request.url().query() {
        let query = sigv4::canonical_query(query);
        request.url_mut().set_query(Some(&query));
    }
    let url = request.url().clone();
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let content_type = content_type.as_deref().map(|value| ("content-type", value));
    let headers: Vec<_> = std::iter::once(("host", host.as_str())).chain(content_type).collect();
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
    let signed = sigv4::Request {
        method: request.method().as_str(),
        path: url.path(),
        query: url.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    for (name, value) in sigv4::sign(&signed, keys, scope, at) {
        insert(request.headers_mut(), HeaderName::from_static(name), &value);
    }
}

/// Sets a header that no log shows. Credentials that no header can hold are refused where they are read: in replies, in the environment and
/// in the shared files of AWS.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}
