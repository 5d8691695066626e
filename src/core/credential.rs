//! Whether the content of a file is a credential that can be sent. Nothing is repaired but white space at the ends: what is sent is what
//! people see in the file.

use std::path::Path;

/// A path of so many bytes without a slash is more likely a token.
const LONG: usize = 40;

/// UTF-8's byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What is wrong with a credential. No text repeats any of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Flaw {
    /// Nothing, or only white space.
    #[error("the file is empty")]
    Empty,
    /// Windows' editors write it.
    #[error("it begins with a byte order mark: save the file without it")]
    Mark,
    /// Several lines, such as a certificate, or two tokens.
    #[error("it holds a line break within: one line is expected")]
    LineBreak,
    /// Another control character.
    #[error("it holds a control character")]
    Control,
    /// No text.
    #[error("it is not UTF-8")]
    NotText,
    /// No header of HTTP can have it.
    #[error("it holds other characters than ASCII ones")]
    NotAscii,
    /// The scheme is sent before the token in any case.
    #[error(
        "it begins with `Bearer `, which is added when the token is sent: the token alone is expected"
    )]
    Scheme,
}

/// A token: one line of visible characters.
pub fn token(content: &[u8]) -> Result<&str, Flaw> {
    let token = secret(content)?;
    let (first, _) = token.split_once(' ').unwrap_or_default();
    if first.eq_ignore_ascii_case("bearer") {
        return Err(Flaw::Scheme);
    }
    if token.is_ascii() { Ok(token) } else { Err(Flaw::NotAscii) }
}

/// A secret in one line, without the white space at its ends.
pub fn secret(content: &[u8]) -> Result<&str, Flaw> {
    line(document(content)?.trim())
}

/// A password in one line, which may begin and end with blanks.
pub fn password(content: &[u8]) -> Result<&str, Flaw> {
    line(document(content)?.trim_end_matches(['\r', '\n']))
}

/// A text that is not empty.
pub fn document(content: &[u8]) -> Result<&str, Flaw> {
    if content.starts_with(MARK) {
        return Err(Flaw::Mark);
    }
    let text = std::str::from_utf8(content).map_err(|_no_text| Flaw::NotText)?;
    if text.trim().is_empty() { Err(Flaw::Empty) } else { Ok(text) }
}

fn line(text: &str) -> Result<&str, Flaw> {
    if text.contains(['\r', '\n']) {
        return Err(Flaw::LineBreak);
    }
    if text.contains(char::is_control) { Err(Flaw::Control) } else { Ok(text) }
}

/// Whether a path is probably a credential that was given in place of the path of its file.
pub fn is_in_place_of_a_path(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_bare = !text.contains('/') && (text.len() > LONG || text.starts_with("ey"));
    // A key, or a JSON Web Token.
    is_bare || text.starts_with("-----BEGIN ") || (text.starts_with("eyJ") && text.len() > LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_named() {
        for (content, of_token, of_password) in [
            (&b"good\n"[..], Ok("good"), Ok("good")),
            (b" a b \r\n", Ok("a b"), Ok(" a b ")),
            (b"", Err(Flaw::Empty), Err(Flaw::Empty)),
            (b" \n\t\n", Err(Flaw::Empty), Err(Flaw::Empty)),
            (b"one\ntwo\n", Err(Flaw::LineBreak), Err(Flaw::LineBreak)),
            (b"one\rtwo", Err(Flaw::LineBreak), Err(Flaw::LineBreak)),
            (b"a\0b", Err(Flaw::Control), Err(Flaw::Control)),
            (b"\xef\xbb\xbfgood", Err(Flaw::Mark), Err(Flaw::Mark)),
            (b"\xff\xfeg\0", Err(Flaw::NotText), Err(Flaw::NotText)),
            (b"Bearer good", Err(Flaw::Scheme), Ok("Bearer good")),
            (b"bearer  good", Err(Flaw::Scheme), Ok("bearer  good")),
            (b"bearer", Ok("bearer"), Ok("bearer")),
            ("pässwort".as_bytes(), Err(Flaw::NotAscii), Ok("pässwort")),
        ] {
            assert_eq!((token(content), password(content)), (of_token, of_password), "{content:?}");
        }
        assert_eq!(secret(b" s\n"), Ok("s"));
        assert_eq!(document(b"{\n}\n"), Ok("{\n}\n"));
    }

    #[test]
    fn tokens_are_told_from_paths() {
        for (text, is_token) in [
            ("eyINLINESECRET", true),
            ("0123456789012345678901234567890123456789a", true),
            ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJq/b2UiLA0KICJleHAiOjE", true),
            ("-----BEGIN PRIVATE KEY-----\nMIIE/", true),
            ("token", false),
            ("/var/run/secrets/kubernetes.io/serviceaccount/token", false),
            ("eyes/token", false),
        ] {
            assert_eq!(is_in_place_of_a_path(Path::new(text)), is_token, "{text}");
        }
    }
}
