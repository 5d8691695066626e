//! Go's regular expressions (RE2) by the `regex` crate, whose syntax is the same family but not the same.
//!
//! The two are told apart where rules of the field could meet the difference: ASCII classes, `\z`, `\Q…\E`, and syntax that
//! only one of them has. Replacement templates expand as `Regexp.Expand`.

use std::borrow::Cow;

use regex::{Captures, Regex, RegexBuilder};

/// The most bytes that a compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;

/// The longest pattern that is compiled, in bytes.
const LENGTH_LIMIT: usize = 16 << 10;

/// A pattern that is not one of Go's, or too large.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the regular expression `{pattern}` cannot be used: {problem}")]
pub struct PatternError {
    pattern: String,
    problem: String,
}

/// Compiles a pattern with Go's meaning.
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let failed = |problem: String| PatternError {
        pattern: shortened(pattern),
        problem,
    };
    if pattern.len() > LENGTH_LIMIT {
        let length = pattern.len();
        return Err(failed(format!(
            "it has {length} bytes; {LENGTH_LIMIT} are the most"
        )));
    }
    let translated = translate(pattern).map_err(failed)?;
    RegexBuilder::new(&translated)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let problem = text
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default();
            failed(problem.trim().trim_start_matches("error: ").to_owned())
        })
}

fn shortened(pattern: &str) -> String {
    let mut shortened: String = pattern.chars().take(80).collect();
    if shortened.len() < pattern.len() {
        shortened.push('…');
    }
    shortened
}

/// Writes a pattern of Go's in the `regex` crate's syntax.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    let mut class_start = false;
    while let Some(character) = rest.chars().next() {
        let tail = rest.get(character.len_utf8()..).unwrap_or_default();
        if character == '\\' {
            rest = escape(tail, in_class, &mut out)?;
            class_start = false;
            continue;
        }
        rest = tail;
        if in_class {
            match character {
                ']' if !class_start => {
                    in_class = false;
                    out.push(']');
                }
                '[' if tail.starts_with(':') => {
                    // A POSIX class, to its end.
                    let end = tail.find(":]").map_or(tail.len(), |end| end + 2);
                    let (class, after) = tail.split_at_checked(end).unwrap_or((tail, ""));
                    out.push('[');
                    out.push_str(class);
                    rest = after;
                }
                // To Rust these begin set operations and inner classes.
                '[' | '&' | '~' | ']' => {
                    out.push('\\');
                    out.push(character);
                }
                '^' if class_start && out.ends_with('[') => {
                    out.push('^');
                    continue;
                }
                _ => out.push(character),
            }
            class_start = false;
            continue;
        }
        match character {
            '[' => {
                in_class = true;
                class_start = true;
                out.push('[');
            }
            '{' if !is_repetition(tail) => out.push_str("\\{"),
            '{' => {
                let end = tail.find('}').unwrap_or(0);
                let (bounds, after) = tail.split_at_checked(end).unwrap_or(("", tail));
                if bounds
                    .split(',')
                    .any(|n| n.parse::<u32>().is_ok_and(|n| n > 1000))
                {
                    return Err("a repetition count is over 1000".to_owned());
                }
                out.push('{');
                out.push_str(bounds);
                out.push('}');
                rest = after.strip_prefix('}').unwrap_or(after);
            }
            '}' => out.push_str("\\}"),
            '(' => {
                out.push('(');
                if let Some(flags) = tail.strip_prefix('?') {
                    let end = flags.find([':', ')', '<']).unwrap_or(flags.len());
                    if flags
                        .get(..end)
                        .is_some_and(|flags| flags.contains(['x', 'u', 'R']))
                    {
                        return Err("a flag is not one of Go's: i, m, s and U are".to_owned());
                    }
                }
            }
            _ => out.push(character),
        }
    }
    Ok(out)
}

