//! KEDA's `ScaledObjects`, as of its API `keda.sh/v1alpha1`.

mod authentication;
mod behavior;
mod prometheus;
mod replicas;
mod resource;

use serde_json::{Map, Value, json};

use self::{authentication::Authentications, replicas::Replicas};
use super::{
    Autoscaler, Fields, LAST_APPLIED, Migration, Note, Notes, Settings, called, draft::RulesDraft,
    fields, namespace_of, take_server_fields, text,
};
use crate::core::{excerpt, key_path::KeyPath};

/// The API group.
const GROUP: &str = "keda.sh/";

/// The label that KEDA puts on each `ScaledObject` itself.
const OWNER: &str = "scaledobject.keda.sh/name";

const EXCLUDED_LABELS: &str = "scaledobject.keda.sh/hpa-excluded-labels";
const TRANSFER_OWNERSHIP: &str = "scaledobject.keda.sh/transfer-hpa-ownership";
const VALIDATE_OWNERSHIP: &str = "validations.keda.sh/hpa-ownership";
const PAUSED: &str = "autoscaling.keda.sh/paused";
const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
const PAUSED_SCALE_IN: &str = "autoscaling.keda.sh/paused-scale-in";
const PAUSED_SCALE_OUT: &str = "autoscaling.keda.sh/paused-scale-out";
const FORCE_ACTIVATION: &str = "autoscaling.keda.sh/force-activation";

/// KEDA's default of `pollingInterval`, in seconds.
const POLLING_INTERVAL: i32 = 30;

/// What the objects of a migration share.
struct Context<'a> {
    settings: &'a Settings,
    authentications: Authentications,
    rules: RulesDraft,
}

/// Who is being migrated.
struct Object {
    name: String,
    namespace: Option<String>,
    called: String,
}

/// What annotations ask for.
#[derive(Debug, Default)]
struct Pauses {
    scale_in: bool,
    scale_out: bool,
    is_active: bool,
    pause: Pause,
}

/// Whether the whole object is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Pause {
    #[default]
    No,
    /// It stays as it is.
    Still,
    /// It has so many replicas.
    At(i32),
}

/// What the autoscaler's metadata are made of.
#[derive(Debug, Default)]
struct Metadata {
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    pauses: Pauses,
}

/// What has become of a trigger.
enum Moved {
    /// A metric of a rule.
    External(Box<prometheus::Moving>),
    /// CPU or memory.
    Resource(Value),
    /// Nothing.
    Not,
}

pub(super) fn migrate(documents: Vec<Value>, settings: &Settings) -> Migration {
    let is_keda = |document: &Value| text(document, "/apiVersion").starts_with(GROUP);
    let documents = documents.into_iter().filter(is_keda);
    let is_authentication =
        |document: &Value| text(document, "/kind").ends_with("TriggerAuthentication");
    let (authentications, scaled): (Vec<_>, Vec<_>) = documents.partition(is_authentication);
    let mut context = Context {
        settings,
        authentications: Authentications::new(authentications, settings),
        rules: RulesDraft::default(),
    };
    let mut migration = Migration::default();
    for document in scaled {
        let kind = text(&document, "/kind").to_owned();
        let object = Object::of(&kind, &document, settings);
        let Value::Object(document) = document else { continue };
        migration.objects += 1;
        let mut notes = Notes::about(object.called.clone());
        if kind == "ScaledObject" {
            let manifest = scaled_object(document, &object, &mut context, &mut notes);
            migration.autoscalers.extend(
                manifest.map(|manifest| Autoscaler { source: object.called.clone(), manifest }),
            );
        } else {
            let text = if kind == "ScaledJob" {
                "an autoscaler scales workloads, it starts no jobs: leave it with KEDA, or run a Deployment of workers"
            } else {
                "loadline knows no objects of this kind: leave it with KEDA"
            };
            notes.cannot(&KeyPath::default(), text);
        }
        migration.notes.extend(notes.into_notes());
    }
    let Context { authentications, rules, .. } = context;
    migration.notes.extend::<Vec<Note>>(authentications.into_notes());
    migration.rules = rules;
    migration
}

