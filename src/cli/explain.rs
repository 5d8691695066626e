//! `loadline explain`.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, Args, ValueEnum};
use serde_json::Value;

use super::flags::{CredentialFlags, PrometheusFlags, UsageError};
use crate::{
    core::{
        autoscaler::v1,
        excerpt::{NAME, excerpt},
        explain::{Cause, Explanation, Step, Verdict, name, workload::Documents},
        rules::CredentialPolicy,
    },
    discovery::LOOKBACK,
    explain::{
        Environment,
        cluster::Cluster,
        explain_hpa, explain_metric,
        files::{self, Standalone},
        question::{MetricQuestion, Question},
    },
    objects::Manifests,
    prometheus::{self, ConfigError},
    rules_file::Rules,
};

/// The flags of `explain`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// What to explain: hpa/NAME, deployment/NAME, RESOURCE/NAME METRIC, RESOURCE METRIC and a selector, external METRIC,
    /// usage cpu, usage memory, or a path of the API
    #[arg(value_name = "WHAT")]
    what: Vec<String>,

    /// Manifest of the autoscaler; repeatable
    #[arg(short, long = "filename", value_name = "FILE", action = ArgAction::Append)]
    files: Vec<PathBuf>,

    /// Namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Label selector of the objects; of an external metric, of its series
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// Label selector of the series, as `metric.selector` of an autoscaler
    #[arg(long, value_name = "SELECTOR")]
    metric_selector: Option<String>,

    /// Kubeconfig of the cluster [default: as kubectl]
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    context: Option<String>,

    /// Rules file, or folder of rules files: without a cluster, ask Prometheus itself
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,

    /// With --config: file or directory with the manifests of the objects
    #[arg(long, value_name = "PATH", requires = "config")]
    objects: Option<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Text)]
    output: Form,

    /// Exit with 1 for doubtful findings too
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    prometheus: PrometheusFlags,

    #[command(flatten)]
    credentials: CredentialFlags,
}

const EXIT_CODES: &str = "Exit codes: 0 ok or doubtful, 1 failed (with --strict also doubtful), 2 invalid usage or a file cannot be read";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Human-readable, step by step
    Text,
    /// A JSON object
    Json,
}

/// Explains, and says by the exit code what came out.
pub(super) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let explanations = runtime.block_on(explain(flags))?;
    let shown = match flags.output {
        Form::Text => explanations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Form::Json => {
            let mut text = match explanations.as_slice() {
                [one] => serde_json::to_string_pretty(one)?,
                several => serde_json::to_string_pretty(several)?,
            };
            text.push('\n');
            text
        }
    };
    let mut stdout = anstream::stdout();
    if let Err(error) = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
        writeln!(io::stderr(), "loadline: standard output: {error}").unwrap_or_default();
        return Ok(ExitCode::from(2));
    }
    let is_bad = |explanation: &Explanation| match explanation.verdict {
        Verdict::Ok => false,
        Verdict::Doubtful => flags.strict,
        Verdict::Failed => true,
    };
    Ok(ExitCode::from(u8::from(explanations.iter().any(is_bad))))
}

async fn explain(flags: &Flags) -> anyhow::Result<Vec<Explanation>> {
    let question = match flags.what.as_slice() {
        [] if !flags.files.is_empty() => None,
        words => Some(Question::parse(words).map_err(UsageError)?),
    };
    if !matches!(question, Some(Question::Metric(_))) {
        let given =
            [("--selector", &flags.selector), ("--metric-selector", &flags.metric_selector)];
        if let Some((flag, _)) = given.iter().find(|(_, selector)| selector.is_some()) {
            let text = format!(
                "{flag} is about a metric: an autoscaler says which objects and series it reads"
            );
            return Err(UsageError(text).into());
        }
    }
    let mut manifests = Documents::default();
    for file in &flags.files {
        manifests.extend(files::documents(file).map_err(UsageError)?);
    }
    if let Some(namespace) = &flags.namespace {
        is_of(&manifests, namespace).map_err(UsageError)?;
    }
    match &flags.config {
        Some(config) => Box::pin(of_files(flags, config, question.as_ref(), &manifests)).await,
        None => Box::pin(of_cluster(flags, question.as_ref(), &manifests)).await,
    }
}

