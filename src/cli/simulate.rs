//! `loadline simulate`.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, Args, ValueEnum};
use serde_json::Value;

use super::{
    explain::{Files, autoscalers},
    flags::{CredentialFlags, PrometheusFlags, UsageError},
};
use crate::{
    core::{
        duration,
        simulation::{Canvas, Grid, Model, Report, SYNC_MS, Variant, page},
    },
    discovery::LOOKBACK,
    explain::files,
    simulate::{Settings, SimulateError, simulate},
};

/// The longest time that is simulated.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3_600);

/// The most variants of an autoscaler.
const MOST_VARIANTS: usize = 8;

/// The most autoscalers.
const MOST_AUTOSCALERS: usize = 10;

/// The width of plots where no terminal has one.
const WIDTH: usize = 100;

/// The flags of `simulate`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// Manifest of the autoscaler; repeatable
    #[arg(short, long = "filename", value_name = "FILE", action = ArgAction::Append, required = true)]
    files: Vec<PathBuf>,

    /// Rules file, or folder of rules files
    #[arg(short, long, value_name = "PATH")]
    config: PathBuf,

    /// File or directory with the manifests of the objects: kinds, and the workload for its requests and replicas
    #[arg(long, value_name = "PATH")]
    objects: Option<PathBuf>,

    /// Namespace of autoscalers whose manifest names none
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// How much time is simulated, such as 90m, 24h or 7d; at most 31d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = any_duration)]
    since: Duration,

    /// End of that time, such as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "now", value_parser = time)]
    until: Until,

    /// Time between two values of a metric, at least the 15s between two decisions
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = any_duration)]
    step: Duration,

    /// Change of the autoscaler for a second simulation, such as target=30; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", action = ArgAction::Append)]
    set: Vec<String>,

    /// Changes of the autoscaler for a further simulation, such as fast:target=30,maxReplicas=20; repeatable
    #[arg(long = "variant", value_name = "NAME:KEY=VALUE,…", action = ArgAction::Append)]
    variants: Vec<String>,

    /// How values depend on the number of pods [default: fixed for averages, per-pod for `Value`]
    #[arg(long, value_enum, value_name = "MODEL")]
    model: Option<ModelFlag>,

    /// Query for the number of replicas that there were, where a model needs it
    #[arg(long, value_name = "PROMQL")]
    recorded_replicas: Option<String>,

    /// Replicas at the start [default: as recorded, else as in the manifests, else minReplicas]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(0..))]
    replicas: Option<i32>,

    /// Time from the creation of a pod until it is ready
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = any_duration)]
    pod_start: Duration,

    /// Write a page with charts of all variants
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Text)]
    output: Form,

    #[command(flatten)]
    prometheus: PrometheusFlags,

    #[command(flatten)]
    credentials: CredentialFlags,
}

const EXIT_CODES: &str = "Exit codes: 0 simulated, 1 Prometheus has no answer or a metric cannot be simulated, 2 invalid usage or a file cannot be read";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Human-readable, with plots
    Text,
    /// A JSON object for an autoscaler, an array for several
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModelFlag {
    /// A total that the pods share
    Fixed,
    /// Each pod has the recorded value
    PerPod,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Now,
    At(jiff::Timestamp),
}

/// Simulates, prints the outcome, and writes the page.
pub(super) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reports = runtime.block_on(reports(flags))?;
    if let Some(path) = &flags.html {
        fs::write(path, page(&reports))
            .map_err(|error| UsageError(format!("--html: {}: {error}", path.display())))?;
    }
    let shown = match flags.output {
        Form::Text => {
            let canvas = canvas();
            let texts: Vec<_> = reports.iter().map(|report| report.text(canvas)).collect();
            texts.join("\n")
        }
        Form::Json => {
            let json: Vec<_> = reports.iter().map(Report::json).collect();
            let json = match json.as_slice() {
                [one] => serde_json::to_string_pretty(one)?,
                several => serde_json::to_string_pretty(several)?,
            };
            json + "\n"
        }
    };
    let mut stdout = anstream::stdout();
    if let Err(error) = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
        writeln!(io::stderr(), "loadline: standard output: {error}").unwrap_or_default();
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::SUCCESS)
}

