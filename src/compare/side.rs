//! A server as it is named on the command line, and the way to it.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use http::Uri;
use serde_json::Value;

use super::forward::{Forward, ForwardError};
use crate::kubernetes::{
    self,
    reader::{Elsewhere, Reader, Refused},
};

/// How long a read may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The port of a Service where none is named.
const PORT: u16 = 443;

/// What a server is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Name {
    /// Whoever is registered for the APIs: `registered`.
    Registered,
    /// `service/NAMESPACE/NAME[:PORT]`
    Service {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The port of the Service.
        port: u16,
    },
    /// A URL with https.
    Url(Uri),
    /// The server of another kubeconfig: `kubeconfig:FILE`.
    Kubeconfig(PathBuf),
}

/// A name that names no server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a server is `registered`, service/NAMESPACE/NAME[:PORT], https://HOST[:PORT] or kubeconfig:FILE"
)]
pub struct NameError;

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "registered" {
            return Ok(Self::Registered);
        }
        if let Some(file) = text.strip_prefix("kubeconfig:").filter(|file| !file.is_empty()) {
            return Ok(Self::Kubeconfig(file.into()));
        }
        if let Some(service) = text.strip_prefix("service/") {
            let (namespace, name) = service.split_once('/').ok_or(NameError)?;
            let (name, port) = match name.split_once(':') {
                Some((name, port)) => (name, port.parse().map_err(|_error| NameError)?),
                None => (name, PORT),
            };
            let is_name = |text: &str| {
                !text.is_empty()
                    && !text.starts_with('-')
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
            };
            if !is_name(namespace) || !is_name(name) {
                return Err(NameError);
            }
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            return Ok(Self::Service { namespace, name, port });
        }
        // A token must not go over plain http, and a password has no place in a name that is printed.
        let url: Uri = text.parse().map_err(|_error| NameError)?;
        let authority = url.authority().ok_or(NameError)?;
        if url.scheme_str() == Some("https") && !authority.as_str().contains('@') {
            Ok(Self::Url(url))
        } else {
            Err(NameError)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered => f.write_str("registered"),
            Self::Service { namespace, name, port: PORT } => {
                write!(f, "service/{namespace}/{name}")
            }
            Self::Service { namespace, name, port } => {
                write!(f, "service/{namespace}/{name}:{port}")
            }
            Self::Url(url) => f.write_str(url.to_string().trim_end_matches('/')),
            Self::Kubeconfig(file) => write!(f, "kubeconfig:{}", file.display()),
        }
    }
}

/// How to reach servers, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Connecting {
    /// The kubeconfig; nothing for the one that `kubectl` would take.
    pub kubeconfig: Option<PathBuf>,
    /// The context; nothing for the current one.
    pub context: Option<String>,
    /// The authorities of servers that are named by Service or URL.
    pub authority: Option<PathBuf>,
    /// Whether certificates of servers that are named by URL are not verified.
    pub is_unverified: bool,
    /// The token for servers that are named by Service or URL; nothing for the credentials of the kubeconfig.
    pub token: Option<PathBuf>,
}

/// A server that cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// By its name, or by the kubeconfig.
    #[error("{0}: {1}")]
    Client(Name, kubernetes::Error),
    /// There is no way to the Service.
    #[error("{0}: {1}")]
    Forward(Name, ForwardError),
    /// Nobody says which namespaces there are.
    #[error("namespaces: {0}; name those to read by --namespace")]
    Namespaces(String),
}

/// The namespaces of the cluster.
///
/// # Errors
///
/// There is none, or the user may not list them.
pub async fn namespaces(by: &Connecting) -> Result<Vec<String>, ConnectError> {
    let reader = Reader::connect(by.kubeconfig.as_deref(), by.context.as_deref()).await;
    let reader = reader.map_err(|error| ConnectError::Namespaces(error.to_string()))?;
    let listed = reader.list("/api/v1/namespaces", "Namespace").await;
    let listed = listed.map_err(|unread| ConnectError::Namespaces(unread.to_string()))?;
    let name = |it: &Value| Some(it.pointer("/metadata/name")?.as_str()?.to_owned());
    Ok(listed.iter().filter_map(name).collect())
}

/// A server of the metrics APIs.
pub struct Side {
    name: String,
    reader: Reader,
    /// The way to it ends with it.
    _forward: Option<Forward>,
}

impl Side {
    /// Connects to a server, which is not asked yet.
    ///
    /// # Errors
    ///
    /// There is no usable kubeconfig or file, or no way to the Service.
    pub async fn connect(name: &Name, by: &Connecting) -> Result<Self, ConnectError> {
        let client = |error| ConnectError::Client(name.clone(), error);
        let (kubeconfig, context) = (by.kubeconfig.as_deref(), by.context.as_deref());
        let mut forward = None;
        let reader = match name {
            Name::Registered => Reader::connect(kubeconfig, context).await,
            Name::Kubeconfig(file) => Reader::connect(Some(file), None).await,
            Name::Url(url) => {
                let server = Elsewhere {
                    url: url.clone(),
                    authority: by.authority.clone(),
                    name: None,
                    is_unverified: by.is_unverified,
                    token: by.token.clone(),
                };
                Reader::connect_elsewhere(server, kubeconfig, context).await
            }
            Name::Service { namespace, name: service, port } => {
                let opened = Forward::open(by, namespace, service, *port).await;
                let opened = opened.map_err(|error| ConnectError::Forward(name.clone(), error))?;
                let server = Elsewhere {
                    url: opened.url(),
                    authority: by.authority.clone(),
                    name: Some(format!("{service}.{namespace}.svc")),
                    // kube-apiserver has verified the pod that it leads to.
                    is_unverified: by.is_unverified || by.authority.is_none(),
                    token: by.token.clone(),
                };
                forward = Some(opened);
                Reader::connect_elsewhere(server, kubeconfig, context).await
            }
        };
        Ok(Self { name: name.to_string(), reader: reader.map_err(client)?, _forward: forward })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The body of an answer.
    pub(super) async fn read(&self, path: &str) -> Result<String, Refused> {
        self.read_within(LIMIT, path).await
    }

    /// The body of an answer, within a time.
    pub(super) async fn read_within(&self, limit: Duration, path: &str) -> Result<String, Refused> {
        self.reader.answer_within(limit, path).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_four_ways() {
        for text in [
            "registered",
            "service/monitoring/loadline",
            "service/monitoring/loadline:6443",
            "https://127.0.0.1:6443",
            "kubeconfig:/tmp/kubeconfig",
        ] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        let service = "service/monitoring/loadline:443".parse::<Name>().unwrap();
        assert_eq!(service.to_string(), "service/monitoring/loadline");
        for text in [
            "",
            "loadline",
            "service/loadline",
            "service/monitoring/",
            "service/monitoring/loadline:http",
            "service/--kubeconfig=x/loadline",
            "service/a b/loadline",
            "http://127.0.0.1:6443",
            "https://user:password@host",
            "https://",
            "kubeconfig:",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NameError), "{text}");
        }
    }
}
