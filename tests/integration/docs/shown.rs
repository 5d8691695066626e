//! The tests that a page names as a proof: they have to exist.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;

use super::page::Page;

/// A row of a table that names tests.
#[derive(Debug)]
pub(super) struct Claim<'p> {
    pub(super) line: usize,
    /// Whether it has to name one.
    pub(super) needs_proof: bool,
    /// The names of tests.
    pub(super) shown_by: Vec<&'p str>,
}

/// The rows of tables that say what somebody can or cannot do.
pub(super) fn claims(page: &Page) -> Vec<Claim<'_>> {
    rows(page, |cells| match cells {
        ["can", _, shown_by @ ..] => Some((false, shown_by)),
        ["cannot", _, shown_by @ ..] => Some((true, shown_by)),
        _ => None,
    })
}

/// The rows of tables that have a fault, what is read meanwhile, when all is well again, and tests.
pub(super) fn faults(page: &Page) -> Vec<Claim<'_>> {
    rows(page, |cells| match cells {
        ["fault" | "---", ..] => None,
        [_, _, _, ..] => Some((true, cells.get(3..).unwrap_or_default())),
        _ => None,
    })
}

/// The rows that `read` finds in the cells: whether they need a test, and the cells that name tests.
fn rows<'p>(
    page: &'p Page,
    read: impl for<'c> Fn(&'c [&'p str]) -> Option<(bool, &'c [&'p str])>,
) -> Vec<Claim<'p>> {
    let mut claims = Vec::new();
    for (line, text) in page.prose.iter().filter(|(_, text)| text.starts_with('|')) {
        let cells: Vec<_> = text.trim_matches('|').split('|').map(str::trim).collect();
        let Some((needs_proof, shown_by)) = read(&cells) else { continue };
        let names = shown_by.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
        claims.push(Claim { line: *line, needs_proof, shown_by: names.collect() });
    }
    claims
}

/// What is said without a test, and tests that do not exist.
pub(super) fn complaints(
    page: &Page,
    claims: &[Claim<'_>],
    tests: &BTreeSet<String>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for Claim { line, needs_proof, shown_by } in claims {
        if *needs_proof && shown_by.is_empty() {
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
