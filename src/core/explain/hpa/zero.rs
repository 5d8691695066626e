//! What to say of an autoscaler with `minReplicas: 0`: whether its signal is there without its pods, and whether it gets to zero.

use std::time::Duration;

use crate::core::{
    autoscaler::{Metric, Source, Spec},
    duration,
    explain::{
        Cause, Step,
        hpa::{Found, PastDay},
        name,
        workload::{OwnedPod, Workload},
    },
    lint::{counters, parsed},
    window,
};

/// `scaleDown.stabilizationWindowSeconds` where it is not written.
const DEFAULT_WINDOW_S: i32 = 300;

/// What may be wrong with a metric of an autoscaler that scales to zero.
pub fn of_metric(
    spec: &Spec,
    metric: &Metric,
    found: &Found,
    (workload, pods): (Option<&Workload>, &[OwnedPod]),
) -> Vec<Step> {
    // Pods have no values without pods, and need another metric beside them.
    let is_signal = matches!(metric.source, Source::Object { .. } | Source::External { .. });
    let (Some(metric), true) = (metric.name().filter(|_| is_signal), spec.min_replicas == 0) else {
        return Vec::new();
    };
    let mut steps = Vec::new();
    let owner = workload.map_or("", |workload| workload.name.as_str());
    let is_own = |name: &String| {
        pods.iter().any(|pod| pod.pod.name == *name) || is_called_after(name, owner)
    };
    if !found.pods.is_empty() && found.pods.iter().all(is_own) {
        steps.push(dies(metric, found.pods.first().map_or("", String::as_str)));
        steps.extend(born(&found.query));
        steps.extend(outlasts(spec, &found.query));
    }
    steps.extend(never_zero(metric, found.history));
    steps
}

/// Nothing takes the last pod away where 0 is within the tolerance of the target. The first pod needs no tolerance: any value above 0
/// starts it.
pub fn of_autoscaler(spec: &Spec) -> Option<Step> {
    let is_tolerated = spec.min_replicas == 0 && spec.tolerance_down >= 1.0;
    is_tolerated.then(|| {
        let seen = "with `behavior.scaleDown.tolerance` of 1 or more a value of 0 is within the tolerance of its target: the last pod stays";
        let advice = "set a tolerance below 1";
        Step::found(name::HPA, Cause::HpaTargetUnreachable, seen, advice)
    })
}

fn dies(metric: &str, pod: &str) -> Step {
    let seen = format!(
        "`minReplicas: 0`, and all series behind `{metric}` are of pods that this autoscaler scales, such as {pod}: with the last pod they end, and nothing starts another"
    );
    let advice = "scale on a metric that is there without pods, such as the length of a queue or the requests at a gateway, or set `minReplicas: 1`";
    Step::doubtful(name::SERIES, Cause::AbsentAtZero, seen, advice)
}

/// The rate of a counter that begins with the pod.
fn born(query: &str) -> Option<Step> {
    let tree = parsed(query).ok()?;
    counters::has_rate(&tree).then(|| {
        let seen = "the rate is taken of counters that begin with a pod: what a new pod counts before its second scrape is in no rate";
        let advice = "take a gauge, or a counter of something that lives longer than the pods";
        Step::doubtful(name::QUERY, Cause::TooFewSamples, seen, advice)
    })
}

/// A range in which pods that have gone still count.
fn outlasts(spec: &Spec, query: &str) -> Option<Step> {
    let window = spec.behavior.as_ref().map_or(DEFAULT_WINDOW_S, |behavior| behavior.down.window_s);
    let window = Duration::from_secs(u64::try_from(window).unwrap_or_default());
    let oldest = window::oldest(query, Duration::ZERO)?;
    (oldest > window).then(|| {
        let seen = format!(
            "the query looks back {}, and pods that have gone count for that long: an autoscaler at 0 is started again by them",
            duration::prometheus(oldest)
        );
        let advice = format!(
            "take a range of at most {}, the stabilization window, or a longer window",
            duration::prometheus(window)
        );
        Step::doubtful(name::QUERY, Cause::Stale, seen, advice)
    })
}

