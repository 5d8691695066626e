//! The comma beside `<<.LabelMatchers>>` of external rules. They are empty where neither a namespace nor a selector is matched.

use super::{Report, parsed};
use crate::core::{
    promql::{Token, tokens},
    rules::RuleBase,
};

const CODE: &str = "misplaced-comma";

/// Reports a query that is malformed without a selector or with one, because of a comma. Returns whether it is.
pub(super) fn check(rule: &RuleBase, without: &str, with: &str, report: &mut Report<'_>) -> bool {
    // Another comma is not that of the matchers.
    if without == with {
        return false;
    }
    let message = if parsed(without).is_err() && has_lone_comma(without) {
        "<<.LabelMatchers>> is empty without a selector, and a comma in the braces then has nothing before it, so the query is refused"
    } else if parsed(with).is_err() && lacks_comma(with) {
        "no comma is between <<.LabelMatchers>> and the matcher beside it, so the query is refused if there is a selector"
    } else {
        return false;
    };
    let help = "write it last, behind a comma, as in `{topic=\"t\",<<.LabelMatchers>>}`: a comma at the end is allowed";
    report.warning(rule.id.entry, CODE, "metricsQuery", message, help);
    true
}

/// Whether a comma in braces comes first, or behind another one.
fn has_lone_comma(query: &str) -> bool {
    in_braces(query, |before, token| {
        matches!((before, token), (Token::Sign('{' | ','), Token::Sign(',')))
    })
}

/// Whether a matcher in braces comes right behind the value of another one.
fn lacks_comma(query: &str) -> bool {
    in_braces(query, |before, token| match (before, token) {
        // Alternatives are a dialect.
        (Token::Text(_), Token::Word(word)) => *word != "or",
        _ => false,
    })
}

/// Whether this holds for a part in braces and the one before it. Blanks and comments are left out.
fn in_braces(query: &str, holds: impl Fn(&Token<'_>, &Token<'_>) -> bool) -> bool {
    let mut before: Option<Token<'_>> = None;
    let mut is_inside = false;
    for token in tokens(query) {
        match token {
            Token::Comment => continue,
            Token::Sign(sign) if sign.is_whitespace() => continue,
            _ => {}
        }
        if is_inside && before.as_ref().is_some_and(|before| holds(before, &token)) {
            return true;
        }
        match token {
            Token::Sign('{') => is_inside = true,
            Token::Sign('}') => is_inside = false,
            _ => {}
        }
        before = Some(token);
    }
    false
}
