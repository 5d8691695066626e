//! A fresh result, remembered without keeping it: as long as readers would get this very one, what was made of it is right.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use super::{AnswerSlot, Held, slot::Kept};

/// A result and its place.
#[derive(Clone, Debug)]
pub struct Lease {
    slot: Weak<AnswerSlot>,
    kept: Weak<Kept<Held>>,
}

impl Lease {
    pub(super) fn new(slot: &Arc<AnswerSlot>, kept: &Arc<Kept<Held>>) -> Self {
        Self { slot: Arc::downgrade(slot), kept: Arc::downgrade(kept) }
    }

    /// Whether a reader would get this very result now, and it is fresh. It counts as a read of it.
    pub fn read(&self, now: Instant) -> bool {
        let fresh = self.slot.upgrade().and_then(|slot| slot.fresh(now));
        fresh.is_some_and(|kept| std::ptr::eq(Arc::as_ptr(&kept), self.kept.as_ptr()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cache::slot::{Life, Turn},
        prometheus::Answer,
    };

    const LIFE: Life = Life { ttl: Duration::from_secs(5), max_stale: Duration::from_secs(30) };

    /// Fetches a value.
    fn land(slot: &Arc<AnswerSlot>, now: Instant) -> Lease {
        let Turn::Fetch(landing, _wait) = slot.turn(now) else { panic!("nothing is fresh") };
        landing.land(Ok(Held::new(Answer::Scalar(0, 1.0))), now, |_, _| None);
        Lease::new(slot, &slot.kept().unwrap())
    }

    #[test]
    fn it_holds_as_long_as_readers_get_this_result_and_it_is_fresh() {
        let (slot, start) = (Arc::new(AnswerSlot::new(LIFE)), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let first = land(&slot, start);
        assert!(first.read(start));
        assert!(first.read(after(4)));
        assert!(!first.read(after(5)), "too old");
        let second = land(&slot, after(6));
        assert!(second.read(after(6)));
        assert!(!first.read(after(6)), "there is a newer one");
        drop(slot);
        assert!(!second.read(after(6)), "the cache has let it go");
    }

    #[test]
    fn it_counts_as_a_read() {
        let (slot, start) = (Arc::new(AnswerSlot::new(LIFE)), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        land(&slot, start);
        // Nobody has waited for this one, so the first who takes it says something of the pace.
        let landing = slot.refresh(after(14)).unwrap();
        landing.land(Ok(Held::new(Answer::Scalar(0, 2.0))), after(14), |_, _| None);
        let lease = Lease::new(&slot, &slot.kept().unwrap());
        assert!(!slot.tend(after(15)), "read once only");
        assert!(lease.read(after(15)));
        assert!(slot.tend(after(15)), "read regularly");
    }
}
