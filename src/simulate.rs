//! Simulates autoscalers over the history of their metrics: reads it from the backends, and runs `core::simulation`.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};

use crate::{
    core::{
        autoscaler::{Metric, Pod, Source, Spec, Target},
        excerpt::{NAME, excerpt},
        explain::{hpa, workload::Workload as KnownWorkload},
        simulation::{
            self, Finding, Grid, Load, MOST_METRICS, MetricNote, Model, Owner, Recorded, Report,
            Run, Summary, Variant, Work, Workload,
        },
    },
    explain::{Environment as _, Past, Progress, files::Standalone, inquiry},
};

use SimulateError::{Invalid, NoHistory};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When.
    pub grid: Grid,
    /// The variants of each autoscaler.
    pub variants: Vec<Variant>,
    /// How values depend on the number of pods; nothing for what is assumed.
    pub model: Option<Model>,
    /// A query for the number of replicas that there were.
    pub recorded_replicas: Option<String>,
    /// The replicas at the start; nothing for those that are known.
    pub replicas: Option<i32>,
    /// How long a new pod takes to become ready.
    pub pod_start: Duration,
}

/// Why there is no simulation, in a sentence for the user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SimulateError {
    /// The autoscaler, or a change of it, is invalid.
    #[error("{0}")]
    Invalid(String),
    /// There is no history to simulate.
    #[error("{0}")]
    NoHistory(String),
}

/// An autoscaler that is simulated.
struct Autoscaler<'a> {
    document: &'a Value,
    hpa: HorizontalPodAutoscaler,
    spec: Spec,
    namespace: &'a str,
}

/// A metric of it with its history; its position in the spec.
struct Recording {
    at: usize,
    past: Past,
}

/// Simulates an autoscaler by its document.
pub async fn simulate(
    standalone: &Standalone,
    document: &Value,
    settings: &Settings,
    progress: Progress<'_>,
    simulated: Progress<'_>,
) -> Result<Report, SimulateError> {
    let autoscaler = Autoscaler::read(document).map_err(Invalid)?;
    let specs = settings.variants.iter().map(|variant| autoscaler.with(variant));
    let specs = specs.collect::<Result<Vec<_>, _>>().map_err(Invalid)?;
    let known = standalone.target(&autoscaler.hpa, autoscaler.namespace).await.workload;
    let mut notes = Vec::new();
    let recordings =
        autoscaler.recordings(standalone, known.as_ref(), settings, &mut notes, progress).await;
    let recordings = recordings.map_err(NoHistory)?;
    let replicas = match &settings.recorded_replicas {
        None => None,
        Some(query) => {
            let replicas = standalone.explainer().past_query(query, settings.grid, progress).await;
            let replicas =
                replicas.map_err(|why| NoHistory(format!("--recorded-replicas: {why}")))?;
            if replicas.iter().all(Option::is_none) {
                let text = "--recorded-replicas has no result at any time: a model that needs them has no values";
                notes.push(text.to_owned());
            }
            Some(Arc::<[Option<f64>]>::from(replicas))
        }
    };
    let workload = Workload {
        replicas: autoscaler.first_replicas(
            settings,
            &recordings,
            replicas.as_deref(),
            known.as_ref(),
        ),
        pod_start_ms: i64::try_from(settings.pod_start.as_millis()).unwrap_or(i64::MAX),
        pod: autoscaler.template(standalone),
        usage_window_ms: standalone.explainer().usage_window_ms(),
    };
    let mut work = Work::new(settings.variants.len(), settings.grid, simulated);
    let mut runs = Vec::new();
    for (variant, spec) in settings.variants.iter().zip(specs) {
        let kept = recordings.iter().filter_map(|it| spec.metrics.get(it.at).cloned());
        let spec = Spec { metrics: kept.collect(), ..spec };
        let loads: Vec<_> = spec
            .metrics
            .iter()
            .zip(&recordings)
            .map(|(metric, recording)| Load {
                model: settings.model.unwrap_or_else(|| Model::assumed(metric.target)),
                values: Arc::clone(&recording.past.values),
                replicas: replicas.clone(),
            })
            .collect();
        let timeline = simulation::run(&spec, &loads, settings.grid, &workload, &mut work)
            .map_err(|problem| Invalid(format!("{}: {problem}", variant.name)))?;
        let summary = Summary::of(&spec, &timeline);
        let queries = recordings.iter().map(|recording| recording.past.query.as_str());
        let models: Vec<_> = loads.iter().map(|load| load.model).zip(queries).collect();
        let findings = Finding::all(&spec, &models, &timeline, &summary);
        runs.push(Run { variant: variant.clone(), spec, timeline, summary, findings });
    }
    let metrics = recordings.into_iter().filter_map(|Recording { at, past }| {
        notes.extend(past.notes);
        Some(note(autoscaler.spec.metrics.get(at)?, past.query, settings.model))
    });
    let metrics = metrics.collect();
    Ok(Report {
        name: autoscaler.name().to_owned(),
        namespace: autoscaler.namespace.to_owned(),
        target: autoscaler.target(),
        grid: settings.grid,
        replicas: workload.replicas,
        pod_start_ms: workload.pod_start_ms,
        metrics,
        notes,
        runs,
    })
}

