//! The wiring: settings → bound → running.

mod api;
mod cluster;
mod settings;
mod supervisor;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use api::Made;
use cluster::Surroundings;
pub use settings::{Cluster, ClusterSettings, Settings};
use supervisor::{Part, Supervisor};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::local::LocalToken,
    backends::Backends,
    cache::{QueryCache, Refresher},
    core::{
        budgets::MemoryBudgets,
        explain::command::ExplainBy,
        rules::{CredentialPolicy, RuleSet},
    },
    delegates::Delegates,
    discovery::{self, Discovery},
    fallbacks::events::{EventsTask, Notes},
    hpas::ExpectedReads,
    http::{self, Api},
    kubeconfig,
    kubernetes::events::Events,
    metrics::Metrics,
    planner::Planner,
    prefetch::PrefetchTask,
    prometheus::{self, Prometheus, bodies::Bodies},
    registrations::{self, RegistrationsTask},
    rules_file::{
        Changed, Reload, Rules, Source,
        config_maps::{self, ConfigMapFiles},
    },
    server::{Listener, PlainListener, certificates, limits::Limits, tls},
    team_rules::{ChecksTask, StatusTask, TeamRules, WatchTask},
    traces::{Exporter, Traces},
};

/// A server whose address is bound, and which does not answer yet.
pub struct Bound {
    listener: Listener,
    address: SocketAddr,
    debug: Option<(PlainListener, SocketAddr)>,
    api: Arc<Api>,
    /// What requests depend on.
    parts: Vec<Part>,
    expected_reads: Option<ExpectedReads>,
    fetches: TaskTracker,
    authority: String,
    token: LocalToken,
    shutdown_delay: Duration,
    exporter: Option<Exporter>,
}

