mod recorded;

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};

use super::*;

fn spec(spec: &Value) -> Spec {
    let mut hpa = json!({
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 20}
    });
    for (key, value) in spec.as_object().unwrap() {
        hpa["spec"][key] = value.clone();
    }
    Spec::read(&serde_json::from_value::<HorizontalPodAutoscaler>(hpa).unwrap()).unwrap()
}

fn pods_metric(target: &str) -> Value {
    json!([{"type": "Pods", "pods": {
        "metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": target}
    }}])
}

fn pods(count: usize) -> Vec<Pod> {
    let pod = |index: usize| Pod {
        name: format!("p{index}"),
        phase: "Running".to_owned(),
        started_ms: Some(0),
        ready: Some(ReadyCondition { status: Readiness::Ready, since_ms: 0 }),
        ..Pod::default()
    };
    (0..count).map(pod).collect()
}

fn samples(values: &[i64]) -> Reading {
    let sample = |(index, milli): (usize, &i64)| {
        (format!("p{index}"), PodSample { milli: *milli, ..PodSample::default() })
    };
    Reading::Pods(values.iter().enumerate().map(sample).collect())
}

fn decide(spec: &Spec, current: usize, reading: Reading) -> Decision {
    let replicas = i32::try_from(current).unwrap();
    spec.decide(
        &mut History::default(),
        Situation {
            now_ms: 3_600_000,
            scale: Scale { spec: replicas, status: replicas },
            pods: &pods(current),
            readings: &[Ok(reading)],
            is_scaled_to_zero: false,
        },
    )
}

/// What the only metric recommends.
#[track_caller]
fn recommended(spec: &Spec, current: usize, reading: Reading) -> i32 {
    match decide(spec, current, reading).basis {
        Basis::Metrics { recommended, .. } => recommended,
        basis => panic!("{basis:?}"),
    }
}

#[test]
fn the_documented_formula() {
    let spec = spec(&json!({"metrics": pods_metric("100m")}));
    for (current, values, wanted) in [
        // The examples of the page: twice the target doubles, half of it halves.
        (4, &[200; 4][..], 8),
        (4, &[50; 4], 2),
        (3, &[120; 3], 4),
        // Within a tenth.
        (2, &[110, 110], 2),
        (2, &[111, 111], 3),
        (5, &[90; 5], 5),
        // Off its target, but rounded up to what there is.
        (3, &[80; 3], 3),
        (2, &[20, 180], 2),
        // Pods without a value count as idle where the others ask for more, and do not turn a change round.
        (2, &[300], 3),
        (2, &[150], 2),
        // They count as on target where the others ask for less.
        (4, &[10, 10], 3),
    ] {
        assert_eq!(recommended(&spec, current, samples(values)), wanted, "{current} {values:?}");
    }
}

#[test]
fn one_value_for_all_pods() {
    let external = |target: Value| {
        spec(
            &json!({"metrics": [{"type": "External", "external": {"metric": {"name": "m"}, "target": target}}]}),
        )
    };
    let average = external(json!({"type": "AverageValue", "averageValue": "30"}));
    for (current, value, wanted) in
        [(1, 90_000, 3), (3, 90_000, 3), (3, 98_000, 3), (3, 100_000, 4)]
    {
        assert_eq!(
            recommended(&average, current, Reading::Value(value)),
            wanted,
            "{current} {value}"
        );
    }
    let whole = external(json!({"type": "Value", "value": "30"}));
    for (current, value, wanted) in [(1, 90_000, 3), (3, 90_000, 9), (3, 33_000, 3)] {
        assert_eq!(
            recommended(&whole, current, Reading::Value(value)),
            wanted,
            "{current} {value}"
        );
    }
}

#[test]
fn utilization_is_measured_against_requests() {
    let spec = spec(&json!({"metrics": [{"type": "Resource", "resource": {
        "name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}
    }}]}));
    let mut pods = pods(2);
    for pod in &mut pods {
        pod.containers =
            BTreeMap::from([("c".to_owned(), BTreeMap::from([("memory".to_owned(), 1_000)]))]);
    }
    let mut decide = |reading| {
        let situation = Situation {
            now_ms: 3_600_000,
            scale: Scale { spec: 2, status: 2 },
            pods: &pods,
            readings: &[Ok(reading)],
            is_scaled_to_zero: false,
        };
        let decision = spec.decide(&mut History::default(), situation);
        pods[1].containers.clear();
        decision
    };
    let decision = decide(samples(&[900, 700]));
    assert_eq!(decision.desired, 4);
    let current = Current::Utilization { percent: 80, average: 800 };
    assert_eq!(decision.proposals[0].as_ref().unwrap().current, current);
}

