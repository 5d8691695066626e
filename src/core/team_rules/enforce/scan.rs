//! What has to be known of a text before it is parsed.

use super::NotEnforced;
use crate::core::{
    duration,
    excerpt::{NAME, excerpt},
    names,
};

/// The query without its comments. Refuses a range, step or offset without a unit: the parser fails on large ones.
pub(super) fn without_comments(query: &str) -> Result<String, NotEnforced> {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    let mut is_after_offset = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => names::string_length(rest, first).unwrap_or(rest.len()),
            '#' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '[' => rest.find(']').unwrap_or(rest.len()),
            first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = after;
        match first {
            '#' => continue,
            '[' => token.trim_start_matches('[').split(':').try_for_each(in_brackets)?,
            first if is_word(first) => {
                if is_after_offset {
                    after_offset(token)?;
                }
                is_after_offset = token.eq_ignore_ascii_case("offset");
            }
            '+' | '-' => {}
            first if first.is_ascii_whitespace() => {}
            _ => is_after_offset = false,
        }
        out.push_str(token);
    }
    Ok(out)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')
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
