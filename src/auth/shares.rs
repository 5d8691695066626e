//! How much of something limited each user holds: what one holds, others can only lack as far as the whole goes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A number of bytes that users hold parts of.
#[derive(Debug)]
pub struct Shares {
    /// The most that one user may hold.
    each: usize,
    /// The most that all may hold together.
    all: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Only of users who hold something.
    by_user: HashMap<Box<str>, usize>,
}

/// What a user holds until it is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    user: Box<str>,
    bytes: usize,
}

impl Share {
    /// Who holds it.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl Shares {
    /// So many bytes for each user, and so many for all.
    pub fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self { each, all, held: Mutex::default() })
    }

    /// So many bytes for a user, or nothing where the user or all together would hold too much.
    pub fn take(self: &Arc<Self>, user: &str, bytes: usize) -> Option<Share> {
        self.take_if(user, bytes, |own, all| own <= self.each && all <= self.all)
    }

    /// The same for what cannot be smaller: the first that a user holds may be more than its part, and the first of all more
    /// than all.
    pub fn take_whole(self: &Arc<Self>, user: &str, bytes: usize) -> Option<Share> {
        self.take_if(user, bytes, |own, all| {
            all == bytes || ((own == bytes || own <= self.each) && all <= self.all)
        })
    }

    /// So many bytes for a user, if what the user and all together hold then may be.
    fn take_if(
        self: &Arc<Self>,
        user: &str,
        bytes: usize,
        may_be: impl FnOnce(usize, usize) -> bool,
    ) -> Option<Share> {
        let mut held = self.lock();
        let own = held.by_user.get(user).copied().unwrap_or_default().saturating_add(bytes);
        let all = held.all.saturating_add(bytes);
        if !may_be(own, all) {
            return None;
        }
        held.all = all;
        let user: Box<str> = user.into();
        held.by_user.insert(user.clone(), own);
        Some(Share { of: Arc::clone(self), user, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        held.all = held.all.saturating_sub(self.bytes);
        if let Some(own) = held.by_user.get_mut(&self.user) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                held.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_cannot_take_what_is_for_others() {
        let shares = Shares::new(100, 150);
        let first = shares.take("a", 60).unwrap();
        let second = shares.take("a", 40).unwrap();
        assert!(shares.take("a", 1).is_none(), "that is all of the user's");
        let other = shares.take("b", 50).unwrap();
        assert!(shares.take("c", 1).is_none(), "that is all");
        drop(first);
        assert!(shares.take("c", 61).is_none());
        drop(shares.take("c", 60).unwrap());
        drop((second, other));
        let held = shares.lock();
        assert_eq!((held.all, held.by_user.len()), (0, 0), "nothing is left of who holds nothing");
    }

    #[test]
    fn what_cannot_be_smaller_may_be_the_first() {
        let shares = Shares::new(100, 150);
        let huge = shares.take_whole("a", 1_000).unwrap();
        assert!(shares.take_whole("b", 1).is_none(), "there is more than all");
        drop(huge);
        let large = shares.take_whole("a", 120).unwrap();
        assert!(shares.take_whole("a", 1).is_none(), "it has more than its part");
        let other = shares.take_whole("b", 30).unwrap();
        drop((large, other));
        assert_eq!(shares.lock().all, 0);
    }

    #[test]
    fn sums_do_not_overflow() {
        let shares = Shares::new(usize::MAX - 1, usize::MAX - 1);
        let _most = shares.take("a", usize::MAX - 1).unwrap();
        assert!(shares.take("a", usize::MAX).is_none());
        assert!(shares.take("b", usize::MAX).is_none());
    }
}
