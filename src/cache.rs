//! Query results: fetched once for all who wait, fresh for a while, refreshed before they are read again, and used for a
//! while longer when the backend fails.
//!
//! The key is the query's text with the times that its result may be used, so equal queries of all readers share a result.
//! [`slot`] decides what a reader gets, [`cadence`] when a result is refreshed; this file has the tasks that fetch, and the bounds.

pub mod cadence;
mod eviction;
mod places;
pub mod slot;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use cadence::Due;
use eviction::Eviction;
use futures::future::BoxFuture;
use moka::{Expiry, future::Cache, notification::RemovalCause};
use places::Places;
use slot::{Action, Cached, How, Landing, Life, Slot, Wait};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker, time::DelayQueue};
use tracing::Instrument as _;

use crate::{
    core::{
        memory,
        overview::CacheFacts,
        plan::Key,
        samples::{Index, Vector},
    },
    metrics::Metrics,
    prometheus::{Answer, BackendHandle, Error},
    single_flight::FlightError,
    traces::{Cause, KeyValue, Span, SpanContext, SpanKind, Traces},
};

/// What the cache itself takes for a result, about, in bytes: its table, and what is noted for [`eviction`].
const ENTRY_BYTES: usize = 800;

/// What a failure that a result's place remembers takes at the most, in bytes: what a backend says is cut.
const FAILURE_BYTES: u64 = 1 << 10;

/// Results that nobody has read for this time are dropped, if they may not be used for longer.
const IDLE: Duration = Duration::from_secs(300);

/// How many queries are refreshed before they are read. Namespaces have fair shares of that ([`places`]).
const MAX_SCHEDULED: usize = 10_000;

/// A query, and how long its result may be used.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Query {
    /// The PromQL text.
    pub text: Arc<str>,
    /// How long the result may be used. With a `ttl` of zero it is not kept at all.
    pub life: Life,
    /// Who is asked.
    pub backend: BackendHandle,
}

impl AsRef<str> for Query {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Query {
    /// The same, asked for readers of a namespace.
    #[must_use]
    pub fn asked_for(self, namespace: &str) -> Self {
        Self { backend: self.backend.asked_for(namespace), ..self }
    }
}

/// A result, with what makes reading it cheap.
#[derive(Debug)]
pub struct QueryResult {
    answer: Answer,
    fetched_ms: i64,
    index: OnceLock<Index>,
    /// What it was fetched for, where that is traced.
    origin: Option<Box<SpanContext>>,
}

/// A result, as a reader gets it.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The result.
    pub kept: Arc<Cached<QueryResult>>,
    /// Whether it is as it should be.
    pub how: How<FetchError>,
}

/// Why there is no result.
pub type FetchError = FlightError<Error>;

type AnswerSlot = Slot<QueryResult, FetchError>;

/// A query whose result is refreshed before it is read.
type Scheduled = (Query, Arc<AnswerSlot>);

/// The cache in front of all backends. Clones share it.
#[derive(Clone)]
pub struct QueryCache {
    shared: Arc<Shared>,
}

struct Shared {
    /// Without a bound of its own: evicted results are invalidated.
    slots: Cache<Query, Arc<AnswerSlot>>,
    eviction: Arc<Mutex<Eviction<Query>>>,
    fetches: TaskTracker,
    scheduled: mpsc::UnboundedSender<Scheduled>,
    /// Cancelled when nothing is refreshed any more.
    stop: CancellationToken,
    metrics: Arc<Metrics>,
    traces: Traces,
}

/// Drops results that are not read any more.
struct Idle;

impl Idle {
    fn of(life: Life) -> Duration {
        IDLE.max(life.ttl).max(life.max_stale)
    }
}

impl Expiry<Query, Arc<AnswerSlot>> for Idle {
    fn expire_after_create(
        &self,
        query: &Query,
        _slot: &Arc<AnswerSlot>,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(Self::of(query.life))
    }

    fn expire_after_read(
        &self,
        query: &Query,
        _slot: &Arc<AnswerSlot>,
        _read_at: Instant,
        _remaining: Option<Duration>,
        _last_modified_at: Instant,
    ) -> Option<Duration> {
        Some(Self::of(query.life))
    }

    fn expire_after_update(
        &self,
        query: &Query,
        _slot: &Arc<AnswerSlot>,
        _updated_at: Instant,
        _remaining: Option<Duration>,
    ) -> Option<Duration> {
        Some(Self::of(query.life))
    }
}

