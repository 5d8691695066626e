//! The tests that a page names as a proof: they have to exist.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;

use super::page::Page;

/// A row of a table that says what somebody can or cannot do.
#[derive(Debug)]
pub(super) struct Claim<'p> {
    pub(super) line: usize,
    pub(super) is_cannot: bool,
    /// The names of tests.
    pub(super) shown_by: Vec<&'p str>,
}

pub(super) fn claims(page: &Page) -> Vec<Claim<'_>> {
    let mut claims = Vec::new();
    for (line, text) in &page.prose {
        let cells: Vec<_> = text.trim_matches('|').split(" | ").map(str::trim).collect();
        let [kind @ ("can" | "cannot"), _, shown_by @ ..] = cells.as_slice() else { continue };
        let names = shown_by.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let is_cannot = *kind == "cannot";
        claims.push(Claim { line: *line, is_cannot, shown_by: names.collect() });
    }
    claims
}

/// What is claimed to be impossible without a test, and tests that do not exist.
pub(super) fn complaints(page: &Page, tests: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for Claim { line, is_cannot, shown_by } in claims(page) {
        if is_cannot && shown_by.is_empty() {
            complaints.push(format!("{}:{line}: no test shows it", page.path));
        }
        for name in shown_by.iter().filter(|name| !tests.contains(**name)) {
            complaints.push(format!("{}:{line}: there is no test {name}", page.path));
        }
    }
    complaints
}

/// The names of all tests below a folder of source, without that of the crate.
pub(super) fn tests(folder: &Path) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    collect(folder, "", &mut tests);
    tests
}

fn collect(folder: &Path, module: &str, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of source") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let module = format!("{module}{name}::");
        if path.is_dir() {
            collect(&path, &module, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source");
            tests.extend(in_file(&text).into_iter().map(|test| format!("{module}{test}")));
        }
    }
}

/// The tests of a file, those in its module `tests` with that name.
pub(super) fn in_file(text: &str) -> Vec<String> {
    let attribute = Regex::new(r"^\s*#\[(tokio::)?test(\(.*\))?\]$").expect("our own expression");
    let function = Regex::new(r"^\s*(?:async )?fn (\w+)\(").expect("our own expression");
    let (mut module, mut is_test, mut tests) = ("", false, Vec::new());
    for line in text.lines() {
        if line == "mod tests {" {
            module = "tests::";
        } else if attribute.is_match(line) {
            is_test = true;
        } else if let Some(name) = function.captures(line).and_then(|found| found.get(1)) {
            if is_test {
                tests.push(format!("{module}{}", name.as_str()));
            }
            is_test = false;
        }
    }
    tests
}
