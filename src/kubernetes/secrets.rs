//! One Secret, read and written with optimistic concurrency.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::refusal::{Refusal, deadline};

/// Where a Secret is, which may not exist.
#[derive(Clone)]
pub struct SecretPlace {
    api: Api<Secret>,
    name: String,
}

/// A Secret as it was read.
pub struct Stored(Secret);

impl SecretPlace {
    /// A place in a namespace.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned() }
    }

    /// The Secret's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the Secret; nothing if there is none.
    pub async fn read(&self) -> Result<Option<Stored>, Refusal> {
        Ok(deadline(self.api.get_opt(&self.name)).await?.map(Stored))
    }

    /// Makes the Secret. That it exists already is a conflict.
    pub async fn create(&self, data: &BTreeMap<String, Vec<u8>>) -> Result<(), Refusal> {
        let label = ("app.kubernetes.io/managed-by", "loadline");
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some([(label.0.to_owned(), label.1.to_owned())].into()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(encode(data)),
            ..Secret::default()
        };
        deadline(self.api.create(&PostParams::default(), &secret)).await?;
        Ok(())
    }

    /// Writes new data into a Secret that was read. That it has changed since is a conflict.
    pub async fn replace(
        &self,
        stored: Stored,
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), Refusal> {
        let mut secret = stored.0;
        secret.data.get_or_insert_default().extend(encode(data));
        let parameters = PostParams::default();
        deadline(self.api.replace(&self.name, &parameters, &secret)).await?;
        Ok(())
    }
}

impl Stored {
    /// The Secret's data.
    pub fn data(&self) -> BTreeMap<String, Vec<u8>> {
        let data = self.0.data.iter().flatten();
        data.map(|(name, value)| (name.clone(), value.0.clone())).collect()
    }
}

fn encode(data: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, ByteString> {
    data.iter().map(|(name, value)| (name.clone(), ByteString(value.clone()))).collect()
}
