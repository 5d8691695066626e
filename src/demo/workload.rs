//! A synthetic cloud IDE as a function of time.
//!
//! Two workloads share the namespace [`NAMESPACE`]. `lsp-server` answers the editors' language requests, `ai-inference`
//! keeps the models and the sessions' contexts in memory. The load of both swings once in [`PERIOD`] seconds and is
//! spread over the pods that exist, so that scaling changes what one pod carries:
//!
//! ```text
//! requests per second, all LSP servers     350 - 258 cos(2π t / 60)    92 … 608
//! memory of the sessions, in pods' limits  1.7 - 1.35 cos(2π t / 60)   0.35 … 3.05
//! ```
//!
//! Before t = 0 both stand at their lowest. An inference pod also holds its model, 0.25 of its limit, and never gets past
//! 0.97 of it: what does not fit waits. Pods of one workload are not equally busy; they differ by up to 6 %.
//!
//! There is no clock in here: the caller says what time it is, in seconds since the start.

use std::f64::consts::TAU;

/// The namespace that everything lives in.
pub const NAMESPACE: &str = "cloud-ide";

/// Seconds from one lowest load to the next.
pub const PERIOD: f64 = 60.0;

const LSP_MEAN: f64 = 350.0;
const LSP_SWING: f64 = 258.0;
const SESSIONS_MEAN: f64 = 1.7;
const SESSIONS_SWING: f64 = 1.35;
const MODEL: f64 = 0.25;
const MEMORY_CEILING: f64 = 0.97;
const MEMORY_LIMIT: f64 = 24.0 * 1024.0 * 1024.0 * 1024.0;
const PROXY_MEMORY: f64 = 48.0 * 1024.0 * 1024.0;
const PROXY_LIMIT: f64 = 128.0 * 1024.0 * 1024.0;

/// The language requests by method, and each one's share of all.
const METHODS: [(&str, f64); 4] = [
    ("textDocument/completion", 0.40),
    ("textDocument/hover", 0.30),
    ("textDocument/diagnostic", 0.20),
    ("textDocument/definition", 0.10),
];

/// How busy a pod is beside its siblings, repeating over the ordinals.
const WEIGHTS: [f64; 5] = [1.0, 1.03, 0.97, 1.01, 0.99];

/// Requests per second that all LSP servers get together at `at`.
pub fn lsp_load(at: f64) -> f64 {
    LSP_MEAN - LSP_SWING * (TAU * at.max(0.0) / PERIOD).cos()
}

/// How many requests all LSP servers got from the start to `at`: the integral of [`lsp_load`].
fn lsp_requests(at: f64) -> f64 {
    if at < 0.0 {
        return (LSP_MEAN - LSP_SWING) * at;
    }
    LSP_MEAN * at - LSP_SWING * PERIOD / TAU * (TAU * at / PERIOD).sin()
}

/// Memory that all inference sessions need at `at`, as a multiple of one pod's limit.
pub fn session_memory(at: f64) -> f64 {
    SESSIONS_MEAN - SESSIONS_SWING * (TAU * at.max(0.0) / PERIOD).cos()
}

/// One of the two workloads, with the settings of its autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Language servers, scaled on requests per second.
    LspServer,
    /// Inference servers, scaled on memory in use over memory limit.
    AiInference,
}

impl Workload {
    /// Both, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::LspServer, Self::AiInference];

    /// The name, also the beginning of its pods' names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LspServer => "lsp-server",
            Self::AiInference => "ai-inference",
        }
    }

    /// The Pods metric that it is scaled on.
    pub const fn metric(self) -> &'static str {
        match self {
            Self::LspServer => "lsp_requests_per_second",
            Self::AiInference => "ai_inference_memory_utilization",
        }
    }

    /// The wanted average per pod, in thousandths.
    pub const fn target_milli(self) -> i64 {
        match self {
            Self::LspServer => 50_000,
            Self::AiInference => 700,
        }
    }

    /// The fewest and the most replicas.
    pub const fn limits(self) -> (u32, u32) {
        match self {
            Self::LspServer => (2, 10),
            Self::AiInference => (1, 6),
        }
    }
}

/// A sample as a scrape sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: &'static str,
    /// The labels without `__name__`, sorted by name.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// The cloud IDE: how many pods there are, and what the LSP servers have counted.
