//! LISTs, page by page, and of each object only what is used.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::{
    Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, Request, Resource as _},
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

#[cfg(doc)]
use super::TIMEOUT;
use super::{Error, deadline};
use crate::core::{kinds::Kind, selector::Selector};

/// How many objects a page holds.
pub(super) const PAGE: u32 = 500;

/// The most pages of a list: a million objects.
const MAX_PAGES: usize = 2_000;

/// How long a LIST that a reader waits for may take, all of its pages together.
const WHOLE_LIST: Duration = Duration::from_secs(30);

/// An object as it is read: the metadata that is used, and of the rest what the parameters take.
#[derive(Clone, Debug, Deserialize)]
pub struct Object<Spec = (), Status = (), Data = ()> {
    /// Name, namespace and labels.
    pub metadata: Metadata,
    /// `spec`
    #[serde(default)]
    pub spec: Spec,
    /// `status`
    #[serde(default)]
    pub status: Status,
    /// `data`
    #[serde(default)]
    pub data: Data,
}

impl<Spec, Status, Data> AsRef<Metadata> for Object<Spec, Status, Data> {
    fn as_ref(&self) -> &Metadata {
        &self.metadata
    }
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
    /// kube-apiserver writes `null` where a list of metadata has none.
    pub(super) items: Option<Vec<T>>,
}

/// Which page of a list comes next.
#[derive(Debug, Default)]
pub(super) struct Pages {
    token: Option<String>,
    read: usize,
}

impl Pages {
    /// Takes a page's metadata. Returns the token of the next page, or nothing after the last.
    ///
    /// # Errors
    ///
    /// The list has no end: the token is that of the page before, or there are more than [`MAX_PAGES`].
    pub(super) fn next(&mut self, page: &ListMeta) -> Result<Option<String>, Error> {
        self.read += 1;
        let token = page.continue_.clone().filter(|token| !token.is_empty());
        if token.is_some() && (token == self.token || self.read >= MAX_PAGES) {
            return Err(Error::Api(format!("a list does not end after {} pages", self.read)));
        }
        self.token.clone_from(&token);
        Ok(token)
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
///
/// # Errors
///
/// The API server refuses, fails, or does not answer in time: [`TIMEOUT`] for each page, [`WHOLE_LIST`] for all.
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
    let mut pages = Pages::default();
    let end = Instant::now() + WHOLE_LIST;
    loop {
        let request = request.list_metadata(&parameters).map_err(kube::Error::BuildRequest)?;
        let page = timeout_at(end, deadline(client.request::<Page<Object>>(request))).await;
        let page = page.map_err(|_elapsed| Error::Timeout(WHOLE_LIST))??;
        parameters.continue_token = pages.next(&page.metadata)?;
        let items = page.items.into_iter().flatten();
        taken.extend(items.map(|object| take(object.metadata)));
        if parameters.continue_token.is_none() {
            break;
        }
    }
    taken.sort_unstable();
    taken.dedup();
    Ok(taken)
}

/// The first objects of a kind in a namespace, or in all, as they are, and how many there are beside them as far as the API server knows.
///
/// # Errors
///
/// The API server refuses, fails, or does not answer within [`TIMEOUT`].
pub async fn first<T: DeserializeOwned>(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
    most: u32,
) -> Result<(Vec<T>, usize), Error> {
    let request = Request::new(path(kind, namespace)).list(&ListParams::default().limit(most));
    let request = request.map_err(kube::Error::BuildRequest)?;
    let page: Page<T> = deadline(client.request(request)).await?;
    let more = page.metadata.remaining_item_count.unwrap_or_default();
    let more = usize::try_from(more).unwrap_or_default();
    // A server may know that there are more, and not how many.
    let has_more = page.metadata.continue_.is_some_and(|token| !token.is_empty());
    Ok((page.items.unwrap_or_default(), if has_more { more.max(1) } else { more }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(token: &str) -> ListMeta {
        ListMeta { continue_: Some(token.to_owned()), ..ListMeta::default() }
    }

    #[test]
    fn a_list_goes_from_page_to_page_until_there_is_no_token() {
        let mut pages = Pages::default();
        for token in ["a", "b", "a"] {
            assert_eq!(pages.next(&page(token)).unwrap().as_deref(), Some(token));
        }
        assert_eq!(pages.next(&page("")).unwrap(), None);
        assert_eq!(Pages::default().next(&ListMeta::default()).unwrap(), None);
    }

    #[test]
    fn a_list_without_end_is_an_error() {
        let mut same = Pages::default();
        same.next(&page("again")).unwrap();
        same.next(&page("again")).unwrap_err();

        let mut many = Pages::default();
        let read =
            (0..2 * MAX_PAGES).take_while(|n| many.next(&page(&n.to_string())).is_ok()).count();
        assert_eq!(read, MAX_PAGES - 1);
    }
}
