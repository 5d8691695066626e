//! The steps of the usage of a resource by pods.
//!
//! metrics.k8s.io has pods of which both CPU and memory are known, so the usage of one of them is missing where the other one is
//! not known.

pub mod response;

use std::collections::BTreeSet;

use super::{
    Cause, Step,
    facts::{Facts, UsagePart},
    metric, name,
};
use crate::core::{lint::counters, promql::parse, resource::PodUsage, rules::ComputeResource};

/// How many examples a sentence has.
const EXAMPLES: usize = 3;

/// Values by pod in thousandths, or why there are none.
type Values = Result<Vec<(String, i64)>, String>;

/// The resource that a metric of metrics.k8s.io is called after.
pub fn resource(metric: &str) -> Option<ComputeResource> {
    match metric {
        "cpu" => Some(ComputeResource::Cpu),
        "memory" => Some(ComputeResource::Memory),
        _ => None,
    }
}

/// The series that the query of a rule reads first, where the parser knows the query and it names one.
pub fn series(query: &str) -> Option<String> {
    let tree = parse(query).ok()?;
    counters::selectors(&tree).into_iter().find_map(counters::name).map(str::to_owned)
}

/// The usage of a part of each pod, in thousandths of a core or of a byte. Pods without that container are left out.
pub fn values(
    pods: &[PodUsage],
    resource: ComputeResource,
    part: &UsagePart,
) -> Vec<(String, i64)> {
    let of_pod = |pod: &PodUsage| {
        let is_asked = |container: &str| match part {
            UsagePart::Pod => true,
            UsagePart::Container(asked) => container == asked,
        };
        let asked = pod.containers.iter().filter(|it| is_asked(&it.name));
        let milli = asked.map(|container| match resource {
            ComputeResource::Cpu => container.usage.cpu_milli,
            ComputeResource::Memory => container.usage.memory_milli,
        });
        let milli = milli.reduce(i64::saturating_add)?;
        Some((pod.name.to_string(), milli))
    };
    pods.iter().filter_map(of_pod).collect()
}

/// The steps from the name of a resource to the usage of it, from the facts about this resource, those about the other one, and
/// the pods that both are known of.
pub fn steps(
    own: &Facts,
    other: &Facts,
    pods: &[PodUsage],
    resource: ComputeResource,
) -> (Vec<Step>, Values) {
    let mut steps = metric::steps(own);
    if let Some(failure) = steps.iter().find(|step| step.is_failure()) {
        let why = failure.seen.clone();
        return (steps, Err(why));
    }
    let part = own.asked.usage.clone().unwrap_or(UsagePart::Pod);
    // The last step has the usage of this resource alone.
    steps.retain(|step| step.name != name::VALUES || step.cause.is_some());
    let values = values(pods, resource, &part);
    if let Some(step) = without_container(pods, &part) {
        let why = step.seen.clone();
        steps.push(step);
        return (steps, Err(why));
    }
    if values.is_empty() {
        let missing = missing(own, other);
        let why = missing.last().map_or_else(String::new, |step| step.seen.clone());
        steps.extend(missing);
        return (steps, Err(why));
    }
    steps.push(shown(&values, &selected(own)));
    (steps, Ok(values))
}

/// The step of usage that is served, with the pods of those that were asked for that have none.
pub fn shown(values: &[(String, i64)], asked: &[&str]) -> Step {
    let mut step = metric::values_of(values);
    let known: BTreeSet<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
    let without: Vec<&str> = asked.iter().copied().filter(|name| !known.contains(name)).collect();
    if !without.is_empty() {
        step.seen.push_str(&format!("; none of {}", listed(&without)));
    }
    step
}

/// The HPA controller reads no usage of any pod where one has not the container that it asks for.
fn without_container(pods: &[PodUsage], part: &UsagePart) -> Option<Step> {
    let UsagePart::Container(asked) = part else { return None };
    let has_it = |pod: &&PodUsage| pod.containers.iter().any(|it| *it.name == **asked);
    let pod = pods.iter().find(|pod| !has_it(pod))?;
    let containers: Vec<&str> = pod.containers.iter().map(|it| &*it.name).collect();
    Some(no_container(asked, &pod.name, &containers))
}

