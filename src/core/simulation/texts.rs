//! Texts of files and backends, such as names, as they may be shown to people.

use crate::core::excerpt;

/// The longest text that a terminal gets.
const LONGEST: usize = 400;

/// Text for a terminal: on one line, without what controls it, and cut.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).map(visible).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Text for HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            it => escaped.push(visible(it)),
        }
    }
    escaped
}

/// What is shown of a character: what turns round the text after it is replaced, too.
fn visible(character: char) -> char {
    match character {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        character => excerpt::printable(character),
    }
}
