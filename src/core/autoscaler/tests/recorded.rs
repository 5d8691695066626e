//! Situations whose outcome is recorded from the controller of Kubernetes 1.36. Times in `tests/vectors/autoscaler.json` are in
//! seconds, and 0 is half a second before the decision. What is usual is left out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

const NOW_MS: i64 = 1_800_000_000_500;

/// When something was, in milliseconds since the epoch.
fn ms(second: i64) -> i64 {
    NOW_MS - 500 + second * 1000
}

#[derive(Deserialize)]
struct Recorded {
    spec: Value,
    #[serde(default, rename = "scaledToZero")]
    is_scaled_to_zero: bool,
    scale: (i32, i32),
    pods: Vec<RecordedPod>,
    readings: Vec<Value>,
    #[serde(default)]
    recommendations: Vec<(i64, i32)>,
    #[serde(default)]
    changes: Vec<(i64, i32)>,
    want: Wanted,
}

/// As many pods that are the same in everything but their name.
#[derive(Deserialize)]
#[serde(default)]
struct RecordedPod {
    n: usize,
    phase: String,
    deleted: bool,
    /// Not started if positive.
    started: i64,
    ready: String,
    since: i64,
    requests: BTreeMap<String, Value>,
    own: Value,
    overhead: Value,
}

