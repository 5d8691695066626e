//! New readers that wait for one another.
//!
//! First reads come in crowds, and one query can do for all of them. A reader that has no result of its own looks every [`LOOK`]
//! for others, until they are so many that sharing pays, or nobody new has come for [`QUIET`].

use std::time::{Duration, Instant};

use super::cost;

/// How often a reader that waits looks for others.
pub const LOOK: Duration = Duration::from_millis(5);

/// A crowd ends when nobody has joined it for this time.
const QUIET: Duration = LOOK.saturating_mul(3);

/// A crowd does not wait longer, even if readers still join it.
const LONGEST: Duration = LOOK.saturating_mul(20);

/// Where nobody has looked for this time the process is busy, and those to wait for have not had their turn either.
const BUSY: Duration = LOOK.saturating_mul(2);

/// Where nobody has looked for this time nobody waits any more.
const DESERTED: Duration = Duration::from_secs(1);

/// Where the number of objects is not known, so many readers count as all that there are.
pub(super) const ALL: usize = 8;

/// Readers that wait for one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crowd {
    /// When it began, which also identifies it.
    pub(super) since: Instant,
    /// When it ends if nobody joins it.
    quiet: Instant,
    /// When it ends at the latest.
    end: Instant,
    /// When somebody looked last.
    looked: Instant,
    readers: usize,
    names: usize,
}

impl Crowd {
    pub(super) fn new(now: Instant) -> Self {
        let (quiet, end) = (now + QUIET, now + LONGEST);
        Self { since: now, quiet, end, looked: now, readers: 0, names: 0 }
    }

    /// The crowd as somebody who looks for others finds it; nothing where it has ended.
    pub(super) fn look(mut self, now: Instant) -> Option<Self> {
        let gap = now.saturating_duration_since(self.looked);
        if gap > BUSY {
            self.quiet = now + QUIET;
            self.end += gap;
        }
        self.looked = now;
        (gap < DESERTED && now < self.quiet && now < self.end).then_some(self)
    }

    /// A reader of so many objects waits, too.
    pub(super) fn join(&mut self, now: Instant, names: usize) {
        self.readers += 1;
        self.names += names;
        self.quiet = now + QUIET;
    }

    /// Whether one query of `size` samples costs no more than one for each of those who wait.
    pub(super) fn pays(&self, size: Option<usize>) -> bool {
        let size = size.or_else(|| (self.readers >= ALL).then_some(self.names));
        size.is_some_and(|size| cost::pays_at_once(self.readers, self.names, size))
    }
}
