//! What somebody reads of a cluster with a kubeconfig of their own, as `kubectl` does.

use std::{fmt, path::Path, time::Duration};

use http::{Request, header};
use kube::{Client, Config, config::KubeConfigOptions};
use serde_json::Value;

use super::{Error, KindsSource, TIMEOUT, client, told};
use crate::{
    core::excerpt::{SAID, excerpt},
    kubeconfig,
};

/// How many objects a page of a list has.
const PAGE: usize = 500;

/// How many pages are read at the most.
const MOST_PAGES: usize = 40;

/// A cluster, and who reads it.
pub struct Reader {
    client: Client,
    namespace: String,
}

/// Something that was not read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// The HTTP status; 0 where there was no answer.
    pub code: u16,
    /// What was said.
    pub message: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Unread {
    /// Whether there is no such object, or no such path.
    pub fn is_absent(&self) -> bool {
        self.code == 404
    }

    /// Whether the user is not permitted to read it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.code, 401 | 403)
    }

    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.reason != "Failed to parse error data" => {
                Self { code: status.code, message: excerpt(&status.message, SAID) }
            }
            kube::Error::Api(status) => Self { code: status.code, message: told(error) },
            error => Self { code: 0, message: told(error) },
        }
    }
}

impl Reader {
    /// The cluster of a kubeconfig, or of the one that `kubectl` would take, or the one that we run in.
    pub async fn connect(file: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        let failed = |error: &dyn fmt::Display| Error::Config(error.to_string());
        let options = KubeConfigOptions {
            context: context.map(str::to_owned),
            ..KubeConfigOptions::default()
        };
        let config = match file {
            Some(path) => {
                let failed = |error: &dyn fmt::Display| {
                    Error::Config(format!("{}: {error}", path.display()))
                };
                let kubeconfig = kubeconfig::read(path).map_err(|error| failed(&error))?;
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|error| failed(&error))?
            }
            None if context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| failed(&error))?
            }
            None => Config::infer().await.map_err(|error| failed(&error))?,
        };
        let namespace = config.default_namespace.clone();
        Ok(Self { client: client(config)?, namespace })
    }

    /// Where the kinds of the cluster come from.
    pub fn kinds(&self) -> KindsSource {
        KindsSource::Cluster(self.client.clone())
    }

    /// The namespace of the context.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The body of an answer, within the time that a request has.
    pub async fn text(&self, path: &str) -> Result<String, Unread> {
        self.text_within(TIMEOUT, path).await
    }

    /// The body of an answer, within a time.
    pub async fn text_within(&self, limit: Duration, path: &str) -> Result<String, Unread> {
        self.send(limit, Request::get(path), Vec::new()).await
    }

    /// An object.
    pub async fn get(&self, path: &str) -> Result<Value, Unread> {
        read(&self.text(path).await?)
    }

    /// What the server makes of an object that is not kept, such as a review.
    pub async fn review(&self, path: &str, review: &Value) -> Result<Value, Unread> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        read(&self.send(TIMEOUT, request, review.to_string().into_bytes()).await?)
    }

    /// The objects of a list, which say their kind. A list of more than 20,000 is an error: a part of it would lead to the wrong cause.
    pub async fn list(&self, path: &str, kind: &str) -> Result<Vec<Value>, Unread> {
        let mut all = Vec::new();
        let mut next = String::new();
        for _ in 0..MOST_PAGES {
            let mut page = self.get(&format!("{path}?limit={PAGE}{next}")).await?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                all.extend(items.into_iter().map(|mut item| {
                    if let Some(item) = item.as_object_mut() {
                        item.insert("kind".to_owned(), kind.into());
                    }
                    item
                }));
            }
            let token = page.pointer("/metadata/continue").and_then(Value::as_str);
            let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(all) };
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("continue", token);
            next = format!("&{}", query.finish());
        }
        let message = format!("there are more than {}", PAGE * MOST_PAGES);
        Err(Unread { code: 0, message })
    }

    async fn send(
        &self,
        limit: Duration,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<String, Unread> {
        let request = request.header(header::ACCEPT, "application/json").body(body);
        let request = request.map_err(|error| Unread { code: 0, message: error.to_string() })?;
        match tokio::time::timeout(limit, self.client.request_text(request)).await {
            Ok(answer) => answer.map_err(|error| Unread::of(&error)),
            Err(_elapsed) => Err(Unread { code: 0, message: Error::Timeout(limit).to_string() }),
        }
    }
}

fn read(text: &str) -> Result<Value, Unread> {
    serde_json::from_str(text)
        .map_err(|error| Unread { code: 0, message: format!("the answer is no JSON: {error}") })
}
