//! One value that is fetched when it is asked for, kept for a while, and fetched once for all who wait.
//!
//! The decisions are here, without any I/O, and time is an argument: what a reader gets, when a value has to be fetched and
//! what becomes of the result. Who fetches is the caller.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::cadence::{Due, ReadCadence};

/// How long a reader waits for a fetch while there is an older value that may be used: about the time that a query takes when
/// all is well.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Regular readers do not wait while the older value is no older than this many times the time that it is fresh. An older one was not
/// refreshed in time for this read: its readers have come from another replica, or their pace has changed.
const PROMPT_LIVES: u32 = 2;

/// How long a failure is remembered, if a value does not live shorter: an outage is no storm of queries, and its end is soon
/// noticed.
const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// How long values may be used.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Life {
    /// A value is fresh for this time from the start of its fetch.
    pub ttl: Duration,
    /// If no newer one can be had it is used up to this age; nothing, where this is shorter than `ttl`.
    pub max_stale: Duration,
}

impl Life {
    /// The age at which a value is replaced that is being read, by the time that its fetch took: the next one lands when it ends. In the
    /// last quarter of its life at the earliest, so that readers who never pause cause a third more fetches at the most.
    fn renewal(self, took: Duration) -> Duration {
        self.ttl.saturating_sub(took.min(self.ttl / 4))
    }

    /// How long before a read that is expected a value is fetched, by the time that the last fetch took, with the wait for its turn. It
    /// lands a quarter of its life before the read, so that the reader may be early. Half a life at the most: he may be late as well.
    fn lead(self, took: Duration) -> Duration {
        took.saturating_add(self.ttl / 4).min(self.ttl / 2)
    }

    /// Up to what age a value is better than a worse one.
    fn use_by(self) -> Duration {
        self.max_stale.max(self.ttl)
    }
}

/// A value that was fetched.
#[derive(Debug)]
pub struct Cached<V> {
    value: V,
    started: Instant,
    /// How long the fetch took.
    took: Duration,
    /// When it was read for the first time.
    read: OnceLock<Instant>,
}

impl<V> Cached<V> {
    /// A value that somebody has fetched from `started` to `landed`.
    pub fn new(value: V, started: Instant, landed: Instant) -> Self {
        let took = landed.saturating_duration_since(started);
        Self { value, started, took, read: OnceLock::new() }
    }

    /// The value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// The time since the fetch began.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

/// The place of one value.
#[derive(Debug)]
pub struct Slot<V, E> {
    life: Life,
    kept: ArcSwapOption<Cached<V>>,
    state: Mutex<State<V, E>>,
    is_queued: AtomicBool,
}

#[derive(Debug)]
struct State<V, E> {
    flight: Option<Flight<V, E>>,
    failure: Option<Failure<E>>,
    cadence: ReadCadence,
    attempted: Option<Instant>,
    /// How long the last refresh waited for its turn.
    queued: Duration,
    /// Whether somebody sees to it that the value is refreshed.
    is_scheduled: bool,
}

/// A fetch that failed.
#[derive(Clone, Debug)]
struct Failure<E> {
    at: Instant,
    error: E,
    /// It gave a value, but a worse one than there was.
    is_worse: bool,
}

/// How a fetch ended.
type Outcome<V, E> = Result<Arc<Cached<V>>, E>;

/// Notifies the waiters of the result of a fetch.
type Landed<V, E> = watch::Receiver<Option<Outcome<V, E>>>;

#[derive(Debug)]
struct Flight<V, E> {
    started: Instant,
    outcome: Landed<V, E>,
}

/// What a reader does.
#[derive(Debug)]
pub enum Action<V, E> {
    /// Takes this value.
    Take(Arc<Cached<V>>, How<E>),
    /// Takes this failure of a moment ago.
    Fail(E),
    /// Waits for a fetch that is under way, and takes the older value where it lasts too long.
    Wait(Wait<V, E>),
    /// Fetches, and then waits.
    Fetch(Landing<V, E>, Wait<V, E>),
}

/// How a reader came by a value.
#[derive(Clone, Debug)]
pub enum How<E> {
    /// It was fresh.
    Fresh,
    /// It is used for a while longer while the next one is being fetched.
    Previous,
    /// It is used because no newer one could be had, and this is why.
    Stale(E),
}

impl<E> How<E> {
    /// The value of the label `outcome` of the metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Previous => "previous",
            Self::Stale(_) => "stale",
        }
    }
}

/// A fetch that a reader waits for.
#[derive(Debug)]
pub struct Wait<V, E> {
    outcome: Landed<V, E>,
    /// Until when, and what is used then.
    fallback: Option<(Instant, Arc<Cached<V>>)>,
}

/// A fetch under way, to be ended by [`Landing::land`]. One that is dropped has been abandoned.
#[derive(Debug)]
pub struct Landing<V, E> {
    slot: Arc<Slot<V, E>>,
    started: Instant,
    outcome: watch::Sender<Option<Outcome<V, E>>>,
}

