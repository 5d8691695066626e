//! What the HorizontalPodAutoscaler controller asks for, and what it decides by the answers, as text.
//!
//! Of pods that are ready. The controller's memory is left out: a decision is the first one, and that after the windows.

use std::{cmp::Ordering, collections::BTreeMap, fmt::Write as _};

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec};
use loadline::core::{
    autoscaler::{
        self, Basis, Current, History, Metric, Pod, PodSample, Proposal, Readiness, Reading,
        ReadyCondition, Scale, Situation, Source, Spec,
    },
    quantity::{Binary, Decimal, parse_milli},
};
use serde_json::Value;

/// What is scaled.
#[derive(Clone)]
pub(crate) struct Target {
    /// The names of its pods.
    pub(crate) pods: Vec<String>,
    /// The label selector of its pods.
    pub(crate) selector: String,
    /// Container → resource → what it requests, in thousandths.
    pub(crate) requests: BTreeMap<String, BTreeMap<String, i64>>,
}

/// The answers of the metrics APIs, in the order in which [`questions`] asks.
pub(crate) type Answers = Vec<Result<Value, String>>;

/// What the controller asks for, as paths of the API server: one for each metric.
pub(crate) fn questions(hpa: &HorizontalPodAutoscaler, target: &Target) -> Vec<String> {
    let namespace = hpa.metadata.namespace.as_deref().expect("a namespace");
    let selector = encoded(&target.selector);
    let spec = &hpa.spec;
    let custom = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}");
    let question = |metric: &MetricSpec| match metric.type_.as_str() {
        "Pods" => {
            let metric = &metric.pods.as_ref().expect("pods").metric;
            let more = metric_selector("&metricLabelSelector", metric.selector.as_ref());
            format!("{custom}/pods/*/{}?labelSelector={selector}{more}", metric.name)
        }
        "Object" => {
            let source = metric.object.as_ref().expect("object");
            let object = &source.described_object;
            let plural =
                object.kind.to_lowercase() + if object.kind.ends_with('s') { "es" } else { "s" };
            let group = object.api_version.as_deref().unwrap_or_default().split_once('/');
            let resource = group.map_or(plural.clone(), |(group, _)| format!("{plural}.{group}"));
            let more = metric_selector("?metricLabelSelector", source.metric.selector.as_ref());
            format!("{custom}/{resource}/{}/{}{more}", object.name, source.metric.name)
        }
        "External" => {
            let metric = &metric.external.as_ref().expect("external").metric;
            let more = metric_selector("?labelSelector", metric.selector.as_ref());
            format!(
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}{more}",
                metric.name
            )
        }
        "Resource" | "ContainerResource" => {
            format!(
                "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={selector}"
            )
        }
        other => panic!("a metric of type {other}"),
    };
    spec.metrics.iter().flatten().map(question).collect()
}

