//! `loadline serve`.

use std::sync::Arc;

use anyhow::bail;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    flags::{ClusterFlags, MemoryLimit, Serve, UsageError},
    logging,
    signals::Signals,
};
use crate::{
    app::{self, Cluster, Settings},
    cgroup,
    core::{budgets::MemoryBudgets, quantity},
    discovery,
    rules_file::{Requirements, Source},
    server::limits,
    traces,
};

/// Serves until a signal.
pub(super) fn run(flags: &Serve) -> anyhow::Result<()> {
    logging::init(flags.verbosity(), flags.logging.log_format);
    tell_ignored(flags);
    let hangup = Arc::new(Notify::new());
    let limit = flags.memory.limit(cgroup::memory_limit());
    let settings = settings(flags, limit, &hangup)?;
    let memory = settings.memory;
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        let bound = app::build(settings).await?;
        tell(limit, &memory);
        tracing::info!(address = %bound.address(), "serving");
        let stop = CancellationToken::new();
        tokio::select! {
            result = bound.run(stop.clone()) => result,
            () = signals.watch(stop, &hangup) => bail!("ended by a second signal"),
        }
    })
}

/// Says what of the command line has no effect.
fn tell_ignored(flags: &Serve) {
    if !flags.strays.is_empty() {
        let arguments = flags.strays.join(" ");
        tracing::warn!(arguments, "these arguments are no flags and have no effect");
    }
    let ignored = flags.accepted.given();
    if !ignored.is_empty() {
        tracing::warn!(flags = ignored.join(" "), "these flags have no effect");
    }
}

fn settings(flags: &Serve, limit: MemoryLimit, hangup: &Arc<Notify>) -> anyhow::Result<Settings> {
    let config_maps = flags.rules.config_maps()?;
    if flags.rules.config.is_none() && config_maps.is_none() {
        let text = "--config is required: the rules file, or a folder of rules files";
        return Err(UsageError(text.to_owned()).into());
    }
    let may_have_more = config_maps.is_some();
    if may_have_more && flags.cluster.standalone {
        let text = "--config-selector and --standalone exclude each other";
        return Err(UsageError(text.to_owned()).into());
    }
    let cluster = cluster(flags)?;
    let is_standalone = flags.cluster.standalone;
    let address = flags.serving.address(is_standalone);
    if is_standalone && !address.ip().is_loopback() {
        let text = format!(
            "--bind-address={}: without a cluster nobody can be authenticated, so only a loopback address such as 127.0.0.1 can be served",
            address.ip()
        );
        return Err(UsageError(text).into());
    }
    let certificates = flags.certificates.settings(
        address.ip(),
        is_standalone,
        flags.cluster.lister_kubeconfig.is_some(),
    )?;
    let tls = flags.certificates.options(flags.serving.http2())?;
    let prometheus = flags.prometheus.config()?;
    let traces = traces::Settings::read(variable).map_err(|error| UsageError(error.to_string()))?;
    let config = flags.rules.config.as_deref();
    let requirements =
        Requirements { is_strict: flags.rules.strict, serves_teams: flags.cluster.team_rules };
    let (rules, source) = Source::read(config, config_maps, requirements, Arc::clone(hangup))?;
    let memory = flags.memory.budgets(limit)?;
    let has_rules = !rules.custom.is_empty() || !rules.external.is_empty() || may_have_more;
    let max_age = flags.discovery.max_age(has_rules)?;
    Ok(Settings {
        rules,
        source: Some(source),
        prometheus,
        credentials: Arc::new(flags.credentials.policy()?),
        cluster,
        address,
        debug_address: flags.serving.debug_address,
        host: variable("HOSTNAME").unwrap_or_else(|| address.to_string()),
        certificates,
        service: flags.certificates.service(),
        tls,
        limits: flags.serving.limits(memory.connections)?,
        memory,
        discovery: discovery::Settings {
            interval: flags.discovery.metrics_relist_interval,
            max_age,
            lookback: discovery::LOOKBACK,
        },
        planning: flags.prometheus.planning()?,
        write_kubeconfig: flags.cluster.write_kubeconfig.clone(),
        shutdown_delay: flags.serving.shutdown_delay(is_standalone),
        traces: traces.map(Box::new),
    })
}

/// Says how the memory is divided.
fn tell(limit: MemoryLimit, memory: &MemoryBudgets) {
    let size = |bytes: usize| quantity::bytes(u64::try_from(bytes).unwrap_or(u64::MAX)).to_string();
    tracing::info!(
        %limit,
        results = quantity::bytes(memory.results).to_string(),
        answers = size(memory.answers),
        largest_answer = size(memory.largest_answer),
        connections = memory.connections,
        "how the memory is divided"
    );
}

/// A variable of the environment.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn cluster(flags: &Serve) -> Result<Cluster, UsageError> {
    let ClusterFlags { lister_kubeconfig, standalone, objects, team_rules, .. } = &flags.cluster;
    if *team_rules && *standalone {
        return Err(UsageError("--team-rules and --standalone exclude each other".to_owned()));
    }
    match (standalone, lister_kubeconfig, objects) {
        (true, None, objects) => Ok(Cluster::Standalone { objects: objects.clone() }),
        (false, kubeconfig, None) => {
            let settings = flags.access.settings(kubeconfig.clone(), flags.cluster.team_rules);
            Ok(Cluster::Kubernetes(Box::new(settings)))
        }
        (true, Some(_), _) => {
            Err(UsageError("--standalone and --lister-kubeconfig exclude each other".to_owned()))
        }
        (false, _, Some(_)) => Err(UsageError("--objects needs --standalone".to_owned())),
    }
}