impl<'a> Autoscaler<'a> {
    fn read(document: &'a Value) -> Result<Self, String> {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let namespace = text("/metadata/namespace").filter(|it| !it.is_empty());
        let (read, steps) = hpa::spec(document);
        let Some((hpa, spec)) = read else {
            let why = steps.into_iter().next().map_or_else(String::new, |step| step.seen);
            let name = text("/metadata/name").unwrap_or_default();
            return Err(format!("hpa/{}: {why}", excerpt(name, NAME)));
        };
        if spec.metrics.len() > MOST_METRICS {
            return Err(format!("at most {MOST_METRICS} metrics are simulated"));
        }
        Ok(Self { document, hpa, spec, namespace: namespace.unwrap_or("default") })
    }

    fn name(&self) -> &str {
        self.hpa.metadata.name.as_deref().unwrap_or_default()
    }

    fn target(&self) -> String {
        let target = &self.hpa.spec.scale_target_ref;
        format!("{}/{}", target.kind, target.name)
    }

    /// The metrics that can be simulated, with their histories. The others are noted.
    async fn recordings(
        &self,
        standalone: &Standalone,
        known: Option<&KnownWorkload>,
        settings: &Settings,
        notes: &mut Vec<String>,
        progress: Progress<'_>,
    ) -> Result<Vec<Recording>, String> {
        let target = &self.hpa.spec.scale_target_ref;
        let owner = Owner { kind: &target.kind, name: &target.name };
        let explainer = standalone.explainer();
        let mut recordings = Vec::new();
        for (at, metric) in self.spec.metrics.iter().enumerate() {
            let name = excerpt(name(metric), NAME);
            let past = if let Source::Resource { resource, container } = &metric.source {
                let of = (resource.as_str(), container.as_deref());
                if matches!(metric.target, Target::Utilization(_))
                    && !self.has_request(standalone, of)
                {
                    notes.push(format!(
                            "{name} is not simulated: its target is relative to requests, and none are known. Add the workload by --objects"
                        ));
                    continue;
                }
                let past = explainer.past_usage(of, owner, self.namespace, settings.grid, progress);
                let Some(past) = Box::pin(past).await.map_err(|why| format!("{name}: {why}"))?
                else {
                    notes.push(format!(
                        "{name} is not simulated: no query of `resourceRules` is about it"
                    ));
                    continue;
                };
                past
            } else {
                let inquiry = inquiry(metric, self.namespace, known);
                let past = explainer.past(&inquiry, owner, settings.grid, progress);
                let mut past = Box::pin(past).await.map_err(|why| format!("{name}: {why}"))?;
                if past.query.is_empty() {
                    past.notes.iter_mut().for_each(|note| *note = format!("{name}: {note}"));
                }
                past
            };
            recordings.push(Recording { at, past });
        }
        if recordings.is_empty() {
            return Err(format!("no metric can be simulated: {}", notes.join("; ")));
        }
        let is_there = |it: &Recording| it.past.values.iter().any(Option::is_some);
        match recordings.first() {
            Some(first) if !recordings.iter().any(is_there) => {
                let query = Some(&first.past.query).filter(|query| !query.is_empty());
                let said = query.into_iter().chain(&first.past.notes);
                let said: Vec<_> = said.map(String::as_str).collect();
                Err(format!("there was no value at any time: {}", said.join("; ")))
            }
            _ => Ok(recordings),
        }
    }

