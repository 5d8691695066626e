//! `loadline explain`.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ArgAction, Args, ValueEnum};
use serde_json::Value;

use super::flags::{CredentialFlags, PrometheusFlags, UsageError};
use crate::{
    core::explain::{Explanation, Verdict, workload::Documents},
    explain::{
        Known,
        files::{self, Standalone},
        question::Question,
    },
    objects::Manifests,
};

/// The flags of `explain`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// What to explain: hpa/NAME, deployment/NAME, RESOURCE/NAME METRIC, RESOURCE METRIC and a selector, external METRIC, or a
    /// path of the API
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

    /// Rules file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// File or directory with the manifests of the objects
    #[arg(long, value_name = "PATH")]
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
    let mut manifests = Documents::default();
    for file in &flags.files {
        manifests.extend(files::documents(file).map_err(UsageError)?);
    }
    let question = match flags.what.as_slice() {
        [] if !flags.files.is_empty() => None,
        words => Some(Question::parse(words).map_err(UsageError)?),
    };
    let objects = flags.objects.as_deref();
    let all = objects.map(files::documents).transpose().map_err(UsageError)?.unwrap_or_default();
    let text = fs::read_to_string(&flags.config)
        .map_err(|error| UsageError(format!("--config: {}: {error}", flags.config.display())))?;
    let known = objects.map(Manifests::read).transpose();
    let known = known.map_err(|error| UsageError(format!("--objects: {error}")))?;
    let standalone = Standalone::begin(
        flags.prometheus.config()?,
        flags.credentials.policy()?,
        files::rules(&text),
        known,
    );
    let standalone = standalone.await?;
    let explainer = &standalone.explainer;
    let mut documents = all;
    documents.extend(manifests.clone());
    let hpas = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        let asked = if manifests.is_empty() { &documents } else { &manifests };
        let mut hpas: Vec<Value> =
            asked.of_kind("HorizontalPodAutoscaler").filter(|it| wanted(it)).cloned().collect();
        for hpa in &mut hpas {
            if let (Some(namespace), Some(Value::Object(metadata))) =
                (&flags.namespace, hpa.get_mut("metadata"))
            {
                metadata.entry("namespace").or_insert_with(|| Value::from(namespace.as_str()));
            }
        }
        hpas
    };
    let text = |hpa: &Value, pointer: &str| {
        hpa.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (asked, what) = match &question {
        Some(Question::Metric(question)) => {
            let namespace = flags.namespace.as_deref().unwrap_or("default");
            let selectors = (flags.selector.as_deref(), flags.metric_selector.as_deref());
            let asked = question.asked(explainer, namespace, selectors).map_err(UsageError)?;
            let explanation = explainer.explain_metric(question.object(), asked, Known::default());
            return Ok(vec![explanation.await]);
        }
        Some(Question::Hpa(name)) => {
            let is_wanted = |hpa: &Value| text(hpa, "/metadata/name") == *name;
            (hpas(&is_wanted), format!("hpa/{name}"))
        }
        Some(Question::Workload(kind, name)) => {
            let is_wanted = |hpa: &Value| {
                text(hpa, "/spec/scaleTargetRef/kind") == *kind
                    && text(hpa, "/spec/scaleTargetRef/name") == *name
            };
            (hpas(&is_wanted), format!("a HorizontalPodAutoscaler of {kind}/{name}"))
        }
        None => (hpas(&|_| true), "a HorizontalPodAutoscaler".to_owned()),
    };
    if asked.is_empty() {
        return Err(UsageError(format!("there is no {what} in the files")).into());
    }
    let mut explanations = Vec::new();
    for hpa in asked {
        explanations.push(explainer.explain_hpa(&hpa, &documents).await);
    }
    Ok(explanations)
}