impl<V, E: Clone> Slot<V, E> {
    /// An empty place.
    pub fn new(life: Life) -> Self {
        let state = State {
            flight: None,
            failure: None,
            cadence: ReadCadence::default(),
            attempted: None,
            queued: Duration::ZERO,
            is_scheduled: false,
        };
        Self {
            life,
            kept: ArcSwapOption::empty(),
            state: Mutex::new(state),
            is_queued: AtomicBool::new(false),
        }
    }

    /// The value that is kept, however old.
    pub fn kept(&self) -> Option<Arc<Cached<V>>> {
        self.kept.load_full()
    }

    /// Lets go of the value: there is no place for it any more.
    pub fn empty(&self) {
        self.kept.store(None);
    }

    /// The value, if it is fresh: what a reader looks for first.
    pub fn fresh(&self, now: Instant) -> Option<Arc<Cached<V>>> {
        let kept = self.kept.load_full().filter(|kept| kept.age(now) < self.life.ttl)?;
        // Only the first read of a value says anything about the pace of its readers.
        if kept.read.get().is_none() && kept.read.set(now).is_ok() {
            self.lock().cadence.read(now, self.life.ttl);
        }
        Some(kept)
    }

    /// What a reader does who found nothing fresh.
    pub fn decide(self: &Arc<Self>, now: Instant) -> Action<V, E> {
        let mut state = self.lock();
        let steady = state.cadence.is_steady(now);
        state.cadence.read(now, self.life.ttl);
        // Somebody may have been faster.
        if let Some(kept) = self.kept.load_full().filter(|kept| kept.age(now) < self.life.ttl) {
            kept.read.get_or_init(|| now);
            return Action::Take(kept, How::Fresh);
        }
        let older = self.kept.load_full().filter(|kept| kept.age(now) <= self.life.max_stale);
        if let Some(failure) = state.remembered(self.life, now) {
            match (&older, failure.is_worse) {
                (Some(kept), _) => {
                    return Action::Take(Arc::clone(kept), How::Stale(failure.error));
                }
                (None, false) => return Action::Fail(failure.error),
                // What it was worse than is too old by now.
                (None, true) => {}
            }
        }
        let flight = state.flight.as_ref().filter(|flight| !flight.is_over());
        let (landing, started, outcome) = if let Some(flight) = flight {
            (None, flight.started, flight.outcome.clone())
        } else {
            let (landing, outcome) = state.take_off(self, now);
            (Some(landing), now, outcome)
        };
        let fallback = older.map(|kept| {
            let is_recent = kept.age(now) <= self.life.ttl.saturating_mul(PROMPT_LIVES);
            // A fetch that was begun in advance has kept nobody waiting.
            let from = started.max(kept.started + self.life.ttl);
            (if steady && is_recent { now } else { from + PATIENCE }, kept)
        });
        let wait = Wait { outcome, fallback };
        match landing {
            Some(landing) => Action::Fetch(landing, wait),
            None => Action::Wait(wait),
        }
    }

    /// Whether the caller is the one to wait for the turn of a refresh; the others find that one does already.
    pub fn queue(&self) -> bool {
        !self.is_queued.swap(true, Ordering::Relaxed)
    }

    /// The turn has come, or is not waited for any more, after so long.
    pub fn unqueue(&self, waited: Duration) {
        self.lock().queued = waited;
        self.is_queued.store(false, Ordering::Relaxed);
    }

    /// Begins the fetch that follows a fresh value which is being read, if it is time for that. Not where values may not be used beyond
    /// their life: if it fails, who reads next is to ask for himself.
    pub fn renew(self: &Arc<Self>, kept: &Cached<V>, now: Instant) -> Option<Landing<V, E>> {
        let life = self.life;
        if kept.age(now) < life.renewal(kept.took) || life.max_stale < life.ttl {
            return None;
        }
        let mut state = self.lock();
        let is_failing = state.remembered(life, now).is_some();
        if is_failing { None } else { state.fetch_ahead(self, now) }
    }

    /// Begins a fetch that nobody waits for, if none is under way and it is time for that.
    pub fn refresh(self: &Arc<Self>, now: Instant) -> Option<Landing<V, E>> {
        self.lock().fetch_ahead(self, now)
    }

    /// When the value has to be refreshed. From [`Due::Ended`] on nobody sees to it until [`Slot::schedule_refresh`] says so again.
    pub fn due(&self, now: Instant) -> Due {
        let mut state = self.lock();
        let attempted = state.attempted.unwrap_or(now);
        let took = self.kept.load().as_ref().map_or(Duration::ZERO, |kept| kept.took);
        let lead = self.life.lead(state.queued.saturating_add(took));
        let due = state.cadence.due(attempted, self.life.ttl, lead, now);
        state.is_scheduled &= due != Due::Ended;
        due
    }

