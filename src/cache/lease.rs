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
