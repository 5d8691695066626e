//! The collector: OTLP over HTTP, in protobuf (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::{io::Write as _, path::Path, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use prost::Message as _;
use reqwest::redirect::Policy;
use url::{Host, Url};

use super::settings::{CERTIFICATE, CLIENT_CERTIFICATE, Files, Settings, SettingsError};

/// The most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Where spans are sent.
pub(super) struct Collector {
    client: reqwest::Client,
    endpoint: Url,
    headers: HeaderMap,
    timeout: Duration,
    is_compressed: bool,
    resource: ResourceAttributesWithSchema,
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// There was no answer.
    #[error("{0:#}")]
    Unreachable(anyhow::Error),
    /// The answer is no success.
    #[error("HTTP status {0}")]
    Status(StatusCode),
}

impl Refusal {
    /// Whether the same spans may be taken later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

impl Collector {
    /// Reads the files that are named. The collector need not be there yet.
    pub(super) fn new(settings: &Settings, resource: &Resource) -> Result<Self, SettingsError> {
        let mut headers = settings.headers.clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, protobuf);
        if settings.is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self {
            client: client(&settings.endpoint, &settings.files)?,
            endpoint: settings.endpoint.clone(),
            headers,
            timeout: settings.timeout,
            is_compressed: settings.is_compressed,
            resource: resource.into(),
        })
    }

    /// Its host and port, without anything that may be secret.
    pub(super) fn name(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        let port = self.endpoint.port_or_known_default().unwrap_or_default();
        format!("{host}:{port}")
    }

    /// A request's body.
    pub(super) fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let plain = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        if !self.is_compressed {
            return plain.into();
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Memory takes everything.
        encoder.write_all(&plain).unwrap_or_default();
        encoder.finish().unwrap_or_default().into()
    }

    /// Sends a body, and says how many of its spans are refused for what they are.
    pub(super) async fn send(&self, body: Bytes) -> Result<u64, Refusal> {
        let unreachable = |error: reqwest::Error| Refusal::Unreachable(error.without_url().into());
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone());
        let response = request.timeout(self.timeout).body(body).send().await;
        let mut response = response.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(Refusal::Status(response.status()));
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Ok(0);
            }
            answer.extend_from_slice(&chunk);
        }
        // Whatever it is, the spans were taken.
        let answer = ExportTraceServiceResponse::decode(answer.as_slice()).unwrap_or_default();
        let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(refused).unwrap_or_default())
    }
}

fn client(endpoint: &Url, files: &Files) -> Result<reqwest::Client, SettingsError> {
    let [_, ca_variable] = CERTIFICATE;
    let [_, identity_variable] = CLIENT_CERTIFICATE;
    let problem = |variable, error: reqwest::Error| SettingsError {
        variable,
        problem: format!("{:#}", anyhow::Error::from(error)),
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("loadline/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .redirect(Policy::none());
    if is_loopback(endpoint) {
        // As for Prometheus: what runs on this machine is never behind the proxy of the environment.
        builder = builder.no_proxy();
    }
    if let Some(path) = &files.ca {
        let pem = content(ca_variable, path)?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem);
        let certificates = certificates.map_err(|error| problem(ca_variable, error))?;
        builder = builder.tls_certs_only(certificates);
    }
    if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
        let (certificate, key) =
            (content(identity_variable, certificate)?, content(identity_variable, key)?);
        let pem = [key.as_slice(), b"\n", certificate.as_slice()].concat();
        let identity = reqwest::Identity::from_pem(&pem);
        builder = builder.identity(identity.map_err(|error| problem(identity_variable, error))?);
    }
    builder.build().map_err(|error| problem(ca_variable, error))
}

fn content(variable: &'static str, path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|error| SettingsError {
        variable,
        problem: format!("{}: {error}", path.display()),
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
