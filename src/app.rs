//! The wiring: settings → bound → running.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    sync::watch,
    task::{self, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{
        Authenticator, Delegated,
        access::{Authorizer, Ttls},
        local::LocalToken,
        token::Tokens,
        trust,
    },
    backends::Backends,
    cache::{QueryCache, Refresher},
    core::{
        budgets::MemoryBudgets,
        kinds::Kinds,
        rules::{CredentialPolicy, RuleSet},
    },
    discovery::{self, Discovery},
    hpas::{ExpectedReads, Hpas},
    http::{self, Api, Health, Lists},
    kubeconfig,
    kubernetes::{self, KindsSource},
    metrics::Metrics,
    objects::{self, Manifests, Objects},
    planner::{self, Planner},
    prefetch::PrefetchTask,
    prometheus::{self, Prometheus, bodies::Bodies},
    reads::Reads,
    registrations::{self, RegistrationsTask},
    rules_file::{self, Changed, Reload, Rules},
    server::{Listener, certificates, limits::Limits, tls},
    traces::{self, Exporter, Traces},
};

/// Everything that a server is made from.
pub struct Settings {
    /// The compiled rules file.
    pub rules: RuleSet,
    /// Where the rules are from, if they can change.
    pub source: Option<rules_file::Source>,
    /// The backend.
    pub prometheus: prometheus::Config,
    /// Which credentials the backends of the rules file may use.
    pub credentials: Arc<CredentialPolicy>,
    /// Where kinds and objects come from, and who may read.
    pub cluster: Cluster,
    /// The address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// Where the serving certificate comes from.
    pub certificates: certificates::Settings,
    /// The Service that the cluster reaches us by, if that is known.
    pub service: Option<registrations::Service>,
    /// The versions and suites of TLS, and whether HTTP/2 is offered.
    pub tls: tls::options::Options,
    /// How many connections there may be.
    pub limits: Limits,
    /// What the parts may take in memory.
    pub memory: MemoryBudgets,
    /// When metrics are discovered, and how far back.
    pub discovery: discovery::Settings,
    /// How queries are shared and how long their results may be used.
    pub planning: planner::Settings,
    /// Where to write a kubeconfig for this server.
    pub write_kubeconfig: Option<PathBuf>,
    /// The time from the request to stop to the end of accepting connections.
    pub shutdown_delay: Duration,
    /// Where traces go, if they are wanted.
    pub traces: Option<Box<traces::Settings>>,
}

/// The part that ends last, because all others make spans.
const EXPORT: &str = "the export of traces";

/// Where kinds and objects come from, and who may read.
pub enum Cluster {
    /// A cluster, which also says who asks and may read.
    Kubernetes(Box<ClusterSettings>),
    /// No cluster: the built-in kinds, the objects of manifests or, without any, those that queries return; everybody on
    /// this machine may read.
    Standalone {
        /// A file or a directory of manifests.
        objects: Option<PathBuf>,
    },
}

/// How the cluster is reached and asked. Without a kubeconfig it is the one that we run in.
pub struct ClusterSettings {
    /// The kubeconfig for kinds and objects.
    pub lister_kubeconfig: Option<PathBuf>,
    /// The kubeconfig for token reviews and the trusted authorities.
    pub authentication_kubeconfig: Option<PathBuf>,
    /// The kubeconfig for access reviews.
    pub authorization_kubeconfig: Option<PathBuf>,
    /// What the flags say of trusted authorities.
    pub trust: trust::Overrides,
    /// Whether the trusted authorities of the cluster are not looked up at all.
    pub skip_lookup: bool,
    /// Whether readiness does not wait for the trusted authorities.
    pub tolerate_lookup_failure: bool,
    /// How long token reviews are remembered.
    pub token_ttl: Duration,
    /// How long access reviews are remembered.
    pub access_ttls: Ttls,
    /// Paths that everybody may read.
    pub always_allowed: Vec<String>,
}

