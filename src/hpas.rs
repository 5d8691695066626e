//! What HorizontalPodAutoscalers will read, known before they do: a list of all of them from time to time.
//!
//! They are not watched, because their controller writes the status of each at every sync: a watch of 2,000 would receive as many
//! events as there are reads. It is a help, not a need: where it is not allowed everything goes on without.

mod autoscaler;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Client;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        overview::{Shown, autoscalers::AutoscalerRow},
        prefetch::{ExpectedRead, MAX_OF_AUTOSCALER, within_limits},
    },
    jitter,
    kubernetes::{
        Error,
        collection::Collection,
        list,
        retries::{Broken, Retries},
    },
    metrics::Metrics,
};
use autoscaler::{Listed, asked_in, expected, kind};

/// The time between two lists, without its random part. Nobody waits for the next one: the first read of a new autoscaler fetches
/// what it needs.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The random part of [`INTERVAL`], at most.
const SPREAD: Duration = Duration::from_secs(30);

/// How many a page of a list holds: small, so that a page takes little memory.
const PAGE: u32 = 100;

/// What is known, within the limits; it changes at most once per list. They come in the order of namespace and name of their
/// HorizontalPodAutoscaler, and two that ask the same have one each. It is empty until the first list is complete, and keeps
/// its last content while lists fail.
pub type ExpectedReads = watch::Receiver<Arc<[ExpectedRead]>>;

/// The task that lists HorizontalPodAutoscalers.
pub struct Hpas {
    collection: Collection<Listed>,
    reads: watch::Sender<Arc<[ExpectedRead]>>,
    metrics: Arc<Metrics>,
}

