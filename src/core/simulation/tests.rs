mod properties;
mod shown;

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};

use super::*;

/// A run that nothing limits.
fn run(spec: &Spec, loads: &[Load], grid: Grid, workload: &Workload) -> Result<Timeline, String> {
    super::run(spec, loads, grid, workload, &mut Work::new(1, grid, &mut |_, _| {}))
}

/// A spec with one external metric, whose target is 10 for each pod unless the fields say something else.
fn spec(fields: &Value) -> Spec {
    let mut hpa = json!({"spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 100, "metrics": [external("AverageValue")]
    }});
    for (key, value) in fields.as_object().unwrap() {
        hpa["spec"][key] = value.clone();
    }
    Spec::read(&serde_json::from_value::<HorizontalPodAutoscaler>(hpa).unwrap()).unwrap()
}

fn external(kind: &str) -> Value {
    let key = if kind == "Value" { "value" } else { "averageValue" };
    json!({"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": kind, key: "10"}}})
}

fn pods_metric() -> Value {
    json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "10"}}})
}

fn cpu() -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}})
}

fn load(model: Model, values: impl IntoIterator<Item = Option<i64>>) -> Load {
    let recorded = |whole: i64| Recorded { sum: whole * 1000, count: 1 };
    let values: Vec<_> = values.into_iter().map(|value| value.map(recorded)).collect();
    Load { model, values: values.into(), replicas: None }
}

fn grid(steps: usize) -> Grid {
    Grid { start_ms: 1_700_000_010_000, step_ms: SYNC_MS, steps }
}

/// The replicas after each synchronization, where pods are ready at once.
fn replicas(spec: &Spec, loads: &[Load], start: i32) -> Vec<i32> {
    let workload = Workload { replicas: start, ..Workload::default() };
    let grid = grid(loads[0].values.len());
    let timeline = run(spec, loads, grid, &workload).unwrap();
    timeline.syncs.iter().map(|sync| sync.replicas).collect()
}

/// A load that wants so many replicas, for so many synchronizations.
fn wanting(steps: &[(i64, usize)]) -> Load {
    let values =
        steps.iter().flat_map(|(count, times)| std::iter::repeat_n(Some(count * 10), *times));
    load(Model::Fixed, values)
}

/// <https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#default-behavior>
#[test]
fn the_documented_default_behavior() {
    // "4 Pods or a 100% of the currently running replicas may at most be added every 15 seconds", and no stabilization upwards.
    let behavior = spec(&json!({"behavior": {}}));
    assert_eq!(replicas(&behavior, &[wanting(&[(90, 7)])], 1), [5, 10, 20, 40, 80, 90, 90]);
    // Without `behavior` the controller doubles, or sets four.
    assert_eq!(replicas(&spec(&json!({})), &[wanting(&[(90, 7)])], 1), [4, 8, 16, 32, 64, 90, 90]);
    // "the scaling down stabilization window is 300 seconds", and then "100% of the currently running replicas can be removed".
    for spec in [behavior, spec(&json!({}))] {
        let steps = replicas(&spec, &[wanting(&[(10, 1), (2, 25)])], 10);
        let down = steps.iter().position(|replicas| *replicas != 10).unwrap();
        assert_eq!((down, steps[down]), (20, 2), "{steps:?}");
    }
}

