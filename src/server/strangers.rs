//! Connections without a good credential so far. When there are too many, one of them is closed for a new one, so a client that
//! holds many open keeps nobody out. Connections with a credential, such as kube-apiserver's, are never closed for this, even if
//! they share an address with strangers.
//!
//! The oldest connection that has had an answer is closed first, because it loses nothing; without one, the oldest. A client with a
//! credential therefore has the time to show it, however often closed strangers connect again.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

/// A connection, as long as it is open.
#[derive(Debug, Default)]
pub(super) struct Stranger {
    /// Whether a good credential has been shown on it.
    pub(super) is_known: Arc<AtomicBool>,
    /// Whether the whole head of a request has come on it.
    pub(super) has_asked: AtomicBool,
    /// Whether a request on it has been answered.
    pub(super) is_answered: AtomicBool,
    /// It has to make room.
    pub(super) evicted: CancellationToken,
}

/// The open connections of strangers, by their addresses, the oldest first.
#[derive(Debug)]
pub(super) struct Strangers {
    each: usize,
    all: usize,
    by_address: HashMap<IpAddr, VecDeque<Weak<Stranger>>>,
    /// How many there are in the lists, also of those that have become known or have ended since.
    listed: usize,
}

impl Strangers {
    /// So many at the most from each address, and so many in all.
    pub(super) fn new(each: usize, all: usize) -> Self {
        Self { each, all, by_address: HashMap::new(), listed: 0 }
    }

    /// Takes a new connection in. Others may have to make room for it.
    pub(super) fn welcome(&mut self, address: IpAddr) -> Arc<Stranger> {
        let stranger = Arc::new(Stranger::default());
        // Of IPv4 whatever the socket is bound to.
        let address = address.to_canonical();
        let same = self.by_address.entry(address).or_default();
        same.push_back(Arc::downgrade(&stranger));
        self.listed += 1;
        if same.len() > self.each {
            self.listed -= forget(same);
            if same.len() > self.each {
                self.listed -= usize::from(evict(same));
            }
        }
        if self.listed > self.all {
            self.forget();
            if self.listed > self.all {
                self.make_room();
            }
        }
        stranger
    }

    /// Closes a connection of the address that has most. Says whether there was one.
    pub(super) fn make_room(&mut self) -> bool {
        self.forget();
        let most = self.by_address.values_mut().max_by_key(|same| same.len());
        let is_evicted = most.is_some_and(evict);
        self.listed -= usize::from(is_evicted);
        is_evicted
    }

    fn forget(&mut self) {
        self.by_address.retain(|_, same| {
            self.listed -= forget(same);
            !same.is_empty()
        });
    }
}

/// Takes those off a list that have become known or have ended, and counts them.
fn forget(same: &mut VecDeque<Weak<Stranger>>) -> usize {
    let before = same.len();
    same.retain(|one| one.upgrade().is_some_and(|one| !one.is_known.load(Ordering::Relaxed)));
    before - same.len()
}

/// Closes one of a list, if there is any.
fn evict(same: &mut VecDeque<Weak<Stranger>>) -> bool {
    let is_answered = |one: &Weak<Stranger>| {
        one.upgrade().is_none_or(|one| one.is_answered.load(Ordering::Relaxed))
    };
    let first = same.iter().position(is_answered).unwrap_or_default();
    let evicted = same.remove(first);
    if let Some(evicted) = evicted.as_ref().and_then(Weak::upgrade) {
        evicted.evicted.cancel();
    }
    evicted.is_some()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn evicted(connections: &[Arc<Stranger>]) -> Vec<usize> {
        let all = connections.iter().enumerate();
        all.filter(|(_, one)| one.evicted.is_cancelled()).map(|(number, _)| number).collect()
    }

    #[test]
    fn the_oldest_stranger_of_an_address_makes_room() {
        let mut strangers = Strangers::new(3, 100);
        let other = strangers.welcome(address(2));
        let mut open: Vec<_> = (0..3).map(|_| strangers.welcome(address(1))).collect();
        assert!(evicted(&open).is_empty());
        open.push(strangers.welcome(address(1)));
        assert_eq!(evicted(&open), [0]);
        // Peers with a valid credential do not count, and are not closed.
        open[1].is_known.store(true, Ordering::Relaxed);
        open.push(strangers.welcome(address(1)));
        assert_eq!(evicted(&open), [0]);
        open.push(strangers.welcome(address(1)));
        assert_eq!(evicted(&open), [0, 2]);
        // Nor do those that have ended.
        drop(open.split_off(4));
        open.extend([strangers.welcome(address(1)), strangers.welcome(address(1))]);
        assert_eq!(evicted(&open), [0, 2]);
        assert!(!other.evicted.is_cancelled());
    }

    #[test]
    fn whoever_has_had_an_answer_makes_room_first() {
        let mut strangers = Strangers::new(3, 100);
        let mut open: Vec<_> = (0..3).map(|_| strangers.welcome(address(1))).collect();
        open[1].is_answered.store(true, Ordering::Relaxed);
        open.push(strangers.welcome(address(1)));
        assert_eq!(evicted(&open), [1]);
        // Strangers who connect again and again take the place of each other.
        for _ in 0..100 {
            open[3].is_answered.store(true, Ordering::Relaxed);
            open[3] = strangers.welcome(address(1));
        }
        assert_eq!(evicted(&open), [1], "the others are waited for");
        open.push(strangers.welcome(address(1)));
        assert_eq!(evicted(&open), [0, 1]);
    }

    #[test]
    fn the_address_that_has_most_makes_room_for_others() {
        let mut strangers = Strangers::new(100, 10);
        let first = strangers.welcome(address(1));
        let mut many: Vec<_> = (0..9).map(|_| strangers.welcome(address(2))).collect();
        let late: Vec<_> = (3..6).map(|last| strangers.welcome(address(last))).collect();
        assert_eq!(evicted(&many), [0, 1, 2]);
        assert_eq!((evicted(&late), first.evicted.is_cancelled()), (Vec::new(), false));
        assert!(strangers.make_room());
        assert_eq!(evicted(&many), [0, 1, 2, 3]);
        many.extend(late);
        many.push(first);
        for one in &many {
            one.is_known.store(true, Ordering::Relaxed);
        }
        assert!(!strangers.make_room(), "nobody who is known has to");
        assert_eq!(
            (strangers.listed, strangers.by_address.len()),
            (0, 0),
            "nothing is left of them"
        );
    }
}
