//! What there is to say about a migration.

use std::{collections::HashSet, fmt};

use crate::core::{excerpt::excerpt, key_path::KeyPath};

/// How much a note matters.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Level {
    /// It has not moved: something has to be done.
    Cannot,
    /// It has moved; something is different, or has to be provided.
    Note,
}

/// What there is to say about a field.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Note {
    /// Whether it has moved.
    pub level: Level,
    /// The object: `ScaledObject ide/worker`.
    pub object: String,
    /// The field.
    pub path: KeyPath,
    /// What is so, and what to do. It repeats no value that may be a secret.
    pub text: String,
}

/// The longest path that is shown, in characters.
const LONGEST: usize = 300;

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, object, path, text } = self;
        f.write_str(match level {
            Level::Cannot => "cannot move: ",
            Level::Note => "note: ",
        })?;
        f.write_str(object)?;
        if !path.is_root() {
            write!(f, ": {}", excerpt(&path.to_string(), LONGEST))?;
        }
        write!(f, ": {text}")
    }
}

/// The notes about one object.
#[derive(Debug, Default)]
pub(super) struct Notes {
    object: String,
    all: Vec<Note>,
    /// All of them: a note is there once.
    known: HashSet<Note>,
}

impl Notes {
    pub(super) fn about(object: String) -> Self {
        Self { object, ..Self::default() }
    }

    /// Something has not moved.
    pub(super) fn cannot(&mut self, path: &KeyPath, text: impl Into<String>) {
        self.add(Level::Cannot, path, text.into());
    }

    /// Something has moved, and this is to be known.
    pub(super) fn note(&mut self, path: &KeyPath, text: impl Into<String>) {
        self.add(Level::Note, path, text.into());
    }

    fn add(&mut self, level: Level, path: &KeyPath, text: String) {
        let note = Note { level, object: self.object.clone(), path: path.clone(), text };
        if self.known.insert(note.clone()) {
            self.all.push(note);
        }
    }

    pub(super) fn into_notes(self) -> Vec<Note> {
        self.all
    }
}
