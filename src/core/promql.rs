//! PromQL, parsed. The parser panics at some texts, which anybody can write into a query: they are refused before.

mod limited;

use promql_parser::parser::{self, Expr};

pub use limited::every_selector_requires;

use super::names;

/// The longest duration that is given to the parser as a number, in seconds: more than the parser's own durations have.
const LONGEST_S: f64 = 1e12;

/// Parses a query. Fails with the reason if it is not understood.
pub fn parse(query: &str) -> Result<Expr, String> {
    check(query)?;
    parser::parse(query)
}

/// What is wrong with a query in every dialect of PromQL: it is empty, a string does not end, brackets do not match, an operator lacks an
/// operand, or a comma has nothing before it.
pub fn malformed(query: &str) -> Option<String> {
    unbalanced(query).or_else(|| incomplete(query))
}

/// The operators that have two operands everywhere, among the signs.
const BINARY: [char; 4] = ['*', '/', '%', '^'];

/// The signs that end operators.
const OPERATORS: [char; 9] = ['*', '/', '%', '^', '+', '-', '=', '<', '>'];

/// An operand that a query lacks. `{…}` has operators of its own.
fn incomplete(query: &str) -> Option<String> {
    let lacks = |sign: char| Some(format!("there is nothing to the right of a {sign}"));
    let mut before = None;
    let mut in_braces = false;
    for token in tokens(query) {
        let sign = match &token {
            Token::Comment => continue,
            Token::Sign(sign) if sign.is_whitespace() => continue,
            Token::Sign(sign) => Some(*sign),
            _ => None,
        };
        let operator = match before {
            Some(Token::Sign(sign)) if OPERATORS.contains(&sign) => Some(sign),
            _ => None,
        };
        if let (Some(operator), Some(sign), false) = (operator, sign, in_braces)
            && (BINARY.contains(&sign) || sign == ')')
        {
            return lacks(operator);
        }
        if let (Some(Token::Sign('(' | ',')), Some(','), false) = (&before, sign, in_braces) {
            return Some("a comma has nothing before it".to_owned());
        }
        match sign {
            Some('{') => in_braces = true,
            Some('}') => in_braces = false,
            _ => {}
        }
        before = Some(token);
    }
    match before {
        None => Some("it is empty".to_owned()),
        Some(Token::Sign(sign)) if OPERATORS.contains(&sign) => lacks(sign),
        // `and`, `or` and `unless` may be names of series.
        Some(_) => None,
    }
}

/// A string that does not end, or a bracket without the other one.
fn unbalanced(query: &str) -> Option<String> {
    let mut open = Vec::new();
    for token in tokens(query) {
        match token {
            Token::Comment | Token::Word(_) => {}
            Token::Text(text) => {
                let quote = text.chars().next()?;
                if names::string_length(text, quote).is_none() {
                    return Some(format!("a string does not end with its {quote}"));
                }
            }
            Token::Brackets(_) => open.push('['),
            Token::Sign(sign) => {
                let opening = match sign {
                    '(' | '{' => {
                        open.push(sign);
                        continue;
                    }
                    ')' => '(',
                    ']' => '[',
                    '}' => '{',
                    _ => continue,
                };
                if open.pop() != Some(opening) {
                    return Some(format!("a {sign} closes nothing"));
                }
            }
        }
    }
    open.last().map(|bracket| format!("a {bracket} is not closed"))
}

/// Fails at what the parser panics at: numbers of seconds that are no duration, in brackets and behind `offset`, and escapes of
/// characters beyond ASCII.
fn check(query: &str) -> Result<(), String> {
    let mut is_after_offset = false;
    for token in tokens(query) {
        match token {
            Token::Comment => {}
            Token::Brackets(text) => {
                let inner = text.trim_start_matches('[');
                inner.split(':').try_for_each(is_duration)?;
            }
            Token::Text(text) if is_misread(text) => {
                return Err("a string in back quotes ends with a backslash".to_owned());
            }
            Token::Text(text) => is_text(text)?,
            Token::Word(word) => {
                if is_after_offset {
                    is_whole(word)?;
                    is_duration(word)?;
                }
                is_after_offset = word.eq_ignore_ascii_case("offset");
            }
            Token::Sign(sign) => {
                is_after_offset &= matches!(sign, '+' | '-') || sign.is_ascii_whitespace();
            }
        }
    }
    Ok(())
}

fn is_duration(text: &str) -> Result<(), String> {
    let number = text.trim().trim_start_matches(['+', '-']).parse::<f64>();
    let is_too_long = number.is_ok_and(|seconds| !(0.0..LONGEST_S).contains(&seconds));
    if is_too_long { Err("a number of seconds is no duration".to_owned()) } else { Ok(()) }
}