#[test]
fn several_metrics_the_largest_leads_and_one_that_fails_prevents_a_decrease() {
    let mut metrics = pods_metric("100m").as_array().unwrap().clone();
    metrics.push(json!({"type": "External", "external": {
        "metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "10"}
    }}));
    let spec = spec(&json!({"metrics": metrics}));
    let decide = |readings: [Result<Reading, String>; 2]| {
        let situation = Situation {
            now_ms: 3_600_000,
            scale: Scale { spec: 4, status: 4 },
            pods: &pods(4),
            readings: &readings,
            is_scaled_to_zero: false,
        };
        spec.decide(&mut History::default(), situation)
    };
    let failed = || Err("unreadable".to_owned());
    let both = decide([Ok(samples(&[150; 4])), Ok(Reading::Value(90_000))]);
    assert_eq!((both.desired, both.basis), (8, Basis::Metrics { recommended: 9, metric: 1 }));
    assert_eq!(both.limit, Some(Limit::ScaleUpRate));
    assert_eq!(decide([failed(), Ok(Reading::Value(60_000))]).desired, 6);
    let held = decide([failed(), Ok(Reading::Value(10_000))]);
    assert_eq!((held.desired, held.basis), (4, Basis::Unreadable));
    assert_eq!(decide([failed(), failed()]).basis, Basis::Unreadable);
}

#[test]
fn limits_rates_and_windows() {
    let metrics = pods_metric("100m");
    let plain = spec(&json!({"metrics": metrics, "minReplicas": 2, "maxReplicas": 9}));
    for (current, value, wanted, limit) in [
        (1, 500, 2, Some(Limit::MinReplicas)),
        (2, 500, 4, Some(Limit::ScaleUpRate)),
        (5, 500, 9, Some(Limit::MaxReplicas)),
        (10, 100, 9, Some(Limit::MaxReplicas)),
        (5, 10, 5, Some(Limit::Stabilization)),
        (3, 100, 3, None),
    ] {
        let decision = decide(&plain, current, samples(&vec![value; current]));
        assert_eq!((decision.desired, decision.limit), (wanted, limit), "{current} {value}");
    }
    let behavior = |down: Value| {
        spec(&json!({"metrics": metrics, "minReplicas": 2, "behavior": {"scaleDown": down}}))
    };
    let now = json!({"stabilizationWindowSeconds": 0});
    let decision = decide(&behavior(now), 10, samples(&[10; 10]));
    assert_eq!((decision.desired, decision.limit), (2, Some(Limit::MinReplicas)));
    let slow = json!({"stabilizationWindowSeconds": 0, "policies": [
        {"type": "Percent", "value": 25, "periodSeconds": 60}, {"type": "Pods", "value": 1, "periodSeconds": 60}
    ]});
    let decision = decide(&behavior(slow), 10, samples(&[10; 10]));
    assert_eq!((decision.desired, decision.limit), (7, Some(Limit::ScaleDownRate)));
    let never = json!({"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0});
    assert_eq!(decide(&behavior(never), 10, samples(&[10; 10])).desired, 10);
}

#[test]
fn a_decrease_waits_for_the_window_and_takes_its_highest() {
    let spec = spec(
        &json!({"metrics": pods_metric("50"), "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}}}),
    );
    let mut history = History::default();
    let mut decide = |at_s: i64, current: usize, value: i64| {
        let replicas = i32::try_from(current).unwrap();
        let situation = Situation {
            now_ms: 3_600_000 + at_s * 1000,
            scale: Scale { spec: replicas, status: replicas },
            pods: &pods(current),
            readings: &[Ok(samples(&vec![value * 1000; current]))],
            is_scaled_to_zero: false,
        };
        spec.decide(&mut history, situation).desired
    };
    let steps = [
        (0, 4, 100, 8),
        (3, 8, 25, 8),
        (6, 8, 37, 8),
        (12, 8, 25, 8),
        (15, 8, 25, 6),
        (18, 6, 70, 9),
    ];
    for (at, current, value, wanted) in steps {
        assert_eq!(decide(at, current, value), wanted, "at {at} s");
    }
}

#[test]
fn zero_replicas() {
    let metrics = json!([{"type": "External", "external": {
        "metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "10"}
    }}]);
    let spec = spec(&json!({"metrics": metrics, "minReplicas": 0}));
    let decide = |value: i64, is_scaled_to_zero| {
        let situation = Situation {
            now_ms: 0,
            scale: Scale { spec: 0, status: 0 },
            pods: &[],
            readings: &[Ok(Reading::Value(value))],
            is_scaled_to_zero,
        };
        spec.decide(&mut History::default(), situation)
    };
    assert_eq!(decide(0, true).desired, 0);
    assert_eq!(decide(1, true).desired, 1);
    assert_eq!(decide(35_000, true).desired, 4);
    assert_eq!(decide(35_000, false).basis, Basis::Disabled);
}

#[test]
fn a_spec_that_the_api_server_refuses_is_an_error() {
    let read = |metrics: Value| {
        let hpa = json!({"spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3, "metrics": metrics
        }});
        Spec::read(&serde_json::from_value(hpa).unwrap())
    };
    for metrics in [
        json!([{"type": "Pods"}]),
        json!([{"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}}}]),
        pods_metric("0"),
        pods_metric("many"),
    ] {
        let text = metrics.to_string();
        assert!(read(metrics).is_err(), "{text}");
    }
}
