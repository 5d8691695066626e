//! Which server an API is registered for.

use serde_json::Value;

use super::{super::environment::Server, Cluster, group};
use crate::{
    core::explain::{Api, Cause, Step, name, registration},
    kubernetes::reader::Unread,
    wire::discovery::Group,
};

/// Where registrations are.
const REGISTRATIONS: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

impl Cluster {
    /// The `APIService`s of a group's versions, the preferred one first.
    pub(crate) async fn registrations(
        &self,
        group: Group,
    ) -> Result<Vec<(&'static str, Value)>, Unread> {
        let mut found = Vec::new();
        for version in group.versions {
            match self.0.get(&format!("{REGISTRATIONS}/{version}.{}", group.name)).await {
                Ok(document) => found.push((*version, document)),
                Err(unread) if unread.is_absent() => {}
                Err(unread) => return Err(unread),
            }
        }
        Ok(found)
    }

    /// Who serves an API, and what there is to say of that.
    pub(crate) async fn registration(&self, api: Api) -> (Step, Option<Server>) {
        let group = group(api);
        let found = match self.registrations(group).await {
            Ok(found) => found,
            Err(unread) => {
                let seen = format!("is registered, and by whom cannot be read: {unread}");
                return self.discovered(api, &seen).await;
            }
        };
        let is_available =
            |(_, document): &&(&str, Value)| registration::is_available(document) == Some(true);
        let chosen = found.iter().find(is_available).or(found.first());
        let Some((version, document)) = chosen else {
            // kube-apiserver serves none of these groups itself.
            return self.discovered(api, "is served by the very server that is asked").await;
        };
        let step = registration::step(document);
        let server = Server {
            api,
            prefix: format!("/apis/{}/{version}", group.name),
            service: registration::service(document),
        };
        let server = Some(server).filter(|_| !step.is_failure());
        (step, server)
    }

    /// Who serves an API, as far as API discovery says it: everybody may read that.
    async fn discovered(&self, api: Api, is_served: &str) -> (Step, Option<Server>) {
        let group = group(api);
        let document = match self.0.get(&format!("/apis/{}", group.name)).await {
            Ok(document) => document,
            Err(unread) if unread.is_absent() => {
                let version = group.versions.first().copied().unwrap_or_default();
                return (registration::missing(group.name, version), None);
            }
            Err(unread) if unread.is_forbidden() => {
                // Whoever may read neither may still read the API itself.
                let seen = format!("who serves {} cannot be read: {unread}", group.name);
                let version = group.versions.first().copied().unwrap_or_default();
                let prefix = format!("/apis/{}/{version}", group.name);
                let server = Server { api, prefix, service: None };
                return (Step::unknown(name::APISERVICE, seen), Some(server));
            }
            Err(unread) => {
                let seen = format!("who serves {} cannot be read: {unread}", group.name);
                let advice = "check that kube-apiserver answers: kubectl get --raw /readyz";
                let cause = Cause::ApiserviceUnavailable;
                return (Step::found(name::APISERVICE, cause, seen, advice), None);
            }
        };
        let versions = document.get("versions").and_then(Value::as_array);
        let versions: Vec<_> =
            versions.into_iter().flatten().filter_map(|it| it.get("version")?.as_str()).collect();
        let version = group.versions.iter().find(|version| versions.contains(version));
        let server = version.map(|version| Server {
            api,
            prefix: format!("/apis/{}/{version}", group.name),
            service: None,
        });
        let seen = format!("{} {is_served}", group.name);
        (Step::unknown(name::APISERVICE, seen), server)
    }
}
