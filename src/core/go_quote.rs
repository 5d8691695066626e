//! Text in quotes, as Go's `strconv.Quote` writes it.
//!
//! It is what `%q` prints in templates, and how the values of label matchers are written in queries: PromQL reads
//! string literals by Go's rules.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// `text` between double quotes, with everything escaped that Go considers unprintable.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote_into(&mut out, text);
    out
}

/// Appends what [`quote`] returns.
pub fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    escape_into(out, text, '"');
    out.push('"');
}

/// `text` without the quotes around it, to stand in a string between quotes of this kind: `"` or `'`.
pub fn escape(text: &str, delimiter: char) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text, delimiter);
    out
}

/// Whether Go's `strconv.IsPrint` holds: letters, marks, numbers, punctuation, symbols and the ASCII space.
///
/// The tables are those of Unicode 16; Go's own depend on its version. Characters that only one of the two knows are
/// escaped by one and not by the other, which means the same to any reader of the literal.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    PRINTABLE
        .binary_search_by(|(first, last)| {
            if c < *first {
                std::cmp::Ordering::Greater
            } else if c > *last {
                std::cmp::Ordering::Less
            } else {
                std::cmp::Ordering::Equal
            }
        })
        .is_ok()
}

/// Sorted ranges, first and last included. Taken from the tables that the regex engine carries anyway.
static PRINTABLE: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let class = regex_syntax::parse(r"[\p{L}\p{M}\p{N}\p{P}\p{S}]");
    match class.as_ref().map(regex_syntax::hir::Hir::kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            class.ranges().iter().map(|range| (range.start(), range.end())).collect()
        }
        // Cannot happen; nothing printable means that everything is escaped, which is still correct.
        _ => Vec::new(),
    }
});

fn escape_into(out: &mut String, text: &str, delimiter: char) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == delimiter => {
                out.push('\\');
                out.push(c);
            }
            c if is_print(c) => out.push(c),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c => {
                let code = u32::from(c);
                // Writing into a String cannot fail.
                let _infallible = match code {
                    ..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                    ..0x1_0000 => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_like_go() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            (r#"a"b\c'd`"#, r#""a\"b\\c'd`""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x01\x1f\x7f", r#""\x00\x01\x1f\x7f""#),
            ("\u{80}\u{a0}\u{ad}", r#""\u0080\u00a0\u00ad""#),
            ("é\u{300}日本", "\"é\u{300}日本\""),
            ("\u{200b}\u{2028}\u{3000}\u{feff}", r#""\u200b\u2028\u3000\ufeff""#),
            ("\u{e000}\u{fffe}", r#""\ue000\ufffe""#),
            ("\u{fffd}", "\"\u{fffd}\""),
            ("😀", "\"😀\""),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
        ] {
            assert_eq!(quote(text), quoted, "{text:?}");
        }
    }

    #[test]
    fn agrees_with_go() {
        let vectors: Vec<(String, String)> =
            serde_json::from_str(include_str!("../../tests/vectors/quoting.json")).unwrap();
        assert!(vectors.len() > 400);
        for (text, quoted) in vectors {
            assert_eq!(quote(&text), quoted, "{text:?}");
        }
    }

    #[test]
    fn every_ascii_character_is_printable_from_space_to_tilde() {
        for c in '\0'..='\x7f' {
            assert_eq!(is_print(c), (' '..='~').contains(&c), "{c:?}");
        }
    }

    /// Reads a quoted literal back by Go's rules.
    fn unquote(quoted: &str) -> String {
        let mut out = String::new();
        let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let mut chars = inner.unwrap().chars();
        while let Some(c) = chars.next() {
            assert!(c != '"' && is_print(c), "{quoted}");
            if c != '\\' {
                out.push(c);
                continue;
            }
            let escape = chars.next().unwrap();
            let digits = match escape {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            let code: String = chars.by_ref().take(digits).collect();
            out.push(match escape {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                '\\' | '"' => escape,
                _ => char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap(),
            });
        }
        out
    }

    proptest! {
        #[test]
        fn reads_back(text in any::<String>()) {
            prop_assert_eq!(unquote(&quote(&text)), text);
        }
    }
}
