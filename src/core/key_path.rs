//! Where something stands in a YAML file.

use std::{fmt, sync::Arc};

/// The keys and positions that lead from the root of a file to a value. Shown as `rules[2].name.as`; empty for the file itself.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyPath(Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Step {
    /// The value of a key, which may have any characters.
    Key(Arc<str>),
    /// The item of a list at this position, from 0.
    Index(usize),
}

impl KeyPath {
    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is the file itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of a key of this mapping.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.join(key)
    }

    /// The path of an item of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.join(Self(vec![Step::Index(index)]))
    }

    /// The path of what stands at another path below this one.
    #[must_use]
    pub fn join(&self, below: impl Into<Self>) -> Self {
        Self([self.steps(), below.into().steps()].concat())
    }
}

impl From<&str> for KeyPath {
    fn from(key: &str) -> Self {
        Self(vec![Step::Key(key.into())])
    }
}

impl<const N: usize> From<[&str; N]> for KeyPath {
    fn from(keys: [&str; N]) -> Self {
        Self(keys.map(|key| Step::Key(key.into())).to_vec())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_by_dots_and_positions_stand_in_brackets() {
        assert!(KeyPath::default().is_root());
        assert_eq!(KeyPath::default().to_string(), "");
        let rule = KeyPath::from("rules").index(2);
        assert_eq!(rule.to_string(), "rules[2]");
        assert_eq!(rule.join(["name", "as"]).to_string(), "rules[2].name.as");
        assert_eq!(rule.key("a.b[0]").steps().len(), 3, "a key is one step");
    }
}
