//! Tokens of Google Cloud: of the metadata server, which also speaks for workload identity, and of a service account's key.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::{
    super::config::{ConfigError, Source},
    Credential, Endpoint, Fetched, SecretFile, Skew, TokenError, Variables,
    endpoint::{JSON, client, form, guarded},
};
use crate::core::{cloud::replies, rules::auth};

const TOKENS: Endpoint =
    Endpoint { name: "the token endpoint of Google", error: replies::token_error };

const METADATA: Endpoint =
    Endpoint { name: "the metadata server of Google Cloud", error: replies::token_error };

/// Where the metadata server is. It also has a name, which not every pod can look up.
const METADATA_HOST: &str = "169.254.169.254";

/// Reading from Cloud Monitoring.
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.read";

/// How long an assertion is good, in seconds: the most that is allowed.
const ASSERTION_LIFETIME: i64 = 3600;

/// The source of tokens of Google.
pub(super) struct Google {
    /// The key of a service account; else the metadata server has the token.
    key: Option<SecretFile>,
    scopes: String,
    variables: Arc<Variables>,
    skew: Arc<Skew>,
}

/// The file of a key.
#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default, rename = "private_key", deserialize_with = "hidden")]
    pem: SecretString,
    #[serde(default = "token_uri")]
    token_uri: String,
}

fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

fn token_uri() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

impl Google {
    pub(super) fn new(
        settings: &auth::Google,
        source: impl Fn(&Path) -> Source,
        variables: &Arc<Variables>,
        skew: &Arc<Skew>,
    ) -> Result<Self, ConfigError> {
        let of_environment = || {
            let name = "GOOGLE_APPLICATION_CREDENTIALS";
            Some(SecretFile::document(name, Source::file(Path::new(variables.get(name)?))))
        };
        let of_settings = |path| SecretFile::document("auth.google.credentialsFile", source(path));
        let key = settings.credentials_file.as_deref().map(of_settings).or_else(of_environment);
        if let Some(key) = &key {
            key.read()?;
        }
        let scopes = match settings.scopes.as_slice() {
            [] => SCOPE.to_owned(),
            scopes => scopes.join(" "),
        };
        Ok(Self { key, scopes, variables: Arc::clone(variables), skew: Arc::clone(skew) })
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, TokenError> {
        let (endpoint, reply) = match &self.key {
            Some(key) => (TOKENS, self.exchanged(&read(key).await?).await?),
            None => (METADATA, self.metadata().await?),
        };
        let token = replies::token(&reply.body).map_err(|error| endpoint.unreadable(error))?;
        let lifetime = Some(token.lifetime);
        Ok(Fetched { credential: Credential::Bearer(token.text), lifetime })
    }

    async fn metadata(&self) -> Result<super::endpoint::Reply, TokenError> {
        let name = "GCE_METADATA_HOST";
        let host = self.variables.get(name).unwrap_or(METADATA_HOST);
        let mut url = guarded(&format!("http://{host}"), name)?;
        url.set_path("/computeMetadata/v1/instance/service-accounts/default/token");
        let scopes = self.scopes.replace(' ', ",");
        let request = client(&url, None).await?.get(url).query(&[("scopes", scopes.as_str())]);
        METADATA.call(request.header("metadata-flavor", "Google"), &[]).await
    }

    /// The token for an assertion that the key has signed, as RFC 7523 says.
    async fn exchanged(&self, key: &Key) -> Result<super::endpoint::Reply, TokenError> {
        let pair = pair(key)?;
        let url = guarded(&key.token_uri, "`token_uri` of the key of the service account")?;
        let client = client(&url, None).await?;
        let request = |at| {
            let assertion = assertion(key, &pair, &self.scopes, at)?;
            let parameters = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", assertion.expose_secret()),
            ];
            Ok(form(&client, url.clone(), JSON, &parameters))
        };
        TOKENS.call_at(&self.skew, &[], request).await
    }
}

async fn read(file: &SecretFile) -> Result<Key, TokenError> {
    let content = file.content().await?;
    let wrong = |text: &str| {
        let path =
            file.source.path().map(|path| format!(" {}", path.display())).unwrap_or_default();
        TokenError::Settings(format!(
            "the credentials file of Google{path} {text}: the key of a service account is expected"
        ))
    };
    let key: Key = serde_json::from_str(content.expose_secret())
        .map_err(|_its_text| wrong("is not JSON of the expected form"))?;
    if key.kind == "service_account" { Ok(key) } else { Err(wrong("has another type")) }
}

fn pair(key: &Key) -> Result<RsaKeyPair, TokenError> {
    let wrong = || {
        let text = "`private_key` of the key of the service account is not an RSA key as PKCS #8";
        TokenError::Settings(text.to_owned())
    };
    let block = pem::parse(key.pem.expose_secret()).map_err(|_its_text| wrong())?;
    RsaKeyPair::from_pkcs8(block.contents()).map_err(|_its_key| wrong())
}

/// A JSON Web Token (RFC 7519) with which the service account asks for a token.
fn assertion(
    key: &Key,
    pair: &RsaKeyPair,
    scopes: &str,
    at: Timestamp,
) -> Result<SecretString, TokenError> {
    let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let head = encode(&json!({"alg": "RS256", "typ": "JWT", "kid": key.private_key_id}));
    let at = at.as_second();
    let claims = encode(&json!({
        "iss": key.client_email,
        "scope": scopes,
        "aud": key.token_uri,
        "iat": at,
        "exp": at + ASSERTION_LIFETIME,
    }));
    signed(pair, &format!("{head}.{claims}"))
}

/// Head and claims, and their signature with RS256.
fn signed(pair: &RsaKeyPair, text: &str) -> Result<SecretString, TokenError> {
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).map_err(
        |_no_details| {
            let text = "the key of the service account cannot sign";
            TokenError::Settings(text.to_owned())
        },
    )?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(private_key: &str) -> Key {
        let file = json!({"type": "service_account", "private_key": private_key});
        serde_json::from_value(file).unwrap()
    }

    #[test]
    fn signatures_are_those_of_rfc_7515() {
        let pair = pair(&key(include_str!("../../../tests/vectors/rfc7515-rsa.pem"))).unwrap();
        let text = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let wanted = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let assertion = signed(&pair, text).unwrap();
        assert_eq!(assertion.expose_secret(), format!("{text}.{wanted}"));
    }

    #[test]
    fn keys_that_cannot_be_used_are_not_shown() {
        for text in
            ["", "secret", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"]
        {
            let error = pair(&key(text)).unwrap_err().to_string();
            assert!(error.contains("PKCS #8") && !error.contains("c2VjcmV0"), "{error}");
        }
    }
}
