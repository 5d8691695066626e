//! HorizontalPodAutoscalers with annotations of kube-metrics-adapter: `metric-config.TYPE.METRIC.COLLECTOR/KEY`.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    Autoscaler, Fields, LAST_APPLIED, Migration, Notes, Settings, called,
    draft::{Rule, RulesDraft, Server},
    fields, is_plain_name, metric_name, namespace_of,
    query::Query,
    take_server_fields, text,
};
use crate::core::{autoscaler::v1, duration, excerpt, key_path::KeyPath, rules::http_url};

/// What the annotations begin with.
const PREFIX: &str = "metric-config.";

const PROMETHEUS: &str = "prometheus";

const NO_QUERY: &str = "no annotation has the query";

/// The label that names the collector of an external metric.
const TYPE: &str = "type";

/// The label that names one of several queries of a metric.
const QUERY_NAME: &str = "query-name";

/// The longest `cacheTTL`.
const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// What annotations say about a metric, by its type (in lower case) and its name.
type Configs = BTreeMap<(String, String), Config>;

/// What annotations say about a metric.
#[derive(Debug)]
struct Config {
    collector: String,
    /// Key → the annotation, and its value.
    entries: BTreeMap<String, (String, String)>,
}

struct Context<'a> {
    settings: &'a Settings,
    rules: RulesDraft,
    configs: Configs,
    called: String,
    name: String,
    namespace: Option<String>,
}

pub(super) fn migrate(documents: Vec<Value>, settings: &Settings) -> Migration {
    let mut migration = Migration::default();
    let documents = documents.into_iter().map(as_v2);
    for document in documents.filter(is_configured) {
        let namespace = namespace_of(&document, settings);
        let name = text(&document, "/metadata/name").to_owned();
        let called = called("HorizontalPodAutoscaler", namespace.as_deref(), &name);
        let Value::Object(document) = document else { continue };
        migration.objects += 1;
        let mut notes = Notes::about(called.clone());
        let rules = std::mem::take(&mut migration.rules);
        let configs = Configs::new();
        let mut context =
            Context { settings, rules, configs, called: called.clone(), name, namespace };
        let manifest = autoscaler(document, &mut context, &mut notes);
        migration.rules = context.rules;
        migration
            .autoscalers
            .extend(manifest.map(|manifest| Autoscaler { source: called, manifest }));
        migration.notes.extend(notes.into_notes());
    }
    migration
}

/// An autoscaler of `autoscaling/v1` as the API server converts it. One that would lose something is left as it is, and refused.
fn as_v2(document: Value) -> Value {
    let is_v1 = text(&document, "/apiVersion") == v1::VERSION;
    if is_v1 && v1::is_whole(&document) { v1::to_v2(&document).into_owned() } else { document }
}

/// Whether a document is an autoscaler with a metric that kube-metrics-adapter collects.
fn is_configured(document: &Value) -> bool {
    let annotations = document.pointer("/metadata/annotations").and_then(Value::as_object);
    let has_annotation =
        annotations.is_some_and(|all| all.keys().any(|key| key.starts_with(PREFIX)));
    let metrics = document.pointer("/spec/metrics").and_then(Value::as_array);
    let is_collected = |metric: &Value| {
        let is_ingress = matches!(
            text(metric, "/object/describedObject/kind"),
            "Ingress" | "RouteGroup" | "ScalingSchedule" | "ClusterScalingSchedule"
        );
        is_ingress || metric.pointer("/external/metric/selector/matchLabels/type").is_some()
    };
    text(document, "/kind") == "HorizontalPodAutoscaler"
        && (has_annotation || metrics.is_some_and(|all| all.iter().any(is_collected)))
}

