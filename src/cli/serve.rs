//! `loadline serve`.

use std::{io::Read as _, path::Path};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::{
    flags::{ClusterFlags, Serve, UsageError},
    logging,
    signals::Signals,
};
use crate::{
    app::{self, Cluster, Settings},
    core::{
        rules::{self, Problem, RuleSet},
        yaml,
    },
    server::limits,
};

/// Serves until a signal.
pub(super) fn run(flags: &Serve) -> anyhow::Result<()> {
    logging::init(flags.verbosity(), flags.logging.log_format);
    let settings = settings(flags)?;
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        let bound = app::build(settings).await?;
        tracing::info!(address = %bound.address(), "serving");
        let stop = CancellationToken::new();
        tokio::select! {
            result = bound.run(stop.clone()) => result,
            () = signals.watch(stop) => bail!("ended by a second signal"),
        }
    })
}

fn settings(flags: &Serve) -> anyhow::Result<Settings> {
    let Some(path) = &flags.config else {
        return Err(UsageError("--config is required: the rules file".to_owned()).into());
    };
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
    let certificates = flags.certificates.settings(address.ip(), is_standalone)?;
    let tls = flags.certificates.options(flags.serving.http2())?;
    let prometheus = flags.prometheus.config()?;
    let ignored = flags.accepted.given();
    if !ignored.is_empty() {
        tracing::warn!(flags = ignored.join(" "), "these flags have no effect");
    }
    let rules = read_rules(path, flags.strict)?;
    let max_age =
        flags.discovery.max_age(!rules.custom.is_empty() || !rules.external.is_empty())?;
    Ok(Settings {
        rules,
        prometheus,
        cluster,
        address,
        certificates,
        tls,
        relist_interval: flags.discovery.metrics_relist_interval,
        max_age,
        planning: flags.prometheus.planning()?,
        write_kubeconfig: flags.cluster.write_kubeconfig.clone(),
        shutdown_delay: flags.serving.shutdown_delay,
    })
}

fn cluster(flags: &Serve) -> Result<Cluster, UsageError> {
    let ClusterFlags { lister_kubeconfig, standalone, objects, .. } = &flags.cluster;
    match (standalone, lister_kubeconfig, objects) {
        (true, None, objects) => Ok(Cluster::Standalone { objects: objects.clone() }),
        (false, kubeconfig, None) => {
            let settings = flags.access.settings(kubeconfig.clone());
            Ok(Cluster::Kubernetes(Box::new(settings)))
        }
        (true, Some(_), _) => {
            Err(UsageError("--standalone and --lister-kubeconfig exclude each other".to_owned()))
        }
        (false, _, Some(_)) => Err(UsageError("--objects needs --standalone".to_owned())),
    }
}

/// Reads a rules file. Rules that do not compile are left out with a warning, or are an error if `strict`.
fn read_rules(path: &Path, strict: bool) -> anyhow::Result<RuleSet> {
    let mut text = String::new();
    let limit = u64::try_from(yaml::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .with_context(|| format!("--config: cannot read {}", path.display()))?;
    let rules = rules::load(&text).map_err(|problems| anyhow::anyhow!(lines(path, &problems)))?;
    if strict && !rules.broken.is_empty() {
        bail!(lines(path, &rules.broken));
    }
    for problem in &rules.broken {
        tracing::warn!("{}; the rule is left out", line(path, problem));
    }
    let all = rules.custom.iter().chain(&rules.external);
    for rule in all.filter(|rule| !rule.selector.parses()) {
        let (file, place, rule) = (path.display(), rule.place, &rule.id);
        tracing::warn!("{file}:{place}: {rule}: seriesQuery does not look like a series selector");
    }
    Ok(rules)
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    problems.iter().map(|problem| line(path, problem)).collect::<Vec<_>>().join("\n")
}

fn line(path: &Path, problem: &Problem) -> String {
    match problem.place {
        Some(_) => format!("{}:{problem}", path.display()),
        None => format!("{}: {problem}", path.display()),
    }
}
