//! The pods of a simulated workload. The newest ones go first, as with a `ReplicaSet`.

use super::Workload;
use crate::core::autoscaler::{Pod, Readiness, ReadyCondition};

/// How long the pods of the start have been ready: longer than any period of the controller.
const OLD_MS: i64 = 24 * 3600 * 1000;

/// The pods of a simulated workload, the oldest first.
#[derive(Debug)]
pub(super) struct Pods {
    all: Vec<Pod>,
    /// How many of them are ready: the first ones.
    ready: usize,
    start_ms: i64,
    template: Pod,
    pub(super) usage_window_ms: i64,
}

impl Pods {
    pub(super) fn new(workload: &Workload, now_ms: i64) -> Self {
        let mut pods = Self {
            all: Vec::new(),
            ready: 0,
            start_ms: workload.pod_start_ms,
            template: workload.pod.clone(),
            usage_window_ms: workload.usage_window_ms,
        };
        pods.scale(workload.replicas, now_ms - OLD_MS - workload.pod_start_ms);
        pods.settle(now_ms - OLD_MS);
        pods
    }

    pub(super) fn all(&self) -> &[Pod] {
        &self.all
    }

    pub(super) fn ready(&self) -> &[Pod] {
        self.all.get(..self.ready).unwrap_or_default()
    }

    pub(super) fn replicas(&self) -> i32 {
        i32::try_from(self.all.len()).unwrap_or(i32::MAX)
    }

    /// Creates or deletes pods.
    pub(super) fn scale(&mut self, replicas: i32, now_ms: i64) {
        let wanted = usize::try_from(replicas).unwrap_or(0);
        self.all.truncate(wanted);
        self.ready = self.ready.min(wanted);
        for ordinal in self.all.len()..wanted {
            self.all.push(Pod {
                name: format!("pod-{ordinal}"),
                phase: "Pending".to_owned(),
                started_ms: Some(now_ms),
                ready: Some(ReadyCondition { status: Readiness::Unready, since_ms: now_ms }),
                ..self.template.clone()
            });
        }
    }

    /// Makes those ready that have had the time to start.
    pub(super) fn settle(&mut self, now_ms: i64) {
        for pod in self.all.get_mut(self.ready..).unwrap_or_default() {
            let since_ms = pod.started_ms.unwrap_or(now_ms).saturating_add(self.start_ms);
            if since_ms > now_ms {
                break;
            }
            "Running".clone_into(&mut pod.phase);
            pod.ready = Some(ReadyCondition { status: Readiness::Ready, since_ms });
            self.ready += 1;
        }
    }
}