impl Object {
    fn of(kind: &str, document: &Value, settings: &Settings) -> Self {
        let namespace = namespace_of(document, settings);
        let name = text(document, "/metadata/name").to_owned();
        let called = called(kind, namespace.as_deref(), &name);
        Self { name, namespace, called }
    }
}

fn scaled_object(
    document: Map<String, Value>,
    object: &Object,
    context: &mut Context<'_>,
    notes: &mut Notes,
) -> Option<Value> {
    fields::mapping(KeyPath::default(), document, notes, |document, notes| {
        document.take("kind");
        document.take("status");
        api_version(document, notes);
        let metadata = document.mapping("metadata", notes, metadata).unwrap_or_default();
        let autoscaler = document.mapping("spec", notes, |spec, notes| {
            autoscaler(spec, object, &metadata.pauses, context, notes)
        });
        if autoscaler.is_none() {
            notes.cannot(&document.path("spec"), "there is no spec");
        }
        let (name, spec) = autoscaler??;
        let mut written = Map::new();
        written.insert("name".to_owned(), name.unwrap_or_else(|| object.name.clone()).into());
        if let Some(namespace) = &object.namespace {
            written.insert("namespace".to_owned(), namespace.as_str().into());
        }
        for (key, texts) in [("labels", metadata.labels), ("annotations", metadata.annotations)] {
            if !texts.is_empty() {
                written.insert(key.to_owned(), Value::Object(texts));
            }
        }
        Some(json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": written,
            "spec": spec,
        }))
    })
}

fn api_version(document: &mut Fields, notes: &mut Notes) {
    if document.text("apiVersion").is_some_and(|version| version != "keda.sh/v1alpha1") {
        let text = "this version is not known: it is read as keda.sh/v1alpha1";
        notes.note(&document.path("apiVersion"), text);
    }
}

fn metadata(metadata: &mut Fields, notes: &mut Notes) -> Metadata {
    metadata.take("name");
    metadata.take("namespace");
    take_server_fields(metadata);
    if let Some(Value::Array(finalizers)) = metadata.take("finalizers")
        && finalizers.iter().any(|finalizer| finalizer != "finalizer.keda.sh")
    {
        notes.note(&metadata.path("finalizers"), "the autoscaler has no finalizers");
    }
    if metadata.take("ownerReferences").is_some() {
        let text = "the autoscaler has no owner: what creates this object has to create the autoscaler instead";
        notes.note(&metadata.path("ownerReferences"), text);
    }
    let path = metadata.path("annotations");
    let mut annotations = metadata.texts("annotations", notes);
    annotations.remove(LAST_APPLIED);
    let excluded = annotations.remove(EXCLUDED_LABELS).unwrap_or_default();
    for key in [TRANSFER_OWNERSHIP, VALIDATE_OWNERSHIP] {
        if annotations.remove(key).is_some() {
            notes.note(
                &path.key(key),
                "this is about KEDA's own autoscaler, and has no meaning afterwards",
            );
        }
    }
    // What is no truth value counts as true.
    let mut flag = |key: &str| {
        annotations.remove(key).is_some_and(|value| fields::go_bool(&value).unwrap_or(true))
    };
    let mut pauses = Pauses {
        scale_in: flag(PAUSED_SCALE_IN),
        scale_out: flag(PAUSED_SCALE_OUT),
        is_active: flag(FORCE_ACTIVATION),
        pause: if flag(PAUSED) { Pause::Still } else { Pause::No },
    };
    if let Some(count) = annotations.remove(PAUSED_REPLICAS) {
        let count = count.parse().ok().filter(|count| *count >= 0);
        pauses.pause = count.map_or(Pause::Still, Pause::At);
        if count.is_none() {
            notes.cannot(&path.key(PAUSED_REPLICAS), "this is no number of replicas");
        }
    }
    let excluded: Vec<_> = excluded.split(',').collect();
    let labels = metadata.texts("labels", notes).into_iter();
    let labels = labels.filter(|(key, _)| key != OWNER && !excluded.contains(&key.as_str()));
    let json = |(key, value): (String, String)| (key, Value::from(value));
    Metadata {
        labels: labels.map(json).collect(),
        annotations: annotations.into_iter().map(json).collect(),
        pauses,
    }
}

