//! Go's regular expressions (RE2) on the `regex` crate.
//!
//! Both descend from RE2 and agree on what a match is, but not on what is written how: a pattern is read by the grammar
//! of Go's `regexp/syntax` (with its Perl flags, as `regexp.Compile` has it), and written anew for the crate. What Go
//! refuses is refused, but for a few names of classes; the tests list them, and the little that is refused here alone. The
//! nesting depth is 250 here and 1000 there.

mod translate;

use regex::{Captures, Regex, RegexBuilder};
use translate::Translator;

/// Patterns are written by people; longer than this, in bytes, one was not.
const MAX_LENGTH: usize = 64 << 10;

/// What a compiled pattern may take, in bytes.
const MAX_SIZE: usize = 8 << 20;

/// What the patterns of people take at most, in bytes.
const SMALL_SIZE: usize = 128 << 10;

/// The least that a counted pattern is counted with, in bytes.
const LEAST_SIZE: usize = 8 << 10;

/// What the patterns of files may take together whose writers are not trusted with the memory of the process, in bytes.
const STRICT_SIZE: usize = 16 << 20;

/// What patterns may take together, in bytes.
#[derive(Debug)]
pub struct Budget {
    left: usize,
    /// Patterns up to this size are not counted.
    free: usize,
}

impl Default for Budget {
    /// That of one file. Small patterns are not counted: a file has not so many of them.
    fn default() -> Self {
        Self { left: 8 * MAX_SIZE, free: SMALL_SIZE }
    }
}

impl Budget {
    /// That of files whose writers are not trusted with the memory of the process. Every pattern counts.
    pub fn strict() -> Self {
        Self { left: STRICT_SIZE, free: 0 }
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
    // The crate reports only that a pattern exceeds a limit, not its size.
    let mut size = budget.free.max(LEAST_SIZE);
    loop {
        if size > budget.free && size > budget.left {
            let reason = "too large when compiled, with the other patterns".to_owned();
            return Err(PatternError { column: 1, reason });
        }
        match RegexBuilder::new(&translated).size_limit(size).build() {
            Ok(regex) => {
                if size > budget.free {
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
mod tests;
