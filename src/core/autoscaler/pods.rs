//! The pods of the workload, grouped by whether their values count.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1, apimachinery::pkg::api::resource::Quantity};

use crate::core::quantity::parse_milli_rounded_up;

/// The default of `--horizontal-pod-autoscaler-cpu-initialization-period`: during this time after its start, CPU usage of a pod counts
/// only if the pod was ready for a whole window.
const CPU_INITIALIZATION_MS: i64 = 5 * 60 * 1000;

/// The default of `--horizontal-pod-autoscaler-initial-readiness-delay`: an unready pod whose condition has not changed since then was
/// never ready.
const INITIAL_READINESS_MS: i64 = 30 * 1000;

/// The part of a pod that the algorithm uses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `status.phase`.
    pub phase: String,
    /// Whether it is being deleted.
    pub is_deleted: bool,
    /// `status.startTime` in milliseconds since the epoch.
    pub started_ms: Option<i64>,
    /// Its condition `Ready`.
    pub ready: Option<ReadyCondition>,
    /// Pod-level requests with the pod's overhead, in thousandths by resource. Empty if only containers have requests.
    pub requests: BTreeMap<String, i64>,
    /// Requests in thousandths by container and resource, including restartable init containers.
    pub containers: BTreeMap<String, BTreeMap<String, i64>>,
}

/// The condition `Ready` of a pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadyCondition {
    /// Whether the pod is ready.
    pub status: Readiness,
    /// Its last transition, in milliseconds since the epoch.
    pub since_ms: i64,
}

/// The status of the condition `Ready`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// `True`.
    Ready,
    /// `False`.
    Unready,
    /// `Unknown`: the node does not report.
    Unknown,
}

/// The value of a metric for one pod.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PodSample {
    /// In thousandths.
    pub milli: i64,
    /// When it was measured, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The window that it covers, in milliseconds.
    pub window_ms: i64,
}

/// Pods grouped by whether their values count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Groups {
    /// The number of pods whose values count.
    pub ready: usize,
    /// Pending pods, and pods whose CPU usage does not count yet. They count as idle if the others are above the target.
    pub unready: Vec<String>,
    /// Pods without a value. The assumption about them makes a change smaller.
    pub missing: Vec<String>,
    /// Failed and deleted pods.
    pub ignored: Vec<String>,
}

impl Groups {
    /// Groups pods by their samples. `is_cpu`: the samples are CPU usage.
    pub(super) fn of(
        pods: &[Pod],
        samples: &BTreeMap<String, PodSample>,
        is_cpu: bool,
        now_ms: i64,
    ) -> Self {
        let mut groups = Self::default();
        for pod in pods {
            let name = pod.name.clone();
            if pod.is_deleted || pod.phase == "Failed" {
                groups.ignored.push(name);
            } else if pod.phase == "Pending" {
                groups.unready.push(name);
            } else if let Some(sample) = samples.get(&pod.name) {
                if is_cpu && pod.has_doubtful_cpu(*sample, now_ms) {
                    groups.unready.push(name);
                } else {
                    groups.ready += 1;
                }
            } else {
                groups.missing.push(name);
            }
        }
        groups
    }
}

impl Pod {
    /// Converts a pod of the API.
    pub fn read(pod: &v1::Pod) -> Self {
        let status = pod.status.as_ref();
        let ready = status.and_then(|status| {
            let mut conditions = status.conditions.iter().flatten();
            conditions.find(|condition| condition.type_ == "Ready")
        });
        let spec = pod.spec.as_ref();
        let restarts =
            |container: &&v1::Container| container.restart_policy.as_deref() == Some("Always");
        let containers = spec.into_iter().flat_map(|spec| {
            let init = spec.init_containers.iter().flatten().filter(restarts);
            spec.containers.iter().chain(init)
        });
        let of_container = |container: &v1::Container| {
            let requests = container.resources.as_ref().and_then(|it| it.requests.as_ref());
            (container.name.clone(), quantities(requests))
        };
        // The API server has added the containers' requests for resources without a pod-level request.
        let own = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        let mut requests = quantities(own);
        if !requests.is_empty() {
            let overhead = quantities(spec.and_then(|spec| spec.overhead.as_ref()));
            for (resource, more) in overhead {
                *requests.entry(resource).or_default() += more;
            }
        }
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase: status.and_then(|status| status.phase.clone()).unwrap_or_default(),
            is_deleted: pod.metadata.deletion_timestamp.is_some(),
            started_ms: status
                .and_then(|status| status.start_time.as_ref())
                .map(|at| at.0.as_millisecond()),
            ready: ready.map(|condition| ReadyCondition {
                status: match condition.status.as_str() {
                    "True" => Readiness::Ready,
                    "False" => Readiness::Unready,
                    _ => Readiness::Unknown,
                },
                since_ms: condition
                    .last_transition_time
                    .as_ref()
                    .map_or(0, |at| at.0.as_millisecond()),
            }),
            requests,
            containers: containers.map(of_container).collect(),
        }
    }

    /// Whether it is running and ready.
    pub fn is_ready(&self) -> bool {
        self.phase == "Running" && self.ready.is_some_and(|ready| ready.status == Readiness::Ready)
    }

    /// Whether a utilization of the pod, or of one of its containers, is relative to something.
    pub fn has_request(&self, resource: &str, container: Option<&str>) -> bool {
        self.request(resource, container).is_ok_and(|request| request > 0)
    }

    fn has_doubtful_cpu(&self, sample: PodSample, now_ms: i64) -> bool {
        let (Some(ready), Some(started)) = (self.ready, self.started_ms) else { return true };
        let is_unready = ready.status == Readiness::Unready;
        if started.saturating_add(CPU_INITIALIZATION_MS) > now_ms {
            is_unready || sample.at_ms < ready.since_ms.saturating_add(sample.window_ms)
        } else {
            is_unready && started.saturating_add(INITIAL_READINESS_MS) > ready.since_ms
        }
    }

    /// The request of the pod or of one of its containers, in thousandths. Fails if a request is missing: a utilization is
    /// relative to it.
    pub fn request(&self, resource: &str, container: Option<&str>) -> Result<i64, String> {
        let name = &self.name;
        let of_container = |container: &str, requests: &BTreeMap<String, i64>| {
            requests.get(resource).copied().ok_or_else(|| {
                format!("missing request for {resource} in container {container} of pod {name}")
            })
        };
        if let Some(container) = container {
            let requests = self.containers.get(container);
            let requests =
                requests.ok_or_else(|| format!("container {container} not found in pod {name}"))?;
            of_container(container, requests)
        } else if self.requests.is_empty() {
            self.containers
                .iter()
                .map(|(container, requests)| of_container(container, requests))
                .sum()
        } else {
            let own = self.requests.get(resource).copied();
            own.ok_or_else(|| format!("missing request for {resource} of pod {name}"))
        }
    }
}

fn quantities(written: Option<&BTreeMap<String, Quantity>>) -> BTreeMap<String, i64> {
    let written = written.into_iter().flatten();
    let milli = |(name, quantity): (&String, &Quantity)| {
        Some((name.clone(), parse_milli_rounded_up(&quantity.0)?))
    };
    written.filter_map(milli).collect()
}
