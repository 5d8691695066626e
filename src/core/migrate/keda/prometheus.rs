//! Triggers of Prometheus.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Context, Fields, Moved, Notes, Object,
    authentication::{Parameters, Source},
};
use crate::core::{
    duration, excerpt,
    key_path::KeyPath,
    migrate::{
        draft::{Rule, Server, has_credentials},
        is_plain_name, metric_name,
        query::{Query, escape},
    },
    quantity::{self, Decimal},
    rules::{MAX_HEADERS, check_header, http_url, is_loopback, origin},
};

/// A trigger among those of its object.
pub(super) struct Trigger<'a> {
    pub(super) object: &'a Object,
    pub(super) at: usize,
    /// How long a value is used, in seconds.
    pub(super) cache: Option<i32>,
    /// The seconds of failures, and the replicas from then on.
    pub(super) fallback: Option<(i64, i64)>,
}

/// A trigger that moves. Its query depends on whether the autoscaler scales to zero, which all triggers decide together.
pub(super) struct Moving {
    /// As if the autoscaler did not scale to zero.
    rule: Rule,
    query: Query,
    activation: f64,
    /// Where `activationThreshold` stands.
    path: KeyPath,
    target: Map<String, Value>,
}

impl Moving {
    /// Whether KEDA never scales to zero because of it.
    pub(super) fn is_always_active(&self) -> bool {
        self.activation < 0.0
    }

    /// Adds the rule. Returns the autoscaler's metric.
    pub(super) fn metric(
        self,
        has_zero: bool,
        context: &mut Context<'_>,
        notes: &mut Notes,
    ) -> Value {
        let Self { mut rule, query, activation, path, target } = self;
        if has_zero && activation > 0.0 {
            let text = "the query makes values up to it 0, so that the autoscaler may go to 0; KEDA reads them as they are while another trigger is active";
            notes.note(&path, text);
            rule.query = query.above(activation, rule.is_zero_if_empty);
        } else if !has_zero && activation != 0.0 {
            let text = "this concerns scaling to zero, which this autoscaler does not do";
            notes.note(&path, text);
        }
        let metric = context.rules.add(rule, context.settings);
        json!({"type": "External", "external": {"metric": {"name": metric}, "target": target}})
    }
}

/// The parameters of a trigger, as they are written.
struct Metadata {
    server: Option<Url>,
    query: Option<Query>,
    /// In thousandths.
    threshold: Option<i64>,
    activation: f64,
    ignores_null: bool,
    headers: BTreeMap<String, String>,
    timeout: Option<Duration>,
    modes: Vec<String>,
}

