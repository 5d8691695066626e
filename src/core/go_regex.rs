//! Go's regular expressions (RE2) on the `regex` crate.
//!
//! Both descend from RE2 and agree on what a match is, but not on what is written how: a pattern is read by the grammar
//! of Go's `regexp/syntax` (with its Perl flags, as `regexp.Compile` has it), and written anew for the crate. What Go
//! refuses is refused; the one thing that is not taken over is the nesting depth (250 here, 1000 there).

mod translate;

use regex::{Captures, Regex, RegexBuilder};
use translate::Translator;

/// Patterns are written by people; longer than this, in bytes, one was not.
const MAX_LENGTH: usize = 64 << 10;

/// What a compiled pattern may take, in bytes.
const MAX_SIZE: usize = 8 << 20;

/// What the patterns of people take at most, in bytes.
const SMALL_SIZE: usize = 128 << 10;

/// What the patterns of one file may take together, in bytes. Small ones are not counted: a file has not so many of them.
#[derive(Debug)]
pub struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: 8 * MAX_SIZE }
    }
}

/// Compiles a pattern of Go.
///
/// Names of groups that begin with a digit, which the crate does not allow, get two underscores in front; [`expand`]
/// knows.
///
/// # Errors
///
/// When Go would refuse it, or it is too large.
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    compile_within(pattern, &mut Budget::default())
}

/// [`compile`], with what other patterns of the same file have left.
///
/// # Errors
///
/// When Go would refuse it, it is too large, or nothing is left for it.
pub fn compile_within(pattern: &str, budget: &mut Budget) -> Result<Regex, PatternError> {
    if pattern.len() > MAX_LENGTH {
        return Err(PatternError { column: 1, reason: format!("longer than {MAX_LENGTH} bytes") });
    }
    let translated = Translator::new(pattern).translate()?;
    // The crate does not tell how large a pattern has become, only that it is larger than a limit.
    let mut size = SMALL_SIZE;
    loop {
        match RegexBuilder::new(&translated).size_limit(size).build() {
            Ok(regex) => {
                if size > SMALL_SIZE {
                    budget.left = budget.left.saturating_sub(size);
                }
                return Ok(regex);
            }
            Err(regex::Error::CompiledTooBig(_)) if size < MAX_SIZE.min(budget.left) => {
                size = size.saturating_mul(8).min(MAX_SIZE).min(budget.left);
            }
            Err(error) => return Err(PatternError { column: 1, reason: reason(&error) }),
        }
    }
}

fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "too large when compiled".to_owned(),
        // The crate shows the translated pattern over several lines; the last one has the reason.
        error => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    }
}

/// Replaces `$1`, `$name`, `${name}` in `template` by what the groups matched, as Go's `Regexp.Expand`.
///
/// A name is as long as it can be: `$1x` is the group named `1x`. Groups that do not exist or did not match are empty,
/// `$$` is a dollar, and a dollar that is followed by no name stands for itself.
pub fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(rest) {
            let group = match group_number(name) {
                Some(number) => captures.get(number),
                None => captures.name(&crate_name(name)),
            };
            out.push_str(group.map_or("", |group| group.as_str()));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The groups that a template refers to and that a pattern does not have. [`expand`] leaves them empty.
pub fn unknown_references<'t>(template: &'t str, pattern: &Regex) -> Vec<&'t str> {
    let mut unknown = Vec::new();
    let mut rest = template;
    while let Some((_, after)) = rest.split_once('$') {
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some((name, after)) = reference(rest) {
            let is_known = if let Some(number) = group_number(name) {
                number < pattern.captures_len()
            } else {
                let name = crate_name(name);
                pattern.capture_names().flatten().any(|group| *group == *name)
            };
            if !is_known {
                unknown.push(name);
            }
            rest = after;
        }
    }
    unknown
}

