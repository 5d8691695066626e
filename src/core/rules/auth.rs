//! How a backend is authenticated to: `auth` of a backend, and the flag of the same form.

mod reading;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use url::{Host, Url};

use crate::core::cloud::aws_partition::Partition;
pub(super) use reading::compile;
pub use reading::load;

/// The key of a backend that holds it.
pub(super) const KEY: &str = "auth";

/// How requests are authenticated. Nothing of it is shown by `Debug` but its kind.
#[derive(Clone, Eq, PartialEq)]
pub enum Auth {
    /// Each request is signed with AWS credentials.
    SigV4(SigV4),
    /// A token of Microsoft Entra ID.
    Entra(Entra),
    /// A token of Google Cloud.
    Google(Google),
    /// A token of the OAuth 2.0 client credentials grant.
    OAuth2(OAuth2),
    /// A user and the password in a file.
    Basic {
        /// The user.
        username: String,
        /// The file.
        password_file: PathBuf,
    },
    /// The token in a file.
    Bearer {
        /// The file.
        token_file: PathBuf,
    },
}

/// AWS Signature Version 4.
#[derive(Clone, Eq, PartialEq)]
pub struct SigV4 {
    /// The region; by default that of the host, and then that of the environment.
    pub region: Option<String>,
    /// The signing name of the service.
    pub service: String,
    /// A role that is assumed.
    pub role_arn: Option<String>,
    /// The external ID that the role asks for.
    pub external_id: Option<String>,
    /// The profile of the shared files that has the credentials; by default the chain of the AWS SDKs finds them.
    pub profile: Option<String>,
}

/// Microsoft Entra ID.
#[derive(Clone, Eq, PartialEq)]
pub struct Entra {
    /// The tenant; by default that of the environment.
    pub tenant_id: Option<String>,
    /// The application or the managed identity; by default that of the environment.
    pub client_id: Option<String>,
    /// The file with the application's secret.
    pub client_secret_file: Option<PathBuf>,
    /// What the process is; by default what the environment says.
    pub identity: Option<Identity>,
    /// The cloud; by default that of the environment's authority.
    pub cloud: Option<Cloud>,
    /// What the token is for; by default the Azure Monitor of the cloud.
    pub scope: Option<String>,
}

/// How a process proves to Entra what it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// By the token of a Kubernetes service account.
    Workload,
    /// By being a machine of Azure.
    Managed,
}

/// A cloud of Azure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cloud {
    /// The public one.
    Public,
    /// Azure Government.
    Government,
    /// Azure operated by 21Vianet.
    China,
}

/// Google Cloud.
#[derive(Clone, Eq, PartialEq)]
pub struct Google {
    /// The key of a service account; by default that of the environment, or none, and the metadata server has the token.
    pub credentials_file: Option<PathBuf>,
    /// The OAuth scopes; by default reading from Cloud Monitoring.
    pub scopes: Vec<String>,
}

/// The OAuth 2.0 client credentials grant.
#[derive(Clone, Eq, PartialEq)]
pub struct OAuth2 {
    /// The token endpoint: an http or https URL without user and password.
    pub token_url: Url,
    /// The client.
    pub client_id: String,
    /// The file with its secret.
    pub client_secret_file: PathBuf,
    /// The scopes.
    pub scopes: Vec<String>,
    /// Further parameters of the request.
    pub endpoint_params: Vec<(String, String)>,
    /// Where the client and its secret are in the request.
    pub client_auth: ClientAuth,
    /// The only certification authorities that the endpoint's certificate is checked with; else the system's are.
    pub ca_file: Option<PathBuf>,
}

/// Where a client and its secret are in a request for a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientAuth {
    /// In the header for basic authentication.
    Basic,
    /// In the body.
    Post,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Auth").field(&self.kind()).finish()
    }
}

impl Auth {
    /// Its key.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SigV4(_) => "sigv4",
            Self::Entra(_) => "entra",
            Self::Google(_) => "google",
            Self::OAuth2(_) => "oauth2",
            Self::Basic { .. } => "basic",
            Self::Bearer { .. } => "bearer",
        }
    }

    /// The files that it names, with their keys.
    pub(super) fn files(&self) -> impl Iterator<Item = ([&'static str; 3], &Path)> {
        let files = match self {
            Self::SigV4(_) => [None, None],
            Self::Entra(entra) => {
                [entra.client_secret_file.as_deref().map(|path| ("clientSecretFile", path)), None]
            }
            Self::Google(google) => {
                [google.credentials_file.as_deref().map(|path| ("credentialsFile", path)), None]
            }
            Self::OAuth2(oauth2) => [
                Some(("clientSecretFile", oauth2.client_secret_file.as_path())),
                oauth2.ca_file.as_deref().map(|path| ("caFile", path)),
            ],
            Self::Basic { password_file, .. } => {
                [Some(("passwordFile", password_file.as_path())), None]
            }
            Self::Bearer { token_file } => [Some(("tokenFile", token_file.as_path())), None],
        };
        let kind = self.kind();
        files.into_iter().flatten().map(move |(key, path)| ([KEY, kind, key], path))
    }

    /// Whether a host belongs to the managed service whose credentials these are: nobody else answers there. True if they belong to no
    /// such service.
    pub(super) fn is_at_home(&self, url: &Url) -> bool {
        let Some(Host::Domain(host)) = url.host() else { return self.service().is_none() };
        let labels: Vec<_> = host.split('.').collect();
        match self {
            Self::SigV4(sigv4) => sigv4.service == APS && aps_region(host).is_some(),
            Self::Entra(_) => {
                matches!(
                    labels.as_slice(),
                    [.., "prometheus", "monitor", "azure", "com" | "us" | "cn"]
                )
            }
            Self::Google(_) => host == "monitoring.googleapis.com",
            Self::OAuth2(_) | Self::Basic { .. } | Self::Bearer { .. } => true,
        }
    }

    /// The managed service whose credentials these are.
    pub(super) fn service(&self) -> Option<&'static str> {
        match self {
            Self::SigV4(_) => Some("Amazon Managed Service for Prometheus"),
            Self::Entra(_) => Some("Azure Monitor"),
            Self::Google(_) => Some("Google Cloud Monitoring"),
            Self::OAuth2(_) | Self::Basic { .. } | Self::Bearer { .. } => None,
        }
    }
}

/// The signing name of Amazon Managed Service for Prometheus.
const APS: &str = "aps";

/// The region in a host of Amazon Managed Service for Prometheus, or of a VPC endpoint of it.
pub fn aps_region(host: &str) -> Option<&str> {
    let (first, rest) = host.split_once('.')?;
    let (name, rest, is_vpc) = match rest.split_once('.')? {
        (name, rest) if is_workspaces(name) => (name, rest, true),
        _ => (first, rest, false),
    };
    let (region, domain) = rest.split_once('.')?;
    let partition = Partition::of(region);
    let is_home = if is_vpc {
        domain.strip_prefix("vpce.") == Some(partition.domain)
    } else {
        domain == partition.domain || domain == partition.dual_stack
    };
    (is_workspaces(name) && is_home && is_region(region)).then_some(region)
}

fn is_workspaces(label: &str) -> bool {
    matches!(label, "aps-workspaces" | "aps-workspaces-fips")
}

/// Whether a text can be a region: it becomes a part of host names.
pub fn is_region(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Whether a text can be a tenant: it becomes a part of a path.
pub fn is_tenant(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && !text.starts_with('.')
}

#[cfg(test)]
mod tests;
