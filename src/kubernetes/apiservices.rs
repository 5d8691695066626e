//! The registrations of aggregated APIs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::refusal::{Refusal, deadline};

/// The registrations of aggregated APIs.
#[derive(Clone)]
pub struct Registrations(Api<APIService>);

/// The registration of a version of a group, as it was read.
pub struct Registration(APIService);

impl Registrations {
    /// Those of a cluster.
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }

    /// Reads one, by `version.group`; nothing if there is none.
    pub async fn read(&self, name: &str) -> Result<Option<Registration>, Refusal> {
        Ok(deadline(self.0.get_opt(name)).await?.map(Registration))
    }

    /// Sets the authorities that the service's certificate is verified with. A change since it was read is a conflict.
    pub async fn trust(&self, registration: &Registration, bundle: &str) -> Result<(), Refusal> {
        let metadata = &registration.0.metadata;
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": metadata.resource_version},
            // The two exclude each other.
            "spec": {"caBundle": STANDARD.encode(bundle), "insecureSkipTLSVerify": null},
        }));
        let name = metadata.name.as_deref().unwrap_or_default();
        let parameters = PatchParams::default();
        deadline(self.0.patch(name, &parameters, &patch)).await?;
        Ok(())
    }
}

impl Registration {
    /// Namespace and name of the service that answers for it; nothing where that is kube-apiserver itself.
    pub fn service(&self) -> Option<(&str, &str)> {
        let found = self.0.spec.as_ref()?.service.as_ref()?;
        Some((
            found.namespace.as_deref().unwrap_or_default(),
            found.name.as_deref().unwrap_or_default(),
        ))
    }

    /// Its UID.
    pub fn uid(&self) -> Option<&str> {
        self.0.metadata.uid.as_deref()
    }

    /// Whether a service answers for it.
    pub fn is_served_by(&self, service: &str, namespace: &str) -> bool {
        self.service() == Some((namespace, service))
    }

    /// Whether cert-manager writes its authorities.
    pub fn is_injected(&self) -> bool {
        let annotations = self.0.metadata.annotations.iter().flatten();
        annotations.into_iter().any(|(name, _)| name.starts_with("cert-manager.io/inject-"))
    }

    /// The authorities that the service's certificate is verified with, as PEM.
    pub fn bundle(&self) -> &[u8] {
        let spec = self.0.spec.as_ref();
        spec.and_then(|spec| spec.ca_bundle.as_ref())
            .map(|bundle| bundle.0.as_slice())
            .unwrap_or_default()
    }
}
