//! Tokens of Microsoft Entra ID: the client credentials grant with a secret or with the token of a service account, and the metadata
//! server.

use std::{path::Path, sync::Arc};

use reqwest::Url;
use secrecy::ExposeSecret as _;

use super::{
    super::config::{ConfigError, Source},
    Credential, Endpoint, Fetched, SecretFile, TokenError, Variables,
    endpoint::{JSON, client, form, guarded},
};
use crate::core::{
    cloud::replies,
    rules::auth::{self, Cloud, Identity, is_tenant},
};

const ENTRA: Endpoint = Endpoint { name: "Entra ID", error: replies::token_error };

const METADATA: Endpoint =
    Endpoint { name: "the metadata server of Azure", error: replies::token_error };

/// Where the metadata server is.
const METADATA_URL: &str = "http://169.254.169.254";

/// What the metadata server's interface is called.
const METADATA_VERSION: &str = "2018-02-01";

/// The kind of assertion that a service account's token is.
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The source of tokens of Entra.
pub(super) struct Entra {
    settings: auth::Entra,
    proof: Proof,
    variables: Arc<Variables>,
}

/// How Entra knows the client.
enum Proof {
    Secret(SecretFile),
    Workload,
    Managed,
}

impl Entra {
    pub(super) fn new(
        settings: &auth::Entra,
        source: impl Fn(&Path) -> Source,
        variables: &Arc<Variables>,
    ) -> Result<Self, ConfigError> {
        let proof = match (&settings.client_secret_file, settings.identity) {
            (Some(file), _) => {
                let file = SecretFile::line("auth.entra.clientSecretFile", source(file));
                file.read()?;
                Proof::Secret(file)
            }
            (None, Some(Identity::Workload)) => Proof::Workload,
            (None, None) if variables.get("AZURE_FEDERATED_TOKEN_FILE").is_some() => {
                Proof::Workload
            }
            (None, Some(Identity::Managed) | None) => Proof::Managed,
        };
        Ok(Self { settings: settings.clone(), proof, variables: Arc::clone(variables) })
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, TokenError> {
        let (endpoint, reply) = match &self.proof {
            Proof::Secret(file) => {
                let secret = file.content().await?;
                let parameters = [("client_secret", secret.expose_secret())];
                (ENTRA, self.grant(&parameters, secret.expose_secret()).await?)
            }
            Proof::Workload => {
                let name = "AZURE_FEDERATED_TOKEN_FILE";
                let file = Source::file(Path::new(self.variables.require(name)?));
                let token = SecretFile::line(name, file).content().await?;
                let parameters = [
                    ("client_assertion_type", ASSERTION),
                    ("client_assertion", token.expose_secret()),
                ];
                (ENTRA, self.grant(&parameters, token.expose_secret()).await?)
            }
            Proof::Managed => (METADATA, self.managed().await?),
        };
        let token = replies::token(&reply.body).map_err(|error| endpoint.unreadable(error))?;
        let lifetime = Some(token.lifetime);
        Ok(Fetched { credential: Credential::Bearer(token.text), lifetime })
    }

    async fn grant(
        &self,
        proof: &[(&str, &str)],
        secret: &str,
    ) -> Result<super::endpoint::Reply, TokenError> {
        let tenant = match &self.settings.tenant_id {
            Some(tenant) => tenant,
            None => self.variables.require("AZURE_TENANT_ID")?,
        };
        if !is_tenant(tenant) {
            return Err(TokenError::Settings("AZURE_TENANT_ID is not a tenant".to_owned()));
        }
        let client_id = match self.client_id() {
            Some(id) => id,
            None => self.variables.require("AZURE_CLIENT_ID")?,
        };
        let mut url = self.authority()?;
        let path = format!("{}/{tenant}/oauth2/v2.0/token", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let scope = self.scope()?;
        let parameters = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("scope", scope.as_str()),
        ];
        let parameters = [parameters.as_slice(), proof].concat();
        let request = form(&client(&url, None).await?, url, JSON, &parameters);
        ENTRA.call(request, &[secret]).await
    }

    async fn managed(&self) -> Result<super::endpoint::Reply, TokenError> {
        let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
        let mut url = guarded(self.variables.get(name).unwrap_or(METADATA_URL), name)?;
        url.set_path("/metadata/identity/oauth2/token");
        let scope = self.scope()?;
        let resource = scope.strip_suffix("/.default").unwrap_or(&scope);
        let mut parameters = vec![("api-version", METADATA_VERSION), ("resource", resource)];
        parameters.extend(self.client_id().map(|id| ("client_id", id)));
        let request = client(&url, None).await?.get(url).query(&parameters);
        METADATA.call(request.header("metadata", "true"), &[]).await
    }

    fn client_id(&self) -> Option<&str> {
        self.settings.client_id.as_deref().or_else(|| self.variables.get("AZURE_CLIENT_ID"))
    }

    /// The authority of the cloud that the settings name, else that of the environment.
    fn authority(&self) -> Result<Url, TokenError> {
        let name = "AZURE_AUTHORITY_HOST";
        let url = match (self.settings.cloud, self.variables.get(name)) {
            (None, Some(url)) => url,
            (None | Some(Cloud::Public), _) => "https://login.microsoftonline.com",
            (Some(Cloud::Government), _) => "https://login.microsoftonline.us",
            (Some(Cloud::China), _) => "https://login.chinacloudapi.cn",
        };
        guarded(url, name)
    }

    /// Reading from Azure Monitor in the cloud of the authority, if the settings name no scope.
    fn scope(&self) -> Result<String, TokenError> {
        if let Some(scope) = &self.settings.scope {
            return Ok(scope.clone());
        }
        let authority = self.authority()?;
        let host = authority.host_str().unwrap_or_default();
        let end = match host.rsplit('.').next() {
            Some("us") => "us",
            Some("cn") => "cn",
            _ => "com",
        };
        Ok(format!("https://prometheus.monitor.azure.{end}/.default"))
    }
}
