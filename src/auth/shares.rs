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

impl Shares {
    /// So many bytes for each user, and so many for all.
    pub fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self { each, all, held: Mutex::default() })
    }

    /// Gives a user so many bytes, or nothing where the user or all together would hold too much.
    pub fn take(self: &Arc<Self>, user: &str, bytes: usize) -> Option<Share> {
        let mut held = self.lock();
        let own = held.by_user.get(user).copied().unwrap_or_default().saturating_add(bytes);
        let all = held.all.saturating_add(bytes);
        if own > self.each || all > self.all {
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
    fn sums_do_not_overflow() {
        let shares = Shares::new(usize::MAX - 1, usize::MAX - 1);
        let _most = shares.take("a", usize::MAX - 1).unwrap();
        assert!(shares.take("a", usize::MAX).is_none());
        assert!(shares.take("b", usize::MAX).is_none());
    }
}