impl Hpas {
    /// Makes the task, which does nothing before [`Hpas::run`], with what it gets to know.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, ExpectedReads) {
        let (reads, receiver) = watch::channel(Arc::from([]));
        let collection = Collection::all(client, &kind()).by_pages_of(PAGE);
        (Self { collection, reads, metrics }, receiver)
    }

    /// Lists until stopped.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    /// Keeps what is known; without end.
    async fn keep(&self) {
        let mut retries = Retries::default();
        let mut is_refused = false;
        loop {
            let pause = match self.list().await {
                Ok(()) => {
                    retries.succeeded();
                    is_refused = false;
                    INTERVAL + SPREAD.mul_f64(jitter::chance())
                }
                Err(broken) => {
                    retries.broken(&broken, false);
                    let pause = retries.pause(&broken, INTERVAL);
                    let is_refusal = matches!(broken, Broken::Refused { .. } | Broken::Missing);
                    if is_refusal && !is_refused {
                        tracing::info!(
                            %broken,
                            "HorizontalPodAutoscalers cannot be listed: their first reads will wait for Prometheus"
                        );
                    } else {
                        tracing::debug!(%broken, ?pause, "HorizontalPodAutoscalers cannot be listed; retrying");
                    }
                    is_refused |= is_refusal;
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Lists all of them, and publishes what has changed.
    async fn list(&self) -> Result<(), Broken> {
        let mut autoscalers = BTreeMap::new();
        let take = |autoscaler: Listed| {
            let metadata = &autoscaler.metadata;
            let place = (metadata.namespace.clone(), metadata.name.clone());
            autoscalers.insert(place, expected(autoscaler));
        };
        self.collection.list(take).await?;
        let all = within_limits(autoscalers.values());
        self.metrics.autoscalers(autoscalers.len(), all.reads.len());
        self.metrics.left_out("not_read", all.not_read);
        self.metrics.left_out("limit", all.over_limit);
        self.reads.send_if_modified(|before| {
            let is_changed = **before != *all.reads;
            if is_changed {
                *before = all.reads.into();
            }
            is_changed
        });
        Ok(())
    }
}

/// The first autoscalers of the cluster, for people.
pub async fn first(client: &Client, most: u32) -> Result<Shown<AutoscalerRow>, Error> {
    let found = list::first::<HorizontalPodAutoscaler>(client, &kind(), None, most).await;
    let (autoscalers, more) = found?;
    Ok(Shown { rows: autoscalers.iter().map(AutoscalerRow::of).collect(), more })
}

/// An autoscaler, and what its metrics ask for, whether the controller can read it or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The reads of its metrics, in their order; those beyond [`MAX_OF_AUTOSCALER`] are left out.
    pub reads: Vec<ExpectedRead>,
}

/// The first autoscalers of a namespace.
///
/// # Errors
///
/// The API server refuses, fails, or does not answer in time.
pub async fn of_namespace(
    client: &Client,
    namespace: &str,
    most: u32,
) -> Result<Vec<Autoscaler>, Error> {
    let kind = kind();
    let found = list::first::<HorizontalPodAutoscaler>(client, &kind, Some(namespace), most);
    let (autoscalers, _) = found.await?;
    let read = |autoscaler: HorizontalPodAutoscaler| {
        let metrics = autoscaler.spec.metrics.unwrap_or_default();
        let reads = metrics.into_iter().filter_map(|metric| asked_in(namespace, metric));
        Autoscaler {
            name: autoscaler.metadata.name.unwrap_or_default(),
            uid: autoscaler.metadata.uid,
            reads: reads.take(MAX_OF_AUTOSCALER).collect(),
        }
    };
    Ok(autoscalers.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Mutex, PoisonError},
    };

    use http::{Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// What the API server answers to a list.
    type Answer = Arc<Mutex<(StatusCode, Value)>>;

    fn lists(names: &[&str]) -> (StatusCode, Value) {
        let item = |name: &&str| {
            let metric = json!({"type": "External", "external": {"metric": {"name": name}}});
            json!({
                "metadata": {"namespace": "n", "name": name},
                "spec": {"metrics": [metric]},
                "status": {"conditions": [{"type": "ScalingActive", "status": "True"}]},
            })
        };
        let items: Vec<_> = names.iter().map(item).collect();
        (StatusCode::OK, json!({"metadata": {"resourceVersion": "1"}, "items": items}))
    }

    fn refuses() -> (StatusCode, Value) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "code": 403, "reason": "Forbidden", "message": "no"});
        (StatusCode::FORBIDDEN, status)
    }

    /// The task and what it knows, with an API server in memory.
    fn start(answer: &Answer) -> (tokio::task::JoinHandle<()>, ExpectedReads) {
        let answer = Arc::clone(answer);
        let server = service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            assert!(!query.contains("watch"), "every status that the controller writes would come");
            let (status, body) = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = status;
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let (hpas, reads) = Hpas::new(Client::new(server, "default"), Arc::new(Metrics::default()));
        (tokio::spawn(hpas.run(CancellationToken::new())), reads)
    }

    fn names(reads: &mut ExpectedReads) -> Vec<String> {
        reads.borrow_and_update().iter().map(|read| read.metric.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_changed_is_known_after_the_next_list() {
        let answer = Arc::new(Mutex::new(lists(&["b", "a"])));
        let (_task, mut reads) = start(&answer);
        reads.changed().await.unwrap();
        assert_eq!(names(&mut reads), ["a", "b"]);
        let listed = tokio::time::Instant::now();
        *answer.lock().unwrap() = lists(&["c"]);
        reads.changed().await.unwrap();
        assert_eq!(names(&mut reads), ["c"]);
        assert!(listed.elapsed() >= INTERVAL && listed.elapsed() <= INTERVAL + SPREAD);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_outlives_a_refusal() {
        let answer = Arc::new(Mutex::new(lists(&["a"])));
        let (_task, mut reads) = start(&answer);
        reads.changed().await.unwrap();
        *answer.lock().unwrap() = refuses();
        sleep(4 * (INTERVAL + SPREAD)).await;
        assert!(!reads.has_changed().unwrap());
        assert_eq!(names(&mut reads), ["a"]);
        *answer.lock().unwrap() = lists(&["a", "b"]);
        reads.changed().await.unwrap();
        assert_eq!(names(&mut reads), ["a", "b"]);
    }
}
