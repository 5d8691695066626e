//! The cluster that knows the objects, the users and their rights; or its replacement.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{settings::ClusterSettings, supervisor::Part};
use crate::{
    auth::{
        Authenticator, Delegated, access::Authorizer, local::LocalToken, token::Tokens,
        trust::TrustTask,
    },
    core::{budgets::MemoryBudgets, kinds::Kinds},
    hpas::{ExpectedReads, Hpas},
    kubernetes::{self, KindsSource},
    metrics::Metrics,
    objects::{self, Manifests, Objects},
};

/// What the cluster, or its absence, means for the rest of the server.
pub(super) struct Surroundings {
    pub(super) kinds: KindsSource,
    pub(super) objects: Arc<Objects>,
    pub(super) expected_reads: Option<ExpectedReads>,
    pub(super) authenticator: Authenticator,
    pub(super) authorizer: Authorizer,
    pub(super) trust_known: Option<watch::Receiver<bool>>,
    /// The cluster that may hold our certificate.
    pub(super) client: Option<kube::Client>,
    /// The tasks that watch the cluster.
    pub(super) parts: Vec<Part>,
}

/// A cluster that knows the objects, the users and their rights.
pub(super) async fn delegated(
    settings: ClusterSettings,
    local: Option<LocalToken>,
    (list_ttl, memory): (Duration, &MemoryBudgets),
    tasks: &TaskTracker,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Surroundings> {
    let lister = settings.lister_kubeconfig.as_deref();
    let connect = async |flag: &'static str, own: Option<&Path>| {
        // A cluster that is named for its objects is used for the rest as well.
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
    let (trust_task, trust, known) = TrustTask::new(lookup, settings.trust).await;
    let tokens =
        Tokens::new(authentication, settings.token_ttl, memory, tasks.clone(), Arc::clone(metrics));
    let (objects, watches) = objects::Cluster::new(
        client.clone(),
        Arc::clone(metrics),
        objects::Settings { list_ttl, times: objects::Times::default() },
        tasks.clone(),
    );
    let (hpas, expected_reads) = Hpas::new(client.clone(), Arc::clone(metrics));
    Ok(Surroundings {
        kinds: KindsSource::Cluster(client.clone()),
        objects: Arc::new(Objects::Cluster(objects)),
        expected_reads: Some(expected_reads),
        authenticator: Authenticator::Delegated(Box::new(Delegated { trust, tokens, local })),
        authorizer: Authorizer::delegated(
            authorization,
            (settings.access_ttls, memory.decisions),
            settings.always_allowed,
            tasks.clone(),
            Arc::clone(metrics),
        ),
        trust_known: waits.then_some(known),
        client: Some(client),
        parts: vec![
            Part::new("the watch of trusted authorities", |stop| trust_task.run(stop)),
            Part::new("the watches of objects", |stop| watches.run(stop)),
            Part::new("the lists of HorizontalPodAutoscalers", |stop| hpas.run(stop)),
        ],
    })
}

/// No cluster: users cannot be authenticated, so only this machine is served.
pub(super) fn standalone(
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
        objects: Arc::new(manifests.map_or(Objects::Unknown, Objects::Manifests)),
        expected_reads: None,
        authenticator: Authenticator::Local(token),
        authorizer: Authorizer::allow_all(),
        trust_known: None,
        client: None,
        parts: Vec::new(),
    })
}
