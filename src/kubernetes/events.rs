//! Events about objects of the cluster, as `kubectl describe` and `kubectl events` show them.
//!
//! The name of an Event is a hash of what it says, so that replicas write it together once, and one that is published again is
//! written again only after the API server has dropped it (an hour, by default). The one right that this needs is `create`.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::refusal::{Refusal, deadline};
use crate::core::excerpt::printable;

/// The controller that reports.
const CONTROLLER: &str = "loadline";

/// Where Events about objects without a namespace are.
const NAMESPACE_OF_OTHERS: &str = "default";

/// The most Events of one process in a [`PERIOD`].
const MAX_EVENTS: u32 = 100;

/// The time that [`MAX_EVENTS`] are for.
const PERIOD: Duration = Duration::from_secs(60);

/// The longest note, in bytes. The API takes 1 KiB.
const LONGEST_NOTE: usize = 1_000;

/// The longest reason, action and name of an instance that the API takes, in bytes.
const LONGEST_WORD: usize = 128;

/// How much of an object's name stands in the name of its Event, in bytes. The rest is a hash.
const LONGEST_NAME: usize = 200;

/// The object that an Event is about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Regarding {
    /// Group and version, such as `autoscaling/v2`.
    pub api_version: String,
    /// The kind, such as `HorizontalPodAutoscaler`.
    pub kind: String,
    /// The namespace; nothing for an object without.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The UID, which `kubectl describe` finds Events by.
    pub uid: Option<String>,
}

/// Whether somebody has to do something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Severity {
    /// For information.
    Normal,
    /// Something does not work.
    Warning,
}

/// What an Event says.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Occurrence<'a> {
    /// Whether somebody has to do something.
    pub severity: Severity,
    /// Why, a word in `CamelCase` such as `AnotherOwner`.
    pub reason: &'a str,
    /// What was done or seen, a word in `CamelCase`.
    pub action: &'a str,
    /// A sentence for people; what is longer than 1,000 bytes is cut. Whoever may read Events of the namespace reads it.
    pub note: &'a str,
}

/// Publishes Events.
#[derive(Clone)]
pub struct Events {
    client: Client,
    /// The Pod that reports.
    instance: Arc<str>,
    allowance: Arc<Mutex<Allowance>>,
    is_refused: Arc<AtomicBool>,
}

