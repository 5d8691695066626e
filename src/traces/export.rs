//! From spans that end to a collector: a queue of limited length, and the one task that empties it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use opentelemetry::{Context, InstrumentationScope, KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::TelemetryResourceDetector,
    trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    collector::{Collector, Refusal},
    settings::{Batching, Settings, SettingsError},
};

/// How long the last spans are tried to be sent at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The times between tries of a batch that a collector does not take.
const RETRIES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The time between two lines of the log about spans that are lost.
const QUIET: Duration = Duration::from_secs(60);

/// The task that sends spans.
pub struct Exporter {
    queue: mpsc::Receiver<SpanData>,
    batch: Vec<SpanData>,
    batching: Batching,
    collector: Collector,
    losses: Losses,
}

/// The end of the queue at which spans come in.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<SpanData>,
    full: Arc<AtomicU64>,
}

/// Spans that never get to the collector.
struct Losses {
    /// Those that found the queue full.
    full: Arc<AtomicU64>,
    /// Those that were not taken, or are not taken any more.
    refused: u64,
    /// Why spans were not taken the last time.
    error: Option<Refusal>,
    said: Option<Instant>,
}

/// The two ends: spans come from the tracer, and go to the collector by the task.
pub(super) fn connect(settings: Settings) -> Result<(SdkTracer, Exporter), SettingsError> {
    let attributes =
        settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build();
    let collector = Collector::new(&settings, &resource)?;
    let (sender, queue) = mpsc::channel(settings.batching.queue);
    let full = Arc::new(AtomicU64::new(0));
    let provider = SdkTracerProvider::builder()
        .with_sampler(settings.sampler)
        .with_resource(resource)
        .with_span_processor(Queue { sender, full: Arc::clone(&full) })
        .build();
    let scope =
        InstrumentationScope::builder("loadline").with_version(env!("CARGO_PKG_VERSION")).build();
    let exporter = Exporter {
        queue,
        batch: Vec::new(),
        batching: settings.batching,
        collector,
        losses: Losses { full, refused: 0, error: None, said: None },
    };
    Ok((provider.tracer_with_scope(scope), exporter))
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.sender.try_send(span).is_err() {
            self.full.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Exporter {
    /// Works until stopped, and then sends what there still is, if that can be done within 5 s.
    pub async fn run(mut self, stop: CancellationToken) {
        tracing::info!(collector = self.collector.name(), "traces are exported");
        let end = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = self.work(&stop) => {}
            () = end => {}
        }
        // What waits to be sent is lost as what came too late.
        let rest = self.batch.len() + self.queue.len();
        self.losses.refused += u64::try_from(rest).unwrap_or(u64::MAX);
        self.losses.said = None;
        self.losses.say();
    }

    async fn work(&mut self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.gather() => self.send().await,
            }
        }
        self.queue.close();
        // Those that were gathered so far go first.
        loop {
            let room = self.batching.batch.saturating_sub(self.batch.len()).max(1);
            self.queue.recv_many(&mut self.batch, room).await;
            if self.batch.is_empty() {
                return;
            }
            self.send().await;
        }
    }

    /// Waits until a batch is full, or has waited long enough. What has been gathered stays if this is given up.
    async fn gather(&mut self) {
        let Batching { delay, batch, .. } = self.batching;
        if self.batch.is_empty() && self.queue.recv_many(&mut self.batch, batch).await == 0 {
            // Nobody can begin a span any more; the end will be said.
            return std::future::pending().await;
        }
        let until = Instant::now() + delay;
        while self.batch.len() < batch {
            let room = batch - self.batch.len();
            let more = self.queue.recv_many(&mut self.batch, room);
            if matches!(tokio::time::timeout_at(until, more).await, Err(_) | Ok(0)) {
                return;
            }
        }
    }

    async fn send(&mut self) {
        let spans = std::mem::take(&mut self.batch);
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        // If it is given up meanwhile.
        self.losses.refused += count;
        let body = self.collector.encode(spans);
        let taken = self.deliver(body).await.map_or(0, |refused| count.saturating_sub(refused));
        self.losses.refused = self.losses.refused.saturating_sub(taken);
        self.losses.say();
    }

    /// Sends a batch, several times if that may help, and says how many of its spans are refused; nothing if all are lost.
    async fn deliver(&mut self, body: Bytes) -> Option<u64> {
        let pauses = RETRIES.into_iter().map(Some).chain([None]);
        for pause in pauses {
            match self.collector.send(body.clone()).await {
                Ok(refused) => return Some(refused),
                Err(error) => {
                    let is_passing = error.is_passing();
                    self.losses.error = Some(error);
                    match pause.filter(|_| is_passing) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return None,
                    }
                }
            }
        }
        None
    }
}

impl Losses {
    /// Says what has been lost since the last line, but not all the time.
    fn say(&mut self) {
        let full = self.full.load(Ordering::Relaxed);
        let lost = full + self.refused;
        if lost == 0 || self.said.is_some_and(|said| said.elapsed() < QUIET) {
            return;
        }
        self.said = Some(Instant::now());
        self.full.fetch_sub(full, Ordering::Relaxed);
        self.refused = 0;
        let error = self.error.take().map(|error| error.to_string());
        tracing::warn!(lost, error, "spans could not be exported");
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Tracer as _;

    use super::*;

    #[tokio::test]
    async fn what_finds_the_queue_full_is_counted_and_nothing_waits() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "2"),
        ];
        let settings = Settings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        crate::traces::tests::install_tls_provider();
        let (tracer, exporter) = connect(settings.unwrap().unwrap()).unwrap();
        for _ in 0..5 {
            drop(tracer.start("span"));
        }
        assert_eq!(exporter.queue.len(), 2);
        assert_eq!(exporter.losses.full.load(Ordering::Relaxed), 3);
    }
}