    /// Whether the caller has to see to refreshing the value from now on: it is read regularly, and nobody does yet.
    pub fn schedule_refresh(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let begins = !state.is_scheduled && state.cadence.is_steady(now);
        state.is_scheduled |= begins;
        begins
    }

    /// Nobody sees to refreshing the value any more.
    pub fn unschedule(&self) {
        self.lock().is_scheduled = false;
    }

    /// Its readers read something else from now on.
    pub fn abandon(&self) {
        self.lock().cadence.end();
    }

    /// Readers at this pace are known to come.
    pub fn expect(&self, now: Instant, every: Duration) {
        self.lock().cadence.expect(now, every);
    }

    fn lock(&self) -> MutexGuard<'_, State<V, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V, E: Clone> State<V, E> {
    /// A failure that is recent enough not to try again.
    fn remembered(&self, life: Life, now: Instant) -> Option<Failure<E>> {
        let failure = self.failure.as_ref()?;
        let memory = life.ttl.min(FAILURE_MEMORY);
        (now.saturating_duration_since(failure.at) < memory).then(|| failure.clone())
    }

    fn fetch_ahead(&mut self, slot: &Arc<Slot<V, E>>, now: Instant) -> Option<Landing<V, E>> {
        let is_early = |kept: &Arc<Cached<V>>| kept.age(now) < slot.life.renewal(kept.took);
        let is_early = slot.kept.load().as_ref().is_some_and(is_early);
        let is_under_way = self.flight.as_ref().is_some_and(|flight| !flight.is_over());
        if is_early || is_under_way {
            return None;
        }
        Some(self.take_off(slot, now).0)
    }

    fn take_off(&mut self, slot: &Arc<Slot<V, E>>, now: Instant) -> (Landing<V, E>, Landed<V, E>) {
        let (sender, outcome) = watch::channel(None);
        self.flight = Some(Flight { started: now, outcome: outcome.clone() });
        self.attempted = Some(now);
        (Landing { slot: Arc::clone(slot), started: now, outcome: sender }, outcome)
    }
}

impl<V, E> Flight<V, E> {
    /// Whether it has landed, or has been abandoned.
    fn is_over(&self) -> bool {
        self.outcome.borrow().is_some() || self.outcome.has_changed().is_err()
    }
}

impl<V, E: Clone> Landing<V, E> {
    /// Ends the fetch and frees its place. While the older value may be used, `worse` compares it with the newer one: if the newer
    /// one is worse, it returns the failure.
    pub fn land(
        self,
        result: Result<V, E>,
        now: Instant,
        worse: impl Fn(&V, &V) -> Option<E>,
    ) -> Arc<Slot<V, E>> {
        let Self { slot, started, outcome } = self;
        let mut state = slot.lock();
        state.flight = None;
        let older = slot.kept.load_full().filter(|kept| kept.age(now) <= slot.life.use_by());
        let is_value = result.is_ok();
        let result = result.and_then(|value| {
            older.and_then(|older| worse(&older.value, &value)).map_or(Ok(value), Err)
        });
        let result = match result {
            Ok(value) => {
                state.failure = None;
                let kept = Arc::new(Cached::new(value, started, now));
                // Who waits for it is its first reader, and has been noted.
                if outcome.receiver_count() > 0 {
                    kept.read.get_or_init(|| now);
                }
                slot.kept.store(Some(Arc::clone(&kept)));
                Ok(kept)
            }
            Err(error) => {
                state.failure = Some(Failure { at: now, error: error.clone(), is_worse: is_value });
                Err(error)
            }
        };
        drop(state);
        outcome.send_replace(Some(result));
        slot
    }
}

impl<V, E: Clone> Wait<V, E> {
    /// Whether there is reason to wait at all: no older value is at hand, or there is time for a newer one.
    pub fn takes_time(&self, now: Instant) -> bool {
        self.fallback.as_ref().is_none_or(|(until, _)| *until > now)
    }

    /// Waits. Nothing is the end of a fetch that was abandoned.
    pub async fn outcome(mut self) -> Option<Result<(Arc<Cached<V>>, How<E>), E>> {
        let landed = self.outcome.wait_for(Option::is_some);
        let landed = match &self.fallback {
            None => landed.await,
            Some((until, kept)) => {
                // What has landed is taken even where there is no time to wait.
                match tokio::time::timeout_at((*until).into(), landed).await {
                    Ok(landed) => landed,
                    Err(_elapsed) => return Some(Ok((Arc::clone(kept), How::Previous))),
                }
            }
        };
        let outcome = landed.ok()?.clone()?;
        Some(match (outcome, self.fallback) {
            (Ok(kept), _) => Ok((kept, How::Fresh)),
            (Err(error), Some((_, kept))) => Ok((kept, How::Stale(error))),
            (Err(error), None) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests;
