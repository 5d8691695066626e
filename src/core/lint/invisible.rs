//! Characters that nobody sees in what names something: a label or a metric with one is another one.

use super::Report;
use crate::core::{key_path::KeyPath, rules::RuleBase};

pub(super) fn check(rule: &RuleBase, report: &mut Report<'_>) {
    let overrides = KeyPath::from(["resources", "overrides"]);
    let of_rule = |path: &KeyPath| rule.id.entry.key(path.clone());
    let labels: Vec<_> =
        report.written.keys(&of_rule(&overrides)).map(|key| overrides.key(key)).collect();
    let texts = [
        "seriesQuery".into(),
        ["resources", "template"].into(),
        ["name", "matches"].into(),
        ["name", "as"].into(),
    ];
    let texts = texts.into_iter().map(|path: KeyPath| {
        let text = report.written.text(&of_rule(&path)).to_owned();
        (path, text)
    });
    let labels = labels.into_iter().map(|path| {
        let text = path.to_string();
        (path, text)
    });
    let found: Vec<_> = texts
        .chain(labels)
        .filter_map(|(path, text)| Some((path, text.chars().find(|c| is_invisible(*c))?)))
        .collect();
    for (path, character) in found {
        report.warning(
            rule.id.entry,
            "invisible-character",
            path,
            format!(
                "the character U+{:04X}, which is not to be seen, is part of the name",
                u32::from(character)
            ),
            "write it anew: such a character comes from a web page or a chat",
        );
    }
}

/// Whether a character shows nothing, or a blank that is no space.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{a0}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202f}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}
