//! The base cost of a query to a real Prometheus, in samples: the constant `QUERY` of the cost model.
//!
//! The queries are those that loadline sends for pods, over eight points of each series. Their cost is linear: a base for the
//! query and a part for each sample. It is measured as the CPU time of Prometheus' threads, and as the response time.
//!
//! `cargo bench --bench query_cost -- 50` sends 50 queries of each kind in a round instead of 200. It needs `prometheus` on
//! the PATH.

#![expect(clippy::unwrap_used, reason = "a benchmark whose setup fails has nothing to measure")]
#![expect(clippy::expect_used, reason = "likewise")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::{
    env,
    fmt::Write as _,
    time::{Duration, Instant},
};

use store::{Store, exporter, unless_stopped};

#[path = "support/stage.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod stage;
#[path = "support/store.rs"]
#[expect(dead_code, reason = "another benchmark uses the rest")]
mod store;

/// The pods of each namespace.
const NAMESPACES: [usize; 5] = [1, 10, 100, 1_000, 5_000];

/// The maximum number of names in an exact query.
const NAMES: usize = 100;

const ROUNDS: usize = 5;

/// With a scrape interval of a second, this is eight points of each series.
const WINDOW: &str = "8s";

fn main() {
    assert!(rustls::crypto::ring::default_provider().install_default().is_ok());
    let repeats = env::args().find_map(|argument| argument.parse().ok()).unwrap_or(200);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(unless_stopped(measure(repeats)));
}

async fn measure(repeats: usize) {
    let target = exporter(NAMESPACES.len(), namespace).await;
    let store = Store::start(&target, "1s").await;
    // Enough points for the queries, which all evaluate at this time.
    store.until(r#"count_over_time(up{job="bench"}[1m])"#, 12.0).await;
    let now = jiff::Timestamp::now().as_second().to_string();
    let cpu = store.process.cpu();
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The CPU time of scrapes is subtracted.
    let idle = store.process.cpu().saturating_sub(cpu).as_secs_f64() / 5.0;
    println!("{:12} {:>8} {:>12} {:>12}", "matched by", "samples", "CPU", "time");
    for (kind, pods) in
        [("pod!=\"\"", Pods::Any), ("pod=~names", Pods::Names), ("nothing", Pods::All)]
    {
        let (mut cpus, mut times) = (Vec::new(), Vec::new());
        for count in NAMESPACES {
            let Some(query) = query(count, pods) else { continue };
            let parameters = [("query", query.as_str()), ("time", &now)];
            let counted = format!("count({query})");
            let counted = store.body("query", &[("query", &counted), ("time", &now)]).await;
            let counted = String::from_utf8(counted.unwrap()).unwrap();
            assert!(counted.contains(&format!("\"{count}\"")), "{counted}");
            let repeats = repeats.min(repeats * 2_000 / count).max(10);
            let (mut ran, mut took) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let (cpu, start) = (store.process.cpu(), Instant::now());
                for _ in 0..repeats {
                    let begin = Instant::now();
                    store.length("query", &parameters).await;
                    took.push(begin.elapsed().as_secs_f64() * 1e6);
                }
                let scraping = idle * start.elapsed().as_secs_f64();
                let used = store.process.cpu().saturating_sub(cpu).as_secs_f64() - scraping;
                ran.push(used * 1e6 / float(repeats));
            }
            let (ran, took) = (median(&mut ran), median(&mut took));
            println!("{kind:12} {count:>8} {ran:>9.0} us {took:>9.0} us");
            cpus.push((float(count), ran));
            times.push((float(count), took));
        }
        for (what, points) in [("CPU", cpus), ("time", times)] {
            let (query, sample) = line(&points);
            println!(
                "{what}: a query {query:.0} us and a sample {sample:.2} us, so a query costs {:.0} samples",
                query / sample
            );
        }
    }
}

/// How a query selects the pods of a namespace.
#[derive(Clone, Copy)]
enum Pods {
    /// Like the shared query of a namespace.
    Any,
    /// Like the exact query of a reader.
    Names,
    /// Without a matcher, to measure its cost.
    All,
}

/// The query for the pods of a namespace; none if there are too many names.
fn query(count: usize, pods: Pods) -> Option<String> {
    let matcher = match pods {
        Pods::Any => ",pod!=\"\"".to_owned(),
        Pods::Names if count > NAMES => return None,
        Pods::Names => {
            let names: Vec<_> = (0..count).map(pod).collect();
            format!(",pod=~\"{}\"", names.join("|"))
        }
        Pods::All => String::new(),
    };
    Some(format!(
        "sum(rate(bench_requests_total{{namespace=\"of-{count}\"{matcher}}}[{WINDOW}])) by (pod)"
    ))
}

fn pod(index: usize) -> String {
    format!("app-{}-5d9c7b8f6d-{index:05}", index / 10)
}

/// The part of a namespace in the scraped page.
fn namespace(index: usize) -> String {
    let Some(pods) = NAMESPACES.get(index) else { return String::new() };
    let mut page = String::new();
    for index in 0..*pods {
        writeln!(
            page,
            r#"bench_requests_total{{namespace="of-{pods}",pod="{}",container="server",node="node-{}",service="app",endpoint="metrics"}} {index}"#,
            pod(index),
            index % 97,
        )
        .unwrap();
    }
    page
}

/// The weighted linear regression of some points, each weighed by its own value: intercept and slope.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let sum =
        |of: fn(f64, f64) -> f64| -> f64 { points.iter().map(|(x, y)| of(*x, *y) / (y * y)).sum() };
    let (weight, x, y) = (sum(|_, _| 1.0), sum(|x, _| x), sum(|_, y| y));
    let (xx, xy) = (sum(|x, _| x * x), sum(|x, y| x * y));
    let slope = (weight * xy - x * y) / (weight * xx - x * x);
    ((y - slope * x) / weight, slope)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}
