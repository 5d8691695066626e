//! The error messages that a page explains, in the first column of its tables.

use std::{fs, path::Path};

use super::page::Page;

/// The messages of a page with their lines. `…` stands for what differs.
pub(super) fn of(page: &Page) -> Vec<(usize, &str)> {
    let in_tables = page.prose.iter().filter_map(|(number, line)| {
        let cell = line.strip_prefix("| `")?;
        Some((*number, cell.split_once('`')?.0))
    });
    in_tables.collect()
}

/// Those of which a part is nowhere in the source.
pub(super) fn complaints(page: &Page, source: &str) -> Vec<String> {
    let is_said = |message: &str| {
        let mut parts = message.split('…').map(str::trim).filter(|part| part.len() > 3).peekable();
        parts.peek().is_some() && parts.all(|part| source.contains(part))
    };
    of(page)
        .into_iter()
        .filter(|(_, message)| !is_said(message))
        .map(|(line, message)| format!("{}:{line}: nothing says `{message}`", page.path))
        .collect()
}

/// All files of a folder of source.
pub(super) fn source(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &source(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}
