//! What somebody reads of a cluster with a kubeconfig of their own, as `kubectl` does.

use std::{
    error::Error as _,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{Request, Uri, header};
use http_body_util::BodyExt as _;
use kube::{
    Client, Config,
    client::Body,
    config::{AuthInfo, KubeConfigOptions, KubeconfigError},
    core::Status,
};
use serde_json::Value;

use super::{Error, KindsSource, TIMEOUT, client, public};
use crate::{
    core::excerpt::{NAME, SAID, excerpt},
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

/// A request that was refused, with the word for programs.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What was said.
    pub unread: Unread,
    /// The reason of the `Status`; empty where the answer was none.
    pub reason: String,
}

/// A server beside kube-apiserver that serves the same API, and how to know it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// Its URL, with https.
    pub url: Uri,
    /// The file with the authorities that may have signed its certificate; nothing for those of the system.
    pub authority: Option<PathBuf>,
    /// The name in its certificate; nothing for that of the URL.
    pub name: Option<String>,
    /// Whether any certificate will do.
    pub is_unverified: bool,
    /// The file with a token; nothing for the credentials of the kubeconfig.
    pub token: Option<PathBuf>,
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
}

impl Reader {
    /// The cluster of a kubeconfig, or of the one that `kubectl` would take, or the one that we run in.
    pub async fn connect(file: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        Self::new(config(file, context).await?)
    }

    /// A server beside the cluster of a kubeconfig, which is read as the same user.
    pub async fn connect_elsewhere(
        server: Elsewhere,
        file: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Self, Error> {
        let Elsewhere { url, authority, name, is_unverified, token } = server;
        let own = match (config(file, context).await, &token) {
            (Ok(own), None) => own.auth_info,
            (Err(error), None) => return Err(error),
            (_, Some(token)) => {
                let token = Some(token.display().to_string());
                AuthInfo { token_file: token, ..AuthInfo::default() }
            }
        };
        let mut config = Config::new(url);
        config.auth_info = own;
        config.root_cert_file = authority;
        config.tls_server_name = name;
        config.accept_invalid_certs = is_unverified;
        Self::new(config)
    }

    fn new(config: Config) -> Result<Self, Error> {
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
        self.answer_within(limit, path).await.map_err(|refused| refused.unread)
    }

    /// The body of an answer, within a time; else what the server said, with its reason.
    pub async fn answer_within(&self, limit: Duration, path: &str) -> Result<String, Refused> {
        self.send(limit, Request::get(path), Vec::new()).await
    }

    /// An object.
    pub async fn get(&self, path: &str) -> Result<Value, Unread> {
        read(&self.text(path).await?)
    }

    /// What the server makes of an object that is not kept, such as a review.
    pub async fn review(&self, path: &str, review: &Value) -> Result<Value, Unread> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let answer = self.send(TIMEOUT, request, review.to_string().into_bytes()).await;
        read(&answer.map_err(|refused| refused.unread)?)
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
    ) -> Result<String, Refused> {
        let unsent = |message: String| Refused {
            unread: Unread { code: 0, message },
            reason: String::new(),
        };
        let request = request.header(header::ACCEPT, "application/json").body(body);
        let request = request.map_err(|error| unsent(error.to_string()))?;
        match tokio::time::timeout(limit, self.answer(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(unsent(public(&error))),
            Err(_elapsed) => Err(unsent(Error::Timeout(limit).to_string())),
        }
    }

    /// The body of an answer, or what a refusal says.
    async fn answer(&self, request: Request<Vec<u8>>) -> kube::Result<Result<String, Refused>> {
        let response = self.client.send(request.map(Body::from)).await?;
        let code = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8(body.into()).map_err(kube::Error::FromUtf8)?;
        let is_refusal = code.is_client_error() || code.is_server_error();
        Ok(if is_refusal { Err(Refused::of(code.as_u16(), &text)) } else { Ok(text) })
    }
}

impl Refused {
    /// What there is in a body. What is no `Status` may be read as an empty one, and says nothing.
    fn of(code: u16, body: &str) -> Self {
        match serde_json::from_str::<Status>(body) {
            Ok(status) if status.code != 0 => Self {
                unread: Unread { code: status.code, message: excerpt(&status.message, SAID) },
                reason: excerpt(&status.reason, NAME),
            },
            _ => Self {
                unread: Unread {
                    code,
                    message: format!("HTTP status {code}, with a body that is no Status"),
                },
                reason: String::new(),
            },
        }
    }
}

/// The configuration of a kubeconfig, or of the one that `kubectl` would take, or of the cluster that we run in.
async fn config(file: Option<&Path>, context: Option<&str>) -> Result<Config, Error> {
    let options =
        KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    match file {
        Some(path) => {
            let failed =
                |error: &dyn fmt::Display| Error::Config(format!("{}: {error}", path.display()));
            let kubeconfig = kubeconfig::read(path).map_err(|error| failed(&error))?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            config.map_err(|error| failed(&error))
        }
        None if context.is_some() => {
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|error| Error::Config(unusable(&error)))
        }
        None => Config::infer().await.map_err(|error| {
            // That it is no pod of a cluster either is the usual case, and helps nobody.
            let kubeconfig = error.source().and_then(|source| source.downcast_ref());
            Error::Config(kubeconfig.map_or_else(|| error.to_string(), unusable))
        }),
    }
}

/// Why there is no kubeconfig that can be used, and what to do.
fn unusable(error: &KubeconfigError) -> String {
    let name_one = "name one by --kubeconfig or the variable KUBECONFIG";
    match error {
        KubeconfigError::FindPath => format!("there is no kubeconfig: {name_one}"),
        KubeconfigError::ReadConfig(error, path) if error.kind() == io::ErrorKind::NotFound => {
            format!("there is no kubeconfig {}: {name_one}", path.display())
        }
        KubeconfigError::ReadConfig(error, path) => {
            format!("the kubeconfig {} cannot be read: {error}", path.display())
        }
        KubeconfigError::CurrentContextNotSet => {
            "the kubeconfig has no current context: name one by --context".to_owned()
        }
        error => format!("the kubeconfig cannot be used: {error}"),
    }
}

fn read(text: &str) -> Result<Value, Unread> {
    serde_json::from_str(text)
        .map_err(|error| Unread { code: 0, message: format!("the answer is no JSON: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_status_of_http_where_the_body_has_none() {
        let of = |body: &str| {
            let Refused { unread, reason } = Refused::of(404, body);
            (unread.code, unread.message, reason)
        };
        let status = r#"{"kind":"Status","message":"why","reason":"Gone","code":410}"#;
        assert_eq!(of(status), (410, "why".to_owned(), "Gone".to_owned()));
        // So says an API server of a group that it does not have.
        for body in [r#"{"paths":["/apis"]}"#, "404 page not found", "", "{\"message\":\"secret\"}"]
        {
            let (code, message, reason) = of(body);
            assert_eq!((code, reason.as_str()), (404, ""), "{body}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