/// The files that stand for a cluster, and the Prometheus beside them.
pub(super) struct Files<'f> {
    /// The rules.
    pub(super) config: &'f Path,
    /// The manifests of the objects.
    pub(super) objects: Option<&'f Path>,
    pub(super) prometheus: &'f PrometheusFlags,
    pub(super) credentials: &'f CredentialFlags,
}

/// What was read from them.
pub(super) struct Contents {
    prometheus: prometheus::Config,
    policy: CredentialPolicy,
    rules: Rules,
    known: Option<Manifests>,
    /// The manifests of the objects, and of the autoscalers.
    documents: Documents,
}

impl Files<'_> {
    /// Reads them. The manifests of autoscalers are objects, too.
    pub(super) fn read(&self, manifests: &Documents) -> anyhow::Result<Contents> {
        let Self { config, objects, prometheus, credentials } = *self;
        let mut documents =
            objects.map(files::documents).transpose().map_err(UsageError)?.unwrap_or_default();
        let rules =
            files::rules(config).map_err(|error| UsageError(format!("--config: {error}")))?;
        let known = objects.map(Manifests::read).transpose();
        let known = known.map_err(|error| UsageError(format!("--objects: {error}")))?;
        documents.extend(manifests.clone());
        let (prometheus, policy) = (prometheus.config()?, credentials.policy()?);
        Ok(Contents { prometheus, policy, rules, known, documents })
    }
}

impl Contents {
    /// Connects the backends, and finds the metrics that had samples within `max_age`.
    pub(super) async fn begin(self, max_age: Duration) -> Result<Standalone, ConfigError> {
        let Self { prometheus, policy, rules, known, documents } = self;
        Standalone::begin(prometheus, policy, rules, known, documents, max_age).await
    }
}

/// Explains with rules and objects of files, and a Prometheus.
async fn of_files(
    flags: &Flags,
    config: &Path,
    question: Option<&Question>,
    manifests: &Documents,
) -> anyhow::Result<Vec<Explanation>> {
    let files = Files {
        config,
        objects: flags.objects.as_deref(),
        prometheus: &flags.prometheus,
        credentials: &flags.credentials,
    };
    let contents = files.read(manifests)?;
    let asked = if manifests.is_empty() { &contents.documents } else { manifests };
    let mut hpas = autoscalers(asked, flags.namespace.as_deref());
    if let Some(namespace) = &flags.namespace {
        hpas.retain(|hpa| {
            hpa.pointer("/metadata/namespace") == Some(&Value::from(namespace.as_str()))
        });
    }
    let standalone = contents.begin(LOOKBACK).await?;
    if let Some(Question::Metric(metric)) = question {
        let namespace = flags.namespace.as_deref().unwrap_or("default");
        return of_metric(&standalone, flags, metric, namespace).await;
    }
    let hpas = hpas.into_iter().filter(|hpa| is_asked_about(hpa, question)).collect();
    Box::pin(of_autoscalers(&standalone, hpas, question, "in the files")).await
}

/// Explains in a cluster, with the rights of the kubeconfig's user.
async fn of_cluster(
    flags: &Flags,
    question: Option<&Question>,
    manifests: &Documents,
) -> anyhow::Result<Vec<Explanation>> {
    let cluster = Cluster::connect(flags.kubeconfig.as_deref(), flags.context.as_deref());
    let cluster = cluster.await.map_err(|error| {
        UsageError(format!("{error}; without a cluster, name the rules by --config"))
    })?;
    let namespace = flags.namespace.as_deref().unwrap_or(cluster.namespace());
    if let Some(Question::Metric(metric)) = question {
        return of_metric(&cluster, flags, metric, namespace).await;
    }
    let found = match question {
        _ if !manifests.is_empty() => Ok(autoscalers(manifests, Some(namespace))),
        Some(Question::Hpa(name)) => {
            cluster.autoscaler(namespace, name).await.map(|found| found.into_iter().collect())
        }
        _ => cluster.autoscalers(namespace).await,
    };
    let hpas = match found {
        Ok(hpas) => hpas,
        Err(unread) if unread.is_forbidden() => {
            let object = called(question);
            let advice = format!(
                "have the ClusterRole `view` bound to you in namespace {namespace}, or name a manifest by `-f`"
            );
            let step = Step::found(name::HPA, Cause::NotAuthorizedMe, unread.to_string(), advice);
            return Ok(vec![Explanation::conclude(object, vec![step], None)]);
        }
        Err(unread) => anyhow::bail!("{} cannot be read: {unread}", called(question)),
    };
    let hpas = hpas.into_iter().filter(|hpa| is_asked_about(hpa, question)).collect();
    let place = if manifests.is_empty() {
        format!("in namespace {namespace}")
    } else {
        "in the files".to_owned()
    };
    of_autoscalers(&cluster, hpas, question, &place).await
}