/// The name that the autoscaler is given, and its spec; nothing if no metric of it has moved, or a formula combines them.
fn autoscaler(
    spec: &mut Fields,
    object: &Object,
    pauses: &Pauses,
    context: &mut Context<'_>,
    notes: &mut Notes,
) -> Option<(Option<String>, Value)> {
    let target = spec.mapping("scaleTargetRef", notes, scale_target);
    let replicas = Replicas::take(spec);
    let advanced = spec.mapping("advanced", notes, behavior::advanced).unwrap_or_default();
    let fallback = Fallback::take(spec, notes);
    let polling = spec.integer("pollingInterval");
    let mut uses_cached_metrics = false;
    let mut at = 0;
    let moved = spec.mappings("triggers", notes, |trigger, notes| {
        let is_cached = trigger.flag("useCachedMetrics").unwrap_or_default();
        uses_cached_metrics |= is_cached;
        let cache = is_cached.then(|| polling.unwrap_or(POLLING_INTERVAL));
        let moved = match trigger.text("type").as_deref() {
            Some("prometheus") => {
                let fallback = fallback.map(|fallback| fallback.of(polling));
                let about = prometheus::Trigger { object, at, cache, fallback };
                prometheus::trigger(trigger, &about, context, notes)
            }
            Some(resource @ ("cpu" | "memory")) => resource::trigger(trigger, resource, notes),
            other => {
                let other = other.unwrap_or("this trigger").to_owned();
                // All of it is said to stay behind.
                trigger.take_all();
                notes.cannot(&trigger.path("type"), elsewhere(&other));
                Moved::Not
            }
        };
        at += 1;
        moved
    });
    if polling.is_some_and(|seconds| seconds != POLLING_INTERVAL) && !uses_cached_metrics {
        let text = "an autoscaler reads its metrics every 15 s; `cacheTTL` of the rule limits how often Prometheus is asked";
        notes.note(&spec.path("pollingInterval"), text);
    }
    let target = target.flatten();
    let Some(target) = target.filter(|_| !advanced.has_formula) else {
        // The rules are printed without an autoscaler.
        metrics(moved, false, context, notes);
        if !advanced.has_formula {
            notes.cannot(&spec.path("scaleTargetRef"), "the workload has no name");
        }
        return None;
    };
    let (path, mut behavior) = (KeyPath::from("spec"), advanced.behavior);
    // Only all triggers together say whether there is a 0.
    let least = replicas.least(&moved, pauses, &path, notes);
    let limits = replicas.limits(least, pauses, &mut behavior, &path, notes);
    let metrics = metrics(moved, least == 0, context, notes);
    if metrics.is_empty() {
        notes.cannot(&spec.path("triggers"), "no trigger has moved, so there is no autoscaler");
        return None;
    }
    let mut written = Map::new();
    written.insert("scaleTargetRef".to_owned(), target);
    written.insert("minReplicas".to_owned(), limits.0.into());
    written.insert("maxReplicas".to_owned(), limits.1.into());
    written.insert("metrics".to_owned(), metrics.into());
    if !behavior.is_empty() {
        written.insert("behavior".to_owned(), behavior.into());
    }
    Some((advanced.name, Value::Object(written)))
}

/// The autoscaler's metrics. The rules of them are added.
fn metrics(
    moved: Vec<Moved>,
    has_zero: bool,
    context: &mut Context<'_>,
    notes: &mut Notes,
) -> Vec<Value> {
    let metrics = moved.into_iter().filter_map(|moved| match moved {
        Moved::External(trigger) => Some(trigger.metric(has_zero, context, notes)),
        Moved::Resource(metric) => Some(metric),
        Moved::Not => None,
    });
    metrics.collect()
}

