//! Links of a page to what is in this repository.

use std::{fs, path::Path};

use regex::Regex;

use super::page::Page;

/// The links that lead nowhere.
pub(super) fn complaints(page: &Page, root: &Path) -> Vec<String> {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("our own expression");
    let mut complaints = Vec::new();
    for (number, line) in &page.prose {
        for target in link.captures_iter(line).filter_map(|found| found.get(1)) {
            let target = target.as_str();
            if target.starts_with("https://") {
                continue;
            }
            if let Err(why) = follow(page, root, target) {
                complaints.push(format!("{}:{number}: {target}: {why}", page.path));
            }
        }
    }
    complaints
}

fn follow(page: &Page, root: &Path, target: &str) -> Result<(), &'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let has_anchor = |page: &Page| match anchor {
        "" => Ok(()),
        anchor if page.anchors().iter().any(|known| known == anchor) => Ok(()),
        _ => Err("there is no such heading"),
    };
    if path.is_empty() {
        return has_anchor(page);
    }
    let folder = Path::new(&page.path).parent().ok_or("the page is nowhere")?;
    let file = root.join(folder).join(path);
    if !file.exists() {
        return Err("there is no such file");
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(&file).ok().ok_or("only a page has headings")?;
    has_anchor(&Page::parse(path, &text))
}
