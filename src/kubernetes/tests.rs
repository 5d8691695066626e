use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::service_fn;

use super::{collection::Collection, retries::Broken, watch::Watch, *};
use crate::core::selector::Selector;

/// An API server in memory: what it answers comes in pieces, one after each pause.
fn server(pause: Duration, pieces: impl Fn() -> Vec<String> + Clone + Send + 'static) -> Client {
    let answer = service_fn(move |_: Request<Body>| {
        let pieces = stream::iter(pieces()).then(move |piece| async move {
            sleep(pause).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(piece)))
        });
        async { Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(pieces)))) }
    });
    Client::new(answer, "default")
}

/// What each kind of question fails by, and how long it takes.
async fn failures(client: &Client) -> [(Duration, Duration); 3] {
    let kind = Arc::clone(Kinds::builtin().resolve("", "pods").unwrap());
    let everything = Selector::default();
    let limit = |error| match error {
        Error::Timeout(limit) => limit,
        other => panic!("{other}"),
    };
    let start = Instant::now();
    let kinds = limit(kinds(client).await.unwrap_err());
    let kinds = (kinds, start.elapsed());
    let start = Instant::now();
    let list = list::metadata(client, &kind, None, &everything, None, |pod| pod.name);
    let list = (limit(list.await.unwrap_err()), start.elapsed());
    let start = Instant::now();
    let mut watch = Watch::new(Collection::metadata(client.clone(), &kind, None));
    let Broken::Failed { error, .. } = watch.follow(|_| {}).await else { panic!("it failed") };
    [kinds, list, (limit(error), start.elapsed())]
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_trickles_is_not_waited_for() {
    let client = server(Duration::from_secs(1), || vec![" ".to_owned(); 3_600]);
    for (limit, took) in failures(&client).await {
        assert_eq!((limit, took.as_secs()), (TIMEOUT, TIMEOUT.as_secs()));
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_trickle_have_a_time_for_all_of_them() {
    let page = Arc::new(AtomicU64::new(0));
    let pages = Arc::clone(&page);
    let client = server(TIMEOUT.mul_f64(0.9), move || {
        let token = pages.fetch_add(1, Ordering::SeqCst).to_string();
        let page: Value =
            json!({"metadata": {"resourceVersion": "1", "continue": token}, "items": []});
        vec![page.to_string()]
    });
    let [kinds, list, watch] = failures(&client).await;
    for ((limit, took), wanted) in [(kinds, 10), (list, 30), (watch, 300)] {
        assert_eq!((limit.as_secs(), took.as_secs()), (wanted, wanted));
    }
    assert!(page.load(Ordering::SeqCst) < 45, "{page:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_after_its_list_is_not_listed_again_at_once() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let client = service_fn(move |request: Request<Body>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
        let status = json!({"kind": "Status", "apiVersion": "v1", "code": 403, "message": "no"});
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": []});
        let (code, body) = if is_watch { (403, status) } else { (200, list) };
        let mut response = Response::new(Body::from(body.to_string().into_bytes()));
        *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let kind = Arc::clone(Kinds::builtin().resolve("", "pods").unwrap());
    let objects = Collection::metadata(Client::new(client, "default"), &kind, None);
    let (mut watch, refused) = (Watch::new(objects), Duration::from_secs(300));
    for tries in 1..4 {
        let broken = watch.follow(|_| {}).await;
        assert!(matches!(broken, Broken::Refused { verb: "watch", .. }), "{broken:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 2 * tries);
        assert!(watch.pause(&broken, refused) >= refused);
    }
}
