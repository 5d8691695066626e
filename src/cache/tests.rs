use std::{
    future::IntoFuture as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router};
use serde_json::json;
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{advance, pause},
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::prometheus::{Config, Replicas};

const LIFE: Life = Life { ttl: Duration::from_secs(600), max_stale: Duration::ZERO };

/// A backend whose results have a thousand samples, and how many queries it was sent. It answers as many as `gate` has permits for.
async fn backend(gate: Arc<Semaphore>) -> (BackendHandle, Arc<AtomicUsize>, AbortOnDropHandle<()>) {
    // As the binary does; a test before this one may have done it.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let queries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&queries);
    let rows: Vec<_> = (0..1_000)
        .map(|number| json!({"metric": {"pod": format!("pod-{number}")}, "value": [1, "1"]}))
        .collect();
    let answer = json!({"status": "success", "data": {"resultType": "vector", "result": rows}});
    let router = Router::new().fallback(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        gate.acquire().await.unwrap().forget();
        Json(answer)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = axum::serve(listener, router).into_future();
    let task = tokio::spawn(async move { drop(server.await) });
    let replicas = Replicas::new(config, &Arc::new(Metrics::default())).unwrap();
    let backend = BackendHandle::new(Arc::new(replicas), Vec::new(), None);
    (backend, queries, AbortOnDropHandle::new(task))
}

/// One namespace asks for ever other results: those of another one stay, and there is an end to what is kept.
#[tokio::test]
async fn results_of_one_namespace_do_not_push_out_those_of_another() {
    const MAX: u64 = 1 << 20;
    let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let (backend, queries, _backend) = backend(gate).await;
    let metrics = Arc::new(Metrics::default());
    let new = || QueryCache::new(MAX, TaskTracker::new(), Arc::clone(&metrics), Traces::default());
    let (cache, _refresher) = new();
    let read = async |namespace: &str, number: usize| {
        let text = format!("m{{ns=\"{namespace}\",x=\"{number}\"}}").into();
        let backend = backend.clone().asked_for(namespace);
        cache.get(&Query { text, life: LIFE, backend }).await.unwrap();
    };
    let asked = || queries.swap(0, Ordering::SeqCst);
    for number in 0..3 {
        read("quiet", number).await;
    }
    for number in 0..100 {
        read("flood", number).await;
    }
    // The last fetch may still be taking its place when its reader goes on.
    cache.shared.fetches.close();
    cache.shared.fetches.wait().await;
    assert_eq!(asked(), 103);
    for number in 0..3 {
        read("quiet", number).await;
    }
    assert_eq!(asked(), 0, "they are all there");
    read("flood", 99).await;
    assert_eq!(asked(), 0, "as is the last one");
    read("flood", 0).await;
    assert_eq!(asked(), 1, "and not the first one");
    let (entries, bytes) = lock(&cache.shared.eviction).size();
    assert!(bytes <= MAX && (6..90).contains(&entries), "{entries} results, {bytes} bytes");
    cache.shared.slots.run_pending_tasks().await;
    let held = cache.shared.slots.entry_count();
    assert!(held <= u64::try_from(entries).unwrap() + 1, "{held} of {entries}");
}

/// The clock stands still unless the test moves it.
#[tokio::test]
async fn a_read_near_the_end_of_a_result_fetches_the_next_one() {
    let gate = Arc::new(Semaphore::new(0));
    let (backend, queries, _backend) = backend(Arc::clone(&gate)).await;
    let metrics = Arc::new(Metrics::default());
    let (cache, _refresher) =
        QueryCache::new(1 << 20, TaskTracker::new(), metrics, Traces::default());
    let life = Life { ttl: Duration::from_secs(5), max_stale: Duration::from_secs(30) };
    let query = Query { text: "m".into(), life, backend };
    let sent = async |wanted| {
        while queries.load(Ordering::SeqCst) < wanted {
            yield_now().await;
        }
    };
    pause();
    // While there is something to do the clock does not go on by itself.
    let _busy = AbortOnDropHandle::new(tokio::spawn(async {
        loop {
            yield_now().await;
        }
    }));
    let reader = (cache.clone(), query.clone());
    let first = tokio::spawn(async move { reader.0.get(&reader.1).await });
    sent(1).await;
    advance(Duration::from_millis(500)).await;
    gate.add_permits(1);
    first.await.unwrap().unwrap();
    let age = async || cache.get(&query).await.unwrap().kept.age(now());
    advance(Duration::from_millis(3_900)).await;
    assert_eq!(age().await, Duration::from_millis(4_400));
    advance(Duration::from_millis(200)).await;
    assert_eq!(queries.load(Ordering::SeqCst), 1, "it is fresh for longer than the fetch took");
    assert_eq!(age().await, Duration::from_millis(4_600), "nobody waits");
    sent(2).await;
    gate.add_permits(1);
    while age().await > Duration::ZERO {
        yield_now().await;
    }
    assert_eq!(queries.load(Ordering::SeqCst), 2);
}
