//! LISTs, page by page, and of each object only what is used.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::{
    Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, Request, Resource as _},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Error, deadline};
use crate::core::{kinds::Kind, selector::Selector};

/// How many objects a page holds.
pub(super) const PAGE: u32 = 500;

/// An object as it is read: the metadata that is used, and of the rest what the parameters take.
#[derive(Clone, Debug, Deserialize)]
pub struct Object<Spec = (), Status = ()> {
    /// Name, namespace and labels.
    pub metadata: Metadata,
    /// `spec`
    #[serde(default)]
    pub spec: Spec,
    /// `status`
    #[serde(default)]
    pub status: Status,
}

/// Of `metav1.ObjectMeta` what is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace; empty for what is in none.
    pub namespace: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    pub(super) resource_version: String,
}

/// A page of a LIST.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
pub(super) struct Page<T> {
    #[serde(default)]
    pub(super) metadata: ListMeta,
    #[serde(default = "Vec::new")]
    pub(super) items: Vec<T>,
}

impl<T> Page<T> {
    /// Where the next page begins; nothing after the last.
    pub(super) fn next(&self) -> Option<&str> {
        self.metadata.continue_.as_deref().filter(|token| !token.is_empty())
    }
}

/// Where the objects of a kind are asked for.
pub(super) fn path(kind: &Kind, namespace: Option<&str>) -> String {
    let Kind { resource, version, kind, .. } = kind;
    let resource = ApiResource {
        group: resource.group.clone(),
        version: version.clone(),
        api_version: if resource.group.is_empty() {
            version.clone()
        } else {
            format!("{}/{version}", resource.group)
        },
        kind: kind.clone(),
        plural: resource.resource.clone(),
    };
    DynamicObject::url_path(&resource, namespace)
}

/// The metadata of the objects of a kind that match a selector of labels and one of fields: a paged LIST. What `take` makes of
/// it is sorted, each once.
pub async fn metadata<T: Ord>(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
    labels: &Selector,
    fields: Option<&str>,
    take: impl Fn(Metadata) -> T,
) -> Result<Vec<T>, Error> {
    let request = Request::new(path(kind, namespace));
    let mut parameters = ListParams::default().limit(PAGE);
    parameters.label_selector = (!labels.is_empty()).then(|| labels.to_string());
    parameters.field_selector = fields.map(str::to_owned);
    let mut taken = Vec::new();
    loop {
        let request = request.list_metadata(&parameters).map_err(kube::Error::BuildRequest)?;
        let page: Page<Object> = deadline(client.request(request)).await?;
        parameters.continue_token = page.next().map(str::to_owned);
        taken.extend(page.items.into_iter().map(|object| take(object.metadata)));
        if parameters.continue_token.is_none() {
            break;
        }
    }
    taken.sort_unstable();
    taken.dedup();
    Ok(taken)
}