/// The task that refreshes results that are read regularly.
pub struct Refresher {
    cache: QueryCache,
    scheduled: mpsc::UnboundedReceiver<Scheduled>,
}

impl QueryResult {
    fn new(answer: Answer) -> Self {
        let fetched_ms = jiff::Timestamp::now().as_millisecond();
        let origin = Cause::current().context().cloned().map(Box::new);
        Self { answer, fetched_ms, index: OnceLock::new(), origin }
    }

    /// When the answer came, in milliseconds since the epoch: for answers without a sample, which have no time of their own.
    pub fn fetched_ms(&self) -> i64 {
        self.fetched_ms
    }

    /// The answer.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The vector's samples sorted by a key. Nearly always all readers of a query have the same.
    pub fn with_index<T>(&self, vector: &Vector, key: &Key, read: impl FnOnce(&Index) -> T) -> T {
        let index = self.index.get_or_init(|| Index::new(vector, key));
        if index.key() == key { read(index) } else { read(&Index::new(vector, key)) }
    }

    /// How many bytes the result takes in memory.
    fn weight(&self) -> usize {
        let answer = match &self.answer {
            // The index is made later.
            Answer::Vector(vector) => vector.weight() + Index::weight_of(vector),
            Answer::Scalar(..) | Answer::Other(_) => 0,
        };
        // In an `Arc`, as all of them are.
        memory::allocated(2 * size_of::<usize>() + size_of::<Cached<Self>>()) + answer
    }

    /// Whether the backend says that something is missing.
    fn is_partial(&self) -> bool {
        matches!(&self.answer, Answer::Vector(vector) if vector.is_partial)
    }
}

impl QueryCache {
    /// An empty cache, whose results take so many bytes at the most, and the task that has to run for it. Fetches are tasks
    /// of `fetches`. Namespaces have fair shares of the bytes ([`eviction`]).
    pub fn new(
        max_bytes: u64,
        fetches: TaskTracker,
        metrics: Arc<Metrics>,
        traces: Traces,
    ) -> (Self, Refresher) {
        let eviction = Arc::new(Mutex::new(Eviction::new(max_bytes)));
        let noted = Arc::clone(&eviction);
        let slots = Cache::builder()
            .name("query results")
            .expire_after(Idle)
            .eviction_listener(move |query: Arc<Query>, slot: Arc<AnswerSlot>, cause| {
                if cause != RemovalCause::Replaced {
                    // A refresh may hold it for a while.
                    slot.empty();
                    lock(&noted).gone(&query);
                }
            })
            .build();
        let (sender, scheduled) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let shared = Shared { slots, eviction, fetches, scheduled: sender, stop, metrics, traces };
        let cache = Self { shared: Arc::new(shared) };
        (cache.clone(), Refresher { cache, scheduled })
    }

    /// The result of a query: one that is fresh, or one that is being fetched, or a new one; and an older one where that
    /// is allowed and there is no better one.
    pub async fn get(&self, query: &Query) -> Result<Lookup, FetchError> {
        if query.life.ttl.is_zero() {
            // A request takes much room, which reads from memory need not have. Its type is deep: as a part of that of every read it
            // would reach the compiler's limit.
            let asking: BoxFuture<'_, Result<Answer, Error>> =
                Box::pin(query.backend.query(&query.text));
            let answer = asking.await;
            let answer = answer.map_err(|error| FetchError::Failed(Arc::new(error)))?;
            let landed = now();
            let kept = Arc::new(Cached::new(QueryResult::new(answer), landed, landed));
            return Ok(Lookup { kept, how: How::Fresh });
        }
        let slot = self.slot(query).await;
        let got = self.read(query, &slot).await.map(|(kept, how)| Lookup { kept, how });
        if slot.schedule_refresh(now()) {
            self.schedule_refresh(query, &slot);
        }
        let metrics = &self.shared.metrics;
        let outcome = match &got {
            Ok(Lookup { how, kept }) => {
                let age = kept.age(now()).as_secs_f64();
                match how {
                    How::Fresh | How::Previous => metrics.result_read(age),
                    How::Stale(_) => metrics.stale_read(age),
                }
                how.name()
            }
            Err(_) => "error",
        };
        metrics.cache_read(outcome);
        got
    }

    /// The readers of a query read another one from now on. Its result is kept as long as others.
    pub async fn abandon(&self, query: &Query) {
        if let Some(slot) = self.shared.slots.get(query).await {
            slot.abandon();
        }
    }