/// A server whose address is bound, and which does not answer yet.
pub struct Bound {
    listener: Listener,
    address: SocketAddr,
    api: Arc<Api>,
    discovery: Discovery,
    refresher: Refresher,
    trust: Option<trust::Keeper>,
    watches: Option<objects::Keeper>,
    hpas: Option<(Hpas, ExpectedReads)>,
    prefetch: Option<PrefetchTask>,
    reload: Option<Reload>,
    registrations: Option<RegistrationsTask>,
    tasks: TaskTracker,
    certificate: certificates::Serving,
    authority: String,
    token: LocalToken,
    shutdown_delay: Duration,
    exporter: Option<Exporter>,
}

/// What the cluster, or its absence, gives to the other parts.
struct Surroundings {
    kinds: KindsSource,
    objects: Objects,
    watches: Option<objects::Keeper>,
    hpas: Option<(Hpas, ExpectedReads)>,
    authenticator: Authenticator,
    authorizer: Authorizer,
    trust: Option<trust::Keeper>,
    trust_known: Option<watch::Receiver<bool>>,
    /// The cluster that may hold our certificate.
    client: Option<kube::Client>,
}

/// Reads all files, connects the parts and binds the address. The backend and the cluster need not be there yet.
pub async fn build(settings: Settings) -> anyhow::Result<Bound> {
    let metrics = Arc::new(Metrics::default());
    let tasks = TaskTracker::new();
    let (traces, exporter) =
        settings.traces.map(|traces| Traces::new(*traces)).transpose()?.unzip();
    let traces = traces.unwrap_or_default();
    let token = local_token()?;
    let memory = settings.memory;
    let flags = (settings.prometheus, settings.credentials);
    let backends = backends(flags, &memory, &settings.rules, settings.source.as_ref(), &metrics)?;
    let surroundings = match settings.cluster {
        Cluster::Kubernetes(cluster) => {
            let local = settings.write_kubeconfig.is_some().then(|| token.clone());
            delegated(*cluster, local, (settings.planning.life.ttl, &memory), &tasks, &metrics)
                .await?
        }
        Cluster::Standalone { objects } => {
            standalone(settings.address, objects.as_deref(), token.clone())?
        }
    };
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
    let authority = certificate.authority().to_owned();
    let tls = tls::config(certificate.resolver(), &settings.tls)?;
    let listener = Listener::bind(settings.address, tls, settings.limits).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", settings.address))?;
    let address = listener.address()?;
    if let Some(path) = &settings.write_kubeconfig {
        write_kubeconfig(path, address, &authority, &token)?;
    }

    let (cache, refresher) =
        QueryCache::new(memory.results, tasks.clone(), Arc::clone(&metrics), traces.clone());
    let (planning, noted) = (settings.planning, Arc::clone(&metrics));
    let planner = Planner::new(cache, Arc::clone(&backends), planning, memory.readers, noted);
    let planner = Arc::new(planner);
    let reads = surroundings.hpas.as_ref().map(|(_, reads)| reads.clone());
    let prefetch = reads.map(|it| PrefetchTask::new(Arc::clone(&planner), handle.clone(), it));
    let rules = Rules::new(settings.rules);
    rules.count(&metrics);
    let reload = settings.source.map(|source| {
        let (rules, backends) = (rules.clone(), Arc::clone(&backends));
        let (discovery, metrics) = (handle.clone(), Arc::clone(&metrics));
        Reload::new(source, Changed { rules, backends, discovery, metrics })
    });
    let registrations = surroundings.client.zip(settings.service).map(|(client, service)| {
        RegistrationsTask::new(client, service, rules.clone(), Arc::clone(&metrics))
    });
    let reads = Reads::new(handle.clone(), surroundings.objects, planner, rules.clone(), &metrics);
    let api = Arc::new(Api {
        rules: rules.clone(),
        reads,
        lists: Lists::new(memory.lists, tasks.clone()),
        authenticator: surroundings.authenticator,
        authorizer: surroundings.authorizer,
        under_way: http::UnderWay::new(memory.requests, memory.responses),
        failures: http::Failures::default(),
        metrics,
        health: Health {
            discovery: handle,
            backends,
            rules,
            trust: surroundings.trust_known,
            registrations: registrations.as_ref().map(RegistrationsTask::problems),
            stopping: Arc::new(AtomicBool::new(false)),
        },
        traces,
    });
    Ok(Bound {
        listener,
        address,
        api,
        discovery,
        refresher,
        trust: surroundings.trust,
        watches: surroundings.watches,
        hpas: surroundings.hpas,
        prefetch,
        reload,
        registrations,
        tasks,
        certificate,
        authority,
        token,
        shutdown_delay: settings.shutdown_delay,
        exporter,
    })
}

