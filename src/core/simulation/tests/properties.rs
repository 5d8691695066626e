//! What holds of every autoscaler and every history.

use proptest::prelude::*;

use super::*;

/// Fields of `behavior` in one direction.
fn rules() -> impl Strategy<Value = Value> {
    let policy = (any::<bool>(), 1..50_i32, 15..180_i32).prop_map(|(is_pods, value, period)| {
        json!({"type": if is_pods { "Pods" } else { "Percent" }, "value": value, "periodSeconds": period})
    });
    let policies = prop::collection::vec(policy, 1..3);
    (0..600_i32, policies, prop::sample::select(vec!["Max", "Min", "Disabled"])).prop_map(
        |(window, policies, select)| {
            json!({"stabilizationWindowSeconds": window, "policies": policies, "selectPolicy": select})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn replicas_stay_within_their_limits(
        (min, max) in (0..5_i32, 5..40_i32),
        up in rules(),
        down in rules(),
        values in prop::collection::vec(prop::option::weighted(0.9, 0..400_i64), 1..120),
        (is_per_pod, kind) in (any::<bool>(), 0..3_usize),
        pod_start_ms in 0..120_000_i64,
    ) {
        let metric = [external("AverageValue"), external("Value"), pods_metric()][kind].clone();
        let spec = spec(&json!({
            "minReplicas": min, "maxReplicas": max, "metrics": [metric], "behavior": {"scaleUp": up, "scaleDown": down}
        }));
        let model = if is_per_pod { Model::PerPod } else { Model::Fixed };
        let steps = values.len();
        let workload = Workload { replicas: min.max(1), pod_start_ms, ..Workload::default() };
        let timeline = run(&spec, &[load(model, values)], grid(steps), &workload).unwrap();
        let mut before = workload.replicas;
        for sync in &timeline.syncs {
            prop_assert!((min..=max).contains(&sync.replicas), "{sync:?}");
            let change = timeline.changes.iter().find(|change| change.at_ms == sync.at_ms);
            let expected = change.map(|change| (change.from, change.to));
            let seen = (before != sync.replicas).then_some((before, sync.replicas));
            prop_assert_eq!(expected, seen);
            before = sync.replicas;
        }
    }

    #[test]
    fn a_constant_load_is_settled_without_flaps(
        value in 0..900_i64,
        start in 1..100_i32,
        kind in 0..3_usize,
        pod_start_ms in 0..60_000_i64,
    ) {
        let metric = [external("AverageValue"), external("Value"), pods_metric()][kind].clone();
        let spec = spec(&json!({"metrics": [metric]}));
        let workload = Workload { replicas: start, pod_start_ms, ..Workload::default() };
        let timeline = run(&spec, &[load(Model::Fixed, vec![Some(value); 80])], grid(80), &workload).unwrap();
        let summary = Summary::of(&spec, &timeline);
        prop_assert_eq!(summary.flaps, 0);
        prop_assert!(summary.ups == 0 || summary.downs == 0, "{:?}", timeline.changes);
        // 20 min: the window of a decrease is 5, and pods are ready after 1. Thousandths are rounded, so that it may decrease by one too
        // few: of 64 replicas with 30 to 4, each of which has 0.469 by then, and to 3 after another window.
        let last = timeline.changes.last().map_or(0, |change| change.at_ms - grid(80).start_ms);
        prop_assert!(last < 12 * 60_000, "{:?}", timeline.changes);
        // As many as needed, unless fewer differ by less than the tolerance.
        let needed = i32::try_from((value + 9) / 10).unwrap().clamp(1, 100);
        let settled = timeline.syncs.last().unwrap().replicas;
        let (low, high) = (f64::from(needed) / 1.1 - 1.0, f64::from(needed) / 0.9 + 1.0);
        prop_assert!((low..=high).contains(&f64::from(settled)), "{needed} {settled}");
    }
}
