//! The objects of a kind, listed page by page in bounded time.

use std::{marker::PhantomData, time::Duration};

use futures::Stream;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::{Request, WatchEvent},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Error, TIMEOUT,
    list::{Object, PAGE, Page, Pages, path},
    retries::{Broken, broken},
};
use crate::core::{kinds::Kind, selector::Selector};

/// How long a list may take, all of its pages together.
const WHOLE_LIST: Duration = Duration::from_secs(300);

/// Objects of a kind, each read as a `T`.
pub struct Collection<T> {
    client: Client,
    request: Request,
    is_partial: bool,
    fields: Option<String>,
    labels: Option<String>,
    /// How many objects a page of a list holds.
    page: u32,
    objects: PhantomData<fn() -> T>,
}

impl Collection<Object> {
    /// The metadata of a kind in all namespaces, of those objects that a field selector selects.
    pub fn metadata(client: Client, kind: &Kind, fields: Option<&str>) -> Self {
        let fields = fields.map(str::to_owned);
        Self { is_partial: true, fields, ..Self::new(client, path(kind, None)) }
    }
}

impl<T: Clone + DeserializeOwned> Collection<T> {
    fn new(client: Client, path: String) -> Self {
        Self {
            client,
            request: Request::new(path),
            is_partial: false,
            fields: None,
            labels: None,
            page: PAGE,
            objects: PhantomData,
        }
    }

    /// All objects of a kind in all namespaces.
    pub fn all(client: Client, kind: &Kind) -> Self {
        Self::new(client, path(kind, None))
    }

    /// One object.
    pub fn one(client: Client, kind: &Kind, namespace: &str, name: &str) -> Self {
        let fields = Some(format!("metadata.name={name}"));
        Self { fields, ..Self::new(client, path(kind, Some(namespace))) }
    }

    /// The objects of a kind in a namespace whose labels a selector selects.
    pub fn selected(client: Client, kind: &Kind, namespace: &str, labels: &Selector) -> Self {
        let labels = Some(labels.to_string());
        Self { labels, ..Self::new(client, path(kind, Some(namespace))) }
    }

    /// Lists so many at a time.
    #[must_use]
    pub fn by_pages_of(self, page: u32) -> Self {
        Self { page, ..self }
    }

    /// Lists all objects, in the order of namespace and name. Returns the version of the list.
    pub async fn list(&self, mut take: impl FnMut(T)) -> Result<String, Broken> {
        let mut parameters = ListParams::default().limit(self.page);
        parameters.field_selector.clone_from(&self.fields);
        parameters.label_selector.clone_from(&self.labels);
        let mut pages = Pages::default();
        let end = Instant::now() + WHOLE_LIST;
        loop {
            let request = if self.is_partial {
                self.request.list_metadata(&parameters)
            } else {
                self.request.list(&parameters)
            };
            let request = request.map_err(kube::Error::BuildRequest).map_err(Error::from)?;
            let page = timeout(TIMEOUT, self.client.request(request));
            let page: Page<_> = match timeout_at(end, page).await {
                Ok(Ok(page)) => page.map_err(|error| broken("list", &error))?,
                Ok(Err(_elapsed)) => return Err(Error::Timeout(TIMEOUT).into()),
                Err(_elapsed) => return Err(Error::Timeout(WHOLE_LIST).into()),
            };
            parameters.continue_token = pages.next(&page.metadata)?;
            page.items.into_iter().flatten().for_each(&mut take);
            if parameters.continue_token.is_none() {
                return page
                    .metadata
                    .resource_version
                    .ok_or_else(|| Error::Api("a list has no version".to_owned()).into());
            }
        }
    }

    /// Begins to watch the changes after a version; the API server ends the watch after so many seconds.
    pub(super) async fn watch(
        &self,
        version: &str,
        seconds: u32,
    ) -> Result<kube::Result<impl Stream<Item = kube::Result<WatchEvent<T>>> + use<T>>, Error> {
        let parameters = WatchParams {
            field_selector: self.fields.clone(),
            label_selector: self.labels.clone(),
            timeout: Some(seconds),
            ..WatchParams::default()
        };
        let request = if self.is_partial {
            self.request.watch_metadata(&parameters, version)
        } else {
            self.request.watch(&parameters, version)
        };
        let request = request.map_err(kube::Error::BuildRequest)?;
        let connected = timeout(TIMEOUT, self.client.request_events(request)).await;
        connected.map_err(|_elapsed| Error::Timeout(TIMEOUT))
    }
}