/// The examples below the default behavior.
#[test]
fn the_documented_examples_of_behavior() {
    let down = |rules: Value| spec(&json!({"behavior": {"scaleDown": rules}}));
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 60});
    let percent = json!({"type": "Percent", "value": 10, "periodSeconds": 60});
    // "10 percent of 80 is 8": the percentage counts as long as it is more than 4 pods.
    let both = json!({"stabilizationWindowSeconds": 0, "policies": [pods, percent]});
    let steps = replicas(&down(both.clone()), &[wanting(&[(10, 60)])], 80);
    let by_minute: Vec<_> = steps.iter().step_by(4).copied().collect();
    // "the number of replicas is 72, and 10% of 72 is 7.2 but the number is rounded up to 8" is 64 then.
    assert_eq!(by_minute[..10], [72, 64, 57, 51, 45, 40, 36, 32, 28, 24]);
    assert!(
        by_minute
            .windows(2)
            .all(|pair| pair[0] == pair[1] || pair[0] - pair[1] >= 4 || pair[1] == 10)
    );
    // `Min`: the smaller change counts.
    let mut least = both;
    least["selectPolicy"] = "Min".into();
    let steps = replicas(&down(least), &[wanting(&[(10, 20)])], 80);
    let by_minute: Vec<_> = steps.iter().step_by(4).copied().collect();
    assert_eq!(by_minute, [76, 72, 68, 64, 60]);
    // "Limit scale down rate": 10 % a minute, and `Min` with "no more than 5 Pods per minute".
    let ten = json!({"stabilizationWindowSeconds": 0, "policies": [percent]});
    assert_eq!(replicas(&down(ten), &[wanting(&[(10, 5)])], 100), [90, 90, 90, 90, 81]);
    let five = json!({"type": "Pods", "value": 5, "periodSeconds": 60});
    let both = json!({"stabilizationWindowSeconds": 0, "policies": [percent, five], "selectPolicy": "Min"});
    assert_eq!(replicas(&down(both), &[wanting(&[(10, 5)])], 100), [95, 95, 95, 95, 90]);
    // "Disable scale down".
    let never = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"});
    assert_eq!(replicas(&down(never), &[wanting(&[(10, 50)])], 100), [100; 50]);
    // "Example: change downscale stabilization window" to 60 s.
    let short = json!({"stabilizationWindowSeconds": 60});
    let steps = replicas(&down(short), &[wanting(&[(100, 1), (10, 6)])], 100);
    assert_eq!(steps, [100, 100, 100, 100, 10, 10, 10]);
}

#[test]
fn an_increase_waits_for_its_window() {
    let spec = spec(&json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 60}}}));
    let steps = replicas(&spec, &[wanting(&[(1, 1), (4, 6)])], 1);
    assert_eq!(steps, [1, 1, 1, 1, 4, 4, 4]);
}

#[test]
fn tolerance_has_two_directions() {
    let spec = spec(&json!({"behavior": {
        "scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "0.5", "stabilizationWindowSeconds": 0}
    }}));
    let step = |value: i64| load(Model::Fixed, [Some(value)]);
    assert_eq!(replicas(&spec, &[step(101)], 10), [11]);
    assert_eq!(replicas(&spec, &[step(50)], 10), [10]);
    assert_eq!(replicas(&spec, &[step(49)], 10), [5]);
}

#[test]
fn the_models() {
    let steps = |metric: &Value, model, values: [i64; 4]| {
        let spec = spec(&json!({"metrics": [metric]}));
        replicas(&spec, &[load(model, values.map(Some))], 2)
    };
    let (average, value) = (external("AverageValue"), external("Value"));
    // A total is shared, so the replicas settle.
    for metric in [&average, &pods_metric()] {
        assert_eq!(steps(metric, Model::Fixed, [40; 4]), [4, 4, 4, 4], "{metric}");
        // Every pod has the double of the target, whatever is done.
        assert_eq!(steps(metric, Model::PerPod, [20; 4]), [4, 8, 16, 32], "{metric}");
    }
    assert_eq!(steps(&value, Model::PerPod, [20; 4]), [4, 8, 16, 32]);
    assert_eq!(steps(&value, Model::Fixed, [40; 4]), [4, 4, 4, 4]);
    // The recorded value was that of 2 pods.
    let spec = spec(&json!({"metrics": [value]}));
    let replicas_of = Some(Arc::from(vec![Some(2.0); 4]));
    let load = Load { replicas: replicas_of, ..load(Model::Fixed, [Some(20); 4]) };
    assert_eq!(replicas(&spec, &[load], 2), [4, 4, 4, 4]);
}