pub(super) fn trigger(
    trigger: &mut Fields,
    about: &Trigger<'_>,
    context: &mut Context<'_>,
    notes: &mut Notes,
) -> Moved {
    let name = trigger.text("name");
    let usual = format!("s{}-prometheus", about.at);
    let metric = name.clone().filter(|name| is_plain_name(name)).unwrap_or_else(|| usual.clone());
    if name.is_some_and(|name| name != metric) {
        notes.note(&trigger.path("name"), format!("the metric is called {usual}"));
    }
    let metric_type = trigger.text("metricType").unwrap_or_else(|| "AverageValue".to_owned());
    let parameters = context.parameters(trigger, about.object, notes);
    let path = trigger.path("metadata");
    let Some(metadata) = trigger.mapping("metadata", notes, metadata) else {
        notes.cannot(&path, "there are no parameters");
        return Moved::Not;
    };
    let key = match metric_type.as_str() {
        "AverageValue" => "averageValue",
        "Value" => "value",
        _ => {
            let text = "it has to be AverageValue or Value, for KEDA too";
            notes.cannot(&trigger.path("metricType"), text);
            return Moved::Not;
        }
    };
    let mut server = metadata.server.map(|url| Server { url, keys: Map::new() });
    if let Some(server) = &mut server {
        credentials(server, &metadata.modes, parameters, (&path, &*trigger), notes);
        server.report_credentials(&path.key("serverAddress"), context.settings, notes);
    }
    let (Some(server), Some(query), Some(threshold)) = (server, metadata.query, metadata.threshold)
    else {
        return Moved::Not;
    };
    if query.divides() {
        let text = "where the query divides by 0, an infinite result is no value, and the autoscaler keeps its size; KEDA makes it 0";
        notes.note(&path.key("query"), text);
    }
    let fallback = about.fallback.and_then(|(seconds, replicas)| {
        if key == "averageValue" {
            return Some((seconds, threshold.saturating_mul(replicas)));
        }
        let text = "with metricType Value no value asks for a number of replicas: it would multiply those that there are";
        notes.cannot(&KeyPath::from(["spec", "fallback"]), text);
        None
    });
    let rule = Rule {
        source: format!("{}, triggers[{}]", about.object.called, about.at),
        metric: metric_name(about.object.namespace.as_deref(), &about.object.name, &metric),
        series: query.series(),
        query: query.template(),
        is_zero_if_empty: metadata.ignores_null,
        timeout: metadata.timeout.map(duration::prometheus),
        cache_ttl: about.cache.map(|seconds| format!("{}s", seconds.clamp(0, 3600))),
        fallback,
        headers: metadata
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), escape(value)))
            .collect(),
        server: Some(server),
    };
    let mut target = Map::new();
    target.insert("type".to_owned(), metric_type.into());
    target.insert(key.to_owned(), Decimal(threshold).to_string().into());
    Moved::External(Box::new(Moving {
        rule,
        query,
        activation: metadata.activation,
        path: path.key("activationThreshold"),
        target,
    }))
}

fn metadata(metadata: &mut Fields, notes: &mut Notes) -> Metadata {
    let server = server(metadata, notes);
    let query = metadata.text("query").map(|query| Query::new(&query));
    match &query {
        None => notes.cannot(&metadata.path("query"), "there is no query"),
        Some(query) if !query.is_known() => {
            let text = "this does not read as PromQL, and the rule has it as it is: correct it if Prometheus refuses it";
            notes.note(&metadata.path("query"), text);
        }
        Some(_) => {}
    }
    let threshold = threshold(metadata, notes);
    let path = metadata.path("activationThreshold");
    let activation = metadata.text("activationThreshold").map_or(Some(0.0), |text| number(&text));
    if activation.is_none() {
        notes.cannot(&path, "this is no number");
    }
    let mut headers = pairs(metadata, "customHeaders", notes);
    let mut seen = Vec::new();
    headers.retain(|(name, value)| {
        let why = match check_header(name) {
            Err(why) => why,
            Ok(_) if value.trim().is_empty() => "a header of a rule has a value".to_owned(),
            Ok(header) if seen.contains(&header) => "names do not differ by case".to_owned(),
            Ok(_) if seen.len() == MAX_HEADERS => {
                format!("a rule has at most {MAX_HEADERS} headers")
            }
            Ok(header) => {
                seen.push(header);
                return true;
            }
        };
        let text = format!("{}: {why}", excerpt::excerpt(name, excerpt::NAME));
        notes.cannot(&metadata.path("customHeaders"), text);
        false
    });
    let is_unsafe = metadata.go_flag("unsafeSsl").unwrap_or_default();
    if is_unsafe && server.as_ref().is_none_or(|url| url.scheme() == "https") {
        let text = "loadline verifies certificates: name the authority of the server's certificate as `caFile` of the backend";
        notes.cannot(&metadata.path("unsafeSsl"), text);
    }
    let path = metadata.path("timeout");
    let timeout = metadata.text("timeout").map(|text| {
        text.parse().map(Duration::from_millis).ok().or_else(|| duration::parse_go(&text).ok())
    });
    let in_bounds = |timeout: &Duration| (1..=600_000).contains(&timeout.as_millis());
    let timeout = match timeout {
        Some(Some(timeout)) if in_bounds(&timeout) => Some(timeout),
        // KEDA's own default.
        Some(Some(Duration::ZERO)) | None => None,
        Some(_) => {
            notes.cannot(&path, "a rule takes a `timeout` of 1 ms to 10 minutes");
            None
        }
    };
    if metadata.text("metricName").is_some() {
        let text = "KEDA ignores it, too; the rule names the metric";
        notes.note(&metadata.path("metricName"), text);
    }
    for key in ["awsRegion", "identityOwner"] {
        if metadata.text(key).is_some() {
            let text = "loadline signs no requests: put a proxy such as aws-sigv4-proxy in front of the server";
            notes.cannot(&metadata.path(key), text);
        }
    }
    let modes = metadata.text("authModes").or_else(|| metadata.text("authMode"));
    let modes = modes.unwrap_or_default();
    Metadata {
        server,
        query,
        threshold,
        activation: activation.unwrap_or_default(),
        ignores_null: metadata.go_flag("ignoreNullValues").unwrap_or(true),
        headers: headers.into_iter().collect(),
        timeout,
        modes: modes
            .split(',')
            .map(|mode| mode.trim().to_owned())
            .filter(|it| !it.is_empty())
            .collect(),
    }
}

