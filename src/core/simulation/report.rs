//! The outcome of simulations of one autoscaler, as text and as JSON.

use serde_json::{Value, json};

use super::{
    Canvas, Change, Finding, Grid, Model, Summary, Timeline, Variant, plot, scale::stamp, table,
    texts::printable,
};
use crate::core::autoscaler::{Limit, Spec};

/// How many changes of replicas are written out as JSON.
const MOST_CHANGES: usize = 1_000;

/// The simulations of one autoscaler.
#[derive(Clone, Debug)]
pub struct Report {
    /// The autoscaler's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The workload, as `Kind/name`.
    pub target: String,
    /// The times.
    pub grid: Grid,
    /// The replicas at the start.
    pub replicas: i32,
    /// How long a pod takes to become ready, in milliseconds.
    pub pod_start_ms: i64,
    /// The metrics, in the order of the specs.
    pub metrics: Vec<MetricNote>,
    /// What else to know: what is not simulated, or was odd.
    pub notes: Vec<String>,
    /// The simulations.
    pub runs: Vec<Run>,
}

/// A metric that is simulated.
#[derive(Clone, Debug)]
pub struct MetricNote {
    /// Its name.
    pub name: String,
    /// The type of its source, such as `Pods`.
    pub source: &'static str,
    /// The query.
    pub query: String,
    /// How the value depends on the number of pods.
    pub model: Model,
    /// Whether that is assumed.
    pub is_assumed: bool,
    /// What it means.
    pub meaning: &'static str,
}

/// One simulation.
#[derive(Clone, Debug)]
pub struct Run {
    /// The changes of the autoscaler.
    pub variant: Variant,
    /// The spec with them.
    pub spec: Spec,
    /// What happened.
    pub timeline: Timeline,
    /// In numbers.
    pub summary: Summary,
    /// What to be warned of.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The report for people: what was assumed, plots, a table, warnings.
    pub fn text(&self, canvas: Canvas) -> String {
        let mut text = format!("{}\n{}\n", self.heading(), self.times());
        for metric in &self.metrics {
            let name = printable(&metric.name);
            let assumed = if metric.is_assumed { ", assumed" } else { "" };
            let MetricNote { source, model, meaning, .. } = metric;
            text += &format!("{source} {name}: model {model}{assumed}: {meaning}\n");
        }
        for note in &self.notes {
            text += &format!("note: {}\n", printable(note));
        }
        for run in &self.runs {
            let changes = run.variant.changes.join(", ");
            let changes = if changes.is_empty() { changes } else { format!(": {changes}") };
            let heading = format!("{}{changes}", run.variant.name);
            text += &format!("\n{}\n", printable(&heading));
            text += &plot::plots(self, run, canvas);
        }
        text += &format!("\n{}", table::text(&self.runs));
        for warning in self.warnings() {
            text += &format!("warning: {}\n", printable(&warning));
        }
        text
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        let metric = |metric: &MetricNote| {
            json!({
                "name": metric.name,
                "source": metric.source,
                "query": metric.query,
                "model": metric.model.to_string(),
                "assumed": metric.is_assumed,
            })
        };
        let change = |change: &Change| {
            json!({
                "time": stamp(change.at_ms, ISO),
                "from": change.from,
                "to": change.to,
                "limitedBy": change.limit.map(Limit::code),
            })
        };
        let finding =
            |finding: &Finding| json!({"code": finding.code(), "text": finding.to_string()});
        let run = |run: &Run| {
            let changes = &run.timeline.changes;
            json!({
                "name": run.variant.name,
                "set": run.variant.changes,
                "summary": run.summary,
                "warnings": run.findings.iter().map(finding).collect::<Vec<_>>(),
                "changes": changes.iter().take(MOST_CHANGES).map(change).collect::<Vec<_>>(),
                "moreChanges": changes.len().saturating_sub(MOST_CHANGES),
            })
        };
        json!({
            "object": format!("hpa/{}", self.name),
            "namespace": self.namespace,
            "target": self.target,
            "start": stamp(self.grid.start_ms, ISO),
            "end": stamp(self.grid.end_ms(), ISO),
            "stepSeconds": self.grid.step_ms / 1000,
            "syncSeconds": super::SYNC_MS / 1000,
            "podStartSeconds": self.pod_start_ms / 1000,
            "replicas": self.replicas,
            "metrics": self.metrics.iter().map(metric).collect::<Vec<_>>(),
            "notes": self.notes,
            "variants": self.runs.iter().map(run).collect::<Vec<_>>(),
        })
    }

    /// Which autoscaler it is.
    pub(super) fn heading(&self) -> String {
        let [name, namespace, target] =
            [&self.name, &self.namespace, &self.target].map(|text| printable(text));
        format!("hpa/{name} in {namespace}, for {target}")
    }

    /// When, and what is assumed of pods.
    pub(super) fn times(&self) -> String {
        let (start, end) = (self.grid.start_ms, self.grid.end_ms());
        format!(
            "{} to {}, values every {} s, a decision every {} s. Replicas at the start: {}. A new pod is ready after {} s",
            stamp(start, "%Y-%m-%d %H:%M"),
            stamp(end, "%Y-%m-%d %H:%M UTC"),
            self.grid.step_ms / 1000,
            super::SYNC_MS / 1000,
            self.replicas,
            self.pod_start_ms / 1000,
        )
    }

    /// All warnings, each with the variants that it is about.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<(String, Vec<&str>)> = Vec::new();
        for run in &self.runs {
            for finding in &run.findings {
                let (text, variant) = (finding.to_string(), run.variant.name.as_str());
                match warnings.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, variants)) => variants.push(variant),
                    None => warnings.push((text, vec![variant])),
                }
            }
        }
        let line =
            |(text, variants): (String, Vec<&str>)| format!("{}: {text}", variants.join(", "));
        warnings.into_iter().map(line).collect()
    }
}

const ISO: &str = "%Y-%m-%dT%H:%M:%SZ";
