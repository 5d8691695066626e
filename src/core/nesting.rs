//! A limit for the input of the PromQL parser: it builds a tree as deep as the text nests, and drops it by recursion.

use super::promql::{Token, is_misread, tokens};

/// The most bytes outside strings. Each of them may nest one deeper (`-` does); the parser has been seen to take more than
/// this in a stack of 2 MiB.
const MAX_UNQUOTED: usize = 4 << 10;

/// Whether the text can be parsed without exhausting the stack, however it nests. Long lists of names in strings do not
/// count.
pub fn is_safe(promql: &str) -> bool {
    if promql.len() <= MAX_UNQUOTED {
        return true;
    }
    let mut unquoted = 0_usize;
    for token in tokens(promql) {
        unquoted += match token {
            Token::Comment => 0,
            Token::Text(text) if is_misread(text) => return false,
            Token::Text(_) => 1,
            Token::Brackets(text) | Token::Word(text) => text.len(),
            Token::Sign(sign) => sign.len_utf8(),
        };
    }
    unquoted <= MAX_UNQUOTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_do_not_count() {
        let names = "name|".repeat(2000);
        for quote in ['"', '\'', '`'] {
            assert!(is_safe(&format!("up{{pod=~{quote}{names}{quote}}}")));
        }
        assert!(is_safe(&format!("up{{pod=~\"{}\"}}", "\\\"(".repeat(2000))));
    }

    #[test]
    fn what_may_nest_counts() {
        for nested in ["(", "-", "1+", "\"\"+", "a and ", "# it's\n-", "#\r-", "`\\`-"] {
            assert!(is_safe(&nested.repeat(100)), "{nested}");
            assert!(!is_safe(&nested.repeat(MAX_UNQUOTED + 1)), "{nested}");
        }
    }

    #[test]
    fn what_is_safe_is_parsed_on_a_small_stack() {
        for (open, close) in [("-", ""), ("(", ")"), ("1^", ""), ("1+", ""), ("abs(", ")")] {
            let depth = MAX_UNQUOTED / (open.len() + close.len()) - 1;
            let text = format!("{}a{}", open.repeat(depth), close.repeat(depth));
            assert!(is_safe(&text));
            let parse = move || promql_parser::parser::parse(&text).is_ok();
            let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(parse).unwrap();
            assert!(thread.join().unwrap(), "{open}");
        }
    }
}
