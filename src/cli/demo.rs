//! `loadline demo`.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{logging, signals::Signals};
use crate::{
    app::{self, Bound, Cluster, Settings},
    core::{budgets::MemoryBudgets, duration, rules},
    demo::{Backend, Connection, RULES, reader},
    discovery, planner, prometheus,
    server::{certificates, limits::Limits, tls::options::Options},
};

/// The flags of `demo`.
#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Stop after this time, with a summary [default: run until interrupted]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse_go)]
    duration: Option<Duration>,

    /// Interval between two readings
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration::parse_go)]
    interval: Duration,
}

/// Runs until the time is over or a signal comes.
pub(super) fn run(flags: &Flags) -> anyhow::Result<()> {
    if flags.interval.is_zero() {
        return Err(super::flags::UsageError("--interval must not be 0".to_owned()).into());
    }
    logging::init_quiet();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        // There is no file to look at.
        let hangup = Notify::new();
        let stop = CancellationToken::new();
        tokio::select! {
            result = show(flags, &stop) => result,
            () = signals.watch(stop.clone(), &hangup) => bail!("ended by a second signal"),
        }
    })
}

/// Backend, server and reader, each in front of the one before; the reader's end is the end of all.
async fn show(flags: &Flags, stop: &CancellationToken) -> anyhow::Result<()> {
    let (stop_server, stop_store) = (CancellationToken::new(), CancellationToken::new());
    let folder = tempfile::Builder::new()
        .prefix("loadline-demo-")
        .tempdir()
        .context("cannot make a folder for the kubeconfig")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let backend = Backend::start(listener, stop_store.clone())?;
    let ide = backend.ide();
    let kubeconfig = folder.path().join("kubeconfig");
    let bound = app::build(settings(&backend, kubeconfig.clone())?).await?;
    let options = reader::Options {
        connection: Connection { url: format!("https://{}", bound.address()), kubeconfig },
        store_url: backend.url(),
        interval: flags.interval,
        duration: flags.duration,
    };
    let client = client(&bound)?;
    let discovery = bound.discovery();

    let read = async {
        discovery.first_try().await;
        let mut out = std::io::stdout();
        let summaries = reader::run(&options, &client, &ide, stop, &mut out).await;
        stop_server.cancel();
        summaries
    };
    // What ends too early ends the reading. The store ends last: the server would miss it.
    let serve = async {
        let served = bound.run(stop_server.clone()).await;
        stop_store.cancel();
        stop.cancel();
        served
    };
    let store = async {
        let stopped = backend.stopped().await;
        stop.cancel();
        stopped
    };
    let (summaries, served, stopped) = tokio::join!(read, serve, store);
    served?;
    stopped?;
    if summaries?.iter().any(|summary| summary.answered == 0 && summary.failed > 0) {
        bail!("no reading succeeded");
    }
    Ok(())
}

fn settings(backend: &Backend, kubeconfig: PathBuf) -> anyhow::Result<Settings> {
    let rules = rules::load(RULES).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the demo's rules: {}", problems.join("; "))
    })?;
    Ok(Settings {
        rules,
        source: None,
        prometheus: prometheus::Config::new(&backend.url())?,
        credentials: Arc::default(),
        cluster: Cluster::Standalone { objects: None },
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        service: None,
        certificates: certificates::Settings {
            names: certificates::Names::new("loadline", None, &[]),
            ..certificates::Settings::default()
        },
        tls: Options::default(),
        limits: Limits::default(),
        memory: MemoryBudgets::default(),
        discovery: discovery::Settings {
            interval: Duration::from_secs(30),
            max_age: Duration::from_secs(60),
            lookback: discovery::LOOKBACK,
        },
        // Shorter than the reader's interval: every line shows a new value.
        planning: planner::Settings::with_ttl(Duration::from_secs(1)),
        write_kubeconfig: Some(kubeconfig),
        debug_address: None,
        host: "demo".to_owned(),
        shutdown_delay: Duration::ZERO,
        traces: None,
    })
}

/// A client that trusts the server's certificate, and only that.
fn client(bound: &Bound) -> anyhow::Result<reqwest::Client> {
    let authority = reqwest::Certificate::from_pem(bound.authority().as_bytes())?;
    Ok(reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build()?)
}
