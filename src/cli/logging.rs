//! The log: on standard error, in text or JSON.

mod json;

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use super::flags::LogFormat;

/// Targets that are never logged, whatever level is asked for: they print headers and bodies, and with them tokens and Secrets.
/// kube prints each answer that it cannot read, the TokenReview that it repeats included.
const SILENT: [&str; 4] = ["kube_client", "hyper", "h2", "tower_http"];

/// Starts the log at klog's verbosity; `RUST_LOG` overrides it.
pub(super) fn init(verbosity: i32, format: LogFormat) {
    // A watcher of kube logs each try; we say once what fails, and what it means.
    let default = match verbosity {
        ..=3 => "info,kube_runtime::watcher=off",
        4..=7 => "info,kube_runtime::watcher=off,loadline=debug",
        _ => "debug,loadline=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    start(filter, format);
}

/// Starts a log of warnings and errors only, for a command whose own output is what counts.
#[cfg(feature = "demo")]
pub(super) fn init_quiet() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    start(filter, LogFormat::Text);
}

fn start(filter: EnvFilter, format: LogFormat) {
    let silent = SILENT.iter().filter_map(|target| format!("{target}=off").parse().ok());
    let filter = silent.fold(filter, EnvFilter::add_directive);
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.finish()),
        LogFormat::Json => {
            let log = log.json().map_event_format(json::Lines);
            tracing::subscriber::set_global_default(log.finish())
        }
    };
    // A log that was started before, as in tests, goes on.
    started.unwrap_or_default();
}
