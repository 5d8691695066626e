//! Which namespace sends the next query to a backend.
//!
//! Of the queries that may be under way at a time one namespace has at most half, so that there is always room for another
//! one. Those that wait have their turn namespace by namespace, and within a namespace in the order in which they came.
//! [`Shares`] decides, without any I/O; [`Permits`] waits.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Who has permits, and who waits for one.
#[derive(Debug)]
struct Shares<W> {
    free: usize,
    /// The most that one namespace may hold.
    most: usize,
    namespaces: HashMap<Arc<str>, Share<W>>,
    /// The namespaces in which somebody waits, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    /// How many have waited.
    waited: u64,
}

/// Those of one namespace.
#[derive(Debug)]
struct Share<W> {
    held: usize,
    /// In the order in which they came.
    waiting: BTreeMap<u64, W>,
}

impl<W> Shares<W> {
    fn new(permits: usize) -> Self {
        Self {
            free: permits,
            most: (permits / 2).max(1),
            namespaces: HashMap::new(),
            turns: VecDeque::new(),
            waited: 0,
        }
    }

    /// Takes a permit, if there is one for the namespace. Then nobody there waits for it: that one would have it.
    fn take(&mut self, namespace: &Arc<str>) -> bool {
        let held = self.namespaces.get(namespace).map_or(0, |share| share.held);
        let is_free = self.free > 0 && held < self.most;
        if is_free {
            self.free -= 1;
            self.share(namespace).held += 1;
        }
        is_free
    }

    /// Waits behind the others of the namespace. The number is for [`Shares::leave`].
    fn wait(&mut self, namespace: &Arc<str>, waiter: W) -> u64 {
        self.waited += 1;
        let number = self.waited;
        let share = self.share(namespace);
        let is_first = share.waiting.is_empty();
        share.waiting.insert(number, waiter);
        if is_first {
            self.turns.push_back(Arc::clone(namespace));
        }
        number
    }

    /// How many have their turn before one of the namespace that comes now.
    fn ahead(&self, namespace: &Arc<str>) -> usize {
        let waiting = |namespace| self.namespaces.get(namespace).map_or(0, |it| it.waiting.len());
        let own = waiting(namespace);
        let others = self.turns.iter().filter(|other| *other != namespace);
        own + others.map(|other| waiting(other).min(own + 1)).sum::<usize>()
    }

    /// One does not wait any more; false if it has had its turn.
    fn leave(&mut self, namespace: &Arc<str>, number: u64) -> bool {
        let Some(share) = self.namespaces.get_mut(namespace) else { return false };
        if share.waiting.remove(&number).is_none() {
            return false;
        }
        if share.waiting.is_empty() {
            self.turns.retain(|known| known != namespace);
        }
        self.forget(namespace);
        true
    }

    /// Returns a permit. The result is its next holder.
    fn give_back(&mut self, namespace: &Arc<str>) -> Option<W> {
        self.free += 1;
        self.share(namespace).held -= 1;
        self.forget(namespace);
        // At most those few are passed over that have all they may.
        let may = |namespace: &Arc<str>| {
            self.namespaces.get(namespace).is_some_and(|share| share.held < self.most)
        };
        let next = self.turns.iter().position(may)?;
        let namespace = self.turns.remove(next)?;
        let share = self.share(&namespace);
        let (_, waiter) = share.waiting.pop_first()?;
        share.held += 1;
        let waits_on = !share.waiting.is_empty();
        self.free -= 1;
        if waits_on {
            self.turns.push_back(namespace);
        }
        Some(waiter)
    }

    fn share(&mut self, namespace: &Arc<str>) -> &mut Share<W> {
        let none = || Share { held: 0, waiting: BTreeMap::new() };
        self.namespaces.entry(Arc::clone(namespace)).or_insert_with(none)
    }

    /// Forgets a namespace that has nothing and wants nothing.
    fn forget(&mut self, namespace: &Arc<str>) {
        let is_idle = |share: &Share<W>| share.held == 0 && share.waiting.is_empty();
        if self.namespaces.get(namespace).is_some_and(is_idle) {
            self.namespaces.remove(namespace);
        }
    }
}

/// The permits for what is under way at the same time.
#[derive(Debug)]
pub(super) struct Permits(Mutex<Shares<oneshot::Sender<()>>>);

/// A permit, or somebody who waits for one, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'p> {
    permits: &'p Permits,
    namespace: Arc<str>,
    waits: Option<u64>,
}

impl Permits {
    pub(super) fn new(permits: usize) -> Self {
        Self(Mutex::new(Shares::new(permits)))
    }

