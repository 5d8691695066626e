//! The whole loop with no clock and no network: workload, store, rules' queries, autoscaler.

use std::collections::BTreeMap;

use super::autoscaler::{Autoscaler, Reason};
use super::store::{Answer, Store};
use super::workload::{CloudIde, Workload};
use crate::core::quantity::milli;

const EPOCH: i64 = 1_800_000_000_000;
const MATCHERS: &str = r#"namespace="cloud-ide",pod!="""#;

/// The query of the workload's rule, rendered for all pods of the namespace.
fn query(workload: Workload) -> String {
    let series = match workload {
        Workload::LspServer => "lsp_requests_total",
        Workload::AiInference => "container_memory_working_set_bytes",
    };
    let rules: serde_json::Value = serde_saphyr::from_str(super::RULES).unwrap();
    let rule = rules["rules"]
        .as_array()
        .unwrap()
        .iter()
        .find(|rule| rule["seriesQuery"].as_str().unwrap().starts_with(series))
        .unwrap();
    rule["metricsQuery"]
        .as_str()
        .unwrap()
        .replace("<<.Series>>", series)
        .replace("<<.LabelMatchers>>", MATCHERS)
        .replace("<<.GroupBy>>", "pod")
}

/// What the autoscalers saw in the first three minutes: per workload, (second, value in thousandths, replicas, reason).
fn three_minutes() -> BTreeMap<&'static str, Vec<(i32, i64, u32, Reason)>> {
    let store = Store::default();
    let mut ide = CloudIde::new(-120.0);
    let mut autoscalers =
        Workload::ALL.map(|workload| (workload, query(workload), Autoscaler::new(workload)));
    let mut seen = BTreeMap::<_, Vec<_>>::new();
    for second in -120..=180_i32 {
        let at = f64::from(second);
        let milliseconds = EPOCH + i64::from(second) * 1_000;
        store.ingest(milliseconds, &ide.samples(at));
        if second < 0 || second % 3 != 0 {
            continue;
        }
        for (workload, query, autoscaler) in &mut autoscalers {
            let Answer::Vector(samples) = store.query(query, milliseconds + 300).unwrap() else {
                panic!("{query}")
            };
            let pods = ide.pods(*workload);
            let values = samples
                .iter()
                .filter(|(labels, _)| pods.contains(&labels["pod"]))
                .map(|(labels, value)| (labels["pod"].clone(), milli(*value).unwrap()))
                .collect();
            let decision = autoscaler.decide(milliseconds, &pods, values).unwrap();
            ide.scale(*workload, at + 0.3, decision.desired);
            seen.entry(workload.name()).or_default().push((
                second,
                decision.value_milli,
                decision.desired,
                decision.reason,
            ));
        }
    }
    seen
}

#[test]
fn the_demo_shows_what_an_autoscaler_does() {
    let seen = three_minutes();
    for (workload, values, replicas) in
        [("lsp-server", 10_000..=80_000, (2, 10)), ("ai-inference", 300..=970, (1, 6))]
    {
        let readings = &seen[workload];
        assert_eq!(readings.len(), 61, "{workload}");
        for (second, value, _, _) in readings {
            assert!(values.contains(value), "{workload} at {second}: {value}");
        }
        let minute = readings.iter().filter(|(second, ..)| *second < 60);
        let counts: Vec<u32> = minute.map(|(_, _, desired, _)| *desired).collect();
        assert_eq!(counts.first(), Some(&replicas.0), "{workload}: {counts:?}");
        assert_eq!(counts.iter().max(), Some(&replicas.1), "{workload}: {counts:?}");
        assert!(counts.last() < Some(&replicas.1), "{workload}: {counts:?}");
    }
    let reasons: Vec<Reason> = seen.values().flatten().map(|(.., reason)| *reason).collect();
    assert!(reasons.contains(&Reason::WithinTolerance));
    assert!(reasons.contains(&Reason::ScaleUp));
    assert!(reasons.contains(&Reason::ScaleDown));
    assert!(reasons.contains(&Reason::LimitedToMax(10)));
    assert!(reasons.iter().any(|r| matches!(r, Reason::Stabilizing { .. })));
}

#[test]
fn the_first_reading_is_right_and_needs_no_scaling() {
    let seen = three_minutes();
    let (_, value, desired, reason) = seen["lsp-server"][0];
    assert!((45_000..=47_000).contains(&value), "{value}");
    assert_eq!((desired, reason), (2, Reason::WithinTolerance));
    let (_, value, desired, _) = seen["ai-inference"][0];
    assert!((599..=601).contains(&value), "{value}");
    assert_eq!(desired, 1);
}
