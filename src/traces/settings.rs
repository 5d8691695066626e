//! Where traces go and which, by the environment variables of the OpenTelemetry specification
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use std::{borrow::Cow, path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use url::Url;

/// How spans are chosen, described and sent.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) endpoint: Url,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) is_compressed: bool,
    pub(super) files: Files,
    pub(super) sampler: Sampler,
    /// What is said of this process.
    pub(super) resource: Vec<(String, String)>,
    pub(super) batching: Batching,
}

/// Whom the connection trusts, and who we are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// How many spans wait for how long until they are sent together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    pub(super) delay: Duration,
    pub(super) queue: usize,
    pub(super) batch: usize,
}

/// An environment variable whose value cannot be meant. The text does not repeat it: it may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct SettingsError {
    pub(super) variable: &'static str,
    pub(super) problem: String,
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const COMPRESSION: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
pub(super) const CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
pub(super) const CLIENT_CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
const CLIENT_KEY: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Those of this process, or others.
struct Environment<F>(F);

impl Settings {
    /// Reads the variables by this function. Nothing, unless there is an endpoint and nothing else says that there are to be
    /// no traces.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SettingsError> {
        let environment = Environment(variable);
        if environment.is_off()? {
            return Ok(None);
        }
        let Some(endpoint) = environment.endpoint()? else { return Ok(None) };
        if let Some((variable, protocol)) = environment.first(PROTOCOL)
            && protocol != "http/protobuf"
        {
            let problem =
                "`http/protobuf` is the only protocol that is spoken, usually on port 4318";
            return Err(wrong(variable, problem));
        }
        Ok(Some(Self {
            endpoint,
            headers: environment.headers()?,
            timeout: match environment.first(TIMEOUT) {
                Some((variable, text)) => milliseconds(variable, &text)?,
                None => Duration::from_secs(10),
            },
            is_compressed: environment.is_compressed()?,
            files: environment.files()?,
            sampler: environment.sampler()?,
            resource: environment.resource()?,
            batching: environment.batching()?,
        }))
    }
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// The value of a variable. As the specification says, one that is empty counts as one that is not set.
    fn get(&self, variable: &str) -> Option<String> {
        (self.0)(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The one for traces, else that for everything that is sent.
    fn first(&self, variables: [&'static str; 2]) -> Option<(&'static str, String)> {
        variables.into_iter().find_map(|variable| Some((variable, self.get(variable)?)))
    }

    fn is_off(&self) -> Result<bool, SettingsError> {
        let (disabled, exporter) = ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER");
        match self.get(disabled).map(|text| text.to_ascii_lowercase()).as_deref() {
            None | Some("false") => {}
            Some("true") => return Ok(true),
            Some(_) => return Err(wrong(disabled, "`true` or `false` is expected")),
        }
        match self.get(exporter).as_deref() {
            None | Some("otlp") => Ok(false),
            Some("none") => Ok(true),
            Some(_) => Err(wrong(exporter, "`otlp` or `none` is expected")),
        }
    }

    fn endpoint(&self) -> Result<Option<Url>, SettingsError> {
        if let Some(text) = self.get(TRACES_ENDPOINT) {
            return url(TRACES_ENDPOINT, &text).map(Some);
        }
        let Some(text) = self.get(ENDPOINT) else { return Ok(None) };
        let mut url = url(ENDPOINT, &text)?;
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Some(url))
    }

    fn headers(&self) -> Result<HeaderMap, SettingsError> {
        let mut headers = HeaderMap::new();
        let Some((variable, text)) = self.first(HEADERS) else { return Ok(headers) };
        for (name, value) in pairs(variable, &text)? {
            let problem = || wrong(variable, "not a header, `name=value`");
            let name = HeaderName::try_from(name).map_err(|_invalid| problem())?;
            let mut value = HeaderValue::try_from(value).map_err(|_invalid| problem())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn is_compressed(&self) -> Result<bool, SettingsError> {
        let Some((variable, text)) = self.first(COMPRESSION) else { return Ok(false) };
        match text.as_str() {
            "gzip" => Ok(true),
            "none" => Ok(false),
            _ => Err(wrong(variable, "`gzip` or `none` is expected")),
        }
    }

    fn files(&self) -> Result<Files, SettingsError> {
        let file = |variables| self.first(variables).map(|(_, path)| PathBuf::from(path));
        let files = Files {
            ca: file(CERTIFICATE),
            certificate: file(CLIENT_CERTIFICATE),
            key: file(CLIENT_KEY),
        };
        if files.certificate.is_some() == files.key.is_some() {
            return Ok(files);
        }
        let [_, variable] = CLIENT_CERTIFICATE;
        let [_, key] = CLIENT_KEY;
        Err(wrong(variable, format!("this and {key} are only good together")))
    }

    fn sampler(&self) -> Result<Sampler, SettingsError> {
        let name = self.get(SAMPLER);
        let by_parent = |root: Sampler| Sampler::ParentBased(Box::new(root));
        Ok(match name.as_deref().unwrap_or("parentbased_always_on") {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.ratio()?),
            "parentbased_always_on" => by_parent(Sampler::AlwaysOn),
            "parentbased_always_off" => by_parent(Sampler::AlwaysOff),
            "parentbased_traceidratio" => by_parent(Sampler::TraceIdRatioBased(self.ratio()?)),
            _ => {
                let problem = "`always_on`, `always_off` or `traceidratio` is expected, or one of them behind `parentbased_`";
                return Err(wrong(SAMPLER, problem));
            }
        })
    }

    fn ratio(&self) -> Result<f64, SettingsError> {
        let Some(text) = self.get(SAMPLER_ARGUMENT) else { return Ok(1.0) };
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| wrong(SAMPLER_ARGUMENT, "a number from 0 to 1 is expected"))
    }

    fn resource(&self) -> Result<Vec<(String, String)>, SettingsError> {
        let mut resource = vec![
            ("service.name".to_owned(), "loadline".to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        if let Some(text) = self.get(RESOURCE) {
            resource.extend(pairs(RESOURCE, &text)?);
        }
        if let Some(name) = self.get(SERVICE_NAME) {
            resource.push(("service.name".to_owned(), name));
        }
        Ok(resource)
    }

    fn batching(&self) -> Result<Batching, SettingsError> {
        let count = |variable, default| match self.get(variable) {
            Some(text) => {
                let count = text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
                count.ok_or_else(|| wrong(variable, "a number from 1 to 1000000 is expected"))
            }
            None => Ok(default),
        };
        let delay = "OTEL_BSP_SCHEDULE_DELAY";
        let queue = count("OTEL_BSP_MAX_QUEUE_SIZE", 2_048)?;
        Ok(Batching {
            delay: match self.get(delay) {
                Some(text) => milliseconds(delay, &text)?,
                None => Duration::from_secs(5),
            },
            queue,
            batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?.min(queue),
        })
    }
}

fn wrong(variable: &'static str, problem: impl Into<String>) -> SettingsError {
    SettingsError { variable, problem: problem.into() }
}

fn url(variable: &'static str, text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).map_err(|error| wrong(variable, error.to_string()))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        return Ok(url);
    }
    Err(wrong(variable, "an http:// or https:// URL is expected"))
}

fn milliseconds(variable: &'static str, text: &str) -> Result<Duration, SettingsError> {
    // A day: what is longer is another unit.
    let number = text.parse().ok().filter(|number| (1..=86_400_000).contains(number));
    let problem = || wrong(variable, "a number of milliseconds is expected");
    number.map(Duration::from_millis).ok_or_else(problem)
}

/// `key=value` pairs between commas, in which `%` and two digits stand for a byte.
fn pairs(variable: &'static str, text: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let pair = |item: &str| {
        let (key, value) = item.split_once('=')?;
        let decoded =
            |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(Cow::into_owned);
        let (key, value) = (decoded(key)?, decoded(value)?);
        (!key.is_empty()).then_some((key, value))
    };
    let items = text.split(',').filter(|item| !item.trim().is_empty());
    items
        .map(|item| pair(item).ok_or_else(|| wrong(variable, "`key=value,key=value` is expected")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        Settings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn with(variables: &[(&str, &str)]) -> Settings {
        let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
        read(&[&endpoint, variables].concat()).unwrap().unwrap()
    }

    #[test]
    fn there_are_none_without_an_endpoint() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "nonsense")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_SDK_DISABLED", "TRUE")],
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c"), ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert!(read(variables).unwrap().is_none(), "{variables:?}");
        }
    }

    #[test]
    fn endpoints() {
        for (variable, text, wanted) in [
            (ENDPOINT, "http://collector:4318", "http://collector:4318/v1/traces"),
            (ENDPOINT, "https://collector/otlp/", "https://collector/otlp/v1/traces"),
            (TRACES_ENDPOINT, "http://collector:4318", "http://collector:4318/"),
            (TRACES_ENDPOINT, "http://collector:4318/traces", "http://collector:4318/traces"),
        ] {
            let settings = read(&[(variable, text)]).unwrap().unwrap();
            assert_eq!(settings.endpoint.as_str(), wanted);
        }
        let both = read(&[(ENDPOINT, "http://a"), (TRACES_ENDPOINT, "http://b")]);
        assert_eq!(both.unwrap().unwrap().endpoint.as_str(), "http://b/");
    }

    #[test]
    fn headers_may_be_secret() {
        let variable = "OTEL_EXPORTER_OTLP_HEADERS";
        let settings = with(&[(variable, "Authorization=Bearer%20s3cret, x-team = a=b ,")]);
        assert_eq!(settings.headers["authorization"], "Bearer s3cret");
        assert_eq!(settings.headers["x-team"], "a=b");
        assert!(!format!("{settings:?}").contains("s3cret"));
        let error = read(&[(ENDPOINT, "http://c"), (variable, "s3cret")]).unwrap_err().to_string();
        assert_eq!(error, "OTEL_EXPORTER_OTLP_HEADERS: `key=value,key=value` is expected");
    }

    #[test]
    fn the_process_is_described() {
        let name = |variables: &[(&str, &str)]| {
            let resource = with(variables).resource;
            let found = resource.iter().rev().find(|(key, _)| key == "service.name").cloned();
            (found.unwrap().1, resource.len())
        };
        assert_eq!(name(&[]), ("loadline".to_owned(), 2));
        let attributes = (RESOURCE, "service.name=metrics,k8s.pod.name=a%2Cb");
        assert_eq!(name(&[attributes]), ("metrics".to_owned(), 4));
        assert_eq!(name(&[attributes, (SERVICE_NAME, "own")]), ("own".to_owned(), 5));
        assert_eq!(with(&[attributes]).resource[3].1, "a,b");
    }

    #[test]
    fn samplers() {
        let of = |name, argument| {
            format!("{:?}", with(&[(SAMPLER, name), (SAMPLER_ARGUMENT, argument)]).sampler)
        };
        assert_eq!(of("", ""), "ParentBased(AlwaysOn)");
        assert_eq!(of("always_off", "x"), "AlwaysOff");
        assert_eq!(of("traceidratio", ""), "TraceIdRatioBased(1.0)");
        assert_eq!(of("parentbased_traceidratio", "0.25"), "ParentBased(TraceIdRatioBased(0.25))");
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (variable, value) in [
            (ENDPOINT, "collector:4318"),
            (TRACES_ENDPOINT, "no URL"),
            ("OTEL_SDK_DISABLED", "perhaps"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/tls.crt"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=c"),
            (SAMPLER, "sometimes"),
            (RESOURCE, "team"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ] {
            let endpoint = (ENDPOINT, "http://collector:4318");
            let error = read(&[(variable, value), endpoint]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable}: ")), "{error}");
        }
        let ratio = [(ENDPOINT, "http://c"), (SAMPLER, "traceidratio"), (SAMPLER_ARGUMENT, "2")];
        assert!(read(&ratio).unwrap_err().to_string().starts_with("OTEL_TRACES_SAMPLER_ARG: "));
    }
}
