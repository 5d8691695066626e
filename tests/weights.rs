//! Whether things weigh what they really take: every allocation of this process is counted.

use std::{
    alloc::System,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, extract::RawQuery, routing::get};
use cap::Cap;
use loadline::{
    cache::{Query, QueryCache, slot::Life},
    core::{
        plan::Key,
        samples::{Index, Vector},
    },
    metrics::Metrics,
    prometheus::{Answer, BackendHandle, Config, Replicas, bodies::PEAK, decode},
    traces::Traces,
};
use tokio_util::task::TaskTracker;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Held by the test that counts.
static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn body(rows: impl Iterator<Item = String>) -> String {
    let rows: Vec<_> = rows.collect();
    let rows = rows.join(",");
    let mut body =
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{rows}]}}}}"#);
    body.shrink_to_fit();
    body
}

/// Answers as they come, and such as nobody would expect.
fn bodies() -> Vec<(&'static str, String)> {
    let of = |row: fn(usize) -> String, count| body((0..count).map(row));
    vec![
        (
            "pods",
            of(
                |n| {
                    format!(
                        r#"{{"metric":{{"namespace":"team-{}","pod":"web-5d4f8c7b9-{n:05}"}},"value":[1763651878.912,"0.123456789"]}}"#,
                        n % 50
                    )
                },
                4_000,
            ),
        ),
        (
            "many labels",
            of(
                |n| {
                    let labels: Vec<_> =
                        (0..12).map(|l| format!(r#""label_{l}":"value {n}""#)).collect();
                    format!(
                        r#"{{"metric":{{{}}},"value":[1763651878.912,"{n}"]}}"#,
                        labels.join(",")
                    )
                },
                1_000,
            ),
        ),
        ("no labels", of(|_| r#"{"value":[1,"1"]}"#.to_owned(), 40_000)),
        ("a time each", of(|n| format!(r#"{{"value":[{n},"1"]}}"#), 4_000)),
        ("nothing", of(|_| "{}".to_owned(), 100_000)),
        (
            "empty labels",
            of(
                |_| r#"{"metric":{"":"","":"","":"","":"","":""},"value":[1,"1"]}"#.to_owned(),
                10_000,
            ),
        ),
        (
            "escaped",
            of(|n| format!(r#"{{"metric":{{"pod":"\u0061\n{n}"}},"value":[1,"1"]}}"#), 10_000),
        ),
        (
            "one long value",
            of(
                |_| format!(r#"{{"metric":{{"pod":"{}"}},"value":[1,"1"]}}"#, "x".repeat(1 << 20)),
                4,
            ),
        ),
        ("a name each", of(|n| format!(r#"{{"metric":{{"n{n}":""}},"value":[1,"1"]}}"#), 9_000)),
        (
            "histograms",
            of(
                |n| format!(r#"{{"metric":{{"pod":"p{n}"}},"histogram":[1,{{"count":"1"}}]}}"#),
                4_000,
            ),
        ),
    ]
}

fn decoded(body: &str) -> Option<Vector> {
    match decode::query(body.as_bytes()) {
        Ok(Answer::Vector(vector)) => Some(vector),
        _ => None,
    }
}

#[test]
fn a_vector_weighs_what_it_takes() {
    let _alone = alone();
    for (name, body) in bodies() {
        let before = HEAP.allocated();
        let vector = decoded(&body).expect("a vector");
        let taken = HEAP.allocated() - before;
        let most = taken + taken / 20 + 200;
        assert!(
            (taken..=most).contains(&vector.weight()),
            "{name}: {} of {taken}",
            vector.weight()
        );
        assert!(taken <= body.len() / 3 * 4 + 200, "{name}: {taken} for {}", body.len());
    }
}

#[test]
fn an_index_weighs_what_it_takes() {
    let _alone = alone();
    let key = Key { name: "pod".into(), namespace: Some("namespace".into()), ..Key::default() };
    for (name, body) in bodies() {
        let vector = decoded(&body).expect("a vector");
        let before = HEAP.allocated();
        let index = Index::new(&vector, &key);
        let taken = HEAP.allocated() - before;
        assert!(taken <= Index::weight_of(&vector) + 200, "{name}: {taken}");
        drop(index);
    }
}

/// What comes from outside decides how much it is, so this holds for whatever comes.
#[test]
fn decoding_takes_no_more_than_an_answer_is_charged() {
    let _alone = alone();
    let mut bodies = bodies();
    let warnings = vec![r#""""#; 100_000].join(",");
    bodies.push(("warnings", format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[]}},"warnings":[{warnings}]}}"#)));
    for (name, body) in bodies {
        let peak = peak(|| drop(decoded(&body)));
        // The names that are looked up while the answer is read.
        let most = body.len() * (PEAK - 1) + (1 << 20);
        assert!(peak <= most, "{name}: {peak} for {}", body.len());
    }
    let names: Vec<_> = (0..20_000).map(|n| format!(r#""name_{n}""#)).collect();
    let names = format!(r#"{{"status":"success","data":[{}]}}"#, names.join(","));
    let peak = peak(|| drop(decode::strings(names.as_bytes()).expect("names")));
    assert!(peak <= names.len() * (PEAK - 1), "{peak} for {}", names.len());
}

/// The most that something takes at a time.
fn peak(work: impl FnOnce()) -> usize {
    // As much as was ever taken, so that all of it counts.
    let ballast = Vec::<u8>::with_capacity(HEAP.max_allocated() - HEAP.allocated());
    let before = HEAP.allocated();
    work();
    drop(ballast);
    HEAP.max_allocated().saturating_sub(before)
}

#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "the other tests are to wait, and nothing here asks for the lock"
)]
async fn the_cache_weighs_what_it_takes() {
    rustls::crypto::ring::default_provider().install_default().expect("none before");
    let _alone = alone();
    let vector = |RawQuery(query): RawQuery| async move {
        // Results of different sizes, small ones in the majority.
        let n = query.map_or(0, |query| query.len());
        let row = |pod| format!(r#"{{"metric":{{"pod":"{pod}"}},"value":[1,"1"]}}"#);
        body((0..n % 7).map(row))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let router = Router::new().route("/api/v1/query", get(vector));
    let server = tokio::spawn(async { axum::serve(listener, router).await.expect("served") });
    let metrics = Arc::new(Metrics::default());
    let prometheus = Replicas::new(Config::new(&url).expect("a URL"), &metrics).expect("a client");
    let backend = BackendHandle::new(Arc::new(prometheus), Vec::new(), None);
    let (cache, _refresher) =
        QueryCache::new(64 << 20, TaskTracker::new(), Arc::clone(&metrics), Traces::default());
    let life = Life { ttl: Duration::from_secs(600), max_stale: Duration::ZERO };
    let fill = async |from: usize, to: usize| {
        for n in from..to {
            let text = format!(
                "sum(rate(http_requests_total{{namespace=\"{}\"}}[2m]))",
                "n".repeat(n % 100) + &n.to_string()
            );
            let query = Query { text: text.into(), life, backend: backend.clone() };
            cache.get(&query).await.expect("a result");
        }
        let text = metrics.encode();
        let bytes = text.lines().find_map(|line| line.strip_prefix("loadline_cache_bytes "));
        let weight: usize = bytes.expect("the metric").parse().expect("a number");
        (weight, HEAP.allocated())
    };
    // Connections and the cache's own tables are there from now on.
    let before = fill(0, 1_000).await;
    let after = fill(1_000, 4_000).await;
    let (weight, taken) = (after.0 - before.0, after.1 - before.1);
    assert!(weight >= taken / 10 * 9 && weight <= taken / 2 * 3, "{weight} of {taken}");
    server.abort();
}