fn scale_target(target: &mut Fields, notes: &mut Notes) -> Option<Value> {
    let name = target.text("name");
    let kind = target.text("kind").unwrap_or_else(|| "Deployment".to_owned());
    let version = target.text("apiVersion").unwrap_or_else(|| "apps/v1".to_owned());
    if target.text("envSourceContainerName").is_some() {
        let text = "loadline reads no environment of the workload";
        notes.note(&target.path("envSourceContainerName"), text);
    }
    Some(json!({"apiVersion": version, "kind": kind, "name": name?}))
}

/// How many replicas there are while a metric cannot be read.
#[derive(Clone, Copy, Debug)]
struct Fallback {
    failures: i32,
    replicas: i32,
}

impl Fallback {
    /// Nothing where it is what an autoscaler does by itself, or what it cannot do.
    fn take(spec: &mut Fields, notes: &mut Notes) -> Option<Self> {
        let (failures, replicas, behavior) = spec.mapping("fallback", notes, |fallback, _| {
            let behavior = fallback.text("behavior");
            let numbers = [fallback.integer("failureThreshold"), fallback.integer("replicas")];
            let [failures, replicas] = numbers.map(|number| number.filter(|number| *number >= 0));
            (failures, replicas, behavior.unwrap_or_else(|| "static".to_owned()))
        })?;
        let path = spec.path("fallback");
        match (behavior.as_str(), failures, replicas) {
            ("currentReplicas", ..) => {
                notes.note(&path, "no setting is needed: an autoscaler that cannot read a metric keeps its size, and loadline uses the last result until it is `maxStale` old");
                None
            }
            ("static", Some(failures), Some(replicas)) => {
                notes.note(&path, "it becomes `fallback` of the rules: a value that asks for so many replicas, after so long a time of failures. The last result is used before, until it is `maxStale` old");
                Some(Self { failures, replicas })
            }
            ("static", ..) => {
                notes.cannot(&path, "failureThreshold and replicas are not two numbers");
                None
            }
            _ => {
                notes.cannot(&path, "an autoscaler that cannot read a metric keeps its size, and `fallback` of a rule does not depend on it: set that, or minReplicas to what is always needed");
                None
            }
        }
    }

    /// The seconds of failures, and the replicas. A restart of Prometheus is no outage.
    fn of(self, polling: Option<i32>) -> (i64, i64) {
        const LEAST: i64 = 30;
        const MOST: i64 = 24 * 3600;
        let polling = polling.filter(|seconds| *seconds > 0).unwrap_or(POLLING_INTERVAL);
        let seconds = i64::from(self.failures).saturating_mul(polling.into());
        (seconds.clamp(LEAST, MOST), self.replicas.into())
    }
}

/// What to do about a trigger that does not ask Prometheus.
fn elsewhere(kind: &str) -> String {
    let meant = ["prometheus", "cpu", "memory"];
    let kind = excerpt::excerpt(kind, excerpt::NAME);
    if let Some(meant) = meant.iter().find(|meant| kind.eq_ignore_ascii_case(meant)) {
        return format!("KEDA has no trigger of type `{kind}`; did you mean `{meant}`?");
    }
    let known = match kind.as_str() {
        "cron" => {
            "put the schedule into a query, such as `vector(10) and on() (hour() >= 6 < 18)`, and write a rule for it"
        }
        "kafka" | "apache-kafka" => {
            "scrape kafka-exporter, and write a rule for kafka_consumergroup_lag"
        }
        "rabbitmq" => {
            "scrape RabbitMQ's own Prometheus plugin, and write a rule for rabbitmq_queue_messages"
        }
        "redis" | "redis-streams" | "redis-cluster" | "redis-sentinel" => {
            "scrape redis_exporter with the keys to be watched, and write a rule for redis_key_size"
        }
        "aws-sqs-queue" | "aws-cloudwatch" | "aws-kinesis-stream" => {
            "scrape the CloudWatch exporter, and write a rule for its series"
        }
        "external" | "external-push" | "metrics-api" => {
            "have what it asks export its number to Prometheus, and write a rule for it"
        }
        _ => "scrape an exporter of that system, and write a rule for its series",
    };
    format!(
        "loadline asks Prometheus only, and this is a trigger of {kind}: {known}; or leave the object with KEDA"
    )
}
