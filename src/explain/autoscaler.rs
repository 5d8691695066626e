//! Explains an autoscaler: its metrics one by one, and what it makes of them.

use serde_json::Value;

use super::{
    Known,
    environment::{Environment, Target},
};
use crate::core::{
    autoscaler::{Metric, Source},
    explain::{
        Answered, Explanation, Inquiry, Step, Subject,
        facts::Which,
        hpa::{self, Found},
        name,
        workload::{OwnedPod, Workload, selector_text},
    },
    selector::Selector,
};

/// Explains a metric that was asked about by itself.
pub(crate) async fn explain_metric(
    environment: &impl Environment,
    object: String,
    inquiry: &Inquiry,
) -> Explanation {
    let way = environment.way(std::slice::from_ref(inquiry)).await;
    let answered = environment.metric(&way, inquiry, Known::default()).await;
    let mut steps = way.steps;
    match answered {
        Ok(answered) => steps.extend(answered.steps),
        Err(step) => obstruct(&mut steps, step),
    }
    Explanation::conclude(object, steps, None)
}

/// Explains an autoscaler by its document.
pub(crate) async fn explain_hpa(environment: &impl Environment, document: &Value) -> Explanation {
    let text =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let object = format!("hpa/{}", text("/metadata/name"));
    let namespace =
        Some(text("/metadata/namespace")).filter(|it| !it.is_empty()).unwrap_or("default");
    let (read, mut steps) = hpa::spec(document);
    let Some((hpa, spec)) = read else { return Explanation::conclude(object, steps, None) };
    steps.extend(hpa::zero::of_autoscaler(&spec));
    let mut target = environment.target(&hpa, namespace).await;
    let is_missing = target.steps.iter().any(Step::is_failure);
    steps.append(&mut target.steps);
    if is_missing {
        return Explanation::conclude(object, steps, None);
    }
    let inquiries: Vec<_> = spec
        .metrics
        .iter()
        .map(|metric| inquiry(metric, namespace, target.workload.as_ref()))
        .collect();
    let mut way = environment.way(&inquiries).await;
    let (mut of_metrics, mut found) = (Vec::new(), Vec::new());
    for (metric, inquiry) in spec.metrics.iter().zip(inquiries) {
        let known = known(metric, &target);
        let answered = environment.metric(&way, &inquiry, known).await;
        let answered = answered.unwrap_or_else(|step| {
            let found = Found::missing(step.seen.clone());
            obstruct(&mut way.steps, step);
            Answered { steps: Vec::new(), found }
        });
        of_metrics.extend(answered.steps);
        of_metrics.extend(hpa::target_steps(metric, &answered.found));
        of_metrics.extend(hpa::request_step(metric, target.pods.as_deref().unwrap_or_default()));
        let scaled = (target.workload.as_ref(), target.pods.as_deref().unwrap_or_default());
        of_metrics.extend(hpa::zero::of_metric(&spec, metric, &answered.found, scaled));
        found.push(answered.found);
    }
    steps.append(&mut way.steps);
    steps.append(&mut of_metrics);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let Target { workload, pods, .. } = target;
    // Without its pods nobody can say how many there should be.
    let workload = workload.filter(|_| pods.is_some());
    let pods = pods.unwrap_or_default();
    let (outcome, decision) = hpa::decide(&spec, &hpa, workload.as_ref(), &pods, &found, now_ms);
    steps.extend(decision);
    Explanation::conclude(object, steps, Some(outcome))
}

/// Adds a step of the way that was found later than the others: registrations come before access.
fn obstruct(way: &mut Vec<Step>, step: Step) {
    if !way.contains(&step) {
        way.push(step);
        way.sort_by_key(|step| step.name == name::ACCESS);
    }
}

/// What an autoscaler asks of a metric.
pub(crate) fn inquiry(metric: &Metric, namespace: &str, workload: Option<&Workload>) -> Inquiry {
    let pods = || {
        let text = workload.map_or("", |workload| workload.selector.as_str());
        Which::Selected(Selector::parse(text).unwrap_or_default())
    };
    let (subject, name, selector) = match &metric.source {
        Source::Pods { metric, selector } => {
            let subject = Subject::Objects { resource: "pods".to_owned(), which: pods() };
            (subject, metric, selector)
        }
        Source::Object { object, metric, selector } => {
            let group = object.api_version.as_deref().and_then(|version| version.split_once('/'));
            let kind = object.kind.to_lowercase();
            let resource = group.map_or(kind.clone(), |(group, _)| format!("{kind}.{group}"));
            let which = Which::Named(object.name.clone());
            (Subject::Objects { resource, which }, metric, selector)
        }
        Source::External { metric, selector } => (Subject::External, metric, selector),
        Source::Resource { resource, container } => {
            let subject = Subject::Usage { which: pods(), container: container.clone() };
            (subject, resource, &None)
        }
    };
    let selector = serde_json::to_value(selector).map(|it| selector_text(&it)).unwrap_or_default();
    Inquiry {
        metric: name.clone(),
        subject,
        namespace: Some(namespace.to_owned()),
        selector: Selector::parse(&selector).unwrap_or_default(),
        is_at_zero: workload.is_some_and(|workload| workload.scale.spec == 0),
    }
}

/// What is known of the objects of a metric: of pods, who owns them.
fn known(metric: &Metric, target: &Target) -> Known {
    if !matches!(metric.source, Source::Pods { .. } | Source::Resource { .. }) {
        return Known::default();
    }
    let pods = target.pods.as_ref();
    Known {
        selected: pods.map(|pods| pods.iter().map(OwnedPod::facts).collect()),
        all: target.all_pods.clone(),
        owner: target.workload.as_ref().map(|workload| workload.name.clone()),
    }
}
