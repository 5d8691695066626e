//! `loadline compare`.

mod progress;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ArgAction, Args, ValueEnum};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::progress::Bar;
use super::{flags::UsageError, signals::Signals};
use crate::{
    compare::{self, Connecting, Name, Settings, Side},
    core::compare::{Comparison, Sides, Verdict},
};

/// The flags of `compare`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// Metrics to compare, as METRIC or RESOURCE/METRIC [default: all that are listed]
    #[arg(value_name = "METRIC")]
    metrics: Vec<String>,

    #[arg(
        long,
        value_name = "SERVER",
        help = "Server to compare: service/NAMESPACE/NAME[:PORT], a URL with https, kubeconfig:FILE, or registered"
    )]
    with: Name,

    /// Server to compare it with, which it replaces
    #[arg(long, value_name = "SERVER", default_value_t = Name::Registered)]
    reference: Name,

    /// Namespace to read, beside metrics of objects outside of namespaces; repeatable [default: all]
    #[arg(short, long = "namespace", value_name = "NAMESPACE", action = ArgAction::Append)]
    namespaces: Vec<String>,

    /// Objects of each metric to read by name
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    objects: usize,

    /// Percentage by which two values may differ
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    tolerance: f64,

    /// Metrics to read at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = concurrency)]
    concurrency: usize,

    /// Kubeconfig of the cluster [default: as kubectl]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// CA certificates for servers that are a Service or a URL [default: those of the system; a Service is not verified]
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,

    /// Do not verify servers that are a URL: any server that answers gets your credentials
    #[arg(long)]
    insecure_skip_tls_verify: bool,

    /// File with a token for servers that are a Service or a URL [default: the credentials of the kubeconfig]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Text)]
    output: Form,

    /// Include documented differences
    #[arg(short, long)]
    verbose: bool,
}

const EXIT_CODES: &str =
    "Exit codes: 0 no differences but documented ones, 1 other differences, 2 nothing was compared";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// A table
    Text,
    /// A JSON object
    Json,
}

/// Compares, and says by the exit code what came out.
pub(super) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Nothing was compared: that is an error of its own.
    let comparison = runtime.block_on(until_stopped(compare(flags)));
    let comparison = comparison.map_err(|error| UsageError(format!("{error:#}")))?;
    let shown = match flags.output {
        Form::Text => comparison.text(flags.verbose),
        Form::Json => serde_json::to_string_pretty(&comparison)? + "\n",
    };
    let mut stdout = anstream::stdout();
    if let Err(error) = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
        writeln!(io::stderr(), "loadline: standard output: {error}").unwrap_or_default();
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::from(u8::from(comparison.verdict == Verdict::Different)))
}

/// Works until a signal comes. What it has started ends with it.
async fn until_stopped<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let (stop, hangup) = (CancellationToken::new(), Notify::new());
    let signals = Signals::new()?.watch(stop.clone(), &hangup);
    tokio::select! {
        done = work => return done,
        () = signals => {}
        () = stop.cancelled() => {}
        () = hangup.notified() => {}
    }
    anyhow::bail!("stopped by a signal")
}

async fn compare(flags: &Flags) -> anyhow::Result<Comparison> {
    let connecting = Connecting {
        kubeconfig: flags.kubeconfig.clone(),
        context: flags.context.clone(),
        authority: flags.certificate_authority.clone(),
        is_unverified: flags.insecure_skip_tls_verify,
        token: flags.token_file.clone(),
    };
    let reference = Side::connect(&flags.reference, &connecting).await?;
    let with = Side::connect(&flags.with, &connecting).await?;
    let namespaces = match flags.namespaces.as_slice() {
        [] => compare::namespaces(&connecting).await?,
        named => named.to_vec(),
    };
    let settings = Settings {
        namespaces,
        metrics: flags.metrics.clone(),
        objects: flags.objects,
        concurrency: flags.concurrency,
        tolerance: flags.tolerance / 100.0,
    };
    let bar = Bar::new();
    let sides = Sides { reference: &reference, with: &with };
    Ok(compare::compare(sides, &settings, &|progress| bar.show(progress)).await?)
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let is_percentage = (0.0..=100.0).contains(&number);
    is_percentage.then_some(number).ok_or_else(|| "it is not between 0 and 100".to_owned())
}

fn concurrency(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|error| format!("{error}"))?;
    (1..=64).contains(&number).then_some(number).ok_or_else(|| "it is not from 1 to 64".to_owned())
}
