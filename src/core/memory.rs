//! What things take in memory, in bytes, and lists that take little of it.

/// What an allocation of so many bytes takes: glibc's has a header of 8 bytes, is a multiple of 16, and at least 32.
pub fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.saturating_add(8).next_multiple_of(16).max(32) }
}

/// What a list takes beside itself.
pub fn of_list<T>(list: &Vec<T>) -> usize {
    allocated(list.capacity() * size_of::<T>())
}

/// The smallest room that is made in a list.
const FIRST: usize = 16;

/// The room to make where there is room for so many and it is used up: a quarter, where `Vec` doubles it.
pub fn more_room(capacity: usize, wanted: usize) -> usize {
    wanted.max(capacity / 4).max(FIRST)
}

/// Puts one behind the others.
pub fn push<T>(list: &mut Vec<T>, item: T) {
    insert(list, list.len(), item);
}

/// Inserts an item at a position, which is at most the length. Makes room as [`push`] does.
pub fn insert<T>(list: &mut Vec<T>, at: usize, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(more_room(list.capacity(), 1));
    }
    list.insert(at, item);
}

/// Many texts in two allocations. Together they are shorter than 4 GiB.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Texts {
    /// One behind the other.
    all: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Texts {
    /// Puts a text behind the others.
    pub fn push(&mut self, text: &str) {
        if self.all.capacity() - self.all.len() < text.len() {
            self.all.reserve_exact(more_room(self.all.capacity(), text.len()));
        }
        self.all.push_str(text);
        push(&mut self.ends, position(self.all.len()));
    }

    /// The text at a position.
    pub fn get(&self, at: usize) -> Option<&str> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.all.get(index(start)..index(*self.ends.get(at)?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All texts, in the order in which they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|at| self.get(at).unwrap_or_default())
    }

    /// Leaves only so many.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.all.truncate(self.ends.last().map_or(0, |end| index(*end)));
    }

    /// Returns unused room.
    pub fn shrink(&mut self) {
        self.all.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// What they take, beside the value itself.
    pub fn weight(&self) -> usize {
        allocated(self.all.capacity()) + of_list(&self.ends)
    }
}

impl<'t> FromIterator<&'t str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'t str>>(texts: I) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.push(text));
        all
    }
}

/// A position in few bytes. What has 4 GiB and more is never kept.
pub fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A position as slices take it.
pub fn index(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_those_that_were_put_there(texts: Vec<String>, left in 0_usize..8) {
            let mut all: Texts = texts.iter().map(String::as_str).collect();
            prop_assert!(all.iter().eq(texts.iter()));
            prop_assert_eq!(all.get(texts.len()), None);
            all.truncate(left);
            all.push("é");
            let left = texts.iter().take(left).map(String::as_str).chain(["é"]);
            prop_assert!(all.iter().eq(left));
        }
    }

    #[test]
    fn room_that_is_made_and_not_used_is_a_quarter_at_the_most() {
        let mut list = Vec::new();
        let mut texts = Texts::default();
        for number in 0..100_000_usize {
            push(&mut list, number);
            texts.push("text");
            assert!(list.capacity() <= FIRST + list.len() + list.len() / 4);
        }
        let used = 100_000 * (4 + size_of::<u32>());
        assert!((used..used + used / 4).contains(&texts.weight()), "{}", texts.weight());
    }
}