/// The token of whoever reads from this machine.
fn local_token() -> anyhow::Result<LocalToken> {
    LocalToken::generate()
        .map_err(|_no_details| anyhow::anyhow!("the system gives no random numbers for a token"))
}

/// The backend of the flags and those of the rules. One of these that cannot be used is an error if the file is strict.
fn backends(
    (mut flags, credentials): (prometheus::Config, Arc<CredentialPolicy>),
    memory: &MemoryBudgets,
    rules: &RuleSet,
    source: Option<&rules_file::Source>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<Backends>> {
    let told = metrics.answer_memory().clone();
    flags.bodies = Arc::new(Bodies::new(memory.answers, memory.largest_answer, told));
    let backends = Backends::new(flags, credentials, Arc::clone(metrics))?;
    let problems = backends.install(&rules.backends);
    let is_strict = source.is_some_and(|source| source.file.strict);
    match problems.first().filter(|_| is_strict) {
        Some(problem) => bail!("--strict: {problem}"),
        None => Ok(Arc::new(backends)),
    }
}

/// A cluster that says which objects there are, who asks and may read.
async fn delegated(
    settings: ClusterSettings,
    local: Option<LocalToken>,
    (list_ttl, memory): (Duration, &MemoryBudgets),
    tasks: &TaskTracker,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Surroundings> {
    let lister = settings.lister_kubeconfig.as_deref();
    let connect = async |flag: &'static str, own: Option<&Path>| {
        // Whoever names a cluster for its objects means that cluster.
        let client = kubernetes::connect(own.or(lister)).await;
        // Without a file the error is about the cluster that we run in.
        match own {
            Some(_) => client.context(flag),
            None => Ok(client?),
        }
    };
    let client = connect("--lister-kubeconfig", lister).await?;
    let authentication = settings.authentication_kubeconfig.as_deref();
    let authentication = connect("--authentication-kubeconfig", authentication).await?;
    let authorization = settings.authorization_kubeconfig.as_deref();
    let authorization = connect("--authorization-kubeconfig", authorization).await?;

    let lookup = (!settings.skip_lookup).then(|| authentication.clone());
    let waits = lookup.is_some() && !settings.tolerate_lookup_failure;
    let (keeper, trust, known) = trust::Keeper::new(lookup, settings.trust);
    let tokens =
        Tokens::new(authentication, settings.token_ttl, memory, tasks.clone(), Arc::clone(metrics));
    let (objects, watches) = objects::Cluster::new(
        client.clone(),
        Arc::clone(metrics),
        objects::Settings { list_ttl, times: objects::Times::default() },
        tasks.clone(),
    );
    Ok(Surroundings {
        kinds: KindsSource::Cluster(client.clone()),
        objects: Objects::Cluster(objects),
        watches: Some(watches),
        hpas: Some(Hpas::new(client.clone(), Arc::clone(metrics))),
        authenticator: Authenticator::Delegated(Box::new(Delegated { trust, tokens, local })),
        authorizer: Authorizer::delegated(
            authorization,
            (settings.access_ttls, memory.decisions),
            settings.always_allowed,
            tasks.clone(),
            Arc::clone(metrics),
        ),
        trust: Some(keeper),
        trust_known: waits.then_some(known),
        client: Some(client),
    })
}

/// No cluster: nobody can say who asks, so only this machine is served.
fn standalone(
    address: SocketAddr,
    objects: Option<&Path>,
    token: LocalToken,
) -> anyhow::Result<Surroundings> {
    if !address.ip().is_loopback() {
        bail!(
            "--bind-address={}: without a cluster nobody can be authenticated, so only a loopback address such as 127.0.0.1 can be served",
            address.ip()
        );
    }
    let manifests = objects.map(Manifests::read).transpose()?;
    let kinds = manifests.as_ref().map_or_else(Kinds::builtin, Manifests::kinds);
    Ok(Surroundings {
        kinds: KindsSource::Builtin(Arc::new(kinds)),
        objects: manifests.map_or(Objects::Unknown, Objects::Manifests),
        watches: None,
        hpas: None,
        authenticator: Authenticator::Local(token),
        authorizer: Authorizer::allow_all(),
        trust: None,
        trust_known: None,
        client: None,
    })
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
        Arc::clone(self.api.health.backends.prometheus())
    }

    /// What answers requests, for who has no need of a connection.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().fallback_service(http::front(Arc::clone(&self.api)))
    }

    /// What HorizontalPodAutoscalers will read, where there is a cluster.
    pub fn expected_reads(&self) -> Option<ExpectedReads> {
        self.hpas.as_ref().map(|(_, reads)| reads.clone())
    }

    /// What readers know of discovery.
    pub fn discovery(&self) -> discovery::Handle {
        self.api.health.discovery.clone()
    }

    /// Serves until stopped: then it is not ready, goes on for the shutdown delay, and lets open connections end. A part
    /// that ends before is an error.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = Tasks::default();
        let stop_serving = CancellationToken::new();
        // These go on while open requests end: a request may wait for them.
        let stop_keeping = CancellationToken::new();
        let stop_exporting = CancellationToken::new();
        let stopping = Arc::clone(&self.api.health.stopping);
        if let Some(exporter) = self.exporter {
            tasks.spawn(EXPORT, exporter.run(stop_exporting.clone()));
        }
        tasks.spawn("discovery", self.discovery.run(stop_keeping.clone()));
        tasks.spawn("the refresh of queries", self.refresher.run(stop_keeping.clone()));
        if let Some(trust) = self.trust {
            tasks.spawn("the watch of trusted authorities", trust.run(stop_keeping.clone()));
        }
        if let Some(watches) = self.watches {
            tasks.spawn("the watches of objects", watches.run(stop_keeping.clone()));
        }
        if let Some(prefetch) = self.prefetch {
            let part = "what is expected of autoscalers";
            tasks.spawn(part, prefetch.run(stop_keeping.clone()));
        }
        if let Some(reload) = self.reload {
            tasks.spawn("the rules file", reload.run(stop_keeping.clone()));
        }
        if let Some(registrations) = self.registrations {
            tasks.spawn("the registrations of our APIs", registrations.run(stop_keeping.clone()));
        }
        if let Some((hpas, _)) = self.hpas {
            let part = "the watch of HorizontalPodAutoscalers";
            tasks.spawn(part, hpas.run(stop_keeping.clone()));
        }
        tasks.spawn("the serving certificate", self.certificate.keep(stop_keeping.clone()));
        let front = http::front(self.api);
        tasks.spawn("the server", self.listener.serve(front, stop_serving.clone()));

        let result = tokio::select! {
            early = tasks.first() => Err(early),
            () = stop.cancelled() => {
                stopping.store(true, Ordering::Relaxed);
                tokio::select! {
                    early = tasks.first() => Err(early),
                    () = tokio::time::sleep(self.shutdown_delay) => Ok(()),
                }
            }
        };
        if let Err(error) = &result {
            // Said now, because open requests may hold up the end.
            tracing::error!(%error, "shutting down: a task ended unexpectedly");
            stopping.store(true, Ordering::Relaxed);
        }
        stop_serving.cancel();
        let served = tasks.ended("the server").await;
        stop_keeping.cancel();
        let kept = tasks.ended_but(EXPORT).await;
        self.tasks.close();
        // Nobody waits for what is still being fetched; what does not end soon ends with the runtime.
        tokio::time::timeout(LAST_FETCHES, self.tasks.wait()).await.unwrap_or_default();
        stop_exporting.cancel();
        let exported = tasks.all_ended().await;
        result.and(served).and(kept).and(exported)
    }
}

