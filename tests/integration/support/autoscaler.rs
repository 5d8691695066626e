//! What the HorizontalPodAutoscaler controller makes of metrics, after the algorithm that Kubernetes documents:
//! <https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details>; what it leaves open is
//! as in `pkg/controller/podautoscaler/replica_calculator.go`.
//!
//! Of pods that are ready, and with the default tolerance. The controller's memory is left out: a decision is the first one.

use std::{cmp::Ordering, collections::BTreeMap, fmt::Write as _};

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, MetricSpec, MetricTarget,
};
use loadline::core::quantity::{Binary, Decimal, parse_milli};
use serde_json::Value;

/// The part by which usage may be off its target.
const TOLERANCE: f64 = 0.1;

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
    let name = hpa.metadata.name.as_deref().expect("a name");
    let spec = &hpa.spec;
    let current = count(target.pods.len());
    let mut text = format!("{name}: {current} {}\n", pods(current));
    let mut wanted = None;
    let mut is_unknown = false;
    for (metric, answer) in spec.metrics.iter().flatten().zip(answers) {
        let proposal = answer
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|answer| proposal(metric, answer, target));
        match proposal {
            Ok((line, replicas)) => {
                writeln!(text, "  {line} → {replicas}").expect("a String");
                wanted = wanted.max(Some(replicas));
            }
            Err(error) => {
                writeln!(text, "  {}: {error}", label(metric)).expect("a String");
                is_unknown = true;
            }
        }
    }
    let (Some(wanted), false) = (wanted, is_unknown && wanted < Some(current)) else {
        writeln!(text, "  stays at {current}").expect("a String");
        return (text, current);
    };
    let min = spec.min_replicas.map_or(1, positive);
    let limited = wanted.clamp(min, positive(spec.max_replicas));
    let behavior = spec.behavior.as_ref();
    let (rules, default_window) = match limited.cmp(&current) {
        Ordering::Equal => {
            writeln!(text, "  stays at {current}").expect("a String");
            return (text, current);
        }
        Ordering::Greater => (behavior.and_then(|behavior| behavior.scale_up.as_ref()), 0),
        Ordering::Less => (behavior.and_then(|behavior| behavior.scale_down.as_ref()), 300),
    };
    let window =
        rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(default_window);
    let step = if limited > current {
        limited.min(highest(rules, current))
    } else {
        limited.max(lowest(rules, current))
    };
    write!(text, "  goes to {step}").expect("a String");
    if window > 0 {
        write!(text, " when that has been so for {window} s").expect("a String");
    }
    if step != limited {
        write!(text, ", and on to {limited}").expect("a String");
    }
    text.push('\n');
    (text, step)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("few")
}

fn positive(number: i32) -> u32 {
    u32::try_from(number).expect("a number of pods")
}

fn pods(count: u32) -> &'static str {
    if count == 1 { "pod" } else { "pods" }
}

fn label(metric: &MetricSpec) -> String {
    match metric.type_.as_str() {
        "Pods" => format!("Pods {}", metric.pods.as_ref().expect("pods").metric.name),
        "Object" => {
            let source = metric.object.as_ref().expect("object");
            let object = &source.described_object;
            format!("{} {} {}", object.kind, object.name, source.metric.name)
        }
        "External" => {
            format!("External {}", metric.external.as_ref().expect("external").metric.name)
        }
        "Resource" => format!("Resource {}", metric.resource.as_ref().expect("resource").name),
        _ => {
            let source = metric.container_resource.as_ref().expect("container resource");
            format!("Resource {} of container {}", source.name, source.container)
        }
    }
}

/// The replicas that one metric asks for, and why.
fn proposal(metric: &MetricSpec, answer: &Value, target: &Target) -> Result<(String, u32), String> {
    let label = label(metric);
    let current = count(target.pods.len());
    match metric.type_.as_str() {
        "Pods" => {
            let values = values(answer, "value");
            if values.is_empty() {
                return Err("no value".to_owned());
            }
            let wanted =
                quantity(metric.pods.as_ref().expect("pods").target.average_value.as_ref());
            let shown: Vec<_> = values.iter().map(|value| Decimal(*value).to_string()).collect();
            let line = format!(
                "{label}: {}; average {}, target {}",
                shown.join(", "),
                Decimal(average(&values)),
                Decimal(wanted)
            );
            Ok((line, by_pods(&values, wanted, current)))
        }
        "Object" => {
            let value = values(answer, "value").iter().sum();
            Ok(one_value(&label, value, &metric.object.as_ref().expect("object").target, current))
        }
        "External" => {
            let value = values(answer, "value").iter().sum();
            Ok(one_value(
                &label,
                value,
                &metric.external.as_ref().expect("external").target,
                current,
            ))
        }
        _ => usage(metric, answer, target, &label),
    }
}

