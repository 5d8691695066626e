//! `seriesQuery`: selectors that no series can match, and the names that one says.

use promql_parser::{
    label::{METRIC_NAME, MatchOp, Matcher},
    parser::Expr,
};

use super::{Report, counters};
use crate::core::rules::RuleBase;

/// What is in the names of objects that queries are rendered for.
const OPAQUE: &str = "loadline-opaque";

const CONTRADICTORY: &str = "contradictory-matchers";

pub(super) fn check(rule: &RuleBase, report: &mut Report<'_>) {
    let Some(matchers) = rule.selector.matchers() else {
        let parsed = super::parsed(rule.selector.text());
        if let Ok(Expr::VectorSelector(selector)) = &parsed
            && !selector.matchers.or_matchers.is_empty()
        {
            report.info(
                rule.id.entry,
                "selector-not-understood",
                "seriesQuery",
                "alternatives with `or` are not understood, and sent as they are",
                "nothing, if the backend has them, as VictoriaMetrics does; otherwise write a rule for each",
            );
            return;
        }
        let reason = parsed.err().unwrap_or_else(|| "it is no plain selector of series".to_owned());
        report.warning(
            rule.id.entry,
            "selector-not-understood",
            "seriesQuery",
            format!("this is no series selector of PromQL: {reason}"),
            "write one of the form `name{label=\"value\"}`, unless the backend is known to take this one",
        );
        return;
    };
    if let Some((one, other)) = contradiction(&matchers) {
        report.warning(
            rule.id.entry,
            CONTRADICTORY,
            "seriesQuery",
            format!("no series matches both `{one}` and `{other}`, so the rule serves no metric"),
            "take one of them away",
        );
    }
}

/// Reports a selector of the query that no series can match, whatever is asked for.
pub(super) fn check_query(rule: &RuleBase, template: &str, tree: &Expr, report: &mut Report<'_>) {
    // A value by label is another one in each query.
    if template.contains("LabelValuesByName") {
        return;
    }
    let selectors = counters::selectors(tree);
    let mut plain = selectors.into_iter().filter(|it| it.matchers.or_matchers.is_empty());
    let found = plain.find_map(|selector| {
        // Those of what is asked for have other values in each query.
        let fixed = selector.matchers.matchers.iter().filter(|it| !is_asked_for(it));
        let fixed: Vec<_> = fixed.cloned().collect();
        contradiction(&fixed).map(|(one, other)| {
            format!("no series matches both `{one}` and `{other}`, so a selector reads nothing")
        })
    });
    if let Some(message) = found {
        let help = "take one of them away";
        report.warning(rule.id.entry, CONTRADICTORY, "metricsQuery", message, help);
    }
}

/// Whether a matcher is about what is asked for, and has another value in each query.
pub(super) fn is_asked_for(matcher: &Matcher) -> bool {
    matcher.value.contains(OPAQUE)
}

/// Two matchers that exclude each other, as far as that can be decided.
fn contradiction(matchers: &[Matcher]) -> Option<(&Matcher, &Matcher)> {
    matchers.iter().find_map(|one| {
        matchers.iter().find(|other| excludes(one, other)).map(|other| (one, other))
    })
}

/// Whether a matcher takes only values that another one of the label refuses.
pub(super) fn excludes(one: &Matcher, other: &Matcher) -> bool {
    one.name == other.name
        && values(one).is_some_and(|values| values.iter().all(|value| !other.is_match(value)))
}

/// The only values that a matcher takes, if those are plain.
fn values(matcher: &Matcher) -> Option<Vec<String>> {
    match &matcher.op {
        MatchOp::Equal => Some(vec![matcher.value.clone()]),
        MatchOp::Re(_) if matcher.value.is_empty() => Some(vec![String::new()]),
        MatchOp::NotRe(_) if matcher.value == ".+" => Some(vec![String::new()]),
        MatchOp::Re(_) => alternatives(&matcher.value),
        _ => None,
    }
}

/// The names that the series of a selector can have, where it lists them.
pub(super) fn names(rule: &RuleBase) -> Option<Vec<String>> {
    let matchers = rule.selector.matchers()?;
    matchers.iter().filter(|matcher| matcher.name == METRIC_NAME).find_map(|matcher| match &matcher
        .op
    {
        MatchOp::Equal => Some(vec![matcher.value.clone()]),
        MatchOp::Re(_) => alternatives(&matcher.value),
        MatchOp::NotEqual | MatchOp::NotRe(_) => None,
    })
}

/// The names that a regular expression lists: `^(a|b)$`. It is anchored anyway.
pub(super) fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let group = |inner: &str| {
        let inner = inner.strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.strip_prefix("?:").unwrap_or(inner).to_owned())
    };
    let inner = group(inner).unwrap_or_else(|| inner.to_owned());
    let is_plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    inner.split('|').map(|name| is_plain(name).then(|| name.to_owned())).collect()
}
