//! The serving certificate: from files, or made by us and kept where replicas share it; renewed while we serve.

mod apiservice;
mod authority;
mod files;
#[cfg(test)]
mod fixtures;
mod folder;
mod held;
mod names;
mod own;
mod pair;
mod secret;
mod sni;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use kube::Client;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use self::{
    apiservice::Trust,
    authority::OwnError,
    files::CertificateFiles,
    files::FileError,
    own::OwnCertificate,
    pair::{Facts, Pair},
    sni::Named,
};
pub use self::{files::Paths, names::Names, sni::NamedPaths};
use crate::{
    core::overview::{CertificateFacts, Shown},
    kubernetes::{apiservices::Registrations, secrets::SecretPlace},
    metrics::Metrics,
};

/// How often files are read again.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many names of the certificate people are shown.
const MOST_NAMES: usize = 10;

/// At every how many of these looks the cluster is asked: once in a minute.
const CLUSTER: u32 = 6;

/// Where the serving certificate comes from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files that somebody else writes.
    pub files: Option<Paths>,
    /// A folder with such files, or for ours.
    pub folder: Option<PathBuf>,
    /// The name of the Secret for ours.
    pub secret: Option<String>,
    /// The service that we are reached by.
    pub service: String,
    /// The namespace of the service and of the Secret.
    pub namespace: Option<String>,
    /// The names that ours is for.
    pub names: Names,
    /// Whether our authorities are written into the registrations of our APIs.
    pub manage_apiservices: bool,
    /// Certificates for clients that name a host.
    pub named: Vec<NamedPaths>,
    /// How often files are read again.
    pub interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            files: None,
            folder: None,
            secret: None,
            service: String::new(),
            namespace: None,
            names: Names::default(),
            manage_apiservices: false,
            named: Vec::new(),
            interval: INTERVAL,
        }
    }
}

/// A serving certificate that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files cannot be used.
    #[error("the serving certificate")]
    Files(#[from] FileError),
    /// No certificate of our own can be made.
    #[error("the serving certificate")]
    Own(#[from] OwnError),
}

/// The serving certificate, and what it takes to keep it good.
pub struct Serving {
    resolver: Arc<Resolver>,
    source: Source,
    named: Vec<NamedSource>,
    trust: Option<Trust>,
    interval: Duration,
    authority: String,
    /// The authority that was last written to the registrations.
    is_trusted: bool,
    /// Until when the certificate is valid that is served to those who name no other host.
    end: Timestamp,
    metrics: Arc<Metrics>,
}

enum Source {
    Files(Box<CertificateFiles>),
    Own(Box<OwnCertificate>),
}

struct NamedSource {
    hosts: Vec<String>,
    files: CertificateFiles,
    pair: Pair,
}

/// Answers handshakes with the certificate of the moment.
#[derive(Debug)]
pub struct Resolver {
    default: ArcSwap<CertifiedKey>,
    named: ArcSwap<Named>,
}

impl Resolver {
    /// What the certificate says about itself that is served to those who name no other host.
    pub fn facts(&self) -> Option<CertificateFacts> {
        let key = self.default.load();
        let facts = Facts::read(key.cert.first()?).ok()?;
        Some(CertificateFacts {
            subject: facts.common_name.unwrap_or_default(),
            issuer: facts.issuer.unwrap_or_default(),
            names: Shown::first(facts.names, MOST_NAMES),
            not_before: facts.not_before,
            not_after: facts.not_after,
        })
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|host| self.named.load().find(host));
        Some(named.unwrap_or_else(|| self.default.load_full()))
    }
}