    /// The last result of a query, if it may be used where no newer one can be had.
    pub async fn stale(&self, query: &Query) -> Option<Arc<Cached<QueryResult>>> {
        let kept = self.shared.slots.get(query).await?.kept()?;
        (kept.age(now()) <= query.life.max_stale).then_some(kept)
    }

    /// What is kept, beside the counts of reads.
    pub fn facts(&self) -> CacheFacts {
        let eviction = lock(&self.shared.eviction);
        let ((entries, bytes), (most_bytes, evicted)) = (eviction.size(), eviction.pressure());
        drop(eviction);
        let metrics = &self.shared.metrics;
        CacheFacts {
            entries,
            bytes,
            most_bytes,
            evicted,
            reads: metrics.cache_reads(),
            waits: metrics.waited_reads(),
            plans: metrics.plans(),
        }
    }

    /// Whether there is a result, however old.
    pub async fn has(&self, query: &Query) -> bool {
        self.shared.slots.get(query).await.is_some_and(|slot| slot.kept().is_some())
    }

    /// Autoscalers are about to read this query at a known pace: it is fetched and from now on refreshed as if they did.
    pub async fn expect(&self, query: &Query, every: Duration) {
        if query.life.ttl.is_zero() {
            return;
        }
        let slot = self.slot(query).await;
        slot.expect(now(), every);
        self.refresh(query.clone(), Arc::clone(&slot));
        if slot.schedule_refresh(now()) {
            self.schedule_refresh(query, &slot);
        }
    }

    async fn slot(&self, query: &Query) -> Arc<AnswerSlot> {
        if let Some(slot) = self.shared.slots.get(query).await {
            return slot;
        }
        let slot = async { Arc::new(Slot::new(query.life)) };
        // Boxed: otherwise every read would reserve memory for it.
        Box::pin(self.shared.slots.get_with_by_ref(query, slot)).await
    }

    async fn read(
        &self,
        query: &Query,
        slot: &Arc<AnswerSlot>,
    ) -> Result<(Arc<Cached<QueryResult>>, How<FetchError>), FetchError> {
        let at = now();
        if let Some(kept) = slot.fresh(at) {
            if let Some(landing) = slot.renew(&kept, at) {
                self.fetch(query.clone(), landing, Span::none().cause());
            }
            return Ok((kept, How::Fresh));
        }
        let (landing, wait): (_, Wait<_, _>) = match slot.decide(now()) {
            Action::Take(kept, how) => return Ok((kept, how)),
            Action::Fail(error) => return Err(error),
            Action::Wait(wait) => (None, wait),
            Action::Fetch(landing, wait) => (Some(landing), wait),
        };
        let mut span = Span::none();
        if wait.takes_time(now()) {
            self.shared.metrics.waited_read();
            span = Span::part(SpanKind::Internal, "wait for query");
        }
        let joins = landing.is_none();
        if let Some(landing) = landing {
            self.fetch(query.clone(), landing, span.cause());
        }
        let abandoned = || FetchError::Abandoned("the task that fetched has ended".to_owned());
        let outcome = wait.outcome().await.ok_or_else(abandoned)?;
        waited(&mut span, joins, &outcome);
        outcome
    }

    /// Fetches in a task of its own: who goes away neither cancels nor repeats it.
    fn fetch(&self, query: Query, landing: Landing<QueryResult, FetchError>, cause: Cause) {
        let cache = self.clone();
        let fetch = async move { cache.land(query, landing).await }.in_current_span();
        self.shared.fetches.spawn(cause.during(fetch));
    }

    /// Fetches before anybody reads, when it is the turn of this query: until then a reader who comes fetches himself.
    fn refresh(&self, query: Query, slot: Arc<AnswerSlot>) {
        if !slot.queue() {
            return;
        }
        let cache = self.clone();
        let backend = query.backend.clone();
        let queued = now();
        self.shared.fetches.spawn(async move {
            let turn = tokio::select! {
                () = cache.shared.stop.cancelled() => None,
                turn = backend.refresh_turn() => Some(turn),
            };
            slot.unqueue(now().saturating_duration_since(queued));
            if turn.is_some()
                && let Some(landing) = slot.refresh(now())
            {
                drop(slot);
                let span = cache.shared.traces.background("refresh");
                span.during(cache.land(query, landing)).instrument(span.log_span()).await;
            }
        });
    }

