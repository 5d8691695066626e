//! The client credentials grant of OAuth 2.0 (RFC 6749, section 4.4).

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, header};
use secrecy::ExposeSecret as _;

use super::{
    super::config::{ConfigError, Source},
    Credential, Endpoint, Fetched, SecretFile, TokenError,
    endpoint::{JSON, client, form},
};
use crate::core::{
    cloud::replies,
    rules::auth::{ClientAuth, OAuth2},
};

const TOKENS: Endpoint = Endpoint { name: "the token endpoint", error: replies::token_error };

/// A client of an authorization server.
pub(super) struct ClientCredentials {
    settings: OAuth2,
    secret: SecretFile,
    ca: Option<Source>,
}

impl ClientCredentials {
    pub(super) fn new(
        settings: &OAuth2,
        source: impl Fn(&Path) -> Source,
    ) -> Result<Self, ConfigError> {
        let key = "auth.oauth2.clientSecretFile";
        let secret = SecretFile::line(key, source(&settings.client_secret_file));
        let ca = settings.ca_file.as_deref().map(source);
        secret.read()?;
        if let Some(ca) = &ca {
            ca.read().map_err(|error| error.of("auth.oauth2.caFile"))?;
        }
        Ok(Self { settings: settings.clone(), secret, ca })
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, TokenError> {
        let settings = &self.settings;
        let secret = self.secret.content().await?;
        let secret = secret.expose_secret();
        let scopes = settings.scopes.join(" ");
        let mut parameters = vec![("grant_type", "client_credentials")];
        if !scopes.is_empty() {
            parameters.push(("scope", scopes.as_str()));
        }
        let further = settings.endpoint_params.iter();
        parameters.extend(further.map(|(name, value)| (name.as_str(), value.as_str())));
        if settings.client_auth == ClientAuth::Post {
            parameters
                .extend([("client_id", settings.client_id.as_str()), ("client_secret", secret)]);
        }
        let http = client(&settings.token_url, self.ca.as_ref()).await?;
        let mut request = form(&http, settings.token_url.clone(), JSON, &parameters);
        let basic = basic(&settings.client_id, secret);
        if settings.client_auth == ClientAuth::Basic {
            // Base64 is always a value of a header.
            let mut value = HeaderValue::from_str(&format!("Basic {basic}"))
                .unwrap_or(HeaderValue::from_static(""));
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let reply = TOKENS.call(request, &[secret, &basic]).await?;
        let token = replies::token(&reply.body).map_err(|error| TOKENS.unreadable(error))?;
        let lifetime = Some(token.lifetime);
        Ok(Fetched { credential: Credential::Bearer(token.text), lifetime })
    }
}

/// Client and secret for basic authentication: both are encoded as in a form before that (section 2.3.1).
fn basic(client: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    STANDARD.encode(format!("{}:{}", encode(client), encode(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_encoded_before_they_are_joined() {
        assert_eq!(STANDARD.decode(basic("a:b c", "p%é")).unwrap(), b"a%3Ab+c:p%25%C3%A9");
    }
}
