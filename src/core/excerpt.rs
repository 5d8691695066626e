//! Texts of others, as they may stand in one line of a log or in a message.

/// The longest excerpt of what a peer says, in characters.
pub const SAID: usize = 200;

/// The longest excerpt of a name, in characters: that of a label's value in Kubernetes.
pub const NAME: usize = 63;

/// The beginning of a text, its control characters and quotes escaped. What is cut off is marked by `…`.
pub fn excerpt(text: &str, longest: usize) -> String {
    let mut escaped = text.chars().flat_map(char::escape_debug);
    let mut excerpt: String = escaped.by_ref().take(longest).collect();
    if escaped.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// An excerpt as people read it where it does not stand in quotes: its quotes and backslashes are as they were. What a terminal would obey
/// stays escaped.
pub fn unescaped(excerpt: &str) -> String {
    let mut text = String::with_capacity(excerpt.len());
    let mut characters = excerpt.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        match next.filter(|next| character == '\\' && matches!(next, '"' | '\'' | '\\')) {
            Some(next) => {
                text.push(next);
                characters.next();
            }
            None => text.push(character),
        }
    }
    text
}

/// A character of somebody else, or what stands in for one that a terminal would obey.
pub fn printable(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_line_and_short() {
        assert_eq!(excerpt("as it is", 8), "as it is");
        assert_eq!(excerpt("too long", 3), "too…");
        assert_eq!(excerpt("a\nWARN b\u{1b}[0m", SAID), "a\\nWARN b\\u{1b}[0m");
        assert_eq!(excerpt(&"é".repeat(1_000), SAID).chars().count(), SAID + 1);
    }

    #[test]
    fn quotes_are_given_back_and_control_characters_are_not() {
        for (said, shown) in [
            (r#"a "b" c's \d"#, r#"a "b" c's \d"#),
            ("a\n\u{1b}[2J\"", "a\\n\\u{1b}[2J\""),
            ("ends in \\", "ends in \\"),
        ] {
            assert_eq!(unescaped(&excerpt(said, SAID)), shown);
        }
        assert_eq!(unescaped("cut \\"), "cut \\");
    }
}
