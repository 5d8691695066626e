//! Go's quoted strings, which are also PromQL's.

use std::fmt::Write as _;

/// Quotes a text as Go's `strconv.Quote`: what Go does not call printable is escaped.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            character if is_printable(character) => quoted.push(character),
            character => escape(&mut quoted, u32::from(character)),
        }
    }
    quoted.push('"');
    quoted
}

fn escape(quoted: &mut String, code: u32) {
    // Writing to a String cannot fail.
    match code {
        0..=0x7f => write!(quoted, "\\x{code:02x}"),
        0x80..=0xffff => write!(quoted, "\\u{code:04x}"),
        _ => write!(quoted, "\\U{code:08x}"),
    }
    .unwrap_or_default();
}

/// What `strconv.IsPrint` calls printable, as far as Rust's own notion goes: letters, marks, numbers, punctuation, symbols and
/// the space, no other white space. `char::escape_debug` escapes just the rest, and grapheme extenders, which Go prints.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        character if character.is_whitespace() => false,
        character => {
            // Behind a letter, an extender is printed as it is.
            let text: String = ['a', character].iter().collect();
            text.escape_debug().nth(1) == Some(character)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let cases = [
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("\"\\", r#""\"\\""#),
            ("\n\t\r\u{7}\u{8}\u{c}\u{b}", r#""\n\t\r\a\b\f\v""#),
            ("\u{1}\u{7f}\u{0}", r#""\x01\x7f\x00""#),
            ("é日本😀", "\"é日本😀\""),
            ("e\u{301}", "\"e\u{301}\""),
            (
                "\u{a0}\u{200b}\u{2028}\u{feff}",
                r#""\u00a0\u200b\u2028\ufeff""#,
            ),
            ("\u{e000}\u{10ffff}", r#""\ue000\U0010ffff""#),
            ("\u{ad}", r#""\u00ad""#),
        ];
        for (text, wanted) in cases {
            assert_eq!(quote(text), wanted, "{text:?}");
        }
    }
}
