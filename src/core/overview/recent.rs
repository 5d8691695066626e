//! The last things that happened. Time is an argument.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Something that happened, once or more often.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Noted<T> {
    /// What.
    pub what: T,
    /// When it last did.
    pub at: Timestamp,
    /// How often.
    pub times: u64,
}

/// The last `most` different things.
#[derive(Debug)]
pub struct Recent<T> {
    most: usize,
    noted: VecDeque<Noted<T>>,
}

impl<T: Clone + PartialEq> Recent<T> {
    /// Nothing yet.
    pub fn new(most: usize) -> Self {
        Self { most, noted: VecDeque::new() }
    }

    /// Something has happened. If it is known, it counts once more, and is the last one again.
    pub fn note(&mut self, what: T, at: Timestamp) {
        let known = self.noted.iter().position(|noted| noted.what == what);
        let known = known.and_then(|known| self.noted.remove(known));
        let times = known.map_or(0, |known| known.times).saturating_add(1);
        if self.noted.len() >= self.most {
            self.noted.pop_front();
        }
        self.noted.push_back(Noted { what, at, times });
    }

    /// What happened, the last one first.
    pub fn latest(&self) -> Vec<Noted<T>> {
        self.noted.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_counted_and_the_oldest_go() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut recent = Recent::new(3);
        for (second, what) in (0..).zip(["a", "b", "a", "c", "d", "d"]) {
            recent.note(what, at(second));
        }
        let latest = recent.latest();
        let shown: Vec<_> = latest.iter().map(|it| (it.what, it.times, it.at)).collect();
        assert_eq!(shown, [("d", 2, at(5)), ("c", 1, at(3)), ("a", 2, at(2))]);
    }
}