    /// The replicas at the start: as the user says, as recorded, or as the files say.
    fn first_replicas(
        &self,
        settings: &Settings,
        recordings: &[Recording],
        recorded: Option<&[Option<f64>]>,
        known: Option<&KnownWorkload>,
    ) -> i32 {
        let of_query = recorded.and_then(|recorded| recorded.iter().copied().flatten().next());
        let is_of_pods = |it: &&Recording| {
            let metric = self.spec.metrics.get(it.at);
            metric.is_some_and(|it| {
                matches!(it.source, Source::Pods { .. } | Source::Resource { .. })
            })
        };
        let of_pods = recordings.iter().find(is_of_pods).and_then(|recording| {
            let first: Option<Recorded> = recording.past.values.iter().copied().flatten().next();
            i32::try_from(first?.count).ok()
        });
        settings
            .replicas
            .or_else(|| of_query.map(|replicas| rounded(replicas).max(0)))
            .or(of_pods)
            .or_else(|| known.map(|workload| workload.scale.spec))
            .unwrap_or_else(|| self.spec.min_replicas.max(1))
    }

    fn document_of_target<'s>(&self, standalone: &'s Standalone) -> Option<&'s Value> {
        let target = &self.hpa.spec.scale_target_ref;
        standalone.documents().find(&target.kind, self.namespace, &target.name)
    }

    /// What the controller sees of the requests of the workload's pods.
    fn template(&self, standalone: &Standalone) -> Pod {
        let template =
            self.document_of_target(standalone).and_then(|it| it.pointer("/spec/template/spec"));
        let pod = template.map(|spec| json!({"metadata": {}, "spec": spec}));
        let pod = pod.and_then(|pod| serde_json::from_value(pod).ok());
        pod.map(|pod| Pod::read(&pod)).unwrap_or_default()
    }

    fn has_request(
        &self,
        standalone: &Standalone,
        (resource, container): (&str, Option<&str>),
    ) -> bool {
        self.template(standalone).has_request(resource, container)
    }

    /// The spec with the changes of a variant.
    fn with(&self, variant: &Variant) -> Result<Spec, String> {
        let changed = variant.apply(self.document, &self.spec).map_err(|it| it.to_string())?;
        let failed = |problem: &str| format!("{}: {problem}", variant.name);
        let (before, after) = (hpa::spec(self.document).1, hpa::spec(&changed));
        let (read, steps) = after;
        let old = |seen: &str| before.iter().any(|step| step.seen == seen);
        let new = steps.iter().find(|step| step.cause.is_some() && !old(&step.seen));
        if let Some(step) = new {
            return Err(failed(&step.seen));
        }
        let (_, spec) = read.ok_or_else(|| failed("the autoscaler cannot be read"))?;
        let sources =
            |spec: &Spec| spec.metrics.iter().map(|it| it.source.clone()).collect::<Vec<_>>();
        if sources(&spec) != sources(&self.spec) {
            return Err(failed("only the targets of metrics can be changed"));
        }
        Ok(spec)
    }
}

fn name(metric: &Metric) -> &str {
    metric.name().unwrap_or_else(|| metric.resource())
}

fn note(metric: &Metric, query: String, model: Option<Model>) -> MetricNote {
    let is_assumed = model.is_none();
    let model = model.unwrap_or_else(|| Model::assumed(metric.target));
    let source = match metric.source {
        Source::Pods { .. } => "Pods",
        Source::Object { .. } => "Object",
        Source::External { .. } => "External",
        Source::Resource { container: None, .. } => "Resource",
        Source::Resource { .. } => "ContainerResource",
    };
    let meaning = model.describe(metric);
    MetricNote { name: name(metric).to_owned(), source, query, model, is_assumed, meaning }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn rounded(replicas: f64) -> i32 {
    replicas.round() as i32
}
