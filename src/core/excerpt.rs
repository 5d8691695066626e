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
}