/// Reads all files, connects the parts and binds the address. The backend and the cluster need not be there yet.
#[expect(clippy::too_many_lines, reason = "it names each part once")]
pub async fn build(settings: Settings) -> anyhow::Result<Bound> {
    let (metrics, tasks) = (Arc::new(Metrics::default()), TaskTracker::new());
    let (traces, exporter) = settings.traces.map(|it| Traces::new(*it)).transpose()?.unzip();
    let traces = traces.unwrap_or_default();
    let (memory, flags) = (settings.memory, (settings.prometheus, settings.credentials));
    let backends = backends(flags, &memory, &settings.rules, settings.source.as_ref(), &metrics)?;
    let explain_by = explain_by(&settings.cluster, settings.write_kubeconfig.as_deref());
    let team_rules = team_rules(&settings.cluster, &metrics);
    let token = local_token()?;
    let local = (settings.address, &token, settings.write_kubeconfig.is_some());
    let shared = (settings.planning.life.ttl, &memory, &tasks, &metrics);
    let surroundings = surroundings(settings.cluster, local, shared).await?;
    let (config_maps, known) =
        config_maps(surroundings.client.as_ref(), settings.source.as_ref())?.unzip();
    let of_file = (&settings.rules, settings.source.as_ref());
    let delegates = delegates(surroundings.client.clone(), of_file, &backends, &metrics)?;
    let (discovery, handle) = Discovery::new(
        Arc::clone(&backends),
        surroundings.kinds,
        &settings.rules,
        settings.discovery,
        Arc::clone(&metrics),
        traces.clone(),
    );

    let (now, client) = (jiff::Timestamp::now(), surroundings.client.clone());
    let certificate =
        certificates::Serving::load(settings.certificates, client, Arc::clone(&metrics), now)
            .await?;
    let (resolver, authority) = (certificate.resolver(), certificate.authority().to_owned());
    let tls = tls::config(resolver.clone(), &settings.tls)?;
    let (listener, address) = listen(settings.address, tls, settings.limits).await?;
    let debug = debug_listener(settings.debug_address).await?;
    if let Some(path) = &settings.write_kubeconfig {
        write_kubeconfig(path, address, &authority, &token)?;
    }

    let (cache, refresher) =
        QueryCache::new(memory.results, tasks.clone(), Arc::clone(&metrics), traces.clone());
    let (planning, noted) = (settings.planning, Arc::clone(&metrics));
    let planner =
        Planner::new(cache.clone(), Arc::clone(&backends), planning, memory.readers, noted);
    let planner = Arc::new(planner);
    let (is_known, waits) = watch::channel(false);
    let rules = Rules::new(settings.rules);
    let rules = match &settings.source {
        Some(source) => source.told(rules),
        None => rules,
    };
    let rules = rules
        .with_team_rules(team_rules.is_on())
        .with_config_maps(known.is_some().then_some(waits));
    rules.count(&metrics);
    let to_cluster = (surroundings.client.clone(), settings.service, settings.host.as_str());
    let reports = reports(to_cluster, &rules, &metrics);

    let mut parts = surroundings.parts;
    parts.extend(kept(discovery, refresher, (&backends, &delegates), certificate));
    if let Some(reads) = surroundings.expected_reads.clone() {
        let providers = (team_rules.clone(), Arc::clone(&delegates));
        let planner = Arc::clone(&planner);
        let prefetch = PrefetchTask::new(planner, handle.clone(), providers, reads);
        parts.push(Part::new("prefetch of autoscalers' metrics", |stop| prefetch.run(stop)));
    }
    if let Some(source) = settings.source {
        let (rules, backends) = (rules.clone(), Arc::clone(&backends));
        let (discovery, delegates) = (handle.clone(), Arc::clone(&delegates));
        let metrics = Arc::clone(&metrics);
        let changed = Changed { rules, backends, delegates, discovery, metrics };
        let reload = Reload::new(source, known, is_known, changed);
        parts.push(Part::new("the rules files", |stop| reload.run(stop)));
    }
    parts.extend(
        config_maps
            .map(|task| Part::new("the watch of rules in ConfigMaps", |stop| task.run(stop))),
    );
    parts.extend(reports.parts);
    if let Some(client) = &surroundings.client {
        let made = (handle.clone(), rules.clone(), Arc::clone(&planner));
        parts.extend(of_teams(client, &team_rules, made, &settings.host));
    }

    let api = api::assemble(Made {
        discovery: handle,
        objects: surroundings.objects,
        backends,
        delegates,
        planner,
        cache,
        rules,
        metrics,
        traces,
        certificate: resolver,
        client: surroundings.client,
        registrations: reports.registrations,
        notes: reports.fallback_notes,
        host: settings.host,
        started: now,
        memory,
        fetches: tasks.clone(),
        access: (surroundings.authenticator, surroundings.authorizer),
        explain_by,
        trust: surroundings.trust_known,
        team_rules,
        is_debugged: debug.is_some(),
    });
    Ok(Bound {
        listener,
        address,
        debug,
        api,
        parts,
        expected_reads: surroundings.expected_reads,
        fetches: tasks,
        authority,
        token,
        shutdown_delay: settings.shutdown_delay,
        exporter,
    })
}

/// What is reported to the cluster, or read from it for reports.
#[derive(Default)]
struct Reports {
    parts: Vec<Part>,
    registrations: Option<registrations::Problems>,
    fallback_notes: Option<Notes>,
}

fn reports(
    (client, service, host): (Option<kube::Client>, Option<registrations::Service>, &str),
    rules: &Rules,
    metrics: &Arc<Metrics>,
) -> Reports {
    let Some(client) = client else { return Reports::default() };
    let events = Events::new(client.clone(), host);
    let (of_fallbacks, notes) = EventsTask::new(client.clone(), events.clone());
    let mut parts = vec![Part::new("the Events about fallbacks", |stop| of_fallbacks.run(stop))];
    let registrations = service.map(|service| {
        let reported = (Arc::clone(metrics), events);
        let task = RegistrationsTask::new(client, service, rules.clone(), reported);
        let problems = task.problems();
        parts.push(Part::new("the registrations of our APIs", |stop| task.run(stop)));
        problems
    });
    Reports { parts, registrations, fallback_notes: Some(notes) }
}

/// The rules of teams: none where they are not turned on.
fn team_rules(cluster: &Cluster, metrics: &Arc<Metrics>) -> TeamRules {
    match cluster {
        Cluster::Kubernetes(cluster) if cluster.team_rules => TeamRules::new(Arc::clone(metrics)),
        Cluster::Kubernetes(_) | Cluster::Standalone { .. } => TeamRules::default(),
    }
}