impl Default for RecordedPod {
    fn default() -> Self {
        Self {
            n: 1,
            phase: "Running".to_owned(),
            deleted: false,
            started: -3600,
            ready: "True".to_owned(),
            since: -3590,
            requests: BTreeMap::new(),
            own: Value::Null,
            overhead: Value::Null,
        }
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct Wanted {
    desired: i32,
    #[serde(default = "metrics")]
    basis: String,
    limit: Option<String>,
    recommended: Option<i32>,
    /// The leading metric, the first one if left out; nothing where the controller's message fits several.
    #[serde(default = "first")]
    metric: Option<usize>,
    #[serde(default)]
    proposals: Vec<Option<WantedProposal>>,
}

/// Replicas, the value or the average, and percent. There is no average where the controller divides by zero pods.
#[derive(Debug, Deserialize, PartialEq)]
struct WantedProposal(i32, Option<i64>, #[serde(default)] Option<i32>);

#[expect(clippy::unnecessary_wraps, reason = "serde wants the type of the field")]
fn first() -> Option<usize> {
    Some(0)
}

fn metrics() -> String {
    "metrics".to_owned()
}

impl RecordedPod {
    fn read(&self, name: &str) -> Pod {
        let time = |second: i64| Timestamp::from_millisecond(ms(second)).unwrap().to_string();
        let mut conditions = vec![json!({"type": "PodScheduled", "status": "True"})];
        if self.ready != "none" {
            let since = time(self.since);
            conditions
                .push(json!({"type": "Ready", "status": self.ready, "lastTransitionTime": since}));
        }
        let mut pod = json!({
            "metadata": {"name": name},
            "spec": {"containers": [], "initContainers": []},
            "status": {"phase": self.phase, "conditions": conditions},
        });
        if self.deleted {
            pod["metadata"]["deletionTimestamp"] = time(-1).into();
        }
        if self.started <= 0 {
            pod["status"]["startTime"] = time(self.started).into();
        }
        for (name, requests) in &self.requests {
            let mut container = json!({"name": name, "resources": {"requests": requests}});
            let list = match name.as_str() {
                "init" => "initContainers",
                "sidecar" => {
                    container["restartPolicy"] = "Always".into();
                    "initContainers"
                }
                _ => "containers",
            };
            pod["spec"][list].as_array_mut().unwrap().push(container);
        }
        if !self.own.is_null() {
            pod["spec"]["resources"] = json!({"requests": self.own});
        }
        if !self.overhead.is_null() {
            pod["spec"]["overhead"] = self.overhead.clone();
        }
        Pod::read(&serde_json::from_value(pod).unwrap())
    }
}

/// A number is an object's value, numbers are those of an external metric, and `{"pods": …}` are those of pods by their index, each
/// with its second and window in seconds where these matter.
fn reading(written: &Value) -> Result<Reading, String> {
    let number = |value: &Value| value.as_i64().unwrap();
    if let Some(pods) = written.get("pods") {
        let sample = |(index, sample): (usize, &Value)| {
            let (value, at, window) = match sample {
                Value::Null => return None,
                Value::Array(sample) => {
                    (number(&sample[0]), number(&sample[1]), number(&sample[2]))
                }
                value => (number(value), -15, 30),
            };
            let sample = PodSample { milli: value, at_ms: ms(at), window_ms: window * 1000 };
            Some((format!("p{index}"), sample))
        };
        let samples = pods.as_array().unwrap().iter().enumerate();
        return Ok(Reading::Pods(samples.filter_map(sample).collect()));
    }
    match written {
        Value::Null => Err("unreadable".to_owned()),
        Value::Array(values) => {
            Ok(Reading::Value(values.iter().map(number).fold(0, i64::saturating_add)))
        }
        value => Ok(Reading::Value(number(value))),
    }
}

fn decided(recorded: &Recorded) -> Decision {
    let spec = spec(&recorded.spec);
    let shapes = recorded.pods.iter().flat_map(|pod| std::iter::repeat_n(pod, pod.n)).enumerate();
    let pods: Vec<_> = shapes.map(|(index, pod)| pod.read(&format!("p{index}"))).collect();
    let readings: Vec<_> = recorded.readings.iter().map(reading).collect();
    let at = |(second, number): &(i64, i32)| (ms(*second), *number);
    let mut history = History {
        recommendations: recorded.recommendations.iter().map(at).collect(),
        changes: recorded.changes.iter().map(at).collect(),
    };
    let (spec_replicas, status_replicas) = recorded.scale;
    spec.decide(
        &mut history,
        Situation {
            now_ms: NOW_MS,
            scale: Scale { spec: spec_replicas, status: status_replicas },
            pods: &pods,
            readings: &readings,
            is_scaled_to_zero: recorded.is_scaled_to_zero,
        },
    )
}

/// The decision in the words of the record, without what that leaves out.
fn in_its_words(decision: Decision, want: &Wanted) -> Wanted {
    let (basis, recommended, metric) = match decision.basis {
        Basis::Metrics { recommended, metric } => ("metrics", Some(recommended), Some(metric)),
        Basis::OutOfBounds => ("bounds", None, None),
        Basis::Disabled => ("disabled", None, None),
        Basis::Unreadable => ("unreadable", None, None),
    };
    let words = |(index, proposal): (usize, Result<Proposal, String>)| {
        let Proposal { replicas, current, .. } = proposal.ok()?;
        let (value, percent) = match current {
            Current::Value(value) | Current::Average(value) => (value, None),
            Current::Utilization { percent, average } => (average, Some(percent)),
        };
        let WantedProposal(_, recorded, _) = want.proposals.get(index)?.as_ref()?;
        Some(WantedProposal(replicas, recorded.and(Some(value)), percent))
    };
    Wanted {
        desired: decision.desired,
        basis: basis.to_owned(),
        limit: decision.limit.map(|limit| limit.code().to_owned()),
        recommended,
        metric: want.metric.and(metric.or(Some(0))),
        proposals: decision.proposals.into_iter().enumerate().map(words).collect(),
    }
}

#[test]
fn decisions_are_those_of_the_controller() {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../../../../tests/vectors/autoscaler.json")).unwrap();
    assert!(all.len() > 1_000);
    let mut different = Vec::new();
    for text in &all {
        let recorded: Recorded = serde_json::from_value(text.clone()).unwrap();
        let decision = in_its_words(decided(&recorded), &recorded.want);
        if decision != recorded.want {
            different
                .push(format!("{text}\n  decided {decision:?}\n  not     {:?}", recorded.want));
        }
    }
    let shown = different.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(different.is_empty(), "{} of {} differ:\n{shown}", different.len(), all.len());
}