fn autoscaler(
    document: Map<String, Value>,
    context: &mut Context<'_>,
    notes: &mut Notes,
) -> Option<Value> {
    fields::mapping(KeyPath::default(), document, notes, |document, notes| {
        document.take("kind");
        document.take("status");
        let version = document.text("apiVersion").unwrap_or_default();
        if !matches!(version.as_str(), "autoscaling/v2" | "autoscaling/v2beta2") {
            document.take_all();
            let text = "only autoscaling/v2 is read: have the API server convert it, by kubectl get hpa.v2.autoscaling";
            notes.cannot(&document.path("apiVersion"), text);
            return None;
        }
        let metadata = document
            .mapping("metadata", notes, |fields, notes| metadata(fields, context, notes))?;
        let spec = document.mapping("spec", notes, |spec, notes| spec_of(spec, context, notes));
        let spec = spec.flatten();
        let path = KeyPath::from(["metadata", "annotations"]);
        let left = std::mem::take(&mut context.configs).into_values();
        for (annotation, _) in left.flat_map(|config| config.entries.into_values()) {
            let text = "no metric of the autoscaler uses this annotation, or kube-metrics-adapter does not know it";
            notes.cannot(&path.key(&annotation), text);
        }
        let spec = spec?;
        Some(json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": spec,
        }))
    })
}

/// The autoscaler keeps its name: it is changed where it is.
fn metadata(metadata: &mut Fields, context: &mut Context<'_>, notes: &mut Notes) -> Value {
    take_server_fields(metadata);
    metadata.take("name");
    metadata.take("namespace");
    let mut written = Map::new();
    written.insert("name".to_owned(), context.name.as_str().into());
    if let Some(namespace) = &context.namespace {
        written.insert("namespace".to_owned(), namespace.as_str().into());
    }
    for key in ["labels", "ownerReferences", "finalizers"] {
        if let Some(value) = metadata.take(key) {
            written.insert(key.to_owned(), value);
        }
    }
    let path = metadata.path("annotations");
    let mut others = Map::new();
    for (annotation, value) in metadata.texts("annotations", notes) {
        match parsed(&annotation) {
            Some((kind, metric, collector, key)) => {
                let config =
                    context.configs.entry((kind.to_owned(), metric.to_owned())).or_insert_with(
                        || Config { collector: collector.to_owned(), entries: BTreeMap::new() },
                    );
                if config.collector == collector {
                    config.entries.insert(key.to_owned(), (annotation.clone(), value));
                } else {
                    let text = "another annotation names another collector for this metric, so kube-metrics-adapter ignores this one";
                    notes.note(&path.key(&annotation), text);
                }
            }
            None if annotation.starts_with(PREFIX) => {
                let text = "kube-metrics-adapter ignores it: it is not metric-config.TYPE.METRIC.COLLECTOR/KEY";
                notes.note(&path.key(&annotation), text);
            }
            None if annotation == LAST_APPLIED => {}
            None => drop(others.insert(annotation, value.into())),
        }
    }
    if !others.is_empty() {
        written.insert("annotations".to_owned(), Value::Object(others));
    }
    Value::Object(written)
}

/// Type, metric, collector and key of an annotation.
fn parsed(annotation: &str) -> Option<(&str, &str, &str, &str)> {
    let (config, key) = annotation.split_once('/').filter(|(_, key)| !key.contains('/'))?;
    let mut parts = config.strip_prefix(PREFIX)?.split('.');
    let parsed = (parts.next()?, parts.next()?, parts.next()?, key);
    let kind = match parsed.0 {
        kind @ ("pods" | "object") => kind,
        _ => "external",
    };
    parts.next().is_none().then_some((kind, parsed.1, parsed.2, parsed.3))
}