async fn reports(flags: &Flags) -> anyhow::Result<Vec<Report>> {
    let settings = flags.settings().map_err(UsageError)?;
    let mut manifests = crate::core::explain::workload::Documents::default();
    for file in &flags.files {
        manifests.extend(files::documents(file).map_err(UsageError)?);
    }
    let hpas: Vec<Value> = autoscalers(&manifests, flags.namespace.as_deref());
    if hpas.is_empty() || hpas.len() > MOST_AUTOSCALERS {
        let count = hpas.len();
        return Err(UsageError(format!(
            "-f: {count} HorizontalPodAutoscalers in the files, and there may be 1 to {MOST_AUTOSCALERS}"
        ))
        .into());
    }
    let files = Files {
        config: &flags.config,
        objects: flags.objects.as_deref(),
        prometheus: &flags.prometheus,
        credentials: &flags.credentials,
    };
    let standalone = Box::pin(files.read(&manifests)?.begin(Flags::age(&settings))).await?;
    let is_shown = io::stderr().is_terminal();
    let show = |what: &str, done: usize, all: usize| {
        if is_shown && all > 0 {
            let end = if done >= all { "\r\x1b[K" } else { "" };
            let percent = done.saturating_mul(100) / all;
            // A closed standard error shows no progress.
            write!(io::stderr(), "\r{what}: {percent} %{end}").unwrap_or_default();
        }
    };
    let mut progress = |done, all| show("reading the history", done, all);
    let mut simulated = |done, all| show("simulating", done, all);
    let mut reports = Vec::new();
    for hpa in &hpas {
        let report = Box::pin(simulate(&standalone, hpa, &settings, &mut progress, &mut simulated));
        let report = report.await;
        reports.push(report.map_err(|error| match error {
            SimulateError::Invalid(problem) => UsageError(problem).into(),
            SimulateError::NoHistory(why) => anyhow::Error::msg(why),
        })?);
    }
    Ok(reports)
}

impl Flags {
    fn settings(&self) -> Result<Settings, String> {
        let mut variants = vec![Variant::as_written()];
        if !self.set.is_empty() {
            variants.push(Variant::set(&self.set));
        }
        for text in &self.variants {
            let variant =
                Variant::parse(text).map_err(|problem| format!("--variant: {problem}"))?;
            if variants.iter().any(|known| known.name == variant.name) {
                return Err(format!("--variant: there are two named {}", variant.name));
            }
            variants.push(variant);
        }
        if variants.len() > MOST_VARIANTS {
            return Err(format!("--variant: at most {MOST_VARIANTS} simulations side by side"));
        }
        Ok(Settings {
            grid: self.grid()?,
            variants,
            model: self.model.map(|model| match model {
                ModelFlag::Fixed => Model::Fixed,
                ModelFlag::PerPod => Model::PerPod,
            }),
            recorded_replicas: self.recorded_replicas.clone(),
            replicas: self.replicas,
            pod_start: self.pod_start.min(LONGEST),
        })
    }

    /// How long ago the time that is simulated began: metrics may have ended since.
    fn age(settings: &Settings) -> Duration {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let age_ms = now_ms.saturating_sub(settings.grid.start_ms);
        Duration::from_millis(u64::try_from(age_ms).unwrap_or_default()).max(LOOKBACK)
    }

    /// The times: multiples of the step, of which the last one has passed.
    fn grid(&self) -> Result<Grid, String> {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let step = seconds(self.step);
        let sync = SYNC_MS / 1000;
        if self.step < Duration::from_secs(15) || self.step.subsec_nanos() != 0 {
            return Err(format!("--step: whole seconds, at least {sync}s"));
        }
        if self.since > LONGEST || self.since < self.step {
            return Err("--since: at least --step, and at most 31d".to_owned());
        }
        let end = match self.until {
            Until::Now => jiff::Timestamp::now(),
            Until::At(time) => time,
        };
        let steps = seconds(self.since) / step;
        let start = end.as_second().div_euclid(step) * step - steps * step;
        let steps = usize::try_from(steps).unwrap_or_default();
        Ok(Grid { start_ms: start.saturating_mul(1000), step_ms: step * 1000, steps })
    }
}

fn any_duration(text: &str) -> Result<Duration, String> {
    duration::parse_either(text).ok_or_else(|| "no duration such as 90m or 7d".to_owned())
}

fn time(text: &str) -> Result<Until, String> {
    if text == "now" {
        return Ok(Until::Now);
    }
    let at = text.parse().ok().map(Until::At);
    at.ok_or_else(|| "no time such as 2026-03-01T12:00:00Z".to_owned())
}

/// The terminal of standard output.
fn canvas() -> Canvas {
    let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os);
    let locale = locale.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    let locale = locale.to_string_lossy().to_lowercase();
    let is_ascii = io::stdout().is_terminal() && !locale.contains("utf");
    Canvas { width: width.filter(|width| *width > 0).unwrap_or(WIDTH), is_ascii }
}