/// The ConfigMaps that are rules files, and the task that watches them, if there are to be any.
fn config_maps(
    client: Option<&kube::Client>,
    source: Option<&Source>,
) -> anyhow::Result<Option<(config_maps::WatchTask, ConfigMapFiles)>> {
    let Some(settings) = source.and_then(|source| source.config_maps.clone()) else {
        return Ok(None);
    };
    let client = client.cloned().context("--config-selector needs a cluster")?;
    Ok(Some(config_maps::WatchTask::new(client, settings)))
}

/// The tasks of rules of teams, if these are served.
fn of_teams(
    client: &kube::Client,
    team_rules: &TeamRules,
    (discovery, rules, planner): (discovery::Handle, Rules, Arc<Planner>),
    host: &str,
) -> impl Iterator<Item = Part> {
    // With an allowance of its own: what teams do silences no other Events.
    let events = Events::new(client.clone(), host);
    let watch = WatchTask::new(client.clone(), team_rules, discovery, rules);
    let status = StatusTask::new(client.clone(), events, team_rules);
    let checks = ChecksTask::new(team_rules, planner);
    let watch = watch.map(|task| Part::new("the watch of team rules", |stop| task.run(stop)));
    let status = status.map(|task| Part::new("the status of team rules", |stop| task.run(stop)));
    let checks = checks.map(|task| Part::new("the checks of team rules", |stop| task.run(stop)));
    [watch, status, checks].into_iter().flatten()
}

async fn listen(
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    limits: Limits,
) -> anyhow::Result<(Listener, SocketAddr)> {
    let listener = Listener::bind(address, tls, limits).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.address()?;
    Ok((listener, address))
}

async fn debug_listener(
    address: Option<SocketAddr>,
) -> anyhow::Result<Option<(PlainListener, SocketAddr)>> {
    let Some(address) = address else { return Ok(None) };
    let listener = PlainListener::bind(address).await;
    let listener =
        listener.with_context(|| format!("--debug-address: cannot listen on {address}"))?;
    let address = listener.address()?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "anyone who reaches the debug address can read the status page");
    }
    tracing::info!(%address, "serving the status page");
    Ok(Some((listener, address)))
}

/// The cluster, or its absence. `local` is the address, the token for clients on this machine, and whether they get it.
async fn surroundings(
    cluster: Cluster,
    (address, token, is_local): (SocketAddr, &LocalToken, bool),
    (list_ttl, memory, tasks, metrics): (Duration, &MemoryBudgets, &TaskTracker, &Arc<Metrics>),
) -> anyhow::Result<Surroundings> {
    match cluster {
        Cluster::Kubernetes(cluster) => {
            let local = is_local.then(|| token.clone());
            cluster::delegated(*cluster, local, (list_ttl, memory), tasks, metrics).await
        }
        Cluster::Standalone { objects } => {
            cluster::standalone(address, objects.as_deref(), token.clone())
        }
    }
}

/// The tasks that keep up what every server has.
fn kept(
    discovery: Discovery,
    refresher: Refresher,
    (backends, delegates): (&Arc<Backends>, &Arc<Delegates>),
    certificate: certificates::Serving,
) -> [Part; 6] {
    let (credentials, servers) = (Arc::clone(backends), Arc::clone(backends));
    let delegates = Arc::clone(delegates);
    [
        Part::new("discovery", |stop| discovery.run(stop)),
        Part::new("the refresh of queries", |stop| refresher.run(stop)),
        Part::new("the credentials of backends", |stop| credentials.keep_credentials(stop)),
        Part::new("the servers of backends", |stop| servers.check_servers(stop)),
        Part::new("the delegates", |stop| delegates.run(stop)),
        Part::new("the serving certificate", |stop| certificate.keep(stop)),
    ]
}

/// The token for clients on this machine.
fn local_token() -> anyhow::Result<LocalToken> {
    LocalToken::generate()
        .map_err(|_no_details| anyhow::anyhow!("cannot get random numbers for a token"))
}