fn spec_of(spec: &mut Fields, context: &mut Context<'_>, notes: &mut Notes) -> Option<Value> {
    let mut written = Map::new();
    for key in ["scaleTargetRef", "minReplicas", "maxReplicas"] {
        if let Some(value) = spec.take(key) {
            written.insert(key.to_owned(), value);
        }
    }
    let mut is_partial = false;
    let metrics = spec.mappings("metrics", notes, |metric, notes| {
        let moved = metric_of(metric, context, notes);
        is_partial |= moved.is_none();
        moved
    });
    let metrics: Vec<_> = metrics.into_iter().flatten().collect();
    if is_partial && written.get("minReplicas").and_then(Value::as_i64) == Some(0) {
        written.insert("minReplicas".to_owned(), 1.into());
        let text = "minReplicas is 1: without the metrics that have not moved, the autoscaler would go to 0 while they ask for pods";
        notes.cannot(&spec.path("minReplicas"), text);
    }
    if metrics.is_empty() {
        spec.take_all();
        notes.cannot(&spec.path("metrics"), "no metric has moved, so there is no autoscaler");
        return None;
    }
    written.insert("metrics".to_owned(), metrics.into());
    if let Some(behavior) = spec.take("behavior") {
        written.insert("behavior".to_owned(), behavior);
    }
    Some(Value::Object(written))
}

fn metric_of(metric: &mut Fields, context: &mut Context<'_>, notes: &mut Notes) -> Option<Value> {
    let kind = metric.text("type").unwrap_or_default();
    let key = match kind.as_str() {
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        // The autoscaler reads these itself.
        _ => {
            let mut written = Map::new();
            written.insert("type".to_owned(), kind.into());
            for key in metric.keys() {
                if let Some(value) = metric.take(&key) {
                    written.insert(key, value);
                }
            }
            return Some(Value::Object(written));
        }
    };
    let path = metric.path(key);
    let source = metric.take(key)?;
    let name = text(&source, "/metric/name").to_owned();
    let config = context.configs.remove(&(key.to_owned(), name.clone()));
    let label = text(&source, "/metric/selector/matchLabels/type").to_owned();
    let collector = config.as_ref().map(|config| config.collector.clone());
    let collector = collector.or_else(|| (!label.is_empty()).then_some(label));
    let described = text(&source, "/describedObject/kind").to_owned();
    match (collector.as_deref(), described.as_str(), config) {
        (Some(PROMETHEUS), _, Some(config)) if key != "pods" => {
            let Value::Object(source) = source else { return None };
            fields::mapping(path, source, notes, |source, notes| {
                collected(source, config, &name, context, notes)
            })
        }
        (Some(PROMETHEUS), _, None) if key != "pods" => {
            notes.cannot(&path, NO_QUERY);
            None
        }
        (None, "Ingress" | "RouteGroup" | "ScalingSchedule" | "ClusterScalingSchedule", _) => {
            notes.cannot(&path, elsewhere(&described));
            None
        }
        (None, _, _) => {
            notes.note(&path, "no annotation configures it: it is left as it is, and needs a rule if kube-metrics-adapter has served it");
            let mut written = Map::new();
            written.insert("type".to_owned(), kind.into());
            written.insert(key.to_owned(), source);
            Some(Value::Object(written))
        }
        (Some(collector), ..) => {
            notes.cannot(&path, elsewhere(collector));
            None
        }
    }
}

