//! The table of modules on the architecture page: each module of the library has a row, which names what it imports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// What a row says.
#[derive(Debug, PartialEq)]
enum Uses {
    These(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

/// The rows of the table, by module.
fn rows(page: &str) -> BTreeMap<String, Uses> {
    let row = Regex::new(r"^\| `([a-z_]+)/?` \| ([^|]+) \|").expect("our own expression");
    let name = Regex::new(r"`([a-z_]+)`").expect("our own expression");
    let table = page.lines().skip_while(|line| !line.starts_with("| module | uses |"));
    let rows = table.take_while(|line| line.starts_with('|')).filter_map(|line| {
        let found = row.captures(line)?;
        let names = name.captures_iter(&found[2]).map(|name| name[1].to_owned()).collect();
        let uses =
            if found[2].starts_with("all but") { Uses::AllBut(names) } else { Uses::These(names) };
        Some((found[1].to_owned(), uses))
    });
    rows.collect()
}

/// The names behind `use crate::`, and those of paths that are written out.
fn imports(text: &str) -> BTreeSet<String> {
    // Tests stand last in a file, and may use anything.
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let plain = Regex::new(r"crate::([a-z_]+)").expect("our own expression");
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let text = code.collect::<Vec<_>>().join("\n");
    let mut found: BTreeSet<String> =
        plain.captures_iter(&text).map(|name| name[1].to_owned()).collect();
    let groups = text.split("use crate::{").skip(1).flat_map(items);
    found.extend(groups.filter(|name| !name.is_empty()));
    found
}

/// The first names of the items of a group, which begins behind its brace.
fn items(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().expect("one at least").push(letter),
            _ => {}
        }
    }
    let first = |item: &String| item.trim().split(':').next().unwrap_or_default().to_owned();
    items.iter().map(first).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// What the modules of the library import of each other.
fn modules(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let lib = fs::read_to_string(src.join("lib.rs")).expect("the library");
    let module = Regex::new(r"(?m)^pub mod ([a-z_]+);").expect("our own expression");
    let names: BTreeSet<String> =
        module.captures_iter(&lib).map(|name| name[1].to_owned()).collect();
    let of = |name: &String| {
        let mut all = files(&src.join(name));
        all.push(src.join(format!("{name}.rs")));
        all.retain(|path| !path.ends_with("tests.rs") && !path.iter().any(|part| part == "tests"));
        let texts = all.iter().map(|path| fs::read_to_string(path).expect("a source file"));
        let mut uses: BTreeSet<String> = texts.flat_map(|text| imports(&text)).collect();
        uses.retain(|used| used != name && names.contains(used));
        (name.clone(), uses)
    };
    names.iter().map(of).collect()
}

/// Where the page and the sources differ.
pub(super) fn complaints(page: &str, src: &Path) -> Vec<String> {
    let (mut rows, modules) = (rows(page), modules(src));
    let mut complaints = Vec::new();
    for (name, uses) in modules {
        match rows.remove(&name) {
            None => complaints.push(format!("{name}: there is no row")),
            Some(Uses::These(said)) if said != uses => {
                complaints.push(format!("{name}: uses {uses:?}, and the page says {said:?}"));
            }
            Some(Uses::AllBut(others)) if !others.is_disjoint(&uses) => {
                complaints
                    .push(format!("{name}: uses {uses:?}, and the page says all but {others:?}"));
            }
            Some(_) => {}
        }
    }
    complaints.extend(rows.into_keys().map(|name| format!("{name}: there is no such module")));
    complaints
}

#[test]
fn imports_are_found() {
    let text = "use crate::{\n    a::{x, y::z},\n    b_c,\n    d::e,\n};\nuse crate::f::G;\nlet x = crate::h::i();\n// crate::not\n#[cfg(test)]\nmod tests {\n    use crate::tests_only;\n}\n";
    let found: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(found, ["a", "b_c", "d", "f", "h"]);
}
