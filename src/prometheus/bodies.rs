//! The memory of answers that are received and decoded, of all backends together.
//!
//! An answer is charged as it grows, before the bytes are kept, and until it has been decoded. [`pool`] decides who waits.

mod pool;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use pool::{Growth, Pool};
use tokio::sync::oneshot;

use super::Error;
use crate::{
    core::{budgets::MemoryBudgets, memory},
    metrics::backend::AnswerMemory,
};

/// What an answer takes at its peak, as a multiple of its bytes: itself, and what it is decoded to. That is at most four bytes
/// for three (`{},`), and a quarter more while it grows.
pub const PEAK: usize = 3;

/// Answers up to so many bytes are not held up by larger ones.
const SMALL: usize = 64 << 10;

/// The smallest room that is made for an answer.
const FIRST: usize = 4 << 10;

/// The memory of all answers under way.
#[derive(Debug)]
pub struct Bodies {
    pool: Mutex<Pool<oneshot::Sender<()>>>,
    largest: usize,
    usage: AnswerMemory,
}

impl Bodies {
    /// So many bytes for all answers, and for the largest one. The former are [`PEAK`] times the latter at the least.
    pub fn new(all: usize, largest: usize, usage: AnswerMemory) -> Self {
        let reserve = largest.saturating_mul(PEAK);
        let all = all.max(reserve);
        usage.most.set(level(all));
        let pool = Mutex::new(Pool::new(all, reserve, SMALL * PEAK));
        Self { pool, largest, usage }
    }

    /// The most bytes of an answer.
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// An answer begins to come, which may have so many bytes. What does not get its memory until a time fails.
    pub(crate) fn begin(self: &Arc<Self>, limit: usize, until: Instant) -> Receiving {
        let claim = Claim { bodies: Arc::clone(self), id: self.lock().begin() };
        Receiving { bytes: Vec::new(), limit: limit.min(self.largest), until, claim }
    }

    fn lock(&self) -> MutexGuard<'_, Pool<oneshot::Sender<()>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, pool: &Pool<oneshot::Sender<()>>) {
        let now = level(pool.in_use());
        self.usage.now.set(now);
        if now > self.usage.peak.get() {
            self.usage.peak.set(now);
        }
    }
}

impl Default for Bodies {
    fn default() -> Self {
        let MemoryBudgets { answers, largest_answer, .. } = MemoryBudgets::default();
        Self::new(answers, largest_answer, AnswerMemory::default())
    }
}

fn level(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What an answer holds, until it is dropped.
#[derive(Debug)]
struct Claim {
    bodies: Arc<Bodies>,
    id: u64,
}

impl Claim {
    async fn grow(&self, more: usize, until: Instant) -> Result<(), Error> {
        let waiter = {
            let mut pool = self.bodies.lock();
            match pool.grow(self.id, more) {
                Growth::Granted => {
                    self.bodies.tell(&pool);
                    return Ok(());
                }
                Growth::TooMuch => return Err(Error::TooLarge(self.bodies.largest)),
                Growth::Waits => {
                    let (sender, waiter) = oneshot::channel();
                    pool.wait(self.id, more, sender);
                    waiter
                }
            }
        };
        let granted = tokio::time::timeout_at(until.into(), waiter).await;
        if granted.is_err() && self.bodies.lock().leave(self.id) {
            return Err(Error::NoRoom);
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut pool = self.bodies.lock();
        for granted in pool.end(self.id) {
            // A waiter that was dropped meanwhile frees it by its own claim.
            granted.send(()).unwrap_or_default();
        }
        self.bodies.tell(&pool);
    }
}

/// An answer that is being received.
#[derive(Debug)]
pub(crate) struct Receiving {
    bytes: Vec<u8>,
    limit: usize,
    until: Instant,
    claim: Claim,
}

impl Receiving {
    /// Fails for an answer that will have so many bytes, if that is too much.
    pub(crate) fn expect(&self, length: u64) -> Result<(), Error> {
        let fits = usize::try_from(length).is_ok_and(|length| length <= self.limit);
        if fits { Ok(()) } else { Err(Error::TooLarge(self.limit)) }
    }

    /// Takes the next bytes, as soon as there is room for them.
    pub(crate) async fn extend(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let (length, capacity) = (self.bytes.len() + chunk.len(), self.bytes.capacity());
        if length > self.limit {
            return Err(Error::TooLarge(self.limit));
        }
        if length > capacity {
            let more = memory::more_room(capacity, (length - capacity).max(FIRST));
            let more = more.min(self.limit - capacity);
            self.claim.grow(more * PEAK, self.until).await?;
            self.bytes.reserve_exact(capacity + more - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// All bytes have come.
    pub(crate) fn complete(self) -> Body {
        Body { bytes: self.bytes.into(), _claim: self.claim }
    }
}

/// An answer, which holds memory until it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Bytes,
    _claim: Claim,
}

impl Body {
    /// The answer.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_others_and_no_longer_than_it_may() {
        let bodies = Arc::new(Bodies::new(4 * MIB, MIB, AnswerMemory::default()));
        let begin = || bodies.begin(MIB, super::super::now() + Duration::from_secs(10));
        let chunk = vec![b' '; MIB];
        let (mut first, mut second) = (begin(), begin());
        first.extend(&chunk).await.unwrap();
        assert_eq!(bodies.usage.now.get(), 3 << 20);
        second.extend(&chunk[..MIB / 8]).await.unwrap();
        let error = second.extend(&chunk[..MIB / 2]).await.unwrap_err();
        assert!(matches!(error, Error::NoRoom), "{error}");
        let mut third = begin();
        let (grown, ()) = tokio::join!(third.extend(&chunk), async { drop(first) });
        grown.unwrap();
        drop((second, third));
        assert_eq!(bodies.usage.now.get(), 0);
        assert!(bodies.usage.peak.get() <= bodies.usage.most.get());
    }

    #[tokio::test]
    async fn what_is_too_large_is_said_as_soon_as_it_is_known() {
        let bodies = Arc::new(Bodies::new(0, MIB, AnswerMemory::default()));
        let mut body = bodies.begin(usize::MAX, Instant::now());
        body.expect(1 << 20).unwrap();
        assert!(matches!(body.expect((1 << 20) + 1), Err(Error::TooLarge(MIB))));
        body.extend(&vec![b' '; MIB]).await.unwrap();
        assert_eq!(bodies.usage.now.get(), 3 << 20);
        assert!(matches!(body.extend(b" ").await, Err(Error::TooLarge(MIB))));
        assert_eq!(body.complete().bytes().len(), MIB);
        assert_eq!((bodies.usage.now.get(), bodies.usage.peak.get()), (0, 3 << 20));
    }
}