fn number(length: usize) -> i64 {
    i64::try_from(length).expect("few")
}

fn quantity(quantity: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity>) -> i64 {
    let text = &quantity.expect("a target of this kind").0;
    parse_milli(text).unwrap_or_else(|| panic!("{text}"))
}

/// The values of a list, in thousandths.
fn values(answer: &Value, field: &str) -> Vec<i64> {
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    items.iter().map(|item| milli(&item[field])).collect()
}

fn milli(value: &Value) -> i64 {
    value.as_str().and_then(parse_milli).unwrap_or_else(|| panic!("{value}"))
}

#[expect(clippy::cast_precision_loss, reason = "the numbers of examples are small")]
fn ratio(value: i64, target: i64) -> f64 {
    value as f64 / target as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of examples are small and positive"
)]
fn replicas(number: f64) -> u32 {
    number.ceil() as u32
}

fn is_tolerated(ratio: f64) -> bool {
    (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio)
}

/// The replicas by the ratio of known values to their target. For pods without a value stands `absent`, which depends on whether
/// the others are too high, so that what is not known makes a change smaller and never turns it round.
fn by_ratio(
    known: &[i64],
    current: u32,
    absent: impl Fn(Ordering) -> i64,
    ratio: impl Fn(&[i64]) -> f64,
) -> u32 {
    let before = ratio(known);
    if count(known.len()) >= current {
        return if is_tolerated(before) { current } else { replicas(before * f64::from(current)) };
    }
    let direction = before.total_cmp(&1.0);
    let mut all = known.to_owned();
    all.resize(usize::try_from(current).expect("few"), absent(direction));
    let after = ratio(&all);
    let wanted = replicas(after * f64::from(current));
    let turns = direction.is_ne() && after.total_cmp(&1.0) == direction.reverse();
    let goes_astray = (after < 1.0 && wanted > current) || (after > 1.0 && wanted < current);
    if is_tolerated(after) || turns || goes_astray { current } else { wanted }
}

/// The average is a whole number of thousandths, as the controller's.
fn average(values: &[i64]) -> i64 {
    values.iter().sum::<i64>() / number(values.len())
}

fn by_pods(values: &[i64], target: i64, current: u32) -> u32 {
    let absent = |direction: Ordering| if direction.is_lt() { target } else { 0 };
    by_ratio(values, current, absent, |values| ratio(average(values), target))
}

/// A metric that is one value, of an object or from outside.
fn one_value(label: &str, value: i64, target: &MetricTarget, current: u32) -> (String, u32) {
    let shown = Decimal(value);
    if target.type_ == "Value" {
        let wanted = quantity(target.value.as_ref());
        let ratio = ratio(value, wanted);
        let pods = if is_tolerated(ratio) { current } else { replicas(ratio * f64::from(current)) };
        return (format!("{label}: {shown}, target {}", Decimal(wanted)), pods);
    }
    let wanted = quantity(target.average_value.as_ref());
    let each = ratio(value, wanted * i64::from(current));
    let pods = if is_tolerated(each) { current } else { replicas(ratio(value, wanted)) };
    (format!("{label}: {shown}, target {} for each pod", Decimal(wanted)), pods)
}

