//! Asks loadline as the `HorizontalPodAutoscaler` would, prints what it learns, and scales the cloud IDE.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::autoscaler::{Autoscaler, SCALE_DOWN_WINDOW};
use super::backend::LiveIde;
use super::console::{self, Connection, WorkloadSummary};
use super::workload::Workload;
use crate::core::quantity::parse_milli;
use crate::wire::answer::{self, Item};

/// The time from one sync to the next, unless asked otherwise. Kubernetes' default is 15 seconds.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(3);

/// An answer that takes longer is a failed reading.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of the reader.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where loadline is.
    pub connection: Connection,
    /// Where the store is, for the header.
    pub store_url: String,
    /// From one sync to the next.
    pub interval: Duration,
    /// How long to go on; for ever if `None`.
    pub duration: Option<Duration>,
}

/// Prints the header, then reads, prints and scales until the duration is over or `stop` is cancelled, then prints the
/// summary and returns it. `client` trusts loadline's certificate. Fails only when `out` does.
pub async fn run(
    options: &Options,
    client: &reqwest::Client,
    ide: &LiveIde,
    stop: &CancellationToken,
    out: &mut (impl Write + Send),
) -> anyhow::Result<[WorkloadSummary; 2]> {
    let Options { connection, store_url, interval, duration } = options;
    let header = console::header(connection, store_url, *interval, SCALE_DOWN_WINDOW);
    print(out, &header)?;
    let mut scalers = Workload::ALL.map(Scaler::new);
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(*duration).await,
            None => std::future::pending().await,
        }
    };
    let syncs = async {
        let mut ticks = tokio::time::interval(*interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for scaler in &mut scalers {
                let line = scaler.sync(connection, client, ide).await;
                print(out, &line)?;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = over => {}
        broken = syncs => return broken,
    }
    let summaries = scalers.map(|scaler| scaler.summary);
    print(out, &console::summary(ide.age(), &summaries))?;
    Ok(summaries)
}

fn print(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("printing")
}

/// One workload's autoscaler.
struct Scaler {
    workload: Workload,
    autoscaler: Autoscaler,
    summary: WorkloadSummary,
}

impl Scaler {
    fn new(workload: Workload) -> Self {
        Self {
            workload,
            autoscaler: Autoscaler::new(workload),
            summary: WorkloadSummary::new(workload),
        }
    }

    /// Reads, decides and scales; returns the line to print. A failed reading changes nothing.
    async fn sync(
        &mut self,
        connection: &Connection,
        client: &reqwest::Client,
        ide: &LiveIde,
    ) -> String {
        let reading = read(connection, client, self.workload).await;
        let age = ide.age();
        let pods = ide.pods(self.workload);
        let current = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        let outcome = reading.and_then(|list| {
            let values = values_of(&pods, &list)?;
            let now_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let decision = self.autoscaler.decide(now_ms, &pods, values);
            decision.ok_or_else(|| "no pod has a value".to_owned())
        });
        if let Ok(decision) = &outcome
            && decision.desired != current
        {
            ide.scale(self.workload, decision.desired);
        }
        self.summary.note(current, &outcome);
        console::line(age, self.workload, current, &outcome)
    }
}

/// The values of the pods that exist, in thousandths. In a cluster the label selector of the autoscaler sees to that; a rate still knows a
/// pod for a while after it has gone.
fn values_of(pods: &[String], items: &[Item]) -> Result<BTreeMap<String, i64>, String> {
    let existing = items.iter().filter(|item| pods.contains(&item.described_object.name));
    let value = |Item { described_object, value, .. }: &Item| {
        let milli = parse_milli(value).ok_or_else(|| format!("{value:?} is no quantity"))?;
        Ok((described_object.name.clone(), milli))
    };
    existing.map(value).collect()
}

async fn read(
    connection: &Connection,
    client: &reqwest::Client,
    workload: Workload,
) -> Result<Vec<Item>, String> {
    let url = format!("{}{}", connection.url, console::metric_path(workload));
    let request = client.get(url).timeout(READ_TIMEOUT);
    let answer = async {
        let response = request.send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, response.bytes().await?))
    };
    let (status, body) = answer.await.map_err(|error| short(&chain(&error)))?;
    if !status.is_success() {
        return Err(short(&format!("{status}: {}", message(&body))));
    }
    answer::items(&String::from_utf8_lossy(&body))
        .map_err(|error| format!("no MetricValueList: {error}"))
}

/// The message of a Kubernetes `Status`, or the body as it is.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Status {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Status { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// On one line, and not a long one.
fn short(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(160).collect()
}

#[cfg(test)]
mod tests;