/// Escapes what means something in a pattern, as Go's `regexp.QuoteMeta`. Nothing else: Prometheus recognises lists of plain
/// alternatives and looks them up instead of matching, and a pod's name has dashes.
pub fn quote_meta(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression at column {column}: {reason}")]
pub struct PatternError {
    /// Where, in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

/// A name and what follows it, after a dollar.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, brace) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let after = if brace { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

/// A name that is a number, without leading zeros.
fn group_number(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if plain { name.parse().ok() } else { None }
}

/// What a group's name is for the crate.
fn crate_name(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("__{name}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_match(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(text)
    }

    #[test]
    fn matches_as_go_does() {
        for (pattern, yes, no) in [
            ("^http_.*_total$", "http_x_total", "http_x_total_"),
            ("^(.+)_(?:a|b)$", "x_a", "x_c"),
            (r"^\w+$", "aZ_9", "é"),
            (r"^\W$", "é", "a"),
            (r"^\d$", "5", "\u{0665}"),
            (r"^\s$", "\t", "\u{a0}"),
            (r"^\s$", " ", "\x0b"),
            (r"^[\d\s]+$", "1 2", "\u{0665}"),
            (r"^[^\w]$", "é", "a"),
            (r"^[^\W]$", "a", "é"),
            (r"é\b", "xé9", "xé"),
            (r"^a\Bb", "ab", "a b"),
            (r"\Qa.b*\E+$", "a.b**", "aXb"),
            (r"\Qa.b", "a.b", "aXb"),
            (r"\Aab\z", "ab", "ab\n"),
            ("^a{$", "a{", "a"),
            ("^a{,2}$", "a{,2}", "aa"),
            ("^a{01}$", "a{01}", "a"),
            ("^a{x}$", "a{x}", "a"),
            ("^{{$", "{{", "{"),
            ("^a}]$", "a}]", "a"),
            ("^a{2,3}$", "aaa", "a"),
            ("^a{2,}?$", "aaa", "a"),
            ("^[[a]$", "[", "]"),
            ("^[[a]]$", "a]", "a"),
            ("^[a&&b]+$", "a&b", "c"),
            ("^[!--a]+$", "a-", "b"),
            ("^[a~~b]+$", "~", "c"),
            ("^[]a]$", "]", "b"),
            ("^[^]a]$", "b", "]"),
            ("^[a-]$", "-", "b"),
            ("^[-a]$", "-", "b"),
            ("^[+--]$", ",", "."),
            (r"^[\[\]\\^-]+$", r"[]\^-", "a"),
            (r"^[\x41-\x{43}]$", "B", "D"),
            ("^[[:alpha:]_]$", "x", "5"),
            ("^[[:^alpha:]]$", "5", "x"),
            ("^[[:word:][:space:]]+$", "a b", "-"),
            ("^[[:a]$", ":", "b"),
            (r"^\141\060\x2e$", "a0.", "a01"),
            (r"^\012$", "\n", "\u{2}"),
            (r"^\<\_\-\/\ $", "<_-/ ", ""),
            (r"^\pL\p{Greek}\p{^Lu}\PN$", "aαbx", "a"),
            (r"^\P{^Lu}$", "A", "a"),
            ("^(?i)ABC$", "abc", "abd"),
            ("^(?i:a)B$", "AB", "Ab"),
            ("^(?i-i)a$", "a", "A"),
            ("^(?ii)a$", "A", "b"),
            ("^(?)a$", "a", "b"),
            ("^(?s).$", "\n", ""),
            ("^.$", "é", "\n"),
            ("^[^a]$", "\n", "a"),
            ("(?m)^b$", "a\nb", "ab"),
            ("^(?:x(?i)a|b)$", "B", "XA"),
            ("(|a)b", "b", "a"),
            ("#", "#", "x"),
            (" ", " ", "x"),
            ("^(?P<a>x)(?<b>y)(?P<1x>z)$", "xyz", "xy"),
            ("^*a", "a", "b"),
            ("", "", "unused"),
        ] {
            assert!(is_match(pattern, yes), "{pattern} must match {yes:?}");
            if !pattern.is_empty() {
                assert!(!is_match(pattern, no), "{pattern} must not match {no:?}");
            }
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for (pattern, message) in [
            ("(", "column 1: missing )"),
            ("a)", "column 2: unexpected )"),
            ("[a", "column 2: missing ]"),
            ("[]", "column 2: missing ]"),
            ("[b-a]", "column 4: a range that ends before it begins"),
            ("[[:foo:]]", "column 8: unknown character class [:foo:]"),
            (r"[\b]", "column 3: unknown escape \\b"),
            ("*a", "column 1: nothing before * to repeat"),
            ("a|*", "column 3: nothing before * to repeat"),
            ("(+)", "column 2: nothing before + to repeat"),
            ("{1}", "column 3: nothing before {1} to repeat"),
            ("a**", "column 3: * right after another repetition"),
            ("a++", "column 3: + right after another repetition"),
            ("a*??", "column 4: ? right after another repetition"),
            ("a{2}{3}", "column 7: {3} right after another repetition"),
            ("a{1001}", "column 7: {1001} is no range up to 1000"),
            ("a{2,1}", "column 6: {2,1} is no range up to 1000"),
            ("a{99999999999}", "column 14: {99999999999} is no range up to 1000"),
            ("(a{100}){100}", "column 13: repeats more than 1000 times"),
            ("((a{10}b)*c{3}){101}", "column 20: repeats more than 1000 times"),
            (r"\u0041", "column 2: unknown escape \\u"),
            (r"\Z", "column 2: unknown escape \\Z"),
            (r"\E", "column 2: unknown escape \\E"),
            (r"\é", "column 2: unknown escape \\é"),
            (r"(a)\1", "column 5: the back reference \\1 is not supported"),
            (r"\8", "column 2: unknown escape \\8"),
            ("a\\", "column 2: a \\ at the end"),
            (r"\x4", "column 2: \\x needs two hexadecimal digits"),
            (r"\xg0", "column 4: \\x{g0} is no character"),
            (r"\x{110000}", "column 10: \\x{110000} is no character"),
            (r"\x{+41}", "column 7: \\x{+41} is no character"),
            (r"\pX", "column 3: unknown character class \"X\""),
            (r"\p{sc=Greek}", "column 12: unknown character class \"sc=Greek\""),
            ("(?x)a", "column 3: unknown flag or group (?x"),
            ("(?u:a)", "column 3: unknown flag or group (?u"),
            ("(?-)", "column 4: unknown flag or group (?)"),
            ("(?i", "column 3: missing )"),
            ("(?=a)", "column 3: look-ahead is not supported"),
            ("(?!a)", "column 3: look-ahead is not supported"),
            ("(?<=a)", "column 3: look-behind is not supported"),
            ("(?P=a)", "column 3: unknown flag or group (?P"),
            ("(?P<a>x)(?P<a>y)", "column 12: two groups have the name a"),
            ("(?P<é>x)", "column 4: \"é\" is no name for a group: letters, digits and _"),
            ("(?P<a", "column 4: the name of a group has no >"),
        ] {
            let error = compile(pattern).err().unwrap_or_else(|| panic!("{pattern} was accepted"));
            assert_eq!(
                error.to_string(),
                format!("invalid regular expression at {message}"),
                "{pattern}"
            );
        }
    }

    #[test]
    fn too_large_is_an_error() {
        assert!(compile(&"a".repeat(1 << 20)).is_err());
        let error = compile(r"(\pL{500}\pN{500}){1}(\pL{900}){1}\pL{1000}").unwrap_err();
        assert_eq!(error.reason, "too large when compiled");
    }

    #[test]
    fn nesting_within_bounds() {
        assert!(compile("(a{10}){100}").is_ok());
        assert!(compile("(a{1000})*").is_ok());
        assert!(compile("(?:a{500}|b{500}){2}").is_ok());
    }

    #[test]
    fn expands_as_go_does() {
        let regex = compile("^(?P<first>[a-z]+)_(?P<1x>[a-z]+)(_z)?$").unwrap();
        let captures = regex.captures("http_total").unwrap();
        for (template, text) in [
            ("$0", "http_total"),
            ("$1", "http"),
            ("${1}_per_second", "http_per_second"),
            ("$1_per_second", ""),
            ("$1x", "total"),
            ("${1x}", "total"),
            ("$first-$2", "http-total"),
            ("${first}x", "httpx"),
            ("$firstx", ""),
            ("[$3]", "[]"),
            ("$4$99999999999999999999", ""),
            ("$01", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("${}", "${}"),
            ("${1", "${1"),
            ("${1-}", "${1-}"),
            ("$$$1", "$http"),
            ("é$1é", "é"),
            ("", ""),
        ] {
            assert_eq!(expand(template, &captures), text, "{template}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_whatever_is_translated_compiles(parts in prop::collection::vec(
            prop::sample::select(vec![
                "a", "é", "(", ")", "(?:", "(?i)", "(?P<n>", "|", "*", "+", "?", "{", "}", "{2}", "{2,3}", "[", "[^",
                "]", "[:alpha:]", "-", "\\", "\\d", "\\w", "\\b", "\\Q", "\\E", "\\pL", "^", "$", ".", "&&", "--",
                "~~", "#", " ", "1", "\\x41", "\\n", "\0",
            ]),
            0..12,
        )) {
            let pattern = parts.concat();
            if let Err(error) = compile(&pattern) {
                // Flags right before a repetition are the one thing that Go takes and the crate does not.
                let ours = !error.reason.starts_with("error:");
                prop_assert!(ours || pattern.contains("(?i)"), "{}: {}", pattern, error);
            }
        }

        #[test]
        fn quoted_text_matches_itself_alone(text in "[^\\\\]{0,20}") {
            let regex = compile(&format!("^\\Q{text}\\E$")).unwrap();
            prop_assert!(regex.is_match(&text));
            let longer = format!("{text}x");
            prop_assert!(!regex.is_match(&longer));
        }
    }
}