#[derive(Debug, Clone)]
pub struct CloudIde {
    /// Requests that each LSP pod had answered at `counted_at`.
    lsp_pods: Vec<f64>,
    counted_at: f64,
    inference_pods: u32,
}

impl CloudIde {
    /// Both workloads at their fewest replicas, counting since `at` (which may lie before the start).
    pub fn new(at: f64) -> Self {
        let (lsp, _) = Workload::LspServer.limits();
        let (inference_pods, _) = Workload::AiInference.limits();
        Self { lsp_pods: (0..lsp).map(|_| 0.0).collect(), counted_at: at, inference_pods }
    }

    /// The pods of a workload, in the order of their ordinals.
    pub fn pods(&self, workload: Workload) -> Vec<String> {
        let name = workload.name();
        (0..self.replicas(workload)).map(|ordinal| format!("{name}-{ordinal}")).collect()
    }

    /// How many pods a workload has.
    pub fn replicas(&self, workload: Workload) -> u32 {
        match workload {
            Workload::LspServer => u32::try_from(self.lsp_pods.len()).unwrap_or(u32::MAX),
            Workload::AiInference => self.inference_pods,
        }
    }

    /// Sets the number of pods of a workload from `at` on; at least one. The newest pods go first, and a pod that comes
    /// back counts from zero.
    pub fn scale(&mut self, workload: Workload, at: f64, replicas: u32) {
        let replicas = replicas.max(1);
        match workload {
            Workload::LspServer => {
                self.lsp_pods = self.lsp_counts(at);
                self.counted_at = self.counted_at.max(at);
                self.lsp_pods.resize(usize::try_from(replicas).unwrap_or(usize::MAX), 0.0);
            }
            Workload::AiInference => self.inference_pods = replicas,
        }
    }

    /// What a scrape of all pods sees at `at`.
    pub fn samples(&self, at: f64) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (pod, count) in self.pods(Workload::LspServer).iter().zip(self.lsp_counts(at)) {
            samples.extend(METHODS.iter().map(|(method, share)| Sample {
                name: "lsp_requests_total",
                labels: vec![
                    ("method", (*method).to_owned()),
                    ("namespace", NAMESPACE.to_owned()),
                    ("pod", pod.clone()),
                ],
                value: (count * share).floor(),
            }));
        }
        let pods = self.pods(Workload::AiInference);
        for (pod, share) in pods.iter().zip(shares(pods.len())) {
            let in_use = (MODEL + share * session_memory(at)).min(MEMORY_CEILING);
            samples.extend([
                working_set(pod, "inference", (in_use * MEMORY_LIMIT).floor()),
                working_set(pod, "proxy", PROXY_MEMORY),
                limit(pod, "inference", "cpu", 8.0),
                limit(pod, "inference", "memory", MEMORY_LIMIT),
                limit(pod, "proxy", "memory", PROXY_LIMIT),
            ]);
        }
        samples
    }

    /// The LSP pods' request counts at `at`, or at the last scaling when that was later: counters do not run backwards.
    fn lsp_counts(&self, at: f64) -> Vec<f64> {
        let at = at.max(self.counted_at);
        let requests = lsp_requests(at) - lsp_requests(self.counted_at);
        self.lsp_pods
            .iter()
            .zip(shares(self.lsp_pods.len()))
            .map(|(count, share)| count + share * requests)
            .collect()
    }
}

/// Each pod's part of the load; they add up to one.
fn shares(pods: usize) -> impl Iterator<Item = f64> {
    let weights = || WEIGHTS.iter().cycle().take(pods);
    let total: f64 = weights().sum();
    weights().map(move |weight| weight / total)
}

fn working_set(pod: &str, container: &str, value: f64) -> Sample {
    Sample {
        name: "container_memory_working_set_bytes",
        labels: vec![
            ("container", container.to_owned()),
            ("namespace", NAMESPACE.to_owned()),
            ("pod", pod.to_owned()),
        ],
        value,
    }
}

fn limit(pod: &str, container: &str, resource: &str, value: f64) -> Sample {
    Sample {
        name: "kube_pod_container_resource_limits",
        labels: vec![
            ("container", container.to_owned()),
            ("namespace", NAMESPACE.to_owned()),
            ("pod", pod.to_owned()),
            ("resource", resource.to_owned()),
        ],
        value,
    }
}

#[cfg(test)]
mod tests;