fn metric_selector(
    parameter: &str,
    selector: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>,
) -> String {
    let labels = selector.and_then(|selector| selector.match_labels.as_ref());
    let labels: Vec<_> =
        labels.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() {
        String::new()
    } else {
        format!("{parameter}={}", encoded(&labels.join(",")))
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What the controller decides, and from what, as lines of text; and how many pods there are after its first step.
pub(crate) fn decide(
    hpa: &HorizontalPodAutoscaler,
    target: &Target,
    answers: &Answers,
) -> (String, u32) {
    let mut hpa = hpa.clone();
    // Its defaults are those of the controller without a behavior, as far as one decision shows.
    hpa.spec.behavior.get_or_insert_default();
    let mut spec = Spec::read(&hpa).expect("an autoscaler that the API server accepts");
    let behavior = spec.behavior.as_mut().expect("a behavior");
    let windows = [&mut behavior.up.window_s, &mut behavior.down.window_s].map(std::mem::take);
    let current = i32::try_from(target.pods.len()).expect("few");
    let readings: Vec<_> = spec
        .metrics
        .iter()
        .zip(answers)
        .map(|(metric, answer)| reading(&metric.source, answer.as_ref().map_err(Clone::clone)?))
        .collect();
    let decision = spec.decide(
        &mut History::default(),
        Situation {
            now_ms: HOUR_MS,
            scale: Scale { spec: current, status: current },
            pods: &target.pods.iter().map(|name| pod(name, target)).collect::<Vec<_>>(),
            readings: &readings,
            // By the autoscaler, if it may.
            is_scaled_to_zero: spec.min_replicas == 0,
        },
    );

    let name = hpa.metadata.name.as_deref().expect("a name");
    let mut text = format!("{name}: {current} {}\n", if current == 1 { "pod" } else { "pods" });
    for ((metric, reading), proposal) in spec.metrics.iter().zip(&readings).zip(&decision.proposals)
    {
        let label = label(&metric.source);
        let line = match (reading, proposal) {
            (Ok(reading), Ok(proposal)) => {
                let shown = shown(metric, reading, proposal, target);
                format!("{label}: {shown} → {}", proposal.replicas)
            }
            (Err(error), _) | (_, Err(error)) => format!("{label}: {error}"),
        };
        writeln!(text, "  {line}").expect("a String");
    }
    let step = decision.desired;
    let window = match step.cmp(&current) {
        Ordering::Equal => {
            writeln!(text, "  stays at {current}").expect("a String");
            return (text, current.cast_unsigned());
        }
        Ordering::Greater => windows[0],
        Ordering::Less => windows[1],
    };
    write!(text, "  goes to {step}").expect("a String");
    if window > 0 {
        write!(text, " when that has been so for {window} s").expect("a String");
    }
    if let Basis::Metrics { recommended, .. } = decision.basis {
        let limited = recommended.clamp(spec.min_replicas, spec.max_replicas);
        if step != limited {
            write!(text, ", and on to {limited}").expect("a String");
        }
    }
    text.push('\n');
    (text, step.cast_unsigned())
}

const HOUR_MS: i64 = 3_600_000;

/// A pod that has long been ready.
fn pod(name: &str, target: &Target) -> Pod {
    Pod {
        name: name.to_owned(),
        phase: "Running".to_owned(),
        started_ms: Some(0),
        ready: Some(ReadyCondition { status: Readiness::Ready, since_ms: 0 }),
        containers: target.requests.clone(),
        ..Pod::default()
    }
}

fn label(source: &Source) -> String {
    match source {
        Source::Pods { metric, .. } => format!("Pods {metric}"),
        Source::Object { object, metric, .. } => {
            format!("{} {} {metric}", object.kind, object.name)
        }
        Source::External { metric, .. } => format!("External {metric}"),
        Source::Resource { resource, container: None } => format!("Resource {resource}"),
        Source::Resource { resource, container: Some(container) } => {
            format!("Resource {resource} of container {container}")
        }
    }
}

/// The values of an answer, as the controller reads them.
fn reading(source: &Source, answer: &Value) -> Result<Reading, String> {
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let sample = |name: &Value, milli| {
        (name.as_str().expect("a name").to_owned(), PodSample { milli, ..PodSample::default() })
    };
    let (samples, nothing): (BTreeMap<_, _>, _) = match source {
        Source::Object { .. } | Source::External { .. } => {
            return Ok(Reading::Value(items.iter().map(|item| milli(&item["value"])).sum()));
        }
        Source::Pods { .. } => {
            let of = |item: &Value| sample(&item["describedObject"]["name"], milli(&item["value"]));
            (items.iter().map(of).collect(), "no value")
        }
        Source::Resource { resource, container } => {
            let is_meant = |name: &Value| container.as_ref().is_none_or(|wanted| *name == **wanted);
            let of = |pod: &Value| {
                let containers = pod["containers"].as_array().expect("containers").iter();
                let meant = containers.filter(|container| is_meant(&container["name"]));
                let usage = meant.map(|container| milli(&container["usage"][resource])).sum();
                sample(&pod["metadata"]["name"], usage)
            };
            (items.iter().map(of).collect(), "no usage")
        }
    };
    if samples.is_empty() { Err(nothing.to_owned()) } else { Ok(Reading::Pods(samples)) }
}

fn milli(value: &Value) -> i64 {
    value.as_str().and_then(parse_milli).unwrap_or_else(|| panic!("{value}"))
}

/// What is read, and what it should be.
fn shown(metric: &Metric, reading: &Reading, proposal: &Proposal, target: &Target) -> String {
    let is_memory =
        matches!(&metric.source, Source::Resource { resource, .. } if resource == "memory");
    let number = |milli| {
        if is_memory { Binary(milli).to_string() } else { Decimal(milli).to_string() }
    };
    let values = match reading {
        Reading::Value(value) => number(*value),
        Reading::Pods(samples) => {
            let values: Vec<_> = samples.values().map(|sample| number(sample.milli)).collect();
            values.join(", ")
        }
    };
    match (&metric.source, metric.target, proposal.current) {
        (
            Source::Pods { .. },
            autoscaler::Target::AverageValue(wanted),
            Current::Average(average),
        ) => {
            format!("{values}; average {}, target {}", number(average), number(wanted))
        }
        (
            Source::Resource { resource, container },
            autoscaler::Target::Utilization(wanted),
            Current::Utilization { percent, .. },
        ) => {
            let is_meant = |name: &String| container.as_ref().is_none_or(|wanted| wanted == name);
            let meant = target.requests.iter().filter(|(name, _)| is_meant(name));
            let requested: i64 = meant.map(|(_, requests)| requests[resource]).sum();
            format!("{values} of {}; {percent} %, target {wanted} %", number(requested))
        }
        (Source::Resource { .. }, autoscaler::Target::AverageValue(wanted), _) => {
            format!("{values}; target {}", number(wanted))
        }
        (_, autoscaler::Target::AverageValue(wanted), _) => {
            format!("{values}, target {} for each pod", number(wanted))
        }
        (_, autoscaler::Target::Value(wanted), _) => format!("{values}, target {}", number(wanted)),
        (_, wanted, current) => panic!("{current:?} for {wanted:?}"),
    }
}
