//! Endpoints that each container or machine of AWS has for itself.

use std::path::Path;

use http::{HeaderValue, header};
use reqwest::Url;
use secrecy::ExposeSecret;

use super::{
    super::{
        super::config::Source,
        Endpoint, SecretFile, TokenError,
        endpoint::{client, guarded},
    },
    Aws,
};
use crate::core::cloud::replies::{self, TemporaryKeys};

const CONTAINER: Endpoint =
    Endpoint { name: "the credentials endpoint of the container", error: |_body| None };

const INSTANCE: Endpoint = Endpoint {
    name: "the metadata service of EC2, after no other AWS credentials were found",
    error: |_body| None,
};

/// Where the metadata service of EC2 is.
const INSTANCE_URL: &str = "http://169.254.169.254";

/// Where the agent of ECS is.
const ECS_URL: &str = "http://169.254.170.2";

/// How long the session with the metadata service may last, in seconds. It is used for a moment.
const METADATA_SESSION: &str = "60";

impl Aws {
    pub(super) fn container_url(&self) -> Result<Option<Url>, TokenError> {
        if let Some(path) = self.variables.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            let url = format!("{ECS_URL}/{}", path.trim_start_matches('/'));
            return guarded(&url, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(Some);
        }
        let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        self.variables.get(name).map(|url| guarded(url, name)).transpose()
    }

    pub(super) async fn container(&self) -> Result<TemporaryKeys, TokenError> {
        let url = self.container_url()?.ok_or_else(|| {
            let text = "AWS_CONTAINER_CREDENTIALS_FULL_URI is not set";
            TokenError::Settings(text.to_owned())
        })?;
        let name = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        let token = match self.variables.get(name) {
            Some(file) => {
                let file = Source::file(Path::new(file));
                Some(SecretFile::line(name, file).content().await?)
            }
            None => self.variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Into::into),
        };
        let token = token.as_ref().map(ExposeSecret::expose_secret);
        let mut request = client(&url, None).await?.get(url);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, hidden(token)?);
        }
        let secrets: Vec<_> = token.into_iter().collect();
        let reply = CONTAINER.call(request, &secrets).await?;
        replies::aws_keys(&reply.body, reply.made()).map_err(|error| CONTAINER.unreadable(error))
    }

    /// `IMDSv2`: a session first, which needs a PUT that proxies do not make.
    pub(super) async fn instance(&self) -> Result<TemporaryKeys, TokenError> {
        if self
            .variables
            .get("AWS_EC2_METADATA_DISABLED")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
        {
            return Err(TokenError::Settings("no AWS credentials were found".to_owned()));
        }
        let name = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
        let base = guarded(self.variables.get(name).unwrap_or(INSTANCE_URL), name)?;
        let client = client(&base, None).await?;
        let at = |path: &str| {
            let mut url = base.clone();
            url.set_path(path);
            url
        };
        let session = client
            .put(at("/latest/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", METADATA_SESSION)
            .header(header::CONTENT_LENGTH, "0");
        let session = INSTANCE.call(session, &[]).await?;
        let session = String::from_utf8_lossy(&session.body).trim().to_owned();
        let get = |url: Url| {
            let value = hidden(&session)?;
            Ok::<_, TokenError>(client.get(url).header("x-aws-ec2-metadata-token", value))
        };
        let roles = "/latest/meta-data/iam/security-credentials/";
        let role = INSTANCE.call(get(at(roles))?, &[&session]).await?;
        let role = String::from_utf8_lossy(&role.body)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let mut url = at(roles);
        // The URL has a path, so this does not fail.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(&role);
        }
        let reply = INSTANCE.call(get(url)?, &[&session]).await?;
        replies::aws_keys(&reply.body, reply.made()).map_err(|error| INSTANCE.unreadable(error))
    }
}

/// A value that no log shows.
fn hidden(text: &str) -> Result<HeaderValue, TokenError> {
    let mut value = HeaderValue::from_str(text).map_err(|_its_text| {
        TokenError::Settings("a token for AWS credentials cannot be sent in a header".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}
