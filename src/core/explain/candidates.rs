//! Which rule comes nearest to a metric that is not served, and what is in its way.

use super::facts::{Api, RuleFacts};
use crate::core::rules::{RuleBase, Unnamed};

/// What names of counters, histograms and rates end with, which people leave out or write differently.
const ENDINGS: [&str; 16] = [
    "_total",
    "_count",
    "_sum",
    "_bucket",
    "_created",
    "_info",
    "_per_second",
    "_rate",
    "_rps",
    "_qps",
    "_avg",
    "_max",
    "_min",
    "_p50",
    "_p95",
    "_p99",
];

/// A rule that comes near to a metric, by its position among the facts, and the series that it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// The rule.
    pub rule: usize,
    /// The name of the series.
    pub series: String,
    /// What is between them.
    pub gap: Gap,
}

/// What is between a series and the metric, in the order in which it is believed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Gap {
    /// Nothing in the rule's naming: it calls the series so.
    None,
    /// The entry of `seriesFilters` at this position, from 0.
    Filter(usize),
    /// `name.matches` does not match the series.
    Matches,
    /// Matchers of `seriesQuery` leave the series out.
    Excluded,
    /// There is no such series; the rule would call it so.
    Absent,
    /// The rule calls the series something else.
    Renamed(String),
}

/// The rule of an API that comes nearest, if one does. Later rules win, as in the catalog.
pub fn nearest(metric: &str, api: Api, rules: &[RuleFacts]) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for (at, facts) in rules.iter().enumerate().filter(|(_, facts)| Api::of(&facts.rule) == api) {
        let Some((series, gap)) = gap(metric, facts) else { continue };
        if best.as_ref().is_none_or(|best| gap <= best.gap) {
            best = Some(Candidate { rule: at, series, gap });
        }
    }
    best
}

fn gap(metric: &str, facts: &RuleFacts) -> Option<(String, Gap)> {
    let RuleFacts { rule, names, excluded, .. } = facts;
    let rule = rule.base();
    let found = names.iter().flatten().filter_map(|series| {
        let gap = match rule.namer.name(series) {
            Ok(name) if name == metric => Gap::None,
            Ok(name) if series == metric => Gap::Renamed(name),
            Err(Unnamed::Filter(filter)) if could_be(metric, rule, series) => Gap::Filter(filter),
            Err(Unnamed::Matches | Unnamed::Empty) if resembles(metric, series) => Gap::Matches,
            _ => return None,
        };
        Some((series.clone(), gap))
    });
    // What a refused request does not find is not left out by its matchers.
    let left_out = excluded.iter().filter(|_| names.is_ok()).filter(|series| {
        let name = rule.namer.name(series);
        name.is_ok_and(|name| name == metric) || *series == metric
    });
    let left_out = left_out.map(|series| (series.clone(), Gap::Excluded));
    let nearest = found.chain(left_out).min_by(|a, b| a.1.cmp(&b.1));
    nearest.or_else(|| {
        let absent = guesses(metric, rule).into_iter().next()?;
        names.is_ok().then_some((absent, Gap::Absent))
    })
}

/// Whether the rule would call a series so that one of its filters refuses.
fn could_be(metric: &str, rule: &RuleBase, series: &str) -> bool {
    rule.namer.unfiltered(series).is_ok_and(|name| name == metric) || resembles(metric, series)
}

/// The series that a rule would call so and that its `seriesQuery` could find, as far as they can be guessed.
pub fn guesses(metric: &str, rule: &RuleBase) -> Vec<String> {
    let mut guesses: Vec<String> = rule.selector.name().map(str::to_owned).into_iter().collect();
    let (before, after) = around_reference(rule.namer.template());
    let stem = metric.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    if let Some(stem) = stem.filter(|stem| !stem.is_empty()) {
        let longer = ENDINGS.iter().map(|ending| format!("{stem}{ending}"));
        guesses.extend(std::iter::once(stem.to_owned()).chain(longer));
    }
    let matchers = rule.selector.matchers();
    let is_found = |series: &str| {
        let mut names = matchers.iter().flatten().filter(|matcher| matcher.name == "__name__");
        matchers.is_some() && names.all(|matcher| matcher.is_match(series))
    };
    let is_so_called = |series: &String| rule.namer.name(series).is_ok_and(|name| name == metric);
    guesses.retain(|series| is_so_called(series) && is_found(series));
    guesses.dedup();
    guesses
}

/// What stands before and behind the first reference of a template to a group.
fn around_reference(template: &str) -> (&str, &str) {
    let Some((before, rest)) = template.split_once('$') else { return (template, "") };
    let after = match rest.strip_prefix('{') {
        Some(braced) => braced.split_once('}').map_or("", |(_, after)| after),
        None => rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'),
    };
    (before, after)
}

/// Whether two names differ only in what names of counters and rates end with.
pub fn resembles(metric: &str, series: &str) -> bool {
    let (metric, series) = (stem(metric), stem(series));
    !metric.is_empty() && metric == series
}

fn stem(name: &str) -> String {
    let name = name.to_lowercase().replace([':', '.', '-'], "_");
    let mut stem = name.as_str();
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| stem.strip_suffix(ending)) {
        stem = shorter;
    }
    stem.to_owned()
}

/// Whether a text about a rule has the words of a metric's name: most of those that are longer than three letters.
pub fn mentions(metric: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    let name = metric.to_lowercase();
    if text.contains(&name) {
        return true;
    }
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 3);
    let (all, found) = words
        .fold((0, 0), |(all, found), word| (all + 1, found + usize::from(text.contains(word))));
    all > 0 && found * 2 > all
}
