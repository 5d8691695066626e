//! What a text has to be before it is parsed. The parser panics at large numbers of seconds in the place of a duration, compiles
//! every regular expression, however large, and reads escapes in back quotes, where Prometheus knows none.

use promql_parser::util::unquote_string;
use regex::{Error, RegexBuilder};

use super::NotEnforced;
use crate::core::{
    duration,
    excerpt::{NAME, excerpt},
    go_quote::quote,
    promql::{Token, tokens},
};

/// The most regular expressions of a query.
const MAX_PATTERNS: usize = 50;

/// What one of them may take when it is compiled, in bytes.
const MAX_PATTERN_SIZE: usize = 128 << 10;

/// The query without its comments, and with double quotes in place of back quotes, if it can be given to the parser.
pub(super) fn readable(query: &str) -> Result<String, NotEnforced> {
    let mut out = String::with_capacity(query.len());
    let mut is_after_offset = false;
    let mut patterns = 0;
    for token in tokens(query) {
        match token {
            Token::Comment => {}
            Token::Text(text) if text.starts_with('`') => {
                let unended =
                    || NotEnforced::NotUnderstood { reason: "a string does not end".to_owned() };
                let inner = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
                string(&quote(inner.ok_or_else(unended)?), &mut out, &mut patterns)?;
            }
            Token::Text(text) => string(text, &mut out, &mut patterns)?,
            Token::Brackets(text) => {
                text.trim_start_matches('[').split(':').try_for_each(in_brackets)?;
                out.push_str(text);
            }
            Token::Word(word) => {
                if is_after_offset {
                    after_offset(word)?;
                }
                is_after_offset = word.eq_ignore_ascii_case("offset");
                out.push_str(word);
            }
            Token::Sign(sign) => {
                is_after_offset &= matches!(sign, '+' | '-') || sign.is_ascii_whitespace();
                out.push(sign);
            }
        }
    }
    Ok(out)
}

/// Adds a string, which is a regular expression behind `=~` and `!~`.
fn string(token: &str, out: &mut String, patterns: &mut usize) -> Result<(), NotEnforced> {
    if out.trim_end().ends_with('~') {
        *patterns += 1;
        if *patterns > MAX_PATTERNS {
            let what = "regular expressions";
            return Err(NotEnforced::TooLarge { most: MAX_PATTERNS, what });
        }
        pattern(token)?;
    }
    out.push_str(token);
    Ok(())
}

fn in_brackets(text: &str) -> Result<(), NotEnforced> {
    let text = text.trim();
    if text.is_empty() { Ok(()) } else { is_duration(text) }
}

/// `offset` is also the name of a metric or of a label, so what follows need not be a duration.
fn after_offset(word: &str) -> Result<(), NotEnforced> {
    let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || ["inf", "nan"].iter().any(|number| word.eq_ignore_ascii_case(number));
    if is_number { is_duration(word) } else { Ok(()) }
}

fn is_duration(text: &str) -> Result<(), NotEnforced> {
    match duration::parse_prometheus(text) {
        Ok(duration) if !duration.is_zero() => Ok(()),
        _ => Err(NotEnforced::Duration { text: excerpt(text, NAME) }),
    }
}

/// Whether a string is a regular expression that is not too large.
fn pattern(string: &str) -> Result<(), NotEnforced> {
    let refused = |reason| NotEnforced::Pattern { pattern: excerpt(string, NAME), reason };
    // Other escapes are errors, and those of characters beyond ASCII panic.
    let mut characters = string.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && !characters.next().is_some_and(|escaped| escaped.is_ascii()) {
            return Err(refused("not a string"));
        }
    }
    let text = unquote_string(string).map_err(|_reason| refused("not a string"))?;
    match RegexBuilder::new(&text).size_limit(MAX_PATTERN_SIZE).build() {
        Ok(_) => Ok(()),
        Err(Error::CompiledTooBig(_)) => Err(refused("too large when compiled")),
        Err(_) => Err(refused("not understood")),
    }
}