/// The URL, with what KEDA sends as parameters of every query.
fn server(metadata: &mut Fields, notes: &mut Notes) -> Option<Url> {
    let address = metadata.text("serverAddress");
    let namespace = metadata.text("namespace");
    let parameters = pairs(metadata, "queryParameters", notes);
    let path = metadata.path("serverAddress");
    let address = address.as_deref().map(|address| address.trim().trim_end_matches('/'));
    let url = address.map_or_else(|| Err("there is none".to_owned()), http_url);
    let url = url.and_then(|url| {
        let has_more = url.query().is_some() || url.fragment().is_some();
        if has_more { Err("a URL without parameters is expected".to_owned()) } else { Ok(url) }
    });
    let mut url = url.map_err(|error| notes.cannot(&path, error)).ok()?;
    let parameters = namespace.into_iter().map(|it| ("namespace".to_owned(), it)).chain(parameters);
    for (key, value) in parameters {
        url.query_pairs_mut().append_pair(&key, &value);
    }
    Some(url)
}

fn threshold(metadata: &mut Fields, notes: &mut Notes) -> Option<i64> {
    let path = metadata.path("threshold");
    let Some(written) = metadata.text("threshold") else {
        notes.cannot(&path, "there is no threshold, which is the target of the autoscaler");
        return None;
    };
    let shown = excerpt::excerpt(&written, excerpt::NAME);
    let Some(number) = number(&written) else {
        let text =
            format!("KEDA reads a plain number here, such as 10 or 0.5, and `{shown}` is none");
        notes.cannot(&path, text);
        return None;
    };
    let threshold = quantity::milli(number).filter(|milli| *milli > 0);
    match threshold {
        None => {
            let text =
                format!("an autoscaler needs a target of at least 0.001, and this is `{shown}`");
            notes.cannot(&path, text);
        }
        Some(i64::MAX) => {
            let most = Decimal(i64::MAX);
            notes.note(&path, format!("`{shown}` is more than a target can be, which is {most}"));
        }
        Some(_) => {}
    }
    threshold
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// `a=1,b=2`, as KEDA reads it.
fn pairs(metadata: &mut Fields, key: &str, notes: &mut Notes) -> Vec<(String, String)> {
    let Some(text) = metadata.text(key) else { return Vec::new() };
    let pair = |pair: &str| match pair.split('=').collect::<Vec<_>>().as_slice() {
        [key, value] => Some((key.trim().to_owned(), value.trim().to_owned())),
        _ => None,
    };
    let pairs: Option<Vec<_>> = text.split(',').map(pair).collect();
    pairs.unwrap_or_else(|| {
        notes.cannot(
            &metadata.path(key),
            "NAME=VALUE pairs are expected, separated by commas, for KEDA too",
        );
        Vec::new()
    })
}

/// The keys of a backend for the modes of authentication.
fn credentials(
    server: &mut Server,
    modes: &[String],
    Parameters(mut parameters): Parameters,
    (metadata, trigger): (&KeyPath, &Fields),
    notes: &mut Notes,
) {
    let path = metadata.key("authModes");
    let missing = |parameter: &str| {
        format!("the parameter {parameter} is not known: name the file in the backend yourself")
    };
    let mut file = |parameter: &str| match parameters.remove(parameter) {
        Some(Source::File { folder, key }) => Some(Source::path(&folder, &key)),
        Some(Source::ServiceAccount) | None => None,
    };
    let mut keys = Map::new();
    if let Some(ca) = file("ca") {
        keys.insert("caFile".to_owned(), ca.into());
    }
    if modes.iter().any(|mode| mode == "tls") {
        for (parameter, key) in [("cert", "clientTLSCertFile"), ("key", "clientTLSKeyFile")] {
            match file(parameter) {
                Some(file) => drop(keys.insert(key.to_owned(), file.into())),
                None => notes.cannot(&path, missing(parameter)),
            }
        }
    }
    for mode in modes {
        match mode.as_str() {
            "tls" => {}
            "bearer" => {
                let token = parameters.remove("bearerToken").or_else(|| parameters.remove("token"));
                match token {
                    Some(Source::File { folder, key }) => {
                        let path = Source::path(&folder, &key);
                        keys.insert("tokenFile".to_owned(), path.into());
                    }
                    Some(Source::ServiceAccount) => {
                        keys.insert("authInCluster".to_owned(), true.into());
                        let host = origin(&server.url);
                        notes.note(&path, format!("loadline sends the token of its service account only if it is started with --in-cluster-auth-hosts={host}"));
                    }
                    None => notes.cannot(&path, missing("bearerToken")),
                }
            }
            "basic" => {
                let password = parameters.remove("username").into_iter();
                let password = password.chain(parameters.remove("password")).next();
                let Some(Source::File { folder, .. }) = password else {
                    notes.cannot(&path, missing("username"));
                    continue;
                };
                let file = Source::path(&folder, "kubeconfig");
                notes.cannot(&path, format!("loadline reads a user and a password from a kubeconfig: write one with `username` and `password` of a user to {file}, as a key of the Secret"));
                keys.insert("authConfig".to_owned(), file.into());
            }
            "custom" => {
                parameters.remove("customAuthHeader");
                parameters.remove("customAuthValue");
                notes.cannot(&path, "a header with a secret stands in the rules file: write it to `headers` of the backend, or have a proxy add it");
            }
            other => {
                let other = excerpt::excerpt(other, excerpt::NAME);
                notes.cannot(&path, format!("KEDA's Prometheus trigger sends no credentials for {other}, and loadline has no such mode"));
            }
        }
    }
    if !parameters.is_empty() {
        let unused = parameters.keys().cloned().collect::<Vec<_>>().join(", ");
        let unused = excerpt::excerpt(&unused, excerpt::SAID);
        notes.note(
            &trigger.path("authenticationRef"),
            format!("authModes uses none of these parameters, and the backend neither: {unused}"),
        );
    }
    let is_secret = has_credentials(&server.url)
        || ["tokenFile", "authInCluster", "authConfig"].iter().any(|key| keys.contains_key(*key));
    if is_secret && server.url.scheme() == "http" && !is_loopback(&server.url) {
        let host = origin(&server.url);
        notes.note(&path, format!("loadline sends credentials over http only if it is started with --plaintext-credentials-hosts={host}; give the flag to `loadline check` as well"));
    }
    server.keys.extend(keys);
}
