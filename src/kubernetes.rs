//! The Kubernetes API server: the only user of kube.

pub mod apiservices;
mod bounds;
pub mod collection;
pub mod events;
pub mod list;
pub mod reader;
pub mod refusal;
pub mod retries;
pub mod secrets;
pub mod status;
pub mod watch;

use std::{path::Path, sync::Arc, time::Duration};

use kube::{
    Client, Config, client::ClientBuilder, config::KubeConfigOptions,
    core::discovery::v2::APIGroupDiscoveryList,
};

use crate::{
    core::{
        excerpt::{NAME, SAID, excerpt},
        kinds::{GroupResource, Kind, Kinds},
    },
    kubeconfig,
};

/// How long a request to the API server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request that the API server did not answer as it should; the text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable kubeconfig, and we are not in a cluster.
    #[error("{0}")]
    Config(String),
    /// The API server refused, or could not be reached.
    #[error("the API server: {0}")]
    Api(String),
    /// The deadline passed.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The task that asked has panicked.
    #[error("the request was abandoned: {0}")]
    Abandoned(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Api(public(&error))
    }
}

/// What a request failed by, without what the answer repeats of the request: a review holds the caller's token.
fn public(error: &kube::Error) -> String {
    match error {
        // kube's word for an answer that is no `Status`; the message is the whole body then.
        kube::Error::Api(status) if status.reason == "Failed to parse error data" => {
            format!("HTTP status {}, with a body that is no Status", status.code)
        }
        kube::Error::Api(status) => {
            let (reason, message) = (excerpt(&status.reason, NAME), excerpt(&status.message, SAID));
            format!("HTTP status {}: {reason}: {message}", status.code)
        }
        kube::Error::SerdeError(error) => {
            let (line, column) = (error.line(), error.column());
            format!("the answer cannot be read (line {line}, column {column})")
        }
        error => said(error),
    }
}

/// An error with its causes, which kube's own text leaves out.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// A client of the cluster that a kubeconfig names, or of the one that we run in.
pub async fn connect(file: Option<&Path>) -> Result<Client, Error> {
    let config = match file {
        Some(path) => {
            let said = |error: &dyn std::error::Error| {
                Error::Config(format!("{}: {error}", path.display()))
            };
            let kubeconfig = kubeconfig::read(path).map_err(|error| said(&error))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(|error| said(&error))?
        }
        None => Config::incluster().map_err(|error| {
            Error::Config(format!(
                "not in a cluster ({error}); name one by --lister-kubeconfig, or use --standalone"
            ))
        })?,
    };
    client(config)
}

/// A client with a known configuration.
pub fn client(mut config: Config) -> Result<Client, Error> {
    config.connect_timeout = Some(TIMEOUT);
    // kube would repeat what was answered by 429 or 503 until our deadline, with a reader waiting for it.
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(&bounds::Bounds).build())
}

/// The kinds that the API server serves, by aggregated discovery, in its order: two requests, in the time that one may take. One
/// that does not know it answers in the older form, in which nothing is found: that is an error, and not a cluster without kinds.
pub async fn kinds(client: &Client) -> Result<Kinds, Error> {
    let both = async {
        let core = client.list_core_api_versions_aggregated().await?;
        Ok((core, client.list_api_groups_aggregated().await?))
    };
    let (core, groups) = deadline(both).await?;
    let mut kinds = Vec::new();
    collect(&core, &mut kinds);
    collect(&groups, &mut kinds);
    if kinds.is_empty() {
        let text = "it does not serve aggregated discovery; Kubernetes 1.27 or later is needed";
        return Err(Error::Api(text.to_owned()));
    }
    Ok(Kinds::new(kinds))
}

/// Takes the kinds of every group from the first version that has them, which is the preferred one.
fn collect(discovery: &APIGroupDiscoveryList, kinds: &mut Vec<Kind>) {
    for group in &discovery.items {
        let name = group.metadata.as_ref().and_then(|meta| meta.name.clone()).unwrap_or_default();
        let group_start = kinds.len();
        for version in &group.versions {
            let Some(version_name) = &version.version else {
                continue;
            };
            for resource in &version.resources {
                let (Some(plural), Some(kind)) = (
                    &resource.resource,
                    resource.response_kind.as_ref().and_then(|kind| kind.kind.clone()),
                ) else {
                    continue;
                };
                let known = kinds
                    .iter()
                    .skip(group_start)
                    .any(|known: &Kind| known.resource.resource == *plural);
                if known {
                    continue;
                }
                let singular = resource.singular_resource.clone().unwrap_or_default();
                kinds.push(Kind {
                    resource: GroupResource { group: name.clone(), resource: plural.clone() },
                    version: version_name.clone(),
                    singular: if singular.is_empty() { kind.to_lowercase() } else { singular },
                    kind,
                    namespaced: resource.scope.as_deref() == Some("Namespaced"),
                });
            }
        }
    }
}

/// Limits the time of a request to the API server.
pub(crate) async fn deadline<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(Error::Timeout(TIMEOUT)),
    }
}

/// Where the kinds come from.
#[derive(Clone)]
pub enum KindsSource {
    /// The kinds that every cluster has.
    Builtin(Arc<Kinds>),
    /// The API server's discovery.
    Cluster(Client),
}

impl KindsSource {
    /// The kinds as they are now.
    pub async fn kinds(&self) -> Result<Arc<Kinds>, Error> {
        match self {
            Self::Builtin(kinds) => Ok(Arc::clone(kinds)),
            Self::Cluster(client) => Ok(Arc::new(kinds(client).await?)),
        }
    }
}

#[cfg(test)]
mod tests;