/// Usage of CPU or memory, of whole pods or of one of their containers.
fn usage(
    metric: &MetricSpec,
    answer: &Value,
    target: &Target,
    label: &str,
) -> Result<(String, u32), String> {
    let (resource, container, wanted) = match (&metric.resource, &metric.container_resource) {
        (Some(source), _) => (&source.name, None, &source.target),
        (_, Some(source)) => (&source.name, Some(&source.container), &source.target),
        _ => panic!("{label}"),
    };
    let is_meant = |name: &str| container.is_none_or(|wanted| wanted == name);
    let mut used = Vec::new();
    for pod in answer["items"].as_array().expect("items") {
        let containers = pod["containers"].as_array().expect("containers").iter();
        let of_container = containers
            .filter(|container| is_meant(container["name"].as_str().expect("a name")))
            .map(|container| milli(&container["usage"][resource]));
        used.push(of_container.sum());
    }
    if used.is_empty() {
        return Err("no usage".to_owned());
    }
    let current = count(target.pods.len());
    let format = |milli| {
        if resource == "memory" { Binary(milli).to_string() } else { Decimal(milli).to_string() }
    };
    let shown: Vec<_> = used.iter().map(|usage| format(*usage)).collect();
    let shown = shown.join(", ");
    if wanted.type_ == "AverageValue" {
        let average = quantity(wanted.average_value.as_ref());
        let line = format!("{label}: {shown}; target {}", format(average));
        return Ok((line, by_pods(&used, average, current)));
    }
    let requests = target.requests.iter().filter(|(name, _)| is_meant(name));
    let requested: i64 = requests
        .map(|(name, requests)| {
            *requests.get(resource).unwrap_or_else(|| panic!("{name} requests no {resource}"))
        })
        .sum();
    let percent = |used: &[i64]| used.iter().sum::<i64>() * 100 / (requested * number(used.len()));
    let aim = i64::from(wanted.average_utilization.expect("a utilization"));
    let absent = |direction: Ordering| match direction {
        Ordering::Less => requested * aim.max(100) / 100,
        Ordering::Equal => requested * aim / 100,
        Ordering::Greater => 0,
    };
    let pods = by_ratio(&used, current, absent, |used| ratio(percent(used), aim));
    let percent = percent(&used);
    let requested = format(requested);
    Ok((format!("{label}: {shown} of {requested}; {percent} %, target {aim} %"), pods))
}

/// How many pods the policies allow in the first period.
fn highest(rules: Option<&HPAScalingRules>, current: u32) -> u32 {
    let of = |policy: &HPAScalingPolicy| match policy.type_.as_str() {
        "Pods" => current + positive(policy.value),
        _ => replicas(f64::from(current) * (1.0 + f64::from(policy.value) / 100.0)),
    };
    let policies = rules.and_then(|rules| rules.policies.as_ref());
    let defaults = (current * 2).max(current + 4);
    choose(
        rules,
        policies.map(|policies| policies.iter().map(of).collect()),
        defaults,
        current,
        true,
    )
}

/// How few pods the policies allow in the first period.
fn lowest(rules: Option<&HPAScalingRules>, current: u32) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a number of pods; the controller cuts it off, too"
    )]
    let of = |policy: &HPAScalingPolicy| match policy.type_.as_str() {
        "Pods" => current.saturating_sub(positive(policy.value)),
        _ => (f64::from(current) * (1.0 - f64::from(policy.value) / 100.0)) as u32,
    };
    let policies = rules.and_then(|rules| rules.policies.as_ref());
    choose(rules, policies.map(|policies| policies.iter().map(of).collect()), 0, current, false)
}

/// `selectPolicy: Max` means the largest change, in both directions.
fn choose(
    rules: Option<&HPAScalingRules>,
    limits: Option<Vec<u32>>,
    default: u32,
    current: u32,
    is_up: bool,
) -> u32 {
    let select = rules.and_then(|rules| rules.select_policy.as_deref()).unwrap_or("Max");
    let limits = limits.unwrap_or_else(|| vec![default]);
    let limit = match (select, is_up) {
        ("Disabled", _) => None,
        ("Max", true) | ("Min", false) => limits.into_iter().max(),
        _ => limits.into_iter().min(),
    };
    limit.unwrap_or(current)
}

#[test]
fn pods_without_a_value_make_a_change_smaller() {
    // Too high: they count as idle.
    assert_eq!(by_pods(&[300], 100, 1), 3);
    assert_eq!(by_pods(&[300], 100, 2), 3);
    assert_eq!(by_pods(&[150], 100, 2), 2, "and do not turn it round");
    // Too low: they count as on target.
    assert_eq!(by_pods(&[10, 10, 10], 100, 3), 1);
    assert_eq!(by_pods(&[10, 10], 100, 4), 3);
    // Within tolerance.
    assert_eq!(by_pods(&[110, 110], 100, 2), 2);
    assert_eq!(by_pods(&[111, 111], 100, 2), 3);
}
