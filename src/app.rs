//! The wiring: settings → bound → running.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cache::QueryCache,
    core::{kinds::Kinds, rules::RuleSet},
    discovery::{self, Discovery},
    http::{self, Api, LocalToken},
    kubeconfig,
    kubernetes::{self, KindsSource},
    objects::{Manifests, Objects},
    prometheus::{self, Prometheus},
    reads::Reads,
    server::{Listener, certificates, tls},
};

/// Everything that a server is made from.
pub struct Settings {
    /// The compiled rules file.
    pub rules: RuleSet,
    /// The backend.
    pub prometheus: prometheus::Config,
    /// Where kinds and objects come from.
    pub cluster: Cluster,
    /// The address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// Where the serving certificate comes from.
    pub certificates: certificates::Settings,
    /// The versions and suites of TLS, and whether HTTP/2 is offered.
    pub tls: tls::options::Options,
    /// The time between two discoveries.
    pub relist_interval: Duration,
    /// How far back discovery looks for series.
    pub max_age: Duration,
    /// How long query results are kept.
    pub cache_ttl: Duration,
    /// Where to write a kubeconfig for this server.
    pub write_kubeconfig: Option<PathBuf>,
}

/// Where kinds and objects come from.
pub enum Cluster {
    /// A cluster: the one that a kubeconfig names, or the one that we run in.
    Kubernetes {
        /// The kubeconfig.
        kubeconfig: Option<PathBuf>,
    },
    /// No cluster: the built-in kinds, and the objects of manifests or, without any, those that queries return.
    Standalone {
        /// A file or a directory of manifests.
        objects: Option<PathBuf>,
    },
}

/// A server whose address is bound, and which does not answer yet.
pub struct Bound {
    listener: Listener,
    address: SocketAddr,
    api: Arc<Api>,
    discovery: Discovery,
    fetches: TaskTracker,
    prometheus: Arc<Prometheus>,
    certificate: certificates::Serving,
    authority: String,
    token: LocalToken,
}

/// Reads all files, connects the parts and binds the address. The backend and the cluster need not be there yet.
pub async fn build(settings: Settings) -> anyhow::Result<Bound> {
    if !settings.address.ip().is_loopback() {
        bail!(
            "--bind-address={}: requests are not authenticated, so only a loopback address such as 127.0.0.1 can be served",
            settings.address.ip()
        );
    }
    let prometheus = Arc::new(Prometheus::new(settings.prometheus)?);
    let (kinds, objects, client) = cluster(settings.cluster).await?;
    let discovery_settings = discovery::Settings {
        interval: settings.relist_interval,
        max_age: settings.max_age,
    };
    let (discovery, handle) = Discovery::new(
        Arc::clone(&prometheus),
        kinds,
        &settings.rules.custom,
        discovery_settings,
    );
    let fetches = TaskTracker::new();
    let cache = QueryCache::new(Arc::clone(&prometheus), settings.cache_ttl, fetches.clone());

    let now = jiff::Timestamp::now();
    let certificate = certificates::Serving::load(settings.certificates, client, now).await?;
    let authority = certificate.authority().to_owned();
    let tls = tls::config(certificate.resolver(), &settings.tls)?;
    let listener = Listener::bind(settings.address, tls)
        .await
        .with_context(|| format!("cannot listen on {}", settings.address))?;
    let address = listener.address()?;

    let token = LocalToken::generate()
        .map_err(|_no_details| anyhow::anyhow!("the system gives no random numbers for a token"))?;
    if let Some(path) = &settings.write_kubeconfig {
        write_kubeconfig(path, address, &authority, &token)?;
    }
    let reads = Reads::new(handle.clone(), objects, cache);
    let api = Arc::new(Api {
        reads,
        discovery: handle,
        token: Some(token.clone()),
    });
    Ok(Bound {
        listener,
        address,
        api,
        discovery,
        fetches,
        prometheus,
        certificate,
        authority,
        token,
    })
}

async fn cluster(cluster: Cluster) -> anyhow::Result<(KindsSource, Objects, Option<kube::Client>)> {
    Ok(match cluster {
        Cluster::Kubernetes { kubeconfig } => {
            let client = kubernetes::connect(kubeconfig.as_deref()).await?;
            (
                KindsSource::Cluster(client.clone()),
                Objects::Cluster(client.clone()),
                Some(client),
            )
        }
        Cluster::Standalone { objects } => {
            let kinds = KindsSource::Builtin(Arc::new(Kinds::builtin()));
            let objects = match objects {
                Some(path) => Objects::Manifests(Manifests::read(&path)?),
                None => Objects::Unknown,
            };
            (kinds, objects, None)
        }
    })
}

fn write_kubeconfig(
    path: &Path,
    address: SocketAddr,
    authority: &str,
    token: &LocalToken,
) -> anyhow::Result<()> {
    let text = kubeconfig::render(&format!("https://{address}"), authority, token.text());
    kubeconfig::write(path, &text)
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

    /// The bearer token that this server takes.
    pub fn token(&self) -> &str {
        self.token.text()
    }

    /// The backend, with its counts of what was asked.
    pub fn prometheus(&self) -> Arc<Prometheus> {
        Arc::clone(&self.prometheus)
    }

    /// What readers know of discovery.
    pub fn discovery(&self) -> discovery::Handle {
        self.api.discovery.clone()
    }

    /// Serves until stopped. A part that ends before is an error.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        // Discovery goes on while open requests end: they may wait for it.
        let stop_discovery = CancellationToken::new();
        let discovery = self.discovery.run(stop_discovery.clone());
        tasks.spawn(async move {
            discovery.await;
            "discovery"
        });
        let serving = self.listener.serve(http::router(self.api), stop.clone());
        tasks.spawn(async move {
            serving.await;
            "the server"
        });
        let certificate = self.certificate.keep(stop.clone());
        tasks.spawn(async move {
            certificate.await;
            "the serving certificate"
        });
        let first = tasks.join_next().await;
        let was_stopped = stop.is_cancelled();
        stop.cancel();
        stop_discovery.cancel();
        while tasks.join_next().await.is_some() {}
        self.fetches.close();
        self.fetches.wait().await;
        match first {
            Some(Ok(_)) if was_stopped => Ok(()),
            Some(Ok(name)) => bail!("{name} has ended; this is a bug in loadline"),
            Some(Err(error)) => bail!("a part of the server has failed: {error}"),
            None => Ok(()),
        }
    }
}