/// How many Events may still be written in a period.
#[derive(Debug)]
struct Allowance {
    since: Instant,
    left: u32,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= PERIOD {
            *self = Self { since: now, left: MAX_EVENTS };
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

impl Events {
    /// Publishes to a cluster. `instance` is the name of the Pod, or of the host.
    pub fn new(client: Client, instance: &str) -> Self {
        let instance = cut(instance, LONGEST_WORD).into();
        let allowance = Allowance { since: Instant::now(), left: MAX_EVENTS };
        let allowance = Arc::new(Mutex::new(allowance));
        Self { client, instance, allowance, is_refused: Arc::default() }
    }

    /// Writes an Event, unless the cluster still has it. Events are for information: one that cannot be written goes to the log,
    /// and so does one beyond 100 a minute. It takes no longer than a request to the API server may.
    pub async fn publish(&self, regarding: &Regarding, occurrence: Occurrence<'_>) {
        let Regarding { kind, name, .. } = regarding;
        let is_allowed = {
            let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
            allowance.take(Instant::now())
        };
        if !is_allowed {
            tracing::debug!(kind, name, reason = occurrence.reason, "too many Events");
            return;
        }
        let event = self.event(regarding, occurrence, Timestamp::now());
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<v1::Event> = Api::namespaced(self.client.clone(), namespace);
        match deadline(api.create(&PostParams::default(), &event)).await {
            // Another replica has written it, or we have before.
            Ok(_) | Err(Refusal::Conflict) => {}
            Err(Refusal::Forbidden(error)) if !self.is_refused.swap(true, Ordering::Relaxed) => {
                tracing::info!(
                    error,
                    "not permitted to write Events; grant create on events.events.k8s.io"
                );
            }
            Err(error) => tracing::debug!(kind, name, %error, "an Event was not written"),
        }
    }

    fn event(
        &self,
        regarding: &Regarding,
        occurrence: Occurrence<'_>,
        now: Timestamp,
    ) -> v1::Event {
        let Occurrence { severity, reason, action, note } = occurrence;
        let namespace = regarding.namespace.as_deref().unwrap_or(NAMESPACE_OF_OTHERS);
        let line: String = note.chars().map(printable).collect();
        let kind = match severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        v1::Event {
            metadata: ObjectMeta {
                name: Some(name(regarding, occurrence)),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            regarding: Some(ObjectReference {
                api_version: Some(regarding.api_version.clone()),
                kind: Some(regarding.kind.clone()),
                name: Some(regarding.name.clone()),
                namespace: regarding.namespace.clone(),
                uid: regarding.uid.clone(),
                ..ObjectReference::default()
            }),
            type_: Some(kind.to_owned()),
            reason: Some(cut(reason, LONGEST_WORD).to_owned()),
            action: Some(cut(action, LONGEST_WORD).to_owned()),
            note: Some(cut(&line, LONGEST_NOTE).to_owned()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.to_string()),
            ..v1::Event::default()
        }
    }
}

/// The name of an Event, which is the same for the same occurrence.
fn name(regarding: &Regarding, occurrence: Occurrence<'_>) -> String {
    let mut hasher = DefaultHasher::new();
    (regarding, occurrence).hash(&mut hasher);
    let object = cut(&regarding.name, LONGEST_NAME).trim_end_matches(['.', '-']);
    format!("{object}.{:016x}", hasher.finish())
}

/// The beginning of a text, of so many bytes at the most.
fn cut(text: &str, longest: usize) -> &str {
    let ends = (0..=longest.min(text.len())).rev();
    let end = ends.into_iter().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Method, Request, Response, StatusCode};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    type Written = Arc<Mutex<Vec<(String, Value)>>>;

    /// An API server that has no Event yet, and what was written to it: paths and Events.
    fn server(code: StatusCode) -> (Events, Written) {
        let written = Arc::new(Mutex::new(Vec::<(String, Value)>::new()));
        let seen = Arc::clone(&written);
        let serve = move |request: Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                assert_eq!(request.method(), Method::POST);
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let event: Value = serde_json::from_slice(&body).unwrap();
                let known = |(_, known): &(String, Value)| {
                    known["metadata"]["name"] == event["metadata"]["name"]
                };
                let is_known = seen.lock().unwrap().iter().any(known);
                let code = if is_known { StatusCode::CONFLICT } else { code };
                let answer = if code.is_success() {
                    event.clone()
                } else {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "No", "code": code.as_u16()})
                };
                seen.lock().unwrap().push((path, event));
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        };
        (Events::new(Client::new(tower::service_fn(serve), "monitoring"), "pod-a"), written)
    }

    fn apiservice(name: &str) -> Regarding {
        Regarding {
            api_version: "apiregistration.k8s.io/v1".to_owned(),
            kind: "APIService".to_owned(),
            namespace: None,
            name: name.to_owned(),
            uid: Some("8d3".to_owned()),
        }
    }

    fn occurrence(note: &str) -> Occurrence<'_> {
        Occurrence {
            severity: Severity::Warning,
            reason: "AnotherOwner",
            action: "ReadRegistration",
            note,
        }
    }

    #[tokio::test]
    async fn an_event_has_what_the_api_requires_and_the_name_of_what_it_says() {
        let (events, written) = server(StatusCode::CREATED);
        let object = apiservice("v1beta1.external.metrics.k8s.io");
        for note in ["it is keda's", "it is keda's", "it is nobody's"] {
            events.publish(&object, occurrence(note)).await;
        }
        let written = written.lock().unwrap();
        let [(path, event), (_, same), (_, other)] = &written[..] else { panic!("{written:?}") };
        assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/default/events");
        assert_eq!(event["regarding"]["uid"], "8d3");
        assert_eq!(
            (&event["type"], &event["reason"], &event["note"], &event["reportingInstance"]),
            (&json!("Warning"), &json!("AnotherOwner"), &json!("it is keda's"), &json!("pod-a"))
        );
        assert!(event["eventTime"].is_string() && event["reportingController"] == "loadline");
        assert_eq!(event["metadata"]["name"], same["metadata"]["name"]);
        assert_ne!(event["metadata"]["name"], other["metadata"]["name"]);
    }

    #[tokio::test]
    async fn an_event_is_in_the_namespace_of_its_object_and_within_the_limits_of_the_api() {
        let (events, written) = server(StatusCode::FORBIDDEN);
        let object = Regarding {
            namespace: Some("shop".to_owned()),
            name: format!("{}-{}", "a".repeat(199), "b".repeat(40)),
            ..apiservice("")
        };
        events.publish(&object, occurrence(&"ü\n".repeat(2_000))).await;
        events.publish(&object, occurrence("again")).await;
        let written = written.lock().unwrap();
        let (path, event) = &written[0];
        assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/shop/events");
        let note = event["note"].as_str().unwrap();
        assert!(note.len() <= 1024 && !note.contains('\n'), "{} bytes", note.len());
        let name = event["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with(&format!("{}.", "a".repeat(199))), "{name}");
        assert_eq!(written.len(), 2);
    }

    #[test]
    fn there_are_so_many_in_a_period() {
        let start = Instant::now();
        let mut allowance = Allowance { since: start, left: MAX_EVENTS };
        let taken = (0..2 * MAX_EVENTS).filter(|_| allowance.take(start)).count();
        assert_eq!(u32::try_from(taken).unwrap(), MAX_EVENTS);
        let early = start + PERIOD.saturating_sub(Duration::from_millis(1));
        assert!(!allowance.take(early) && allowance.take(start + PERIOD));
    }
}
