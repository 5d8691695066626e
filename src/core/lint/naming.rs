//! `seriesFilters` and `name`: rules that name no series, and names that nobody can ask for.

use super::{Report, listed, selectors};
use crate::core::{
    key_path::KeyPath,
    rules::{RuleBase, Unnamed},
};

pub(super) fn check(rule: &RuleBase, report: &mut Report<'_>) {
    let unknown = rule.namer.unknown_groups();
    if !unknown.is_empty() {
        let groups: Vec<_> = unknown.iter().map(|group| format!("${group}")).collect();
        report.warning(
            rule.id.entry,
            "unknown-group",
            ["name", "as"],
            format!(
                "`name.matches` has no group for {}, so nothing stands in its place",
                listed(groups)
            ),
            "put the group's number or name in braces, as in `${1}_per_second`, or add the group",
        );
    }
    match selectors::names(rule) {
        Some(names) => of_names(rule, &names, report),
        None => filters(rule, report),
    }
    unusable(rule, report);
}

/// Where it is known which names the series have.
fn of_names(rule: &RuleBase, names: &[String], report: &mut Report<'_>) {
    let mut refused = Vec::new();
    for name in names {
        match rule.namer.name(name) {
            Ok(_) => return,
            Err(unnamed) => refused.push(unnamed),
        }
    }
    let Some(first) = refused.first() else { return };
    let names = listed(names);
    match first {
        Unnamed::Filter(filter) => report.warning(
            rule.id.entry,
            "filters-refuse-series",
            KeyPath::from("seriesFilters").index(*filter),
            format!("this filter refuses {names}, which `seriesQuery` asks for, so the rule serves no metric"),
            "correct the filter, or leave it out: a selector with a name needs none",
        ),
        Unnamed::Matches => report.warning(
            rule.id.entry,
            "name-does-not-match",
            ["name", "matches"],
            format!("this does not match {names}, which `seriesQuery` asks for, so the rule serves no metric"),
            "correct the pattern, or leave it out",
        ),
        Unnamed::Empty if rule.namer.unknown_groups().is_empty() => report.warning(
            rule.id.entry,
            "empty-name",
            ["name", "as"],
            format!("the name of the metric is empty for {names}, so the rule serves no metric"),
            "write a name, as in `as: \"${1}_per_second\"`",
        ),
        Unnamed::Empty => {}
    }
}

/// Filters that exclude each other, as far as that can be decided.
fn filters(rule: &RuleBase, report: &mut Report<'_>) {
    let filters = rule.id.entry.key("seriesFilters");
    let of = |key: &str| -> Vec<_> {
        let patterns = (0..report.written.len(&filters)).map(|filter| {
            (filter, report.written.text(&filters.index(filter).key(key)).to_owned())
        });
        patterns.filter(|(_, pattern)| !pattern.is_empty()).collect()
    };
    let (wanted, refused) = (of("is"), of("isNot"));
    let everything =
        |pattern: &str| matches!(pattern, ".*" | "^.*" | ".*$" | "^.*$" | ".+" | "^.+$");
    let excluded = refused.iter().find_map(|(filter, pattern)| {
        if everything(pattern) {
            return Some((*filter, "this filter refuses every series".to_owned()));
        }
        let same = wanted.iter().find(|(_, wanted)| wanted == pattern);
        same.map(|(other, _)| {
            (*filter, format!("this filter refuses what seriesFilters[{other}] asks for"))
        })
    });
    // A filter that names whole series, and that others refuse.
    let literal = || {
        wanted.iter().find_map(|(filter, pattern)| {
            let anchored = pattern.starts_with('^') && pattern.ends_with('$');
            let names = selectors::alternatives(pattern).filter(|_| anchored)?;
            // `^a|b$` is anchored at one end each.
            if names.len() > 1 && !pattern.starts_with("^(") {
                return None;
            }
            let by = names.iter().map(|name| match rule.namer.name(name) {
                Err(Unnamed::Filter(by)) => Some(by),
                _ => None,
            });
            let by: Option<Vec<_>> = by.collect();
            let by = *by?.first()?;
            Some((by, format!("this filter refuses what seriesFilters[{filter}] asks for")))
        })
    };
    if let Some((filter, message)) = excluded.or_else(literal) {
        report.warning(
            rule.id.entry,
            "contradictory-filters",
            KeyPath::from("seriesFilters").index(filter),
            format!("{message}, so the rule serves no metric"),
            "take one of the filters away",
        );
    }
}

/// What a name is made of besides its groups, or the whole name where it is known.
fn unusable(rule: &RuleBase, report: &mut Report<'_>) {
    let template = rule.namer.template();
    let bad =
        template.chars().find(|c| matches!(c, '/' | '%') || c.is_whitespace() || c.is_control());
    let what = match bad {
        Some(character) => {
            format!("`{}` cannot be part of a metric's name", character.escape_debug())
        }
        None if matches!(template, "." | "..") => format!("a metric cannot be called `{template}`"),
        None => return,
    };
    report.warning(
        rule.id.entry,
        "unusable-name",
        ["name", "as"],
        format!("{what}: it stands in the path of a URL and in the resources of RBAC rules"),
        "use letters, digits, `_`, `:`, `-` and dots",
    );
}