    async fn land(&self, query: Query, landing: Landing<QueryResult, FetchError>) {
        let answer = query.backend.query(&query.text).await;
        let held =
            answer.map(QueryResult::new).map_err(|error| FetchError::Failed(Arc::new(error)));
        let failure_bytes = if held.is_err() { FAILURE_BYTES } else { 0 };
        let slot = landing.land(held, now(), |older, newer| {
            let is_worse = newer.is_partial() && !older.is_partial();
            is_worse.then(|| FetchError::Failed(Arc::new(Error::Partial)))
        });
        let bytes = u64::from(weight(&query, &slot)) + failure_bytes;
        // Put in again, because it may have given way meanwhile. It is counted once it is in, so that whatever takes it out
        // again finds it counted.
        self.shared.slots.insert(query.clone(), slot).await;
        let namespace = Arc::clone(query.backend.namespace());
        let victims = lock(&self.shared.eviction).fetched(&namespace, query, bytes);
        for victim in victims {
            self.shared.slots.invalidate(&victim).await;
        }
        let (entries, bytes) = lock(&self.shared.eviction).size();
        self.shared.metrics.cache_size(u64::try_from(entries).unwrap_or(u64::MAX), bytes);
    }

    fn schedule_refresh(&self, query: &Query, slot: &Arc<AnswerSlot>) {
        // The refresher ends only with the process; without it there is nothing to do.
        self.shared.scheduled.send((query.clone(), Arc::clone(slot))).unwrap_or_default();
    }
}

impl Refresher {
    /// Works until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut queue = DelayQueue::new();
        let mut places = Places::new(MAX_SCHEDULED);
        let _ending = self.cache.shared.stop.clone().drop_guard();
        loop {
            let scheduled = tokio::select! {
                () = stop.cancelled() => return,
                Some(scheduled) = self.scheduled.recv() => scheduled,
                Some(expired) = futures::StreamExt::next(&mut queue), if !queue.is_empty() => {
                    let scheduled: Scheduled = expired.into_inner();
                    places.give_back(scheduled.0.backend.namespace());
                    scheduled
                }
            };
            if !places.take(scheduled.0.backend.namespace()) {
                scheduled.1.unschedule();
            } else if let Some(at) = self.refresh(&scheduled, now()).await {
                queue.insert_at(scheduled, at.into());
            } else {
                places.give_back(scheduled.0.backend.namespace());
            }
            self.cache.shared.metrics.refreshed_queries(queue.len());
        }
    }

    /// Refreshes a query if it is due, and says when to look again; nothing when nobody reads it any more.
    async fn refresh(&self, (query, slot): &Scheduled, now: Instant) -> Option<Instant> {
        match slot.due(now) {
            Due::Ended => return None,
            Due::At(at) if at > now => return Some(at),
            Due::At(_) => {}
        }
        // What the bounds have pushed out has readers no more, or another place.
        let is_held = self.cache.shared.slots.get(query).await;
        if !is_held.is_some_and(|held| Arc::ptr_eq(&held, slot)) {
            slot.unschedule();
            return None;
        }
        self.cache.refresh(query.clone(), Arc::clone(slot));
        Some(now + query.life.ttl)
    }
}

/// What a query and its result take in memory, in bytes.
fn weight(query: &Query, slot: &AnswerSlot) -> u32 {
    const COUNTS: usize = 2 * size_of::<usize>();
    let held = slot.kept().map_or(0, |kept| kept.value().weight());
    let key = memory::allocated(COUNTS + query.text.len()) + query.backend.weight();
    let slot = memory::allocated(COUNTS + size_of::<AnswerSlot>());
    u32::try_from(ENTRY_BYTES + key + slot + held).unwrap_or(u32::MAX)
}

fn lock(eviction: &Mutex<Eviction<Query>>) -> MutexGuard<'_, Eviction<Query>> {
    eviction.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says of a reader's wait how it was ended: whose query it was, if it was not his, and what he got.
fn waited(
    span: &mut Span,
    joins: bool,
    outcome: &Result<(Arc<Cached<QueryResult>>, How<FetchError>), FetchError>,
) {
    let result = match outcome {
        Ok((_, How::Fresh)) => "fresh",
        Ok((_, How::Previous)) => "previous",
        Ok((_, How::Stale(_))) => "stale",
        Err(_) => "error",
    };
    span.record(|| {
        let joined = KeyValue::new("loadline.query.joined", joins);
        [joined, KeyValue::new("loadline.query.result", result)]
    });
    if let (true, Ok((kept, How::Fresh))) = (joins, outcome)
        && let Some(origin) = &kept.value().origin
    {
        span.link(origin);
    }
}

/// The time by tokio's clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