#[test]
fn pods_that_start_do_not_count() {
    let spec = spec(&json!({"metrics": [pods_metric()], "behavior": {}}));
    let load = load(Model::Fixed, vec![Some(40); 8]);
    let workload = Workload { replicas: 2, pod_start_ms: 45_000, ..Workload::default() };
    let timeline = run(&spec, &[load], grid(8), &workload).unwrap();
    // Two pods share the load until the others are ready, and the others count as idle.
    assert_eq!(timeline.ratios[0], [2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(timeline.changes.len(), 1);
    assert_eq!(timeline.syncs.last().unwrap().replicas, 4);
}

#[test]
fn cpu_is_measured_against_requests() {
    let doubling = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let behavior = json!({"scaleUp": {"policies": doubling}});
    let spec = spec(&json!({"metrics": [cpu()], "behavior": behavior}));
    let containers = [("c".to_owned(), [("cpu".to_owned(), 1_000)].into())].into();
    let pod = crate::core::autoscaler::Pod { containers, ..Default::default() };
    let workload = Workload { replicas: 2, pod, usage_window_ms: 60_000, ..Workload::default() };
    let load = load(Model::Fixed, vec![Some(3); 30]);
    let timeline = run(&spec, &[load], grid(30), &workload).unwrap();
    // The load is shared at once, but new pods count as idle until they have been ready for a window.
    assert_eq!(timeline.ratios[0][..2], [3.0, 1.5]);
    assert_eq!(timeline.syncs[3].replicas, 4);
    assert_eq!(timeline.syncs.last().unwrap().replicas, 6);
    assert_eq!(timeline.ratios[0].last(), Some(&1.0));
}

#[test]
fn several_metrics_and_gaps() {
    let spec = spec(&json!({"metrics": [external("AverageValue"), pods_metric()], "behavior": {
        "scaleDown": {"stabilizationWindowSeconds": 0}
    }}));
    let first = load(Model::Fixed, [Some(40), Some(40), None, None, Some(10)]);
    let second = load(Model::Fixed, [Some(20), Some(60), Some(70), Some(10), None]);
    let timeline =
        run(&spec, &[first, second], grid(5), &Workload { replicas: 2, ..Workload::default() });
    let timeline = timeline.unwrap();
    let replicas: Vec<_> = timeline.syncs.iter().map(|sync| sync.replicas).collect();
    // The largest leads; a metric without a value prevents a decrease, and not an increase.
    assert_eq!(replicas, [4, 6, 7, 7, 7]);
    let unreadable: Vec<_> = timeline.syncs.iter().map(|sync| sync.is_unreadable).collect();
    assert_eq!(unreadable, [false, false, false, true, true]);
    let summary = Summary::of(&spec, &timeline);
    assert_eq!((summary.ups, summary.downs, summary.minutes_unreadable), (3, 0, 0.5));
}

#[test]
fn zero_is_left_and_reached() {
    let fields =
        json!({"minReplicas": 0, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}}});
    let zero = spec(&fields);
    let load = load(Model::Fixed, [0, 0, 0, 5, 25, 0, 0, 0, 0].map(Some));
    assert_eq!(replicas(&zero, &[load], 1), [1, 1, 0, 1, 3, 3, 0, 0, 0]);
    // Pods have no values without pods.
    let mut of_pods = fields;
    of_pods["metrics"] = json!([pods_metric()]);
    let of_pods = spec(&of_pods);
    let load = self::load(Model::Fixed, [0, 0, 0, 50, 50].map(Some));
    let workload = Workload { replicas: 1, ..Workload::default() };
    let timeline = run(&of_pods, &[load], grid(5), &workload).unwrap();
    assert_eq!(timeline.syncs.last().unwrap().replicas, 0);
    let summary = Summary::of(&of_pods, &timeline);
    let findings = Finding::all(&of_pods, &[(Model::Fixed, "")], &timeline, &summary);
    assert!(findings.contains(&Finding::Disabled(0.5)), "{findings:?}");
}

#[test]
fn the_numbers_of_the_table() {
    let spec = spec(
        &json!({"maxReplicas": 8, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}),
    );
    // One minute each with 2, 8 (10 are wanted), 2 and 4 replicas.
    let load = wanting(&[(2, 4), (10, 4), (2, 4), (4, 4)]);
    let workload = Workload { replicas: 2, ..Workload::default() };
    let timeline = run(&spec, &[load], grid(16), &workload).unwrap();
    let summary = Summary::of(&spec, &timeline);
    assert_eq!(
        summary,
        Summary {
            replica_hours: (2.0 + 6.0 / 4.0 + 8.0 * 3.0 / 4.0 + 2.0 + 4.0) / 60.0,
            fewest: 2,
            most: 8,
            ups: 3,
            downs: 1,
            // 10 on 2, 6 and 8 replicas; 4 on 2.
            minutes_above_target: 1.25,
            minutes_at_maximum: 0.75,
            minutes_unreadable: 0.0,
            flaps: 2,
        }
    );
    let findings = Finding::all(&spec, &[(Model::Fixed, "")], &timeline, &summary);
    assert_eq!(findings, [Finding::Flaps(2)]);
}