/// The backend of the flags and those of the rules. One of these that cannot be used is an error if the file is strict.
fn backends(
    (mut flags, credentials): (prometheus::Config, Arc<CredentialPolicy>),
    memory: &MemoryBudgets,
    rules: &RuleSet,
    source: Option<&Source>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<Backends>> {
    let usage = metrics.answer_memory().clone();
    flags.bodies = Arc::new(Bodies::new(memory.answers, memory.largest_answer, usage));
    let backends = Backends::new(flags, credentials, Arc::clone(metrics))?;
    let problems = backends.install(rules);
    let is_strict = source.is_some_and(|source| source.is_strict);
    match problems.first().filter(|_| is_strict) {
        Some(problem) => bail!("--strict: {problem}"),
        None => Ok(Arc::new(backends)),
    }
}

/// How `loadline explain` asks this server.
fn explain_by(cluster: &Cluster, kubeconfig: Option<&Path>) -> ExplainBy {
    match (cluster, kubeconfig) {
        (Cluster::Kubernetes(_), _) => ExplainBy::Cluster,
        (Cluster::Standalone { .. }, Some(file)) => {
            ExplainBy::Kubeconfig(file.display().to_string())
        }
        (Cluster::Standalone { .. }, None) => ExplainBy::Files,
    }
}

/// The delegates of the rules. One that cannot be used is an error if the file is strict.
fn delegates(
    cluster: Option<kube::Client>,
    (rules, source): (&RuleSet, Option<&Source>),
    backends: &Backends,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<Delegates>> {
    let (policy, bodies) = (backends.policy(), backends.bodies());
    let delegates = Delegates::new(cluster, policy, bodies, Arc::clone(metrics));
    let problems = delegates.install(&rules.delegates);
    let is_strict = source.is_some_and(|source| source.is_strict);
    match problems.first().filter(|_| is_strict) {
        Some(problem) => bail!("--strict: {problem}"),
        None => Ok(Arc::new(delegates)),
    }
}

fn write_kubeconfig(
    path: &Path,
    address: SocketAddr,
    authority: &str,
    token: &LocalToken,
) -> anyhow::Result<()> {
    // Who listens on all addresses is reached by this one.
    let host = if address.ip().is_unspecified() {
        "127.0.0.1".to_owned()
    } else {
        SocketAddr::new(address.ip(), 0).to_string().trim_end_matches(":0").to_owned()
    };
    let server = format!("https://{host}:{}", address.port());
    kubeconfig::write(path, &kubeconfig::render(&server, authority, token.text()))
        .with_context(|| format!("cannot write the kubeconfig {}", path.display()))
}

impl Bound {
    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The debug address that is bound.
    pub fn debug_address(&self) -> Option<SocketAddr> {
        self.debug.as_ref().map(|(_, address)| *address)
    }

    /// What a client has to trust, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The bearer token of the kubeconfig that this server writes.
    pub fn token(&self) -> &str {
        self.token.text()
    }

    /// The backend, with its counts of what was asked.
    pub fn prometheus(&self) -> Arc<Prometheus> {
        Arc::clone(self.api.health.backends.of_flags().first())
    }

    /// What answers requests, for who has no need of a connection.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().fallback_service(http::front(Arc::clone(&self.api)))
    }

    /// What HorizontalPodAutoscalers will read, where there is a cluster.
    pub fn expected_reads(&self) -> Option<ExpectedReads> {
        self.expected_reads.clone()
    }

    /// What readers know of discovery.
    pub fn discovery(&self) -> discovery::Handle {
        self.api.health.discovery.clone()
    }

    /// Serves until stopped: then it is not ready, goes on for the shutdown delay, and lets open connections end. A task
    /// that ends before is an error.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut supervisor = Supervisor::new(self.fetches);
        if let Some(exporter) = self.exporter {
            supervisor.export(Part::new("the export of traces", |stop| exporter.run(stop)));
        }
        for part in self.parts {
            supervisor.keep(part);
        }
        let stopping = Arc::clone(&self.api.health.stopping);
        if let Some((listener, _)) = self.debug {
            let debug = http::debug(Arc::clone(&self.api));
            supervisor.serve(Part::new("the debug address", |stop| listener.serve(debug, stop)));
        }
        let (listener, front) = (self.listener, http::front(self.api));
        supervisor.serve(Part::new("the server", |stop| listener.serve(front, stop)));
        supervisor.run(stop, &stopping, self.shutdown_delay).await
    }
}