async fn of_metric(
    environment: &impl Environment,
    flags: &Flags,
    metric: &MetricQuestion,
    namespace: &str,
) -> anyhow::Result<Vec<Explanation>> {
    let selectors = (flags.selector.as_deref(), flags.metric_selector.as_deref());
    let inquiry = metric.inquiry(namespace, selectors).map_err(UsageError)?;
    Ok(vec![explain_metric(environment, metric.object(), &inquiry).await])
}

async fn of_autoscalers(
    environment: &impl Environment,
    hpas: Vec<Value>,
    question: Option<&Question>,
    place: &str,
) -> anyhow::Result<Vec<Explanation>> {
    if hpas.is_empty() {
        return Err(UsageError(format!("there is no {} {place}", called(question))).into());
    }
    let mut explanations = Vec::new();
    for hpa in hpas {
        explanations.push(explain_hpa(environment, &hpa).await);
    }
    Ok(explanations)
}

/// Fails if an autoscaler of the manifests names another namespace, as `kubectl` does.
fn is_of(manifests: &Documents, namespace: &str) -> Result<(), String> {
    let own = |hpa: &Value| Some(hpa.pointer("/metadata/namespace")?.as_str()?.to_owned());
    let mut named = manifests.of_kind("HorizontalPodAutoscaler").filter_map(own);
    match named.find(|own| own != namespace) {
        Some(own) => Err(format!(
            "--namespace: the manifest is of namespace {}, and not of {namespace}",
            excerpt(&own, NAME)
        )),
        None => Ok(()),
    }
}

/// The subject of the question, for errors.
fn called(question: Option<&Question>) -> String {
    match question {
        Some(Question::Hpa(name)) => format!("hpa/{name}"),
        Some(Question::Workload(kind, name)) => {
            format!("HorizontalPodAutoscaler of {kind}/{name}")
        }
        Some(Question::Metric(metric)) => metric.object(),
        None => "HorizontalPodAutoscaler".to_owned(),
    }
}

/// Those of the documents that are autoscalers, as `autoscaling/v2`, in a namespace where they name none.
pub(super) fn autoscalers(documents: &Documents, namespace: Option<&str>) -> Vec<Value> {
    let hpas = documents.of_kind("HorizontalPodAutoscaler");
    let mut hpas: Vec<Value> = hpas.map(|hpa| v1::to_v2(hpa).into_owned()).collect();
    for hpa in &mut hpas {
        if let (Some(namespace), Some(Value::Object(metadata))) =
            (namespace, hpa.get_mut("metadata"))
        {
            metadata.entry("namespace").or_insert_with(|| Value::from(namespace));
        }
    }
    hpas
}

fn is_asked_about(hpa: &Value, question: Option<&Question>) -> bool {
    let is =
        |pointer: &str, wanted: &str| hpa.pointer(pointer).and_then(Value::as_str) == Some(wanted);
    match question {
        Some(Question::Hpa(name)) => is("/metadata/name", name),
        Some(Question::Workload(kind, name)) => {
            is("/spec/scaleTargetRef/kind", kind) && is("/spec/scaleTargetRef/name", name)
        }
        Some(Question::Metric(_)) | None => true,
    }
}

#[cfg(test)]
mod tests;