/// A pod has usage, and none of the container that an autoscaler asks for.
pub fn no_container(asked: &str, pod: &str, containers: &[&str]) -> Step {
    let there = match containers {
        [] | [""] => "the samples name no container".to_owned(),
        containers => format!("there are {}", listed(containers)),
    };
    Step::found(
        name::VALUES,
        Cause::NamesDiffer,
        format!("pod {pod} has no usage of a container `{asked}`: {there}"),
        "correct `container` of the autoscaler",
    )
}

/// Why the other resource has no usage of the pods that have some of this one.
fn missing(own: &Facts, other: &Facts) -> Vec<Step> {
    let steps = metric::steps(other);
    if steps.iter().any(Step::is_failure) {
        return steps.into_iter().filter(|step| step.name != name::OBJECTS).collect();
    }
    let (own, other) = (&own.asked.metric, &other.asked.metric);
    let seen = format!("no container of these pods has both {own} and {other}");
    let advice = "have both queries of `resourceRules` group by the same label of containers";
    vec![Step::found(name::VALUES, Cause::LabelMissing, seen, advice)]
}

fn selected(facts: &Facts) -> Vec<&str> {
    let selected = facts.objects.selected.iter();
    selected.map(|object| object.name.as_str()).filter(|_| facts.objects.is_known).collect()
}

fn listed(names: &[&str]) -> String {
    let mut shown = names.iter().take(EXAMPLES).copied().collect::<Vec<_>>().join(", ");
    if names.len() > EXAMPLES {
        shown.push_str(&format!(" and {} more", names.len() - EXAMPLES));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::resource::{ContainerUsage, Usage};

    fn pod(name: &str, containers: &[(&str, i64)]) -> PodUsage {
        let container = |(name, milli): &(&str, i64)| ContainerUsage {
            name: (*name).into(),
            usage: Usage { cpu_milli: *milli, memory_milli: milli * 1000 },
        };
        PodUsage {
            name: name.into(),
            at_ms: 0,
            containers: containers.iter().map(container).collect(),
        }
    }

    #[test]
    fn usage_is_that_of_a_pod_or_of_a_container() {
        let pods = [pod("a", &[("web", 100), ("proxy", 20)]), pod("b", &[("proxy", 5)])];
        let of = |resource, part: &UsagePart| values(&pods, resource, part);
        let value = |name: &str, milli| (name.to_owned(), milli);
        assert_eq!(of(ComputeResource::Cpu, &UsagePart::Pod), [value("a", 120), value("b", 5)]);
        let web = UsagePart::Container("web".to_owned());
        assert_eq!(of(ComputeResource::Memory, &web), [value("a", 100_000)]);
        let step = without_container(&pods, &web).unwrap();
        assert_eq!(step.cause.map(|(cause, _)| cause), Some(Cause::NamesDiffer));
        assert!(step.seen.contains("pod b") && step.seen.contains("proxy"), "{step:?}");
        assert_eq!(without_container(&pods[..1], &web), None);
    }

    #[test]
    fn the_series_of_a_query_is_the_first_that_it_names() {
        for (query, wanted) in [
            ("sum(rate(cpu_seconds{pod=~\"a|b\"}[5m])) by (pod)", Some("cpu_seconds")),
            ("sum({__name__=\"memory_bytes\"}) by (pod)", Some("memory_bytes")),
            ("sum({pod=\"a\"})", None),
            ("sum(", None),
        ] {
            assert_eq!(series(query).as_deref(), wanted, "{query}");
        }
    }

    #[test]
    fn pods_without_usage_are_named() {
        let shown = |asked: &[&str]| shown(&[("a".to_owned(), 1500)], asked).seen;
        assert_eq!(shown(&["a"]), "a=1500m");
        assert_eq!(shown(&["a", "b"]), "a=1500m; none of b");
    }
}
