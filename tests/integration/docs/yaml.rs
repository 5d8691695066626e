//! The YAML of a page: rules that `loadline check` finds nothing in, manifests that Kubernetes knows, values of the chart.

use k8s_openapi::{
    api::{
        apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1,
        rbac::v1::ClusterRoleBinding,
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use loadline::core::lint::{self, Severity};
use serde_json::{Map, Value};

use super::page::{Block, Page};
use crate::support::schema::{is_within, reread};

/// Kinds that k8s-openapi does not know.
const OTHER_KINDS: &[&str] =
    &["Kustomization", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor"];

const RULES_FILE: &[&str] = &["rules", "externalRules", "resourceRules", "backends", "teamRules"];

/// Of a kustomization that does not say that it is one.
const KUSTOMIZATION: &[&str] =
    &["resources", "components", "images", "configMapGenerator", "generatorOptions", "patches"];

/// Of a configuration of Prometheus.
const PROMETHEUS: &[&str] = &["global", "scrape_configs"];

/// What is wrong with the blocks of a page; `values` are those of the chart.
pub(super) fn complaints(page: &Page, values: &Value) -> Vec<String> {
    let blocks = page.blocks.iter().filter(|block| block.language == "yaml");
    blocks
        .flat_map(|block| {
            let told = about(block, values);
            told.into_iter().map(|what| format!("{}:{}: {what}", page.path, block.line))
        })
        .collect()
}

fn about(block: &Block, values: &Value) -> Vec<String> {
    let documents: Vec<Value> = match serde_saphyr::from_multiple(&block.text) {
        Ok(documents) => documents,
        Err(error) => return vec![error.to_string()],
    };
    documents.iter().flat_map(|document| one(document, &block.text, values)).collect()
}

fn one(document: &Value, text: &str, values: &Value) -> Vec<String> {
    if document[0].get("seriesQuery").is_some() {
        return rules(&format!("rules:\n{text}"));
    }
    let Some(keys) = document.as_object() else {
        return vec!["nobody knows what this is".to_owned()];
    };
    let only = |known: &[&str]| keys.keys().all(|key| known.contains(&key.as_str()));
    match document.get("kind").and_then(Value::as_str) {
        Some(kind) if OTHER_KINDS.contains(&kind) => Vec::new(),
        Some("MetricRule" | "ClusterMetricRule") => rules(text),
        Some(kind) => manifest(kind, document).into_iter().collect(),
        None if only(RULES_FILE) && !document["rules"].is_object() => rules(text),
        None if only(KUSTOMIZATION) || only(PROMETHEUS) => Vec::new(),
        None if document["rules"].is_object() => rules(text),
        None => unknown_values("", keys, values),
    }
}

/// What Kubernetes does not know in a manifest.
fn manifest(kind: &str, document: &Value) -> Option<String> {
    let read = match (document["apiVersion"].as_str().unwrap_or_default(), kind) {
        ("v1", "ConfigMap") => reread::<v1::ConfigMap>(document),
        ("v1", "Namespace") => reread::<v1::Namespace>(document),
        ("v1", "Pod") => reread::<v1::Pod>(document),
        ("v1", "Service") => reread::<v1::Service>(document),
        ("apps/v1", "Deployment") => reread::<Deployment>(document),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => {
            reread::<HorizontalPodAutoscaler>(document)
        }
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            reread::<ClusterRoleBinding>(document)
        }
        ("apiregistration.k8s.io/v1", "APIService") => reread::<APIService>(document),
        other => return Some(format!("{other:?} is not expected")),
    };
    match read {
        Ok(read) if is_within(document, &read) => None,
        Ok(read) => Some(format!("unknown fields; known are {read}")),
        Err(error) => Some(error.to_string()),
    }
}

/// What `loadline check` finds that counts. Backends by themselves are used by rules that stand elsewhere.
fn rules(text: &str) -> Vec<String> {
    let is_used_elsewhere =
        |code: &str| matches!(code, "unused-backend" | "no-rules") && !text.contains("rules:");
    lint::check(text)
        .into_iter()
        .filter(|found| found.severity < Severity::Info && !is_used_elsewhere(found.code))
        .map(|found| format!("{}: {} [{}]", found.path, found.message, found.code))
        .collect()
}

/// The keys that the chart has no value for.
fn unknown_values(path: &str, written: &Map<String, Value>, known: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    for (key, value) in written {
        let path = format!("{path}.{key}");
        match (known.get(key), value) {
            (None, _) => unknown.push(format!("the chart has no value {path}")),
            (Some(Value::Object(known)), Value::Object(written)) if !known.is_empty() => {
                unknown.extend(unknown_values(&path, written, &Value::Object(known.clone())));
            }
            (Some(_), _) => {}
        }
    }
    unknown
}