/// Translates what follows a backslash and gives back what is left behind it.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> Result<&'a str, String> {
    let Some(character) = rest.chars().next() else {
        return Err("a backslash stands at the end".to_owned());
    };
    let tail = rest.get(character.len_utf8()..).unwrap_or_default();
    let ascii: Cow<'_, str> = match (character, in_class) {
        ('d', true) => "0-9".into(),
        ('w', true) => "0-9A-Za-z_".into(),
        ('s', true) => "\\t\\n\\x0C\\r ".into(),
        ('d', false) => "[0-9]".into(),
        ('w', false) => "[0-9A-Za-z_]".into(),
        ('s', false) => "[\\t\\n\\x0C\\r ]".into(),
        ('D', _) => "[^0-9]".into(),
        ('W', _) => "[^0-9A-Za-z_]".into(),
        ('S', _) => "[^\\t\\n\\x0C\\r ]".into(),
        ('b', false) => "(?-u:\\b)".into(),
        ('B', false) => return Err("`\\B` is not supported".to_owned()),
        ('Q', false) => {
            let (literal, after) = tail.split_once("\\E").unwrap_or((tail, ""));
            out.push_str(&regex::escape(literal));
            return Ok(after);
        }
        ('1'..='9' | 'u' | 'U' | 'G' | 'Z' | 'h' | 'H' | 'R' | '<' | '>', _) => {
            return Err(format!("`\\{character}` is not an escape of Go's"));
        }
        _ => format!("\\{character}").into(),
    };
    out.push_str(&ascii);
    Ok(tail)
}

/// Whether a brace begins `{n}`, `{n,}` or `{n,m}`; to Go anything else is a literal brace.
fn is_repetition(tail: &str) -> bool {
    let Some((bounds, _)) = tail.split_once('}') else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match bounds.split_once(',') {
        None => is_number(bounds),
        Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
    }
}

/// Expands a replacement template as Go's `Regexp.Expand`: `$name`, `${name}`, `$1`, with the longest name that fits; `$$` is a
/// dollar; a group that does not exist is empty; a dollar that begins none of these stays.
pub fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = group_name(after) {
            let group = match name.parse::<usize>() {
                Ok(number) => captures.get(number),
                Err(_not_a_number) => captures.name(name),
            };
            out.push_str(group.map_or("", |group| group.as_str()));
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn group_name(text: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    if let Some(braced) = text.strip_prefix('{') {
        let (name, tail) = braced.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_word)).then_some((name, tail));
    }
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at_checked(end)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap().is_match(text)
    }

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let cases = [
            ("^container_.+", "container_cpu", true),
            ("_total$", "x_total", true),
            ("(?i)CPU", "cpu", true),
            ("^(?P<what>.*)_seconds$", "x_seconds", true),
            ("\\d", "٣", false),
            ("^\\w+$", "é", false),
            ("[\\w:]+", ":", true),
            ("[^\\W]", "é", false),
            ("\\Qa.b\\E$", "a.b", true),
            ("\\Qa.b\\E$", "axb", false),
            ("a{,2}", "a{,2}", true),
            ("{", "{", true),
            ("a{2}", "aa", true),
            ("[[a]", "[", true),
            ("[a&&b]", "&", true),
            ("[]a]", "]", true),
            ("[^]a]", "b", true),
            ("[[:alpha:]_]+", "_", true),
            ("a\\z", "a", true),
            ("a\\.b", "axb", false),
            ("\\bx\\b", "a x", true),
        ];
        for (pattern, text, wanted) in cases {
            assert_eq!(matches(pattern, text), wanted, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let long = "a".repeat(LENGTH_LIMIT + 1);
        for pattern in [
            "(",
            "[a",
            "(?x)a",
            "\\u0041",
            "a{1001}",
            "*",
            "\\",
            "(?=a)",
            "\\1",
            "(.{1000}){1000}",
            &long,
        ] {
            assert!(compile(pattern).is_err(), "{pattern:.20}");
        }
        let text = compile("(").unwrap_err().to_string();
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn templates_expand_as_in_go() {
        let regex = compile("^(?P<first>[a-z]+)_([a-z]+)$").unwrap();
        let captures = regex.captures("abc_def").unwrap();
        let cases = [
            ("$0", "abc_def"),
            ("$1", "abc"),
            ("${2}_x", "def_x"),
            ("$1_x", ""),
            ("$1x", ""),
            ("$first-$2", "abc-def"),
            ("${first}x", "abcx"),
            ("$9", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("${}", "${}"),
            ("${a b}", "${a b}"),
            ("${1", "${1"),
        ];
        for (template, wanted) in cases {
            assert_eq!(expand(template, &captures), wanted, "{template}");
        }
    }
}