impl Serving {
    /// Loads or makes the certificate. Without a client for it the cluster is left alone.
    pub async fn load(
        settings: Settings,
        client: Option<Client>,
        metrics: Arc<Metrics>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut named = Vec::new();
        for value in &settings.named {
            let (files, pair) = CertificateFiles::open(value.paths.clone(), now).await?;
            named.push(NamedSource { hosts: value.hosts.clone(), files, pair });
        }
        let namespace = settings.namespace.as_deref();
        let in_cluster = client.zip(namespace);
        let trust = in_cluster.clone().filter(|_| settings.manage_apiservices).map(
            |(client, namespace)| {
                Trust::new(Registrations::new(client), &settings.service, namespace)
            },
        );
        let (source, pair) = source(&settings, in_cluster, now).await?;
        let resolver = Resolver {
            default: ArcSwap::new(Arc::clone(&pair.key)),
            named: ArcSwap::from_pointee(by_host(&named)),
        };
        let serving = Self {
            resolver: Arc::new(resolver),
            source,
            named,
            trust,
            interval: settings.interval,
            authority: pair.authority,
            is_trusted: false,
            end: pair.leaf.not_after,
            metrics,
        };
        serving.count();
        Ok(serving)
    }

    /// What handshakes are answered from.
    pub fn resolver(&self) -> Arc<Resolver> {
        Arc::clone(&self.resolver)
    }

    /// What a client has to trust, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Keeps the certificate good until stopped.
    pub async fn keep(mut self, stop: CancellationToken) {
        let keeping = async {
            for round in (0..CLUSTER).cycle() {
                self.tick(round == 0, Timestamp::now()).await;
                tokio::time::sleep(self.interval).await;
            }
        };
        stop.run_until_cancelled(keeping).await;
    }

    /// One look at everything that may have changed.
    async fn tick(&mut self, ask_cluster: bool, now: Timestamp) {
        self.tick_named(now).await;
        let pair = match &mut self.source {
            Source::Files(files) => files.poll(now).await,
            Source::Own(own) => {
                if ask_cluster {
                    own.look(now).await;
                }
                if let Err(error) = own.renew(now).await {
                    tracing::error!(%error, "the serving certificate cannot be renewed");
                }
                Some(own.held().pair().clone())
            }
        };
        let pair = pair.filter(|pair| {
            pair.key.cert != self.resolver.default.load().cert || pair.authority != self.authority
        });
        if let Some(pair) = &pair
            && pair.authority != self.authority
        {
            self.authority.clone_from(&pair.authority);
            self.is_trusted = false;
        }
        // Who verifies us learns of an authority before its certificate is shown.
        if let Some(trust) = &mut self.trust
            && (ask_cluster || !self.is_trusted)
        {
            trust.sync(&self.authority, now).await;
            self.is_trusted = true;
        }
        if let Some(pair) = pair {
            self.end = pair.leaf.not_after;
            self.resolver.default.store(pair.key);
        }
        self.count();
    }

    /// Records when the first of the certificates expires.
    fn count(&self) {
        let named = self.named.iter().map(|source| source.pair.leaf.not_after);
        self.metrics.certificate_ends(named.fold(self.end, Timestamp::min).as_second());
    }

    async fn tick_named(&mut self, now: Timestamp) {
        let mut is_changed = false;
        for source in &mut self.named {
            if let Some(pair) = source.files.poll(now).await {
                source.pair = pair;
                is_changed = true;
            }
        }
        if is_changed {
            self.resolver.named.store(Arc::new(by_host(&self.named)));
        }
    }
}

async fn source(
    settings: &Settings,
    in_cluster: Option<(Client, &str)>,
    now: Timestamp,
) -> Result<(Source, Pair), Error> {
    let mut paths = settings.files.clone();
    if let (None, Some(folder)) = (&paths, &settings.folder) {
        paths = folder::foreign(folder).await;
    }
    if let Some(paths) = paths {
        let (files, pair) = CertificateFiles::open(paths, now).await?;
        return Ok((Source::Files(Box::new(files)), pair));
    }
    let secret = in_cluster
        .zip(settings.secret.as_deref())
        .map(|((client, namespace), name)| SecretPlace::new(client, namespace, name));
    let (folder, names) = (settings.folder.clone(), settings.names.clone());
    let own = OwnCertificate::start(secret, folder, names, now).await?;
    let pair = own.held().pair().clone();
    Ok((Source::Own(Box::new(own)), pair))
}

fn by_host(named: &[NamedSource]) -> Named {
    let pairs = named.iter();
    Named::new(pairs.map(|source| (source.hosts.as_slice(), &source.pair)))
}
