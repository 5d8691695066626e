//! Words of command lines: as people copy them, and as shells and manifests leave them.

use std::borrow::Cow;

/// What people write as quotes.
pub const QUOTES: &[char] = &['"', '\'', '`', '“', '”', '„', '‟', '‘', '’', '‚', '«', '»'];

/// What is wrong with a value that begins with a quote: the end of a sentence whose subject is the value.
pub const LEFT_QUOTE: &str =
    "begins with a quote that a shell or YAML has left there: remove the quotes";

/// A word, quoted for a POSIX shell if it has to be.
pub fn quote(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_as_they_were() {
        for (word, quoted) in [
            ("pods/web-0", "pods/web-0"),
            ("app in (a,b)", "'app in (a,b)'"),
            ("!canary", "'!canary'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }
}
