//! What a connection to a delegate is made from, and the connection.

use std::{path::Path, sync::Arc, time::Duration};

use http::HeaderValue;
use kube::Client;
use reqwest::redirect::Policy;

use crate::{
    blocking,
    core::rules::{CaSource, CredentialPolicy, Delegate},
    kubernetes::{apiservices::Registrations, secrets::SecretPlace},
    prometheus::{Error, Source},
};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client, and what it is made from.
pub(super) struct Connection {
    pub(super) client: reqwest::Client,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) materials: Materials,
}

/// What a connection is made from.
#[derive(Clone, Default, Eq, PartialEq)]
pub(super) struct Materials {
    /// The certificates in PEM; nothing stands for those of the system.
    authorities: Option<Vec<u8>>,
    pub(super) token: Option<Vec<u8>>,
}

impl Materials {
    /// The credentials and authorities of a delegate as they are now.
    pub(super) async fn read(
        delegate: &Delegate,
        cluster: Option<&Client>,
        policy: &CredentialPolicy,
    ) -> Result<Self, String> {
        let Delegate { authority, token_file, auth_in_cluster, .. } = delegate;
        let folders = Arc::clone(&policy.folders);
        let confined = |path: &Path| Source::confined(path, &folders);
        let token = match token_file {
            Some(path) => Some(confined(path)),
            None => auth_in_cluster.then(|| Source::of_service_account("token")),
        };
        let token = content(token).await?;
        let authorities = match (authority, cluster) {
            (CaSource::System, _) => None,
            (CaSource::File(path), _) => content(Some(confined(path))).await?,
            (CaSource::Secret { namespace, name, key }, Some(cluster)) => {
                let place = SecretPlace::new(cluster.clone(), namespace, name);
                let secret = place.read().await.map_err(|error| error.to_string())?;
                let content = secret.and_then(|secret| secret.data().remove(key));
                Some(content.ok_or_else(|| {
                    format!("there is no Secret {namespace}/{name} with the key {key}")
                })?)
            }
            (CaSource::BundleOf(name), Some(cluster)) => {
                let registrations = Registrations::new(cluster.clone());
                let found = registrations.read(name).await.map_err(|error| error.to_string())?;
                let bundle = found.map(|found| found.bundle().to_vec());
                let bundle = bundle.filter(|bundle| !bundle.is_empty());
                Some(
                    bundle
                        .ok_or_else(|| format!("there is no APIService {name} with a caBundle"))?,
                )
            }
            (CaSource::Secret { .. } | CaSource::BundleOf(_), None) => {
                return Err("there is no cluster".to_owned());
            }
        };
        Ok(Self { authorities, token })
    }
}

impl Connection {
    /// Makes the client.
    pub(super) fn new(materials: Materials) -> Result<Self, String> {
        let tls = |error: reqwest::Error| match Error::transport(&error) {
            Error::Unreachable { message, .. } => message,
            other => other.to_string(),
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("loadline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            // A server of the cluster is not behind the proxy of the environment.
            .no_proxy()
            .tcp_keepalive(Duration::from_secs(30));
        if let Some(authorities) = &materials.authorities {
            let certificates = reqwest::Certificate::from_pem_bundle(authorities).map_err(tls)?;
            if certificates.is_empty() {
                return Err("the authorities hold no certificate".to_owned());
            }
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(tls)?;
        let authorization = materials.token.as_deref().map(|token| {
            let text = format!("Bearer {}", String::from_utf8_lossy(token).trim());
            let mut value = HeaderValue::from_str(&text).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        Ok(Self { client, authorization: authorization.transpose()?, materials })
    }
}

async fn content(source: Option<Source>) -> Result<Option<Vec<u8>>, String> {
    let Some(source) = source else { return Ok(None) };
    let content = blocking::run(move || source.read()).await;
    content.map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use http::{Request, Response, StatusCode};
    use kube::client::Body as KubeBody;
    use serde_json::json;

    use super::*;
    use crate::core::rules::load;

    /// A cluster with a Secret and an `APIService` that have authorities.
    fn cluster() -> Client {
        let serve = |request: Request<KubeBody>| {
            let authority = |text: &str| STANDARD.encode(text);
            let (code, body) = match request.uri().path() {
                "/api/v1/namespaces/keda/secrets/kedaorg-certs" => (
                    StatusCode::OK,
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kedaorg-certs"}, "data": {"ca.crt": authority("of the Secret"), "tls.key": authority("private")}}),
                ),
                "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.other" => (
                    StatusCode::OK,
                    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1beta1.other"}, "spec": {"groupPriorityMinimum": 1, "versionPriority": 1, "caBundle": authority("of the APIService")}}),
                ),
                _ => (
                    StatusCode::NOT_FOUND,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "NotFound", "code": 404}),
                ),
            };
            let body = KubeBody::from(body.to_string().into_bytes());
            let response = Response::builder().status(code).body(body).unwrap();
            async move { Ok::<_, Infallible>(response) }
        };
        Client::new(tower::service_fn(serve), "monitoring")
    }

    async fn authorities(keys: &str, cluster: Option<Client>) -> Result<String, String> {
        let rules = load(&format!("delegates:\n- {{name: a, url: https://a, {keys}}}\n")).unwrap();
        let delegate = Arc::clone(&rules.delegates[0]);
        let policy = CredentialPolicy::default();
        let materials = Materials::read(&delegate, cluster.as_ref(), &policy).await?;
        Ok(String::from_utf8(materials.authorities.unwrap_or_default()).unwrap())
    }

    #[tokio::test]
    async fn authorities_are_read_from_the_cluster() {
        let read = async |keys| authorities(keys, Some(cluster())).await;
        let secret = "caSecret: {namespace: keda, name: kedaorg-certs}";
        assert_eq!(read(secret).await.as_deref(), Ok("of the Secret"));
        assert_eq!(read("caBundleOf: v1beta1.other").await.as_deref(), Ok("of the APIService"));
        for (keys, wanted) in [
            ("caSecret: {namespace: keda, name: none}", "no Secret keda/none"),
            ("caSecret: {namespace: keda, name: kedaorg-certs, key: x}", "the key x"),
            ("caBundleOf: v1beta1.none", "no APIService v1beta1.none"),
        ] {
            let error = read(keys).await.unwrap_err();
            assert!(error.contains(wanted), "{keys}: {error}");
        }
        assert!(authorities(secret, None).await.is_err());
    }
}