#[test]
fn warnings() {
    let found_by = |metric: Value, query: &str, model, value: i64| {
        let spec = spec(&json!({"metrics": [metric], "maxReplicas": 4}));
        let load = load(model, vec![Some(value); 40]);
        let workload = Workload { replicas: 1, ..Workload::default() };
        let timeline = run(&spec, &[load], grid(40), &workload).unwrap();
        let summary = Summary::of(&spec, &timeline);
        let findings = Finding::all(&spec, &[(model, query)], &timeline, &summary);
        findings.iter().map(Finding::code).collect::<Vec<_>>()
    };
    let rate = "sum(rate(requests_total[1m]))";
    let found = |metric, model, value| found_by(metric, rate, model, value);
    assert_eq!(found(external("AverageValue"), Model::Fixed, 9), ["never-above-target"]);
    assert_eq!(found(external("AverageValue"), Model::Fixed, 90), ["always-above-target"]);
    assert_eq!(found(external("AverageValue"), Model::Fixed, 30), [""; 0]);
    assert_eq!(
        found(external("Value"), Model::PerPod, 12),
        ["always-above-target", "value-compounds"]
    );
    assert_eq!(found(external("Value"), Model::Fixed, 30), [""; 0]);
    // A queue's length and a latency fall as pods are added.
    assert_eq!(
        found_by(external("Value"), "sum(queue_depth)", Model::PerPod, 12),
        ["always-above-target"]
    );
}

#[test]
fn work_has_a_bound_and_its_progress_is_told() {
    let spec = spec(
        &json!({"minReplicas": 10_000, "maxReplicas": 10_000, "metrics": vec![external("AverageValue"); 10]}),
    );
    let workload = Workload { replicas: 10_000, ..Workload::default() };
    let loads = vec![load(Model::Fixed, vec![Some(1); 2]); 10];
    let mut told = Vec::new();
    let mut note = |done: usize, all: usize| told.push((done, all));
    let mut work = Work::new(2, grid(2), &mut note);
    super::run(&spec, &loads, grid(2), &workload, &mut work).unwrap();
    assert_eq!(work.left, MOST_WORK - 2 * 10 * 10_000);
    work.left = 10 * 10_000;
    let failure = super::run(&spec, &loads, grid(2), &workload, &mut work).unwrap_err();
    assert!(failure.contains("--since"), "{failure}");
    work.left = MOST_WORK;
    super::run(&spec, &loads, grid(1), &workload, &mut work).unwrap();
    assert_eq!(told, [(4, 4)]);
}

#[test]
fn a_coarse_step_holds_its_value_between_synchronizations() {
    let spec = spec(&json!({}));
    let grid = Grid { start_ms: 0, step_ms: 60_000, steps: 2 };
    let workload = Workload { replicas: 1, ..Workload::default() };
    let load = wanting(&[(3, 1), (4, 1)]);
    let timeline = run(&spec, &[load], grid, &workload).unwrap();
    let replicas: Vec<_> = timeline.syncs.iter().map(|sync| sync.replicas).collect();
    assert_eq!(replicas, [3, 3, 3, 3, 4, 4, 4, 4]);
    assert_eq!(grid.times().collect::<Vec<_>>(), [0, 60_000]);
}

#[test]
fn too_many_replicas_are_refused() {
    let spec = spec(&json!({"maxReplicas": i32::MAX}));
    assert!(run(&spec, &[wanting(&[(1, 1)])], grid(1), &Workload::default()).is_err());
}

#[test]
fn parts_have_all_times() {
    for (steps, most) in [(1, 1), (10, 3), (9, 3), (5, 100), (0, 4)] {
        let whole = grid(steps);
        let mut parts = whole.parts(most);
        parts.reverse();
        let times: Vec<_> = parts.iter().flat_map(|part| part.times()).collect();
        assert_eq!(times, whole.times().collect::<Vec<_>>(), "{steps} {most}");
        assert!(parts.iter().all(|part| (1..=most).contains(&part.steps)));
    }
}
