//! The log: on standard error, in text or JSON.

mod json;

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use super::flags::LogFormat;

/// Starts the log at klog's verbosity; `RUST_LOG` overrides it.
pub(super) fn init(verbosity: i32, format: LogFormat) {
    // kube has an error for every request that fails, and for every try of a watch; we say what fails once, and what it
    // means.
    let default = match verbosity {
        ..=3 => "info,kube_client::client::builder=off,kube_runtime::watcher=off",
        4..=7 => "info,kube_client::client::builder=off,kube_runtime::watcher=off,loadline=debug",
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
