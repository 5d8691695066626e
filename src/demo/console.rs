//! What the demo prints, as text. Nothing is written from here.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::autoscaler::{Decision, Reason};
use super::workload::{NAMESPACE, PERIOD, Workload};
use crate::core::shell::quote;

/// How to reach loadline's API.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `https://127.0.0.1:…`, without a slash at the end.
    pub url: String,
    /// A kubeconfig for it.
    pub kubeconfig: PathBuf,
}

/// The path of a workload's metric, all pods at once.
pub fn metric_path(workload: Workload) -> String {
    let metric = workload.metric();
    format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{NAMESPACE}/pods/*/{metric}")
}

/// What is running, how to ask it, and the table's head.
pub fn header(
    connection: &Connection,
    store_url: &str,
    interval: Duration,
    scale_down_window: i32,
) -> String {
    let lines = [
        "loadline demo: a synthetic cloud IDE, scaled by what loadline answers".to_owned(),
        String::new(),
        format!("  workloads   {}", about(Workload::LspServer)),
        format!("              {}", about(Workload::AiInference)),
        format!(
            "              their load swings once in {PERIOD} s; everything here is synthetic except the programs"
        ),
        format!(
            "  store       {store_url}  (in memory, with the part of PromQL that the demo needs)"
        ),
        format!("  loadline    {}  (custom.metrics.k8s.io)", connection.url),
        format!(
            "  autoscaler  every {}: desired = ceil(pods x value / target), 10 % tolerance,",
            duration(interval)
        ),
        format!(
            "              scaling down after {scale_down_window} s, where Kubernetes' default is 300 s"
        ),
        String::new(),
        "Ask it yourself, in another terminal, while this runs:".to_owned(),
        String::new(),
        format!("  {}", curl(connection, Workload::LspServer)),
        String::new(),
        format!("  {}", kubectl(connection, Workload::AiInference)),
        String::new(),
        row(["time", "workload", "metric", "value", "target", "pods", "desired", ""]),
        String::new(),
    ];
    lines.join("\n")
}

fn about(workload: Workload) -> String {
    let (min, max) = workload.limits();
    let target = match workload {
        Workload::LspServer => "50 requests per second and pod",
        Workload::AiInference => "0.7 of a pod's memory limit in use",
    };
    let name = workload.name();
    format!("{name:<12}  {min} to {max:<2} pods, target {target}")
}

/// A `curl` command that reads the workload's metric. It does not verify the certificate, which is made at every start.
pub fn curl(connection: &Connection, workload: Workload) -> String {
    let url = format!("{}{}", connection.url, metric_path(workload));
    format!("curl -sk {}", quote(&url))
}

/// A `kubectl` command that reads the workload's metric.
pub fn kubectl(connection: &Connection, workload: Workload) -> String {
    let (kubeconfig, path) = (connection.kubeconfig.to_string_lossy(), metric_path(workload));
    format!("kubectl --kubeconfig={} get --raw {}", quote(&kubeconfig), quote(&path))
}

/// One reading of one workload: a line of the table.
pub fn line(
    age: Duration,
    workload: Workload,
    current: u32,
    outcome: &Result<Decision, String>,
) -> String {
    let time = format!("{} s", age.as_secs());
    let target = number(workload, workload.target_milli());
    let (value, desired, why) = match outcome {
        Ok(decision) => {
            (number(workload, decision.value_milli), decision.desired, why(decision.reason))
        }
        Err(error) => ("-".to_owned(), current, format!("held: {error}")),
    };
    let mut line = row([
        &time,
        workload.name(),
        workload.metric(),
        &value,
        &target,
        &current.to_string(),
        &desired.to_string(),
        &why,
    ]);
    line.push('\n');
    line
}

fn why(reason: Reason) -> String {
    match reason {
        Reason::WithinTolerance => "within tolerance".to_owned(),
        Reason::RoundsUp => "rounds up to the same".to_owned(),
        Reason::ScaleUp => "scale up".to_owned(),
        Reason::ScaleDown => "scale down".to_owned(),
        Reason::Stabilizing { recommended } => format!("stabilizing, {recommended} would do"),
        Reason::LimitedToMin(min) => format!("limited to min {min}"),
        Reason::LimitedToMax(max) => format!("limited to max {max}"),
        Reason::PodsMissing(missing) => format!("held: {missing} without a value yet"),
    }
}

fn row([time, workload, metric, value, target, pods, desired, why]: [&str; 8]) -> String {
    let row = format!(
        "{time:>6}  {workload:<12}  {metric:<31}  {value:>7}  {target:>7}  {pods:>4}  {desired:>7}  {why}"
    );
    row.trim_end().to_owned()
}

/// Thousandths as a decimal number, with as many decimals as are significant beside the workload's target.
fn number(workload: Workload, milli: i64) -> String {
    if workload.target_milli() < 10_000 {
        return format!("{}.{:03}", milli / 1_000, milli % 1_000);
    }
    let tenths = (milli + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn duration(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// What happened to one workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadSummary {
    /// Which.
    pub workload: Workload,
    /// Readings that gave a value.
    pub answered: u32,
    /// Readings that did not.
    pub failed: u32,
    /// The lowest and the highest average, in thousandths.
    pub values_milli: Option<(i64, i64)>,
    /// The fewest and the most replicas.
    pub replicas: Option<(u32, u32)>,
    /// How often pods were added.
    pub ups: u32,
    /// How often pods were taken away.
    pub downs: u32,
}

impl WorkloadSummary {
    /// Nothing has happened yet.
    pub fn new(workload: Workload) -> Self {
        Self {
            workload,
            answered: 0,
            failed: 0,
            values_milli: None,
            replicas: None,
            ups: 0,
            downs: 0,
        }
    }

    /// Takes in one reading.
    pub fn note(&mut self, current: u32, outcome: &Result<Decision, String>) {
        let Ok(Decision { value_milli, desired, .. }) = *outcome else {
            self.failed += 1;
            return;
        };
        self.answered += 1;
        let (low, high) = self.values_milli.unwrap_or((value_milli, value_milli));
        self.values_milli = Some((low.min(value_milli), high.max(value_milli)));
        let (fewest, most) = self.replicas.unwrap_or((current, current));
        self.replicas = Some((fewest.min(desired), most.max(desired)));
        self.ups += u32::from(desired > current);
        self.downs += u32::from(desired < current);
    }
}

/// The last words.
pub fn summary(age: Duration, workloads: &[WorkloadSummary]) -> String {
    let mut text = format!("\n{} s of cloud IDE:\n", age.as_secs());
    for summary in workloads {
        let WorkloadSummary { workload, answered, failed, values_milli, replicas, ups, downs } =
            summary;
        let (low, high) = values_milli.unwrap_or_default();
        let (fewest, most) = replicas.unwrap_or_default();
        // Writing to a `String` does not fail.
        _ = writeln!(
            text,
            "  {:<12}  {answered} readings, {failed} failed; value {} to {}, target {}; \
             {fewest} to {most} pods, scaled up {ups} and down {downs} times",
            workload.name(),
            number(*workload, low),
            number(*workload, high),
            number(*workload, workload.target_milli()),
        );
    }
    text
}

#[cfg(test)]
mod tests;