/// A metric of the Prometheus collector.
fn collected(
    source: &mut Fields,
    mut config: Config,
    name: &str,
    context: &mut Context<'_>,
    notes: &mut Notes,
) -> Option<Value> {
    let annotations = KeyPath::from(["metadata", "annotations"]);
    if let Some(described) = source.take("describedObject") {
        let text = format!(
            "the metric is External: kube-metrics-adapter asks nothing about the {}",
            excerpt::excerpt(text(&described, "/kind"), excerpt::NAME)
        );
        notes.note(&source.path("describedObject"), text);
    }
    let labels = source.mapping("metric", notes, |metric, notes| {
        metric.take("name");
        metric.mapping("selector", notes, |selector, notes| selector.texts("matchLabels", notes))
    });
    let mut labels = labels.flatten().unwrap_or_default();
    labels.remove(TYPE);
    let query_name = labels.remove(QUERY_NAME);
    let selector = source.path("metric").join(["selector", "matchLabels"]);
    for label in labels.keys() {
        let text = "the query does not depend on this label, so the metric has no selector";
        notes.note(&selector.key(label), text);
    }
    let mut target = source.take("target")?;
    let mut take = |key: &str| config.entries.remove(key);
    let query = take("query").or_else(|| take(&query_name?));
    let interval = take("interval");
    let is_per_replica = take("per-replica").is_some();
    let server = match (take("prometheus-server"), take("prometheus-server-alias")) {
        (Some((annotation, url)), _) => match http_url(url.trim_end_matches('/')) {
            Ok(url) => Some((annotation, url)),
            Err(error) => {
                notes.cannot(&annotations.key(&annotation), error);
                return None;
            }
        },
        (None, Some((annotation, alias))) => {
            let Some(url) = context.settings.aliases.get(&alias) else {
                let text = "the server of this alias is not known: name it by --additional-prometheus-server, as kube-metrics-adapter has it";
                notes.cannot(&annotations.key(&annotation), text);
                return None;
            };
            Some((annotation, url.clone()))
        }
        (None, None) => None,
    };
    let server = server.map(|(annotation, url)| {
        let server = Server { url, keys: Map::new() };
        server.report_credentials(&annotations.key(&annotation), context.settings, notes);
        server
    });
    for (annotation, _) in config.entries.into_values() {
        notes.cannot(
            &annotations.key(&annotation),
            "kube-metrics-adapter has no such key for Prometheus",
        );
    }
    let Some((_, query)) = query else {
        notes.cannot(&source.path("metric"), NO_QUERY);
        return None;
    };
    let cache_ttl = interval.and_then(|(annotation, text)| {
        let ttl = duration::parse_go(&text).ok().filter(|ttl| *ttl <= LONGEST_TTL);
        if ttl.is_none() {
            notes.cannot(
                &annotations.key(&annotation),
                "`cacheTTL` of a rule is a duration of at most 1h",
            );
        }
        ttl.map(duration::prometheus)
    });
    if is_per_replica {
        per_replica(&mut target);
    }
    let query = Query::new(&query);
    let plain = if is_plain_name(name) { name } else { "metric" };
    let rule = Rule {
        source: format!("{}, metric {}", context.called, excerpt::excerpt(name, excerpt::NAME)),
        metric: metric_name(context.namespace.as_deref(), &context.name, plain),
        series: query.series(),
        query: query.template(),
        is_zero_if_empty: false,
        timeout: None,
        cache_ttl,
        fallback: None,
        headers: BTreeMap::new(),
        server,
    };
    let metric = context.rules.add(rule, context.settings);
    Some(json!({"type": "External", "external": {"metric": {"name": metric}, "target": target}}))
}

/// The collector divides by the replicas, and the target is for the result: that is the autoscaler's average.
fn per_replica(target: &mut Value) {
    if let Some(target) = target.as_object_mut()
        && let Some(value) = target.shift_remove("value")
    {
        target.insert("type".to_owned(), "AverageValue".into());
        target.insert("averageValue".to_owned(), value);
    }
}

fn elsewhere(collector: &str) -> String {
    let known = match collector {
        "json-path" => {
            "have the pods export the number in Prometheus' format, and write a rule for metrics of pods"
        }
        "Ingress" | "RouteGroup" => {
            "write a rule for skipper_serve_host_duration_seconds_count, by the hosts of the Ingress"
        }
        "requests-per-second" => {
            "write a rule for the counter of the ingress controller, with the hosts and the weight in its query"
        }
        "ScalingSchedule"
        | "ClusterScalingSchedule"
        | "scaling-schedule"
        | "cluster-scaling-schedule" => {
            "put the schedule into a query, such as `vector(10) and on() (hour() >= 6 < 18)`, and write a rule for it"
        }
        "sqs" => {
            "scrape the CloudWatch exporter, and write a rule for aws_sqs_approximate_number_of_messages_visible_average"
        }
        _ => "have the system's numbers exported to Prometheus, and write a rule for them",
    };
    let collector = excerpt::excerpt(collector, excerpt::NAME);
    format!("loadline asks Prometheus only, and this is collected by {collector}: {known}")
}