    /// A permit without waiting, or how many would have theirs before.
    pub(super) fn take(&self, namespace: &Arc<str>) -> Result<Permit<'_>, usize> {
        let mut shares = self.lock();
        if shares.take(namespace) {
            Ok(Permit { permits: self, namespace: Arc::clone(namespace), waits: None })
        } else {
            Err(shares.ahead(namespace))
        }
    }

    /// Waits for a permit.
    pub(super) async fn wait(&self, namespace: &Arc<str>) -> Permit<'_> {
        let mut permit = Permit { permits: self, namespace: Arc::clone(namespace), waits: None };
        let turn = {
            let mut shares = self.lock();
            if shares.take(namespace) {
                return permit;
            }
            let (sender, turn) = oneshot::channel();
            permit.waits = Some(shares.wait(namespace, sender));
            turn
        };
        // The sender is kept until it is used.
        turn.await.unwrap_or_default();
        permit.waits = None;
        permit
    }

    fn give_back(&self, namespace: &Arc<str>) {
        let next = self.lock().give_back(namespace);
        if let Some(next) = next {
            // A waiter that was dropped meanwhile returns it.
            next.send(()).unwrap_or_default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shares<oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // A dropped waiter may already have got its permit.
        let has_left =
            self.waits.is_some_and(|number| self.permits.lock().leave(&self.namespace, number));
        if !has_left {
            self.permits.give_back(&self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str) -> Arc<str> {
        namespace.into()
    }

    /// So many of a namespace come, each known by the namespace and its number. Says how many have a permit at once.
    fn come(shares: &mut Shares<String>, namespace: &str, count: usize) -> usize {
        let mut taken = 0;
        for number in 0..count {
            if shares.take(&name(namespace)) {
                taken += 1;
            } else {
                shares.wait(&name(namespace), format!("{namespace}{number}"));
            }
        }
        taken
    }

    #[test]
    fn one_namespace_has_at_most_half() {
        for (permits, most) in [(1, 1), (2, 1), (3, 1), (4, 2), (64, 32)] {
            let mut shares = Shares::new(permits);
            assert_eq!(come(&mut shares, "a", 100), most, "of {permits}");
            assert_eq!(come(&mut shares, "b", 1), usize::from(permits > 1), "of {permits}");
        }
    }

    #[test]
    fn those_who_wait_have_their_turn_namespace_by_namespace() {
        let mut shares = Shares::new(4);
        assert_eq!(come(&mut shares, "a", 6), 2);
        assert_eq!(come(&mut shares, "b", 4), 2);
        assert_eq!(come(&mut shares, "c", 1), 0);
        let given = ["a", "a", "b", "c", "b"].map(|by| shares.give_back(&name(by)));
        let given = given.each_ref().map(|given| given.as_deref().unwrap_or("nobody"));
        assert_eq!(given, ["a2", "c0", "b2", "a3", "b3"]);
    }

    #[test]
    fn who_may_not_have_more_is_passed_over() {
        let mut shares = Shares::new(4);
        assert_eq!(come(&mut shares, "a", 5), 2);
        assert_eq!(come(&mut shares, "b", 2), 2);
        assert_eq!(come(&mut shares, "c", 2), 0);
        assert_eq!(shares.give_back(&name("b")).as_deref(), Some("c0"), "a is before c");
        assert_eq!(shares.give_back(&name("a")).as_deref(), Some("a2"));
        assert_eq!(shares.give_back(&name("b")).as_deref(), Some("c1"));
        assert_eq!(shares.give_back(&name("c")), None, "a has its half");
        assert_eq!(shares.free, 1);
    }

    #[test]
    fn who_comes_knows_how_many_are_ahead() {
        let mut shares = Shares::new(2);
        assert_eq!(come(&mut shares, "a", 101) + come(&mut shares, "b", 4), 2);
        for (namespace, ahead) in [("a", 103), ("b", 3 + 4), ("c", 2)] {
            assert_eq!(shares.ahead(&name(namespace)), ahead, "{namespace}");
        }
    }

    #[test]
    fn nothing_is_remembered_of_who_has_gone() {
        let mut shares = Shares::new(2);
        assert!(shares.take(&name("a")));
        let number = shares.wait(&name("a"), String::new());
        let other = shares.wait(&name("a"), String::new());
        assert!(shares.leave(&name("a"), number));
        assert!(!shares.leave(&name("a"), number) && !shares.leave(&name("b"), number));
        assert!(shares.leave(&name("a"), other));
        assert_eq!(shares.give_back(&name("a")), None);
        assert!(shares.namespaces.is_empty() && shares.turns.is_empty());
        assert_eq!(shares.free, 2);
    }

    #[tokio::test]
    async fn permits_are_passed_on_also_by_those_who_go_away() {
        let permits = Permits::new(1);
        let (a, b) = (name("a"), name("b"));
        let first = permits.take(&a).expect("all are free");
        assert_eq!(permits.take(&b).map(drop), Err(0));
        let mut waits = Box::pin(permits.wait(&b));
        let mut gives_up = Box::pin(permits.wait(&a));
        assert!(
            futures::poll!(&mut waits).is_pending() && futures::poll!(&mut gives_up).is_pending()
        );
        drop(first);
        // Its turn has come, and it goes away.
        drop(waits);
        let second = gives_up.await;
        let mut gives_up = Box::pin(permits.wait(&b));
        assert!(futures::poll!(&mut gives_up).is_pending());
        drop(gives_up);
        drop(second);
        drop(permits.wait(&b).await);
        assert_eq!(permits.lock().free, 1);
        assert!(permits.lock().namespaces.is_empty());
    }
}
