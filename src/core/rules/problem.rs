//! What is wrong in a rules file, and where.

use std::fmt;

use super::FileName;
use crate::core::{
    key_path::KeyPath,
    yaml::{Place, YamlError},
};

/// Something wrong in a rules file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file.
    pub file: FileName,
    /// Where in the file, if that is known.
    pub place: Option<Place>,
    /// The key.
    pub path: KeyPath,
    /// What is wrong and what was expected.
    pub message: String,
}

/// The most characters of a message: some repeat a name of the file, whatever its length.
const LONGEST_MESSAGE: usize = 600;

impl Problem {
    /// A problem of the file of `--config`, whose message is cut where it is too long to be read.
    pub fn new(place: Option<Place>, path: KeyPath, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { file: FileName::Config, place, path, message }
    }

    /// The key and, where there can be several files, the file: `rules[2].name of shop.yaml`.
    pub fn subject(&self) -> String {
        match (&self.file, self.path.is_root()) {
            (FileName::Config, true) => "the rules file".to_owned(),
            (FileName::Config, false) => self.path.to_string(),
            (file, true) => file.to_string(),
            (file, false) => format!("{} of {file}", self.path),
        }
    }
}

impl From<YamlError> for Problem {
    fn from(error: YamlError) -> Self {
        Self::new(error.place, KeyPath::default(), error.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_root() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// The problems of one rule or backend while it is compiled.
pub(super) struct EntryProblems<'p> {
    path: KeyPath,
    problems: &'p mut Vec<Problem>,
}

impl<'p> EntryProblems<'p> {
    /// None yet of the entry at this path. They are added to those of the others.
    pub(super) fn new(path: impl Into<KeyPath>, problems: &'p mut Vec<Problem>) -> Self {
        Self { path: path.into(), problems }
    }

    /// The problems of what a key of the entry holds.
    pub(super) fn within(&mut self, key: &str) -> EntryProblems<'_> {
        EntryProblems { path: self.path.key(key), problems: self.problems }
    }

    /// Adds a problem with a key of the entry.
    pub(super) fn add(
        &mut self,
        place: Place,
        key: impl Into<KeyPath>,
        message: impl Into<String>,
    ) {
        self.problems.push(Problem::new(Some(place), self.path.join(key), message));
    }
}