/// The sign of an exponent is part of the number: `1e+30`.
fn is_whole(word: &str) -> Result<(), String> {
    let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_hex = word.starts_with("0x") || word.starts_with("0X");
    if is_number && !is_hex && word.ends_with(['e', 'E']) {
        return Err("a number of seconds is no duration".to_owned());
    }
    Ok(())
}

/// Whether the parser reads on where the string ends for Prometheus: it knows escapes in back quotes.
pub(super) fn is_misread(text: &str) -> bool {
    text.starts_with('`') && text.ends_with("\\`")
}

fn is_text(text: &str) -> Result<(), String> {
    if text.starts_with('`') {
        return Ok(());
    }
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && !characters.next().is_none_or(|escaped| escaped.is_ascii()) {
            return Err("a character beyond ASCII is escaped".to_owned());
        }
    }
    Ok(())
}

/// A part of a query.
pub(super) enum Token<'q> {
    /// `# …`, to the end of the line.
    Comment,
    /// A string with its quotes.
    Text(&'q str),
    /// `[…`, without the bracket that closes it: that is the next sign.
    Brackets(&'q str),
    /// Letters, digits, `_`, `:` and `.`.
    Word(&'q str),
    /// Anything else.
    Sign(char),
}

/// The parts of a query. One that does not end goes to the end of the text.
pub(super) fn tokens(query: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = query;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            '"' | '\'' | '`' => names::string_length(rest, first),
            '#' => rest.find(['\n', '\r']),
            '[' => rest.find(']'),
            first if is_word(first) => rest.find(|c| !is_word(c)),
            first => Some(first.len_utf8()),
        };
        let (token, after) =
            rest.split_at_checked(length.unwrap_or(rest.len())).unwrap_or((rest, ""));
        rest = after;
        Some(match first {
            '#' => Token::Comment,
            '"' | '\'' | '`' => Token::Text(token),
            '[' => Token::Brackets(token),
            first if is_word(first) => Token::Word(token),
            first => Token::Sign(first),
        })
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_parser_panics_at_is_not_understood() {
        for query in [
            "sum(x[1e30]) by (pod)",
            "rate(x[inf])",
            "rate(x[NaN])",
            "max_over_time(x[5m:1e30])",
            "x offset inf",
            "x offset -1e30",
            "x OFFSET 1e30",
            "x offset 1e+30",
            r"x{a=`\`#`}[1e30]",
            r#"x{a="\é"}"#,
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn what_it_reads_is_understood() {
        for query in [
            "rate(x[300])",
            "x offset 1.5",
            "x offset -5m",
            "inf",
            "offset",
            "sum by (offset) (x) > 1e30",
            r#"x{a="[1e30]"} # [1e30]"#,
            r#"x{a="é\n"}"#,
            "max_over_time(rate(x[5m])[1h:1m])",
        ] {
            assert!(parse(query).is_ok(), "{query}: {:?}", parse(query));
        }
    }

    #[test]
    fn what_no_dialect_takes_is_malformed() {
        for query in [
            "sum(x",
            "sum x)",
            "x{a=\"b\"",
            "x{a=\"b}",
            "x[5m",
            "(x[5m)]",
            "`",
            "x]",
            "",
            " # x\n",
            "x +",
            "x / # y",
            "x >",
            "x ==",
            "(x *) / y",
            "x * / y",
            "x - ^ y",
            "sum by (, y) (x)",
            "sum by ( # z\n , \"y\") (x)",
            "sum by (y,,z) (x)",
            "x > * y",
        ] {
            assert!(malformed(query).is_some(), "{query}");
        }
        for query in [
            "and",
            "sum(x,)",
            "x{a=*} default 1",
            "x * -y / +z ^ - 1",
            "x / on (a) group_left () y",
            "x ==bool 1 keep_metric_names",
            "x{a=\"(\"} # (",
            "{,a=\"b\"} * (y{},)",
            r"x{a=~`\d+\`}",
            r#"x{a="\"(", b='"', c=`"`}"#,
            "rate(x[5m + 1m:]) keep_metric_names",
            "with (a = b{c=\"d\" or e=\"f\"}) (sum(a) default 1Ki) limit 2",
            "a then b",
        ] {
            assert_eq!(malformed(query), None, "{query}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_not_malformed(text in r#"(x|\[|\]|:|-|\*|/|>|==| |5m|\\|"|'|`|\{|\}|a=|,|sum|and|\(|\)){0,14}"#) {
            prop_assert!(parse(&text).is_err() || malformed(&text).is_none(), "{text}");
        }

        #[test]
        fn no_text_panics(text in r#"(x|\[|\]|:|-|\+| |offset|OFFSET|1e30|1e|1e308|inf|NaN|5m|0|\\|é|"|'|`|#|\n|\{|\}|a=|@|start\(\)|\(|\)){0,14}"#) {
            drop(parse(&text));
        }
    }
}
