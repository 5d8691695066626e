//! Rules that do not compile, with what the file says of them: they may be the ones that are meant.

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::BrokenRule;
use crate::core::rules::{FileName, Problem, RuleEntry};

/// The rules that these problems are about. `text` returns the text of a file.
pub fn rules<'t>(
    problems: &[Problem],
    text: impl Fn(&FileName) -> Option<&'t str>,
) -> Vec<BrokenRule> {
    let mut files: BTreeMap<&FileName, (&str, BTreeMap<String, String>)> = BTreeMap::new();
    let rules = problems.iter().map(|problem| {
        let (all, written) = files.entry(&problem.file).or_insert_with(|| {
            let all = text(&problem.file).unwrap_or_default();
            (all, written(all))
        });
        rule(problem, written, all)
    });
    rules.collect()
}

fn rule(problem: &Problem, written: &BTreeMap<String, String>, all: &str) -> BrokenRule {
    let rule = RuleEntry::of(&problem.path).map(|rule| rule.to_string());
    let text = rule.and_then(|rule| written.get(&rule)).map_or(all, String::as_str);
    let place = problem.place.map(|place| format!("{place}: ")).unwrap_or_default();
    BrokenRule {
        path: problem.subject(),
        problem: format!("{place}{}", problem.message),
        text: text.to_owned(),
        is_over_quota: false,
    }
}

/// What the file says of each rule, as text, by its path.
fn written(text: &str) -> BTreeMap<String, String> {
    let root: Value = serde_saphyr::from_str(text).unwrap_or_default();
    let lists = ["rules", "externalRules"].into_iter().flat_map(|list| {
        let rules = root.get(list).and_then(Value::as_array).into_iter().flatten();
        rules.enumerate().map(move |(index, rule)| (format!("{list}[{index}]"), rule.to_string()))
    });
    lists.collect()
}