/// A value that is never 0, of whatever size, always keeps a pod.
fn never_zero(metric: &str, history: Option<PastDay>) -> Option<Step> {
    let lowest = history.filter(|day| day.is_long())?.lowest.filter(|lowest| *lowest > 0.0)?;
    let seen = format!(
        "`{metric}` was never 0 within the last day (lowest {lowest}), and any value above 0 keeps a pod: `minReplicas: 0` has no effect"
    );
    let advice = "subtract in the query what is always there, as in `clamp_min(… - 1, 0)`";
    Some(Step::found(name::HPA, Cause::HpaTargetUnreachable, seen, advice))
}

/// Whether a pod has the name that a workload (`Kind/name`) gives to its pods: the workload's, and an ordinal or hashes of lower-case
/// letters and digits.
fn is_called_after(pod: &str, workload: &str) -> bool {
    let Some((kind, name)) = workload.split_once('/') else { return false };
    let rest = pod.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    let Some(rest) = rest.filter(|_| !name.is_empty()) else { return false };
    let is_word = |word: &str, of: fn(char) -> bool| !word.is_empty() && word.chars().all(of);
    let is_hash = |word: &str, longest: usize| {
        word.len() <= longest && is_word(word, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    match kind {
        "StatefulSet" => is_word(rest, |c| c.is_ascii_digit()),
        "Deployment" => rest
            .split_once('-')
            .is_some_and(|(set, pod)| is_hash(set, 10) && pod.len() == 5 && is_hash(pod, 5)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
    use serde_json::{Value, json};

    use super::*;
    use crate::core::autoscaler::{Pod, Scale};

    fn spec(change: impl Fn(&mut Value)) -> Spec {
        let mut document = json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 0, "maxReplicas": 3,
            "metrics": [{"type": "External", "external": {
                "metric": {"name": "work"}, "target": {"type": "AverageValue", "averageValue": "10"},
            }}],
        }});
        change(&mut document["spec"]);
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(document).unwrap();
        Spec::read(&hpa).unwrap()
    }

    fn found(query: &str, pods: &[&str]) -> Found {
        let pods = pods.iter().map(|&pod| pod.to_owned()).collect();
        Found { pods, ..Found::new(Ok(Vec::new()), query.to_owned(), None) }
    }

    fn causes(spec: &Spec, found: &Found, pods: &[&str]) -> Vec<&'static str> {
        let workload = Workload {
            name: "Deployment/web".to_owned(),
            scale: Scale { spec: 1, status: 1 },
            selector: "app=web".to_owned(),
        };
        let pod = |&name: &&str| OwnedPod {
            pod: Pod { name: name.to_owned(), ..Pod::default() },
            owners: Vec::new(),
        };
        let pods: Vec<_> = pods.iter().map(pod).collect();
        let steps = of_metric(spec, &spec.metrics[0], found, (Some(&workload), &pods));
        assert!(steps.iter().all(|step| !step.is_failure() && !step.advice.is_empty()));
        steps.iter().map(|step| step.cause.unwrap().0.code()).collect()
    }

    #[test]
    fn a_signal_that_dies_with_the_pods_is_named() {
        let (own, exporter) = ("web-5d4f8c7b9-x2x4p", "rabbitmq-0");
        let zero = spec(|_| {});
        let dies = ["absent-at-zero"];
        assert_eq!(causes(&zero, &found("sum(waiting)", &[own]), &[]), dies);
        assert_eq!(causes(&zero, &found("sum(waiting)", &["other"]), &["other"]), dies);
        // Of the exporter, of both, of nobody, and of an autoscaler that keeps a pod.
        assert!(causes(&zero, &found("sum(waiting)", &[exporter]), &[]).is_empty());
        assert!(causes(&zero, &found("sum(waiting)", &[own, exporter]), &[]).is_empty());
        assert!(causes(&zero, &found("sum(waiting)", &[]), &[own]).is_empty());
        let one = spec(|spec| spec["minReplicas"] = 1.into());
        assert!(causes(&one, &found("sum(waiting)", &[own]), &[own]).is_empty());
    }

    #[test]
    fn rates_and_ranges_of_such_a_signal_are_named() {
        let zero = spec(|_| {});
        let of = |spec: &Spec, query: &str, pod: &str| causes(spec, &found(query, &[pod]), &["p"]);
        let rate = ["absent-at-zero", "too-few-samples"];
        assert_eq!(of(&zero, "sum(rate(done_total[5m]))", "p"), rate);
        assert_eq!(of(&zero, "sum(max_over_time(busy[5m]))", "p"), ["absent-at-zero"]);
        let long = ["absent-at-zero", "stale"];
        assert_eq!(of(&zero, "sum(max_over_time(busy[301s]))", "p"), long);
        assert!(of(&zero, "sum(rate(done_total[1h]))", "exporter-0").is_empty());
        let patient = spec(|spec| {
            spec["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 600}});
        });
        assert_eq!(of(&patient, "sum(max_over_time(busy[10m]))", "p"), ["absent-at-zero"]);
        assert_eq!(of(&patient, "sum(max_over_time(busy[11m]))", "p"), long);
    }

    #[test]
    fn a_value_that_is_never_zero_keeps_a_pod() {
        let day = |lowest, hours: f64| Found {
            history: Some(PastDay {
                highest: 20.0,
                lowest,
                steps: hours * 3600.0 / f64::from(PastDay::STEP_S),
            }),
            ..found("work", &[])
        };
        let zero = spec(|_| {});
        assert_eq!(causes(&zero, &day(Some(0.2), 24.0), &[]), ["hpa-target-unreachable"]);
        assert!(causes(&zero, &day(Some(0.0), 24.0), &[]).is_empty());
        assert!(causes(&zero, &day(None, 24.0), &[]).is_empty());
        assert!(causes(&zero, &day(Some(0.2), 1.0), &[]).is_empty(), "a short history");
        let one = spec(|spec| spec["minReplicas"] = 1.into());
        assert!(causes(&one, &day(Some(0.2), 24.0), &[]).is_empty());
    }

    /// The tolerance of the published algorithm at both ends of the step from 0 to 1.
    #[test]
    fn zero_within_the_tolerance_keeps_the_last_pod() {
        let tolerant = |tolerance: &str| {
            let tolerance = tolerance.to_owned();
            spec(move |spec| spec["behavior"] = json!({"scaleDown": {"tolerance": tolerance}}))
        };
        let is_named = |spec: &Spec| of_autoscaler(spec).is_some();
        assert!(is_named(&tolerant("1")));
        assert!(!is_named(&tolerant("999m")));
        assert!(!is_named(&spec(|_| {})));
        let one = spec(|spec| {
            spec["minReplicas"] = 1.into();
            spec["behavior"] = json!({"scaleDown": {"tolerance": "1"}});
        });
        assert!(!is_named(&one));
    }

    #[test]
    fn names_of_pods_are_told_from_those_of_others() {
        for (pod, workload, wanted) in [
            ("web-5d4f8c7b9-x2x4p", "Deployment/web", true),
            ("web-admin-5d4f8c7b9-x2x4p", "Deployment/web", false),
            ("web-5d4f8c7b9", "Deployment/web", false),
            ("web-0", "Deployment/web", false),
            ("web-0", "StatefulSet/web", true),
            ("web-db-0", "StatefulSet/web", false),
            ("web-", "StatefulSet/web", false),
            ("web-0", "Job/web", false),
            ("-0", "StatefulSet/", false),
            ("web-0", "", false),
        ] {
            assert_eq!(is_called_after(pod, workload), wanted, "{pod} of {workload}");
        }
    }
}
