//! Many sets of labels in little memory: a few large allocations, and each name once.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use crate::core::memory::{self, Texts, index, position};

/// The most different label names of one answer. Each series could have a name of its own.
pub const MAX_NAMES: usize = 10_000;

/// How many names are looked through one by one. Answers hardly ever have more.
const FEW: usize = 16;

/// Sets of labels, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSets {
    names: Arc<Texts>,
    /// Of each label of all sets its name, by position.
    named: Vec<u16>,
    /// Their values.
    values: Texts,
    /// Where each set ends among them.
    ends: Vec<u32>,
}

/// The labels of a series, in the backend's order.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'v> {
    sets: &'v LabelSets,
    start: usize,
    end: usize,
}

impl LabelSets {
    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The set at a position.
    pub fn get(&self, at: usize) -> Option<Labels<'_>> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        Some(Labels { sets: self, start: index(start), end: index(*self.ends.get(at)?) })
    }

    /// All sets.
    pub fn iter(&self) -> impl Iterator<Item = Labels<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// By which number labels of this name are found.
    pub(super) fn number(&self, name: &str) -> Option<u16> {
        self.names.iter().position(|known| known == name).and_then(|at| u16::try_from(at).ok())
    }

    /// The value of a label, by its position among those of all sets.
    pub(super) fn value(&self, at: usize) -> Option<&str> {
        self.values.get(at)
    }

    /// What they take in memory beside the value itself, their names included.
    pub(super) fn weight(&self) -> usize {
        let names = memory::allocated(2 * size_of::<usize>() + size_of::<Texts>());
        let lists = memory::of_list(&self.named) + memory::of_list(&self.ends);
        names + self.names.weight() + lists + self.values.weight()
    }

    /// A label of the set that has not been ended.
    pub(super) fn push(&mut self, name: u16, value: &str) {
        memory::push(&mut self.named, name);
        self.values.push(value);
    }

    /// Ends a set.
    pub(super) fn end(&mut self) {
        memory::push(&mut self.ends, position(self.named.len()));
    }

    /// Moves the labels of the set that has not been ended to another list, where they are one.
    pub(super) fn end_in(&mut self, other: &mut Self) {
        let start = self.ends.last().map_or(0, |end| index(*end));
        for at in start..self.named.len() {
            if let (Some(name), Some(value)) = (self.named.get(at), self.values.get(at)) {
                other.push(*name, value);
            }
        }
        other.end();
        self.named.truncate(start);
        self.values.truncate(start);
    }

    /// The list is complete, and these are its names.
    pub(super) fn complete(&mut self, names: &Arc<Texts>) {
        self.names = Arc::clone(names);
        self.named.shrink_to_fit();
        self.values.shrink();
        self.ends.shrink_to_fit();
    }
}

impl<'v> Labels<'v> {
    /// A label's value; nothing where it is not there.
    pub fn get(self, name: &str) -> Option<&'v str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values.
    pub fn iter(self) -> impl Iterator<Item = (&'v str, &'v str)> {
        (self.start..self.end).filter_map(move |at| {
            let name = self.sets.names.get(usize::from(*self.sets.named.get(at)?))?;
            Some((name, self.sets.values.get(at)?))
        })
    }

    /// Whether they are sorted.
    pub fn are_sorted(self) -> bool {
        self.iter().is_sorted()
    }

    /// The order of both when each is sorted.
    pub fn compare(self, other: Labels<'_>) -> Ordering {
        // As backends nearly always have them.
        if self.are_sorted() && other.are_sorted() {
            return self.iter().cmp(other.iter());
        }
        self.sorted().cmp(&other.sorted())
    }

    /// Names and values, sorted.
    pub fn sorted(self) -> Vec<(&'v str, &'v str)> {
        let mut labels: Vec<_> = self.iter().collect();
        labels.sort_unstable();
        labels
    }

    /// Whether the label at a position among those of all sets has no value.
    pub(super) fn is_blank(self, at: usize) -> bool {
        self.sets.values.get(at).is_none_or(str::is_empty)
    }

    /// Where the label with a number is among those of all sets.
    pub(super) fn position(self, number: u16) -> Option<usize> {
        (self.start..self.end).find(|at| self.sets.named.get(*at) == Some(&number))
    }
}

/// Numbers label names while an answer is read.
#[derive(Debug, Default)]
pub(super) struct Names {
    all: Texts,
    /// Those behind the first few.
    more: HashMap<Box<str>, u16>,
}

impl Names {
    /// The number of a name; nothing where there are too many.
    pub(super) fn number(&mut self, name: &str) -> Option<u16> {
        let few = self.all.iter().take(FEW).position(|known| known == name);
        let few = few.and_then(|at| u16::try_from(at).ok());
        if let Some(known) = few.or_else(|| self.more.get(name).copied()) {
            return Some(known);
        }
        let number = u16::try_from(self.all.len()).ok().filter(|_| self.all.len() < MAX_NAMES)?;
        if self.all.len() >= FEW {
            self.more.insert(name.into(), number);
        }
        self.all.push(name);
        Some(number)
    }

    pub(super) fn complete(mut self) -> Arc<Texts> {
        self.all.shrink();
        Arc::new(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_whether_there_are_few_or_many() {
        let mut names = Names::default();
        let first: Vec<_> = (0..3 * FEW).map(|n| names.number(&n.to_string()).unwrap()).collect();
        for (n, first) in first.iter().enumerate() {
            assert_eq!(names.number(&n.to_string()), Some(*first), "{n}");
        }
        assert_eq!(names.all.len(), 3 * FEW);
    }
}
