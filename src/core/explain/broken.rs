//! Rules that do not compile, with what the file says of them: they may be the ones that are meant.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use serde_json::Value;

use super::facts::BrokenRule;
use crate::core::rules::{FileName, Problem, RuleEntry};

/// The most rules of the files of `--config`. Which of several thousand is meant is no longer to be told.
const MAX_RULES: usize = 1_000;

/// The most rules of the ConfigMaps of a namespace: whoever writes them does not hide those of others.
const MAX_RULES_OF_NAMESPACE: usize = 100;

/// The first of the rules that these problems are about, of those of each writer. `text` returns the text of a file.
pub fn rules<'p>(
    problems: impl Iterator<Item = &'p Problem>,
    text: impl Fn(&FileName) -> Option<Arc<str>>,
) -> Vec<BrokenRule> {
    let mut files = BTreeMap::new();
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    let first = problems.filter(|problem| {
        let namespace = problem.file.namespace();
        let most = if namespace.is_some() { MAX_RULES_OF_NAMESPACE } else { MAX_RULES };
        let count = counts.entry(namespace).or_default();
        *count += 1;
        *count <= most
    });
    let rules = first.map(|problem| {
        let file = match files.entry(&problem.file) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Texts::of(text(&problem.file).unwrap_or_default())),
        };
        rule(problem, file)
    });
    rules.collect()
}

fn rule(problem: &Problem, file: &Texts) -> BrokenRule {
    let rule = RuleEntry::of(&problem.path).map(|rule| rule.to_string());
    let text = rule.and_then(|rule| file.rules.get(&rule)).unwrap_or(&file.all);
    let place = problem.place.map(|place| format!("{place}: ")).unwrap_or_default();
    BrokenRule {
        path: problem.subject(),
        problem: format!("{place}{}", problem.message),
        text: Arc::clone(text),
        is_over_quota: false,
    }
}

/// What a file says. Rules share the texts.
struct Texts {
    all: Arc<str>,
    /// What it says of each rule, by its path.
    rules: BTreeMap<String, Arc<str>>,
}

impl Texts {
    /// Aliases make rules longer than their file: those beyond twice its length have its text.
    fn of(all: Arc<str>) -> Self {
        let root: Value = serde_saphyr::from_str(&all).unwrap_or_default();
        let lists = ["rules", "externalRules"].into_iter().flat_map(|list| {
            let rules = root.get(list).and_then(Value::as_array).into_iter().flatten();
            rules.enumerate().map(move |(index, rule)| (format!("{list}[{index}]"), rule))
        });
        let mut left = all.len().saturating_mul(2);
        let mut rules = BTreeMap::new();
        for (path, rule) in lists {
            let text = rule.to_string();
            if text.len() <= left {
                left -= text.len();
                rules.insert(path, text.into());
            }
        }
        Self { all, rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str, position: usize) -> Problem {
        let path = crate::core::key_path::KeyPath::from(path).index(position).key("name");
        Problem::new(None, path, "wrong")
    }

    #[test]
    fn rules_share_the_text_of_their_file_and_are_bounded() {
        // The rules of a manifest do not stand under the keys of a rules file.
        let manifest: Arc<str> = "data: {r.yaml: 'rules: [{seriesQuery: depth}]'}".into();
        let problems: Vec<_> = (0..2 * MAX_RULES).map(|n| problem("rules", n)).collect();
        let all = rules(problems.iter(), |_| Some(Arc::clone(&manifest)));
        assert_eq!(all.len(), MAX_RULES);
        assert!(all.iter().all(|rule| Arc::ptr_eq(&rule.text, &manifest)));
    }

    #[test]
    fn the_rules_of_one_namespace_do_not_hide_those_of_others() {
        let of = |namespace: &str| {
            let file = FileName::config_map(namespace, "m", "r.yaml");
            let of_it = move |n| Problem { file: file.clone(), ..problem("rules", n) };
            (0..2 * MAX_RULES).map(of_it)
        };
        let problems: Vec<_> = of("a").chain(of("b")).chain([problem("rules", 0)]).collect();
        let all = rules(problems.iter(), |_| None);
        let count = |part: &str| all.iter().filter(|rule| rule.path.contains(part)).count();
        assert_eq!(count("configmap a/"), MAX_RULES_OF_NAMESPACE);
        assert_eq!(count("configmap b/"), MAX_RULES_OF_NAMESPACE);
        assert_eq!(all.len(), 2 * MAX_RULES_OF_NAMESPACE + 1);
    }

    #[test]
    fn a_rule_has_its_own_text_unless_aliases_make_it_longer_than_the_file() {
        let text: Arc<str> = "rules: [{seriesQuery: depth}, {seriesQuery: other}]".into();
        let two = [problem("rules", 0), problem("rules", 0)];
        let all = rules(two.iter(), |_| Some(Arc::clone(&text)));
        assert_eq!(&*all[0].text, r#"{"seriesQuery":"depth"}"#);
        assert!(Arc::ptr_eq(&all[0].text, &all[1].text));

        let long = "x".repeat(300);
        let aliases = "{a: *x, b: *x, c: *x}, ".repeat(20);
        let text: Arc<str> = format!("rules: [&x {long}, {aliases}]").into();
        let problems: Vec<_> = (0..20).map(|n| problem("rules", n)).collect();
        let all = rules(problems.iter(), |_| Some(Arc::clone(&text)));
        let own = all.iter().filter(|rule| !Arc::ptr_eq(&rule.text, &text));
        assert!(own.map(|rule| rule.text.len()).sum::<usize>() <= 2 * text.len());
    }
}
