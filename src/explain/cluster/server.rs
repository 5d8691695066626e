//! Questions to the server that is deployed.

use std::time::Duration;

use super::{super::environment::Server, Cluster, group};
use crate::{
    core::explain::{Answered, Cause, Inquiry, Step, name, registration},
    kubernetes::reader::Unread,
    wire::explanation::{self, DecodeError},
};

/// How long the server may take: longer than it takes itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a server is asked that has too much to explain.
const TRIES: usize = 5;

/// How long it has until it is asked again, which is what it says itself.
const PAUSE: Duration = Duration::from_secs(1);

impl Cluster {
    /// What a server says of a metric.
    pub(crate) async fn ask(&self, server: &Server, inquiry: &Inquiry) -> Result<Answered, Step> {
        let path = explanation::path(&server.prefix, inquiry);
        let mut text = self.0.text_within(PATIENCE, &path).await;
        for _ in 1..TRIES {
            let is_busy = matches!(&text, Err(unread) if unread.code == 429);
            if !is_busy {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            text = self.0.text_within(PATIENCE, &path).await;
        }
        let text = text.map_err(|unread| refused(server, inquiry, &unread))?;
        explanation::decode(&text).map_err(|error| match error {
            DecodeError::Other => other_owner(server),
            error @ DecodeError::Form(_) => Step::found(
                name::APISERVICE,
                Cause::ApiserviceOtherOwner,
                error.to_string(),
                "use a loadline of the version that is deployed",
            ),
        })
    }
}

fn other_owner(server: &Server) -> Step {
    registration::other_owner(group(server.api).name, server.service.as_deref())
}

/// Why the server did not explain.
fn refused(server: &Server, inquiry: &Inquiry, unread: &Unread) -> Step {
    let api = group(server.api).name;
    // What a server says that takes the path for another one.
    let is_other_path = unread.message.contains("invalid request path");
    match unread.code {
        401 | 403 => {
            let place = inquiry.namespace.as_ref();
            let advice = match place {
                Some(namespace) => format!(
                    "have the ClusterRole `loadline-explain` bound to you in namespace {namespace}"
                ),
                None => "have the ClusterRole `loadline-explain` bound to you".to_owned(),
            };
            let seen = unread.message.clone();
            Step::found(name::ACCESS, Cause::NotAuthorizedMe, seen, advice)
        }
        404 | 405 => other_owner(server),
        400 if is_other_path => other_owner(server),
        400 => Step::unsound(name::HPA, unread.to_string(), "correct the name or the selector"),
        _ => {
            let seen = format!("the server of {api} has not explained it: {unread}");
            let advice = "check that its pods are ready, read their log, and check that kube-apiserver reaches them";
            Step::found(name::APISERVICE, Cause::ApiserviceUnavailable, seen, advice)
        }
    }
}
