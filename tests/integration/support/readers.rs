//! Autoscalers as far as they read: each at its own pace, through kube-apiserver.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{control_plane::ControlPlane, until};

/// A read, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    /// The age of the oldest value in seconds, or why there is none.
    pub(crate) outcome: Result<i64, String>,
}

/// The readers, for as long as it is kept.
pub(crate) struct Readers {
    reads: Arc<Mutex<Vec<Read>>>,
    _tasks: JoinSet<()>,
}

impl Readers {
    /// One reader for each path, which has so many values. Each reads once in a period, and the first reads are spread over one.
    pub(crate) fn start(
        plane: &Arc<ControlPlane>,
        paths: Vec<String>,
        values: usize,
        period: Duration,
    ) -> Self {
        let reads = Arc::<Mutex<Vec<Read>>>::default();
        let (mut tasks, count) = (JoinSet::new(), u32::try_from(paths.len()).expect("not so many"));
        for (reader, path) in (0..).zip(paths) {
            let (plane, reads) = (Arc::clone(plane), Arc::clone(&reads));
            tasks.spawn(async move {
                let first = tokio::time::Instant::now() + period * reader / count;
                let mut ticks = tokio::time::interval_at(first, period);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                loop {
                    ticks.tick().await;
                    let began = Instant::now();
                    let outcome = read(&plane, &path, values).await;
                    let read = Read { began, took: began.elapsed(), outcome };
                    reads.lock().expect("not poisoned").push(read);
                }
            });
        }
        Self { reads, _tasks: tasks }
    }

    /// All reads that have ended.
    pub(crate) fn reads(&self) -> Vec<Read> {
        self.reads.lock().expect("not poisoned").clone()
    }

    /// Why reads have failed.
    pub(crate) fn failures(&self) -> Vec<String> {
        let reads = self.reads.lock().expect("not poisoned");
        reads.iter().filter_map(|read| read.outcome.clone().err()).collect()
    }

    fn succeeded(&self) -> usize {
        let reads = self.reads.lock().expect("not poisoned");
        reads.iter().filter(|read| read.outcome.is_ok()).count()
    }

    /// Waits until so many more reads have succeeded.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.succeeded() + count;
        until(&format!("{count} more reads succeed"), async || {
            (self.succeeded() >= wanted).then_some(())
        })
        .await;
    }
}

async fn read(plane: &ControlPlane, path: &str, values: usize) -> Result<i64, String> {
    let (status, body) = plane.ask(path).await.map_err(|error| {
        let why = if error.is_connect() { "no connection" } else { "the connection broke" };
        format!("kube-apiserver: {why}")
    })?;
    let items = body["items"].as_array();
    match (status, items) {
        (StatusCode::OK, Some(items)) if items.len() == values => Ok(age(items)),
        (StatusCode::OK, Some(items)) => Err(format!("{} values of {values}", items.len())),
        _ => {
            let message = body["message"].as_str().unwrap_or("no Status");
            Err(format!("{}: {}", status.as_u16(), message.chars().take(100).collect::<String>()))
        }
    }
}

/// How old the oldest of these is, in seconds.
fn age(items: &[Value]) -> i64 {
    let times = items.iter().map(|item| {
        let time = item["timestamp"].as_str().expect("a time");
        time.parse::<jiff::Timestamp>().expect("a time").as_second()
    });
    let oldest = times.min().expect("there are values");
    jiff::Timestamp::now().as_second() - oldest
}