/// How long fetches that were begun for a reader may go on when all else has ended.
const LAST_FETCHES: Duration = Duration::from_secs(1);

/// The parts of a running server, by name.
#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    names: HashMap<task::Id, &'static str>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let handle = self.running.spawn(part);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the next part that ends: its name, and an error if it has not come to its own end.
    async fn next(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let (id, result) = match self.running.join_next_with_id().await? {
            Ok((id, ())) => (id, Ok(())),
            Err(error) => (error.id(), Err(error)),
        };
        let name = self.names.remove(&id).unwrap_or("a part of the server");
        Some((name, result.map_err(|error| anyhow::anyhow!("{name} has failed: {error}"))))
    }

    /// Waits for the first part that ends, and says what that means.
    async fn first(&mut self) -> anyhow::Error {
        match self.next().await {
            Some((_, Err(error))) => error,
            Some((name, Ok(()))) => {
                anyhow::anyhow!("{name} has ended; this is a bug in loadline")
            }
            None => anyhow::anyhow!("there is nothing to run; this is a bug in loadline"),
        }
    }

    /// Waits until a part does not run any more. A part that fails meanwhile is an error.
    async fn ended(&mut self, name: &str) -> anyhow::Result<()> {
        self.none(|running| running == name).await
    }

    /// Waits until no other part runs any more.
    async fn ended_but(&mut self, name: &str) -> anyhow::Result<()> {
        self.none(|running| running != name).await
    }

    async fn none(&mut self, of: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let mut all = Ok(());
        while self.names.values().any(|running| of(running)) {
            let Some((_, result)) = self.next().await else { break };
            all = all.and(result);
        }
        all
    }

    /// Waits until nothing runs any more.
    async fn all_ended(&mut self) -> anyhow::Result<()> {
        self.none(|_| true).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_dies_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("the first", std::future::pending());
        tasks.spawn("the second", async { panic!("no more") });
        let error = tasks.first().await.to_string();
        assert!(error.contains("the second has failed"), "{error}");
        assert!(error.contains("no more"), "{error}");
        tasks.spawn("the third", async {});
        let error = tasks.first().await.to_string();
        assert!(error.contains("the third has ended"), "{error}");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_part_that_has_died() {
        let mut tasks = Tasks::default();
        tasks.spawn("the rest", std::future::pending());
        tasks.spawn("the server", async { panic!("before the end") });
        tasks.first().await;
        tasks.ended("the server").await.unwrap();

        tasks.spawn("the server", async { panic!("at the end") });
        let error = tasks.ended("the server").await.unwrap_err().to_string();
        assert!(error.contains("the server has failed"), "{error}");
    }

    #[tokio::test]
    async fn parts_that_come_to_their_end_are_no_error() {
        let mut tasks = Tasks::default();
        tasks.spawn("the server", async {});
        tasks.spawn("the rest", async {});
        tasks.ended("the server").await.unwrap();
        tasks.all_ended().await.unwrap();
    }

    #[tokio::test]
    async fn one_part_goes_on_while_the_others_end() {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        tasks.spawn("the last", stop.clone().cancelled_owned());
        tasks.spawn("the first", async {});
        tasks.ended_but("the last").await.unwrap();
        assert_eq!(tasks.names.values().copied().collect::<Vec<_>>(), ["the last"]);
        stop.cancel();
        tasks.all_ended().await.unwrap();
        assert!(tasks.names.is_empty());
    }
}
