//! The log: on standard error, in text or JSON.

mod json;

use std::io::IsTerminal as _;

use tracing::Metadata;
use tracing_subscriber::{EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt as _};

use super::flags::LogFormat;

/// The beginnings of targets that are never logged, whatever `RUST_LOG` asks for: they print headers and bodies, and with them
/// tokens and Secrets. kube prints each answer that it cannot read, the TokenReview that it repeats included; what fails, and
/// what it means, we say ourselves, and once.
const SILENT: [&str; 4] = ["kube", "hyper", "h2", "tower_http"];

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    !SILENT.iter().any(|silent| metadata.target().starts_with(silent))
}

/// Starts the log at klog's verbosity; `RUST_LOG` overrides it.
pub(super) fn init(verbosity: i32, format: LogFormat) {
    let default = match verbosity {
        ..=3 => "info",
        4..=7 => "info,loadline=debug",
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
    // Beside the filter, because in that one a directive for a longer target, or for a span, would count for more.
    let silence = filter_fn(may_be_logged);
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.finish().with(silence)),
        LogFormat::Json => {
            let log = log.json().map_event_format(json::Lines);
            tracing::subscriber::set_global_default(log.finish().with(silence))
        }
    };
    // A log that was started before, as in tests, goes on.
    started.unwrap_or_default();
}
