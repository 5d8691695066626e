//! Who asks a backend next: weighted round-robin over namespaces, and rules of teams behind those of the file.
//!
//! Of the queries that may be under way at a time a namespace has at most half, and the rules of all teams together have at most
//! half, so that there is always room for the rules of the file and for another namespace. Those that wait have their turn claimant by
//! claimant, and within a claimant in the order in which they came. A round gives a claimant as many turns as its weight.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

/// The turns of a namespace in each round, for rules of the file.
const FILE_WEIGHT: usize = 4;

/// The turns of a namespace in each round, for its team rules.
const TEAM_WEIGHT: usize = 1;

/// Whose rules a query is of.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Owner {
    /// The rules file, and all else that is the administrator's.
    #[default]
    File,
    /// A team.
    Team,
}

impl Owner {
    fn weight(self) -> usize {
        match self {
            Self::File => FILE_WEIGHT,
            Self::Team => TEAM_WEIGHT,
        }
    }

    fn is_team(self) -> bool {
        self == Self::Team
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Claimant {
    /// Whose rules.
    pub owner: Owner,
    /// The namespace whose readers are asked for; empty where that is none, or nobody knows which.
    pub namespace: Arc<str>,
}

/// Who has permits, and who waits for one.
#[derive(Debug)]
pub struct FairShare<W> {
    permits: usize,
    free: usize,
    held_by_teams: usize,
    /// How many queries of a namespace's own rules may be under way at a time; 0 is as good as 1.
    at_a_time: usize,
    claimants: HashMap<Claimant, Share<W>>,
    /// The claimants of which somebody waits, in the order of their turns.
    turns: VecDeque<Claimant>,
    /// How many have waited.
    waited: u64,
}

/// Those of one claimant.
#[derive(Debug)]
struct Share<W> {
    held: usize,
    /// In the order in which they came.
    waiting: BTreeMap<u64, W>,
    /// The turns that are left in this round.
    left: usize,
}

impl<W> FairShare<W> {
    /// So many permits, all free. Teams have no quota yet.
    pub fn new(permits: usize) -> Self {
        Self {
            permits,
            free: permits,
            held_by_teams: 0,
            at_a_time: usize::MAX,
            claimants: HashMap::new(),
            turns: VecDeque::new(),
            waited: 0,
        }
    }

    /// Limits how many queries of a namespace's own rules may be under way at a time, also of those that wait already. Returns whether there
    /// may be more than before: then those that wait are [next](FairShare::next_holder), and not one that comes now.
    pub fn limit_teams(&mut self, at_a_time: usize) -> bool {
        std::mem::replace(&mut self.at_a_time, at_a_time) < at_a_time
    }

    /// Takes a permit, if there is one for the claimant. Then none of its own waits for it: that one would have it.
    pub fn take(&mut self, claimant: &Claimant) -> bool {
        let is_free = self.free > 0 && self.may_hold_more(claimant);
        if is_free {
            self.hold(claimant);
        }
        is_free
    }

    /// Waits behind the others of the claimant. The number is for [`FairShare::leave`].
    pub fn wait(&mut self, claimant: &Claimant, waiter: W) -> u64 {
        self.waited += 1;
        let number = self.waited;
        let share = self.share(claimant);
        let is_first = share.waiting.is_empty();
        share.waiting.insert(number, waiter);
        if is_first {
            share.left = claimant.owner.weight();
            self.turns.push_back(claimant.clone());
        }
        number
    }

    /// How many have their turn before one of the claimant that comes now, about.
    pub fn ahead(&self, claimant: &Claimant) -> usize {
        let waiting = |claimant| self.claimants.get(claimant).map_or(0, |it| it.waiting.len());
        let own = waiting(claimant);
        let rounds = (own + 1).div_ceil(claimant.owner.weight());
        let others = self.turns.iter().filter(|other| *other != claimant);
        let others = others.map(|other| {
            let is_like_us = claimant.owner.weight() == other.owner.weight();
            let before = if is_like_us { own + 1 } else { rounds * other.owner.weight() };
            waiting(other).min(before)
        });
        own + others.sum::<usize>()
    }

    /// One does not wait any more; false if it has had its turn.
    pub fn leave(&mut self, claimant: &Claimant, number: u64) -> bool {
        let Some(share) = self.claimants.get_mut(claimant) else { return false };
        if share.waiting.remove(&number).is_none() {
            return false;
        }
        if share.waiting.is_empty() {
            self.turns.retain(|known| known != claimant);
        }
        self.forget(claimant);
        true
    }

    /// How many queries of a namespace's own rules may be under way, if nothing else keeps it from a permit: as many are, and another
    /// team would have one.
    pub fn reached_quota(&self, claimant: &Claimant) -> Option<usize> {
        let most = self.most_of_team();
        let is_all = claimant.owner.is_team() && self.held(claimant) >= most;
        let is_room = self.free > 0 && self.held_by_teams < self.half();
        (is_all && is_room).then_some(most)
    }

    /// Returns a permit. The result is its next holder.
    pub fn give_back(&mut self, claimant: &Claimant) -> Option<W> {
        self.free += 1;
        self.held_by_teams -= usize::from(claimant.owner.is_team());
        self.share(claimant).held -= 1;
        self.forget(claimant);
        self.next_holder()
    }

    /// The next one of those that wait, if there is a permit for it, which it holds from now on.
    pub fn next_holder(&mut self) -> Option<W> {
        if self.free == 0 {
            return None;
        }
        // At most those few are passed over that have all they may.
        let next = self.turns.iter().position(|claimant| self.may_hold_more(claimant))?;
        let claimant = self.turns.remove(next)?;
        let share = self.share(&claimant);
        let (_, waiter) = share.waiting.pop_first()?;
        share.left = share.left.saturating_sub(1);
        let waits_on = !share.waiting.is_empty();
        let goes_on = share.left > 0;
        if !goes_on {
            share.left = claimant.owner.weight();
        }
        self.hold(&claimant);
        match (waits_on, goes_on) {
            (true, true) => self.turns.insert(next, claimant),
            (true, false) => self.turns.push_back(claimant),
            (false, _) => {}
        }
        Some(waiter)
    }

    /// Whether a claimant has fewer permits than it may have.
    fn may_hold_more(&self, claimant: &Claimant) -> bool {
        let held = self.held(claimant);
        match claimant.owner {
            Owner::File => held < self.half(),
            Owner::Team => held < self.most_of_team() && self.held_by_teams < self.half(),
        }
    }

    fn held(&self, claimant: &Claimant) -> usize {
        self.claimants.get(claimant).map_or(0, |share| share.held)
    }

    fn half(&self) -> usize {
        (self.permits / 2).max(1)
    }

    /// Another team has room within what all teams may have.
    fn most_of_team(&self) -> usize {
        self.at_a_time.clamp(1, (self.half() / 2).max(1))
    }

    fn hold(&mut self, claimant: &Claimant) {
        self.free -= 1;
        self.held_by_teams += usize::from(claimant.owner.is_team());
        self.share(claimant).held += 1;
    }

    fn share(&mut self, claimant: &Claimant) -> &mut Share<W> {
        let none = || Share { held: 0, waiting: BTreeMap::new(), left: claimant.owner.weight() };
        self.claimants.entry(claimant.clone()).or_insert_with(none)
    }

    /// Forgets a claimant that has nothing and wants nothing.
    fn forget(&mut self, claimant: &Claimant) {
        let is_idle = |share: &Share<W>| share.held == 0 && share.waiting.is_empty();
        if self.claimants.get(claimant).is_some_and(is_idle) {
            self.claimants.remove(claimant);
        }
    }

    /// Whether nobody has a permit or waits for one.
    pub fn is_idle(&self) -> bool {
        self.free == self.permits && self.claimants.is_empty() && self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests;
